//! The prompts of evaluations, as the scripts make them from which published numbers come.

pub mod passkey;

#[cfg(test)]
mod golden {
    use std::fs::File;
    use std::io::Read;

    use flate2::read::GzDecoder;
    use serde_json::Value;

    /// What the original scripts made: arguments, drawn numbers, and the SHA-256 of every prompt.
    pub fn prompts() -> Vec<Value> {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fixtures/golden-eval/prompts.jsonl.gz");
        let mut text = String::new();
        GzDecoder::new(File::open(path).unwrap()).read_to_string(&mut text).unwrap();
        let rows: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(rows.len(), 114);
        rows
    }
}
