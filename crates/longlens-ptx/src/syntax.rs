//! The text of a PTX module as a tree: variables, functions, scopes, statements.

mod body;
mod declaration;
mod operand;
mod token;

pub(crate) use body::{Body, Scope, Statement};
pub(crate) use declaration::{Space, Type, Variable};
pub(crate) use operand::Operand;

use crate::Error;
use token::Token;

/// A whole text.
#[derive(Debug, Default)]
pub(crate) struct Tree {
    pub target: String,
    pub variables: Vec<Variable>,
    pub functions: Vec<Function>,
}

/// A kernel (`.entry`) or device function (`.func`).
#[derive(Debug)]
pub(crate) struct Function {
    pub name: String,
    pub is_entry: bool,
    pub parameters: Vec<Variable>,
    pub results: Vec<Variable>,
    /// Absent where the function is only declared.
    pub body: Option<Body>,
    /// From `.maxntid`: the largest block that the kernel was compiled for.
    pub max_threads: Option<u32>,
}

/// Reads a whole text.
pub(crate) fn parse(source: &str) -> Result<Tree, Error> {
    let tokens = token::tokens(source)?;
    let mut cursor = Cursor { source, tokens: &tokens, at: 0 };
    let mut tree = Tree::default();
    let mut external = false;
    while let Some(token) = cursor.peek() {
        match token.text {
            ".target" => tree.target = cursor.rest_of_line().get(1).unwrap_or(&"").to_string(),
            ".version" | ".address_size" | ".file" | ".loc" => drop(cursor.rest_of_line()),
            ".section" => cursor.skip_braces()?,
            ".pragma" | ".alias" => cursor.skip_past(";")?,
            ".extern" => external = cursor.next_is_taken(),
            ".entry" | ".func" => {
                tree.functions.push(function(&mut cursor)?);
                external = false;
            }
            ".global" | ".const" | ".shared" => {
                tree.variables.extend(declaration::variables(&mut cursor, external)?);
                external = false;
            }
            ";" | ".visible" | ".weak" | ".common" | ".internal" => drop(cursor.take()?),
            other => return Err(cursor.error(format!("`{other}` is not expected between functions"))),
        }
    }
    Ok(tree)
}

fn function(cursor: &mut Cursor) -> Result<Function, Error> {
    let is_entry = cursor.take()?.text == ".entry";
    let results = declaration::parameters(cursor)?;
    let name = cursor.take()?.text.to_string();
    let parameters = declaration::parameters(cursor)?;
    let mut max_threads = None;
    loop {
        match cursor.peek().map(|token| token.text) {
            Some("{") => break,
            Some(";") => {
                cursor.take()?;
                return Ok(Function { name, is_entry, parameters, results, body: None, max_threads });
            }
            Some(".maxntid" | ".reqntid") => {
                cursor.take()?;
                max_threads = Some(extent(cursor)?);
            }
            Some(_) => drop(cursor.take()?),
            None => return Err(cursor.error(format!("`{name}` has no body"))),
        }
    }
    let body = body::parse(cursor)?;
    Ok(Function { name, is_entry, parameters, results, body: Some(body), max_threads })
}

/// The product of the numbers behind a directive such as `.maxntid 128, 1, 1`.
fn extent(cursor: &mut Cursor) -> Result<u32, Error> {
    let mut product = 1;
    loop {
        product *= operand::number(cursor)? as u32;
        if !cursor.accept(",") {
            return Ok(product);
        }
    }
}

/// A place in the tokens.
pub(crate) struct Cursor<'a> {
    pub source: &'a str,
    tokens: &'a [Token<'a>],
    at: usize,
}

impl<'a> Cursor<'a> {
    pub(crate) fn peek(&self) -> Option<Token<'a>> {
        self.tokens.get(self.at).copied()
    }

    pub(crate) fn peek_text(&self) -> &'a str {
        self.peek().map_or("", |token| token.text)
    }

    /// The text of the token after the next.
    pub(crate) fn second_text(&self) -> &'a str {
        self.tokens.get(self.at + 1).map_or("", |token| token.text)
    }

    pub(crate) fn take(&mut self) -> Result<Token<'a>, Error> {
        let token = self.peek().ok_or_else(|| self.error("the text ends too early"))?;
        self.at += 1;
        Ok(token)
    }

    fn next_is_taken(&mut self) -> bool {
        self.at += 1;
        true
    }

    /// Takes the next token if it is this text.
    pub(crate) fn accept(&mut self, text: &str) -> bool {
        let is_next = self.peek_text() == text;
        self.at += usize::from(is_next);
        is_next
    }

    pub(crate) fn expect(&mut self, text: &str) -> Result<Token<'a>, Error> {
        let token = self.take()?;
        if token.text == text {
            return Ok(token);
        }
        self.at -= 1;
        Err(self.error(format!("expected `{text}`, found `{}`", token.text)))
    }

    /// Takes what stands on the line of the next token.
    pub(crate) fn rest_of_line(&mut self) -> Vec<&'a str> {
        let line = self.peek().map(|token| token.line);
        let mut words = Vec::new();
        while let Some(token) = self.peek().filter(|token| Some(token.line) == line) {
            words.push(token.text);
            self.at += 1;
        }
        words
    }

    pub(crate) fn skip_past(&mut self, text: &str) -> Result<(), Error> {
        while self.take()?.text != text {}
        Ok(())
    }

    fn skip_braces(&mut self) -> Result<(), Error> {
        self.skip_past("{")?;
        self.skip_past("}")
    }

    /// The text from a token to the last one taken, on one line.
    pub(crate) fn text_since(&self, first: Token) -> String {
        let end = self.tokens[self.at.saturating_sub(1)].end();
        self.source[first.start..end.max(first.end())].split_whitespace().collect::<Vec<_>>().join(" ")
    }

    pub(crate) fn line(&self) -> u32 {
        self.peek().or_else(|| self.tokens.last().copied()).map_or(0, |token| token.line)
    }

    pub(crate) fn error(&self, reason: impl Into<String>) -> Error {
        Error::Syntax { line: self.line(), reason: reason.into() }
    }
}
