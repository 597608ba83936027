//! Every command of the workbench with its name, keys and help. The key map, the palette, the help screen and the
//! README's list of keys are made from this table.

use std::fmt::Write;
use std::sync::LazyLock;

use longlens_core::methods::METHODS;
use ratatui::crossterm::event::KeyEvent;

use crate::keys;
use crate::panes::VIEWS;

/// A thing that can be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Command {
    /// The method at this place of the catalog.
    Method(usize),
    /// What a change of method does with the cache.
    SwapMode,
    /// Runs the same again.
    Rerun,
    /// Stops what is computed.
    Cancel,
    /// Takes back a change of parameters.
    Undo,
    /// Takes back an undo.
    Redo,
    /// The needle builder.
    Needle,
    /// A document and a question about it.
    AskDocument,
    /// A prompt from a file.
    OpenFile,
    /// A prompt to type.
    TypeText,
    /// One query token on.
    NextQuery,
    /// One query token back.
    PreviousQuery,
    /// Sixteen query tokens on.
    FarNextQuery,
    /// Sixteen query tokens back.
    FarPreviousQuery,
    /// The query that matters most.
    DefaultQuery,
    /// The best head, and then the next best.
    BestHead,
    /// Another order of heads.
    HeadOrder,
    /// The selected head's output is zeros, or not.
    SwitchHead,
    /// No head is changed.
    WholeHeads,
    /// The next head.
    NextHead,
    /// The head before.
    PreviousHead,
    /// The next layer.
    NextLayer,
    /// The layer before.
    PreviousLayer,
    /// The view at this place.
    View(usize),
    /// A second view beside the first, or not.
    Split,
    /// The next pane.
    NextPane,
    /// The pane before.
    PreviousPane,
    /// Nearer.
    ZoomIn,
    /// Farther.
    ZoomOut,
    /// All of it.
    ZoomReset,
    /// Logarithmic or linear colors.
    LogScale,
    /// Largest or mean weight of a cell.
    MaxPooling,
    /// Loss or attention behind the tokens.
    TokenColor,
    /// Output or log.
    Log,
    /// A grid of pass keys or of another task.
    Grid,
    /// Keeps a run, or not.
    Pin,
    /// Names a run.
    Rename,
    /// Marks a run for the comparison.
    Compare,
    /// Forgets a run.
    Forget,
    /// Back to the settings and prompt of a run.
    Restore,
    /// Files of the current view.
    Export,
    /// A config file.
    SaveConfig,
    /// The steps so far as notebook cells or a script.
    Record,
    /// Every command by name.
    Palette,
    /// Every key.
    Help,
    /// The next theme.
    Theme,
    /// Real images, or half blocks.
    Images,
    /// Whether the mouse belongs to the program.
    Mouse,
    /// Ends the program.
    Quit,
    /// Up.
    Up,
    /// Down.
    Down,
    /// Left, or less.
    Left,
    /// Right, or more.
    Right,
    /// Far left, or to the next lower power of two.
    FarLeft,
    /// Far right, or to the next power of two.
    FarRight,
    /// A page up.
    PageUp,
    /// A page down.
    PageDown,
    /// To the first.
    First,
    /// To the last.
    Last,
    /// Does what the focus means by it.
    Enter,
    /// Out of the edit, the dialog, the pane.
    Back,
}

/// One line of the table.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// What it does.
    pub command: Command,
    /// The name in the palette.
    pub name: String,
    /// Its keys, as they are written.
    pub keys: Vec<String>,
    /// One line of help.
    pub help: String,
    /// Where it belongs.
    pub group: &'static str,
}

/// Where entries belong, in the order of the lists of them.
const GROUPS: [&str; 8] = ["methods", "runs", "prompt", "look", "views", "files", "program", "moving"];

/// Every command.
pub static ENTRIES: LazyLock<Vec<Entry>> = LazyLock::new(entries);

fn entries() -> Vec<Entry> {
    let names: Vec<&str> = METHODS.iter().map(|method| method.info.name).collect();
    let methods = METHODS.iter().zip(letters(&names)).enumerate().map(|(at, (method, letter))| Entry {
        command: Command::Method(at),
        name: format!("method {}", method.info.name),
        keys: letter.into_iter().map(String::from).collect(),
        help: format!("{}: {}", method.info.title, method.info.summary),
        group: "methods",
    });
    let mut list: Vec<Entry> = methods.collect();
    let names: Vec<&str> = VIEWS.iter().map(|view| view.name()).collect();
    let views = VIEWS.iter().zip(signs(&names)).enumerate().map(|(at, (view, key))| Entry {
        command: Command::View(at),
        name: format!("view {}", view.name().to_lowercase()),
        keys: key.into_iter().map(String::from).collect(),
        help: view.help().to_owned(),
        group: "views",
    });
    let rest = REST.iter().map(|(command, name, keys, help, group)| Entry {
        command: *command,
        name: (*name).to_owned(),
        keys: keys.split_whitespace().map(str::to_owned).collect(),
        help: (*help).to_owned(),
        group,
    });
    list.extend(views);
    list.extend(rest);
    list.sort_by_key(|entry| GROUPS.iter().position(|group| *group == entry.group)); // stable
    list
}

/// Keys of one sign that commands have.
fn taken() -> impl Iterator<Item = char> {
    REST.iter().flat_map(|(_, _, keys, ..)| keys.split(' ')).filter_map(|key| key.parse().ok())
}

/// A key of its own for each view: digits, then the first small letter of its name that no command and no view before it has, else
/// the first free one of the alphabet. Views beyond the last free letter have no key; the palette finds them by name.
fn signs(names: &[&str]) -> Vec<Option<char>> {
    let mut taken: Vec<char> = taken().collect();
    let free = |(at, name): (usize, &&str)| {
        let digit = char::from_digit(at as u32 + 1, 10);
        let own = name.chars().filter(char::is_ascii_alphabetic).map(|letter| letter.to_ascii_lowercase());
        let letter = digit.or_else(|| own.chain('a'..='z').find(|letter| !taken.contains(letter)));
        taken.extend(letter);
        letter
    };
    names.iter().enumerate().map(free).collect()
}

/// A key of its own for each method: the first letter of its name that no command, no view and no method before it has, else the
/// first free letter of the alphabet. Methods beyond the last free letter have no key; the palette finds them by name.
fn letters(names: &[&str]) -> Vec<Option<char>> {
    let views: Vec<&str> = VIEWS.iter().map(|view| view.name()).collect();
    let mut taken: Vec<char> = taken().chain(signs(&views).into_iter().flatten()).collect();
    let free = |name: &&str| {
        let own = name.chars().filter(char::is_ascii_alphabetic).map(|letter| letter.to_ascii_uppercase());
        let letter = own.chain('A'..='Z').chain('a'..='z').find(|letter| !taken.contains(letter));
        taken.extend(letter);
        letter
    };
    names.iter().map(free).collect()
}

type Row = (Command, &'static str, &'static str, &'static str, &'static str);

const REST: &[Row] = &[
    (
        Command::SwapMode,
        "swap mode",
        "w",
        "re-prefill (exact) or reuse-kv (instant; older keys stay as they were)",
        "methods",
    ),
    (Command::Rerun, "run again", "r", "runs the prompt again with the same settings", "runs"),
    (
        Command::Cancel,
        "cancel",
        "ctrl-c",
        "stops what is computed; pressed again with nothing to stop, it asks to quit",
        "runs",
    ),
    (Command::Undo, "undo", "u ctrl-z", "takes back the last change of parameters", "methods"),
    (Command::Redo, "redo", "U ctrl-y", "takes back an undo", "methods"),
    (Command::Needle, "needle prompt", "n", "builds a prompt with a hidden pass key: length, depth, key", "prompt"),
    (
        Command::AskDocument,
        "ask about a document",
        "d",
        "a document and a question about it; another question where one is open",
        "prompt",
    ),
    (Command::OpenFile, "open file", "o", "takes a document without a question as the prompt", "prompt"),
    (
        Command::TypeText,
        "type prompt",
        "p",
        "types or pastes a prompt, or the turns of a conversation (ctrl-t)",
        "prompt",
    ),
    (Command::PreviousQuery, "query back", "[", "selects the token before as query", "look"),
    (Command::NextQuery, "query on", "]", "selects the next token as query", "look"),
    (Command::FarPreviousQuery, "query far back", "{", "16 tokens back", "look"),
    (Command::FarNextQuery, "query far on", "}", "16 tokens on", "look"),
    (
        Command::DefaultQuery,
        "query of the answer",
        "*",
        "selects the query that fetches the key, or the last token",
        "look",
    ),
    (
        Command::BestHead,
        "best head",
        "&",
        "selects the first head in the order of `t`, at first that with most attention on the needle; again, the next",
        "look",
    ),
    (
        Command::HeadOrder,
        "order of heads",
        "t",
        "lists heads by layer, needle attention (far attention without a needle), entropy, distance",
        "look",
    ),
    (
        Command::SwitchHead,
        "switch head",
        "x",
        "switches the selected head off (its output is zeros), or on again; `heads` in the controls says which are changed",
        "methods",
    ),
    (Command::WholeHeads, "all heads", "X", "takes back all changes of heads", "methods"),
    (Command::PreviousHead, "head back", "<", "selects the head before", "look"),
    (Command::NextHead, "head on", ">", "selects the next head", "look"),
    (Command::PreviousLayer, "layer back", "(", "selects the layer before", "look"),
    (Command::NextLayer, "layer on", ")", "selects the next layer", "look"),
    (Command::TokenColor, "token colours", "a", "behind the tokens: loss or attention", "look"),
    (Command::Split, "split", "|", "shows a second view beside the first", "views"),
    (Command::NextPane, "next pane", "tab", "moves the focus on", "views"),
    (Command::PreviousPane, "pane before", "shift-tab", "moves the focus back", "views"),
    (Command::ZoomIn, "zoom in", "+ =", "nearer; also the mouse wheel", "views"),
    (Command::ZoomOut, "zoom out", "-", "farther", "views"),
    (Command::ZoomReset, "zoom all", "0", "the whole map", "views"),
    (Command::LogScale, "log scale", "i", "logarithmic or linear colours", "views"),
    (Command::MaxPooling, "max pooling", "m", "largest or mean weight of a cell", "views"),
    (Command::Log, "log", "v", "shows the log in place of the output", "views"),
    (Command::Grid, "grid", "g", "runs the grid of pass keys, or of the control `task`; again to stop it", "runs"),
    (Command::Pin, "pin", "P", "keeps the selected run in comparisons and across starts", "runs"),
    (Command::Rename, "rename", "R", "names the selected run", "runs"),
    (Command::Compare, "compare", "c", "marks the selected run; two marked runs are compared", "runs"),
    (Command::Restore, "restore", "b", "goes back to settings and prompt of the selected run", "runs"),
    (Command::Forget, "forget", "delete", "forgets the selected run", "runs"),
    (Command::Export, "export", "e", "saves the view as PNG, SVG and CSV, its data as npz", "files"),
    (Command::SaveConfig, "save config", "s", "saves the settings as a TOML file that the commands take", "files"),
    (
        Command::Record,
        "record",
        "ctrl-r",
        "saves the steps so far as notebook cells (.rhai) or a script of commands (.sh)",
        "files",
    ),
    (Command::Palette, "palette", ": ctrl-p", "finds any of these by name", "program"),
    (Command::Help, "help", "? f1", "this list", "program"),
    (Command::Theme, "theme", "ctrl-t", "dark, light, high contrast", "program"),
    (Command::Images, "images", "ctrl-g", "real images where the terminal has them, or half blocks", "program"),
    (
        Command::Mouse,
        "mouse",
        "ctrl-x",
        "gives the mouse back to the terminal, to select text, and takes it again",
        "program",
    ),
    (Command::Quit, "quit", "q ctrl-q", "ends longlens; the session can be resumed", "program"),
    (Command::Up, "up", "up k", "selects the line above; pans the map", "moving"),
    (Command::Down, "down", "down j", "selects the line below; pans the map", "moving"),
    (Command::Left, "left", "left h", "a control: less, or the option before; elsewhere moves left", "moving"),
    (Command::Right, "right", "right l", "a control: more, or the next option; elsewhere moves right", "moving"),
    (Command::FarLeft, "far left", "shift-left", "a control: the power of two below; elsewhere far left", "moving"),
    (Command::FarRight, "far right", "shift-right", "a control: the power of two above; elsewhere far right", "moving"),
    (Command::PageUp, "page up", "pageup", "a page up", "moving"),
    (Command::PageDown, "page down", "pagedown", "a page down", "moving"),
    (Command::First, "first", "home", "to the first", "moving"),
    (Command::Last, "last", "end", "to the last", "moving"),
    (
        Command::Enter,
        "enter",
        "enter",
        "a control: types a value; Layers: shows the head; History: restores the run",
        "moving",
    ),
    (Command::Back, "back", "esc", "leaves an edit, a dialog, a selection", "moving"),
];

/// The command of a key, outside of dialogs and edits.
pub fn of_key(key: KeyEvent) -> Option<Command> {
    let name = keys::name(key)?;
    ENTRIES.iter().find(|entry| entry.keys.contains(&name)).map(|entry| entry.command)
}

/// The line of a command.
pub fn entry(command: Command) -> &'static Entry {
    ENTRIES.iter().find(|entry| entry.command == command).unwrap_or_else(|| panic!("{command:?} is in the table"))
}

/// The first key of a command; empty for a method that has none.
pub fn key(command: Command) -> &'static str {
    entry(command).keys.first().map_or("", String::as_str)
}

/// The table as Markdown, for the README.
pub fn markdown() -> String {
    let mut text = String::from("| key | does |\n| --- | --- |\n");
    for entry in ENTRIES.iter().filter(|entry| !entry.keys.is_empty()) {
        let keys: Vec<String> = entry.keys.iter().map(|key| format!("`{}`", key.replace('|', "\\|"))).collect();
        let _ = writeln!(text, "| {} | {} |", keys.join(" "), entry.help.replace('|', "\\|"));
    }
    text
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use ratatui::crossterm::event::{KeyCode, KeyModifiers};

    use super::*;

    #[test]
    fn every_key_does_one_thing_and_every_command_has_one() {
        let mut keys = HashSet::new();
        for entry in ENTRIES.iter() {
            // methods beyond the last letter are found by name
            let is_listed = matches!(entry.command, Command::Method(_));
            assert!((is_listed || !entry.keys.is_empty()) && !entry.help.is_empty(), "{}", entry.name);
            for key in &entry.keys {
                assert!(keys.insert(key.clone()), "{key} does two things");
            }
        }
        let commands: HashSet<_> = ENTRIES.iter().map(|entry| entry.command).collect();
        assert_eq!(commands.len(), ENTRIES.len());
        let groups: Vec<_> = ENTRIES.chunk_by(|a, b| a.group == b.group).map(|entries| entries[0].group).collect();
        assert_eq!(groups, GROUPS, "each stands once");
    }

    #[test]
    fn methods_get_letters_that_nothing_else_has() {
        let some = ["full", "sliding_window", "streaming", "undo", "rerope", "prune", "upr", "upr"];
        // U, P and R belong to commands
        assert_eq!(letters(&some), ["F", "S", "T", "N", "E", "A", "B", "C"].map(|letter| letter.parse().ok()));
        let given = letters(&["upr"; 99]);
        let distinct: HashSet<_> = given.iter().flatten().collect();
        assert_eq!(distinct.len(), given.iter().flatten().count());
        assert!(distinct.len() > 20 && given[98].is_none(), "{given:?}");
        let commands: Vec<_> = REST.iter().flat_map(|(_, _, keys, ..)| keys.split(' ')).collect();
        assert!(distinct.iter().all(|letter| !commands.contains(&letter.to_string().as_str())));
    }

    #[test]
    fn views_get_digits_and_then_small_letters_that_nothing_else_has() {
        let names = ["Chunks"; 9].into_iter().chain(["Entropy", "Passages", "Entropy"]).collect::<Vec<_>>();
        let keys: String = signs(&names).into_iter().flatten().collect();
        assert_eq!(keys, "123456789yfz");
        let many: Vec<_> = signs(&["View"; 40]).into_iter().flatten().collect();
        let distinct: HashSet<_> = many.iter().collect();
        assert!(distinct.len() == many.len() && many.len() < 40, "{many:?}");
    }

    #[test]
    fn every_key_of_the_table_reads_back() {
        for entry in ENTRIES.iter() {
            for key in &entry.keys {
                assert_eq!(keys::parse(key).and_then(of_key), Some(entry.command), "{key}");
            }
        }
        assert_eq!(keys::parse("hyper-x"), None);
    }

    #[test]
    fn keys_are_read_as_they_are_written() {
        let press = |code, modifiers| of_key(KeyEvent::new(code, modifiers));
        assert_eq!(press(KeyCode::Char('U'), KeyModifiers::SHIFT), Some(Command::Redo));
        assert_eq!(press(KeyCode::Char('r'), KeyModifiers::CONTROL), Some(Command::Record));
        assert_eq!(press(KeyCode::Left, KeyModifiers::SHIFT), Some(Command::FarLeft));
        assert_eq!(press(KeyCode::BackTab, KeyModifiers::SHIFT), Some(Command::PreviousPane));
        assert_eq!(press(KeyCode::Char('~'), KeyModifiers::NONE), None);
    }
}
