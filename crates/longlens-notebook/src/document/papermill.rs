//! Parameters that papermill writes in Python, for cells that are Rhai.
//!
//! `papermill --language python` puts a cell of plain assignments into a notebook, under the line `# Parameters`. Such a cell,
//! and nothing else, is turned into `let` statements before it runs.

use std::borrow::Cow;
use std::fmt::Write as _;

use crate::document::parameters::push_escaped;
use crate::interpreter::CellError;

/// Lists and maps inside each other, at most: deeper ones are no parameters.
const MOST_NESTED: usize = 32;

/// The cell as Rhai code: translated when it holds papermill's parameters, otherwise as it is.
///
/// Fails when it holds parameters that Rhai cannot have.
pub(crate) fn translate(cell: &str) -> Result<Cow<'_, str>, CellError> {
    let first = cell.lines().next().unwrap_or_default();
    if !first.starts_with("# Parameters") && !first.starts_with("# papermill") {
        return Ok(cell.into());
    }
    let mut parser = Parser { rest: cell, name: "", rhai: String::new() };
    match parser.cell() {
        Ok(()) => Ok(parser.rhai.into()),
        Err(Stop::Other) => Ok(cell.into()),
        Err(Stop::Impossible(error)) => Err(error),
    }
}

/// Reads Python and writes Rhai.
struct Parser<'a> {
    rest: &'a str,
    /// The parameter that is being read.
    name: &'a str,
    rhai: String,
}

/// Why a cell is not translated.
enum Stop {
    /// It is not papermill's.
    Other,
    /// It is, with a value that Rhai does not know.
    Impossible(CellError),
}

impl<'a> Parser<'a> {
    fn cell(&mut self) -> Result<(), Stop> {
        loop {
            self.skip(char::is_whitespace);
            if self.rest.is_empty() {
                return Ok(());
            }
            if self.rest.starts_with('#') {
                self.comment();
            } else {
                self.assignment()?;
            }
            self.rhai.push('\n');
        }
    }

    fn comment(&mut self) {
        let line = self.take(|sign| sign != '\n');
        self.rhai.push_str("//");
        self.rhai.push_str(line.trim_start_matches('#').trim_end());
    }

    fn assignment(&mut self) -> Result<(), Stop> {
        self.name = self.take(|sign| sign.is_alphanumeric() || sign == '_');
        self.skip(blank);
        self.expect("=")?;
        self.skip(blank);
        if !self.name.starts_with(|first: char| first.is_alphabetic() || first == '_') {
            return Err(Stop::Other);
        }
        if !self.name.is_ascii() {
            return Err(self.impossible("has a name that Rhai cannot read", "use ASCII letters, digits and `_`"));
        }
        // formatting into a string never fails
        let _ = write!(self.rhai, "let {} = ", self.name);
        self.value(0)?;
        self.rhai.push(';');
        self.skip(blank);
        if self.rest.starts_with('#') {
            self.rhai.push(' ');
            self.comment();
        }
        if self.rest.is_empty() || self.rest.starts_with('\n') { Ok(()) } else { Err(Stop::Other) }
    }

    fn value(&mut self, nested: usize) -> Result<(), Stop> {
        if nested > MOST_NESTED {
            return Err(Stop::Other);
        }
        match self.rest.chars().next() {
            Some('"' | '\'') => self.text(),
            Some('[') => {
                self.rhai.push('[');
                self.items(']', |parser| parser.value(nested + 1))
            }
            Some('{') => {
                self.rhai.push_str("#{");
                self.items('}', |parser| {
                    parser.text()?;
                    parser.skip(char::is_whitespace);
                    parser.expect(":")?;
                    parser.rhai.push_str(": ");
                    parser.skip(char::is_whitespace);
                    parser.value(nested + 1)
                })
            }
            Some('-' | '.' | '0'..='9') => self.number(),
            _ => self.word(),
        }
    }

    /// What stands between an opening bracket and `close`, the bracket included.
    fn items(&mut self, close: char, mut item: impl FnMut(&mut Self) -> Result<(), Stop>) -> Result<(), Stop> {
        self.rest = &self.rest[1..];
        let mut first = true;
        loop {
            self.skip(char::is_whitespace);
            if let Some(rest) = self.rest.strip_prefix(close) {
                self.rest = rest;
                self.rhai.push(close);
                return Ok(());
            }
            if !first {
                self.rhai.push_str(", ");
            }
            first = false;
            item(self)?;
            self.skip(char::is_whitespace);
            if !self.rest.starts_with(close) {
                self.expect(",")?;
            }
        }
    }

    fn word(&mut self) -> Result<(), Stop> {
        match self.take(|sign| sign.is_alphanumeric() || sign == '_') {
            "True" => self.rhai.push_str("true"),
            "False" => self.rhai.push_str("false"),
            "None" => self.rhai.push_str("()"),
            "float" => {
                let words = ["('nan')", "('inf')", "('-inf')"];
                let Some(word) = words.iter().find(|word| self.rest.starts_with(**word)) else {
                    return Err(Stop::Other);
                };
                let value = word.trim_matches(['(', ')', '\'']);
                return Err(
                    self.impossible(&format!("is {value}, and Rhai has no such number"), "pass a finite number")
                );
            }
            _ => return Err(Stop::Other),
        }
        Ok(())
    }

    fn number(&mut self) -> Result<(), Stop> {
        let mut before = ' ';
        let number = self.take(|sign| {
            let fits = match sign {
                '0'..='9' | '.' | '_' | 'e' | 'E' => true,
                '-' => matches!(before, ' ' | 'e' | 'E'),
                '+' => matches!(before, 'e' | 'E'),
                _ => false,
            };
            before = sign;
            fits
        });
        let number = number.replace('_', "");
        if number.trim_start_matches('-').bytes().all(|sign| sign.is_ascii_digit()) {
            let whole: i64 = match number.parse() {
                Ok(whole) => whole,
                Err(_) if number.len() < 2 => return Err(Stop::Other),
                Err(_) => return Err(self.impossible("does not fit 64 bits", "pass a smaller number, or text")),
            };
            // written as it is, the least number would be the negative of one that does not fit
            let text = if whole == i64::MIN { format!("({} - 1)", whole + 1) } else { whole.to_string() };
            self.rhai.push_str(&text);
            return Ok(());
        }
        let number: f64 = number.parse().map_err(|_| Stop::Other)?;
        if number.is_infinite() {
            return Err(self.impossible("is infinite, and Rhai has no such number", "pass a finite number"));
        }
        let text = number.to_string();
        self.rhai.push_str(&text);
        if !text.contains('.') {
            self.rhai.push_str(".0");
        }
        Ok(())
    }

    fn text(&mut self) -> Result<(), Stop> {
        let Some(quote @ ('"' | '\'')) = self.next() else { return Err(Stop::Other) };
        self.rhai.push('"');
        loop {
            match self.next() {
                None | Some('\n') => return Err(Stop::Other),
                Some('\\') => self.escape()?,
                Some(sign) if sign == quote => break,
                Some(sign) => push_escaped(&mut self.rhai, sign),
            }
        }
        self.rhai.push('"');
        Ok(())
    }

    fn escape(&mut self) -> Result<(), Stop> {
        let sign = match self.next() {
            Some(sign @ ('\\' | '\'' | '"')) => sign,
            Some('n') => '\n',
            Some('r') => '\r',
            Some('t') => '\t',
            Some('x') => self.code_point(2)?,
            Some('u') => self.code_point(4)?,
            Some('U') => self.code_point(8)?,
            _ => return Err(Stop::Other),
        };
        push_escaped(&mut self.rhai, sign);
        Ok(())
    }

    fn code_point(&mut self, n_digits: usize) -> Result<char, Stop> {
        let digits = self.rest.get(..n_digits).ok_or(Stop::Other)?;
        self.rest = &self.rest[n_digits..];
        let code = u32::from_str_radix(digits, 16).map_err(|_| Stop::Other)?;
        char::from_u32(code).ok_or_else(|| self.impossible("is no valid text: half of a pair", "pass valid Unicode"))
    }

    fn impossible(&self, what: &str, help: &str) -> Stop {
        Stop::Impossible(CellError::new("ValueError", format!("parameter `{}` {what}", self.name), Some(help.into())))
    }

    fn next(&mut self) -> Option<char> {
        let sign = self.rest.chars().next()?;
        self.rest = &self.rest[sign.len_utf8()..];
        Some(sign)
    }

    fn take(&mut self, mut fits: impl FnMut(char) -> bool) -> &'a str {
        let end = self.rest.find(|sign| !fits(sign)).unwrap_or(self.rest.len());
        let (taken, rest) = self.rest.split_at(end);
        self.rest = rest;
        taken
    }

    fn skip(&mut self, fits: impl FnMut(char) -> bool) {
        self.take(fits);
    }

    fn expect(&mut self, what: &str) -> Result<(), Stop> {
        self.rest = self.rest.strip_prefix(what).ok_or(Stop::Other)?;
        Ok(())
    }
}

fn blank(sign: char) -> bool {
    matches!(sign, ' ' | '\t' | '\r')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rhai::{Dynamic, Engine, Scope};

    use super::*;

    /// The variables that a cell sets.
    fn variables(cell: &str) -> Scope<'static> {
        let mut scope = Scope::new();
        let rhai = translate(cell).unwrap();
        Engine::new().run_with_scope(&mut scope, &rhai).unwrap_or_else(|error| panic!("{error}\n{rhai}"));
        scope
    }

    #[test]
    fn the_cell_of_papermill_becomes_rhai() {
        let cell =
            "# Parameters\nx = 5\nname = \"abc\"\nok = True\nnothing = None\nlist = [1, 2.5]\nmap = {\"a\": 1}\n";
        insta::assert_snapshot!(translate(cell).unwrap(), @r#"
        // Parameters
        let x = 5;
        let name = "abc";
        let ok = true;
        let nothing = ();
        let list = [1, 2.5];
        let map = #{"a": 1};
        "#);
        assert_eq!(variables(cell).get_value::<i64>("x"), Some(5));
    }

    #[test]
    fn every_kind_of_value_arrives() {
        let cell = r#"# Parameters
a = -7
b = 1e+30
c = 1.5e-07
d = 'it\'s \xe9 \u4e2d \U0001f600 "q" \\ \n\t${x}'
e = [[], {}, [1, [2, [3,],],],]
f = {
    'k "1"': [None, False],
    "l": {"m": -0.0},
}  # black wraps long ones
g = -9223372036854775808
"#;
        let variables = variables(cell);
        assert_eq!(variables.get_value::<i64>("a"), Some(-7));
        assert_eq!(variables.get_value::<f64>("b"), Some(1e30));
        assert_eq!(variables.get_value::<f64>("c"), Some(1.5e-7));
        assert_eq!(variables.get_value::<String>("d").unwrap(), "it's é 中 😀 \"q\" \\ \n\t${x}");
        assert_eq!(variables.get_value::<Dynamic>("e").unwrap().to_string(), "[[], #{}, [1, [2, [3]]]]");
        assert!(variables.get_value::<rhai::Map>("f").unwrap().contains_key("k \"1\""));
        assert_eq!(variables.get_value::<i64>("g"), Some(i64::MIN));
    }

    #[test]
    fn what_rhai_cannot_have_is_said() {
        for (value, said) in [
            ("float('nan')", "parameter `x` is nan, and Rhai has no such number"),
            ("[float('-inf')]", "parameter `x` is -inf, and Rhai has no such number"),
            ("1e999", "parameter `x` is infinite, and Rhai has no such number"),
            ("9223372036854775808", "parameter `x` does not fit 64 bits"),
            ("\"\\ud83d\"", "parameter `x` is no valid text: half of a pair"),
        ] {
            let error = translate(&format!("# Parameters\nx = {value}\n")).map(Cow::into_owned).unwrap_err();
            assert_eq!(error.message, said);
            assert!(error.help.is_some());
        }
        let error = translate("# Parameters\nmaße = 1\n").map(Cow::into_owned).unwrap_err();
        assert_eq!(error.message, "parameter `maße` has a name that Rhai cannot read");
    }

    #[test]
    fn everything_else_stays_as_it_is() {
        let deep = format!("# Parameters\nx = {}", "[".repeat(100_000));
        for cell in [
            "x = 5",
            "// Parameters\nlet x = 5;",
            "# Parameters\nx = f(5)",
            "# Parameters\nx = 5 + 1",
            "# Parameters\nx == 5",
            "# Parameters\nx = ",
            "# Parameters\nx = -",
            "# Parameters\nx = 'open",
            "# Parameters\nx = {1: 2}",
            "# Parameters\nx = {'a' 2}",
            "# Parameters\nx = 1; y = 2",
            "# Parameters\nprint(5)",
            "# Parameters\n5 = x",
            "# Parameters\nx = '\\x'",
            "# Parameters\nx = '\\u12é4'",
            deep.as_str(),
        ] {
            assert_eq!(translate(cell).unwrap(), cell);
        }
    }

    proptest! {
        #[test]
        fn no_cell_panics(cell in "# Parameters\n([a-z] = |[\\[\\]{}:,'\"\\\\xuU0-9.eE+_-]|True|float\\('|\n|é|#| ){0,40}") {
            let _ = translate(&cell);
        }

        #[test]
        fn numbers_and_text_survive(whole: i64, float in prop::num::f64::NORMAL, text in "\\PC{0,12}[\\x00-\\x1f]{0,3}") {
            let quoted: Vec<String> = text.chars().map(|sign| format!("\\U{:08x}", sign as u32)).collect();
            let quoted = quoted.concat();
            let variables = variables(&format!("# Parameters\na = {whole}\nb = {float:?}\nc = \"{quoted}\"\n"));
            prop_assert_eq!(variables.get_value::<i64>("a"), Some(whole));
            prop_assert_eq!(variables.get_value::<f64>("b"), Some(float));
            prop_assert_eq!(variables.get_value::<String>("c"), Some(text));
        }
    }
}
