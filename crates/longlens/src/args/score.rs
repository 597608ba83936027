//! Flags of `score`.

use std::path::PathBuf;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{ArgGroup, Args};
use longlens_eval::scorers::Mode;

#[derive(Debug, Args)]
#[command(group = ArgGroup::new("what").required(true).args(["pairs", "predictions", "list"]))]
pub struct ScoreArgs {
    /// Pairs to score, a JSON object a line, or `-` for stdin
    #[arg(long, value_name = "FILE.jsonl")]
    pub pairs: Option<PathBuf>,
    /// Predictions of LongBench, RULER, L-Eval, SCROLLS, BABILong, InfiniteBench, a needle in a haystack or lm-evaluation-harness, as these
    /// write them, or with --scorer any others: one score for the file
    #[arg(long, value_name = "FILE|DIR")]
    pub predictions: Option<PathBuf>,
    /// The task of the predictions (default: what the name of the file says, up to its first dot); `_e` at the end asks for LongBench-E
    #[arg(long, value_name = "NAME", conflicts_with_all = ["pairs", "list"])]
    pub task: Option<String>,
    /// Score every row of the predictions with this scorer, whatever file it is (--list names them)
    #[arg(long, value_name = "NAME", requires = "predictions")]
    pub scorer: Option<String>,
    /// The field that holds the predictions, where it has no usual name
    #[arg(long, value_name = "FIELD", requires = "scorer")]
    pub prediction_field: Option<String>,
    /// The field that holds the right answers, where it has no usual name
    #[arg(long, value_name = "FIELD", requires = "scorer")]
    pub answer_field: Option<String>,
    /// Right answers to predictions of SCROLLS: JSON lines with `id` and `output`
    #[arg(long, value_name = "FILE.jsonl", conflicts_with_all = ["pairs", "list"])]
    pub references: Option<PathBuf>,
    /// Whose copy of L-Eval's script: `OpenLMLab/LEval` or `HKUNLP/ChunkLlama`
    #[arg(long, value_name = "REPOSITORY", conflicts_with_all = ["pairs", "list"])]
    pub source: Option<String>,
    /// Scores as the original gives them, or right where it is wrong
    #[arg(long, value_name = "MODE", default_value = Mode::Faithful.name(), value_parser = mode())]
    pub mode: Mode,
    /// List the scorers: source, scale, and what `fixed` changes
    #[arg(long)]
    pub list: bool,
    /// Print JSON, which pairs get in any case
    #[arg(long)]
    pub json: bool,
}

fn mode() -> impl TypedValueParser<Value = Mode> {
    let of = |name: String| Mode::ALL.into_iter().find(|mode| mode.name() == name).expect("a possible value");
    PossibleValuesParser::new(Mode::ALL.map(Mode::name)).map(of)
}
