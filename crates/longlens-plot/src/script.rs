//! The order and the forms of letters where a script asks for more than one letter after the other.
//!
//! Fonts hold rules for this, and a program that reads them all is larger than the rest of what draws text here. What makes text readable
//! is done in place: Arabic letters take the forms in which they join, from right to left, and vowel signs of Indian scripts stand before
//! the consonants that they are spoken after. Conjuncts are written with their virama, and ligatures apart.

use std::borrow::Cow;

/// Letters of a line in the order and in the forms in which they are drawn, from left to right.
pub fn visual(text: &str) -> Cow<'_, str> {
    if text.chars().all(|c| c < '\u{590}') {
        return Cow::Borrowed(text);
    }
    let chars: Vec<char> = text.chars().collect();
    let mut drawn = String::with_capacity(text.len());
    let mut at = 0;
    while at < chars.len() {
        let run = right_to_left(&chars[at..]);
        if run > 0 {
            drawn.extend(reversed(&joined(&chars[at..at + run])));
            at += run;
            continue;
        }
        let cluster = before_vowel(&chars[at..]);
        if cluster > 0 {
            drawn.push(chars[at + cluster]);
            drawn.extend(&chars[at..at + cluster]);
            at += cluster + 1;
            continue;
        }
        drawn.push(chars[at]);
        at += 1;
    }
    Cow::Owned(drawn)
}

fn is_right_to_left(c: char) -> bool {
    matches!(c, '\u{590}'..='\u{8FF}' | '\u{FB1D}'..='\u{FDFF}' | '\u{FE70}'..='\u{FEFC}') && !c.is_numeric()
}

/// Marks that stand on the letter before them and join nothing.
fn is_mark(c: char) -> bool {
    matches!(c, '\u{591}'..='\u{5BD}' | '\u{610}'..='\u{61A}' | '\u{64B}'..='\u{65F}' | '\u{670}' | '\u{6D6}'..='\u{6ED}')
}

/// Letters that run from right to left at the beginning, with blanks between words of them.
fn right_to_left(chars: &[char]) -> usize {
    let mut end = 0;
    for (at, c) in chars.iter().enumerate() {
        match c {
            c if is_right_to_left(*c) => end = at + 1,
            ' ' if end > 0 => (),
            _ => break,
        }
    }
    end
}

/// From the last letter to the first; marks stay behind their letter.
fn reversed(chars: &[char]) -> Vec<char> {
    let mut all = Vec::with_capacity(chars.len());
    let mut end = chars.len();
    for start in (0..chars.len()).rev() {
        if start == 0 || !is_mark(chars[start]) {
            all.extend(&chars[start..end]);
            end = start;
        }
    }
    all
}

/// First form of the letters from U+0621 to U+064A that join, in their order, and how many each has: alone; and at the end of a word;
/// and at its beginning and inside. Between U+063A and U+0641 stand no letters of Arabic.
const FORMS: [(char, usize); 36] = {
    const N: [(u32, usize); 36] = [
        (0x621, 1),
        (0x622, 2),
        (0x623, 2),
        (0x624, 2),
        (0x625, 2),
        (0x626, 4),
        (0x627, 2),
        (0x628, 4),
        (0x629, 2),
        (0x62A, 4),
        (0x62B, 4),
        (0x62C, 4),
        (0x62D, 4),
        (0x62E, 4),
        (0x62F, 2),
        (0x630, 2),
        (0x631, 2),
        (0x632, 2),
        (0x633, 4),
        (0x634, 4),
        (0x635, 4),
        (0x636, 4),
        (0x637, 4),
        (0x638, 4),
        (0x639, 4),
        (0x63A, 4),
        (0x641, 4),
        (0x642, 4),
        (0x643, 4),
        (0x644, 4),
        (0x645, 4),
        (0x646, 4),
        (0x647, 4),
        (0x648, 2),
        (0x649, 2),
        (0x64A, 4),
    ];
    let mut forms = [('\0', 0); 36];
    let mut at = 0;
    while at < N.len() {
        forms[at] = (char::from_u32(N[at].0).expect("a letter"), N[at].1);
        at += 1;
    }
    forms
};
/// Where the forms of [`FORMS`] begin, one letter's after the other's.
const FIRST_FORM: u32 = 0xFE80;
/// Letters of Persian and Urdu: first form, and how many.
const OTHERS: [(char, u32, usize); 6] = [
    ('\u{67E}', 0xFB56, 4),
    ('\u{686}', 0xFB7A, 4),
    ('\u{698}', 0xFB8A, 2),
    ('\u{6A9}', 0xFB8E, 4),
    ('\u{6AF}', 0xFB92, 4),
    ('\u{6CC}', 0xFBFC, 4),
];
const LAM: char = '\u{644}';
/// Alefs that make one sign with a lam before them, and that sign.
const LAM_ALEFS: [(char, u32); 4] =
    [('\u{622}', 0xFEF5), ('\u{623}', 0xFEF7), ('\u{625}', 0xFEF9), ('\u{627}', 0xFEFB)];
/// A stroke that lengthens a join.
const TATWEEL: char = '\u{640}';

/// The first form of a letter and how many it has.
fn forms(c: char) -> Option<(u32, usize)> {
    if let Some(at) = FORMS.iter().position(|(letter, _)| *letter == c) {
        let before: usize = FORMS[..at].iter().map(|(_, n)| n).sum();
        return Some((FIRST_FORM + before as u32, FORMS[at].1));
    }
    OTHERS.iter().find(|(letter, ..)| *letter == c).map(|(_, first, n)| (*first, *n))
}

/// Letters in the forms that join them to their neighbours.
fn joined(chars: &[char]) -> Vec<char> {
    let joins_next = |c: char| c == TATWEEL || forms(c).is_some_and(|(_, n)| n == 4);
    let joins_last = |c: char| c == TATWEEL || forms(c).is_some_and(|(_, n)| n > 1);
    let next_letter = |at: usize| (at + 1..chars.len()).find(|next| !is_mark(chars[*next]));
    let mut all = Vec::with_capacity(chars.len());
    let mut before: Option<char> = None;
    let mut at = 0;
    while at < chars.len() {
        let c = chars[at];
        if is_mark(c) {
            all.push(c);
            at += 1;
            continue;
        }
        let is_joined = before.is_some_and(joins_next) && joins_last(c);
        let alef = chars.get(at + 1).and_then(|next| LAM_ALEFS.iter().find(|(alef, _)| alef == next));
        if let (LAM, Some((alef, sign))) = (c, alef) {
            all.extend(char::from_u32(sign + u32::from(is_joined)));
            before = Some(*alef);
            at += 2;
            continue;
        }
        let joins = joins_next(c) && next_letter(at).is_some_and(|next| joins_last(chars[next]));
        let form = forms(c).and_then(|(first, n)| {
            let place = match (is_joined, joins) {
                (false, false) => 0,
                (true, false) => 1,
                (false, true) => 2,
                (true, true) => 3,
            };
            char::from_u32(first + place.min(n as u32 - 1))
        });
        all.push(form.unwrap_or(c));
        before = Some(c);
        at += 1;
    }
    all
}

/// Letters of an Indian script at the beginning that a vowel sign behind them stands before: consonants that viramas join; 0 where no
/// such sign follows.
fn before_vowel(chars: &[char]) -> usize {
    let Some(first) = chars.first().map(|c| *c as u32).filter(|c| (0x900..0xD80).contains(c)) else { return 0 };
    // the blocks of these scripts are laid out alike
    let block = first & !0x7F;
    let place = |c: char| (c as u32).wrapping_sub(block);
    let is_consonant = |c: char| (0x15..=0x39).contains(&place(c)) || (0x58..=0x5F).contains(&place(c));
    let (nukta, virama) = (0x3C, 0x4D);
    let mut at = 0;
    loop {
        if !chars.get(at).is_some_and(|c| is_consonant(*c)) {
            return 0;
        }
        at += 1 + usize::from(chars.get(at + 1).is_some_and(|c| place(*c) == nukta));
        match chars.get(at) {
            Some(c) if place(*c) == virama => at += 1,
            Some(c) if BEFORE.contains(c) => return at,
            _ => return 0,
        }
    }
}

/// Vowel signs that stand before their consonants.
const BEFORE: [char; 13] = [
    '\u{93F}', '\u{9BF}', '\u{9C7}', '\u{9C8}', '\u{A3F}', '\u{ABF}', '\u{B47}', '\u{BC6}', '\u{BC7}', '\u{BC8}',
    '\u{D46}', '\u{D47}', '\u{D48}',
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_runs_from_left_to_right_stays_as_it_is() {
        for text in ["plain", "", "é α → ≤", "长文本 abc", "ภาษาไทย", "日本語 42"] {
            assert_eq!(visual(text), text);
        }
        assert!(matches!(visual("plain"), Cow::Borrowed(_)));
    }

    #[test]
    fn arabic_letters_join_from_right_to_left() {
        // seen lam alef meem: at the beginning, lam and alef as one sign joined to it, alone behind them
        assert_eq!(visual("سلام"), "\u{FEE1}\u{FEFC}\u{FEB3}");
        // beh alef beh: a beginning, an end that joins no further, and one alone
        assert_eq!(visual("باب"), "\u{FE8F}\u{FE8E}\u{FE91}");
        // a mark stays on its letter, and joins go on below it
        assert_eq!(visual("بَب"), "\u{FE90}\u{FE91}\u{64E}");
        assert_eq!(visual("a سلام b"), "a \u{FEE1}\u{FEFC}\u{FEB3} b");
        assert_eq!(visual("گچ"), "\u{FB7B}\u{FB94}");
        assert_eq!(visual("שלום"), "םולש");
        // numbers keep their order
        assert_eq!(visual("٤٢"), "٤٢");
    }

    #[test]
    fn every_form_is_of_its_letter() {
        // the last letter's four forms end where the signs of lam and alef begin
        let (first, n) = forms('\u{64A}').unwrap();
        assert_eq!(first + n as u32, LAM_ALEFS[0].1);
        assert_eq!(forms('\u{644}'), Some((0xFEDD, 4)));
        assert_eq!(forms('a'), None);
    }

    #[test]
    fn vowel_signs_stand_before_their_consonants() {
        assert_eq!(visual("हिन्दी"), "िहन्दी");
        // two consonants that a virama joins
        assert_eq!(visual("स्थिति"), "िस्थित");
        assert_eq!(visual("कि"), "िक");
        assert_eq!(visual("ि"), "ि", "one without a consonant stays");
    }
}
