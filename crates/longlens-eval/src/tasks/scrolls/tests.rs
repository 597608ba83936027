//! Few-shot and zero-shot prompts on rows invented for it.

use serde_json::{Value, json};

use crate::sample::Prediction;
use crate::tasks::Mean;
use crate::tasks::Task;
use crate::tasks::held::{Held, answering, is_special, text};

fn held(rows: &[Value]) -> Held {
    Held::rows("f.jsonl", rows)
}

fn row(id: &str, document: &str, query: &str, output: &str) -> Value {
    json!({
        "id": id, "pid": format!("{id}_0"), "input": document, "query": query, "output": output,
        "query_examples": ["Who?", "Why?"], "output_examples": ["Ada", "rain"],
    })
}

#[test]
fn examples_stand_between_document_and_question() {
    let sample =
        held(&[row("q", "A long story.", "Where?", "a mill")]).make("fewshot_narrative_qa:file=f.jsonl").remove(0);
    assert_eq!(
        text(&sample),
        "A long story.\n\nQuestion: Who? \nAnswer:Ada\n\nQuestion: Why? \nAnswer:rain\n\nQuestion: Where? \nAnswer:"
    );
    assert!(is_special(&sample.prompt));
    let said: Vec<String> = ["narrative_qa", "qasper", "quality", "qmsum", "contract_nli"]
        .map(|name| {
            let sample = held(&[row("q", "d", "q", "a")]).make(&format!("fewshot_{name}:file=f.jsonl")).remove(0);
            let answering = answering(&sample);
            assert_eq!(
                (answering.prediction, answering.stop.len(), answering.eos),
                (Prediction::FirstQuestion, 0, true)
            );
            let mean = Task::named(&format!("fewshot_{name}")).unwrap().mean;
            format!("{name} {} {} {}", answering.max_tokens, answering.scorer, mean == Mean::RougeGeometric)
        })
        .into();
    insta::assert_snapshot!(said.join("\n"), @"
    narrative_qa 64 scrolls_f1 false
    qasper 64 scrolls_f1 false
    quality 64 scrolls_exact_match false
    qmsum 128 scrolls_rouge true
    contract_nli 64 scrolls_exact_match false
    ");
}

#[test]
fn a_long_document_keeps_its_last_words() {
    let document = (0..900).map(|at| format!("{at:03}")).collect::<Vec<_>>().join(" ");
    let sample =
        held(&[row("q", &document, "Where?", "a")]).make("fewshot_qasper:file=f.jsonl,max_length=1064").remove(0);
    // 800 tokens with the first one: of 1000 words all stay, then 900, 800, and so on to 200, which are 799 bytes
    assert_eq!(sample.n_truncated, 700);
    assert!(text(&sample).starts_with("700 701 ") && text(&sample).contains(" 899\n\nQuestion: Who?"));
}

#[test]
fn rows_of_one_question_are_its_answers() {
    let rows = [row("q", "D", "Where?", "a mill"), row("r", "E", "Who?", "Ada"), row("q", "D", "Where?", "the mill")];
    let samples = held(&rows).make("fewshot_qasper:file=f.jsonl");
    let told: Vec<_> = samples.iter().map(|sample| (&*sample.id, sample.answers.join("|"))).collect();
    assert_eq!(told, [("q", "a mill|the mill".to_owned()), ("r", "Ada".to_owned())]);
    let mut later = row("q", "D", "Where?", "b");
    later["query_examples"] = json!(["Other?", "Why?"]);
    let samples = held(&[row("q", "D", "Where?", "a"), later]).make("fewshot_qasper:file=f.jsonl");
    assert!(samples.len() == 1 && text(&samples[0]).contains("Other?"), "the later answer replaces the one before");
}

#[test]
fn the_benchmark_s_own_rows_are_asked_behind_the_document() {
    let ask = |name: &str, input: &str| {
        let row = json!({ "id": "q", "pid": "q_0", "input": input, "output": "a" });
        text(&held(&[row]).make(&format!("scrolls_{name}:file=f.jsonl"))[0]).to_owned()
    };
    assert_eq!(ask("qasper", "Where?\n\nA paper.\n\nMore."), "A paper.\n\nMore.\n\nQuestion: Where?\nAnswer:");
    assert_eq!(ask("qmsum", "Sum up.\n\nA: hi"), "A: hi\n\nQuestion: Sum up.\nAnswer:");
    assert_eq!(
        ask("gov_report", "A report.\n\nMore."),
        "A report.\n\nMore.\n\nQuestion: What is a summary of the preceding text?\nAnswer:"
    );
    assert_eq!(ask("contract_nli", "It ends.\n\nWe agree."), "We agree.\n\nHypothesis: It ends.\nConclusion:");
    let options = "(A) one\n (B) two\n (C) three\n (D) four";
    assert_eq!(
        ask("quality", &format!("Which?\n\n {options}\n\n\nA story.\n\n(D) is no option.")),
        format!("A story.\n\n(D) is no option.\n\nQuestion: Which?\n {options}\nAnswer:")
    );
    let long = format!("Where?\n\n{}", "x".repeat(2000));
    let row = json!({ "id": "q", "pid": "q_0", "input": long, "output": "a" });
    let sample = held(&[row]).make("scrolls_qasper:file=f.jsonl,max_length=1000").remove(0);
    assert_eq!(sample.prompt.tokens(Ok(&longlens_core::scripted::ByteCodec)).unwrap().len(), 1000 - 256);
    assert_eq!(sample.n_truncated + text(&sample).len(), 2000 + "\n\nQuestion: Where?\nAnswer:".len());
}

#[test]
fn rows_that_cannot_be_asked_are_refused() {
    let refused = |task: &str, row: Value| held(&[row]).refused(&format!("{task}:file=f.jsonl"));
    let mut uneven = row("q", "d", "q", "a");
    uneven["output_examples"] = json!(["Ada"]);
    insta::assert_snapshot!(refused("fewshot_qasper", uneven), @"line 1 of f.jsonl: 2 `query_examples` have 1 `output_examples` | give every example its answer");
    insta::assert_snapshot!(refused("fewshot_qasper", row("q", "d", "q", "")), @"line 1 of f.jsonl: `output` holds no answer | a question without a right answer cannot be scored: leave its row out");
    insta::assert_snapshot!(refused("fewshot_qasper", json!({ "id": "q", "input": "x", "output": "a" })), @"line 1 of f.jsonl: `query_examples` is missing | the row has the fields id, input, output: is this the task's file?");
    insta::assert_snapshot!(refused("scrolls_qasper", row("q", "no question", "q", "a")), @"line 1 of f.jsonl: `input` has no blank line behind a question | `input` is a question, a blank line, and the document");
    insta::assert_snapshot!(refused("scrolls_quality", row("q", "Which?\n\nnone", "q", "a")), @"line 1 of f.jsonl: `input` has no answers (A) to (D) | `input` is a question, a blank line, and the document");
    insta::assert_snapshot!(held(&[]).refused("scrolls_quality"), @"`scrolls_quality` is made from a file, and `file` names none | give rows with `id`, `input` and `output`, as `scrolls_quality:file=quality/validation.jsonl`");
}
