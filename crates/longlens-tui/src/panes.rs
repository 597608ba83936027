//! One file per pane: a function of the state that draws into an area.

use std::sync::LazyLock;

use longlens_app::views;

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
pub mod plot;
pub mod positions;
pub mod tokens;

/// Views with a pane of their own, in the order of tabs and keys. A new one stands here, and its module above.
const OWN: &[&dyn View] = &[
    &heads::HeadsView,
    &map::MapView,
    &positions::PositionsView,
    &grid::GridView,
    &loss::LossView,
    &layers::LayersView,
    &compare::CompareView,
    &chunks::ChunksView,
];

/// Every view, in the order of tabs and keys: those above, then all views of a trace that none of them shows.
pub static VIEWS: LazyLock<Vec<&'static dyn View>> = LazyLock::new(|| {
    let is_own = |name: &str| OWN.iter().filter_map(|pane| pane.trace_view()).any(|view| view.info().name == name);
    let others = (0..views::VIEWS.len()).filter(|at| !is_own(views::VIEWS[*at].info().name));
    // one for each view of the list, for as long as the program runs
    let others = others.map(|at| &*Box::leak(Box::new(plot::PlotView::new(at))) as &'static dyn View);
    OWN.iter().copied().chain(others).collect()
});
