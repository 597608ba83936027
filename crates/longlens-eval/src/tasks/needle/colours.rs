//! How papers draw needle grids, for whoever compares with their pictures.
//!
//! The scale goes from red over yellow to green. Long-Context-Data-Engineering ends it at 1, the best score; `ChunkLlama`'s script ends it
//! at 2, so that a cell in which everything was found is yellow. Columns of both are sorted, but `ChunkLlama`'s lengths are texts such as
//! `104k`, which sort as such: `104k` before `16k`.

/// The score at which `ChunkLlama`'s scale ends (`draw.py`).
pub const CHUNK_LLAMA: f64 = 2.0;
/// The score at which Long-Context-Data-Engineering's scale ends (`visualize.py`).
pub const DATA_ENGINEERING: f64 = 1.0;

/// Lengths in the order of `ChunkLlama`'s columns: whole thousands of tokens, sorted as texts.
pub fn columns(lengths: &[usize]) -> Vec<usize> {
    let mut sorted = lengths.to_vec();
    sorted.sort_by_key(|length| (column(*length), *length));
    sorted
}

/// The head of a column, as `16k`.
fn column(length: usize) -> String {
    format!("{}k", length / 1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_sorted_as_texts() {
        let lengths: Vec<usize> = (0..24).map(|at| 1000 + 8000 * at).collect();
        let named: Vec<_> = columns(&lengths).into_iter().map(column).collect();
        assert_eq!(named[..5], ["105k", "113k", "121k", "129k", "137k"]);
        assert_eq!(columns(&[16_000, 104_000, 8000]), [104_000, 16_000, 8000]);
        assert_eq!(columns(&[900, 300]), [300, 900], "lengths below a thousand all have one head");
    }
}
