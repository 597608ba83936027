//! Scores of cases that the original gets wrong, and the right ones.

use serde_json::{Value, json};

use super::{Mode, score};

/// A prediction, its references, and the scores of both modes.
type Case = (Value, Value, Value, Value);

fn case(prediction: Value, reference: Value, faithful: Value, fixed: Value) -> Case {
    (prediction, Value::from(vec![reference]), faithful, fixed)
}

fn all(scorer: &str, extras: &Value, cases: &[Case]) {
    for (prediction, references, faithful, fixed) in cases {
        let mut row = extras.as_object().unwrap().clone();
        row.insert("id".into(), json!("case"));
        row.insert("scorer".into(), json!(scorer));
        row.insert("prediction".into(), prediction.clone());
        row.insert("references".into(), references.clone());
        assert_eq!(score(&row, Mode::Faithful), *faithful, "{scorer} {prediction} faithful");
        assert_eq!(score(&row, Mode::Fixed), *fixed, "{scorer} {prediction} fixed");
    }
}

#[test]
fn overlaps_and_numbers() {
    all("scrolls_f1", &json!({}), &[case(json!(""), json!(""), json!(0.0), json!(100.0))]);
    all("longbench_qa_f1", &json!({}), &[case(json!("the"), json!("a"), json!(0.0), json!(1.0))]);
    all("longbench_count", &json!({}), &[case(json!("07"), json!("7"), json!(0.0), json!(1.0))]);
    let lower = json!("paragraph 3");
    all("longbench_retrieval", &json!({}), &[case(json!("3"), lower, json!({ "error": "IndexError" }), json!(1.0))]);
}

#[test]
fn answers_of_exams() {
    all(
        "leval_exam_em",
        &json!({}),
        &[
            case(json!(""), json!("C"), json!(25.0), json!(0.0)),
            case(json!("nan"), json!("nan"), json!(0.0), json!(100.0)),
            case(json!("1,234"), json!("1234"), json!(0.0), json!(100.0)),
            case(json!("they sat"), json!("he"), json!(100.0), json!(0.0)),
        ],
    );
    all(
        "leval_multiple_choice",
        &json!({ "task": "leval_quality" }),
        &[
            case(json!("Answer: C"), json!("C"), json!(0.0), json!(100.0)),
            case(json!("None of these"), json!("A"), json!(100.0), json!(0.0)),
            case(json!("The answer is b"), json!("B"), json!(0.0), json!(100.0)),
        ],
    );
    all(
        "leval_multiple_choice",
        &json!({ "task": "leval_tpo", "source": "HKUNLP/ChunkLlama" }),
        &[case(json!(""), json!("C"), json!(25.0), json!(0.0))],
    );
    all(
        "leval_math",
        &json!({}),
        &[
            case(json!("The answer is 3/4"), json!("0.75"), json!(0.0), json!(100.0)),
            case(json!("The answer is -7"), json!("7"), json!(100.0), json!(0.0)),
        ],
    );
    all(
        "leval_code_output",
        &json!({}),
        &[
            case(json!("Th 12"), json!("This 12"), json!(0.0), json!(0.0)),
            case(json!("it prints 105"), json!("10.05"), json!(100.0), json!(0.0)),
        ],
    );
    let split = json!("True [fact: True]");
    all(
        "leval_judge",
        &json!({}),
        &[
            case(
                json!("Untrue [fact: true]"),
                split.clone(),
                json!({ "loyalty": 100.0, "fact": 100.0 }),
                json!({ "loyalty": 0.0, "fact": 100.0 }),
            ),
            case(json!("True"), split, json!({ "error": "extraction" }), json!({ "loyalty": 100.0, "fact": 0.0 })),
        ],
    );
}

#[test]
fn what_stands_in_an_answer() {
    all(
        "ruler_string_match_all",
        &json!({}),
        &[
            case(json!("12345678"), json!("2345"), json!(100.0), json!(0.0)),
            case(json!("blue"), json!(""), json!(100.0), json!(0.0)),
        ],
    );
    let any = (json!("in Bergen harbour"), json!(["Bergen", "Oslo"]), json!(0.5), json!(1.0));
    all("lmeval_ruler_string_match_part", &json!({}), &[any]);
    let labels = json!({ "question": "How many objects is Daniel carrying?", "labels": ["none", "one", "two"] });
    all("babilong_compare_answers", &labels, &[case(json!("none"), json!("none"), json!(false), json!(true))]);
    let labels = json!({ "question": "Is John there?", "labels": ["no", "yes"] });
    all(
        "babilong_compare_answers",
        &labels,
        &[
            case(json!("Yes, I know"), json!("yes"), json!(false), json!(true)),
            case(json!("not"), json!("no"), json!(true), json!(false)),
        ],
    );
    all(
        "lmeval_babilong",
        &json!({}),
        &[
            case(json!("not"), json!("no"), json!(1.0), json!(0.0)),
            case(json!("milk, apple"), json!("apple,milk"), json!(0.0), json!(1.0)),
        ],
    );
    all(
        "infinitebench_longbook_choice_eng",
        &json!({}),
        &[case(json!(""), json!("C"), json!({ "error": "IndexError" }), json!(false))],
    );
    all(
        "infinitebench_math_find",
        &json!({}),
        &[
            case(json!("12.5"), json!(12), json!({ "error": "ValueError" }), json!(false)),
            case(json!("it is -3"), json!(-3), json!(false), json!(true)),
        ],
    );
    let needle = "eat a sandwich and sit in Dolores Park on a sunny day.";
    all("niah_keyword_recall", &json!({}), &[case(json!(needle), json!(needle), json!(11.0 / 12.0), json!(1.0))]);
    let classes = json!({ "all_classes": ["aaa", "bb", "ccc", "aaa bb ccc"] });
    all(
        "longbench_classification",
        &classes,
        &[case(json!("aaa bb ccc"), json!("aaa bb ccc"), json!(0.5), json!(1.0))],
    );
    let ids = json!({ "bos": [], "prompt_ids": [9] });
    all(
        "passkey_token_exact",
        &ids,
        &[
            case(json!([5, 6, 7]), json!([5, 6, 7]), json!(false), json!(true)),
            case(json!([]), json!([8, 9]), json!(true), json!(false)),
        ],
    );
    let lines = (json!([[0, 5], [60_000, 90_000]]), json!([]), json!([true, false]), json!([false, true]));
    all("longheads_key_line_straddles_256", &json!({}), &[lines]);
    let texts = (json!(["a b"]), json!([["a b"], ["c"]]), json!(100.0), json!(50.0));
    all("longbench_corpus", &json!({ "task": "qasper" }), &[texts]);
    let gold = json!([{ "id": "1", "output": "no" }, { "id": "1", "output": "yes" }, { "id": "2", "output": "blue" }]);
    let report = |score: f64, n: usize, length: f64| {
        json!({ "exact_match": score, "num_predicted": n, "mean_prediction_length_characters": length, "scrolls_score": score,
            "display_keys": ["exact_match"], "display": [score] })
    };
    let by_id = (json!({ "1": "yes" }), gold, report(100.0, 1, 3.0), report(50.0, 2, 1.5));
    all("scrolls_corpus", &json!({ "task": "quality" }), &[by_id]);
}
