//! Inspections: what views need of the newest run, asked for when that changes.

use std::sync::Arc;

use longlens_app::Problem;
use longlens_app::heads::Heads;
use longlens_app::runs::RunState;
use longlens_app::settings::Swap;
use longlens_app::worker::{Ask, DifferenceAsk, InspectAsk, InspectKind};
use longlens_core::trace::{MapPick, MapWindow, Watch};

use super::{App, DifferenceKey, HeadsKey, MapKey, Sequence};
use crate::view::Need;

/// Cells of a map's side before a frame has told how many fit.
const FIRST_SIDE: usize = 64;
/// Most cells of a map's side.
const MAX_SIDE: usize = 1024;

impl App {
    /// Asks for what the views need and do not have.
    pub(super) fn inspect(&mut self) {
        self.inspect_difference();
        let Some(current) = self.current.clone() else { return };
        let Some(run) = self.runs.get(current.id) else { return };
        if matches!(run.state, RunState::Running | RunState::Failed(_)) || run.prefill_seconds.is_none() {
            return;
        }
        let query = self.query();
        if current.settings.swap == Swap::ReuseKv && current.base.is_some() {
            let first = current.query.unwrap_or(usize::MAX).min(current.prompt.tokens.len() - 1);
            if query < first {
                // queries before the first one computed anew need another run
                return self.start_run();
            }
        }
        let generated = run.generated.clone();
        let n_prompt = current.prompt.tokens.len();
        let sequence = Sequence::of(self, run, query);
        let answer = sequence.ok().and_then(|sequence| sequence.answer).unwrap_or(query..query);
        let key = HeadsKey { run: current.id, query, chunk_len: self.chunk_len(), answer };
        if self.heads.is_new(&key) {
            let id = self.work.number();
            let watch = Heads::watch(&self.model, query, key.answer.clone(), key.chunk_len);
            self.heads.ask(id, key);
            let (run, generated) = (current.clone(), generated.clone());
            self.work.ask(Ask::Inspect(InspectAsk { id, run, generated, kind: InspectKind::Heads, watch }));
        }
        self.inspect_plots();
        if !self.layout.needs(Need::Map) {
            return;
        }
        let side = self.seen.map_side.unwrap_or(FIRST_SIDE).clamp(8, MAX_SIDE);
        let (layer, head) = (self.controls.layer, self.controls.head);
        let window = self.zoom.window().map(|_| self.window());
        let whole = (self.map_span() > n_prompt).then(|| MapWindow { query: 0, key: 0, len: self.map_span() });
        let key = MapKey { run: current.id, layer, head, side, window, whole };
        if self.map.is_new(&key) {
            let id = self.work.number();
            self.map.ask(id, key);
            let watch = Watch { maps: vec![key.pick()], ..Watch::default() };
            self.work.ask(Ask::Inspect(InspectAsk { id, run: current, generated, kind: InspectKind::Map, watch }));
        }
    }

    /// Asks for the maps of two runs, where they are compared.
    fn inspect_difference(&mut self) {
        if !self.layout.needs(Need::Difference) {
            return;
        }
        let Some([a, b]) = self.compared() else { return };
        if a.base.is_some() || b.base.is_some() {
            let help = "compare runs of the mode re-prefill".to_owned();
            let problem = Problem::new("a reuse-kv run has computed only its last queries: it has no map", help);
            return self.difference.clear(Some(problem));
        }
        let (Some(first), Some(second)) = (a.ask(a.id), b.ask(b.id)) else { return };
        let is_over = |state: &RunState| matches!(state, RunState::Done | RunState::Cancelled);
        if !is_over(&a.state) || !is_over(&b.state) || first.prompt.tokens != second.prompt.tokens {
            return;
        }
        let (layer, head) = (self.controls.layer, self.controls.head);
        let side = DIFFERENCE_SIDE.min(first.prompt.tokens.len());
        let key = DifferenceKey { runs: [a.id, b.id], layer, head, side };
        if !self.difference.is_new(&key) {
            return;
        }
        let id = self.work.number();
        self.difference.ask(id, key);
        let pick = MapPick::whole(layer, head, side);
        self.work.ask(Ask::Difference(DifferenceAsk { id, runs: [Arc::new(first), Arc::new(second)], pick }));
    }

    /// Tokens of the whole map: the prompt, and the text behind it once that is over.
    pub fn map_span(&self) -> usize {
        let is_over = self.run().is_some_and(|run| matches!(run.state, RunState::Done | RunState::Cancelled));
        if is_over { self.n_fed() } else { self.n_prompt() }
    }

    /// The part of the map that is shown.
    pub fn window(&self) -> MapWindow {
        self.zoom.part(self.map_span())
    }

    /// Zooms the map by a factor around a query and key; without them towards what is selected.
    pub(super) fn zoom(&mut self, factor: f64, around: Option<(usize, usize)>) {
        let n = self.map_span();
        let needle = self.prompt.answer().and_then(|prompt| prompt.needle.as_ref());
        let query = self.query().min(n.saturating_sub(1));
        let key = needle.map_or(query, |needle| usize::midpoint(needle.tokens.start, needle.tokens.end));
        self.zoom.by(factor, around, (query, key), n);
        self.inspect();
    }

    /// Moves the zoomed map by eighths of its side.
    pub(super) fn pan(&mut self, down: i64, right: i64) {
        self.zoom.pan(down, right, self.map_span());
        self.inspect();
    }
}

/// Cells of a side of the difference of two maps.
const DIFFERENCE_SIDE: usize = 128;
