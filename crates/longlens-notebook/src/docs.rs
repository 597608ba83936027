//! What is known of every function, read from doc comments: help, completion and the tests of examples live on it.

use std::collections::HashSet;

use rhai::Engine;

use crate::types::plain_type;

/// Everything documented.
pub struct Docs {
    entries: Vec<Doc>,
}

/// One function, or one form of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Doc {
    pub name: String,
    /// Name, parameters and result: `trace(prompt, method) -> Trace`.
    pub signature: String,
    /// Parameters: name and type; the type is empty where several are taken.
    pub params: Vec<(String, String)>,
    /// What it does, without the example.
    pub text: String,
    /// Code that shows it.
    pub example: Option<String>,
    /// Whether it is a property, as in `run.text`.
    pub is_property: bool,
    /// Whether the language brings it along.
    pub is_standard: bool,
    /// What it is about; empty where it belongs to no topic.
    pub topic: &'static str,
}

/// Number types that no cell has.
const ODD_NUMBERS: &[&str] = &["f32", "i8", "i16", "i32", "i128", "isize", "u8", "u16", "u32", "u64", "u128", "usize"];

impl Docs {
    /// What an engine knows; `topics` are titles with the signatures of their functions.
    pub fn new(engine: &Engine, topics: &[(&'static str, Vec<String>)]) -> Self {
        let own: Vec<Doc> = engine.collect_fn_metadata(None, |info| Doc::of(&info, false), false);
        let mut all: Vec<Doc> = engine.collect_fn_metadata(None, |info| Doc::of(&info, true), true);
        // what takes the place of a function of the language does the same within limits, and has that one's words
        let described: HashSet<String> =
            all.iter().filter(|doc| !doc.text.is_empty()).map(|doc| doc.name.clone()).collect();
        let stands_in = |doc: &Doc| doc.text.is_empty() && described.contains(&doc.name);
        let mut entries: Vec<Doc> = own.into_iter().filter(|doc| !stands_in(doc)).collect();
        all.retain(|doc| !stands_in(doc));
        // forms that differ in number types only are one to a reader, who writes `int` and `float`
        let n_odd = |doc: &Doc| doc.params.iter().filter(|(_, kind)| ODD_NUMBERS.contains(&kind.as_str())).count();
        all.sort_by_key(|doc| (n_odd(doc), doc.signature.contains("float"), doc.signature.clone()));
        for doc in all {
            let known = |there: &Doc| there.name == doc.name && there.params.len() == doc.params.len();
            if !entries.iter().any(known) {
                entries.push(doc);
            }
        }
        for doc in &mut entries {
            // one of ours that no topic lists belongs to the last
            let listed = topics.iter().find(|(_, signatures)| signatures.contains(&doc.signature));
            let topic = listed.or(topics.last().filter(|_| !doc.is_standard && !doc.is_property));
            doc.topic = topic.map_or("", |(title, _)| title);
        }
        entries.sort_by(|a, b| (&a.name, a.rank(), &a.signature).cmp(&(&b.name, b.rank(), &b.signature)));
        Self { entries }
    }

    /// Every function, forms of one name together.
    pub fn all(&self) -> &[Doc] {
        &self.entries
    }

    /// The functions of longlens.
    pub fn own(&self) -> impl Iterator<Item = &Doc> {
        self.entries.iter().filter(|doc| !doc.is_standard)
    }

    /// The forms of a function.
    pub fn find<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Doc> {
        self.entries.iter().filter(move |doc| doc.name == name && !doc.is_property)
    }

    /// Names of functions, each once.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        let names = self.entries.iter().filter(|doc| !doc.is_property).map(|doc| doc.name.as_str());
        let mut last = "";
        names.filter(move |name| std::mem::replace(&mut last, name) != *name)
    }

    /// What is known of a name: every form of it; `more` adds examples.
    pub fn describe(&self, name: &str, more: bool) -> Option<String> {
        let properties = self.all().iter().filter(|doc| doc.is_property && doc.name == name);
        // constructors have a form without and one with parameters, documented alike: the second says it all
        let mut forms: Vec<&Doc> = Vec::new();
        for doc in self.find(name).chain(properties) {
            forms.retain(|known| known.text != doc.text || doc.text.is_empty());
            forms.push(doc);
        }
        let is_one = forms.len() == 1;
        let part = |doc: &&Doc| {
            let text = if doc.text.is_empty() { String::new() } else { format!("\n{}", indented(&doc.text)) };
            // what ends in a colon leads to its example
            let example = doc.example.as_ref().filter(|_| more || is_one || doc.text.ends_with(':'));
            let example = example.map_or(String::new(), |example| format!("\n\n{}", indented(example)));
            format!("{}{text}{example}", doc.signature)
        };
        let parts: Vec<_> = forms.iter().map(part).collect();
        (!parts.is_empty()).then(|| parts.join("\n\n"))
    }

    /// Properties of values of a type.
    pub fn properties(&self, kind: &str) -> Vec<String> {
        let of_kind = |doc: &&Doc| doc.is_property && doc.params.first().is_some_and(|(_, of)| of == kind);
        self.entries.iter().filter(of_kind).map(|doc| doc.name.clone()).collect()
    }

    /// Properties and functions that values of a type have.
    pub fn members<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = &'a Doc> {
        self.entries.iter().filter(move |doc| doc.params.first().is_some_and(|(_, of)| of == kind))
    }
}

/// A function's name, parameters and result; nothing for those that no cell calls by a name.
pub fn signature(info: &rhai::FuncInfo) -> Option<String> {
    Doc::of(info, false).map(|doc| doc.signature)
}

impl Doc {
    /// Where a form stands among those of its name: ours first, the plain ones before the one that takes all in a map.
    fn rank(&self) -> impl Ord + use<> {
        let takes_map = matches!(&self.params[..], [(_, kind)] if kind == "map");
        (self.is_property, self.is_standard, takes_map, self.params.len())
    }

    fn of(info: &rhai::FuncInfo, is_standard: bool) -> Option<Self> {
        let metadata = info.metadata;
        let raw = metadata.name.as_str();
        let property = raw.strip_prefix("get$");
        let name = property.unwrap_or(raw);
        if raw.contains('$') && property.is_none() || raw.is_empty() {
            return None;
        }
        // the last entry is the result
        let (mut params, mut result) = (Vec::new(), plain(&metadata.return_type));
        for (at, param) in metadata.params_info.iter().enumerate() {
            let (name, kind) =
                param.split_once(':').map_or(("", param.as_str()), |(name, kind)| (name.trim(), kind.trim()));
            if at >= metadata.num_params {
                result = plain(kind);
            } else if !kind.contains("NativeCallContext") {
                let shown = if name.is_empty() || name == "_" { format!("value{}", at + 1) } else { name.to_owned() };
                params.push((shown, plain(kind)));
            }
        }
        let shown: Vec<String> = params
            .iter()
            .map(|(name, kind)| {
                if kind.is_empty() || kind.eq_ignore_ascii_case(name) {
                    name.clone()
                } else {
                    format!("{name}: {kind}")
                }
            })
            .collect();
        let arrow = if result.is_empty() || result == "()" { String::new() } else { format!(" -> {result}") };
        let signature = match property {
            Some(_) => format!("{}.{name}{arrow}", params.first().map_or("value", |(_, kind)| kind.as_str())),
            None => format!("{name}({}){arrow}", shown.join(", ")),
        };
        let (text, example) = split(&metadata.comments);
        Some(Self {
            name: name.into(),
            signature,
            params,
            text,
            example,
            is_property: property.is_some(),
            is_standard,
            topic: "",
        })
    }
}

fn indented(text: &str) -> String {
    let line = |line: &str| if line.is_empty() { String::new() } else { format!("    {line}") };
    text.lines().map(line).collect::<Vec<_>>().join("\n")
}

/// A Rust type as users name it; nothing for a value of any kind.
fn plain(kind: &str) -> String {
    let mut kind = kind.trim().trim_start_matches('&').trim_start_matches("mut ").trim();
    for wrapper in ["Returned<", "RhaiResultOf<", "Result<", "Option<"] {
        if let Some(inner) = kind.strip_prefix(wrapper) {
            kind = inner.split([',', '>']).next().unwrap_or(inner).trim();
        }
    }
    match plain_type(kind) {
        "any" | "?" | "_" | "T" => String::new(),
        "str" => "string".into(),
        "INT" => "int".into(),
        "FLOAT" => "float".into(),
        kind => kind.into(),
    }
}

/// Text and example of a doc comment.
fn split(comments: &[impl AsRef<str>]) -> (String, Option<String>) {
    let (mut text, mut example, mut fence) = (Vec::new(), Vec::new(), false);
    let mut seen = false;
    for line in comments.iter().flat_map(|block| block.as_ref().lines()) {
        let line = line.trim_start().trim_start_matches("///");
        let line = line.strip_prefix(' ').unwrap_or(line);
        if line.trim_start().starts_with("```") {
            fence = !fence;
            seen |= fence && example.is_empty();
        } else if fence && seen {
            example.push(line.to_owned());
        } else if line.starts_with("# ") {
            // headings of the standard library's comments: what follows is for readers of its book
            break;
        } else {
            text.push(line.to_owned());
        }
    }
    let example = (!example.is_empty()).then(|| example.join("\n"));
    (text.join("\n").trim().to_owned(), example)
}
