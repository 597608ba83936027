//! A checkpoint's files become a lens.

use longlens_core::lens::{Lens, ModelInfo, TextCodec};
use longlens_kernel::Kernels;

use crate::config::LlamaConfig;
use crate::error::OpenError;
use crate::lens::DecoderLens;
use crate::llama::LlamaForCausalLM;
use crate::source::Source;
use crate::tokenizer::HfTokenizer;
use crate::weights::{self, WeightFiles};

/// Opens a checkpoint on `device`; `kernel_path` names device and kernel bodies in every result.
///
/// Files are checked in the order in which a mistake is cheapest to find: config, tokenizer, weights.
pub fn open<B: Kernels>(source: &Source, device: B::Device, kernel_path: &str) -> Result<Box<dyn Lens>, OpenError> {
    let config = LlamaConfig::open(source)?;
    let spec = config.spec();
    let text = HfTokenizer::open(source, spec.vocab_size)?.map(|text| Box::new(text) as Box<dyn TextCodec>);
    let files = WeightFiles::open(source)?;
    let mut model = LlamaForCausalLM::<B>::new(&config, &device);
    let report = weights::load(&mut model, &files)?;
    let info = ModelInfo {
        name: source.name().into(),
        source: source.place(),
        family: "llama".into(),
        spec,
        n_parameters: report.n_parameters,
        bos_token: config.bos_token,
        eos_tokens: config.eos_tokens,
        dtype: match &report.dtypes[..] {
            [stored] if *stored == report.loaded_as => report.loaded_as,
            stored => format!("{} (stored as {})", report.loaded_as, stored.join(", ")),
        },
        kernel_path: kernel_path.into(),
    };
    Ok(Box::new(DecoderLens::new(model, info, text, device)))
}
