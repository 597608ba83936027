//! `fuzz.ratio` of the package `fuzzywuzzy` 0.18: how alike two lines are, in whole percents.
//!
//! With the packages that LongBench names, it is the ratio of Python's `difflib.SequenceMatcher`. With `python-Levenshtein` installed beside
//! them it is another number: that of the edits which make one text of the other.

use std::collections::HashMap;

/// Whole percents by `difflib`. It is not symmetric: characters that stand more often than in every hundredth place of a `reference` of
/// 200 characters and more are not looked for.
pub fn ratio(prediction: &str, reference: &str) -> f64 {
    percents(prediction, reference, |first, second| {
        let matcher = Matcher::new(first, second);
        2.0 * matcher.n_matching() as f64 / (first.len() + second.len()) as f64
    })
}

/// Whole percents by insertions and deletions, as with `python-Levenshtein`.
pub fn edit_ratio(prediction: &str, reference: &str) -> f64 {
    percents(prediction, reference, |first, second| {
        let length = first.len() + second.len();
        let n_edits = length - 2 * longest_common(first, second);
        1.0 - n_edits as f64 / length as f64
    })
}

/// 100 where both are equal, 0 where one is empty, else the ratio rounded with halves to the even percent.
fn percents(first: &str, second: &str, ratio: impl Fn(&[char], &[char]) -> f64) -> f64 {
    if first == second {
        return 100.0;
    }
    if first.is_empty() || second.is_empty() {
        return 0.0;
    }
    let (first, second): (Vec<char>, Vec<char>) = (first.chars().collect(), second.chars().collect());
    (100.0 * ratio(&first, &second)).round_ties_even()
}

/// Length of the longest common subsequence.
fn longest_common(first: &[char], second: &[char]) -> usize {
    let mut row = vec![0; second.len() + 1];
    for a in first {
        let mut diagonal = 0;
        for (j, b) in second.iter().enumerate() {
            let above = row[j + 1];
            row[j + 1] = if a == b { diagonal + 1 } else { above.max(row[j]) };
            diagonal = above;
        }
    }
    row[second.len()]
}

/// What `SequenceMatcher` finds in common: the longest block, then the same left and right of it.
struct Matcher<'a> {
    first: &'a [char],
    second: &'a [char],
    /// Where each character that is looked for stands in the second.
    places: HashMap<char, Vec<usize>>,
}

impl<'a> Matcher<'a> {
    fn new(first: &'a [char], second: &'a [char]) -> Self {
        let mut places: HashMap<char, Vec<usize>> = HashMap::new();
        for (j, c) in second.iter().enumerate() {
            places.entry(*c).or_default().push(j);
        }
        if second.len() >= 200 {
            let most = second.len() / 100 + 1;
            places.retain(|_, places| places.len() <= most);
        }
        Self { first, second, places }
    }

    fn n_matching(&self) -> usize {
        let mut left = vec![(0, self.first.len(), 0, self.second.len())];
        let mut n_matching = 0;
        while let Some((start, end, from, to)) = left.pop() {
            let (i, j, size) = self.longest_block(start, end, from, to);
            if size > 0 {
                n_matching += size;
                left.push((start, i, from, j));
                left.push((i + size, end, j + size, to));
            }
        }
        n_matching
    }

    /// The longest block in both ranges, of equally long ones the first; it grows at both ends by characters that were not looked for.
    fn longest_block(&self, start: usize, end: usize, from: usize, to: usize) -> (usize, usize, usize) {
        let (mut i_best, mut j_best, mut size) = (start, from, 0);
        let mut lengths: HashMap<usize, usize> = HashMap::new();
        for i in start..end {
            let mut longer = HashMap::new();
            let places = self.places.get(&self.first[i]).map_or(&[][..], Vec::as_slice);
            for j in places.iter().copied().filter(|j| (from..to).contains(j)) {
                let length = j.checked_sub(1).and_then(|before| lengths.get(&before)).map_or(1, |length| length + 1);
                longer.insert(j, length);
                if length > size {
                    (i_best, j_best, size) = (i + 1 - length, j + 1 - length, length);
                }
            }
            lengths = longer;
        }
        while i_best > start && j_best > from && self.first[i_best - 1] == self.second[j_best - 1] {
            (i_best, j_best, size) = (i_best - 1, j_best - 1, size + 1);
        }
        while i_best + size < end && j_best + size < to && self.first[i_best + size] == self.second[j_best + size] {
            size += 1;
        }
        (i_best, j_best, size)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_go_to_the_even_percent_and_nothing_is_unlike_all() {
        for (found, expected) in [(ratio("", ""), 100.0), (ratio("", "a"), 0.0), (edit_ratio("ab", "b"), 67.0)] {
            assert!((found - expected).abs() < 1e-9, "{found} instead of {expected}");
        }
        // 2 * 1 / 16 is 12.5 percent
        assert!((ratio("abbbbbbb", "a1234567") - 12.0).abs() < 1e-9);
    }
}
