//! InfiniteBench, in the copy that InfLLM ships.

use serde_json::{Value, json};

use super::Mode;
use super::error::Stop;
use super::leval::choice;
use super::numbers::{float, int};
use super::row::Row;
use super::words::{decimal, split};

/// Whether the first run of ASCII's digits is the key.
pub(super) fn passkey(row: Row<'_>, _: Mode) -> Result<Value, Stop> {
    let mut runs = row.prediction()?.split(|c: char| !c.is_ascii_digit()).filter(|run| !run.is_empty());
    Ok(json!(row.reference()?.as_str() == Some(runs.next().unwrap_or_default())))
}

/// Whether the value is one of the words.
pub(super) fn kv_retrieval(row: Row<'_>, _: Mode) -> Result<Value, Stop> {
    let value = row.reference()?.as_str();
    let spaced = spaced(row.prediction()?, &['\n', ':', '"', '\'', '.', ',', '?', '!', '{', '}']);
    Ok(json!(split(&spaced).any(|word| Some(word) == value)))
}

/// Whether the last word is the result.
pub(super) fn code_run(row: Row<'_>, _: Mode) -> Result<Value, Stop> {
    let spaced = spaced(row.prediction()?, &['\n', '.', '`', '\'', '"', ':']);
    let last = split(&spaced).next_back().and_then(int);
    let result = row.reference()?;
    Ok(json!(last.is_some_and(|last| is_number(result, &last))))
}

/// Whether a number of JSON is the one that `digits` write.
fn is_number(number: &Value, digits: &str) -> bool {
    match number {
        Value::Number(number) if number.is_f64() => number.as_f64() == digits.parse().ok(),
        Value::Number(number) => number.to_string() == digits,
        _ => false,
    }
}

/// Whether the first number is the right one. Of a whole number the script reads a decimal as one, which raises, and no sign belongs to a
/// number.
pub(super) fn math_find(row: Row<'_>, mode: Mode) -> Result<Value, Stop> {
    let (prediction, label) = (row.prediction()?, row.reference()?);
    if mode.is_fixed() {
        let expected = match label {
            Value::String(text) => text.trim().parse().ok(),
            label => label.as_f64(),
        };
        let expected: f64 = expected.ok_or(Stop::Raised("TypeError"))?;
        return Ok(json!(first_number(prediction, true).and_then(float) == Some(expected)));
    }
    let Value::Number(expected) = label else { return Err(Stop::Raised("TypeError")) };
    let Some(number) = first_number(prediction, false) else { return Ok(json!(false)) };
    if expected.is_f64() {
        return Ok(json!(float(number) == expected.as_f64()));
    }
    let number = int(number).ok_or(Stop::Raised("ValueError"))?;
    Ok(json!(is_number(label, &number)))
}

/// The first run of digits, with decimals where they follow, and with the sign before it where it counts.
fn first_number(text: &str, is_signed: bool) -> Option<&str> {
    let is_digit = |c: char| decimal(c).is_some();
    let start = text.find(is_digit)?;
    let end_of = |from: usize| text[from..].find(|c| !is_digit(c)).map_or(text.len(), |at| from + at);
    let mut end = end_of(start);
    if text[end..].starts_with('.') && text[end + 1..].starts_with(is_digit) {
        end = end_of(end + 1);
    }
    let has_sign = is_signed && text[..start].ends_with('-');
    Some(&text[start - usize::from(has_sign)..end])
}

/// Whether the answer chooses the right letter: as its first character, behind a cue, or as the first word that is a part of "ABCD". The
/// script raises where there is no answer, and takes the option itself for another right letter: behind a cue any of its characters is
/// right.
pub(super) fn longbook_choice(row: Row<'_>, mode: Mode) -> Result<Value, Stop> {
    let (prediction, labels) = (row.prediction()?, row.references()?);
    let first = row.reference_text()?;
    if mode.is_fixed() {
        let is_letter = |label: &&str| label.len() == 1 && "ABCD".contains(label);
        let label = labels.iter().copied().find(is_letter).unwrap_or(first);
        return Ok(json!(!label.is_empty() && choice(prediction) == label));
    }
    let chosen: Vec<bool> = labels.iter().map(|label| chooses(prediction, label)).collect::<Result<_, _>>()?;
    Ok(json!(chosen.contains(&true)))
}

fn chooses(prediction: &str, label: &str) -> Result<bool, Stop> {
    let first = prediction.chars().next().ok_or(Stop::Raised("IndexError"))?;
    if ('A'..='D').contains(&first) {
        return Ok(label == first.to_string());
    }
    let spaced = spaced(prediction, &['\n', '"', '\'', '.', ',', '?', '!', '{', '}']);
    // two spaces are made one until there are no two
    let text = spaced.split(' ').filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ");
    let (lead, tail) = (spaced.starts_with(' '), spaced.ends_with(' ') && !text.is_empty());
    let text = format!("{}{text}{}", if lead { " " } else { "" }, if tail { " " } else { "" });
    for cue in ["answer is:", "answer:", "answer is", "option is"] {
        let Some(at) = text.find(cue) else { continue };
        let mut behind = text[at + cue.len()..].chars();
        if behind.next().is_none() {
            return Ok(false);
        }
        let behind = behind.as_str();
        return Ok(label.chars().any(|letter| behind.starts_with(letter)));
    }
    let letter = split(&text).find(|word| "ABCD".contains(word));
    Ok(letter == Some(label))
}

/// The text with a space for each of `marks`.
fn spaced(text: &str, marks: &[char]) -> String {
    text.replace(marks, " ")
}
