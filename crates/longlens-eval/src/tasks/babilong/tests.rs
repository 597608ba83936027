//! Prompts of published rows, and of facts that are hidden here.

use longlens_core::scripted::ByteCodec;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::*;
use crate::scorers::Scorer;
use crate::tasks::held::{Held, answering, is_special, text};

fn row(target: &str) -> Value {
    json!({ "input": " A fact. \n", "question": "Where is {x}? ", "target": target })
}

const STORIES: &str = "1 Mary moved to the bathroom.\n2 John went to the hallway.\n3 Where is Mary? \tbathroom\t1\n4 Daniel went back to the \
                       hallway.\n5 Where is Daniel? \thallway\t4\n";
const PROSE: &str =
    "The ferry left the quay at noon. Oh no! It was a wet day in the town. The mill stood still for many years.";

#[test]
fn prompts_are_those_of_the_repository() {
    // of the original function, all tasks behind each other
    let mut digest = Sha256::new();
    for n in 1..=20 {
        let name = format!("qa{n}");
        let rows = [row(&WORDS[&name].labels[0])];
        let sample = Held::rows("d/0k/f.json", &rows).make(&format!("babilong_{name}:file=d/0k/f.json")).remove(0);
        assert!(is_special(&sample.prompt));
        digest.update(text(&sample));
    }
    assert_eq!(format!("{:x}", digest.finalize()), "d71caf69742f34bc0befb80e7c0ecf56c936b6568ec8909bf4018b9407f38a61");
}

#[test]
fn parts_of_a_prompt_can_be_left_out() {
    let held = Held::rows("f.jsonl", &[row("kitchen")]);
    let of = |more: &str| text(&held.make(&format!("babilong_qa11:file=f.jsonl,{more}"))[0]).to_owned();
    let context = "<context>\nA fact.\n</context>\n\nQuestion: Where is {x}?";
    assert_eq!(of("instruction=no,examples=no,post_prompt=no"), context);
    assert_eq!(
        of("instruction=no,examples=no"),
        format!(
            "Your answer should contain only one word - location. Do not write anything else after that. Do not explain your answer.\n\n\
             {context}"
        )
    );
    let (faithful, fixed) = (of("post_prompt=no"), of("post_prompt=no,mode=fixed"));
    assert!(faithful.contains("</example>\n<context>\n\n\n\n\n<context>\nA fact."), "{faithful}");
    assert!(fixed.contains("</example>\n\n\n\n\n<context>\nA fact."), "{fixed}");
    assert!(of("template=llama2").starts_with("[INST] I will give you context"));
}

#[test]
fn answers_are_scored_by_the_task_s_labels() {
    let held = Held::rows("data/qa8/4k.json", &[row("apple,milk"), row("nothing")]);
    let samples = held.make("babilong_qa8:file=data,config=4k");
    assert_eq!((samples.len(), samples[0].length, &*samples[1].id), (2, Some(4000), "1"));
    let rule = answering(&samples[0]);
    assert_eq!((rule.max_tokens, rule.scorer, rule.eos), (20, "babilong_compare_answers", true));
    let mut fields = rule.fields.clone();
    fields.insert("prediction".into(), json!("Milk and apple."));
    fields.insert("references".into(), json!(samples[0].answers));
    let score = Scorer::named(rule.scorer).unwrap().score(&fields, Mode::Faithful).unwrap();
    assert_eq!(score, json!(true));
    assert_eq!([tokens("0k"), tokens("128k"), tokens("1M"), tokens("")], [None, Some(128_000), Some(1_000_000), None]);
}

#[test]
fn rows_of_other_tasks_are_refused() {
    let refused = |row: Value| Held::rows("f.jsonl", &[row]).refused("babilong_qa1:file=f.jsonl");
    insta::assert_snapshot!(refused(row("football")), @"line 1 of f.jsonl: `target` `football` is none of the task's answers: bathroom, bedroom, garden, hallway, kitchen, office | is it a file of another task?");
    insta::assert_snapshot!(refused(json!({ "input": "x", "target": "kitchen" })), @"line 1 of f.jsonl: `question` is missing | the row has the fields input, target: is this the task's file?");
    let held = Held::rows("data/qa8/4k.json", &[row("milk")]);
    insta::assert_snapshot!(held.refused("babilong_qa8:file=data"), @"data: a folder holds rows of several lengths | say which with `config`, as `config=4k`");
    insta::assert_snapshot!(held.refused("babilong_qa8:file=data,config=8k"), @"data: the folder holds no `qa8/8k.jsonl` nor `8k/qa8.jsonl` nor `qa8_8k.jsonl` (nor .json, .parquet, .csv) | name the file itself; give JSON lines (an object a line), a list of JSON objects, a Parquet table, or a .csv with names in its first line");
    insta::assert_snapshot!(held.refused("babilong_made:task=qa2"), @"`babilong_made` is made from a file, and `facts` names none | give bAbI's file of qa2, as `babilong_made:task=qa2,facts=qa2.txt`; only qa1 has facts of our own");
}

#[test]
fn facts_stay_in_order_between_sentences() {
    let held = Held::new(&[("stories.txt", STORIES), ("prose.txt", PROSE)]);
    let bare = "instruction=no,examples=no,post_prompt=no";
    let of = |more: &str| held.make(&format!("babilong_made:facts=stories.txt,haystack=prose.txt,{bare},{more}"));
    let samples = of("length=600");
    assert_eq!(samples.len(), 2, "as many as the file has");
    for sample in &samples {
        let context = text(sample).strip_prefix("<context>\n").unwrap().split_once("\n</context>").unwrap().0;
        // tokens of facts and text, with the blank before each, are 600 - 300; a sentence may be cut at a blank
        assert!((298..=300).contains(&(context.len() + 1)), "{context}");
        let places: Vec<_> = ["Mary moved", "John went"].map(|fact| context.find(fact).unwrap()).into();
        assert!(places[0] < places[1], "{context}");
        assert!(!context.contains("Oh no"), "short sentences are left out");
        let told = &text(sample)[sample.evidence[0].clone()];
        assert!(told.contains(&sample.answers[0]) && told.ends_with('.'), "{told}");
        let depth = sample.depth.unwrap();
        assert!((0.0..=1.0).contains(&depth));
    }
    assert_eq!(of("length=600,samples=1")[0], samples[0], "fewer samples are the first of more");
    assert_ne!(of("length=600,seed=1"), samples);
    let short = of("length=100");
    assert!(
        text(&short[0]).starts_with("<context>\nMary moved to the bathroom. John went to the hallway."),
        "no text fits"
    );
}

#[test]
fn the_fixed_length_is_that_of_all_tokens() {
    let held = Held::new(&[("prose.txt", PROSE)]);
    let samples = held.make("babilong_made:length=1500,mode=fixed,samples=5,haystack=prose.txt,template=llama2");
    for sample in &samples {
        let n_tokens = sample.prompt.tokens(Ok(&ByteCodec)).unwrap().len() + 20;
        assert!((1495..=1500).contains(&n_tokens), "{n_tokens}");
    }
    insta::assert_snapshot!(held.refused("babilong_made:length=800,mode=fixed,samples=1"), @"a `BABILong` prompt cannot be 800 tokens long: without filler it already has 1177 | ask for at least 1177 tokens");
    let (_, notes) = held.try_make("babilong_made:length=1500,samples=1").unwrap();
    insta::assert_snapshot!(notes.join("\n"), @"the facts are our own, of the kind of bAbI's qa1: no published score is of them");
}

#[test]
fn stories_and_texts_that_do_not_fit_are_refused() {
    let held =
        Held::new(&[("stories.txt", STORIES), ("short.txt", "Oh! No. Yes? So."), ("none.txt", "1 Mary left.\n")]);
    insta::assert_snapshot!(held.refused("babilong_made:facts=stories.txt,task=qa8"), @"stories.txt: the answer `bathroom` is none of the task's answers: apple, football, milk, nothing | say with `task` which of bAbI's tasks the file is of");
    insta::assert_snapshot!(held.refused("babilong_made:facts=none.txt"), @"none.txt: it has no questions | give a file of bAbI's, such as qa1_single-supporting-fact_test.txt");
    insta::assert_snapshot!(held.refused("babilong_made:facts=stories.txt,length=310"), @"stories.txt: no story fits into 310 tokens | ask for a longer `length`");
    insta::assert_snapshot!(held.refused("babilong_made:facts=stories.txt,haystack=short.txt,length=900"), @"short.txt: it has no sentence of 10 tokens | give prose as `haystack`");
}
