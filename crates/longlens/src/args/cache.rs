//! Flags of `cache`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::{CommonArgs, GenerateArgs, PromptArgs};

#[derive(Debug, Args)]
pub struct CacheArgs {
    #[command(subcommand)]
    pub command: CacheCommand,
}

/// What can be done with kept prompts.
#[derive(Debug, Subcommand)]
pub enum CacheCommand {
    /// Compute a prompt once and keep its keys and values in a safetensors file, which --out names
    Save(Box<SaveArgs>),
    /// Go on from a kept prompt: what --prompt or --question says follows it
    ///
    /// The same as `generate --cache FILE`, which other commands take too. The model must be the one that kept it; method, scaling and
    /// trained context are those of the file, and others are refused.
    Open(Box<OpenArgs>),
    /// Say what a file holds and what it was computed with
    Show {
        /// The file
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// Print it as JSON
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, Args)]
pub struct SaveArgs {
    #[command(flatten)]
    pub common: CommonArgs,
    #[command(flatten)]
    pub prompt: PromptArgs,
    /// Keep queries too, for the workbench and for views that look at earlier tokens: the file grows by as many numbers as there are
    /// query heads
    #[arg(long)]
    pub queries: bool,
}

#[derive(Debug, Args)]
pub struct OpenArgs {
    /// What `cache save` wrote
    #[arg(value_name = "FILE", id = "kept")]
    pub file: PathBuf,
    #[command(flatten)]
    pub generate: GenerateArgs,
}
