//! A checkpoint's files become a lens.

use longlens_core::lens::{Lens, ModelInfo, TextCodec};
use longlens_kernel::Kernels;
use longlens_kernel::linear::Storage;

use crate::config::Config;
use crate::error::OpenError;
use crate::lens::DecoderLens;
use crate::source::Source;
use crate::tokenizer::HfTokenizer;
use crate::weights::{self, WeightFiles};

/// How a checkpoint is opened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Options {
    /// How matrices are kept.
    pub storage: Storage,
    /// The context that the model was trained on, where its config does not say so.
    pub trained_context: Option<usize>,
}

impl From<Storage> for Options {
    fn from(storage: Storage) -> Self {
        Self { storage, trained_context: None }
    }
}

/// Opens a checkpoint on `device`; `kernel_path` names device and kernel bodies in every result.
///
/// Files are checked in the order in which a mistake is cheapest to find: config, tokenizer, weights.
pub fn open<B: Kernels>(
    source: &Source,
    options: impl Into<Options>,
    device: B::Device,
    kernel_path: &str,
) -> Result<Box<dyn Lens>, OpenError> {
    let options = options.into();
    let Parts { mut config, text, files } = Parts::open(source, options)?;
    let (model, report) = weights::load::<B, _>(&config, &files, options.storage, &device)?;
    config.warnings.extend(report.warnings);
    let dtype = stored_as(&report.loaded_as, &report.dtypes);
    let info = info(source, &config, options.storage, dtype, kernel_path);
    let text = text.map(|text| Box::new(text) as Box<dyn TextCodec>);
    Ok(Box::new(DecoderLens::new(model, info, text, device)))
}

/// What a checkpoint would be when it is opened so, from its small files and the headers of its weights; no weight is read.
pub fn describe(source: &Source, options: impl Into<Options>) -> Result<ModelInfo, OpenError> {
    let options = options.into();
    let Parts { config, files, .. } = Parts::open(source, options)?;
    described(source, options, config, &files)
}

/// The same without a look at the tokenizer, which takes most of the time.
pub fn outline(source: &Source, options: impl Into<Options>) -> Result<ModelInfo, OpenError> {
    let options = options.into();
    let config = configured(source, options)?;
    let (config, files) = weighed(source, config)?;
    described(source, options, config, &files)
}

fn described(
    source: &Source,
    options: Options,
    mut config: Config,
    files: &WeightFiles,
) -> Result<ModelInfo, OpenError> {
    config.warnings.extend(weights::check(&config, files)?);
    Ok(info(source, &config, options.storage, stored_as(options.storage.name(), &files.dtypes()), "not loaded"))
}

/// The files of a checkpoint, in agreement with each other.
struct Parts {
    config: Config,
    text: Option<HfTokenizer>,
    files: WeightFiles,
}

impl Parts {
    fn open(source: &Source, options: Options) -> Result<Self, OpenError> {
        let mut config = configured(source, options)?;
        let text = HfTokenizer::open(source, config.vocab_size)?;
        config.warnings.extend(text.iter().flat_map(HfTokenizer::warnings).cloned());
        let (config, files) = weighed(source, config)?;
        Ok(Self { config, text, files })
    }
}

fn configured(source: &Source, options: Options) -> Result<Config, OpenError> {
    let mut config = Config::open(source)?;
    options.trained_context.into_iter().for_each(|n_tokens| config.train_on(n_tokens));
    Ok(config)
}

/// The weights, and the config as they have it.
fn weighed(source: &Source, mut config: Config) -> Result<(Config, WeightFiles), OpenError> {
    let mut files = WeightFiles::open(source)?;
    config.follow(&mut files);
    config.warnings.extend(adapter(source));
    Ok((config, files))
}

/// transformers adds an adapter that lies beside the weights, where PEFT is installed.
fn adapter(source: &Source) -> Option<String> {
    const ADAPTER: &str = "adapter_config.json";
    source.files().iter().any(|file| file == ADAPTER).then(|| {
        format!(
            "{} says that an adapter belongs to these weights, and it is not added: merge it (PEFT's `merge_and_unload`) and \
             save the whole model for numbers with it",
            source.shown(ADAPTER)
        )
    })
}

fn info(source: &Source, config: &Config, storage: Storage, dtype: String, kernel_path: &str) -> ModelInfo {
    ModelInfo {
        name: source.name().into(),
        source: source.place(),
        dtype,
        kernel_path: kernel_path.into(),
        ..config.info(storage)
    }
}

fn stored_as(loaded: &str, dtypes: &[String]) -> String {
    match dtypes {
        [stored] if stored == loaded => loaded.into(),
        stored => format!("{loaded} (stored as {})", stored.join(", ")),
    }
}
