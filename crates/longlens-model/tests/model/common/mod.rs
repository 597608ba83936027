//! Models, methods and comparisons that several files of tests share.

use std::sync::{Mutex, MutexGuard, OnceLock};

use burn_flex::{Flex, FlexDevice};
use longlens_core::lens::{Lens, Rows, Setup};
use longlens_core::methods::Method;
use longlens_core::rope::RopeScaling;
use longlens_core::trace::{PooledMap, Queries, Trace, Watch};
use longlens_kernel::linear::Storage;
use longlens_model::shapes::{self, Shape};
use longlens_model::source::Source;
use proptest::prelude::*;

pub mod strategies;

use strategies::{any_intervened, any_rope};

/// Two ways to the same logits differ by rounding alone.
pub const TOLERANCE: f32 = 1e-4;
/// Picks that win by less than this may lose by rounding.
pub const CLOSE_CALL: f32 = 1e-5;
/// Weights, and sums of them that are at most 1.
pub const WEIGHT_TOLERANCE: f32 = 1e-5;

type Shared = Mutex<Box<dyn Lens>>;

fn lock(lens: &'static OnceLock<Shared>, open: impl FnOnce() -> Box<dyn Lens>) -> MutexGuard<'static, Box<dyn Lens>> {
    lens.get_or_init(|| Mutex::new(open())).lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// Two key heads, and another number of query heads.
pub fn grouped(n_layers: usize) -> Box<dyn Lens> {
    let shape = Shape {
        name: "grouped",
        config: r#"{"model_type": "llama", "num_hidden_layers": 4, "hidden_size": 64, "num_attention_heads": 6,
            "num_key_value_heads": 2, "head_dim": 16, "intermediate_size": 256, "vocab_size": 256,
            "max_position_embeddings": 256, "rope_theta": 3000.0, "tie_word_embeddings": true, "rms_norm_eps": 1e-5}"#,
    };
    shapes::random::<Flex>(&shape, Some(n_layers), 7, Storage::F32, FlexDevice, "test").unwrap()
}

pub fn one_layer() -> MutexGuard<'static, Box<dyn Lens>> {
    static LENS: OnceLock<Shared> = OnceLock::new();
    lock(&LENS, || grouped(1))
}

pub fn two_layers() -> MutexGuard<'static, Box<dyn Lens>> {
    static LENS: OnceLock<Shared> = OnceLock::new();
    lock(&LENS, || grouped(2))
}

pub fn embedded() -> MutexGuard<'static, Box<dyn Lens>> {
    static LENS: OnceLock<Shared> = OnceLock::new();
    lock(&LENS, || longlens_model::open::<Flex>(&Source::embedded(), Storage::F32, FlexDevice, "test").unwrap())
}

/// A method under a scaling.
#[derive(Debug, Clone)]
pub struct Way {
    pub method: String,
    pub rope: String,
    pub prefill_chunk: usize,
}

/// Any way.
pub fn way() -> impl Strategy<Value = Way> {
    (any_intervened(), any_rope(), 1..60usize).prop_map(|(method, rope, prefill_chunk)| Way {
        method,
        rope: rope.into(),
        prefill_chunk,
    })
}

impl Way {
    pub fn new(method: &str, rope: &str) -> Self {
        Self { method: method.into(), rope: rope.into(), prefill_chunk: 50 }
    }

    pub fn setup(&self, lens: &dyn Lens, n_prompt: usize, watch: Watch) -> Setup {
        let mut setup = Setup::new(&Method::parse(&self.method).unwrap(), &lens.model().spec, n_prompt).unwrap();
        setup.rope = RopeScaling::parse(&self.rope).unwrap();
        (setup.prefill_chunk, setup.watch, setup.keep_queries) = (self.prefill_chunk, watch, true);
        setup
    }
}

pub fn tokens(n: usize) -> Vec<u32> {
    (0..n as u64).map(|i| ((i * 2_654_435_761 + 12_345) >> 7) as u32 % 256).collect()
}

/// Feeds tokens `from .. to`; returns all their logits.
pub fn feed(lens: &mut dyn Lens, from: usize, to: usize) -> Vec<f32> {
    if from == to { Vec::new() } else { lens.feed(&tokens(to)[from..], Rows::All, &mut ()).unwrap() }
}

pub fn all_choices() -> Watch {
    Watch { choices: Queries::All, ..Watch::default() }
}

/// Whether rounding may decide a choice.
pub fn close_call(trace: &Trace) -> bool {
    let margins = trace.layers.iter().flat_map(|layer| &layer.choices).flat_map(|choices| &choices.margins);
    margins.into_iter().any(|margin| *margin < CLOSE_CALL)
}

pub fn agree(got: &[f32], expected: &[f32], tolerance: f32, what: &str) -> Result<(), TestCaseError> {
    prop_assert_eq!(got.len(), expected.len(), "{}", what);
    for (at, (got, expected)) in got.iter().zip(expected).enumerate() {
        let same = got.to_bits() == expected.to_bits() || (got - expected).abs() <= tolerance;
        prop_assert!(same || got.is_nan() && expected.is_nan(), "{what} at {at}: {got} instead of {expected}");
    }
    Ok(())
}

/// Everything that was recorded of attention.
pub fn same_attention(got: &Trace, expected: &Trace) -> Result<(), TestCaseError> {
    prop_assert_eq!(got.layers.len(), expected.layers.len());
    for (got, expected) in got.layers.iter().zip(&expected.layers) {
        match (&got.choices, &expected.choices) {
            (Some(got), Some(expected)) => {
                prop_assert_eq!(&got.queries, &expected.queries);
                prop_assert_eq!((got.n_heads, got.n_slots), (expected.n_heads, expected.n_slots));
                prop_assert_eq!(&got.chunks, &expected.chunks);
                agree(&got.scores, &expected.scores, TOLERANCE, "scores")?;
                agree(&got.margins, &expected.margins, TOLERANCE, "margins")?;
            }
            (got, expected) => prop_assert_eq!(got, expected),
        }
        match (&got.mass, &expected.mass) {
            (Some(got), Some(expected)) => {
                prop_assert_eq!((&got.chunks, got.n_heads), (&expected.chunks, expected.n_heads));
                prop_assert_eq!(&got.queries, &expected.queries);
                prop_assert_eq!(got.mass.len(), expected.mass.len());
                for (got, expected) in got.mass.iter().zip(&expected.mass) {
                    agree(got, expected, WEIGHT_TOLERANCE, "mass")?;
                }
            }
            (got, expected) => prop_assert_eq!(got, expected),
        }
    }
    prop_assert_eq!(got.rows.len(), expected.rows.len());
    for ((pick, got), (same, expected)) in got.rows.iter().zip(&expected.rows) {
        prop_assert_eq!(pick, same);
        agree(got, expected, WEIGHT_TOLERANCE, "row")?;
    }
    prop_assert_eq!(got.maps.len(), expected.maps.len());
    for (got, expected) in got.maps.iter().zip(&expected.maps) {
        let shape = |map: &PooledMap| (map.pick, map.stride, map.n_tokens, map.side);
        prop_assert_eq!(shape(got), shape(expected));
        agree(&got.mean, &expected.mean, WEIGHT_TOLERANCE * got.stride as f32, "mean")?;
        agree(&got.max, &expected.max, WEIGHT_TOLERANCE, "max")?;
    }
    Ok(())
}
