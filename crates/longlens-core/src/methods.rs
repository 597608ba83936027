//! The catalog of methods: what the command line, configs, help and completion offer.

use std::fmt;
use std::sync::{Arc, LazyLock};

use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::plan::{Heads, LayerWindows, Plan};
use crate::setting::{self, Info, Setting, SettingError, Value};
use crate::spec::ModelSpec;

mod by_layer;
mod dual_chunk;
mod full;
mod long_heads;
mod quest;
mod rerope;
mod self_extend;
mod sliding_window;
mod streaming;
mod string;

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

/// A method with its parameters; text form `self_extend:group_size=4,neighbor_window=64`. Or one that a script wrote.
#[derive(Debug, Clone, PartialEq)]
pub struct Method(Form);

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
        Self(Form::Listed(Setting::new(&full::METHOD.info)))
    }

    /// A method that a script wrote: `plan` on every model, its text as [`Plan::method`] says. `name` stands in tables and
    /// errors. Such a method has no parameters and cannot be read back from a file.
    pub fn written(name: impl Into<String>, plan: Plan) -> Self {
        Self(Form::Written(Arc::new((name.into(), plan))))
    }

    /// Reads the text form.
    pub fn parse(text: &str) -> Result<Self, SettingError> {
        Setting::parse(text.trim(), "method", &INFOS).and_then(Self::listed)
    }

    /// Reads several methods, separated by `;`, or by a comma before the name of the next one: in a method's text form what follows a
    /// comma is always `name=value`.
    pub fn list(text: &str) -> Result<Vec<Self>, SettingError> {
        let is_name = |piece: &str| {
            let name = piece.split(':').next().unwrap_or_default().trim();
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
        Ok(Self(Form::Listed(setting)))
    }

    /// Name, parameters and values; nothing of a method that a script wrote.
    pub fn setting(&self) -> Option<&Setting> {
        match &self.0 {
            Form::Listed(setting) => Some(setting),
            Form::Written(_) => None,
        }
    }

    /// The name in text, plots and tables.
    pub fn name(&self) -> &str {
        match &self.0 {
            Form::Listed(setting) => setting.info().name,
            Form::Written(written) => &written.0,
        }
    }

    /// The same method with every default of `model` written out.
    #[must_use]
    pub fn resolved(&self, model: &ModelSpec) -> Self {
        match &self.0 {
            Form::Listed(setting) => Self(Form::Listed((info(setting).text.resolved)(setting.resolved(model), model))),
            Form::Written(_) => self.clone(),
        }
    }

    /// The same method with one parameter given.
    pub fn with(self, name: &str, value: &Value) -> Result<Self, SettingError> {
        match self.0 {
            Form::Listed(mut setting) => {
                setting.set(name, value)?;
                Self::listed(setting)
            }
            Form::Written(written) => {
                Err(SettingError::NoParameters { name: written.0.clone(), parameter: name.into() })
            }
        }
    }

    /// What this method does to any (query, key) of `model`; errors say which parameters are impossible. Windows that layers have
    /// of their own are treated in the usual way.
    pub fn plan(&self, model: &ModelSpec) -> Result<Plan, SettingError> {
        self.plan_with(model, LayerWindows::default())
    }

    /// The same with windows of layers treated as `windows` says.
    pub fn plan_with(&self, model: &ModelSpec, windows: LayerWindows) -> Result<Plan, SettingError> {
        let plan = match &self.0 {
            // methods in parts of the model would keep windows there
            Form::Listed(setting) if windows == LayerWindows::Off => {
                let heads = (info(setting).plan)(setting, &model.without_windows())?;
                Plan::new(self.resolved(model).to_string(), heads)
            }
            Form::Listed(setting) => Plan::new(self.resolved(model).to_string(), (info(setting).plan)(setting, model)?),
            Form::Written(written) => written.1.clone(),
        };
        plan.on(model, *self == Self::full(), windows)
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Form::Listed(setting) => setting.fmt(f),
            Form::Written(written) => f.write_str(&written.1.method),
        }
    }
}

impl Serialize for Method {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let written = match &self.0 {
            Form::Listed(setting) => return setting.serialize_table(serializer),
            Form::Written(written) => written,
        };
        let mut map = serializer.serialize_map(Some(2))?;
        map.serialize_entry("name", &written.0)?;
        map.serialize_entry("text", &written.1.method)?;
        map.end()
    }
}

impl<'de> Deserialize<'de> for Method {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let setting = Setting::deserialize_from(deserializer, "method", &INFOS)?;
        Self::listed(setting).map_err(setting::explain)
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
