//! Bodies of functions: scopes with their registers, variables and labels, and statements in order.

use std::collections::HashMap;

use super::{Cursor, Operand, Type, Variable, declaration, operand};
use crate::Error;
use crate::report::Line;

/// The body of a function.
#[derive(Debug, Default)]
pub(crate) struct Body {
    /// The first is the body itself, the others are blocks in braces inside it.
    pub scopes: Vec<Scope>,
    pub statements: Vec<Statement>,
}

/// A block in braces.
#[derive(Debug, Default)]
pub(crate) struct Scope {
    pub parent: Option<usize>,
    registers: HashMap<String, Type>,
    /// `%r<12>` declares `%r0` to `%r11`.
    ranges: HashMap<String, (u64, Type)>,
    pub variables: Vec<Variable>,
    /// The statement that a label stands before.
    pub labels: HashMap<String, usize>,
    /// The labels behind `.branchtargets`.
    pub branch_targets: HashMap<String, Vec<String>>,
}

/// An instruction as it is written.
#[derive(Debug)]
pub(crate) struct Statement {
    pub scope: usize,
    /// `@p` or, with true, `@!p`.
    pub guard: Option<(String, bool)>,
    pub opcode: String,
    pub operands: Vec<Operand>,
    /// The text, for messages.
    pub text: String,
    pub ptx_line: u32,
    pub line: Option<Line>,
}

impl Scope {
    /// The type of a register that this scope declares.
    pub(crate) fn register(&self, name: &str) -> Option<Type> {
        self.registers.get(name).copied().or_else(|| {
            let prefix = name.trim_end_matches(|c: char| c.is_ascii_digit());
            let (count, kind) = self.ranges.get(prefix)?;
            (name[prefix.len()..].parse::<u64>().ok()? < *count).then_some(*kind)
        })
    }
}

impl Body {
    /// Asks the scope and those around it, innermost first; gives the scope that answers.
    pub(crate) fn find<'s, T>(&'s self, scope: usize, ask: impl Fn(&'s Scope) -> Option<T>) -> Option<(usize, T)> {
        let mut at = Some(scope);
        while let Some(index) = at {
            if let Some(answer) = ask(&self.scopes[index]) {
                return Some((index, answer));
            }
            at = self.scopes[index].parent;
        }
        None
    }
}

/// Reads a body from its opening brace through its closing one.
pub(crate) fn parse(cursor: &mut Cursor) -> Result<Body, Error> {
    cursor.expect("{")?;
    let mut body = Body::default();
    body.scopes.push(Scope::default());
    let (mut scope, mut line) = (0, None);
    loop {
        match cursor.peek_text() {
            "{" => {
                cursor.take()?;
                body.scopes.push(Scope { parent: Some(scope), ..Scope::default() });
                scope = body.scopes.len() - 1;
            }
            "}" => {
                cursor.take()?;
                match body.scopes[scope].parent {
                    Some(parent) => scope = parent,
                    None => return Ok(body),
                }
            }
            text if text == ".reg" || text.starts_with(".reg.") => registers(cursor, &mut body.scopes[scope])?,
            ".shared" | ".local" | ".param" | ".const" | ".global" => {
                body.scopes[scope].variables.extend(declaration::variables(cursor, false)?);
            }
            ".loc" => line = location(&cursor.rest_of_line()),
            ".pragma" | ".callprototype" => cursor.skip_past(";")?,
            ";" => drop(cursor.take()?),
            _ if cursor.second_text() == ":" => label(cursor, &mut body, scope)?,
            _ => body.statements.push(statement(cursor, scope, line)?),
        }
    }
}

fn registers(cursor: &mut Cursor, scope: &mut Scope) -> Result<(), Error> {
    // `.reg .b32` or `.reg.b32`
    let kind = match cursor.take()?.text.strip_prefix(".reg.") {
        Some(kind) => kind,
        None => cursor.take()?.text.trim_start_matches('.'),
    };
    let kind = Type::parse(kind).ok_or_else(|| cursor.error(format!("unknown register type `{kind}`")))?;
    while !cursor.accept(";") {
        let name = cursor.take()?.text.to_string();
        if cursor.accept("<") {
            scope.ranges.insert(name, (operand::number(cursor)?, kind));
            cursor.expect(">")?;
        } else {
            scope.registers.insert(name, kind);
        }
        cursor.accept(",");
    }
    Ok(())
}

fn label(cursor: &mut Cursor, body: &mut Body, scope: usize) -> Result<(), Error> {
    let name = cursor.take()?.text.to_string();
    cursor.expect(":")?;
    if cursor.accept(".branchtargets") {
        let mut targets = Vec::new();
        while !cursor.accept(";") {
            targets.push(cursor.take()?.text.to_string());
            cursor.accept(",");
        }
        body.scopes[scope].branch_targets.insert(name, targets);
    } else {
        body.scopes[scope].labels.insert(name, body.statements.len());
    }
    Ok(())
}

fn statement(cursor: &mut Cursor, scope: usize, line: Option<Line>) -> Result<Statement, Error> {
    let first = cursor.peek().ok_or_else(|| cursor.error("the body does not end"))?;
    let mut guard = None;
    if cursor.accept("@") {
        let negated = cursor.accept("!");
        guard = Some((cursor.take()?.text.to_string(), negated));
    }
    let opcode = cursor.take()?.text.to_string();
    let operands = operand::list(cursor)?;
    let text = cursor.text_since(first);
    Ok(Statement { scope, guard, opcode, operands, text, ptx_line: first.line, line })
}

/// From `.loc 1 10 33, function_name f, inlined_at 1 70 9`.
fn location(words: &[&str]) -> Option<Line> {
    let number = |at: usize| words.get(at)?.parse().ok();
    let inlined = words.iter().position(|word| *word == "inlined_at");
    let line: u32 = number(2)?;
    // line 0 is what the compiler added itself
    (line > 0).then(|| Line { line, inlined_at: inlined.and_then(|at| number(at + 2)) })
}
