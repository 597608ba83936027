//! Flags of the commands about a model, a method or a machine itself: `methods`, `model`, `convert`, `doctor`.

use std::path::PathBuf;

use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use longlens_model::weights::Written;

use super::CommonArgs;
use super::Device;
use super::common::MODEL;

#[derive(Debug, Args)]
pub struct MethodsArgs {
    /// One method or scaling
    pub name: Option<String>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct DoctorArgs {
    /// Examine this device alone
    #[arg(long, value_enum)]
    pub device: Option<Device>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct ModelArgs {
    #[command(flatten)]
    pub common: CommonArgs,
    /// Memory at this many tokens
    #[arg(long, value_name = "TOKENS")]
    pub tokens: Option<String>,
}

/// A checkpoint in another form.
#[derive(Debug, Args)]
pub struct ConvertArgs {
    #[arg(long, value_name = "MODEL", help = MODEL)]
    pub model: String,
    /// The folder to write, or the file where the name ends in .gguf; no file is replaced
    #[arg(long, short, value_name = "FOLDER|FILE.gguf")]
    pub out: PathBuf,
    /// How numbers are written: as they are, or all in one form; blocks (`q8_0` to `q4_0`) to GGUF files alone, whose norms and biases
    /// stay in 32 bits
    #[arg(long, value_name = "FORMAT", default_value = "file", value_parser = written())]
    pub weights: Written,
    /// A LoRA adapter, as PEFT saves it, to merge into the weights: its folder, or `org/name` in the Hugging Face cache
    #[arg(long, value_name = "ADAPTER")]
    pub adapter: Option<String>,
    /// Print JSON on stdout; everything else goes to stderr
    #[arg(long)]
    pub json: bool,
}

fn written() -> impl TypedValueParser<Value = Written> {
    let of = |name: String| Written::ALL.into_iter().find(|written| written.name() == name).expect("a possible value");
    PossibleValuesParser::new(Written::ALL.map(Written::name)).map(of)
}
