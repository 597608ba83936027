//! Times as Jupyter notes them.

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

/// A cell's `metadata.execution`, from the times it began and ended.
pub fn execution(begun: &str, ended: &str) -> Value {
    json!({
        "iopub.execute_input": begun,
        "iopub.status.busy": begun,
        "iopub.status.idle": ended,
        "shell.execute_reply": ended,
    })
}

/// The time in UTC, like `2026-01-31T09:05:00.123456Z`.
pub fn now() -> String {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    written(since.as_secs(), since.subsec_micros())
}

/// Seconds since 1970 as date and time. Years begin in March here, so that a leap day is a year's last.
fn written(seconds: u64, micros: u32) -> String {
    let (days, second) = (seconds / 86_400 + 719_468, seconds % 86_400); // days since 0000-03-01
    let (era, day_of_era) = (days / 146_097, days % 146_097); // 400 years have 146097 days
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153; // five months have 153 days
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = (month_from_march + 2) % 12 + 1;
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{micros:06}Z")
}

#[cfg(test)]
mod tests {
    use super::written;

    #[test]
    fn leap_days_and_years_are_counted() {
        assert_eq!(written(0, 0), "1970-01-01T00:00:00.000000Z");
        assert_eq!(written(951_782_400, 1), "2000-02-29T00:00:00.000001Z");
        assert_eq!(written(951_868_800, 0), "2000-03-01T00:00:00.000000Z");
        assert_eq!(written(1_769_850_300, 123_456), "2026-01-31T09:05:00.123456Z");
        assert_eq!(written(4_102_444_799, 0), "2099-12-31T23:59:59.000000Z");
    }
}
