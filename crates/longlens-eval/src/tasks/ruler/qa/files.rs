//! The files of questions, as `SQuAD` and `HotpotQA` are published.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::error::EvalError;
use crate::tasks::Files;
use crate::text::text_of;

/// What a file is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// Articles with paragraphs, and questions about each; those without an answer are left out.
    Squad,
    /// Questions with ten paragraphs of articles each.
    Hotpot,
}

/// Questions, and the documents that they share.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Questions {
    /// Each once, sorted.
    pub documents: Vec<String>,
    pub all: Vec<Question>,
}

/// A question, with numbers of documents.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    pub text: String,
    pub answers: Vec<String>,
    pub own: Vec<usize>,
    /// Others of the same article.
    pub same_article: Vec<usize>,
}

#[derive(Deserialize)]
struct Squad {
    data: Vec<Article>,
}

#[derive(Deserialize)]
struct Article {
    paragraphs: Vec<Paragraph>,
}

#[derive(Deserialize)]
struct Paragraph {
    context: String,
    qas: Vec<SquadQuestion>,
}

#[derive(Deserialize)]
struct SquadQuestion {
    question: String,
    /// Version 1 has only questions with answers, and does not say so.
    #[serde(default)]
    is_impossible: bool,
    #[serde(default)]
    answers: Vec<SquadAnswer>,
}

#[derive(Deserialize)]
struct SquadAnswer {
    text: String,
}

#[derive(Deserialize)]
struct HotpotQuestion {
    question: String,
    answer: String,
    /// Titles with sentences.
    context: Vec<(String, Vec<String>)>,
}

impl Source {
    /// What a user does who has no file yet.
    pub fn help(self) -> &'static str {
        match self {
            Self::Squad => "download SQuAD's dev-v2.0.json, and give it as `ruler_qa_squad:file=dev-v2.0.json`",
            Self::Hotpot => {
                "download HotpotQA's hotpot_dev_distractor_v1.json, and give it as \
                 `ruler_qa_hotpot:file=hotpot_dev_distractor_v1.json`"
            }
        }
    }

    fn form(self) -> &'static str {
        match self {
            Self::Squad => {
                "SQuAD's files are {\"data\": [{\"paragraphs\": [{\"context\": …, \"qas\": [{\"question\": …, \"answers\": [{\"text\": …}]}]}]}]}"
            }
            Self::Hotpot => {
                "HotpotQA's files are [{\"question\": …, \"answer\": …, \"context\": [[title, [sentence, …]], …]}, …]"
            }
        }
    }
}

impl Questions {
    /// The questions of a file.
    ///
    /// Errors name the file, and the place of what is wrong in it.
    pub fn read(source: Source, name: &str, files: &dyn Files) -> Result<Self, EvalError> {
        let path = Path::new(name);
        let text = text_of(path, files.read(name)?)?;
        let questions = match source {
            Source::Squad => Self::of_squad(parse(source, path, &text)?),
            Source::Hotpot => Self::of_hotpot(parse(source, path, &text)?),
        };
        let refuse = |problem: String| EvalError::File { path: path.to_owned(), problem, help: source.form().into() };
        if questions.all.is_empty() {
            return Err(refuse("it has no questions with answers".into()));
        }
        match questions.all.iter().position(|question| question.own.is_empty() || question.answers.is_empty()) {
            None => Ok(questions),
            Some(at) => {
                let question = &questions.all[at];
                let missing = if question.own.is_empty() { "document" } else { "answer" };
                Err(refuse(format!("question {} (`{}`) has no {missing}", at + 1, question.text)))
            }
        }
    }

    fn of_squad(squad: Squad) -> Self {
        let paragraphs = squad.data.iter().flat_map(|article| &article.paragraphs);
        let (documents, numbers) = sorted(paragraphs.map(|paragraph| paragraph.context.clone()));
        let mut all = Vec::new();
        for article in squad.data {
            let held: Vec<_> = article.paragraphs.iter().map(|paragraph| numbers[&paragraph.context]).collect();
            for paragraph in article.paragraphs {
                let own = numbers[&paragraph.context];
                for question in paragraph.qas.into_iter().filter(|question| !question.is_impossible) {
                    all.push(Question {
                        text: question.question,
                        answers: question.answers.into_iter().map(|answer| answer.text).collect(),
                        own: vec![own],
                        same_article: held.iter().copied().filter(|document| *document != own).collect(),
                    });
                }
            }
        }
        Self { documents, all }
    }

    fn of_hotpot(hotpot: Vec<HotpotQuestion>) -> Self {
        let document = |(title, sentences): &(String, Vec<String>)| format!("{title}\n{}", sentences.concat());
        let (documents, numbers) = sorted(hotpot.iter().flat_map(|question| &question.context).map(document));
        let all = hotpot.into_iter().map(|question| Question {
            text: question.question,
            answers: vec![question.answer],
            own: question.context.iter().map(|part| numbers[&document(part)]).collect(),
            same_article: Vec::new(),
        });
        Self { all: all.collect(), documents }
    }
}

fn parse<T: DeserializeOwned>(source: Source, path: &Path, text: &str) -> Result<T, EvalError> {
    serde_json::from_str(text).map_err(|error| EvalError::File {
        path: path.to_owned(),
        problem: error.to_string(),
        help: source.form().into(),
    })
}

/// Documents each once, sorted, and their numbers.
fn sorted(documents: impl Iterator<Item = String>) -> (Vec<String>, HashMap<String, usize>) {
    let mut documents: Vec<_> = documents.collect::<HashSet<_>>().into_iter().collect();
    documents.sort_unstable();
    let numbers = documents.iter().cloned().zip(0..).collect();
    (documents, numbers)
}
