//! The catalog of plots: data in, [`crate::scene::Scene`] out. A new one is a file in `plots/` and a line here.

pub mod attention_map;
pub mod chunk_map;
pub mod needle_grid;
pub mod perplexity;
pub mod position_map;
