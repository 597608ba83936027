//! Weights written as one safetensors file, tensor by tensor and a few rows at a time: memory does not follow the model's size.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use half::{bf16, f16};
use longlens_core::lens::Control;
use longlens_kernel::blocks::BlockType;
use serde_json::{Map, json};

use super::files::WeightFiles;
use super::numbers::{self, Format, Unusable};
use super::place;
use super::stored::Stored;
use crate::error::{OpenError, WeightProblem};

/// How numbers are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Written {
    /// As they are, bit for bit; in safetensors the blocks of GGUF files as the numbers of 32 bits that they stand for.
    #[default]
    File,
    /// All as numbers of 32 bits.
    F32,
    /// All rounded to half precision.
    F16,
    /// All rounded to the upper half of 32 bits.
    Bf16,
    /// All in blocks of this type, which GGUF files hold; one of [`BlockType::WRITTEN`].
    Blocks(BlockType),
}

impl Written {
    /// Every way.
    pub const ALL: [Self; 9] = [
        Self::File,
        Self::F32,
        Self::F16,
        Self::Bf16,
        Self::Blocks(BlockType::Q8_0),
        Self::Blocks(BlockType::Q5_1),
        Self::Blocks(BlockType::Q5_0),
        Self::Blocks(BlockType::Q4_1),
        Self::Blocks(BlockType::Q4_0),
    ];

    /// The text form.
    pub fn name(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::Bf16 => "bf16",
            Self::Blocks(BlockType::Q8_0) => "q8_0",
            Self::Blocks(BlockType::Q5_1) => "q5_1",
            Self::Blocks(BlockType::Q5_0) => "q5_0",
            Self::Blocks(BlockType::Q4_1) => "q4_1",
            Self::Blocks(BlockType::Q4_0) => "q4_0",
            Self::Blocks(kind) => kind.name(),
        }
    }

    /// The type of all numbers; nothing where each has its own.
    pub fn kind(self) -> Option<BlockType> {
        match self {
            Self::File => None,
            Self::F32 => Some(BlockType::F32),
            Self::F16 => Some(BlockType::F16),
            Self::Bf16 => Some(BlockType::Bf16),
            Self::Blocks(kind) => Some(kind),
        }
    }

    /// What transformers calls the type of such weights; nothing where each has its own.
    pub(crate) fn torch_dtype(self) -> Option<&'static str> {
        match self {
            Self::File | Self::Blocks(_) => None,
            Self::F32 => Some("float32"),
            Self::F16 => Some("float16"),
            Self::Bf16 => Some("bfloat16"),
        }
    }

    fn of(self, stored: &Stored) -> Format {
        match (self, stored.format()) {
            // whole numbers are no weights
            (_, other @ Format::Other(..)) => other,
            // safetensors hold no blocks: who asks for some is refused before
            (Self::F32 | Self::Blocks(_), _) | (Self::File, Format::Block(_)) => Format::F32,
            (Self::F16, _) => Format::F16,
            (Self::Bf16, _) => Format::Bf16,
            (Self::File, Format::F8E4m3 | Format::F8E5m2) if stored.plain().is_none() => Format::Bf16,
            (Self::File, format) => format,
        }
    }
}

/// Numbers that are turned at once.
const PIECE: usize = 1 << 16;

impl WeightFiles {
    /// Writes all tensors to a new file; returns how many bytes it has. `control` counts in KiB.
    pub fn save(&self, path: &Path, written: Written, control: &mut dyn Control) -> Result<u64, OpenError> {
        let mut tensors: Vec<(&str, &Stored, Format)> =
            self.tensors().map(|(name, stored)| (name, stored, written.of(stored))).collect();
        // the widest numbers first, so that all are aligned
        tensors.sort_by_key(|(_, _, format)| std::cmp::Reverse(format.n_bytes(8)));
        let mut problems = Vec::new();
        let (mut header, mut end) = (Map::new(), 0usize);
        header.insert("__metadata__".into(), json!({ "format": "pt" }));
        for (name, stored, format) in &tensors {
            let Some(n_bytes) = format.n_bytes(stored.n_numbers()).filter(|_| stored.can_be(*format)) else {
                let (name, dtype) = ((*name).to_owned(), stored.format().name().to_owned());
                problems.push(WeightProblem::UnsupportedDtype { name, dtype });
                continue;
            };
            let offsets = [end, end + n_bytes];
            header.insert(
                (*name).into(),
                json!({ "dtype": format.name(), "shape": stored.shape(), "data_offsets": offsets }),
            );
            end += n_bytes;
        }
        if !problems.is_empty() {
            return Err(OpenError::Weights { file: self.shown().into(), problems });
        }
        let mut text = serde_json::to_vec(&header).expect("a map of plain values");
        text.resize(text.len().next_multiple_of(8), b' ');
        let all = (8 + text.len() + end) as u64;
        let unusable = |name: &str, stored: &Stored, Unusable { first, value, count }| {
            let index = place(first, stored.shape());
            WeightProblem::NotFinite { name: name.to_owned(), index, value, count }
        };
        let mut write = || -> io::Result<()> {
            let mut file = BufWriter::new(File::create_new(path)?);
            file.write_all(&(text.len() as u64).to_le_bytes())?;
            file.write_all(&text)?;
            let mut done = (8 + text.len()) as u64;
            for (name, stored, format) in &tensors {
                let found = stored.write(*format, &mut file, &mut |n_bytes| {
                    done += n_bytes as u64;
                    control.progress((done >> 10) as usize, (all >> 10) as usize);
                    if control.cancelled() { Err(io::ErrorKind::Interrupted.into()) } else { Ok(()) }
                })?;
                problems.extend(found.map(|found| unusable(name, stored, found)));
                stored.forget();
            }
            file.flush()
        };
        write().map_err(|source| OpenError::Unwritable { file: path.display().to_string(), source })?;
        if problems.is_empty() { Ok(all) } else { Err(OpenError::Weights { file: self.shown().into(), problems }) }
    }
}

impl Stored {
    /// Whether its numbers can be written so.
    fn can_be(&self, format: Format) -> bool {
        self.format().is_readable() || (self.plain().is_some() && self.format() == format)
    }

    /// Writes its numbers in a format; returns those that it cannot hold.
    fn write(
        &self,
        format: Format,
        file: &mut impl Write,
        wrote: &mut dyn FnMut(usize) -> io::Result<()>,
    ) -> io::Result<Option<Unusable>> {
        if let Some(bytes) = self.plain().filter(|_| self.format() == format) {
            for piece in bytes.chunks(4 * PIECE) {
                file.write_all(piece)?;
                wrote(piece.len())?;
            }
            return Ok(None);
        }
        let limit = match format {
            Format::F16 => f16::MAX.to_f32(),
            Format::Bf16 => bf16::MAX.to_f32(),
            _ => f32::MAX,
        };
        let mut found = None;
        let mut numbers = vec![0.0; PIECE.min(self.n_numbers())];
        let mut bytes = Vec::with_capacity(8 * numbers.len());
        let mut at = 0;
        while at < self.n_numbers() {
            let numbers = &mut numbers[..PIECE.min(self.n_numbers() - at)];
            self.read(at, numbers, f32::MAX);
            for x in numbers.iter_mut() {
                *x += self.offset();
            }
            found = Unusable::merge(found, numbers::check(numbers, limit, at));
            bytes.clear();
            for x in numbers.iter().copied() {
                match format {
                    Format::F64 => bytes.extend(f64::from(x).to_le_bytes()),
                    Format::F16 => bytes.extend(f16::from_f32(x).to_le_bytes()),
                    Format::Bf16 => bytes.extend(bf16::from_f32(x).to_le_bytes()),
                    _ => bytes.extend(x.to_le_bytes()),
                }
            }
            file.write_all(&bytes)?;
            wrote(bytes.len())?;
            at += numbers.len();
        }
        Ok(found)
    }
}
