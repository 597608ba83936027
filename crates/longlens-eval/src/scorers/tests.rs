use std::collections::BTreeMap;
use std::io::Read;

use flate2::read::GzDecoder;
use proptest::prelude::*;
use serde_json::{Map, Value, json};

mod faults;

use super::{Mode, SCORERS, Scorer, leval, longbench, ruler};

pub(crate) fn golden() -> Vec<Map<String, Value>> {
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
    assert!(wrong.is_empty(), "{} of {} rows differ:\n{}", wrong.len(), rows.len(), wrong.join("\n"));
    if HAS_WORDS {
        assert!(
            SCORERS.iter().all(|scorer| counts.contains_key(scorer.name) || scorer.source == "longlens"),
            "every scorer of a script has rows"
        );
        let counts: Vec<String> = counts.iter().map(|(name, n)| format!("{n:4} {name}")).collect();
        insta::assert_snapshot!(counts.join("\n"), @"
          30 babilong_compare_answers
           2 infinitebench_code_run
           2 infinitebench_kv_retrieval
           4 infinitebench_longbook_choice_eng
           3 infinitebench_math_find
           1 infinitebench_number_string
           4 infinitebench_passkey
          13 infllm_classification
          11 leval_auto_eval_output
          12 leval_code_output
          65 leval_exam_em
          10 leval_judge
          18 leval_math
         144 leval_multiple_choice
          30 lmeval_babilong
          16 lmeval_longbench_code_sim
          13 lmeval_ruler_string_match_all
          13 lmeval_ruler_string_match_part
          13 longbench_classification
          16 longbench_code_sim
           5 longbench_corpus
           8 longbench_count
           2 longbench_e_corpus
          60 longbench_qa_f1
          60 longbench_qa_f1_zh
           6 longbench_retrieval
           3 longbench_retrieval_zh
          60 longbench_rouge
          60 longbench_rouge_zh
           1 longheads_key_line_straddles_256
           8 niah_keyword_recall
           8 niah_rouge1_stemmed_x10
          30 passkey_token_exact
          73 ruler_string_match_all
           1 ruler_string_match_all_corpus
          73 ruler_string_match_part
           1 ruler_string_match_part_corpus
           4 scrolls_corpus
           1 scrolls_corpus_unrounded
          60 scrolls_exact_match
          60 scrolls_f1
          60 scrolls_rouge
        ");
    }
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

/// What a row may hold: texts, numbers, lists of them, and lists of lists.
fn anything() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        "\\PC{0,12}".prop_map(Value::from),
        prop::sample::select(vec![
            "qasper",
            "trec_e",
            "coursera",
            "sci_fi",
            "exam",
            "A",
            "1_0",
            "3/0",
            "[fact:",
            "final output",
            ".0"
        ])
        .prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<bool>().prop_map(Value::from),
    ];
    leaf.prop_recursive(2, 12, 4, |inner| prop::collection::vec(inner, 0..4).prop_map(Value::from))
}

/// Every field that some scorer reads.
const FIELDS: [&str; 13] = [
    "prediction",
    "references",
    "task",
    "labels",
    "question",
    "all_classes",
    "lengths",
    "bos",
    "prompt_ids",
    "evaluation",
    "source",
    "jieba_prediction",
    "jieba_references",
];

proptest! {
    #[test]
    fn any_row_gets_a_score_or_an_error(values in prop::collection::vec(prop::option::of(anything()), FIELDS.len())) {
        let given = FIELDS.into_iter().zip(values).filter_map(|(field, value)| Some((field.to_owned(), value?)));
        let row: Map<String, Value> = given.collect();
        for scorer in SCORERS {
            for mode in Mode::ALL {
                if let Err(error) = scorer.score(&row, mode) {
                    prop_assert!(!error.to_string().is_empty() && !error.help().is_empty());
                }
            }
        }
    }

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
