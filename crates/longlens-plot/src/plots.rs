//! The catalog of plots: data in, [`crate::scene::Scene`] out. A new one is a file in `plots/` and a line here.

pub mod attention_map;
mod categories;
pub mod chunk_map;
pub mod head_grid;
pub mod heatmap;
pub mod lines;
pub mod loss_curve;
pub mod needle_grid;
pub mod passages;
pub mod perplexity;
pub mod position_map;
pub mod run_comparison;
pub mod speed;

pub use attention_map::{AttentionMap, Pooling};
pub use chunk_map::{ChunkMap, ChunkRows};
pub use head_grid::HeadGrid;
pub use heatmap::{HeatMap, HeatScale};
pub use lines::{Axis, Kind, LinePlot, LinePoint, LineSeries, Reference, Scale};
pub use loss_curve::{LossCurve, LossSeries};
pub use needle_grid::{NeedleCell, NeedleGrid, NeedleMeasure, NeedlePanel};
pub use passages::{PassageRow, Passages};
pub use perplexity::{Perplexity, PerplexityPoint, PerplexitySeries};
pub use position_map::{PositionMap, Seen};
pub use run_comparison::{DifferenceMap, RunComparison};
pub use speed::{Speed, SpeedPoint, SpeedSeries};
