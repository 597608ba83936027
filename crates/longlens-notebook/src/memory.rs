//! What cells hold in memory, and what the machine lets the program have beyond it.

mod counted;
mod gauge;
mod machine;

pub use counted::{Counted, live};
pub use gauge::Gauge;
pub use machine::{Machine, Room};

/// The most that a session's values may take by default, however large the machine is.
const MOST: u64 = 8 << 30;
/// The least, so that small machines run cells at all.
const LEAST: u64 = 64 << 20;
/// What is assumed where the machine does not tell.
const UNKNOWN: u64 = 4 << 30;

/// What a session's values may take where nobody says otherwise: a quarter of what is left. One step of a cell can at most double
/// a value, which needs the old and the new one side by side.
pub fn share() -> u64 {
    let left = Machine::here().room().map_or(UNKNOWN, |room| room.bytes);
    (left / 4).clamp(LEAST, MOST)
}

/// Bytes as people write them: `512m`, `1.5g`, `2 GiB`, or a plain number of bytes.
pub fn read_size(text: &str) -> Option<u64> {
    let text = text.trim().to_ascii_lowercase().replace('_', "");
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic() || c == ' ');
    let unit: u64 = match text[digits.len()..].trim() {
        "" | "b" => 1,
        "k" | "kb" | "kib" => 1 << 10,
        "m" | "mb" | "mib" => 1 << 20,
        "g" | "gb" | "gib" => 1 << 30,
        "t" | "tb" | "tib" => 1 << 40,
        _ => return None,
    };
    let number: f64 = digits.parse().ok()?;
    let bytes = number * unit as f64;
    (1.0..9e18).contains(&bytes).then_some(bytes as u64)
}

/// Bytes in the unit that says them shortest.
pub fn size(bytes: u64) -> String {
    let units = [("GiB", 30), ("MiB", 20), ("KiB", 10)];
    match units.into_iter().find(|(_, shift)| bytes >> shift > 0) {
        Some((unit, shift)) => {
            let whole = (bytes as f64 / (1_u64 << shift) as f64 * 10.0).round() / 10.0;
            format!("{whole} {unit}")
        }
        None => format!("{bytes} bytes"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_as_they_are_written() {
        for (text, bytes) in [
            ("1", Some(1)),
            ("512m", Some(512 << 20)),
            ("1.5 GiB", Some(3 << 29)),
            ("2_000_000", Some(2_000_000)),
            ("0", None),
            ("-1g", None),
            ("1e40", None),
            ("nan", None),
            ("inf", None),
            ("12 parsecs", None),
            ("", None),
        ] {
            assert_eq!(read_size(text), bytes, "{text}");
        }
        assert_eq!([size(3 << 29), size(512 << 20), size(7)], ["1.5 GiB", "512 MiB", "7 bytes"]);
        assert_eq!(read_size(&size(3 << 29)), Some(3 << 29));
    }
}
