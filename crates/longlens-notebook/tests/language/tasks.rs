//! Tasks of evaluations in cells.

use std::fs;

use crate::common::{Scripted, rig};
use crate::transcript;

const CALL: &str =
    "evaluate(\"passkey:depths=2\", #{ lengths: [200, 400], samples: 2, methods: [full(), \"streaming:window=64\"] })";

#[test]
fn scores_stand_by_task_length_and_method() {
    let mut rig = rig();
    rig.run(&format!("let t = {CALL};")).unwrap();
    assert_eq!(rig.say("[t.len(), mean(t.filter(|row| row.method == \"full\")[\"score\"])]"), "[4, 100.0]");
    assert_eq!(rig.say("t[\"length\"]"), "[200, 200, 400, 400]");
    assert_eq!(rig.say("sum(t[\"samples\"])"), "16");
    let shown = rig.run("t").unwrap().unwrap();
    assert!(shown.figure.is_some() && shown.text.contains("2 methods: 16 samples"), "{}", shown.text);
    let by_depth = CALL.replace("samples: 2", "samples: 2, rows: \"depths\"");
    assert_eq!(rig.say(&format!("let d = {by_depth}; [d.len(), sum(d[\"samples\"])]")), "[8, 16]");
    assert_eq!(rig.say("d.filter(|row| row.method == \"full\")[\"depth\"]"), "[0.0, 1.0, 0.0, 1.0]");
    let said = rig.say("evaluate(\"passkey:depths=1\", #{ lengths: [200], samples: 1, rows: \"depths\" })");
    assert!(said.contains("rows by depth are of one task with two depths or more"), "{said}");
    let runs = rig.say("t.records.len()");
    assert_eq!(runs, "2", "what ran is known of a table");
}

#[test]
fn samples_stand_one_by_one() {
    let mut rig = rig();
    let call = CALL.replace("samples: 2", "samples: 2, rows: \"samples\"");
    rig.run(&format!("let t = {call};")).unwrap();
    assert_eq!(rig.say("t.len()"), "16");
    assert_eq!(
        rig.say("let r = t.filter(|row| row.method == \"full\")[0]; [r.share, r.output.contains(r.answers)]"),
        "[1.0, true]"
    );
    // settings of one task are told apart, by what the rows of scores call them
    let both = "[\"passkey_chunkllama:samples=1\", \"passkey_chunkllama:samples=1,mode=fixed\"]";
    for rows in ["samples", "scores"] {
        let call = format!("evaluate({both}, #{{ lengths: [400], rows: \"{rows}\" }})[\"task\"]");
        assert_eq!(rig.say(&call), "[\"passkey_chunkllama\", \"passkey_chunkllama:mode=fixed\"]", "{rows}");
    }
}

#[test]
fn what_is_wrong_with_one_of_several_is_told_and_the_others_run() {
    let mut rig = rig();
    let said =
        rig.say("let t = evaluate([\"passkey:depths=1\", \"ruler_vt\"], #{ lengths: [200], samples: 1 }); t.len()");
    assert!(said.contains("note: not run: ruler_vt") && said.ends_with('1'), "{said}");
    let said = rig.say(
        "let t = evaluate([\"passkey:depths=1\", \"needle:depths=1\"], #{ lengths: [300], samples: 1, limit: 60, too_long: \"cut\" }); t.len()",
    );
    assert!(said.contains("note: not run: needle") && said.contains("limit = 60") && said.ends_with('1'), "{said}");
    // a task without a file is named once, however many lengths there are
    let said = rig.say("evaluate(\"ruler\", #{ lengths: [400, 500], samples: 1, mode: \"fixed\" }).len()");
    assert_eq!(said.matches("ruler_qa_squad").count(), 1, "{said}");
    let said = rig.say("evaluate([\"ruler_vt\", \"ruler_fwe\"], #{ lengths: [20], samples: 1 })");
    assert!(said.contains("Error: a `ruler_vt` prompt cannot be 20 tokens long"), "{said}");
}

#[test]
fn what_is_finished_is_not_run_again() {
    let mut rig = rig();
    let n_run = |rig: &crate::common::Rig| {
        let heard = rig.heard.borrow();
        heard.progress.iter().flatten().filter(|told| told.label.contains(" under ")).count()
    };
    let first = rig.say(CALL);
    let n = n_run(&rig);
    assert!(n > 0);
    assert_eq!(rig.say(CALL), first);
    assert_eq!(n_run(&rig), n, "no sample of the same call runs");
    rig.run(&CALL.replace("samples: 2", "samples: 3")).unwrap();
    assert!(n_run(&rig) > n, "further samples do");
    // another method of the same name is another one
    rig.run("let a = 8; let mine = method(\"mine\", |d| if d < a { d } else { () });").unwrap();
    let call = "evaluate(\"passkey:depths=1\", #{ lengths: [200], samples: 1, method: mine })[0].samples";
    let before = n_run(&rig);
    assert_eq!(rig.say(call), "1");
    let once = n_run(&rig);
    assert!(once > before);
    rig.say(call);
    assert_eq!(n_run(&rig), once);
    rig.run("a = 16; mine = method(\"mine\", |d| if d < a { d } else { () });").unwrap();
    rig.say(call);
    assert!(n_run(&rig) > once);
}

#[test]
fn a_file_keeps_samples_for_other_sessions() {
    let mut rig = rig();
    let call = CALL.replace("samples: 2", "samples: 2, file: \"results/samples.jsonl\"");
    let first = rig.say(&call);
    let path = rig.folder.path().join("results/samples.jsonl");
    let kept = fs::read_to_string(&path).unwrap();
    assert_eq!(kept.lines().count(), 16);
    let records = longlens_app::results::Results::read(&rig.folder.path().join("results")).unwrap().records().unwrap();
    assert_eq!(records.len(), 16, "a folder of results as the command has them");
    // a line that a kill cut short is computed again, the others are not
    fs::write(&path, &kept[..kept.len() - 40]).unwrap();
    let mut again = crate::sweeps::next_on(&rig, Box::new(Scripted));
    let untimed = |text: &str| text.lines().next().unwrap_or_default().to_owned();
    assert_eq!(untimed(&again.say(&call)), untimed(&first));
    let mended = fs::read_to_string(&path).unwrap();
    assert_eq!(mended.lines().count(), 16, "the piece is gone, its sample stands in its place");
    fs::write(rig.folder.path().join("other.jsonl"), "{\"a\": 1}\n").unwrap();
    let said = again.say("evaluate(\"passkey\", #{ lengths: [200], file: \"other.jsonl\" })");
    assert!(said.contains("`other.jsonl`, line 1, is no finished sample"), "{said}");
}

#[test]
fn tasks_are_listed_and_their_samples_shown() {
    let mut rig = rig();
    assert_eq!(rig.say("tasks().filter(|task| task.family == \"ruler\").len()"), "14");
    assert_eq!(rig.say("tasks(\"ruler\").len()"), "14");
    assert_eq!(rig.say("tasks(\"ruler_vt\")[\"name\"].contains(\"samples\")"), "true");
    assert_eq!(
        rig.say("let s = task_sample(\"passkey:length=300\", 3); [s.prompt.contains(s.answers[0]), s.tokens <= 300, s.scorer]"),
        "[true, true, \"passkey_text\"]"
    );
}

#[test]
fn refusals_say_what_would_do() {
    let mut rig = rig();
    let cells = [
        "evaluate(\"paskey\")",
        "evaluate([])",
        "evaluate(5)",
        "evaluate(\"passkey\", #{ lengths: [] })",
        "evaluate(\"passkey\", #{ lengths: [9000000000] })",
        "evaluate(\"ruler_vt\", #{ mode: \"best\" })",
        "evaluate(\"passkey\", #{ too_long: \"drop\" })",
        "evaluate(\"passkey\", #{ rows: \"cells\" })",
        "evaluate(\"passkey\", #{ file: \"/etc/samples.jsonl\" })",
        "evaluate(\"longbench_qasper\")",
        "evaluate(\"longbench_qasper:file=missing.jsonl\")",
        "evaluate(\"longbench_qasper:file=../outside.jsonl\")",
        "task_sample(\"passkey:samples=1,depths=1\", 9)",
        "tasks(\"paskey\")",
    ];
    insta::assert_snapshot!(transcript(&mut rig, &cells));
}
