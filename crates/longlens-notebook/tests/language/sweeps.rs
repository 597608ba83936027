//! Sweeps: every combination once, also across interruptions and sessions.

use std::path::Path;
use std::time::Duration;

use longlens_notebook::interpreter::Interpreter;

use crate::common::{Scripted, Sitting, sitting};
use crate::{error, transcript};

/// Another session in the folder of the first.
fn next(before: &Sitting) -> Sitting {
    let mut sitting = sitting();
    let files = longlens_notebook::desk::Files { root: before.folder.path().into(), anywhere: false };
    let options = longlens_notebook::session::Options {
        model: "embedded".into(),
        files,
        limits: sitting.session.limits(),
        draws: false,
    };
    sitting.session = longlens_notebook::session::Session::new(Box::new(Scripted), options, &sitting.out);
    sitting
}

/// Points that a cell computed: they print a dot each.
fn computed(sitting: &mut Sitting, cell: &str) -> usize {
    sitting.heard.borrow_mut().text.clear();
    let _ = sitting.run(cell);
    sitting.heard.borrow().text.matches('.').count()
}

#[test]
fn what_a_sweep_makes_of_results() {
    let mut sitting = sitting();
    insta::assert_snapshot!(transcript(&mut sitting, &[
        "sweep(#{ b: [1, 2], a: [\"x\", \"y\"] }, |p| p.b * 10)",
        "sweep(#{ a: [1, 2], fixed: 7 }, |p| #{ sum: p.a + p.fixed, a: 100 })",
        "sweep([#{ a: 1 }, #{ b: 2 }], |p| p.keys().len())",
        "sweep(#{ a: [1, 2] }, |p| table(#{ row: [p.a, p.a * 2] }))",
        "sweep(#{ a: [1] }, |p| ())",
        "sweep(#{ window: [32, 64] }, |p| run(needle(200, 0.5), streaming(p), #{ max_tokens: 0 })).columns",
        "sweep([], |p| 1)",
        "sweep(#{}, |p| 1)",
        "grid(#{ a: [1, 2], b: [3] })",
        "sweep(#{ a: [1] }, |p| [1])",
        "sweep(#{ a: 0..3 }, |p| p.a)",
    ]), @r#"
    > sweep(#{ b: [1, 2], a: ["x", "y"] }, |p| p.b * 10)
    a  b  value
    x  1     10
    x  2     20
    y  1     10
    y  2     20
    > sweep(#{ a: [1, 2], fixed: 7 }, |p| #{ sum: p.a + p.fixed, a: 100 })
    fixed    a  sum
        7  100    8
        7  100    9
    > sweep([#{ a: 1 }, #{ b: 2 }], |p| p.keys().len())
    a  value  b
    1      1
           1  2
    > sweep(#{ a: [1, 2] }, |p| table(#{ row: [p.a, p.a * 2] }))
    a  row
    1    1
    1    2
    2    2
    2    4
    > sweep(#{ a: [1] }, |p| ())
    a  value
    1
    > sweep(#{ window: [32, 64] }, |p| run(needle(200, 0.5), streaming(p), #{ max_tokens: 0 })).columns
    ["window", "method", "loss", "perplexity"]
    > sweep([], |p| 1)
    (no columns)
    > sweep(#{}, |p| 1)
    value
        1
    > grid(#{ a: [1, 2], b: [3] })
    [#{a: 1, b: 3}, #{a: 2, b: 3}]
    > sweep(#{ a: [1] }, |p| [1])
    Error: the function of a sweep returned a list
      |
    1 | sweep(#{ a: [1] }, |p| [1])
      | ^^^^^
    help: return a number, a map, a run or a table
    > sweep(#{ a: 0..3 }, |p| p.a)
    a     value
    0..3  0..3
    "#);
}

#[test]
fn an_interrupted_sweep_goes_on_where_it_was() {
    let mut sitting = sitting();
    sitting.run("let broken = true;").unwrap();
    // what is not captured does not change the function
    let cell = "sweep(#{ a: [1, 2, 3, 4] }, |p| { print(\".\"); if p.a == 3 && files(\".\").len() == 0 { throw \"third\" } p.a })";
    assert_eq!(computed(&mut sitting, cell), 3);
    sitting.run("save(\"\", \"now\");").unwrap();
    assert_eq!(computed(&mut sitting, cell), 2);
    assert_eq!(computed(&mut sitting, cell), 0);
    assert_eq!(sitting.run(cell).unwrap().unwrap().text.lines().count(), 5);
    // no model was open at the first point, and one is at the second
    let cell = "sweep(#{ a: [1, 2] }, |p| { print(\".\"); run(\"abc\", full()).loss })";
    assert_eq!((computed(&mut sitting, cell), computed(&mut sitting, cell)), (2, 0));
}

#[test]
fn the_flag_interrupts_a_sweep_that_goes_on_later() {
    let mut sitting = sitting();
    let cell = "sweep(#{ a: [1, 2, 3, 4, 5, 6] }, |p| { sleep(0.1); print(\".\"); p.a })";
    let cancel = sitting.session.cancel();
    let raise = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(250));
        cancel.cancel();
    });
    let first = computed(&mut sitting, cell);
    raise.join().unwrap();
    assert!((1..6).contains(&first), "{first}");
    assert_eq!(first + computed(&mut sitting, cell), 6);
}

#[test]
fn a_file_resumes_in_another_session() {
    let mut first = sitting();
    let cell = "sweep(#{ a: [1, 2, 3], m: [full(), \"streaming:window=64\"] }, |p| {
        print(\".\");
        if p.a == 3 && files(\".\").len() < 2 { throw \"stopped\" }
        #{ loss: run(needle(200, 0.5), p.m, #{ max_tokens: 0 }).loss }
    }, #{ file: \"rows.jsonl\" })";
    assert_eq!(computed(&mut first, cell), 5);
    first.run("save(\"\", \"now\");").unwrap();
    let mut second = next(&first);
    assert_eq!(computed(&mut second, cell), 2);
    let whole = second.say(cell);
    let mut third = next(&first);
    assert_eq!(computed(&mut third, cell), 0);
    assert_eq!(third.say(cell), whole);
    // elsewhere in a cell, with other blanks and comments, it is the same sweep
    let moved = format!("\n// a comment\n{}", cell.replace("print(\".\");", "/* a */ print( \".\" ) ;"));
    assert_eq!(computed(&mut next(&first), &moved), 0);
    // the end of a line is missing, in the middle of a letter
    let path = first.folder.path().join("rows.jsonl");
    let mut bytes = std::fs::read(&path).unwrap();
    bytes.truncate(bytes.len() - 20);
    bytes.push(0xc3);
    std::fs::write(&path, bytes).unwrap();
    assert_eq!(computed(&mut next(&first), cell), 1);
    assert_eq!(computed(&mut next(&first), cell), 0);
    let fresh = cell.replace("file:", "fresh: true, file:");
    assert_eq!(computed(&mut next(&first), &fresh), 6);
    assert_eq!(std::fs::read_to_string(path).unwrap().lines().count(), 6);
}

#[test]
fn whatever_a_function_depends_on_counts() {
    let mut sitting = sitting();
    sitting.run("fn twice(x) { 2 * x } fn other(x) { x } let k = 1; let m = method(\"m\", |d| d); let p = prompt(\"a long enough prompt, one\");").unwrap();
    let cell = "sweep(#{ a: [1, 2] }, |s| { print(\".\"); helper(s.a) + k + run(p, m, #{ max_tokens: 0 }).nll.len() })";
    sitting.run("fn helper(x) { twice(x) }").unwrap();
    assert_eq!(computed(&mut sitting, cell), 2);
    for (change, expected) in [
        ("1 + 1", 0),
        ("fn other(x) { x + 1 }", 0),
        ("k = 1", 0),
        ("k = 2", 2),
        ("k = \"2\"; k = 2", 0),
        ("fn twice(x) { 3 * x }", 2),
        ("// moved\n\nfn twice(x) {\n    3 * x // three times\n}", 0),
        ("fn helper(x) { x }", 2),
        ("m = method(\"m\", |d| d)", 0),
        ("m = method(\"m\", |d| min(d, 8))", 2),
        ("p = prompt(\"a long enough prompt, two\")", 2),
    ] {
        sitting.run(change).unwrap();
        assert_eq!(computed(&mut sitting, cell), expected, "{change}");
    }
    let text = cell.replace("\".\"", "\"..\"");
    assert_eq!(computed(&mut sitting, &text), 4);
}

#[test]
fn files_that_cannot_be_written_say_so() {
    let mut sitting = sitting();
    std::fs::create_dir(sitting.folder.path().join("folder")).unwrap();
    std::fs::write(sitting.folder.path().join("plain"), "x").unwrap();
    for file in ["folder", "plain/rows.jsonl", "../rows.jsonl", ""] {
        let told = error(&mut sitting, &format!("sweep(#{{ a: [1] }}, |p| 1, #{{ file: \"{file}\" }})"));
        assert!(
            told.starts_with("Error: ")
                && told.contains(Path::new(file).file_name().map_or("no file name", |name| name.to_str().unwrap())),
            "{told}"
        );
    }
    assert!(error(&mut sitting, "sweep(#{ a: [1] }, |p| 1, #{ files: \"a\" })").contains("did you mean `file`?"));
}

#[test]
fn every_row_starts_on_the_same_model() {
    let mut sitting = sitting();
    sitting.run("let first = open(); let second = open(\"embedded\"); select(first);").unwrap();
    let cell = "sweep(#{ other: [true, false] }, |s| { if s.other { select(second); } print(\".\"); 1 }); open().name";
    assert_eq!(computed(&mut sitting, cell), 2);
    assert_eq!(computed(&mut sitting, cell), 0);
}
