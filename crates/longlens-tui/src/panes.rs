//! One file per pane: a function of the state that draws into an area.

use std::sync::LazyLock;

use longlens_app::views;

use crate::view::View;

pub mod attention;
pub mod chunks;
pub mod compare;
pub mod controls;
pub mod grid;
pub mod history;
pub mod layers;
pub mod loss;
pub mod output;
pub mod plot;
pub mod positions;
pub mod tokens;
pub mod usage;

/// Views with a pane of their own, in the order of tabs and keys. A new one stands here, and its module above.
const OWN: &[&dyn View] = &[
    &chunks::ChunksView,
    &attention::AttentionView,
    &positions::PositionsView,
    &grid::GridView,
    &loss::LossView,
    &layers::LayersView,
    &compare::CompareView,
    &usage::UsageView,
];

/// Every view, in the order of tabs and keys: those above, then all views of a trace that none of them shows.
pub static VIEWS: LazyLock<Vec<&'static dyn View>> = LazyLock::new(|| {
    let is_own = |name: &str| OWN.iter().filter_map(|pane| pane.trace_view()).any(|view| view.info().name == name);
    let others = (0..views::TRACE_VIEWS.len()).filter(|at| !is_own(views::TRACE_VIEWS[*at].info().name));
    // one for each view of the list, for as long as the program runs
    let others = others.map(|at| &*Box::leak(Box::new(plot::PlotView::new(at))) as &'static dyn View);
    OWN.iter().copied().chain(others).collect()
});
