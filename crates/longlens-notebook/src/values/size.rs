//! How long values are in words, before they are written out.

use rhai::{Array, Blob, Dynamic, Map};

use super::{Prompt, Table};

/// Bytes of a value once it is written out: a text that a thousand entries share is written a thousand times.
pub fn written(value: &Dynamic) -> u64 {
    match (value.read_lock::<Table>(), value.read_lock::<Prompt>()) {
        (Some(table), _) => WORD + table.0.table.n_bytes(),
        (_, Some(prompt)) => WORD + prompt.built.pieces.iter().map(|piece| piece.len() as u64).sum::<u64>(),
        _ => in_words(value),
    }
}

/// Bytes of a number, a name of a type, or the brackets and commas round an entry.
const WORD: u64 = 24;

/// The same where tables and prompts are named alone.
pub fn in_words(value: &Dynamic) -> u64 {
    if let Ok(text) = value.as_immutable_string_ref() {
        return WORD + text.len() as u64;
    }
    if let Some(list) = value.read_lock::<Array>() {
        return WORD + list.iter().map(in_words).sum::<u64>();
    }
    if let Some(map) = value.read_lock::<Map>() {
        return WORD + map.iter().map(|(name, value)| name.len() as u64 + in_words(value)).sum::<u64>();
    }
    if let Some(bytes) = value.read_lock::<Blob>() {
        return WORD + 3 * bytes.len() as u64;
    }
    WORD
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shared_text_counts_wherever_it_is_written() {
        let text = Dynamic::from("x".repeat(1000));
        let list = Dynamic::from_array(vec![text.clone(); 100]);
        assert!((100_000..110_000).contains(&written(&list)), "{}", written(&list));
        let map = Dynamic::from_map([("a".into(), list.clone()), ("b".into(), list)].into_iter().collect());
        assert!((200_000..220_000).contains(&written(&map)), "{}", written(&map));
    }
}
