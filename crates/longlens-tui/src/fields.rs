//! The controls: every parameter as a field with its range, how arrows step through it, and what a typed value makes of it.

use longlens_app::Problem;
use longlens_app::settings::{Settings, params};
use longlens_core::lens::ModelInfo;
use longlens_core::methods::{HEADS, METHODS, Method};
use longlens_core::rope::{RopeScaling, SCALINGS};
use longlens_core::setting::{Kind, MAX_REAL, Param, Value, whole};
use longlens_eval::tasks::Task;
use serde::{Deserialize, Serialize};

/// Everything that the controls set.
#[derive(Debug, Clone, PartialEq)]
pub struct Controls {
    /// What decides a run.
    pub settings: Settings,
    /// Selected layer.
    pub layer: usize,
    /// Selected query head.
    pub head: usize,
    /// Selected query token; the one that matters most when absent.
    pub query: Option<usize>,
    /// Tokens of a chunk where the method has none of its own.
    pub chunk_len: Option<usize>,
    /// The grid.
    pub grid: GridForm,
}

/// Which grid to run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GridForm {
    /// What is asked: [`PASSKEY`], or another task as text.
    #[serde(default = "passkey")]
    pub task: String,
    /// Longest prompt, in multiples of the trained context.
    pub up_to: usize,
    /// Depths, evenly from start to end.
    pub n_depths: usize,
    /// Prompts per cell.
    pub trials: usize,
    /// Whether prompts are put into the model's chat template.
    #[serde(default)]
    pub chat: bool,
}

/// One control.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FieldId {
    /// Which method.
    Method,
    /// A parameter of the method.
    Param(&'static str),
    /// What is changed in some heads.
    Heads,
    /// Which RoPE scaling.
    Rope,
    /// A parameter of the scaling.
    RopeParam(&'static str),
    /// Tokens that the model counts as trained on.
    TrainedContext,
    /// One of the settings that [`params`] describes, by its name.
    Setting(&'static str),
    /// Layer whose map is shown, from 0.
    Layer,
    /// Query head whose map is shown, from 0.
    Head,
    /// Token whose attention is shown, from 0.
    Query,
    /// Tokens of a chunk in the views.
    ChunkLen,
    /// What the grid asks.
    GridTask,
    /// Longest prompt of the grid, in multiples of the trained context.
    GridUpTo,
    /// How many depths the grid has.
    GridDepths,
    /// Prompts in each cell of the grid.
    GridTrials,
    /// Whether the grid's prompts are put into the chat template.
    GridChat,
}

/// One control as it is shown.
#[derive(Debug, Clone, PartialEq)]
pub struct Field {
    /// Which one.
    pub id: FieldId,
    /// Where it belongs.
    pub section: &'static str,
    /// What it is called.
    pub label: String,
    /// Its value.
    pub value: String,
    /// What it takes.
    pub range: String,
    /// One line of help.
    pub help: &'static str,
    /// Whether a value was given; defaults are shown fainter.
    pub is_given: bool,
    shape: Shape,
    /// The checkpoint's own scaling, of which a parameter is set.
    owner: Option<RopeScaling>,
}

/// What a field takes.
#[derive(Debug, Clone, PartialEq)]
enum Shape {
    Count {
        min: usize,
        max: usize,
    },
    Real {
        min: f64,
        max: f64,
        step: f64,
    },
    OffOr {
        above: f64,
        start: f64,
    },
    Words(Vec<String>),
    /// Typed, never stepped.
    Text,
}

/// What the range of some fields depends on.
#[derive(Debug, Clone, Copy)]
pub struct Around<'a> {
    /// The model as it was opened.
    pub model: &'a ModelInfo,
    /// Tokens of the prompt.
    pub n_prompt: usize,
    /// Tokens whose attention can be looked at.
    pub n_fed: usize,
    /// The query that matters most.
    pub default_query: usize,
    /// Tokens of a chunk in the views.
    pub chunk_len: usize,
}

impl Default for GridForm {
    fn default() -> Self {
        Self { task: passkey(), up_to: 8, n_depths: 5, trials: 2, chat: false }
    }
}

impl Controls {
    /// First settings on a model.
    pub fn new(settings: Settings) -> Self {
        Self { settings, layer: 0, head: 0, query: None, chunk_len: None, grid: GridForm::default() }
    }

    /// Every control, in order.
    pub fn fields(&self, around: &Around) -> Vec<Field> {
        let mut list = List(Vec::new());
        self.add_method(&mut list, around);
        self.add_selection(&mut list, around);
        params::text().for_each(|param| self.add_setting(&mut list, "text", param));
        let count = |min, max| Shape::Count { min, max };
        let help = "what the grid asks: passkey, or another task, as `longlens tasks` lists them";
        let field = list.add("grid", FieldId::GridTask, "task", &self.grid.task, Shape::Text, help);
        "a task with its settings, as niah_single_1 or ruler_vt:seed=3".clone_into(&mut field.range);
        let help = "longest prompt of the grid, in multiples of the trained context";
        list.add("grid", FieldId::GridUpTo, "up_to", &self.grid.up_to, count(1, 4096), help);
        list.add("grid", FieldId::GridDepths, "depths", &self.grid.n_depths, count(1, 21), "depths of what is hidden");
        list.add(
            "grid",
            FieldId::GridTrials,
            "trials",
            &self.grid.trials,
            count(1, 1000),
            "prompts per cell; samples of each length, where a task has no depths",
        );
        let chats = Shape::Words(OFF_ON.map(str::to_owned).into());
        let help = "whether prompts are put into the model's chat template";
        list.add("grid", FieldId::GridChat, "chat", &OFF_ON[usize::from(self.grid.chat)], chats, help);
        list.0
    }

    /// Method, scaling, what a change does with the cache, and what the model counts as trained on.
    fn add_method(&self, list: &mut List, around: &Around) {
        let spec = &*around.model.spec.trained_on(self.settings.trained_context);
        let (settings, method) = (&self.settings, &self.settings.method);
        let names = METHODS.iter().map(|method| method.info.name.to_owned()).collect();
        let setting = method.setting();
        let summary = setting.map_or("written in a script, without parameters", |setting| setting.info().summary);
        list.add("method", FieldId::Method, "method", &method.name(), Shape::Words(names), summary);
        for (method, param) in
            setting.into_iter().flat_map(|setting| setting.info().params.iter().map(move |param| (setting, param)))
        {
            let shape = Shape::of(&param.kind, spec.trained_context);
            let value = method.value(param.name, spec);
            let field = list.add("method", FieldId::Param(param.name), param.name, &value, shape, param.help);
            field.is_given = method.is_given(param.name);
        }
        if !method.interventions().is_empty() {
            let help = "changes in some heads, as 8h3=off/9=hide:5-9/7h1=force:2/6=streaming; empty for none";
            list.add("method", FieldId::Heads, HEADS, &method.interventions_text(), Shape::Text, help);
        }
        let rope = settings.rope(spec);
        let info = rope.setting().info();
        let names = SCALINGS.iter().map(|info| info.name.to_owned()).collect();
        let field = list.add("run", FieldId::Rope, "rope", &info.name, Shape::Words(names), info.summary);
        field.is_given = settings.rope.is_some();
        for param in info.params {
            let shape = Shape::of(&param.kind, spec.original_context);
            let value = rope.setting().value(param.name, spec);
            let field = list.add("run", FieldId::RopeParam(param.name), param.name, &value, shape, param.help);
            field.is_given = rope.setting().is_given(param.name);
            field.owner = Some(rope.clone());
        }
        self.add_setting(list, "run", &params::SWAP);
        let param = &params::TRAINED_CONTEXT;
        let shape = Shape::of(&param.kind, spec.trained_context);
        let field = list.add("run", FieldId::TrainedContext, param.name, &spec.trained_context, shape, param.help);
        field.range = format!("{}, or empty for {}", field.range, param.default);
        field.is_given = settings.trained_context.is_some();
    }

    /// What is looked at.
    fn add_selection(&self, list: &mut List, around: &Around) {
        let spec = &around.model.spec;
        let last = around.n_fed.saturating_sub(1);
        let count = |min, max| Shape::Count { min, max };
        let (layers, heads) = (count(0, spec.n_layers - 1), count(0, spec.n_heads - 1));
        list.add("look", FieldId::Layer, "layer", &self.layer, layers, "layer that the map shows");
        list.add("look", FieldId::Head, "head", &self.head, heads, "query head that the map shows");
        let query = self.query.unwrap_or(around.default_query).min(last);
        let field = list.add("look", FieldId::Query, "query", &query, count(0, last), "token whose attention is shown");
        field.is_given = self.query.is_some();
        let help = "tokens of a chunk in the views; methods that choose chunks have their own";
        let field = list.add("look", FieldId::ChunkLen, "chunk", &around.chunk_len, count(1, MAX_COUNT), help);
        field.is_given = self.chunk_len.is_some();
    }

    /// A setting that flags, configs and cells have too.
    fn add_setting(&self, list: &mut List, section: &'static str, param: &'static Param) {
        let shape = match Shape::of(&param.kind, 0) {
            Shape::Real { min, max, .. } if param.name == "temperature" => Shape::Real { min, max, step: 0.1 },
            shape => shape,
        };
        let field =
            list.add(section, FieldId::Setting(param.name), param.name, &self.settings.get(param), shape, param.help);
        field.range = param.kind.to_string();
    }

    /// The controls with one field set to a typed value. Whether the values are possible together is not checked here.
    pub fn with(&self, field: &Field, text: &str) -> Result<Self, Problem> {
        let text = text.trim();
        let refused = || Problem::new(format!("{} = {text} is not possible", field.label), field.range.clone());
        let mut new = self.clone();
        let value = Value::read(text);
        match field.id {
            FieldId::Method => {
                let method = Method::parse(text)?;
                let changes = self.settings.method.interventions_text();
                // a name alone is another method, under the same changes of heads
                let keeps = method.interventions().is_empty();
                new.settings.method = if keeps { method.with_interventions(&changes)? } else { method };
            }
            FieldId::Heads => new.settings.method = self.settings.method.clone().with_interventions(text)?,
            FieldId::Param(name) => new.settings.method = self.settings.method.clone().with(name, &value)?,
            FieldId::Rope => new.settings.rope = Some(RopeScaling::parse(text)?),
            FieldId::RopeParam(name) => {
                // a scaling that came with the checkpoint becomes the user's own
                let rope = new.settings.rope.take().or_else(|| field.owner.clone()).ok_or_else(refused)?;
                new.settings.rope = Some(rope.with(name, &value)?);
            }
            FieldId::Setting(name) => {
                let param = params::param(name);
                new.settings.set(param, &param.read(text)?)?;
            }
            FieldId::TrainedContext if text.is_empty() => new.settings.trained_context = None,
            FieldId::TrainedContext => {
                new.settings.trained_context = Some(params::TRAINED_CONTEXT.read(text)?.number() as usize);
            }
            FieldId::GridTask if text.is_empty() => new.grid.task = passkey(),
            FieldId::GridTask => new.grid.task = Task::parse(text)?.to_string(),
            FieldId::GridChat => {
                new.grid.chat = OFF_ON.iter().position(|word| *word == text).ok_or_else(refused)? == 1;
            }
            id => {
                let Shape::Count { min, max } = field.shape else { return Err(refused()) };
                let count = read_count(text).filter(|count| (min..=max).contains(count)).ok_or_else(refused)?;
                match id {
                    FieldId::Layer => new.layer = count,
                    FieldId::Head => new.head = count,
                    FieldId::Query => new.query = Some(count),
                    FieldId::ChunkLen => new.chunk_len = Some(count),
                    FieldId::GridUpTo => new.grid.up_to = count,
                    FieldId::GridDepths => new.grid.n_depths = count,
                    FieldId::GridTrials => new.grid.trials = count,
                    _ => return Err(refused()),
                }
            }
        }
        Ok(new)
    }

    /// The controls after one step of an arrow: the nearest value in that direction that is possible, else the next one.
    /// Nothing when the field ends there.
    pub fn nudged(&self, field: &Field, up: bool, far: bool, around: &Around) -> Option<Self> {
        let mut first = None;
        let mut value = field.value.clone();
        for _ in 0..TRIED {
            let Some(next) = field.shape.step(&value, up, far) else { break };
            value = next;
            let Ok(new) = self.with(field, &value) else { continue };
            match new.settings.check(around.model, around.n_prompt) {
                Ok(_) => return Some(new),
                Err(problem) => {
                    first.get_or_insert((new, problem));
                }
            }
        }
        // where the nearest value that is possible is the one that it has, there is nothing to go to
        let stays = format!("set {} to {}", field.label, field.value);
        first.filter(|(_, problem)| problem.help.as_ref() != Some(&stays)).map(|(new, _)| new)
    }
}

/// The task whose grid has keys of our own templates in every cell.
pub const PASSKEY: &str = "passkey";

fn passkey() -> String {
    PASSKEY.to_owned()
}

/// Controls in the making.
struct List(Vec<Field>);

impl List {
    fn add(
        &mut self,
        section: &'static str,
        id: FieldId,
        label: &str,
        value: &dyn ToString,
        shape: Shape,
        help: &'static str,
    ) -> &mut Field {
        let (label, value, range) = (label.to_owned(), value.to_string(), shape.range());
        self.0.push(Field { id, section, label, value, range, help, is_given: true, shape, owner: None });
        let last = self.0.len() - 1;
        &mut self.0[last]
    }
}

/// Words of a field that is off or on.
const OFF_ON: [&str; 2] = ["off", "on"];
/// Steps that are looked through for a possible value.
const TRIED: usize = 128;
/// Counts beyond this are no counts.
const MAX_COUNT: usize = 1 << 40;

/// Reads `512` or `1k` (k is 1024).
pub(crate) fn read_count(text: &str) -> Option<usize> {
    whole(text)?.try_into().ok()
}

impl Field {
    /// Whether any text may be typed.
    pub fn is_text(&self) -> bool {
        matches!(self.shape, Shape::Text)
    }

    /// The keys that change it, for the line at the bottom.
    pub fn hints(&self) -> &'static str {
        match self.shape {
            Shape::Words(_) => "←→ change · enter the next",
            Shape::Text => "enter edits the text · ctrl-u clears it · digits begin a new one",
            _ => "←→ change · ⇧←→ powers of two · digits type",
        }
    }

    /// Whether it is one of a few words.
    pub fn is_word(&self) -> bool {
        matches!(self.shape, Shape::Words(_))
    }
}

impl Shape {
    fn of(kind: &Kind, trained: usize) -> Self {
        match kind {
            Kind::Count(min) => Self::Count { min: *min, max: MAX_COUNT },
            Kind::Whole(min, max) => Self::Count { min: *min as usize, max: *max as usize },
            Kind::Real(min) => Self::Real { min: *min, max: MAX_REAL, step: if *min >= 1.0 { 1.0 } else { 0.5 } },
            Kind::Between(min, max) => Self::Real { min: *min, max: *max, step: 0.05 },
            // arrows end at a hundredth; what lies below can be typed
            Kind::Above(above, max) => Self::Real { min: above + 0.01, max: *max, step: 0.05 },
            Kind::OffOr(above) => Self::OffOr { above: *above, start: trained as f64 },
            Kind::Word(words) => Self::Words(words.iter().map(|word| (*word).to_owned()).collect()),
            Kind::Parts | Kind::Text => Self::Text,
        }
    }

    fn range(&self) -> String {
        match self {
            Self::Count { min, max: MAX_COUNT } => format!("{min} or more"),
            Self::Count { min, max } => format!("{min} to {max}"),
            Self::Real { min, max, .. } if *max >= MAX_REAL => format!("{min} or more"),
            Self::Real { min, max, .. } => format!("{min} to {max}"),
            Self::OffOr { above, .. } => format!("off, or above {above}"),
            Self::Words(words) => words.join(", "),
            Self::Text => Kind::Parts.to_string(),
        }
    }

    /// The value one step on; nothing at the end.
    fn step(&self, value: &str, up: bool, far: bool) -> Option<String> {
        match self {
            Self::Text => None,
            Self::Words(words) => {
                let at = words.iter().position(|word| word == value).unwrap_or(0);
                let n = words.len();
                Some(words[if up { (at + 1) % n } else { (at + n - 1) % n }].clone())
            }
            Self::Count { min, max } => {
                let now: usize = value.parse().unwrap_or(*min);
                let next = if far { power_of_two(now, up) } else { stepped(now, up) }?;
                let next = next.clamp(*min, *max);
                (next != now).then(|| next.to_string())
            }
            Self::Real { min, max, step } => {
                let now: f64 = value.parse().unwrap_or(*min);
                let next = match (far, up) {
                    (true, true) => (now * 2.0).max(*step),
                    (true, false) => now / 2.0,
                    (false, true) => now + step,
                    (false, false) => now - step,
                };
                // 0.1 + 0.2 is shown as 0.3
                let next = ((next * 1e4).round() / 1e4).clamp(*min, *max);
                ((next - now).abs() > 1e-9).then(|| next.to_string())
            }
            Self::OffOr { above, start } => match (value.parse::<f64>(), up) {
                (Err(_), true) => Some(start.to_string()),
                (Err(_), false) => None,
                (Ok(now), true) => Some((now * 2.0).min(1e12).to_string()),
                (Ok(now), false) if now / 2.0 > *above && now / 2.0 >= 2.0 => Some((now / 2.0).floor().to_string()),
                (Ok(_), false) => Some("off".into()),
            },
        }
    }
}

/// A sensible step: an eighth of the power of two that the value has reached.
fn stepped(now: usize, up: bool) -> Option<usize> {
    let step = |value: usize| ((value.max(1).ilog2() as usize).checked_sub(3)).map_or(1, |power| 1 << power);
    if up {
        Some((now / step(now) + 1) * step(now))
    } else {
        let below = now.checked_sub(1)?;
        Some(below / step(below) * step(below))
    }
}

/// The next power of two in a direction.
fn power_of_two(now: usize, up: bool) -> Option<usize> {
    if up {
        (now + 1).checked_next_power_of_two()
    } else {
        Some(now.checked_sub(1)?.checked_ilog2().map_or(0, |p| 1 << p))
    }
}
