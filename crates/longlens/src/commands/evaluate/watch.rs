//! What a user sees of a sweep that runs.

use longlens_app::Problem;
use longlens_app::sweep::{Opening, Unit, Watch};
use longlens_core::brief;
use longlens_core::lens::{Control, Lens};
use longlens_eval::evaluate::Record;
use longlens_model::Options;
use longlens_model::weights::Keep;

use crate::args::Device;
use crate::backend;
use crate::terminal::{Progress, Terminal};

/// A bar with what is being run, and notes above it.
pub struct Watching<'a> {
    terminal: &'a Terminal,
    progress: Progress,
    n_units: usize,
    /// Notes that were said.
    said: Vec<String>,
    doing: String,
    n_done: usize,
}

impl<'a> Watching<'a> {
    pub fn new(terminal: &'a Terminal, units: &[Unit]) -> Self {
        Self {
            terminal,
            progress: terminal.progress("opening the model"),
            n_units: units.len(),
            said: Vec::new(),
            doing: String::new(),
            n_done: 0,
        }
    }

    fn say_once(&mut self, note: String) {
        if !self.said.contains(&note) {
            let _ = self.terminal.note(&note);
            self.said.push(note);
        }
    }
}

impl Control for Watching<'_> {
    fn progress(&mut self, done: usize, total: usize) {
        self.progress.progress(done, total);
    }

    fn cancelled(&self) -> bool {
        self.progress.cancelled()
    }
}

impl Watch for Watching<'_> {
    fn opens(&mut self, opening: &Opening) -> Result<Box<dyn Lens>, Problem> {
        self.progress.begin(&format!("opening {}", opening.model));
        let device = match opening.device.as_deref() {
            None | Some("cpu") => Device::Cpu,
            Some("wgpu") => Device::Wgpu,
            Some("cuda") => Device::Cuda,
            Some(other) => {
                return Err(Problem::new(
                    format!("there is no device `{other}`"),
                    "one of: cpu, wgpu, cuda".to_owned(),
                ));
            }
        };
        let weights = opening.weights.as_deref().map_or(Ok(Keep::default()), str::parse::<Keep>);
        let weights = weights.map_err(|error| Problem::new(error, None))?;
        let options = Options {
            weights,
            trained_context: None,
            adapter: opening.adapter.clone(),
            kv_offload: opening.kv_offload,
        };
        let lens = backend::open(&opening.model, device, options)
            .map_err(|failure| Problem::new(failure.to_string(), failure.advice().map(str::to_owned)))?;
        for warning in &lens.model().warnings {
            self.say_once(format!("warning: {warning}"));
        }
        Ok(lens)
    }

    fn begins(&mut self, at: usize, unit: &Unit, notes: &[String]) {
        for note in notes {
            self.say_once(note.clone());
        }
        self.n_done = 0;
        let method = brief::name(&unit.settings.method.to_string(), usize::MAX);
        self.doing = format!("{}/{} {} {method}", at + 1, self.n_units, unit.task);
        self.progress.begin(&self.doing);
    }

    fn finished(&mut self, _: usize, _: &Record) {
        self.n_done += 1;
        self.progress.doing(&format!("{} · {}", self.doing, self.n_done));
    }
}
