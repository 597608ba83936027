//! What one sample adds to the score of its task, and how these become one number.

use serde_json::Value;

use super::record::{Outcome, Record};
use crate::scorers::Mode;
use crate::tasks::Mean;

/// What one sample adds to the score of its task.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Measure {
    /// Its share of a perfect score, 0 to 1; an exception of the script counts as 0.
    Share(f64),
    /// ROUGE-1, -2 and -L, in per cent.
    Rouge([f64; 3]),
    /// Losses of its tokens.
    Loss {
        /// Their sum, in nats.
        nll: f64,
        /// How many they are.
        n: f64,
    },
}

impl Measure {
    /// What a record adds under the mode that counts; nothing where the sample was passed over.
    pub fn of(record: &Record, mean: Mean) -> Option<Self> {
        match &record.outcome {
            Outcome::Skipped => None,
            Outcome::Measured { mean_nll, n_scored, .. } => {
                Some(Self::Loss { nll: mean_nll * *n_scored as f64, n: *n_scored as f64 })
            }
            Outcome::Answered(_) if mean == Mean::RougeGeometric => {
                Some(record.value().map_or(Self::Rouge([0.0; 3]), Self::of_rouge))
            }
            Outcome::Answered(_) => Some(Self::Share(record.share().unwrap_or(0.0))),
        }
    }

    /// What an answer adds whose `value` holds measures of ROUGE; an exception counts as 0.
    pub fn of_rouge(value: &Value) -> Self {
        Self::Rouge(["rouge1", "rouge2", "rougeL"].map(|name| value.get(name).and_then(Value::as_f64).unwrap_or(0.0)))
    }

    /// Tokens whose loss counts.
    pub fn n_scored(self) -> f64 {
        if let Self::Loss { n, .. } = self { n } else { 0.0 }
    }

    /// A number that is higher where the sample went better.
    pub fn merit(self) -> f64 {
        match self {
            Self::Share(share) => share,
            Self::Rouge(measures) => measures.iter().product::<f64>().cbrt(),
            Self::Loss { nll, n } => -nll / n.max(1.0),
        }
    }
}

/// The score of samples of one task: in per cent of perfect answers, or a perplexity. Of none it is not a number.
pub fn score(measures: &[Measure], mean: Mean, mode: Mode) -> f64 {
    let n = measures.len() as f64;
    let (mut shares, mut rouge, mut loss) = (0.0, [0.0; 3], (0.0, 0.0));
    for measure in measures {
        match measure {
            Measure::Share(share) => shares += share,
            Measure::Rouge(of) => rouge.iter_mut().zip(of).for_each(|(sum, of)| *sum += of),
            Measure::Loss { nll, n } => loss = (loss.0 + nll, loss.1 + n),
        }
    }
    match measures.first() {
        None => f64::NAN,
        Some(Measure::Share(_)) => 100.0 * shares / n,
        Some(Measure::Rouge(_)) => rouge.iter().map(|sum| sum / n).product::<f64>().cbrt(),
        Some(Measure::Loss { .. }) => mean.perplexity(loss.0 / loss.1, mode),
    }
}

/// How many samples are hits, where each is a hit or a miss.
pub fn hits(measures: &[Measure]) -> Option<usize> {
    let is_hit = |measure: &Measure| match measure {
        Measure::Share(share) if *share == 0.0 => Some(0),
        Measure::Share(share) if 1.0 - share == 0.0 => Some(1),
        _ => None,
    };
    measures.iter().map(is_hit).sum()
}
