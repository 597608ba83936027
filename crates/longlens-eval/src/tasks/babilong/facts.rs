//! Stories of facts with a question: from bAbI's files, and some of our own.
//!
//! Weston et al., 2015, "Towards AI-Complete Question Answering", arXiv:1502.05698, is where the questions of BABILong come from. Its files have a
//! numbered sentence a line; numbers begin at 1 with every story, and a question has its answer and the numbers of the facts that decide
//! it behind tabs.

use std::path::Path;

use crate::error::EvalError;
use crate::random::Python;

/// Facts in their order, and a question about them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Story {
    pub facts: Vec<String>,
    pub question: String,
    pub answer: String,
    /// Places of the facts that decide it, where they are known.
    pub deciding: Vec<usize>,
}

/// The stories of a file of bAbI's: one for every question, with all facts before it.
pub(super) fn read(path: &Path, text: &str) -> Result<Vec<Story>, EvalError> {
    let mut stories = Vec::new();
    let mut facts: Vec<(usize, String)> = Vec::new();
    for (at, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let refused = |reason: &str| EvalError::Line {
            path: path.to_owned(),
            line: at + 1,
            reason: reason.to_owned(),
            help:
                "bAbI's files have lines as `1 Mary went to the kitchen.` and `2 Where is Mary?⇥kitchen⇥1`, with tabs"
                    .into(),
        };
        let (number, sentence) = line.split_once(' ').ok_or_else(|| refused("there is no number before a sentence"))?;
        let number: usize = number.parse().map_err(|_| refused("the line does not begin with a number"))?;
        if number == 1 {
            facts.clear();
        }
        let mut parts = sentence.split('\t');
        let sentence = parts.next().unwrap_or_default().trim();
        let Some(answer) = parts.next() else {
            facts.push((number, sentence.to_owned()));
            continue;
        };
        if facts.is_empty() || answer.trim().is_empty() {
            return Err(refused(if facts.is_empty() { "a question has no facts" } else { "a question has no answer" }));
        }
        let numbers = parts.next().unwrap_or_default().split_whitespace();
        let places = numbers.map(|text| {
            let number = text.parse().ok();
            let place = number.and_then(|number: usize| facts.iter().position(|(known, _)| *known == number));
            place.ok_or_else(|| refused("the number behind an answer is that of no fact"))
        });
        stories.push(Story {
            deciding: places.collect::<Result<_, _>>()?,
            facts: facts.iter().map(|(_, fact)| fact.clone()).collect(),
            question: sentence.to_owned(),
            answer: answer.trim().to_owned(),
        });
    }
    Ok(stories)
}

const PEOPLE: [&str; 4] = ["Ada", "Bruno", "Clara", "Dmitri"];
const PLACES: [&str; 6] = ["bathroom", "bedroom", "garden", "hallway", "kitchen", "office"];
const MOVES: [&str; 5] = ["moved to", "went to", "went back to", "journeyed to", "travelled to"];

/// A story of the kind of `qa1` that is not bAbI's: people move, and one of them is asked for.
pub(super) fn own(random: &mut Python) -> Story {
    let n_facts = 2 * random.randint(1, 5) as usize;
    let mut places: [Option<usize>; PEOPLE.len()] = [None; PEOPLE.len()];
    let mut told = Vec::with_capacity(n_facts);
    let mut facts = Vec::with_capacity(n_facts);
    for _ in 0..n_facts {
        let person = random.below(PEOPLE.len() as u64) as usize;
        let mut place = random.below(PLACES.len() as u64) as usize;
        // nobody moves to where they are
        if places[person] == Some(place) {
            place = (place + 1) % PLACES.len();
        }
        places[person] = Some(place);
        told.push(person);
        facts.push(format!("{} {} the {}.", PEOPLE[person], random.choice(&MOVES), PLACES[place]));
    }
    let person = *random.choice(&told);
    let last = told.iter().rposition(|other| *other == person).unwrap_or_default();
    Story {
        facts,
        question: format!("Where is {}?", PEOPLE[person]),
        answer: PLACES[places[person].unwrap_or_default()].to_owned(),
        deciding: vec![last],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "1 Mary moved to the bathroom.\n2 John went to the hallway.\n3 Where is Mary? \tbathroom\t1\n4 Daniel went back to the \
                        hallway.\n5 Where is Daniel? \thallway\t4\n1 John got the milk.\n2 What is John carrying? \tmilk\t1\n";

    fn refused(text: &str) -> String {
        let error = read(Path::new("qa1.txt"), text).unwrap_err();
        error.to_string()
    }

    #[test]
    fn every_question_is_a_story_of_the_facts_before_it() {
        let stories = read(Path::new("qa1.txt"), FILE).unwrap();
        let told: Vec<_> = stories.iter().map(|story| (story.facts.len(), &*story.question, &*story.answer)).collect();
        assert_eq!(
            told,
            [
                (2, "Where is Mary?", "bathroom"),
                (3, "Where is Daniel?", "hallway"),
                (1, "What is John carrying?", "milk")
            ]
        );
        assert_eq!(stories[1].deciding, [2], "numbers count questions, places do not");
        assert_eq!(stories[1].facts[2], "Daniel went back to the hallway.");
    }

    #[test]
    fn lines_of_another_form_are_refused() {
        insta::assert_snapshot!(refused("1 Mary left.\nJohn left.\n"), @"line 2 of qa1.txt: the line does not begin with a number");
        insta::assert_snapshot!(refused("word\n"), @"line 1 of qa1.txt: there is no number before a sentence");
        insta::assert_snapshot!(refused("1 Who?\tMary\t1\n"), @"line 1 of qa1.txt: a question has no facts");
        insta::assert_snapshot!(refused("1 Mary left.\n2 Who?\t \t1\n"), @"line 2 of qa1.txt: a question has no answer");
        insta::assert_snapshot!(refused("1 Mary left.\n2 Who?\tMary\t7\n"), @"line 2 of qa1.txt: the number behind an answer is that of no fact");
    }

    #[test]
    fn own_stories_answer_their_question() {
        for seed in 0..200 {
            let story = own(&mut Python::seed(seed));
            let person = story.question.strip_prefix("Where is ").unwrap().trim_end_matches('?');
            let last = story.facts.iter().rposition(|fact| fact.starts_with(person)).unwrap();
            assert_eq!(story.deciding, [last]);
            assert!(story.facts[last].ends_with(&format!(" the {}.", story.answer)), "{story:?}");
        }
    }
}
