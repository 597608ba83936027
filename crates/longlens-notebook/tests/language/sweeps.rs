//! Sweeps and measurements: every combination once, also across interruptions and sessions.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime};

use longlens_app::Problem;
use longlens_core::lens::{CancelToken, Control, Lens, LensError, ModelInfo, Rows, Sequence, Setup, TextCodec};
use longlens_core::scripted::{ScriptedLens, induction};
use longlens_core::trace::{Trace, Watch};
use longlens_notebook::host::Models;
use longlens_notebook::interpreter::Interpreter;

use crate::common::{Rig, Scripted, rig};
use crate::{error, transcript};

/// Another session in the folder of the first.
fn next(before: &Rig) -> Rig {
    next_on(before, Box::new(Scripted))
}

pub fn next_on(before: &Rig, models: Box<dyn Models>) -> Rig {
    let mut rig = rig();
    let files = longlens_notebook::host::Files::below(before.folder.path());
    let options = longlens_notebook::session::Options {
        model: "embedded".into(),
        files,
        limits: rig.session.limits(),
        draws: false,
    };
    rig.session = longlens_notebook::session::Session::new(models, options, &rig.out);
    rig
}

/// Points that a cell computed: they print a dot each.
fn computed(rig: &mut Rig, cell: &str) -> usize {
    rig.heard.borrow_mut().text.clear();
    let _ = rig.run(cell);
    rig.heard.borrow().text.matches('.').count()
}

#[test]
fn what_a_sweep_makes_of_results() {
    let mut rig = rig();
    insta::assert_snapshot!(transcript(&mut rig, &[
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
    let mut rig = rig();
    rig.run("let broken = true;").unwrap();
    // what is not captured does not change the function
    let cell = "sweep(#{ a: [1, 2, 3, 4] }, |p| { print(\".\"); if p.a == 3 && files(\".\").len() == 0 { throw \"third\" } p.a })";
    assert_eq!(computed(&mut rig, cell), 3);
    rig.run("save(\"\", \"now.txt\");").unwrap();
    assert_eq!(computed(&mut rig, cell), 2);
    assert_eq!(computed(&mut rig, cell), 0);
    assert_eq!(rig.run(cell).unwrap().unwrap().text.lines().count(), 5);
    // no model was open at the first point, and one is at the second
    let cell = "sweep(#{ a: [1, 2] }, |p| { print(\".\"); run(\"abc\", full()).loss })";
    assert_eq!((computed(&mut rig, cell), computed(&mut rig, cell)), (2, 0));
}

#[test]
fn the_flag_interrupts_a_sweep_that_goes_on_later() {
    let mut rig = rig();
    let cell = "sweep(#{ a: [1, 2, 3, 4, 5, 6] }, |p| { sleep(0.1); print(\".\"); p.a })";
    let cancel = rig.session.cancel();
    let raise = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(250));
        cancel.cancel();
    });
    let first = computed(&mut rig, cell);
    raise.join().unwrap();
    assert!((1..6).contains(&first), "{first}");
    assert_eq!(first + computed(&mut rig, cell), 6);
}

#[test]
fn a_file_resumes_in_another_session() {
    let mut first = rig();
    let cell = "sweep(#{ a: [1, 2, 3], m: [full(), \"streaming:window=64\"] }, |p| {
        print(\".\");
        if p.a == 3 && files(\".\").len() < 2 { throw \"stopped\" }
        #{ loss: run(needle(200, 0.5), p.m, #{ max_tokens: 0 }).loss }
    }, #{ file: \"rows.jsonl\" })";
    assert_eq!(computed(&mut first, cell), 5);
    first.run("save(\"\", \"now.txt\");").unwrap();
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
    let mut rig = rig();
    rig.run("fn twice(x) { 2 * x } fn other(x) { x } let k = 1; let m = method(\"m\", |d| d); let p = prompt(\"a long enough prompt, one\");").unwrap();
    let cell = "sweep(#{ a: [1, 2] }, |s| { print(\".\"); helper(s.a) + k + run(p, m, #{ max_tokens: 0 }).nll.len() })";
    rig.run("fn helper(x) { twice(x) }").unwrap();
    assert_eq!(computed(&mut rig, cell), 2);
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
        rig.run(change).unwrap();
        assert_eq!(computed(&mut rig, cell), expected, "{change}");
    }
    let text = cell.replace("\".\"", "\"..\"");
    assert_eq!(computed(&mut rig, &text), 4);
}

#[test]
fn files_that_cannot_be_written_say_so() {
    let mut rig = rig();
    std::fs::create_dir(rig.folder.path().join("folder.jsonl")).unwrap();
    std::fs::write(rig.folder.path().join("plain"), "x").unwrap();
    for file in ["folder.jsonl", "plain/rows.jsonl", "../rows.jsonl"] {
        let told = error(&mut rig, &format!("sweep(#{{ a: [1] }}, |p| 1, #{{ file: \"{file}\" }})"));
        assert!(
            told.starts_with("Error: ") && told.contains(Path::new(file).file_name().unwrap().to_str().unwrap()),
            "{told}"
        );
    }
    assert!(error(&mut rig, "sweep(#{ a: [1] }, |p| 1, #{ files: \"a\" })").contains("did you mean `file`?"));
}

#[test]
fn every_row_starts_on_the_same_model() {
    let mut rig = rig();
    rig.run("let first = open(); let second = open(\"embedded\"); select(first);").unwrap();
    let cell = "sweep(#{ other: [true, false] }, |s| { if s.other { select(second); } print(\".\"); 1 }); open().name";
    assert_eq!(computed(&mut rig, cell), 2);
    assert_eq!(computed(&mut rig, cell), 0);
}

#[test]
fn labels_of_a_switch_count() {
    let mut rig = rig();
    let cell = "sweep(#{ kind: [\"sliding\", \"streaming\"] }, |p| {
        print(\".\");
        switch p.kind { \"streaming\" => 1, 5 => 7, \"full\" => 3 }
    })";
    assert_eq!((computed(&mut rig, cell), computed(&mut rig, cell)), (2, 0));
    let moved = format!("\n\n{}", cell.replace("=>", " =>\n"));
    assert_eq!(computed(&mut rig, &moved), 0);
    for (old, new) in [("\"streaming\" =>", "\"sliding\" =>"), ("5 =>", "6 =>"), ("5 =>", "5..9 =>")] {
        assert_eq!(computed(&mut rig, &cell.replace(old, new)), 2, "{new}");
    }
}

#[test]
fn constants_of_a_cell_count() {
    let mut rig = rig();
    let cell = "const SCALE = 1; const OTHER = 1; sweep(#{ a: [1, 2] }, |p| { print(\".\"); p.a * global::SCALE })";
    assert_eq!((computed(&mut rig, cell), computed(&mut rig, cell)), (2, 0));
    assert_eq!(computed(&mut rig, &cell.replace("OTHER = 1", "OTHER = 2")), 0);
    assert_eq!(computed(&mut rig, &cell.replace("SCALE = 1", "SCALE = 2")), 2);
    let through =
        "fn scaled(x) { x * global::SCALE } const SCALE = 3; sweep(#{ a: [1, 2] }, |p| { print(\".\"); scaled(p.a) })";
    assert_eq!((computed(&mut rig, through), computed(&mut rig, through)), (2, 0));
    assert_eq!(computed(&mut rig, &through.replace('3', "4")), 2);
}

#[test]
fn numbers_that_json_lacks_are_told_apart() {
    let mut rig = rig();
    let cell = "sweep(#{ a: [0.0 / 0.0, 1.0 / 0.0, -1.0 / 0.0, 0.0, -0.0] }, |p| { print(\".\"); 1 })";
    assert_eq!((computed(&mut rig, cell), computed(&mut rig, cell)), (5, 0));
}

#[test]
fn what_functions_share_may_lead_back_to_itself() {
    let mut rig = rig();
    rig.run("let m = #{ k: 1 }; m.f = |x| x * m.k; m.g = |x| m.f.call(x) + m.k;").unwrap();
    let cell = "sweep(#{ a: [1, 2] }, |p| { print(\".\"); m.k + p.a })";
    assert_eq!((computed(&mut rig, cell), computed(&mut rig, cell)), (2, 0));
    rig.run("m.k = 2;").unwrap();
    assert_eq!(computed(&mut rig, cell), 2);
}

/// A model whose files lie in a folder.
struct InFolder(PathBuf);

impl Models for InFolder {
    fn open(&self, _: &str) -> Result<Box<dyn Lens>, Problem> {
        let source = self.0.display().to_string();
        Ok(Box::new(ScriptedLens::new(induction).with_model(|info| info.source = source)))
    }
}

#[test]
fn a_model_that_was_trained_on_is_another() {
    let first = rig();
    let folder = first.folder.path().join("model");
    std::fs::create_dir(&folder).unwrap();
    let cell = "sweep(#{ a: [1, 2] }, |p| { print(\".\"); p.a }, #{ file: \"rows.jsonl\" })";
    let weights = folder.join("model.safetensors");
    for (name, bytes, expected) in [
        (&weights, "one", 2),
        (&folder.join("notes.txt"), "not a part of the model", 0),
        (&weights, "more", 2),
        (&folder.join("tokenizer.json"), "{}", 2),
    ] {
        std::fs::write(name, bytes).unwrap();
        let mut rig = next_on(&first, Box::new(InFolder(folder.clone())));
        assert_eq!(computed(&mut rig, cell), expected, "{}: {bytes}", name.display());
    }
    let an_hour_ago = SystemTime::now() - Duration::from_hours(1);
    std::fs::File::options().append(true).open(&weights).unwrap().set_modified(an_hour_ago).unwrap();
    let mut rig = next_on(&first, Box::new(InFolder(folder)));
    assert_eq!(computed(&mut rig, cell), 2);
    // what is open stays what it was
    std::fs::write(&weights, "other").unwrap();
    assert_eq!(computed(&mut rig, cell), 0);
    assert_eq!(computed(&mut rig, &format!("open(\"model\"); {cell}")), 2);
}

#[test]
fn rows_that_were_finished_before_say_what_ran() {
    let mut first = rig();
    let cell = "let t = sweep(#{ window: [32, 64] }, |p| run(needle(200, 0.5), streaming(p), #{ max_tokens: 0 }), #{ file: \"rows.jsonl\" });
        t.records";
    let whole = first.say(cell);
    assert!(whole.contains("window=32") && whole.contains("window=64"), "{whole}");
    assert_eq!(first.say(cell), whole);
    assert_eq!(next(&first).say(cell), whole);
    // a row of another sweep is one of these records once
    assert_eq!(first.say("(t + t).records.len()"), "2");
}

#[test]
fn what_ran_before_a_sweep_that_failed_is_still_known() {
    let mut rig = rig();
    let ran = "sweep(#{ a: [1] }, |p| {
        run(\"before\", full(), #{ max_tokens: 0 });
        try { sweep(#{ b: [1] }, |q| { run(\"in it\", streaming(), #{ max_tokens: 0 }); throw \"no\" }) } catch { }
        1
    }).records.len()";
    assert_eq!(rig.say(ran), "2");
}

#[test]
fn a_file_of_something_else_is_left_alone() {
    let mut rig = rig();
    let path = rig.folder.path().join("notes.jsonl");
    for text in ["my notes\n", "{\"key\": 1}\n{\"loss\": 2.5}\n", "x"] {
        std::fs::write(&path, text).unwrap();
        for options in ["file: \"notes.jsonl\"", "file: \"notes.jsonl\", fresh: true"] {
            assert_eq!(
                error(&mut rig, &format!("sweep(#{{ a: [1] }}, |p| 1, #{{ {options} }})")),
                "Error: `notes.jsonl` holds no rows of a sweep [1: sweep] (name a new file, or one that a sweep wrote)"
            );
            assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
        }
    }
    // an empty file is as good as none, and so is a first line that a kill cut short
    let cell = "sweep(#{ a: [1, 2] }, |p| { print(\".\"); p.a }, #{ file: \"notes.jsonl\" })";
    std::fs::write(&path, "\n").unwrap();
    assert_eq!(computed(&mut rig, cell), 2);
    let line: String = std::fs::read_to_string(&path).unwrap().trim().chars().take(40).collect();
    std::fs::write(&path, line).unwrap();
    assert_eq!((computed(&mut next(&rig), cell), computed(&mut next(&rig), cell)), (2, 0));
}

#[test]
fn rows_in_a_file_go_when_there_are_new_ones() {
    let mut rig = rig();
    let path = rig.folder.path().join("rows.jsonl");
    let text = || std::fs::read_to_string(&path).unwrap();
    let cell = |options: &str| {
        format!(
            "sweep(#{{ a: [1, 2, 3] }}, |p| {{ print(\".\"); if files(\".\").contains(`stop${{p.a}}.txt`) {{ throw \"stopped\" }} p.a }}, #{{ file: \"rows.jsonl\"{options} }})"
        )
    };
    // rows that the session knows already come into the file too
    assert_eq!(computed(&mut rig, &cell("").replace("file: \"rows.jsonl\"", "")), 3);
    assert_eq!(computed(&mut rig, &cell("")), 0);
    assert_eq!(text().lines().count(), 3);
    let before = text();
    rig.run("save(\"\", \"stop1.txt\");").unwrap();
    assert_eq!(computed(&mut rig, &cell(", fresh: true")), 1);
    assert_eq!(text(), before);
    std::fs::rename(rig.folder.path().join("stop1.txt"), rig.folder.path().join("stop2.txt")).unwrap();
    assert_eq!(computed(&mut rig, &cell(", fresh: true")), 2);
    assert_eq!(text().lines().count(), 1);
    // old rows are not taken for new ones
    std::fs::remove_file(rig.folder.path().join("stop2.txt")).unwrap();
    assert_eq!(computed(&mut rig, &cell("")), 2);
    assert_eq!(text().lines().count(), 3);
}

/// A model that raises a flag when it begins its third sequence, and counts those that it begins.
struct Raising {
    lens: ScriptedLens,
    n_begun: Arc<AtomicUsize>,
    flag: Arc<OnceLock<CancelToken>>,
}

impl Lens for Raising {
    fn model(&self) -> &ModelInfo {
        self.lens.model()
    }
    fn text(&self) -> Result<&dyn TextCodec, LensError> {
        self.lens.text()
    }
    fn begin(&mut self, setup: &Setup) -> Result<(), LensError> {
        if self.n_begun.fetch_add(1, Ordering::Relaxed) == 2
            && let Some(flag) = self.flag.get()
        {
            flag.cancel();
        }
        self.lens.begin(setup)
    }
    fn feed(&mut self, tokens: &[u32], want: Rows, control: &mut dyn Control) -> Result<Vec<f32>, LensError> {
        self.lens.feed(tokens, want, control)
    }
    fn trace(&mut self) -> Trace {
        self.lens.trace()
    }
    fn reuse(&mut self, setup: &Setup, keep: usize) -> Result<(), LensError> {
        self.lens.reuse(setup, keep)
    }
    fn fork(&mut self, _: usize) -> Result<Sequence, LensError> {
        Err(LensError::NothingKept { what: "a fork" })
    }
    fn begin_from(&mut self, setup: &Setup, prefix: &Sequence) -> Result<(), LensError> {
        self.lens.begin_from(setup, prefix)
    }
    fn inspect(&mut self, watch: &Watch, control: &mut dyn Control) -> Result<Trace, LensError> {
        self.lens.inspect(watch, control)
    }
}

struct RaisingModels(Arc<AtomicUsize>, Arc<OnceLock<CancelToken>>);

impl Models for RaisingModels {
    fn open(&self, _: &str) -> Result<Box<dyn Lens>, Problem> {
        let lens = ScriptedLens::new(induction);
        Ok(Box::new(Raising { lens, n_begun: self.0.clone(), flag: self.1.clone() }))
    }

    fn held_out(&self, _: &ModelInfo) -> Option<String> {
        Scripted.held_out(ScriptedLens::new(induction).model())
    }
}

#[test]
fn measurements_that_were_stopped_go_on_where_they_were() {
    for (cell, n_cells) in [
        ("passkey(#{ lengths: [200, 300], depths: [0, 1] })", 4),
        ("perplexity(#{ lengths: [64, 128], methods: [full(), \"self_extend\", \"streaming\"] }).rows.len()", 3),
    ] {
        let whole = next_on(&rig(), Box::new(Scripted)).say(cell);
        let (n_begun, flag) = (Arc::default(), Arc::default());
        let mut stopped = next_on(&rig(), Box::new(RaisingModels(Arc::clone(&n_begun), Arc::clone(&flag))));
        flag.set(stopped.session.cancel()).unwrap();
        let said = stopped.say(cell);
        assert!(said.contains("finished cells are kept"), "{cell}: {said}");
        assert_eq!(stopped.say(cell), whole);
        assert_eq!(n_begun.load(Ordering::Relaxed), n_cells + 1, "{cell}: only the cell that was stopped runs twice");
        // nothing is kept of a call that is whole
        assert_eq!(stopped.say(cell), whole);
        assert_eq!(n_begun.load(Ordering::Relaxed), 2 * n_cells + 1, "{cell}");
    }
}

#[test]
fn progress_of_a_sweep_is_that_of_all_its_points() {
    let mut rig = rig();
    rig.run("sweep(#{ depth: [0.0, 1.0] }, |p| run(needle(300, p.depth), full()))").unwrap();
    rig.run("passkey(#{ lengths: [200], depths: [0.5], methods: [full(), streaming()] })").unwrap();
    let heard = rig.heard.borrow();
    for begin in ["sweep 2 of 2: full", "passkey 2 of 2: streaming"] {
        let told: Vec<_> = heard.progress.iter().flatten().filter(|told| told.label.starts_with(begin)).collect();
        assert!(
            !told.is_empty() && told.iter().all(|told| told.total == 1000 && told.done >= 500),
            "{begin}: {told:?}"
        );
    }
}
