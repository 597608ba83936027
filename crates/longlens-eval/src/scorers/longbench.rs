//! LongBench: `metrics.py` and `eval.py`.

pub mod corpus;

use serde_json::{Value, json};

use super::error::{ScoreError, Stop};
use super::jieba;
use super::overlap::{f1, fair_f1, word_f1};
use super::rouge::{STEPS, rouge_l};
use super::row::Row;
use super::words::{decimal, is_blank, is_punctuation, runs_of_digits};
use super::{Mode, fuzz, larger};

/// The best of all references from 0.0 on, so that a question without references scores 0.
fn best<T>(references: impl IntoIterator<Item = T>, score: impl FnMut(T) -> Result<f64, Stop>) -> Result<f64, Stop> {
    references.into_iter().map(score).try_fold(0.0, |best, score| Ok(larger(best, score?)))
}

/// F1 of normalized words.
pub(super) fn qa_f1(row: Row<'_>, mode: Mode) -> Result<Value, Stop> {
    let prediction = row.prediction()?;
    best(row.references()?, |reference| Ok(word_f1(prediction, reference, mode.is_fixed()))).map(Value::from)
}

/// F1 of Chinese words.
pub(super) fn qa_f1_zh(row: Row<'_>, mode: Mode) -> Result<Value, Stop> {
    let (prediction, references) = jieba::words(row)?;
    let prediction = without_punctuation(&prediction, mode);
    let f1 = if mode.is_fixed() { fair_f1 } else { f1 };
    best(references, |reference| Ok(f1(&prediction, &without_punctuation(&reference, mode)))).map(Value::from)
}

/// Words in small letters, without blanks and the punctuation of ASCII and of Chinese; those of which nothing is left are dropped.
fn without_punctuation(words: &[String], mode: Mode) -> Vec<String> {
    let is_kept = |c: &char| !is_blank(*c) && !is_punctuation(*c) && !is_chinese_punctuation(*c, mode);
    let bare = |word: &String| word.to_lowercase().chars().filter(is_kept).collect::<String>();
    words.iter().map(bare).filter(|word| !word.is_empty()).collect()
}

/// The marks that the script lists: of the pair of angle brackets it has the closing one only.
fn is_chinese_punctuation(c: char, mode: Mode) -> bool {
    match c {
        '《' => mode.is_fixed(),
        '．' | '０'..='９' | 'Ａ'..='Ｚ' | 'ａ'..='ｚ' => false,
        _ => matches!(c,
            '！'..='､' | '、' | '。' | '〃' | '》'..='】' | '〔'..='〟' | '〰' | '〾' | '〿' | '–' | '—' | '‘' | '’'
            | '‛'..='‟' | '…' | '‧' | '﹏'),
    }
}

/// ROUGE-L.
pub(super) fn rouge(row: Row<'_>, mode: Mode) -> Result<Value, Stop> {
    let prediction = row.prediction()?;
    best(row.references()?, |reference| rouge_of(prediction, reference, mode, STEPS)).map(Value::from)
}

/// ROUGE-L of Chinese words. One call more of Python's leaves one step fewer.
pub(super) fn rouge_zh(row: Row<'_>, mode: Mode) -> Result<Value, Stop> {
    let (prediction, references) = jieba::words(row)?;
    let prediction = prediction.join(" ");
    best(references, |reference| rouge_of(&prediction, &reference.join(" "), mode, STEPS - 1)).map(Value::from)
}

fn rouge_of(prediction: &str, reference: &str, mode: Mode, steps: usize) -> Result<f64, Stop> {
    Ok(rouge_l(prediction, reference, (!mode.is_fixed()).then_some(steps)).ok_or(ScoreError::TooLong)?)
}

/// The share of names of classes that are the right one, among those in the text.
pub(super) fn classification(row: Row<'_>, mode: Mode) -> Result<Value, Stop> {
    let (prediction, classes) = (first_line(row.prediction()?), row.texts("all_classes")?);
    best(row.references()?, |reference| Ok(class_share(prediction, reference, &classes, mode))).map(Value::from)
}

/// The line that counts where a model goes on with another example.
pub fn first_line(prediction: &str) -> &str {
    prediction.trim_start_matches('\n').split('\n').next().unwrap_or_default()
}

/// 1 by the number of classes named in `prediction` if `reference` is among them, else 0. Classes whose names are parts of the right one's
/// are not counted; the script takes them out of the list that it goes through, and so passes over the one behind each.
pub fn class_share(prediction: &str, reference: &str, classes: &[&str], mode: Mode) -> f64 {
    let is_part = |name: &str| reference.contains(name) && name != reference;
    let mut named: Vec<&str> = classes.iter().copied().filter(|name| prediction.contains(name)).collect();
    if mode.is_fixed() {
        named.retain(|name| !is_part(name));
    } else {
        let mut at = 0;
        while at < named.len() {
            let name = named[at];
            if is_part(name) {
                let first = named.iter().position(|other| *other == name).unwrap_or(at);
                named.remove(first);
            }
            at += 1;
        }
    }
    if named.contains(&reference) { 1.0 / named.len() as f64 } else { 0.0 }
}

/// The share of numbers in the text that are the right one.
pub(super) fn count(row: Row<'_>, mode: Mode) -> Result<Value, Stop> {
    let prediction = row.prediction()?;
    best(row.references()?, |reference| Ok(number_share(prediction, reference, mode))).map(Value::from)
}

/// The same for the number of a paragraph.
pub(super) fn retrieval(row: Row<'_>, mode: Mode) -> Result<Value, Stop> {
    of_paragraph(row, "Paragraph ", mode)
}

/// The same in Chinese.
pub(super) fn retrieval_zh(row: Row<'_>, mode: Mode) -> Result<Value, Stop> {
    of_paragraph(row, "段落", mode)
}

fn of_paragraph(row: Row<'_>, before: &str, mode: Mode) -> Result<Value, Stop> {
    let prediction = row.prediction()?;
    let score = |reference: &str| {
        let number = |(at, _): (usize, &str)| leading_digits(&reference[at + before.len()..]);
        let found = reference.match_indices(before).find_map(number);
        let any = || runs_of_digits(reference).next().filter(|_| mode.is_fixed());
        match found.or_else(any) {
            Some(number) => Ok(number_share(prediction, number, mode)),
            None if mode.is_fixed() => Ok(0.0),
            None => Err(Stop::Raised("IndexError")),
        }
    };
    best(row.references()?, score).map(Value::from)
}

fn leading_digits(text: &str) -> Option<&str> {
    let end = text.find(|c| decimal(c).is_none()).unwrap_or(text.len());
    (end > 0).then_some(&text[..end])
}

fn number_share(prediction: &str, number: &str, mode: Mode) -> f64 {
    let value = |digits: &str| super::numbers::int(digits);
    let is_right = |found: &str| {
        found == number || mode.is_fixed() && value(found).is_some_and(|found| Some(found) == value(number))
    };
    let numbers: Vec<&str> = runs_of_digits(prediction).collect();
    let n_right = numbers.iter().filter(|found| is_right(found)).count();
    if numbers.is_empty() { 0.0 } else { n_right as f64 / numbers.len() as f64 }
}

/// How alike the first line of code and the right one are, in whole percents.
pub(super) fn code_sim(row: Row<'_>, mode: Mode) -> Result<Value, Stop> {
    let line = code_line(row.prediction()?.trim_start_matches('\n'), |_| true);
    code_similarity(row, line, mode)
}

/// The first line of `text` without backticks and comments that `counts`, which is nothing where there is none.
pub(super) fn code_line(text: &str, counts: impl Fn(&str) -> bool) -> &str {
    let is_code = |line: &&str| counts(line) && !line.contains(['`', '#']) && !line.contains("//");
    text.split('\n').find(is_code).unwrap_or_default()
}

/// The best likeness of a line to the references.
pub(super) fn code_similarity(row: Row<'_>, line: &str, mode: Mode) -> Result<Value, Stop> {
    let ratio = if mode.is_fixed() { fuzz::edit_ratio } else { fuzz::ratio };
    Ok(json!(best(row.references()?, |reference| Ok(ratio(line, reference) / 100.0))?))
}
