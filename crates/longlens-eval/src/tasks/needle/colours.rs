//! How papers draw needle grids: data for whoever wants their pictures rather than better ones.
//!
//! The scale goes from red over yellow to green. Long-Context-Data-Engineering ends it at 1, the best score; `ChunkLlama`'s script ends it
//! at 2, so that a cell in which everything was found is yellow. Columns of both are sorted by number, but `ChunkLlama`'s lengths are
//! texts such as `104k`, which sort as such: `104k` before `16k`.

/// The three colours of the scale, from the worst score to the best, as red, green and blue.
pub const COLOURS: [[u8; 3]; 3] = [[0xF0, 0x49, 0x6E], [0xEB, 0xB8, 0x39], [0x0C, 0xD7, 0x9F]];

/// A score's place on the scale.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scale {
    /// The score of the first colour.
    pub min: f64,
    /// The score of the last colour.
    pub max: f64,
}

impl Scale {
    /// `ChunkLlama`'s (`draw.py`): a score of 1 is half of the way.
    pub const CHUNK_LLAMA: Self = Self { min: 0.0, max: 2.0 };
    /// Long-Context-Data-Engineering's (`visualize.py`).
    pub const DATA_ENGINEERING: Self = Self { min: 0.0, max: 1.0 };

    /// The colour of a score; beyond either end it is that of the end.
    pub fn colour(self, score: f64) -> [u8; 3] {
        let share = ((score - self.min) / (self.max - self.min)).clamp(0.0, 1.0);
        let place = share * (COLOURS.len() - 1) as f64;
        let first = (place as usize).min(COLOURS.len() - 2);
        let part = place - first as f64;
        let (from, to) = (COLOURS[first], COLOURS[first + 1]);
        std::array::from_fn(|at| {
            let (from, to) = (f64::from(from[at]), f64::from(to[at]));
            (from + part * (to - from)).round() as u8
        })
    }
}

/// A length as `ChunkLlama` heads its columns: whole thousands of tokens, `16k`.
pub fn column(length: usize) -> String {
    format!("{}k", length / 1000)
}

/// Lengths in the order of `ChunkLlama`'s columns: sorted as texts.
pub fn columns(lengths: &[usize]) -> Vec<usize> {
    let mut sorted = lengths.to_vec();
    sorted.sort_by_key(|length| column(*length));
    sorted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_perfect_score_is_yellow_in_chunk_llamas_picture() {
        assert_eq!(Scale::CHUNK_LLAMA.colour(1.0), [0xEB, 0xB8, 0x39]);
        assert_eq!(Scale::DATA_ENGINEERING.colour(1.0), [0x0C, 0xD7, 0x9F]);
        for scale in [Scale::CHUNK_LLAMA, Scale::DATA_ENGINEERING] {
            assert_eq!(scale.colour(0.0), COLOURS[0]);
            assert_eq!((scale.colour(-1.0), scale.colour(9.0)), (COLOURS[0], COLOURS[2]));
        }
        assert_eq!(Scale::DATA_ENGINEERING.colour(0.25), [0xEE, 0x81, 0x54], "half of the way from red to yellow");
    }

    #[test]
    fn columns_are_sorted_as_texts() {
        let lengths: Vec<usize> = (0..24).map(|at| 1000 + 8000 * at).collect();
        let named: Vec<_> = columns(&lengths).into_iter().map(column).collect();
        assert_eq!(named[..5], ["105k", "113k", "121k", "129k", "137k"]);
        assert_eq!(columns(&[16_000, 104_000, 8000]), [104_000, 16_000, 8000]);
    }
}
