//! The catalog of plots: data in, [`crate::scene::Scene`] out. A new one is a file in `plots/` and a line here.

pub mod attention_map;
pub mod chunk_map;
pub mod needle_grid;
pub mod perplexity;
pub mod position_map;
pub mod speed;

pub use attention_map::{AttentionMap, Pooling};
pub use chunk_map::{ChunkMap, ChunkRows};
pub use needle_grid::{NeedleCell, NeedleGrid, NeedlePanel};
pub use perplexity::{Perplexity, PerplexityPoint, PerplexitySeries};
pub use position_map::PositionMap;
pub use speed::{Speed, SpeedPoint, SpeedSeries};
