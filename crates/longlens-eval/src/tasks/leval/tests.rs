//! What both scripts ask of documents invented for it.

use serde_json::{Value, json};

use crate::tasks::held::{Held, answering, is_special, text};

fn held(rows: &[Value]) -> Held {
    Held::rows("f.jsonl", rows)
}

fn row(evaluation: &str) -> Value {
    json!({
        "input": "Ada {lives} here.", "instructions": ["Where? {x}", "Who?"], "outputs": ["B", "A river  ran"], "source": "s",
        "evaluation": evaluation,
    })
}

/// The prompt of the first question.
fn first(task: &str, more: &str) -> String {
    let task_is_open = ["financial_qa", "news_summ"].contains(&task);
    let evaluation = if !task_is_open {
        "exam"
    } else if task == "news_summ" {
        "rouge"
    } else {
        "f1"
    };
    text(&held(&[row(evaluation)]).make(&format!("leval_{task}:file=f.jsonl{more}"))[0]).to_owned()
}

#[test]
fn exams_are_asked_in_the_words_of_each_script() {
    let system = "[INST]<<SYS>>\nNow you are given a very long document. Please follow the instruction based on this document. For \
                  multi-choice questions, there is only a sinlge correct option. Please only provide the letter corresponding to the answer \
                  (like A or B) when answering. For other questions, please directly give the concise and accurate answer. \n<</SYS>>\n\n";
    let asked = "Document is as follows. Ada {lives} here. \nQuestion: Where? {x}.";
    for task in ["tpo", "quality"] {
        let expected = format!(
            "{system}{asked}  Please directly give the answer without any additional output or explanation [/INST]\nAnswer:"
        );
        assert_eq!(first(task, ""), expected);
        let expected = format!(
            "{system}{asked} Please directly give answer without any additional output or explanation [/INST]\nAnswer:"
        );
        assert_eq!(first(task, ",script=chunkllama"), expected);
    }
    let coursera = first("coursera", "");
    assert!(coursera.contains(
        "there could be a sinlge correct option or multiple correct options. Please only provide the letter"
    ));
    assert!(coursera.contains("(like A or AB) when answering. \n<</SYS>>"), "{coursera}");
}

#[test]
fn open_questions_tell_how_long_the_answer_is() {
    let system = "[INST]<<SYS>>\nNow you are given a very long document. Please follow the instruction after this document. These instructions \
                  may include summarizing a document, answering questions based on the document, or writing a required paragraph. \
                  \n<</SYS>>\n\n";
    let samples = held(&[row("f1")]).make("leval_financial_qa:file=f.jsonl");
    let expected = format!(
        "{system}Document is as follows. Ada {{lives}} here. Instruction: Who? \nAnswer this question with 3 words.[/INST]"
    );
    assert_eq!(text(&samples[1]), expected);
    let said: Vec<String> = [("financial_qa", "f1"), ("news_summ", "rouge")]
        .map(|(task, evaluation)| {
            let samples = held(&[row(evaluation)]).make(&format!("leval_{task}:file=f.jsonl"));
            format!("{} {}", answering(&samples[0]).scorer, answering(&samples[0]).max_tokens)
        })
        .into();
    assert_eq!(said, ["scrolls_f1 512", "scrolls_rouge 512"]);
}

#[test]
fn examples_and_code_stand_inside_the_format() {
    let of = |document: &str, task: &str, more: &str| {
        let row = json!({ "input": document, "instructions": ["Q {inst}"], "outputs": ["1"], "evaluation": "exam" });
        text(&held(&[row]).make(&format!("leval_{task}:file=f.jsonl{more}"))[0])
            .rsplit_once("<</SYS>>\n\n")
            .unwrap()
            .1
            .to_owned()
    };
    for task in ["gsm100", "codeU"] {
        assert_eq!(
            of("x = {{1}}", task, ""),
            "x = {1}\n\nQ Q {inst}",
            "{task}: braces are halved, and names filled in"
        );
        assert_eq!(of("x = {1: 2}", task, ""), "x = {1: 2}\n\nQ {inst}", "{task}: what raises stays as it is");
        assert_eq!(of("x = {{1}}", task, ",mode=fixed"), "x = {{1}}\n\nQ {inst}[/INST]");
    }
    assert_eq!(of("x = {1: 2}", "topic_retrieval_longchat", ""), "x = {1: 2}\n\nQ {inst}[/INST]");
    assert!(first("gsm100", "").starts_with("[INST]<<SYS>>\nGiven several question answer pairs, you need to follow"));
    assert!(first("gsm100", "").contains("Make sure the response is end with The answer is _ . \n<</SYS>>"));
    assert!(
        first("codeU", "")
            .contains("Please carefully read these codes and comments and answer the question.\n<</SYS>>")
    );
    let topic = first("topic_retrieval_longchat", "");
    assert!(
        topic.contains("the USER will say 'I would like to discuss the topic of <TOPIC>'. Memorize each <TOPIC>."),
        "{topic}"
    );
}

#[test]
fn a_story_is_asked_about_twice() {
    let row = json!({
        "input": "Story.", "instructions": ["1.\tSo, True or False? Answer this question based on the world described in the document."],
        "outputs": ["True [fact: False]"], "evaluation": "exam",
    });
    let asked = "1.\tSo, True or False? Answer this question based on the real-world knowledge and facts up until your last training";
    let second = |more: &str| {
        let sample = held(std::slice::from_ref(&row)).make(&format!("leval_sci_fi:file=f.jsonl{more}")).remove(0);
        assert_eq!(answering(&sample).scorer, "leval_judge");
        let second = answering(&sample).second.clone().unwrap();
        (second.text().unwrap().to_owned(), is_special(&second))
    };
    let only = "Please directly answer without any additional output or explanation. \nAnswer:";
    assert_eq!(second(""), (format!("{asked}{only}"), true));
    assert_eq!(second(",script=chunkllama"), (format!("{asked}\nAnswer:"), true));
    assert_eq!(second(",template=off"), (format!("Q: {asked}\nA:"), true));
    let (model, special) = second(",template=model");
    assert!(
        model.starts_with("user: 1.\tSo") && model.ends_with("explanation.\nassistant:Answer:") && !special,
        "{model}"
    );
    assert!(first("sci_fi", "").contains("instead of your background knowledge.\n<</SYS>>"));
}

#[test]
fn other_models_are_asked_in_their_own_form() {
    assert_eq!(first("tpo", ",template=off"), "Ada {lives} here.\nQ: Where? {x}\nA:");
    let chat = first("tpo", ",template=model");
    assert!(
        chat.starts_with("system: Now you are given") && chat.contains("accurate answer.\nuser: Document is as"),
        "{chat}"
    );
    assert!(chat.ends_with("\nassistant:Answer:"), "{chat}");
    assert!(first("news_summ", ",template=model").ends_with("with 1 words.\nassistant:"));
}

#[test]
fn documents_are_cut_word_by_word() {
    // 2000 words of 2 bytes are 4000 tokens with the first one
    let words = format!("{} {}", ["a"; 1000].join(" "), ["z"; 1000].join(" "));
    let cut = |task: &str, more: &str| {
        let row = json!({ "input": words, "instructions": ["Q"], "outputs": ["1"], "evaluation": "exam" });
        let sample = held(&[row]).make(&format!("leval_{task}:file=f.jsonl,max_length=2000{more}")).remove(0);
        let text = text(&sample).to_owned();
        (sample.n_truncated, text.contains("a a a"), text.contains("z z z"))
    };
    // of 1488 tokens at most: 1488, 1238, 988 and 738 words
    assert_eq!(cut("tpo", ""), (2000 - 738, true, false));
    assert_eq!(cut("codeU", ""), (2000 - 738, false, true));
    // 1288 tokens at most: 1488, 1388, and so on to 588 words
    assert_eq!(cut("tpo", ",script=chunkllama"), (2000 - 588, true, false));
}

#[test]
fn questions_are_told_apart_and_scored_by_their_kin() {
    let samples = held(&[row("exam"), row("exam")]).make("leval_topic_retrieval_longchat:file=f.jsonl");
    let told: Vec<_> = samples.iter().map(|sample| (&*sample.id, sample.part.as_deref().unwrap())).collect();
    assert_eq!(told, [("0.0", "first"), ("0.1", "second"), ("1.0", "third"), ("1.1", "first")]);
    let scorer = |task: &str| answering(&held(&[row("exam")]).make(&format!("leval_{task}:file=f.jsonl"))[0]).clone();
    assert_eq!(scorer("gsm100").scorer, "leval_math");
    assert_eq!(scorer("codeU").scorer, "leval_code_output");
    assert_eq!(scorer("topic_retrieval_longchat").scorer, "leval_exam_em");
    let choice =
        answering(&held(&[row("exam")]).make("leval_coursera:file=f.jsonl,script=chunkllama,samples=1")[0]).clone();
    assert_eq!(
        (choice.scorer, &choice.fields["task"], &choice.fields["source"]),
        ("leval_multiple_choice", &json!("coursera"), &json!("HKUNLP/ChunkLlama"))
    );
}

#[test]
fn rows_for_judges_are_left_out_and_said() {
    let (samples, notes) =
        held(&[row("LLM"), row("f1"), row("human")]).try_make("leval_multidoc_qa:file=f.jsonl").unwrap();
    assert_eq!(samples.len(), 2);
    insta::assert_snapshot!(notes.join("\n"), @"4 questions are left out whose answers a person or a model has to judge");
    insta::assert_snapshot!(held(&[row("LLM")]).refused("leval_multidoc_qa:file=f.jsonl"), @"there are no questions that are scored without a judge | give at least one of the questions that are scored without a judge");
    insta::assert_snapshot!(held(&[row("exam")]).refused("leval_multidoc_qa:file=f.jsonl"), @"line 1 of f.jsonl: `evaluation` is `exam`, and this task's answers are scored by `f1` | is this the task's file?");
    let uneven = json!({ "input": "x", "instructions": ["a"], "outputs": [], "evaluation": "f1" });
    insta::assert_snapshot!(held(&[uneven]).refused("leval_multidoc_qa:file=f.jsonl"), @"line 1 of f.jsonl: 1 `instructions` have 0 `outputs` | give every instruction its answer");
    let empty = json!({ "input": "x", "instructions": ["a"], "outputs": [" "], "evaluation": "f1" });
    insta::assert_snapshot!(held(&[empty]).refused("leval_multidoc_qa:file=f.jsonl"), @"line 1 of f.jsonl: answer 1 of `outputs` is empty | leave its question out");
}
