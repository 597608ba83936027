//! A checkpoint's files become a lens.

use longlens_core::lens::{Lens, ModelInfo, TextCodec};
use longlens_kernel::Kernels;
use longlens_kernel::linear::Storage;

use crate::config::LlamaConfig;
use crate::error::OpenError;
use crate::lens::DecoderLens;
use crate::source::Source;
use crate::tokenizer::HfTokenizer;
use crate::weights::{self, WeightFiles};

/// Opens a checkpoint on `device`, its matrices kept as `storage`; `kernel_path` names device and kernel bodies in every
/// result.
///
/// Files are checked in the order in which a mistake is cheapest to find: config, tokenizer, weights.
pub fn open<B: Kernels>(
    source: &Source,
    storage: Storage,
    device: B::Device,
    kernel_path: &str,
) -> Result<Box<dyn Lens>, OpenError> {
    let config = LlamaConfig::open(source)?;
    let spec = config.spec();
    let text = HfTokenizer::open(source, spec.vocab_size)?.map(|text| Box::new(text) as Box<dyn TextCodec>);
    let files = WeightFiles::open(source)?;
    let (model, report) = weights::load::<B, _>(&config, &files, storage, &device)?;
    let dtype = stored_as(&report.loaded_as, &report.dtypes);
    let info = info(source, config, report.n_parameters, dtype, kernel_path);
    Ok(Box::new(DecoderLens::new(model, info, text, device)))
}

/// What a checkpoint would be with its matrices kept as `storage`, from its config and the headers of its weights; no weight
/// is read.
pub fn describe(source: &Source, storage: Storage) -> Result<ModelInfo, OpenError> {
    let config = LlamaConfig::open(source)?;
    let (n_parameters, dtypes) = WeightFiles::open(source)?.tally();
    Ok(info(source, config, n_parameters, stored_as(storage.name(), &dtypes), "not loaded"))
}

fn info(source: &Source, config: LlamaConfig, n_parameters: usize, dtype: String, kernel_path: &str) -> ModelInfo {
    ModelInfo {
        name: source.name().into(),
        source: source.place(),
        family: "llama".into(),
        spec: config.spec(),
        n_parameters,
        bos_token: config.bos_token,
        eos_tokens: config.eos_tokens,
        dtype,
        kernel_path: kernel_path.into(),
    }
}

fn stored_as(loaded: &str, dtypes: &[String]) -> String {
    match dtypes {
        [stored] if stored == loaded => loaded.into(),
        stored => format!("{loaded} (stored as {})", stored.join(", ")),
    }
}
