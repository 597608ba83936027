//! Methods: those of the catalog, and those that a script writes.

use std::cell::RefCell;
use std::fmt;
use std::rc::Rc;

use longlens_app::Problem;
use longlens_core::lens::{Control, LensError};
use longlens_core::methods;
use longlens_core::written::{self, WriteError};
use rhai::{Dynamic, FnPtr, Map, Module, NativeCallContext};

use super::fingerprint;
use crate::host::{Returned, host, raise, refuse};
use crate::options::{Options, number, wrong};

/// An attention method.
#[derive(Clone)]
pub enum Method {
    /// One of the catalog.
    Plain(methods::Method),
    /// One that a script writes.
    Written(Rc<Written>),
}

/// A method that a script writes: functions that say where a query sees a key. It becomes a plan when it is known how many
/// tokens it has to cover.
pub struct Written {
    /// What titles call it.
    pub name: String,
    /// Where a query sees a key; `()` hides it.
    position: Rule,
    /// Whether a query sees a key at all.
    sees: Option<Rule>,
    /// Plans made so far.
    plans: RefCell<Vec<Made>>,
}

/// A plan that was made.
struct Made {
    /// Tokens that it covers: those asked for and no more, since functions need not answer for others.
    n_tokens: usize,
    /// What the functions were, with all that they captured and call: a variable that they share may have changed since.
    rules: String,
    method: methods::Method,
}

/// A function of the distance, or of query and key.
struct Rule {
    function: FnPtr,
    /// Whether it takes the distance alone.
    of_distance: bool,
}

/// Pairs between two words about progress.
const TOLD_EVERY: usize = 1 << 18;
/// Plans of a method that are kept.
const KEPT: usize = 8;

impl Method {
    /// Reads a method: a handle, or its text form.
    pub fn read(value: &Dynamic, what: &str) -> Returned<Self> {
        let value = value.flatten_clone();
        if let Some(method) = value.clone().try_cast::<Self>() {
            return Ok(method);
        }
        match value.clone().into_immutable_string() {
            Ok(text) => methods::Method::parse(&text).map(Self::Plain).map_err(raise),
            Err(_) => Err(wrong(what, "a method or its text, as in \"streaming:window=64\"", &value)),
        }
    }

    /// A method that a script writes, from functions for `position` and, if wanted, `sees`.
    pub fn written(context: &NativeCallContext, name: &str, position: FnPtr, sees: Option<FnPtr>) -> Returned<Self> {
        let is_name = !name.is_empty() && name.chars().all(|c| c.is_alphanumeric() || c == '_' || c == '-');
        if !is_name {
            return refuse(
                format!("`{name}` is no name for a method"),
                "use letters, digits and _, as in \"my_window\"",
            );
        }
        if methods::INFOS.iter().any(|info| info.name == name) {
            return refuse(format!("`{name}` is a method of longlens already"), "choose another name");
        }
        let position = Rule::new(context, position, "position")?;
        let sees = sees.map(|sees| Rule::new(context, sees, "sees")).transpose()?;
        let plans = RefCell::default();
        Ok(Self::Written(Rc::new(Written { name: name.into(), position, sees, plans })))
    }

    /// The same from a map with `position` and `sees`.
    pub fn written_of_map(context: &NativeCallContext, name: &str, map: Map) -> Returned<Self> {
        let mut options = Options::new("method", map, &["position", "sees"])?;
        let mut function = |what: &str| match options.take(what) {
            None => Ok(None),
            Some(value) => match value.clone().try_cast::<FnPtr>() {
                Some(function) => Ok(Some(function)),
                None => Err(wrong(&format!("`{what}`"), "a function, as in |query, key| query - key", &value)),
            },
        };
        let (position, sees) = (function("position")?, function("sees")?);
        let Some(position) = position else {
            return refuse(
                "a written method needs `position`",
                "a function of the distance or of query and key, as in `position: |query, key| query - key`",
            );
        };
        Self::written(context, name, position, sees)
    }

    /// The method for sequences of `n_tokens`; a written one becomes a plan that covers them.
    pub fn of(&self, context: &NativeCallContext, n_tokens: usize) -> Returned<methods::Method> {
        match self {
            Self::Plain(method) => Ok(method.clone()),
            Self::Written(written) => written.of(context, n_tokens),
        }
    }

    /// What the functions of a written method are at this moment: the same text as long as they are the same.
    pub fn rules(&self, context: &NativeCallContext) -> Option<String> {
        match self {
            Self::Plain(_) => None,
            Self::Written(written) => Some(written.rules(context)),
        }
    }

    /// Whether a script is asked about every query and key, not about distances alone.
    pub fn is_of_pairs(&self) -> bool {
        matches!(self, Self::Written(written) if !written.is_of_distance())
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Plain(method) => method.fmt(f),
            Self::Written(written) => write!(f, "{} (written here)", written.name),
        }
    }
}

impl Written {
    /// The functions that it is made of.
    pub fn functions(&self) -> impl Iterator<Item = &FnPtr> {
        std::iter::once(&self.position).chain(&self.sees).map(|rule| &rule.function)
    }

    fn is_of_distance(&self) -> bool {
        self.position.of_distance && self.sees.as_ref().is_none_or(|sees| sees.of_distance)
    }

    fn rules(&self, context: &NativeCallContext) -> String {
        let rules: serde_json::Value =
            self.functions().map(|function| fingerprint::function(context, function)).collect();
        rules.to_string()
    }

    fn of(&self, context: &NativeCallContext, n_tokens: usize) -> Returned<methods::Method> {
        let rules = self.rules(context);
        let is_same = |made: &&Made| made.n_tokens == n_tokens && made.rules == rules;
        let known = self.plans.borrow().iter().find(is_same).map(|made| made.method.clone());
        if let Some(method) = known {
            return Ok(method);
        }
        let method = self.compile(context, n_tokens)?;
        let mut plans = self.plans.borrow_mut();
        if plans.len() == KEPT {
            plans.remove(0);
        }
        plans.push(Made { n_tokens, rules, method: method.clone() });
        Ok(method)
    }

    /// Asks the functions about every pair and makes the plan.
    fn compile(&self, context: &NativeCallContext, n_tokens: usize) -> Returned<methods::Method> {
        let host = host(context);
        let mut work = host.work(format!("writing out {} for {n_tokens} tokens", self.name));
        let mut told = 0;
        let check = |done: usize, total: usize| {
            if done / TOLD_EVERY > told {
                told = done / TOLD_EVERY;
                work.progress(done, total);
            }
            if work.cancelled() { Err(raise(LensError::Cancelled)) } else { Ok(()) }
        };
        let ask = |query: usize, key: usize| -> Returned<Option<f64>> {
            if let Some(sees) = &self.sees {
                let said = sees.ask(context, query, key)?;
                match said.as_bool() {
                    Ok(true) => (),
                    Ok(false) => return Ok(None),
                    Err(_) => return Err(self.wrong("sees", "true or false", &said, query, key)),
                }
            }
            let said = self.position.ask(context, query, key)?;
            if said.is_unit() {
                return Ok(None);
            }
            number(&said)
                .map(Some)
                .ok_or_else(|| self.wrong("position", "a number, or () to hide the key", &said, query, key))
        };
        let (name, title) = (self.name.as_str(), format!("{} (written)", self.name));
        let plan = if self.is_of_distance() {
            let ask = |distance: usize| ask(n_tokens - 1, n_tokens - 1 - distance);
            written::from_distance_checked(name, &title, n_tokens, ask, check)
        } else {
            written::from_relation_checked(name, &title, n_tokens, ask, check)
        };
        let plan = plan.map_err(|error| match error {
            WriteError::Function { error, .. } | WriteError::Stopped { error } => error,
            other => {
                let help = other.help();
                raise(Problem::new(format!("`{name}`: {other}"), help))
            }
        })?;
        Ok(methods::Method::written(self.name.as_str(), plan))
    }

    fn wrong(&self, what: &str, expected: &str, said: &Dynamic, query: usize, key: usize) -> Box<rhai::EvalAltResult> {
        let rule = if what == "sees" { self.sees.as_ref() } else { Some(&self.position) };
        let pair = match rule {
            Some(rule) if rule.of_distance => format!("distance {}", query - key),
            _ => format!("query {query}, key {key}"),
        };
        wrong(&format!("what `{what}` of `{}` returns for {pair}", self.name), expected, said)
    }
}

impl Rule {
    fn new(context: &NativeCallContext, function: FnPtr, what: &str) -> Returned<Self> {
        let n_captured = function.curry().len();
        let takes = |n: usize| {
            let name = function.fn_name();
            context.iter_namespaces().any(|module: &Module| module.get_script_fn(name, n + n_captured).is_some())
        };
        match (takes(1), takes(2)) {
            (_, true) => Ok(Self { function, of_distance: false }),
            (true, false) => Ok(Self { function, of_distance: true }),
            (false, false) => refuse(
                format!("`{what}` must be a function of the distance, or of query and key"),
                "write it as |distance| … or |query, key| …",
            ),
        }
    }

    fn ask(&self, context: &NativeCallContext, query: usize, key: usize) -> Returned<Dynamic> {
        let int = |n: usize| n as i64;
        if self.of_distance {
            self.function.call_within_context(context, (int(query - key),))
        } else {
            self.function.call_within_context(context, (int(query), int(key)))
        }
    }
}
