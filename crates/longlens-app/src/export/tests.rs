use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use ::parquet::file::reader::{FileReader, SerializedFileReader};
use ::parquet::record::Field;
use longlens_eval::evaluate::Outcome;
use serde_json::Value;

use super::tensorboard::{crc32c, masked};
use super::*;
use crate::results::columns::{Kind, SAMPLES};
use crate::results::tests::{answered, record};
use crate::results::{Answer, Datum};

/// Two methods at two lengths on one task, one of them on another without lengths, and a sample that was passed over.
fn all() -> Vec<Record> {
    let mut records: Vec<Record> = (1..=16).map(answered).collect();
    for (at, record) in records.iter_mut().enumerate() {
        record.run.method = ["full", "self_extend:group_size=4,neighbor_window=64"][at % 2].to_owned();
        record.run.rope = "none".to_owned();
        record.run.model = "tiny".to_owned();
        record.task = "niah_single_1".to_owned();
        let length = 512 << (at / 2 % 2);
        record.length = Some(length);
        record.setting = format!("niah_single_1:length={length},samples=4");
        record.finished = 1_700_000_000 + at as u64;
    }
    for key in 20..24 {
        let mut measured = Record { run: records[0].run.clone(), ..record(key) };
        measured.task = "perplexity".to_owned();
        measured.setting = "perplexity:samples=4".to_owned();
        measured.length = None;
        measured.outcome = Outcome::Measured { mean_nll: key as f64 / 10.0, n_scored: 10, by_position: Vec::new() };
        records.push(measured);
    }
    let skipped =
        Record { key: "skipped".into(), id: "skipped".into(), outcome: Outcome::Skipped, ..records[0].clone() };
    records.push(skipped);
    records
}

fn write(format: Format, to: &Path) -> Written {
    export(format, "results", &all(), to).unwrap_or_else(|problem| panic!("{}: {problem}", format.name()))
}

/// Every file below a folder with its bytes.
fn files(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(self::files(&path));
        } else {
            files.insert(path.clone(), fs::read(&path).unwrap());
        }
    }
    files
}

#[test]
fn a_parquet_file_gives_back_every_cell() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("r.parquet");
    write(Format::Parquet, &path);
    let reader = SerializedFileReader::new(File::open(&path).unwrap()).unwrap();
    let mut rows = Vec::new();
    let mut names = Vec::new();
    for row in reader.get_row_iter(None).unwrap() {
        let columns = row.unwrap().into_columns();
        names = columns.iter().map(|(name, _)| name.clone()).collect();
        let cell = |(_, field)| match field {
            Field::Null => Datum::Empty,
            Field::Long(whole) => Datum::Integer(whole),
            Field::Double(real) => Datum::Real(real),
            Field::Str(text) => Datum::Text(text),
            other => panic!("{other:?}"),
        };
        rows.push(columns.into_iter().map(cell).collect());
    }
    let records = all();
    assert_eq!(Answer { columns: names, rows }, Answer::of(SAMPLES, &records));
}

#[test]
fn csv_and_json_lines_give_back_every_cell() {
    let folder = tempfile::tempdir().unwrap();
    let records = all();
    let expected = Answer::of(SAMPLES, &records);
    let path = folder.path().join("r.csv");
    write(Format::Csv, &path);
    let mut reader = csv::Reader::from_path(&path).unwrap();
    assert_eq!(reader.headers().unwrap().iter().collect::<Vec<_>>(), expected.columns);
    let rows: Vec<csv::StringRecord> = reader.records().map(Result::unwrap).collect();
    assert_eq!(rows.len(), expected.rows.len());
    for (row, cells) in rows.iter().zip(&expected.rows) {
        for ((text, cell), column) in row.iter().zip(cells).zip(SAMPLES) {
            let read = match (text, column.kind) {
                ("", _) => Datum::Empty,
                (text, Kind::Integer) => Datum::Integer(text.parse().unwrap()),
                (text, Kind::Real) => Datum::Real(text.parse().unwrap()),
                (text, Kind::Text | Kind::Json) => Datum::from(text),
            };
            let is_empty = *cell == Datum::Text(String::new());
            assert!(read == *cell || is_empty && read == Datum::Empty, "{}: {text:?} for {cell:?}", column.name);
        }
    }
    let path = folder.path().join("r.jsonl");
    write(Format::Jsonl, &path);
    let text = fs::read_to_string(&path).unwrap();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), records.len());
    for (line, record) in lines.iter().zip(&records) {
        assert_eq!(line["key"], record.key);
        assert_eq!(line["answers"], serde_json::json!(record.answers), "a list is a list");
        assert_eq!(line["score"].as_f64(), record.score());
        assert_eq!(line["length"].as_u64(), record.length.map(|length| length as u64));
        assert_eq!(line.as_object().unwrap().len(), SAMPLES.len());
    }
}

#[test]
fn the_same_samples_give_the_same_bytes_and_replace_their_export_alone() {
    let folder = tempfile::tempdir().unwrap();
    for format in Format::ALL {
        let to = folder.path().join(format.name());
        assert!(!write(format, &to).is_replaced);
        let read = || if to.is_dir() { files(&to) } else { BTreeMap::from([(to.clone(), fs::read(&to).unwrap())]) };
        let first = read();
        assert!(write(format, &to).is_replaced, "{}", format.name());
        assert_eq!(read(), first, "{}", format.name());
        // every other format leaves it as it is
        for other in Format::ALL.into_iter().filter(|other| *other != format) {
            let problem = export(other, "results", &all(), &to).unwrap_err();
            assert!(problem.help.unwrap().starts_with("nothing was written"), "{}", other.name());
            assert_eq!(read(), first);
        }
    }
    let results = folder.path().join("results");
    fs::create_dir(&results).unwrap();
    let line = serde_json::to_string(&answered(1)).unwrap() + "\n";
    let foreign = [("samples.jsonl", &*line), ("a.csv", "key,value\n1,2\n"), ("b.csv", "x"), ("c.parquet", "PAR1")];
    for (name, text) in foreign {
        fs::write(results.join(name), text).unwrap();
        for format in Format::ALL {
            assert!(check(format, &results.join(name)).is_err(), "{name} as {}", format.name());
            assert!(check(format, &results).is_err());
        }
    }
    let empty = folder.path().join("empty");
    fs::create_dir(&empty).unwrap();
    assert!(!write(Format::LmEval, &empty).is_replaced);
    fs::write(folder.path().join("empty.csv"), "").unwrap();
    assert!(!write(Format::Csv, &folder.path().join("empty.csv")).is_replaced);
}

#[test]
fn files_of_an_earlier_export_go_and_those_of_others_stay() {
    let folder = tempfile::tempdir().unwrap();
    let to = folder.path().join("tb");
    let outside = folder.path().join("outside");
    fs::write(&outside, "mine").unwrap();
    write(Format::Tensorboard, &to);
    fs::write(to.join("notes.txt"), "mine").unwrap();
    let mark = to.join("longlens-export.json");
    let text = fs::read_to_string(&mark).unwrap();
    fs::write(&mark, text.replace("\"files\": [", "\"files\": [\"../outside\",")).unwrap();
    let fewer: Vec<Record> = all().into_iter().filter(|record| record.run.method == "full").collect();
    export(Format::Tensorboard, "results", &fewer, &to).unwrap();
    let names: Vec<String> =
        files(&to).keys().map(|path| path.strip_prefix(&to).unwrap().to_string_lossy().into_owned()).collect();
    assert_eq!(names.len(), 3, "{names:?}");
    assert!(names.contains(&"notes.txt".to_owned()) && names.iter().any(|name| name.starts_with("full/events.out")));
    assert_eq!(fs::read_to_string(&outside).unwrap(), "mine");
}

/// The scalars of an event file, every checksum checked: step, tag and value.
fn scalars(mut bytes: &[u8]) -> Vec<(u64, String, f32)> {
    let mut scalars = Vec::new();
    while !bytes.is_empty() {
        let n = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
        let sum = |bytes: &[u8]| u32::from_le_bytes(bytes[..4].try_into().unwrap());
        assert_eq!(sum(&bytes[8..]), masked(&bytes[..8]));
        let event = &bytes[12..12 + n];
        assert_eq!(sum(&bytes[12 + n..]), masked(event));
        let fields = fields(event);
        match fields.get(&5) {
            Some(summary) => {
                let value = self::fields(&self::fields(summary)[&1]);
                let tag = String::from_utf8(value[&1].clone()).unwrap();
                let step = u64::from_le_bytes(fields[&2][..].try_into().unwrap());
                scalars.push((step, tag, f32::from_le_bytes(value[&2][..].try_into().unwrap())));
            }
            None => assert_eq!(fields[&3], b"brain.Event:2"),
        }
        bytes = &bytes[16 + n..];
    }
    scalars
}

/// The fields of a message by number; a varint as eight bytes.
fn fields(mut bytes: &[u8]) -> BTreeMap<u64, Vec<u8>> {
    fn varint(bytes: &mut &[u8]) -> u64 {
        let mut number = 0;
        for shift in (0..).step_by(7) {
            let byte = bytes[0];
            *bytes = &bytes[1..];
            number |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                break;
            }
        }
        number
    }
    let mut fields = BTreeMap::new();
    while !bytes.is_empty() {
        let tag = varint(&mut bytes);
        let value = match tag & 7 {
            0 => varint(&mut bytes).to_le_bytes().to_vec(),
            wire => {
                let n = [0, 8, 0, 0, 0, 4][wire as usize];
                let n = if wire == 2 { varint(&mut bytes) as usize } else { n };
                let (value, rest) = bytes.split_at(n);
                bytes = rest;
                value.to_vec()
            }
        };
        fields.insert(tag >> 3, value);
    }
    fields
}

#[test]
fn event_files_hold_the_scores() {
    // from RFC 3720, B.4
    assert_eq!(crc32c(&[0; 32]), 0x8a91_36aa);
    assert_eq!(crc32c(b"123456789"), 0xe306_9283);
    let folder = tempfile::tempdir().unwrap();
    write(Format::Tensorboard, folder.path());
    let records = all();
    let runs = Runs::of(&records);
    assert_eq!(
        runs.runs.iter().map(|run| &*run.subject.name).collect::<Vec<_>>(),
        ["full", "self_extend:group_size=4,neighbor_window=64"]
    );
    for run in &runs.runs {
        let folder = folder.path().join(&run.file_name);
        let file = fs::read_dir(folder).unwrap().next().unwrap().unwrap().path();
        let scalars = scalars(&fs::read(file).unwrap());
        let scores = scalars.iter().filter(|(_, tag, _)| tag.starts_with("score/"));
        let expected: Vec<_> = run
            .rows
            .iter()
            .map(|row| (row.length.unwrap_or(0) as u64, format!("score/{}", row.task), row.score as f32))
            .collect();
        assert_eq!(scores.cloned().collect::<Vec<_>>(), expected);
    }
}

#[test]
fn the_harness_layout_has_its_names_and_numbers() {
    let folder = tempfile::tempdir().unwrap();
    write(Format::LmEval, folder.path());
    let time = "2023-11-14T22-13-34.000000";
    let run = folder.path().join("tiny,full");
    let results: Value = serde_json::from_slice(&fs::read(run.join(format!("results_{time}.json"))).unwrap()).unwrap();
    let records = all();
    let full = Runs::of(&records).runs.into_iter().next().unwrap();
    for row in &full.rows {
        let own = &results["results"][&row.task];
        let (name, score) = match row.length {
            Some(length) => (length.to_string(), row.score / 100.0),
            None => (row.scorer.clone(), row.score),
        };
        assert_eq!(own[format!("{name},none")], score, "{own}");
        assert!(own.get(format!("{name}_stderr,none")).is_some());
    }
    assert_eq!(results["n-samples"]["niah_single_1"], serde_json::json!({ "original": 9, "effective": 8 }));
    assert_eq!(results["higher_is_better"]["perplexity"]["perplexity"], false);
    assert_eq!(results["config"]["model_args"]["method"], "full");
    let samples = fs::read_to_string(run.join(format!("samples_niah_single_1_{time}.jsonl"))).unwrap();
    let samples: Vec<Value> = samples.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(samples.len(), 8, "the one that was passed over has no line");
    for (at, sample) in samples.iter().enumerate() {
        assert_eq!(sample["doc_id"], at);
        assert_eq!(sample["metrics"], serde_json::json!(["512", "1024"]));
        let (own, other) = if sample["doc"]["max_length"] == 512 { ("512", "1024") } else { ("1024", "512") };
        assert!(sample[own].as_f64().unwrap() >= 0.0 && sample[other] == -1.0, "{sample}");
        assert_eq!(sample["target"], "['12345']");
        assert_eq!(sample["resps"][0].as_array().unwrap().len(), 1);
        assert!(["doc_hash", "target_hash"].iter().all(|hash| sample[hash].as_str().unwrap().len() == 64));
    }
    // the mean over samples of a length is the score of that length
    let of = |length: &str| -> Vec<f64> {
        samples.iter().filter_map(|sample| sample[length].as_f64()).filter(|value| *value >= 0.0).collect()
    };
    for length in ["512", "1024"] {
        let values = of(length);
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        let told = results["results"]["niah_single_1"][format!("{length},none")].as_f64().unwrap();
        assert!((mean - told).abs() < 1e-12, "{length}: {mean} and {told}");
    }
}

#[test]
fn names_and_times_are_as_the_harness_writes_them() {
    assert_eq!(lm_eval::iso(0), "1970-01-01T00-00-00.000000");
    assert_eq!(lm_eval::iso(951_868_799), "2000-02-29T23-59-59.000000");
    assert_eq!(lm_eval::iso(4_107_542_400), "2100-03-01T00-00-00.000000");
    assert_eq!(lm_eval::sanitized("org/name:x=\"1\"|/y"), "org__name__x=__1__y");
    let long = lm_eval::sanitized(&"ü".repeat(300));
    assert!(long.len() < 255 && long != lm_eval::sanitized(&"ü".repeat(301)));
    let texts = ["a", "it's", "\"q\"", "it's \"q\"", "\\\n\u{1}ü"].map(str::to_owned);
    assert_eq!(lm_eval::python_list(&texts), r#"['a', "it's", '"q"', 'it\'s "q"', '\\\n\x01ü']"#);
    assert_eq!(lm_eval::python_list(&[]), "[]");
}

#[test]
fn trackers_get_a_run_for_each_method_and_a_step_for_each_length() {
    let folder = tempfile::tempdir().unwrap();
    for format in [Format::Wandb, Format::Trackio] {
        let to = folder.path().join(format.name());
        write(format, &to);
        let data: Value = serde_json::from_slice(&fs::read(to.join("runs.json")).unwrap()).unwrap();
        let runs = data["runs"].as_array().unwrap();
        assert_eq!((runs.len(), &data["project"]), (2, &Value::from("results")));
        let steps = |run: &Value| -> Vec<u64> {
            run["history"].as_array().unwrap().iter().map(|row| row["step"].as_u64().unwrap()).collect()
        };
        assert_eq!([steps(&runs[0]), steps(&runs[1])], [vec![0, 512, 1024], vec![512, 1024]]);
        assert_ne!(runs[0]["id"], runs[1]["id"]);
        assert!(runs[0]["history"][0]["metrics"]["score/perplexity"].as_f64().unwrap() > 1.0);
        assert_eq!(runs[1]["config"]["method"], "self_extend:group_size=4,neighbor_window=64");
        let script = fs::read_to_string(to.join("import.py")).unwrap();
        assert!(script.contains(&format!("import {} as tracker", format.name())) && !script.contains("OPTIONS"));
    }
}

#[test]
fn names_tell_settings_apart_where_there_are_several() {
    let mut records = all();
    let runs = Runs::of(&records);
    assert_eq!(runs.task("niah_single_1", "niah_single_1", 1), "niah_single_1");
    records[0].setting = "niah_single_1:haystack=needles,length=512".to_owned();
    records[1].task_version = 2;
    let runs = Runs::of(&records);
    let named = |setting, version| runs.task("niah_single_1", setting, version);
    assert_eq!(named("niah_single_1:haystack=needles", 1), "niah_single_1:haystack=needles");
    assert_eq!(named("niah_single_1", 2), "niah_single_1 v2");
    let mut taken = std::collections::BTreeSet::new();
    let names = ["A b/c", "a b:c", ".."].map(|name| runs::unique(&runs::file_name(name), &mut taken));
    assert_eq!(names, ["A-b-c", "a-b-c-2", "run"]);
}
