//! The text of an HTML page.

use html2text::config::with_decorator;
use html2text::render::TrivialDecorator;

use super::extract::{Extracted, Refused};

/// Columns of a line; paragraphs are not to be wrapped, and columns of tables share it.
const WIDTH: usize = 100_000;

/// What a reader sees of a page: no styles, scripts or marks, a paragraph a line, cells of tables side by side.
pub fn read(bytes: &[u8]) -> Result<Extracted, Refused> {
    let rules = with_decorator(TrivialDecorator::new()).no_table_borders().allow_width_overflow().no_link_wrapping();
    let text = rules.string_from_read(bytes, WIDTH);
    let text =
        text.map_err(|error| (format!("it cannot be read as HTML: {error}"), "save the page as text".to_owned()))?;
    // the library strikes letters out by a mark behind each
    let text = text.replace('\u{336}', "");
    let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
    Ok(Extracted { pages: vec![lines.join("\n").trim().to_owned()], warnings: Vec::new() })
}
