//! The language as its users meet it: errors, variables, limits, methods, tables, sweeps, lines for the session.

#![allow(clippy::too_many_lines)] // what cells say stands beside them

mod common;

#[path = "language/errors.rs"]
mod errors;
#[path = "language/functions.rs"]
mod functions;
#[path = "language/harm.rs"]
mod harm;
#[path = "language/kept.rs"]
mod kept;
#[path = "language/limits.rs"]
mod limits;
#[path = "language/methods.rs"]
mod methods;
#[path = "language/models.rs"]
mod models;
#[path = "language/speed.rs"]
mod speed;
#[path = "language/sweeps.rs"]
mod sweeps;
#[path = "language/tables.rs"]
mod tables;
#[path = "language/tasks.rs"]
mod tasks;
#[path = "language/values.rs"]
mod values;

use common::Rig;

/// What cells say, one after the other.
fn transcript(rig: &mut Rig, cells: &[&str]) -> String {
    let folder = rig.folder.path().canonicalize().unwrap().display().to_string();
    let said = cells.iter().map(|cell| {
        let said = rig.say(cell).replace(&folder, "FOLDER");
        let is_size = |line: &&str| line.starts_with("memory ");
        let size = said.lines().find(is_size).map(str::to_owned);
        let said = size.map_or(said.clone(), |size| said.replace(&size, "memory SIZE"));
        format!("> {}\n{said}", cell.replace('\n', "\n. ")).trim_end().to_owned()
    });
    said.collect::<Vec<_>>().join("\n")
}

/// The error of a cell, in one line: name, message, what the caret is under, help.
fn error(rig: &mut Rig, cell: &str) -> String {
    let error = rig.run(cell).expect_err(cell);
    let under = error.place.map_or(String::new(), |place| {
        let word: String = place.text.chars().skip(place.column - 1).take(place.len).collect();
        format!(" [{}: {word}]", place.line)
    });
    let help = error.help.map_or(String::new(), |help| format!(" ({help})"));
    format!("{}: {}{under}{help}", error.name, error.message)
}
