//! What cells hold has a limit: one test at a time, since the whole program's memory is counted.

mod common;

use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use common::{Heard, Rig, rig};
use longlens_app::Problem;
use longlens_core::lens::{Control, Lens, LensError, ModelInfo, Rows, Sequence, Setup, TextCodec};
use longlens_core::scripted::{ScriptedLens, induction};
use longlens_core::trace::{Trace, Watch};
use longlens_notebook::host::{Files, Models};
use longlens_notebook::interpreter::{Interpreter, Out};
use longlens_notebook::memory::live;
use longlens_notebook::session::{Limits, Options, Session};

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
        tables_are_not_larger_than_there_is_room();
        what_is_shown_of_long_texts_has_an_end();
        values_inside_values_are_stopped();
        variables_can_be_let_go();
        what_models_take_and_what_they_hand_out_are_told_apart();
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
        // what entries share is written out for each
        "let s = \"\"; s.pad(1_000_000, \"x\"); let a = []; a.pad(1000, s); let t = a.to_string()",
        "let s = \"\"; s.pad(1_000_000, \"x\"); let a = []; a.pad(1000, s); let t = `${a}`",
        "let s = \"\"; s.pad(1_000_000, \"x\"); let a = []; a.pad(1000, s); let t = \"\" + #{ a: a }",
        "let s = \"\"; s.pad(1_000_000, \"x\"); let a = []; a.pad(1000, s); print(a)",
        "let s = \"\"; s.pad(1_000_000, \"x\"); let a = []; a.pad(1000, s); debug(a)",
        "let s = \"\"; s.pad(1_000_000, \"x\"); let a = []; a.pad(1000, s); save(a, \"a.json\")",
        "let s = \"\"; s.pad(1_000_000, \"x\"); let a = []; a.pad(1000, s); sweep(#{ a: a }, |p| 1)",
    ] {
        let mut rig = rig();
        rig.session.set_limits(limits());
        rig.run("let kept = 20;").unwrap();
        let told = rig.run(cell).expect_err(cell).to_string();
        assert!(told.starts_with("LimitError: values, texts and results grew beyond 64 MiB"), "{cell}: {told}");
        assert_eq!(rig.say("kept + 1"), "21", "{cell}");
        // functions stand outside of blocks
        if !cell.contains("fn ") {
            let caught = rig.run(&format!("try {{ {cell} }} catch {{ }} loop {{ }}"));
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

/// What is made of little is refused before it is made.
fn tables_are_not_larger_than_there_is_room() {
    let mut rig = rig();
    rig.session.set_limits(limits());
    let rag = (0..20_000).map(|n| format!("{{\"k{n}\":1}}\n")).collect::<Vec<_>>().concat();
    let list = format!("[{}]", rag.trim_end().replace('\n', ","));
    let rows = format!("a\n{}", "1\n".repeat(4_000_000));
    let ones = format!("[{}1]", "1,".repeat(4_000_000));
    for (name, text) in [("rag.jsonl", rag), ("rag.json", list), ("rows.csv", rows), ("ones.json", ones)] {
        std::fs::write(rig.folder.path().join(name), text).unwrap();
    }
    let before = live();
    for cell in [
        "load(\"rag.jsonl\")",
        "load(\"rag.json\")",
        "load(\"rows.csv\")",
        "load(\"ones.json\")",
        "let s = \"\"; s.pad(1_000_000, \"x\"); let a = []; a.pad(1000, s); table(#{ a: a })",
        "let a = []; for i in 0..20_000 { a.push(i) } table(#{ x: a, y: a, v: a }).pivot(\"x\", \"y\", \"v\")",
        "let a = []; for i in 0..20_000 { a.push(i) } heatmap(table(#{ x: a, y: a, v: a }), #{ x: \"x\", y: \"y\", value: \"v\" })",
    ] {
        let started = Instant::now();
        let told = rig.run(cell).expect_err(cell).to_string();
        let is_told = ["grew beyond 64 MiB", "cannot be drawn"];
        assert!(is_told.iter().any(|words| told.contains(words)), "{cell}: {told}");
        assert!(started.elapsed() < Duration::from_secs(20), "{cell}: {:?}", started.elapsed());
        assert!(live() < before + 2 * LIMIT, "{cell}: {} more bytes are held", live() - before);
    }
}

/// A list of long texts after a cell, or thrown, says how each begins.
fn what_is_shown_of_long_texts_has_an_end() {
    let mut rig = rig();
    rig.session.set_limits(limits());
    rig.run("let s = \"\"; s.pad(1_000_000, \"x\"); let a = []; a.pad(1000, s);").unwrap();
    let shown = rig.run("a").unwrap().unwrap().text;
    assert!(shown.len() < 3_000_000 && shown.contains("xx…\"") && shown.contains("… 800 more"), "{}", shown.len());
    let thrown = rig.run("throw a").unwrap_err().to_string();
    assert!(thrown.len() < 10_000, "{}", thrown.len());
}

fn values_inside_values_are_stopped() {
    for cell in [
        "let f = 0; loop { let g = f; f = || g; }",
        "let f = []; loop { let g = f; f = [|| g]; }",
        "let m = 0; loop { let g = m; m = method(\"mine\", |d| if g == 0 { d } else { d }); }",
        "let a = []; loop { a.push([a.pop()]) }",
        "fn dig() { loop { this.push([this.pop()]) } } let a = [1]; a.dig()",
        "let a = #{}; loop { let b = a.remove(\"x\"); a.x = #{ x: b }; }",
        // `this` is no variable that is read
        "fn dig() { loop { this.push(this.drain(0..1)) } } let a = [1]; a.dig()",
        "fn dig() { loop { this.push(this.drain(0, 1)) } } let a = [1]; a.dig()",
        "fn dig() { loop { this.push(this.drain(0..=0)) } } let a = [1]; a.dig()",
        "fn dig() { loop { this.push(this.drain(|x| true)) } } let a = [1]; a.dig()",
        "fn dig() { loop { this.push(this.retain(|x| false)) } } let a = [1]; a.dig()",
        "fn dig() { loop { this.push(this.split(0)) } } let a = [1]; a.dig()",
        "fn dig() { loop { this.push([this.shift()]) } } let a = [1]; a.dig()",
        "fn dig() { loop { this.push([this.remove(-1)]) } } let a = [1]; a.dig()",
        "fn dig() { loop { this.x = #{ x: this.remove(\"x\") } } } let a = #{ x: 1 }; a.dig()",
        "fn dig() { loop { this.x = this.drain(|k, v| true) } } let a = #{ x: 1 }; a.dig()",
        // beside a large one
        "let m = #{ a: [], z: [] }; m.a.pad(100_000, 1); loop { m.z.push([m.z.pop()]) }",
    ] {
        let mut rig = rig();
        rig.session.set_limits(Limits { operations: u64::MAX, memory: 1 << 30 });
        rig.run("let kept = 20;").unwrap();
        let told = rig.run(cell).expect_err(cell).to_string();
        assert!(told.starts_with("LimitError: values lie inside values too deeply"), "{cell}: {told}");
        assert_eq!(rig.say("kept + 1"), "21", "{cell}");
    }
}

fn variables_can_be_let_go() {
    let mut rig = rig();
    rig.session.set_limits(limits());
    assert!(rig.run("let a = []; loop { a.push(a.len()) }").is_err());
    assert!(rig.run("let b = []; b.pad(10_000_000, 1)").is_err(), "there is no room for another");
    assert!(rig.say("%config").contains("MiB are held"));
    assert_eq!(rig.say("a = (); 1 + 1"), "2");
    rig.run("let b = []; b.pad(1_000_000, 1);").unwrap();
    assert_eq!(rig.say("b.len()"), "1000000");
}

/// A model whose caches are larger than what cells may hold, and whose runs leave much to keep.
struct Large {
    lens: ScriptedLens,
    cache: Vec<u8>,
}

/// Bytes of its cache.
const CACHE: usize = 3 * LIMIT as usize;
/// Losses that a run of it leaves, of four bytes each.
const LOSSES: usize = 1 << 20;

impl Lens for Large {
    fn model(&self) -> &ModelInfo {
        self.lens.model()
    }
    fn text(&self) -> Result<&dyn TextCodec, LensError> {
        self.lens.text()
    }
    fn begin(&mut self, setup: &Setup) -> Result<(), LensError> {
        self.cache = Vec::new();
        self.lens.begin(setup)
    }
    fn feed(&mut self, tokens: &[u32], want: Rows, control: &mut dyn Control) -> Result<Vec<f32>, LensError> {
        self.cache = vec![0; CACHE];
        self.lens.feed(tokens, want, control)
    }
    fn trace(&mut self) -> Trace {
        Trace { nll: vec![1.0; LOSSES], ..self.lens.trace() }
    }
    fn reuse(&mut self, setup: &Setup, keep: usize) -> Result<(), LensError> {
        self.lens.reuse(setup, keep)
    }
    fn fork(&mut self, n_tokens: usize) -> Result<Sequence, LensError> {
        self.lens.fork(n_tokens)
    }
    fn begin_from(&mut self, setup: &Setup, prefix: &Sequence) -> Result<(), LensError> {
        self.lens.begin_from(setup, prefix)
    }
    fn inspect(&mut self, watch: &Watch, control: &mut dyn Control) -> Result<Trace, LensError> {
        self.lens.inspect(watch, control)
    }
}

struct Larges;

impl Models for Larges {
    fn open(&self, _: &str) -> Result<Box<dyn Lens>, Problem> {
        Ok(Box::new(Large { lens: ScriptedLens::new(induction), cache: Vec::new() }))
    }
}

fn what_models_take_and_what_they_hand_out_are_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    let heard = Rc::new(std::cell::RefCell::new(Heard::default()));
    let out: Out = heard.clone();
    let options = Options { model: "large".into(), files: Files::below(folder.path()), limits: limits(), draws: false };
    let mut rig = Rig { session: Session::new(Box::new(Larges), options, &out), heard, out, folder };
    let held = |rig: &Rig| rig.session.host().gauge().held();
    let before = held(&rig);
    for _ in 0..3 {
        // another run, and the model is opened again: caches come and go
        assert!(rig.say("trace(\"abab\", full()); generate(\"abab\", full(), 4); 7").ends_with('7'));
        assert_eq!(rig.say("open(\"large\"); 7"), "7");
        // the last results stay, as `_`
        assert!(held(&rig) < before + (16 << 20), "{} after {before}", held(&rig));
    }
    let told = rig.run("let kept = []; for i in 0..60 { kept.push(trace(\"abab\", full())); }").unwrap_err();
    assert!(told.to_string().starts_with("LimitError: values, texts and results grew beyond 64 MiB"), "{told}");
    assert!((8..20).contains(&rig.say("kept.len()").parse().unwrap()), "{}", rig.say("kept.len()"));
    assert_eq!(rig.say("kept = (); 7"), "7");
    assert!(held(&rig) < before + (16 << 20), "{} after {before}", held(&rig));
    // letting a model go leaves no room for more than the limit
    rig.run("open(\"large\");").unwrap();
    assert!(rig.run("let much = []; much.pad(100_000_000, 1)").is_err());
    assert!(rig.run("let much = blob(60_000_000); let more = blob(60_000_000);").is_err());
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
        let mut rig = rig();
        rig.session.set_limits(Limits { operations: u64::MAX, memory: 2 << 30 });
        let (cell, started) = (form(n), Instant::now());
        assert_eq!(rig.say(&cell), n.to_string());
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
    let mut rig = rig();
    let cell = format!("let a = [{}];", "1, ".repeat(2_000_000));
    let cancel = rig.session.cancel();
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
    let told = rig.run(&cell).unwrap_err().to_string();
    done.store(true, Ordering::Relaxed);
    assert!(told.starts_with("Interrupted"), "{told}");
    assert!(started.elapsed() < Duration::from_secs(20), "{:?}", started.elapsed());
    raise.join().unwrap();
    rig.session.cancel().lower();
    let too_long = format!("\"{}\"", "x".repeat(17 << 20));
    assert!(rig.run(&too_long).unwrap_err().to_string().starts_with("LimitError: this cell has 17 MB"));
    assert!(Session::check(&rig.session, &too_long).is_err());
    assert_eq!(rig.say("1 + 1"), "2");
}
