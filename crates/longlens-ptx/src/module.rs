use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::Error;
use crate::lower::{self, Program};
use crate::memory::Memory;
use crate::syntax::{self, Space, Tree};

/// Addresses of the first module's variables; each module has a range of its own.
const VARIABLES: u64 = 0x1_0000_0000_0000 >> 8;
const RANGE: u64 = 1 << 32;

/// Modules made so far.
static MODULES: AtomicU64 = AtomicU64::new(1);

/// A text that was read: kernels ready to be launched.
#[derive(Debug)]
pub struct Module {
    target: String,
    programs: Vec<Program>,
    /// Variables in global and constant memory: name, address, first content, writable.
    variables: Vec<(String, u64, Vec<u8>, bool)>,
}

impl Module {
    /// Reads PTX text; every kernel in it has to consist of known instructions.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let tree = syntax::parse(text.trim_end_matches('\0'))?;
        let variables = variables(&tree);
        let globals: HashMap<String, u64> = variables.iter().map(|(name, at, ..)| (name.clone(), *at)).collect();
        let entries = tree.functions.iter().filter(|function| function.is_entry);
        let programs = entries.map(|entry| lower::kernel(&tree, entry, &globals)).collect::<Result<_, _>>()?;
        Ok(Self { target: tree.target, programs, variables })
    }

    /// The architecture that the text was compiled for, such as `sm_90a`.
    pub fn target(&self) -> &str {
        &self.target
    }

    /// The names of the kernels.
    pub fn kernels(&self) -> impl Iterator<Item = &str> {
        self.programs.iter().map(|program| program.name.as_str())
    }

    pub(crate) fn program(&self, name: &str) -> Result<&Program, Error> {
        self.programs.iter().find(|program| program.name == name).ok_or_else(|| Error::NoKernel {
            name: name.to_string(),
            kernels: self.kernels().map(str::to_string).collect(),
        })
    }

    /// Gives the module's variables their places, if this memory has not seen the module before.
    pub(crate) fn place_variables(&self, memory: &mut Memory) {
        for (name, base, content, writable) in &self.variables {
            memory.place_variable(name, *base, content.clone(), *writable);
        }
    }
}

fn variables(tree: &Tree) -> Vec<(String, u64, Vec<u8>, bool)> {
    let mut next = VARIABLES + RANGE * MODULES.fetch_add(1, Ordering::Relaxed);
    let mut found = Vec::new();
    let outside = tree.variables.iter().filter(|variable| matches!(variable.space, Space::Global | Space::Const));
    for variable in outside {
        let mut content = variable.initial.clone();
        content.resize(variable.bytes, 0);
        let base = next.next_multiple_of(variable.align.max(16) as u64);
        next = base + variable.bytes as u64 + 4096;
        found.push((variable.name.clone(), base, content, variable.space == Space::Global));
    }
    found
}
