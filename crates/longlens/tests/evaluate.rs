//! `longlens evaluate`, `sweep` and `tasks`: what is finished is kept, whatever happens.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use longlens_eval::tasks::TASKS;
use serde_json::{Value, json};

mod common;

use common::Sandbox;

const SWEEP: &str = r#"
name = "kept"
[fixed]
task = "passkey:samples=2"
[grid]
length = [512, "1k"]
method = ["full", "self_extend"]
self_extend.neighbor_window = [64, 128]
"#;
/// Two lengths, three settings, two trials at five depths.
const N_SAMPLES: usize = 60;

/// Every finished sample of a folder by its key; a key that stands there twice ends the test.
fn samples(sandbox: &Sandbox, folder: &str) -> BTreeMap<String, Value> {
    let mut samples = BTreeMap::new();
    let Ok(entries) = fs::read_dir(sandbox.path(folder)) else { return samples };
    for entry in entries {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|ending| ending == "jsonl") {
            let text = fs::read_to_string(&path).unwrap();
            let whole = &text[..text.rfind('\n').map_or(0, |end| end + 1)];
            for line in whole.lines() {
                let sample: Value = serde_json::from_str(line).unwrap();
                let key = sample["key"].as_str().unwrap().to_owned();
                assert!(samples.insert(key, sample).is_none(), "{}: a sample was run twice", path.display());
            }
        }
    }
    samples
}

/// What must not differ from run to run.
fn outcomes(samples: &BTreeMap<String, Value>) -> BTreeMap<&String, [&Value; 4]> {
    let of = |sample: &'static str| sample;
    samples
        .iter()
        .map(|(key, sample)| {
            (key, [of("output"), of("faithful"), of("fixed"), of("prompt_sha256")].map(|name| &sample[name]))
        })
        .collect()
}

#[test]
fn more_than_anybody_can_run_is_refused_before_it_is_made() {
    let sandbox = Sandbox::new();
    let most = "is not at most 1048576";
    sandbox.refused("evaluate passkey --lengths 512 --samples 999999999999", 1, &["samples = ", most]);
    sandbox.refused("evaluate passkey:depths=999999999999 --lengths 512", 1, &["samples = ", most]);
    let forecast = sandbox.done("evaluate niah_single_1 --lengths 1k --samples 100000000 --dry-run").stdout;
    assert!(forecast.contains("impossible: samples = 100000000 is not at most 1048576"), "{forecast}");
    sandbox.refused("tasks niah_single_1:length=40000000 --sample 0", 2, &["length = 40000000 is not at most 4194304"]);
    // a family may be meant
    sandbox.refused("evaluate rulr", 2, &["unknown task `rulr`", "did you mean the tasks of `ruler`?"]);
    sandbox.refused("evaluate niah_singl_1", 2, &["did you mean `niah_single_1`?"]);
    // what is wrong with all tasks of a family is told once
    let ran = sandbox.run(&["evaluate", "longbench:file=nowhere", "--lengths", "512"]);
    assert_eq!((ran.code, ran.stderr.matches("cannot read nowhere").count()), (Some(1), 1), "{}", ran.stderr);
}

#[test]
fn a_text_as_long_as_the_trained_context_is_within_it() {
    let sandbox = Sandbox::new();
    let within = sandbox.done("evaluate perplexity:samples=1 --lengths 256");
    assert!(!within.stderr.contains("capacity"), "{}", within.stderr);
    assert!(sandbox.done("evaluate perplexity:samples=1 --lengths 257").stderr.contains("beyond the capacity of 256"));
}

#[test]
fn a_forecast_and_a_submission_ask_whose_folder_it_is() {
    let sandbox = Sandbox::new();
    sandbox.write("a.toml", SWEEP);
    sandbox.write("b.toml", SWEEP.replace("\"kept\"", "\"other\""));
    sandbox.write("r/sweep.json", r#"{"sweep": "kept", "format": 1}"#);
    let said = ["holds results of the sweep `kept`, and this one is `other`"];
    sandbox.refused("sweep b.toml --out r --dry-run", 2, &said);
    sandbox.refused("sweep b.toml --out a.toml", 2, &["cannot write to a.toml", "it is a file"]);
    let array = ["`--array=1-5` would leave parts of the sweep out", "--jobs"];
    sandbox.refused("sweep submit a.toml --out r --slurm --jobs 2 --sbatch=--array=1-5 --dry-run", 2, &array);
}

#[test]
fn a_sample_that_is_not_what_was_counted_is_kept_under_no_key() {
    let sandbox = Sandbox::new();
    let line = "evaluate passkey:samples=1,depths=1 --lengths 512 --out r";
    sandbox.done(line);
    let remembered = fs::read_dir(sandbox.path("r/tasks")).unwrap().next().unwrap().unwrap().path();
    let text = fs::read_to_string(&remembered).unwrap();
    let hash = serde_json::from_str::<Value>(&text).unwrap()["entries"][0]["hash"].as_str().unwrap().to_owned();
    fs::write(&remembered, text.replace(&hash, &"0".repeat(64))).unwrap();
    sandbox.refused(line, 1, &["not the one that was counted", "delete `tasks`"]);
    assert_eq!(samples(&sandbox, "r").len(), 1);
    fs::remove_dir_all(sandbox.path("r/tasks")).unwrap();
    assert!(sandbox.done(line).stderr.contains("0 samples run, 1 finished before"));
}

#[test]
fn a_sweep_that_was_killed_goes_on_and_gives_the_same() {
    let sandbox = Sandbox::new();
    sandbox.write("sweep.toml", SWEEP);
    sandbox.done("sweep sweep.toml --out whole");
    let whole = samples(&sandbox, "whole");
    assert_eq!(whole.len(), N_SAMPLES);
    for (turn, n_before) in [3, 20, 41].into_iter().enumerate() {
        let mut child = sandbox
            .command(&["sweep", "sweep.toml", "--out", "killed"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let since = Instant::now();
        while samples(&sandbox, "killed").len() < n_before && since.elapsed() < Duration::from_mins(1) {
            std::thread::sleep(Duration::from_millis(2));
        }
        child.kill().unwrap(); // SIGKILL: nothing is tidied up
        child.wait().unwrap();
        let n_kept = samples(&sandbox, "killed").len();
        assert!((n_before..N_SAMPLES).contains(&n_kept), "{n_kept} samples after kill {turn}");
    }
    // a kill in the middle of a line
    let path = sandbox.path("killed/samples.jsonl");
    let bytes = fs::read(&path).unwrap();
    let last = bytes[..bytes.len() - 1].iter().rposition(|byte| *byte == b'\n').unwrap() + 1;
    fs::write(&path, &bytes[..last + 40]).unwrap();
    let n_kept = samples(&sandbox, "killed").len();
    let ran = sandbox.done("sweep sweep.toml --out killed --json");
    let done: Value = serde_json::from_str(&ran.stdout).unwrap();
    let sum = |name: &str| {
        done["done"]["units"].as_array().unwrap().iter().map(|unit| unit["tally"][name].as_u64().unwrap()).sum::<u64>()
    };
    assert_eq!(
        (sum("n_before"), sum("n_run")),
        (n_kept as u64, (N_SAMPLES - n_kept) as u64),
        "only what is missing runs"
    );
    let killed = samples(&sandbox, "killed");
    assert_eq!(outcomes(&killed), outcomes(&whole));
    let again = sandbox.done("sweep sweep.toml --out killed");
    assert!(again.stderr.contains("0 samples run, 60 finished before"), "{}", again.stderr);
}

#[test]
fn processes_and_parts_share_a_folder() {
    let sandbox = Sandbox::new();
    sandbox.write("sweep.toml", SWEEP);
    let start = |args: &[&str]| sandbox.command(args).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let mut both = [0, 1].map(|_| start(&["sweep", "sweep.toml", "--out", "both"]));
    assert!(both.iter_mut().all(|child| child.wait().unwrap().success()));
    // a sample that the other had when the first came to it is the other's
    let shared = samples(&sandbox, "both");
    assert_eq!(shared.len(), N_SAMPLES);
    assert!(sandbox.path("both/samples-2.jsonl").exists(), "both worked");
    assert!(!sandbox.path("both/samples.claims").exists(), "claims go with their process");

    let mut n_of_parts = Vec::new();
    for part in ["1/3", "2/3", "3/3"] {
        let before = samples(&sandbox, "parts").len();
        sandbox.done(&format!("sweep sweep.toml --out parts --shard {part}"));
        n_of_parts.push(samples(&sandbox, "parts").len() - before);
    }
    let parts = samples(&sandbox, "parts");
    assert_eq!(outcomes(&parts), outcomes(&shared));
    assert!(n_of_parts.iter().all(|n| *n > 0), "{n_of_parts:?}");
    sandbox.refused("sweep sweep.toml --out parts --shard 4/3", 2, &["`4/3` is no part", "2/8"]);
}

#[test]
fn a_full_disk_ends_a_run_and_loses_nothing() {
    let sandbox = Sandbox::new();
    let program = env!("CARGO_BIN_EXE_longlens");
    let line = "evaluate passkey:depths=3 --samples 4 --lengths 512 --out full";
    // files of this process cannot have more than 8 KiB
    let command = format!("ulimit -f 8; exec {program} {line}");
    let ran = Command::new("bash").args(["-c", &command]).current_dir(sandbox.path("")).output().unwrap();
    let ran = common::Ran::from(ran);
    assert_eq!(ran.code, Some(1), "{}", ran.stderr);
    assert!(ran.stderr.contains("cannot write a finished sample to full/samples.jsonl"), "{}", ran.stderr);
    assert!(ran.stderr.contains("what was finished before is kept"), "{}", ran.stderr);
    let kept = samples(&sandbox, "full");
    assert!(!kept.is_empty() && kept.len() < 12, "{} samples", kept.len());
    let ran = sandbox.done(line);
    assert!(ran.stderr.contains(&format!("{} finished before", kept.len())), "{}", ran.stderr);
    assert_eq!(samples(&sandbox, "full").len(), 12);
}

#[test]
fn generated_tasks_run_on_the_embedded_model() {
    let sandbox = Sandbox::new();
    let line = "evaluate ruler passkey_haystack needle:depths=3 needle_fu:depths=2 perplexity perplexity_sliding:samples=2 babilong_made \
                --samples 1 --lengths 2k --mode fixed --attention --out r --json";
    let ran = sandbox.done(line);
    let told: Value = serde_json::from_str(&ran.stdout).unwrap();
    let rows = told["rows"].as_array().unwrap();
    let tasks: BTreeSet<&str> = rows.iter().map(|row| row["task"].as_str().unwrap()).collect();
    assert_eq!(tasks.len(), 11 + 6, "{tasks:?}");
    assert!(
        ran.stderr.contains("left out, as no file is named for them, or it is not there: ruler_qa_squad"),
        "{}",
        ran.stderr
    );
    for row in rows {
        assert!(row["n"].as_u64().unwrap() > 0 && row["score"].as_f64().is_some(), "{row}");
    }
    for sample in samples(&sandbox, "r").values() {
        let evidence = &sample["attended"]["evidence"];
        if sample["outcome"] == "answered" {
            assert!(sample["attended"]["passages"].as_array().is_some_and(|passages| !passages.is_empty()), "{sample}");
        }
        if evidence.as_array().is_some_and(|places| !places.is_empty()) {
            let heads = sample["attended"]["heads"].as_array().unwrap();
            assert_eq!((heads.len(), heads[0].as_array().unwrap().len()), (4, 4));
        }
    }
    // the mean that RULER's paper reports, of those tasks that ran, here and for the command that lists them
    let means = told["means"].as_array().unwrap();
    let names: Vec<_> = means.iter().map(|mean| mean["scorer"].as_str().unwrap()).collect();
    assert_eq!(names, ["mean of all tasks", "mean of retrieval (NIAH)", "mean of aggregation"]);
    assert_eq!(
        (&means[0]["setting"], &means[0]["n_tasks"], &means[0]["n_of"]),
        (&json!("ruler:mode=fixed"), &json!(11), &json!(13))
    );
    let of_ruler =
        || rows.iter().filter(|row| TASKS.iter().any(|task| task.family == "ruler" && row["task"] == task.info.name));
    let mean = of_ruler().map(|row| row["score"].as_f64().unwrap()).sum::<f64>() / of_ruler().count() as f64;
    assert!((means[0]["score"].as_f64().unwrap() - mean).abs() < 1e-9 && of_ruler().count() == 11, "{mean}");
    let listed = sandbox.done("results r").stdout;
    assert!(listed.contains("longlens-tiny · ruler:mode=fixed · mean of all tasks, % of a perfect answer"), "{listed}");
    assert!(listed.contains("11 samples a cell; 11 of 13 tasks"), "{listed}");
    let perplexity = rows.iter().find(|row| row["task"] == "perplexity").unwrap();
    assert!(perplexity["score"].as_f64().unwrap() > 1.0 && perplexity["n_scored"].as_u64().unwrap() > 1000);
}

#[test]
fn a_dry_run_says_what_is_left() {
    let sandbox = Sandbox::new();
    sandbox.write("sweep.toml", SWEEP);
    let ran = sandbox.done("sweep sweep.toml --dry-run --set length=512");
    assert!(ran.stdout.contains("3 runs, 30 samples, 0 finished"), "{}", ran.stdout);
    assert!(ran.stdout.contains("a guessed pace") && ran.stdout.contains("MiB"), "{}", ran.stdout);
    assert!(!sandbox.path("sweep").exists(), "nothing is written");
    sandbox.done("sweep sweep.toml --set length=512 --set method=full");
    let ran = sandbox.done("sweep sweep.toml --dry-run --set length=512 --json");
    let units: Value = serde_json::from_str(&ran.stdout).unwrap();
    let finished: Vec<_> = units.as_array().unwrap().iter().map(|unit| unit["finished"].as_u64().unwrap()).collect();
    assert_eq!(finished, [10, 0, 0]);
    let set = "--set length=512 --set method=full --set rope=linear:factor=2 --set trained_context=512";
    let ran = sandbox.done(&format!("sweep sweep.toml --dry-run {set}"));
    assert!(ran.stdout.contains("full (rope linear:factor=2, trained on 512)"), "{}", ran.stdout);
}

#[test]
fn settings_that_change_nothing_are_told() {
    let sandbox = Sandbox::new();
    sandbox.write("hay.txt", "It rained. ".repeat(300));
    let ran = sandbox.done("evaluate passkey:samples=1,depths=1 --lengths 256 --haystack hay.txt --mode fixed");
    for name in ["haystack", "mode"] {
        assert!(ran.stderr.contains(&format!("`{name}` changes nothing: no run has it")), "{}", ran.stderr);
    }
    let ran = sandbox.done("evaluate passkey:samples=1,depths=1 niah_single_1 --lengths 512 --samples 1 --mode fixed");
    assert!(!ran.stderr.contains("changes nothing"), "a task has it: {}", ran.stderr);
    sandbox.write("sweep.toml", SWEEP);
    let set = "--set length=512 --set method=full --set self_extend.group_size=2,4 --set rope.factor=2";
    let ran = sandbox.done(&format!("sweep sweep.toml --dry-run {set}"));
    for name in ["self_extend.group_size", "rope.factor"] {
        assert!(ran.stderr.contains(&format!("`{name}` changes nothing")), "{}", ran.stderr);
    }
}

#[test]
fn prompts_beyond_a_methods_capacity_are_warned_of_once() {
    let sandbox = Sandbox::new();
    let tasks = "passkey:samples=1,depths=1 passkey_haystack:samples=1,depths=1";
    let ran = sandbox.done(&format!("evaluate {tasks} --lengths 512 --methods self_extend:group_size=16;full"));
    assert_eq!(ran.stderr.matches("are beyond the capacity of 256").count(), 1, "{}", ran.stderr);
    assert!(ran.stderr.contains("warning: full: ") && !ran.stderr.contains("warning: self_extend"), "{}", ran.stderr);
}

#[test]
fn a_task_without_its_file_is_named_once() {
    let sandbox = Sandbox::new();
    let line = "evaluate ruler --samples 1 --lengths 600,700 --mode fixed --methods full;streaming";
    let ran = sandbox.done(&format!("{line} --dry-run"));
    assert_eq!(ran.stdout.matches("left out: ruler_qa_squad").count(), 1, "{}", ran.stdout);
    sandbox.refused(
        line,
        1,
        &["it is not there: ruler_qa_squad, ruler_qa_hotpot, ruler_file not run: ruler_vt:length=600"],
    );
}

#[test]
fn a_family_runs_on_the_files_that_its_folder_holds() {
    let sandbox = Sandbox::new();
    let row = json!({ "input": "who?", "context": "Anna did.", "answers": ["Anna"], "length": 2, "language": "en", "_id": "a" });
    sandbox.write("data/qasper.jsonl", row.to_string());
    let ran = sandbox.done("evaluate longbench:file=data --out r");
    assert!(ran.stdout.contains("longbench_qasper"), "{}", ran.stdout);
    let left_out =
        "left out, as no file is named for them, or it is not there: longbench_narrativeqa, longbench_multifieldqa_en,";
    assert!(ran.stderr.contains(left_out), "{}", ran.stderr);
    // another file with the same row: nothing is computed, and both have their score
    sandbox.write("again/qasper.jsonl", row.to_string());
    let ran = sandbox.done("evaluate longbench_qasper:file=again --out r");
    assert!(ran.stdout.contains("longbench_qasper:file=again") && !ran.stdout.contains("file=data"), "{}", ran.stdout);
    assert!(ran.stderr.contains("0 samples run, 1 finished before"), "{}", ran.stderr);
    let listed = sandbox.done("results r").stdout;
    assert!(listed.contains("file=again") && listed.contains("file=data"), "{listed}");
    sandbox.write("empty/readme.txt", "nothing");
    sandbox.refused("evaluate longbench:file=empty", 1, &["empty: the folder holds no `narrativeqa.jsonl`"]);
    sandbox.refused("evaluate leval", 1, &["is made from a file, and `file` names none"]);
}

#[test]
fn what_cannot_be_run_says_why_and_where() {
    let sandbox = Sandbox::new();
    sandbox.refused("evaluate", 2, &["there is no task to evaluate", "longlens tasks"]);
    sandbox.refused("evaluate passkeyy", 2, &["unknown task `passkeyy`", "passkey"]);
    sandbox.refused("evaluate passkey:lenght=512", 2, &["lenght", "length"]);
    sandbox.refused("evaluate passkey_file", 1, &["`file` names none", "passkey_file:file=prompts.jsonl"]);
    sandbox.refused("evaluate passkey_file:file=none.jsonl", 1, &["none.jsonl"]);
    sandbox.write("short.jsonl", "{\"input\": \"a b\", \"output\": \"b\"}\n{\"input\": 3}\n");
    sandbox.refused("evaluate passkey_file:file=short.jsonl", 1, &["short.jsonl", "2"]);
    sandbox.write(
        "rows.jsonl",
        "{\"input\": \"q\", \"context\": \"c\", \"answers\": [\"a\"]}\n{\"input\": \"q\", \"context\": \"c\"}\n",
    );
    sandbox.refused("evaluate longbench_qasper:file=rows.jsonl", 1, &["rows.jsonl", "line 2", "answers"]);
    sandbox.write("utf16.jsonl", [0xff, 0xfe, b'{', 0, b'}', 0]);
    sandbox.refused("evaluate longbench_qasper:file=utf16.jsonl", 1, &["utf16.jsonl", "UTF-16"]);
    sandbox.write(
        "twice.jsonl",
        "{\"id\": 1, \"input\": \"q\", \"question\": \"w\", \"target\": \"bathroom\"}\n".repeat(2),
    );
    sandbox.write("tasks.txt", "# two\npasskey:samples=1,depths=1\n\nruler_vtt\n");
    sandbox.refused("evaluate --tasks-file tasks.txt", 2, &["tasks.txt, line 4", "ruler_vtt", "ruler_vt"]);

    // folders of others
    sandbox.write("sweep.toml", SWEEP);
    sandbox.done("sweep sweep.toml --set length=512 --set method=full --out results");
    sandbox.write("other.toml", SWEEP.replace("kept", "other"));
    sandbox.refused("sweep other.toml --out results", 2, &["results holds results of the sweep `kept`"]);
    let before = sandbox.read("results/samples.jsonl");
    sandbox.write("results/samples.jsonl", [&before[..], b"{\"a\": 1}\n"].concat());
    sandbox.refused("sweep sweep.toml --out results", 1, &["results/samples.jsonl, line 11", "missing field `key`"]);
    assert!(sandbox.read("results/samples.jsonl").starts_with(&before), "nothing is lost");
    sandbox.write("broken.toml", "[fixed]\ntask = passkey\n");
    sandbox.refused("sweep broken.toml", 2, &["broken.toml"]);
    sandbox.write("axis.toml", "[fixed]\ntask = \"passkey\"\nlengths = 3\n");
    sandbox.refused("sweep axis.toml", 2, &["axis.toml", "no axis `lengths`", "did you mean `length`"]);
}

#[test]
fn samples_can_be_looked_at_and_written() {
    let sandbox = Sandbox::new();
    let ran = sandbox.done("tasks");
    assert!(ran.stdout.contains("niah_single_1") && ran.stdout.contains("longbench_hotpotqa"), "{}", ran.stdout);
    let ran = sandbox.done("tasks ruler_vt");
    assert!(ran.stdout.contains("length = the trained context"), "{}", ran.stdout);
    let ran = sandbox.done("tasks needle_chunkllama:length=1000 --sample 3");
    assert!(ran.stdout.contains("The pass key is") && ran.stderr.contains("SHA-256"), "{}", ran.stderr);
    sandbox.done("tasks needle_chunkllama:length=1000,samples=1 --export all.jsonl");
    let text = String::from_utf8(sandbox.read("all.jsonl")).unwrap();
    let rows: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((rows.len(), &rows[0]["scorer"]), (16, &json!("passkey_token_exact")));
    sandbox.refused("tasks ruler --sample 0", 2, &["family of tasks", "niah_single_1"]);
    sandbox.refused("tasks passkey:samples=1,depths=1 --sample 5", 2, &["has 1 samples, counted from 0"]);
}

/// Rows of a table that `evaluate`, `sweep` or `results` gives as JSON.
fn rows(stdout: &str) -> Vec<Value> {
    let told: Value = serde_json::from_str(stdout).unwrap();
    told["rows"].as_array().unwrap().clone()
}

#[test]
fn what_is_asked_for_has_a_row_of_its_own() {
    let sandbox = Sandbox::new();
    // both modes have the same prompts and losses, of which they count others
    let modes = "evaluate perplexity_sliding:mode=faithful perplexity_sliding:mode=fixed --lengths 128 --samples 3";
    let both = rows(&sandbox.done(&format!("{modes} --out r --json")).stdout);
    for (mode, row) in ["faithful", "fixed"].iter().zip(&both) {
        let alone = format!("evaluate perplexity_sliding --mode {mode} --lengths 128 --samples 3 --json");
        let alone = &rows(&sandbox.done(&alone).stdout)[0];
        assert_eq!((&row["score"], &row["n"]), (&alone["score"], &alone["n"]), "{mode}");
    }
    assert_eq!(both.len(), 2);
    let listed = rows(&sandbox.done("results r --json").stdout);
    assert_eq!(
        listed.iter().map(|row| &row["score"]).collect::<Vec<_>>(),
        both.iter().map(|row| &row["score"]).collect::<Vec<_>>()
    );

    // formats of weights and limits are rows as methods are
    sandbox.write(
        "weights.toml",
        "[fixed]\ntask = \"passkey:samples=1,depths=2\"\nlength = 256\n[grid]\nweights = [\"f32\", \"q4\"]\n",
    );
    let ran = sandbox.done("sweep weights.toml --out w");
    assert!(ran.stdout.contains("full · f32") && ran.stdout.contains("full · q4"), "{}", ran.stdout);
    let listed = sandbox.done("results w").stdout;
    assert!(listed.contains("full · f32") && listed.contains("full · q4"), "{listed}");
    sandbox.write("limits.toml", "[fixed]\ntask = \"passkey:samples=1,depths=2\"\nlength = 256\ntoo_long = \"cut\"\n[grid]\nlimit = [100, 400]\n");
    let ran = sandbox.done("sweep limits.toml --out l");
    assert!(
        ran.stdout.contains("full · limit 100, cut") && ran.stdout.contains("full · limit 400, cut"),
        "{}",
        ran.stdout
    );
    assert!(ran.stdout.contains("2 truncated"), "{}", ran.stdout);
    // two ways with what is too long
    let ways = "sweep limits.toml --out ways --set limit=100 --set too_long=skip,cut --set task.depths=1 --json";
    let found: Vec<(String, u64, u64)> = rows(&sandbox.done(ways).stdout)
        .iter()
        .map(|row| {
            (row["limit"].as_str().unwrap().to_owned(), row["n"].as_u64().unwrap(), row["n_skipped"].as_u64().unwrap())
        })
        .collect();
    assert_eq!(found, [("100, skip".to_owned(), 0, 1), ("100, cut".to_owned(), 1, 0)]);
    sandbox.refused(
        "evaluate passkey_haystack --lengths 512 --haystack a,b.txt",
        2,
        &["`haystack` cannot be called `a,b.txt`"],
    );
    sandbox.refused(
        "evaluate passkey --lengths 256 --limit 5 --too-long cut",
        1,
        &["limit = 5 is not more tokens than an answer"],
    );
}

#[test]
fn a_shard_forecasts_its_part() {
    let sandbox = Sandbox::new();
    sandbox.write("sweep.toml", SWEEP);
    let counts = ["1/2", "2/2"].map(|shard| {
        let units: Value =
            serde_json::from_str(&sandbox.done(&format!("sweep sweep.toml --dry-run --shard {shard} --json")).stdout)
                .unwrap();
        units.as_array().unwrap().iter().map(|unit| unit["samples"].as_u64().unwrap()).sum::<u64>()
    });
    assert_eq!(counts.iter().sum::<u64>(), N_SAMPLES as u64);
    assert!(counts.iter().all(|n| *n > 20), "{counts:?}");
}

#[test]
fn what_a_task_says_of_itself_counts_before_flags() {
    let sandbox = Sandbox::new();
    let line =
        "evaluate passkey:length=256,samples=1,depths=1 niah_single_1 --lengths 512 --samples 2 --mode fixed --json";
    let found: Vec<(String, u64, u64)> = rows(&sandbox.done(line).stdout)
        .iter()
        .map(|row| {
            (row["task"].as_str().unwrap().to_owned(), row["length"].as_u64().unwrap(), row["n"].as_u64().unwrap())
        })
        .collect();
    assert_eq!(found, [("niah_single_1".to_owned(), 512, 2), ("passkey".to_owned(), 256, 1)]);
    // a setting goes to those tasks of a family that have it
    let ran = sandbox.done("evaluate ruler:samples=1,length=600,mode=fixed --dry-run --json");
    assert!(
        ran.stdout.contains("niah_single_1:length=600") && ran.stdout.contains("ruler_vt:length=600"),
        "{}",
        ran.stdout
    );
    sandbox.refused("evaluate ruler:lenght=512", 2, &["lenght", "length"]);
}
