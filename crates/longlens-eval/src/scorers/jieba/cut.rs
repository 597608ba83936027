//! The package's way from a text to words, with its dictionary and the model of `jieba-rs`.
//!
//! The dictionary lies beside this file, in the form that the package has it, without parts of speech: `jieba-rs` would bring its own in a
//! form that takes a C compiler. It differs from the package where Latin letters stand beside dashes and dots; here it only looks for the best path through
//! the dictionary and names unknown words of Chinese signs.

use std::io::BufReader;
use std::sync::LazyLock;

use flate2::read::GzDecoder;
use jieba_rs::Jieba;

/// A word and how often it was counted on every line.
const DICTIONARY: &[u8] = include_bytes!("dict.txt.gz");

static JIEBA: LazyLock<Jieba> = LazyLock::new(|| {
    let mut dictionary = BufReader::new(GzDecoder::new(DICTIONARY));
    Jieba::with_dict(&mut dictionary).expect("the dictionary is a list of words and numbers")
});

fn is_han(c: char) -> bool {
    ('\u{4e00}'..='\u{9fd5}').contains(&c)
}

/// What the dictionary is asked for: Chinese signs, Latin letters, digits and what stands inside names and numbers.
fn is_looked_up(c: char) -> bool {
    is_han(c) || c.is_ascii_alphanumeric() || "+#&._%-".contains(c)
}

/// All words of `text`; joined they are the text.
pub(super) fn words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let end = if is_looked_up(first) {
            let end = rest.find(|c| !is_looked_up(c)).unwrap_or(rest.len());
            look_up(&rest[..end], &mut words);
            end
        } else {
            // other characters are words of their own, a line's end of two characters is one
            let end = if rest.starts_with("\r\n") { 2 } else { first.len_utf8() };
            words.push(rest[..end].to_owned());
            end
        };
        rest = &rest[end..];
    }
    words
}

/// Words of the best path through the dictionary; what it leaves as single signs is put together again and cut by other rules.
fn look_up(block: &str, words: &mut Vec<String>) {
    let mut singles = String::new();
    for token in JIEBA.cut(block, false) {
        let piece = token.word;
        if piece.chars().nth(1).is_some() && JIEBA.has_word(piece) {
            name_unknown(&singles, words);
            singles.clear();
            words.push(piece.to_owned());
        } else {
            singles.push_str(piece);
        }
    }
    name_unknown(&singles, words);
}

/// Words among signs that the dictionary has only one by one.
fn name_unknown(singles: &str, words: &mut Vec<String>) {
    if singles.chars().nth(1).is_none() || JIEBA.has_word(singles) {
        words.extend(singles.chars().map(String::from));
        return;
    }
    let mut rest = singles;
    while let Some(first) = rest.chars().next() {
        let end = rest.find(|c| is_han(c) != is_han(first)).unwrap_or(rest.len());
        let (run, behind) = rest.split_at(end);
        if is_han(first) {
            // the dash keeps a run that is a rare word of the dictionary from being cut into signs: the model decides
            let run = format!("{run}-");
            let tokens = JIEBA.cut(&run, true);
            words.extend(tokens.iter().map(|token| token.word.to_owned()).take_while(|word| word != "-"));
        } else {
            cut_latin(run, words);
        }
        rest = behind;
    }
}

/// Runs of letters and digits, with decimals and a percent sign where they follow, and what stands between.
fn cut_latin(run: &str, words: &mut Vec<String>) {
    let mut rest = run;
    while let Some(first) = rest.chars().next() {
        let end_of = |text: &str, is_in: fn(&char) -> bool| text.find(|c| !is_in(&c)).unwrap_or(text.len());
        let end = if first.is_ascii_alphanumeric() {
            let mut end = end_of(rest, char::is_ascii_alphanumeric);
            if let Some(behind) = rest[end..].strip_prefix('.') {
                let n_digits = end_of(behind, char::is_ascii_digit);
                end += if n_digits > 0 { n_digits + 1 } else { 0 };
            }
            end + usize::from(rest[end..].starts_with('%'))
        } else {
            rest.find(|c: char| c.is_ascii_alphanumeric()).unwrap_or(rest.len())
        };
        words.push(rest[..end].to_owned());
        rest = &rest[end..];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_those_of_the_package() {
        for (text, expected) in [
            ("The-an-a cat, 5 p.m.", "The|-|an|-|a| |cat|,| |5| |p|.|m|."),
            ("价格是3.5元，涨了12%。", "价格|是|3.5|元|，|涨|了|12%|。"),
            ("a\r\n\nb", "a|\r\n|\n|b"),
            ("IP卡和T恤", "IP卡|和|T恤"),
            ("北京大学的学生在图书馆里看书", "北京大学|的|学生|在|图书馆|里|看书"),
            // rare words beside Latin letters
            ("3.5题下临时性", "3.5|题下|临时性"),
            ("还调Python3空泡a&b吴与", "还调|Python3|空泡|a|&|b|吴|与"),
            ("", ""),
        ] {
            assert_eq!(words(text).join("|"), expected, "{text}");
            assert_eq!(words(text).concat(), text);
        }
    }
}
