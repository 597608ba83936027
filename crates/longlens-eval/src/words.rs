//! Text as Python sees it: blanks, words, digits; and words as the fixed scorers look for them.

/// What `str.split()` and `\s` take for blank: also the four separators of ASCII, which Unicode's property leaves out.
pub(crate) fn is_blank(c: char) -> bool {
    c.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&c)
}

/// `text.split()`.
pub(super) fn split(text: &str) -> impl DoubleEndedIterator<Item = &str> {
    text.split(is_blank).filter(|word| !word.is_empty())
}

/// `text.strip()`.
pub(crate) fn strip(text: &str) -> &str {
    text.trim_matches(is_blank)
}

/// `\w`: letters, digits and the underscore. Vowel signs of Indian scripts count as letters here and not in Python; they never stand
/// behind a Latin letter.
pub(crate) fn is_word(c: char) -> bool {
    c == '_' || c.is_alphanumeric()
}

/// `string.punctuation`.
pub(super) fn is_punctuation(c: char) -> bool {
    c.is_ascii_punctuation()
}

/// First characters of Unicode's runs of ten decimal digits.
const ZEROS: [u32; 66] = [
    0x30, 0x660, 0x6f0, 0x7c0, 0x966, 0x9e6, 0xa66, 0xae6, 0xb66, 0xbe6, 0xc66, 0xce6, 0xd66, 0xde6, 0xe50, 0xed0,
    0xf20, 0x1040, 0x1090, 0x17e0, 0x1810, 0x1946, 0x19d0, 0x1a80, 0x1a90, 0x1b50, 0x1bb0, 0x1c40, 0x1c50, 0xa620,
    0xa8d0, 0xa900, 0xa9d0, 0xa9f0, 0xaa50, 0xabf0, 0xff10, 0x1_04a0, 0x1_0d30, 0x1_1066, 0x1_10f0, 0x1_1136, 0x1_11d0,
    0x1_12f0, 0x1_1450, 0x1_14d0, 0x1_1650, 0x1_16c0, 0x1_1730, 0x1_18e0, 0x1_1950, 0x1_1c50, 0x1_1d50, 0x1_1da0,
    0x1_6a60, 0x1_6ac0, 0x1_6b50, 0x1_d7ce, 0x1_d7d8, 0x1_d7e2, 0x1_d7ec, 0x1_d7f6, 0x1_e140, 0x1_e2f0, 0x1_e950,
    0x1_fbf0,
];

/// The value of a decimal digit of any script, which `\d`, `int` and `float` of Python take.
pub(crate) fn decimal(c: char) -> Option<u8> {
    let behind = ZEROS.partition_point(|zero| *zero <= u32::from(c));
    let zero = ZEROS.get(behind.checked_sub(1)?)?;
    u8::try_from(u32::from(c) - zero).ok().filter(|value| *value < 10)
}

/// `str.isdigit()`: decimal digits, and those raised, lowered, in circles, brackets or before a full stop.
pub(super) fn is_digit(c: char) -> bool {
    decimal(c).is_some()
        || matches!(c,
            '²' | '³' | '¹' | '\u{1369}'..='\u{1371}' | '\u{19da}' | '⁰' | '⁴'..='⁹' | '₀'..='₉' | '①'..='⑨' | '⑴'..='⑼'
            | '⒈'..='⒐' | '⓪' | '⓵'..='⓽' | '⓿' | '❶'..='❾' | '➀'..='➈' | '➊'..='➒' | '\u{10a40}'..='\u{10a43}'
            | '\u{10e60}'..='\u{10e68}' | '\u{11052}'..='\u{1105a}' | '\u{1f100}'..='\u{1f10a}')
}

/// All runs of decimal digits: `re.findall(r"\d+", text)`.
pub(super) fn runs_of_digits(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c| decimal(c).is_none()).filter(|run| !run.is_empty())
}

/// Whether a script sets no blanks between words, so that a word may begin and end anywhere.
pub(super) fn is_unspaced(c: char) -> bool {
    matches!(c,
        '\u{e00}'..='\u{eff}' | '\u{1000}'..='\u{109f}' | '\u{1100}'..='\u{11ff}' | '\u{1780}'..='\u{17ff}'
        | '\u{2e80}'..='\u{a4cf}' | '\u{ac00}'..='\u{d7ff}' | '\u{f900}'..='\u{faff}' | '\u{ff66}'..='\u{ffdc}'
        | '\u{2_0000}'..='\u{3_ffff}')
}

/// Whether `part` stands in `text` as words: no letter or digit goes on where it begins or ends. Nothing stands nowhere.
pub(super) fn contains_words(text: &str, part: &str) -> bool {
    let goes_on = |inside: Option<char>, beside: Option<char>| match (inside, beside) {
        (Some(inside), Some(beside)) => {
            is_word(inside) && is_word(beside) && !is_unspaced(inside) && !is_unspaced(beside)
        }
        _ => false,
    };
    let (first, last) = (part.chars().next(), part.chars().next_back());
    first.is_some()
        && text.match_indices(part).any(|(at, _)| {
            let before = text[..at].chars().next_back();
            let after = text[at + part.len()..].chars().next();
            !goes_on(first, before) && !goes_on(last, after)
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_begin_and_end_at_their_edges() {
        for (text, part, expected) in [
            ("I know", "no", false),
            ("no one", "no", true),
            ("none", "one", false),
            ("4821937.", "4821937", true),
            ("14821937", "4821937", false),
            ("the-office", "office", true),
            ("答案是北京", "北京", true),
            ("C++ code", "C++", true),
            ("abc", "", false),
            ("noon no", "no", true),
        ] {
            assert_eq!(contains_words(text, part), expected, "{text} | {part}");
        }
    }

    #[test]
    fn digits_of_all_scripts_are_known() {
        assert_eq!(decimal('٣'), Some(3));
        assert_eq!(decimal('７'), Some(7));
        assert_eq!(decimal('𝟡'), Some(9));
        assert_eq!([decimal('/'), decimal(':'), decimal('²'), decimal('Ⅷ')], [None; 4]);
        assert!(is_digit('²') && is_digit('7') && !is_digit('½') && !is_digit('Ⅷ'));
    }
}
