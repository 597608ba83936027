//! `longlens results`: the finished samples of a folder as scores, in SQL, and in the formats of other programs.

use std::path::Path;

use longlens_app::Problem;
use longlens_app::export::{Format, check, export};
use longlens_app::report::name_of;
use longlens_app::results::columns::{Column, SAMPLES, SCORES};
use longlens_app::results::{Answer, Results};
use longlens_eval::evaluate::{Summary, means};
use serde_json::{Value, json};

use super::evaluate::table::blocks;
use crate::args::ResultsArgs;
use crate::failure::Failure;
use crate::inputs::spare_files;
use crate::terminal::Terminal;

#[cfg(feature = "sql")]
mod text;

/// Rows of a table that a terminal shows unless asked for more.
#[cfg(feature = "sql")]
const ROWS: usize = 40;

pub fn run(args: &ResultsArgs) -> Result<(), Failure> {
    let terminal = Terminal::new(args.json);
    let Some(folder) = &args.folder else { return schema(&terminal, args) };
    if !folder.is_dir() {
        return Err(Failure::usage(
            format!("{} is no folder", folder.display()),
            "name the folder that `longlens evaluate --out DIR` or `longlens sweep` kept samples in".to_owned(),
        ));
    }
    if args.schema {
        return schema(&terminal, args);
    }
    match (&args.sql, args.export.zip(args.to.as_deref())) {
        (Some(sql), _) => ask(&terminal, args, folder, sql),
        (None, Some((format, to))) => write(&terminal, folder, format, to),
        (None, None) => list(&terminal, args, folder),
    }
}

fn nothing(folder: &Path) -> Failure {
    Failure::failed(
        format!("{} holds no finished samples", folder.display()),
        Some("run some there first: longlens evaluate TASK --out DIR".to_owned()),
    )
}

/// The scores, as `evaluate` prints them.
fn list(terminal: &Terminal, args: &ResultsArgs, folder: &Path) -> Result<(), Failure> {
    let (summary, n_samples) = summary(terminal, folder)?;
    if n_samples == 0 {
        return Err(nothing(folder));
    }
    if args.csv {
        return csv(terminal, &Answer::of(SCORES, &summary.rows));
    }
    terminal.result(&json!({ "rows": summary.rows, "means": means(&summary.rows) }))?;
    blocks(&summary).iter().try_for_each(|block| terminal.say(block))?;
    terminal.note(format_args!("{n_samples} samples"))
}

#[cfg(feature = "sql")]
fn index(terminal: &Terminal, folder: &Path) -> Result<longlens_app::results::Index, Failure> {
    let mut progress = terminal.progress("samples are read");
    let index = longlens_app::results::Index::open(folder, &mut progress);
    drop(progress);
    index.map_err(|problem| if terminal.is_cancelled() { Failure::interrupted() } else { Failure::met(problem) })
}

#[cfg(feature = "sql")]
fn summary(terminal: &Terminal, folder: &Path) -> Result<(Summary, usize), Failure> {
    let index = index(terminal, folder)?;
    Ok((index.summary().map_err(Failure::met)?, index.len()))
}

#[cfg(not(feature = "sql"))]
fn summary(_: &Terminal, folder: &Path) -> Result<(Summary, usize), Failure> {
    let records = Results::read(folder).and_then(|results| results.records()).map_err(Failure::met)?;
    Ok((longlens_eval::evaluate::summarize(&records), records.len()))
}

#[cfg(feature = "sql")]
fn ask(terminal: &Terminal, args: &ResultsArgs, folder: &Path, sql: &str) -> Result<(), Failure> {
    use longlens_app::results::Asked;
    let cancel = longlens_core::lens::CancelToken::default();
    terminal.stops(&cancel);
    let mut index = index(terminal, folder)?;
    if index.is_empty() {
        return Err(nothing(folder));
    }
    let asked = Asked { sql, timeout: std::time::Duration::from_secs_f64(args.timeout), cancel: &cancel };
    let answer = index.ask(&asked).map_err(|refusal| {
        if terminal.is_cancelled() {
            return Failure::interrupted();
        }
        let Problem { message, help } = refusal.problem;
        if !refusal.is_usage {
            return Failure::failed(message, help);
        }
        let failure = Failure::usage(message, help);
        match refusal.place {
            Some(place) => failure.at(Path::new("SQL"), sql, place),
            None => failure,
        }
    })?;
    tell(terminal, args, &answer)
}

#[cfg(not(feature = "sql"))]
fn ask(_: &Terminal, _: &ResultsArgs, _: &Path, _: &str) -> Result<(), Failure> {
    Err(Failure::failed(
        "this build of longlens has no SQL",
        Some("build it with the feature `sql`, or write the samples with --export and ask another program".to_owned()),
    ))
}

/// An answer as it was asked for: JSON, CSV or a table.
#[cfg(feature = "sql")]
fn tell(terminal: &Terminal, args: &ResultsArgs, answer: &Answer) -> Result<(), Failure> {
    use std::io::IsTerminal;
    if args.json {
        return terminal.result(answer);
    }
    if args.csv {
        return csv(terminal, answer);
    }
    let is_terminal = std::io::stdout().is_terminal();
    let n_rows = args.rows.unwrap_or(if is_terminal { ROWS } else { usize::MAX });
    let width = if is_terminal { usize::from(console::Term::stdout().size().1) } else { usize::MAX };
    let table = text::Table::of(answer, n_rows, width);
    terminal.say(&table.text)?;
    if table.left_out.is_empty() { Ok(()) } else { terminal.note(table.left_out.join("; ")) }
}

/// What others read is written as it is; a terminal is shown what would command it.
fn csv(terminal: &Terminal, answer: &Answer) -> Result<(), Failure> {
    terminal.stream(&String::from_utf8_lossy(&answer.csv()))
}

fn write(terminal: &Terminal, folder: &Path, format: Format, to: &Path) -> Result<(), Failure> {
    if to == Path::new("-") {
        return Err(Failure::usage(
            "--to names a file or a folder, and `-` would be one of this name",
            "--csv and --json print scores and answers; --to results.csv writes a file".to_owned(),
        ));
    }
    let results = Results::read(folder).map_err(Failure::met)?;
    let files = results.files();
    spare_files(to, &files.iter().map(std::path::PathBuf::as_path).collect::<Vec<_>>())?;
    check(format, to)?;
    let records = results.records().map_err(Failure::met)?;
    if records.is_empty() {
        return Err(nothing(folder));
    }
    let written = export(format, &name_of(folder), &records, to).map_err(Failure::met)?;
    terminal.result(&json!({
        "format": format.name(), "to": to, "samples": records.len(), "files": written.n_files, "replaced": written.is_replaced,
    }))?;
    let did = if written.is_replaced { "replaced" } else { "wrote" };
    let files = if written.n_files == 1 { "1 file".to_owned() } else { format!("{} files", written.n_files) };
    terminal.note(format_args!("{did} {}: {} samples as {}, {files}", to.display(), records.len(), format.name()))?;
    match format {
        Format::Wandb | Format::Trackio => {
            let script = to.join("import.py");
            terminal.note(format_args!("log it: python3 {}", script.display()))
        }
        Format::Tensorboard => terminal.note(format_args!("look at it: tensorboard --logdir {}", to.display())),
        _ => Ok(()),
    }
}

/// The columns of both tables.
fn schema(terminal: &Terminal, args: &ResultsArgs) -> Result<(), Failure> {
    let tables = [
        ("samples", "a row for each finished sample", told(SAMPLES)),
        (
            "scores",
            "a row for each model, task, length, part and method: what is listed without a question",
            told(SCORES),
        ),
    ];
    if args.json {
        let of = |(name, doc, columns): &(&str, &str, Vec<[&'static str; 3]>)| {
            let columns: Vec<Value> =
                columns.iter().map(|[name, kind, doc]| json!({ "name": name, "type": kind, "doc": doc })).collect();
            json!({ "table": name, "doc": doc, "columns": columns })
        };
        return terminal.result(&tables.iter().map(of).collect::<Vec<_>>());
    }
    let width = tables.iter().flat_map(|(.., columns)| columns).map(|[name, ..]| name.len()).max().unwrap_or(0);
    let blocks = tables.iter().map(|(name, doc, columns)| {
        let lines = columns.iter().map(|[name, kind, doc]| format!("  {name:<width$}  {kind:<7}  {doc}"));
        [format!("{name}: {doc}")].into_iter().chain(lines).collect::<Vec<_>>().join("\n")
    });
    terminal.say(blocks.collect::<Vec<_>>().join("\n\n"))
}

fn told<T>(columns: &[Column<T>]) -> Vec<[&'static str; 3]> {
    columns.iter().map(|column| [column.name, column.kind.name(), column.doc]).collect()
}
