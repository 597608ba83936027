//! What a file holds of a sequence: the tensors of every layer, read out of a cache and made into a copy to go on from.

use burn_tensor::{DType, Tensor, TensorData, get_device_settings};
use longlens_core::lens::{KeptPart, KeptTensor, LensError, Setup};
use longlens_core::plan::ChunkScore;
use longlens_core::spec::ModelSpec;
use longlens_kernel::Kernels;

use super::fork::LayerFork;
use super::{LayerCache, Memory};

/// The tensors of a sequence of `n_tokens` that runs under `setup`, layer by layer.
pub fn tensors<B: Kernels>(
    spec: &ModelSpec,
    setup: &Setup,
    n_tokens: usize,
    device: &B::Device,
) -> Result<Vec<KeptTensor>, LensError> {
    let format = format_of(DType::from(get_device_settings::<B>(device).float_dtype));
    let d = spec.head_dim;
    let tensor = |part, shape| KeptTensor { part, format, shape };
    let mut tensors = Vec::new();
    for layer in 0..spec.n_layers {
        tensors.push(tensor(KeptPart::Key(layer), [spec.n_kv_heads, n_tokens, d]));
        tensors.push(tensor(KeptPart::Value(layer), [spec.n_kv_heads, n_tokens, d]));
        if setup.keep_queries {
            tensors.push(tensor(KeptPart::Query(layer), [spec.n_heads, n_tokens, d]));
        }
        for (at, group) in setup.plan.groups(layer, spec.n_heads).into_iter().enumerate() {
            let rule = &setup.plan.rules()[group.rule];
            let Some(choice) = rule.choice else { continue };
            let (n_chunks, n_pending) = (n_tokens / choice.chunk_len, n_tokens % choice.chunk_len);
            let (heads, width, n_pending) = match choice.score {
                ChunkScore::Summary => (group.heads.len(), d, n_pending),
                // where keys rotate anew with every length, bounds are made when queries choose
                ChunkScore::Bounds if rule.rope(&setup.rope, spec)?.rerotates() => continue,
                ChunkScore::Bounds => (spec.kv_heads_of(&group.heads).len(), 2 * d, 0),
            };
            if n_chunks > 0 {
                tensors.push(tensor(KeptPart::Chunks(layer, at), [heads, n_chunks, width]));
            }
            if n_pending > 0 {
                tensors.push(tensor(KeptPart::Pending(layer, at), [heads, n_pending, width]));
            }
        }
    }
    Ok(tensors)
}

fn format_of(dtype: DType) -> &'static str {
    match dtype {
        DType::F16 => "F16",
        DType::BF16 => "BF16",
        _ => "F32",
    }
}

fn dtype_of(format: &str) -> DType {
    match format {
        "F16" => DType::F16,
        "BF16" => DType::BF16,
        _ => DType::F32,
    }
}

impl<B: Kernels> LayerCache<B> {
    /// The numbers of one of the layer's tensors; nothing where the cache does not have it so.
    pub fn kept(&self, tensor: &KeptTensor) -> Option<Vec<u8>> {
        let group = |at: usize| self.groups.get(at).map(|group| &group.chunks);
        let rows = match tensor.part {
            KeptPart::Key(_) => self.key.first(self.len, &self.device),
            KeptPart::Value(_) => self.value.first(self.len, &self.device),
            KeptPart::Query(_) => self.queries(0..self.len)?,
            KeptPart::Chunks(_, at) => group(at)?.complete()?,
            KeptPart::Pending(_, at) => group(at)?.pending.clone()?,
        };
        let data = (rows.dims() == tensor.shape).then(|| rows.cast(dtype_of(tensor.format)).into_data())?;
        Some(data.as_bytes().to_vec())
    }
}

/// A copy of one layer, of the numbers that `read` gives for each of its tensors; `sizes` are its tokens and its groups of heads with
/// a rule.
pub fn layer<B: Kernels>(
    tensors: &[KeptTensor],
    sizes: (usize, usize),
    memory: Memory,
    device: &B::Device,
    mut read: impl FnMut(&KeptTensor) -> Result<Vec<u8>, LensError>,
) -> Result<LayerFork<B>, LensError> {
    let parts = tensors.iter().map(|tensor| {
        let (bytes, dtype) = (read(tensor)?, dtype_of(tensor.format));
        assert_eq!(bytes.len(), tensor.n_bytes(), "who reads gives as many bytes as the tensor has");
        let data = TensorData::from_bytes_vec(bytes, tensor.shape, dtype);
        Ok((tensor.part, Tensor::<B, 3>::from_data(data, (device, dtype))))
    });
    Ok(LayerFork::of(parts.collect::<Result<_, LensError>>()?, sizes, memory, device.clone()))
}
