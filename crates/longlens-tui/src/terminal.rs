//! The program around the state: the terminal, threads, files and signals.
//!
//! Keys, the worker's events, signals and written files arrive in one channel; the loop takes in what has arrived and draws
//! once. Nothing here computes, so a key is on the screen as soon as the frame is drawn.

use std::collections::BTreeMap;
use std::io::{self, Stdout, stdout};
use std::panic::{self, AssertUnwindSafe, PanicHookInfo, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use longlens_app::Problem;
use longlens_app::session::{SavedSession, Store};
use longlens_app::steps::Step;
use longlens_app::worker::{self, Event, Worker};
use longlens_core::lens::{Lens, ModelInfo};
use ratatui::Terminal;
use ratatui::backend::CrosstermBackend;
use ratatui::crossterm::event::{
    self, DisableBracketedPaste, DisableMouseCapture, EnableBracketedPaste, EnableMouseCapture, Event as Input,
};
use ratatui::crossterm::execute;
use ratatui::crossterm::terminal::{EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode};

use crate::app::{Action, App, DrawAsk, Drawn, Effect, Options};
use crate::export;
use crate::images::{Encoded, ImageMode, Images};
use crate::pen::Seen;
use crate::screen;

/// How the program ended.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ended {
    /// The signal that asked for it; the user quit where there was none.
    pub signal: Option<i32>,
    /// Why the session could not be kept at the end.
    pub unkept: Option<Problem>,
}

/// What arrives.
enum Arrived {
    Terminal(Input),
    Lost(io::Error),
    Job(Event),
    Wrote(Result<String, Problem>, Option<Box<Step>>),
    Image(Encoded),
    Figure(usize, u64, Result<Drawn, Problem>),
    Signal(i32),
}

/// Time between two looks at what is to be kept.
const TICK: Duration = Duration::from_millis(500);
/// Time that arriving things are taken in before a frame is drawn.
const GATHER: Duration = Duration::from_millis(6);

/// Runs the workbench on this terminal until it is over.
pub fn run(
    model: ModelInfo,
    options: Options,
    mode: ImageMode,
    store: Option<Store>,
    open: impl FnOnce() -> Result<Box<dyn Lens>, Problem> + Send + 'static,
) -> io::Result<Ended> {
    let (sender, arrived) = channel();
    // from here on no signal ends the program before the terminal is given back
    watch_signals(sender.clone())?;
    let screen = Screen::enter(sender.clone())?;
    let mut terminal = Terminal::new(CrosstermBackend::new(stdout()))?;
    let resumed = options.resume.clone();
    let mut app = App::new(model, options);
    // the first frame does not wait for anything
    draw(&mut terminal, &app, None)?;
    let images_done = sender.clone();
    let mut images = Images::ask(mode, move |encoded| drop(images_done.send(Arrived::Image(encoded))));
    let jobs = sender.clone();
    let worker = Worker::start(open, move |event| drop(jobs.send(Arrived::Job(event))))?;
    watch_keys(sender.clone())?;
    let (keep, keeper) = keeper(store, resumed, sender.clone())?;
    let figures = figures(sender.clone())?;
    let mut outside = Outside { worker, figures, sender, keep, writers: Vec::new() };
    let ended = work(&mut terminal, &mut app, &mut images, &arrived, &mut outside);
    if ended.is_err() {
        // the terminal is lost; the session is not
        outside.perform(app.update(Action::Stop));
    }
    // what is being written is finished; whether it was is told where it was asked for
    for writer in outside.writers.drain(..) {
        let _ = writer.join();
    }
    drop((outside, screen));
    // the keeper ends when it has saved the last session that it was sent
    let kept = keeper.join().unwrap_or_else(|_| Err(Problem::new("the session was not kept: internal error", None)));
    ended.map(|signal| Ended { signal, unkept: kept.err() })
}

/// What a panic hook is.
type Hook = dyn Fn(&PanicHookInfo<'_>) + Send + Sync;

/// The terminal while it is ours; it is given back when this goes.
struct Screen {
    /// The panic hook before ours.
    before: Arc<Hook>,
}

impl Screen {
    /// Takes the terminal. A panic of this thread gives it back; one of another thread is told in the log.
    fn enter(sender: Sender<Arrived>) -> io::Result<Self> {
        enable_raw_mode()?;
        HELD.store(true, Ordering::SeqCst);
        let entered = Self { before: panic::take_hook().into() };
        let (before, own) = (entered.before.clone(), thread::current().id());
        panic::set_hook(Box::new(move |info| {
            let thread = thread::current();
            if thread.id() == own {
                leave();
                before(info);
            } else if thread.name() != Some(worker::THREAD) {
                // the worker catches its own and tells what they spoiled
                let _ = sender.send(Arrived::Wrote(Err(panicked(info)), None));
            }
        }));
        execute!(stdout(), EnterAlternateScreen, EnableMouseCapture, EnableBracketedPaste)?;
        Ok(entered)
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        leave();
        // hooks cannot be changed in a panic, which ends the program anyway
        if !thread::panicking() {
            let before = self.before.clone();
            panic::set_hook(Box::new(move |info| before(info)));
        }
    }
}

/// Whether the terminal is ours.
static HELD: AtomicBool = AtomicBool::new(false);

/// Gives the terminal back, once: after a panic, what was told since would be written over. What fails here cannot be told
/// to anybody.
fn leave() {
    if !HELD.swap(false, Ordering::SeqCst) {
        return;
    }
    let _ = execute!(
        stdout(),
        DisableBracketedPaste,
        DisableMouseCapture,
        LeaveAlternateScreen,
        ratatui::crossterm::cursor::Show
    );
    let _ = disable_raw_mode();
}

/// What a panic of a thread in the background says.
fn panicked(info: &PanicHookInfo<'_>) -> Problem {
    let text = info.payload_as_str().unwrap_or("no reason given");
    let place = info.location().map_or(String::new(), |place| format!(" at {place}"));
    Problem::new(format!("internal error{place}: {text}"), "work goes on".to_owned())
}

/// Everything that effects reach.
struct Outside {
    worker: Worker,
    figures: Sender<DrawAsk>,
    sender: Sender<Arrived>,
    keep: Sender<SavedSession>,
    /// Files that are being written.
    writers: Vec<JoinHandle<()>>,
}

/// Takes in what arrives until the program is over; returns the signal that asked for that.
fn work(
    terminal: &mut Terminal<CrosstermBackend<Stdout>>,
    app: &mut App,
    images: &mut Option<Images>,
    arrived: &Receiver<Arrived>,
    outside: &mut Outside,
) -> io::Result<Option<i32>> {
    let mut signal = None;
    let mut ticked = Instant::now();
    loop {
        let seen = draw(terminal, app, images.as_mut())?;
        outside.perform(app.update(Action::Drawn(seen)));
        let mut waiting = TICK;
        let mut changed = false;
        let mut gathered: Option<Instant> = None;
        // takes in everything that is there, so that a burst of keys or events costs one frame
        while !changed || gathered.is_some_and(|since| since.elapsed() < GATHER) {
            let action = match arrived.recv_timeout(waiting) {
                Ok(Arrived::Terminal(input)) => from_input(input),
                Ok(Arrived::Lost(error)) => return Err(error),
                Ok(Arrived::Job(event)) => Some(Action::Job(event)),
                Ok(Arrived::Wrote(result, step)) => Some(Action::Wrote(result, step)),
                Ok(Arrived::Image(encoded)) => {
                    if let Some(images) = images {
                        images.take(encoded);
                    }
                    None
                }
                Ok(Arrived::Figure(at, id, drawn)) => Some(Action::Figure(at, id, drawn)),
                Ok(Arrived::Signal(number)) => {
                    signal = Some(number);
                    Some(Action::Stop)
                }
                Err(RecvTimeoutError::Timeout) if changed => break,
                Err(_) => {
                    ticked = Instant::now();
                    outside.perform(app.update(Action::Tick));
                    continue;
                }
            };
            (changed, waiting) = (true, Duration::ZERO);
            gathered.get_or_insert_with(Instant::now);
            if let Some(action) = action {
                outside.perform(app.update(action));
            }
            if app.over {
                return Ok(signal);
            }
        }
        if ticked.elapsed() >= TICK {
            ticked = Instant::now();
            outside.perform(app.update(Action::Tick));
        }
    }
}

fn draw(
    terminal: &mut Terminal<CrosstermBackend<Stdout>>,
    app: &App,
    mut images: Option<&mut Images>,
) -> io::Result<Seen> {
    let cell_pixels = images.as_ref().map(|images| images.cell_pixels());
    let mut seen = Seen::default();
    terminal.draw(|frame| {
        let drawn = screen::draw(app, frame.buffer_mut(), cell_pixels);
        if let Some(images) = &mut images {
            images.draw(&drawn.images, frame.buffer_mut());
        }
        seen = drawn;
    })?;
    Ok(seen)
}

/// What an event of the terminal means.
fn from_input(input: Input) -> Option<Action> {
    match input {
        Input::Key(key) => Some(Action::Key(key)),
        Input::Mouse(mouse) => Some(Action::Mouse(mouse)),
        Input::Paste(text) => Some(Action::Paste(text)),
        // a frame of the new size follows
        Input::Resize(..) | Input::FocusGained | Input::FocusLost => None,
    }
}

impl Outside {
    fn perform(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Ask(ask) => self.worker.ask(ask),
                Effect::Cancel => self.worker.cancel(),
                Effect::CancelGrid => self.worker.cancel_grid(),
                // a thread that is gone draws no more
                Effect::Draw(ask) => drop(self.figures.send(*ask)),
                Effect::Export(files, step) => self.write(Some(step), move || files.write()),
                Effect::Save(path, bytes) => self.write(None, move || {
                    export::save(&path, &bytes)?;
                    Ok(format!("wrote {}", path.display()))
                }),
                // a keeper that is gone is told of at the end
                Effect::Keep(session) => drop(self.keep.send(*session)),
                Effect::Mouse(on) => {
                    let _ = if on {
                        execute!(stdout(), EnableMouseCapture)
                    } else {
                        execute!(stdout(), DisableMouseCapture)
                    };
                }
                Effect::Quit => (),
            }
        }
    }

    /// Writes files on a thread of their own; `step` is what that makes.
    fn write(&mut self, step: Option<Box<Step>>, write: impl FnOnce() -> Result<String, Problem> + Send + 'static) {
        let sender = self.sender.clone();
        let work = move || {
            // the panic hook has told why
            let wrote = catch_unwind(AssertUnwindSafe(write))
                .unwrap_or_else(|_| Err(Problem::new("nothing was written", "the line before says why".to_owned())));
            let _ = sender.send(Arrived::Wrote(wrote, step));
        };
        self.writers.retain(|writer| !writer.is_finished());
        match thread::Builder::new().name("longlens-files".into()).spawn(work) {
            Ok(writer) => self.writers.push(writer),
            Err(error) => {
                let problem = Problem::new(format!("cannot start writing: {error}"), None);
                let _ = self.sender.send(Arrived::Wrote(Err(problem), None));
            }
        }
    }
}

/// Draws figures of views on a thread of its own, the newest of each that wait.
fn figures(sender: Sender<Arrived>) -> io::Result<Sender<DrawAsk>> {
    let (figures, waiting) = channel::<DrawAsk>();
    let work = move || {
        while let Ok(first) = waiting.recv() {
            let newest: BTreeMap<usize, DrawAsk> =
                std::iter::once(first).chain(waiting.try_iter()).map(|ask| (ask.at, ask)).collect();
            for ask in newest.into_values() {
                // the panic hook has told why
                let drawn = catch_unwind(AssertUnwindSafe(|| ask.draw())).unwrap_or_else(|_| {
                    Err(Problem::new("this view cannot be drawn", "the log says why (v)".to_owned()))
                });
                let _ = sender.send(Arrived::Figure(ask.at, ask.id, drawn));
            }
        }
    };
    thread::Builder::new().name("longlens-figures".into()).spawn(work)?;
    Ok(figures)
}

/// What the keeper ends with: whether the last session is kept.
type Keeper = JoinHandle<Result<(), Problem>>;

/// Saves sessions on a thread of its own, the newest of those that wait. The session that was resumed goes once this one is
/// kept in its place.
fn keeper(
    store: Option<Store>,
    resumed: Option<SavedSession>,
    sender: Sender<Arrived>,
) -> io::Result<(Sender<SavedSession>, Keeper)> {
    let (keep, waiting) = channel::<SavedSession>();
    let work = move || {
        // sessions that nobody keeps may be sent all the same
        let Some(mut store) = store else { return Ok(()) };
        let (mut kept, mut told, mut tidied) = (Ok(()), false, false);
        while let Ok(session) = waiting.recv() {
            let newest = waiting.try_iter().last().unwrap_or(session);
            kept = store.save(newest).map_err(|error| {
                Problem::new(
                    format!("cannot keep the session: {error}"),
                    "work goes on, but `longlens --resume` will not find it".to_owned(),
                )
            });
            match &kept {
                Ok(()) if !std::mem::replace(&mut tidied, true) => store.tidy(resumed.as_ref()),
                Err(problem) if !std::mem::replace(&mut told, true) => {
                    let _ = sender.send(Arrived::Wrote(Err(problem.clone()), None));
                }
                _ => (),
            }
        }
        kept
    };
    let keeper = thread::Builder::new().name("longlens-keeper".into()).spawn(work)?;
    Ok((keep, keeper))
}

fn watch_keys(sender: Sender<Arrived>) -> io::Result<()> {
    let work = move || loop {
        let arrived = match event::read() {
            Ok(input) => Arrived::Terminal(input),
            Err(error) => {
                let _ = sender.send(Arrived::Lost(error));
                return;
            }
        };
        if sender.send(arrived).is_err() {
            return;
        }
    };
    thread::Builder::new().name("longlens-keys".into()).spawn(work).map(drop)
}

#[cfg(unix)]
fn watch_signals(sender: Sender<Arrived>) -> io::Result<()> {
    use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};

    let mut signals = signal_hook::iterator::Signals::new([SIGHUP, SIGINT, SIGQUIT, SIGTERM])?;
    let work = move || {
        for signal in signals.forever() {
            if sender.send(Arrived::Signal(signal)).is_err() {
                return;
            }
        }
    };
    thread::Builder::new().name("longlens-signals".into()).spawn(work).map(drop)
}

#[cfg(not(unix))]
fn watch_signals(_: Sender<Arrived>) -> io::Result<()> {
    Ok(()) // the terminal's own handlers end the program
}
