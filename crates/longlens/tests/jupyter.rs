//! The kernel under the programs that people use it with: Jupyter's client, nbconvert and papermill.
//!
//! Needs a Python with `jupyter_client`, `nbconvert` and `papermill`: the one of `LONGLENS_JUPYTER_PYTHON`, else `python3`.
//! Without one each test says that it is skipped, and fails when `LONGLENS_REQUIRE_JUPYTER` is 1.
#![expect(clippy::print_stdout, reason = "a test that is skipped says so")]

use std::env;
use std::ffi::OsStr;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::{Value, json};
use tempfile::TempDir;

/// A notebook with a parameter, and the tag by which papermill finds it.
const NOTEBOOK: &str = r##"{
 "cells": [
  {"cell_type": "markdown", "id": "title", "metadata": {}, "source": ["# A notebook"]},
  {"cell_type": "code", "id": "parameters", "metadata": {"tags": ["parameters"]}, "execution_count": null, "outputs": [],
   "source": ["let x = 1;\n", "let words = [];"]},
  {"cell_type": "code", "id": "work", "metadata": {}, "execution_count": null, "outputs": [],
   "source": ["print(`x is ${x}, words are ${words}`);\n", "x * 2"]}
 ],
 "metadata": {
  "kernelspec": {"display_name": "longlens", "language": "rhai", "name": "longlens"},
  "language_info": {"file_extension": ".rhai", "name": "rhai"}
 },
 "nbformat": 4,
 "nbformat_minor": 5
}
"##;

#[test]
fn jupyter_talks_to_the_kernel() {
    let Some(jupyter) = Jupyter::new() else { return };
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/jupyter/conversation.py");
    let said = jupyter.python([script.as_os_str(), "longlens".as_ref()]);
    assert!(said.contains("ok: shutdowns"), "{said}");

    jupyter.longlens(&["kernel", "remove"]);
    assert!(!jupyter.folder.path().join("data/kernels/longlens").exists());
}

#[test]
fn nbconvert_runs_a_notebook() {
    let Some(jupyter) = Jupyter::new() else { return };
    let arguments = ["-m", "nbconvert", "--to", "notebook", "--execute", "in.ipynb", "--output", "out.ipynb"];
    jupyter.python(arguments);
    let ran = jupyter.read("out.ipynb");
    assert!(ran.contains(r#""x is 1, words are []\n""#), "{ran}");
    assert!(ran.contains(r#""text/plain": ["#) && ran.contains("\"2\"\n"), "{ran}");
}

#[test]
fn a_script_of_nbconvert_keeps_the_cells() {
    let Some(jupyter) = Jupyter::new() else { return };
    jupyter.python("-m nbconvert --to script --template longlens in.ipynb --output script".split(' '));
    jupyter.longlens(&["notebook", "convert", "script.rhai", "back.ipynb"]);
    let cells = |name: &str| -> Vec<Value> {
        let notebook: Value = serde_json::from_str(&jupyter.read(name)).unwrap();
        let text =
            |source: &Value| source.as_array().unwrap().iter().map(|line| line.as_str().unwrap()).collect::<String>();
        let cells = notebook["cells"].as_array().unwrap().iter();
        cells.map(|cell| json!([cell["cell_type"], cell["id"], cell["metadata"], text(&cell["source"])])).collect()
    };
    assert_eq!(cells("back.ipynb"), cells("in.ipynb"), "{}", jupyter.read("script.rhai"));
}

#[test]
fn papermill_writes_parameters_in_python() {
    let Some(jupyter) = Jupyter::new() else { return };
    let arguments = "-m papermill --language python in.ipynb out.ipynb -p x 21".split(' ');
    jupyter.python(arguments.chain(["-y", r#"words: ["a\n\"b\"", null]"#]));
    let ran = jupyter.read("out.ipynb");
    assert!(ran.contains("# Parameters") && ran.contains("x = 21\\n") && ran.contains(r#""42""#), "{ran}");
}

/// A Python with Jupyter, and a folder in which nothing but our kernel is installed.
struct Jupyter {
    python: String,
    folder: TempDir,
}

impl Jupyter {
    fn new() -> Option<Self> {
        let python = env::var("LONGLENS_JUPYTER_PYTHON").unwrap_or_else(|_| "python3".into());
        let found = Command::new(&python).args(["-c", "import jupyter_client, nbconvert, papermill"]).output();
        let missing = match found {
            Ok(output) if output.status.success() => None,
            Ok(output) => Some(String::from_utf8_lossy(&output.stderr).lines().last().unwrap_or_default().to_owned()),
            Err(error) => Some(error.to_string()),
        };
        if let Some(missing) = missing {
            assert!(env::var("LONGLENS_REQUIRE_JUPYTER").as_deref() != Ok("1"), "no Jupyter in {python}: {missing}");
            println!("skipped: no Jupyter in {python}: {missing}");
            return None;
        }
        let jupyter = Self { python, folder: tempfile::Builder::new().prefix("jupyter").tempdir().unwrap() };
        jupyter.longlens(&["kernel", "install"]);
        fs::write(jupyter.folder.path().join("in.ipynb"), NOTEBOOK).unwrap();
        Some(jupyter)
    }

    fn longlens(&self, arguments: &[&str]) {
        let mut command = self.command(env!("CARGO_BIN_EXE_longlens"));
        succeed(&command.args(arguments).output().unwrap());
    }

    /// Runs Python and returns what it printed.
    fn python<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> String {
        let mut command = self.command(&self.python);
        command.args(arguments);
        succeed(&command.output().unwrap())
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        // errors and pictures have colours there
        command.current_dir(self.folder.path()).env_remove("NO_COLOR").env("TERM", "xterm-256color");
        for (variable, folder) in [
            ("JUPYTER_DATA_DIR", "data"),
            ("JUPYTER_RUNTIME_DIR", "run"),
            ("JUPYTER_CONFIG_DIR", "config"),
            ("IPYTHONDIR", "ipython"),
        ] {
            command.env(variable, self.folder.path().join(folder));
        }
        command
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.folder.path().join(name)).unwrap()
    }
}

fn succeed(output: &Output) -> String {
    let [said, complained] = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes).into_owned());
    assert!(output.status.success(), "{}\n{said}\n{complained}", output.status);
    said
}
