//! Numbers of a list in one (its sum, mean, extremes), and logarithms.

use rhai::plugin::*;
use rhai::{Array, Dynamic};

use crate::host::{Returned, refuse};

#[export_module]
#[allow(clippy::needless_pass_by_value)] // the macro hands values over
pub mod functions {
    use rhai::{Array, Dynamic};

    use super::{extreme, numbers};
    use crate::host::Returned;

    /// The natural logarithm, as `ln`: of the base e, as in Python and its libraries.
    ///
    /// ```rhai
    /// log(1.0)
    /// ```
    #[rhai_fn(name = "log")]
    pub fn log(number: f64) -> f64 {
        number.ln()
    }

    /// The logarithm of the base 10.
    ///
    /// ```rhai
    /// log10(100)
    /// ```
    #[rhai_fn(name = "log10")]
    pub fn log10(number: f64) -> f64 {
        number.log10()
    }

    /// The logarithm of the base 2.
    ///
    /// ```rhai
    /// log2(8)
    /// ```
    #[rhai_fn(name = "log2")]
    pub fn log2(number: f64) -> f64 {
        number.log2()
    }

    /// The sum of a list of numbers: whole where all of them are.
    ///
    /// ```rhai
    /// sum([1, 2, 3])
    /// ```
    #[rhai_fn(name = "sum", return_raw)]
    pub fn sum(list: &mut Array) -> Returned<Dynamic> {
        let whole: Option<Vec<i64>> = list.iter().map(|item| item.as_int().ok()).collect();
        if let Some(sum) = whole.and_then(|whole| whole.into_iter().try_fold(0_i64, i64::checked_add)) {
            return Ok(sum.into());
        }
        Ok(numbers(list, "sum")?.iter().sum::<f64>().into())
    }

    /// The mean of a list of numbers; `()` of an empty one.
    ///
    /// ```rhai
    /// let t = trace(needle(300, 0.5), full());
    /// mean(t.nll.filter(|loss| loss != ()))
    /// ```
    #[rhai_fn(name = "mean", return_raw)]
    pub fn mean(list: &mut Array) -> Returned<Dynamic> {
        let numbers = numbers(list, "mean")?;
        let mean = numbers.iter().sum::<f64>() / numbers.len() as f64;
        Ok(if numbers.is_empty() { Dynamic::UNIT } else { mean.into() })
    }

    /// The number in the middle of a sorted list, of an even count the mean of both; `()` of an empty one.
    ///
    /// ```rhai
    /// median([3, 1, 2])
    /// ```
    #[rhai_fn(name = "median", return_raw)]
    pub fn median(list: &mut Array) -> Returned<Dynamic> {
        let mut numbers = numbers(list, "median")?;
        numbers.sort_by(f64::total_cmp);
        let middle = |at: usize| numbers[at];
        let n = numbers.len();
        Ok(match n {
            0 => Dynamic::UNIT,
            n if n % 2 == 1 => middle(n / 2).into(),
            n => f64::midpoint(middle(n / 2 - 1), middle(n / 2)).into(),
        })
    }

    /// The smallest number of a list; `()` of an empty one.
    ///
    /// ```rhai
    /// min([3, 1, 2])
    /// ```
    #[rhai_fn(name = "min", return_raw)]
    pub fn min(list: &mut Array) -> Returned<Dynamic> {
        Ok(extreme(list, "min", f64::lt)?.map_or(Dynamic::UNIT, |at| list[at].clone()))
    }

    /// The largest number of a list; `()` of an empty one.
    ///
    /// ```rhai
    /// max([3, 1, 2])
    /// ```
    #[rhai_fn(name = "max", return_raw)]
    pub fn max(list: &mut Array) -> Returned<Dynamic> {
        Ok(extreme(list, "max", f64::gt)?.map_or(Dynamic::UNIT, |at| list[at].clone()))
    }

    /// Where the largest number of a list stands, the first of several; `()` of an empty one.
    ///
    /// ```rhai
    /// argmax([3, 7, 2])
    /// ```
    #[rhai_fn(name = "argmax", return_raw)]
    pub fn argmax(list: &mut Array) -> Returned<Dynamic> {
        Ok(extreme(list, "argmax", f64::gt)?.map_or(Dynamic::UNIT, |at| Dynamic::from(at as i64)))
    }
}

/// The numbers of a list; `function` is named where it holds anything else.
fn numbers(list: &Array, function: &str) -> Returned<Vec<f64>> {
    let number = |(at, item): (usize, &Dynamic)| {
        let whole = item.as_int().map(|whole| whole as f64);
        whole.or_else(|_| item.as_float()).or_else(|kind| {
            refuse(
                format!("`{function}` takes numbers, and item {at} of the list is of type {kind}"),
                "leave out what is none, as in list.filter(|item| item != ())",
            )
        })
    };
    list.iter().enumerate().map(number).collect()
}

/// Where the first number stands that `is_beyond` all others, passing over those that are not a number.
fn extreme(list: &Array, function: &str, is_beyond: fn(&f64, &f64) -> bool) -> Returned<Option<usize>> {
    let numbers = numbers(list, function)?;
    let mut best: Option<usize> = None;
    for (at, number) in numbers.iter().enumerate().filter(|(_, number)| !number.is_nan()) {
        if best.is_none_or(|best| is_beyond(number, &numbers[best])) {
            best = Some(at);
        }
    }
    Ok(best)
}
