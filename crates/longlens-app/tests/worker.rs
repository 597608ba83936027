//! The worker's order of things: what is urgent comes first, what gives way is not lost, and nothing brings it down.

use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use longlens_app::heads::Heads;
use longlens_app::prompt::{NeedleAsk, Prompt, PromptSource};
use longlens_app::runs::RunAsk;
use longlens_app::settings::{Settings, Swap};
use longlens_app::sweep::Evaluation;
use longlens_app::worker::{
    Ask, DifferenceAsk, EvaluateAsk, Event, GridAsk, InspectAsk, InspectKind, Progress, Worker,
};
use longlens_core::lens::Lens;
use longlens_core::methods::Method;
use longlens_core::scripted::{ByteCodec, ScriptedLens, induction};
use longlens_core::trace::{MapPick, Watch};
use longlens_eval::generate::StopReason;
use longlens_eval::passkey::{Grid, Template};

struct Rig {
    worker: Worker,
    events: Receiver<Event>,
    prompt: Arc<Prompt>,
}

impl Rig {
    fn new(lens: ScriptedLens) -> Self {
        let (sender, events) = channel();
        let open = move || Ok(Box::new(lens) as Box<dyn Lens>);
        let worker = Worker::start(open, move |event| drop(sender.send(event))).unwrap();
        let source = PromptSource::Needle(NeedleAsk { length: 300, ..NeedleAsk::default() });
        Self { worker, events, prompt: Arc::new(source.build(&ByteCodec).unwrap()) }
    }

    fn run(&self, id: u64, settings: Settings) -> Arc<RunAsk> {
        let ask = Arc::new(RunAsk { id, settings, base: None, prompt: self.prompt.clone(), query: None });
        self.worker.ask(Ask::Run(ask.clone()));
        ask
    }

    /// Events up to the first that is asked for.
    fn until(&self, is_last: impl Fn(&Event) -> bool) -> Vec<Event> {
        let mut all = Vec::new();
        loop {
            let event = self.events.recv_timeout(Duration::from_secs(30)).expect("the worker answers");
            let last = is_last(&event);
            all.push(event);
            if last {
                return all;
            }
        }
    }
}

fn settings(method: &str, max_tokens: usize) -> Settings {
    Settings { method: Method::parse(method).unwrap(), max_tokens, ..Settings::default() }
}

fn finished(id: u64) -> impl Fn(&Event) -> bool {
    move |event| matches!(event, Event::Finished(run, _) if *run == id)
}

#[test]
fn a_run_finds_the_key_and_tells_every_token() {
    let rig = Rig::new(ScriptedLens::new(induction));
    let run = rig.run(1, settings("full", 5));
    let events = rig.until(finished(1));
    let prefilled = events.iter().find_map(|event| match event {
        Event::Prefilled { nll, nll_from, record, .. } => Some((nll.len(), *nll_from, record.mode.clone())),
        _ => None,
    });
    assert_eq!(prefilled, Some((run.prompt.tokens.len() - 1, 1, "re-prefill".to_owned())));
    let pieces: String = events
        .iter()
        .filter_map(|event| match event {
            Event::Token { piece, .. } => Some(piece.as_str()),
            _ => None,
        })
        .collect();
    let key = &run.prompt.needle.as_ref().unwrap().key;
    assert_eq!(pieces.trim(), &key[..4], "a blank and four digits");
}

#[test]
fn the_newest_run_wins() {
    let rig = Rig::new(ScriptedLens::new(induction));
    for id in 1..=20 {
        rig.run(id, settings("full", 400));
    }
    rig.run(21, settings("full", 3));
    let events = rig.until(finished(21));
    let is_other = |event: &&Event| matches!(event, Event::Finished(run, said) if *run != 21 && said.stop != StopReason::Cancelled);
    assert_eq!(events.iter().filter(is_other).count(), 0, "older runs do not finish");
}

#[test]
fn a_look_comes_between_tokens_and_of_a_kind_only_the_newest() {
    let rig = Rig::new(ScriptedLens::new(|_, logits| logits[70] = 9.0));
    let run = rig.run(1, settings("full", 100_000));
    rig.until(|event| matches!(event, Event::Token { .. }));
    let model = ScriptedLens::new(induction).model().clone();
    for query in [10, 20, 30] {
        let watch = Heads::watch(&model, query, 0..0, 16);
        let inspection =
            InspectAsk { id: query as u64, run: run.clone(), generated: Vec::new(), kind: InspectKind::Heads, watch };
        rig.worker.ask(Ask::Inspect(inspection));
    }
    let is_third = |event: &Event| match event {
        Event::Inspected { trace, .. } => Heads::new(trace.as_ref().clone(), 30).is_some(),
        _ => false,
    };
    let events = rig.until(is_third);
    assert!(!events.iter().any(finished(1)), "the look did not wait for the text");
    assert!(events.iter().filter(|event| matches!(event, Event::Inspected { .. })).count() <= 3);
}

#[test]
fn a_look_into_an_older_run_computes_it_again() {
    let rig = Rig::new(ScriptedLens::new(induction));
    let first = rig.run(1, settings("full", 4));
    rig.until(finished(1));
    rig.run(2, settings("sliding_window:window=32", 4));
    rig.until(finished(2));
    let watch = Watch { maps: vec![MapPick::whole(0, 0, 16)], ..Watch::default() };
    let inspection = InspectAsk { id: 1, run: first, generated: vec![9; 4], kind: InspectKind::Map, watch };
    rig.worker.ask(Ask::Inspect(inspection));
    let events = rig.until(|event| matches!(event, Event::Inspected { .. }));
    let Some(Event::Inspected { run, trace, .. }) = events.last() else { panic!("it looked") };
    assert_eq!((*run, trace.run.method.as_str()), (1, "full"));
}

#[test]
fn a_grid_gives_way_and_loses_no_cell() {
    let rig = Rig::new(ScriptedLens::new(induction));
    let grid = Grid {
        template: Template::Longlens,
        chat: None,
        lengths: vec![200, 300, 400],
        depths: vec![0.0, 1.0],
        trials: 1,
        seed: 0,
    };
    rig.worker.ask(Ask::Grid(GridAsk { id: 7, settings: settings("full", 1), grid }));
    let mut cells = Vec::new();
    for id in 1..=6 {
        rig.run(id, settings("full", 2));
        for event in rig.until(finished(id)) {
            cells.extend(cell(event));
        }
    }
    if cells.len() < 6 {
        for event in rig.until(|event| matches!(event, Event::Cell(_, _, 0))) {
            cells.extend(cell(event));
        }
    }
    let all: Vec<(usize, i32)> = cells.iter().map(|(length, depth)| (*length, (depth * 10.0) as i32)).collect();
    assert_eq!(all, [(200, 0), (200, 10), (300, 0), (300, 10), (400, 0), (400, 10)]);
}

fn cell(event: Event) -> Option<(usize, f64)> {
    match event {
        Event::Cell(7, cell, _) => {
            assert_eq!(cell.hits_tokens, 1, "induction finds every key");
            Some((cell.length, cell.depth))
        }
        _ => None,
    }
}

#[test]
fn a_task_gives_way_and_loses_no_sample() {
    let rig = Rig::new(ScriptedLens::new(induction));
    let evaluation = Evaluation { task: "passkey:depths=3,samples=1".into(), lengths: vec![200, 300] };
    let ask = EvaluateAsk { id: 7, settings: settings("full", 1), evaluation, device: "cpu".into() };
    rig.worker.ask(Ask::Evaluate(ask));
    let mut events = Vec::new();
    for id in 1..=6 {
        rig.run(id, settings("full", 2));
        events.extend(rig.until(finished(id)));
    }
    if !events.iter().any(|event| matches!(event, Event::Sample(7, _, 0))) {
        events.extend(rig.until(|event| matches!(event, Event::Sample(7, _, 0))));
    }
    assert!(events.iter().any(|event| matches!(event, Event::Counted(7, 6, _))));
    let found = events.iter().filter_map(|event| match event {
        Event::Sample(7, record, left) => Some((record.length.unwrap(), record.share().unwrap(), *left)),
        _ => None,
    });
    let found: Vec<(usize, f64, usize)> = found.collect();
    assert_eq!(found.iter().map(|(length, ..)| *length).collect::<Vec<_>>(), [200, 200, 200, 300, 300, 300]);
    assert!(found.iter().all(|(_, share, _)| *share > 0.99), "induction finds every key: {found:?}");
    assert_eq!(found.iter().map(|(.., left)| *left).collect::<Vec<_>>(), [5, 4, 3, 2, 1, 0]);
    // a task that cannot be made says so, and the worker goes on
    let evaluation = Evaluation { task: "longbench_qasper".into(), lengths: Vec::new() };
    let ask = EvaluateAsk { id: 8, settings: settings("full", 1), evaluation, device: "cpu".into() };
    rig.worker.ask(Ask::Evaluate(ask));
    let events = rig.until(|event| matches!(event, Event::GridFailed(8, _)));
    let Some(Event::GridFailed(_, problem)) = events.last() else { panic!("it failed") };
    assert!(problem.message.contains("is made from a file"), "{problem}");
    rig.run(9, settings("full", 1));
    rig.until(finished(9));
}

#[test]
fn a_difference_that_gives_way_is_done_later() {
    let rig = Rig::new(ScriptedLens::new(induction));
    let runs = [1, 2].map(|id| rig.run(id, settings(if id == 1 { "full" } else { "sliding_window:window=32" }, 2)));
    rig.until(finished(2));
    rig.worker.ask(Ask::Difference(DifferenceAsk { id: 5, runs, pick: MapPick::whole(0, 0, 8) }));
    rig.run(3, settings("full", 2));
    let events = rig.until(|event| matches!(event, Event::Difference(5, _)));
    let Some(Event::Difference(_, Ok(maps))) = events.last() else { panic!("there is a difference") };
    assert!(maps[0].mean[7 * 8] > 0.0 && maps[1].mean[7 * 8].abs() < 1e-9, "a window does not see the first keys");
}

#[test]
fn cancelling_ends_the_text_and_says_so() {
    let rig = Rig::new(ScriptedLens::new(|_, logits| logits[70] = 9.0));
    rig.run(1, settings("full", 100_000));
    rig.until(|event| matches!(event, Event::Token { .. }));
    rig.worker.cancel();
    let events = rig.until(finished(1));
    let Some(Event::Finished(_, said)) = events.last() else { panic!("it finished") };
    assert_eq!(said.stop, StopReason::Cancelled);
    rig.until(|event| matches!(event, Event::Idle(1)));
}

#[test]
fn a_text_that_is_cut_leaves_a_sequence_that_can_be_looked_into_and_swapped() {
    let rig = Rig::new(ScriptedLens::new(|_, logits| logits[70] = 9.0));
    let run = rig.run(1, settings("full", 100_000));
    rig.until(|event| matches!(event, Event::Token { .. }));
    rig.worker.cancel();
    rig.until(finished(1));
    let watch = Watch { maps: vec![MapPick::whole(0, 0, 8)], ..Watch::default() };
    rig.worker.ask(Ask::Inspect(InspectAsk {
        id: 3,
        run: run.clone(),
        generated: Vec::new(),
        kind: InspectKind::Map,
        watch,
    }));
    let events = rig.until(|event| matches!(event, Event::Inspected { id: 3, .. } | Event::InspectFailed(..)));
    assert!(matches!(events.last(), Some(Event::Inspected { .. })), "{:?}", events.last());
    // swapped three times while text is generated
    for id in 2..5 {
        let swapped = Settings { swap: Swap::ReuseKv, ..settings("sliding_window:window=32", 100_000) };
        let base = Some(settings("full", 100_000));
        let ask = RunAsk { id, settings: swapped, base, prompt: rig.prompt.clone(), query: None };
        rig.worker.ask(Ask::Run(Arc::new(ask)));
        let events = rig.until(|event| matches!(event, Event::Token { run, .. } | Event::Failed(run, _) if *run == id));
        assert!(matches!(events.last(), Some(Event::Token { .. })), "{:?}", events.last());
    }
}

#[test]
fn reuse_kv_goes_back_to_its_base() {
    let rig = Rig::new(ScriptedLens::new(induction));
    let base = settings("full", 2);
    let reused = Settings { swap: Swap::ReuseKv, ..settings("sliding_window:window=32", 2) };
    let n = rig.prompt.tokens.len();
    let ask = RunAsk { id: 1, settings: reused, base: Some(base), prompt: rig.prompt.clone(), query: Some(n - 10) };
    rig.worker.ask(Ask::Run(Arc::new(ask)));
    let events = rig.until(finished(1));
    let found = events.iter().find_map(|event| match event {
        Event::Prefilled { nll, nll_from, record, .. } => Some((nll.len(), *nll_from, record.mode.as_str())),
        _ => None,
    });
    assert_eq!(found, Some((9, n - 9, "reuse-kv")), "losses of the tokens computed anew, after the first");
}

#[test]
fn every_run_keeps_the_trained_context_that_it_had() {
    let rig = Rig::new(ScriptedLens::new(induction));
    let rope = longlens_core::rope::RopeScaling::parse("yarn:factor=2").ok();
    let trained = |n| Settings { trained_context: n, rope: rope.clone(), ..settings("full", 2) };
    let (by_config, given) = (rig.run(1, trained(None)), trained(Some(64)));
    rig.until(finished(1));
    rig.run(2, given.clone());
    let events = rig.until(finished(2));
    let Some(Event::Finished(_, said)) = events.last() else { panic!("it finished") };
    assert!(said.run.trained_context == 64 && said.run.rope.contains("original=64"), "{:?}", said.run);
    // a look into the older run computes it again as it was
    let watch = Watch { maps: vec![MapPick::whole(0, 0, 8)], ..Watch::default() };
    let inspection = InspectAsk { id: 1, run: by_config, generated: Vec::new(), kind: InspectKind::Map, watch };
    rig.worker.ask(Ask::Inspect(inspection));
    let events = rig.until(|event| matches!(event, Event::Inspected { .. }));
    let Some(Event::Inspected { trace, .. }) = events.last() else { panic!("it looked") };
    assert!(trace.run.trained_context == 256 && trace.run.rope.contains("original=256"), "{:?}", trace.run);
    let grid =
        Grid { template: Template::Longlens, chat: None, lengths: vec![200], depths: vec![0.5], trials: 1, seed: 0 };
    rig.worker.ask(Ask::Grid(GridAsk { id: 7, settings: given, grid }));
    let events = rig.until(|event| matches!(event, Event::Cell(..)));
    assert!(matches!(events.last(), Some(Event::Cell(_, cell, 0)) if cell.run.trained_context == 64), "{events:?}");
}

#[test]
fn a_fault_of_the_model_is_told_and_survived() {
    let calls = Arc::new(Mutex::new(0));
    let lens = ScriptedLens::new(move |_, logits| {
        let mut calls = calls.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        *calls += 1;
        assert!(*calls != 1, "the first call fails");
        logits[70] = 9.0;
    });
    let rig = Rig::new(lens);
    rig.run(1, settings("full", 2));
    let events = rig.until(|event| matches!(event, Event::Failed(1, _)));
    let Some(Event::Failed(_, problem)) = events.last() else { panic!("it failed") };
    assert!(problem.message.contains("the first call fails"), "{problem}");
    rig.run(2, settings("full", 2));
    rig.until(finished(2));
}

#[test]
fn impossible_settings_and_prompts_are_told() {
    let rig = Rig::new(ScriptedLens::new(induction));
    rig.run(1, settings("dual_chunk:chunk_size=48,local_window=48", 2));
    let events = rig.until(|event| matches!(event, Event::Failed(1, _)));
    let Some(Event::Failed(_, problem)) = events.last() else { panic!("it failed") };
    assert!(problem.help.as_ref().is_some_and(|help| help.contains("at most 47")), "{problem}");
    rig.worker.ask(Ask::Prompt(3, PromptSource::File("no such file".into())));
    let events = rig.until(|event| matches!(event, Event::Prompt(3, _)));
    assert!(matches!(events.last(), Some(Event::Prompt(_, Err(_)))));
}

#[test]
fn the_time_left_of_a_grid_is_that_of_all_its_cells() {
    let rig = Rig::new(ScriptedLens::new(induction));
    let (lengths, depths) = (vec![200, 400], vec![0.0, 0.5, 1.0]);
    let grid = Grid { template: Template::Longlens, chat: None, lengths, depths, trials: 2, seed: 0 };
    rig.worker.ask(Ask::Grid(GridAsk { id: 7, settings: settings("full", 1), grid }));
    let events = rig.until(|event| matches!(event, Event::Cell(_, _, 0)));
    let told: Vec<_> = events
        .iter()
        .filter_map(|event| if let Event::Progress(progress) = event { Some(progress) } else { None })
        .collect();
    // a word for each cell at least, whose seconds and steps count from the first cell on
    assert!(told.len() >= 6, "{told:?}");
    assert!(told.is_sorted_by(|a, b| a.seconds <= b.seconds && a.done <= b.done && a.before == b.before), "{told:?}");
    let half = Progress { what: "grid", done: 60, total: 100, seconds: 10.0, before: 40 };
    assert_eq!(half.left(), Some(20.0));
}
