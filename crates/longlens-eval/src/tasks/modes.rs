//! What `mode=fixed` does otherwise than the scripts, in a sentence for each task that has both modes.

use super::Task;

/// RULER's scripts, all of them.
const RULER: &str = "prompt and answer have at most the length with the model's own first token, which the scripts do not count, and fill \
                     it to a piece of haystack, where the scripts take away many pieces at a time";

impl Task {
    /// What `mode=fixed` does otherwise than the script; `None` of tasks that have no modes. Scorers say for themselves what they do
    /// otherwise ([`crate::scorers::Scorer::fixed`]).
    pub fn fixed(&self) -> Option<String> {
        let name = self.info.name;
        let own = match name {
            "passkey_longheads" => {
                "the length is that of prompt and answer in the model's tokens, where the script takes 3.75 characters for a token and whole \
                 1024s of them; keys are compared as text, and a key at the beginning of a chunk is not taken for one that is split"
            }
            "passkey_chunkllama" | "passkey_longlora" => {
                "key and place are drawn anew for every length, where the script has the key of a trial at the same character of all of them, \
                 ever nearer to the beginning; the length is in the model's tokens, and keys are compared as text"
            }
            "needle_chunkllama" => {
                "key and place are drawn anew for every cell, the length is in the model's tokens, and keys are compared as text"
            }
            "needle" | "needle_fu" => {
                "prompt and answer have the length, where the scripts take 200 tokens off, and needles stand between sentences of the text, \
                 where the scripts look for the token of a full stop"
            }
            "perplexity_sliding" => {
                "of every window the last `stride` tokens count (Press et al., 2021), over all whole windows, in powers of e; the scripts count \
                 all tokens of a window, leave out the last window and take 2.71828 for e. `longlens perplexity --sliding` counts all \
                 tokens of every whole window"
            }
            "niah_multikey_2" | "niah_multikey_3" | "niah_multikey_1" | "niah_multivalue" | "niah_multiquery" => {
                "no key stands twice in a prompt"
            }
            "niah_single_1" | "niah_single_2" | "niah_single_3" => {
                "the needle says that it is the only one, where the script says `One of the special magic numbers`"
            }
            "ruler_vt" => {
                "no variable is called VAR, no name stands twice, and the example has another value than the question"
            }
            "ruler_cwe" => {
                "a prompt that needs more different words than there are is refused, where the script stops with an error"
            }
            "ruler_fwe" => "there are words enough for the three most frequent ones to be clear",
            "ruler_qa_squad" | "ruler_qa_hotpot" => "",
            _ if self.family == "longbench" || self.family == "longbench_e" => {
                "the answer counts in the most tokens, beside the prompt, and the cut prompt is no longer than allowed where two halves make \
                 other tokens; answers are scored as the scorer says"
            }
            _ if self.family == "leval" => {
                "prompts of all tasks end in [/INST], and braces of documents stay as they are; answers are scored as the scorer says"
            }
            _ if self.family == "babilong" => {
                "examples do not open a second <context>, made prompts have the length with question and answer, and answers are scored as the \
                 scorer says"
            }
            _ => return None,
        };
        let is_ruler = self.family == "ruler";
        let parts: Vec<&str> =
            [own, if is_ruler { RULER } else { "" }].into_iter().filter(|part| !part.is_empty()).collect();
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
