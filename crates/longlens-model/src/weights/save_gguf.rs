//! Weights written as the tensors of a GGUF file, a few rows at a time.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use longlens_core::lens::Control;
use longlens_kernel::blocks::BlockType;
use rayon::prelude::*;

use super::files::WeightFiles;
use super::numbers::Format;
use super::save::Written;
use super::stored::{Stored, head_row};
use crate::error::OpenError;
use crate::gguf::families::{Form, GgufTensor};
use crate::gguf::write::TensorHeader;

/// Numbers that a thread turns at once, and such pieces that wait to be written.
const PIECE: usize = 1 << 16;
const PIECES: usize = 64;

/// What a GGUF file is made of.
pub(crate) struct GgufParts<'a> {
    /// Everything before the numbers.
    pub header: &'a [u8],
    /// The first tensors, which hold these numbers.
    pub factors: &'a [(&'static str, Vec<f32>)],
    /// The other tensors, and what they hold.
    pub tensors: &'a [(TensorHeader, GgufTensor)],
    /// Rows of a head, where the halves of heads are interleaved.
    pub head_dim: usize,
}

impl WeightFiles {
    /// How a tensor is written whose parts are there.
    pub(crate) fn tensor_header(&self, tensor: &GgufTensor, written: Written) -> TensorHeader {
        let parts: Vec<&Stored> = tensor.of.iter().filter_map(|name| self.get(name)).collect();
        let first = parts.first().map_or(&[][..], |part| part.shape());
        let shape = match tensor.form {
            Form::Stacked => [&[parts.len()], first].concat(),
            Form::Flat => first.iter().skip(1).copied().collect(),
            Form::Rows | Form::Interleaved => {
                let n_rows = parts.iter().map(|part| part.shape().first().copied().unwrap_or(0)).sum();
                [&[n_rows], first.get(1..).unwrap_or_default()].concat()
            }
        };
        let kind = kind(written, &tensor.name, &shape, &parts);
        TensorHeader { name: tensor.name.clone(), shape, kind }
    }

    /// Writes a GGUF file; returns how many bytes it has. `control` counts in KiB.
    pub(crate) fn save_gguf(
        &self,
        path: &Path,
        parts: &GgufParts<'_>,
        control: &mut dyn Control,
    ) -> Result<u64, OpenError> {
        let plain = parts.factors.iter().map(|(_, numbers)| (4 * numbers.len()).next_multiple_of(32));
        let sizes = parts.tensors.iter().map(|(header, _)| header.n_bytes()).map(|(n_bytes, filled)| n_bytes + filled);
        let all = parts.header.len() + plain.chain(sizes).sum::<usize>();
        let mut write = || -> io::Result<()> {
            let mut file = BufWriter::new(File::create_new(path)?);
            file.write_all(parts.header)?;
            for (_, numbers) in parts.factors {
                let mut bytes: Vec<u8> = numbers.iter().flat_map(|x| x.to_le_bytes()).collect();
                bytes.resize(bytes.len().next_multiple_of(32), 0);
                file.write_all(&bytes)?;
            }
            let mut done = parts.header.len();
            for (header, tensor) in parts.tensors {
                let rows = Rows::new(self, header, tensor, parts.head_dim);
                rows.write(&mut file, &mut |n_bytes| {
                    done += n_bytes;
                    control.progress(done >> 10, all >> 10);
                    if control.cancelled() { Err(io::ErrorKind::Interrupted.into()) } else { Ok(()) }
                })?;
                file.write_all(&vec![0; header.n_bytes().1])?;
                rows.parts.iter().for_each(|part| part.forget());
            }
            file.flush()
        };
        write().map_err(|source| OpenError::Unwritable { file: path.display().to_string(), source })?;
        Ok(all as u64)
    }
}

/// What a tensor is written as: vectors, and what scores experts, always as 32 bits, as llama.cpp wants them; rows that are no whole
/// blocks as 16 bits.
fn kind(written: Written, name: &str, shape: &[usize], parts: &[&Stored]) -> BlockType {
    if shape.len() < 2 || name.contains("ffn_gate_inp") {
        return BlockType::F32;
    }
    let of_part = |part: &&Stored| match part.format() {
        Format::F16 => BlockType::F16,
        Format::Bf16 | Format::F8E4m3 | Format::F8E5m2 => BlockType::Bf16,
        Format::Block(block) if !part.is_changed() => block,
        _ => BlockType::F32,
    };
    let asked = written.kind().unwrap_or_else(|| {
        let mut kinds = parts.iter().map(of_part);
        kinds.next().filter(|first| kinds.all(|other| other == *first)).unwrap_or(BlockType::F32)
    });
    let is_whole = shape.last().is_some_and(|width| width.is_multiple_of(asked.weights()));
    if is_whole { asked } else { BlockType::F16 }
}

/// The rows of a tensor, each in one of its parts.
struct Rows<'a> {
    parts: Vec<&'a Stored>,
    header: &'a TensorHeader,
    /// Numbers of a row.
    width: usize,
    /// Rows of a head whose halves are interleaved.
    head_dim: Option<usize>,
    shift: f32,
}

impl<'a> Rows<'a> {
    fn new(files: &'a WeightFiles, header: &'a TensorHeader, tensor: &GgufTensor, head_dim: usize) -> Self {
        let parts: Vec<&Stored> = tensor.of.iter().filter_map(|name| files.get(name)).collect();
        let width = parts.first().map_or(1, |part| part.width().max(1));
        let head_dim = Some(head_dim).filter(|_| tensor.form == Form::Interleaved);
        Self { parts, header, width, head_dim, shift: tensor.shift }
    }

    /// The part that holds a row, and which row of it that is.
    fn place(&self, row: usize) -> Option<(&'a Stored, usize)> {
        let mut row = self.head_dim.map_or(row, |head_dim| head_row(row, head_dim));
        for part in &self.parts {
            let n_rows = part.n_numbers() / self.width;
            if row < n_rows {
                return Some((part, row));
            }
            row -= n_rows;
        }
        None
    }

    fn write(&self, file: &mut impl Write, wrote: &mut dyn FnMut(usize) -> io::Result<()>) -> io::Result<()> {
        let n_rows = self.parts.iter().map(|part| part.n_numbers()).sum::<usize>() / self.width;
        let at_once = (PIECE / self.width).max(1);
        let starts: Vec<usize> = (0..n_rows).step_by(at_once).collect();
        for starts in starts.chunks(PIECES) {
            let encoded: Vec<io::Result<Vec<u8>>> =
                starts.par_iter().map(|start| self.encoded(*start..(start + at_once).min(n_rows))).collect();
            for bytes in encoded {
                let bytes = bytes?;
                file.write_all(&bytes)?;
                wrote(bytes.len())?;
            }
        }
        Ok(())
    }

    /// The blocks of some rows: those that are stored where nothing is to be changed.
    fn encoded(&self, rows: std::ops::Range<usize>) -> io::Result<Vec<u8>> {
        let kind = self.header.kind;
        let row_bytes = self.width / kind.weights() * kind.bytes();
        let mut out = Vec::with_capacity(rows.len() * row_bytes);
        let mut numbers = vec![0.0; self.width];
        for (part, row) in rows.filter_map(|row| self.place(row)) {
            let shift = part.offset() + self.shift;
            if shift == 0.0 && part.is_stored_as(kind) {
                let start = out.len();
                out.resize(start + row_bytes, 0);
                part.copy_row(row, &mut out[start..]);
                continue;
            }
            part.read(row * self.width, &mut numbers, f32::MAX);
            for x in &mut numbers {
                *x += shift;
            }
            kind.encode(&numbers, &mut out);
        }
        if kind.is_finite(&out) {
            return Ok(out);
        }
        let problem = format!("`{}` has numbers that {} cannot hold", self.header.name, kind.name());
        Err(io::Error::new(io::ErrorKind::InvalidData, problem))
    }
}
