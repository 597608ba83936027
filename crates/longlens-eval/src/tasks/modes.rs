//! What `mode=fixed` does otherwise than the scripts, in a sentence for each task that has both modes.

use super::Task;

/// RULER's scripts, all of them.
const RULER: &str =
    "prompt and answer have at most the length with the model's own first token, which the scripts do not count";
/// Those of them that take whole steps of pieces away from a prompt that is too long.
const RULER_STEPS: &str =
    "prompts are filled to a single piece of haystack, where the scripts take many pieces away at a time";
/// Where scorers have two modes as well.
const SCORERS: &str = "answers are scored as the list of scorers says of `fixed`";

impl Task {
    /// What `mode=fixed` does otherwise than the script; `None` of tasks that have no modes. Scorers say for themselves what they do
    /// otherwise ([`crate::scorers::Scorer::fixed`]).
    pub fn fixed(&self) -> Option<String> {
        let name = self.info.name;
        let own = match name {
            "passkey_longheads" => {
                "the length is that of prompt and answer in the model's tokens, where the script rounds it down to whole 1024s and takes 3.75 \
                 characters for a token; keys are compared as text, and a key at the beginning of a chunk is not taken for one that is split"
            }
            "passkey_chunkllama" | "passkey_longlora" => {
                "key and place are drawn anew for every length, where the script has the key of a trial at the same character of all of them, \
                 ever nearer to the beginning; the length is in the model's tokens, and keys are compared as text"
            }
            "needle_chunkllama" => {
                "the key is drawn anew for every cell, the length is in the model's tokens, and keys are compared as text"
            }
            "needle" | "needle_fu" => {
                "prompt and answer have the length, where the scripts take 200 tokens off, and needles stand between sentences of the text, \
                 where the scripts look for the token of a full stop"
            }
            "perplexity_sliding" => {
                "of every window the last `stride` tokens count (Press et al., 2021), over all whole windows, in powers of e; the scripts count \
                 all tokens of a window, leave out the last one or two windows and take 2.71828 for e"
            }
            "niah_single_1" | "niah_single_2" | "niah_single_3" | "niah_multikey_1" | "niah_multikey_2"
            | "niah_multikey_3" => {
                "a needle that alone has its key says `The special magic …`, where the script says `One of the special magic …`, and no key \
                 stands twice"
            }
            "niah_multiquery" => "no key stands twice",
            "ruler_vt" => {
                "no variable is called VAR, no name stands twice, and the example has another value than the question"
            }
            "ruler_cwe" => {
                "the search for the length tries no more words than there are, where the script fails; a prompt that needs more is refused"
            }
            "ruler_fwe" => "there are words enough for the three most frequent ones to be clear",
            "niah_multivalue" | "ruler_qa_squad" | "ruler_qa_hotpot" | "ruler_file" => "",
            _ if matches!(self.family, "fewshot" | "scrolls" | "infinitebench") => "",
            _ if self.family == "longbench" || self.family == "longbench_e" => {
                "`max_length` holds prompt, wrapping and answer, where the script counts the prompt alone before it cuts and wraps it"
            }
            _ if self.family == "leval" => {
                "in the scripts' form of Llama 2, gsm100 and codeU are closed with [/INST] as the others are, and braces in documents stay as they \
                 are"
            }
            _ if self.family == "babilong" => {
                "examples do not open a second <context>, and prompts that are made have the length with instruction, question and answer"
            }
            _ => return None,
        };
        let parts = [
            (true, own),
            (self.family == "ruler" && name != "ruler_file", RULER),
            (self.family == "ruler" && !["ruler_cwe", "ruler_fwe", "ruler_file"].contains(&name), RULER_STEPS),
            (!matches!(self.family, "perplexity" | "passkey"), SCORERS),
        ];
        let parts: Vec<&str> =
            parts.into_iter().filter(|(is_so, part)| *is_so && !part.is_empty()).map(|(_, part)| part).collect();
        Some(parts.join("; "))
    }
}

#[cfg(test)]
mod tests {
    use crate::tasks::{MODE, TASKS};

    #[test]
    fn a_task_with_two_modes_says_how_they_differ_and_no_other_does() {
        for task in TASKS.iter() {
            let has_modes = task.info.params.iter().any(|param| param.name == MODE.name);
            assert_eq!(task.fixed().is_some_and(|told| !told.is_empty()), has_modes, "{}", task.info.name);
        }
    }
}
