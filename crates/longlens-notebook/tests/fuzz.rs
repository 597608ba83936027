//! Whatever a cell says, the session answers and goes on.

mod common;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use common::{Rig, rig};
use longlens_core::lens::CancelToken;
use longlens_notebook::docs::Doc;
use longlens_notebook::interpreter::{CellError, Interpreter};
use longlens_notebook::session::Limits;
use longlens_notebook::shown::Shown;
use proptest::prelude::*;

/// Values that a function may not expect.
const ODD: &[&str] = &[
    "()",
    "0",
    "-1",
    "3",
    "9223372036854775807",
    "(-9223372036854775807 - 1)",
    "1e308",
    "(0.0 / 0.0)",
    "-0.5",
    "true",
    "'é'",
    "\"\"",
    "\"full\"",
    "\"ö\\n\\u0000 %\"",
    "[]",
    "[()]",
    "[9223372036854775807, -1.5, \"a\"]",
    "#{}",
    "#{a: [[]], é: ()}",
    "|x| x",
    "0..5",
    "table([])",
    "full()",
];
/// Handles that exist.
const SETUP: &str = "
    let p = needle(#{ length: 200, depth: 0.5 });
    let r = run(p, full(), #{ max_tokens: 2 });
    let t = trace(p, full(), #{ chunk_len: 16 });
    let tb = table(#{ n: [1, 2, ()], m: [\"a\", \"b\", \"b\"], length: [1, 2, 3], found: [0, 1, 1], trials: [1, 1, 1] });
    let f = chunks(t);
    let m = open();
    save(\"one two three four five six seven\", \"there.txt\");
";

/// A sensible argument, by its name and type.
fn fitting(name: &str, kind: &str) -> &'static str {
    match (name, kind) {
        (_, "Prompt") | ("prompt", _) => "p",
        (_, "Run") => "r",
        (_, "Trace") => "t",
        (_, "Table") => "tb",
        (_, "Figure") => "f",
        (_, "Model") => "m",
        (_, "Rope") => "rope(\"linear:factor=2\")",
        (_, "Method") | ("method", _) => "full()",
        ("path" | "folder", _) => "\"there.txt\"",
        ("columns" | "by" | "on" | "index" | "column" | "values", _) => "\"n\"",
        ("grid", _) => "#{ a: [1, 2] }",
        (_, "int") => "2",
        (_, "float") => "0.5",
        (_, "string") => "\"mine\"",
        (_, "array") => "[1, 2]",
        (_, "map") => "#{}",
        (_, "function") => "|x| x",
        _ => "r",
    }
}

/// Raises a session's flag when one cell takes too long.
struct Watch {
    /// Milliseconds since the start at which the running cell ends; 0 when none runs.
    deadline: Arc<AtomicU64>,
    started: Instant,
}

impl Watch {
    fn new(cancel: CancelToken) -> Self {
        let (deadline, started) = (Arc::new(AtomicU64::new(0)), Instant::now());
        let mine = Arc::downgrade(&deadline);
        std::thread::spawn(move || {
            while let Some(deadline) = mine.upgrade() {
                let at = deadline.load(Ordering::Relaxed);
                if at > 0 && started.elapsed().as_millis() as u64 > at {
                    cancel.cancel();
                }
                drop(deadline);
                std::thread::sleep(Duration::from_millis(50));
            }
        });
        Self { deadline, started }
    }

    /// What a cell gives, or that it panicked; the cell is stopped after two seconds.
    fn run(&self, rig: &mut Rig, cell: &str) -> std::thread::Result<Result<Option<Shown>, CellError>> {
        self.deadline.store(self.started.elapsed().as_millis() as u64 + 2000, Ordering::Relaxed);
        let before = rig.session.n_faults();
        let ran = catch_unwind(AssertUnwindSafe(|| {
            let ran = rig.run(cell);
            // the session goes on after a panic; here it counts as one
            assert_eq!(rig.session.n_faults(), before, "{ran:?}");
            // whatever came, it can be shown
            rig.session.variable("x").map(|value| longlens_notebook::values::text(value).len());
            ran
        }));
        self.deadline.store(0, Ordering::Relaxed);
        ran
    }
}

fn prepared() -> (Rig, Watch) {
    let mut rig = rig();
    rig.session.set_limits(Limits { operations: 200_000, ..Limits::default() });
    rig.run(SETUP).unwrap();
    let watch = Watch::new(rig.session.cancel());
    (rig, watch)
}

/// Calls of a function with odd values: each argument, each pair of neighbours, each option.
fn calls(doc: &Doc) -> Vec<String> {
    let fitting: Vec<&str> = doc.params.iter().map(|(name, kind)| fitting(name, kind)).collect();
    if doc.is_property {
        return fitting.iter().map(|value| format!("{value}.{}", doc.name)).collect();
    }
    let call = |given: &[&str]| format!("{}({})", doc.name, given.join(", "));
    let mut all = vec![call(&fitting)];
    for at in 0..fitting.len() {
        for odd in ODD {
            let mut given = fitting.clone();
            given[at] = odd;
            all.push(call(&given));
            for other in ODD.iter().filter(|_| at > 0) {
                given[at - 1] = other;
                all.push(call(&given));
            }
        }
    }
    let takes_map = doc.params.iter().position(|(_, kind)| kind == "map");
    let Some(at) = takes_map else { return all };
    let is_name = |word: &&str| !word.is_empty() && word.chars().all(|c| c.is_ascii_lowercase() || c == '_');
    for option in doc.text.split('`').skip(1).step_by(2).filter(is_name) {
        for odd in ODD {
            let mut given = fitting.clone();
            // a plot without columns says no more than that
            let base = match doc.name.as_str() {
                "plot" => "x: \"length\", y: \"n\", ",
                "heatmap" => "x: \"m\", y: \"length\", value: \"n\", ",
                "passkey" => "lengths: [150], depths: [0.5], ",
                "perplexity" => "lengths: [16], ",
                _ => "",
            };
            let base: String =
                base.split_inclusive(", ").filter(|entry| !entry.starts_with(&format!("{option}:"))).collect();
            let map = format!("#{{ {base}{option}: {odd} }}");
            given[at] = &map;
            all.push(call(&given));
            // a figure that cannot be drawn shows up when it is
            if matches!(doc.name.as_str(), "plot" | "heatmap" | "attention") {
                all.push(format!("save({}, \"a.svg\")", call(&given)));
            }
        }
    }
    all
}

/// Functions of the language that make as much as a number or a text tells them; ours ask for room first.
const STAND_INS: [&str; 7] = ["blob", "pad", "replace", "split", "split_rev", "to_array", "to_chars"];

#[test]
fn functions_answer_whatever_they_are_given() {
    // functions of the language that ours take the place of, too
    let is_ours = |doc: &&Doc| !doc.is_standard || STAND_INS.contains(&doc.name.as_str());
    let docs: Vec<Doc> = rig().session.docs().all().iter().filter(is_ours).cloned().collect();
    let (mut rig, mut watch) = prepared();
    let mut panicked = Vec::new();
    let (mut n_calls, mut n_ok) = (0, 0);
    for doc in docs.iter().filter(|doc| doc.name.starts_with(char::is_alphabetic)) {
        // waiting is what it is for
        for call in calls(doc).iter().filter(|call| !(call.starts_with("sleep") && call.contains(['9', '3', '2']))) {
            n_calls += 1;
            let cell = format!("let x = {call}; x");
            let started = Instant::now();
            let ran = watch.run(&mut rig, &cell);
            n_ok += usize::from(matches!(ran, Ok(Ok(_))));
            if ran.is_err() {
                panicked.push(call.clone());
                (rig, watch) = prepared();
            }
            if doc.name == "open" {
                // where one cannot be opened, no other stands in for it
                rig.run("open(\"embedded\")").unwrap();
            }
            let seconds = started.elapsed().as_secs_f64();
            assert!(seconds < 20.0, "{call} took {seconds} s and did not stop when asked to");
        }
    }
    assert!(n_calls > 10_000 && n_ok > 900, "{n_ok} of {n_calls}");
    assert!(panicked.is_empty(), "{} of {n_calls} calls panicked:\n{}", panicked.len(), panicked.join("\n"));
    assert_eq!(rig.say("p.n_tokens > 100 && 1 + 1 == 2"), "true");
}

/// Words and signs of cells, whole and broken.
const WORDS: &[&str] = &[
    "let",
    "x",
    "y",
    "fn",
    "f",
    "if",
    "else",
    "for",
    "in",
    "while",
    "loop",
    "break",
    "return",
    "throw",
    "try",
    "catch",
    "const",
    "switch",
    "_",
    "_1",
    "_99",
    "this",
    "import",
    "export",
    "eval",
    "true",
    "p",
    "r",
    "t",
    "tb",
    "(",
    ")",
    "[",
    "]",
    "{",
    "}",
    "#{",
    "|",
    "||",
    "|x|",
    "=>",
    ",",
    ";",
    ":",
    "::",
    ".",
    "..",
    "..=",
    "?.",
    "?[",
    "??",
    "=",
    "+=",
    "==",
    "+",
    "-",
    "*",
    "/",
    "%",
    "**",
    "!",
    "<",
    ">>",
    "&&",
    "\n",
    "\"",
    "'",
    "`",
    "${",
    "//",
    "/*",
    "*/",
    "0",
    "1",
    "-1",
    "1e308",
    "0x",
    "0b2",
    "1_",
    "9223372036854775807",
    "9223372036854775808",
    "\"a\"",
    "'c'",
    "\"\\u{1F600}\"",
    "`a ${1} b`",
    "é",
    "日本",
    "🦀",
    "\u{0}",
    "\t",
    "%time ",
    "%who",
    "?needle",
    "needle?",
    "%%",
    "@",
    "$",
    "~",
    "\\",
    "#",
];

/// Pieces of cells.
fn fragment() -> impl Strategy<Value = String> {
    let docs: Vec<String> =
        rig().session.docs().own().map(|doc| doc.name.clone()).filter(|name| *name != "sleep").collect();
    let calls: Vec<String> = rig().session.docs().own().flat_map(|doc| calls(doc).into_iter().step_by(17)).collect();
    let calls = calls.into_iter().filter(|call| !call.starts_with("sleep")).collect::<Vec<_>>();
    prop_oneof![
        6 => prop::sample::select(WORDS).prop_map(str::to_owned),
        2 => prop::sample::select(docs),
        1 => prop::sample::select(calls),
        1 => prop::sample::select(ODD.to_vec()).prop_map(str::to_owned),
        1 => "\\PC{0,3}",
    ]
}

fn cell() -> impl Strategy<Value = String> {
    prop::collection::vec((fragment(), prop::bool::ANY), 0..14).prop_map(|parts| {
        parts.into_iter().fold(String::new(), |cell, (part, space)| cell + part.as_str() + if space { " " } else { "" })
    })
}

#[test]
fn any_cells_leave_a_session_that_goes_on() {
    let mut runner =
        proptest::test_runner::TestRunner::new(ProptestConfig { cases: 1500, ..ProptestConfig::default() });
    let shared = std::cell::RefCell::new(prepared());
    let cells = prop::collection::vec(cell(), 1..4);
    let done = runner.run(&cells, |cells| {
        let (rig, watch) = &mut *shared.borrow_mut();
        for cell in &cells {
            // lines that run code for seconds are tested by themselves
            if cell.contains("%timeit") {
                continue;
            }
            let Ok(ran) = watch.run(rig, cell) else {
                (*rig, *watch) = prepared();
                return Err(TestCaseError::fail(format!("panicked: {cell:?}")));
            };
            if let Err(error) = ran {
                check_error(&error, cell)?;
            }
        }
        prop_assert_eq!(rig.say("let checked = 20 + 1; checked * 2"), "42");
        if rig.session.count() > 300 {
            (*rig, *watch) = prepared();
        }
        Ok(())
    });
    done.unwrap();
}

/// Errors say something, and point into some text.
fn check_error(error: &CellError, cell: &str) -> Result<(), TestCaseError> {
    prop_assert!(!error.name.is_empty() && !error.message.trim().is_empty(), "{cell:?}: {error:?}");
    if let Some(place) = &error.place {
        let length = place.text.chars().count();
        prop_assert!(place.line >= 1 && (1..=length + 1).contains(&place.column), "{cell:?}: {place:?}");
        prop_assert!(place.column + place.len <= length + 2, "{cell:?}: {place:?}");
    }
    Ok(())
}

#[test]
fn completion_and_help_work_everywhere() {
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig { cases: 400, ..ProptestConfig::default() });
    let (rig, _) = prepared();
    let done = runner.run(&(cell(), 0..200_usize), |(cell, extra)| {
        let ends = cell.char_indices().map(|(at, _)| at).chain([cell.len(), cell.len() + extra, extra.min(cell.len())]);
        for cursor in ends {
            let found = rig.session.complete(&cell, cursor);
            let bytes = cell.get(found.replaces.clone());
            prop_assert!(bytes.is_some() && found.replaces.end <= cursor, "{cell:?} at {cursor}: {:?}", found.replaces);
            let _ = rig.session.inspect(&cell, cursor, cursor % 2 == 0);
        }
        let _ = (rig.session.completeness(&cell), rig.session.check(&cell));
        prop_assert_eq!(rig.session.n_faults(), 0, "{:?}", cell);
        Ok(())
    });
    done.unwrap();
}
