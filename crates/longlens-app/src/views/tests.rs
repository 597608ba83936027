//! Every view of the list on a model made of a rule, whose head 2 of layer 1 attends to tokens 20 to 23.

use std::collections::HashSet;

use longlens_core::lens::{Lens, Rows};
use longlens_core::methods::Method;
use longlens_core::scripted::ScriptedLens;
use longlens_eval::document::Place;

use super::*;

/// Tokens of the prompt: the last chunk of 4 is not full.
const N: usize = 62;

/// What a text form shows of a prompt with a needle at tokens 20 to 23 under a method.
fn made(text: &str, method: &str, needle: bool) -> Result<Plot, Problem> {
    let (view, options) = parse(text)?;
    let mut lens = ScriptedLens::saying("ok")
        .attending(|layer, head, _, key| if (layer, head) == (1, 2) && (20..24).contains(&key) { 50.0 } else { 1.0 });
    let method = Method::parse(method).unwrap();
    let setup = Setup::new(&method, &lens.model().spec, N).unwrap();
    let model = lens.model().clone();
    let place = Place { is_page: true, first: 1, last: 1 };
    let passages = [2..30, 30..N].map(|tokens| Passage { text: "some words".into(), place, tokens });
    let subject = Subject::new(&model, &setup, N, needle.then_some(20..24));
    let subject = Subject { chunk_len: 4, passages: &passages, ..subject };
    let watch = view.watch(&subject, &options)?;
    lens.begin(&Setup { keep_queries: true, ..setup.clone() }).unwrap();
    lens.feed(&[9; N], Rows::None, &mut ()).unwrap();
    view.view(&subject, &options, &Arc::new(lens.inspect(&watch, &mut ()).unwrap()))
}

const CHOOSING: &str = "long_heads:chunk_len=4,attention_len=16";

#[test]
fn every_view_has_a_picture_a_table_and_arrays() {
    for view in TRACE_VIEWS {
        let name = view.info().name;
        for (method, needle) in [("full", false), ("full", true), (CHOOSING, true), (CHOOSING, false)] {
            let made = made(name, method, needle).unwrap_or_else(|problem| panic!("{name} under {method}: {problem}"));
            assert_eq!(made.about["view"], name);
            assert!(made.about["run"]["method"].as_str().unwrap().starts_with(&method[..4]), "{:?}", made.about);
            let table = made.table().unwrap();
            assert!(made.n_rows() >= table.rows.len(), "{name}: room for {} rows", made.n_rows());
            assert!(made.records.iter().all(|run| run.method.starts_with(&method[..4])) && made.records.len() == 1);
            let names: HashSet<_> = table.columns.iter().map(|column| column.name).collect();
            assert!(names.len() == table.columns.len() && !table.rows.is_empty(), "{name}: {names:?}");
            let arrays: HashSet<_> = made.arrays.iter().map(|array| &array.name).collect();
            assert!(arrays.len() == made.arrays.len() && !arrays.is_empty(), "{name}: {arrays:?}");
            for (ending, start) in
                ENDINGS.iter().zip([&b"\x89PNG"[..], b"<", names_of(&table).as_bytes(), b"PK", b"<!doctype html>"])
            {
                let bytes = made.bytes(ending).unwrap_or_else(|problem| panic!("{name} as {ending}: {problem}"));
                assert!(bytes.starts_with(start), "{name} as {ending}");
            }
            assert!(made.bytes("gif").unwrap_err().help.unwrap().contains(".npz"));
        }
        assert!(view.n_positional() <= 2 && view.n_positional() <= view.info().params.len(), "{name}");
    }
}

fn names_of(table: &Table) -> String {
    table.columns.iter().map(|column| column.name).collect::<Vec<_>>().join(",")
}

#[test]
fn options_that_do_not_fit_are_refused_with_what_fits() {
    for (text, message) in [
        ("layer", "unknown view `layer` (did you mean `layers`?)"),
        ("layers:scal=log", "`layers` has no parameter `scal` (did you mean `scale`?)"),
        ("layers:query=62", "query 62 does not exist: 62 tokens were fed (queries go from 0 to 61)"),
        ("chunks:layer=9", "layer 9 does not exist (layers go from 0 to 1)"),
        ("attention:head=4", "head 4 does not exist (heads go from 0 to 3)"),
        ("attention:side=5000", "`attention`: side = 5000 is not a whole number from 1 to 4096"),
    ] {
        assert_eq!(made(text, "full", true).unwrap_err().to_string(), message);
    }
}

/// Rows of a head.
fn rows(view: &Plot, head: (usize, usize)) -> Vec<String> {
    let table = view.table().unwrap();
    let start = format!("{},{},", head.0, head.1);
    table.to_csv().lines().filter_map(|line| line.strip_prefix(&start).map(str::to_owned)).collect()
}

#[test]
fn chunks_show_a_choice_only_in_the_chunks_that_it_was_made_of() {
    let choice = made("chunks:layer=1", CHOOSING, true).unwrap();
    let names = "layer,head,chunk,first_token,attention,chosen,forced,score,needle";
    assert_eq!(names_of(&choice.table().unwrap()), names);
    assert_eq!(choice.about["kind"], "choice");
    let on_needle = &rows(&choice, (1, 2))[5];
    assert!(on_needle.starts_with("5,20,") && on_needle.contains(",true,false,") && on_needle.ends_with(",true"));
    assert!(rows(&choice, (0, 2)).is_empty(), "one layer is shown");
    for text in ["chunks:show=attention", "chunks:chunk_len=8", "chunks:query=3"] {
        let view = made(text, CHOOSING, false).unwrap();
        assert_eq!(names_of(&view.table().unwrap()), "layer,head,chunk,first_token,attention", "{text}");
        assert_eq!(view.about["kind"], "attention", "{text}");
    }
}

#[test]
fn layers_count_attention_on_the_needle_and_how_often_it_was_chosen() {
    let view = made("layers", CHOOSING, true).unwrap();
    assert!(view.text.contains("most attention on the needle: layer 1, head 2, 9"), "{}", view.text);
    let cells: Vec<Vec<f32>> =
        rows(&view, (1, 2)).iter().map(|row| row.split(',').map(|cell| cell.parse().unwrap()).collect()).collect();
    assert!(cells[0][0] > 0.9 && cells[0][1..] == [1.0, 1.0], "{cells:?}");
    let far = made("layers", "full", false).unwrap();
    assert!(far.text.contains("most attention far away and not on the first tokens"), "{}", far.text);
}

#[test]
fn heads_that_are_switched_off_are_marked_in_text_picture_and_table() {
    for name in ["layers", "entropy", "distance", "chunks", "attention:layer=1,head=2"] {
        let [off, on] = ["full/1h2=off/0h1=off", "full"].map(|method| made(name, method, true).unwrap());
        let svg = |plot: &Plot| String::from_utf8(plot.bytes("svg").unwrap()).unwrap();
        assert!(svg(&off).contains("switched off") && !svg(&on).contains("switched off"), "{name}");
    }
    for name in ["layers", "entropy", "attention:layer=1,head=2"] {
        let off = made(name, "full/1h2=off", true).unwrap();
        assert!(off.text.contains("layer 1, head 2 (switched off)"), "{name}: {}", off.text);
        let other = made(name, "full/0h0=off", true).unwrap();
        assert!(!other.text.contains("switched off"), "{name}: {}", other.text);
    }
    for name in ["layers", "entropy", "distance"] {
        let [off, on] = ["full/1h2=off", "full"].map(|method| made(name, method, true).unwrap());
        assert!(names_of(&off.table().unwrap()).ends_with(",switched_off"), "{name}");
        assert!(!names_of(&on.table().unwrap()).contains("switched_off"), "{name}");
        let [of, other] = [(1, 2), (1, 1)].map(|head| rows(&off, head)[0].clone());
        assert!(of.ends_with(",true") && other.ends_with(",false"), "{name}: {of} and {other}");
    }
}

#[test]
fn a_page_begins_on_the_ground_that_was_asked_for() {
    let plot = made("layers", "full", true).unwrap();
    let html = |plot: &Plot| String::from_utf8(plot.bytes("html").unwrap()).unwrap();
    let theme = "\"theme\":\"dark\"";
    assert!(!html(&plot).contains(theme), "a light one may follow its reader's system");
    assert!(html(&plot.on(Ground::Dark)).contains(theme));
}

#[test]
fn a_part_of_a_map_begins_where_it_was_asked_to() {
    let view = made("attention:layer=1,head=2,first_query=32,first_key=16,len=8", "full", true).unwrap();
    let list = |name: &str| &view.arrays.iter().find(|array| array.name == name).unwrap().data;
    assert_eq!((list("query")[0], list("key")[7], list("mean").len()), (32.0, 23.0, 64));
    let table = view.table().unwrap();
    assert_eq!((table.rows.len(), table.rows[0][0].clone()), (64, Cell::Count(32)), "all keys come before all queries");
}

#[test]
fn a_short_prompt_is_cut_into_as_many_chunks_as_a_long_one() {
    let spec = &ScriptedLens::saying("ok").model().spec.clone();
    let n_chunks = |n_prompt: usize| n_prompt.div_ceil(default_chunk_len(spec, n_prompt));
    for n_prompt in [16, 61, 200, spec.trained_context] {
        assert!((12..=16).contains(&n_chunks(n_prompt)), "{} chunks of {n_prompt} tokens", n_chunks(n_prompt));
    }
    let of_trained = default_chunk_len(spec, spec.trained_context);
    assert_eq!((default_chunk_len(spec, 4096), default_chunk_len(spec, 0)), (of_trained, of_trained));
    assert_eq!(default_chunk_len(spec, 1), 1);
}
