//! A checkpoint's files become a lens.

use longlens_core::lens::{Lens, ModelInfo, TextCodec};
use longlens_kernel::Kernels;
use longlens_kernel::linear::Storage;

use crate::config::Config;
use crate::error::OpenError;
use crate::lens::DecoderLens;
use crate::source::Source;
use crate::tokenizer::HfTokenizer;
use crate::weights::{self, Keep, Kept, WeightFiles};

/// How a checkpoint is opened.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Options {
    /// How matrices are kept.
    pub weights: Keep,
    /// The context that the model was trained on, where its config does not say so.
    pub trained_context: Option<usize>,
    /// A LoRA adapter to add to the weights: its folder, or its name in the Hugging Face cache.
    pub adapter: Option<String>,
    /// Whether keys and values stay in the host's memory, of which a device has often more than of its own.
    pub kv_offload: bool,
}

impl From<Storage> for Options {
    fn from(storage: Storage) -> Self {
        Self { weights: storage.into(), ..Self::default() }
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
    let Parts { mut config, text, files } = Parts::open(source, &options)?;
    let (model, report) = weights::load::<B, _>(&config, &files, options.weights, &device)?;
    config.warnings.extend(report.warnings);
    let info = info(source, (&config, &files), &options, report.kept, kernel_path);
    let text = text.map(|text| Box::new(text) as Box<dyn TextCodec>);
    Ok(Box::new(DecoderLens::new(model, info, text, device).offloading(options.kv_offload)))
}

/// What a checkpoint would be when it is opened so, from its small files and the headers of its weights; no weight is read.
pub fn describe(source: &Source, options: impl Into<Options>) -> Result<ModelInfo, OpenError> {
    let options = options.into();
    let Parts { config, files, .. } = Parts::open(source, &options)?;
    described(source, &options, config, &files, |_| true)
}

/// The same without a look at the tokenizer, which takes most of the time; `takes` says in which forms the device keeps matrices.
pub fn outline(
    source: &Source,
    options: impl Into<Options>,
    takes: impl Fn(Storage) -> bool,
) -> Result<ModelInfo, OpenError> {
    let options = options.into();
    let config = Config::open(source)?;
    let (config, files) = weighed(source, &options, config)?;
    described(source, &options, config, &files, takes)
}

fn described(
    source: &Source,
    options: &Options,
    mut config: Config,
    files: &WeightFiles,
    takes: impl Fn(Storage) -> bool,
) -> Result<ModelInfo, OpenError> {
    config.warnings.extend(weights::check(&config, files)?);
    let kept = Kept::of(&config, files, options.weights, takes);
    Ok(info(source, (&config, files), options, kept, "not loaded"))
}

/// The files of a checkpoint, in agreement with each other.
struct Parts {
    config: Config,
    text: Option<HfTokenizer>,
    files: WeightFiles,
}

impl Parts {
    fn open(source: &Source, options: &Options) -> Result<Self, OpenError> {
        let mut config = Config::open(source)?;
        let text = HfTokenizer::open(source, config.vocab_size)?;
        config.warnings.extend(text.iter().flat_map(HfTokenizer::warnings).cloned());
        if text.is_none() {
            config.warnings.extend(HfTokenizer::unknown(source)?);
        }
        let (config, files) = weighed(source, options, config)?;
        Ok(Self { config, text, files })
    }
}

/// The weights, and the config as they have it.
fn weighed(source: &Source, options: &Options, mut config: Config) -> Result<(Config, WeightFiles), OpenError> {
    let mut files = WeightFiles::open(source)?;
    config.follow(&mut files);
    match &options.adapter {
        Some(adapter) => files.adapt(&Source::resolve(adapter)?)?,
        None => config.warnings.extend(adapter_beside(source)),
    }
    Ok((config, files))
}

/// transformers adds an adapter that lies beside the weights, where PEFT is installed.
fn adapter_beside(source: &Source) -> Option<String> {
    const ADAPTER: &str = "adapter_config.json";
    source.files().iter().any(|file| file == ADAPTER).then(|| {
        format!(
            "{} says that an adapter belongs to these weights, and it is not added: give its folder as `adapter` for numbers with it",
            source.shown(ADAPTER)
        )
    })
}

fn info(
    source: &Source,
    (config, files): (&Config, &WeightFiles),
    options: &Options,
    kept: Kept,
    kernel_path: &str,
) -> ModelInfo {
    let with = |model: String, adapter: &dyn Fn(&Source) -> String| match &options.adapter {
        // it was found before
        Some(text) => {
            format!("{model} + {}", Source::resolve(text).map_or_else(|_| text.clone(), |found| adapter(&found)))
        }
        None => model,
    };
    let info = ModelInfo {
        name: with(source.name().into(), &|adapter| adapter.name().into()),
        source: with(source.place(), &Source::place),
        dtype: kept.dtype,
        weight_bytes: kept.n_bytes,
        kernel_path: kernel_path.into(),
        content: files.content(),
        // what is wrong with it is told where the tokenizer is read
        has_chat_template: HfTokenizer::has_template(source).unwrap_or(false),
        ..config.info(options.weights.without_file())
    };
    info.trained_on(options.trained_context).into_owned()
}
