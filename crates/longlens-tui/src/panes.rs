//! One file per pane: a function of the state that draws into an area.

use crate::view::View;

pub mod chunks;
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

/// Every view, in the order of tabs and keys. A new one stands here, and its module above.
pub const VIEWS: &[&dyn View] = &[
    &heads::HeadsView,
    &map::MapView,
    &positions::PositionsView,
    &grid::GridView,
    &loss::LossView,
    &layers::LayersView,
    &compare::CompareView,
    &chunks::ChunksView,
];
