//! Porter's stemmer with the additions of NLTK.
//!
//! M. F. Porter, 1980, "An algorithm for suffix stripping". NLTK keeps a list of irregular words and makes the rules for `y`, `ies`, `ied`,
//! `alli`, `fulli` and `logi` kinder to short words.

use std::borrow::Cow;

/// Words that the rules would cut wrongly, and their stems.
const IRREGULAR: [(&str, &str); 16] = [
    ("sky", "sky"),
    ("skies", "sky"),
    ("dying", "die"),
    ("lying", "lie"),
    ("tying", "tie"),
    ("news", "news"),
    ("innings", "inning"),
    ("inning", "inning"),
    ("outings", "outing"),
    ("outing", "outing"),
    ("cannings", "canning"),
    ("canning", "canning"),
    ("howe", "howe"),
    ("proceed", "proceed"),
    ("exceed", "exceed"),
    ("succeed", "succeed"),
];

/// The stem of a word of small ASCII letters and digits; up to three characters are left as they are.
pub(super) fn stem(word: &str) -> Cow<'_, str> {
    if word.len() <= 3 {
        return Cow::Borrowed(word);
    }
    if let Some((_, stem)) = IRREGULAR.iter().find(|(irregular, _)| *irregular == word) {
        return Cow::Borrowed(stem);
    }
    let steps = [plural, past, final_y, double_suffix, suffix, last_suffix, final_e, final_ll];
    Cow::Owned(steps.iter().fold(word.to_owned(), |word, step| step(word)))
}

fn is_consonant(word: &[u8], at: usize) -> bool {
    match word[at] {
        b'a' | b'e' | b'i' | b'o' | b'u' => false,
        b'y' => at == 0 || !is_consonant(word, at - 1),
        _ => true,
    }
}

/// How often a consonant follows a vowel.
fn measure(stem: &str) -> usize {
    let stem = stem.as_bytes();
    (1..stem.len()).filter(|at| is_consonant(stem, *at) && !is_consonant(stem, at - 1)).count()
}

fn has_vowel(stem: &str) -> bool {
    (0..stem.len()).any(|at| !is_consonant(stem.as_bytes(), at))
}

fn ends_double(word: &str) -> bool {
    let bytes = word.as_bytes();
    let n = bytes.len();
    n >= 2 && bytes[n - 1] == bytes[n - 2] && is_consonant(bytes, n - 1)
}

/// Ends in consonant, vowel, consonant other than `w`, `x` and `y`; a vowel and a consonant alone do, too.
fn ends_short(word: &str) -> bool {
    let bytes = word.as_bytes();
    let n = bytes.len();
    let is = |back: usize| is_consonant(bytes, n - back);
    n >= 3 && is(3) && !is(2) && is(1) && !matches!(bytes[n - 1], b'w' | b'x' | b'y') || n == 2 && !is(2) && is(1)
}

/// The first suffix of the list that the word ends in is replaced if its rule takes the stem before it.
fn replace(word: String, rules: &[(&str, &str)], takes: impl Fn(&str) -> bool) -> String {
    for (suffix, replacement) in rules {
        if let Some(stem) = word.strip_suffix(suffix) {
            return if takes(stem) { format!("{stem}{replacement}") } else { word };
        }
    }
    word
}

fn plural(word: String) -> String {
    if word.ends_with("ies") && word.len() == 4 {
        return replace(word, &[("ies", "ie")], |_| true);
    }
    replace(word, &[("sses", "ss"), ("ies", "i"), ("ss", "ss"), ("s", "")], |_| true)
}

fn past(word: String) -> String {
    if let Some(stem) = word.strip_suffix("ied") {
        return format!("{stem}{}", if word.len() == 4 { "ie" } else { "i" });
    }
    if let Some(stem) = word.strip_suffix("eed") {
        return if measure(stem) > 0 { format!("{stem}ee") } else { word };
    }
    let cut = ["ed", "ing"].iter().find_map(|suffix| word.strip_suffix(suffix).filter(|stem| has_vowel(stem)));
    let Some(stem) = cut else { return word };
    if ["at", "bl", "iz"].iter().any(|end| stem.ends_with(end)) {
        return format!("{stem}e");
    }
    if ends_double(stem) && !stem.ends_with(['l', 's', 'z']) {
        return stem[..stem.len() - 1].to_owned();
    }
    if measure(stem) == 1 && ends_short(stem) { format!("{stem}e") } else { stem.to_owned() }
}

fn final_y(word: String) -> String {
    let takes = |stem: &str| stem.len() > 1 && is_consonant(stem.as_bytes(), stem.len() - 1);
    replace(word, &[("y", "i")], takes)
}

fn double_suffix(word: String) -> String {
    if let Some(stem) = word.strip_suffix("alli")
        && measure(stem) > 0
    {
        return double_suffix(format!("{stem}al"));
    }
    if let Some(stem) = word.strip_suffix("logi") {
        // the `l` counts as part of the stem
        return if measure(&word[..word.len() - 3]) > 0 { format!("{stem}log") } else { word };
    }
    let rules = [
        ("ational", "ate"),
        ("tional", "tion"),
        ("enci", "ence"),
        ("anci", "ance"),
        ("izer", "ize"),
        ("bli", "ble"),
        ("alli", "al"),
        ("entli", "ent"),
        ("eli", "e"),
        ("ousli", "ous"),
        ("ization", "ize"),
        ("ation", "ate"),
        ("ator", "ate"),
        ("alism", "al"),
        ("iveness", "ive"),
        ("fulness", "ful"),
        ("ousness", "ous"),
        ("aliti", "al"),
        ("iviti", "ive"),
        ("biliti", "ble"),
        ("fulli", "ful"),
    ];
    replace(word, &rules, |stem| measure(stem) > 0)
}

fn suffix(word: String) -> String {
    let rules =
        [("icate", "ic"), ("ative", ""), ("alize", "al"), ("iciti", "ic"), ("ical", "ic"), ("ful", ""), ("ness", "")];
    replace(word, &rules, |stem| measure(stem) > 0)
}

fn last_suffix(word: String) -> String {
    let first =
        ["al", "ance", "ence", "er", "ic", "able", "ible", "ant", "ement", "ment", "ent"].map(|suffix| (suffix, ""));
    let last = ["ou", "ism", "ate", "iti", "ous", "ive", "ize"].map(|suffix| (suffix, ""));
    if first.iter().all(|(suffix, _)| !word.ends_with(suffix)) && word.ends_with("ion") {
        return replace(word, &[("ion", "")], |stem| measure(stem) > 1 && stem.ends_with(['s', 't']));
    }
    replace(word, &[&first[..], &last[..]].concat(), |stem| measure(stem) > 1)
}

fn final_e(word: String) -> String {
    replace(word, &[("e", "")], |stem| measure(stem) > 1 || measure(stem) == 1 && !ends_short(stem))
}

fn final_ll(word: String) -> String {
    if word.ends_with("ll") && measure(&word[..word.len() - 1]) > 1 { word[..word.len() - 1].to_owned() } else { word }
}
