//! A model whose layers are nothing but attention, of random queries, keys and values: what a kernel's speed is measured on, without
//! the products around it.

use std::sync::{Mutex, PoisonError};

use burn_tensor::{DType, Distribution, Tensor};
use longlens_core::lens::{Lens, LensError, ModelInfo};
use longlens_core::spec::ModelSpec;
use longlens_kernel::{Kernels, Operation};

use crate::decoder::{Attend, Decoder, Projected};
use crate::lens::DecoderLens;

/// What attention meets in every layer, made once for steps of as many tokens: making it is not what is measured.
struct AttentionOnly<B: Kernels> {
    spec: ModelSpec,
    device: B::Device,
    dtype: DType,
    /// For the newest number of tokens alone: long steps take memory.
    made: Mutex<Option<(usize, Projected<B>)>>,
}

/// Opens one with the heads and layers of `info`, which names it; numbers have 16 bits where the device attends to such.
pub fn open<B: Kernels>(
    info: ModelInfo,
    seed: u64,
    kv_offload: bool,
    device: B::Device,
    kernel_path: &str,
) -> Box<dyn Lens> {
    B::seed(&device, seed);
    let dtype = if B::attention_bytes(&device, info.has_32_bits()) == 2 { DType::BF16 } else { DType::F32 };
    let decoder = AttentionOnly { spec: info.spec.clone(), device: device.clone(), dtype, made: Mutex::new(None) };
    // there are no weights, whose format would stand here
    let numbers = if dtype == DType::BF16 { "bf16" } else { "f32" };
    let info = ModelInfo { kernel_path: kernel_path.into(), dtype: numbers.into(), ..info };
    Box::new(DecoderLens::<B, _>::new(decoder, info, None, device).offloading(kv_offload))
}

/// What such a model is, of one with other layers: no weights.
#[must_use]
pub fn describe(info: ModelInfo) -> ModelInfo {
    let spec = ModelSpec { layer_weights: 0, output_weights: 0, d_mlp: 0, ..info.spec };
    ModelInfo { name: format!("{}, attention alone", info.name), n_parameters: 0, weight_bytes: 0, spec, ..info }
}

impl<B: Kernels> Decoder<B> for AttentionOnly<B> {
    fn n_layers(&self) -> usize {
        self.spec.n_layers
    }

    fn operations(&self) -> Vec<Operation<'_, B>> {
        Vec::new()
    }

    fn embed(&self, tokens: &[u32]) -> Tensor<B, 2> {
        Tensor::zeros([tokens.len(), 1], &self.device)
    }

    fn layer(&self, _: usize, hidden: Tensor<B, 2>, attend: &mut Attend<'_, B>) -> Result<Tensor<B, 2>, LensError> {
        let seq = hidden.dims()[0];
        let new = {
            let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
            let random = |heads: usize| {
                let shape = [seq, heads * self.spec.head_dim];
                Tensor::<B, 2>::random(shape, Distribution::Normal(0.0, 1.0), &self.device).cast(self.dtype)
            };
            let (n_heads, n_kv_heads) = (self.spec.n_heads, self.spec.n_kv_heads);
            let make = || Projected { query: random(n_heads), key: random(n_kv_heads), value: random(n_kv_heads) };
            if made.as_ref().is_none_or(|(n, _)| *n != seq) {
                *made = None; // its memory is given back before the new ones take theirs
            }
            made.get_or_insert_with(|| (seq, make())).1.clone()
        };
        let context = attend(new)?; // [seq, n_heads * head_dim]
        Ok(context.slice([0..seq, 0..1]).cast(DType::F32))
    }

    fn logits(&self, hidden: Tensor<B, 2>) -> Tensor<B, 2> {
        hidden // one of the numbers: whoever reads it waits for all that was launched before
    }
}
