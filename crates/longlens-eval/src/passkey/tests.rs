//! Grids on models made of a rule.

use std::sync::Arc;

use longlens_core::lens::{CancelToken, LensError, LensId, ModelInfo, Rows, Sequence, Setup};
use longlens_core::methods::Method;
use longlens_core::rope::RopeScaling;
use longlens_core::scripted::{ScriptedLens, induction};
use longlens_core::trace::{Trace, Watch};

use super::*;
use crate::setup::{PromptSize, fixed};

/// Remembers the last `n_tokens` only.
fn forgetful(n_tokens: usize) -> ScriptedLens {
    ScriptedLens::new(move |seen, logits| induction(&seen[seen.len().saturating_sub(n_tokens)..], logits))
}

fn grid(template: Template) -> Grid {
    Grid { template, chat: None, lengths: vec![450, 900], depths: vec![0.0, 1.0], trials: 3, seed: 5 }
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
        let report = run_on(ScriptedLens::new(induction), &grid(template), &mut (), &mut |c| lengths.push(c.length));
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

#[test]
fn a_grid_in_the_chat_template_is_another_grid_of_the_same_lengths() {
    let chat = Chat { system: Some("Be brief.".into()), date: "2025-01-31".into() };
    let asked = Grid { chat: Some(chat), ..grid(Template::Longlens) };
    let report = run_on(ScriptedLens::new(induction), &asked, &mut (), &mut |_| {});
    for cell in &report.cells {
        assert_eq!(cell.hits_tokens, 3, "{cell:?}");
        assert!((cell.length - 90..cell.length).contains(&(cell.mean_prompt_tokens as usize)), "{cell:?}");
    }
    insta::assert_snapshot!(report.protocol, @r#"passkey grid: template longlens in the model's chat template (date 2025-01-31, system "Be brief."), 3 prompts per cell, seed 5; greedy, as many tokens as the answer has, hits on exact tokens"#);
    assert_eq!(serde_json::from_value::<Grid>(serde_json::to_value(&asked).unwrap()).unwrap(), asked);
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
