//! "Did you mean": the name closest to a misspelt one.

/// The candidate with the smallest edit distance to `name`, when it is close enough to be a slip.
pub fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    nearest_within(name, candidates, (name.chars().count() / 3).max(2))
}

/// The candidate with the smallest edit distance to `name`, when that is at most `allowed`.
pub fn nearest_within<'a>(
    name: &str,
    candidates: impl IntoIterator<Item = &'a str>,
    allowed: usize,
) -> Option<&'a str> {
    // a name of megabytes is no slip, and a table over it would take minutes
    if name.len() > 256 {
        return None;
    }
    candidates
        .into_iter()
        .map(|candidate| (strsim::levenshtein(&fold(name), &fold(candidate)), candidate))
        .filter(|(distance, _)| *distance <= allowed)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// `LongHeads`, `long-heads` and `long_heads` are one name to the person who types it.
fn fold(name: &str) -> String {
    name.chars().filter(|c| !matches!(c, '_' | '-' | ' ')).flat_map(char::to_lowercase).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_finds_its_name_and_nonsense_does_not() {
        let names = ["full", "self_extend", "dual_chunk", "long_heads"];
        assert_eq!(nearest("self-extent", names), Some("self_extend"));
        assert_eq!(nearest("LongHeads", names), Some("long_heads"));
        assert_eq!(nearest("fulll", names), Some("full"));
        assert_eq!(nearest("perplexity", names), None);
    }
}
