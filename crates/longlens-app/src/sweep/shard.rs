//! A sweep in equal parts, for machines that do not know of one another.

use std::str::FromStr;

use crate::problem::Problem;

/// One of several equal parts of a sweep.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shard {
    /// Which, from 1.
    pub at: usize,
    /// Of how many.
    pub of: usize,
}

/// `2/8`.
impl FromStr for Shard {
    type Err = Problem;

    fn from_str(text: &str) -> Result<Self, Problem> {
        let numbers =
            text.split_once('/').and_then(|(at, of)| Some((at.trim().parse().ok()?, of.trim().parse().ok()?)));
        match numbers {
            Some((at, of)) if (1..=of).contains(&at) => Ok(Self { at, of }),
            _ => Err(Problem::new(
                format!("`{text}` is no part of a sweep"),
                "write it as 2/8: the second of eight".to_owned(),
            )),
        }
    }
}

/// Samples that follow one another and so may share what they begin with, at most.
const BLOCK: usize = 16;

impl Shard {
    /// Which samples are this part's, given what each costs, unit by unit. The same costs give the same parts whoever asks, every sample
    /// is in exactly one, and parts cost about the same: blocks of samples go, the dearest first, to the part that has least.
    pub fn takes(self, costs: &[Vec<f64>]) -> Vec<Vec<bool>> {
        let total: f64 = costs.iter().flatten().sum();
        let most = total / (8.0 * self.of as f64);
        // (cost, unit, first sample, samples)
        let mut blocks: Vec<(f64, usize, usize, usize)> = Vec::new();
        for (unit, samples) in costs.iter().enumerate() {
            let (mut first, mut sum) = (0, 0.0);
            for (at, cost) in samples.iter().enumerate() {
                sum += cost;
                let n = at + 1 - first;
                if n == BLOCK || sum >= most || at + 1 == samples.len() {
                    blocks.push((sum, unit, first, n));
                    (first, sum) = (at + 1, 0.0);
                }
            }
        }
        blocks.sort_by(|a, b| b.0.total_cmp(&a.0).then((a.1, a.2).cmp(&(b.1, b.2))));
        let mut loads = vec![0.0_f64; self.of];
        let mut takes: Vec<Vec<bool>> = costs.iter().map(|samples| vec![false; samples.len()]).collect();
        for (cost, unit, first, n) in blocks {
            let part = (0..self.of).min_by(|a, b| loads[*a].total_cmp(&loads[*b])).unwrap_or(0);
            loads[part] += cost;
            if part + 1 == self.at {
                takes[unit][first..first + n].fill(true);
            }
        }
        takes
    }
}
