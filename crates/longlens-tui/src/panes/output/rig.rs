//! What tests of panes draw: a workbench without a worker.

use std::sync::Arc;

use longlens_app::prompt::{NeedleAsk, PromptSource};
use longlens_app::runs::{Run, RunAsk};
use longlens_app::settings::Settings;
use longlens_app::steps::Start;
use longlens_app::worker::Event;
use longlens_core::lens::Lens;
use longlens_core::methods::Method;
use longlens_core::scripted::{ScriptedLens, induction};
use ratatui::buffer::{Buffer, Cell};
use ratatui::layout::Rect;

use crate::app::{Action, App, Options};
use crate::pen::{Pen, Seen};
use crate::theme::{Depth, Theme, ThemeName};

/// A workbench with a needle prompt of 512 tokens, and no run.
pub fn app() -> App {
    let lens = ScriptedLens::new(induction);
    let source = PromptSource::Needle(NeedleAsk { length: 512, ..NeedleAsk::default() });
    let prompt = Arc::new(source.build(lens.text().unwrap()).unwrap());
    let options = Options {
        start: Start { model: "scripted".into(), ..Start::default() },
        write_steps: |_, _, steps, _| Ok(format!("{steps:?}")),
        settings: Settings::default(),
        prompt: Some(source),
        theme: ThemeName::Dark,
        depth: Depth::True,
        resume: None,
        hint: false,
        notes: Vec::new(),
    };
    let mut app = App::new(lens.model().clone(), options);
    app.update(Action::Job(Event::Prompt(0, Ok(prompt))));
    app
}

/// The newest run of a workbench, under a method.
pub fn run<'a>(app: &'a mut App, method: &str) -> &'a mut Run {
    let settings = Settings { method: Method::parse(method).unwrap(), ..Settings::default() };
    let prompt = app.prompt.answer().cloned().unwrap();
    let ask = RunAsk { id: app.runs.next_id(), settings, base: None, prompt, query: None };
    app.runs.push(Run::new(&ask, "scripted", &app.opened.spec));
    (app.shown, app.current) = (Some(ask.id), Some(Arc::new(ask)));
    app.runs.list.last_mut().unwrap()
}

fn drawn(draw: fn(&App, Rect, &mut Pen), app: &App, theme: Theme, screen: Rect, area: Rect) -> Buffer {
    let (mut buffer, mut seen) = (Buffer::empty(screen), Seen::default());
    draw(app, area, &mut Pen { buffer: &mut buffer, theme, seen: &mut seen, cell_pixels: None });
    buffer
}

/// What a pane of this size shows, row by row.
pub fn shown(draw: fn(&App, Rect, &mut Pen), app: &App, width: u16, height: u16) -> String {
    let area = Rect::new(0, 0, width, height);
    let buffer = drawn(draw, app, app.theme, area, area);
    let row = |cells: &[Cell]| cells.iter().map(Cell::symbol).collect::<String>();
    let rows = buffer.content.chunks(usize::from(width)).map(|cells| row(cells).trim_end().to_owned());
    rows.collect::<Vec<_>>().join("\n")
}

/// Draws a pane in many sizes and depths; it stays inside its area.
pub fn everywhere(draw: fn(&App, Rect, &mut Pen), app: &App) {
    for (width, height) in (1..40).flat_map(|side| [(side, 1), (1, side), (side, side), (2 * side, side / 2 + 1)]) {
        let area = Rect { x: 2, y: 1, width, height };
        let screen = Rect::new(0, 0, width + 4, height + 2);
        for depth in [Depth::True, Depth::Ansi16, Depth::Mono] {
            let buffer = drawn(draw, app, Theme { depth, ..app.theme }, screen, area);
            for at in screen.positions().filter(|at| !area.contains(*at)) {
                assert_eq!(buffer[at].symbol(), " ", "{width} x {height} leaves its area at {at}");
            }
        }
    }
}
