//! Cells that would not end are stopped, variables are kept, and the session goes on.

use std::time::{Duration, Instant};

use longlens_notebook::interpreter::Interpreter;
use longlens_notebook::session::Limits;

use crate::common::rig;
use crate::error;

#[test]
fn endless_cells_end() {
    let mut rig = rig();
    rig.session.set_limits(Limits { operations: 1_000_000, ..Limits::default() });
    let deep = format!("{}1{}", "(".repeat(200), ")".repeat(200));
    let nested = format!("{}1{}", "[".repeat(200), "]".repeat(200));
    let calls = format!("{}1{}", "abs(".repeat(200), ")".repeat(200));
    let blocks = format!("{}{}", "if true {".repeat(200), "}".repeat(200));
    for (cell, expected) in [
        ("loop {}", "LimitError: this cell took more steps"),
        ("let i = 0; while true { i += 1; }", "LimitError: this cell took more steps"),
        ("fn rec(n) { rec(n + 1) } rec(0)", "LimitError: functions called each other too deeply"),
        ("fn a(n) { b(n) } fn b(n) { a(n) } a(0)", "LimitError: functions called each other too deeply"),
        ("let f = |f, n| f.call(f, n + 1); f.call(f, 0)", "LimitError: functions called each other too deeply"),
        ("fn again(x) { [x].map(|x| again(x)) } again(1)", "LimitError: functions called each other too deeply"),
        ("let a = []; loop { a.push(1) }", "LimitError: this cell took more steps"),
        (&deep, "SyntaxError: expression exceeds maximum complexity"),
        (&nested, "SyntaxError: expression exceeds maximum complexity"),
        (&calls, "SyntaxError: expression exceeds maximum complexity"),
        (&blocks, "SyntaxError: expression exceeds maximum complexity"),
        ("sweep(#{ a: [1, 2] }, |p| { loop {} })", "LimitError: this cell took more steps"),
        ("table(#{ n: [1, 2] }).filter(|row| { loop {} })", "LimitError: this cell took more steps"),
        ("run(\"a\", method(\"mine\", |d| { loop {} }))", "LimitError: this cell took more steps"),
        ("fn fill(n) { [n, n, n, n].map(|x| fill(x)) } fill(1)", "LimitError: "),
    ] {
        rig.run("let kept = 20;").unwrap();
        let told = error(&mut rig, cell);
        assert!(told.starts_with(expected), "{cell}: {told}");
        assert_eq!(rig.say("kept + 1"), "21", "{cell}");
    }
    assert_eq!(error(&mut rig, "let before = 3; loop {}").split(':').next(), Some("LimitError"));
    assert_eq!(rig.say("before"), "3");
    assert_eq!(
        rig.say("%config operations 5_000_000; "),
        "TypeError: `operations` needs a whole number of at least 1\nhelp: write %config operations 1000000"
    );
    assert!(rig.say("%config operations 50").starts_with("operations 50 "));
    assert!(error(&mut rig, "let n = 0; for i in 0..100 { n += i; }").starts_with("LimitError"));
}

#[test]
fn a_switch_has_only_so_many_arms() {
    let mut rig = rig();
    let arms = |n: usize| (0..n).map(|arm| format!("{arm} => {arm},")).collect::<Vec<_>>().concat();
    assert_eq!(rig.say(&format!("switch 77 {{ {} _ => -1 }}", arms(1000))), "77");
    let started = Instant::now();
    let told = error(&mut rig, &format!("switch 77 {{ {} }}", arms(100_000)));
    assert!(told.starts_with("LimitError: this cell has 100000 `=>`; a cell has at most 10000"), "{told}");
    assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
}

#[test]
fn the_deepest_calls_fit_into_a_small_stack() {
    let thread = std::thread::Builder::new().stack_size(2 << 20).spawn(|| {
        let mut rig = rig();
        for cell in [
            "fn rec(n) { rec(n + 1) } rec(0)",
            "fn deep(n) { [n].map(|x| [x].map(|y| deep(y + 1))) } deep(0)",
            "fn sums(n) { 1 + (2 * (3 + (4 * (5 + (6 * (7 + sums(n + 1))))))) } sums(0)",
            "fn swept(n) { sweep(#{ a: [n] }, |p| swept(p.a + 1)) } swept(0)",
            "fn rows(n) { table(#{ n: [n] }).with_column(\"m\", |row| rows(row.n)) } rows(0)",
            "fn tries(n) { try { tries(n + 1) } catch (e) { throw e } } tries(0)",
            "fn kinds(n) { switch n { 0 => { if true { for i in 0..1 { while true { kinds(0) } } } } } } kinds(0)",
        ] {
            let told = error(&mut rig, cell);
            assert!(told.contains("too deep"), "{cell}: {told}");
        }
    });
    thread.unwrap().join().unwrap();
}

#[test]
fn the_flag_stops_whatever_runs() {
    let mut rig = rig();
    rig.session.set_limits(Limits { operations: u64::MAX, ..Limits::default() });
    for cell in [
        "loop {}",
        "sleep(1000)",
        "sleep(1e18)",
        "sweep(#{ a: [0.2, 0.2, 0.2, 0.2, 0.2, 0.2, 0.2, 0.2, 0.2, 0.2] }, |p| { sleep(p.a); 1 })",
        "passkey(#{ lengths: [1000], depths: [0.5], trials: 1000000 })",
        "perplexity(#{ lengths: [1000], methods: [full(), full(), full(), full(), full(), full(), full(), full()], documents: 100 }); loop {}",
        "run(\"a\", full(), #{ max_tokens: 100000 }); loop {}",
        "forecast(method(\"mine\", |q, k| { let n = 0; for i in 0..1000 { n += i; } q - k }), 32000)",
        "table(#{ n: [1, 2] }).filter(|row| { sleep(100); true })",
        "time(|| sleep(100))",
        "%timeit sleep(100)",
        "try { sleep(100) } catch { loop {} }",
    ] {
        rig.run("let kept = 20;").unwrap();
        let (cancel, started) = (rig.session.cancel(), Instant::now());
        let raise = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(150));
            cancel.cancel();
        });
        let told = error(&mut rig, cell);
        raise.join().unwrap();
        assert!(told.starts_with("Interrupted: stopped; variables that were set are kept"), "{cell}: {told}");
        assert!(started.elapsed() < Duration::from_secs(8), "{cell} took {:?}", started.elapsed());
        assert_eq!(rig.say("kept + 1"), "21", "{cell}");
    }
}

#[test]
fn cells_that_say_too_much_are_stopped() {
    let mut rig = rig();
    rig.run("let s = \"x\"; for i in 0..24 { s += s; }").unwrap(); // 16 MiB
    for (cell, is_told) in [
        ("let kept = 20; loop { print(s) }", true),
        ("loop { show(s) }", true),
        ("try { loop { print(s) } } catch { }", true),
        ("for i in 0..5 { print(s) }", true),
        ("print(s); print(s); print(s)", false),
    ] {
        rig.heard.borrow_mut().text.clear();
        let told = rig.run(cell).err().map(|error| error.to_string());
        let expected = "LimitError: this cell printed and showed more than 64 MiB";
        assert_eq!(told.as_ref().is_some_and(|told| told.starts_with(expected)), is_told, "{cell}: {told:?}");
        assert!(rig.heard.borrow().text.len() <= 64 << 20, "{cell}");
    }
    assert_eq!(rig.say("kept + 1"), "21");
}

#[test]
fn what_old_cells_said_makes_room_for_new_ones() {
    let mut rig = rig();
    rig.run("let s = \"x\"; for i in 0..25 { s += s; }").unwrap(); // 32 MiB
    for _ in 0..10 {
        rig.heard.borrow_mut().text.clear();
        rig.run("print(s)").unwrap();
    }
    let cells = rig.session.cells();
    assert_eq!(cells.len(), 11, "cells themselves are kept");
    let has_words: Vec<bool> = cells[1..].iter().map(|ran| !ran.outputs.is_empty()).collect();
    assert_eq!(has_words.iter().filter(|has| **has).count(), 7, "7 of 32 MiB and a line end fit into 256 MiB");
    assert!(has_words.is_sorted(), "the oldest go first: {has_words:?}");
    assert!(cells.iter().filter(|ran| ran.let_go).count() == 3 && cells[1].let_go);
    assert!(rig.say("%save all.ipynb").contains("the results of the first 3 were too much to keep"));
}

#[test]
fn code_beside_the_cells_leaves_no_trace() {
    let mut rig = rig();
    rig.run("let a = 2; a * 21").unwrap();
    let out = rig.out.clone();
    let shown = rig.session.aside("a + 100", &out).unwrap().unwrap();
    assert_eq!(shown.text, "102");
    assert!(rig.session.aside("nope", &out).is_err());
    rig.session.aside("%time a + 100", &out).unwrap();
    assert_eq!((rig.session.count(), rig.session.history().len()), (1, 1));
    assert_eq!(rig.say("_"), "42");
    assert_eq!(rig.say("_2"), "42");
    assert_eq!(rig.session.count(), 3);
}
