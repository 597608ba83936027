//! Twenty thousand random events: keys, mouse, resizes, pasted text, and results that come late, twice, or never. Nothing
//! panics, nothing impossible is sent, and selections stay inside what is there.

mod common;

use std::collections::VecDeque;
use std::sync::Arc;

use longlens_app::Problem;
use longlens_app::prompt::PromptSource;
use longlens_app::runs::{RunAsk, RunState};
use longlens_app::worker::{Ask, Event, Progress};
use longlens_core::lens::{Lens, Rows};
use longlens_core::scripted::{ByteCodec, ScriptedLens};
use longlens_eval::evaluate::Record;
use longlens_eval::generate::{Generated, StopReason};
use longlens_eval::passkey::Cell;
use longlens_tui::app::{Action, App, Effect};
use longlens_tui::screen;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use ratatui::buffer::Buffer;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers, MouseButton, MouseEvent, MouseEventKind};
use ratatui::layout::Rect;
use serde_json::json;

/// Longest prompt that the storm builds.
const MAX_PROMPT: usize = 600;

/// A worker that answers when it likes.
struct Careless {
    lens: ScriptedLens,
    waiting: VecDeque<Ask>,
    /// Answers that were given once and may come again.
    runs: Vec<Arc<RunAsk>>,
    n_asked: u64,
}

impl Careless {
    /// An answer to a random question, an old one, or nothing.
    fn event(&mut self, random: &mut ChaCha8Rng) -> Option<Event> {
        if self.waiting.is_empty() || random.random_bool(0.2) {
            return Some(self.stray(random));
        }
        let at = random.random_range(0..self.waiting.len());
        let ask = self.waiting.remove(at)?;
        Some(match ask {
            Ask::Prompt(id, source) => Event::Prompt(id, build(&source)),
            Ask::Run(run) => {
                self.runs.push(run.clone());
                Self::answer(&run, random)
            }
            Ask::Inspect(inspection) => {
                let (id, run) = (inspection.id, inspection.run.id);
                match self.inspect(&inspection.run, &inspection.generated, &inspection.watch) {
                    Ok(trace) => Event::Inspected { id, run, kind: inspection.kind, trace: Box::new(trace) },
                    Err(problem) => Event::InspectFailed(id, inspection.kind, problem),
                }
            }
            Ask::Difference(ask) => {
                let watch = longlens_core::trace::Watch { maps: vec![ask.pick], ..Default::default() };
                let maps = ask.runs.iter().map(|run| Ok(self.inspect(run, &[], &watch)?.maps.swap_remove(0)));
                let both: Result<Vec<_>, Problem> = maps.collect();
                let maps = both.map(|both| Box::new(<[_; 2]>::try_from(both).unwrap()));
                Event::Difference(ask.id, maps)
            }
            Ask::Page(ask) => {
                let made = ask.of.page(&mut |watch| self.inspect(&ask.run, &ask.generated, watch));
                Event::Page(ask.id, made)
            }
            Ask::Evaluate(ask) => match random.random_range(0..3) {
                0 => Event::Counted(ask.id, random.random_range(0..9), vec!["a note".into()]),
                1 => Event::Sample(ask.id, Box::new(sample(random)), random.random_range(0..9)),
                _ => Event::GridFailed(ask.id, problem()),
            },
            Ask::Grid(ask) => {
                let left = ask.grid.lengths.len() * ask.grid.depths.len() - 1;
                let cell = Cell {
                    length: ask.grid.lengths[random.random_range(0..ask.grid.lengths.len())],
                    depth: ask.grid.depths[random.random_range(0..ask.grid.depths.len())],
                    n_trials: 2,
                    hits_tokens: 1,
                    hits_text: 1,
                    wilson95: (0.1, 0.9),
                    mean_prompt_tokens: 250.0,
                    run: longlens_core::trace::RunRecord::default(),
                    trials: Vec::new(),
                };
                if random.random_bool(0.1) {
                    Event::GridFailed(ask.id, problem())
                } else {
                    Event::Cell(ask.id, Box::new(cell), if random.random_bool(0.5) { left } else { 0 })
                }
            }
        })
    }

    /// Something about a run that may long be over.
    fn stray(&self, random: &mut ChaCha8Rng) -> Event {
        let progress = || Event::Progress(Progress { what: "prefill", done: 3, total: 7, seconds: 0.5, before: 0 });
        if self.runs.is_empty() {
            return if random.random_bool(0.5) { progress() } else { Event::Idle(self.n_asked) };
        }
        let run = self.runs[random.random_range(0..self.runs.len())].clone();
        match random.random_range(0..9) {
            0 => progress(),
            1 => Event::Idle(random.random_range(0..=self.n_asked)),
            2 => Event::Cancelled(run.id),
            3 => Event::Failed(run.id, problem()),
            _ => Self::answer(&run, random),
        }
    }

    fn answer(run: &RunAsk, random: &mut ChaCha8Rng) -> Event {
        let n = run.prompt.tokens.len();
        match random.random_range(0..4) {
            0 => {
                let generated = Generated {
                    tokens: vec![70; random.random_range(0..9)],
                    text: "done".into(),
                    stop: if random.random_bool(0.2) { StopReason::Cancelled } else { StopReason::MaxTokens },
                    n_prompt: n,
                    seconds_to_first_token: Some(0.1),
                    seconds: 0.2,
                    run: longlens_core::trace::RunRecord::default(),
                    trace: longlens_core::trace::Trace { nll: vec![1.0; n.saturating_sub(1)], ..Default::default() },
                };
                Event::Finished(run.id, Box::new(generated))
            }
            1 => Event::Token { run: run.id, token: 70, piece: "D\n\u{301}漢".into(), text: "D".into(), speed: None },
            _ => Event::Prefilled {
                run: run.id,
                record: longlens_core::trace::RunRecord::default(),
                nll: (1..n).map(|at| if at % 97 == 0 { f32::NAN } else { (at % 9) as f32 }).collect(),
                nll_from: 1,
                seconds: 0.01,
            },
        }
    }

    fn inspect(
        &mut self,
        run: &RunAsk,
        generated: &[u32],
        watch: &longlens_core::trace::Watch,
    ) -> Result<longlens_core::trace::Trace, Problem> {
        let mut setup = run.settings.setup_to_inspect(&self.lens.model().spec, run.prompt.tokens.len())?;
        setup.watch.nll = false;
        self.lens.begin(&setup)?;
        self.lens.feed(&run.prompt.tokens, Rows::None, &mut ())?;
        for token in &generated[..generated.len().saturating_sub(1)] {
            self.lens.feed(&[*token], Rows::None, &mut ())?;
        }
        Ok(self.lens.inspect(watch, &mut ())?)
    }
}

fn problem() -> Problem {
    Problem::new("it broke", Some("mend it".to_owned()))
}

/// A finished sample, also of a task that nobody asked for.
fn sample(random: &mut ChaCha8Rng) -> Record {
    let outcome = match random.random_range(0..3) {
        0 => json!({ "outcome": "skipped" }),
        1 => json!({ "outcome": "measured", "mean_nll": 1.5, "n_scored": 9, "by_position": [] }),
        _ => json!({
            "outcome": "answered", "output": "漢", "n_generated": 1, "stop": "max_tokens", "scorer": "ruler_all", "scale": 1.0,
            "faithful": random.random_bool(0.5), "fixed": true, "seconds_to_first_token": 0.1,
        }),
    };
    let mut record = json!({
        "key": random.random_range(0..99).to_string(), "task": "niah_single_1", "setting": "niah_single_1", "task_version": 1, "id": "1",
        "run": longlens_core::trace::RunRecord::default(), "content": "", "device": "cpu", "mode": "faithful", "template": "off",
        "prompt_sha256": "", "n_prompt": 9, "answers": [], "seconds": 0.1, "finished": 1,
    });
    let fields = record.as_object_mut().unwrap();
    fields.extend(outcome.as_object().unwrap().clone());
    if random.random_bool(0.7) {
        fields.insert("length".into(), json!(256 << random.random_range(0..3)));
    }
    if random.random_bool(0.7) {
        fields.insert("depth".into(), json!(f64::from(random.random_range(0..3)) / 2.0));
    }
    if random.random_bool(0.2) {
        fields.insert("part".into(), json!("a part with a long name"));
    }
    serde_json::from_value(record).unwrap()
}

fn build(source: &PromptSource) -> Result<Arc<longlens_app::prompt::Prompt>, Problem> {
    match source {
        PromptSource::Needle(ask) if ask.length > MAX_PROMPT => Err(problem()),
        PromptSource::Text(text) if text.len() > MAX_PROMPT => Err(problem()),
        PromptSource::File(_) => Err(problem()),
        source => source.build(&ByteCodec).map(Arc::new),
    }
}

fn any_key(random: &mut ChaCha8Rng, keys: &[String]) -> KeyEvent {
    if random.random_bool(0.75) {
        return longlens_tui::keys::parse(&keys[random.random_range(0..keys.len())]).unwrap();
    }
    let code = match random.random_range(0..6) {
        0 => KeyCode::Char(char::from_digit(random.random_range(0..10), 10).unwrap()),
        1 => KeyCode::Char(*['a', 'Z', ' ', 'é', '漢', '.', 'k', '~'].get(random.random_range(0..8)).unwrap()),
        2 => KeyCode::Backspace,
        3 => KeyCode::Enter,
        4 => KeyCode::Tab,
        _ => KeyCode::Esc,
    };
    let modifiers = if random.random_bool(0.1) { KeyModifiers::CONTROL } else { KeyModifiers::NONE };
    KeyEvent::new(code, modifiers)
}

fn any_mouse(random: &mut ChaCha8Rng, area: Rect) -> MouseEvent {
    let kind = match random.random_range(0..6) {
        0 | 1 => MouseEventKind::Down(MouseButton::Left),
        2 => MouseEventKind::Drag(MouseButton::Left),
        3 => MouseEventKind::Up(MouseButton::Left),
        4 => MouseEventKind::ScrollUp,
        _ => MouseEventKind::ScrollDown,
    };
    let (column, row) = (random.random_range(0..area.width + 3), random.random_range(0..area.height + 3));
    MouseEvent { kind, column, row, modifiers: KeyModifiers::NONE }
}

fn check(app: &App, effects: &[Effect]) {
    let spec = &app.model.spec;
    assert!(app.controls.layer < spec.n_layers && app.controls.head < spec.n_heads);
    assert!(app.field < app.fields().len());
    assert!(app.query() < app.n_fed().max(1), "query {} of {}", app.query(), app.n_fed());
    assert!(
        app.layout.shown().get(1).is_none_or(|second| *second != app.layout.shown()[0]),
        "two panes show two views"
    );
    assert!(app.marked.len() <= 2);
    assert!(app.runs.list.iter().filter(|run| run.state == RunState::Running).count() <= 1, "two runs run");
    assert!(app.runs.list.len() <= 110, "runs are forgotten");
    let window = app.window();
    assert!(
        window.len >= 1
            && window.query + window.len <= app.map_span().max(1)
            && window.key + window.len <= app.map_span().max(1)
    );
    let verdict = app.controls.settings.check(&app.model, app.n_prompt());
    assert_eq!(app.verdict.is_ok(), verdict.is_ok(), "the verdict is that of what is shown");
    for effect in effects {
        match effect {
            Effect::Ask(Ask::Run(run)) => {
                run.settings.check(&app.model, run.prompt.tokens.len()).expect("what is impossible is never sent");
            }
            Effect::Ask(Ask::Inspect(inspection)) => {
                let n = inspection.run.prompt.tokens.len() + inspection.generated.len().saturating_sub(1);
                assert!(
                    inspection.watch.rows.iter().all(|row| row.query < n),
                    "an inspection of a token that was not fed"
                );
                let newest = app.current.as_ref().map(|run| run.id);
                assert_eq!(newest, Some(inspection.run.id), "inspections are of the newest run");
                let prompt = app.prompt.answer().expect("a run has a prompt");
                assert!(
                    Arc::ptr_eq(prompt, &inspection.run.prompt),
                    "the newest run is about the prompt that is shown"
                );
            }
            _ => (),
        }
    }
}

/// Returns how many runs it asked for.
fn storm(seed: u64, n_events: usize) -> usize {
    let random = &mut ChaCha8Rng::seed_from_u64(seed);
    let keys: Vec<String> = common::all_keys().into_iter().filter(|key| key != "q" && key != "ctrl-q").collect();
    let lens = ScriptedLens::new(|_, logits| logits[70] = 9.0);
    let mut app = App::new(lens.model().clone(), common::options());
    let mut worker = Careless { lens, waiting: VecDeque::new(), runs: Vec::new(), n_asked: 0 };
    app.update(Action::Job(Event::Opened(Ok(Box::new(worker.lens.model().clone())))));
    let mut area = Rect::new(0, 0, 100, 30);
    let mut n_runs = 0;
    for _ in 0..n_events {
        let action = match random.random_range(0..21) {
            // out of dialogs and edits now and then
            20 => Action::Key(KeyEvent::new(KeyCode::Esc, KeyModifiers::NONE)),
            0..9 => Action::Key(any_key(random, &keys)),
            9..12 => Action::Mouse(any_mouse(random, area)),
            12..17 => match worker.event(random) {
                Some(event) => Action::Job(event),
                None => continue,
            },
            17 => Action::Paste("pasted\r\nτext \u{7}".repeat(random.random_range(1..4))),
            18 => Action::Tick,
            _ => {
                area = match random.random_range(0..4) {
                    0 => Rect::new(0, 0, random.random_range(1..90), random.random_range(1..30)),
                    1 => Rect::new(0, 0, 80, 24),
                    _ => Rect::new(0, 0, random.random_range(80..160), random.random_range(24..50)),
                };
                app.theme.depth = [
                    longlens_tui::theme::Depth::True,
                    longlens_tui::theme::Depth::Ansi256,
                    longlens_tui::theme::Depth::Ansi16,
                    longlens_tui::theme::Depth::Mono,
                ][random.random_range(0..4)];
                let mut buffer = Buffer::empty(area);
                let cell_pixels = random.random_bool(0.2).then_some((4, 8));
                let seen = screen::draw(&app, &mut buffer, cell_pixels);
                Action::Drawn(seen)
            }
        };
        // quitting would end the storm
        let effects = app.update(action);
        if app.over {
            app.over = false;
        }
        check(&app, &effects);
        for effect in effects {
            if let Effect::Ask(ask) = effect {
                worker.n_asked += 1;
                n_runs += usize::from(matches!(ask, Ask::Run(_)));
                worker.waiting.push_back(ask);
                // the rest of a long queue is never answered
                worker.waiting.truncate(40);
            }
        }
    }
    n_runs
}

#[test]
fn nothing_breaks_in_a_storm_of_events() {
    let n_runs = storm(1, 20_000);
    assert!(n_runs > 200, "the storm ran {n_runs} runs: it does not reach the controls");
}

#[test]
fn nor_in_other_storms() {
    let n_runs: usize = (2..22).map(|seed| storm(seed, 2_000)).sum();
    assert!(n_runs > 100, "{n_runs} runs");
}
