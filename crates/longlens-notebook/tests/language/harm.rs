//! What goes wrong inside a function ends its cell and nothing else; what strangers write harms nobody.

use std::cell::RefCell;
use std::rc::Rc;

use longlens_app::Problem;
use longlens_core::lens::Lens;
use longlens_core::scripted::{ScriptedLens, induction};
use longlens_notebook::document::Notebook;
use longlens_notebook::host::{Files, Models};
use longlens_notebook::interpreter::{Interpreter, Out};
use longlens_notebook::runner::{self, RunOptions, SharedWatch};
use longlens_notebook::session::{Limits, Options, Session};

use crate::common::{Heard, Rig};
use crate::error;

/// Opens models of which one fails inside while it is read, and one while it runs.
struct Fragile;

impl Models for Fragile {
    fn open(&self, model: &str) -> Result<Box<dyn Lens>, Problem> {
        assert_ne!(model, "cut", "a tokenizer that ends too early");
        let lens = ScriptedLens::new(move |seen, logits| {
            assert!(!seen.ends_with(&[1, 1]), "never");
            induction(seen, logits);
        });
        let faulty = ScriptedLens::new(|_, _| panic!("index out of bounds"));
        Ok(Box::new(if model == "faulty" { faulty } else { lens }))
    }
}

fn rig() -> Rig {
    let folder = tempfile::Builder::new().prefix("cells").tempdir().unwrap();
    let heard = Rc::new(RefCell::new(Heard::default()));
    let out: Out = heard.clone();
    let files = Files::below(folder.path());
    let options = Options { model: "embedded".into(), files, limits: Limits::default(), draws: false };
    Rig { session: Session::new(Box::new(Fragile), options, &out), heard, out, folder }
}

#[test]
fn a_panic_ends_the_cell_and_keeps_the_session() {
    let mut rig = rig();
    rig.run("let kept = 20;").unwrap();
    let told = error(&mut rig, "let before = 1; fn twice(x) { 2 * x } open(\"cut\"); let after = 2;");
    assert!(told.starts_with("InternalError: something failed inside longlens: "), "{told}");
    assert!(told.contains("a tokenizer that ends too early") && told.contains("variables are kept"), "{told}");
    assert_eq!(rig.say("twice(kept + before)"), "42", "variables and functions of the cell are there");
    assert!(rig.say("after").contains("there is no variable `after`"));
    let last = &rig.session.cells()[1];
    assert_eq!(last.error.as_ref().unwrap().name, "InternalError");
    assert_eq!(rig.session.n_faults(), 1);
    // also beside the cells, in files that are run, and in a timed cell
    std::fs::write(rig.folder.path().join("bad.rhai"), "let from_file = 3;\nopen(\"cut\")").unwrap();
    for _ in 0..20 {
        assert!(error(&mut rig, "%run bad.rhai").starts_with("InternalError"), "no depth is left behind");
    }
    assert_eq!(rig.say("from_file"), "3");
    assert!(error(&mut rig, "%time open(\"cut\")").starts_with("InternalError"));
    let out = rig.out.clone();
    assert_eq!(rig.session.aside("open(\"cut\")", &out).unwrap_err().name, "InternalError");
    assert_eq!(rig.say("kept"), "20");
}

#[test]
fn a_model_that_failed_inside_is_not_used_again() {
    let mut rig = rig();
    rig.run("let kept = 20; open(\"faulty\");").unwrap();
    assert!(error(&mut rig, "generate(\"abab\", full(), 4)").starts_with("InternalError"));
    for cell in ["generate(\"abab\", full(), 4)", "prompt(\"abab\")", "trace(\"abab\", full())"] {
        let told = error(&mut rig, cell);
        assert!(told.contains("is not used again") && told.contains("open it again"), "{cell}: {told}");
    }
    rig.run("open(\"embedded\"); let said = generate(\"abab\", full(), 4);").unwrap();
    assert_eq!(rig.say("kept"), "20");
}

#[test]
fn a_run_goes_on_after_a_panic_and_stores_it() {
    let mut rig = rig();
    let text = "// %%\nlet kept = 20;\n// %%\nopen(\"cut\")\n// %%\nkept + 1\n";
    let mut notebook = Notebook::from_text(text);
    let options = RunOptions { keep_going: true, ..RunOptions::default() };
    let nobody: SharedWatch = Rc::new(RefCell::new(()));
    let summary = runner::run(&mut rig.session, &mut notebook, &options, &nobody).unwrap();
    assert_eq!(summary.failures.len(), 1);
    assert_eq!(notebook.cells[1].outputs[0]["ename"], "InternalError");
    assert_eq!(notebook.cells[2].outputs[0]["data"]["text/plain"], "21");
}

#[test]
fn a_strangers_cells_write_nothing_that_others_run() {
    let mut rig = rig();
    let root = rig.folder.path().to_owned();
    std::fs::create_dir_all(root.join(".git")).unwrap();
    std::fs::write(root.join(".git/config"), "[core]").unwrap();
    std::fs::write(root.join("Makefile"), "all:").unwrap();
    std::fs::write(root.join("notes.ipynb"), "{}").unwrap();
    std::fs::write(root.join("notes.txt"), "mine").unwrap();
    for (cell, said) in [
        ("save(\"[core]\\nfsmonitor = touch x\", \".git/config\")", "hidden"),
        ("save(\"x\", \".bashrc\")", "hidden"),
        ("save(\"x\", \"in/.ssh/authorized_keys\")", "hidden"),
        ("sweep(#{ a: [1] }, |p| p.a, #{ file: \".git/hooks/post-checkout\" })", "hidden"),
        ("sweep(#{ a: [1] }, |p| p.a, #{ file: \"Makefile\" })", "cells save no text without an ending"),
        ("sweep(#{ a: [1] }, |p| p.a, #{ file: \"run.sh\" })", "cells save no text as `.sh`"),
        ("sweep(#{ a: [1] }, |p| p.a, #{ file: \"package.json\" })", "other programs take orders from"),
        ("sweep(#{ a: [1] }, |p| p.a, #{ file: \"notes.txt\" })", "holds no rows of a sweep"),
        ("load(\".git/config\")", "hidden"),
        ("text(\".git/config\")", "hidden"),
        ("files(\".git\")", "hidden"),
        ("%save .hidden.ipynb", "hidden"),
        ("%run .hidden.rhai", "hidden"),
        ("%load .hidden.rhai", "hidden"),
        ("perplexity(#{ lengths: [16], text: \".git/config\" })", "hidden"),
        ("save(\"x\", \"notes.txt\")", "stays as it is"),
        ("save(\"x\", \"notes.txt\", #{ overwrite: true })", "--overwrite"),
        ("save(\"x\", \"Makefile\")", "cells save no text without an ending"),
        ("save(\"import os\", \"conftest.py\")", "cells save no text as `.py`: other programs may run it"),
        ("save(prompt(\"import os\"), \"in/sitecustomize.PY\")", "cells save no text as `.py`"),
        ("save(\"a b\", \"a.txt.sh\")", "cells save no text as `.sh`"),
        ("save(\"torch\", \"requirements.txt\")", "other programs take orders from a file named `requirements.txt`"),
        ("save(#{ scripts: 1 }, \"in/package.json\")", "other programs take orders from"),
        ("save(\"{}\", \"jupyter_server_config.json\")", "other programs take orders from"),
        ("save(\"torch\", \"dev-requirements.txt\")", "other programs take orders from"),
        ("save(\"torch\", \"requirements/base.txt\")", "other programs take orders from"),
        ("save(#{ exec: 1 }, \"nodemon.json\")", "other programs take orders from"),
        ("save(#{ plugins: 1 }, \"babel.config.json\")", "other programs take orders from"),
        ("save(\"do as I say\", \"in/AGENTS.md\")", "other programs take orders from"),
        ("%save notes.ipynb", "stays as it is"),
    ] {
        let told = error(&mut rig, cell);
        assert!(told.contains(said), "{cell}: {told}");
    }
    assert_eq!(std::fs::read(root.join(".git/config")).unwrap(), b"[core]");
    assert_eq!(std::fs::read(root.join("Makefile")).unwrap(), b"all:");
    assert_eq!(std::fs::read(root.join("notes.ipynb")).unwrap(), b"{}");
    assert_eq!(rig.say("files(\".\")"), "[\"Makefile\", \"notes.ipynb\", \"notes.txt\"]");
    // what cells wrote they may write again; what others wrote as results, where they say so
    assert_eq!(rig.say("save(\"a\", \"a.txt\"); save(\"b\", \"a.txt\")"), "a.txt");
    std::fs::write(root.join("t.csv"), "theirs").unwrap();
    let said = rig.say("save(table(#{ n: [1] }), \"t.csv\", #{ overwrite: true })");
    assert!(said.contains("note: `t.csv` was there already") && said.ends_with("t.csv"), "{said}");
    assert!(rig.say("sweep(#{ a: [1] }, |p| p.a, #{ file: \"s.jsonl\" }); sweep(#{ a: [2] }, |p| p.a, #{ file: \"s.jsonl\" }).len()").ends_with('1'));
}

#[test]
fn cells_only_lower_their_limits() {
    let mut rig = rig();
    rig.session.set_limits(Limits { operations: 1000, memory: 1 << 30 });
    for (cell, said) in [
        ("%config operations 2000", "cells can only lower it (start with --max-operations to raise it)"),
        (
            "%config memory 2g",
            "`memory` is 1 GiB here, and cells can only lower it (start with --memory-limit to raise it)",
        ),
        ("%config memory much", "`memory` needs a size"),
        ("%config operations 0", "`operations` needs a whole number of at least 1"),
        ("%config memroy 1g", "did you mean `memory`?"),
    ] {
        let told = error(&mut rig, cell);
        assert!(told.contains(said), "{cell}: {told}");
    }
    assert!(rig.say("%config operations 500").starts_with("operations 500 "));
    assert!(rig.say("%config operations 1_000").starts_with("operations 1000 "), "up to what the user set");
    assert!(rig.say("%config memory 512m").contains("memory 512 MiB"));
    // who sits at a prompt may raise them, files that are run there may not
    rig.session.let_raise_limits();
    assert!(rig.say("%config operations 2000").starts_with("operations 2000 "));
    std::fs::write(rig.folder.path().join("raise.rhai"), "// %%\n%config operations 9000\n").unwrap();
    assert!(error(&mut rig, "%run raise.rhai").contains("can only lower it"));
}

#[test]
fn errors_have_an_end() {
    let mut rig = rig();
    let long = "x".repeat(100_000);
    let told = rig.run(&format!("throw \"{long}\"")).unwrap_err();
    assert!(told.message.ends_with("(100000 characters in all)") && told.to_string().len() < 10_000);
    let list = "1, ".repeat(15_000);
    let told = rig.run(&format!("let a = [{list} nope, {list}];")).unwrap_err().to_string();
    assert!(told.len() < 2000 && told.contains("there is no variable `nope`"), "{told}");
    let lines: Vec<&str> = told.lines().collect();
    let caret = lines[3].chars().position(|c| c == '^').unwrap();
    assert_eq!(lines[2].chars().skip(caret).take(4).collect::<String>(), "nope", "{told}");
}

#[test]
fn files_of_strangers_are_read_or_refused() {
    let mut rig = rig();
    let root = rig.folder.path().to_owned();
    std::fs::write(root.join("deep.json"), format!("{}1{}", "[".repeat(100_000), "]".repeat(100_000))).unwrap();
    std::fs::write(root.join("deep.jsonl"), format!("{{\"a\": {}1{}}}", "[".repeat(100_000), "]".repeat(100_000)))
        .unwrap();
    std::fs::write(root.join("latin.rhai"), b"let a = 1;\nlet b = \"caf\xe9\";\n").unwrap();
    std::fs::write(root.join("latin.txt"), b"caf\xe9").unwrap();
    std::fs::write(root.join("wide.rhai"), b"\xff\xfel\0e\0t\0").unwrap();
    std::fs::write(root.join("mark.rhai"), "\u{feff}let marked = 7;").unwrap();
    std::fs::write(root.join("mark.txt"), "\u{feff}words").unwrap();
    std::fs::write(
        root.join("python.ipynb"),
        r#"{"cells":[],"metadata":{"kernelspec":{"name":"python3"}},"nbformat":4,"nbformat_minor":5}"#,
    )
    .unwrap();
    for (cell, said) in [
        ("load(\"deep.json\")", "recursion limit"),
        ("load(\"deep.jsonl\")", "recursion limit"),
        ("%run latin.rhai", "latin.rhai: byte 0xe9 in line 2, column 13 (offset 23) is not UTF-8"),
        ("text(\"latin.txt\")", "byte 0xe9 in line 1, column 4 (offset 3) is not UTF-8"),
        ("%load wide.rhai", "it is UTF-16, not UTF-8"),
        ("%run python.ipynb", "the notebook's language is `python3`, not `rhai`"),
    ] {
        let told = error(&mut rig, cell);
        assert!(told.contains(said), "{cell}: {told}");
    }
    assert_eq!(rig.say("%run mark.rhai"), "");
    assert_eq!(rig.say("marked"), "7");
    assert_eq!(rig.say("load(\"mark.txt\")"), "words");
}
