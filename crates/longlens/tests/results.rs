//! `longlens results`: scores, questions in SQL, exports.

use std::fmt::Write;
use std::fs;

use serde_json::Value;

mod common;

use common::{Ran, Sandbox};

/// A folder `r` with samples of two methods at two lengths, and what `evaluate` printed of them.
fn evaluated(sandbox: &Sandbox) -> Ran {
    sandbox.done("evaluate passkey niah_single_1 --methods full;dual_chunk --lengths 512,1k --samples 2 --out r")
}

/// Lines of samples that were made from one, each with a key of its own.
fn many(sandbox: &Sandbox, folder: &str, n: usize) {
    let text = String::from_utf8(sandbox.read("r/samples.jsonl")).unwrap();
    let samples: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let mut lines = String::new();
    for (at, sample) in samples.iter().cycle().take(n).enumerate() {
        let mut sample = sample.clone();
        sample["key"] = Value::from(format!("{at:064x}"));
        let _ = writeln!(lines, "{sample}");
    }
    sandbox.write(&format!("{folder}/samples.jsonl"), lines);
}

#[cfg(feature = "sql")]
fn asked(sandbox: &Sandbox, folder: &str, sql: &str) -> Value {
    let ran = sandbox.run(&["results", folder, sql, "--json"]);
    assert_eq!(ran.code, Some(0), "{sql}\n{}", ran.stderr);
    serde_json::from_str(&ran.stdout).unwrap()
}

/// A question that has to be refused, and what is said then on one line.
#[cfg(feature = "sql")]
fn refused(sandbox: &Sandbox, sql: &str, more: &[&str], code: i32) -> String {
    let ran = sandbox.run(&[&["results", "r", sql], more].concat());
    assert_eq!((ran.code, &*ran.stdout), (Some(code), ""), "{sql}\n{}", ran.stderr);
    ran.stderr.split_whitespace().collect::<Vec<_>>().join(" ").replace(" │ ", " ")
}

#[test]
fn scores_are_those_that_evaluate_prints() {
    let sandbox = Sandbox::new();
    let printed = evaluated(&sandbox).stdout;
    for _ in 0..2 {
        let ran = sandbox.done("results r");
        assert_eq!(ran.stdout, printed);
        assert!(ran.stderr.contains("48 samples"), "{}", ran.stderr);
    }
    let evaluate =
        "evaluate passkey niah_single_1 --methods full;dual_chunk --lengths 512,1k --samples 2 --out r --json";
    let again: Value = serde_json::from_str(&sandbox.done(evaluate).stdout).unwrap();
    let listed: Value = serde_json::from_str(&sandbox.done("results r --json").stdout).unwrap();
    assert_eq!(listed["rows"], again["rows"]);
    assert_eq!(
        (&listed["means"], listed["means"].as_array().unwrap().len()),
        (&again["means"], 0),
        "no family has two tasks"
    );
    let csv = sandbox.done("results r --csv").stdout;
    assert!(csv.starts_with("model,method,") && csv.lines().count() == 1 + listed["rows"].as_array().unwrap().len());
}

#[test]
fn what_holds_nothing_is_refused() {
    let sandbox = Sandbox::new();
    sandbox.refused("results nowhere", 2, &["nowhere is no folder", "longlens evaluate --out DIR"]);
    fs::create_dir(sandbox.path("empty")).unwrap();
    sandbox.refused("results empty", 1, &["empty holds no finished samples"]);
    sandbox.refused("results empty --export csv --to a.csv", 1, &["empty holds no finished samples"]);
    assert!(!sandbox.path("a.csv").exists());
    sandbox.refused("results empty --export xls --to a.xls", 2, &["parquet", "lm_eval", "tensorboard"]);
    sandbox.refused("results empty --export csv", 2, &["--to"]);
    sandbox.refused("results", 2, &["DIR"]);
    sandbox.write("other/samples.jsonl", "{\"key\": \"1\", \"task\": \"passkey\"}\n");
    let expected = ["other/samples.jsonl, line 1", "is no finished sample of this version", "missing field"];
    sandbox.refused("results other", 1, &expected);
    sandbox.refused("results other --export csv --to a.csv", 1, &expected);
}

#[test]
fn the_schema_names_every_column() {
    let sandbox = Sandbox::new();
    let text = sandbox.done("results --schema").stdout;
    let tables: Value = serde_json::from_str(&sandbox.done("results --schema --json").stdout).unwrap();
    for table in tables.as_array().unwrap() {
        for column in table["columns"].as_array().unwrap() {
            let [name, doc] = ["name", "doc"].map(|name| column[name].as_str().unwrap());
            assert!(text.lines().any(|line| line.trim_start().starts_with(name) && line.ends_with(doc)), "{name}");
        }
    }
}

#[test]
fn exports_are_written_and_replace_themselves_alone() {
    let sandbox = Sandbox::new();
    evaluated(&sandbox);
    let lines = sandbox.read("r/samples.jsonl");
    for (format, to, files) in [
        ("parquet", "x.parquet", "1 file"),
        ("csv", "x.csv", "1 file"),
        ("jsonl", "x.jsonl", "1 file"),
        ("lm_eval", "harness", "6 files"),
        ("wandb", "wandb", "2 files"),
        ("trackio", "trackio", "2 files"),
        ("tensorboard", "tb", "2 files"),
    ] {
        let line = format!("results r --export {format} --to {to}");
        let ran = sandbox.done(&line);
        assert!(ran.stderr.contains(&format!("wrote {to}: 48 samples as {format}, {files}")), "{}", ran.stderr);
        assert!(sandbox.done(&line).stderr.contains(&format!("replaced {to}")));
        let told: Value = serde_json::from_str(&sandbox.done(&format!("{line} --json")).stdout).unwrap();
        assert_eq!((&told["samples"], &told["replaced"]), (&Value::from(48), &Value::from(true)));
        sandbox.refused(&format!("results r --export {format} --to r"), 2, &["nothing was written"]);
        sandbox.refused(&format!("results r --export {format} --to r/samples.jsonl"), 2, &["samples.jsonl"]);
    }
    sandbox.refused("results r --export csv --to -", 2, &["`-` would be one of this name", "--csv"]);
    assert!(!sandbox.path("-").exists());
    assert_eq!(sandbox.read("r/samples.jsonl"), lines);
    assert!(sandbox.read("x.parquet").starts_with(b"PAR1"));
    let csv = String::from_utf8(sandbox.read("x.csv")).unwrap();
    assert!(csv.starts_with("key,model,content,"), "{csv}");
    let harness: Vec<_> = fs::read_dir(sandbox.path("harness")).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(harness.iter().filter(|path| path.is_dir()).count(), 2, "{harness:?}");
}

#[test]
fn tables_of_the_docs_are_those_of_their_samples() {
    let sandbox = Sandbox::new();
    let docs = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs");
    let lines = fs::read(format!("{docs}/smollm2/samples.jsonl")).unwrap();
    sandbox.write("smollm2/samples.jsonl", lines);
    let listed = sandbox.done("results smollm2").stdout;
    let text = fs::read_to_string(format!("{docs}/evaluation.md")).unwrap();
    let (_, section) = text.split_once("\n## On a real model\n").unwrap();
    let blocks: Vec<&str> = section.split("```text\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect();
    assert!(blocks.len() >= 2, "{section}");
    for block in blocks {
        assert!(listed.contains(block.trim_end()), "{block}\nis not in\n{listed}");
    }
}

#[cfg(feature = "sql")]
#[test]
fn questions_are_answered_from_the_samples() {
    let sandbox = Sandbox::new();
    evaluated(&sandbox);
    let shares = asked(
        &sandbox,
        "r",
        "SELECT method, length, avg(share) AS share, count(*) AS n FROM samples \
                        WHERE task = 'passkey' GROUP BY 1, 2 ORDER BY 1, 2",
    );
    let listed: Value = serde_json::from_str(&sandbox.done("results r --json").stdout).unwrap();
    for answer in shares.as_array().unwrap() {
        let is_same = |row: &&Value| {
            row["task"] == "passkey" && row["method"] == answer["method"] && row["length"] == answer["length"]
        };
        let row = listed["rows"].as_array().unwrap().iter().find(is_same).unwrap();
        assert_eq!(row["n"], answer["n"]);
        assert!((row["score"].as_f64().unwrap() - 100.0 * answer["share"].as_f64().unwrap()).abs() < 1e-9);
    }
    assert_eq!(shares.as_array().unwrap().len(), 4);
    // the same through `scores`
    let scores = asked(&sandbox, "r", "SELECT score FROM scores");
    assert_eq!(scores.as_array().unwrap().len(), listed["rows"].as_array().unwrap().len());
    let table = sandbox.run(&["results", "r", "SELECT task, count(*) AS n FROM samples GROUP BY 1 ORDER BY 1"]);
    assert_eq!(table.stdout, "task            n\nniah_single_1   8\npasskey        40\n");
    let csv = sandbox.run(&["results", "r", "SELECT task, count(*) AS n FROM samples GROUP BY 1 ORDER BY 1", "--csv"]);
    assert_eq!(csv.stdout, "task,n\nniah_single_1,8\npasskey,40\n");
    let cut = sandbox.run(&["results", "r", "SELECT key FROM samples", "--rows", "3"]);
    assert_eq!(cut.stdout.lines().count(), 4);
    assert!(cut.stderr.contains("3 of 48 rows"), "{}", cut.stderr);
    let answers = asked(&sandbox, "r", "SELECT count(*) AS n FROM samples, json_each(answers)");
    assert_eq!(answers[0]["n"], 48);
}

#[cfg(feature = "sql")]
#[test]
fn bad_questions_are_refused_and_change_nothing() {
    let sandbox = Sandbox::new();
    evaluated(&sandbox);
    sandbox.done("results r");
    let before = (sandbox.read("r/samples.jsonl"), sandbox.read("r/index.sqlite"));
    let said = refused(&sandbox, "SELECT methd FROM samples", &[], 2);
    assert!(said.contains("no such column: methd") && said.contains("did you mean `method`?"), "{said}");
    assert!(said.contains("[SQL:1:8]"), "{said}");
    let said = refused(&sandbox, "SELECT FROM WHERE", &[], 2);
    assert!(said.contains("syntax error") && said.contains("[SQL:1:8]"), "{said}");
    for sql in ["DELETE FROM samples", "PRAGMA journal_mode = wal", "SELECT load_extension('x')", "ATTACH 'o' AS o"] {
        assert!(refused(&sandbox, sql, &[], 2).contains("only read"), "{sql}");
    }
    assert!(refused(&sandbox, "SELECT 1; DROP TABLE samples", &[], 2).contains("only read"));
    assert!(refused(&sandbox, "SELECT 1; SELECT 2", &[], 2).contains("more than one statement"));
    let endless = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT max(x) FROM n";
    assert!(refused(&sandbox, endless, &["--timeout", "0.1"], 1).contains("took longer than 0.1 s"));
    assert!(refused(&sandbox, "SELECT 1", &["--timeout", "0"], 2).contains("above 0"));
    assert_eq!((sandbox.read("r/samples.jsonl"), sandbox.read("r/index.sqlite")), before);
    assert!(!sandbox.path("o").exists());
}

#[cfg(feature = "sql")]
#[test]
fn the_index_follows_the_samples() {
    let sandbox = Sandbox::new();
    evaluated(&sandbox);
    let count = |sandbox: &Sandbox| asked(sandbox, "r", "SELECT count(*) AS n FROM samples")[0]["n"].clone();
    assert_eq!(count(&sandbox), 48);
    // damaged, and deleted
    let index = sandbox.read("r/index.sqlite");
    for bytes in [&index[..index.len() / 2], b"nothing", &[&index[..8192], &[0; 4096], &index[12288..]].concat()] {
        sandbox.write("r/index.sqlite", bytes);
        assert_eq!(count(&sandbox), 48);
        assert_eq!(sandbox.read("r/index.sqlite"), index, "it is as it was before");
    }
    fs::remove_file(sandbox.path("r/index.sqlite")).unwrap();
    assert_eq!(count(&sandbox), 48);
    // a line that is being written
    let lines = sandbox.read("r/samples.jsonl");
    sandbox.write("r/samples.jsonl", &lines[..lines.len() - 5]);
    assert_eq!(count(&sandbox), 47);
    sandbox.write("r/samples.jsonl", &lines);
    assert_eq!(count(&sandbox), 48);
    // a line of another version says where it stands, and what was there is still asked for without it
    let other = String::from_utf8(lines.clone()).unwrap() + "{\"key\": \"1\", \"of\": \"another version\"}\n";
    sandbox.write("r/samples.jsonl", &other);
    let said = refused(&sandbox, "SELECT 1", &[], 1);
    assert!(said.contains("r/samples.jsonl, line 49: it is no finished sample of this version"), "{said}");
    sandbox.write("r/samples.jsonl", &lines);
    assert_eq!(count(&sandbox), 48);
    // evaluate goes on in a folder with an index, and reports take it for nothing
    sandbox.done("evaluate passkey --methods full --lengths 512 --samples 3 --out r");
    assert_eq!(count(&sandbox), 53);
    assert!(sandbox.done("report r").stderr.contains("53 samples"));
}

#[cfg(all(feature = "sql", unix))]
#[test]
fn a_kill_while_samples_are_read_leaves_nothing_half_done() {
    use std::process::Stdio;
    use std::time::Duration;
    let sandbox = Sandbox::new();
    evaluated(&sandbox);
    many(&sandbox, "many", 4000);
    for milliseconds in [5, 20, 60, 120] {
        let mut child =
            sandbox.command(&["results", "many"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(milliseconds));
        let _ = child.kill();
        child.wait().unwrap();
        if sandbox.path("many/index.sqlite").exists() {
            // it was quicker: the whole index is there
            fs::remove_file(sandbox.path("many/index.sqlite")).unwrap();
        }
    }
    assert_eq!(asked(&sandbox, "many", "SELECT count(*) AS n FROM samples")[0]["n"], 4000);
    let left: Vec<String> = fs::read_dir(sandbox.path("many"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    assert_eq!(left.len(), 2, "{left:?}");
    // many at once, of which each makes the index
    fs::remove_file(sandbox.path("many/index.sqlite")).unwrap();
    let sql = "SELECT count(*) AS n FROM samples";
    let at_once: Vec<_> = (0..4)
        .map(|_| sandbox.command(&["results", "many", sql, "--csv"]).stdout(Stdio::piped()).spawn().unwrap())
        .collect();
    for child in at_once {
        assert_eq!(String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap(), "n\n4000\n");
    }
}

#[cfg(all(feature = "sql", unix))]
#[test]
fn ctrl_c_ends_a_question() {
    use std::process::{Command, Stdio};
    use std::time::{Duration, Instant};
    let sandbox = Sandbox::new();
    evaluated(&sandbox);
    let endless = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT max(x) FROM n";
    let child = sandbox.command(&["results", "r", endless]).stderr(Stdio::piped()).spawn().unwrap();
    std::thread::sleep(Duration::from_millis(500));
    let since = Instant::now();
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    let ran = Ran::from(child.wait_with_output().unwrap());
    assert_eq!(ran.code, Some(1), "{}", ran.stderr);
    assert!(ran.stderr.contains("interrupted") && since.elapsed() < Duration::from_secs(20), "{}", ran.stderr);
}

#[cfg(all(feature = "sql", unix))]
#[test]
fn a_folder_that_may_not_be_written_to_is_asked_all_the_same() {
    use std::os::unix::fs::PermissionsExt;
    let sandbox = Sandbox::new();
    evaluated(&sandbox);
    let allow = |mode| fs::set_permissions(sandbox.path("r"), fs::Permissions::from_mode(mode)).unwrap();
    allow(0o555);
    assert_eq!(asked(&sandbox, "r", "SELECT count(*) AS n FROM samples")[0]["n"], 48);
    allow(0o755);
    // whoever runs the tests: a folder cannot take the index's place
    fs::remove_file(sandbox.path("r/index.sqlite")).ok();
    fs::create_dir(sandbox.path("r/index.sqlite")).unwrap();
    assert_eq!(asked(&sandbox, "r", "SELECT count(*) AS n FROM samples")[0]["n"], 48);
}

#[cfg(not(feature = "sql"))]
#[test]
fn a_build_without_sql_says_so() {
    let sandbox = Sandbox::new();
    evaluated(&sandbox);
    let ran = sandbox.run(&["results", "r", "SELECT 1"]);
    assert_eq!(ran.code, Some(1));
    assert!(ran.stderr.contains("this build of longlens has no SQL"), "{}", ran.stderr);
}

#[cfg(feature = "sql")]
#[test]
fn heads_and_losses_by_position_are_asked_for() {
    let sandbox = Sandbox::new();
    sandbox.done("evaluate passkey:depths=1 perplexity --lengths 256 --samples 2 --attention --out r");
    let heads = asked(
        &sandbox,
        "r",
        "SELECT l.key AS layer, h.key AS head, avg(h.value) AS attention FROM samples, json_each(heads) l, json_each(l.value) h \
         GROUP BY 1, 2 ORDER BY 3 DESC",
    );
    let heads = heads.as_array().unwrap();
    assert_eq!(heads.len(), 16, "four layers of four heads");
    assert!(heads[0]["attention"].as_f64().unwrap() > 0.05 && heads[0]["layer"].as_u64().unwrap() >= 2, "{heads:?}");
    let first = asked(&sandbox, "r", "SELECT by_position FROM samples WHERE task = 'perplexity' LIMIT 1");
    let losses: Value = match &first[0]["by_position"] {
        Value::String(text) => serde_json::from_str(text).unwrap(),
        other => other.clone(),
    };
    assert_eq!((losses[0][0].as_u64(), losses[0][2].as_u64()), (Some(1), Some(1)), "{first}");
}
