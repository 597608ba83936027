//! The model from its files to its logits. One program: each one more would compile the model again for its backend.

mod adapters;
mod bad_checkpoints;
mod common;
mod conversion;
mod damaged_files;
#[cfg(any(feature = "wgpu", feature = "simulated"))]
mod devices;
mod dialogue;
mod embedded_behaviour;
mod embedded_model;
mod fork;
mod formats;
mod gguf_parts;
mod gguf_written;
mod golden;
mod inspect;
mod kept;
mod layer_windows;
mod mixed_layers;
mod offload;
mod other_checkpoints;
mod properties;
mod query_blocks;
mod real_model;
mod released_configs;
mod released_families;
mod reuse;
mod storage;
mod strangers_files;
mod texts;
mod trained_context;
mod verify;
mod written;
