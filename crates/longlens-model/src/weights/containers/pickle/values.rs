//! What a pickle's program builds: values in one list, which name each other by place. What they hold may be nested, shared or
//! circular, and is still freed at once and never walked without an end.

use std::collections::BTreeMap;

use super::Outcome;
use super::globals::Global;
use crate::weights::numbers::Format;

/// What a program built.
#[derive(Debug)]
pub(super) struct Loaded {
    pub values: Values,
    pub root: Id,
}

/// Numbers that tensors are views into.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Storage {
    pub key: String,
    pub format: Format,
    /// Where it starts in the storage of its key, in numbers.
    pub first: usize,
}

/// A tensor: part of a storage.
#[derive(Debug)]
pub(super) struct View<'a> {
    pub storage: &'a Storage,
    pub format: Format,
    /// In numbers.
    pub offset: usize,
    pub shape: Vec<usize>,
    /// In numbers.
    pub strides: Vec<usize>,
}

/// The place of a value.
pub(super) type Id = u32;

/// A value; those that hold others name their places.
#[derive(Debug)]
pub(super) enum Value {
    None,
    Flag(bool),
    Whole(i64),
    /// A number that no tensor needs.
    Other,
    Text(Box<str>),
    Tuple(Box<[Id]>),
    List(Vec<Id>),
    /// Keys and values in turn.
    Dict(Vec<Id>),
    Global(Global),
    Storage(Box<Storage>),
    Tensor(Box<Tensor>),
}

/// How a tensor lies in its storage.
#[derive(Debug)]
pub(super) struct Tensor {
    /// A `Storage`.
    pub storage: Id,
    pub format: Format,
    pub offset: usize,
    pub shape: Box<[usize]>,
    pub strides: Box<[usize]>,
}

/// The values of a program, each at its place.
#[derive(Debug)]
pub(super) struct Values(Vec<Value>);

/// Values of which one is enough.
pub(super) const NONE: Id = 0;
pub(super) const FALSE: Id = 1;
pub(super) const TRUE: Id = 2;
pub(super) const EMPTY_TUPLE: Id = 3;
pub(super) const OTHER: Id = 4;

impl Default for Values {
    fn default() -> Self {
        let shared = [Value::None, Value::Flag(false), Value::Flag(true), Value::Tuple(Box::default()), Value::Other];
        Self(shared.into())
    }
}

impl Values {
    pub fn get(&self, id: Id) -> &Value {
        &self.0[id as usize]
    }

    pub fn get_mut(&mut self, id: Id) -> &mut Value {
        &mut self.0[id as usize]
    }

    pub fn push(&mut self, value: Value) -> Id {
        self.0.push(value);
        (self.0.len() - 1) as Id
    }
}

impl Value {
    /// Bytes that it takes in memory.
    pub fn n_bytes(&self) -> usize {
        let held = match self {
            Self::Tuple(items) => items.len() * size_of::<Id>(),
            Self::List(items) | Self::Dict(items) => items.len() * size_of::<Id>(),
            Self::Text(text) => text.len(),
            Self::Storage(storage) => size_of::<Storage>() + storage.key.len(),
            Self::Tensor(tensor) => size_of::<Tensor>() + 2 * size_of::<usize>() * tensor.shape.len(),
            _ => 0,
        };
        size_of::<Self>() + held
    }
}

impl Loaded {
    /// Every storage that was spoken of.
    pub fn storages(&self) -> impl Iterator<Item = &Storage> {
        self.values
            .0
            .iter()
            .filter_map(|value| if let Value::Storage(storage) = value { Some(&**storage) } else { None })
    }

    /// A truth value of a dictionary.
    pub fn flag(&self, key: &str) -> Option<bool> {
        let value = self.entry(self.root, key)?;
        if let Value::Flag(flag) = self.values.get(value) { Some(*flag) } else { None }
    }

    /// The texts of a list.
    pub fn texts(&self) -> Vec<String> {
        let Value::List(items) = self.values.get(self.root) else { return Vec::new() };
        let text = |id: &Id| if let Value::Text(text) = self.values.get(*id) { Some(text.to_string()) } else { None };
        items.iter().filter_map(text).collect()
    }

    fn entry(&self, dict: Id, key: &str) -> Option<Id> {
        let Value::Dict(entries) = self.values.get(dict) else { return None };
        let is_key = |pair: &&[Id]| matches!(self.values.get(pair[0]), Value::Text(text) if **text == *key);
        entries.chunks_exact(2).rev().find(is_key).map(|pair| pair[1])
    }

    /// The tensors by name: of the dictionary, or of the one that trainers put into it under a name of theirs.
    pub fn tensors(&self) -> Outcome<BTreeMap<String, View<'_>>> {
        let found = self.tensors_of(self.root);
        if !found.is_empty() {
            return Ok(found);
        }
        let inner =
            ["state_dict", "model_state_dict", "model", "module"].iter().filter_map(|key| self.entry(self.root, key));
        let found = inner.map(|id| self.tensors_of(id)).find(|found| !found.is_empty());
        found.ok_or_else(|| "holds no tensors by name, as a saved `state_dict` does".into())
    }

    fn tensors_of(&self, dict: Id) -> BTreeMap<String, View<'_>> {
        let Value::Dict(entries) = self.values.get(dict) else { return BTreeMap::new() };
        let view = |pair: &[Id]| {
            let (Value::Text(name), Value::Tensor(tensor)) = (self.values.get(pair[0]), self.values.get(pair[1]))
            else {
                return None;
            };
            let Value::Storage(storage) = self.values.get(tensor.storage) else { return None };
            let Tensor { format, offset, shape, strides, .. } = &**tensor;
            let (shape, strides) = (shape.to_vec(), strides.to_vec());
            Some((name.to_string(), View { storage, format: *format, offset: *offset, shape, strides }))
        };
        entries.chunks_exact(2).filter_map(view).collect()
    }
}
