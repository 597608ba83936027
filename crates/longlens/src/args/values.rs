//! How values of flags are read, and the help of those that are settings of a run.

use std::num::{IntErrorKind, ParseIntError};
use std::str::FromStr;

use longlens_app::settings::params::{Given, param};
use longlens_core::setting::{SettingError, Value};

/// Reads a setting's value as its description has it.
pub fn setting(name: &str) -> impl Fn(&str) -> Result<Value, SettingError> + Clone + Send + Sync + 'static {
    let param = param(name);
    move |text| param.read(text)
}

/// What a setting's flag does and takes.
pub fn help(name: &str) -> String {
    let param = param(name);
    let (first, rest) = param.help.split_at(1);
    format!("{}{rest} ({})", first.to_uppercase(), param.kind)
}

/// The settings whose flags are there.
pub fn given<const N: usize>(flags: [(&str, &Option<Value>); N]) -> Given {
    flags.into_iter().filter_map(|(name, value)| Some((param(name), value.clone()?))).collect()
}

pub fn at_least_one(text: &str) -> Result<usize, String> {
    match whole(text) {
        Ok(0) => Err("it must be at least 1".into()),
        Err(_) if is_negative(text) => Err("it must be at least 1".into()),
        read => read,
    }
}

/// A time that is not endless.
pub fn seconds(text: &str) -> Result<f64, String> {
    const MOST: f64 = 1e6;
    match text.parse::<f64>() {
        Ok(seconds) if seconds > 0.0 && seconds <= MOST => Ok(seconds),
        Ok(_) => Err(format!("it must be above 0 and at most {MOST}")),
        Err(_) => Err("it is not a number".into()),
    }
}

pub fn whole<T: FromStr<Err = ParseIntError>>(text: &str) -> Result<T, String> {
    text.parse().map_err(|error: ParseIntError| match error.kind() {
        IntErrorKind::PosOverflow => "it is too large".into(),
        _ if is_negative(text) => "it must not be below 0".into(),
        _ => "it is not a whole number".into(),
    })
}

fn is_negative(text: &str) -> bool {
    text.parse::<f64>().is_ok_and(|number| number < 0.0)
}
