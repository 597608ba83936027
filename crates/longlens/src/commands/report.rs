//! `longlens report`: the finished samples of a folder as one page that fetches nothing.

use std::path::PathBuf;

use longlens_app::report::{Report, name_of, tables};
use longlens_app::results::Results;

use crate::args::{ReportArgs, ThemeArg};
use crate::failure::Failure;
use crate::inputs::spare_files;
use crate::terminal::{Terminal, check_writable, write_file};

pub fn run(args: &ReportArgs) -> Result<(), Failure> {
    let terminal = Terminal::new(args.json);
    let out = args.out.clone().unwrap_or_else(|| args.folder.join("report.html"));
    if !args.folder.is_dir() {
        return Err(Failure::usage(
            format!("{} is no folder", args.folder.display()),
            "name the folder that `longlens evaluate --out DIR` or `longlens sweep` kept samples in".to_owned(),
        ));
    }
    if out.extension().is_none_or(|ending| !ending.eq_ignore_ascii_case("html")) {
        return Err(Failure::usage(
            format!("{} would hold a page", out.display()),
            "give --out a name that ends in .html".to_owned(),
        ));
    }
    let results = Results::read(&args.folder).map_err(Failure::met)?;
    let files: Vec<PathBuf> = results.files();
    spare_files(&out, &files.iter().map(PathBuf::as_path).collect::<Vec<_>>())?;
    let records = results.records().map_err(Failure::met)?;
    if records.is_empty() {
        return Err(Failure::failed(
            format!("{} holds no finished samples", args.folder.display()),
            Some("run some there first: longlens evaluate TASK --out DIR".to_owned()),
        ));
    }
    check_writable(&out)?;
    if args.json {
        terminal.result(&tables(&records))?;
    }
    let theme = match args.theme {
        ThemeArg::Auto => None,
        ThemeArg::Light => Some("light"),
        ThemeArg::Dark => Some("dark"),
    };
    let report = Report { name: &name_of(&args.folder), records: &records, theme };
    let did = if out.exists() { "replaced" } else { "wrote" };
    let html = report.html();
    write_file(&out, html.as_bytes())?;
    let size = longlens_app::bytes::text(html.len());
    terminal.note(format_args!("{did} {}: {} samples, {size}", out.display(), records.len()))
}
