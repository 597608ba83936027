//! Functions of numbers that questions need and SQLite leaves to whoever compiles it: a perplexity is `exp` of a mean loss.

use rusqlite::functions::{Aggregate, Context, FunctionFlags};
use rusqlite::{Connection, Result};

/// Their names.
pub(super) const NAMES: [&str; 6] = ["exp", "ln", "sqrt", "pow", "median", "stddev"];

/// Adds them; of nothing, and where there is no number, they give nothing.
pub(super) fn add(connection: &Connection) -> Result<()> {
    let flags = FunctionFlags::SQLITE_UTF8 | FunctionFlags::SQLITE_DETERMINISTIC;
    for (name, function) in [("exp", f64::exp as fn(f64) -> f64), ("ln", f64::ln), ("sqrt", f64::sqrt)] {
        connection.create_scalar_function(name, 1, flags, move |context| {
            Ok(context.get::<Option<f64>>(0)?.map(function).filter(|number| !number.is_nan()))
        })?;
    }
    connection.create_scalar_function("pow", 2, flags, |context| {
        let (base, exponent) = (context.get::<Option<f64>>(0)?, context.get::<Option<f64>>(1)?);
        Ok(base.zip(exponent).map(|(base, exponent)| base.powf(exponent)).filter(|number| !number.is_nan()))
    })?;
    connection.create_aggregate_function("median", 1, flags, Of(median))?;
    connection.create_aggregate_function("stddev", 1, flags, Of(stddev))
}

/// A number of all that a column holds.
struct Of(fn(Vec<f64>) -> Option<f64>);

impl Aggregate<Vec<f64>, Option<f64>> for Of {
    fn init(&self, _: &mut Context<'_>) -> Result<Vec<f64>> {
        Ok(Vec::new())
    }

    fn step(&self, context: &mut Context<'_>, numbers: &mut Vec<f64>) -> Result<()> {
        numbers.extend(context.get::<Option<f64>>(0)?);
        Ok(())
    }

    fn finalize(&self, _: &mut Context<'_>, numbers: Option<Vec<f64>>) -> Result<Option<f64>> {
        Ok(numbers.and_then(self.0))
    }
}

fn median(mut numbers: Vec<f64>) -> Option<f64> {
    numbers.sort_by(f64::total_cmp);
    let half = numbers.len() / 2;
    let upper = numbers.get(half)?;
    Some(if numbers.len().is_multiple_of(2) { f64::midpoint(numbers[half - 1], *upper) } else { *upper })
}

/// Of a sample: its square is the sum of squared differences over one less than their number.
#[expect(clippy::needless_pass_by_value, reason = "called as `median` is, which sorts")]
fn stddev(numbers: Vec<f64>) -> Option<f64> {
    let n = numbers.len() as f64;
    let mean = numbers.iter().sum::<f64>() / n;
    let squares: f64 = numbers.iter().map(|number| (number - mean).powi(2)).sum();
    (numbers.len() > 1).then(|| (squares / (n - 1.0)).sqrt())
}
