use std::collections::BTreeMap;
use std::io::Read;

use flate2::read::GzDecoder;
use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::{Mode, SCORERS, Scorer, leval, longbench, ruler};

fn golden() -> Vec<Map<String, Value>> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fixtures/golden-eval/scorers.jsonl.gz");
    let mut text = String::new();
    GzDecoder::new(std::fs::File::open(path).unwrap()).read_to_string(&mut text).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Whether this build cuts Chinese texts into words.
const HAS_WORDS: bool = cfg!(feature = "jieba");

fn score(row: &Map<String, Value>, mode: Mode) -> Value {
    let scorer = Scorer::named(row["scorer"].as_str().unwrap()).unwrap();
    scorer.score(row, mode).unwrap_or_else(|error| panic!("{}: {error}", row["id"]))
}

#[test]
fn every_row_scores_as_the_original_did() {
    let rows = golden();
    assert_eq!(rows.len(), 1064, "no row is passed over");
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    let mut wrong = Vec::new();
    for row in &rows {
        let name = row["scorer"].as_str().unwrap();
        let needs_words =
            name.ends_with("_zh") && name != "longbench_retrieval_zh" && !row.contains_key("jieba_prediction");
        if needs_words && !HAS_WORDS {
            continue;
        }
        // as text, so that the order of fields and the kinds of numbers count
        let (found, expected) = (score(row, Mode::Faithful).to_string(), row["score"].to_string());
        if found != expected {
            wrong.push(format!("{} {name}: {found} instead of {expected} for {}", row["id"], row["prediction"]));
        }
        *counts.entry(name).or_default() += 1;
    }
    println!("{counts:#?}");
    assert!(wrong.is_empty(), "{} of {} rows differ:\n{}", wrong.len(), rows.len(), wrong.join("\n"));
    assert_eq!(counts.len(), 42);
    let n_scored: usize = counts.values().sum();
    assert!(n_scored == 1064 || !HAS_WORDS, "{n_scored} rows were scored");
    assert!(SCORERS.iter().all(|scorer| counts.contains_key(scorer.name)), "every scorer has rows");
}

#[test]
fn mended_scores_are_those_without_the_fault() {
    let mut n_rows = 0;
    for row in golden() {
        let expected = row.get("score_without_recursion_limit").or(row.get("score_with_python_levenshtein"));
        let Some(expected) = expected else { continue };
        let needs_words = row["scorer"] == "longbench_rouge_zh" && !HAS_WORDS;
        if !needs_words {
            assert_eq!(score(&row, Mode::Fixed), *expected, "{}", row["id"]);
        }
        n_rows += 1;
    }
    assert_eq!(n_rows, 22);
}

#[test]
fn steps_before_the_score_are_those_of_the_original() {
    let mut n_rows = 0;
    for row in golden() {
        let text = |field: &str| row[field].as_str().unwrap();
        let reference = || row["references"][0].as_str().unwrap();
        let of = |field: &str| row.get(field).cloned().unwrap_or_default();
        let (extracted, of_reference) = match text("scorer") {
            "ruler_string_match_all" | "ruler_string_match_part" => {
                assert_eq!(ruler::cleaned(text("prediction")), text("postprocessed"), "{}", row["id"]);
                continue;
            }
            "longbench_classification" | "infllm_classification" => {
                assert_eq!(longbench::first_line(text("prediction")), text("first_line"), "{}", row["id"]);
                continue;
            }
            "leval_multiple_choice" => {
                let is_copy = text("source") == "HKUNLP/ChunkLlama";
                let source = if is_copy { leval::Source::ChunkLlama } else { leval::Source::LEval };
                let chosen = leval::choice_output(text("prediction"), text("task"), source, Mode::Faithful);
                (json!(chosen), json!(leval::choice_gold(reference()).unwrap()))
            }
            "leval_math" => (json!(leval::math(text("prediction"))), json!(leval::math(reference()))),
            "leval_code_output" => {
                let found = leval::code_output(text("prediction"), reference(), Mode::Faithful);
                (json!(found), json!(leval::code_gold(reference(), Mode::Faithful)))
            }
            "leval_judge" => {
                let found = leval::judge_output(text("prediction"), Mode::Faithful);
                let found = found.map_or(json!({ "error": "IndexError" }), |found| json!(found));
                (found, json!(leval::judge_gold(reference()).unwrap()))
            }
            _ => continue,
        };
        assert_eq!((extracted, of_reference), (of("extracted"), of("extracted_reference")), "{}", row["id"]);
        n_rows += 1;
    }
    assert_eq!(n_rows, 184);
}

/// The fixed scores of cases that the original gets wrong.
#[test]
fn faults_are_mended() {
    let all = |scorer: &str, extras: Value, cases: &[(Value, Value, Value, Value)]| {
        for (prediction, references, faithful, fixed) in cases {
            let mut row = extras.as_object().unwrap().clone();
            row.insert("id".into(), json!("case"));
            row.insert("scorer".into(), json!(scorer));
            row.insert("prediction".into(), prediction.clone());
            row.insert("references".into(), references.clone());
            assert_eq!(score(&row, Mode::Faithful), *faithful, "{scorer} {prediction} faithful");
            assert_eq!(score(&row, Mode::Fixed), *fixed, "{scorer} {prediction} fixed");
        }
    };
    let case = |prediction: Value, reference: Value, faithful: Value, fixed: Value| {
        (prediction, json!([reference]), faithful, fixed)
    };
    all("scrolls_f1", json!({}), &[case(json!(""), json!(""), json!(0.0), json!(100.0))]);
    all("longbench_qa_f1", json!({}), &[case(json!("the"), json!("a"), json!(0.0), json!(1.0))]);
    all("longbench_count", json!({}), &[case(json!("07"), json!("7"), json!(0.0), json!(1.0))]);
    let lower = json!("paragraph 3");
    all("longbench_retrieval", json!({}), &[case(json!("3"), lower, json!({ "error": "IndexError" }), json!(1.0))]);
    all(
        "leval_exam_em",
        json!({}),
        &[
            case(json!(""), json!("C"), json!(25.0), json!(0.0)),
            case(json!("nan"), json!("nan"), json!(0.0), json!(100.0)),
            case(json!("1,234"), json!("1234"), json!(0.0), json!(100.0)),
            case(json!("they sat"), json!("he"), json!(100.0), json!(0.0)),
        ],
    );
    all(
        "leval_multiple_choice",
        json!({ "task": "leval_quality" }),
        &[
            case(json!("Answer: C"), json!("C"), json!(0.0), json!(100.0)),
            case(json!("None of these"), json!("A"), json!(100.0), json!(0.0)),
            case(json!("The answer is b"), json!("B"), json!(0.0), json!(100.0)),
        ],
    );
    all(
        "leval_multiple_choice",
        json!({ "task": "leval_tpo", "source": "HKUNLP/ChunkLlama" }),
        &[case(json!(""), json!("C"), json!(25.0), json!(0.0))],
    );
    all(
        "leval_math",
        json!({}),
        &[
            case(json!("The answer is 3/4"), json!("0.75"), json!(0.0), json!(100.0)),
            case(json!("The answer is -7"), json!("7"), json!(100.0), json!(0.0)),
        ],
    );
    all(
        "leval_code_output",
        json!({}),
        &[
            case(json!("Th 12"), json!("This 12"), json!(0.0), json!(0.0)),
            case(json!("it prints 105"), json!("10.05"), json!(100.0), json!(0.0)),
        ],
    );
    let split = json!("True [fact: True]");
    all(
        "leval_judge",
        json!({}),
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
    all(
        "ruler_string_match_all",
        json!({}),
        &[
            case(json!("12345678"), json!("2345"), json!(100.0), json!(0.0)),
            case(json!("blue"), json!(""), json!(100.0), json!(0.0)),
        ],
    );
    let any = (json!("in Bergen harbour"), json!(["Bergen", "Oslo"]), json!(0.5), json!(1.0));
    all("lmeval_ruler_string_match_part", json!({}), &[any]);
    let labels = json!({ "question": "How many objects is Daniel carrying?", "labels": ["none", "one", "two"] });
    all("babilong_compare_answers", labels, &[case(json!("none"), json!("none"), json!(false), json!(true))]);
    let labels = json!({ "question": "Is John there?", "labels": ["no", "yes"] });
    all(
        "babilong_compare_answers",
        labels,
        &[
            case(json!("Yes, I know"), json!("yes"), json!(false), json!(true)),
            case(json!("not"), json!("no"), json!(true), json!(false)),
        ],
    );
    all(
        "lmeval_babilong",
        json!({}),
        &[
            case(json!("not"), json!("no"), json!(1.0), json!(0.0)),
            case(json!("milk, apple"), json!("apple,milk"), json!(0.0), json!(1.0)),
        ],
    );
    all(
        "infinitebench_longbook_choice_eng",
        json!({}),
        &[case(json!(""), json!("C"), json!({ "error": "IndexError" }), json!(false))],
    );
    all(
        "infinitebench_math_find",
        json!({}),
        &[
            case(json!("12.5"), json!(12), json!({ "error": "ValueError" }), json!(false)),
            case(json!("it is -3"), json!(-3), json!(false), json!(true)),
        ],
    );
    let needle = "eat a sandwich and sit in Dolores Park on a sunny day.";
    all("niah_keyword_recall", json!({}), &[case(json!(needle), json!(needle), json!(11.0 / 12.0), json!(1.0))]);
    let classes = json!({ "all_classes": ["aaa", "bb", "ccc", "aaa bb ccc"] });
    all("longbench_classification", classes, &[case(json!("aaa bb ccc"), json!("aaa bb ccc"), json!(0.5), json!(1.0))]);
    let ids = json!({ "bos": [], "prompt_ids": [9] });
    all(
        "passkey_token_exact",
        ids,
        &[
            case(json!([5, 6, 7]), json!([5, 6, 7]), json!(false), json!(true)),
            case(json!([]), json!([8, 9]), json!(true), json!(false)),
        ],
    );
    let lines = (json!([[0, 5], [60_000, 90_000]]), json!([]), json!([true, false]), json!([false, true]));
    all("longheads_key_line_straddles_256", json!({}), &[lines]);
    let texts = (json!(["a b"]), json!([["a b"], ["c"]]), json!(100.0), json!(50.0));
    all("longbench_corpus", json!({ "task": "qasper" }), &[texts]);
    let gold = json!([{ "id": "1", "output": "no" }, { "id": "1", "output": "yes" }, { "id": "2", "output": "blue" }]);
    let report = |score: f64, n: usize, length: f64| {
        json!({ "exact_match": score, "num_predicted": n, "mean_prediction_length_characters": length, "scrolls_score": score,
            "display_keys": ["exact_match"], "display": [score] })
    };
    let by_id = (json!({ "1": "yes" }), gold, report(100.0, 1, 3.0), report(50.0, 2, 1.5));
    all("scrolls_corpus", json!({ "task": "quality" }), &[by_id]);
}

#[test]
fn rows_that_cannot_be_scored_say_why() {
    let refused = |scorer: &str, row: Value| {
        let error = Scorer::named(scorer)
            .and_then(|scorer| scorer.score(row.as_object().unwrap(), Mode::Faithful))
            .unwrap_err();
        format!("{error} | {}", error.help().split(" All:").next().unwrap())
    };
    let cases = [
        ("scrolls_f2", json!({})),
        ("scrolls_f1", json!({ "references": [] })),
        ("scrolls_f1", json!({ "prediction": 3, "references": ["a"] })),
        ("scrolls_f1", json!({ "prediction": "a", "references": ["a", 1] })),
        ("longbench_corpus", json!({ "prediction": ["a"], "references": [["a"]], "task": "qa" })),
        ("leval_multiple_choice", json!({ "prediction": "a", "references": ["a"], "task": "tpo", "source": "me" })),
    ];
    let said: Vec<String> = cases.into_iter().map(|(scorer, row)| refused(scorer, row)).collect();
    insta::assert_snapshot!(said.join("\n"), @"
    there is no scorer `scrolls_f2` | did you mean `scrolls_f1`?
    `prediction` is missing, which `scrolls_f1` reads | give the row a field `prediction`
    `prediction` is a number, but `scrolls_f1` reads a text | make `prediction` a text
    `references` is a list of something else, but `scrolls_f1` reads a list of texts | make `references` a list of texts
    `longbench_corpus` does not know the task `qa` | one of: narrativeqa, qasper, multifieldqa_en, multifieldqa_zh, hotpotqa, 2wikimqa, musique, dureader, gov_report, qmsum, multi_news, vcsum, trec, triviaqa, samsum, lsht, passage_retrieval_en, passage_count, passage_retrieval_zh, lcc, repobench-p
    `source` is a text, but `leval_multiple_choice` reads `OpenLMLab/LEval` or `HKUNLP/ChunkLlama` | make `source` `OpenLMLab/LEval` or `HKUNLP/ChunkLlama`
    ");
}

fn pair(scorer: &str, prediction: &str, reference: &str) -> Map<String, Value> {
    let row = json!({ "id": "pair", "scorer": scorer, "prediction": prediction, "references": [reference], "task": "tpo", "question": "",
        "labels": [reference], "all_classes": [reference] });
    row.as_object().unwrap().clone()
}

/// Scorers of one text that say how alike two texts are.
const MEASURES: [&str; 8] = [
    "scrolls_f1",
    "scrolls_exact_match",
    "longbench_qa_f1",
    "longbench_rouge",
    "longbench_code_sim",
    "lmeval_longbench_code_sim",
    "leval_exam_em",
    "niah_rouge1_stemmed_x10",
];

proptest! {
    #[test]
    fn scores_lie_on_their_scale(prediction in "\\PC{0,40}", reference in "\\PC{0,40}") {
        for scorer in SCORERS.iter().filter(|scorer| !scorer.is_aggregate) {
            for mode in Mode::ALL {
                // a row of texts fits most scorers; the others refuse it
                let Ok(score) = scorer.score(&pair(scorer.name, &prediction, &reference), mode) else { continue };
                let numbers: Vec<f64> = match &score {
                    Value::Object(fields) => fields.values().filter_map(Value::as_f64).collect(),
                    score => score.as_f64().into_iter().collect(),
                };
                prop_assert!(numbers.iter().all(|score| (0.0..=scorer.scale).contains(score)), "{}: {score}", scorer.name);
            }
        }
    }

    #[test]
    fn equal_texts_score_full(text in "[a-z]{4,8}( [a-z]{4,8}){0,6}") {
        for name in MEASURES {
            for mode in Mode::ALL {
                let full = Scorer::named(name).unwrap().scale;
                let found = score(&pair(name, &text, &text), mode).as_f64().unwrap();
                prop_assert!(found > full - 1e-6, "{name}: {found} of {full}");
            }
        }
    }

    #[test]
    fn the_order_of_words_does_not_count(words in prop::collection::vec("[a-z]{3,6}", 1..8), reference in "[a-z ]{0,40}") {
        let forward = words.join(" ");
        let backward = words.iter().rev().cloned().collect::<Vec<_>>().join(" ");
        for name in ["scrolls_f1", "longbench_qa_f1", "niah_keyword_recall", "niah_rouge1_stemmed_x10"] {
            for mode in Mode::ALL {
                prop_assert_eq!(score(&pair(name, &forward, &reference), mode), score(&pair(name, &backward, &reference), mode));
            }
        }
    }
}
