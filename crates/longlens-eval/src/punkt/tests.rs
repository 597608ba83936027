//! The same sentences as NLTK's.

use sha2::{Digest, Sha256};

use super::*;
use crate::random::Python;
use crate::tasks::haystack;

fn cut(text: &str) -> Vec<&str> {
    sentences(text).into_iter().map(|sentence| &text[sentence]).collect()
}

fn digest(texts: &[&str]) -> String {
    format!("{:x}", Sha256::digest(texts.join("\0")))
}

#[test]
fn stops_are_judged_by_their_neighbours() {
    for (text, expected) in [
        ("Dr. Ilves left at 5 p.m. She took the ferry.", &["Dr. Ilves left at 5 p.m. She took the ferry."][..]),
        ("At 5 p.m. The mill closed.", &["At 5 p.m.", "The mill closed."]),
        ("At 5 p.m. Berg left.", &["At 5 p.m. Berg left."]),
        (
            "Mr. Aho stayed! \"Why?\" 3.5 miles etc. and on",
            &["Mr. Aho stayed!", "\"Why?\"", "3.5 miles etc.", "and on"],
        ),
        ("See J. Bach. He is here.", &["See J. Bach.", "He is here."]),
        (
            "The U.S. However great, fails. In part 3. who knows",
            &["The U.S.", "However great, fails.", "In part 3. who knows"],
        ),
        ("(He left.) She stayed.", &["(He left.)", "She stayed."]),
        ("“Yes.” He left.", &["“Yes.”", "He left."]),
        ("Well... He left. well... he left", &["Well...", "He left.", "well... he left"]),
        ("Wow!!! I see.", &["Wow!!!", "I see."]),
        // a sign with nothing behind it is never looked at, and so stands alone
        ("Very bad acting!!!", &["Very bad acting!!", "!"]),
        ("End of it.  ", &["End of it."]),
        ("", &[]),
        (" \n", &[]),
    ] {
        assert_eq!(cut(text), expected, "{text:?}");
    }
}

/// NLTK 3.10.4 gave the number and digest of the sentences.
#[test]
fn a_long_text_is_cut_as_nltk_cuts_it() {
    let sentences = cut(haystack::built_in());
    assert_eq!(sentences.len(), 1679);
    assert_eq!(digest(&sentences), "c047173d17da69cd304e4b701cb807b9b9194a79d3d83f0f41e219225f4da49b");
}

/// Words, abbreviations and signs that are thrown together meet all rules in ways that no one would write.
#[test]
fn thrown_together_signs_are_cut_as_nltk_cuts_them() {
    let pieces = [
        "Mr.", "J.", "S.", "Bach", "the", "The", "they", "They", "However", "I", "a.m.", "p.m.", "U.S.", "etc.", "No.",
        "5.", "12.50", "-3.", "b-week", "B-week", "mill", "Mill", "said", "Said", "Smith", "x", "Zzyzx", "zzyzx",
        "...", ". . .", ".. .", "!", "?", "!!!", "?!", ".", "--", "---", "\"", "'", "“", "”", "‘", "’", ")", "(", "]",
        "}", "*", ":", ";", ",", "a,b", "\n", "\n\n", "\t", "  ", "co-op.", "well-mr.", "é.", "École", "ß.", "2nd.",
        "i.e.", "Ph.D.", "#", "&", "`", "«", "»", "\u{a0}", "٣.", "Γ.", "end.)", "end.\"", "end.’", "(Yes.)", "wow!!",
        "a.b.c", "..", "v.", "Inc.", "b.",
    ];
    let mut random = Python::seed(7);
    let mut n_sentences = 0;
    let cut_texts: Vec<String> = (0..4000)
        .map(|_| {
            let n_pieces = random.randint(1, 24) as usize;
            let mut text = String::new();
            for piece in random.choices(&pieces, n_pieces) {
                text += piece;
                if random.random() < 0.7 {
                    text.push(' ');
                }
            }
            let sentences = cut(&text);
            n_sentences += sentences.len();
            sentences.join("\u{1}")
        })
        .collect();
    let cut_texts: Vec<&str> = cut_texts.iter().map(String::as_str).collect();
    assert_eq!(n_sentences, 17_173);
    assert_eq!(digest(&cut_texts), "be9ffdf822bc0acfef957cc86f4ccc1c7d6c5e7abf53be8acabde21cbdc312f6");
}
