//! From statements as they are written to instructions with numbered registers and places.

mod arithmetic;
mod bits;
mod control;
mod convert;
mod copies;
mod matrix;
mod memory;
mod places;
mod predicates;
mod warp;

use std::collections::HashMap;

use crate::Error;
use crate::op::{Addr, Instruction, LaneMask, Op, Pred, SINK, Slot, Space, Special, Src};
use crate::report::Site;
use crate::syntax::{Body, Function, Operand, Statement, Tree, Type};

pub(crate) use convert::Conversion;
pub(crate) use matrix::bytes_of;
pub(crate) use places::{LOCAL_WINDOW, PARAM_WINDOW, SHARED_START, SHARED_WINDOW};

/// A kernel that can run: its instructions and what a launch has to provide.
#[derive(Debug, Default)]
pub(crate) struct Program {
    pub name: String,
    pub code: Vec<Instruction>,
    /// What each instruction was in the text.
    pub sites: Vec<Site>,
    /// The first instruction of the kernel; functions it calls stand before it.
    pub entry: u32,
    /// The bits of each register.
    pub widths: Vec<u64>,
    pub predicates: usize,
    /// Offset and bytes of each parameter.
    pub parameters: Vec<(usize, usize)>,
    pub parameter_bytes: usize,
    /// Where dynamic shared memory starts, behind the declared variables.
    pub dynamic_start: u32,
    pub local_bytes: usize,
    /// Bytes a lane has for parameters of device functions.
    pub frame_bytes: usize,
    pub max_threads: Option<u32>,
}

/// A register: a number in the file of data or in that of predicates.
#[derive(Debug, Clone, Copy)]
enum Register {
    Data { slot: Slot, bytes: usize },
    Predicate(Slot),
}

pub(crate) struct Lower<'t> {
    tree: &'t Tree,
    globals: &'t HashMap<String, u64>,
    out: Program,
    slots: HashMap<(usize, usize, String), Register>,
    places: places::Places,
    /// First instruction of each function that has been lowered.
    functions: HashMap<&'t str, (usize, u32)>,
    function: usize,
    statement: &'t Statement,
    body: &'t Body,
    /// Branches of the current function: instruction and the statements it may go to.
    fixups: Vec<(usize, Vec<usize>)>,
}

/// Lowers a kernel and the functions it calls.
pub(crate) fn kernel(tree: &Tree, entry: &Function, globals: &HashMap<String, u64>) -> Result<Program, Error> {
    let Some(body) = &entry.body else {
        return Err(Error::NoKernel { name: entry.name.clone(), kernels: Vec::new() });
    };
    let Some(statement) = body.statements.first() else {
        return Err(Error::Syntax { line: 0, reason: format!("`{}` is empty", entry.name) });
    };
    let order = control::call_order(tree, entry)?;
    let mut lower = Lower {
        tree,
        globals,
        out: Program { name: entry.name.clone(), max_threads: entry.max_threads, ..Program::default() },
        slots: HashMap::new(),
        places: places::Places::new(tree, &order),
        functions: HashMap::new(),
        function: 0,
        statement,
        body,
        fixups: Vec::new(),
    };
    for index in order {
        lower.lower_function(index)?;
    }
    lower.places.finish(&mut lower.out);
    Ok(lower.out)
}

impl<'t> Lower<'t> {
    fn lower_function(&mut self, index: usize) -> Result<(), Error> {
        let tree = self.tree;
        let function = &tree.functions[index];
        let Some(body) = &function.body else { return Ok(()) };
        let start = self.out.code.len() as u32;
        self.functions.insert(&function.name, (index, start));
        (self.function, self.body) = (index, body);
        if function.is_entry {
            self.out.entry = start;
        }
        let mut starts = Vec::with_capacity(body.statements.len() + 1);
        for statement in &body.statements {
            starts.push(self.out.code.len() as u32);
            self.statement = statement;
            self.lower_statement()?;
        }
        starts.push(self.out.code.len() as u32);
        self.push(if function.is_entry { Op::Exit } else { Op::Return });
        self.patch(&starts);
        Ok(())
    }

    fn patch(&mut self, starts: &[u32]) {
        for (at, goals) in std::mem::take(&mut self.fixups) {
            let goals = goals.iter().map(|statement| starts[*statement]);
            match &mut self.out.code[at].op {
                Op::Branch { target } => *target = goals.into_iter().next().unwrap_or(0),
                Op::BranchIndex { targets, .. } => *targets = goals.collect(),
                _ => unreachable!("only branches wait for their targets"),
            }
        }
    }

    fn lower_statement(&mut self) -> Result<(), Error> {
        let statement = self.statement;
        let parts: Vec<&str> = statement.opcode.split('.').collect();
        let operands = statement.operands.as_slice();
        let op = match parts[0] {
            "bra" | "brx" | "call" | "ret" | "exit" | "trap" | "brkpt" | "nanosleep" | "pmevent" => {
                self.control(&parts, operands)?
            }
            "bar" | "barrier" | "membar" | "fence" | "griddepcontrol" => self.synchronization(&parts, operands)?,
            "setp" | "selp" | "set" | "slct" | "testp" => self.predicates(&parts, operands)?,
            "mov" | "cvta" | "isspacep" => self.moves(&parts, operands)?,
            "ld" | "ldu" | "st" | "atom" | "red" | "prefetch" | "prefetchu" | "discard" | "applypriority" => {
                self.memory(&parts, operands)?
            }
            "cvt" => self.conversion(&parts, operands)?,
            "shfl" | "vote" | "match" | "redux" | "elect" | "activemask" => self.warp_wide(&parts, operands)?,
            "mma" | "wgmma" | "ldmatrix" | "stmatrix" | "movmatrix" | "setmaxnreg" => self.matrix(&parts, operands)?,
            "cp" | "mbarrier" => self.copies(&parts, operands)?,
            _ if parts.last() == Some(&"pred") => self.predicates(&parts, operands)?,
            _ => self.arithmetic(&parts, operands)?,
        };
        if let Some(op) = op {
            self.push(op);
        }
        Ok(())
    }

    /// Adds an instruction under the statement's guard.
    fn push(&mut self, op: Op) {
        let statement = self.statement;
        let guard = statement.guard.as_ref().and_then(|(name, negated)| {
            let slot = self.register(name).and_then(|register| match register {
                Register::Predicate(slot) => Some(slot),
                Register::Data { .. } => None,
            })?;
            Some(Pred::Reg { slot, negated: *negated })
        });
        self.out.code.push(Instruction { guard, op });
        let text = statement.text.clone();
        self.out.sites.push(Site { opcode: statement.opcode.clone(), text, line: statement.line });
    }

    fn unknown<T>(&self) -> Result<T, Error> {
        Err(Error::Unknown { line: self.statement.ptx_line, instruction: self.statement.text.clone() })
    }

    fn bad(&self, reason: impl Into<String>) -> Error {
        Error::Operand {
            line: self.statement.ptx_line,
            instruction: self.statement.text.clone(),
            reason: reason.into(),
        }
    }

    /// The operand at a place that must be there.
    fn at(&self, operands: &'t [Operand], index: usize) -> Result<&'t Operand, Error> {
        operands.get(index).ok_or_else(|| self.bad(format!("operand {} is missing", index + 1)))
    }

    fn register(&mut self, name: &str) -> Option<Register> {
        let body = self.body;
        let (scope, kind) = body.find(self.statement.scope, |scope| scope.register(name))?;
        let out = &mut self.out;
        Some(*self.slots.entry((self.function, scope, name.to_string())).or_insert_with(|| {
            if kind == Type::Pred {
                out.predicates += 1;
                return Register::Predicate(out.predicates as Slot - 1);
            }
            out.widths.push(u64::MAX >> (64 - 8 * kind.bytes().min(8)));
            Register::Data { slot: out.widths.len() as Slot - 1, bytes: kind.bytes() }
        }))
    }

    /// A data register that no name stands for.
    fn scratch(&mut self) -> Slot {
        self.out.widths.push(u64::MAX);
        self.out.widths.len() as Slot - 1
    }

    fn src(&mut self, operand: &'t Operand) -> Result<Src, Error> {
        match operand {
            Operand::Number(value) => Ok(Src::Imm(*value)),
            Operand::Address(sum) => {
                let Src::Imm(base) = self.src(&sum.base)? else { return Err(self.bad("a sum needs a variable")) };
                Ok(Src::Imm(base.wrapping_add_signed(sum.offset)))
            }
            Operand::Name(name) => match self.register(name) {
                Some(Register::Data { slot, .. }) => Ok(Src::Reg(slot)),
                Some(Register::Predicate(_)) => Err(self.bad(format!("`{name}` is a predicate"))),
                None => self.named_value(name),
            },
            _ => Err(self.bad("not an operand that has a value")),
        }
    }

    /// A special register, or the address of a variable.
    fn named_value(&mut self, name: &'t str) -> Result<Src, Error> {
        if name == "WARP_SZ" {
            return Ok(Src::Imm(32));
        }
        if let Some(which) = special(name) {
            let d = self.scratch();
            self.push(Op::Special { d, which });
            return Ok(Src::Reg(d));
        }
        self.symbol(name)
            .map(|(_, address)| Src::Imm(address))
            .ok_or_else(|| self.bad(format!("`{name}` is neither declared nor a special register")))
    }

    /// Space and address of a variable or parameter.
    fn symbol(&self, name: &str) -> Option<(Space, u64)> {
        self.places
            .find(self.body, self.function, self.statement.scope, name)
            .or_else(|| self.globals.get(name).map(|address| (Space::Global, *address)))
    }

    fn dst(&mut self, operand: &'t Operand) -> Result<Slot, Error> {
        Ok(self.sized_dst(operand)?.0)
    }

    /// A destination and its bytes.
    fn sized_dst(&mut self, operand: &'t Operand) -> Result<(Slot, usize), Error> {
        match operand.name() {
            Some("_") => Ok((SINK, 8)),
            Some(name) => match self.register(name) {
                Some(Register::Data { slot, bytes }) => Ok((slot, bytes)),
                _ => Err(self.bad(format!("`{name}` is not a data register"))),
            },
            None => Err(self.bad("the destination is not a register")),
        }
    }

    fn pred_dst(&mut self, operand: &'t Operand) -> Result<Slot, Error> {
        match operand.name() {
            Some("_") => Ok(SINK),
            Some(name) => match self.register(name) {
                Some(Register::Predicate(slot)) => Ok(slot),
                _ => Err(self.bad(format!("`{name}` is not a predicate"))),
            },
            None => Err(self.bad("the destination is not a predicate")),
        }
    }

    fn pred(&mut self, operand: &'t Operand) -> Result<Pred, Error> {
        match operand {
            Operand::Number(value) => Ok(Pred::Const(*value != 0)),
            Operand::Not(inner) => Ok(match self.pred(inner)? {
                Pred::Const(value) => Pred::Const(!value),
                Pred::Reg { slot, negated } => Pred::Reg { slot, negated: !negated },
            }),
            _ => Ok(Pred::Reg { slot: self.pred_dst(operand)?, negated: false }),
        }
    }

    /// Whether an operand is a predicate rather than data.
    fn is_pred(&mut self, operand: &'t Operand) -> bool {
        match operand {
            Operand::Not(_) => true,
            _ => operand.name().is_some_and(|name| matches!(self.register(name), Some(Register::Predicate(_)))),
        }
    }

    fn srcs(&mut self, operand: &'t Operand) -> Result<Vec<Src>, Error> {
        match operand {
            Operand::Vector(parts) => parts.iter().map(|part| self.src(part)).collect(),
            other => Ok(vec![self.src(other)?]),
        }
    }

    fn dsts(&mut self, operand: &'t Operand) -> Result<Vec<Slot>, Error> {
        match operand {
            Operand::Vector(parts) => parts.iter().map(|part| self.dst(part)).collect(),
            other => Ok(vec![self.dst(other)?]),
        }
    }

    /// The place that `[a + 4]` names, in a space or, for a variable, in its own.
    fn addr(&mut self, operand: &'t Operand, space: Space) -> Result<Addr, Error> {
        let Operand::Address(address) = operand else { return Err(self.bad("expected an address in brackets")) };
        let base = self.src(&address.base)?;
        Ok(Addr { space, base, offset: address.offset })
    }
}

/// The special register of a name.
fn special(name: &str) -> Option<Special> {
    let (stem, axis) = name.split_once('.').unwrap_or((name, ""));
    let axis = ["x", "y", "z"].iter().position(|known| *known == axis).unwrap_or(0) as u8;
    Some(match stem {
        "%tid" => Special::Tid(axis),
        "%ntid" => Special::Ntid(axis),
        "%ctaid" | "%clusterid" => Special::Ctaid(axis),
        "%nctaid" | "%nclusterid" => Special::Nctaid(axis),
        "%laneid" => Special::LaneId,
        "%warpid" => Special::WarpId,
        "%nwarpid" => Special::NWarpId,
        "%clock" | "%clock64" | "%clock_hi" | "%globaltimer" | "%globaltimer_lo" | "%globaltimer_hi" => Special::Clock,
        "%dynamic_smem_size" => Special::DynamicShared,
        "%total_smem_size" | "%aggr_smem_size" => Special::TotalShared,
        "%lanemask_eq" => Special::LaneMask(LaneMask::Eq),
        "%lanemask_lt" => Special::LaneMask(LaneMask::Lt),
        "%lanemask_le" => Special::LaneMask(LaneMask::Le),
        "%lanemask_gt" => Special::LaneMask(LaneMask::Gt),
        "%lanemask_ge" => Special::LaneMask(LaneMask::Ge),
        // one block makes a cluster
        "%cluster_ctaid" | "%cluster_ctarank" | "%smid" | "%gridid" | "%is_explicit_cluster" => Special::Constant(0),
        "%cluster_nctaid" | "%cluster_nctarank" | "%nsmid" => Special::Constant(1),
        _ => return None,
    })
}
