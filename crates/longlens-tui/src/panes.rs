//! One file per pane: a function of the state that draws into an area.

pub mod compare;
pub mod controls;
pub mod grid;
pub mod heads;
pub mod history;
pub mod layers;
pub mod loss;
pub mod map;
pub mod output;
pub mod positions;
pub mod tokens;
