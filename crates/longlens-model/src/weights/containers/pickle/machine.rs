//! A pickle machine (<https://docs.python.org/3/library/pickletools.html>) that knows the operations of data alone.
//!
//! Values live in one list and name each other by place: what they hold may be nested, shared or circular, and is still freed at
//! once and never walked without an end.

use std::collections::{BTreeMap, HashMap};

use super::globals::{self, Global};
use crate::error::cut;
use crate::weights::numbers::Format;

/// What a program built.
#[derive(Debug)]
pub(super) struct Loaded {
    values: Vec<Value>,
    root: Id,
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
type Id = u32;

#[derive(Debug)]
enum Value {
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

#[derive(Debug)]
struct Tensor {
    /// A `Storage`.
    storage: Id,
    format: Format,
    offset: usize,
    shape: Box<[usize]>,
    strides: Box<[usize]>,
}

struct Machine<'a> {
    program: &'a [u8],
    at: usize,
    values: Vec<Value>,
    stack: Vec<Id>,
    marks: Vec<usize>,
    memo: HashMap<u32, Id>,
    /// Bytes that values may still take.
    room: usize,
}

/// What values may take in memory for every byte of the program: tensors take a sixth of it.
const BYTES_PER_BYTE: usize = 32;

/// Values of which one is enough.
const NONE: Id = 0;
const FALSE: Id = 1;
const TRUE: Id = 2;
const NOTHING: Id = 3;
const OTHER: Id = 4;

type Outcome<T = ()> = Result<T, String>;

/// Runs a program to its end; returns what it built, and how many bytes it has.
pub(super) fn run(program: &[u8]) -> Outcome<(Loaded, usize)> {
    let values = vec![Value::None, Value::Flag(false), Value::Flag(true), Value::Tuple(Box::default()), Value::Other];
    let (stack, marks, memo) = (Vec::new(), Vec::new(), HashMap::new());
    let room = program.len().saturating_mul(BYTES_PER_BYTE).min(Id::MAX as usize);
    let mut machine = Machine { program, at: 0, values, stack, marks, memo, room };
    loop {
        let start = machine.at;
        let [code] = machine.array()?;
        if code == b'.' {
            let root = machine.pop()?;
            return Ok((Loaded { values: machine.values, root }, machine.at));
        }
        machine.step(code).map_err(|problem| {
            if problem.starts_with("asks") { problem } else { format!("{problem} (byte {start} of its pickle)") }
        })?;
    }
}

impl<'a> Machine<'a> {
    #[allow(clippy::too_many_lines, reason = "one line for every operation")]
    fn step(&mut self, code: u8) -> Outcome {
        match code {
            0x80 => _ = self.array::<1>()?, // PROTO
            0x95 => _ = self.array::<8>()?, // FRAME
            b'(' => self.marks.push(self.stack.len()),
            b'0' => _ = self.pop()?,
            b'1' => _ = self.marked()?,
            b'2' => {
                let top = self.top()?;
                self.stack.push(top);
            }
            b'N' => self.stack.push(NONE),
            0x88 => self.stack.push(TRUE),
            0x89 => self.stack.push(FALSE),
            b'K' => self.whole_of_1()?,
            b'M' => {
                let n = u16::from_le_bytes(self.array()?);
                self.push(Value::Whole(n.into()))?;
            }
            b'J' => {
                let n = i32::from_le_bytes(self.array()?);
                self.push(Value::Whole(n.into()))?;
            }
            0x8A => self.long()?,
            b'G' => {
                self.array::<8>()?;
                self.stack.push(OTHER);
            }
            b'X' | b'T' | b'B' => {
                let n = u32::from_le_bytes(self.array()?) as usize;
                self.text(n)?;
            }
            0x8C | b'U' | b'C' => {
                let [n] = self.array()?;
                self.text(n.into())?;
            }
            0x8D => {
                let n = u64::from_le_bytes(self.array()?);
                self.text(usize::try_from(n).unwrap_or(usize::MAX))?;
            }
            b')' => self.stack.push(NOTHING),
            b']' => self.push(Value::List(Vec::new()))?,
            b'}' => self.push(Value::Dict(Vec::new()))?,
            b't' => {
                let items = self.marked()?;
                self.push(Value::Tuple(items.into()))?;
            }
            0x85..=0x87 => {
                let n = usize::from(code - 0x84);
                let from = self.stack.len().checked_sub(n).filter(|from| *from >= self.floor()).ok_or_else(empty)?;
                let items = self.stack.split_off(from);
                self.push(Value::Tuple(items.into()))?;
            }
            b'l' => {
                let items = self.marked()?;
                self.push(Value::List(items))?;
            }
            b'd' => {
                let items = self.marked()?;
                self.push(Value::Dict(items))?;
            }
            b'a' => {
                let item = self.pop()?;
                self.extend(&[item])?;
            }
            b'e' | b'u' => {
                let items = self.marked()?;
                self.extend(&items)?;
            }
            b's' => {
                let (value, key) = (self.pop()?, self.pop()?);
                self.extend(&[key, value])?;
            }
            b'q' => {
                let [at] = self.array()?;
                self.remember(at.into())?;
            }
            b'r' => {
                let at = u32::from_le_bytes(self.array()?);
                self.remember(at)?;
            }
            0x94 => self.remember(self.memo.len() as u32)?,
            b'h' => {
                let [at] = self.array()?;
                self.recall(at.into())?;
            }
            b'j' => {
                let at = u32::from_le_bytes(self.array()?);
                self.recall(at)?;
            }
            b'c' => {
                let (module, name) = (self.line()?, self.line()?);
                self.global(module, name)?;
            }
            0x93 => {
                let (name, module) = (self.pop()?, self.pop()?);
                let (Value::Text(module), Value::Text(name)) = (self.get(module), self.get(name)) else {
                    return Err("has a damaged pickle: a name is no text".into());
                };
                let (module, name) = (module.to_string(), name.to_string());
                self.global(&module, &name)?;
            }
            b'Q' => {
                let id = self.pop()?;
                let storage =
                    self.storage(id).ok_or("has a damaged pickle: a storage is not described as torch does")?;
                self.push(Value::Storage(Box::new(storage)))?;
            }
            b'R' | 0x81 => {
                let (args, callee) = (self.pop()?, self.pop()?);
                self.call(callee, args)?;
            }
            // attributes of a dictionary, such as the versions of modules
            b'b' => {
                self.pop()?;
                let top = self.top()?;
                if !matches!(self.get(top), Value::Dict(_) | Value::Tensor(_)) {
                    return Err(
                        "asks Python to set the state of an object, which no tensor needs: it is refused".into()
                    );
                }
            }
            other => {
                return Err(format!(
                    "asks for the pickle operation {other:#04x}, which no tensor needs: it is refused"
                ));
            }
        }
        Ok(())
    }

    fn global(&mut self, module: &str, name: &str) -> Outcome {
        let Some(global) = globals::find(module, name) else {
            return Err(format!(
                "asks Python to load `{}.{}`, which no tensor needs: code in a pickle is not run",
                cut(module),
                cut(name)
            ));
        };
        self.push(Value::Global(global))
    }

    fn call(&mut self, callee: Id, args: Id) -> Outcome {
        let damaged = || "has a damaged pickle: a tensor is not described as torch does".to_owned();
        let (Value::Global(global), Value::Tuple(args)) = (self.get(callee), self.get(args)) else {
            return Err("asks Python to call what is no function of torch: it is refused".into());
        };
        let made = match (*global, &**args) {
            (Global::Dict, []) => Value::Dict(Vec::new()),
            (Global::Dict, [items, ..]) => self.dict_of(*items).ok_or_else(damaged)?,
            (Global::Tuple, [items]) => match self.get(*items) {
                Value::Tuple(items) => Value::Tuple(items.clone()),
                Value::List(items) => Value::Tuple(items.clone().into()),
                _ => return Err(damaged()),
            },
            (Global::Tensor, [storage, offset, shape, strides, ..]) => {
                let Value::Storage(of) = self.get(*storage) else { return Err(damaged()) };
                self.tensor(*storage, of.format, [*offset, *shape, *strides]).ok_or_else(damaged)?
            }
            (Global::TensorOfBytes, [storage, offset, shape, strides, _, _, format, ..]) => {
                let Value::Global(Global::Format(format)) = self.get(*format) else { return Err(damaged()) };
                self.tensor(*storage, *format, [*offset, *shape, *strides]).ok_or_else(damaged)?
            }
            (Global::Parameter, [tensor, ..]) if matches!(self.get(*tensor), Value::Tensor(_)) => {
                self.stack.push(*tensor);
                return Ok(());
            }
            _ => return Err(damaged()),
        };
        self.push(made)
    }

    /// A dictionary of a list of pairs.
    fn dict_of(&self, items: Id) -> Option<Value> {
        let Value::List(pairs) = self.get(items) else { return None };
        let mut dict = Vec::with_capacity(2 * pairs.len());
        for pair in pairs {
            match self.get(*pair) {
                Value::Tuple(pair) if pair.len() == 2 => dict.extend_from_slice(pair),
                Value::List(pair) if pair.len() == 2 => dict.extend_from_slice(pair),
                _ => return None,
            }
        }
        Some(Value::Dict(dict))
    }

    fn tensor(&self, storage: Id, format: Format, [offset, shape, strides]: [Id; 3]) -> Option<Value> {
        let Value::Storage(_) = self.get(storage) else { return None };
        let (shape, strides) = (self.sizes(shape)?, self.sizes(strides)?);
        let offset = self.size(offset)?;
        (shape.len() == strides.len())
            .then(|| Value::Tensor(Box::new(Tensor { storage, format, offset, shape, strides })))
    }

    fn size(&self, id: Id) -> Option<usize> {
        if let Value::Whole(n) = self.get(id) { usize::try_from(*n).ok() } else { None }
    }

    fn sizes(&self, id: Id) -> Option<Box<[usize]>> {
        let Value::Tuple(items) = self.get(id) else { return None };
        (items.len() <= MAX_DIMS).then(|| items.iter().map(|item| self.size(*item)).collect()).flatten()
    }

    /// `('storage', kind, key, place, length)`, before torch 1.6 with what part of another storage it is: key, start, length.
    fn storage(&self, id: Id) -> Option<Storage> {
        let Value::Tuple(parts) = self.get(id) else { return None };
        let [word, kind, key, _, _, view @ ..] = &**parts else { return None };
        let (Value::Text(word), Value::Text(key)) = (self.get(*word), self.get(*key)) else { return None };
        let format = match self.get(*kind) {
            Value::Global(Global::Format(format)) => *format,
            Value::Global(Global::Bytes) => Format::Other("U8", 8),
            _ => return None,
        };
        let first = match view.first().map(|view| self.get(*view)) {
            None | Some(Value::None) => 0,
            Some(Value::Tuple(view)) => self.size(*view.get(1)?)?,
            Some(_) => return None,
        };
        (**word == *"storage").then(|| Storage { key: key.to_string(), format, first })
    }

    fn extend(&mut self, items: &[Id]) -> Outcome {
        let top = self.top()?;
        match &mut self.values[top as usize] {
            Value::List(list) => list.extend_from_slice(items),
            Value::Dict(dict) => dict.extend_from_slice(items),
            _ => return Err("asks Python to fill an object, which no tensor needs: it is refused".into()),
        }
        Ok(())
    }

    fn whole_of_1(&mut self) -> Outcome {
        let [n] = self.array()?;
        self.push(Value::Whole(n.into()))
    }

    /// A whole number of any length; beyond 64 bits no count of a tensor.
    fn long(&mut self) -> Outcome {
        let [n] = self.array()?;
        let bytes = self.take(n.into())?;
        let negative = bytes.last().is_some_and(|byte| byte & 0x80 != 0);
        let mut whole = [if negative { 0xFF } else { 0 }; 8];
        let Some(room) = whole.get_mut(..bytes.len()) else {
            self.stack.push(OTHER);
            return Ok(());
        };
        room.copy_from_slice(bytes);
        self.push(Value::Whole(i64::from_le_bytes(whole)))
    }

    fn text(&mut self, n: usize) -> Outcome {
        let bytes = self.take(n)?;
        self.push(Value::Text(String::from_utf8_lossy(bytes).into()))
    }

    fn line(&mut self) -> Outcome<&'a str> {
        let rest = &self.program[self.at..];
        let end = rest.iter().position(|byte| *byte == b'\n').ok_or_else(cut_short)?;
        self.at += end + 1;
        std::str::from_utf8(&rest[..end]).map_err(|_| "has a damaged pickle: a name is no text".into())
    }

    fn take(&mut self, n: usize) -> Outcome<&'a [u8]> {
        let bytes = self.program[self.at..].get(..n).ok_or_else(cut_short)?;
        self.at += n;
        Ok(bytes)
    }

    fn array<const N: usize>(&mut self) -> Outcome<[u8; N]> {
        Ok(self.take(N)?.try_into().expect("as many were taken"))
    }

    fn get(&self, id: Id) -> &Value {
        &self.values[id as usize]
    }

    fn push(&mut self, value: Value) -> Outcome {
        // a few bytes of a program may copy what others built
        let held = match &value {
            Value::Tuple(items) => items.len() * size_of::<Id>(),
            Value::List(items) | Value::Dict(items) => items.len() * size_of::<Id>(),
            Value::Text(text) => text.len(),
            Value::Storage(storage) => size_of::<Storage>() + storage.key.len(),
            Value::Tensor(tensor) => size_of::<Tensor>() + 2 * size_of::<usize>() * tensor.shape.len(),
            _ => 0,
        };
        let left = self.room.checked_sub(size_of::<Value>() + held);
        self.room = left.ok_or("has a pickle that builds far more than a model is made of")?;
        self.stack.push(self.values.len() as Id);
        self.values.push(value);
        Ok(())
    }

    /// Values below the last mark are not within reach.
    fn floor(&self) -> usize {
        self.marks.last().copied().unwrap_or(0)
    }

    fn top(&self) -> Outcome<Id> {
        self.stack.get(self.floor()..).and_then(<[Id]>::last).copied().ok_or_else(empty)
    }

    fn pop(&mut self) -> Outcome<Id> {
        let top = self.top()?;
        self.stack.pop();
        Ok(top)
    }

    /// All values since the last mark.
    fn marked(&mut self) -> Outcome<Vec<Id>> {
        let mark = self.marks.pop().filter(|mark| *mark <= self.stack.len()).ok_or_else(empty)?;
        Ok(self.stack.split_off(mark))
    }

    fn remember(&mut self, at: u32) -> Outcome {
        let top = self.top()?;
        self.memo.insert(at, top);
        Ok(())
    }

    fn recall(&mut self, at: u32) -> Outcome {
        let id = self.memo.get(&at).ok_or_else(|| format!("has a damaged pickle: nothing was kept as {at}"))?;
        self.stack.push(*id);
        Ok(())
    }
}

/// Weights have four at most.
const MAX_DIMS: usize = 8;

fn empty() -> String {
    "has a damaged pickle: it takes a value that is not there".into()
}

fn cut_short() -> String {
    "is cut short: its pickle has no end".into()
}

impl Loaded {
    fn get(&self, id: Id) -> &Value {
        &self.values[id as usize]
    }

    /// Every storage that was spoken of.
    pub fn storages(&self) -> impl Iterator<Item = &Storage> {
        self.values.iter().filter_map(|value| if let Value::Storage(storage) = value { Some(&**storage) } else { None })
    }

    /// A truth value of a dictionary.
    pub fn flag(&self, key: &str) -> Option<bool> {
        let value = self.entry(self.root, key)?;
        if let Value::Flag(flag) = self.get(value) { Some(*flag) } else { None }
    }

    /// The texts of a list.
    pub fn texts(&self) -> Vec<String> {
        let Value::List(items) = self.get(self.root) else { return Vec::new() };
        let text = |id: &Id| if let Value::Text(text) = self.get(*id) { Some(text.to_string()) } else { None };
        items.iter().filter_map(text).collect()
    }

    fn entry(&self, dict: Id, key: &str) -> Option<Id> {
        let Value::Dict(entries) = self.get(dict) else { return None };
        let is_key = |pair: &&[Id]| matches!(self.get(pair[0]), Value::Text(text) if **text == *key);
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
        let Value::Dict(entries) = self.get(dict) else { return BTreeMap::new() };
        let view = |pair: &[Id]| {
            let (Value::Text(name), Value::Tensor(tensor)) = (self.get(pair[0]), self.get(pair[1])) else {
                return None;
            };
            let Value::Storage(storage) = self.get(tensor.storage) else { return None };
            let Tensor { format, offset, shape, strides, .. } = &**tensor;
            let (shape, strides) = (shape.to_vec(), strides.to_vec());
            Some((name.to_string(), View { storage, format: *format, offset: *offset, shape, strides }))
        };
        entries.chunks_exact(2).filter_map(view).collect()
    }
}
