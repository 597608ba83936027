//! Passkey retrieval: a number hidden in filler, asked for at the end, over a grid of lengths and depths.
//!
//! Scored twice: on tokens, as the authors' scripts do, and on text, for tokenizers that spell a number in several
//! ways.

use std::time::Instant;

use longlens_core::lens::{Control, Lens, LensError, Rows, Sequence, Setup, TextCodec};
use longlens_core::memory::CacheSize;
use longlens_core::plan::Prefill;
use longlens_core::trace::RunRecord;
use serde::{Deserialize, Serialize};

pub use self::depth::{depth, depth_of};
pub use self::fixtures::{Fixture, Fixtures, read_fixtures, run_fixtures};
pub use self::lines::fixtures;
pub use self::prompt::{Needle, PasskeyPrompt, Place, hiding, prompt};
pub use self::templates::Template;
use crate::error::{EvalError, expect};
use crate::generate::{Stop, StopReason, go_on};
use crate::ledger::Ledger;
use crate::progress::Part;
use crate::sampling::Sampling;
use crate::setup::{PromptSize, SetupFor};
use crate::stats::wilson95;

mod depth;
mod filler;
mod fixtures;
mod lines;
mod prompt;
mod templates;
mod words;

/// Which prompts to run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Grid {
    /// Wording of prompts and questions.
    pub template: Template,
    /// Target lengths in tokens.
    pub lengths: Vec<usize>,
    /// Shares of the filler before the needle, 0 to 1.
    pub depths: Vec<f64>,
    /// Prompts per length and depth.
    pub trials: usize,
    /// Start of the random numbers.
    pub seed: u64,
}

impl Grid {
    /// How it is measured, in one line.
    pub fn protocol(&self) -> String {
        let Self { template, trials, seed, .. } = self;
        let prompts = if *trials == 1 { "1 prompt".to_owned() } else { format!("{trials} prompts") };
        format!("passkey grid: template {template}, {prompts} per cell, seed {seed}; {SCORING}")
    }
}

/// What a grid or a file of prompts gave.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PasskeyReport {
    /// How it was measured.
    pub protocol: String,
    /// What was run; of the first prompt, as each cell may have its own method parameters.
    pub run: RunRecord,
    /// The cells that were run, by length, then depth.
    pub cells: Vec<Cell>,
    /// Whether every cell was run; false after a cancellation.
    pub complete: bool,
}

/// All prompts of one length and depth.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Cell {
    /// Target length in tokens.
    pub length: usize,
    /// Share of the filler before the needle.
    pub depth: f64,
    /// Prompts run; fewer than asked for after a cancellation.
    pub n_trials: usize,
    /// Prompts whose answer has exactly the expected tokens.
    pub hits_tokens: usize,
    /// Prompts whose answer reads as the key.
    pub hits_text: usize,
    /// 95 % interval of the share of `hits_tokens`.
    pub wilson95: (f64, f64),
    /// Mean of the real prompt lengths.
    pub mean_prompt_tokens: f64,
    /// What was run; of the first prompt.
    pub run: RunRecord,
    /// Every prompt's outcome.
    pub trials: Vec<Trial>,
}

/// One prompt's outcome.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Trial {
    /// What was to be found.
    pub key: String,
    /// Tokens of the prompt; the template may miss the target length by some.
    pub prompt_tokens: usize,
    /// First token of the needle, where it was found.
    pub needle_start: Option<usize>,
    /// One past the needle's last token, where it was found.
    pub needle_end: Option<usize>,
    /// What the model answered.
    pub output_text: String,
    /// Whether its tokens are exactly the expected ones.
    pub ok_tokens: bool,
    /// Whether its text reads as the key.
    pub ok_text: bool,
    /// Seconds of prefill and answer.
    pub seconds: f64,
}

/// Finished cells by length and depth.
pub type CellLedger<'a> = dyn Ledger<(usize, f64), Cell> + 'a;

/// Runs every prompt of `grid`: prefill, then greedily as many tokens as the answer has, past an end token too.
///
/// Prompts of one haystack begin alike, up to where the needle is hidden. Those tokens are computed once: the cache is forked
/// before the needle, and the next prompt goes on from there, if that is exact ([`Sequence::serves`]); a trial's seconds are
/// then those of the rest.
///
/// Prompts depend on the grid alone, so every method gets the same ones. Progress counts target tokens over the whole
/// grid; after a cancellation the cells so far are returned, the last one perhaps with fewer trials.
pub fn run(
    lens: &mut dyn Lens,
    setup_for: &mut SetupFor,
    grid: &Grid,
    control: &mut dyn Control,
    ledger: &mut CellLedger,
) -> Result<PasskeyReport, EvalError> {
    let mut cells = Cells::new(lens, grid)?;
    let mut report = PasskeyReport { protocol: grid.protocol(), ..PasskeyReport::default() };
    while cells.n_left() > 0 && report.complete {
        report.add(cells.next(lens, setup_for, control, ledger)?);
    }
    Ok(report)
}

/// The cells of a grid one at a time, for those who do other things between them. What prompts begin with stays computed from
/// cell to cell.
#[derive(Debug)]
pub struct Cells {
    grid: Grid,
    /// Cells that are done.
    n_done: usize,
    series: Series,
}

impl Cells {
    /// All cells of `grid`, each once. A length or depth that has no prompt is refused before anything runs.
    pub fn new(lens: &dyn Lens, grid: &Grid) -> Result<Self, EvalError> {
        let (lengths, depths) = (distinct(&grid.lengths, |a, b| a == b), distinct(&grid.depths, same_depth));
        expect(grid.trials > 0, "trials", grid.trials, "a whole number of at least 1")?;
        for (what, is_empty) in [("lengths", lengths.is_empty()), ("depths", depths.is_empty())] {
            if is_empty {
                return Err(EvalError::Nothing { what });
            }
        }
        let grid = Grid { lengths, depths, ..grid.clone() };
        let shortest = grid.lengths.iter().copied().min().unwrap_or(0);
        for depth in &grid.depths {
            grid.prompt(lens.text()?, (shortest, *depth), 0)?;
        }
        let n_tokens = grid.lengths.iter().sum::<usize>() * grid.depths.len() * grid.trials;
        Ok(Self { grid, n_done: 0, series: Series::new(n_tokens) })
    }

    /// Passes over the first `n` cells, which were done before.
    pub fn skip(&mut self, n: usize) {
        while self.n_done < n && self.n_left() > 0 {
            self.series.n_done += self.place().0 * self.grid.trials;
            self.n_done += 1;
        }
    }

    /// How many cells are done.
    pub fn n_done(&self) -> usize {
        self.n_done
    }

    /// How many cells are left.
    pub fn n_left(&self) -> usize {
        self.grid.lengths.len() * self.grid.depths.len() - self.n_done
    }

    /// Length and depth of the next cell.
    fn place(&self) -> (usize, f64) {
        let Grid { lengths, depths, .. } = &self.grid;
        (lengths[self.n_done / depths.len()], depths[self.n_done % depths.len()])
    }

    /// Runs the next cell, by length, then depth. There must be one left.
    pub fn next(
        &mut self,
        lens: &mut dyn Lens,
        setup_for: &mut SetupFor,
        control: &mut dyn Control,
        ledger: &mut CellLedger,
    ) -> Result<Outcome, EvalError> {
        let (place, grid) = (self.place(), &self.grid);
        let make = |codec: &dyn TextCodec, trial| grid.prompt(codec, place, trial);
        let outcome = self.series.cell(&mut With { lens, setup_for, control, ledger }, place, grid.trials, &make)?;
        self.n_done += usize::from(matches!(outcome, Outcome::Whole(_)));
        Ok(outcome)
    }
}

/// What running a cell came to.
#[derive(Debug)]
pub enum Outcome {
    /// All its prompts were run.
    Whole(Cell),
    /// It was cancelled, after some of its prompts or before the first one was done.
    Cancelled(Option<Cell>),
}

impl Grid {
    fn prompt(
        &self,
        codec: &dyn TextCodec,
        (length, depth): (usize, f64),
        trial: usize,
    ) -> Result<PasskeyPrompt, EvalError> {
        prompt(codec, self.template, &Place { length, depth, trial, seed: self.seed })
    }
}

/// Every value once, where it first stands: a cell that is named twice is one cell.
fn distinct<T: Copy>(values: &[T], same: fn(T, T) -> bool) -> Vec<T> {
    let mut kept: Vec<T> = Vec::new();
    for value in values {
        if !kept.iter().any(|earlier| same(*earlier, *value)) {
            kept.push(*value);
        }
    }
    kept
}

/// Whether two depths are one however they were written: `33.3%` is a rounding away from `0.333`.
fn same_depth(a: f64, b: f64) -> bool {
    (a - b).abs() < 1e-9
}

/// Bytes of a cache that are kept a second time at most.
const MOST_SHARED: usize = 2 << 30;

/// How answers are had and scored.
const SCORING: &str = "greedy, as many tokens as the answer has, hits on exact tokens";

/// What cells are run with.
struct With<'a, 'b> {
    lens: &'a mut dyn Lens,
    setup_for: &'a mut SetupFor<'b>,
    control: &'a mut dyn Control,
    ledger: &'a mut CellLedger<'b>,
}

/// Cells one after the other, with one progress for all, and what an earlier prompt begins with.
#[derive(Debug)]
struct Series {
    /// Target tokens so far.
    n_done: usize,
    /// Target tokens in all.
    n_tokens: usize,
    /// The cache of what an earlier prompt begins with, and its tokens.
    prefix: Option<(Sequence, Vec<u32>)>,
}

impl Series {
    fn new(n_tokens: usize) -> Self {
        Self { n_done: 0, n_tokens, prefix: None }
    }

    /// Runs the prompts of one length and depth, unless that was done before.
    fn cell(
        &mut self,
        with: &mut With<'_, '_>,
        (length, depth): (usize, f64),
        n_trials: usize,
        make: &dyn Fn(&dyn TextCodec, usize) -> Result<PasskeyPrompt, EvalError>,
    ) -> Result<Outcome, EvalError> {
        if let Some(cell) = with.ledger.find(&(length, depth)).filter(|cell| cell.trials.len() == n_trials) {
            // what a file says of its trials together is counted anew
            self.n_done += length * n_trials;
            return Ok(Outcome::Whole(Cell::new(length, depth, cell.run, cell.trials)));
        }
        let (mut trials, mut run, n_before) = (Vec::new(), None, self.n_done);
        for trial in 0..n_trials {
            let prompt = make(with.lens.text()?, trial)?;
            let Some((trial, record)) = self.ask(with, &prompt)? else {
                self.n_done = n_before;
                return Ok(Outcome::Cancelled(run.map(|run| Cell::new(length, depth, run, trials))));
            };
            trials.push(trial);
            run.get_or_insert(record);
            self.n_done += prompt.length;
        }
        let cell = Cell::new(length, depth, run.unwrap_or_default(), trials);
        with.ledger.finished(&(length, depth), &cell);
        Ok(Outcome::Whole(cell))
    }

    /// One prompt's outcome; `None` when cancelled.
    fn ask(
        &mut self,
        with: &mut With<'_, '_>,
        prompt: &PasskeyPrompt,
    ) -> Result<Option<(Trial, RunRecord)>, EvalError> {
        let size = PromptSize { target: prompt.length, n_tokens: prompt.tokens.len() };
        let setup = (with.setup_for)(size)?;
        let stop = Stop { max_tokens: prompt.answer.len(), strings: Vec::new(), eos: false };
        let (before, total) = (self.n_done, self.n_tokens);
        let started = Instant::now();
        let n_fed = match self.begin(with, &setup, prompt) {
            Err(EvalError::Lens(LensError::Cancelled)) => return Ok(None),
            n_fed => n_fed?,
        };
        let done = prompt.length * n_fed / prompt.tokens.len();
        let mut control =
            Part { control: &mut *with.control, before: before + done, size: prompt.length - done, total };
        let (tokens, greedy) = ((&prompt.tokens[..], n_fed), Sampling::default());
        let said = go_on(with.lens, tokens, &greedy, &stop, started, &mut control, &mut |_| {})?;
        if said.stop == StopReason::Cancelled {
            return Ok(None);
        }
        let trial = Trial {
            key: prompt.key.clone(),
            prompt_tokens: prompt.tokens.len(),
            needle_start: prompt.needle.as_ref().map(|needle| needle.start),
            needle_end: prompt.needle.as_ref().map(|needle| needle.end),
            ok_tokens: said.tokens == prompt.answer,
            ok_text: reads_as(&said.text, &prompt.key),
            output_text: said.text,
            seconds: said.seconds,
        };
        Ok(Some((trial, said.run)))
    }

    /// Begins a prompt's sequence; returns how many of its tokens it has. Those before the needle are kept for the next one.
    fn begin(&mut self, with: &mut With<'_, '_>, setup: &Setup, prompt: &PasskeyPrompt) -> Result<usize, EvalError> {
        let tokens = &prompt.tokens;
        let setup = Setup { n_prompt: tokens.len(), ..setup.clone() };
        let is_shared = |(sequence, of): &&(Sequence, Vec<u32>)| {
            sequence.serves(&setup) && of.len() < tokens.len() && tokens.starts_with(of)
        };
        let n_shared = if let Some((sequence, of)) = self.prefix.as_ref().filter(is_shared) {
            with.lens.begin_from(&setup, sequence)?;
            of.len()
        } else {
            self.prefix = None; // its memory is given back before the new sequence takes its own
            with.lens.begin(&setup)?;
            0
        };
        let (before, total) = (self.n_done, self.n_tokens);
        let until = prompt.needle.as_ref().map_or(0, |needle| needle.start);
        let is_last = before + prompt.length >= total;
        let size = CacheSize::of(&with.lens.model().spec, &setup.plan, Prefill { n_tokens: tokens.len() }, until);
        if until <= n_shared || is_last || size.forked(setup.keep_queries) * size_of::<f32>() > MOST_SHARED {
            return Ok(n_shared);
        }
        let share = |n_tokens: usize| prompt.length * n_tokens / tokens.len();
        let (first, size) = (before + share(n_shared), share(until) - share(n_shared));
        let mut control = Part { control: &mut *with.control, before: first, size, total };
        with.lens.feed(&tokens[n_shared..until], Rows::None, &mut control)?;
        self.prefix = None; // its memory is given back before the next one takes its own
        self.prefix = match with.lens.fork(until) {
            Ok(sequence) => Some((sequence, tokens[..until].to_vec())),
            Err(LensError::NothingKept { .. }) => None,
            Err(error) => return Err(error.into()),
        };
        Ok(until)
    }
}

impl Default for PasskeyReport {
    /// A report of no cells, none of which was cancelled.
    fn default() -> Self {
        Self { protocol: String::new(), run: RunRecord::default(), cells: Vec::new(), complete: true }
    }
}

impl PasskeyReport {
    fn add(&mut self, outcome: Outcome) {
        let cell = match outcome {
            Outcome::Whole(cell) => Some(cell),
            Outcome::Cancelled(cell) => {
                self.complete = false;
                cell
            }
        };
        if let Some(cell) = cell {
            if self.cells.is_empty() {
                self.run = cell.run.clone();
            }
            self.cells.push(cell);
        }
    }
}

/// Whether `text` begins with `key`, and with no longer number.
fn reads_as(text: &str, key: &str) -> bool {
    let rest = text.trim_start().strip_prefix(key);
    rest.is_some_and(|rest| !rest.starts_with(|next: char| next.is_ascii_digit()))
}

impl Cell {
    fn new(length: usize, depth: f64, run: RunRecord, trials: Vec<Trial>) -> Self {
        let n_trials = trials.len();
        let hits_tokens = trials.iter().filter(|trial| trial.ok_tokens).count();
        let prompt_tokens: usize = trials.iter().map(|trial| trial.prompt_tokens).sum();
        Self {
            length,
            depth,
            n_trials,
            hits_tokens,
            hits_text: trials.iter().filter(|trial| trial.ok_text).count(),
            wilson95: wilson95(hits_tokens, n_trials),
            mean_prompt_tokens: prompt_tokens as f64 / n_trials as f64,
            run,
            trials,
        }
    }

    /// Share of prompts whose answer has exactly the expected tokens.
    pub fn accuracy(&self) -> f64 {
        self.hits_tokens as f64 / self.n_trials as f64
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use longlens_core::lens::{CancelToken, LensId, ModelInfo};
    use longlens_core::methods::Method;
    use longlens_core::rope::RopeScaling;
    use longlens_core::scripted::{ScriptedLens, induction};
    use longlens_core::trace::{Trace, Watch};

    use super::*;
    use crate::setup::fixed;

    /// Remembers the last `n_tokens` only.
    fn forgetful(n_tokens: usize) -> ScriptedLens {
        ScriptedLens::new(move |seen, logits| induction(&seen[seen.len().saturating_sub(n_tokens)..], logits))
    }

    fn grid(template: Template) -> Grid {
        Grid { template, lengths: vec![450, 900], depths: vec![0.0, 1.0], trials: 3, seed: 5 }
    }

    fn run_on(
        mut lens: ScriptedLens,
        grid: &Grid,
        control: &mut dyn Control,
        on_cell: &mut dyn FnMut(&Cell),
    ) -> PasskeyReport {
        struct Seen<'a>(&'a mut dyn FnMut(&Cell));
        impl Ledger<(usize, f64), Cell> for Seen<'_> {
            fn finished(&mut self, _: &(usize, f64), cell: &Cell) {
                (self.0)(cell);
            }
        }
        let mut setup_for = fixed(Method::full(), RopeScaling::none(), &lens.model().spec);
        run(&mut lens, &mut setup_for, grid, control, &mut Seen(on_cell)).unwrap()
    }

    #[test]
    fn a_model_that_remembers_finds_every_key() {
        for template in Template::ALL {
            let mut lengths = Vec::new();
            let report =
                run_on(ScriptedLens::new(induction), &grid(template), &mut (), &mut |c| lengths.push(c.length));
            assert_eq!(lengths, [450, 450, 900, 900]);
            assert!(report.complete && report.run.method == "full");
            for cell in &report.cells {
                assert_eq!((cell.n_trials, cell.hits_tokens, cell.hits_text), (3, 3, 3), "{template}: {cell:?}");
                assert!(cell.wilson95.0 > 0.4 && cell.accuracy() > 0.99);
            }
            insta::allow_duplicates! {
                let protocol = report.protocol.replace(template.name(), "T");
                insta::assert_snapshot!(protocol, @"passkey grid: template T, 3 prompts per cell, seed 5; greedy, as many tokens as the answer has, hits on exact tokens");
            }
        }
    }

    /// Counts the tokens fed and the forks that are kept while another is made, and may refuse forks.
    struct Counting {
        id: LensId,
        lens: ScriptedLens,
        n_fed: usize,
        forks: bool,
        kept: Arc<()>,
        most_kept: usize,
    }

    impl Lens for Counting {
        fn model(&self) -> &ModelInfo {
            self.lens.model()
        }
        fn text(&self) -> Result<&dyn TextCodec, LensError> {
            self.lens.text()
        }
        fn begin(&mut self, setup: &Setup) -> Result<(), LensError> {
            self.lens.begin(setup)
        }
        fn feed(&mut self, tokens: &[u32], want: Rows, control: &mut dyn Control) -> Result<Vec<f32>, LensError> {
            self.n_fed += tokens.len();
            self.lens.feed(tokens, want, control)
        }
        fn trace(&mut self) -> Trace {
            self.lens.trace()
        }
        fn reuse(&mut self, setup: &Setup, keep: usize) -> Result<(), LensError> {
            self.lens.reuse(setup, keep)
        }
        fn fork(&mut self, n_tokens: usize) -> Result<Sequence, LensError> {
            if !self.forks {
                return Err(LensError::NothingKept { what: "a fork" });
            }
            self.most_kept = self.most_kept.max(Arc::strong_count(&self.kept) - 1);
            let fork = self.lens.fork(n_tokens)?;
            let (setup, kept) = (fork.setup.clone(), Arc::clone(&self.kept));
            Ok(Sequence::new(self.id, setup, n_tokens, fork.is_exact, fork.bytes, (fork, kept)))
        }
        fn begin_from(&mut self, setup: &Setup, prefix: &Sequence) -> Result<(), LensError> {
            let (fork, _): &(Sequence, Arc<()>) = prefix.state(self.id)?;
            self.lens.begin_from(setup, fork)
        }
        fn inspect(&mut self, watch: &Watch, control: &mut dyn Control) -> Result<Trace, LensError> {
            self.lens.inspect(watch, control)
        }
    }

    #[test]
    fn what_prompts_begin_with_is_computed_once() {
        // filler of one haystack, whose needle goes deeper from cell to cell
        let grid = Grid { depths: vec![0.0, 0.5, 1.0], trials: 2, ..grid(Template::LongLm) };
        let mut reports = Vec::new();
        for (rope, forks) in [("none", false), ("none", true), ("dynamic", true)] {
            let (id, kept) = (LensId::unique(), Arc::default());
            let mut lens = Counting { id, lens: forgetful(300), n_fed: 0, forks, kept, most_kept: 0 };
            let rope = RopeScaling::parse(rope).unwrap();
            let mut setup_for = fixed(Method::full(), rope, &lens.lens.model().spec);
            let report = run(&mut lens, &mut setup_for, &grid, &mut (), &mut ()).unwrap();
            let trials = report.cells.into_iter().flat_map(|cell| cell.trials);
            let outcomes: Vec<_> = trials.map(|trial| Trial { seconds: 0.0, ..trial }).collect();
            assert_eq!(report.run.mode, "re-prefill");
            assert_eq!(lens.most_kept, 0, "two prefixes are in memory at once");
            reports.push((outcomes, lens.n_fed));
        }
        let [(whole, n_whole), (shared, n_shared), (dynamic, _)] = &reports[..] else { panic!("three reports") };
        assert_eq!(shared, whole);
        assert_eq!(dynamic, whole, "prompts of a base that follows the length share only where they are as long");
        assert!(n_shared * 3 < n_whole * 2, "{n_shared} of {n_whole} tokens");
    }

    #[test]
    fn cells_one_at_a_time_are_those_of_the_grid() {
        let grid = Grid { depths: vec![0.0, 0.5, 1.0], trials: 1, ..grid(Template::LongLm) };
        let counting = || Counting {
            id: LensId::unique(),
            lens: forgetful(300),
            n_fed: 0,
            forks: true,
            kept: Arc::default(),
            most_kept: 0,
        };
        let mut whole = counting();
        let mut setup_for = fixed(Method::full(), RopeScaling::none(), &whole.lens.model().spec);
        let report = run(&mut whole, &mut setup_for, &grid, &mut (), &mut ()).unwrap();
        let mut lens = counting();
        let (mut cells, mut places) = (Cells::new(&lens, &grid).unwrap(), Vec::new());
        while cells.n_left() > 0 {
            let outcome = cells.next(&mut lens, &mut setup_for, &mut (), &mut ()).unwrap();
            let Outcome::Whole(cell) = outcome else { panic!("nobody cancels") };
            places.push((cell.length, cell.depth, cell.hits_tokens));
            // somebody else's sequence between two cells
            lens.begin(&setup_for(PromptSize { target: 2, n_tokens: 2 }).unwrap()).unwrap();
            lens.feed(&[1, 2], Rows::Last, &mut ()).unwrap();
        }
        let of_grid: Vec<_> = report.cells.iter().map(|cell| (cell.length, cell.depth, cell.hits_tokens)).collect();
        assert_eq!(places, of_grid);
        assert_eq!(lens.n_fed, whole.n_fed + 2 * places.len(), "what prompts begin with is shared all the same");
        let mut rest = Cells::new(&lens, &grid).unwrap();
        rest.skip(4);
        let next = rest.next(&mut lens, &mut setup_for, &mut (), &mut ()).unwrap();
        assert!(matches!(next, Outcome::Whole(cell) if (cell.length, cell.depth) == (900, 0.5)));
        assert_eq!((rest.n_done(), rest.n_left()), (5, 1));
    }

    #[test]
    fn a_cell_that_is_named_twice_is_one() {
        let once = Grid { lengths: vec![450], depths: vec![0.0, 0.333], ..grid(Template::Longlens) };
        let twice = Grid { lengths: vec![450, 450], depths: vec![0.0, -0.0, 0.333, 33.3 / 100.0], ..once.clone() };
        let cells = |grid: &Grid| {
            let report = run_on(forgetful(200), grid, &mut (), &mut |_| {});
            report.cells.iter().map(|cell| (cell.length, cell.depth.to_bits())).collect::<Vec<_>>()
        };
        assert_eq!(cells(&twice), cells(&once));
    }

    #[test]
    fn a_model_that_forgets_finds_near_keys_only() {
        let report = run_on(forgetful(200), &grid(Template::Longlens), &mut (), &mut |_| {});
        let found: Vec<_> = report.cells.iter().map(|cell| (cell.length, cell.depth, cell.hits_tokens)).collect();
        assert_eq!(found, [(450, 0.0, 0), (450, 1.0, 3), (900, 0.0, 0), (900, 1.0, 3)]);
    }

    #[test]
    fn prompts_do_not_depend_on_the_rest_of_the_grid() {
        let whole = grid(Template::Longlens);
        let part = Grid { lengths: vec![900], depths: vec![1.0], trials: 1, ..whole.clone() };
        let keys = |grid| run_on(forgetful(200), grid, &mut (), &mut |_| {}).cells.pop().unwrap().trials[0].key.clone();
        assert_eq!(keys(&whole), keys(&part));
    }

    #[test]
    fn cancelling_keeps_finished_cells() {
        let token = CancelToken::default();
        let mut control = token.clone();
        let grid = grid(Template::LongLm);
        let report = run_on(forgetful(50), &grid, &mut control, &mut |cell| {
            if (cell.length, cell.depth) == (450, 1.0) {
                token.cancel();
            }
        });
        assert_eq!((report.cells.len(), report.complete), (2, false));
    }

    #[test]
    fn progress_counts_the_whole_grid() {
        struct Seen(Vec<(usize, usize)>);
        impl Control for Seen {
            fn progress(&mut self, done: usize, total: usize) {
                self.0.push((done, total));
            }
        }
        let mut seen = Seen(Vec::new());
        run_on(forgetful(50), &grid(Template::LongHeads), &mut seen, &mut |_| {});
        assert!(seen.0.is_sorted() && seen.0.last() == Some(&(8100, 8100)));
    }

    #[test]
    fn an_answer_is_not_the_start_of_a_longer_number() {
        assert!(reads_as(" 123.", "123") && reads_as("123", "123"));
        assert!(!reads_as(" 1234", "123") && !reads_as("the 123", "123"));
    }

    #[test]
    fn cells_that_are_known_are_not_run_again() {
        struct Earlier(Vec<Cell>, Vec<(usize, f64)>);
        impl Ledger<(usize, f64), Cell> for Earlier {
            fn find(&mut self, key: &(usize, f64)) -> Option<Cell> {
                self.0.iter().find(|cell| (cell.length, cell.depth) == *key).cloned()
            }
            fn finished(&mut self, key: &(usize, f64), _: &Cell) {
                self.1.push(*key);
            }
        }
        let grid = grid(Template::Longlens);
        let whole = run_on(forgetful(200), &grid, &mut (), &mut |_| {});
        // a model that would find every key, were it asked
        let mut lens = ScriptedLens::new(induction);
        let mut setup_for = fixed(Method::full(), RopeScaling::none(), &lens.model().spec);
        let mut earlier = Earlier(whole.cells[..3].to_vec(), Vec::new());
        let resumed = run(&mut lens, &mut setup_for, &grid, &mut (), &mut earlier).unwrap();
        assert_eq!(resumed.cells[..3], whole.cells[..3]);
        let mut changed = whole.cells.clone();
        (changed[0].hits_tokens, changed[0].n_trials) = (9, 4);
        changed[1].trials.pop();
        let mut earlier_changed = Earlier(changed, Vec::new());
        let again = run(&mut lens, &mut setup_for, &grid, &mut (), &mut earlier_changed).unwrap();
        assert_eq!(again.cells[0], whole.cells[0], "counts are those of the trials");
        assert_eq!(earlier_changed.1, [(again.cells[1].length, again.cells[1].depth)], "a cell lacks a trial");
        assert_eq!((resumed.cells[2].hits_tokens, resumed.cells.len(), resumed.complete), (0, 4, true));
        assert_eq!(earlier.1, [(900, 1.0)], "what is found is not kept again");
    }

    #[test]
    fn empty_grids_are_refused() {
        let mut lens = forgetful(9);
        let mut setup_for = fixed(Method::full(), RopeScaling::none(), &lens.model().spec);
        let grid = Grid { depths: Vec::new(), ..grid(Template::LongLm) };
        let error = run(&mut lens, &mut setup_for, &grid, &mut (), &mut ()).unwrap_err();
        insta::assert_snapshot!(format!("{error} | {}", error.help().unwrap()), @"there are no depths | give at least one of the depths");
    }
}
