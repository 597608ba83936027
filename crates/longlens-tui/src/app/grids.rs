//! Grids of pass keys and of other tasks: their cells come in one by one, while everything else goes on.

use longlens_app::session::{KeptGrid, Scored};
use longlens_app::settings::{Settings, Swap};
use longlens_app::steps::Step;
use longlens_app::sweep::Evaluation;
use longlens_app::views::scores::{self, GridRow, ScoreCell, ScoreGrid};
use longlens_core::spec::ModelSpec;
use longlens_core::trace::RunRecord;
use longlens_eval::evaluate::Record;
use longlens_eval::passkey::{Cell, Chat, Grid, Template};

/// Grids that are kept.
const KEPT: usize = 8;

/// Grids, at most one of which runs, and the one that is shown.
#[derive(Debug, Clone, Default)]
pub struct Grids {
    list: Vec<GridRun>,
    /// How many grids are newer than the one that is shown.
    from_newest: usize,
}

/// A grid, as far as it is done.
#[derive(Debug, Clone, PartialEq)]
pub struct GridRun {
    /// Its number.
    pub id: u64,
    /// What it ran under.
    pub settings: Settings,
    /// The method's and scaling's text.
    pub text: String,
    /// Lengths in tokens, ascending.
    pub lengths: Vec<usize>,
    /// Depths of pass keys, ascending.
    pub depths: Vec<f64>,
    /// Pass keys: row-major `[n_depths, n_lengths]`.
    pub cells: Vec<Option<Cell>>,
    /// What was run, from the first cell.
    pub record: RunRecord,
    /// Prompts of a cell.
    pub trials: usize,
    /// The chat template's, where prompts are put into one.
    pub chat: Option<Chat>,
    /// The samples of another task than pass keys.
    pub scored: Option<Scored>,
    /// Their scores.
    pub(crate) scores: ScoreGrid,
    /// Whether cells are still to come.
    pub running: bool,
}

/// What a grid shows, whatever it is of.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Shown {
    /// Names of the rows, from the top.
    pub rows: Vec<String>,
    /// Lengths in tokens, ascending; one `None` where the task has none.
    pub lengths: Vec<Option<usize>>,
    /// Row-major `[n_rows, n_lengths]`.
    pub cells: Vec<Option<ShownCell>>,
}

/// A cell of a grid.
#[derive(Debug, Clone, PartialEq)]
pub struct ShownCell {
    /// Share of perfect answers; nothing of losses.
    pub share: Option<f64>,
    /// The number in it.
    pub text: String,
}

impl Grids {
    /// Grids, the newest last, which is shown.
    pub fn new(list: Vec<GridRun>) -> Self {
        Self { list, from_newest: 0 }
    }

    /// All grids, the oldest first.
    pub fn list(&self) -> &[GridRun] {
        &self.list
    }

    /// The grid that is shown.
    pub fn shown(&self) -> Option<&GridRun> {
        self.list.get(self.place()?)
    }

    /// The place of the grid that is shown.
    pub fn place(&self) -> Option<usize> {
        self.list.len().checked_sub(1 + self.from_newest)
    }

    /// Shows another grid, so many after this one.
    pub(crate) fn step(&mut self, by: i64) {
        let last = self.list.len().saturating_sub(1) as i64;
        self.from_newest = (self.from_newest as i64 - by).clamp(0, last) as usize;
    }

    /// Adds a grid that begins to run, and shows it; the oldest goes where there are too many.
    pub(super) fn start(&mut self, grid: GridRun) {
        self.list.push(grid);
        if self.list.len() > KEPT {
            self.list.remove(0);
        }
        self.from_newest = 0;
    }

    /// Marks the grid that runs as stopped, its cells stay; false where none runs.
    pub(super) fn stop(&mut self) -> Option<&GridRun> {
        let running = self.list.iter_mut().find(|grid| grid.running)?;
        running.running = false;
        Some(running)
    }

    /// The grid of this number failed; false where it is gone.
    pub(super) fn fail(&mut self, id: u64) -> bool {
        let grid = self.list.iter_mut().find(|grid| grid.id == id);
        grid.map(|grid| grid.running = false).is_some()
    }

    /// The samples of the grid of this number are counted; false where it is gone.
    pub(super) fn counted(&mut self, id: u64, n: usize) -> bool {
        let Some(grid) = self.list.iter_mut().find(|grid| grid.id == id) else { return false };
        let Some(scored) = &mut grid.scored else { return false };
        scored.n_samples = Some(n);
        grid.running &= scored.records.len() < n || n == 0;
        true
    }

    /// The grid of this number is done: lengths of which it has no samples are no part of it from now on. Returns the step that ran it and
    /// the one that runs what there is, where they differ.
    pub(super) fn finish(&mut self, id: u64) -> Option<(Step, Step)> {
        let grid = self.list.iter_mut().find(|grid| grid.id == id)?;
        let before = grid.step();
        let Scored { evaluation, records, .. } = grid.scored.as_mut()?;
        let has = |length: &usize| records.iter().any(|record| record.length == Some(*length));
        if !evaluation.lengths.iter().any(has) {
            return None;
        }
        evaluation.lengths.retain(has);
        let after = grid.step();
        (before != after).then_some((before, after))
    }

    /// Takes in a sample of the grid of this number; returns the grid if that was its last.
    pub(super) fn take_sample(&mut self, id: u64, record: Record, left: usize) -> Option<&GridRun> {
        let grid = self.list.iter_mut().find(|grid| grid.id == id)?;
        let scored = grid.scored.as_mut()?;
        if grid.record.method.is_empty() {
            grid.record = record.run.clone();
        }
        scored.records.push(record);
        grid.scores = scores::grid(&scored.records.iter().collect::<Vec<_>>());
        grid.running &= left > 0;
        (left == 0).then_some(&*grid)
    }

    /// Takes in a cell of the grid of this number; returns the grid if that was its last.
    pub(super) fn take_cell(&mut self, id: u64, cell: &Cell, left: usize) -> Option<&GridRun> {
        let grid = self.list.iter_mut().find(|grid| grid.id == id)?;
        let column = grid.lengths.iter().position(|length| *length == cell.length);
        let row = grid.depths.iter().position(|depth| (depth - cell.depth).abs() < 1e-9);
        if let (Some(row), Some(column)) = (row, column) {
            grid.cells[row * grid.lengths.len() + column] = Some(cell.clone());
        }
        if grid.record.method.is_empty() {
            grid.record = cell.run.clone();
        }
        grid.running &= left > 0;
        (left == 0).then_some(&*grid)
    }
}

impl GridRun {
    /// A grid that begins to run. Its prompts are always computed whole, so its text leaves out `reuse-kv`.
    pub(super) fn new(id: u64, settings: Settings, grid: &Grid, model: &ModelSpec) -> Self {
        Self {
            id,
            text: text_of(&settings, model),
            settings,
            cells: vec![None; grid.lengths.len() * grid.depths.len()],
            lengths: grid.lengths.clone(),
            depths: grid.depths.clone(),
            record: RunRecord::default(),
            trials: grid.trials,
            chat: grid.chat.clone(),
            scored: None,
            scores: ScoreGrid::default(),
            running: true,
        }
    }

    /// A grid of another task that begins to run.
    pub(super) fn of_task(id: u64, settings: Settings, evaluation: Evaluation, model: &ModelSpec) -> Self {
        let lengths = evaluation.lengths.clone();
        let text = text_of(&settings, model);
        let scored = Some(Scored { evaluation, n_samples: None, records: Vec::new() });
        let kept = KeptGrid {
            settings,
            lengths,
            depths: Vec::new(),
            cells: Vec::new(),
            record: RunRecord::default(),
            trials: 0,
            chat: None,
            scored,
        };
        Self { running: true, ..Self::of_kept(id, kept, text) }
    }

    fn of_kept(id: u64, kept: KeptGrid, text: String) -> Self {
        let KeptGrid { settings, lengths, depths, cells, record, trials, chat, scored } = kept;
        let scores =
            scored.as_ref().map(|scored| scores::grid(&scored.records.iter().collect::<Vec<_>>())).unwrap_or_default();
        Self { id, settings, text, lengths, depths, cells, record, trials, chat, scored, scores, running: false }
    }

    /// What it shows.
    pub fn shown(&self) -> Shown {
        if self.scored.is_some() {
            let scores = &self.scores;
            let row = |row: &GridRow| match row {
                GridRow::Depth(depth) => depth_text(*depth),
                GridRow::Part(part) => part.clone(),
                GridRow::All => "all".to_owned(),
            };
            let cell = |cell: &ScoreCell| {
                let loss = || ShownCell { share: None, text: format!("{:.1}", cell.score) };
                if cell.is_loss { loss() } else { ShownCell::of_share(cell.score / 100.0) }
            };
            return Shown {
                rows: scores.rows.iter().map(row).collect(),
                lengths: scores.lengths.clone(),
                cells: scores.cells.iter().map(|found| found.as_ref().map(cell)).collect(),
            };
        }
        Shown {
            rows: self.depths.iter().map(|depth| depth_text(*depth)).collect(),
            lengths: self.lengths.iter().copied().map(Some).collect(),
            cells: self
                .cells
                .iter()
                .map(|cell| cell.as_ref().map(|cell| ShownCell::of_share(cell.accuracy())))
                .collect(),
        }
    }

    /// Cells of pass keys, or samples, that are finished.
    pub fn n_done(&self) -> usize {
        match &self.scored {
            Some(scored) => scored.records.len(),
            None => self.cells.iter().flatten().count(),
        }
    }

    /// The same in all, as far as it is known.
    pub fn n_in_all(&self) -> Option<usize> {
        match &self.scored {
            Some(scored) => scored.n_samples,
            None => Some(self.cells.len()),
        }
    }

    /// The step that runs it.
    pub fn step(&self) -> Step {
        match &self.scored {
            Some(scored) => Step::Evaluate(self.settings.clone(), scored.evaluation.clone()),
            None => Step::Grid(self.settings.clone(), self.grid()),
        }
    }

    /// The grid that was asked for.
    pub fn grid(&self) -> Grid {
        let (lengths, depths, seed) = (self.lengths.clone(), self.depths.clone(), self.settings.sampling.seed);
        Grid { template: Template::Longlens, chat: self.chat.clone(), lengths, depths, trials: self.trials, seed }
    }

    /// What survives of it.
    pub fn keep(&self) -> KeptGrid {
        KeptGrid {
            settings: self.settings.clone(),
            lengths: self.lengths.clone(),
            depths: self.depths.clone(),
            cells: self.cells.clone(),
            record: self.record.clone(),
            trials: self.trials,
            chat: self.chat.clone(),
            scored: self.scored.clone(),
        }
    }

    /// A kept grid again; nothing where its cells do not fit its lengths and depths.
    pub fn restored(id: u64, kept: KeptGrid, model: &ModelSpec) -> Option<Self> {
        let is_whole = !kept.cells.is_empty() && kept.cells.len() == kept.lengths.len() * kept.depths.len();
        let text = text_of(&kept.settings, model);
        (is_whole || kept.scored.is_some()).then(|| Self::of_kept(id, kept, text))
    }
}

impl ShownCell {
    fn of_share(share: f64) -> Self {
        Self { share: Some(share), text: format!("{:>3}", percent(share)) }
    }
}

/// A depth in per cent.
fn depth_text(depth: f64) -> String {
    format!("{:>3.0}%", depth * 100.0)
}

/// Rounded so that no miss becomes 100 and no hit 0.
pub fn percent(share: f64) -> u32 {
    let rounded = (share * 100.0).round() as u32;
    if share > 0.0 && share < 1.0 { rounded.clamp(1, 99) } else { rounded }
}

/// The text of settings whose prompts are computed in full.
fn text_of(settings: &Settings, model: &ModelSpec) -> String {
    Settings { swap: Swap::RePrefill, ..settings.clone() }.brief(model)
}
