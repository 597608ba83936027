//! The workbench without a terminal: keys in, frames out. Screenshots, tests and benchmarks drive it.

use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use longlens_app::Problem;
use longlens_app::session::SavedSession;
use longlens_app::worker::{Ask, Event, Worker};
use longlens_core::lens::{Lens, ModelInfo};
use ratatui::buffer::Buffer;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use ratatui::layout::Rect;

use crate::app::{Action, App, Effect, Options};
use crate::export;
use crate::{keys, screen};

/// A workbench without a terminal.
pub struct Headless {
    /// The state.
    pub app: App,
    /// The newest kept session.
    pub kept: Option<SavedSession>,
    /// What was asked of the worker.
    pub asked: Vec<Ask>,
    /// Whether the program would have ended.
    pub over: bool,
    worker: Worker,
    events: Receiver<Event>,
}

/// Time that one question may take.
const PATIENCE: Duration = Duration::from_mins(10);

impl Headless {
    /// A workbench whose model is being opened.
    pub fn new(
        model: ModelInfo,
        options: Options,
        open: impl FnOnce() -> Result<Box<dyn Lens>, Problem> + Send + 'static,
    ) -> std::io::Result<Self> {
        let (sender, events) = channel();
        let worker = Worker::start(open, move |event| drop(sender.send(event)))?;
        let app = App::new(model, options);
        Ok(Self { app, kept: None, asked: Vec::new(), over: false, worker, events })
    }

    /// Lets something happen, and does what has to happen outside.
    pub fn act(&mut self, action: Action) {
        for effect in self.app.update(action) {
            match effect {
                Effect::Ask(ask) => {
                    self.asked.push(ask.clone());
                    self.worker.ask(ask);
                }
                Effect::Cancel => self.worker.cancel(),
                Effect::CancelGrid => self.worker.cancel_grid(),
                Effect::Draw(ask) => self.act(Action::Figure(ask.at, ask.id, ask.draw())),
                Effect::Export(files, step) => {
                    let wrote = files.write();
                    self.act(Action::Wrote(wrote, Some(step)));
                }
                Effect::Save(path, bytes) => {
                    let saved = export::save(&path, &bytes);
                    self.act(Action::Wrote(saved.map(|()| format!("wrote {}", path.display())), None));
                }
                Effect::Keep(session) => self.kept = Some(*session),
                Effect::Mouse(_) => (),
                Effect::Quit => self.over = true,
            }
        }
    }

    /// Waits until the worker has nothing to do.
    pub fn settle(&mut self) -> Result<(), Problem> {
        let started = Instant::now();
        while self.app.work.is_busy() {
            match self.events.recv_timeout(PATIENCE.saturating_sub(started.elapsed())) {
                Ok(event) => self.act(Action::Job(event)),
                // its thread is gone, after it told why
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => {
                    let minutes = PATIENCE.as_secs() / 60;
                    return Err(Problem::new(format!("the model did not finish within {minutes} minutes"), None));
                }
            }
        }
        Ok(())
    }

    /// Takes in what the worker has told so far, without waiting.
    pub fn drain(&mut self) {
        while let Ok(event) = self.events.try_recv() {
            self.act(Action::Job(event));
        }
    }

    /// Presses keys, written as in the table and separated by blanks, `text:` before text to type; waits after each.
    pub fn keys(&mut self, keys: &str) -> Result<(), Problem> {
        for name in keys.split_whitespace() {
            if let Some(text) = name.strip_prefix("text:") {
                for c in text.chars() {
                    self.act(Action::Key(KeyEvent::new(KeyCode::Char(c), KeyModifiers::NONE)));
                }
            } else {
                let key = keys::parse(name).ok_or_else(|| {
                    let help = "keys are written as in the help: `L`, `shift-right`, `ctrl-r`, `enter`".to_owned();
                    Problem::new(format!("there is no key `{name}`"), help)
                })?;
                self.act(Action::Key(key));
            }
            self.settle()?;
        }
        Ok(())
    }

    /// A frame with everything that is computed in its size.
    pub fn frame(&mut self, width: u16, height: u16) -> Result<Buffer, Problem> {
        self.draw(width, height);
        self.settle()?;
        Ok(self.draw(width, height))
    }

    /// A frame of what is there.
    pub fn draw(&mut self, width: u16, height: u16) -> Buffer {
        let mut buffer = Buffer::empty(Rect::new(0, 0, width, height));
        let seen = screen::draw(&self.app, &mut buffer, None);
        self.act(Action::Drawn(seen));
        buffer
    }
}
