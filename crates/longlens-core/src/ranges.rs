//! Numbers in words.

/// Ascending numbers in words, as `layers 0-3, 7`; nothing where there are none.
pub(crate) fn numbers(what: &str, numbers: &[usize]) -> Option<String> {
    let runs = numbers.chunk_by(|a, b| a + 1 == *b);
    let run = |run: &[usize]| match run {
        [one] => one.to_string(),
        [first, .., last] => format!("{first}-{last}"),
        [] => String::new(),
    };
    let text = runs.map(run).collect::<Vec<_>>().join(", ");
    (!numbers.is_empty()).then(|| format!("{what}{} {text}", if numbers.len() > 1 { "s" } else { "" }))
}
