//! Models of a named shape with random weights, and prompts of random tokens: what `bench` and `verify` run where no checkpoint is at
//! hand.

use std::path::Path;

use longlens_app::bytes::text as bytes;
use longlens_core::lens::ModelInfo;
use longlens_core::nearest::nearest;
use longlens_model::shapes::{self, Shape};
use rand::SeedableRng;
use rand::seq::IndexedRandom;
use rand_chacha::ChaCha8Rng;

use crate::args::Device;
use crate::backend::Made;
use crate::config::RunConfig;
use crate::failure::Failure;

/// Bytes of a number in the cache.
pub const NUMBER: usize = size_of::<f32>();

/// What flags say of a random model.
#[derive(Debug, Clone, Copy)]
pub struct Ask {
    /// Its first layers alone.
    pub layers: Option<usize>,
    /// Whether its layers are nothing but attention.
    pub attention_only: bool,
    /// Numbers of tokens that it is to run on, at most, and the flag that says so.
    pub n_tokens: usize,
    pub length_flag: &'static str,
    /// Whether queries are kept.
    pub keeps_queries: bool,
}

/// The random model that `--model` asks for, if it is the name of a shape and no checkpoint; refuses what cannot be made, or run on
/// so many tokens.
pub fn model(ask: Ask, config: &RunConfig) -> Result<Option<Made>, Failure> {
    let shape = Shape::find(&config.model).filter(|_| !Path::new(&config.model).is_dir());
    let Some(shape) = shape else {
        return match (ask.layers, ask.attention_only) {
            (None, false) => Ok(None),
            (Some(_), _) => Err(Failure::usage(
                format!("--layers shortens a random model, and {} is a checkpoint", config.model),
                format!("leave --layers out, or give --model one of {}", names()),
            )),
            (None, true) => Err(Failure::usage(
                format!("--attention-only is of a random model, and {} is a checkpoint", config.model),
                format!("give --model one of {}", names()),
            )),
        };
    };
    let n_own = shape.config(None).num_hidden_layers;
    if let Some(n) = ask.layers.filter(|n| *n > n_own) {
        return Err(Failure::usage(
            format!("--layers {n} is more than the {n_own} layers of {}", shape.name),
            format!("give 1 to {n_own}"),
        ));
    }
    let made = Made {
        shape,
        n_layers: ask.layers,
        seed: config.settings.sampling.seed,
        weights: config.weights,
        kv_offload: config.kv_offload,
        attention_only: ask.attention_only,
    };
    let info = made.describe();
    let (n_tokens, spec) = (ask.n_tokens, &info.spec);
    let queries = if ask.keeps_queries { spec.n_layers * spec.n_heads * spec.head_dim * n_tokens } else { 0 };
    let (weights, cache) = (info.weight_bytes, (spec.cache_numbers(n_tokens) + queries) * NUMBER);
    match available_memory().filter(|available| config.device == Device::Cpu && weights + cache > *available) {
        Some(available) => Err(Failure::failed(
            format!(
                "the weights of {} take {}, its cache of {n_tokens} tokens {}, and {} are free",
                shape.name,
                bytes(weights),
                bytes(cache),
                bytes(available)
            ),
            Some(format!(
                "give fewer --layers, shorter {}, a smaller shape, or --weights bf16, q8 or q4",
                ask.length_flag
            )),
        )),
        None => Ok(Some(made)),
    }
}

fn names() -> String {
    shapes::all().map(|shape| shape.name).collect::<Vec<_>>().join(", ")
}

/// A name that is no model may have been meant as a shape.
pub fn or_shape(error: Failure, name: &str) -> Failure {
    match nearest(name, shapes::all().map(|shape| shape.name)) {
        Some(shape) if !Path::new(name).exists() => {
            Failure::failed(error, Some(format!("did you mean the random model `{shape}`? The shapes are {}", names())))
        }
        _ => error,
    }
}

/// Tokens of the vocabulary that begin and end nothing.
pub fn tokens(model: &ModelInfo, n: usize, seed: u64) -> Vec<u32> {
    let special = |token: &u32| model.bos_token == Some(*token) || model.eos_tokens.contains(token);
    let plain: Vec<u32> = (0..model.spec.vocab_size as u32).filter(|token| !special(token)).collect();
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    (0..n).map(|_| plain.choose(&mut random).copied().unwrap_or_default()).collect()
}

/// Bytes that can be taken without swapping, where the system tells.
fn available_memory() -> Option<usize> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<usize>().ok().map(|kib| kib * 1024)
}

#[cfg(test)]
mod tests {
    use longlens_model::Options;

    use super::*;
    use crate::backend;

    #[test]
    fn tokens_repeat_with_their_seed_and_are_never_special() {
        let info = backend::describe("embedded", Options::default()).unwrap_or_else(|failure| panic!("{failure}"));
        let random = tokens(&info, 5000, 1);
        assert_eq!(random, tokens(&info, 5000, 1));
        assert_ne!(random, tokens(&info, 5000, 2));
        assert!(random.iter().all(|token| *token != 1 && *token != 2 && (*token as usize) < info.spec.vocab_size));
        assert!(random.contains(&0) && random.contains(&1023));
    }
}
