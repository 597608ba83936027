//! Flags of the commands that show what a method does: `positions`, `chunks`, `attention`, `plot`.

use clap::Args;
use longlens_plot::Ground;

use super::values::{at_least_one, whole};
use super::{CommonArgs, PromptArgs};

#[derive(Debug, Args)]
pub struct PositionsArgs {
    #[command(flatten)]
    pub common: CommonArgs,
    /// Tokens of the prompt (default: twice the trained context)
    #[arg(long, value_name = "TOKENS")]
    pub tokens: Option<String>,
    /// Only the relative position of this pair, as `QUERY,KEY`
    #[arg(long, value_name = "QUERY,KEY", allow_hyphen_values = true)]
    pub pair: Option<String>,
    /// Whose positions are shown where layers or heads follow different rules (default: the first layer that the method acts on)
    #[arg(long, value_name = "LAYER", value_parser = whole::<usize>)]
    pub layer: Option<usize>,
    /// The query head of that layer
    #[arg(long, value_name = "HEAD", value_parser = whole::<usize>, default_value_t = 0)]
    pub head: usize,
}

#[derive(Debug, Args)]
pub struct ChunksArgs {
    #[command(flatten)]
    pub common: CommonArgs,
    #[command(flatten)]
    pub prompt: PromptArgs,
    /// Query token (default: the last of the prompt; after --needle the one behind it, which should fetch the key)
    #[arg(long, value_name = "TOKEN", value_parser = whole::<usize>)]
    pub query: Option<usize>,
    /// One layer only
    #[arg(long, value_name = "LAYER", value_parser = whole::<usize>)]
    pub layer: Option<usize>,
    /// Attention on every chunk instead of the choice; the default for methods that choose nothing
    #[arg(long)]
    pub attention: bool,
    /// Tokens of a chunk (default: the method's, else 1/16 of the trained context or of a shorter prompt)
    #[arg(long, value_name = "TOKENS", value_parser = at_least_one)]
    pub chunk_len: Option<usize>,
}

#[derive(Debug, Args)]
pub struct AttentionArgs {
    #[command(flatten)]
    pub common: CommonArgs,
    #[command(flatten)]
    pub prompt: PromptArgs,
    /// Layer (default: the first that the method acts on)
    #[arg(long, value_name = "LAYER", value_parser = whole::<usize>)]
    pub layer: Option<usize>,
    /// Query head
    #[arg(long, value_name = "HEAD", default_value_t = 0, value_parser = whole::<usize>)]
    pub head: usize,
    /// Also show where this query token looks, exactly
    #[arg(long, value_name = "TOKEN", value_parser = whole::<usize>)]
    pub query: Option<usize>,
    /// Cells of a side at most (default: 512); longer prompts are pooled
    #[arg(long, value_name = "CELLS", value_parser = whole::<usize>)]
    pub side: Option<usize>,
    /// Linear colours instead of logarithmic ones
    #[arg(long)]
    pub linear: bool,
    /// The largest weight of a cell instead of the mean
    #[arg(long)]
    pub max: bool,
}

#[derive(Debug, Args)]
pub struct PlotArgs {
    #[command(flatten)]
    pub common: CommonArgs,
    #[command(flatten)]
    pub prompt: PromptArgs,
    /// View with its options, as `layers:scale=log`; --out takes .png, .svg, .csv, .npz and .html
    #[arg(value_name = "VIEW")]
    pub view: Option<String>,
    /// What the picture stands on
    #[arg(long, value_enum, default_value_t)]
    pub theme: PageGround,
}

/// What a picture in a file stands on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum PageGround {
    /// Dark on a white ground
    #[default]
    Light,
    /// Light on a dark ground
    Dark,
}

impl From<PageGround> for Ground {
    fn from(ground: PageGround) -> Self {
        match ground {
            PageGround::Light => Self::Light,
            PageGround::Dark => Self::Dark,
        }
    }
}
