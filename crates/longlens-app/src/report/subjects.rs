//! What answered samples: models under methods, with names that tell them apart.

use longlens_core::brief;
use longlens_eval::evaluate::{Record, Row};
use serde::Serialize;

/// What answered: a model under a method and a RoPE scaling.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
pub struct Subject {
    /// A short name that tells it apart from the others.
    pub name: String,
    /// Name of the model.
    pub model: String,
    /// What its weights hold.
    pub content: String,
    /// The method's text form.
    pub method: String,
    /// The RoPE scaling's text form.
    pub rope: String,
    /// Number format.
    pub dtype: String,
    /// `cpu`, `wgpu` or `cuda`.
    pub device: String,
    /// Tokens that the model counts as trained on.
    pub trained_context: usize,
    /// What became of windows that layers have of their own.
    pub layer_windows: Option<String>,
}

impl Subject {
    /// Whether it answered a sample.
    pub fn answered(&self, record: &Record) -> bool {
        is_same(self, &subject(record))
    }

    /// Whether a row is of its samples.
    pub fn has_row(&self, row: &Row) -> bool {
        is_same(self, &subject_of_row(row))
    }
}

/// What a name says of a subject beside its method.
type Told = fn(&Subject) -> String;

/// All that answered, in order, with names that say what differs among them.
pub fn subjects(records: &[Record]) -> Vec<Subject> {
    named(records.iter().map(subject))
}

/// The same of the rows of a table.
pub fn subjects_of_rows<'a>(rows: impl IntoIterator<Item = &'a Row>) -> Vec<Subject> {
    named(rows.into_iter().map(subject_of_row))
}

/// Each once, with a short name.
fn named(subjects: impl Iterator<Item = Subject>) -> Vec<Subject> {
    let mut all: Vec<Subject> = Vec::new();
    for own in subjects {
        if !all.iter().any(|known| is_same(known, &own)) {
            all.push(own);
        }
    }
    // a parameter that is as usual on the model is not told, and models may have been trained on different lengths
    let methods: Vec<String> = all
        .iter()
        .map(|own| {
            let alike: Vec<&Subject> =
                all.iter().filter(|other| other.trained_context == own.trained_context).collect();
            let names =
                brief::names(&alike.iter().map(|other| other.method.as_str()).collect::<Vec<_>>(), own.trained_context);
            let at = alike.iter().position(|other| is_same(other, own)).expect("it is among those alike");
            names[at].clone()
        })
        .collect();
    let varies = |of: fn(&Subject) -> String| all.iter().any(|subject| of(subject) != of(&all[0]));
    let parts: [(bool, Told); 6] = [
        (all.iter().any(|subject| subject.rope != "none"), |subject| format!("rope {}", subject.rope)),
        (varies(|subject| subject.trained_context.to_string()), |subject| {
            format!("trained on {}", subject.trained_context)
        }),
        (varies(|subject| subject.dtype.clone()), |subject| subject.dtype.clone()),
        (varies(|subject| subject.device.clone()), |subject| subject.device.clone()),
        (varies(|subject| format!("{:?}", subject.layer_windows)), |subject| {
            format!("windows {}", subject.layer_windows.as_deref().unwrap_or("as usual"))
        }),
        (varies(|subject| subject.model.clone()), |subject| subject.model.clone()),
    ];
    let mut names: Vec<String> = all
        .iter()
        .zip(methods)
        .map(|(subject, method)| {
            let told = parts.iter().filter(|(is_told, _)| *is_told).map(|(_, of)| of(subject));
            [method].into_iter().chain(told).collect::<Vec<_>>().join(" · ")
        })
        .collect();
    // models of one name may hold different weights
    let is_twice: Vec<bool> =
        names.iter().map(|name| names.iter().filter(|other| *other == name).count() > 1).collect();
    for ((name, subject), _) in names.iter_mut().zip(&all).zip(is_twice).filter(|(_, is_twice)| *is_twice) {
        *name = format!("{name} · {}", subject.content.chars().take(8).collect::<String>());
    }
    all.into_iter().zip(names).map(|(subject, name)| Subject { name, ..subject }).collect()
}

/// What answered a sample, without a short name.
pub fn subject(record: &Record) -> Subject {
    Subject {
        name: String::new(),
        model: record.run.model.clone(),
        content: record.content.clone(),
        method: record.run.method.clone(),
        rope: record.run.rope.clone(),
        dtype: record.run.dtype.clone(),
        device: record.device.clone(),
        trained_context: record.run.trained_context,
        layer_windows: record.run.layer_windows.clone(),
    }
}

fn subject_of_row(row: &Row) -> Subject {
    Subject {
        name: String::new(),
        model: row.model.clone(),
        content: row.content.clone(),
        method: row.method.clone(),
        rope: row.rope.clone(),
        dtype: row.dtype.clone(),
        device: row.device.clone(),
        trained_context: row.trained_context,
        layer_windows: row.layer_windows.clone(),
    }
}

/// Whether two are the same but for the short name.
pub(super) fn is_same(one: &Subject, other: &Subject) -> bool {
    let Subject { name: _, model, content, method, rope, dtype, device, trained_context, layer_windows } = one;
    (model, content, method, rope) == (&other.model, &other.content, &other.method, &other.rope)
        && (dtype, device) == (&other.dtype, &other.device)
        && (trained_context, layer_windows) == (&other.trained_context, &other.layer_windows)
}
