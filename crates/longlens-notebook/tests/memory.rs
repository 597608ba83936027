//! What cells hold has a limit: one test at a time, since the whole program's memory is counted.

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use common::sitting;
use longlens_notebook::interpreter::Interpreter;
use longlens_notebook::memory::live;
use longlens_notebook::session::{Limits, Session};

/// What a session may hold here.
const LIMIT: u64 = 64 << 20;

/// A thread whose stack is as deep as the program's, for values inside values.
fn deep(work: impl FnOnce() + Send + 'static) {
    std::thread::Builder::new().stack_size(256 << 20).spawn(work).unwrap().join().unwrap();
}

#[test]
fn nothing_grows_without_end() {
    deep(|| {
        growing_values_are_stopped();
        values_inside_values_are_stopped();
        variables_can_be_let_go();
        long_lists_take_time_that_grows_as_they_do();
        a_long_cell_stops_when_asked_to();
    });
}

fn limits() -> Limits {
    Limits { operations: u64::MAX, memory: LIMIT }
}

fn growing_values_are_stopped() {
    let started = Instant::now();
    for cell in [
        "let a = []; loop { a.push(a) }",
        "let a = [1]; loop { a += a }",
        "let a = []; loop { a.push(`a text of some length, number ${a.len()}`) }",
        "let s = \"x\"; loop { s += s }",
        "let s = \"x\"; loop { s = `${s}${s}` }",
        "let s = \"x\"; loop { s = s + s }",
        "let m = #{}; let n = 0; loop { m[`key ${n}`] = n; n += 1; }",
        "let m = #{}; loop { m[`a${m.len()}`] = m; }",
        "let a = []; a.pad(1_000_000_000_000, 7)",
        "let a = [1, 2, 3]; a.pad(1_000_000, a); a.pad(100_000_000, a)",
        "let b = blob(1_000_000_000_000)",
        "let b = blob(1, 5); b.pad(9_223_372_036_854_775_807, 7)",
        "let s = \"x\"; s.pad(1_000_000_000_000, \"wide\")",
        "let s = \"x\"; s.pad(9_223_372_036_854_775_807, 'w')",
        "let s = \"\"; s.pad(100_000, \"x\"); s.replace(\"x\", s)",
        "let t = []; loop { t.push(table(#{ n: [1, 2, 3] })) }",
        "let a = []; a.pad(500_000, 1); fn more(a, n) { if n == 0 { a } else { let b = a + a; more(b, n - 1) } } more(a, 30)",
        "let a = []; a.pad(500_000, 1); let fs = []; loop { let b = a + [fs.len()]; fs.push(|| b); }",
        "let a = []; a.pad(500_000, 1); let b = []; loop { b.push(a.map(|x| x + 1)) }",
        "let s = \"\"; s.pad(1_000_000, \"x\"); let k = []; loop { k.push(s + k.len()) }",
        "let s = \"\"; s.pad(2_000_000, \"x\"); let a = s.split(\"\")",
    ] {
        let mut sitting = sitting();
        sitting.session.set_limits(limits());
        sitting.run("let kept = 20;").unwrap();
        let told = sitting.run(cell).expect_err(cell).to_string();
        assert!(told.starts_with("LimitError: values, texts and results grew beyond 64 MiB"), "{cell}: {told}");
        assert_eq!(sitting.say("kept + 1"), "21", "{cell}");
        // functions stand outside of blocks
        if !cell.contains("fn ") {
            let caught = sitting.run(&format!("try {{ {cell} }} catch {{ }} loop {{ }}"));
            assert!(caught.unwrap_err().to_string().starts_with("LimitError"), "{cell}");
        }
    }
    assert!(live() < 4 * LIMIT, "{} bytes are left", live());
    assert!(started.elapsed() < Duration::from_mins(10), "{:?}", started.elapsed());
    if let Ok(status) = std::fs::read_to_string("/proc/self/status") {
        let most = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap().trim().trim_end_matches(" kB");
        assert!(most.parse::<u64>().unwrap() < 1 << 20, "{most} KiB were in use at once");
    }
}

fn values_inside_values_are_stopped() {
    for cell in [
        "let f = 0; loop { let g = f; f = || g; }",
        "let f = []; loop { let g = f; f = [|| g]; }",
        "let m = 0; loop { let g = m; m = method(\"mine\", |d| if g == 0 { d } else { d }); }",
        "let a = []; loop { a.push([a.pop()]) }",
        "fn dig() { loop { this.push([this.pop()]) } } let a = [1]; a.dig()",
        "let a = #{}; loop { let b = a.remove(\"x\"); a.x = #{ x: b }; }",
    ] {
        let mut sitting = sitting();
        sitting.session.set_limits(Limits { operations: u64::MAX, memory: 1 << 30 });
        sitting.run("let kept = 20;").unwrap();
        let told = sitting.run(cell).expect_err(cell).to_string();
        assert!(told.starts_with("LimitError: values lie inside values too deeply"), "{cell}: {told}");
        assert_eq!(sitting.say("kept + 1"), "21", "{cell}");
    }
}

fn variables_can_be_let_go() {
    let mut sitting = sitting();
    sitting.session.set_limits(limits());
    assert!(sitting.run("let a = []; loop { a.push(a.len()) }").is_err());
    assert!(sitting.run("let b = []; b.pad(10_000_000, 1)").is_err(), "there is no room for another");
    assert!(sitting.say("%config").contains("MiB are held"));
    assert_eq!(sitting.say("a = (); 1 + 1"), "2");
    sitting.run("let b = []; b.pad(1_000_000, 1);").unwrap();
    assert_eq!(sitting.say("b.len()"), "1000000");
}

/// Ten times as much takes about ten times as long, and a list of 300,000 numbers no minute.
fn long_lists_take_time_that_grows_as_they_do() {
    let list =
        |n: usize| format!("let a = [{}]; a.len()", (0..n).map(|n| n.to_string()).collect::<Vec<_>>().join(", "));
    let push = |n: usize| format!("let a = []; for i in 0..{n} {{ a.push(i); }} a.len()");
    let map = |n: usize| format!("let m = #{{}}; for i in 0..{n} {{ m[`k${{i}}`] = i; }} m.len()");
    let text = |n: usize| format!("let s = \"\"; for i in 0..{n} {{ s += 'x'; }} s.len()");
    let statements = |n: usize| format!("let x = 0;\n{}{n}", "x += 1;\n".repeat(n));
    let through = |n: usize| format!("let a = []; a.pad({n}, 1); a.map(|x| x + 1).filter(|x| x > 0).len()");
    let nested = |n: usize| format!("let a = []; for i in 0..{n} {{ a.push([i, [i]]); }} a.len()");
    let forms: [(&str, &dyn Fn(usize) -> String); 7] = [
        ("list", &list),
        ("push", &push),
        ("map", &map),
        ("text", &text),
        ("statements", &statements),
        ("through", &through),
        ("nested", &nested),
    ];
    let seconds = |form: &dyn Fn(usize) -> String, n: usize| {
        let mut sitting = sitting();
        sitting.session.set_limits(Limits { operations: u64::MAX, memory: 2 << 30 });
        let (cell, started) = (form(n), Instant::now());
        assert_eq!(sitting.say(&cell), n.to_string());
        started.elapsed().as_secs_f64()
    };
    for (name, form) in forms {
        // a square would be a hundred times as much, in every try; other programs run beside this one
        let tries = (0..3).map(|_| (seconds(form, 10_000), seconds(form, 100_000)));
        let tries: Vec<_> =
            tries.take_while(|(short, long)| *long >= 40.0 * short.max(0.01) || *long >= 10.0).collect();
        assert!(tries.len() < 3, "{name}: seconds for so many, and ten times as many: {tries:?}");
    }
}

fn a_long_cell_stops_when_asked_to() {
    let mut sitting = sitting();
    let cell = format!("let a = [{}];", "1, ".repeat(2_000_000));
    let cancel = sitting.session.cancel();
    let done = Arc::new(AtomicBool::new(false));
    let stopped = done.clone();
    // a run lowers the flag when it begins, whenever that is
    let raise = std::thread::spawn(move || {
        while !stopped.load(Ordering::Relaxed) {
            std::thread::sleep(Duration::from_millis(10));
            cancel.cancel();
        }
    });
    let started = Instant::now();
    let told = sitting.run(&cell).unwrap_err().to_string();
    done.store(true, Ordering::Relaxed);
    assert!(told.starts_with("Interrupted"), "{told}");
    assert!(started.elapsed() < Duration::from_secs(20), "{:?}", started.elapsed());
    raise.join().unwrap();
    sitting.session.cancel().lower();
    let too_long = format!("\"{}\"", "x".repeat(17 << 20));
    assert!(sitting.run(&too_long).unwrap_err().to_string().starts_with("LimitError: this cell has 17 MB"));
    assert!(Session::check(&sitting.session, &too_long).is_err());
    assert_eq!(sitting.say("1 + 1"), "2");
}
