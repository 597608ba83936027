//! `longlens screenshot`: a frame of the workbench as a picture, after some keys.

use longlens_tui::app::Opening;
use longlens_tui::headless::Headless;
use longlens_tui::theme::Depth;
use longlens_tui::{screen, shot};

use crate::args::{Colors, ScreenshotArgs};
use crate::commands::workbench::{self, Beginning};
use crate::failure::Failure;
use crate::terminal::Terminal;

/// Most cells of a side.
const MAX_SIDE: u16 = 1000;

pub fn run(args: &ScreenshotArgs) -> Result<(), Failure> {
    let terminal = Terminal::new(false);
    let (width, height) = size(&args.size)?;
    let Some(out) = super::picture(args.workbench.common.out.as_deref(), "workbench.png")? else {
        return Err(Failure::usage("there is no file to write", "give --out FILE.png or FILE.svg".to_owned()));
    };
    let mut asked = args.workbench.clone();
    asked.common.out = None;
    if asked.colors == Colors::Auto {
        asked.colors = Colors::True;
    }
    let Beginning { model, options, open } = workbench::begin(&asked, None, std::slice::from_ref(&out))?;
    let is_colored = options.depth != Depth::Mono;
    let failed = |problem: longlens_app::Problem| Failure::failed(&problem.message, problem.help.clone());
    let mut workbench = Headless::new(model, options, open)
        .map_err(|error| Failure::failed(format!("cannot start a thread: {error}"), None))?;
    workbench.settle().map_err(failed)?;
    if let Opening::Failed(problem) = &workbench.app.opening {
        return Err(failed(problem.clone()));
    }
    workbench.frame(width, height).map_err(failed)?;
    workbench.keys(&args.keys).map_err(failed)?;
    let frame = workbench.frame(width, height).map_err(failed)?;
    let title = (!args.bare && is_colored).then(|| "longlens".to_owned());
    super::save(&terminal, &shot::screen(&frame, workbench.app.theme, title), &out)
}

/// Reads `120x40`.
fn size(text: &str) -> Result<(u16, u16), Failure> {
    let read = |text: &str| text.parse().ok().filter(|side| *side <= MAX_SIDE);
    let sides = text.split_once('x').and_then(|(width, height)| Some((read(width)?, read(height)?)));
    let (least_width, least_height) = screen::SMALLEST;
    sides.filter(|(width, height)| *width >= least_width && *height >= least_height).ok_or_else(|| {
        let help = format!("write columns and rows, from {least_width}x{least_height} to {MAX_SIDE}x{MAX_SIDE}");
        Failure::usage(format!("`{text}` is not a size of a terminal"), help)
    })
}
