use std::collections::{HashMap, HashSet};

use longlens_core::lens::{CancelToken, LensError, TextCodec};
use longlens_core::methods::Method;
use longlens_core::rope::RopeScaling;
use longlens_core::scripted::{ScriptedLens, induction};
use longlens_core::trace::RunRecord;
use serde_json::Value;

use super::*;
use crate::generate::StopReason;
use crate::setup::fixed;
use crate::tasks::{Ask, Disk};

/// Finished samples in memory.
#[derive(Default)]
struct Kept {
    records: Vec<Record>,
    keys: HashSet<String>,
    /// Keys that another process has.
    elsewhere: HashSet<String>,
    /// Samples after which nothing can be kept.
    room: Option<usize>,
}

impl Store for Kept {
    fn listed(&mut self, key: &str) -> Option<String> {
        let known = self.records.iter().find(|record| record.key == key);
        known.map(|record| listing(&record.setting, record.length))
    }

    fn with_keys(&mut self, keys: &HashSet<&str>) -> Result<Vec<Record>, EvalError> {
        Ok(self.records.iter().filter(|record| keys.contains(&*record.key)).cloned().collect())
    }

    fn claim(&mut self, key: &str) -> Result<bool, EvalError> {
        Ok(!self.elsewhere.contains(key))
    }

    fn finished(&mut self, record: &Record) -> Result<(), EvalError> {
        if self.room.is_some_and(|room| self.records.len() >= room) {
            return Err(EvalError::Store { problem: "no room".into(), help: String::new() });
        }
        assert!(self.keys.insert(record.key.clone()), "a sample is run once");
        // as lines of a file
        let line = serde_json::to_string(record).unwrap();
        let read: Record = serde_json::from_str(&line).unwrap();
        assert_eq!(read, *record);
        self.records.push(read);
        Ok(())
    }
}

#[test]
fn a_sample_counts_once_however_often_it_was_finished() {
    let mut store = Kept::default();
    let watched = Options { attention: true, ..Options::default() };
    for (task, options) in [
        ("passkey:length=300,depths=2,samples=1", Options::default()),
        ("passkey:length=300,depths=2,samples=2", watched),
    ] {
        run(task, "full", &options, &mut store, &mut ()).unwrap();
    }
    assert_eq!(store.records.len(), 6, "attention is recorded of samples that were finished without it");
    let rows = summarize(&store.records).rows;
    assert_eq!((rows.len(), rows[0].n), (1, 4));
    let kept = once_each(&store.records);
    assert!(kept.len() == 4 && kept.iter().all(|record| record.attended.is_some()));
    let ids: HashSet<&str> = kept.iter().map(|record| &*record.id).collect();
    assert_eq!(ids.len(), 4);
    // what a limit took away never stands for what was answered whole, however late it was finished
    for too_long in [TooLong::Cut, TooLong::Skip] {
        let limited = Options { limit: Some(200), too_long, ..Options::default() };
        run("passkey:length=300,depths=2,samples=2", "full", &limited, &mut store, &mut ()).unwrap();
    }
    assert_eq!(store.records.len(), 14);
    let row = &summarize(&store.records).rows[0];
    assert_eq!((row.n, row.n_truncated, row.n_skipped), (4, 0, 0));
}

#[test]
fn one_sample_tells_no_interval_unless_it_is_right_or_wrong() {
    let scored = |id: &str, share: f64| {
        let record = answered(id, true);
        let Outcome::Answered(answer) = record.outcome else { panic!("it is answered") };
        let answer = Answer { faithful: json!(share), ..*answer };
        Record { outcome: Outcome::Answered(Box::new(answer)), ..record }
    };
    let interval = |records: &[Record]| summarize(records).rows[0].interval;
    assert!(interval(&[scored("a", 0.4)]).0.is_nan());
    let (low, high) = interval(&[scored("a", 0.4), scored("b", 0.8)]);
    assert!(low < high, "{low} to {high}");
    let (low, high) = interval(&[scored("a", 1.0)]);
    assert!(low < 25.0 && high > 99.9, "a hit has one by Wilson: {low} to {high}");
    let loss = Outcome::Measured { mean_nll: 2.0, n_scored: 100, by_position: Vec::new() };
    let measured = Record { outcome: loss, ..answered("a", true) };
    assert!(interval(&[measured]).0.is_nan());
}

#[test]
fn every_setting_has_all_of_its_samples_in_its_own_mode() {
    let mut store = Kept::default();
    let options = Options::default();
    // the same prompts under two settings, of which the second has more
    let few = "perplexity_sliding:length=128,stride=512,samples=3";
    let tally = run(few, "full", &options, &mut store, &mut ()).unwrap();
    assert_eq!((tally.n_run, tally.n_before), (3, 0));
    let many = "passkey:length=300,depths=1,samples=2";
    run(many, "full", &options, &mut store, &mut ()).unwrap();
    let again = "passkey:length=300,depths=1,samples=3,digits=5";
    let tally = run(again, "full", &options, &mut store, &mut ()).unwrap();
    assert_eq!((tally.n_run, tally.n_before), (1, 2), "what is as usual is no other setting");
    // one haystack under two names
    let folder = tempfile::tempdir().unwrap();
    let name = folder.path().display().to_string();
    std::fs::write(folder.path().join("a.txt"), "It is so. ".repeat(400)).unwrap();
    let of = |name: &str, n: usize| format!("passkey_haystack:length=900,depths=1,samples={n},haystack={name}");
    run(&of(&name, 1), "full", &options, &mut store, &mut ()).unwrap();
    let tally = run(&of(&format!("{name}/a.txt"), 1), "full", &options, &mut store, &mut ()).unwrap();
    assert_eq!((tally.n_run, tally.n_before), (0, 1), "it is computed once");
    let tally = run(&of(&format!("{name}/a.txt"), 1), "full", &options, &mut store, &mut ()).unwrap();
    assert_eq!((tally.n_run, tally.n_before), (0, 1), "and stands twice from then on");
    let counts: Vec<(String, usize)> =
        summarize(&store.records).rows.iter().map(|row| (row.setting.replace(&name, "F"), row.n)).collect();
    let right = [
        ("passkey", 3),
        ("passkey_haystack:haystack=F", 1),
        ("passkey_haystack:haystack=F/a.txt", 1),
        ("perplexity_sliding:stride=512", 3),
    ];
    assert_eq!(counts, right.map(|(setting, n)| (setting.to_owned(), n)));
}

#[test]
fn lengths_with_the_same_prompt_and_templates_that_change_nothing_have_all_of_their_samples() {
    let mut store = Kept::default();
    let options = Options::default();
    // both are 15 thousand characters to the script
    for length in [4096, 4200] {
        run(&format!("passkey_longlora:length={length},samples=1"), "full", &options, &mut store, &mut ()).unwrap();
    }
    let lengths: Vec<Option<usize>> = summarize(&store.records).rows.iter().map(|row| row.length).collect();
    assert_eq!(lengths, [Some(4096), Some(4200)]);
    let copy = &store.records[1];
    assert_eq!((copy.copy_of.as_ref(), copy.key == store.records[0].key), (Some(&store.records[0].key), false));

    // few-shot tasks are never wrapped
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("trec.jsonl");
    let row = json!({ "input": "what?", "context": "some", "answers": ["Location"], "all_classes": ["Location"], "_id": "a" });
    std::fs::write(&file, row.to_string()).unwrap();
    let mut store = Kept::default();
    for template in ["off", "llama2"] {
        let task = format!("longbench_trec:file={},template={template}", file.display());
        run(&task, "full", &options, &mut store, &mut ()).unwrap();
    }
    let templates: Vec<&str> = store.records.iter().map(|record| &*record.template).collect();
    assert_eq!(templates, ["off", "llama2"]);
    // a copy whose original is gone is not computed again
    store.records.remove(0);
    let task = format!("longbench_trec:file={},template=llama2", file.display());
    let tally = run(&task, "full", &options, &mut store, &mut ()).unwrap();
    assert_eq!((tally.n_run, tally.n_before), (0, 1));
}

#[test]
fn what_is_passed_over_is_in_the_row_of_what_is_not() {
    let mut store = Kept::default();
    let limited = Options { limit: Some(450), ..Options::default() };
    let row = |store: &Kept| {
        let rows = summarize(&store.records).rows;
        assert_eq!(rows.len(), 2, "a row for each length: {rows:?}");
        rows.iter().map(|row| (row.n, row.n_skipped)).collect::<Vec<_>>()
    };
    for length in [300, 600] {
        run(&format!("passkey:length={length},samples=1,depths=1"), "full", &limited, &mut store, &mut ()).unwrap();
    }
    assert_eq!(row(&store), [(1, 0), (0, 1)]);
    let windows = |record: &Record| record.run.layer_windows.clone();
    assert_eq!(windows(&store.records[0]), windows(&store.records[1]));
}

#[test]
fn a_mode_has_the_scores_of_its_own() {
    let mut store = Kept::default();
    let task = |mode: &str, n: usize| format!("ruler_vt:length=2000,samples={n},mode={mode}");
    run(&task("faithful", 2), "full", &Options::default(), &mut store, &mut ()).unwrap();
    let n_faithful = store.records.len();
    run(&task("fixed", 2), "full", &Options::default(), &mut store, &mut ()).unwrap();
    let rows = summarize(&store.records).rows;
    let found: Vec<(&str, usize)> = rows.iter().map(|row| (&*row.setting, row.n)).collect();
    assert_eq!(found, [("ruler_vt", 2), ("ruler_vt:mode=fixed", 2)], "whatever prompts both have");
    let is_fixed = |record: &Record| record.mode == crate::scorers::Mode::Fixed;
    assert!(store.records[n_faithful..].iter().all(is_fixed));
}

#[test]
fn a_limit_leaves_room_for_a_prompt_and_cuts_texts_at_their_end() {
    let mut store = Kept::default();
    let cut = |limit| Options { limit: Some(limit), too_long: TooLong::Cut, ..Options::default() };
    let error = run("passkey:length=300,samples=1", "full", &cut(5), &mut store, &mut ()).unwrap_err().to_string();
    assert!(error.starts_with("limit = 5 is not more tokens than an answer"), "{error}");
    // nothing would be left of what counts
    let late = "perplexity:length=300,last=50,samples=1";
    let error = run(late, "full", &cut(200), &mut store, &mut ()).unwrap_err().to_string();
    assert!(error.starts_with("limit = 200 is not more tokens than"), "{error}");
    run("perplexity:length=300,samples=1", "full", &cut(100), &mut store, &mut ()).unwrap();
    run("perplexity:length=100,samples=1", "full", &Options::default(), &mut store, &mut ()).unwrap();
    let losses: Vec<f64> = store.records.iter().map(share_of_loss).collect();
    assert_eq!(losses[0].to_bits(), losses[1].to_bits(), "the beginning is measured");
    // attention is recorded of answers, so a loss is the same with it
    let attended = Options { attention: true, ..Options::default() };
    let tally = run("perplexity:length=100,samples=1", "full", &attended, &mut store, &mut ()).unwrap();
    assert_eq!((tally.n_run, tally.n_before), (0, 1));
}

fn share_of_loss(record: &Record) -> f64 {
    let Outcome::Measured { mean_nll, .. } = record.outcome else { panic!("a loss is measured") };
    mean_nll
}

/// Counts what is encoded.
struct Counting(std::sync::atomic::AtomicUsize);
impl TextCodec for Counting {
    fn encode(&self, text: &str, special: bool) -> Result<Vec<u32>, LensError> {
        self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        longlens_core::scripted::ByteCodec.encode(text, special)
    }
    fn decode(&self, tokens: &[u32]) -> Result<String, LensError> {
        longlens_core::scripted::ByteCodec.decode(tokens)
    }
}

#[test]
fn what_was_counted_is_not_encoded_again() {
    let setting = Task::parse("passkey:length=2000,samples=1,depths=3").unwrap();
    let (spec, codec) = (longlens_core::spec::ModelSpec::tiny(2048), Counting(0.into()));
    let ask = Ask { setting: &setting, spec: &spec, codec: &codec, files: &Disk };
    let mut counted = Counted::new(&ask, Box::new(|_| panic!("samples are kept")), &mut ()).unwrap();
    // the frame, two or three guesses and the one behind them, and the prompt without its answer
    let n_encoded = codec.0.load(std::sync::atomic::Ordering::Relaxed);
    assert!(n_encoded <= 3 * 6, "{n_encoded} texts were encoded for three prompts");
    for (at, entry) in counted.entries.clone().iter().enumerate() {
        let (sample, tokens) = counted.sample(at, Err(LensError::Cancelled)).unwrap();
        assert_eq!((tokens.len(), &sample.id), (entry.n_prompt, &entry.id));
        assert_eq!(tokens, sample.prompt.tokens(Ok(&codec)).unwrap());
    }
}

#[test]
fn prompts_that_are_much_shorter_than_asked_are_told() {
    let notes = |length: usize, mode: &str| {
        let setting = Task::parse(&format!("niah_single_2:length={length},samples=2,mode={mode}")).unwrap();
        let (spec, codec) = (longlens_core::spec::ModelSpec::tiny(2048), longlens_core::scripted::ByteCodec);
        let ask = Ask { setting: &setting, spec: &spec, codec: &codec, files: &Disk };
        let counted = Counted::new(&ask, Box::new(|_| panic!("samples are kept")), &mut ());
        counted.map_or_else(|_| String::new(), |counted| counted.notes.join("; "))
    };
    // the script takes away hundreds of words at once
    let (length, told) = (4000..9000)
        .step_by(101)
        .map(|length| (length, notes(length, "faithful")))
        .find(|(_, told)| told.contains("three quarters"))
        .expect("some lengths are far from a whole step");
    assert!(told.contains("of 2 prompts have less than three quarters of their length"), "{told}");
    assert!(
        told.contains(&format!("of {length} with its answer, as its script makes them; `mode=fixed` may fill it")),
        "{told}"
    );
    assert!(!notes(length, "fixed").contains("three quarters"));
}

/// Runs a task on a model that repeats what it read.
fn run(
    text: &str,
    method: &str,
    options: &Options,
    store: &mut Kept,
    control: &mut dyn Control,
) -> Result<Tally, EvalError> {
    let mut lens = ScriptedLens::new(induction).attending(|_, _, _, key| if key % 7 == 0 { 2.0 } else { 1.0 });
    let spec = lens.model().spec.clone();
    let setting = Task::parse(text).unwrap();
    let method = Method::parse(method).unwrap();
    let setup = Setup::new(&method, &spec, 0).unwrap();
    let subject = Subject::of(lens.model(), "cpu", &setup);
    let again = {
        let (setting, spec) = (setting.clone(), spec.clone());
        move |codec: &dyn TextCodec| Ask { setting: &setting, spec: &spec, codec, files: &Disk }.samples()
    };
    let ask = Ask { setting: &setting, spec: &spec, codec: &longlens_core::scripted::ByteCodec, files: &Disk };
    let mut counted = Counted::new(&ask, Box::new(again), &mut ()).unwrap();
    let run = Run { task: ask.task(), setting: &setting, subject: &subject, options };
    let mut setup_for = fixed(method, RopeScaling::none(), &spec);
    let mut with = With { lens: &mut lens, setup_for: &mut setup_for, store, control };
    run.run(&mut with, &mut counted, &|_| true, &mut |_| {})
}

/// A finished sample whose answer is right or wrong.
pub(super) fn answered(id: &str, is_right: bool) -> Record {
    let answer = Answer {
        output: "12345".into(),
        extracted: None,
        n_generated: 5,
        stop: StopReason::MaxTokens,
        scorer: "passkey_text".into(),
        scale: 1.0,
        faithful: json!(is_right),
        fixed: json!(is_right),
        seconds_to_first_token: 0.0,
    };
    let line = json!({
        "key": id, "task": "passkey", "setting": "passkey:length=512", "task_version": 1, "id": id, "length": 512, "run": RunRecord::default(),
        "content": "", "device": "cpu", "mode": "faithful", "template": "off", "prompt_sha256": id, "n_prompt": 500, "answers": ["12345"],
        "outcome": "skipped", "seconds": 0.0, "finished": 0,
    });
    Record { outcome: Outcome::Answered(Box::new(answer)), ..serde_json::from_value(line).unwrap() }
}

#[test]
fn a_task_is_run_scored_and_kept() {
    let mut store = Kept::default();
    let options = Options { attention: true, ..Options::default() };
    let tally = run("passkey:length=1024,samples=2,depths=3", "full", &options, &mut store, &mut ()).unwrap();
    assert_eq!((tally.n_samples, tally.n_run, tally.n_before, tally.is_cancelled), (6, 6, 0, false));
    for record in &store.records {
        assert_eq!(record.share(), Some(1.0), "a model that repeats finds every key: {record:?}");
        assert!(record.n_prompt <= 1024 && record.n_prompt > 800 && record.n_truncated == 0);
        let attended = record.attended.as_ref().unwrap();
        let key = &record.answers[0];
        let [(start, end)] = attended.evidence[..] else { panic!("one needle: {attended:?}") };
        let share = attended.heads[0][0];
        // attention is nearly even
        let even = (end - start) as f32 / record.n_prompt as f32;
        assert!((share - even).abs() < 0.3 * even, "{share} instead of {even}");
        assert!(attended.heads.iter().flatten().all(|head| (head - share).abs() < 1e-6));
        assert!(attended.passages.windows(2).all(|pair| pair[0].mass >= pair[1].mass));
        let told = attended.passages.iter().find(|passage| passage.tokens == (start, end)).unwrap();
        assert!(told.text.contains(&**key), "the evidence is a passage by itself: {attended:?}");
    }
    let summary = summarize(&store.records);
    let [row] = &summary.rows[..] else { panic!("one row: {summary:?}") };
    assert_eq!((row.n, row.score, row.length, &*row.scorer), (6, 100.0, Some(1024), "passkey_text"));
    assert!(row.interval.0 > 55.0 && row.interval.1 > 99.9);
}

/// Stops once so many quarters are done.
struct After(usize, CancelToken);
impl Control for After {
    fn progress(&mut self, done: usize, total: usize) {
        if done * 4 > self.0 * total {
            self.1.cancel();
        }
    }
    fn cancelled(&self) -> bool {
        self.1.is_cancelled()
    }
}

#[test]
fn finished_samples_are_not_run_again() {
    let mut store = Kept::default();
    let text = "passkey:length=512,samples=1,depths=4";
    let options = Options::default();
    // stopped by whoever watches: the prompt under way is lost, what is finished stays
    let tally = run(text, "full", &options, &mut store, &mut After(2, CancelToken::default())).unwrap();
    assert!(tally.is_cancelled && tally.n_run >= 1 && tally.n_run < 4, "{tally:?}");
    let n_first = tally.n_run;
    let tally = run(text, "full", &options, &mut store, &mut ()).unwrap();
    assert_eq!((tally.n_before, tally.n_run), (n_first, 4 - n_first));
    let tally = run(text, "full", &options, &mut store, &mut ()).unwrap();
    assert_eq!((tally.n_before, tally.n_run), (4, 0));
    // another method is another result, and so is another limit that changes something
    assert_eq!(run(text, "sliding_window:window=64", &options, &mut store, &mut ()).unwrap().n_run, 4);
    let limited = |limit| Options { limit: Some(limit), ..Options::default() };
    assert_eq!(run(text, "full", &limited(4096), &mut store, &mut ()).unwrap().n_run, 0);
    assert_eq!(run(text, "full", &limited(100), &mut store, &mut ()).unwrap().n_run, 4);
}

#[test]
fn what_is_too_long_is_passed_over_or_cut_and_counted() {
    let text = "passkey:length=512,samples=1,depths=2";
    let mut store = Kept::default();
    run(text, "full", &Options { limit: Some(100), ..Options::default() }, &mut store, &mut ()).unwrap();
    assert!(store.records.iter().all(|record| record.outcome == Outcome::Skipped && record.score().is_none()));
    assert!(store.records.iter().all(|record| record.limit == Some(100)));
    let row = &summarize(&store.records).rows[0];
    assert_eq!((row.n, row.n_skipped), (0, 2));
    let mut store = Kept::default();
    let options = Options { limit: Some(100), too_long: TooLong::Cut, ..Options::default() };
    run(text, "full", &options, &mut store, &mut ()).unwrap();
    for record in &store.records {
        let n_generated = record.answer().unwrap().n_generated;
        assert!(record.n_prompt + n_generated <= 100 && record.n_prompt > 80 && record.n_truncated > 300);
        assert_eq!(record.limit, Some(100));
    }
    // a limit that changes nothing is none
    let mut store = Kept::default();
    run(text, "full", &Options { limit: Some(600), ..Options::default() }, &mut store, &mut ()).unwrap();
    assert!(store.records.iter().all(|record| record.limit.is_none()));
}

#[test]
fn samples_of_others_are_left_and_a_full_store_ends_it() {
    let text = "passkey:length=512,samples=1,depths=4";
    let mut all = Kept::default();
    run(text, "full", &Options::default(), &mut all, &mut ()).unwrap();
    let mut store =
        Kept { elsewhere: all.records[1..3].iter().map(|record| record.key.clone()).collect(), ..Kept::default() };
    let tally = run(text, "full", &Options::default(), &mut store, &mut ()).unwrap();
    assert_eq!((tally.n_run, tally.n_elsewhere), (2, 2));
    let mut full = Kept { room: Some(1), ..Kept::default() };
    let error = run(text, "full", &Options::default(), &mut full, &mut ()).unwrap_err();
    assert_eq!((error.to_string().as_str(), full.records.len()), ("no room", 1));
}

#[test]
fn shared_beginnings_change_no_answer() {
    let text = "needle_chunkllama:length=1000,samples=1";
    let alone = |method: &str| -> HashMap<String, String> {
        let mut store = Kept::default();
        let tally = run(text, method, &Options::default(), &mut store, &mut ()).unwrap();
        assert_eq!(tally.n_run, 16);
        if method == "full" {
            // a prompt shares what stands before the needle of the one before it
            assert!(tally.n_shared * 5 > tally.n_tokens * 2, "{tally:?}");
        }
        store.records.into_iter().map(|record| (record.id.clone(), record.answer().unwrap().output.clone())).collect()
    };
    // a scaling that follows the length shares nothing
    let (shared, unshared) = (alone("full"), alone("dual_chunk:chunk_size=4096,local_window=512,temperature=yarn"));
    assert_eq!(shared, unshared);
}

#[test]
fn samples_that_two_settings_share_belong_to_both() {
    let mut store = Kept::default();
    let options = Options::default();
    run("passkey:length=512,samples=1,depths=1", "full", &options, &mut store, &mut ()).unwrap();
    let tally = run("passkey:length=512,samples=2,depths=3", "full", &options, &mut store, &mut ()).unwrap();
    assert_eq!((tally.n_before, tally.n_run), (1, 5), "the middle of the first trial is there");
    let rows = summarize(&store.records).rows;
    assert_eq!(rows.iter().map(|row| (&*row.setting, row.n)).collect::<Vec<_>>(), [("passkey", 6)]);
}

#[test]
fn every_kind_of_score_is_a_number() {
    // measures of a sample, as the scorers that tasks name give them
    let scores = [
        (json!(true), 1.0),
        (json!(0.25), 0.25),
        (json!({ "rouge1": 30.0, "rouge2": 10.0, "rougeL": 20.0 }), 20.0),
        (json!({ "loyalty": 100.0, "fact": 50.0 }), 75.0),
    ];
    for (score, right) in scores {
        assert_eq!(number(&score).unwrap().to_string(), f64::to_string(&right), "{score}");
    }
    assert_eq!(number(&Value::Null), None, "the script fails");
    // a perfect answer has all of its scale whatever the task
    let fields = [("prediction", json!("True [fact: False]")), ("references", json!(["True [fact: False]"]))];
    let row = fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    let scorer = crate::scorers::Scorer::named("leval_judge").unwrap();
    assert_eq!(
        number(&scorer.score(&row, crate::scorers::Mode::Faithful).unwrap()),
        Some(scorer.scale),
        "{}",
        scorer.name
    );
}
