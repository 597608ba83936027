//! Time grows as the work does: eight times as much takes about eight times as long, whatever a cell does with it.

use std::time::Instant;

use longlens_notebook::session::Limits;

use crate::common::rig;

#[test]
fn time_grows_as_the_work_does() {
    let each = |n: usize, form: &dyn Fn(usize) -> String| (0..n).map(form).collect::<Vec<_>>();
    let functions = |n: usize| format!("{}{n}", each(n, &|at| format!("fn f{at}() {{ {at} }}\n")).concat());
    let passed = |n: usize| {
        format!(
            "fn size(list) {{ list.len() }} let a = []; a.pad({n}, 1); let t = 0; for i in 0..100 {{ t += size(a); }} t / 100"
        )
    };
    let inside = |n: usize| format!("let m = #{{ a: [] }}; for i in 0..{n} {{ m.a.push(i); }} m.a.len()");
    let rows = |n: usize| format!("let a = []; for i in 0..{n} {{ a.push([i, [i, #{{ i: i }}]]); }} a.len()");
    let set = |n: usize| format!("let a = []; a.pad({n}, 0); for i in 0..{n} {{ a[i] = i; }} a.len()");
    let set_inside =
        |n: usize| format!("let m = #{{ a: [] }}; m.a.pad({n}, 0); for i in 0..{n} {{ m.a[i] = i; }} m.a.len()");
    let insert = |n: usize| format!("let m = #{{}}; for i in 0..{n} {{ m[`k${{i}}`] = i; }} m.len()");
    let pops = |n: usize| format!("let a = []; a.pad({n}, [1]); for i in 0..{n} {{ a.pop(); }} {n} + a.len()");
    let filters = |n: usize| format!("let a = []; a.pad({n}, 1); a.drain(|x| x > 0).len()");
    let forms: [(&str, &dyn Fn(usize) -> String); 9] = [
        ("functions", &functions),
        ("passed", &passed),
        ("inside", &inside),
        ("rows", &rows),
        ("set", &set),
        ("set inside", &set_inside),
        ("insert", &insert),
        ("pops", &pops),
        ("filters", &filters),
    ];
    let seconds = |form: &dyn Fn(usize) -> String, n: usize| {
        let mut rig = rig();
        rig.session.set_limits(Limits { operations: u64::MAX, memory: 2 << 30 });
        let (cell, started) = (form(n), Instant::now());
        assert_eq!(rig.say(&cell), n.to_string());
        started.elapsed().as_secs_f64()
    };
    for (name, form) in forms {
        // a square would be 64 times as much, in every try; other programs run beside this one
        let tries = (0..3).map(|_| (seconds(form, 4_000), seconds(form, 32_000)));
        let tries: Vec<_> = tries.take_while(|(few, many)| *many > 24.0 * few.max(0.002)).collect();
        assert!(tries.len() < 3, "{name}: seconds for so many, and eight times as many: {tries:?}");
    }
}
