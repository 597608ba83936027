//! What torch's functions make of their arguments: dictionaries, storages and tensors.

use super::Outcome;
use super::globals::Global;
use super::values::{Id, Storage, Tensor, Value, Values};
use crate::weights::numbers::Format;

/// Weights have four at most.
const MAX_DIMS: usize = 8;

/// What a call returns.
pub(super) enum Returned {
    New(Value),
    /// A value that was there already.
    Known(Id),
}

impl Values {
    /// What a call of one of torch's functions returns.
    pub fn call(&self, callee: Id, args: Id) -> Outcome<Returned> {
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
                return Ok(Returned::Known(*tensor));
            }
            _ => return Err(damaged()),
        };
        Ok(Returned::New(made))
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
    pub fn storage(&self, id: Id) -> Option<Storage> {
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
}
