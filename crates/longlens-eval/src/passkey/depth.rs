//! Depths as people write them: a share, or per cent with the sign.

use crate::error::EvalError;

/// Reads `0.5` or `50%`.
pub fn depth(text: &str) -> Result<f64, EvalError> {
    let text = text.trim();
    let share = match text.strip_suffix('%') {
        Some(percent) => percent.trim().parse::<f64>().map(|percent| percent / 100.0),
        None => text.parse(),
    };
    match share {
        Ok(share) if (0.0..=1.0).contains(&share) => Ok(share),
        Ok(percent) if !text.ends_with('%') => depth_of(percent),
        _ => Err(refused(text, RANGE.into())),
    }
}

/// A number as a depth, if it is one.
pub fn depth_of(share: f64) -> Result<f64, EvalError> {
    if (0.0..=1.0).contains(&share) {
        return Ok(share);
    }
    let meant = (1.0..=100.0).contains(&share).then(|| format!("for per cent write `{share}%`; {RANGE}"));
    Err(refused(&share.to_string(), meant.unwrap_or_else(|| RANGE.into())))
}

/// What depths there are.
const RANGE: &str = "depths go from 0 (start) to 1 (end), or from 0% to 100%";

fn refused(text: &str, help: String) -> EvalError {
    let shown = longlens_core::printable::printable_line(text).chars().take(40).collect();
    EvalError::Depth { text: shown, help }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn shares_and_per_cent_are_depths() {
        for (text, share) in
            [("0", 0.0), ("0.25", 0.25), ("1", 1.0), ("50%", 0.5), (" 100 % ", 1.0), ("0%", 0.0), (".5", 0.5)]
        {
            assert!((depth(text).unwrap() - share).abs() < 1e-12, "{text}");
        }
    }

    #[test]
    fn other_numbers_are_refused_with_what_was_meant() {
        let say = |text: &str| {
            let error = depth(text).unwrap_err();
            format!("{error} | {}", error.help().unwrap())
        };
        insta::assert_snapshot!(say("50"), @"`50` is not a depth | for per cent write `50%`; depths go from 0 (start) to 1 (end), or from 0% to 100%");
        for text in ["150", "-0.1", "NaN", "inf", "150%", "-1%", "%", "", "half"] {
            let said = say(text);
            assert!(said.ends_with("not a depth | depths go from 0 (start) to 1 (end), or from 0% to 100%"), "{said}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_a_depth_or_refused(text in "\\PC{0,8}|-?[0-9]{0,4}[.e]?-?[0-9]{0,3}%?") {
            prop_assert!(depth(&text).is_ok_and(|depth| (0.0..=1.0).contains(&depth)) || depth(&text).is_err());
        }
    }
}
