//! Files as they come: three formats, and all that is no data set.

use std::sync::Arc;

use ::parquet::basic::Compression;
use ::parquet::data_type::{ByteArray, ByteArrayType, Int64Type};
use ::parquet::file::properties::WriterProperties;
use ::parquet::file::writer::SerializedFileWriter;
use ::parquet::schema::parser::parse_message_type;

use super::*;
use crate::tasks::held::Held;

/// A table as data frames write it: a text, a list of texts, and a whole number, of two rows.
fn table(compression: Compression) -> Vec<u8> {
    let schema = "message schema { optional binary input (STRING); optional group answers (LIST) { repeated group list { optional binary \
                  element (STRING); } } optional int64 length; }";
    let properties = WriterProperties::builder().set_compression(compression).build();
    let schema = Arc::new(parse_message_type(schema).unwrap());
    let mut file = SerializedFileWriter::new(Vec::new(), schema, Arc::new(properties)).unwrap();
    let mut group = file.next_row_group().unwrap();
    let texts = |texts: &[&str]| texts.iter().map(|text| ByteArray::from(*text)).collect::<Vec<_>>();
    let mut column = group.next_column().unwrap().unwrap();
    column.typed::<ByteArrayType>().write_batch(&texts(&["Wer?", "何？"]), Some(&[1, 1]), None).unwrap();
    column.close().unwrap();
    let mut column = group.next_column().unwrap().unwrap();
    let answers = texts(&["Ada", "ada", "川"]);
    column.typed::<ByteArrayType>().write_batch(&answers, Some(&[3, 3, 3]), Some(&[0, 1, 0])).unwrap();
    column.close().unwrap();
    let mut column = group.next_column().unwrap().unwrap();
    column.typed::<Int64Type>().write_batch(&[4000], Some(&[1, 0]), None).unwrap();
    column.close().unwrap();
    group.close().unwrap();
    file.into_inner().unwrap()
}

fn said(name: &str, bytes: impl Into<Vec<u8>>) -> String {
    match read(&Held::bytes(name, bytes.into()), name) {
        Ok(rows) => {
            let line = |row: &Row| format!("{} {}", row.place(), Value::Object(row.fields.clone()));
            rows.iter().map(line).collect::<Vec<_>>().join("\n")
        }
        Err(error) => format!("{error} | {}", error.help().unwrap_or_default()),
    }
}

#[test]
fn fields_of_a_table_in_text_are_texts() {
    let table = "\u{feff}input,target\n\"Wer, und\nwo?\",\"die \"\"Ada\"\"\"\n7,\n";
    insta::assert_snapshot!(said("rows.CSV", table), @r#"
    line 2 {"input":"Wer, und\nwo?","target":"die \"Ada\""}
    line 4 {"input":"7","target":""}
    "#);
}

#[test]
fn three_formats_hold_the_same_rows() {
    let first = r#"{"input": "Wer?", "answers": ["Ada", "ada"], "length": 4000}"#;
    let second = r#"{"input": "何？", "answers": ["川"], "length": null}"#;
    let fields = |text: &str| text.lines().map(|line| line.split_once(" {").unwrap().1.to_owned()).collect::<Vec<_>>();
    let lines = said("rows.jsonl", format!("\u{feff}{first}\r\n\n{second}\n"));
    insta::assert_snapshot!(lines, @r#"
    line 1 {"input":"Wer?","answers":["Ada","ada"],"length":4000}
    line 3 {"input":"何？","answers":["川"],"length":null}
    "#);
    let list = said("rows.json", format!(" [\n{first},\n{second}]\n"));
    assert!(list.starts_with("row 1 ") && list.contains("row 2 "), "{list}");
    assert_eq!(fields(&list), fields(&lines));
    for compression in [Compression::UNCOMPRESSED, Compression::SNAPPY] {
        assert_eq!(said("rows.parquet", table(compression)), list);
    }
}

#[test]
fn what_holds_no_rows_is_refused_with_what_to_do() {
    insta::assert_snapshot!(said("a.jsonl", "{\"id\": 1}\n{\"id\": 2,}\n"), @"line 2 of a.jsonl: no JSON: trailing comma at column 10 | give JSON lines (an object a line), a list of JSON objects, a Parquet table, or a .csv with names in its first line");
    insta::assert_snapshot!(said("a.jsonl", "{\n  \"id\": 1\n}\n"), @"line 1 of a.jsonl: no JSON: EOF while parsing an object at column 1 | an object has to stand in one line: `jq -c . a.jsonl > NEW` puts it there");
    insta::assert_snapshot!(said("a.jsonl", "{\"id\": 1}\n[1, 2]\n"), @"line 2 of a.jsonl: it is a list, not an object with named fields | give JSON lines (an object a line), a list of JSON objects, a Parquet table, or a .csv with names in its first line");
    insta::assert_snapshot!(said("a.json", "[{\"id\": 1}, 2]"), @"a.json: row 2: it is a number, not an object with named fields | give JSON lines (an object a line), a list of JSON objects, a Parquet table, or a .csv with names in its first line");
    insta::assert_snapshot!(said("a.json", "[{\"id\": 1}\n"), @"a.json: it is no list of JSON objects: EOF while parsing a list at line 2 column 0 | give JSON lines (an object a line), a list of JSON objects, a Parquet table, or a .csv with names in its first line");
    insta::assert_snapshot!(said("a.csv", "id,input\n1,Wer, und wo?\n"), @"line 2 of a.csv: it has 3 fields, and the first line names 2 | texts with commas or line ends stand in double quotes");
    insta::assert_snapshot!(said("a.csv", "id,input\n"), @"a.csv: it holds no rows | give JSON lines (an object a line), a list of JSON objects, a Parquet table, or a .csv with names in its first line");
    insta::assert_snapshot!(said("a.jsonl", " \n\n"), @"a.jsonl: it holds no rows | give JSON lines (an object a line), a list of JSON objects, a Parquet table, or a .csv with names in its first line");
    insta::assert_snapshot!(said("a.json", "[]"), @"a.json: it holds no rows | give JSON lines (an object a line), a list of JSON objects, a Parquet table, or a .csv with names in its first line");
    insta::assert_snapshot!(said("a.jsonl", &b"\xff\xfe{\0\"\0"[..]), @"a.jsonl: it is UTF-16, not UTF-8 (byte 0xff in line 1, offset 0) | convert it: `iconv -f UTF-16 -t UTF-8 a.jsonl > NEW`");
    insta::assert_snapshot!(said("a.jsonl", &b"{\"id\": 1}\n{\"input\": \"caf\xe9\"}\n"[..]), @"a.jsonl: byte 0xe9 in line 2, column 15 (offset 24) is not UTF-8 | text is read as UTF-8; from Latin-1, `iconv -f ISO-8859-1 -t UTF-8 a.jsonl > NEW` converts it");
    insta::assert_snapshot!(said("a.jsonl.gz", &b"\x1f\x8b\x08rest"[..]), @"a.jsonl.gz: it is packed (gzip), not text | unpack it first: `gunzip -c a.jsonl.gz > NEW`");
    insta::assert_snapshot!(said("data.zip", &b"PK\x03\x04rest"[..]), @"data.zip: it is packed (zip), not text | unpack it first: `unzip -p data.zip > NEW`");
}

#[test]
fn damaged_tables_are_refused_not_crashed_on() {
    let sound = table(Compression::SNAPPY);
    insta::assert_snapshot!(said("a.parquet", &b"PAR1 nothing of"[..]), @"a.parquet: it is the beginning of a Parquet table, whose end is missing | fetch or copy it again, whole");
    insta::assert_snapshot!(said("a.parquet", &b"PAR1 nothing of a table PAR1"[..]), @"a.parquet: the Parquet table cannot be read: EOF: Parquet file too small. Size is 28 but need 543517802 | write it anew, uncompressed or compressed with Snappy, or as JSON lines");
    for at in 4..sound.len() - 4 {
        let mut bytes = sound.clone();
        bytes[at] ^= 0x55;
        let said = said("a.parquet", bytes);
        assert!(
            said.starts_with("row 1 ") || said.contains("a.parquet") || said.contains("no rows"),
            "byte {at}: {said}"
        );
    }
}

#[test]
fn fields_are_asked_for_by_name_and_type() {
    let held = Held::new(&[(
        "a.jsonl",
        r#"{"n": 3, "x": 1.5, "s": "s", "l": ["a", "b"], "m": ["a", 1], "e": [], "b": " ", "z": null}"#,
    )]);
    let row = read(&held, "a.jsonl").unwrap().remove(0);
    assert_eq!((row.text("s").unwrap(), row.count("n").unwrap()), ("s", 3));
    assert_eq!((row.texts("l").unwrap(), row.answers("l").unwrap()), (vec!["a", "b"], vec!["a", "b"]));
    assert_eq!((row.answers("s").unwrap(), row.maybe_text("z").unwrap()), (vec!["s"], None));
    assert_eq!((row.id("s").unwrap(), row.id("n").unwrap()), ("s".into(), "3".into()));
    let refusals = [
        row.text("n").map(drop),
        row.text("z").map(drop),
        row.texts("m").map(drop),
        row.texts("s").map(drop),
        row.answers("e").map(drop),
        row.answers("b").map(drop),
        row.count("x").map(drop),
        row.id("x").map(drop),
    ];
    let said: Vec<String> = refusals.into_iter().map(|refused| refused.unwrap_err().to_string()).collect();
    insta::assert_snapshot!(said.join("\n"), @"
    line 1 of a.jsonl: `n` is a number, not a text
    line 1 of a.jsonl: `z` is missing
    line 1 of a.jsonl: `m` is a list, not a list of texts
    line 1 of a.jsonl: `s` is a text, not a list of texts
    line 1 of a.jsonl: `e` holds no answer
    line 1 of a.jsonl: `b` holds no answer
    line 1 of a.jsonl: `x` is a number, not a whole number
    line 1 of a.jsonl: `x` is a number, not a text or a whole number
    ");
}

#[test]
fn ids_are_one_a_row() {
    let rows = |text: &str| read(&Held::new(&[("a.jsonl", text)]), "a.jsonl").unwrap();
    assert_eq!(ids(&rows("{\"_id\": \"x\"}\n{}\n{\"_id\": 7}\n"), "_id").unwrap(), ["x", "1", "7"]);
    let error = ids(&rows("{\"_id\": \"x\"}\n{\"_id\": \"x\"}\n"), "_id").unwrap_err();
    insta::assert_snapshot!(error, @"line 2 of a.jsonl: the id `x` is that of line 1, too");
}

#[test]
fn rows_of_one_document_stand_together() {
    let rows = read(
        &Held::new(&[("a.json", r#"[{"d": "x", "q": "1"}, {"d": "y", "q": "2"}, {"d": "x", "q": "3"}]"#)]),
        "a.json",
    );
    let sorted = by_document(rows.unwrap(), |row| row.text("d")).unwrap();
    assert_eq!(sorted.iter().map(|row| row.text("q").unwrap()).collect::<Vec<_>>(), ["1", "3", "2"]);
}

#[test]
fn a_folder_holds_a_task_by_its_name() {
    let empty = "[]";
    let held = Held::new(&[
        ("data/qasper.jsonl", empty),
        ("data/qasper_e.jsonl", empty),
        ("data/musique/train-0.parquet", empty),
        ("data/musique/test-0.parquet", empty),
        ("data/musique/test-1.parquet", empty),
        ("data/musique/README.md", empty),
        ("data/qa1/4k.json", empty),
        ("data/4k/qa2-00000-of-00001.parquet", empty),
    ]);
    let found = |stems: &[&str]| {
        let stems: Vec<String> = stems.iter().map(|stem| (*stem).to_owned()).collect();
        find(&held, "data", &stems).map_err(|error| format!("{error} | {}", error.help().unwrap()))
    };
    assert_eq!(found(&["qasper"]).unwrap(), ["data/qasper.jsonl"]);
    assert_eq!(found(&["qasper_e"]).unwrap(), ["data/qasper_e.jsonl"]);
    assert_eq!(found(&["musique"]).unwrap(), ["data/musique/test-0.parquet", "data/musique/test-1.parquet"]);
    assert_eq!(found(&["qa1/4k", "4k/qa1"]).unwrap(), ["data/qa1/4k.json"]);
    assert_eq!(found(&["qa2/4k", "4k/qa2"]).unwrap(), ["data/4k/qa2-00000-of-00001.parquet"]);
    insta::assert_snapshot!(found(&["trec"]).unwrap_err(), @"data: the folder holds no `trec.jsonl` (nor .json, .parquet, .csv) | name the file itself; give JSON lines (an object a line), a list of JSON objects, a Parquet table, or a .csv with names in its first line");
    assert_eq!(
        find(&held, "data/qasper.jsonl", &["trec".into()]).unwrap(),
        ["data/qasper.jsonl"],
        "a file is what it is"
    );
}
