//! Questions in SQL: what is asked may read, for so long and so much, and nothing else.

use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use longlens_core::lens::CancelToken;
use longlens_core::nearest::nearest;
use rusqlite::config::DbConfig;
use rusqlite::hooks::{AuthAction, AuthContext, Authorization};
use rusqlite::limits::Limit;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, Error, ErrorCode};

use super::super::columns::{SAMPLES, SCORES};
use super::super::{Answer, Datum};
use super::{Index, functions};
use crate::problem::Problem;

/// A question, and when to give up.
pub struct Asked<'a> {
    /// One statement that reads.
    pub sql: &'a str,
    /// How long it may take.
    pub timeout: Duration,
    /// Ends it at once.
    pub cancel: &'a CancelToken,
}

/// Why a question has no answer.
#[derive(Debug)]
pub struct Refusal {
    /// What and what next.
    pub problem: Problem,
    /// Bytes of the question that are to blame.
    pub place: Option<Range<usize>>,
    /// Whether the question is to blame, and not its size.
    pub is_usage: bool,
}

/// Bytes of a value at most.
const MAX_VALUE: i32 = 64 << 20;
/// Bytes of an answer at most.
const MAX_ANSWER: usize = 512 << 20;
/// Steps of SQLite's machine between two looks at the clock: some hundreds of them take a microsecond or two.
const STEPS: i32 = 1000;
/// Settings of SQLite that only say something.
const TELLING: [&str; 4] = ["table_info", "table_xinfo", "table_list", "function_list"];
/// The tables that questions are meant for.
const TABLES: [&str; 2] = ["samples", "scores"];

impl Index {
    /// What a question gives.
    pub fn ask(&mut self, asked: &Asked<'_>) -> Result<Answer, Refusal> {
        functions::add(&self.connection).map_err(|error| refusal(asked, &error, None))?;
        let denied = guard(&mut self.connection).map_err(|error| refusal(asked, &error, None))?;
        let (since, timeout, cancel) = (Instant::now(), asked.timeout, asked.cancel.clone());
        let is_over = move || cancel.is_cancelled() || since.elapsed() > timeout;
        self.connection.progress_handler(STEPS, Some(is_over)).map_err(|error| refusal(asked, &error, None))?;
        answer(&self.connection, asked.sql).map_err(|stopped| match stopped {
            Stopped::Failed(error) => {
                let denied = denied.lock().unwrap_or_else(PoisonError::into_inner).take();
                refusal(asked, &error, denied)
            }
            Stopped::Writes => writes(asked.sql),
            Stopped::TooLarge => Refusal {
                problem: Problem::new(
                    format!("the answer is larger than {}", crate::bytes::text(MAX_ANSWER)),
                    "ask for fewer columns, or end the question with LIMIT".to_owned(),
                ),
                place: None,
                is_usage: false,
            },
        })
    }
}

/// What was denied, if anything was.
type Denied = Arc<Mutex<Option<String>>>;

/// Lets questions read and call functions, and nothing else. The database is a copy in memory, so that what gets past this could change
/// nothing that is kept.
fn guard(connection: &mut Connection) -> rusqlite::Result<Denied> {
    // a name in double quotes that no column has is a mistake, and no text
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DQS_DML, false)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DQS_DDL, false)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    connection.set_limit(Limit::SQLITE_LIMIT_LENGTH, MAX_VALUE)?;
    connection.set_limit(Limit::SQLITE_LIMIT_ATTACHED, 0)?;
    connection.authorizer(None::<fn(AuthContext<'_>) -> Authorization>)?;
    connection.pragma_update(None, "query_only", true)?;
    let denied = Denied::default();
    let notes = denied.clone();
    connection.authorizer(Some(move |context: AuthContext<'_>| {
        let what = match context.action {
            AuthAction::Select | AuthAction::Read { .. } | AuthAction::Recursive => return Authorization::Allow,
            AuthAction::Function { function_name } if !function_name.eq_ignore_ascii_case("load_extension") => {
                return Authorization::Allow;
            }
            AuthAction::Pragma { pragma_name, .. }
                if TELLING.iter().any(|name| pragma_name.eq_ignore_ascii_case(name)) =>
            {
                return Authorization::Allow;
            }
            AuthAction::Function { function_name } => format!("calls {function_name}"),
            AuthAction::Pragma { pragma_name, .. } => format!("asks for the setting {pragma_name}"),
            AuthAction::Attach { .. } | AuthAction::Detach { .. } => "opens another database".to_owned(),
            _ => WRITES.to_owned(),
        };
        notes.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(what);
        Authorization::Deny
    }))?;
    Ok(denied)
}

const WRITES: &str = "writes";

enum Stopped {
    Failed(Error),
    Writes,
    TooLarge,
}

impl From<Error> for Stopped {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

fn answer(connection: &Connection, sql: &str) -> Result<Answer, Stopped> {
    let mut statement = connection.prepare(sql)?;
    if !statement.readonly() {
        return Err(Stopped::Writes);
    }
    let mut answer = Answer::named(statement.column_names().map(str::to_owned));
    let n_columns = answer.columns.len();
    let mut rows = statement.query([])?;
    let mut n_bytes = 0;
    while let Some(row) = rows.next()? {
        let mut cells = Vec::with_capacity(n_columns);
        for at in 0..n_columns {
            let cell = cell(row.get_ref(at)?);
            n_bytes += size_of::<Datum>() + if let Datum::Text(text) = &cell { text.len() } else { 0 };
            cells.push(cell);
        }
        if n_bytes > MAX_ANSWER {
            return Err(Stopped::TooLarge);
        }
        answer.rows.push(cells);
    }
    Ok(answer)
}

fn cell(value: ValueRef<'_>) -> Datum {
    match value {
        ValueRef::Null => Datum::Empty,
        ValueRef::Integer(whole) => Datum::Integer(whole),
        ValueRef::Real(real) => Datum::from(real),
        ValueRef::Text(text) => Datum::Text(String::from_utf8_lossy(text).into_owned()),
        ValueRef::Blob(bytes) => {
            use std::fmt::Write;
            let mut text = String::from("X'");
            for byte in bytes {
                let _ = write!(text, "{byte:02X}");
            }
            Datum::Text(text + "'")
        }
    }
}

fn writes(sql: &str) -> Refusal {
    refused(sql, WRITES)
}

/// Refuses what a question does beside reading.
fn refused(sql: &str, what: &str) -> Refusal {
    let start = sql.len() - sql.trim_start().len();
    let first = start..start + word(&sql[start..]);
    // what begins as a question goes wrong further on
    let is_asked =
        ["select", "with", "values", "explain"].iter().any(|word| sql[first.clone()].eq_ignore_ascii_case(word));
    Refusal {
        problem: Problem::new(
            format!("questions to finished samples only read, and this one {what}"),
            "begin it with SELECT or WITH; samples are changed nowhere but by running them".to_owned(),
        ),
        place: (!is_asked).then_some(first),
        is_usage: true,
    }
}

/// What SQLite's error says of a question.
fn refusal(asked: &Asked<'_>, error: &Error, denied: Option<String>) -> Refusal {
    let sql = asked.sql;
    if let Some(what) = denied {
        return refused(sql, &what);
    }
    let usage = |message: &str, help: Option<String>, place: Option<Range<usize>>| Refusal {
        problem: Problem::new(message, help),
        place,
        is_usage: true,
    };
    match error {
        Error::SqlInputError { msg, offset, .. } => {
            let at = usize::try_from(*offset).unwrap_or(0).min(sql.len());
            let at = sql.floor_char_boundary(at);
            usage(msg, help(msg), Some(at..at + word(&sql[at..])))
        }
        Error::MultipleStatement => usage(
            "there is more than one statement",
            Some("ask them one by one; what stands behind the first `;` is another one".to_owned()),
            sql.find(';').map(|at| at..sql.len()),
        ),
        Error::Empty => usage("there is no question", Some("as `SELECT count(*) FROM samples`".to_owned()), None),
        Error::NulError(_) => usage("a question has no NUL characters", None, None),
        Error::SqliteFailure(code, _) if code.code == ErrorCode::OperationInterrupted => Refusal {
            problem: Problem::new(
                format!("the question took longer than {} s", asked.timeout.as_secs_f64()),
                "give it more time, or ask for less".to_owned(),
            ),
            place: None,
            is_usage: false,
        },
        error => {
            let message = match error {
                Error::SqliteFailure(_, Some(message)) => message.clone(),
                error => error.to_string(),
            };
            let help = help(&message);
            usage(&message, help, None)
        }
    }
}

/// The length of the word, or of the sign, that a text begins with.
fn word(text: &str) -> usize {
    if let Some(quoted) = text.strip_prefix('"') {
        return quoted.find('"').map_or(text.len(), |end| end + 2);
    }
    let is_part = |c: char| c.is_alphanumeric() || matches!(c, '_' | '.');
    match text.find(|c| !is_part(c)) {
        Some(0) => text.chars().next().map_or(0, char::len_utf8),
        Some(end) => end,
        None => text.len(),
    }
}

/// What to do about a message of SQLite's.
fn help(message: &str) -> Option<String> {
    if let Some(name) = message.strip_prefix("no such column: ") {
        let name = name.split(" - ").next().unwrap_or(name).trim_matches('"');
        let name = name.rsplit('.').next().unwrap_or(name);
        let columns = || SAMPLES.iter().map(|column| column.name).chain(SCORES.iter().map(|column| column.name));
        return Some(match nearest(name, columns()) {
            Some(nearest) => format!("did you mean `{nearest}`? Texts stand in single quotes"),
            None => "texts stand in single quotes; the columns are listed with their tables in the schema".to_owned(),
        });
    }
    if let Some(name) = message.strip_prefix("no such table: ") {
        return Some(match nearest(name, TABLES) {
            Some(nearest) => format!("did you mean `{nearest}`?"),
            None => "the tables are `samples` and `scores`".to_owned(),
        });
    }
    message
        .starts_with("no such function")
        .then(|| format!("functions are those of SQLite, and {}", functions::NAMES.join(", ")))
}
