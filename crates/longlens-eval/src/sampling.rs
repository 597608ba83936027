//! Choosing the next token from logits, as Hugging Face transformers does.
//!
//! Order: repetition penalty, temperature, top-k, top-p, min-p. Ties at the k-th place are all kept, as there; the
//! random numbers are this crate's own, so the same seed does not give the text that it gives there.

use longlens_core::setting::{Fallback, Kind, MAX_REAL, Param, SettingError, Value};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

/// The fields of [`Sampling`] as settings, in the order in which they are shown.
pub static PARAMS: [Param; 6] = [
    Param {
        name: "temperature",
        alias: "temperature",
        kind: Kind::Real(0.0),
        default: Fallback::Number(0.0),
        help: "0 always takes the likeliest token",
    },
    Param {
        name: "top_k",
        alias: "top_k",
        kind: Kind::Count(0),
        default: Fallback::Number(0.0),
        help: "keeps the k likeliest tokens; 0 keeps all",
    },
    Param {
        name: "top_p",
        alias: "top_p",
        kind: Kind::Above(0.0, 1.0),
        default: Fallback::Number(1.0),
        help: "keeps the likeliest tokens that make up this share",
    },
    Param {
        name: "min_p",
        alias: "min_p",
        kind: Kind::Between(0.0, 1.0),
        default: Fallback::Number(0.0),
        help: "keeps tokens at least this likely relative to the likeliest",
    },
    Param {
        name: "repetition_penalty",
        alias: "repetition_penalty",
        kind: Kind::Above(0.0, MAX_REAL),
        default: Fallback::Number(1.0),
        help: "above 1 makes tokens seen before less likely",
    },
    Param {
        name: "seed",
        alias: "seed",
        kind: Kind::Whole(0, MAX_SEED),
        default: Fallback::Number(0.0),
        help: "start of everything random",
    },
];

/// Seeds up to this are the same number in a flag, a TOML file, a cell and a JSON result.
const MAX_SEED: u64 = (1 << 53) - 1;

/// How to choose the next token. The default is greedy.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Sampling {
    /// Logits are divided by this; 0 takes the likeliest token.
    pub temperature: f32,
    /// Keeps this many likeliest tokens; 0 keeps all.
    pub top_k: usize,
    /// Keeps the fewest likeliest tokens that together reach this probability; 1 keeps all.
    pub top_p: f32,
    /// Keeps tokens with at least this share of the likeliest one's probability; 0 keeps all.
    pub min_p: f32,
    /// Positive logits of tokens seen before are divided by this, negative ones multiplied; 1 leaves them.
    pub repetition_penalty: f32,
    /// Start of the random numbers.
    pub seed: u64,
}

/// Chooses tokens one after the other.
#[derive(Debug, Clone)]
pub struct Sampler {
    sampling: Sampling,
    random: ChaCha8Rng,
}

impl Default for Sampling {
    fn default() -> Self {
        Self { temperature: 0.0, top_k: 0, top_p: 1.0, min_p: 0.0, repetition_penalty: 1.0, seed: 0 }
    }
}

impl Sampling {
    /// Refuses values outside their range.
    pub fn check(&self) -> Result<(), SettingError> {
        PARAMS.iter().try_for_each(|param| param.check(&self.get(param.name)))
    }

    /// The value of one of [`PARAMS`]. Panics on another name.
    pub fn get(&self, name: &str) -> Value {
        match name {
            "temperature" => self.temperature.into(),
            "top_k" => self.top_k.into(),
            "top_p" => self.top_p.into(),
            "min_p" => self.min_p.into(),
            "repetition_penalty" => self.repetition_penalty.into(),
            "seed" => Value::Number(self.seed as f64),
            _ => panic!("`{name}` is not a setting of sampling"),
        }
    }

    /// Gives one of [`PARAMS`] a value that it accepts. Panics on another name.
    pub fn set(&mut self, name: &str, value: &Value) {
        let number = value.number();
        match name {
            "temperature" => self.temperature = number as f32,
            "top_k" => self.top_k = number as usize,
            "top_p" => self.top_p = number as f32,
            "min_p" => self.min_p = number as f32,
            "repetition_penalty" => self.repetition_penalty = number as f32,
            "seed" => self.seed = number as u64,
            _ => panic!("`{name}` is not a setting of sampling"),
        }
    }

    /// Whether the likeliest token is always taken.
    pub fn is_greedy(&self) -> bool {
        self.temperature <= 0.0
    }

    /// The tokens that can be chosen after `history`, likeliest first, with their probabilities.
    pub fn candidates(&self, logits: &[f32], history: &[u32]) -> Vec<(u32, f64)> {
        let mut scores: Vec<(u32, f64)> = (0u32..).zip(logits.iter().map(|logit| f64::from(*logit))).collect();
        self.penalize(&mut scores, history);
        if self.is_greedy() {
            let likeliest = scores.iter().copied().reduce(|best, next| if next.1 > best.1 { next } else { best });
            return likeliest.map(|(token, _)| (token, 1.0)).into_iter().collect();
        }
        // likeliest first, the lower token first among equals
        scores.sort_unstable_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));

        if let Some(&(_, least)) = self.top_k.checked_sub(1).and_then(|at| scores.get(at)) {
            scores.retain(|(_, score)| *score >= least);
        }
        softmax(&mut scores, f64::from(self.temperature));
        let (mut likelier, top_p) = (0.0, f64::from(self.top_p));
        scores.retain(|(_, probability)| {
            let kept = top_p >= 1.0 || likelier < top_p;
            likelier += probability;
            kept
        });
        let least = f64::from(self.min_p) * scores[0].1;
        scores.retain(|(_, probability)| *probability >= least);

        let sum: f64 = scores.iter().map(|(_, probability)| probability).sum();
        for (_, probability) in &mut scores {
            *probability /= sum;
        }
        scores
    }

    fn penalize(&self, scores: &mut [(u32, f64)], history: &[u32]) {
        let penalty = f64::from(self.repetition_penalty);
        if (penalty - 1.0).abs() < f64::EPSILON {
            return;
        }
        let mut seen = vec![false; scores.len()];
        for &token in history {
            // once per token, however often it was seen
            if let Some((_, score)) = scores.get_mut(token as usize).filter(|_| !seen[token as usize]) {
                *score = if *score < 0.0 { *score * penalty } else { *score / penalty };
                seen[token as usize] = true;
            }
        }
    }
}

/// Logits, highest first, become probabilities.
fn softmax(scores: &mut [(u32, f64)], temperature: f64) {
    let highest = scores[0].1;
    for (_, score) in scores.iter_mut() {
        *score = ((*score - highest) / temperature).exp();
    }
    let sum: f64 = scores.iter().map(|(_, score)| score).sum();
    for (_, score) in scores {
        *score /= sum;
    }
}

impl Sampler {
    /// A sampler at the start of its random numbers.
    pub fn new(sampling: &Sampling) -> Result<Self, SettingError> {
        sampling.check()?;
        Ok(Self { sampling: sampling.clone(), random: ChaCha8Rng::seed_from_u64(sampling.seed) })
    }

    /// The next token after `history`, prompt included.
    pub fn choose(&mut self, logits: &[f32], history: &[u32]) -> u32 {
        assert!(!logits.is_empty(), "no logits to choose from");
        let candidates = self.sampling.candidates(logits, history);
        if let [(only, _)] = candidates[..] {
            return only;
        }
        let mut left: f64 = self.random.random();
        let chosen = candidates.iter().find(|(_, probability)| {
            left -= probability;
            left < 0.0
        });
        // rounding can leave a little after the last one
        chosen.or(candidates.last()).map_or(0, |(token, _)| *token)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn logits() -> impl Strategy<Value = Vec<f32>> {
        prop::collection::vec(-20.0..20.0f32, 1..40)
    }

    fn likeliest(logits: &[f32]) -> f32 {
        logits.iter().copied().fold(f32::NEG_INFINITY, f32::max)
    }

    proptest! {
        #[test]
        fn one_of_one_is_greedy(logits in logits(), seed in 0..9u64) {
            let only = Sampling { temperature: 0.8, top_k: 1, seed, ..Sampling::default() };
            for sampling in [only, Sampling::default()] {
                let token = Sampler::new(&sampling).unwrap().choose(&logits, &[]);
                prop_assert_eq!(logits[token as usize].to_bits(), likeliest(&logits).to_bits());
            }
        }

        #[test]
        fn the_seed_decides(logits in logits(), seed in 0..=MAX_SEED) {
            let sampling = Sampling { temperature: 1.5, seed, ..Sampling::default() };
            let draw = || {
                let mut sampler = Sampler::new(&sampling).unwrap();
                (0..8).map(|_| sampler.choose(&logits, &[])).collect::<Vec<_>>()
            };
            prop_assert_eq!(draw(), draw());
        }

        #[test]
        fn the_nucleus_is_the_fewest_that_reach_top_p(logits in logits(), top_p in 0.05..0.99f32) {
            let all = Sampling { temperature: 1.0, ..Sampling::default() }.candidates(&logits, &[]);
            let nucleus = Sampling { temperature: 1.0, top_p, ..Sampling::default() }.candidates(&logits, &[]);
            let mass = |n: usize| all[..n].iter().map(|(_, probability)| probability).sum::<f64>();
            prop_assert!(mass(nucleus.len()) >= f64::from(top_p) - 1e-9);
            prop_assert!(mass(nucleus.len() - 1) < f64::from(top_p));
            prop_assert!((nucleus.iter().map(|(_, probability)| probability).sum::<f64>() - 1.0).abs() < 1e-9);
        }

        #[test]
        fn only_candidates_are_chosen(logits in logits(), top_k in 0..9usize, min_p in 0.0..1.0f32, seed in 0..99u64) {
            let sampling = Sampling { temperature: 2.0, top_k, min_p, seed, ..Sampling::default() };
            let candidates = sampling.candidates(&logits, &[]);
            let token = Sampler::new(&sampling).unwrap().choose(&logits, &[]);
            prop_assert!(candidates.iter().any(|(candidate, _)| *candidate == token));
            let least = f64::from(min_p) * candidates[0].1;
            prop_assert!(candidates.iter().all(|(_, probability)| *probability >= least * (1.0 - 1e-9)));
        }
    }

    #[test]
    fn seen_tokens_lose_whatever_their_sign() {
        let sampling = Sampling { repetition_penalty: 2.0, ..Sampling::default() };
        assert_eq!(sampling.candidates(&[3.0, 2.0], &[0, 0])[0].0, 1);
        assert_eq!(sampling.candidates(&[-2.0, -3.0], &[0])[0].0, 1);
        assert_eq!(sampling.candidates(&[5.0, 2.0], &[0, 0])[0].0, 0, "the penalty counts once");
    }

    #[test]
    fn shares_follow_the_probabilities() {
        let sampling = Sampling { temperature: 1.0, seed: 7, ..Sampling::default() };
        let mut sampler = Sampler::new(&sampling).unwrap();
        let logits = [0.5f32.ln(), 0.3f32.ln(), 0.2f32.ln()];
        let mut counts = [0usize; 3];
        (0..10_000).for_each(|_| counts[sampler.choose(&logits, &[]) as usize] += 1);
        for (count, share) in counts.iter().zip([0.5, 0.3, 0.2]) {
            assert!((*count as f64 / 1e4 - share).abs() < 0.02, "{counts:?}");
        }
    }

    #[test]
    fn impossible_values_are_named() {
        let say = |sampling: Sampling| Sampler::new(&sampling).unwrap_err().to_string();
        let ok = Sampling::default();
        insta::assert_snapshot!(say(Sampling { temperature: -1.0, ..ok.clone() }), @"temperature = -1 is not a number of at least 0 and at most 10^9");
        insta::assert_snapshot!(say(Sampling { top_p: 0.0, ..ok.clone() }), @"top_p = 0 is not a number above 0 and at most 1");
        insta::assert_snapshot!(say(Sampling { min_p: 2.0, ..ok.clone() }), @"min_p = 2 is not a number from 0 to 1");
        insta::assert_snapshot!(say(Sampling { repetition_penalty: 0.0, ..ok }), @"repetition_penalty = 0 is not a number above 0 and at most 10^9");
    }
}
