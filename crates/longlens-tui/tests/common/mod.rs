//! A workbench on a scripted model, driven by keys: the same worker and state as in the program, without a terminal.

#![allow(dead_code, reason = "every test uses some of it")]

use std::ops::{Deref, DerefMut};
use std::path::Path;

use longlens_app::Problem;
use longlens_app::prompt::{NeedleAsk, PromptSource};
use longlens_app::settings::Settings;
use longlens_app::steps::{Start, Step};
use longlens_core::lens::Lens;
use longlens_core::methods::METHODS;
use longlens_core::scripted::{ScriptedLens, induction};
use longlens_core::spec::ModelSpec;
use longlens_tui::app::{Action, Options};
use longlens_tui::command::{Command, ENTRIES, key};
use longlens_tui::headless::Headless;
use longlens_tui::theme::{Depth, ThemeName};
use ratatui::buffer::Buffer;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

/// A workbench on a scripted model.
pub struct Rig(Headless);

/// Where the hidden key of the first prompt stands (seed 0, 512 tokens, depth 0.5).
pub const NEEDLE: std::ops::Range<usize> = 241..299;

/// A model that finds keys by induction, one of whose heads (layer 1, head 2) looks at the needle.
pub fn lens() -> ScriptedLens {
    ScriptedLens::new(induction).attending(|layer, head, query, key| {
        let away = (query - key) as f32;
        let near = (-away / 24.0).exp();
        match (layer + head) % 4 {
            _ if (layer, head) == (1, 2) && NEEDLE.contains(&key) => 1.0,
            0 => near + 0.002,
            1 => {
                if key < 4 {
                    2.0
                } else {
                    0.01 + near * 0.1
                }
            }
            2 => 0.05 + ((key * 7 + head) % 31) as f32 / 200.0,
            _ => 0.01 + near * 0.5,
        }
    })
}

/// Steps as they are, under one ending.
fn write_steps(path: &Path, _: &Start, steps: &[Step], _: &ModelSpec) -> Result<String, Problem> {
    let is_known = path.extension().is_some_and(|ending| ending == "steps");
    is_known
        .then(|| format!("{steps:#?}"))
        .ok_or_else(|| Problem::new("no such form", "end the name in .steps".to_owned()))
}

pub fn options() -> Options {
    Options {
        start: Start { model: "scripted".into(), ..Start::default() },
        write_steps,
        settings: Settings { max_tokens: 6, ..Settings::default() },
        prompt: Some(PromptSource::Needle(NeedleAsk { length: 512, ..NeedleAsk::default() })),
        theme: ThemeName::Dark,
        depth: Depth::True,
        resume: None,
        hint: false,
        notes: Vec::new(),
    }
}

impl Deref for Rig {
    type Target = Headless;

    fn deref(&self) -> &Headless {
        &self.0
    }
}

impl DerefMut for Rig {
    fn deref_mut(&mut self) -> &mut Headless {
        &mut self.0
    }
}

impl Rig {
    pub fn new() -> Self {
        Self::with(options(), lens())
    }

    pub fn with(options: Options, lens: ScriptedLens) -> Self {
        let model = lens.model().clone();
        Self(Headless::new(model, options, move || Ok(Box::new(lens) as Box<dyn Lens>)).unwrap())
    }

    /// A rig whose first run is done.
    pub fn ready() -> Self {
        let mut rig = Self::new();
        rig.settle();
        rig
    }

    /// Waits until the worker has nothing to do.
    pub fn settle(&mut self) {
        self.0.settle().unwrap();
    }

    /// Presses keys, written as in the table and separated by blanks; the name of a method is its key. Waits after each.
    pub fn keys(&mut self, keys: &str) {
        for name in keys.split_whitespace() {
            self.0.keys(method_key(name).unwrap_or(name)).unwrap();
        }
    }

    /// Presses one key, or that of a method, without waiting.
    pub fn key(&mut self, name: &str) {
        self.act(Action::Key(longlens_tui::keys::parse(method_key(name).unwrap_or(name)).unwrap()));
    }

    /// Shows the view at this place of the list, and waits.
    pub fn show(&mut self, at: usize) {
        match ENTRIES.iter().find(|entry| entry.command == Command::View(at)).and_then(|entry| entry.keys.first()) {
            Some(key) => self.keys(key),
            // a view beyond the last free letter would have none
            None => self.act(Action::Do(Command::View(at))),
        }
        self.settle();
    }

    /// Types text.
    pub fn type_text(&mut self, text: &str) {
        for c in text.chars() {
            self.act(Action::Key(KeyEvent::new(KeyCode::Char(c), KeyModifiers::NONE)));
        }
        self.settle();
    }

    /// A frame with everything that is computed in its size.
    pub fn frame(&mut self, width: u16, height: u16) -> Buffer {
        self.0.frame(width, height).unwrap()
    }
}

/// The key of the method of this name.
pub fn method_key(name: &str) -> Option<&'static str> {
    METHODS.iter().position(|method| method.info.name == name).map(|at| key(Command::Method(at)))
}

/// Every key of the table.
pub fn all_keys() -> Vec<String> {
    ENTRIES.iter().flat_map(|entry| entry.keys.clone()).collect()
}

/// A frame's text, row by row.
pub fn text(buffer: &Buffer) -> String {
    let width = usize::from(buffer.area.width);
    let rows = buffer.content.chunks(width).map(|row| {
        let line: String = row.iter().map(ratatui::buffer::Cell::symbol).collect();
        line.trim_end().to_owned()
    });
    rows.collect::<Vec<_>>().join("\n")
}
