//! Passkey grids: their cells come in one by one, while everything else goes on.

use longlens_app::session::KeptGrid;
use longlens_app::settings::{Settings, Swap};
use longlens_core::spec::ModelSpec;
use longlens_core::trace::RunRecord;
use longlens_eval::passkey::{Cell, Chat, Grid, Template};

/// Grids that are kept.
const KEPT: usize = 8;

/// Passkey grids, at most one of which runs, and the one that is shown.
#[derive(Debug, Clone, Default)]
pub struct Grids {
    list: Vec<GridRun>,
    /// How many grids are newer than the one that is shown.
    from_newest: usize,
}

/// A passkey grid, as far as it is done.
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
    /// Depths, ascending.
    pub depths: Vec<f64>,
    /// Row-major `[n_depths, n_lengths]`.
    pub cells: Vec<Option<Cell>>,
    /// What was run, from the first cell.
    pub record: RunRecord,
    /// Prompts of a cell.
    pub trials: usize,
    /// The chat template's, where prompts are put into one.
    pub chat: Option<Chat>,
    /// Whether cells are still to come.
    pub running: bool,
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
            running: true,
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
        }
    }

    /// A kept grid again; nothing where its cells do not fit its lengths and depths.
    pub fn restored(id: u64, kept: KeptGrid, model: &ModelSpec) -> Option<Self> {
        let KeptGrid { settings, lengths, depths, cells, record, trials, chat } = kept;
        (!cells.is_empty() && cells.len() == lengths.len() * depths.len()).then(|| Self {
            id,
            text: text_of(&settings, model),
            settings,
            lengths,
            depths,
            cells,
            record,
            trials,
            chat,
            running: false,
        })
    }
}

/// The text of settings whose prompts are computed in full.
fn text_of(settings: &Settings, model: &ModelSpec) -> String {
    Settings { swap: Swap::RePrefill, ..settings.clone() }.brief(model)
}
