//! Numbers as Python reads, rounds and writes them.

use super::words::{decimal, strip};

/// `float(text)`: digits of any script, one underscore between two digits, names of infinity and of no number.
pub(super) fn float(text: &str) -> Option<f64> {
    plain(text)?.parse().ok()
}

/// `int(text)` as its sign and digits, without zeros in front.
pub(super) fn int(text: &str) -> Option<String> {
    let text = plain(text)?;
    let (sign, digits) = match text.strip_prefix(['-', '+']) {
        Some(digits) => (if text.starts_with('-') { "-" } else { "" }, digits),
        None => ("", text.as_str()),
    };
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let digits = digits.trim_start_matches('0');
    Some(if digits.is_empty() { "0".to_owned() } else { format!("{sign}{digits}") })
}

/// The text of a number with ASCII's digits and without underscores.
fn plain(text: &str) -> Option<String> {
    let text: Vec<char> = strip(text).chars().map(|c| decimal(c).map_or(c, |value| char::from(b'0' + value))).collect();
    let is_digit = |at: Option<usize>| at.and_then(|at| text.get(at)).is_some_and(char::is_ascii_digit);
    let mut plain = String::with_capacity(text.len());
    for (at, c) in text.iter().enumerate() {
        match c {
            '_' if is_digit(at.checked_sub(1)) && is_digit(at.checked_add(1)) => {}
            '_' => return None,
            c => plain.push(*c),
        }
    }
    Some(plain)
}

/// Python's `round(value, digits)`: the nearest decimal of the exact value, ties to the even digit.
pub(super) fn round(value: f64, digits: usize) -> f64 {
    format!("{value:.digits$}").parse().unwrap_or(value)
}

/// NumPy's `round(value, digits)`, which multiplies, rounds and divides.
pub(super) fn numpy_round(value: f64, digits: i32) -> f64 {
    let factor = 10f64.powi(digits);
    (value * factor).round_ties_even() / factor
}

/// NumPy's sum of an array, which adds in eight lanes and halves what is longer than 128.
pub(super) fn numpy_sum(values: &[f64]) -> f64 {
    let n = values.len();
    if n < 8 {
        return values.iter().sum();
    }
    if n > 128 {
        let half = n / 2 - n / 2 % 8;
        return numpy_sum(&values[..half]) + numpy_sum(&values[half..]);
    }
    let mut lanes: [f64; 8] = std::array::from_fn(|lane| values[lane]);
    let eights = values.chunks_exact(8);
    let rest = eights.remainder();
    for eight in eights.skip(1) {
        lanes.iter_mut().zip(eight).for_each(|(lane, value)| *lane += value);
    }
    let [a, b, c, d, e, f, g, h] = lanes;
    let sum = ((a + b) + (c + d)) + ((e + f) + (g + h));
    rest.iter().fold(sum, |sum, value| sum + value)
}

/// `repr(value)` of a float.
pub(super) fn repr(value: f64) -> String {
    let size = value.abs();
    if value.is_nan() {
        "nan".to_owned()
    } else if value.is_infinite() {
        if value > 0.0 { "inf" } else { "-inf" }.to_owned()
    } else if size != 0.0 && !(1e-4..1e16).contains(&size) {
        let text = format!("{value:e}");
        let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
        let (sign, exponent) = exponent.strip_prefix('-').map_or(('+', exponent), |exponent| ('-', exponent));
        format!("{digits}e{sign}{exponent:0>2}")
    } else {
        format!("{value:?}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_as_python_reads_them() {
        for (text, expected) in [
            (" 12 ", Some(12.0)),
            ("1_000", Some(1000.0)),
            ("1e3", Some(1000.0)),
            ("٣.٥", Some(3.5)),
            ("-.5", Some(-0.5)),
            ("5.", Some(5.0)),
            ("Infinity", Some(f64::INFINITY)),
            ("_1", None),
            ("1__0", None),
            ("1_.5", None),
            ("0x10", None),
            ("1,000", None),
            ("", None),
            (".", None),
        ] {
            assert_eq!(float(text), expected, "{text}");
        }
        assert!(float("nan").is_some_and(f64::is_nan));
        for (text, expected) in
            [("007", Some("7")), ("-0", Some("0")), ("+1_2", Some("12")), ("1.0", None), ("-", None)]
        {
            assert_eq!(int(text).as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn numbers_are_rounded_and_written_as_python_does() {
        for (value, digits, expected) in [
            (0.125, 2, 0.12),
            (0.375, 2, 0.38),
            (2.675, 2, 2.67),
            (0.5, 0, 0.0),
            (1.5, 0, 2.0),
            (2.5, 0, 2.0),
            (66.666_666, 4, 66.6667),
        ] {
            assert!((round(value, digits) - expected).abs() < 1e-12, "{value} to {digits}");
        }
        assert!((numpy_round(2.675, 2) - 2.68).abs() < 1e-12, "2.675 * 100 is 267.5, which is even above");
        for (value, expected) in
            [(50.0, "50.0"), (66.66665, "66.66665"), (0.0, "0.0"), (0.00005, "5e-05"), (1e16, "1e+16"), (-1.5, "-1.5")]
        {
            assert_eq!(repr(value), expected);
        }
        let values: Vec<f64> = (0..300).map(|i| 1.0 / f64::from(i + 1)).collect();
        assert!((numpy_sum(&values) - values.iter().sum::<f64>()).abs() < 1e-12);
    }
}
