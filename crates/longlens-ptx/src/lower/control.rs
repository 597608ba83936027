//! Branches, calls, barriers and fences.

use super::Lower;
use crate::Error;
use crate::op::{Barrier, BarrierKind, CLUSTER_BARRIER, Call, Fence, Op, Reduce, ReduceKind, Space, Src};
use crate::syntax::{Function, Operand, Tree};

/// A kernel and the functions it reaches: those that are called first come first.
pub(super) fn call_order(tree: &Tree, entry: &Function) -> Result<Vec<usize>, Error> {
    fn visit(tree: &Tree, index: usize, path: &mut Vec<usize>, order: &mut Vec<usize>) -> Result<(), Error> {
        let function = &tree.functions[index];
        if path.contains(&index) {
            return Err(Error::Syntax { line: 0, reason: format!("`{}` calls itself", function.name) });
        }
        if order.contains(&index) {
            return Ok(());
        }
        path.push(index);
        let calls = function.body.iter().flat_map(|body| &body.statements);
        for statement in calls.filter(|statement| statement.opcode.starts_with("call")) {
            if let Some(callee) = statement.operands.iter().find_map(|operand| defined(tree, operand.name()?)) {
                visit(tree, callee, path, order)?;
            }
        }
        path.pop();
        order.push(index);
        Ok(())
    }
    let start = tree.functions.iter().position(|function| std::ptr::eq(function, entry)).unwrap_or(0);
    let mut order = Vec::new();
    visit(tree, start, &mut Vec::new(), &mut order)?;
    Ok(order)
}

/// The function of a name that has a body.
fn defined(tree: &Tree, name: &str) -> Option<usize> {
    tree.functions.iter().position(|function| function.name == name && function.body.is_some())
}

impl<'t> Lower<'t> {
    pub(super) fn control(&mut self, parts: &[&str], operands: &'t [Operand]) -> Result<Option<Op>, Error> {
        Ok(Some(match parts[0] {
            "bra" => {
                let goal = self.at(operands, 0)?;
                let goal = self.label(goal)?;
                self.fixups.push((self.out.code.len(), vec![goal]));
                Op::Branch { target: 0 }
            }
            "brx" => return self.branch_index(operands).map(Some),
            "call" => return self.call(operands).map(Some),
            "ret" if self.tree.functions[self.function].is_entry => Op::Exit,
            "ret" => Op::Return,
            "exit" => Op::Exit,
            "trap" => Op::Trap,
            _ => Op::Nop,
        }))
    }

    /// The statement behind a label.
    fn label(&self, operand: &Operand) -> Result<usize, Error> {
        let name = operand.name().ok_or_else(|| self.bad("expected a label"))?;
        self.label_named(name)
    }

    fn label_named(&self, name: &str) -> Result<usize, Error> {
        self.body
            .find(self.statement.scope, |scope| scope.labels.get(name).copied())
            .map(|(_, statement)| statement)
            .ok_or_else(|| self.bad(format!("there is no label `{name}`")))
    }

    fn branch_index(&mut self, operands: &'t [Operand]) -> Result<Op, Error> {
        let [index, list] = operands else { return self.unknown() };
        let index = self.src(index)?;
        let name = list.name().ok_or_else(|| self.bad("expected a list of targets"))?;
        let targets = self
            .body
            .find(self.statement.scope, |scope| scope.branch_targets.get(name))
            .ok_or_else(|| self.bad(format!("there is no list of targets `{name}`")))?
            .1;
        let goals = targets.iter().map(|target| self.label_named(target)).collect::<Result<_, _>>()?;
        self.fixups.push((self.out.code.len(), goals));
        Ok(Op::BranchIndex { index, targets: Vec::new() })
    }

    /// `call (results), function, (arguments);` each part of which may be absent.
    fn call(&mut self, operands: &'t [Operand]) -> Result<Op, Error> {
        let at = operands.iter().position(|operand| operand.name().is_some());
        let at = at.ok_or_else(|| self.bad("the call names no function"))?;
        let name = operands[at].name().unwrap_or_default();
        let Some(&(index, target)) = self.functions.get(name) else {
            match name {
                // a failed `assert` ends the kernel, and nothing is printed
                "__assertfail" => return Ok(Op::Trap),
                "vprintf" => return Ok(Op::Nop),
                _ => {}
            }
            return Err(self.bad(format!("the function `{name}` is not in the text")));
        };
        let tree = self.tree;
        let callee = &tree.functions[index];
        let group = |operand: Option<&'t Operand>| match operand {
            Some(Operand::Group(parts)) => parts.as_slice(),
            _ => &[],
        };
        let before = group(at.checked_sub(1).and_then(|before| operands.get(before)));
        let after = group(operands.get(at + 1));
        let mut arguments = Vec::new();
        for (operand, parameter) in after.iter().zip(&callee.parameters) {
            let (from, to) = (self.frame(operand)?, self.parameter_of(index, &parameter.name)?);
            arguments.push((from, to, parameter.bytes as u32));
        }
        let mut results = Vec::new();
        for (operand, result) in before.iter().zip(&callee.results) {
            let (to, from) = (self.frame(operand)?, self.parameter_of(index, &result.name)?);
            results.push((from, to, result.bytes as u32));
        }
        Ok(Op::Call(Box::new(Call { target, arguments, results })))
    }

    fn frame(&self, operand: &Operand) -> Result<u32, Error> {
        match operand.name().and_then(|name| self.symbol(name)) {
            Some((Space::Frame, at)) => Ok(at as u32),
            _ => Err(self.bad("arguments of calls are parameter variables")),
        }
    }

    fn parameter_of(&self, function: usize, name: &str) -> Result<u32, Error> {
        match self.places.parameter(function, name) {
            Some((Space::Frame, at)) => Ok(at as u32),
            _ => Err(self.bad(format!("`{name}` has no place"))),
        }
    }

    pub(super) fn synchronization(&mut self, parts: &[&str], operands: &'t [Operand]) -> Result<Option<Op>, Error> {
        match parts[0] {
            "membar" | "fence" => Ok(Some(Op::Fence(fence(parts)))),
            // one kernel runs at a time
            "griddepcontrol" => Ok(Some(Op::Nop)),
            "bar" if parts.get(1) == Some(&"warp") => self.warp_barrier(operands).map(Some),
            // a cluster is one block: its barrier is one of the block, apart from the 16 named ones
            "barrier" if parts.get(1) == Some(&"cluster") => Ok(Some(cluster_barrier(parts))),
            _ => self.block_barrier(parts, operands).map(Some),
        }
    }

    fn block_barrier(&mut self, parts: &[&str], operands: &'t [Operand]) -> Result<Op, Error> {
        let aligned = parts[0] == "bar" || parts.contains(&"aligned");
        let kind = if parts.contains(&"arrive") { BarrierKind::Arrive } else { BarrierKind::Sync };
        let mut rest = operands;
        let mut reduce = None;
        if parts.contains(&"red") {
            let (Some(d), Some(p)) = (operands.first(), operands.last()) else { return self.unknown() };
            let p = self.pred(p)?;
            let (kind, d) = match parts {
                _ if parts.contains(&"popc") => (ReduceKind::Popc, self.dst(d)?),
                _ if parts.contains(&"and") => (ReduceKind::And, self.pred_dst(d)?),
                _ => (ReduceKind::Or, self.pred_dst(d)?),
            };
            reduce = Some(Reduce { kind, d, p });
            rest = &operands[1..operands.len() - 1];
        }
        let id = self.at(rest, 0)?;
        let id = self.src(id)?;
        let threads = rest.get(1).map(|operand| self.src(operand)).transpose()?;
        Ok(Op::Barrier(Barrier { kind, id, threads, reduce, aligned }))
    }
}

fn fence(parts: &[&str]) -> Fence {
    if parts.contains(&"proxy") && parts.iter().any(|part| part.starts_with("async")) {
        Fence::Proxy
    } else if parts.iter().any(|part| ["gl", "sys", "gpu"].contains(part)) {
        Fence::Device
    } else {
        Fence::Block
    }
}

fn cluster_barrier(parts: &[&str]) -> Op {
    if parts.contains(&"arrive") {
        return Op::Nop;
    }
    let id = Src::Imm(CLUSTER_BARRIER);
    Op::Barrier(Barrier { kind: BarrierKind::Sync, id, threads: None, reduce: None, aligned: false })
}
