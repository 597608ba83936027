//! Variables that pass on a value: "VAR DKYRX = 54131", then "VAR QHOAH = VAR DKYRX ", in noise. All five are asked for.
//!
//! An example with its answer stands first: drawn once, of 500 tokens at most, with names and value drawn anew for every sample. The
//! scripts put new names in place of old ones one after the other, wherever their letters stand, so that two may become one; in the fixed
//! mode all names of a prompt differ, and so do the values of example and question.
//!
//! Where the example cannot be as short as 500 tokens the scripts never end; here it is as short as it can be.

use std::collections::HashSet;

use longlens_core::lens::TextCodec;

use super::fit::{self, Drawn, Fit, Purpose, Script};
use super::niah::NOISE;
use super::{Answers, VT};
use crate::error::EvalError;
use crate::random::{NumPy, Python};
use crate::sample::{Prompt, Wrapper};
use crate::scorers::Mode;
use crate::tasks::{Ask, Samples};

/// Variables of a chain: one with the value, and four that pass it on.
const N_NAMES: usize = 5;
/// The value of the example until it gets another.
const EXAMPLE_VALUE: &str = "12345";

/// Draws prompts with variables.
pub struct Variables {
    random: Python,
    numpy: NumPy,
    mode: Mode,
    wrapper: Wrapper,
    /// The example, once it is drawn.
    example: Option<Example>,
}

/// A prompt with its answer that stands before the question.
pub struct Example {
    pub text: String,
    pub names: Vec<String>,
}

/// A question without its wrapping.
pub struct Question {
    pub said: String,
    pub begun: String,
    pub names: Vec<String>,
    value: String,
    chain: Vec<String>,
}

/// The samples of the task.
pub fn samples(ask: &Ask<'_>) -> Result<Samples, EvalError> {
    let mut variables = Variables::seeded(ask.seed(), ask.mode(), ask.wrapper());
    let step = if ask.length() < 4096 { 5 } else { 10 };
    let fit = Fit { least: N_NAMES, ..Fit::new(ask, &VT, step) };
    let n_beside = variables.draw_example(ask.codec, &fit)?;
    fit::samples(ask, Fit { n_beside, ..fit }, variables)
}

impl Variables {
    pub fn seeded(seed: u64, mode: Mode, wrapper: Wrapper) -> Self {
        Self { random: Python::seed(seed.into()), numpy: NumPy::seed(seed as u32), mode, wrapper, example: None }
    }

    /// Draws the example, of 500 tokens without its answer; returns its tokens.
    fn draw_example(&mut self, codec: &dyn TextCodec, fit: &Fit) -> Result<usize, EvalError> {
        const UNANSWERED: Answers = Answers { n_tokens: 0, ..VT };
        let fit = Fit { answers: &UNANSWERED, length: 500, first: 5, step: 5, ..*fit };
        let n_pieces = fit.search(codec, self)?;
        let drawn = match fit.draw(codec, self, n_pieces, 0) {
            Err(EvalError::NoRoom { .. }) => loop {
                if let Some(drawn) = self.draw(codec, fit.least, Purpose::Search)? {
                    break drawn;
                }
            },
            drawn => drawn?,
        };
        let names = drawn.answers;
        let text = format!("{} {}\n", drawn.prompt.text().unwrap_or_default(), names.join(" "));
        let n_tokens = fit.count(codec, &Prompt::Text { text: text.clone(), special: false })?;
        self.example = Some(Example { text, names });
        Ok(n_tokens)
    }

    fn name(&mut self, n_letters: usize) -> String {
        let letters: Vec<char> = ('A'..='Z').collect();
        self.random.choices(&letters, n_letters).into_iter().collect()
    }

    /// A name; in the fixed mode one that is not `used`.
    fn new_name(&mut self, n_letters: usize, used: &mut HashSet<String>) -> String {
        loop {
            let name = self.name(n_letters);
            if self.mode == Mode::Faithful || name != "VAR" && used.insert(name.clone()) {
                return name;
            }
        }
    }

    fn value(&mut self) -> String {
        self.numpy.randint(10_000, 99_999).to_string()
    }

    /// A question with `n_lines` of noise; `None` where the script fails: for names that are alike it draws more of them, and then has no
    /// whole chain of the last ones, and fewer lines than names have no places for these.
    pub fn question(&mut self, n_lines: usize, is_example: bool) -> Option<Question> {
        let n_letters = if is_example { 3 } else { 5 };
        let mut used = HashSet::new();
        let mut names: Vec<_> = (0..N_NAMES).map(|_| self.new_name(n_letters, &mut used)).collect();
        while names.iter().collect::<HashSet<_>>().len() < N_NAMES {
            names.push(self.name(n_letters));
        }
        let value = if is_example { EXAMPLE_VALUE.to_owned() } else { self.value() };
        if names.len() > N_NAMES {
            if !is_example {
                self.value();
            }
            return None;
        }
        let passed_on = names.windows(2).map(|pair| format!("VAR {} = VAR {} ", pair[1], pair[0]));
        let chain: Vec<_> = std::iter::once(format!("VAR {} = {value}", names[0])).chain(passed_on).collect();
        if n_lines < N_NAMES {
            return None;
        }
        let mut places = self.random.sample(&(0..n_lines).collect::<Vec<_>>(), N_NAMES);
        places.sort_unstable();
        let mut lines = vec![NOISE; n_lines];
        for (n_before, (place, line)) in places.into_iter().zip(&chain).enumerate() {
            lines.insert(place + n_before, line);
        }
        let said = format!(
            "Memorize and track the chain(s) of variable assignment hidden in the following text.\n\n{}\nQuestion: Find all variables that \
             are assigned the value {value} in the text above.",
            lines.join("\n")
        );
        let begun = format!(
            " Answer: According to the chain(s) of variable assignment in the text above, {N_NAMES} variables are assigned the value \
             {value}, they are: "
        );
        Some(Question { said, begun, names, value, chain })
    }

    /// The example with names and value drawn anew; in the fixed mode with another value than `other_value`.
    fn example_beside(&mut self, other_value: &str) -> Option<String> {
        let Example { text, names } = self.example.take()?;
        let mut changed = text.clone();
        let mut used = HashSet::new();
        if self.mode == Mode::Fixed {
            // none of the new names is taken for an old one
            for (at, name) in names.iter().enumerate() {
                changed = changed.replace(&**name, &format!("\0{at}"));
            }
        }
        for (at, name) in names.iter().enumerate() {
            let new = self.new_name(name.chars().count(), &mut used);
            let old = if self.mode == Mode::Fixed { format!("\0{at}") } else { name.clone() };
            changed = changed.replace(&*old, &new);
        }
        let mut value = self.value();
        while self.mode == Mode::Fixed && value == other_value {
            value = self.value();
        }
        changed = changed.replace(EXAMPLE_VALUE, &value);
        self.example = Some(Example { text, names });
        Some(changed)
    }
}

impl Script for Variables {
    fn draw(&mut self, codec: &dyn TextCodec, n_pieces: usize, purpose: Purpose) -> Result<Option<Drawn>, EvalError> {
        let is_example = self.example.is_none();
        let Some(question) = self.question(n_pieces, is_example) else { return Ok(None) };
        let before = match purpose {
            Purpose::Search => None,
            Purpose::Sample(_) => self.example_beside(&question.value),
        };
        let Question { mut said, begun, names, chain, .. } = question;
        if let Some(example) = before {
            said = format!("{example}\n{said}");
        }
        let wrapper = if is_example { Wrapper::Off } else { self.wrapper };
        let prompt = wrapper.wrap(codec, &said, &begun)?;
        let told = chain.into_iter().map(|line| line.trim_end().to_owned()).collect();
        Ok(Some(Drawn { prompt, answers: names, told, depth: None }))
    }
}

#[cfg(test)]
mod tests {
    use longlens_core::spec::ModelSpec;
    use serde_json::json;
    use sha2::{Digest, Sha256};

    use super::*;
    use crate::tasks::ruler::tests::Words;
    use crate::tasks::{Disk, Task, golden};

    #[test]
    fn examples_are_those_of_the_script() {
        let (setting, spec) = (Task::parse("ruler_vt").unwrap(), ModelSpec::tiny(4096));
        let fit = Fit::new(&Ask { setting: &setting, spec: &spec, codec: &Words, files: &Disk }, &VT, 10);
        let sha256 = |text: &str| format!("{:x}", Sha256::digest(text));
        let rows = golden::prompts();
        let rows: Vec<_> = rows.iter().filter(|row| row["kind"] == "ruler_vt_icl_example").collect();
        for row in &rows {
            let seed = row["arguments"]["random_seed"].as_u64().unwrap();
            let mut variables = Variables::seeded(seed, Mode::Faithful, Wrapper::Off);
            let n_tokens = variables.draw_example(&Words, &fit).unwrap();
            let Example { text, names } = variables.example.as_ref().unwrap();
            assert_eq!(n_tokens as u64, row["length_field"].as_u64().unwrap() + 5, "its answer has five words");
            assert_eq!(json!(names), row["answers"]);
            assert_eq!(sha256(text), row["sha256"].as_str().unwrap());
            let changed = variables.example_beside("").unwrap();
            assert_eq!(sha256(&changed), row["randomized_sha256"].as_str().unwrap());
        }
        assert_eq!(rows.len(), 2);
    }

    /// Names of the example that stand in its text, one of which is put in place of another here and there.
    fn names_after(mode: Mode, seed: u64) -> usize {
        let mut variables = Variables::seeded(seed, mode, Wrapper::Off);
        let names: Vec<_> = ["QA", "QB", "QC", "QD", "QE"].map(str::to_owned).into();
        variables.example = Some(Example { text: names.join(" "), names });
        let changed = variables.example_beside("").unwrap();
        changed.split(' ').collect::<HashSet<_>>().len()
    }

    #[test]
    fn names_of_an_example_stay_apart_where_faults_are_mended() {
        let n_merged = |mode| (0..300).filter(|seed| names_after(mode, *seed) < N_NAMES).count();
        assert!(n_merged(Mode::Faithful) > 0);
        assert_eq!(n_merged(Mode::Fixed), 0);
    }

    #[test]
    fn names_that_are_alike_fail_as_in_the_script() {
        // seeds with two names of three letters that are alike
        let fails = |mode| {
            let is_failed = |seed: &u64| Variables::seeded(*seed, mode, Wrapper::Off).question(5, true).is_none();
            (0..5000).filter(is_failed).count()
        };
        assert!((1..20).contains(&fails(Mode::Faithful)));
        assert_eq!(fails(Mode::Fixed), 0);
        assert!(
            Variables::seeded(42, Mode::Fixed, Wrapper::Off).question(4, true).is_none(),
            "four lines have no five places"
        );
    }
}
