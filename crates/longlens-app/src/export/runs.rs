//! Samples by what answered them, with the scores of each.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use longlens_eval::evaluate::{Record, Row, once_each, summarize};

use crate::report::{Subject, subject, subjects};

/// What answered, in the order of the samples.
pub(super) struct Runs<'a> {
    /// One for each model, method and RoPE scaling.
    pub runs: Vec<Run<'a>>,
    /// Settings of every task, by name and version.
    settings: BTreeMap<String, BTreeSet<(String, u32)>>,
}

/// What one subject answered.
pub(super) struct Run<'a> {
    /// What answered.
    pub subject: Subject,
    /// Its samples.
    pub records: Vec<&'a Record>,
    /// Its scores.
    pub rows: Vec<Row>,
    /// A name for files that no other run has.
    pub file_name: String,
}

impl<'a> Runs<'a> {
    pub fn of(records: &'a [Record]) -> Self {
        let all = subjects(records);
        let at: HashMap<Subject, usize> =
            all.iter().enumerate().map(|(at, own)| (Subject { name: String::new(), ..own.clone() }, at)).collect();
        let mut by_subject: Vec<Vec<&Record>> = vec![Vec::new(); all.len()];
        for record in once_each(records) {
            by_subject[at[&subject(record)]].push(record);
        }
        let mut taken = BTreeSet::new();
        let runs: Vec<Run<'_>> = all
            .into_iter()
            .zip(by_subject)
            .map(|(subject, records)| {
                let rows = summarize(records.iter().copied()).rows;
                let file_name = unique(&file_name(&subject.name), &mut taken);
                Run { subject, records, rows, file_name }
            })
            .collect();
        let mut settings: BTreeMap<String, BTreeSet<(String, u32)>> = BTreeMap::new();
        for row in runs.iter().flat_map(|run| &run.rows) {
            settings.entry(row.task.clone()).or_default().insert((row.setting.clone(), row.task_version));
        }
        Self { runs, settings }
    }

    /// A name of a task that tells its settings apart where there are several, and its versions.
    pub fn task(&self, task: &str, setting: &str, version: u32) -> String {
        let Some(all) = self.settings.get(task) else { return task.to_owned() };
        let has_settings = all.iter().any(|(other, _)| other != setting);
        let has_versions = all.iter().any(|(other, of)| other == setting && *of != version);
        let name = if has_settings { setting } else { task };
        if has_versions { format!("{name} v{version}") } else { name.to_owned() }
    }
}

impl Run<'_> {
    /// When the last of its samples was finished, in seconds since 1970.
    pub fn finished(&self) -> u64 {
        self.records.iter().map(|record| record.finished).max().unwrap_or(0)
    }
}

/// Bytes of a file's name at most.
const LONGEST: usize = 120;

/// A text as part of a file's name on any system.
pub(super) fn file_name(text: &str) -> String {
    let is_kept = |c: char| c.is_alphanumeric() || matches!(c, '.' | '_' | '=' | ',' | '-');
    let words = text.split(|c: char| !is_kept(c)).filter(|word| !word.is_empty());
    let name = words.collect::<Vec<_>>().join("-");
    let name = name[..name.floor_char_boundary(LONGEST)].trim_matches('.');
    if name.is_empty() { "run".to_owned() } else { name.to_owned() }
}

/// A name with a number behind it where it is taken. Some systems do not tell small letters from large ones.
pub(super) fn unique(name: &str, taken: &mut BTreeSet<String>) -> String {
    let numbered = (2..).map(|number| format!("{name}-{number}"));
    let free = [name.to_owned()].into_iter().chain(numbered).find(|name| taken.insert(name.to_lowercase()));
    free.expect("numbers do not end")
}
