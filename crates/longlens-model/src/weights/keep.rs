//! How matrices are kept in memory: as the file has them, or all in one form.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use longlens_kernel::blocks::BlockType;
use longlens_kernel::linear::Storage;

use super::files::WeightFiles;
use super::numbers::Format;
use super::stored::Stored;
use super::wanted::Wanted;
use super::{Blueprint, Linear};

/// How matrices are kept in memory. Arithmetic is f32 with all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Keep {
    /// As in the file: bf16, f16 and the blocks of GGUF files stay what they are, f64 becomes f32, and numbers of 8 bits become
    /// bf16, which holds all of them. A device that does not keep one of these keeps f32 instead.
    #[default]
    File,
    /// All in one form.
    As(Storage),
}

impl Keep {
    /// Every way that can be asked for.
    pub const ALL: [Self; 1 + Storage::ALL.len()] = {
        let [a, b, c, d] = Storage::ALL;
        [Self::File, Self::As(a), Self::As(b), Self::As(c), Self::As(d)]
    };

    /// The text form.
    pub fn name(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::As(storage) => storage.name(),
        }
    }

    /// What numbers that are in no file are kept as.
    pub fn without_file(self) -> Storage {
        match self {
            Self::File => Storage::F32,
            Self::As(storage) => storage,
        }
    }

    /// How the matrix that `ask` describes is kept, of which `stored` holds the weights.
    pub(super) fn of(self, stored: &Stored, ask: &Linear<'_>) -> Storage {
        let [_, d_in] = ask.shape;
        self.of_rows(stored, d_in)
    }

    fn of_rows(self, stored: &Stored, d_in: usize) -> Storage {
        let Self::As(storage) = self else {
            return match stored.format() {
                // PEFT rounds a sum to the weights' own form as well; of others it is kept whole
                Format::Bf16 => Storage::Bf16,
                _ if stored.is_changed() => Storage::F32,
                Format::F8E4m3 | Format::F8E5m2 => Storage::Bf16,
                Format::F16 => Storage::Blocks(BlockType::F16),
                Format::Block(block) if stored.has_rows_of(block, d_in) => Storage::Blocks(block),
                _ => Storage::F32,
            };
        };
        storage
    }
}

impl fmt::Display for Keep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Keep {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let known = || Self::ALL.map(Self::name).join(", ");
        Self::ALL.into_iter().find(|keep| keep.name() == text).ok_or_else(|| format!("one of {}", known()))
    }
}

impl From<Storage> for Keep {
    fn from(storage: Storage) -> Self {
        Self::As(storage)
    }
}

/// What a model's parameters take in memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// What the matrices are kept as, and what they are stored as where that differs, such as `q4_1, q8_0` and
    /// `q8 (stored as f16)`.
    pub dtype: String,
    /// Bytes of all parameters, scales included.
    pub n_bytes: usize,
}

impl Kept {
    /// Forecasts it from the headers of `files`, which were checked; `takes` says what the device keeps.
    pub fn of(blueprint: &impl Blueprint, files: &WeightFiles, keep: Keep, takes: impl Fn(Storage) -> bool) -> Self {
        let Wanted { matrices, counts, .. } = Wanted::of(blueprint);
        let (mut forms, mut formats) = (BTreeSet::new(), BTreeSet::new());
        let mut n_bytes = Storage::F32.bytes(counts.n_parameters - counts.in_matrices);
        for matrix in &matrices {
            let Some(stored) = files.get(&matrix.name) else { continue };
            let form = Some(keep.of_rows(stored, matrix.d_in)).filter(|form| takes(*form)).unwrap_or(Storage::F32);
            n_bytes = n_bytes.saturating_add(form.bytes(matrix.n_numbers));
            forms.insert(form.name().to_lowercase());
            formats.insert(stored.format().name().to_lowercase());
        }
        let list = |names: &BTreeSet<String>| names.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
        let dtype =
            if forms == formats { list(&forms) } else { format!("{} (stored as {})", list(&forms), list(&formats)) };
        Self { dtype, n_bytes }
    }
}
