//! A model whose layers differ, through the whole decoder, against attention written out in f64: one query and one key at a time.
//!
//! Methods are written here as their papers have them, with nothing of the plans that the engine runs.

use std::ops::Range;

use burn_flex::Flex;
use burn_flex::FlexDevice;
use burn_tensor::{Tensor, TensorData};
use longlens_core::lens::{Lens, Rows, Setup};
use longlens_core::methods::Method;
use longlens_core::rope::RopeScaling;
use longlens_core::spec::{LayerSpec, ModelSpec, Rotation};
use longlens_kernel::linear::Storage;
use longlens_model::decoder::{Decoder, Projected};
use longlens_model::lens::DecoderLens;
use longlens_model::shapes::Shape;
use longlens_model::weights;

use crate::common::tokens;

/// Logits go up to about 1.
const TOLERANCE: f64 = 2e-5;
const N_PROMPT: usize = 70;
const N_TOKENS: usize = 96;
const SHAPE: Shape = Shape {
    name: "mixed",
    config: r#"{"model_type": "llama", "num_hidden_layers": 6, "hidden_size": 64, "num_attention_heads": 6,
        "num_key_value_heads": 2, "head_dim": 16, "intermediate_size": 96, "vocab_size": 256,
        "max_position_embeddings": 64, "rope_theta": 3000.0, "tie_word_embeddings": true, "rms_norm_eps": 1e-5}"#,
};

/// Windows, a base of their own, no rotation, and layers that leave all to the method.
fn layers() -> Vec<LayerSpec> {
    let windowed = |rotation| LayerSpec { window: Some(9), rotation };
    let whole = |rotation| LayerSpec { window: None, rotation };
    vec![
        windowed(Rotation::Model),
        whole(Rotation::Model),
        whole(Rotation::Off),
        windowed(Rotation::Base(90.0)),
        whole(Rotation::Model),
        whole(Rotation::Base(500.0)),
    ]
}

/// A method of the text form beside it.
#[derive(Clone, Copy)]
enum Rule {
    Full,
    SelfExtend { group: usize, window: usize },
    LongHeads { chunk_len: usize, n_slots: usize },
    Quest { page: usize, n_pages: usize, dense_layers: usize },
}

/// One layer's numbers before rotation, `[token][head][dimension]`.
struct Layer<'a> {
    spec: &'a ModelSpec,
    at: usize,
    rule: Rule,
    /// Whether the base follows the length, as `dynamic:factor=2,original=32,rerotate=true`.
    is_dynamic: bool,
    query: Vec<f64>,
    key: Vec<f64>,
    value: Vec<f64>,
}

impl Layer<'_> {
    fn row<'a>(&self, numbers: &'a [f64], token: usize, head: usize) -> &'a [f64] {
        let d = self.spec.head_dim;
        let n_heads = numbers.len() / N_TOKENS / d;
        let head = if n_heads == self.spec.n_heads { head } else { head / self.spec.n_rep() };
        &numbers[(token * n_heads + head) * d..][..d]
    }

    /// `x` at a position, by the frequencies of the moment when `seen` tokens are known.
    fn rotated(&self, x: &[f64], position: f64, seen: usize) -> Vec<f64> {
        let d = x.len() as f64;
        let base = match self.spec.layers[self.at].rotation {
            Rotation::Off => return x.to_vec(),
            Rotation::Base(base) => base,
            Rotation::Model if self.is_dynamic => {
                let growth = 2.0 * (seen.max(32) as f64) / 32.0 - 1.0;
                self.spec.rope_theta * growth.powf(d / (d - 2.0))
            }
            Rotation::Model => self.spec.rope_theta,
        };
        let half = x.len() / 2;
        let pair = |m: usize| {
            let (sin, cos) = (position * base.powf(-2.0 * m as f64 / d)).sin_cos();
            (x[m] * cos - x[m + half] * sin, x[m + half] * cos + x[m] * sin)
        };
        (0..half).map(|m| pair(m).0).chain((0..half).map(|m| pair(m).1)).collect()
    }

    /// The score of query `i` and key `j` at a relative position.
    fn score(&self, head: usize, i: usize, j: usize, relative: f64) -> f64 {
        let query = self.rotated(self.row(&self.query, i, head), relative, seen(i));
        let product = dot(&query, self.row(&self.key, j, head)) * self.spec.score_scale.unwrap();
        let cap = self.spec.soft_cap.unwrap();
        cap * (product / cap).tanh()
    }

    /// The vector that represents a chunk for a head (LongHeads, section 3.2).
    fn summary(&self, head: usize, chunk: Range<usize>) -> Vec<f64> {
        let scale = (self.spec.head_dim as f64).sqrt().recip();
        let rotated = |numbers: &[f64]| -> Vec<Vec<f64>> {
            let rows = chunk.clone().map(|token| self.row(numbers, token, head));
            rows.enumerate().map(|(offset, row)| self.rotated(row, offset as f64, 0)).collect()
        };
        let (queries, keys) = (rotated(&self.query), rotated(&self.key));
        let values: Vec<_> = chunk.clone().map(|token| self.row(&self.value, token, head).to_vec()).collect();
        let attended = |query: &[f64], rows: &[Vec<f64>]| {
            weighted(&keys.iter().map(|key| scale * dot(query, key)).collect::<Vec<_>>(), rows)
        };
        let outs: Vec<_> = queries.iter().map(|query| attended(query, &values)).collect();
        let mean = weighted(&vec![0.0; outs.len()], &outs);
        attended(&mean, &keys)
    }

    /// The keys that query `i` meets, and the relative position of each.
    fn met(&self, head: usize, i: usize) -> Vec<(usize, f64)> {
        let truly = |keys: Range<usize>| keys.map(|j| (j, (i - j) as f64)).collect::<Vec<_>>();
        if let Some(window) = self.spec.layers[self.at].window {
            return truly((i + 1).saturating_sub(window)..i + 1);
        }
        match self.rule {
            Rule::SelfExtend { group: g, window: w } => {
                let relative = |j: usize| if i - j < w { i - j } else { i / g + w - w / g - j / g };
                (0..=i).map(|j| (j, relative(j) as f64)).collect()
            }
            Rule::LongHeads { chunk_len: w, n_slots } if i >= w * n_slots => {
                let query = self.row(&self.query, i, head);
                let score = |chunk: usize| dot(query, &self.summary(head, chunk * w..chunk * w + w));
                let own = i / w;
                let picks = best((1..own - 1).map(|chunk| (chunk, score(chunk))).collect(), n_slots - 3);
                let slots = [0].into_iter().chain(picks).chain([own - 1, own]);
                let stands = (n_slots - 1) * w + i % w;
                let keys =
                    slots.enumerate().flat_map(|(slot, chunk)| (0..w).map(move |k| (chunk * w + k, slot * w + k)));
                keys.filter(|(j, _)| *j <= i).map(|(j, at)| (j, stands as f64 - at as f64)).collect()
            }
            Rule::Quest { page, n_pages, dense_layers }
                if self.at >= dense_layers && i >= N_PROMPT && i >= (n_pages - 1) * page =>
            {
                let at = |row: &[f64], position: usize| self.rotated(row, position as f64, seen(i));
                let query = at(self.row(&self.query, i, head), i);
                let bound = |keys: Range<usize>| {
                    let keys: Vec<_> = keys.map(|j| at(self.row(&self.key, j, head), j)).collect();
                    let highest = |m: usize| keys.iter().map(|key| query[m] * key[m]).fold(f64::NEG_INFINITY, f64::max);
                    (0..query.len()).map(highest).sum::<f64>()
                };
                let bounds = (0..i / page).map(|at| (at, bound(at * page..at * page + page))).collect();
                let pages = best(bounds, n_pages - 1);
                let keys = pages.into_iter().flat_map(|at| at * page..at * page + page).chain(i / page * page..=i);
                keys.map(|j| (j, (i - j) as f64)).collect()
            }
            _ => truly(0..i + 1),
        }
    }

    /// `[token][head][dimension]`.
    fn attended(&self) -> Vec<f32> {
        let places = (0..N_TOKENS).flat_map(|i| (0..self.spec.n_heads).map(move |head| (i, head)));
        let out = places.flat_map(|(i, head)| {
            let met = self.met(head, i);
            let scores: Vec<_> = met.iter().map(|(j, relative)| self.score(head, i, *j, *relative)).collect();
            let values: Vec<_> = met.iter().map(|(j, _)| self.row(&self.value, *j, head).to_vec()).collect();
            weighted(&scores, &values)
        });
        out.map(|number| number as f32).collect()
    }
}

/// Tokens known when `token` is computed.
fn seen(token: usize) -> usize {
    N_PROMPT.max(token + 1)
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// Rows weighted by the softmax of their scores.
fn weighted(scores: &[f64], rows: &[Vec<f64>]) -> Vec<f64> {
    let sum: f64 = scores.iter().map(|score| score.exp()).sum();
    let at = |m: usize| scores.iter().zip(rows).map(|(score, row)| score.exp() / sum * row[m]).sum();
    (0..rows[0].len()).map(at).collect()
}

/// The `n` that score best, ascending.
fn best(mut scored: Vec<(usize, f64)>, n: usize) -> Vec<usize> {
    scored.sort_by(|a, b| b.1.total_cmp(&a.1));
    assert!(n == scored.len() || scored[n - 1].1 - scored[n].1 > 1e-6, "rounding decides a choice: take another seed");
    let mut best: Vec<usize> = scored[..n].iter().map(|(at, _)| *at).collect();
    best.sort_unstable();
    best
}

fn tensor(numbers: Vec<f32>) -> Tensor<Flex, 2> {
    let shape = [N_TOKENS, numbers.len() / N_TOKENS];
    Tensor::from_data(TensorData::new(numbers, shape), &FlexDevice)
}

fn check(method: &str, rope: &str, rule: Rule) {
    let model = weights::random::<Flex, _>(&SHAPE.config(None), 11, Storage::F32, &FlexDevice).unwrap();
    let mut info = SHAPE.info(None, Storage::F32, "test");
    info.spec.layers = layers();
    (info.spec.score_scale, info.spec.soft_cap) = (Some(30.0), Some(2.5));
    let (spec, tokens) = (info.spec.clone(), tokens(N_TOKENS));

    let mut hidden = model.embed(&tokens);
    for at in 0..spec.n_layers {
        let mut attend = |Projected { query, key, value }: Projected<Flex>| {
            let numbers = |t: Tensor<Flex, 2>| t.into_data().iter::<f32>().map(f64::from).collect();
            let [query, key, value] = [query, key, value].map(numbers);
            let layer = Layer { spec: &spec, at, rule, is_dynamic: rope != "none", query, key, value };
            Ok(tensor(layer.attended()))
        };
        hidden = model.layer(at, hidden, &mut attend).unwrap();
    }
    let expected: Vec<f32> = model.logits(hidden).into_data().into_vec().unwrap();

    let mut lens = DecoderLens::new(model, info, None, FlexDevice);
    for prefill_chunk in [N_PROMPT, 23] {
        let rope = RopeScaling::parse(rope).unwrap();
        let setup = Setup::new(&Method::parse(method).unwrap(), &spec, N_PROMPT).unwrap();
        lens.begin(&Setup { rope, prefill_chunk, ..setup }).unwrap();
        let mut got = lens.feed(&tokens[..N_PROMPT], Rows::All, &mut ()).unwrap();
        for token in &tokens[N_PROMPT..] {
            got.extend(lens.feed(&[*token], Rows::All, &mut ()).unwrap());
        }
        assert_eq!(got.len(), expected.len());
        for (at, (got, expected)) in got.iter().zip(&expected).enumerate() {
            let token = at / spec.vocab_size;
            let off = f64::from((got - expected).abs());
            assert!(off < TOLERANCE, "{method}, {prefill_chunk} a step, token {token}: {got} instead of {expected}");
        }
    }
}

#[test]
fn full_attention_keeps_windows_rotations_and_caps_of_layers() {
    check("full", "none", Rule::Full);
    check("full", "dynamic:factor=2,original=32,rerotate=true", Rule::Full);
}

#[test]
fn self_extend_shares_positions_in_layers_without_a_window() {
    check("self_extend:group_size=4,neighbor_window=16", "none", Rule::SelfExtend { group: 4, window: 16 });
}

#[test]
fn long_heads_chooses_in_layers_without_a_window() {
    check("long_heads:chunk_len=5,attention_len=25", "none", Rule::LongHeads { chunk_len: 5, n_slots: 5 });
}

#[test]
fn quest_bounds_keys_by_the_angles_that_they_are_attended_with() {
    let rule = Rule::Quest { page: 4, n_pages: 5, dense_layers: 1 };
    for rope in ["none", "dynamic:factor=2,original=32,rerotate=true"] {
        check("quest:page_size=4,token_budget=20,dense_layers=1", rope, rule);
    }
}
