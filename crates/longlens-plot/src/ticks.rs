//! Where the marks of an axis stand and what they say.

/// Round numbers (1, 2 or 5 times a power of ten) from `low` to `high`, about `n` of them.
pub fn linear(low: f64, high: f64, n: usize) -> Vec<f64> {
    let raw = (high - low) / n.max(1) as f64;
    if !(raw.is_finite() && raw > 0.0) {
        return vec![low];
    }
    let power = 10f64.powf(raw.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].into_iter().map(|m| m * power).find(|step| *step >= raw * 0.999).unwrap_or(raw);
    let first = (low / step - 1e-9).ceil() as i64;
    let last = (high / step + 1e-9).floor() as i64;
    (first..=last).map(|k| k as f64 * step).collect()
}

/// Powers of ten from `low` to `high`.
pub fn decades(low: f64, high: f64) -> Vec<f64> {
    let (first, last) = ((low.log10() - 1e-9).ceil() as i32, (high.log10() + 1e-9).floor() as i32);
    (first..=last).map(|exponent| 10f64.powi(exponent)).collect()
}

/// 1, 2 and 5 times powers of ten from `low` to `high`.
pub fn log10(low: f64, high: f64) -> Vec<f64> {
    let first = low.log10().floor() as i32;
    let last = high.log10().ceil() as i32;
    let all = (first..=last).flat_map(|exponent| [1.0, 2.0, 5.0].map(|m| m * 10f64.powi(exponent)));
    all.filter(|value| (low * 0.9999..=high * 1.0001).contains(value)).collect()
}

/// Token counts from 0 to `n_tokens`, a power of two apart where there are many; about `n` of them.
pub fn tokens(n_tokens: usize, n: usize) -> Vec<usize> {
    let step = n_tokens.div_ceil(n.max(1)).max(1).next_power_of_two();
    (0..=n_tokens).step_by(step).collect()
}

/// Which of `places` (middle and width, ascending) get their label: all, or every second, third… when they are crowded.
pub fn evenly(places: &[(f64, f64)], gap: f64) -> Vec<bool> {
    let fits = |step: &usize| {
        let shown: Vec<_> = places.iter().step_by(*step).collect();
        shown.windows(2).all(|pair| pair[0].0 + pair[0].1 / 2.0 + gap <= pair[1].0 - pair[1].1 / 2.0)
    };
    let step = (1..=places.len().max(1)).find(fits).unwrap_or(1);
    (0..places.len()).map(|idx| idx % step == 0).collect()
}

/// Which of `places` get their label: the first, and every one that has room after the last labelled one.
pub fn with_room(places: &[(f64, f64)], gap: f64) -> Vec<bool> {
    let mut end = f64::NEG_INFINITY;
    let fits = |end: &mut f64, at: f64, width: f64| {
        let fits = at - width / 2.0 >= *end + gap;
        if fits {
            *end = at + width / 2.0;
        }
        fits
    };
    places.iter().map(|(at, width)| fits(&mut end, *at, *width)).collect()
}

/// Labels of marks, with as many decimals as it takes to tell them apart.
pub fn labels(values: &[f64]) -> Vec<String> {
    let short: Vec<_> = values.iter().copied().map(number).collect();
    let told_apart = |labels: &[String]| labels.windows(2).all(|pair| pair[0] != pair[1]);
    if told_apart(&short) {
        return short;
    }
    let with = |decimals: usize| values.iter().map(|value| format!("{value:.decimals$}")).collect::<Vec<_>>();
    (2..8).map(with).find(|labels| told_apart(labels)).unwrap_or(short)
}

/// A number with at most three significant digits.
pub fn number(value: f64) -> String {
    let size = value.abs();
    if value == 0.0 {
        return "0".to_owned();
    }
    if !value.is_finite() {
        return "∞".to_owned();
    }
    if !(1e-3..1e6).contains(&size) {
        let exponent = size.log10().floor() as i32;
        // 9.97 is written 10.0, which is the next power
        let exponent = exponent + i32::from(size / 10f64.powi(exponent) >= 9.95);
        let digits = trim(format!("{:.1}", value / 10f64.powi(exponent)));
        return format!("{digits}×{}", power_of_ten(10f64.powi(exponent)));
    }
    let decimals = (2 - size.log10().floor() as i32).clamp(0, 6) as usize;
    let text = format!("{value:.decimals$}");
    if decimals == 0 { text } else { trim(text) }
}

/// `10⁻³`, or `1`.
pub fn power_of_ten(value: f64) -> String {
    let exponent = value.log10().round() as i32;
    if exponent == 0 {
        return "1".to_owned();
    }
    let digit = |c: char| match c {
        '-' => '⁻',
        '1' => '¹',
        '2' => '²',
        '3' => '³',
        _ => char::from_u32(0x2070 + c as u32 - '0' as u32).expect("a superscript digit"),
    };
    format!("10{}", exponent.to_string().chars().map(digit).collect::<String>())
}

fn trim(text: String) -> String {
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

/// Ticks of an axis of lengths from `2^range.0` to `2^range.1`: the powers of two, or what was measured where it holds none.
pub fn lengths(range: (f64, f64), measured: impl Iterator<Item = usize>) -> Vec<usize> {
    let (first, last) = (range.0.ceil().max(0.0) as u32, range.1.floor() as u32);
    let powers: Vec<usize> = (first..=last).map(|exponent| 1 << exponent).collect();
    if !powers.is_empty() {
        return powers;
    }
    let mut lengths: Vec<usize> = measured.collect();
    lengths.sort_unstable();
    lengths.dedup();
    lengths
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_round() {
        assert_eq!(linear(0.0, 10.0, 5), [0.0, 2.0, 4.0, 6.0, 8.0, 10.0]);
        assert_eq!(log10(3.0, 60.0), [5.0, 10.0, 20.0, 50.0]);
        assert_eq!(tokens(4096, 4), [0, 1024, 2048, 3072, 4096]);
        assert_eq!(tokens(5, 10), [0, 1, 2, 3, 4, 5]);
    }

    #[test]
    fn numbers_are_short() {
        let all = [0.0, 0.2, 12.34, 123.4, 12345.6, 3.2e7, 0.00012, f64::INFINITY].map(number);
        assert_eq!(all, ["0", "0.2", "12.3", "123", "12346", "3.2×10⁷", "1.2×10⁻⁴", "∞"]);
        assert_eq!([9.97e-4, 9.94e-4, -9.99e8].map(number), ["1×10⁻³", "9.9×10⁻⁴", "-1×10⁹"]);
    }

    #[test]
    fn crowded_labels_make_room() {
        let places = [(0.0, 10.0), (8.0, 10.0), (20.0, 10.0), (40.0, 10.0)];
        assert_eq!(with_room(&places, 2.0), [true, false, true, true]);
        assert_eq!(evenly(&places, 2.0), [true, false, true, false]);
        assert_eq!(evenly(&[], 2.0), [false; 0]);
    }
}
