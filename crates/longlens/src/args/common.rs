//! Flags of every command that opens a model.

use std::path::PathBuf;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, ValueEnum};
use longlens_app::settings::params::Given;
use longlens_core::setting::Value;
use longlens_model::weights::Keep;
use serde::Deserialize;

use super::values::{given, help, setting};

/// Help of `--model`.
pub(super) const MODEL: &str = "`embedded`, a checkpoint folder, a file of weights (.gguf, .safetensors, .bin), or \
                                `org/name[@revision]` in the Hugging Face cache";

/// Flags of every command that opens a model.
#[derive(Debug, Clone, Default, Args)]
pub struct CommonArgs {
    #[arg(long, value_name = "MODEL", help = MODEL)]
    pub model: Option<String>,
    /// Attention method, as `self_extend:group_size=4,neighbor_window=64` (see `longlens methods`)
    #[arg(long, value_name = "TEXT")]
    pub method: Option<String>,
    /// RoPE scaling, as `yarn:factor=8`; without it the checkpoint's own
    #[arg(long, value_name = "TEXT")]
    pub rope: Option<String>,
    /// Settings from a TOML file; flags override it
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    #[command(flatten)]
    pub opening: OpeningArgs,
    #[arg(long, value_name = "N", help = help("seed"), value_parser = setting("seed"))]
    pub seed: Option<Value>,
    #[arg(long, value_name = "TOKENS", help = help("prefill_chunk"), value_parser = setting("prefill_chunk"))]
    pub prefill_chunk: Option<Value>,
    #[arg(long, value_name = "auto|keep|off", help = help("layer_windows"), value_parser = setting("layer_windows"))]
    pub layer_windows: Option<Value>,
    /// Print JSON on stdout; everything else goes to stderr
    #[arg(long)]
    pub json: bool,
    /// Write pictures and data here: a file for one picture, a folder for several; `evaluate` keeps every sample in this folder
    #[arg(long, value_name = "PATH")]
    pub out: Option<PathBuf>,
}

impl CommonArgs {
    /// The settings of a run that these flags name.
    pub fn given(&self) -> Given {
        given([("seed", &self.seed), ("prefill_chunk", &self.prefill_chunk), ("layer_windows", &self.layer_windows)])
    }
}

/// How a model is opened.
#[derive(Debug, Clone, Default, Args)]
pub struct OpeningArgs {
    /// Where to compute
    #[arg(long, value_enum)]
    pub device: Option<Device>,
    /// How matrices are kept in memory: as in the file (the default; what a device does not decode becomes 32 bits), or in 32, 16, 9
    /// or 5 bits a weight
    #[arg(long, value_name = "FORMAT", value_parser = keep())]
    pub weights: Option<Keep>,
    #[arg(long, value_name = "TOKENS", help = help("trained_context"), value_parser = setting("trained_context"))]
    pub trained_context: Option<Value>,
    /// A LoRA adapter, as PEFT saves it, to add to the weights: its folder, or `org/name` in the Hugging Face cache
    #[arg(long, value_name = "ADAPTER")]
    pub adapter: Option<String>,
    /// Keep keys and values in the host's memory and fetch them for every layer: for prompts that the device has no room for
    #[arg(long)]
    pub kv_offload: bool,
}

impl OpeningArgs {
    /// How matrices are kept: what flag or config say, else as in the file.
    pub fn keep(&self, config: Option<Keep>) -> Keep {
        self.weights.or(config).unwrap_or_default()
    }

    /// Tokens that the model counts as trained on, where that is given.
    pub fn trained_context(&self) -> Option<usize> {
        self.trained_context.as_ref().map(|n_tokens| n_tokens.number() as usize)
    }
}

fn keep() -> impl TypedValueParser<Value = Keep> {
    PossibleValuesParser::new(Keep::ALL.map(Keep::name)).try_map(|name| name.parse::<Keep>())
}

/// Where to compute.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Device {
    /// burn-flex on the processor
    #[default]
    Cpu,
    /// wgpu (Vulkan, Metal, DX12); needs a build with `--features wgpu`
    Wgpu,
    /// CUDA; needs a build with `--features cuda`
    Cuda,
}

impl Device {
    /// What it is called.
    pub fn name(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Wgpu => "wgpu",
            Self::Cuda => "cuda",
        }
    }
}
