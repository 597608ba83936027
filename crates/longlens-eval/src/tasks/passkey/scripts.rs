//! The pass key prompts of the papers' scripts, byte for byte, random numbers included.
//!
//! `LongHeads` (`passkey_retrieval.py`), `ChunkLlama` (`test_passkey.py`, and the grid of `retrieve_needle.py`) and `LongLoRA` hide a number
//! in one repeated sentence of filler. They differ in how they seed NumPy's generator, in what they draw, and in how much filler a length
//! is. The filler before the key and the one behind it both begin the sentence anew, and are cut at a character.

use serde::{Deserialize, Serialize};

use crate::random::NumPy;

/// A script, with the length that it takes.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Script {
    /// `LongHeads`: thousands of tokens, as `--test_k_tokens`.
    LongHeads {
        /// Thousands of tokens; one is 1024.
        k_tokens: usize,
    },
    /// `ChunkLlama`'s pass keys: a length in tokens.
    ChunkLlama {
        /// Tokens.
        seq_len: usize,
    },
    /// `ChunkLlama`'s needle grid: a length in tokens, and a depth.
    NeedleGrid {
        /// Tokens; the script counts thousands of 1000.
        length: usize,
        /// Share of the filler before the key: i / 16 for i from 1 to 16.
        depth: f64,
    },
    /// `LongLoRA`: one of the lengths of its loop.
    LongLora {
        /// Tokens: `(i + 1) * interval`.
        seq_len: usize,
    },
}

/// A prompt of a script.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScriptPrompt {
    /// The whole prompt.
    pub text: String,
    /// What is hidden.
    pub key: u32,
    /// Characters of filler before the line that tells it.
    pub n_before: usize,
    /// Characters of filler in all.
    pub n_garbage: usize,
    /// The first character of that line.
    pub key_line: usize,
}

const TASK: &str = "There is an important info hidden inside a lot of irrelevant text. Find it and memorize them. I will quiz you about \
                    the important information there.";
const FILLER: &str = "The grass is green. The sky is blue. The sun is yellow. Here we go. There and back again.";
const QUESTION: &str = "What is the pass key? The pass key is";

impl Script {
    /// The authors' name of the method that the script comes with.
    pub fn name(self) -> &'static str {
        match self {
            Self::LongHeads { .. } => "LongHeads",
            Self::ChunkLlama { .. } | Self::NeedleGrid { .. } => "ChunkLlama",
            Self::LongLora { .. } => "LongLoRA",
        }
    }

    /// Characters of filler: 3.75 a token, rounded down to whole 1024s.
    pub fn n_garbage(self) -> usize {
        let n_tokens = match self {
            Self::LongHeads { k_tokens } => 1024 * k_tokens,
            Self::ChunkLlama { seq_len } | Self::LongLora { seq_len } => seq_len,
            Self::NeedleGrid { length, .. } => length,
        };
        n_tokens * 15 / 4 / 1024 * 1024
    }

    /// The seed of a trial. `ChunkLlama` and `LongLoRA` seed every length alike: the key of a trial stands at the same character of every
    /// length that it fits into.
    pub fn seed(self, trial: usize) -> u32 {
        match self {
            Self::LongHeads { .. } => (trial + self.n_garbage()) as u32,
            _ => trial as u32,
        }
    }

    /// Characters of filler that the script has at hand: above them its assertion fails.
    pub fn most_garbage(self) -> usize {
        let n_repeats = match self {
            Self::LongHeads { .. } => 100_000,
            Self::ChunkLlama { .. } => 500_000,
            Self::NeedleGrid { .. } => 50_000,
            Self::LongLora { .. } => 5000,
        };
        n_repeats * (FILLER.len() + 1) - 1
    }

    /// The prompt of a trial; lengths without filler, below 274 tokens, have none, and neither have those beyond [`Self::most_garbage`].
    pub fn prompt(self, trial: usize) -> Option<ScriptPrompt> {
        let n_garbage = self.n_garbage();
        if n_garbage == 0 || n_garbage > self.most_garbage() {
            return None;
        }
        let mut random = NumPy::seed(self.seed(trial));
        let (n_before, key) = if let Self::NeedleGrid { depth, .. } = self {
            ((depth * n_garbage as f64) as usize, random.randint(50_000, 500_000))
        } else {
            let n_before = random.randint(0, n_garbage as i64) as usize;
            (n_before, random.randint(1, 50_000))
        };
        Some(ScriptPrompt::new(n_garbage, n_before, key as u32))
    }
}

impl ScriptPrompt {
    /// So many characters of filler, with the line of the key behind so many of them.
    pub fn new(n_garbage: usize, n_before: usize, key: u32) -> Self {
        let filler = |n_chars: usize| -> String {
            let text = FILLER.chars().chain([' ']);
            text.cycle().take(n_chars).collect()
        };
        let told = told(&key.to_string());
        let parts = [TASK, &filler(n_before), &told, &filler(n_garbage - n_before), QUESTION];
        Self { text: parts.join("\n"), key, n_before, n_garbage, key_line: TASK.len() + 1 + n_before + 1 }
    }

    /// The five lines, without their ends.
    pub fn lines(&self) -> impl Iterator<Item = &str> {
        self.text.split('\n')
    }
}

/// The line that tells a key.
pub fn told(key: &str) -> String {
    format!("The pass key is {key}. Remember it. {key} is the pass key.")
}

#[cfg(test)]
mod tests {
    use sha2::{Digest, Sha256};

    use super::*;
    use crate::tasks::golden;

    #[test]
    fn prompts_are_those_of_the_scripts() {
        let mut n_seen = [0; 2];
        for row in
            golden::prompts().iter().filter(|row| ["passkey", "needle_grid"].contains(&row["kind"].as_str().unwrap()))
        {
            let arguments = &row["arguments"];
            let number = |name: &str| arguments[name].as_u64().unwrap() as usize;
            let script = match (row["kind"].as_str().unwrap(), row["source"].as_str().unwrap()) {
                ("needle_grid", _) => {
                    Script::NeedleGrid { length: number("length"), depth: arguments["depth"].as_f64().unwrap() }
                }
                (_, "LuLuLuyi/LongHeads") => Script::LongHeads { k_tokens: number("test_k_tokens") },
                (_, "HKUNLP/ChunkLlama") => Script::ChunkLlama { seq_len: number("seq_len") },
                (_, "dvlab-research/LongLoRA") => Script::LongLora { seq_len: number("seq_len") },
                (_, other) => panic!("another script: {other}"),
            };
            let trial = number("trial");
            assert_eq!((script.n_garbage(), script.seed(trial) as usize), (number("n_garbage"), number("numpy_seed")));
            let prompt = script.prompt(trial).unwrap();
            assert_eq!(prompt.key.to_string(), row["key"].as_str().unwrap(), "{row}");
            assert_eq!(prompt.key_line as u64, row["key_line_at_char"].as_u64().unwrap(), "{row}");
            assert_eq!(format!("{:x}", Sha256::digest(prompt.text)), row["sha256"].as_str().unwrap(), "{row}");
            n_seen[usize::from(row["kind"] == "needle_grid")] += 1;
        }
        assert_eq!(n_seen, [24, 12]);
        assert_eq!(Script::ChunkLlama { seq_len: 273 }.prompt(0), None);
    }

    #[test]
    fn a_trial_of_chunk_llama_has_its_key_at_one_character_of_all_lengths() {
        let places: Vec<_> = [1024, 2048, 4096, 8192]
            .map(|seq_len| Script::ChunkLlama { seq_len }.prompt(0).unwrap())
            .iter()
            .map(|prompt| (prompt.n_before, prompt.key_line, prompt.key))
            .collect();
        assert!(places.iter().all(|place| *place == places[0]) && places[0].0 == 2732, "{places:?}");
        let heads = [1, 2, 4].map(|k_tokens| Script::LongHeads { k_tokens }.prompt(0).unwrap().n_before);
        assert!(heads[0] != heads[1] && heads[1] != heads[2]);
    }

    #[test]
    fn filler_ends_where_the_scripts_assertion_fails() {
        // 449,999 characters: LongLoRA's script ends below 120k tokens of 1024 characters each time
        assert_eq!(Script::LongLora { seq_len: 1 }.most_garbage(), 449_999);
        assert!(Script::LongLora { seq_len: 119_000 }.prompt(0).is_some());
        assert!(Script::LongLora { seq_len: 121_000 }.prompt(0).is_none());
        assert!(Script::ChunkLlama { seq_len: 121_000 }.prompt(0).is_some());
    }
}
