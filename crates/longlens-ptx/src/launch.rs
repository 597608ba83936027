//! Launches: a kernel, its grid and its arguments.

use std::ops::Range;

use crate::block::{Block, Count, Device};
use crate::lower::{Program, SHARED_START};
use crate::memory::{Buffer, Memory, Plain, bytes_of};
use crate::race::blocks::Blocks;
use crate::report::{Conflicts, Report, Traffic};
use crate::tensor_map::TensorMap;
use crate::{Error, Module};

/// The most dynamic shared memory of a block.
const MAX_SHARED: u32 = 227 * 1024;

/// A kernel's argument.
#[derive(Debug, Clone, PartialEq)]
pub enum Arg {
    /// A number or a struct by value.
    Bytes(Vec<u8>),
    Map(TensorMap),
}

impl Arg {
    /// A struct whose fields all have one type, or any bytes.
    pub fn values<T: Plain>(values: &[T]) -> Self {
        Self::Bytes(bytes_of(values))
    }
}

impl From<Buffer> for Arg {
    fn from(buffer: Buffer) -> Self {
        Self::values(&[buffer.0])
    }
}

impl From<TensorMap> for Arg {
    fn from(map: TensorMap) -> Self {
        Self::Map(map)
    }
}

macro_rules! number_arg {
    ($($number:ty),*) => {$(
        impl From<$number> for Arg {
            fn from(value: $number) -> Self { Self::values(&[value]) }
        }
    )*};
}

number_arg!(u32, i32, u64, i64, f32, f64);

/// How a launch is to be made.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Options {
    pub backward: bool,
    pub permit_uninitialized: bool,
    pub max_instructions: u64,
}

/// A launch to be made.
#[derive(Debug, Clone)]
pub struct Launch<'m> {
    module: &'m Module,
    kernel: String,
    grid: [u32; 3],
    block: [u32; 3],
    dynamic_shared: u32,
    args: Vec<Arg>,
    options: Options,
    n_threads: usize,
}

impl<'m> Launch<'m> {
    /// A launch of one block of one thread, until it is told otherwise.
    pub fn new(module: &'m Module, kernel: &str) -> Self {
        let options = Options { backward: false, permit_uninitialized: false, max_instructions: 50_000_000 };
        Self {
            module,
            kernel: kernel.to_string(),
            grid: [1; 3],
            block: [1; 3],
            dynamic_shared: 0,
            args: Vec::new(),
            options,
            n_threads: 1,
        }
    }

    #[must_use]
    pub fn grid(mut self, x: u32, y: u32, z: u32) -> Self {
        self.grid = [x, y, z];
        self
    }

    #[must_use]
    pub fn block(mut self, x: u32, y: u32, z: u32) -> Self {
        self.block = [x, y, z];
        self
    }

    /// Bytes of dynamic shared memory.
    #[must_use]
    pub fn shared(mut self, bytes: u32) -> Self {
        self.dynamic_shared = bytes;
        self
    }

    #[must_use]
    pub fn arg(mut self, arg: impl Into<Arg>) -> Self {
        self.args.push(arg.into());
        self
    }

    /// Blocks, and the warps of a block, in the opposite order.
    #[must_use]
    pub fn backward(mut self) -> Self {
        self.options.backward = true;
        self
    }

    /// Reads of what was never written are not reported.
    #[must_use]
    pub fn permit_uninitialized(mut self) -> Self {
        self.options.permit_uninitialized = true;
        self
    }

    /// How many instructions the warps of a block may execute before it counts as a loop without end.
    #[must_use]
    pub fn max_instructions(mut self, count: u64) -> Self {
        self.options.max_instructions = count;
        self
    }

    /// Runs the blocks on that many threads, each on a copy of the memory: only for blocks that do not depend on each other.
    /// Two that write different values to one byte make the launch an error.
    #[must_use]
    pub fn threads(mut self, count: usize) -> Self {
        self.n_threads = count.max(1);
        self
    }

    /// Runs all blocks, each to its end. Mistakes after which nothing makes sense are errors, others are in the report.
    pub fn run(&self, memory: &mut Memory) -> Result<Report, Error> {
        let program = self.module.program(&self.kernel)?;
        let parameters = self.parameters(program)?;
        self.check(program)?;
        self.module.place_variables(memory);
        memory.reset_traffic();
        let [x, y, z] = self.grid.map(u64::from);
        let n_blocks = x * y * z;
        if self.n_threads == 1 {
            let share = self.run_share(program, &parameters, memory, 0..n_blocks)?;
            return Ok(self.report(program, memory, vec![share]));
        }
        let shares = self.run_apart(program, &parameters, memory, n_blocks)?;
        Ok(self.report(program, memory, shares))
    }

    /// Runs some of the blocks in order.
    fn run_share(
        &self,
        program: &Program,
        (parameters, maps): &Parameters,
        memory: &mut Memory,
        turns: Range<u64>,
    ) -> Result<Share, Error> {
        let mut device = Device {
            program,
            memory,
            options: self.options,
            grid: self.grid,
            threads: self.block,
            dynamic_shared: self.dynamic_shared,
            parameters: parameters.clone(),
            maps: maps.clone(),
            counts: vec![Count::default(); program.code.len()],
            report: Report::default(),
            blocks: Blocks::default(),
        };
        let [x, y, z] = self.grid.map(u64::from);
        let mut block = Block::new(&mut device);
        for turn in turns {
            let index = if self.options.backward { x * y * z - 1 - turn } else { turn };
            block.run([(index % x) as u32, (index / x % y) as u32, (index / (x * y)) as u32])?;
        }
        Ok((device.counts, device.report))
    }

    /// Runs shares of the blocks at the same time and puts together what they wrote.
    fn run_apart(
        &self,
        program: &Program,
        parameters: &Parameters,
        memory: &mut Memory,
        n_blocks: u64,
    ) -> Result<Vec<Share>, Error> {
        let each = n_blocks.div_ceil(self.n_threads as u64);
        let before = memory.clone();
        let run = |first: u64| {
            let mut copy = before.clone();
            let turns = first..(first + each).min(n_blocks);
            self.run_share(program, parameters, &mut copy, turns).map(|share| (share, copy))
        };
        let results: Vec<_> = std::thread::scope(|scope| {
            let firsts = (0..n_blocks).step_by(each as usize);
            let threads: Vec<_> = firsts.map(|first| scope.spawn(move || run(first))).collect();
            threads.into_iter().map(|thread| thread.join().expect("the interpreter does not panic")).collect()
        });
        let mut shares = Vec::new();
        for result in results {
            let (share, after) = result?;
            memory.take_over(&before, &after).map_err(|buffer| {
                self.refuse(format!("blocks of different threads write different values to one byte of `{buffer}`"))
            })?;
            shares.push(share);
        }
        Ok(shares)
    }

    /// Counters of instructions become those of a report.
    fn report(&self, program: &Program, memory: &Memory, shares: Vec<Share>) -> Report {
        let mut report = Report::default();
        let mut counts = vec![Count::default(); program.code.len()];
        for (share, part) in shares {
            counts.iter_mut().zip(&share).for_each(|(count, other)| count.add(other));
            report.merge(part);
        }
        for (site, count) in program.sites.iter().zip(&counts).filter(|(_, count)| count.warps > 0) {
            report.warp_instructions += count.warps;
            report.lane_instructions += count.lanes;
            *report.opcodes.entry(site.opcode.clone()).or_default() += count.warps;
            if count.extra_passes > 0 {
                let (accesses, extra) = (count.shared_accesses, count.extra_passes);
                report.conflicts.push(Conflicts { site: site.clone(), accesses, extra });
            }
        }
        report.shared_bytes = program.dynamic_start - SHARED_START + self.dynamic_shared;
        report.traffic = memory
            .allocations
            .iter()
            .map(|buffer| Traffic { buffer: buffer.name.clone(), loaded: buffer.loaded, stored: buffer.stored })
            .collect();
        report
    }

    fn refuse(&self, reason: String) -> Error {
        Error::Launch { kernel: self.kernel.clone(), reason }
    }

    fn check(&self, program: &Program) -> Result<(), Error> {
        let threads: u32 = self.block.iter().product();
        let most = program.max_threads.unwrap_or(1024).min(1024);
        if threads == 0 || threads > most || self.grid.contains(&0) {
            return Err(self.refuse(format!("{threads} threads a block, of at most {most}")));
        }
        let shared = program.dynamic_start - SHARED_START + self.dynamic_shared;
        if shared > MAX_SHARED {
            return Err(self.refuse(format!("{shared} bytes of shared memory, of at most {MAX_SHARED}")));
        }
        Ok(())
    }

    fn parameters(&self, program: &Program) -> Result<Parameters, Error> {
        if self.args.len() != program.parameters.len() {
            let (given, wanted) = (self.args.len(), program.parameters.len());
            return Err(self.refuse(format!("{given} arguments for {wanted} parameters")));
        }
        let mut bytes = vec![0; program.parameter_bytes];
        let mut maps = Vec::new();
        for (index, (arg, (offset, size))) in self.args.iter().zip(&program.parameters).enumerate() {
            match arg {
                Arg::Bytes(value) if value.len() == *size => bytes[*offset..offset + size].copy_from_slice(value),
                Arg::Bytes(value) => {
                    return Err(self.refuse(format!("argument {index} has {} bytes instead of {size}", value.len())));
                }
                Arg::Map(map) => {
                    map.check().map_err(|reason| self.refuse(reason))?;
                    maps.push((*offset, map.clone()));
                }
            }
        }
        Ok((bytes, maps))
    }
}

/// The bytes of all parameters, and the tensor maps among them by offset.
type Parameters = (Vec<u8>, Vec<(usize, TensorMap)>);

/// Counters of the instructions, and findings, of some of the blocks.
type Share = (Vec<Count>, Report);
