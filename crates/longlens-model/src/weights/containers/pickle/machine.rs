//! A pickle machine (<https://docs.python.org/3/library/pickletools.html>) that knows the operations of data alone.

use std::collections::HashMap;

use super::Outcome;
use super::build::Returned;
use super::globals;
use super::values::{EMPTY_TUPLE, FALSE, Id, Loaded, NONE, OTHER, TRUE, Value, Values};
use crate::error::cut;

struct Machine<'a> {
    program: &'a [u8],
    at: usize,
    values: Values,
    stack: Vec<Id>,
    marks: Vec<usize>,
    memo: HashMap<u32, Id>,
    /// Bytes that values may still take.
    room: usize,
}

/// What values may take in memory for every byte of the program: tensors take a sixth of it.
const BYTES_PER_BYTE: usize = 32;

/// Runs a program to its end; returns what it built, and how many bytes it has.
pub(super) fn run(program: &[u8]) -> Outcome<(Loaded, usize)> {
    let (values, stack, marks, memo) = (Values::default(), Vec::new(), Vec::new(), HashMap::new());
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

/// The operations, by kind. Each function says whether the operation is one of its own.
impl Machine<'_> {
    fn step(&mut self, code: u8) -> Outcome {
        let is_known = self.header(code)?
            || self.literal(code)?
            || self.container(code)?
            || self.stack(code)?
            || self.memo(code)?
            || self.object(code)?;
        if is_known {
            return Ok(());
        }
        Err(format!("asks for the pickle operation {code:#04x}, which no tensor needs: it is refused"))
    }

    /// What says how the program is written.
    fn header(&mut self, code: u8) -> Outcome<bool> {
        match code {
            0x80 => _ = self.array::<1>()?, // PROTO
            0x95 => _ = self.array::<8>()?, // FRAME
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// Values that the program spells out.
    fn literal(&mut self, code: u8) -> Outcome<bool> {
        match code {
            b'N' => self.stack.push(NONE),
            0x88 => self.stack.push(TRUE),
            0x89 => self.stack.push(FALSE),
            b'K' => {
                let [n] = self.array()?;
                self.push(Value::Whole(n.into()))?;
            }
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
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// Tuples, lists and dictionaries of what is on the stack.
    fn container(&mut self, code: u8) -> Outcome<bool> {
        match code {
            b')' => self.stack.push(EMPTY_TUPLE),
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
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// The stack itself and its marks.
    fn stack(&mut self, code: u8) -> Outcome<bool> {
        match code {
            b'(' => self.marks.push(self.stack.len()),
            b'0' => _ = self.pop()?,
            b'1' => _ = self.marked()?,
            b'2' => {
                let top = self.top()?;
                self.stack.push(top);
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// Values that are kept under a number and asked for again.
    fn memo(&mut self, code: u8) -> Outcome<bool> {
        match code {
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
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// What Python would load, call or fill; here torch's names alone.
    fn object(&mut self, code: u8) -> Outcome<bool> {
        match code {
            b'c' => {
                let (module, name) = (self.line()?, self.line()?);
                self.global(module, name)?;
            }
            0x93 => {
                let (name, module) = (self.pop()?, self.pop()?);
                let (Value::Text(module), Value::Text(name)) = (self.values.get(module), self.values.get(name)) else {
                    return Err("has a damaged pickle: a name is no text".into());
                };
                let (module, name) = (module.to_string(), name.to_string());
                self.global(&module, &name)?;
            }
            b'Q' => {
                let id = self.pop()?;
                let storage =
                    self.values.storage(id).ok_or("has a damaged pickle: a storage is not described as torch does")?;
                self.push(Value::Storage(Box::new(storage)))?;
            }
            b'R' | 0x81 => {
                let (args, callee) = (self.pop()?, self.pop()?);
                match self.values.call(callee, args)? {
                    Returned::New(value) => self.push(value)?,
                    Returned::Known(id) => self.stack.push(id),
                }
            }
            // attributes of a dictionary, such as the versions of modules
            b'b' => {
                self.pop()?;
                let top = self.top()?;
                if !matches!(self.values.get(top), Value::Dict(_) | Value::Tensor(_)) {
                    return Err(
                        "asks Python to set the state of an object, which no tensor needs: it is refused".into()
                    );
                }
            }
            _ => return Ok(false),
        }
        Ok(true)
    }
}

impl<'a> Machine<'a> {
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

    fn extend(&mut self, items: &[Id]) -> Outcome {
        let top = self.top()?;
        match self.values.get_mut(top) {
            Value::List(list) => list.extend_from_slice(items),
            Value::Dict(dict) => dict.extend_from_slice(items),
            _ => return Err("asks Python to fill an object, which no tensor needs: it is refused".into()),
        }
        Ok(())
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

    fn push(&mut self, value: Value) -> Outcome {
        // a few bytes of a program may copy what others built
        let left = self.room.checked_sub(value.n_bytes());
        self.room = left.ok_or("has a pickle that builds far more than a model is made of")?;
        let id = self.values.push(value);
        self.stack.push(id);
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

fn empty() -> String {
    "has a damaged pickle: it takes a value that is not there".into()
}

fn cut_short() -> String {
    "is cut short: its pickle has no end".into()
}
