//! Notebooks of others, as the real program runs them: of another language, with files and limits that are none of theirs, and with
//! the parameters of papermill's users.

mod common;

use std::io::Write;
use std::process::Stdio;

use common::{Ran, Sandbox};
use serde_json::{Value, json};

fn notebook(metadata: &Value, cells: &[&str]) -> String {
    let cell = |source: &&str| {
        json!({ "cell_type": "code", "execution_count": 1, "metadata": {}, "source": source,
            "outputs": [{ "output_type": "stream", "name": "stdout", "text": "hard-won\n" }] })
    };
    let cells: Vec<Value> = cells.iter().map(cell).collect();
    json!({ "cells": cells, "metadata": metadata, "nbformat": 4, "nbformat_minor": 4 }).to_string()
}

fn rhai() -> Value {
    json!({ "kernelspec": { "name": "longlens", "language": "rhai", "display_name": "longlens" } })
}

#[test]
fn a_notebook_of_another_language_is_refused_and_stays_as_it_is() {
    let sandbox = Sandbox::new();
    let python = ["import os\nprint(\"hard-won result\")"];
    for (name, metadata, cells) in [
        ("none", json!({}), &python[..]),
        ("second", json!({}), &["let a = 1;", "for i in range(3):\n    print(i)"][..]),
        ("magic", json!({}), &["%matplotlib inline"][..]),
        ("kernel", json!({ "kernelspec": { "name": "python3", "display_name": "Python 3" } }), &["print(1)"][..]),
        ("colab", json!({ "colab": { "provenance": [] } }), &["print(1)"][..]),
        ("null", json!({ "kernelspec": null, "language_info": {} }), &python[..]),
        ("nameless", json!({ "kernelspec": { "name": "", "language": " " } }), &python[..]),
        ("info", json!({ "language_info": { "name": "julia" } }), &["print(1)"][..]),
        ("old", json!({ "language": "python" }), &["1 + 1"][..]),
        ("jupytext", json!({ "jupytext": { "main_language": "R" } }), &["1 + 1"][..]),
    ] {
        let file = format!("{name}.ipynb");
        let text = notebook(&metadata, cells);
        sandbox.write(&file, &text);
        for command in ["run --keep-going", "run", "check", "convert"] {
            let ran = sandbox.run(&common::words(&format!("notebook {command} {file}")));
            assert_eq!(ran.code, Some(1), "{name} {command}: {}", ran.stderr);
            assert!(ran.stderr.contains("language"), "{name} {command}: {}", ran.stderr);
        }
        assert_eq!(sandbox.read(&file), text.as_bytes(), "{name}");
        assert!(
            !sandbox.path(&format!("{name}.partial.ipynb")).exists() && !sandbox.path(&format!("{name}.rhai")).exists()
        );
    }
}

#[test]
fn a_cell_of_another_language_is_refused() {
    let sandbox = Sandbox::new();
    for metadata in [
        json!({ "vscode": { "languageId": "csharp" } }),
        json!({ "polyglot_notebook": { "kernelName": "fsharp" } }),
        json!({ "dotnet_interactive": { "language": "sql" } }),
    ] {
        let mut mixed: Value = serde_json::from_str(&notebook(&rhai(), &["1 + 1", "2 + 2"])).unwrap();
        mixed["cells"][1]["metadata"] = metadata;
        sandbox.write("in.ipynb", mixed.to_string());
        let ran = sandbox.run(&["notebook", "run", "in.ipynb"]);
        assert!(ran.code == Some(1) && ran.stderr.contains("cell 2 is in the language `"), "{}", ran.stderr);
    }
}

#[test]
fn results_of_a_notebook_without_a_language_are_not_replaced() {
    let sandbox = Sandbox::new();
    let text = notebook(&json!({}), &["1 + 1"]);
    sandbox.write("in.ipynb", &text);
    let ran = sandbox.run(&["notebook", "run", "in.ipynb"]);
    let said = "the notebook does not say its language, and holds results that this run would replace";
    assert!(ran.code == Some(1) && ran.stderr.contains(said), "{}", ran.stderr);
    assert_eq!(sandbox.read("in.ipynb"), text.as_bytes());
    sandbox.done("notebook run in.ipynb -o out.ipynb");
    // without results there is nothing to lose
    let mut bare: Value = serde_json::from_str(&text).unwrap();
    bare["cells"][0]["outputs"] = json!([]);
    sandbox.write("bare.ipynb", bare.to_string());
    sandbox.done("notebook run bare.ipynb");
}

#[test]
fn an_input_is_replaced_only_by_a_run_without_errors() {
    let sandbox = Sandbox::new();
    let failing = notebook(&rhai(), &["let a = 1; a", "nope", "a + 1"]);
    sandbox.write("in.ipynb", &failing);
    for flags in ["", "--keep-going", "--resume"] {
        let ran = sandbox.run(&common::words(&format!("notebook run in.ipynb {flags}")));
        assert_eq!(ran.code, Some(1), "{}", ran.stderr);
        assert!(
            ran.stderr.contains("in.partial.ipynb") && ran.stderr.contains("in.ipynb is as it was"),
            "{}",
            ran.stderr
        );
        assert_eq!(sandbox.read("in.ipynb"), failing.as_bytes(), "{flags}");
        assert_eq!(sandbox.json("in.partial.ipynb")["cells"][1]["outputs"][0]["ename"], "NameError");
    }
    // told to
    assert_eq!(sandbox.run(&["notebook", "run", "in.ipynb", "-o", "in.ipynb", "--keep-going"]).code, Some(1));
    assert_eq!(sandbox.json("in.ipynb")["cells"][1]["outputs"][0]["ename"], "NameError");
    // mended, it goes on and takes its place
    sandbox.write("in.ipynb", notebook(&rhai(), &["let a = 1; a", "a + 2", "a + 1"]));
    let ran = sandbox.done("notebook run in.ipynb --resume");
    assert!(ran.stderr.contains("2 of 3 cells run, 1 run again"), "{}", ran.stderr);
    assert_eq!(sandbox.json("in.ipynb")["cells"][1]["outputs"][0]["data"]["text/plain"][0], "3");
    assert!(!sandbox.path("in.partial.ipynb").exists());
    sandbox.done("notebook run in.ipynb");
    assert!(!sandbox.path("in.partial.ipynb").exists());
}

#[test]
fn parameters_are_those_of_papermill() {
    let sandbox = Sandbox::new();
    sandbox.write(
        "in.rhai",
        "// %% tags=[\"parameters\"]\nlet trials = 4; let name = \"x\"; let t = 0.5; let flag = false;\n// %%\nprint(`${trials} ${name} ${t} ${flag}`);\n",
    );
    sandbox.write("p.yaml", "trials: 9\nname: seven\n");
    sandbox.write("p.json", r#"{"trials": 9, "name": "seven"}"#);
    sandbox.write("p.toml", "trials = 9\nname = \"seven\"\n");
    for (flags, said) in [
        ("-p trials 7", "7 x 0.5 false"),
        ("-p trials=7 -p flag True", "7 x 0.5 true"),
        ("-r name 007", "4 007 0.5 false"),
        ("--parameters_raw name 007 --parameters trials 1", "1 007 0.5 false"),
        ("-f p.yaml", "9 seven 0.5 false"),
        ("-f p.json", "9 seven 0.5 false"),
        ("-f p.toml -p trials 1", "1 seven 0.5 false"),
        ("-b dHJpYWxzOiAxMg==", "12 x 0.5 false"),
        ("-p t=.5", "4 x 0.5 false"),
        ("-p t -.5", "4 x -0.5 false"),
        ("-p name=0x10", "4 0x10 0.5 false"),
    ] {
        let ran = sandbox.done(&format!("notebook run in.rhai -o out.ipynb {flags}"));
        assert!(!ran.stderr.contains("no parameter"), "{flags}: {}", ran.stderr);
        let out = sandbox.json("out.ipynb");
        assert_eq!(out["cells"][2]["outputs"][0]["text"][0], format!("{said}\n"), "{flags}");
    }
    let ran = sandbox.run(&["notebook", "run", "in.rhai", "-o", "out.ipynb", "-y", "trials: 9"]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert_eq!(sandbox.json("out.ipynb")["cells"][2]["outputs"][0]["text"][0], "9 x 0.5 false\n");
    let ran = sandbox.run(&["notebook", "run", "in.rhai", "-p", "trials=9223372036854775808"]);
    assert!(ran.code == Some(1) && ran.stderr.contains("whole numbers lie within"), "{}", ran.stderr);
    // numbers that are not finite are numbers, and stand in the file as Python writes them
    sandbox.write("odd.yaml", "trials: 0x10\nname: 1e3\nt: -.inf\nflag: yes\n");
    for (flags, said, noted) in [
        (["-p", "t=1e999"], "4 x inf false", "\"t\": Infinity"),
        (["-p", "t=nan"], "4 x NaN false", "\"t\": NaN"),
        (["-f", "odd.yaml"], "16 1e3 -inf true", "\"t\": -Infinity"),
    ] {
        let ran = sandbox.run(&[&["notebook", "run", "in.rhai", "-o", "out.ipynb"][..], &flags].concat());
        assert_eq!(ran.code, Some(0), "{}", ran.stderr);
        let out = String::from_utf8(sandbox.read("out.ipynb")).unwrap();
        assert!(out.contains(&format!("{said}\\n")) && out.contains(noted), "{flags:?}: {out}");
    }
}

#[test]
fn what_python_writes_beyond_json_comes_back() {
    let sandbox = Sandbox::new();
    let text = notebook(&rhai(), &["1 + 1"]).replace(
        "\"metadata\":{\"kernelspec\"",
        "\"metadata\":{\"worst\":NaN,\"most\":-Infinity,\"id\":-123456789012345678901234567890,\"kernelspec\"",
    );
    sandbox.write("in.ipynb", format!("\u{feff}{text}"));
    sandbox.done("notebook run in.ipynb -o out.ipynb");
    let out = String::from_utf8(sandbox.read("out.ipynb")).unwrap();
    for kept in ["\"worst\": NaN", "\"most\": -Infinity", "\"id\": -123456789012345678901234567890,"] {
        assert!(out.contains(kept), "{out}");
    }
}

fn script(sandbox: &Sandbox, flags: &[&str], text: &str) -> Ran {
    let mut command = sandbox.command(&[&["repl"], flags].concat());
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    child.wait_with_output().unwrap().into()
}

#[test]
fn a_notebook_that_is_changed_while_it_runs_stays_as_it_was_changed() {
    let sandbox = Sandbox::new();
    sandbox.write("in.ipynb", notebook(&rhai(), &["1 + 1", "while !files(\".\").contains(\"go.txt\") {}"]));
    let mut command = sandbox.command(&["notebook", "run", "in.ipynb"]);
    let child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    while !sandbox.path("in.partial.ipynb").exists() {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    let changed = notebook(&rhai(), &["1 + 1", "2 + 2"]);
    sandbox.write("in.ipynb", &changed);
    sandbox.write("go.txt", "");
    let ran: Ran = child.wait_with_output().unwrap().into();
    let said = "in.ipynb was changed while its cells ran, so the results are in in.partial.ipynb";
    assert!(ran.code == Some(1) && ran.stderr.contains(said), "{}", ran.stderr);
    assert_eq!(sandbox.read("in.ipynb"), changed.as_bytes());
    sandbox.done("notebook run in.ipynb --resume");
    assert_eq!(sandbox.json("in.ipynb")["cells"][1]["outputs"][0]["data"]["text/plain"][0], "4");
}

#[test]
fn files_are_those_of_the_folder_that_was_named() {
    let sandbox = Sandbox::new();
    sandbox.write("work/notes.txt", "mine");
    for (flags, code, said) in [
        (&["--files", "work"][..], 0, "a.txt"),
        (&["--files", "nowhere"], 2, "there is no such folder"),
        (&[], 0, "a.txt"),
    ] {
        let ran = script(&sandbox, flags, "save(\"x\", \"a.txt\")");
        assert_eq!(ran.code, Some(code), "{flags:?}: {}", ran.stderr);
        assert!(format!("{}{}", ran.stdout, ran.stderr).contains(said), "{flags:?}: {}", ran.stderr);
    }
    assert!(sandbox.path("work/a.txt").exists() && sandbox.path("a.txt").exists());
    // in the next session too
    assert_eq!(script(&sandbox, &[], "save(\"y\", \"a.txt\")").code, Some(0));
    let notes = "save(\"x\", \"notes.txt\")";
    assert_eq!(script(&sandbox, &["--files", "work"], notes).code, Some(1));
    assert_eq!(script(&sandbox, &["--files", "work", "--overwrite"], notes).code, Some(0));
    // what others would run has no name among results
    let makefile = "save(\"all:\", \"Makefile\")";
    assert_eq!(script(&sandbox, &["--files", "work", "--overwrite"], makefile).code, Some(1));
    assert_eq!(script(&sandbox, &["--files", "work", "--allow-outside"], makefile).code, Some(0));
    // the home folder is none, unless it is said
    let home = sandbox.path("").canonicalize().unwrap();
    for (files, code) in [(None, 1), (Some("."), 0)] {
        let mut command = sandbox.command(&["repl"]);
        command.args(files.into_iter().flat_map(|folder| ["--files", folder])).env("HOME", &home);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(b"files(\".\")").unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(code), "{files:?}");
    }
}

#[test]
fn a_notebook_only_lowers_its_limits() {
    let sandbox = Sandbox::new();
    sandbox.write("raise.rhai", "// %%\n%config operations 9000000000\n");
    let ran = sandbox.run(&["notebook", "run", "raise.rhai"]);
    assert!(ran.code == Some(1) && ran.stderr.contains("cells can only lower it"), "{}", ran.stderr);
    sandbox.done("notebook run raise.rhai --max-operations 9000000000");
    let ran = script(&sandbox, &["--memory-limit", "100m"], "let a = []; loop { a.push(a) }");
    assert!(ran.code == Some(1) && ran.stderr.contains("grew beyond 100 MiB"), "{}", ran.stderr);
    assert_eq!(script(&sandbox, &["--memory-limit", "a lot"], "1").code, Some(2));
}

/// The limits of the process itself, as `ulimit -v` sets them: the cell is stopped before an allocation fails.
#[cfg(target_os = "linux")]
#[test]
fn a_cell_is_stopped_before_the_process_is() {
    let sandbox = Sandbox::new();
    let program = env!("CARGO_BIN_EXE_longlens");
    for cell in [
        "let a = []; loop { a.push(a) }",
        "let s = \"x\"; loop { s += s }",
        "let m = #{}; loop { m[`k${m.len()}`] = m; }",
    ] {
        let line = format!("ulimit -v 3000000; echo '{cell}' | {program} repl");
        let ran: Ran =
            std::process::Command::new("sh").args(["-c", &line]).current_dir(sandbox.path("")).output().unwrap().into();
        assert!(ran.code == Some(1) && ran.stderr.contains("LimitError"), "{cell}: {:?} {}", ran.code, ran.stderr);
    }
}
