//! Samples that several settings of a task have, as a file under two names or a prompt that both modes have: each is computed once, and has
//! a line under every one of these settings, so that a score is of all samples of its settings.

use std::collections::HashMap;

use sha2::{Digest, Sha256};

use super::{Counted, Entry, Record, Run, Store, without_amounts};
use crate::error::EvalError;

impl Run<'_> {
    /// Adds those samples that are finished under other settings of the task a second time, under these: a score is of all samples of its
    /// settings, and in their mode.
    pub(super) fn add_shared(
        &self,
        keys: &[String],
        counted: &Counted,
        store: &mut dyn Store,
        takes: &dyn Fn(usize) -> bool,
        told: &mut dyn FnMut(&Record),
    ) -> Result<(), EvalError> {
        let mut shared = Vec::new();
        for (at, key) in keys.iter().enumerate().filter(|(at, _)| takes(*at)) {
            if store.has(key) && self.listed_key(key, &counted.entries[at], store).is_none() {
                shared.push(at);
            }
        }
        if shared.is_empty() {
            return Ok(());
        }
        let wanted = shared.iter().map(|at| &*keys[*at]).collect();
        let known: HashMap<String, Record> =
            store.with_keys(&wanted)?.into_iter().map(|record| (record.key.clone(), record)).collect();
        for at in shared {
            let (Some(record), entry) = (known.get(&keys[at]), &counted.entries[at]) else { continue };
            let record = Record {
                key: shared_key(&keys[at], &self.listing(entry)),
                copy_of: Some(keys[at].clone()),
                setting: self.setting.to_string(),
                mode: self.task.mode(self.setting),
                template: self.task.template(self.setting),
                length: entry.length,
                depth: entry.depth,
                part: entry.part.clone(),
                n_truncated: entry.n_truncated + entry.n_prompt.saturating_sub(record.n_prompt),
                ..record.clone()
            };
            store.finished(&record)?;
            told(&record);
        }
        Ok(())
    }

    /// What a sample of the task is listed under.
    fn listing(&self, entry: &Entry) -> String {
        listing(&self.setting.to_string(), entry.length)
    }

    /// The key of the line that lists a sample of the task under its settings: its own, or that of a copy.
    fn listed_key(&self, key: &str, entry: &Entry, store: &mut dyn Store) -> Option<String> {
        let own = self.listing(entry);
        let copy = shared_key(key, &own);
        if store.has(&copy) {
            return Some(copy);
        }
        (store.listed(key)? == own).then(|| key.to_owned())
    }

    /// Under which keys the samples of the task stand in a store, finished or not.
    pub fn keys_in(&self, counted: &Counted, store: &mut dyn Store) -> Vec<String> {
        let keys = self.keys(counted).into_iter().zip(&counted.entries);
        keys.map(|(key, entry)| self.listed_key(&key, entry, store).unwrap_or(key)).collect()
    }

    /// Whether a sample of the task need not be computed: it is finished, under these settings or others.
    pub fn has(&self, key: &str, entry: &Entry, store: &mut dyn Store) -> bool {
        store.has(key) || self.listed_key(key, entry, store).is_some()
    }
}

/// What a sample is listed under: settings without amounts, and the length.
pub fn listing(setting: &str, length: Option<usize>) -> String {
    let setting = without_amounts(setting);
    length.map_or_else(|| setting.clone(), |length| format!("{setting} at {length}"))
}

/// The key of a sample that is listed a second time.
fn shared_key(key: &str, listing: &str) -> String {
    format!("{:x}", Sha256::digest(format!("{key} as {listing}")))
}
