//! The workbench on a model that breaks an invariant: it has no heads. The program panics on the thread that draws, which is
//! what `tests/panic.rs` wants to see.

use longlens_app::prompt::PromptSource;
use longlens_app::settings::Settings;
use longlens_app::steps::Start;
use longlens_core::lens::Lens;
use longlens_core::scripted::ScriptedLens;
use longlens_tui::app::Options;
use longlens_tui::images::ImageMode;
use longlens_tui::terminal;
use longlens_tui::theme::{Depth, ThemeName};

fn main() {
    let lens = ScriptedLens::saying("never").with_model(|model| model.spec.n_heads = 0);
    let model = lens.model().clone();
    let options = Options {
        start: Start::default(),
        write_steps: |_, _, steps, _| Ok(format!("{steps:?}")),
        settings: Settings::default(),
        prompt: Some(PromptSource::Text("a prompt".into())),
        theme: ThemeName::Dark,
        depth: Depth::True,
        resume: None,
        hint: false,
        notes: Vec::new(),
    };
    let open = move || Ok(Box::new(lens) as Box<dyn Lens>);
    drop(terminal::run(model, options, ImageMode::Never, None, open));
}
