use std::collections::BTreeMap;
use std::time::Duration;

use longlens_core::lens::CancelToken;
use longlens_eval::evaluate::{Outcome, Row, Store};
use longlens_eval::scorers::Mode;
use serde_json::json;

use super::super::tests::{answered, record};
use super::super::{Answer, Results};
use super::*;

/// Samples of every outcome, under two methods and with parts, of which no two are alike.
fn all() -> Vec<Record> {
    let mut records: Vec<Record> = (1..=40).map(answered).collect();
    for (at, record) in records.iter_mut().enumerate() {
        record.run.method = ["full", "self_extend"][at % 2].to_owned();
        record.part = (at.is_multiple_of(3)).then(|| "part".to_owned());
        record.mode = if at.is_multiple_of(5) { Mode::Fixed } else { Mode::Faithful };
        record.length = Some(512 << (at % 4));
    }
    records.push(record(41));
    let mut measured = record(42);
    measured.task = "perplexity".to_owned();
    measured.setting = "perplexity".to_owned();
    measured.outcome = Outcome::Measured { mean_nll: 1.25, n_scored: 100, by_position: vec![(1, 1.25, 100)] };
    records.push(measured);
    records
}

fn folder(records: &[Record]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let mut results = Results::write(folder.path()).unwrap();
    for record in records {
        results.finished(record).unwrap();
    }
    folder
}

fn open(folder: &Path) -> Index {
    Index::open(folder, &mut ()).unwrap_or_else(|problem| panic!("{problem}"))
}

fn ask(index: &mut Index, sql: &str) -> Result<Answer, Refusal> {
    index.ask(&Asked { sql, timeout: Duration::from_secs(20), cancel: &CancelToken::default() })
}

fn cells(index: &mut Index, sql: &str) -> Vec<Vec<Datum>> {
    ask(index, sql).unwrap_or_else(|refusal| panic!("{sql}: {}", refusal.problem)).rows
}

/// Rows as they are compared: without shares, with numbers that are none as such, and with one zero, as SQLite has it.
fn rows(summary: Summary) -> Vec<String> {
    let bare = |row: Row| format!("{:?}", Row { shares: BTreeMap::new(), ..row }).replace("-0.0", "0.0");
    summary.rows.into_iter().map(bare).collect()
}

#[test]
fn the_index_says_what_the_lines_say() {
    let folder = folder(&all());
    for turn in 0..2 {
        let mut index = open(folder.path());
        assert_eq!((index.len(), index.n_new()), (42, if turn == 0 { 42 } else { 0 }));
        assert_eq!(rows(index.summary().unwrap()), rows(summarize(&all())));
        let table = ask(&mut index, "SELECT * FROM samples").unwrap();
        assert_eq!(table, Answer::of(SAMPLES, &all()), "turn {turn}");
        let scores = ask(&mut index, "SELECT * FROM scores").unwrap();
        assert_eq!(scores, Answer::of(SCORES, &summarize(&all()).rows));
    }
}

#[test]
fn lines_that_come_later_are_added_and_the_first_of_a_key_counts() {
    let folder = tempfile::tempdir().unwrap();
    let mut first = Results::write(folder.path()).unwrap();
    let mut second = Results::write(folder.path()).unwrap();
    first.finished(&answered(1)).unwrap();
    second.finished(&answered(2)).unwrap();
    assert_eq!(open(folder.path()).n_new(), 2);
    // the file that stands first has another line of a sample that the index has of the second
    let mut other = answered(2);
    other.seconds = 77.0;
    first.finished(&other).unwrap();
    second.finished(&answered(3)).unwrap();
    let mut repeated = answered(1);
    repeated.seconds = 88.0;
    second.finished(&repeated).unwrap();
    let mut index = open(folder.path());
    assert_eq!((index.len(), index.n_new()), (3, 1));
    let kept = first.records().unwrap();
    assert_eq!(ask(&mut index, "SELECT * FROM samples").unwrap(), Answer::of(SAMPLES, &kept));
    assert_eq!(cells(&mut index, "SELECT seconds FROM samples"), [[Datum::Real(1.0)], [77.0.into()], [1.0.into()]]);
}

#[test]
fn an_index_that_does_not_fit_is_made_anew() {
    let records = all();
    let folder = folder(&records);
    let (lines, index) = (folder.path().join("samples.jsonl"), folder.path().join(FILE));
    open(folder.path());
    let (text, good) = (fs::read_to_string(&lines).unwrap(), fs::read(&index).unwrap());
    let is_anew = |what: &str, n: usize| {
        let mut now = open(folder.path());
        assert_eq!((now.len(), now.n_new()), (n, n), "{what}");
        assert_eq!(ask(&mut now, "SELECT count(*) FROM samples").unwrap().rows, [[Datum::Integer(n as i64)]]);
        assert_eq!(open(folder.path()).n_new(), 0, "{what}: it is kept");
    };
    for at in [0, 20, CHECKSUM.start, 5000, good.len() / 2, good.len() - 1] {
        let mut damaged = good.clone();
        damaged[at] ^= 1;
        fs::write(&index, &damaged).unwrap();
        is_anew(&format!("byte {at}"), 42);
    }
    for bytes in [&good[..good.len() - 1], &good[..10], b"", b"no database"] {
        fs::write(&index, bytes).unwrap();
        is_anew(&format!("{} bytes", bytes.len()), 42);
    }
    fs::remove_file(&index).unwrap();
    is_anew("it is gone", 42);
    // a file of another version, whose checksum is right
    let mut connection = load(&index).unwrap();
    connection.execute("UPDATE about SET version = 'another'", []).unwrap();
    fs::write(&index, written(&mut connection).unwrap()).unwrap();
    is_anew("another version", 42);
    // lines that were taken out, changed at the end, or moved away
    let without_last = text.trim_end().rfind('\n').unwrap() + 1;
    fs::write(&lines, &text[..without_last]).unwrap();
    is_anew("shorter", 41);
    let changed = text[..without_last].trim_end().rfind("\"finished\":0").unwrap();
    let mut other = text[..without_last].to_owned();
    other.replace_range(changed.., "\"finished\":7}\n");
    fs::write(&lines, &other).unwrap();
    is_anew("changed at its end", 41);
    fs::rename(&lines, folder.path().join("samples-3.jsonl")).unwrap();
    is_anew("renamed", 41);
}

#[test]
fn a_line_without_an_end_waits_and_a_wrong_one_is_named() {
    let folder = folder(&all());
    let lines = folder.path().join("samples.jsonl");
    let text = fs::read_to_string(&lines).unwrap();
    fs::write(&lines, &text[..text.len() - 9]).unwrap();
    assert_eq!(open(folder.path()).len(), 41);
    fs::write(&lines, &text).unwrap();
    assert_eq!(open(folder.path()).n_new(), 1, "the rest came");
    fs::write(&lines, format!("{text}{{\"key\":\"1\"}}\n")).unwrap();
    let problem = Index::open(folder.path(), &mut ()).err().unwrap();
    assert!(problem.message.contains("samples.jsonl, line 43: it is no finished sample"), "{problem}");
    fs::write(&lines, &text).unwrap();
    assert_eq!((open(folder.path()).len(), open(folder.path()).n_new()), (42, 0), "the index is as it was");
}

#[test]
fn an_empty_folder_gets_no_index() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("samples.jsonl"), "{\"key\"").unwrap();
    let mut index = open(folder.path());
    assert!(index.is_empty() && !folder.path().join(FILE).exists());
    assert_eq!(cells(&mut index, "SELECT count(*), avg(share) FROM samples"), [[Datum::Integer(0), Datum::Empty]]);
}

#[test]
fn who_gives_up_leaves_the_index_as_it_was() {
    let folder = folder(&all());
    let cancel = CancelToken::default();
    cancel.cancel();
    assert!(Index::open(folder.path(), &mut cancel.clone()).is_err());
    assert!(!folder.path().join(FILE).exists());
    assert_eq!(open(folder.path()).n_new(), 42);
}

#[test]
fn questions_only_read() {
    let folder = folder(&all());
    let mut index = open(folder.path());
    let before = fs::read(folder.path().join(FILE)).unwrap();
    let outside = folder.path().join("outside.sqlite");
    let outside = outside.display();
    for sql in [
        "DELETE FROM samples",
        "INSERT INTO samples (key) VALUES ('x')",
        "UPDATE samples SET score = 1",
        "DROP TABLE samples",
        "CREATE TABLE t (x)",
        "CREATE TEMP TABLE t (x)",
        "CREATE VIEW v AS SELECT 1",
        "WITH x AS (SELECT 1) DELETE FROM samples",
        "REPLACE INTO about VALUES ('x')",
        "ALTER TABLE samples ADD COLUMN x",
        "BEGIN",
        "COMMIT",
        "SAVEPOINT x",
        "VACUUM",
        "ANALYZE",
        "REINDEX",
        "PRAGMA query_only = 0",
        "PRAGMA writable_schema = 1",
        "PRAGMA journal_mode = wal",
        "SELECT load_extension('x')",
        "CREATE VIRTUAL TABLE t USING fts5(x)",
        &format!("ATTACH '{outside}' AS other"),
        &format!("VACUUM INTO '{outside}'"),
    ] {
        let refusal = ask(&mut index, sql).err().unwrap_or_else(|| panic!("{sql} is refused"));
        assert!(refusal.is_usage, "{sql}");
        assert!(refusal.problem.message.starts_with("questions to finished samples only read"), "{sql}: {refusal:?}");
        let first = sql.split(' ').next().unwrap();
        let is_asked = ["SELECT", "WITH"].contains(&first);
        assert_eq!(refusal.place.map(|place| &sql[place]), (!is_asked).then_some(first));
    }
    let two = ask(&mut index, "SELECT 1; DROP TABLE samples").unwrap_err();
    assert!(two.is_usage, "{two:?}");
    assert_eq!(cells(&mut index, "SELECT count(*) FROM samples"), [[Datum::Integer(42)]]);
    assert!(!folder.path().join("outside.sqlite").exists());
    assert_eq!(fs::read(folder.path().join(FILE)).unwrap(), before);
    assert!(ask(&mut index, "SELECT name FROM pragma_table_info('samples')").unwrap().rows.len() == SAMPLES.len());
    assert!(ask(&mut index, "EXPLAIN QUERY PLAN SELECT * FROM samples").is_ok());
}

#[test]
fn mistakes_are_pointed_at() {
    let folder = folder(&all());
    let mut index = open(folder.path());
    for (sql, message, help, pointed) in [
        ("SELEC 1", "near \"SELEC\": syntax error", None, "SELEC"),
        ("SELECT lenght FROM samples", "no such column: lenght", Some("did you mean `length`?"), "lenght"),
        ("SELECT s.metod FROM samples s", "no such column: s.metod", Some("did you mean `method`?"), "s.metod"),
        ("SELECT 1 FROM sample", "no such table: sample", Some("did you mean `samples`?"), ""),
        (
            "SELECT 1 FROM samples WHERE method = \"full\"",
            "no such column: \"full\"",
            Some("single quotes"),
            "\"full\"",
        ),
        ("SELECT (1", "incomplete input", None, ""),
        ("SELECT mean(share) FROM samples", "no such function: mean", Some("stddev"), "mean"),
        ("  -- nothing", "there is no question", Some("SELECT"), ""),
        ("SELECT 1; SELECT 2", "there is more than one statement", Some("one by one"), "; SELECT 2"),
    ] {
        let refusal = ask(&mut index, sql).err().unwrap_or_else(|| panic!("{sql} is refused"));
        assert!(refusal.problem.message.starts_with(message), "{sql}: {refusal:?}");
        assert!(refusal.is_usage);
        let told = refusal.problem.help.unwrap_or_default();
        assert!(told.contains(help.unwrap_or("")), "{sql}: {told}");
        if !pointed.is_empty() {
            assert_eq!(refusal.place.map(|place| &sql[place]), Some(pointed), "{sql}");
        }
    }
}

#[test]
fn a_question_without_an_end_is_ended() {
    let folder = folder(&all());
    let mut index = open(folder.path());
    let endless = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT max(x) FROM n";
    let cancel = CancelToken::default();
    let asked = Asked { sql: endless, timeout: Duration::from_millis(50), cancel: &cancel };
    let refusal = index.ask(&asked).unwrap_err();
    assert_eq!(refusal.problem.message, "the question took longer than 0.05 s");
    assert!(!refusal.is_usage);
    cancel.cancel();
    assert!(index.ask(&Asked { timeout: Duration::from_secs(100), ..asked }).is_err());
    let large = "SELECT length(hex(zeroblob(60000000)))";
    assert!(ask(&mut index, large).unwrap_err().problem.message.contains("too big"));
    assert_eq!(cells(&mut index, "SELECT count(*) FROM samples"), [[Datum::Integer(42)]], "it answers again");
}

#[test]
fn functions_of_numbers_count_what_they_say() {
    let folder = folder(&all());
    let mut index = open(folder.path());
    let mut one = |sql: &str| cells(&mut index, sql)[0][0].clone();
    assert_eq!(one("SELECT sqrt(9)"), Datum::Real(3.0));
    assert_eq!(one("SELECT ln(exp(2))"), Datum::Real(2.0));
    assert_eq!(one("SELECT pow(2, 10)"), Datum::Real(1024.0));
    assert_eq!((one("SELECT sqrt(-1)"), one("SELECT exp(NULL)")), (Datum::Empty, Datum::Empty));
    let of = |numbers: &str, function: &str| format!("SELECT {function}(value) FROM json_each('{numbers}')");
    assert_eq!(one(&of("[4, 1, 3]", "median")), Datum::Real(3.0));
    assert_eq!(one(&of("[4, 1, null, 3, 2]", "median")), Datum::Real(2.5));
    assert_eq!(one(&of("[1, 2, 3, 4]", "stddev")), Datum::Real((5.0_f64 / 3.0).sqrt()));
    assert_eq!((one(&of("[]", "median")), one(&of("[7]", "stddev"))), (Datum::Empty, Datum::Empty));
    let perplexity = "SELECT exp(sum(mean_nll * n_scored) / sum(n_scored)) FROM samples WHERE outcome = 'measured'";
    assert_eq!(one(perplexity), Datum::Real(1.25_f64.exp()));
}

#[test]
fn answers_have_names_of_their_own_and_every_kind_of_cell() {
    let folder = folder(&all());
    let mut index = open(folder.path());
    let answer = ask(&mut index, "SELECT 1 AS a, 'x' AS a, NULL AS a, x'00FF' AS b, 0.5, 1e999").unwrap();
    assert_eq!(answer.columns, ["a", "a:2", "a:3", "b", "0.5", "1e999"]);
    let cells = [1.to_string(), "x".into(), String::new(), "X'00FF'".into(), "0.5".into(), "inf".into()];
    assert_eq!(answer.rows[0].iter().map(ToString::to_string).collect::<Vec<_>>(), cells);
    let object = json!([{ "a": 1, "a:2": "x", "a:3": null, "b": "X'00FF'", "0.5": 0.5, "1e999": null }]);
    assert_eq!(serde_json::to_value(&answer).unwrap(), object);
}

#[cfg(unix)]
#[test]
fn a_folder_that_may_not_be_written_to_is_read() {
    use std::os::unix::fs::PermissionsExt;
    let folder = folder(&all());
    let allow = |mode| fs::set_permissions(folder.path(), fs::Permissions::from_mode(mode)).unwrap();
    allow(0o555);
    // root may write anywhere
    let is_root = fs::write(folder.path().join("probe"), "").is_ok();
    for _ in 0..2 {
        let mut index = open(folder.path());
        assert_eq!(cells(&mut index, "SELECT count(*) FROM samples"), [[Datum::Integer(42)]]);
        assert!(is_root || index.n_new() == 42);
    }
    allow(0o755);
    assert_eq!(folder.path().join(FILE).exists(), is_root);
}

#[test]
fn several_may_open_one_folder_at_once() {
    let folder = folder(&all());
    std::thread::scope(|scope| {
        let at_once: Vec<_> = (0..8)
            .map(|_| {
                scope.spawn(|| {
                    let mut index = open(folder.path());
                    (index.len(), cells(&mut index, "SELECT count(DISTINCT key) FROM samples"))
                })
            })
            .collect();
        for thread in at_once {
            assert_eq!(thread.join().unwrap(), (42, vec![vec![Datum::Integer(42)]]));
        }
    });
    assert_eq!(open(folder.path()).n_new(), 0);
    let others: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(others.len(), 2, "nothing is left beside lines and index: {others:?}");
}
