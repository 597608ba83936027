//! Stored passkey prompts, scored like those of a grid.

use std::path::Path;

use longlens_core::lens::{Control, Lens, TextCodec};
use serde::{Deserialize, Serialize};

use super::templates::needle;
use super::{Cell, PasskeyPrompt, PasskeyReport, SCORING, Series};
use crate::error::EvalError;
use crate::setup::SetupFor;

/// A stored prompt: one line of a JSONL file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Fixture {
    /// Name of the prompt.
    pub id: String,
    /// Target length in tokens, question and answer included.
    pub length: usize,
    /// Share of the filler before the needle.
    pub depth: f64,
    /// The prompt.
    pub prompt: String,
    /// What to find.
    pub answer: String,
    /// Tokens of the prompt under the tokenizer it was made with.
    pub prompt_tokens: usize,
}

impl Fixture {
    /// The prompt as tokens.
    pub fn tokenize(&self, codec: &dyn TextCodec) -> Result<PasskeyPrompt, EvalError> {
        let told = needle(&self.answer);
        let needle = self.prompt.find(&told).map(|start| start..start + told.len());
        PasskeyPrompt::new(codec, self.prompt.clone(), self.answer.clone(), needle, self.length)
    }
}

/// Reads stored prompts, one JSON object a line.
pub fn read_fixtures(path: &Path) -> Result<Vec<Fixture>, EvalError> {
    let text = std::fs::read_to_string(path).map_err(|source| EvalError::Io { path: path.to_owned(), source })?;
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    let read = |(at, line)| {
        let bad = |error: serde_json::Error| EvalError::Fixture {
            path: path.to_owned(),
            line: at + 1,
            reason: error.to_string(),
        };
        serde_json::from_str(line).map_err(bad)
    };
    lines.map(read).collect()
}

/// Runs stored prompts as [`run`](super::run) does a grid; a cell holds all of the same length and depth.
pub fn run_fixtures(
    lens: &mut dyn Lens,
    setup_for: &mut SetupFor,
    fixtures: &[Fixture],
    control: &mut dyn Control,
    on_cell: &mut dyn FnMut(&Cell),
) -> Result<PasskeyReport, EvalError> {
    if fixtures.is_empty() {
        return Err(EvalError::Nothing { what: "stored prompts" });
    }
    let mut sorted: Vec<&Fixture> = fixtures.iter().collect();
    sorted.sort_by(|a, b| a.length.cmp(&b.length).then(a.depth.total_cmp(&b.depth)));
    let n_tokens = sorted.iter().map(|fixture| fixture.length).sum();
    let mut series = Series::new(lens, setup_for, control, on_cell, n_tokens);
    for cell in sorted.chunk_by(|a, b| a.length == b.length && a.depth.total_cmp(&b.depth).is_eq()) {
        let make = |codec: &dyn TextCodec, trial: usize| cell[trial].tokenize(codec);
        if !series.cell((cell[0].length, cell[0].depth), cell.len(), &make)? {
            break;
        }
    }
    Ok(series.report(format!("passkey fixtures: {} stored prompts; {SCORING}", fixtures.len())))
}

#[cfg(test)]
mod tests {
    use longlens_core::methods::Method;
    use longlens_core::rope::RopeScaling;
    use longlens_core::scripted::{ByteCodec, ScriptedLens, induction};

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

    #[test]
    fn stored_prompts_are_grouped_and_scored() {
        let (_folder, path) = written(LINES);
        let fixtures = read_fixtures(&path).unwrap();
        let mut lens = ScriptedLens::new(induction);
        let mut setup_for = fixed(Method::full(), RopeScaling::none(), &lens.model().spec);
        let report = run_fixtures(&mut lens, &mut setup_for, &fixtures, &mut (), &mut |_| {}).unwrap();
        let cells: Vec<_> = report.cells.iter().map(|cell| (cell.length, cell.n_trials, cell.hits_tokens)).collect();
        assert_eq!(cells, [(30, 1, 1), (40, 2, 1)]);
        insta::assert_snapshot!(report.protocol, @"passkey fixtures: 3 stored prompts; greedy, as many tokens as the answer has, hits on exact tokens");
    }

    #[test]
    fn the_needle_is_found_where_it_is_told_in_the_usual_words() {
        let (_folder, path) = written(LINES);
        let needles: Vec<_> =
            read_fixtures(&path).unwrap().iter().map(|f| f.tokenize(&ByteCodec).unwrap().needle).collect();
        assert!(needles[0].is_none() && needles[2].is_none());
        assert_eq!(needles[1].as_ref().map(|needle| (needle.start, needle.end)), Some((1, 51)));
    }

    #[test]
    fn a_bad_line_is_named() {
        let (_folder, path) = written("\n{\"id\": 3}\n");
        let error = read_fixtures(&path).unwrap_err().to_string();
        let at = error.find(" of ").unwrap();
        assert!(error.starts_with("line 2 of ") && error[at..].contains("invalid type"), "{error}");
        assert!(
            read_fixtures(std::path::Path::new("/nowhere/at/all")).unwrap_err().to_string().contains("cannot read")
        );
    }
}
