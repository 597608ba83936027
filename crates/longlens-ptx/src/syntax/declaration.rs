//! Declarations: types, state spaces, variables, parameters.

use super::Cursor;
use crate::Error;

/// A type name of PTX.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Type {
    Pred,
    B8,
    B16,
    B32,
    B64,
    B128,
    U8,
    U16,
    U32,
    U64,
    S8,
    S16,
    S32,
    S64,
    F16,
    F16x2,
    Bf16,
    Bf16x2,
    F32,
    F32x2,
    F64,
    Tf32,
}

const TYPES: [(&str, Type, usize); 22] = [
    ("pred", Type::Pred, 1),
    ("b8", Type::B8, 1),
    ("b16", Type::B16, 2),
    ("b32", Type::B32, 4),
    ("b64", Type::B64, 8),
    ("b128", Type::B128, 16),
    ("u8", Type::U8, 1),
    ("u16", Type::U16, 2),
    ("u32", Type::U32, 4),
    ("u64", Type::U64, 8),
    ("s8", Type::S8, 1),
    ("s16", Type::S16, 2),
    ("s32", Type::S32, 4),
    ("s64", Type::S64, 8),
    ("f16", Type::F16, 2),
    ("f16x2", Type::F16x2, 4),
    ("bf16", Type::Bf16, 2),
    ("bf16x2", Type::Bf16x2, 4),
    ("f32", Type::F32, 4),
    ("f32x2", Type::F32x2, 8),
    ("f64", Type::F64, 8),
    ("tf32", Type::Tf32, 4),
];

impl Type {
    /// `name`: without the dot.
    pub(crate) fn parse(name: &str) -> Option<Self> {
        TYPES.iter().find(|(known, ..)| *known == name).map(|(_, kind, _)| *kind)
    }

    pub(crate) fn bytes(self) -> usize {
        TYPES.iter().find(|(_, kind, _)| *kind == self).map_or(4, |(.., bytes)| *bytes)
    }

    pub(crate) fn is_signed(self) -> bool {
        matches!(self, Self::S8 | Self::S16 | Self::S32 | Self::S64)
    }

    pub(crate) fn is_float(self) -> bool {
        matches!(
            self,
            Self::F16 | Self::F16x2 | Self::Bf16 | Self::Bf16x2 | Self::F32 | Self::F32x2 | Self::F64 | Self::Tf32
        )
    }
}

/// Where a variable lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Space {
    Global,
    Const,
    Shared,
    Local,
    Param,
}

impl Space {
    pub(crate) fn parse(name: &str) -> Option<Self> {
        Some(match name {
            ".global" => Self::Global,
            ".const" => Self::Const,
            ".shared" => Self::Shared,
            ".local" => Self::Local,
            ".param" => Self::Param,
            _ => return None,
        })
    }
}

/// A declared variable or parameter.
#[derive(Debug, Clone)]
pub(crate) struct Variable {
    pub space: Space,
    pub name: String,
    pub align: usize,
    pub bytes: usize,
    /// An array without a length: dynamic shared memory.
    pub is_unsized: bool,
    pub initial: Vec<u8>,
}

/// The variables of one declaration, through its semicolon.
pub(crate) fn variables(cursor: &mut Cursor, external: bool) -> Result<Vec<Variable>, Error> {
    let mut found = Vec::new();
    let space = cursor.take()?;
    let space = Space::parse(space.text).ok_or_else(|| cursor.error("not a state space"))?;
    let (element, align) = element(cursor)?;
    loop {
        found.push(named(cursor, space, element, align)?);
        if !cursor.accept(",") {
            break;
        }
    }
    cursor.expect(";")?;
    for variable in &mut found {
        variable.is_unsized |= external && variable.bytes == 0;
    }
    Ok(found)
}

/// A list of parameters in parentheses; empty where none opens.
pub(crate) fn parameters(cursor: &mut Cursor) -> Result<Vec<Variable>, Error> {
    let mut found = Vec::new();
    if !cursor.accept("(") {
        return Ok(found);
    }
    while !cursor.accept(")") {
        cursor.accept(",");
        let space = cursor.take()?.text;
        if space == ")" {
            break;
        }
        let space = Space::parse(space).unwrap_or(Space::Param);
        let (element, align) = element(cursor)?;
        found.push(named(cursor, space, element, align)?);
    }
    Ok(found)
}

/// The bytes of an element and the alignment, from `.align 4 .b8` or `.u64 .ptr .global .align 16`.
fn element(cursor: &mut Cursor) -> Result<(usize, usize), Error> {
    let (mut bytes, mut align, mut is_pointer) = (0, 0, false);
    while cursor.peek_text().starts_with('.') {
        let word = cursor.take()?.text;
        match word {
            ".align" => {
                let number = cursor.take()?.text.parse().map_err(|_| cursor.error("alignment without a number"))?;
                // behind `.ptr` it is the alignment of what the pointer points to
                align = if is_pointer { align } else { number };
            }
            ".ptr" => is_pointer = true,
            ".v2" | ".v4" | ".v8" => bytes = usize::from(word.as_bytes()[2] - b'0'),
            ".attribute" => cursor.skip_past(")")?,
            _ => {
                if let Some(kind) = Type::parse(&word[1..]) {
                    bytes = bytes.max(1) * kind.bytes();
                }
            }
        }
    }
    if bytes == 0 {
        return Err(cursor.error("a declaration without a type"));
    }
    Ok((bytes, align.max(bytes.min(16) * usize::from(align == 0)).max(1)))
}

fn named(cursor: &mut Cursor, space: Space, element: usize, align: usize) -> Result<Variable, Error> {
    let name = cursor.take()?.text.to_string();
    let (mut bytes, mut is_unsized) = (element, false);
    while cursor.accept("[") {
        let size = cursor.take()?.text;
        if size == "]" {
            (bytes, is_unsized) = (0, true);
            continue;
        }
        bytes *= size.parse::<usize>().map_err(|_| cursor.error(format!("`{size}` is not an array length")))?;
        cursor.expect("]")?;
    }
    let initial = if cursor.accept("=") { initializer(cursor, element)? } else { Vec::new() };
    Ok(Variable { space, name, align, bytes, is_unsized, initial })
}

/// The bytes of `{1, 2, {3, 4}}` or of a single number.
fn initializer(cursor: &mut Cursor, element: usize) -> Result<Vec<u8>, Error> {
    let (mut bytes, mut depth) = (Vec::new(), 0);
    loop {
        match cursor.peek_text() {
            "{" => depth += 1,
            "}" => depth -= 1,
            "," if depth > 0 => {}
            "," | ";" => return Ok(bytes),
            _ => {
                let value = super::operand::number(cursor)?;
                bytes.extend_from_slice(&value.to_le_bytes()[..element.min(8)]);
                continue;
            }
        }
        cursor.take()?;
    }
}
