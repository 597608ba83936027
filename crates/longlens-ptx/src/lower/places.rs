//! Where variables and parameters live: addresses in shared, local and parameter memory.

use std::collections::{HashMap, HashSet};

use super::Program;
use crate::op::Space;
use crate::syntax::{self, Body, Operand, Tree, Variable};

/// Generic addresses of shared memory start here.
pub(crate) const SHARED_WINDOW: u64 = 0x7f00_0000_0000;
/// Generic addresses of a thread's own memory start here.
pub(crate) const LOCAL_WINDOW: u64 = 0x7e00_0000_0000;
/// Addresses of the kernel's parameters start here, generic or not.
pub(crate) const PARAM_WINDOW: u64 = 0x7d00_0000_0000;
/// The first shared address of a kernel; the system keeps what is below, so that address 0 is never right.
pub(crate) const SHARED_START: u32 = 1024;

/// Key of a variable: function, scope (none for a parameter), name.
type Key = (usize, Option<usize>, String);

#[derive(Default)]
pub(super) struct Places {
    module_shared: HashMap<String, u64>,
    scoped: HashMap<Key, (Space, u64)>,
    parameters: Vec<(usize, usize)>,
    parameter_bytes: usize,
    shared_end: usize,
    dynamic_start: usize,
    local_bytes: usize,
    frame_bytes: usize,
}

impl Places {
    /// Lays out what the functions of `order` declare and use.
    pub(super) fn new(tree: &Tree, order: &[usize]) -> Self {
        let mut places = Self { shared_end: SHARED_START as usize, ..Self::default() };
        let used = used_names(tree, order);
        let shared =
            |variable: &&Variable| variable.space == syntax::Space::Shared && used.contains(variable.name.as_str());
        for variable in tree.variables.iter().filter(shared).filter(|variable| !variable.is_unsized) {
            let at = place(&mut places.shared_end, variable);
            places.module_shared.insert(variable.name.clone(), at);
        }
        for index in order {
            places.add_function(tree, *index);
        }
        let dynamic: Vec<&Variable> = tree.variables.iter().filter(shared).filter(|v| v.is_unsized).collect();
        let align = dynamic.iter().map(|variable| variable.align).max().unwrap_or(16).max(16);
        places.dynamic_start = places.shared_end.next_multiple_of(align);
        for variable in dynamic {
            places.module_shared.insert(variable.name.clone(), places.dynamic_start as u64);
        }
        places
    }

    fn add_function(&mut self, tree: &Tree, index: usize) {
        let function = &tree.functions[index];
        for variable in &function.parameters {
            let found = if function.is_entry {
                let at = place(&mut self.parameter_bytes, variable);
                self.parameters.push((at as usize, variable.bytes));
                (Space::Param, PARAM_WINDOW + at)
            } else {
                (Space::Frame, place(&mut self.frame_bytes, variable))
            };
            self.scoped.insert((index, None, variable.name.clone()), found);
        }
        for variable in &function.results {
            let at = place(&mut self.frame_bytes, variable);
            self.scoped.insert((index, None, variable.name.clone()), (Space::Frame, at));
        }
        for (scope, declared) in function.body.iter().flat_map(|body| body.scopes.iter().enumerate()) {
            for variable in &declared.variables {
                let found = match variable.space {
                    syntax::Space::Shared => (Space::Shared, place(&mut self.shared_end, variable)),
                    syntax::Space::Local => (Space::Local, place(&mut self.local_bytes, variable)),
                    _ => (Space::Frame, place(&mut self.frame_bytes, variable)),
                };
                self.scoped.insert((index, Some(scope), variable.name.clone()), found);
            }
        }
    }

    /// Space and address of a name, as seen from a scope.
    pub(super) fn find(&self, body: &Body, function: usize, scope: usize, name: &str) -> Option<(Space, u64)> {
        let declares =
            |scope: &syntax::Scope| scope.variables.iter().any(|variable| variable.name == name).then_some(());
        let scope = body.find(scope, declares).map(|(scope, ())| scope);
        let scoped = self.scoped.get(&(function, scope, name.to_string())).copied();
        scoped.or_else(|| self.module_shared.get(name).map(|at| (Space::Shared, *at)))
    }

    /// Space and address of a parameter or result of a function.
    pub(super) fn parameter(&self, function: usize, name: &str) -> Option<(Space, u64)> {
        self.scoped.get(&(function, None, name.to_string())).copied()
    }

    pub(super) fn finish(self, out: &mut Program) {
        out.parameters = self.parameters;
        out.parameter_bytes = self.parameter_bytes;
        out.dynamic_start = self.dynamic_start as u32;
        out.local_bytes = self.local_bytes;
        out.frame_bytes = self.frame_bytes;
    }
}

fn place(end: &mut usize, variable: &Variable) -> u64 {
    let at = end.next_multiple_of(variable.align);
    *end = at + variable.bytes;
    at as u64
}

/// Every name that an operand of these functions mentions.
fn used_names<'t>(tree: &'t Tree, order: &[usize]) -> HashSet<&'t str> {
    let mut names = HashSet::new();
    for body in order.iter().filter_map(|index| tree.functions[*index].body.as_ref()) {
        for operand in body.statements.iter().flat_map(|statement| &statement.operands) {
            collect(operand, &mut names);
        }
    }
    names
}

fn collect<'t>(operand: &'t Operand, names: &mut HashSet<&'t str>) {
    match operand {
        Operand::Name(name) => drop(names.insert(name)),
        Operand::Number(_) => {}
        Operand::Vector(parts) | Operand::Group(parts) => parts.iter().for_each(|part| collect(part, names)),
        Operand::Address(address) => collect(&address.base, names),
        Operand::Not(inner) => collect(inner, names),
        Operand::Pair(first, second) => {
            collect(first, names);
            collect(second, names);
        }
    }
}
