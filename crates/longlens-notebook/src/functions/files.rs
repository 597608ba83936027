//! Files: results are saved by their ending, and loaded again.

use std::path::Path;

use rhai::plugin::*;
use rhai::{Array, Dynamic, Map};

use crate::host::files::{MAX_BYTES, is_obeyed};
use crate::host::{Host, Returned, raise, refuse};
use crate::options::Options;
use crate::table::{Table as Rows, parsed_bytes};
use crate::values::data::{from_json, to_json};
use crate::values::size;
use crate::values::{Figure, Interactive, Prompt, Table, Trace, text};
use longlens_app::views;
use longlens_app::{Problem, npz};

#[export_module]
#[allow(clippy::needless_pass_by_value)] // the macro hands values over
pub mod functions {
    use rhai::{Dynamic, Map};

    use crate::host::{Returned, host};

    /// Saves a value; the file's ending says how: tables as `.csv`, `.json`, `.jsonl`, `.parquet`; pictures (also of tables)
    /// as `.png`, `.svg`, and as `.html`, a page that answers to mouse and keys; the numbers behind a picture or a trace as `.npz`; prompts and texts as they are, as `.txt`, `.md`, `.log`,
    /// `.tex`, `.csv`, `.tsv`, `.json`, `.jsonl` or `.rhai`; anything else as `.json`. Returns the path. A file that cells did not
    /// write, or that was changed since, is not replaced, and no file is written that other programs take for one of theirs.
    ///
    /// ```rhai
    /// save(table(#{ n: [1, 2] }), "results/numbers.csv")
    /// ```
    #[rhai_fn(name = "save", return_raw)]
    pub fn save(context: NativeCallContext, value: Dynamic, path: &str) -> Returned<String> {
        super::save(&host(&context), &value, path, Map::new())
    }

    /// The same with options: `overwrite: true` replaces results that cells did not write (`.csv`, `.jsonl`, `.parquet`, `.png`,
    /// `.svg`, `.npz`), and says so.
    ///
    /// ```rhai
    /// save(table(#{ n: [1, 2] }), "numbers.csv", #{ overwrite: true })
    /// ```
    #[rhai_fn(name = "save", return_raw)]
    pub fn save_with(context: NativeCallContext, value: Dynamic, path: &str, options: Map) -> Returned<String> {
        super::save(&host(&context), &value, path, options)
    }

    /// Loads what `save` wrote: `.csv`, `.jsonl` and `.parquet` as tables, `.json` as a table where it is a list of objects,
    /// anything else as text.
    ///
    /// ```rhai
    /// save(table(#{ n: [1, 2] }), "numbers.parquet");
    /// load("numbers.parquet").len()
    /// ```
    #[rhai_fn(name = "load", return_raw)]
    pub fn load(context: NativeCallContext, path: &str) -> Returned<Dynamic> {
        super::load(&host(&context), path)
    }

    /// Names of the files in a folder.
    ///
    /// ```rhai
    /// files(".")
    /// ```
    #[rhai_fn(name = "files", return_raw)]
    pub fn files(context: NativeCallContext, folder: &str) -> Returned<rhai::Array> {
        super::files(&host(&context), folder)
    }
}

/// Endings under which cells save any text: nothing runs what such files hold, or cells do, under the same limits.
const TEXTS: [&str; 9] = ["txt", "md", "log", "tex", "csv", "tsv", "json", "jsonl", "rhai"];

/// Refuses a name under which what a cell says would be run, or obeyed, by another program.
pub fn check_data(host: &Host, name: &str, is_text: bool) -> Returned<()> {
    const HELP: &str = "; start with --allow-outside to lift that";
    let ending = ending(name);
    let file = Path::new(name).file_name().unwrap_or_default().to_string_lossy().to_lowercase();
    let is_hidden = Path::new(name).iter().any(|part| part != ".." && part.to_string_lossy().starts_with('.'));
    // hidden files are refused for that, whatever they hold
    if host.files().is_anywhere() || is_hidden {
        return Ok(());
    }
    if is_obeyed(&name.to_lowercase().replace('\\', "/")) {
        return refuse(
            format!("other programs take orders from a file named `{file}`"),
            format!("choose another name{HELP}"),
        );
    }
    if is_text && !TEXTS.contains(&ending.as_str()) {
        let what = if ending.is_empty() { "without an ending".to_owned() } else { format!("as `.{ending}`") };
        let endings = TEXTS.map(|ending| format!(".{ending}")).join(", ");
        return refuse(
            format!("cells save no text {what}: other programs may run it"),
            format!("end the name in one of {endings}{HELP}"),
        );
    }
    Ok(())
}

fn save(host: &Host, value: &Dynamic, name: &str, options: Map) -> Returned<String> {
    let mut options = Options::new("save", options, &["overwrite"])?;
    let overwrite = options.flag("overwrite")?.unwrap_or(false);
    let value = value.flatten_clone();
    let ending = ending(name);
    // a text is copied once, what is put into words more often
    let n_copies = if value.is_string() { 1 } else { 4 };
    host.room_for(n_copies * size::written(&value))?;
    check_data(host, name, value.is_string() || value.is::<Prompt>())?;
    let bytes = if let Some(table) = value.clone().try_cast::<Table>() {
        table_bytes(&table, &ending)?
    } else if let Some(figure) = value.clone().try_cast::<Figure>() {
        let plot = if ending == "html" { figure.with_page(host)? } else { figure.0.clone() };
        plot.bytes(&ending).map_err(raise)?
    } else if let Some(interactive) = value.clone().try_cast::<Interactive>() {
        interactive.0.bytes(&ending).map_err(raise)?
    } else if let Some(trace) = value.clone().try_cast::<Trace>() {
        trace_bytes(&trace, &ending)?
    } else if let Some(prompt) = value.clone().try_cast::<Prompt>() {
        prompt.model.text(|codec| codec.decode(&prompt.built.tokens).map_err(raise))?.into_bytes()
    } else if let Ok(text) = value.clone().into_string() {
        text.into_bytes()
    } else if ending == "json" {
        serde_json::to_vec_pretty(&to_json(&value)).unwrap_or_default()
    } else if ending == "txt" {
        text(&value).into_bytes()
    } else {
        return refuse(format!("cannot write this value as `.{ending}`"), "end the name in .json or .txt");
    };
    if host.files().save(name, &bytes, overwrite).map_err(raise)? {
        host.note(&format!("`{name}` was there already; cells had not written it"));
    }
    Ok(host.files().shown(name))
}

/// Endings of the files that a table can be written as.
const TABLE_ENDINGS: [&str; 7] = ["csv", "json", "jsonl", "parquet", "txt", "png", "svg"];

pub fn ending(name: &str) -> String {
    Path::new(name).extension().map(|ending| ending.to_string_lossy().to_lowercase()).unwrap_or_default()
}

fn trace_bytes(trace: &Trace, ending: &str) -> Returned<Vec<u8>> {
    let mut view = trace.0.layers()?;
    view.arrays.push(npz::Array::list("nll", trace.0.nll.clone()));
    view.bytes(ending).map_err(raise)
}

fn table_bytes(table: &Table, ending: &str) -> Returned<Vec<u8>> {
    let rows = &table.0.table;
    match ending {
        "csv" => rows.to_csv().map_err(raise),
        "json" => Ok(rows.to_json()),
        "jsonl" => Ok(rows.to_json_lines()),
        "parquet" => rows.to_parquet().map_err(raise),
        "txt" => Ok(rows.to_text(usize::MAX, usize::MAX).into_bytes()),
        "png" | "svg" => match &table.0.figure {
            Some(figure) => views::picture(figure.as_ref(), ending, &TABLE_ENDINGS).map_err(raise),
            None => {
                refuse("this table has no picture", "draw it first, as in plot(table, #{ x: \"length\", y: \"loss\" })")
            }
        },
        _ => refuse(
            format!("cannot write a table as `.{ending}`"),
            format!("end the name in .{}", TABLE_ENDINGS.join(", .")),
        ),
    }
}

/// The text of a file.
pub fn read_text(host: &Host, name: &str) -> Returned<String> {
    longlens_eval::text::decode(read(host, name)?)
        .map_err(|error| raise(Problem::new(format!("cannot read `{name}` as text: {error}"), error.help(name))))
}

/// The bytes of a file that cells may read.
pub fn read(host: &Host, name: &str) -> Returned<Vec<u8>> {
    host.files().read(name, MAX_BYTES).map_err(raise)
}

fn load(host: &Host, name: &str) -> Returned<Dynamic> {
    let ending = ending(name);
    if ending == "csv" {
        // a text in another encoding is told as such
        let text = read_text(host, name)?;
        return Rows::from_csv(text.as_bytes()).map(|rows| Dynamic::from(Table::plain(rows))).map_err(raise);
    }
    let bytes = read(host, name)?;
    let table = |rows: Rows| Dynamic::from(Table::plain(rows));
    match ending.as_str() {
        "jsonl" => match rows_of_sweep(&bytes) {
            Some(rows) => Ok(table(rows)),
            None => Rows::from_json_lines(&bytes).map(table).map_err(raise),
        },
        "parquet" => Rows::from_parquet(&bytes).map(table).map_err(raise),
        "json" => {
            host.room_for(2 * parsed_bytes(&bytes))?;
            let json: serde_json::Value = serde_json::from_slice(&bytes)
                .map_err(|error| raise(Problem::new(format!("`{name}` is not JSON: {error}"), None)))?;
            let is_rows =
                json.as_array().is_some_and(|rows| !rows.is_empty() && rows.iter().all(serde_json::Value::is_object));
            if is_rows { Rows::from_json(&bytes).map(table).map_err(raise) } else { Ok(from_json(&json)) }
        }
        "png" | "svg" | "npz" => refuse(format!("`{name}` is a picture or an archive"), "load tables, JSON or text"),
        _ => Ok(read_text(host, name)?.into()),
    }
}

/// The rows in a sweep's own file, which has a line with key and rows for each point; nothing for any other file.
fn rows_of_sweep(bytes: &[u8]) -> Option<Rows> {
    let mut rows = Vec::new();
    for line in String::from_utf8_lossy(bytes).lines() {
        let line: serde_json::Value = serde_json::from_str(line).ok()?;
        line.get("key").filter(|key| key.is_string())?;
        rows.extend(line.get("rows")?.as_array()?.iter().cloned());
    }
    Rows::from_json(serde_json::Value::from(rows).to_string().as_bytes()).ok()
}

fn files(host: &Host, folder: &str) -> Returned<Array> {
    let names = host.files().list(folder).map_err(raise)?;
    Ok(names.into_iter().map(|(name, _)| Dynamic::from(name)).collect())
}
