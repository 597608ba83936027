//! Prompts, cuts and scores of LongBench on rows invented for it.

use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::*;
use crate::scorers::Scorer;
use crate::scorers::longbench::corpus;
use crate::tasks::held::{Held, answering, is_special, text};

/// A row that any task can be made of.
fn row(context: &str, answers: &[&str]) -> Value {
    json!({
        "input": "Where is {it}?", "context": context, "answers": answers, "length": 4000, "all_classes": ["Mill", "Old Mill", "Quay"],
    })
}

#[test]
fn prompts_are_those_of_the_script() {
    let prompts = include_bytes!("prompts.json");
    let digest = format!("{:x}", Sha256::digest(prompts));
    assert_eq!(
        digest, "56d22ad4f382169c2b8a11ff4c982a4a1bea096c8152b0f0b85b64686b157c30",
        "dataset2prompt.json at commit 2e00731f"
    );
    assert_eq!(PROMPTS.len(), 21);
    assert!(corpus::tasks().all(|name| TASKS.iter().any(|task| task.info.name == format!("longbench_{name}"))));
    let held = Held::rows("f/narrativeqa.jsonl", &[row("Ada {context} lived.", &["a mill"])]);
    let sample = &held.make("longbench_narrativeqa:file=f")[0];
    assert_eq!(
        text(sample),
        "You are given a story, which can be either a novel or a movie script, and a question. Answer the question asconcisely as you can, \
         using a single phrase if possible. Do not provide any explanation.\n\nStory: Ada {context} lived.\n\nNow, answer the question \
         based on the story asconcisely as you can, using a single phrase if possible. Do not provide any \
         explanation.\n\nQuestion: Where is {it}?\n\nAnswer:"
    );
    assert!(is_special(&sample.prompt) && sample.part.is_none() && sample.n_truncated == 0);
    assert_eq!((&*sample.id, &*sample.answers), ("0", &["a mill".to_owned()][..]));
}

#[test]
fn every_task_has_its_protocol() {
    let said: Vec<String> = corpus::tasks()
        .map(|name| {
            let held = Held::rows(&format!("f/{name}.jsonl"), &[row("context", &["Paragraph 3 段落3"])]);
            let sample = held.make(&format!("longbench_{name}:file=f,template=llama2")).remove(0);
            let Answering { max_tokens, min_tokens, stop, eos, scorer, prediction, .. } = answering(&sample);
            let is_wrapped = text(&sample).starts_with("[INST]") && text(&sample).ends_with("[/INST]");
            format!("{name} {max_tokens} {min_tokens} {stop:?} {eos} {scorer} {prediction:?} {is_wrapped}")
        })
        .collect();
    insta::assert_snapshot!(said.join("\n"), @r#"
    narrativeqa 128 0 [] true longbench_qa_f1 Whole true
    qasper 128 0 [] true longbench_qa_f1 Whole true
    multifieldqa_en 64 0 [] true longbench_qa_f1 Whole true
    multifieldqa_zh 64 0 [] true longbench_qa_f1_zh Whole true
    hotpotqa 32 0 [] true longbench_qa_f1 Whole true
    2wikimqa 32 0 [] true longbench_qa_f1 Whole true
    musique 32 0 [] true longbench_qa_f1 Whole true
    dureader 128 0 [] true longbench_rouge_zh Whole true
    gov_report 512 0 [] true longbench_rouge Whole true
    qmsum 512 0 [] true longbench_rouge Whole true
    multi_news 512 0 [] true longbench_rouge Whole true
    vcsum 512 0 [] true longbench_rouge_zh Whole true
    trec 64 0 [] true longbench_classification Whole false
    triviaqa 32 0 [] true longbench_qa_f1 FirstLine false
    samsum 128 1 ["\n"] true longbench_rouge FirstLine false
    lsht 64 0 [] true longbench_classification Whole false
    passage_retrieval_en 32 0 [] true longbench_retrieval Whole true
    passage_count 32 0 [] true longbench_count Whole true
    passage_retrieval_zh 32 0 [] true longbench_retrieval_zh Whole true
    lcc 64 0 [] true longbench_code_sim Whole false
    repobench-p 64 0 [] true longbench_code_sim Whole false
    "#);
}

#[test]
fn the_middle_is_cut_before_the_prompt_is_wrapped() {
    let held = Held::rows("f.jsonl", &[row(&"0123456789".repeat(100), &["x"])]);
    let cut = |more: &str| held.make(&format!("longbench_qmsum:file=f.jsonl,{more}")).remove(0);
    let whole = cut("max_length=2048");
    let n_whole = text(&whole).len() + 1;
    assert_eq!((whole.n_truncated, n_whole), (0, 1260));
    let short = cut("max_length=601,template=llama2");
    assert_eq!(short.n_truncated, n_whole - 600);
    // the first token is special and leaves no text
    let (first, last) = (&text(&whole)[..299], &text(&whole)[text(&whole).len() - 300..]);
    assert_eq!(text(&short), format!("[INST]{first}{last}[/INST]"));
    let chat = cut("max_length=601,template=model");
    assert_eq!(text(&chat), format!("user: {first}{last}\nassistant:"));
    assert!(!is_special(&chat.prompt));
    let fixed = cut("max_length=1113,template=llama2,mode=fixed");
    assert_eq!(
        fixed.prompt.tokens(Ok(&longlens_core::scripted::ByteCodec)).unwrap().len(),
        1113 - 512,
        "the answer has room"
    );
    assert!(text(&fixed).starts_with("[INST]You") && text(&fixed).ends_with("Answer:[/INST]"));
    insta::assert_snapshot!(held.refused("longbench_qmsum:file=f.jsonl,max_length=512,mode=fixed"), @"max_length = 512 is not enough for a prompt and its answer |");
}

#[test]
fn scores_of_samples_have_the_mean_of_the_script() {
    let answers: [&[&str]; 2] = [&["the Mill", "Old Mill"], &["Quay"]];
    let predictions = ["\n\nOld Mill\nType: Quay", "Mill or Quay\nQuay"];
    for name in corpus::tasks() {
        let answers = if name.starts_with("passage_retrieval") { [&["Paragraph 2 段落2"][..]; 2] } else { answers };
        let rows: Vec<Value> = answers.iter().map(|answers| row("context", answers)).collect();
        let samples = Held::rows("f.jsonl", &rows).make(&format!("longbench_{name}:file=f.jsonl"));
        let mut sum = 0.0;
        for (sample, prediction) in samples.iter().zip(predictions) {
            let answering = answering(sample);
            let mut fields = answering.fields.clone();
            fields.insert("prediction".into(), json!(answering.prediction.of(prediction)));
            fields.insert("references".into(), json!(sample.answers));
            let score = Scorer::named(answering.scorer).unwrap().score(&fields, Mode::Faithful).unwrap();
            sum += score.as_f64().unwrap_or_else(|| panic!("{name}: {score}"));
        }
        let mut fields: Map<String, Value> = Map::new();
        fields.insert("task".into(), json!(name));
        fields.insert("prediction".into(), json!(predictions));
        fields.insert("references".into(), json!(answers));
        fields.insert("all_classes".into(), rows[0]["all_classes"].clone());
        let reported = Scorer::named("longbench_corpus").unwrap().score(&fields, Mode::Faithful).unwrap();
        let reported = reported.as_f64().unwrap_or_else(|| panic!("{name}: {reported}"));
        assert!((50.0 * sum - reported).abs() < 0.005_1, "{name}: {} and {reported}", 50.0 * sum);
    }
}

#[test]
fn longbench_e_has_parts_by_length() {
    let rows: Vec<Value> = [3999, 4000, 7999, 8000]
        .map(|length| json!({ "length": length, "context": "c", "answers": ["a"], "dataset": "gov_report" }))
        .into();
    let samples = Held::rows("data/gov_report_e.jsonl", &rows).make("longbench_e_gov_report:file=data");
    let parts: Vec<_> = samples.iter().map(|sample| sample.part.as_deref().unwrap()).collect();
    assert_eq!(parts, ["0-4k", "4-8k", "4-8k", "8k+"]);
    assert_eq!(TASKS_E.len(), 13);
}

#[test]
fn rows_that_are_no_questions_are_refused() {
    let refused = |task: &str, row: Value| Held::rows("f.jsonl", &[row]).refused(&format!("{task}:file=f.jsonl"));
    let mut other = row("c", &["a"]);
    other["dataset"] = json!("hotpotqa");
    insta::assert_snapshot!(refused("longbench_musique", other), @"line 1 of f.jsonl: the row is of `hotpotqa`, not of `musique` | name the file of `musique`");
    insta::assert_snapshot!(refused("longbench_musique", row("c", &[])), @"line 1 of f.jsonl: `answers` holds no answer | a question without a right answer cannot be scored: leave its row out");
    insta::assert_snapshot!(refused("longbench_musique", json!({ "context": "c", "answers": ["a"] })), @"line 1 of f.jsonl: `input` is missing | the row has the fields context, answers: is this the task's file?");
    insta::assert_snapshot!(refused("longbench_trec", json!({ "context": "c", "input": "i", "answers": ["a"], "all_classes": null })), @"line 1 of f.jsonl: `all_classes` is missing | the row has the fields context, input, answers, all_classes: is this the task's file?");
    insta::assert_snapshot!(refused("longbench_e_lcc", json!({ "context": "c", "answers": ["a"] })), @"line 1 of f.jsonl: `length` is missing | the row has the fields context, answers: is this the task's file?");
    insta::assert_snapshot!(Held::rows("f.jsonl", &[]).refused("longbench_lcc"), @"`longbench_lcc` is made from a file, and `file` names none | give the data set's lcc.jsonl, or the folder that it lies in, as `file=FOLDER`");
}
