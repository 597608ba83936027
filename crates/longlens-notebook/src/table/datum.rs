//! One cell of a table.

use std::cmp::Ordering;
use std::fmt;

use longlens_app::views::Cell;

/// What a cell holds.
///
/// Cells have one order, so that any column can be sorted: `false`, `true`, numbers, NaN, texts, empty. Whole and real numbers
/// compare by value, so `2` equals `2.0`; NaN equals NaN.
#[derive(Debug, Clone, Default)]
pub enum Datum {
    /// Nothing is known.
    #[default]
    Empty,
    /// Yes or no.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// Any number, infinite and NaN among them.
    Real(f64),
    /// Words.
    Text(String),
}

impl Datum {
    /// Bytes of a cell, without the letters of a text.
    pub(crate) const BYTES: u64 = size_of::<Self>() as u64;

    /// The number it stands for: `true` is 1 and `false` 0; nothing for texts and empty cells.
    pub fn number(&self) -> Option<f64> {
        match self {
            Self::Bool(yes) => Some(f64::from(u8::from(*yes))),
            Self::Int(whole) => Some(*whole as f64),
            Self::Real(real) => Some(*real),
            Self::Empty | Self::Text(_) => None,
        }
    }

    /// Whether it says nothing: empty or NaN.
    pub fn is_missing(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Real(real) => real.is_nan(),
            _ => false,
        }
    }

    /// What a word in a file without types stands for: nothing, `true`, `false`, a number, `NaN`, `inf`, `-inf`, or a text. A
    /// number with zeros before it, such as `007`, is a text, and so is a whole one that no number is exactly.
    pub(super) fn of_word(word: &str) -> Self {
        match word {
            "" => return Self::Empty,
            "true" => return Self::Bool(true),
            "false" => return Self::Bool(false),
            _ => {}
        }
        if let Some(real) = Self::of_special(word) {
            return real;
        }
        let digits = word.strip_prefix('-').unwrap_or(word);
        let padded = digits.len() > 1 && digits.starts_with('0') && digits.as_bytes()[1].is_ascii_digit();
        if padded || !digits.starts_with(|c: char| c.is_ascii_digit() || c == '.') {
            return Self::Text(word.to_owned());
        }
        if let Ok(whole) = word.parse() {
            return Self::Int(whole);
        }
        // a whole number that is too long for one, such as an id, would share its nearest real number with others
        let is_exact = |real: &f64| !digits.bytes().all(|byte| byte.is_ascii_digit()) || format!("{real:.0}") == word;
        word.parse().ok().filter(is_exact).map_or_else(|| Self::Text(word.to_owned()), Self::Real)
    }

    /// The numbers that files write as words.
    pub(super) fn of_special(word: &str) -> Option<Self> {
        not_finite(word).map(Self::Real)
    }

    /// Where its kind stands in the order.
    fn rank(&self) -> u8 {
        match self {
            Self::Bool(_) => 0,
            Self::Int(_) | Self::Real(_) => 1,
            Self::Text(_) => 2,
            Self::Empty => 3,
        }
    }
}

impl From<&Cell> for Datum {
    fn from(cell: &Cell) -> Self {
        match cell {
            Cell::Empty => Self::Empty,
            Cell::Flag(flag) => Self::Bool(*flag),
            Cell::Count(count) => Self::Int(*count as i64),
            Cell::Single(number) => Self::Real((*number).into()),
            Cell::Double(number) => Self::Real(*number),
            Cell::Text(text) => Self::Text(text.clone()),
        }
    }
}

impl fmt::Display for Datum {
    /// The shortest text that says it exactly; nothing for an empty cell.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => Ok(()),
            Self::Bool(yes) => write!(f, "{yes}"),
            Self::Int(whole) => write!(f, "{whole}"),
            Self::Real(real) => write!(f, "{real:?}"),
            Self::Text(text) => f.write_str(text),
        }
    }
}

impl Ord for Datum {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Bool(a), Self::Bool(b)) => a.cmp(b),
            (Self::Int(a), Self::Int(b)) => a.cmp(b),
            (Self::Real(a), Self::Real(b)) => reals(*a, *b),
            (Self::Int(a), Self::Real(b)) => int_and_real(*a, *b),
            (Self::Real(a), Self::Int(b)) => int_and_real(*b, *a).reverse(),
            (Self::Text(a), Self::Text(b)) => a.cmp(b),
            _ => self.rank().cmp(&other.rank()),
        }
    }
}

impl PartialOrd for Datum {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Datum {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Datum {}

impl From<bool> for Datum {
    fn from(yes: bool) -> Self {
        Self::Bool(yes)
    }
}

impl From<i64> for Datum {
    fn from(whole: i64) -> Self {
        Self::Int(whole)
    }
}

impl From<f64> for Datum {
    fn from(real: f64) -> Self {
        Self::Real(real)
    }
}

impl From<&str> for Datum {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Datum {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl<T: Into<Datum>> From<Option<T>> for Datum {
    fn from(cell: Option<T>) -> Self {
        cell.map_or(Self::Empty, Into::into)
    }
}

/// The number that files write as this word: NaN, or an infinite one.
pub fn not_finite(word: &str) -> Option<f64> {
    match word {
        "NaN" => Some(f64::NAN),
        "inf" => Some(f64::INFINITY),
        "-inf" => Some(f64::NEG_INFINITY),
        _ => None,
    }
}

fn reals(a: f64, b: f64) -> Ordering {
    a.partial_cmp(&b).unwrap_or_else(|| a.is_nan().cmp(&b.is_nan()))
}

/// By exact value: `whole as f64` alone would call neighbors above 2^53 equal, and then the order would contradict itself.
fn int_and_real(whole: i64, real: f64) -> Ordering {
    const BEYOND: f64 = 9_223_372_036_854_775_808.0; // 2^63
    if real.is_nan() || real >= BEYOND {
        return Ordering::Less;
    }
    if real < -BEYOND {
        return Ordering::Greater;
    }
    let floor = real.floor();
    whole.cmp(&(floor as i64)).then(if real > floor { Ordering::Less } else { Ordering::Equal })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn any_datum() -> impl Strategy<Value = Datum> {
        let corner = prop_oneof![Just(f64::NAN), Just(f64::INFINITY), Just(-0.0), Just(9.007_199_254_740_992e15)];
        prop_oneof![
            Just(Datum::Empty),
            any::<bool>().prop_map(Datum::Bool),
            (-3..3i64).prop_map(Datum::Int),
            (9_007_199_254_740_990..9_007_199_254_740_995i64).prop_map(Datum::Int),
            (-6..6i32).prop_map(|halves| Datum::Real(f64::from(halves) / 2.0)),
            corner.prop_map(Datum::Real),
            "[a-c]{0,2}".prop_map(Datum::Text),
        ]
    }

    proptest! {
        #[test]
        fn the_order_is_total(a in any_datum(), b in any_datum(), c in any_datum()) {
            prop_assert_eq!(a.cmp(&b), b.cmp(&a).reverse());
            if a <= b && b <= c {
                prop_assert!(a <= c, "{:?} {:?} {:?}", a, b, c);
            }
        }
    }

    #[test]
    fn sorted_cells_end_with_what_is_missing() {
        let mut cells: Vec<Datum> = vec![
            Datum::Empty,
            "b".into(),
            f64::NAN.into(),
            2.into(),
            1.5.into(),
            f64::INFINITY.into(),
            true.into(),
            false.into(),
        ];
        cells.sort();
        let words: Vec<_> = cells.iter().map(ToString::to_string).collect();
        assert_eq!(words, ["false", "true", "1.5", "2", "inf", "NaN", "b", ""]);
        assert_eq!(Datum::Int(2), Datum::Real(2.0));
        assert_ne!(Datum::Int(i64::MAX), Datum::Real(i64::MAX as f64));
    }

    #[test]
    fn words_are_what_they_look_like() {
        let kind = |word| format!("{:?}", Datum::of_word(word));
        assert_eq!(["", "true", "12", "-3"].map(kind), ["Empty", "Bool(true)", "Int(12)", "Int(-3)"]);
        assert_eq!(
            ["1.0", "1e3", "-.5", "0", "0.1"].map(kind),
            ["Real(1.0)", "Real(1000.0)", "Real(-0.5)", "Int(0)", "Real(0.1)"]
        );
        assert_eq!(["NaN", "-inf"].map(kind), ["Real(NaN)", "Real(-inf)"]);
        for text in ["007", "-", "nan", "Infinity", "+5", "1.2.3", "True", " 1"] {
            assert_eq!(kind(text), format!("Text({text:?})"));
        }
        assert_eq!(kind("9223372036854775809"), "Text(\"9223372036854775809\")");
        assert_eq!(kind("9223372036854775808"), "Real(9.223372036854776e18)", "which is this number exactly");
        assert_eq!(kind("9223372036854775808.0"), "Real(9.223372036854776e18)");
    }
}
