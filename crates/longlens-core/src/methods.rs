//! The catalog of methods: what the command line, configs, help and completion offer.

use std::fmt;
use std::sync::{Arc, LazyLock};

use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::plan::{Heads, LayerWindows, Plan};
use crate::setting::{Forms, Info, Setting, SettingError, Value};
use crate::spec::ModelSpec;

mod by_layer;
mod dual_chunk;
mod full;
mod interventions;
mod long_heads;
mod places;
mod quest;
mod rerope;
mod self_extend;
mod sliding_window;
mod streaming;
mod string;

pub use interventions::{HEADS, Intervention};

/// A method's description and the function that makes its plan.
#[derive(Debug)]
pub struct MethodInfo {
    /// Name, paper, parameters.
    pub info: Info,
    /// Refuses what is impossible together, as each value is in its range by then, and returns a plan for all heads (`.into()`) or
    /// one by layer or head ([`Heads`]).
    pub plan: fn(&Setting, &ModelSpec) -> Result<Heads, SettingError>,
    /// What its text form does beyond reading parameters by their kinds.
    pub text: TextForm,
}

/// What a text form does beyond reading parameters by their kinds.
#[derive(Debug)]
pub struct TextForm {
    /// Refuses values that are impossible on any model.
    pub check: fn(&Setting) -> Result<(), SettingError>,
    /// Writes out what the values come to on a model, such as a budget in whole pages; of a setting whose defaults are filled in.
    pub resolved: fn(Setting, &ModelSpec) -> Setting,
}

impl TextForm {
    /// Nothing beyond the kinds of its parameters.
    const PLAIN: Self = Self { check: |_| Ok(()), resolved: |setting, _| setting };
}

/// Every method. A new one is a file in `methods/`, its module above, and a line at the end here: those before it keep their keys in
/// the workbench.
pub static METHODS: &[&MethodInfo] = &[
    &full::METHOD,
    &sliding_window::METHOD,
    &streaming::METHOD,
    &self_extend::METHOD,
    &rerope::METHOD,
    &string::METHOD,
    &dual_chunk::METHOD,
    &long_heads::METHOD,
    &quest::METHOD,
    &by_layer::METHOD,
];

/// The same catalog as plain descriptions.
pub static INFOS: LazyLock<Vec<&Info>> = LazyLock::new(|| METHODS.iter().map(|method| &method.info).collect());

/// A method with its parameters; text form `self_extend:group_size=4,neighbor_window=64`. Or one that a script wrote. Interventions on
/// heads may follow it: `self_extend:group_size=4/8h3=off`.
#[derive(Debug, Clone, PartialEq)]
pub struct Method {
    form: Form,
    interventions: Vec<Intervention>,
}

/// Where a method comes from.
#[derive(Debug, Clone, PartialEq)]
enum Form {
    /// From the catalog, with parameters.
    Listed(Setting),
    /// From a script: name and plan, the same for every model.
    Written(Arc<(String, Plan)>),
}

/// The entry of the catalog that a setting is of.
fn info(setting: &Setting) -> &'static MethodInfo {
    let method = METHODS.iter().find(|method| std::ptr::eq(&raw const method.info, setting.info()));
    method.expect("settings come from the catalog")
}

impl Method {
    /// Plain causal attention.
    pub fn full() -> Self {
        Form::Listed(Setting::new(&full::METHOD.info)).into()
    }

    /// A method that a script wrote: `plan` on every model, its text as [`Plan::method`] says. `name` stands in tables and
    /// errors. Such a method has no parameters and cannot be read back from a file.
    pub fn written(name: impl Into<String>, plan: Plan) -> Self {
        Form::Written(Arc::new((name.into(), plan))).into()
    }

    /// Reads the text form.
    pub fn parse(text: &str) -> Result<Self, SettingError> {
        let (method, parts) = interventions::split(text, |name| name == by_layer::METHOD.info.name);
        let method = Setting::parse(method.trim(), "method", &INFOS).and_then(Self::listed)?;
        method.intervened(parts)
    }

    /// Reads several methods, separated by `;`, or by a comma before the name of the next one: in a method's text form what follows a
    /// comma is always `name=value`.
    pub fn list(text: &str) -> Result<Vec<Self>, SettingError> {
        let is_name = |piece: &str| {
            let name = piece.split([':', '/']).next().unwrap_or_default().trim();
            METHODS.iter().any(|method| method.info.name == name)
        };
        let mut texts: Vec<String> = Vec::new();
        for part in text.split(';') {
            for (at, piece) in part.split(',').enumerate() {
                match texts.last_mut().filter(|_| at > 0 && !is_name(piece)) {
                    Some(text) => text.extend([",", piece]),
                    None => texts.push(piece.to_owned()),
                }
            }
        }
        texts.iter().map(|text| Self::parse(text)).collect()
    }

    fn listed(setting: Setting) -> Result<Self, SettingError> {
        (info(&setting).text.check)(&setting)?;
        Ok(Form::Listed(setting).into())
    }

    /// What is changed in some heads, in the order in which it is done.
    pub fn interventions(&self) -> &[Intervention] {
        &self.interventions
    }

    /// The same method with other interventions, in their text form: `8h3=off/10h0-2=streaming:window=128`. Empty: none.
    pub fn with_interventions(self, text: &str) -> Result<Self, SettingError> {
        let parts = if text.trim().is_empty() { Vec::new() } else { text.split('/').collect() };
        Self { interventions: Vec::new(), ..self }.intervened(parts)
    }

    /// The same method with its interventions and more, one in each part.
    fn intervened(mut self, parts: Vec<&str>) -> Result<Self, SettingError> {
        for part in parts {
            let one = Intervention::parse(part, self.owner())?;
            self = self.and(one)?;
        }
        Ok(self)
    }

    /// The same method with its interventions and one more.
    pub fn and(mut self, one: Intervention) -> Result<Self, SettingError> {
        // a method of parts takes a method as the last of its own, so that its text has one meaning
        let parts = self.parts().filter(|_| self.interventions.is_empty());
        if let Some((parts, part)) = parts.zip(one.as_part()) {
            return self.with(by_layer::LAYERS, &Value::Word(format!("{parts}/{part}")));
        }
        self.interventions.push(one);
        Ok(self)
    }

    /// The same method with a head's output as zeros, or without that intervention where it is the newest of its kind.
    pub fn toggled(mut self, layer: usize, head: usize) -> Result<Self, SettingError> {
        let off = Intervention::off(layer, head);
        match self.interventions.iter().rposition(|one| *one == off) {
            Some(at) => {
                self.interventions.remove(at);
                // a method of parts takes methods that nothing else stands before
                let text = self.interventions_text();
                self.with_interventions(&text)
            }
            None => self.and(off),
        }
    }

    /// The interventions' text form; empty where there are none.
    pub fn interventions_text(&self) -> String {
        self.interventions.iter().map(ToString::to_string).collect::<Vec<_>>().join("/")
    }

    /// The parts of a method that has some.
    fn parts(&self) -> Option<String> {
        let Form::Listed(setting) = &self.form else { return None };
        let has_parts = std::ptr::eq(setting.info(), &raw const by_layer::METHOD.info);
        let given =
            || setting.given().next().map_or_else(|| by_layer::PLAIN.to_owned(), |(_, parts)| parts.to_string());
        has_parts.then(given)
    }

    /// What errors call it.
    fn owner(&self) -> &'static str {
        match &self.form {
            Form::Listed(setting) => setting.info().name,
            Form::Written(_) => "method",
        }
    }

    /// Name, parameters and values; nothing of a method that a script wrote.
    pub fn setting(&self) -> Option<&Setting> {
        match &self.form {
            Form::Listed(setting) => Some(setting),
            Form::Written(_) => None,
        }
    }

    /// The name in text, plots and tables.
    pub fn name(&self) -> &str {
        match &self.form {
            Form::Listed(setting) => setting.info().name,
            Form::Written(written) => &written.0,
        }
    }

    /// The same method with every default of `model` written out.
    #[must_use]
    pub fn resolved(&self, model: &ModelSpec) -> Self {
        let form = match &self.form {
            Form::Listed(setting) => Form::Listed((info(setting).text.resolved)(setting.resolved(model), model)),
            Form::Written(_) => self.form.clone(),
        };
        Self { form, interventions: self.interventions.iter().map(|one| one.resolved(model)).collect() }
    }

    /// The same method with one parameter given, and its interventions; or with other interventions ([`HEADS`]).
    pub fn with(self, name: &str, value: &Value) -> Result<Self, SettingError> {
        if name == HEADS {
            return self.with_interventions(&value.to_string());
        }
        match self.form {
            // parts may end in interventions
            Form::Listed(setting) if name == by_layer::LAYERS && setting.info().name == by_layer::METHOD.info.name => {
                let method = Self::parse(&format!("{}:{value}", setting.info().name))?;
                self.interventions.into_iter().try_fold(method, Self::and)
            }
            Form::Listed(mut setting) => {
                setting.set(name, value)?;
                Ok(Self { interventions: self.interventions, ..Self::listed(setting)? })
            }
            Form::Written(written) => {
                Err(SettingError::NoParameters { name: written.0.clone(), parameter: name.into() })
            }
        }
    }

    /// The same method with one parameter at its default.
    #[must_use]
    pub fn without(mut self, name: &str) -> Self {
        if let Form::Listed(setting) = &mut self.form {
            setting.unset(name);
        }
        self
    }

    /// What this method does to any (query, key) of `model`; errors say which parameters are impossible. Windows that layers have
    /// of their own are treated in the usual way.
    pub fn plan(&self, model: &ModelSpec) -> Result<Plan, SettingError> {
        self.plan_with(model, LayerWindows::default())
    }

    /// The same with windows of layers treated as `windows` says.
    pub fn plan_with(&self, model: &ModelSpec, windows: LayerWindows) -> Result<Plan, SettingError> {
        let plan = match &self.form {
            // methods in parts of the model would keep windows there
            Form::Listed(setting) if windows == LayerWindows::Off => {
                let heads = (info(setting).plan)(setting, &model.without_windows())?;
                Plan::new(self.resolved(model).to_string(), heads)
            }
            Form::Listed(setting) => Plan::new(self.resolved(model).to_string(), (info(setting).plan)(setting, model)?),
            Form::Written(written) => written.1.clone(),
        };
        let plan = plan.on(model, self.form == Self::full().form, windows)?;
        if self.interventions.is_empty() {
            return Ok(plan);
        }
        let named = (self.owner(), self.resolved(model).to_string());
        interventions::apply(plan, named, &self.interventions, model, windows)
    }
}

impl From<Form> for Method {
    fn from(form: Form) -> Self {
        Self { form, interventions: Vec::new() }
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.form {
            Form::Listed(setting) => setting.fmt(f),
            Form::Written(written) => f.write_str(&written.1.method),
        }?;
        self.interventions.iter().try_for_each(|one| write!(f, "/{one}"))
    }
}

impl Serialize for Method {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let heads = (!self.interventions.is_empty()).then(|| self.interventions_text());
        let heads = heads.as_ref().map(|text| (HEADS, text.as_str()));
        let written = match &self.form {
            Form::Listed(setting) => return setting.serialize_table(serializer, heads),
            Form::Written(written) => written,
        };
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("name", &written.0)?;
        map.serialize_entry("text", &written.1.method)?;
        heads.map_or(Ok(()), |(name, text)| map.serialize_entry(name, text))?;
        map.end()
    }
}

impl<'de> Deserialize<'de> for Method {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let forms = Forms {
            what: "method",
            catalog: &INFOS,
            text: Self::parse,
            beside: Some(HEADS),
            table: |setting, heads| Self::listed(setting)?.with_interventions(heads.unwrap_or_default()),
        };
        forms.deserialize(deserializer)
    }
}

/// The plan of a text form on a model trained on `trained` tokens, drawn for `n_tokens`.
#[cfg(test)]
fn draw(text: &str, trained: usize, n_tokens: usize) -> String {
    let plan = Method::parse(text).unwrap().plan(&ModelSpec::tiny(trained)).unwrap();
    let [rule] = plan.rules() else { panic!("{text} has one picture for each of its rules") };
    crate::picture::draw(rule, n_tokens)
}

#[cfg(test)]
pub(crate) mod tests;
