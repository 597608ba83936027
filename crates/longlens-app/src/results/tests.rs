use longlens_core::trace::RunRecord;
use longlens_eval::evaluate::{Answer, Outcome, Store};
use longlens_eval::generate::StopReason;
use longlens_eval::scorers::Mode;
use serde_json::json;

use super::*;

/// A sample that was answered, and scored by how its number ends.
pub(crate) fn answered(key: usize) -> Record {
    let score = (key % 4) as f64 / 3.0;
    let answer = Answer {
        output: format!("answer {key}, \"quoted\"\nand 日本語"),
        extracted: (key.is_multiple_of(2)).then(|| key.to_string()),
        n_generated: key,
        stop: if key.is_multiple_of(3) { StopReason::MaxTokens } else { StopReason::Eos },
        scorer: "substring".into(),
        scale: 1.0,
        faithful: if key.is_multiple_of(7) { json!({ "error": "ZeroDivisionError" }) } else { json!(score) },
        fixed: json!(score),
        seconds_to_first_token: 0.25,
    };
    Record { outcome: Outcome::Answered(Box::new(answer)), finished: 0, ..record(key) }
}

pub(crate) fn record(key: usize) -> Record {
    Record {
        key: format!("{key:064x}"),
        copy_of: None,
        task: "passkey".into(),
        setting: "passkey:length=512".into(),
        task_version: 1,
        id: key.to_string(),
        part: None,
        length: Some(512),
        depth: Some(0.5),
        run: RunRecord::default(),
        content: "content".into(),
        device: "cpu".into(),
        mode: Mode::Faithful,
        template: "off".into(),
        prompt_sha256: String::new(),
        n_prompt: 500,
        n_shared: 0,
        n_truncated: 0,
        limit: None,
        answers: vec!["12345".into()],
        outcome: Outcome::Skipped,
        seconds: 1.0,
        attended: None,
        finished: 0,
    }
}

#[test]
fn a_last_line_without_its_end_is_kept_where_it_is_whole() {
    let folder = tempfile::TempDir::new().unwrap();
    let path = folder.path().join("samples.jsonl");
    let line = |key| serde_json::to_string(&answered(key)).unwrap();
    fs::write(&path, format!("{}\n{}", line(1), line(2))).unwrap();
    let mut results = Results::write(folder.path()).unwrap();
    assert_eq!(results.len(), 2);
    results.finished(&answered(3)).unwrap();
    results.synced().unwrap();
    drop(results);
    assert_eq!(fs::read_to_string(&path).unwrap(), format!("{}\n{}\n{}\n", line(1), line(2), line(3)));
    fs::write(&path, format!("{}\n{}", line(1), &line(2)[..40])).unwrap();
    assert_eq!(Results::write(folder.path()).unwrap().len(), 1, "half a line is computed again");
}

#[test]
#[cfg(unix)]
fn a_folder_that_is_taken_away_meanwhile_is_told() {
    let folder = tempfile::TempDir::new().unwrap();
    let inner = folder.path().join("r");
    let mut results = Results::write(&inner).unwrap();
    results.finished(&answered(1)).unwrap();
    fs::remove_dir_all(&inner).unwrap();
    assert!(results.synced().unwrap_err().message.contains("was taken away while it was written"));
}

#[test]
fn a_file_that_was_taken_away_is_told_from_the_one_at_its_path() {
    let folder = tempfile::TempDir::new().unwrap();
    let path = folder.path().join("samples.jsonl");
    let file = File::create(&path).unwrap();
    assert!(is_at(&file, &path));
    fs::remove_file(&path).unwrap();
    assert!(!is_at(&file, &path));
    let _other = File::create(&path).unwrap();
    assert!(!is_at(&file, &path));
}

#[test]
fn a_line_that_a_kill_cut_short_is_gone_and_the_rest_stays() {
    let folder = tempfile::tempdir().unwrap();
    let mut results = Results::write(folder.path()).unwrap();
    results.finished(&record(1)).unwrap();
    results.finished(&record(2)).unwrap();
    drop(results);
    let path = folder.path().join("samples.jsonl");
    let whole = fs::read(&path).unwrap();
    let second = whole.iter().position(|byte| *byte == b'\n').unwrap() + 1;
    for n_bytes in [second, second + 1, second + 20, whole.len() - 2] {
        fs::write(&path, &whole[..n_bytes]).unwrap();
        assert_eq!(Results::read(folder.path()).unwrap().len(), 1, "{n_bytes} bytes");
        let mut results = Results::write(folder.path()).unwrap();
        assert!(results.has(&record(1).key) && !results.has(&record(2).key));
        results.finished(&record(2)).unwrap();
        assert_eq!(results.records().unwrap(), [record(1), record(2)]);
        drop(results);
        assert_eq!(fs::read(&path).unwrap(), whole);
    }
}

#[test]
fn two_processes_share_a_folder() {
    let folder = tempfile::tempdir().unwrap();
    let mut first = Results::write(folder.path()).unwrap();
    let mut second = Results::write(folder.path()).unwrap();
    let key = |n| record(n).key;
    assert!(first.claim(&key(1)).unwrap());
    assert!(!second.claim(&key(1)).unwrap(), "the first has it");
    assert!(second.claim(&key(2)).unwrap());
    second.finished(&record(2)).unwrap();
    assert!(!first.claim(&key(2)).unwrap() && first.has(&key(2)), "it is finished");
    // the claim of a process that ended without finishing is nothing
    drop(first);
    assert!(second.claim(&key(1)).unwrap());
    second.finished(&record(1)).unwrap();
    drop(second);
    let names: Vec<_> = files(folder.path()).into_iter().map(|path| number_of(&path).unwrap()).collect();
    assert_eq!(names, [2], "a file without samples goes");
    let again = Results::write(folder.path()).unwrap();
    assert_eq!((again.len(), again.own.as_ref().unwrap().number), (2, 1));
}

#[test]
fn of_claims_at_one_moment_the_earlier_file_counts() {
    let folder = tempfile::tempdir().unwrap();
    let mut first = Results::write(folder.path()).unwrap();
    let mut second = Results::write(folder.path()).unwrap();
    first.refresh().unwrap();
    second.refresh().unwrap();
    let key = record(1).key;
    // as if each had looked before the other wrote
    for results in [&mut first, &mut second] {
        results.own.as_mut().unwrap().claims.write_all(format!("{key}\n").as_bytes()).unwrap();
        results.refresh().unwrap();
    }
    let wins = |results: &Results| !results.is_claimed(&key, Some(results.own.as_ref().unwrap().number));
    first.refresh().unwrap();
    assert_eq!((wins(&first), wins(&second)), (true, false));
}

#[test]
fn what_is_no_sample_is_named_with_its_line() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("samples.jsonl");
    let good = serde_json::to_string(&record(1)).unwrap();
    for (text, problem) in [
        (format!("{good}\nnonsense\n"), "line 2: it is no finished sample of this version: expected"),
        (format!("{good}\n\n{{\"a\": 1}}\n"), "line 3: it is no finished sample of this version: missing field `key`"),
        ("[1, 2]\n".to_owned(), "line 1: it is no finished sample"),
    ] {
        fs::write(&path, &text).unwrap();
        for read in [Results::read(folder.path()).map(drop), Results::write(folder.path()).map(drop)] {
            let error = read.err().unwrap_or_else(|| panic!("{text:?} is refused"));
            assert!(error.message.contains(problem) && error.message.contains("samples.jsonl"), "{error}");
        }
        assert_eq!(fs::read_to_string(&path).unwrap(), text, "nothing is lost");
    }
}

#[test]
fn a_folder_belongs_to_one_sweep() {
    let folder = tempfile::tempdir().unwrap();
    let inner = folder.path().join("results");
    claim_folder(&inner, "first").unwrap();
    claim_folder(&inner, "first").unwrap();
    let error = claim_folder(&inner, "second").unwrap_err();
    assert!(error.message.contains("sweep `first`") && error.help.is_some(), "{error}");
}
