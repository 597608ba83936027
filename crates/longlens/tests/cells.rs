//! The commands that run cells, as the real program: scripts on stdin, notebooks, the documentation's examples.

mod common;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use common::{Ran, Sandbox};
use longlens_notebook::document::{Kind, Notebook};
use longlens_notebook::host::{Files, Models};
use longlens_notebook::interpreter::Nobody;
use longlens_notebook::session::{Limits, Options, Session};
use serde_json::Value;

/// Feeds a script to `longlens repl`.
fn script(sandbox: &Sandbox, text: impl AsRef<[u8]>) -> Ran {
    let mut command = sandbox.command(&["repl"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(text.as_ref()).unwrap();
    child.wait_with_output().unwrap().into()
}

#[test]
fn a_script_on_stdin_is_text_as_files_are() {
    let sandbox = Sandbox::new();
    let ran = script(&sandbox, "\u{feff}1 + 1");
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(0), "2\n"), "{}", ran.stderr);
    for (bytes, told, help) in [
        (&b"print(1);\n// caf\xe9"[..], "byte 0xe9 in line 2, column 7", "iconv -f ISO-8859-1"),
        (b"\xff\xfe1\0\n\0", "it is UTF-16, not UTF-8", "iconv -f UTF-16"),
    ] {
        let ran = script(&sandbox, bytes);
        let said = ran.stderr.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(ran.code == Some(1) && ran.stdout.is_empty() && said.contains(told) && said.contains(help), "{said}");
        assert!(said.contains("cannot read cells from stdin"), "{said}");
    }
}

/// A notebook whose first cell is stopped has nothing to go on from.
#[cfg(unix)]
#[test]
fn an_interrupted_notebook_keeps_what_was_finished() {
    for (cells, parameters, told) in [
        ("// %%\nloop {}\n", &[][..], "interrupted before a cell was finished"),
        ("// %%\n1\n// %%\nloop {}\n", &["-p", "x", "2"], "go on with --resume and the same parameter `x`"),
    ] {
        let sandbox = Sandbox::new();
        sandbox.write("in.rhai", cells);
        let mut command = sandbox.command(&[&["notebook", "run", "in.rhai"], parameters].concat());
        let child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let started = Instant::now();
        while !sandbox.path("in.ipynb").exists() && started.elapsed() < Duration::from_mins(1) {
            std::thread::sleep(Duration::from_millis(20));
        }
        // the endless cell runs by then
        std::thread::sleep(Duration::from_millis(1500));
        let signalled = std::process::Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
        assert!(signalled.success());
        let ran: Ran = child.wait_with_output().unwrap().into();
        assert_eq!(ran.code, Some(1), "{}", ran.stderr);
        assert!(ran.stderr.contains(told), "{}", ran.stderr);
        assert_eq!(ran.stderr.contains("--resume"), told.contains("--resume"), "{}", ran.stderr);
        assert_eq!(ran.stderr.contains("finished cells are kept"), told.contains("--resume"), "{}", ran.stderr);
    }
}

fn shipped() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../notebooks");
    let mut found: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    found.retain(|path| path.extension().is_some_and(|ending| ending == "ipynb"));
    found.sort();
    found
}

#[test]
fn a_script_on_stdin_prints_its_values() {
    let sandbox = Sandbox::new();
    let ran = script(&sandbox, "let x = 40;\nprint(\"hi\");\nx + 2\n");
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(0), "hi\n42\n"), "{}", ran.stderr);
    let ran = script(&sandbox, "// %%\nlet p = needle(400, 0.5, \"48213\");\np.key\n// %%\nrun(p, full()).text\n");
    assert!(ran.stdout.starts_with("48213\n"), "{} {}", ran.stdout, ran.stderr);
    let ran = script(&sandbox, "let a = 1;\nneedl(3, 0.5)\n");
    assert_eq!(ran.code, Some(1));
    assert!(
        ran.stderr.contains("did you mean `needle`?") && ran.stderr.contains("2 | needl(3, 0.5)"),
        "{}",
        ran.stderr
    );
}

#[test]
fn a_cell_opens_a_model_as_flags_do() {
    let sandbox = Sandbox::new();
    let ran = script(&sandbox, "open(\"embedded\", #{ weights: \"q8\", trained_context: 512 }).info().dtype\n");
    assert!(ran.stdout.starts_with("q8"), "{} {}", ran.stdout, ran.stderr);
    for (options, said) in [
        ("weights: \"q9\"", "there are: file, f32, bf16, q8, q4; did you mean \"q8\"?"),
        ("device: \"gpu\"", "there are: cpu, wgpu, cuda"),
        ("kv_offload: true", "kv_offload is for devices with memory of their own"),
        ("weights: 8", "option `weights` of `open` must be a text, not the number 8"),
        ("threads: 2", "`open` has no option `threads`"),
    ] {
        let ran = script(&sandbox, format!("open(\"embedded\", #{{ {options} }})\n"));
        assert!(ran.code == Some(1) && ran.stderr.contains(said), "{options}: {}", ran.stderr);
    }
}

#[test]
fn a_text_of_words_that_the_model_spells_out_is_told_once() {
    let sandbox = Sandbox::new();
    let foreign = "Transformers attend globally; quantization compresses matrices efficiently.";
    let warning = "this model knows few words";
    let ran =
        script(&sandbox, format!("let text = \"{foreign}\"; run(text, full()).text; run(text, full()).loss > 0.0\n"));
    assert_eq!(ran.stdout.matches(warning).count(), 1, "{}", ran.stdout);
    let ran = sandbox.run(&["generate", "--prompt", foreign, "--max-tokens", "1"]);
    assert_eq!(ran.stderr.matches(warning).count(), 1, "{}", ran.stderr);
    for known in ["--prompt=Once upon a time there was a little ship that sailed", "--needle=512"] {
        let ran = sandbox.run(&["generate", known, "--max-tokens", "1"]);
        assert!(ran.code == Some(0) && !ran.stderr.contains(warning), "{known}: {}", ran.stderr);
    }
}

#[test]
fn a_kernel_is_installed_with_its_model() {
    let sandbox = Sandbox::new();
    common::checkpoint(&sandbox, "model", |_, _| ());
    let ran = sandbox.done("kernel install --prefix here --name small --model model --weights q8 --device cpu");
    let argv = sandbox.json("here/share/jupyter/kernels/small/kernel.json")["argv"].clone();
    let words: Vec<&str> = argv.as_array().unwrap().iter().map(|word| word.as_str().unwrap()).collect();
    let model = words.iter().find_map(|word| word.strip_prefix("--model=")).unwrap();
    assert!(Path::new(model).is_absolute() && model.ends_with("/model"), "{words:?}");
    assert!(words.contains(&"--weights=q8") && words.contains(&"--device=cpu"), "{words:?}");
    assert!(
        ran.stdout.contains("jupyter console --kernel small")
            && ran.stdout.contains("longlens kernel remove --name small --prefix /")
            && ran.stdout.contains("here/share/jupyter in its environment"),
        "{}",
        ran.stdout
    );
    let refused = sandbox.run(&["kernel", "install", "--prefix", "here", "--model", "nowhere/at-all"]);
    assert!(refused.code == Some(1) && refused.stderr.contains("nowhere/at-all"), "{}", refused.stderr);
    sandbox.done("kernel remove --prefix here --name small");
    assert!(!sandbox.path("here/share/jupyter/kernels/small").exists());
}

#[test]
fn a_notebook_that_papermill_wrote_runs_and_goes_through_a_script() {
    let sandbox = Sandbox::new();
    let cell = |source: &str, tags: &[&str]| {
        serde_json::json!({ "cell_type": "code", "id": source.len().to_string(), "source": source, "outputs": [],
            "execution_count": null, "metadata": { "tags": tags } })
    };
    let cells = [
        cell("let length = 100;\nlet deep = false;", &["parameters"]),
        cell("# Parameters\nlength = 250\ndeep = True\n", &["injected-parameters"]),
        cell("print(length, deep)", &[]),
    ];
    let notebook = serde_json::json!({ "cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5 });
    sandbox.write("milled.ipynb", notebook.to_string());
    sandbox.done("notebook check milled.ipynb");
    sandbox.done("notebook convert milled.ipynb milled.rhai");
    sandbox.done("notebook check milled.rhai");
    for name in ["milled.ipynb", "milled.rhai"] {
        sandbox.done(&format!("notebook run {name} -o ran.ipynb"));
        let ran = sandbox.json("ran.ipynb");
        assert_eq!(ran["cells"][2]["outputs"][0]["text"][0], "250 true\n", "{name}: {ran}");
    }
}

/// The examples of every function of longlens. No model is opened to read them.
fn examples() -> Vec<String> {
    struct Unopened;
    impl Models for Unopened {
        fn open(&self, _: &str) -> Result<Box<dyn longlens_core::lens::Lens>, longlens_app::Problem> {
            unreachable!("documentation needs no model")
        }
    }
    let files = Files::below(".").named();
    let options = Options { model: String::new(), files, limits: Limits::default(), draws: false };
    let session = Session::new(Box::new(Unopened), options, &Nobody::out());
    session.docs().own().filter_map(|doc| doc.example.clone()).collect()
}

#[test]
fn every_example_of_the_documentation_runs_on_the_embedded_model() {
    let sandbox = Sandbox::new();
    let examples = examples();
    assert!(examples.len() > 70, "{}", examples.len());
    let cells: Vec<String> = examples.iter().map(|code| format!("// %%\n{code}\n")).collect();
    let ran = script(&sandbox, cells.concat());
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
}

#[test]
fn a_notebook_runs_with_parameters_and_keeps_what_it_shows() {
    let sandbox = Sandbox::new();
    let text = "// %% tags=[\"parameters\"]\nlet length = 300;\n// %% [markdown]\n// # Title\n// %%\nlet r = run(needle(length, 0.5), full());\nprint(r.found);\nr\n// %%\nattention(trace(r), 1, 2)\n";
    sandbox.write("in.rhai", text);
    let ran = sandbox.done("notebook run in.rhai -o out.ipynb -p length=200 --html page.html");
    assert!(ran.stderr.contains("4 of 4 cells"), "{}", ran.stderr);
    let out = sandbox.json("out.ipynb");
    let cells = out["cells"].as_array().unwrap();
    assert_eq!(cells[1]["metadata"]["tags"][0], "injected-parameters");
    assert!(cells[1]["source"].to_string().contains("let length = 200;"));
    assert_eq!(cells[3]["outputs"][0]["text"][0], "true\n");
    assert!(cells[3]["outputs"][1]["data"]["text/plain"].to_string().contains("key     found"));
    assert!(cells[4]["outputs"][0]["data"]["image/png"].as_str().is_some_and(|png| png.len() > 1000));
    let page = String::from_utf8(sandbox.read("page.html")).unwrap();
    assert!(page.contains("<h1>Title</h1>") && page.contains("data:image/png"));
    // the same run gives the same bytes
    let first = sandbox.read("out.ipynb");
    sandbox.done("notebook run in.rhai -o out.ipynb -p length=200");
    assert!(first == sandbox.read("out.ipynb"), "a second run differs");
}

#[test]
fn a_failing_cell_is_stored_and_ends_with_code_1() {
    let sandbox = Sandbox::new();
    sandbox.write("in.rhai", "// %%\nlet a = 1;\n// %%\nlet b = nope;\n// %%\na + 1\n");
    let ran = sandbox.run(&["notebook", "run", "in.rhai"]);
    assert_eq!(ran.code, Some(1));
    assert!(ran.stderr.contains("there is no variable `nope`"), "{}", ran.stderr);
    let out = sandbox.json("in.ipynb");
    assert_eq!(out["cells"][1]["outputs"][0]["ename"], "NameError");
    assert_eq!(out["cells"][2]["outputs"], Value::Array(Vec::new()));
    assert_eq!(sandbox.run(&["notebook", "run", "in.rhai", "--keep-going"]).code, Some(1));
    assert_eq!(sandbox.json("in.ipynb")["cells"][2]["outputs"][0]["data"]["text/plain"][0], "2");
    let ran = sandbox.run(&["notebook", "check", "in.rhai"]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    sandbox.write("bad.rhai", "// %%\nlet a = (1;\n");
    let ran = sandbox.run(&["notebook", "check", "bad.rhai"]);
    assert!(ran.code == Some(1) && ran.stdout.contains("code cell 1"), "{} {}", ran.stdout, ran.stderr);
}

#[test]
fn a_loop_without_end_meets_the_timeout() {
    let sandbox = Sandbox::new();
    sandbox.write("in.rhai", "// %%\nlet a = 1;\n// %%\nloop { a += 1; }\n");
    let began = Instant::now();
    let ran = sandbox.run(&["notebook", "run", "in.rhai", "--timeout", "0.5"]);
    assert_eq!(ran.code, Some(1));
    assert!(began.elapsed() < Duration::from_mins(1));
    assert_eq!(sandbox.json("in.ipynb")["cells"][1]["outputs"][0]["ename"], "Timeout");
}

#[cfg(unix)]
#[test]
fn a_killed_run_loses_its_running_cell_only_and_resumes() {
    let sandbox = Sandbox::new();
    let cell = |number: usize| format!("// %%\nprint(\"cell {number}\");\n");
    sandbox.write(
        "in.rhai",
        format!(
            "{}{}// %%\nsleep(if files(\".\").contains(\"go\") {{ 0 }} else {{ 600 }});\n{}",
            cell(1),
            cell(2),
            cell(4)
        ),
    );
    let mut child = sandbox.command(&["notebook", "run", "in.rhai"]).stderr(Stdio::null()).spawn().unwrap();
    let began = Instant::now();
    let is_there = || {
        let bytes = std::fs::read(sandbox.path("in.ipynb")).unwrap_or_default();
        String::from_utf8_lossy(&bytes).contains("cell 2\\n\"")
    };
    while !is_there() {
        assert!(began.elapsed() < Duration::from_mins(1), "the second cell was never stored");
        std::thread::sleep(Duration::from_millis(20));
    }
    child.kill().unwrap(); // SIGKILL: nothing can be tidied up
    child.wait().unwrap();
    assert_eq!(sandbox.json("in.ipynb")["cells"][3]["outputs"], Value::Array(Vec::new()));
    sandbox.write("go", "");
    let ran = sandbox.done("notebook run in.rhai --resume");
    assert!(ran.stderr.contains("2 of 4 cells run, 2 run again"), "{}", ran.stderr);
    assert_eq!(sandbox.json("in.ipynb")["cells"][3]["outputs"][0]["text"][0], "cell 4\n");
}

#[test]
fn bad_input_is_named() {
    let sandbox = Sandbox::new();
    sandbox.write("no.ipynb", "{ nothing");
    sandbox.write("python.ipynb", r#"{"cells":[],"metadata":{"kernelspec":{"name":"python3","display_name":"P","language":"python"}},"nbformat":4,"nbformat_minor":5}"#);
    sandbox.write("future.ipynb", r#"{"cells":[],"metadata":{},"nbformat":9,"nbformat_minor":0}"#);
    sandbox.write("ok.rhai", "1");
    for (args, said) in [
        ("notebook run no.ipynb", "JSON"),
        ("notebook run python.ipynb", "python"),
        ("notebook run future.ipynb", "9"),
        ("notebook run missing.ipynb", "missing.ipynb"),
        ("notebook run ok.rhai -o out.rhai", "out.rhai"),
        ("notebook run ok.rhai -p 1x=3", "1x"),
        ("notebook run ok.rhai -f nowhere.toml", "nowhere.toml"),
        ("notebook run ok.rhai --timeout 0", "--timeout"),
        ("notebook convert ok.rhai ok.rhai", "itself"),
        ("notebook check ok.txt", "ok.txt"),
        ("notebook run ok.rhai --model nowhere/at-all", "nowhere/at-all"),
        ("repl --device cuda", "cuda"),
        ("kernel run nowhere.json", "nowhere.json"),
        ("kernel uninstall --prefix nowhere", "no kernel"),
    ] {
        let ran = sandbox.run(&common::words(args));
        assert!(ran.code.is_some_and(|code| code == 1 || code == 2), "{args}: {:?}", ran.code);
        assert!(ran.stderr.contains(said), "{args}: {}", ran.stderr);
        assert!(!ran.stderr.contains("panicked"), "{args}: {}", ran.stderr);
    }
}

#[test]
fn converting_there_and_back_keeps_code_and_prose() {
    for path in shipped() {
        let sandbox = Sandbox::new();
        std::fs::copy(&path, sandbox.path("a.ipynb")).unwrap();
        sandbox.done("notebook convert a.ipynb b.rhai");
        sandbox.done("notebook convert b.rhai c.ipynb");
        let read = |name: &str| Notebook::read(&sandbox.path(name)).unwrap();
        let plain = |notebook: Notebook| -> Vec<_> {
            notebook.cells.into_iter().map(|cell| (cell.id, cell.kind, cell.source, cell.metadata)).collect()
        };
        assert_eq!(plain(read("a.ipynb")), plain(read("c.ipynb")), "{}", path.display());
    }
}

#[test]
fn converting_back_keeps_results_of_code_that_did_not_change() {
    let sandbox = Sandbox::new();
    sandbox.write("a.rhai", "// %%\nprint(1);\n// %%\nprint(2);\n// %%\nprint(3);\n");
    sandbox.done("notebook run a.rhai --timestamps");
    let before = sandbox.json("a.ipynb");
    sandbox.done("notebook convert a.ipynb a.rhai");
    let ran = sandbox.done("notebook convert a.rhai");
    assert!(ran.stderr.contains("kept the results of 3 cells"), "{}", ran.stderr);
    assert_eq!(sandbox.json("a.ipynb"), before);
    let text = String::from_utf8(sandbox.read("a.rhai")).unwrap();
    sandbox.write("a.rhai", text.replace("print(2)", "print(4)"));
    let ran = sandbox.done("notebook convert a.rhai");
    assert!(ran.stderr.contains("kept the results of 2 cells, dropped those of 1"), "{}", ran.stderr);
    let after = sandbox.json("a.ipynb");
    assert_eq!(after["cells"][0], before["cells"][0]);
    assert_eq!(after["cells"][1]["outputs"], Value::Array(Vec::new()));
    // a script that was edited is replaced where it is named alone
    let edited = sandbox.read("a.rhai");
    assert_eq!(sandbox.run(&["notebook", "convert", "a.ipynb"]).code, Some(2));
    assert_eq!(sandbox.read("a.rhai"), edited);
    assert!(sandbox.done("notebook convert a.ipynb -o a.rhai").stderr.contains("replaced a.rhai"));
    // what is no notebook is not written over
    sandbox.write("a.ipynb", "mine");
    assert_eq!(sandbox.run(&["notebook", "convert", "a.rhai"]).code, Some(1));
    assert_eq!(sandbox.read("a.ipynb"), b"mine");
}

#[test]
fn a_run_that_cannot_begin_keeps_stored_results() {
    let sandbox = Sandbox::new();
    sandbox.write("a.rhai", "// %%\nprint(1);\n");
    sandbox.done("notebook run a.rhai");
    let before = sandbox.read("a.ipynb");
    assert_eq!(sandbox.run(&["notebook", "run", "a.ipynb", "--model", "nowhere"]).code, Some(1));
    assert!(before == sandbox.read("a.ipynb"), "the stored results are gone");
}

#[test]
fn runs_under_other_flags_are_not_resumed() {
    let sandbox = Sandbox::new();
    sandbox.write("a.rhai", "// %%\nprint(1);\n");
    sandbox.done("notebook run a.rhai");
    for (flags, n_run) in [("--weights q8", 1), ("--weights q8", 0), ("--allow-outside", 1), ("", 1), ("", 0)] {
        let ran = sandbox.done(&format!("notebook run a.rhai --resume {flags}"));
        assert!(ran.stderr.contains(&format!("{n_run} of 1 cells run")), "{flags}: {}", ran.stderr);
    }
}

/// What a run says, its lines joined.
fn said(ran: &Ran) -> String {
    ran.stderr
        .split(|c: char| c.is_whitespace() || c == '│')
        .filter(|word| !word.is_empty())
        .collect::<Vec<_>>()
        .join(" ")
}

#[test]
fn a_resumed_run_tells_which_parameters_are_others() {
    let sandbox = Sandbox::new();
    sandbox.write("a.rhai", "// %% tags=[\"parameters\"]\nlet x = 1;\n// %%\nprint(x);\n");
    sandbox.done("notebook run a.rhai -o o.ipynb -p x 2");
    let ran = sandbox.done("notebook run a.rhai -o o.ipynb --resume -p x 2");
    assert!(!ran.stderr.contains("other parameters"), "{}", ran.stderr);
    let ran = sandbox.done("notebook run a.rhai -o o.ipynb --resume");
    let told = "note: o.ipynb holds results of other parameters (`x` was 2, is as the notebook sets it)";
    assert!(said(&ran).contains(told), "{}", ran.stderr);
}

#[test]
fn values_of_parameters_may_begin_with_hyphens() {
    let sandbox = Sandbox::new();
    sandbox.write("a.rhai", "// %% tags=[\"parameters\"]\nlet x = 1; let y = [0.1]; let z = 0;\n");
    for (flags, line) in [
        (&["-y", "---\nx: 3"][..], "let x = 3;"),
        (&["--parameters-yaml", "- 1", "-p", "x", "3"], "it is no map"),
        (&["-p", "x", "-3"], "let x = -3;"),
        (&["-r", "x", "--html"], "let x = \"--html\";"),
        (&["-r", "x=- a"], "let x = \"- a\";"),
    ] {
        let ran = sandbox.run(&[&["notebook", "run", "a.rhai", "-o", "o.ipynb"], flags].concat());
        match ran.code {
            Some(0) => assert!(
                sandbox.json("o.ipynb")["cells"][1]["source"].to_string().contains(&line.replace('"', "\\\"")),
                "{flags:?}"
            ),
            _ => assert!(said(&ran).contains(line), "{flags:?}: {}", ran.stderr),
        }
    }
    // a text where a list is declared is told, unless it was asked for
    let ran = sandbox.done("notebook run a.rhai -o o.ipynb -p y [.1] -r z text");
    assert!(
        said(&ran).contains("warning: parameter `y` is set to a text") && !ran.stderr.contains("`z`"),
        "{}",
        ran.stderr
    );
}

#[test]
fn a_script_replaces_nothing_but_its_own_results() {
    let cell = |source: &str, text: &str| {
        serde_json::json!({
            "cell_type": "code", "id": "a", "execution_count": 1, "metadata": {}, "source": source,
            "outputs": [{ "output_type": "stream", "name": "stdout", "text": text }],
        })
    };
    let file = |language: &str, source: &str| {
        serde_json::json!({
            "cells": [cell(source, "mine\n")], "metadata": { "language_info": { "name": language } },
            "nbformat": 4, "nbformat_minor": 5,
        })
    };
    let unsaid = serde_json::json!({ "cells": [cell("print(1);", "mine\n")], "metadata": {}, "nbformat": 4, "nbformat_minor": 5 });
    for (held, told) in [
        (file("python", "print(1)").to_string(), "language is `python`"),
        (file("rhai", "let mine = 1;").to_string(), "its cell 1 holds code that is not in a.rhai"),
        (unsaid.to_string(), "does not say its language"),
        ("notes".to_owned(), "not JSON"),
    ] {
        let sandbox = Sandbox::new();
        sandbox.write("a.rhai", "// %%\nprint(1);\n");
        sandbox.write("a.ipynb", &held);
        for flags in [&[][..], &["--resume"], &["--html", "p.html"]] {
            let ran = sandbox.run(&[&["notebook", "run", "a.rhai"], flags].concat());
            let said = said(&ran);
            assert!(ran.code == Some(1) && said.contains(told) && said.contains("-o OUT.ipynb"), "{}", ran.stderr);
            assert!(!ran.stderr.contains("1/1"), "nothing runs: {}", ran.stderr);
        }
        assert_eq!(String::from_utf8(sandbox.read("a.ipynb")).unwrap(), held);
        assert!(!sandbox.path("a.partial.ipynb").exists() && !sandbox.path("p.html").exists());
        sandbox.done("notebook run a.rhai -o a.ipynb");
        assert_eq!(sandbox.json("a.ipynb")["cells"][0]["outputs"][0]["text"][0], "1\n");
    }
}

#[test]
fn a_script_that_fails_leaves_good_results() {
    let sandbox = Sandbox::new();
    sandbox.write("a.rhai", "// %%\nprint(1);\n");
    sandbox.done("notebook run a.rhai");
    let good = sandbox.read("a.ipynb");
    sandbox.write("a.rhai", "// %%\nprint(2);\n// %%\nnope\n");
    let ran = sandbox.run(&["notebook", "run", "a.rhai"]);
    assert!(ran.code == Some(1) && said(&ran).contains("a.ipynb is as it was; `-o a.ipynb` writes"), "{}", ran.stderr);
    assert!(sandbox.read("a.ipynb") == good);
    assert_eq!(sandbox.json("a.partial.ipynb")["cells"][0]["outputs"][0]["text"][0], "2\n");

    sandbox.write("a.rhai", "// %%\nprint(2);\n// %%\nprint(3);\n");
    let ran = sandbox.done("notebook run a.rhai --resume");
    assert!(ran.stderr.contains("1 of 2 cells run, 1 run again"), "{}", ran.stderr);
    assert_eq!(sandbox.json("a.ipynb")["cells"][1]["outputs"][0]["text"][0], "3\n");
    assert!(!sandbox.path("a.partial.ipynb").exists());

    // what somebody wrote into the notebook since stays
    let mut notebook = Notebook::read(&sandbox.path("a.ipynb")).unwrap();
    notebook.push(Kind::Markdown, "what I found");
    notebook.write(&sandbox.path("a.ipynb")).unwrap();
    let ran = sandbox.run(&["notebook", "run", "a.rhai"]);
    assert!(
        ran.code == Some(1) && said(&ran).contains("its cell 3 holds prose that is not in a.rhai"),
        "{}",
        ran.stderr
    );
}

#[test]
fn a_script_keeps_what_only_its_notebook_can_hold() {
    let sandbox = Sandbox::new();
    let script =
        "// %%\nprint(1);\n// %% tags=[\"skip-execution\"]\nprint(2);\n// %% [markdown]\n// ![x](attachment:x.png)\n";
    sandbox.write("a.rhai", script);
    sandbox.done("notebook run a.rhai -p x 1");
    let mut notebook = Notebook::read(&sandbox.path("a.ipynb")).unwrap();
    let picture = serde_json::json!({ "x.png": { "image/png": "AA==" } });
    notebook.cells[3].rest.insert("attachments".into(), picture.clone());
    notebook.cells[2]
        .outputs
        .push(serde_json::json!({ "output_type": "stream", "name": "stdout", "text": "long ago" }));
    notebook.write(&sandbox.path("a.ipynb")).unwrap();
    sandbox.done("notebook run a.rhai");
    let after = sandbox.json("a.ipynb");
    assert_eq!(after["cells"][2]["attachments"], picture);
    assert_eq!(after["cells"][1]["outputs"][0]["text"][0], "long ago");
    assert!(after["metadata"]["longlens"]["parameters"].is_null() && after["metadata"]["papermill"].is_null());
}

#[test]
fn a_page_takes_the_place_of_no_file_of_the_run() {
    let sandbox = Sandbox::new();
    let script = "// %%\nprint(1);\n";
    sandbox.write("a.rhai", script);
    sandbox.write("given.yaml", "x: 1\n");
    for page in ["a.rhai", "h.ipynb", "page", "a.partial.ipynb"] {
        let ran = sandbox.run(&["notebook", "run", "a.rhai", "-o", "h.ipynb", "--html", page]);
        assert!(ran.code == Some(2) && said(&ran).contains("does not end in .html"), "{}", ran.stderr);
    }
    let ran = sandbox.run(&["notebook", "run", "a.rhai", "--html", "nowhere/p.html"]);
    assert!(ran.code == Some(1) && !ran.stderr.contains("1/1"), "nothing runs: {}", ran.stderr);
    #[cfg(unix)]
    for (to, flags) in
        [("a.rhai", &[][..]), ("h.ipynb", &["-o", "h.ipynb"]), ("a.ipynb", &[]), ("given.yaml", &["-f", "given.yaml"])]
    {
        std::os::unix::fs::symlink(to, sandbox.path("p.html")).unwrap();
        // the results are there the second time alone
        for _ in 0..2 {
            let ran = sandbox.run(&[&["notebook", "run", "a.rhai", "--html", "p.html"], flags].concat());
            assert!(
                ran.code == Some(2) && said(&ran).contains("would be written over as p.html"),
                "{to}: {}",
                ran.stderr
            );
        }
        std::fs::remove_file(sandbox.path("p.html")).unwrap();
    }
    assert_eq!(sandbox.read("a.rhai"), script.as_bytes());
    assert_eq!(sandbox.read("given.yaml"), b"x: 1\n");
    assert_eq!(sandbox.json("h.ipynb")["nbformat"], 4);
    sandbox.done("notebook run a.rhai --html p.HTM");
    assert!(sandbox.read("p.HTM").starts_with(b"<!"));
}

#[cfg(unix)]
#[test]
fn a_named_file_that_leads_to_the_script_is_not_written() {
    let sandbox = Sandbox::new();
    sandbox.write("a.rhai", "// %%\nprint(1);\n");
    std::os::unix::fs::symlink("a.rhai", sandbox.path("o.ipynb")).unwrap();
    let ran = sandbox.run(&["notebook", "run", "a.rhai", "-o", "o.ipynb"]);
    assert!(ran.code == Some(2) && said(&ran).contains("a.rhai is read by this command"), "{}", ran.stderr);
}

#[test]
fn errors_of_a_parser_have_an_end() {
    let sandbox = Sandbox::new();
    for cell in [format!("0x{}", "f".repeat(100_000)), format!("let x = {}", "é".repeat(100_000))] {
        sandbox.write("a.rhai", format!("// %%\n{cell}\n"));
        let ran = sandbox.run(&["notebook", "check", "a.rhai"]);
        assert!(ran.code == Some(1) && ran.stdout.len() < 5_000, "{} bytes", ran.stdout.len());
        let file = serde_json::json!({
            "cells": [{ "cell_type": "code", "id": "a", "execution_count": null, "metadata": {}, "outputs": [], "source": cell }],
            "metadata": {}, "nbformat": 4, "nbformat_minor": 5,
        });
        sandbox.write("b.ipynb", file.to_string());
        let ran = sandbox.run(&["notebook", "run", "b.ipynb"]);
        assert!(ran.code == Some(1) && ran.stderr.len() < 10_000, "{} bytes", ran.stderr.len());
    }
}

#[test]
fn a_page_trusts_only_cells_that_were_just_run() {
    let sandbox = Sandbox::new();
    let html = "<form action='https://example.org'><b id=theirs></b></form>";
    let skipped = serde_json::json!({
        "cell_type": "code", "id": "skipped", "execution_count": 1, "source": "1",
        "metadata": { "tags": ["skip-execution"] },
        "outputs": [{ "output_type": "display_data", "metadata": {}, "data": { "text/html": html, "text/plain": "theirs" } }],
    });
    let runs = serde_json::json!({
        "cell_type": "code", "id": "runs", "execution_count": null, "source": "table(#{ n: [7] })",
        "metadata": {}, "outputs": [],
    });
    for cells in [vec![&skipped, &runs], vec![&skipped]] {
        let file = serde_json::json!({ "cells": cells, "metadata": { "language_info": { "name": "rhai" } }, "nbformat": 4, "nbformat_minor": 5 });
        sandbox.write("a.ipynb", file.to_string());
        sandbox.done("notebook run a.ipynb --html page.html");
        let page = String::from_utf8(sandbox.read("page.html")).unwrap();
        assert!(!page.contains("<form") && !page.contains("id=theirs") && page.contains("theirs"), "{page}");
        assert_eq!(page.contains("<table"), cells.len() == 2, "what was just run is shown as it is: {page}");
    }
}

#[test]
fn shipped_notebooks_teach_and_hold_their_results() {
    let shipped = shipped();
    assert_eq!(shipped.len(), 10);
    for path in shipped {
        let notebook = Notebook::read(&path).unwrap();
        let count = |kind: Kind| notebook.cells.iter().filter(|cell| cell.kind == kind).count();
        assert!(count(Kind::Markdown) * 2 >= count(Kind::Code), "{} hardly says anything", path.display());
        assert!(notebook.cells.iter().any(|cell| cell.has_tag("parameters")), "{}", path.display());
        let mut n_pictures = 0;
        for cell in notebook.cells.iter().filter(|cell| cell.kind == Kind::Code) {
            assert!(cell.execution_count.is_some(), "{}: not run: {}", path.display(), cell.source);
            let failed = cell.outputs.iter().any(|output| output["output_type"] == "error");
            assert_eq!(failed, cell.has_tag("raises-exception"), "{}: {}", path.display(), cell.source);
            n_pictures += cell.outputs.iter().filter(|output| output["data"]["image/png"].is_string()).count();
        }
        assert!(n_pictures >= 2, "{} shows nothing", path.display());
        let bytes = std::fs::metadata(&path).unwrap().len();
        assert!(bytes < 3 << 20, "{} has {bytes} bytes", path.display());
    }
}
