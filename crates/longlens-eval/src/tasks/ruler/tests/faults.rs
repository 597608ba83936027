//! What the scripts get wrong, what is mended, and files that cannot be used.

use std::collections::HashSet;

use longlens_core::scripted::ByteCodec;

use super::*;
use crate::tasks::TASKS;

fn made(text: &str) -> Vec<Sample> {
    samples(text, &Words, &given()).unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn say(made: Result<Vec<Sample>, EvalError>) -> String {
    match made {
        Ok(samples) => format!("{} samples", samples.len()),
        Err(error) => format!("{error} | {}", error.help().unwrap_or_default()),
    }
}

/// Tokens that are fed and generated.
fn n_tokens(sample: &Sample) -> usize {
    let Rule::Answer(answering) = &sample.rule else { panic!("RULER asks questions") };
    sample.prompt.tokens(Ok(&Words)).unwrap().len() + answering.max_tokens
}

#[test]
fn lengths_count_the_first_token_where_faults_are_mended() {
    let mut longest = [0; 2];
    for task in [
        "niah_single_1:",
        "niah_single_3:haystack=essay.txt,",
        "niah_multikey_3:",
        "niah_multivalue:haystack=essay.txt,",
        "ruler_vt:",
        "ruler_cwe:",
        "ruler_fwe:",
        "ruler_qa_squad:file=squad.json,",
        "ruler_qa_hotpot:file=hotpot.json,",
    ] {
        for (longest, mode) in longest.iter_mut().zip(Mode::ALL) {
            let made = made(&format!("{task}length=1200,samples=3,mode={}", mode.name()));
            *longest = made.iter().map(n_tokens).chain([*longest]).max().unwrap();
        }
    }
    assert_eq!(longest, [1201, 1200], "scripts leave out the token that a model's tokenizer puts first");
}

#[test]
fn any_length_is_filled_or_refused() {
    let mut n_filled = 0;
    let tasks = TASKS.iter().filter(|task| task.family == FAMILY && task.has_lengths());
    for (name, length) in tasks.flat_map(|task| [16, 100, 250, 300, 600, 4096].map(|length| (task.info.name, length))) {
        for mode in ["faithful", "fixed"] {
            let file = match name {
                "ruler_qa_squad" => "file=squad.json,",
                "ruler_qa_hotpot" => "file=hotpot.json,",
                _ => "",
            };
            match samples(&format!("{name}:{file}length={length},samples=2,mode={mode}"), &Words, &given()) {
                Ok(made) => {
                    n_filled += 1;
                    let most = length + usize::from(mode == "faithful"); // without the first token
                    assert!(made.iter().all(|sample| n_tokens(sample) <= most), "{name} {length} {mode}");
                }
                Err(EvalError::NoRoom { shortest, .. }) => assert!(shortest > length, "{name} {length} {mode}"),
                Err(error) => panic!("{name} {length} {mode}: {error}"),
            }
        }
    }
    assert!(n_filled > 70, "{n_filled}");
}

/// A script takes 500 words from a prompt that is a word too long; mended ones are filled as far as sentences allow.
#[test]
fn essays_fill_their_length_where_faults_are_mended() {
    let shortest = |mode: &str| {
        let text = format!("niah_multivalue:haystack=essay.txt,length=8000,samples=12,mode={mode}");
        let made = samples(&text, &ByteCodec, &given()).unwrap();
        made.iter().map(|sample| sample.prompt.text().unwrap().len() + 128).min().unwrap()
    };
    let (faithful, fixed) = (shortest("faithful"), shortest("fixed"));
    assert!(faithful < 6000 && fixed > 7800, "{faithful} and {fixed} of 8000 bytes");
}

#[test]
fn one_needle_is_spoken_of_as_one_where_faults_are_mended() {
    for (mode, told) in
        [("faithful", "One of the special magic numbers for "), ("fixed", "The special magic number for ")]
    {
        let made = made(&format!("niah_multikey_2:length=1024,samples=1,mode={mode}"));
        let text = text(&made[0].prompt);
        let evidence = &text[made[0].evidence[0].clone()];
        assert!(evidence.starts_with(told) && text.matches(told).count() > 50, "{evidence}");
    }
    let made = made("niah_multivalue:haystack=essay.txt,length=1024,samples=1,mode=fixed");
    assert_eq!(text(&made[0].prompt).matches("One of the special magic numbers for ").count(), 4);
    assert_eq!(made[0].evidence.len(), 4);
}

#[test]
fn a_prompt_that_cannot_be_as_short_is_refused() {
    // the script draws for ever: it takes away no words from the last 500
    let ask = |mode: &str, length| {
        say(samples(
            &format!("niah_single_2:haystack=essay.txt,length={length},samples=4,mode={mode}"),
            &Words,
            &given(),
        ))
    };
    insta::assert_snapshot!(ask("faithful", 500), @"a `niah_single_2` prompt cannot be 500 tokens long: the shortest that was tried has 686, answer included | ask for at least 686 tokens, or for `mode=fixed`, whose prompts can be shorter than those of the script");
    assert_eq!(ask("fixed", 500), "4 samples");
    insta::assert_snapshot!(ask("fixed", 128), @"a `niah_single_2` prompt cannot be 128 tokens long: the shortest that was tried has 186, answer included | ask for at least 186 tokens");
    insta::assert_snapshot!(say(samples("ruler_fwe:length=64", &Words, &given())), @"a `ruler_fwe` prompt cannot be 64 tokens long: the shortest that was tried has 250, answer included | ask for at least 250 tokens");
}

#[test]
fn long_lists_take_more_words_than_come_along() {
    for mode in ["faithful", "fixed"] {
        let ask =
            |more: &str| say(samples(&format!("ruler_cwe:length=64k,samples=1,mode={mode}{more}"), &Words, &given()));
        assert_eq!(ask(",words=words.txt"), "1 samples");
        let said = ask("");
        assert!(
            said.contains("different words, and there are 8166 | ask for a shorter length, or give more words"),
            "{said}"
        );
        assert!(ask(",words=none.txt").starts_with("cannot read none.txt"));
    }
    let with = |words: &str| {
        let files = Given(HashMap::from([("words", words.to_owned())]));
        say(samples("ruler_cwe:length=1024,samples=1,words=words", &Words, &files))
    };
    assert_eq!(with(r#"{"1": "one", "2": "two"}"#), "1 samples");
    assert_eq!(with(r#"["one"]"#), "1 samples");
    insta::assert_snapshot!(with("{\"1\": 1}"), @"words: it holds something else than words | give words as a JSON object whose values they are, as a JSON list, or a word a line");
    insta::assert_snapshot!(with("[1,"), @"words: it is no JSON: EOF while parsing a value at line 1 column 3 | give words as a JSON object whose values they are, as a JSON list, or a word a line");
    insta::assert_snapshot!(with(" \n"), @"words: it holds no words | give words as a JSON object whose values they are, as a JSON list, or a word a line");
}

#[test]
fn answers_of_frequent_words_are_clear_where_faults_are_mended() {
    /// Three tokens a word and one in front.
    struct Long;
    impl TextCodec for Long {
        fn encode(&self, text: &str, special: bool) -> Result<Vec<u32>, LensError> {
            Ok(vec![1; 3 * text.split_whitespace().count() + usize::from(special)])
        }

        fn decode(&self, _: &[u32]) -> Result<String, LensError> {
            Ok(String::new())
        }
    }
    let ask = |mode: &str| samples(&format!("ruler_fwe:length=260,samples=1,mode={mode}"), &Long, &given());
    let made = ask("faithful").unwrap();
    let n = made[0].answers.iter().filter(|answer| text(&made[0].prompt).contains(&***answer)).count();
    assert!(n < 3, "{n} of three answers stand in the text");
    insta::assert_snapshot!(say(ask("fixed")), @"a `ruler_fwe` prompt cannot be 260 tokens long: the shortest that was tried has 363, answer included | ask for at least 363 tokens");
}

#[test]
fn wrappers_stand_around_the_question() {
    let begin = |text: &str, sample: &Sample| super::text(&sample.prompt).starts_with(text);
    let made_with = |task: &str, template: &str, mode: &str| {
        made(&format!("{task}:length=1024,samples=1,template={template},mode={mode}")).remove(0)
    };
    let needle = made_with("niah_single_1", "llama2", "faithful");
    assert!(begin("[INST] A special magic number is hidden", &needle));
    assert!(text(&needle.prompt).contains("mentioned in the provided text? [/INST] The special magic number for"));
    let variables = made_with("ruler_vt", "llama2", "faithful");
    assert_eq!(text(&variables.prompt).matches("[INST]").count(), 1, "the example stands inside");
    assert!(begin("[INST] Memorize", &variables));
    for (mode, n_turns) in [("faithful", 2), ("fixed", 1)] {
        let words = made_with("ruler_cwe", "model", mode);
        assert_eq!(text(&words.prompt).matches("<s>Below").count(), n_turns);
        assert!(matches!(words.prompt, Prompt::Text { special: false, .. }));
        assert!(text(&words.prompt).ends_with("</s> Answer: The top 10 words that appear most often in the list are:"));
    }
}

#[test]
fn samples_have_ids_of_their_own() {
    // places of answers, which the script takes for ids, are few in a short haystack
    let made = made("niah_single_1:length=512,samples=60");
    let places: HashSet<_> = made.iter().map(|sample| text(&sample.prompt).find(&*sample.answers[0])).collect();
    assert!(places.len() < made.len());
    assert_eq!(made.iter().map(|sample| &sample.id).collect::<HashSet<_>>().len(), made.len());
    assert!(made.iter().all(|sample| sample.depth.is_some_and(|depth| (0.0..1.0).contains(&depth))));
}

#[test]
fn questions_are_taken_as_often_as_there_are_any() {
    let made = made("ruler_qa_squad:file=squad.json,length=800,samples=100");
    assert_eq!(made.len(), 30);
    for sample in &made {
        // there are fewer documents than fit, so they come again
        let told: Vec<_> = sample.evidence.iter().map(|place| &text(&sample.prompt)[place.clone()]).collect();
        assert!(told.len() > 1 && told.iter().all(|told| told.contains(&*sample.answers[0])));
    }
    let made = super::samples("ruler_qa_hotpot:file=hotpot.json,length=400", &Words, &given()).unwrap();
    assert_eq!(made.len(), 8);
}

#[test]
fn files_without_questions_are_refused() {
    let squad = |text: &str| {
        let files = Given(HashMap::from([("f.json", text.to_owned())]));
        say(samples("ruler_qa_squad:file=f.json,length=400", &Words, &files))
    };
    insta::assert_snapshot!(say(samples("ruler_qa_squad", &Words, &given())), @"`ruler_qa_squad` is made from a file, and `file` names none | download SQuAD's dev-v2.0.json, and give it as `ruler_qa_squad:file=dev-v2.0.json`");
    insta::assert_snapshot!(squad("[]"), @r#"f.json: invalid length 0, expected struct Squad with 1 element at line 1 column 2 | SQuAD's files are {"data": [{"paragraphs": [{"context": …, "qas": [{"question": …, "answers": [{"text": …}]}]}]}]}"#);
    insta::assert_snapshot!(squad(r#"{"data": [{"paragraphs": [{"context": "It is.", "qas": [{"id": 7}]}]}]}"#), @r#"f.json: missing field `question` at line 1 column 65 | SQuAD's files are {"data": [{"paragraphs": [{"context": …, "qas": [{"question": …, "answers": [{"text": …}]}]}]}]}"#);
    insta::assert_snapshot!(squad(r#"{"data": [{"paragraphs": [{"context": "It is.", "qas": [{"question": "Is it?"}]}]}]}"#), @r#"f.json: question 1 (`Is it?`) has no answer | SQuAD's files are {"data": [{"paragraphs": [{"context": …, "qas": [{"question": …, "answers": [{"text": …}]}]}]}]}"#);
    let impossible = r#"{"data": [{"paragraphs": [{"context": "It is.", "qas": [{"question": "Is it?", "is_impossible": true}]}]}]}"#;
    insta::assert_snapshot!(squad(impossible), @r#"f.json: it has no questions with answers | SQuAD's files are {"data": [{"paragraphs": [{"context": …, "qas": [{"question": …, "answers": [{"text": …}]}]}]}]}"#);
    let hotpot = |text: &str| {
        let files = Given(HashMap::from([("f.json", text.to_owned())]));
        say(samples("ruler_qa_hotpot:file=f.json,length=400", &Words, &files))
    };
    insta::assert_snapshot!(hotpot(r#"[{"question": "Is it?", "answer": "yes", "context": []}]"#), @r#"f.json: question 1 (`Is it?`) has no document | HotpotQA's files are [{"question": …, "answer": …, "context": [[title, [sentence, …]], …]}, …]"#);
    insta::assert_snapshot!(hotpot(r#"[{"question": "Is it?", "answer": 7}]"#), @r#"f.json: invalid type: integer `7`, expected a string at line 1 column 35 | HotpotQA's files are [{"question": …, "answer": …, "context": [[title, [sentence, …]], …]}, …]"#);
    // a question may have more documents than the least prompt
    let many: Vec<_> = (0..40).map(|i| json!([format!("T{i}"), ["It is."]])).collect();
    let other = json!({ "question": "And?", "answer": "no", "context": [["T", ["It is not."]]] });
    let many = json!([{ "question": "Is it?", "answer": "yes", "context": many }, other]).to_string();
    assert_eq!(hotpot(&many), "2 samples");
}

#[test]
fn stored_prompts_are_run_as_they_are() {
    let row = |input: &str, outputs: Value, prefix: &str| {
        json!({ "index": 9, "input": input, "outputs": outputs, "length": 900, "answer_prefix": prefix }).to_string()
    };
    let ask = |lines: &[String], kind: &str| {
        let files = Given(HashMap::from([("f.jsonl", lines.join("\n"))]));
        samples(&format!("ruler_file:file=f.jsonl{kind}"), &Words, &files)
    };
    let needle = "Some text: One of the special magic numbers for a-b is: 1234567. More. What is it?";
    let prefix = " The special magic number for a-b mentioned in the provided text is";
    let made =
        ask(&[row(needle, json!(["1234567"]), prefix), String::new(), row(needle, json!(["1234567"]), prefix)], "");
    let made = made.unwrap();
    assert_eq!(made.iter().map(|sample| &*sample.id).collect::<Vec<_>>(), ["0", "1"]);
    assert_eq!(text(&made[0].prompt), format!("{needle}{prefix}"));
    assert_eq!((made[0].length, &text(&made[0].prompt)[made[0].evidence[0].clone()]), (Some(900), "1234567"));
    for (prefix, kind, expected) in [
        (prefix, "", (128, "ruler_string_match_all")),
        (
            " Answer: According to the chain(s), 5 variables are assigned the value 7, they are: ",
            "",
            (30, "ruler_string_match_all"),
        ),
        (" Answer: The top 10 words that appear most often in the list are:", "", (120, "ruler_string_match_all")),
        (
            " Answer: According to the coded text above, the three most frequently appeared words are:",
            "",
            (50, "ruler_string_match_all"),
        ),
        (" Answer:", "", (32, "ruler_string_match_part")),
        (" Answer:", ",kind=vt", (30, "ruler_string_match_all")),
    ] {
        let made = ask(&[row("It is. What is it?", json!(["it"]), prefix)], kind).unwrap();
        let Rule::Answer(answering) = &made[0].rule else { panic!("RULER asks questions") };
        assert_eq!((answering.max_tokens, answering.scorer), expected, "{prefix}");
    }
    insta::assert_snapshot!(say(ask(&[row("It is.", json!(["it"]), "")], "")), @"f.jsonl: its first prompt ends in none of RULER's questions | say what it is of with `kind`: niah, vt, cwe, fwe, qa");
    insta::assert_snapshot!(say(ask(&["{\"input\": \"a\"}".into()], "")), @r#"line 1 of f.jsonl: `outputs` is missing | the row has the fields input: is this the task's file?"#);
    insta::assert_snapshot!(say(ask(&[row("a", json!([]), "")], ",kind=qa")), @"line 1 of f.jsonl: `outputs` holds no answer | a question without a right answer cannot be scored: leave its row out");
    insta::assert_snapshot!(say(ask(&[row("a", json!(3), "")], ",kind=qa")), @r#"line 1 of f.jsonl: `outputs` is a number, not a list of texts | make `outputs` a list of texts"#);
    insta::assert_snapshot!(say(ask(&[], "")), @"f.jsonl: it holds no rows | give JSON lines (an object a line), a list of JSON objects, a Parquet table, or a .csv with names in its first line");
}
