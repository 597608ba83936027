//! Stored passkey prompts, scored like those of a grid.

use std::path::Path;

use longlens_core::lens::{Control, Lens, TextCodec};
use serde::{Deserialize, Serialize};

use super::chat::{Chat, PromptEncoder};
use super::lines::QUESTION;
use super::series::{Series, With};
use super::templates::{Sketch, needle};
use super::{CellLedger, PasskeyPrompt, PasskeyReport, SCORING, lines};
use crate::error::EvalError;
use crate::setup::SetupFor;
use crate::text::read_text;

/// A stored prompt: one line of a JSONL file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Fixture {
    /// Name of the prompt.
    pub id: String,
    /// Target length in tokens, question and answer included; what the prompt and its answer have when not given.
    pub length: Option<usize>,
    /// Share of the filler before the needle; counted from where the answer first stands when not given.
    pub depth: Option<f64>,
    /// What is fed, as the file has it.
    pub prompt: String,
    /// What to find.
    pub answer: String,
    /// Tokens of the prompt under the tokenizer it was made with, where known.
    pub prompt_tokens: Option<usize>,
}

impl Fixture {
    /// The prompt as tokens, as long as it was to be or is; in the model's chat template where `chat` says so.
    pub fn tokenize(&self, codec: &dyn TextCodec, chat: Option<&Chat>) -> Result<PasskeyPrompt, EvalError> {
        let told = needle(&self.answer);
        let needle = self.prompt.find(&told).map(|start| start..start + told.len());
        let sketch = Sketch { text: self.prompt.clone(), key: self.answer.clone(), needle };
        let mut made = PasskeyPrompt::new(PromptEncoder { codec, chat }, sketch, self.length.unwrap_or_default())?;
        if self.length.is_none() {
            made.length = made.tokens.len() + made.answer.len();
        }
        Ok(made)
    }

    /// Whether the prompt leaves its answer to a sentence of the model's own.
    fn is_question(&self) -> bool {
        self.prompt.trim_end().ends_with(['?', '？'])
    }

    /// Share of the text's bytes, but for those that tell the key, that stand before the key; to whole per cent, so that
    /// prompts of one depth meet in one cell. A question that is put behind every text is no part of it.
    pub fn counted_depth(&self) -> f64 {
        let text = self.prompt.strip_suffix(QUESTION).unwrap_or(&self.prompt);
        let told = needle(&self.answer);
        let usual = text.find(&told).map(|start| (start, told.len()));
        let (start, len) = usual.or_else(|| Some((text.find(&self.answer)?, self.answer.len()))).unwrap_or((0, 0));
        let around = (text.len() - len).max(1);
        (100.0 * start as f64 / around as f64).round() / 100.0
    }
}

/// Stored prompts in the cells they belong to.
#[derive(Debug, Clone)]
pub struct Fixtures {
    /// By length, then depth; the prompts of a cell as they came.
    cells: Vec<((usize, f64), Vec<Fixture>)>,
    /// The chat template's, where the prompts are put into one.
    chat: Option<Chat>,
    n_counted: usize,
}

impl Fixtures {
    /// Sorts prompts into cells, and counts the lengths and depths that they do not say. With `chat` each is what a user says in
    /// the model's chat template.
    pub fn new(codec: &dyn TextCodec, fixtures: Vec<Fixture>, chat: Option<Chat>) -> Result<Self, EvalError> {
        let mut placed = Vec::new();
        let mut n_counted = 0;
        for fixture in fixtures {
            n_counted += usize::from(fixture.length.is_none() || fixture.depth.is_none());
            let length = fixture
                .length
                .map_or_else(|| Ok(fixture.tokenize(codec, chat.as_ref())?.length), Ok::<_, EvalError>)?;
            let depth = fixture.depth.unwrap_or_else(|| fixture.counted_depth());
            placed.push(((length, depth), fixture));
        }
        placed.sort_by(|((a, at), _), ((b, bt), _)| a.cmp(b).then(at.total_cmp(bt)));
        let cells = placed.chunk_by(|(a, _), (b, _)| a == b);
        let cells = cells.map(|cell| (cell[0].0, cell.iter().map(|(_, fixture)| fixture.clone()).collect()));
        Ok(Self { cells: cells.collect(), chat, n_counted })
    }

    /// Keeps the prompts of these lengths.
    pub fn retain_lengths(&mut self, lengths: &[usize]) {
        self.cells.retain(|((length, _), _)| lengths.contains(length));
    }

    /// The lengths of the prompts, ascending.
    pub fn lengths(&self) -> Vec<usize> {
        let mut lengths: Vec<_> = self.cells.iter().map(|((length, _), _)| *length).collect();
        lengths.dedup();
        lengths
    }

    /// The longest prompt's length.
    pub fn longest(&self) -> Option<usize> {
        self.cells.last().map(|((length, _), _)| *length)
    }

    fn n_prompts(&self) -> usize {
        self.cells.iter().map(|(_, prompts)| prompts.len()).sum()
    }
}

/// Reads stored prompts, one JSON object a line.
pub fn read_fixtures(path: &Path) -> Result<Vec<Fixture>, EvalError> {
    lines::fixtures(path, &read_text(path)?)
}

/// Runs stored prompts as [`run`](super::run) does a grid; a cell holds all of the same length and depth.
pub fn run_fixtures(
    lens: &mut dyn Lens,
    setup_for: &mut SetupFor,
    fixtures: &Fixtures,
    control: &mut dyn Control,
    ledger: &mut CellLedger,
) -> Result<PasskeyReport, EvalError> {
    if fixtures.cells.is_empty() {
        return Err(EvalError::Nothing { what: "stored prompts" });
    }
    let n_tokens = fixtures.cells.iter().map(|((length, _), prompts)| length * prompts.len()).sum();
    let (mut series, mut with) = (Series::new(n_tokens), With { lens, setup_for, control, ledger });
    let mut report = PasskeyReport::default();
    for (place, prompts) in &fixtures.cells {
        let make = |codec: &dyn TextCodec, trial: usize| prompts[trial].tokenize(codec, fixtures.chat.as_ref());
        report.add(series.cell(&mut with, *place, prompts.len(), &make)?);
        if !report.complete {
            break;
        }
    }
    let n_prompts = fixtures.n_prompts();
    let counted = match fixtures.n_counted {
        0 => String::new(),
        n if n == n_prompts => ", lengths and depths counted".into(),
        n => format!(", lengths and depths of {n} counted"),
    };
    let prompts = if n_prompts == 1 { "prompt" } else { "prompts" };
    let n_questions = fixtures.cells.iter().flat_map(|(_, prompts)| prompts).filter(|p| p.is_question()).count();
    let asked = match n_questions {
        0 => String::new(),
        n => format!("; {n} end in a question, where a sentence around the key is a miss"),
    };
    let chat = fixtures.chat.as_ref().map_or(String::new(), |chat| format!(", {chat}"));
    report.protocol = format!("passkey fixtures: {n_prompts} stored {prompts}{chat}{counted}; {SCORING}{asked}");
    Ok(report)
}

#[cfg(test)]
mod tests {
    use longlens_core::methods::Method;
    use longlens_core::rope::RopeScaling;
    use longlens_core::scripted::{ByteCodec, ScriptedLens, induction};
    use proptest::prelude::*;

    use super::*;
    use crate::setup::fixed;

    const LINES: &str = r#"{"id": "b", "length": 40, "depth": 0.5, "prompt": "It is 77. The key is", "answer": "77", "prompt_tokens": 21}

{"id": "a", "length": 30, "depth": 0.0, "prompt": "The pass key is 5. Remember it. 5 is the pass key. The pass key is", "answer": "5", "prompt_tokens": 9}
{"id": "c", "length": 40, "depth": 0.5, "prompt": "It is 78. It is", "answer": "79", "prompt_tokens": 17}
"#;

    fn written(text: &str) -> (tempfile::TempDir, std::path::PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("prompts.jsonl");
        std::fs::write(&path, text).unwrap();
        (folder, path)
    }

    fn measure(path: &Path) -> PasskeyReport {
        measure_in(path, None)
    }

    fn measure_in(path: &Path, chat: Option<Chat>) -> PasskeyReport {
        let mut lens = ScriptedLens::new(induction);
        let fixtures = Fixtures::new(&ByteCodec, read_fixtures(path).unwrap(), chat).unwrap();
        let mut setup_for = fixed(Method::full(), RopeScaling::none(), &lens.model().spec);
        run_fixtures(&mut lens, &mut setup_for, &fixtures, &mut (), &mut ()).unwrap()
    }

    #[test]
    fn stored_prompts_are_grouped_and_scored() {
        let (_folder, path) = written(LINES);
        let report = measure(&path);
        let cells: Vec<_> = report.cells.iter().map(|cell| (cell.length, cell.n_trials, cell.hits_tokens)).collect();
        assert_eq!(cells, [(30, 1, 1), (40, 2, 1)]);
        insta::assert_snapshot!(report.protocol, @"passkey fixtures: 3 stored prompts; greedy, as many tokens as the answer has, hits on exact tokens");
    }

    #[test]
    fn stored_prompts_are_put_into_the_chat_template() {
        let (_folder, path) = written(
            r#"{"prompt": "The pass key is 77. Remember it. 77 is the pass key. What is the pass key? The pass key is", "answer": "77"}"#,
        );
        let made = read_fixtures(&path).unwrap()[0].tokenize(&ByteCodec, Some(&Chat::default())).unwrap();
        assert!(
            made.text.starts_with("user: The pass key is 77.")
                && made.text.ends_with(" key?\nassistant: The pass key is")
        );
        let needle = made.needle.unwrap();
        assert_eq!(ByteCodec.decode(&made.tokens[needle.start..needle.end]).unwrap(), needle.text);
        assert_eq!(made.length, made.tokens.len() + 3);
        let report = measure_in(&path, Some(Chat::default()));
        assert_eq!(report.cells[0].hits_tokens, 1);
        insta::assert_snapshot!(report.protocol, @"passkey fixtures: 1 stored prompt, in the model's chat template (date 2024-07-26), lengths and depths counted; greedy, as many tokens as the answer has, hits on exact tokens");
    }

    #[test]
    fn prompts_that_end_in_a_question_are_told() {
        let (_folder, path) = written(r#"{"prompt": "The key is 77. What is the key?\n", "answer": "77"}"#);
        assert!(measure(&path).protocol.ends_with("; 1 end in a question, where a sentence around the key is a miss"));
    }

    #[test]
    fn the_needle_is_found_where_it_is_told_in_the_usual_words() {
        let (_folder, path) = written(LINES);
        let needles: Vec<_> =
            read_fixtures(&path).unwrap().iter().map(|f| f.tokenize(&ByteCodec, None).unwrap().needle).collect();
        assert!(needles[0].is_none() && needles[2].is_none());
        assert_eq!(needles[1].as_ref().map(|needle| (needle.start, needle.end)), Some((1, 51)));
    }

    #[test]
    fn what_other_files_do_not_say_is_counted() {
        let filler = "The grass is green.\n".repeat(9);
        let key = "The pass key is 482. Remember it. 482 is the pass key.\n";
        let question = "What is the pass key? The pass key is";
        let line = |value: serde_json::Value| format!("{value}\n");
        let lines = [
            // as the script of Self-Extend reads it, which adds the question and a blank
            line(
                serde_json::json!({"input": format!("{filler}{key}{filler}"), "target": "482", "passkey_position": 180}),
            ),
            line(serde_json::json!({"input": format!("{key}{filler}{filler}"), "target": 482})),
            line(
                serde_json::json!({"input": format!("{filler}{filler}{key}{question}"), "output": "482", "extra": [1]}),
            ),
            line(
                serde_json::json!({"context": format!("{filler}{key}{filler}"), "question": question, "answer": "482"}),
            ),
            line(
                serde_json::json!({"input": format!("{filler}{key}{filler}What is it?"), "answer_prefix": " The pass key is", "outputs": ["482"], "length": 4096}),
            ),
        ];
        let (_folder, path) = written(&lines.concat());
        let report = measure(&path);
        let mut cells: Vec<_> = report.cells.iter().map(|cell| (cell.length, cell.depth, cell.hits_tokens)).collect();
        cells.sort_by(|a, b| a.1.total_cmp(&b.1));
        let whole = 2 * filler.len() + key.len();
        assert_eq!(cells[0], (whole + question.len() + 1 + 1 + 3, 0.0, 1), "first token, blank and key are counted");
        assert_eq!(cells.iter().map(|cell| cell.1).collect::<Vec<_>>(), [0.0, 0.45, 0.46, 0.5, 0.9]);
        assert!(cells.iter().all(|cell| cell.2 == 1), "{cells:?}");
        let mut fixtures = Fixtures::new(&ByteCodec, read_fixtures(&path).unwrap(), None).unwrap();
        assert_eq!(fixtures.longest(), report.cells.last().map(|cell| cell.length));
        fixtures.retain_lengths(&[7]);
        assert_eq!(fixtures.longest(), None);
        insta::assert_snapshot!(report.protocol, @"passkey fixtures: 5 stored prompts, lengths and depths counted; greedy, as many tokens as the answer has, hits on exact tokens");
    }

    #[test]
    fn instructions_per_cent_and_repeated_answers_are_read() {
        let read = |line: &str| lines::fixtures(Path::new("FILE"), line).unwrap().remove(0);
        let alpaca = read(r#"{"instruction": "Find it.", "input": "It is 7.", "output": "7"}"#);
        assert_eq!((alpaca.prompt.as_str(), alpaca.answer.as_str()), ("Find it.\nIt is 7.", "7"));
        assert_eq!(read(r#"{"prompt": "It is 7.", "answer": "7", "depth": "50%"}"#).depth, Some(0.5));
        assert_eq!(read(r#"{"prompt": "It is 7.", "answer": "7", "answers": [7], "target": null}"#).answer, "7");
        assert_eq!(
            read(r#"{"prompt": "It is 7.", "answer": null, "target": "7", "passkey_position": 6.0}"#).answer,
            "7"
        );
    }

    #[test]
    fn what_cannot_be_is_refused_with_its_line() {
        let say = |line: &str| {
            let good = r#"{"id": "a", "prompt": "It is 7. It is", "answer": "7"}"#;
            let error = lines::fixtures(Path::new("FILE"), &format!("\n{good}\n{line}\n")).unwrap_err();
            assert!(error.help().is_some_and(|help| help.contains("`prompt` and `answer`")));
            error.to_string()
        };
        insta::assert_snapshot!(say(r#"{"prompt": "It is 7.", "answer": ""}"#), @"line 3 of FILE: its `answer` is empty");
        insta::assert_snapshot!(say(r#"{"prompt": " ", "answer": "7"}"#), @"line 3 of FILE: its `prompt` is empty");
        insta::assert_snapshot!(say(r#"{"prompt": "It is 7.", "answer": "7", "depth": 50}"#), @"line 3 of FILE: its `depth`: `50` is not a depth; for per cent write `50%`; depths go from 0 (start) to 1 (end), or from 0% to 100%");
        insta::assert_snapshot!(say(r#"{"prompt": "It is 7.", "answer": "7", "depth": "deep"}"#), @"line 3 of FILE: its `depth`: `deep` is not a depth; depths go from 0 (start) to 1 (end), or from 0% to 100%");
        insta::assert_snapshot!(say(r#"{"prompt": "It is 7.", "answer": "7", "depth": NaN}"#), @"line 3 of FILE: it is no JSON object: expected value at column 48");
        insta::assert_snapshot!(say(r#"{"prompt": "It is 7.", "answer": "7", "length": 0}"#), @"line 3 of FILE: its `length` 0 is not a number of tokens");
        insta::assert_snapshot!(say(r#"{"prompt": "It is 7.", "answer": "7", "length": 100000}"#), @"line 3 of FILE: its `length` of 100000 tokens is impossible: prompt and answer have 9 bytes");
        insta::assert_snapshot!(say(r#"{"prompt": "It is 7.", "answer": "7", "prompt_tokens": -3}"#), @"line 3 of FILE: its `prompt_tokens` -3 is not a number of tokens");
        insta::assert_snapshot!(say(r#"{"prompt": "It is 7.", "answer": "7", "prompt_tokens": 4000}"#), @"line 3 of FILE: its `prompt_tokens` of 4000 are impossible: the prompt has 8 bytes");
        insta::assert_snapshot!(say(r#"{"prompt": "It is 7.", "answer": "8"}"#), @"line 3 of FILE: its answer does not stand in the prompt, so no depth can be counted: add a `depth` from 0 to 1");
        insta::assert_snapshot!(say(r#"{"id": "a", "prompt": "It is 7.", "answer": "7"}"#), @"line 3 of FILE: its id is that of line 2");
        insta::assert_snapshot!(say(r#"{"text": "It is 7.", "answer": "7"}"#), @"line 3 of FILE: it has no `prompt`, `input` or `context`; it has `text`, `answer`");
        insta::assert_snapshot!(say(r#"{"prompt": "It is 7."}"#), @"line 3 of FILE: it has no `answer`, `target` or `output`; it has `prompt`");
        insta::assert_snapshot!(say(r#"{"prompt": "It is 7.", "answer": null}"#), @"line 3 of FILE: its `answer` is null, not an answer");
        insta::assert_snapshot!(say(r#"{"prompt": "It is 7.", "answers": ["7", "8"]}"#), @"line 3 of FILE: its `answers` has 2 answers, and a prompt is asked for one");
        insta::assert_snapshot!(say("7"), @"line 3 of FILE: it is no JSON object: invalid type: integer `7`, expected a map at column 1");
        insta::assert_snapshot!(say(r#"{"prompt": "It is 7.", "input": "It is 8.", "answer": "7"}"#), @"line 3 of FILE: it has `prompt` and `input`, and one of them is the prompt: remove the other");
        insta::assert_snapshot!(say(r#"{"prompt": "It is 7.", "answer": "7", "target": "8"}"#), @"line 3 of FILE: its `answer` and its `target` differ: remove the one that is not the answer");
        insta::assert_snapshot!(say(r#"{"context": "It is 7.", "answer": "7"}"#), @"line 3 of FILE: it has a `context` and no `question`, so nothing is asked");
        insta::assert_snapshot!(say(r#"{"input": "It is 7.", "target": "7", "passkey_position": 3457}"#), @"line 3 of FILE: its `passkey_position` 3457 is no place in the prompt, which has 46 bytes");
        let long = format!(
            "{}The pass key is 7. Remember it. 7 is the pass key. What is it?",
            "The grass is green. ".repeat(100)
        );
        insta::assert_snapshot!(say(&format!(r#"{{"prompt": "{long}", "answer": "7", "depth": 0.1}}"#)), @"line 3 of FILE: its `depth` 0.1 is not where its prompt tells the key, which is at 0.99");
        insta::assert_snapshot!(say(&format!(r#"{{"prompt": "{long}", "answer": "7", "length": 20}}"#)), @"line 3 of FILE: its `length` of 20 tokens is impossible: its prompt alone has 2062 bytes");
        let spread =
            lines::fixtures(Path::new("FILE"), "{\n  \"prompt\": \"It is 7.\",\n  \"answer\": \"7\"\n}\n").unwrap_err();
        insta::assert_snapshot!(format!("{spread} | {}", spread.help().unwrap()), @"FILE: its objects go over several lines | write an object a line: `jq -c . FILE > NEW.jsonl`");
        let list = lines::fixtures(Path::new("FILE"), "[{}]").unwrap_err();
        insta::assert_snapshot!(format!("{list} | {}", list.help().unwrap()), @"FILE: it is one JSON list | write an object a line: `jq -c '.[]' FILE > NEW.jsonl`");
        assert!(read_fixtures(Path::new("/nowhere/at/all")).unwrap_err().to_string().contains("cannot read"));
    }

    proptest! {
        #[test]
        fn any_line_is_a_prompt_or_refused(line in r#"(\{|\}|"(prompt|answer|input|target|depth|length|id)":|,|"a"|"x a y"|-?[0-9]{1,20}|0\.5|null|\[|\]){0,20}"#) {
            let _ = lines::fixtures(Path::new("FILE"), &line);
        }

        #[test]
        fn any_prompt_has_a_place(prompt in "\\PC{1,30}", answer in "\\PC{1,6}", depth in 0.0..=1.0f64) {
            let json = serde_json::json!({"prompt": prompt, "answer": answer, "depth": depth}).to_string();
            if let Ok(read) = lines::fixtures(Path::new("FILE"), &json) {
                prop_assert!(Fixtures::new(&ByteCodec, read, None).unwrap().longest().is_some_and(|length| length > 1));
            }
        }
    }
}
