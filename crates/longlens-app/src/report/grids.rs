//! Scores by length and depth, and losses by position.

use std::collections::BTreeMap;

use longlens_eval::evaluate::{Outcome, Record, once_each};
use longlens_eval::scorers::Mode;
use serde::Serialize;

use super::tables::{Tables, in_mode};

/// Scores of a task by length and depth under one subject.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Grid {
    /// The task's table.
    pub table: usize,
    /// What answered.
    pub subject: usize,
    /// Cells under `run`, and under `faithful` and `fixed` where these differ.
    pub cells: BTreeMap<&'static str, Vec<GridCell>>,
}

/// Samples of one length and depth.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct GridCell {
    /// Target tokens.
    pub length: usize,
    /// Share of the haystack before what is asked for, 0 to 1; of many depths the middle of a tenth.
    pub depth: f64,
    /// Mean score in per cent.
    pub score: f64,
    /// Samples.
    pub n: usize,
}

/// Losses by position.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Positions {
    /// The task's table.
    pub table: usize,
    /// What was measured.
    pub subject: usize,
    /// Tokens of a sample, where the task has lengths.
    pub length: Option<usize>,
    /// First position, mean loss in nats and tokens: of positions up to the next one.
    pub losses: Vec<(usize, f64, usize)>,
}

/// More depths than these become tenths.
const MOST_DEPTHS: usize = 40;

/// A grid for each task with lengths and depths, and each subject.
pub fn grids(records: &[Record], tables: &Tables) -> Vec<Grid> {
    let mut by_place: BTreeMap<(usize, usize), Vec<&Record>> = BTreeMap::new();
    for record in once_each(records) {
        let has_place = record.length.is_some() && record.depth.is_some() && record.answer().is_some();
        let place = tables.place_of(record).zip(tables.subject_of(record)).filter(|_| has_place);
        if let Some(((table, _), subject)) = place {
            by_place.entry((table, subject)).or_default().push(record);
        }
    }
    let grid = |((table, subject), records): ((usize, usize), Vec<&Record>)| {
        let mut modes = BTreeMap::from([("run", cells(&records))]);
        for mode in Mode::ALL {
            if let Some(rescored) = in_mode(&records, mode) {
                modes.insert(mode.name(), cells(&rescored.iter().collect::<Vec<_>>()));
            }
        }
        Grid { table, subject, cells: modes }
    };
    by_place.into_iter().map(grid).collect()
}

fn cells(records: &[&Record]) -> Vec<GridCell> {
    // depths are told apart to a thousandth
    let fine = |record: &Record| (1000.0 * record.depth.unwrap_or(0.0)).round() as usize;
    let mut depths: Vec<usize> = records.iter().map(|record| fine(record)).collect();
    depths.sort_unstable();
    depths.dedup();
    let are_many = depths.len() > MOST_DEPTHS;
    let depth = |record: &Record| if are_many { (fine(record) / 100).min(9) * 100 + 50 } else { fine(record) };
    let mut sums: BTreeMap<(usize, usize), (f64, usize)> = BTreeMap::new();
    for record in records {
        let sum = sums.entry((record.length.unwrap_or(0), depth(record))).or_default();
        *sum = (sum.0 + 100.0 * record.share().unwrap_or(0.0), sum.1 + 1);
    }
    let cell = |((length, depth), (sum, n)): ((usize, usize), (f64, usize))| GridCell {
        length,
        depth: depth as f64 / 1000.0,
        score: sum / n as f64,
        n,
    };
    sums.into_iter().map(cell).collect()
}

/// Summed losses and tokens by first position.
type Sums = BTreeMap<usize, (f64, usize)>;

/// Losses by position for each task that measures them, length and subject.
pub fn positions(records: &[Record], tables: &Tables) -> Vec<Positions> {
    let mut sums: BTreeMap<(usize, Option<usize>, usize), Sums> = BTreeMap::new();
    for record in once_each(records) {
        let Outcome::Measured { by_position, .. } = &record.outcome else { continue };
        let Some(((table, _), subject)) = tables.place_of(record).zip(tables.subject_of(record)) else { continue };
        let sums = sums.entry((table, record.length, subject)).or_default();
        for (start, mean, n) in by_position {
            let sum = sums.entry(*start).or_default();
            *sum = (sum.0 + mean * *n as f64, sum.1 + n);
        }
    }
    let of = |((table, length, subject), sums): (_, Sums)| Positions {
        table,
        subject,
        length,
        losses: sums.into_iter().map(|(start, (sum, n))| (start, sum / n.max(1) as f64, n)).collect(),
    };
    sums.into_iter().map(of).collect()
}
