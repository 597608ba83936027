//! The text form: what it says, and that nothing is lost in it.

use longlens_notebook::document::{Cell, Kind, Notebook};
use proptest::prelude::*;
use serde_json::{Map, json};

use super::files::fixture;

#[test]
fn the_text_form_reads_as_it_is_meant() {
    let text = std::fs::read_to_string(fixture("text.rhai")).unwrap();
    let notebook = Notebook::read(&fixture("text.rhai")).unwrap();
    assert_eq!(notebook.metadata["title"], "Positions");
    let cells: Vec<String> = notebook.cells.iter().map(told).collect();
    insta::assert_snapshot!(cells.join("\n"));
    assert_eq!(notebook.to_text(), text);
}

fn told(cell: &Cell) -> String {
    format!("{} {:?} {}\n{:?}", cell.id, cell.kind, json!(cell.metadata), cell.source)
}

#[test]
fn markers_of_other_programs_are_read() {
    let cases = [
        ("//%%", Kind::Code, json!({})),
        ("// %%", Kind::Code, json!({})),
        ("// %%  [md]", Kind::Markdown, json!({})),
        ("// %% Load the model", Kind::Code, json!({ "title": "Load the model" })),
        ("// %% Why [markdown] tags=[\"a\"]", Kind::Markdown, json!({ "title": "Why", "tags": ["a"] })),
        ("// %% [markdown] Why", Kind::Markdown, json!({ "title": "Why" })),
        ("// %% a=1 \"b c\"=[2, 3] d.e=\"]\"", Kind::Code, json!({ "a": 1, "b c": [2, 3], "d.e": "]" })),
        ("// %% a=1 b", Kind::Code, json!({ "title": "a=1 b" })),
        ("// %% id=\"no id\"", Kind::Code, json!({ "title": "id=\"no id\"" })),
        ("// %% tags=[1]", Kind::Code, json!({ "title": "tags=[1]" })),
        ("// %% a title=\"b\"", Kind::Code, json!({ "title": "a title=\"b\"" })),
    ];
    for (marker, kind, metadata) in cases {
        let notebook = Notebook::from_text(marker);
        let [cell] = notebook.cells.as_slice() else { panic!("{marker}: {} cells", notebook.cells.len()) };
        assert_eq!((cell.kind, json!(cell.metadata)), (kind, metadata), "{marker}");
    }
}

#[test]
fn text_before_the_first_marker_is_code() {
    let notebook =
        Notebook::from_text("\n// a script\nprint(1)\n\n// %% [markdown]\n// prose\n// //\nno comment\n\n\n");
    let sources: Vec<_> = notebook.cells.iter().map(|cell| cell.source.as_str()).collect();
    assert_eq!(sources, ["// a script\nprint(1)", "prose\n//\nno comment"]);
    assert!(Notebook::from_text("\n \n").cells.is_empty());
}

#[test]
fn windows_line_ends_are_read() {
    let text = std::fs::read_to_string(fixture("text.rhai")).unwrap();
    assert_eq!(Notebook::from_text(&text.replace('\n', "\r\n")), Notebook::from_text(&text));
}

#[test]
fn lines_that_are_no_header_are_code() {
    for text in ["// ---\n// a\n// ---\n", "// ---\n// a=1\n", "// ---"] {
        let notebook = Notebook::from_text(text);
        assert_eq!(notebook.cells[0].source, text.trim_end());
        assert_eq!(notebook.metadata, Notebook::new().metadata);
    }
}

#[test]
fn a_repeated_id_stays_with_the_first() {
    let notebook = Notebook::from_text("// %% id=\"a\"\n1\n\n// %% id=\"a\"\n2\n");
    assert_eq!(notebook.cells[0].id, "a");
    assert_ne!(notebook.cells[1].id, "a");
}

#[test]
fn ids_that_the_text_implies_are_left_out() {
    let text = "// %%\n1\n\n// %%\n1\n\n// %% [markdown]\n// 1\n";
    let notebook = Notebook::from_text(text);
    assert_eq!(notebook.to_text(), text);
    let mut ids: Vec<_> = notebook.cells.iter().map(|cell| &cell.id).collect();
    ids.dedup();
    assert_eq!(ids.len(), 3);
}

/// Text of any kind, with a taste for what means something.
fn any_source() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        any::<String>(),
        prop::sample::select(vec![
            "// %%",
            "//%%",
            "// \\%%",
            "%%",
            "\\%%",
            "//",
            "// ",
            "// ---",
            " [markdown]",
            "[raw]",
            "\n",
            "\n\n",
            "\r\n",
            "\r",
            "\u{2028}",
            "id=\"a\"",
            "tags=[\"a\"]",
            "\u{feff}",
            "\t",
            "\u{85}%%",
        ])
        .prop_map(str::to_owned),
    ];
    prop::collection::vec(piece, 0..8).prop_map(|pieces| pieces.concat())
}

fn any_cells() -> impl Strategy<Value = Vec<(Kind, String, Vec<String>, Option<String>)>> {
    let kind = prop::sample::select(vec![Kind::Code, Kind::Markdown, Kind::Raw]);
    let tags = prop::collection::vec(any::<String>(), 0..3);
    prop::collection::vec((kind, any_source(), tags, prop::option::of("[a-zA-Z0-9_-]{1,64}")), 0..6)
}

proptest! {
    #[test]
    fn nothing_is_lost_on_the_way_through_text(cells in any_cells()) {
        let mut notebook = Notebook::new();
        for (kind, source, tags, id) in cells {
            let taken = notebook.cells.iter().any(|cell| Some(&cell.id) == id.as_ref());
            let cell = notebook.push(kind, source);
            if !tags.is_empty() {
                cell.metadata = Map::from_iter([("tags".to_owned(), json!(tags))]);
            }
            if let Some(id) = id.filter(|_| !taken) {
                cell.id = id;
            }
        }
        let read = Notebook::from_ipynb(&notebook.to_ipynb()).unwrap();
        prop_assert_eq!(&read, &notebook);
        let text = read.to_text();
        prop_assert_eq!(&Notebook::from_text(&text), &notebook, "{}", text);
        prop_assert_eq!(Notebook::from_text(&text).to_ipynb(), notebook.to_ipynb());
    }

    #[test]
    fn any_text_is_a_notebook(text in any_source()) {
        let notebook = Notebook::from_text(&text);
        let normal = notebook.to_text();
        prop_assert_eq!(&Notebook::from_text(&normal), &notebook, "{}", normal);
        prop_assert_eq!(Notebook::from_ipynb(&notebook.to_ipynb()).unwrap(), notebook);
    }
}
