//! `longlens plot`: any view of a prompt under a method, and what the commands that show one view each share.

use std::fmt::Write;
use std::sync::Arc;

use longlens_app::Problem;
use longlens_app::prompt::shown_pieces;
use longlens_app::views::{self, Cell, ENDINGS, Plot, Subject, TRACE_VIEWS, Table, TraceView};
use longlens_core::lens::{Control, Lens, ModelInfo, Rows, Setup};
use longlens_core::setting::{Info, Setting};
use longlens_core::trace::{RowPick, Trace};
use serde_json::{Value, json};

use crate::args::{PlotArgs, PromptArgs};
use crate::commands::methods;
use crate::config::RunConfig;
use crate::failure::Failure;
use crate::kept;
use crate::prompt::{self, PromptTokens};
use crate::terminal::Terminal;

/// Letters of a cell that are printed.
const SHOWN_LETTERS: usize = 80;
/// Rows of a table that are printed.
pub const SHOWN_ROWS: usize = 64;
/// Heads of them that are printed where there are more.
pub const SHOWN_HEADS: usize = 20;

pub fn run(args: &PlotArgs) -> Result<(), Failure> {
    let Some(text) = &args.view else { return list(args.common.json) };
    let (view, options) = views::parse(text)?;
    let config = RunConfig::new(&args.common)?;
    let terminal = Terminal::new(config.json);
    let file = super::file(config.out.as_deref(), &format!("{}.png", view.info().name), &ENDINGS)?;
    crate::inputs::spare(&config, file.as_slice(), &[prompt::given(&args.prompt, &config).file.as_deref()])?;
    let looks = Looks { is_page: super::is_page(file.as_deref()), ..Looks::default() };
    let Viewed { view, .. } = viewed(&terminal, &config, &args.prompt, view, &options, looks)?;
    // larger than what it is made of: it is made only where somebody reads it
    let table = (config.json || file.is_none()).then(|| view.table()).flatten();
    if config.json {
        let mut about = view.about.clone();
        about.insert("text".into(), json!(view.text));
        about.insert("table".into(), json!(table.as_ref().map(Table::to_json)));
        terminal.result(&about)?;
    }
    terminal.say(&view.text)?;
    if let Some(table) = table.filter(|_| !config.json) {
        terminal.say(printed(&table).trim_end())?;
    }
    match &file {
        Some(path) => super::save_view(&terminal, &view.on(args.theme.into()), path),
        None if config.json => Ok(()),
        None => terminal.note(format_args!("give --out FILE.{} to write it", ENDINGS.join(", ."))),
    }
}

/// A prompt that ran once with what a view records of it.
pub struct Viewed {
    /// What it ran on.
    pub lens: Box<dyn Lens>,
    /// Its tokens; of a needle prompt also those of the right answer but for the last, which fetch it.
    pub prompt: PromptTokens,
    /// How it ran.
    pub setup: Setup,
    /// What was recorded.
    pub trace: Arc<Trace>,
    /// What was made of it.
    pub view: Plot,
}

impl Viewed {
    /// The sequence that was looked at.
    pub fn subject(&self) -> Subject<'_> {
        subject(self.lens.model(), &self.prompt, &self.setup)
    }
}

/// What is looked at beside what the view records.
#[derive(Debug, Clone, Copy, Default)]
pub struct Looks {
    /// Of a map, the attention of this query on every key.
    pub row: Option<usize>,
    /// Whether the view becomes a page, which looks at the sequence once more.
    pub is_page: bool,
    /// Whether tokens were taken over with their queries, so that they are looked at once all are there.
    pub later: bool,
}

/// Runs the prompt of the flags, and records what a view needs and what is looked at beside.
pub fn viewed(
    terminal: &Terminal,
    config: &RunConfig,
    prompt: &PromptArgs,
    view: &dyn TraceView,
    options: &Setting,
    mut looks: Looks,
) -> Result<Viewed, Failure> {
    let mut config = config.clone();
    let (kept, config) = (kept::file(&mut config, prompt)?, &config);
    let mut lens = super::open(terminal, config)?;
    kept::check_model(kept.as_ref(), lens.as_ref())?;
    let mut prompt = prompt::build(terminal, prompt, config, lens.as_ref())?;
    let n_prompt = prompt.tokens.len();
    // of a hidden key, the tokens that fetch it can be looked at; they follow the prompt
    prompt.tokens.extend(&prompt.answer);
    let mut setup = config.setup(lens.model(), n_prompt)?;
    super::warn(terminal, config, lens.model(), &setup.plan, n_prompt)?;
    looks.later = kept.as_ref().is_some_and(|file| file.about.queries);
    setup.keep_queries |= looks.later || looks.is_page;
    lens = kept::go_on(lens, kept, &setup, &prompt.tokens[..n_prompt])?;
    let mut progress = terminal.progress("prefill");
    let (trace, view) = record(lens.as_mut(), &prompt, &mut setup, view, options, looks, &mut progress)?;
    drop(progress);
    Ok(Viewed { lens, prompt, setup, trace, view })
}

/// The same on a lens that is open; tokens beyond the prompt of `setup` are fed one by one.
pub fn record(
    lens: &mut dyn Lens,
    prompt: &PromptTokens,
    setup: &mut Setup,
    view: &dyn TraceView,
    options: &Setting,
    looks: Looks,
    control: &mut dyn Control,
) -> Result<(Arc<Trace>, Plot), Failure> {
    let model = &lens.model().clone();
    setup.watch = view.watch(&subject(model, prompt, setup), options)?;
    if let Some((query, map)) = looks.row.zip(setup.watch.maps.first()) {
        setup.watch.rows.push(RowPick { layer: map.layer, head: map.head, query });
    }
    setup.keep_queries |= looks.is_page;
    setup.watch.beyond = prompt.tokens.len() - setup.n_prompt;
    let later = looks.later.then(|| std::mem::take(&mut setup.watch));
    lens.begin(setup)?;
    let (of_prompt, beyond) = prompt.tokens.split_at(setup.n_prompt);
    // logits are asked for as they are checked: weights that are not finite make no picture
    lens.feed(of_prompt, Rows::Last, control)?;
    for token in beyond {
        lens.feed(&[*token], Rows::Last, control)?;
    }
    let mut trace = lens.trace();
    if let Some(watch) = later {
        trace = Trace { run: trace.run, ..lens.inspect(&watch, control)? };
    }
    let trace = Arc::new(trace);
    let pieces = lens.text().and_then(|codec| shown_pieces(&prompt.tokens, codec)).unwrap_or_default();
    let subject = Subject { pieces: &pieces, ..subject(model, prompt, setup) };
    let plot = view.view(&subject, options, &trace)?;
    if !looks.is_page {
        return Ok((trace, plot));
    }
    let page = subject.page(view, options, &mut |watch| lens.inspect(watch, control).map_err(Problem::from))?;
    Ok((trace, plot.with_page(page)))
}

fn subject<'a>(model: &'a ModelInfo, prompt: &'a PromptTokens, setup: &'a Setup) -> Subject<'a> {
    let subject = Subject::new(model, setup, prompt.tokens.len(), prompt.needle.clone());
    Subject { passages: &prompt.passages, ..subject }
}

/// Every view with its options.
fn list(json: bool) -> Result<(), Failure> {
    let terminal = Terminal::new(json);
    let infos: Vec<&Info> = TRACE_VIEWS.iter().map(|view| view.info()).collect();
    terminal.result(&infos.iter().map(|info| methods::describe_json(info)).collect::<Vec<Value>>())?;
    let mut text = String::from("Views of a prompt\n\n");
    for info in infos {
        methods::describe(info, &mut text);
    }
    text.push_str(
        "Write a view as `name:key=value,key=value`, as in `longlens plot attention:layer=3,head=1 --needle 1k`.",
    );
    if json { Ok(()) } else { terminal.say(text) }
}

/// A cell on one line, shortened where it is long.
fn cell(cell: &Cell) -> String {
    let text = cell.to_string().split_whitespace().collect::<Vec<_>>().join(" ");
    match text.char_indices().nth(SHOWN_LETTERS) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text,
    }
}

/// A long table of heads with the most telling ones first: those with the highest number, of an entropy the lowest.
fn ranked(table: &Table) -> Option<(Table, String)> {
    let [layer, head, by, ..] = &table.columns[..] else { return None };
    let number = |row: &Vec<Cell>| match row[2] {
        Cell::Single(number) => f64::from(number),
        Cell::Double(number) => number,
        _ => f64::NAN,
    };
    // a row a head, with a number each
    let is_of_heads =
        (layer.name, head.name) == ("layer", "head") && !table.rows.iter().all(|row| number(row).is_nan());
    if !is_of_heads || table.rows.len() <= SHOWN_ROWS {
        return None;
    }
    let is_low = by.name == "entropy";
    let mut rows: Vec<_> = table.rows.iter().filter(|row| !number(row).is_nan()).cloned().collect();
    rows.sort_by(|a, b| if is_low { number(a).total_cmp(&number(b)) } else { number(b).total_cmp(&number(a)) });
    rows.truncate(SHOWN_HEADS);
    let which = if is_low { "lowest" } else { "highest" };
    let said = format!("the {} of {} heads with the {which} {}:\n", rows.len(), table.rows.len(), by.name);
    Some((Table { columns: table.columns.clone(), rows }, said))
}

/// The first rows in aligned columns, of many heads the most telling.
fn printed(table: &Table) -> String {
    let (ranked, said) = ranked(table).unzip();
    let n_left = ranked.as_ref().map_or(0, |ranked| table.rows.len() - ranked.rows.len());
    let table = ranked.as_ref().unwrap_or(table);
    let names = table.columns.iter().map(|column| match column.unit {
        "" => column.name.to_owned(),
        unit => format!("{} ({unit})", column.name),
    });
    let mut lines = vec![names.collect::<Vec<_>>()];
    lines.extend(table.rows.iter().take(SHOWN_ROWS).map(|row| row.iter().map(cell).collect()));
    let width = |at: usize| lines.iter().map(|line| line[at].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..table.columns.len()).map(width).collect();
    // numbers stand under each other, words begin at the left
    let is_text = |at: usize| table.rows.first().is_some_and(|row| matches!(row[at], Cell::Text(_)));
    let is_words: Vec<bool> = (0..table.columns.len()).map(is_text).collect();
    let mut text = said.unwrap_or_default();
    for line in &lines {
        let cells = line.iter().zip(&widths).zip(&is_words).map(|((cell, width), is_words)| {
            if *is_words { format!("{cell:<width$}") } else { format!("{cell:>width$}") }
        });
        text += &(cells.collect::<Vec<_>>().join("  ").trim_end().to_owned() + "\n");
    }
    if let more @ 1.. = n_left.max(table.rows.len().saturating_sub(SHOWN_ROWS)) {
        let _ = writeln!(text, "and {more} more rows: --out FILE.csv or --json has them");
    }
    text
}
