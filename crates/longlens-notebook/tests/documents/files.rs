//! The JSON form: bytes, versions, errors.

use std::path::{Path, PathBuf};

use longlens_notebook::document::parameters::{self, Parameters, Remark};
use longlens_notebook::document::{DocumentError, Kind, Notebook};
use proptest::prelude::*;
use serde_json::{Value, json};

pub fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

fn text_of(name: &str) -> String {
    std::fs::read_to_string(fixture(name)).unwrap()
}

/// A file of one code cell, with one thing changed.
fn changed(at: &str, value: Value) -> String {
    let mut file = json!({
        "cells": [{ "cell_type": "code", "execution_count": null, "id": "a", "metadata": {}, "outputs": [], "source": "1" }],
        "metadata": {}, "nbformat": 4, "nbformat_minor": 5,
    });
    let (parent, key) = at.rsplit_once('/').unwrap();
    match file.pointer_mut(parent).unwrap() {
        Value::Object(map) => drop(map.insert(key.into(), value)),
        Value::Array(list) => list.push(value),
        other => panic!("{other} has no parts"),
    }
    file.to_string()
}

#[test]
fn a_file_that_jupyter_wrote_keeps_its_bytes() {
    let text = text_of("everything.ipynb");
    assert_eq!(Notebook::from_ipynb(&text).unwrap().to_ipynb(), text);
}

#[test]
fn a_new_notebook_is_valid_to_the_format_crate() {
    let mut notebook = Notebook::new();
    notebook.push(Kind::Markdown, "# A\n");
    notebook.push(Kind::Code, "1");
    notebook.push(Kind::Code, "1");
    notebook.push(Kind::Raw, "");
    for text in [notebook.to_ipynb(), text_of("everything.ipynb")] {
        assert!(matches!(nbformat::parse_notebook(&text), Ok(nbformat::Notebook::V4(_))), "{text}");
    }
    insta::assert_snapshot!(notebook.to_ipynb());
}

#[test]
fn old_notebooks_are_upgraded_to_the_same_bytes_every_time() {
    for name in ["old.ipynb", "version3.ipynb"] {
        let notebook = Notebook::read(&fixture(name)).unwrap();
        let text = notebook.to_ipynb();
        assert_eq!(Notebook::read(&fixture(name)).unwrap().to_ipynb(), text);
        assert_eq!(Notebook::from_ipynb(&text).unwrap(), notebook);
        assert!(matches!(nbformat::parse_notebook(&text), Ok(nbformat::Notebook::V4(_))), "{text}");
        insta::assert_snapshot!(name, text);
    }
}

#[test]
fn every_problem_of_a_file_is_named() {
    let code = |more: Value| {
        let mut cell = json!({ "cell_type": "code", "metadata": {}, "source": "" });
        cell.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        changed("/cells/-", cell)
    };
    let heading = json!({ "nbformat": 3, "worksheets": [{ "cells": [
        { "cell_type": "heading", "level": -1, "metadata": {}, "source": "a" }] }] });
    let python = json!({ "nbformat": 3, "worksheets": [{ "cells": [
        { "cell_type": "code", "language": "python", "metadata": {}, "input": "a", "outputs": [] }] }] });
    let cases = [
        "{\n \"cells\": [\n<<<<<<< HEAD\n".into(),
        String::new(),
        "[1]".into(),
        "{}".into(),
        changed("/nbformat", json!("4")),
        changed("/nbformat", json!(2)),
        changed("/nbformat_minor", json!(6)),
        changed("/metadata", json!([])),
        changed("/cells", json!({})),
        changed("/cells/-", json!(1)),
        changed("/cells/-", json!({ "cell_type": "heading", "source": "" })),
        changed("/cells/-", json!({ "source": "" })),
        changed("/cells/-", json!({ "cell_type": "raw" })),
        changed("/cells/-", json!({ "cell_type": "raw", "source": ["a", 1] })),
        code(json!({ "id": "a b" })),
        code(json!({ "id": "a" })),
        code(json!({ "metadata": 1 })),
        code(json!({ "outputs": {} })),
        code(json!({ "outputs": [{}] })),
        code(json!({ "execution_count": "1" })),
        changed("/metadata/kernelspec", json!({ "language": "python" })),
        changed("/metadata/language_info", json!({ "name": "julia" })),
        changed("/metadata/kernelspec", json!([])),
        changed("/metadata/kernelspec", json!({ "name": 5 })),
        heading.to_string(),
        python.to_string(),
    ];
    let problems = cases.map(|text| {
        let error = Notebook::from_ipynb(&text).unwrap_err();
        assert!(!error.help().is_empty());
        error.to_string()
    });
    insta::assert_snapshot!(problems.join("\n"), @r#"
    not JSON: expected value at line 3, column 1
    not JSON: EOF while parsing a value at line 1, column 0
    not a notebook: the file is no JSON object
    not a notebook: it has no number `nbformat`
    not a notebook: it has no number `nbformat`
    notebook format 2.5 is unknown; 3 and 4.0 to 4.5 are read
    notebook format 4.6 is unknown; 3 and 4.0 to 4.5 are read
    not a notebook: its `metadata` is no JSON object
    not a notebook: it has no list `cells`
    not a notebook: cell 2 is no JSON object
    not a notebook: cell 2 has the type `heading`, which is none of code, markdown, raw
    not a notebook: cell 2 has no `cell_type`
    not a notebook: cell 2 has no `source`
    not a notebook: cell 2 has a `source` that is no text
    not a notebook: cell 2 has the id "a b"; an id is 1 to 64 letters, digits, `-` and `_`
    cells 1 and 2 have the same id `a`
    not a notebook: cell 2 has a `metadata` that is no JSON object
    not a notebook: cell 2 has `outputs` that are no list
    not a notebook: cell 2 has an output without `output_type`
    not a notebook: cell 2 has an `execution_count` that is no whole number
    the notebook's language is `python`, not `rhai`
    the notebook's language is `julia`, not `rhai`
    not a notebook: the `kernelspec` in its metadata is no JSON object
    not a notebook: the `name` of the `kernelspec` in its metadata is no text
    not a notebook: a heading has a level outside 1 to 6
    the notebook's language is `python`, not `rhai`
    "#);
}

#[test]
fn every_problem_with_a_path_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    std::fs::write(at("latin.ipynb"), b"{\"a\": \"\xe9\"}").unwrap();
    std::fs::write(at("there.rhai"), "1").unwrap();
    std::fs::File::create(at("large.ipynb")).unwrap().set_len(1 << 30).unwrap();
    std::fs::create_dir(at("folder.ipynb")).unwrap();
    let told = |result: Result<(), DocumentError>| {
        let error = result.unwrap_err();
        format!("{error}\n  {}", error.help()).replace(&folder.path().display().to_string(), "DIR")
    };
    let read = |name: &str| told(Notebook::read(&at(name)).map(drop));
    let write = |name: &str| told(Notebook::new().write(&at(name)));
    let problems = [
        read("latin.ipynb"),
        read("there.ipynb"),
        read("nowhere.rhai"),
        read("large.ipynb"),
        read("folder.ipynb"),
        read("notes.md"),
        write("none/a.ipynb"),
        write("folder.ipynb"),
        write("notes"),
    ];
    insta::assert_snapshot!(problems.join("\n"), @r"
    DIR/latin.ipynb: byte 0xe9 in line 1, column 8 (offset 7) is not UTF-8
      text is read as UTF-8; from Latin-1, `iconv -f ISO-8859-1 -t UTF-8 DIR/latin.ipynb > NEW` converts it
    DIR/there.ipynb does not exist
      there is DIR/there.rhai; was it meant?
    DIR/nowhere.rhai does not exist
      check the path
    DIR/large.ipynb has 1024 MB; at most 256 MB are read
      clear its outputs in Jupyter, or move large images out of it
    DIR/folder.ipynb cannot be read: it is no file
      check that it is a file and that you may read it
    DIR/notes.md ends neither in .ipynb nor in .rhai
      name it .ipynb (JSON with results) or .rhai (text with `// %%` cells)
    DIR/none/a.ipynb cannot be written: No such file or directory (os error 2)
      make the folder first: mkdir -p DIR/none
    DIR/folder.ipynb cannot be written: Is a directory (os error 21)
      check that you may write there and that the disk has room, or name another file
    DIR/notes ends neither in .ipynb nor in .rhai
      name it .ipynb (JSON with results) or .rhai (text with `// %%` cells)
    ");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 4, "a failed write leaves nothing behind");
}

#[test]
fn a_byte_order_mark_is_no_part_of_a_notebook() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.ipynb");
    std::fs::write(&path, format!("\u{feff}{}", text_of("everything.ipynb"))).unwrap();
    assert_eq!(Notebook::read(&path).unwrap().to_ipynb(), text_of("everything.ipynb"));
}

fn given(pairs: &[&str]) -> Parameters {
    pairs.iter().map(|pair| parameters::read_pair(pair).unwrap()).collect()
}

#[test]
fn parameters_come_behind_the_cell_that_declares_them() {
    let mut notebook = Notebook::read(&fixture("everything.ipynb")).unwrap();
    let undeclared = parameters::inject(&mut notebook, &given(&["context=16384", "metod=yarn", "zz=1"])).unwrap();
    let told: Vec<_> = undeclared.iter().map(ToString::to_string).collect();
    insta::assert_snapshot!(told.join("\n"), @r"
    the notebook has no parameter `metod`; did you mean `method`?
    the notebook has no parameter `zz`; it is set all the same
    ");
    let cell = &notebook.cells[3];
    assert!(cell.has_tag("injected-parameters"));
    assert_eq!(cell.source, "// Parameters\nlet context = 16384;\nlet metod = \"yarn\";\nlet zz = 1;");
    assert_eq!(notebook.metadata["papermill"]["parameters"]["zz"], 1);
    assert_eq!(notebook.metadata["longlens"]["parameters"]["zz"], 1);

    let n_cells = notebook.cells.len();
    assert_eq!(parameters::inject(&mut notebook, &given(&["method=full"])).unwrap(), []);
    assert_eq!(notebook.cells.len(), n_cells);
    assert_eq!(notebook.cells[3].source, "// Parameters\nlet method = \"full\";");

    let before = notebook.clone();
    parameters::inject(&mut notebook, &Parameters::new()).unwrap();
    assert_eq!(notebook, before);
    Notebook::from_ipynb(&notebook.to_ipynb()).unwrap();
}

#[test]
fn parameters_without_a_cell_come_first() {
    let mut notebook = Notebook::read(&fixture("old.ipynb")).unwrap();
    let undeclared = parameters::inject(&mut notebook, &given(&["a=1"])).unwrap();
    assert!(matches!(undeclared[0], Remark::Undeclared { has_cell: false, .. }));
    assert_eq!(notebook.cells[0].id, "injected-parameters");
}

#[test]
fn parameters_are_of_the_kind_that_the_cell_declares() {
    let mut notebook = Notebook::new();
    let source =
        "let f = 1.5; let n = 4; let depths = [0.1, 0.5]; let rope = #{ factor: 8 }; let on = true; let s = \"\";";
    let cell = notebook.push(Kind::Code, source);
    cell.metadata.insert("tags".into(), json!(["parameters"]));
    let set = given(&["f=3", "n=3", "depths=[0, 1]", "s=x"]);
    assert_eq!(parameters::inject(&mut notebook, &set).unwrap(), []);
    assert_eq!(
        notebook.cells[1].source,
        "// Parameters\nlet f = 3.0;\nlet n = 3;\nlet depths = [0.0, 1.0];\nlet s = \"x\";"
    );
    assert_eq!(notebook.metadata["longlens"]["parameters"]["f"].to_string(), "3.0");
    let before = notebook.clone();

    let texts = given(&["f=1,5", "depths=[0.1, .5]", "rope={factor: 4}", "on=yes", "s=[0.1, .5]"]);
    let told: Vec<_> = parameters::inject(&mut notebook, &texts).unwrap().iter().map(ToString::to_string).collect();
    insta::assert_snapshot!(told.join("\n"), @r#"
    parameter `f` is set to a text, and the notebook has a number: write it like `-p f 0.5`, or `-r f` if a text is meant
    parameter `depths` is set to a text, and the notebook has a list: write it like `-p depths "[0.1, 0.5]"`, or `-r depths` if a text is meant
    parameter `rope` is set to a text, and the notebook has a map: write it like `-p rope "{ factor = 8 }"`, or `-r rope` if a text is meant
    parameter `on` is set to a text, and the notebook has a truth value: write it like `-p on true`, or `-r on` if a text is meant
    "#);

    assert_eq!(parameters::changes(&before, &before), [] as [String; 0]);
    insta::assert_snapshot!(parameters::changes(&before, &notebook).join("\n"), @r#"
    `f` was 3.0, is "1,5"
    `n` was 3, is as the notebook sets it
    `depths` was [0.0, 1.0], is "[0.1, .5]"
    `s` was "x", is "[0.1, .5]"
    `rope` was as the notebook sets it, is "{factor: 4}"
    `on` was as the notebook sets it, is "yes"
    "#);
}

#[test]
fn parameters_that_cannot_be_set_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.toml");
    let of_file = |text: &str| {
        std::fs::write(&path, text).unwrap();
        parameters::read_file(&path)
    };
    let values = of_file("a = 1\nb = [1.5, \"x\"]\nc = { d = true }\ne = 2026-01-01").unwrap();
    assert_eq!(Value::Object(values), json!({ "a": 1, "b": [1.5, "x"], "c": { "d": true }, "e": "2026-01-01" }));

    let inject = |name: &str, value: Value| {
        parameters::inject(&mut Notebook::new(), &Parameters::from_iter([(name.to_owned(), value)])).unwrap_err()
    };
    let of_json = |text: &str| {
        let path = folder.path().join("a.json");
        std::fs::write(&path, text).unwrap();
        parameters::inject(&mut Notebook::new(), &parameters::read_file(&path).unwrap()).unwrap_err()
    };
    let errors = [
        parameters::read_pair("context").unwrap_err(),
        parameters::read_pair("=1").unwrap_err(),
        inject("a-b", json!(1)),
        inject("while", json!(1)),
        inject("a", json!(u64::MAX)),
        of_json("{\"a\": [123456789012345678901234567890]}"),
        of_file("a = 1\nb = \n").unwrap_err(),
        parameters::read_file(&folder.path().join("b.toml")).unwrap_err(),
    ];
    let told = errors.map(|error| format!("{error}\n  {}", error.help()));
    insta::assert_snapshot!(told.join("\n").replace(&folder.path().display().to_string(), "DIR"), @r"
    `context` is no parameter
      write it as `name=value`, as in `-p context=8192`
    `=1` is no parameter
      write it as `name=value`, as in `-p context=8192`
    parameter `a-b` cannot be the name of a variable
      a name is letters, digits and `_`, begins with a letter or `_`, and is no word of the language
    parameter `while` cannot be the name of a variable
      a name is letters, digits and `_`, begins with a letter or `_`, and is no word of the language
    parameter `a` has the value 18446744073709551615, which Rhai cannot write
      whole numbers lie within ±9223372036854775807; put larger ones in quotes, or write them with a point
    parameter `a` has the value [123456789012345678901234567890], which Rhai cannot write
      whole numbers lie within ±9223372036854775807; put larger ones in quotes, or write them with a point
    DIR/a.toml: not TOML: string values must be quoted, expected literal string at line 2
      the file holds lines like `context = 8192`
    DIR/b.toml does not exist
      check the path
    ");
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_filter_map("finite", |float| serde_json::Number::from_f64(float).map(Value::from)),
        prop_oneof![any::<String>(), Just("code".to_owned()), Just("raw".to_owned())].prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 8, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            prop::collection::hash_map(any::<String>(), inner, 0..3)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

/// The `nth` part of a value, depth first.
fn part<'a>(value: &'a mut Value, nth: &mut usize) -> Option<&'a mut Value> {
    if *nth == 0 {
        return Some(value);
    }
    *nth -= 1;
    match value {
        Value::Array(items) => items.iter_mut().find_map(|item| part(item, nth)),
        Value::Object(map) => map.values_mut().find_map(|item| part(item, nth)),
        _ => None,
    }
}

proptest! {
    #[test]
    fn broken_files_are_refused_or_read_but_never_end_the_program(
        name in prop::sample::select(vec!["everything.ipynb", "old.ipynb", "version3.ipynb"]),
        changes in prop::collection::vec((0..120usize, any_json()), 1..4),
    ) {
        let mut file: Value = serde_json::from_str(&text_of(name)).unwrap();
        for (mut nth, value) in changes {
            if let Some(part) = part(&mut file, &mut nth) {
                *part = value;
            }
        }
        if let Ok(notebook) = Notebook::from_ipynb(&file.to_string()) {
            prop_assert_eq!(&Notebook::from_ipynb(&notebook.to_ipynb()).unwrap(), &notebook);
            longlens_notebook::document::html::page(&notebook, "a", &[]);
            Notebook::from_text(&notebook.to_text());
        }
    }

    #[test]
    fn half_a_file_is_refused(end in 0..3000usize) {
        let text = text_of("everything.ipynb");
        let half: String = text.chars().take(end).collect();
        let is_refused = matches!(Notebook::from_ipynb(&half), Err(DocumentError::NotJson { .. }));
        prop_assert!(is_refused);
    }
}
