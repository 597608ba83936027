//! LoRA adapters as PEFT saves them: small matrices whose product is added to weights (Hu et al., 2021, arXiv:2106.09685).
//!
//! `W + scale * B A` with `A` of shape `[r, d_in]` and `B` of `[d_out, r]`; the scale is `alpha / r`, with `use_rslora`
//! `alpha / sqrt(r)` (Kalajdzievski, 2023, arXiv:2312.03732). It is added in 32 bits while the weights are read.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::containers::{self, Found};
use super::stored::Stored;
use super::{WeightFiles, names};
use crate::error::{OpenError, WeightProblem};
use crate::fields::{self, Fields};
use crate::source::Source;

const CONFIG: &str = "adapter_config.json";
const MERGE: &str = "merge it with PEFT (`merge_and_unload`) and save the whole model";
const FILES: [&str; 2] = ["adapter_model.safetensors", "adapter_model.bin"];

/// What is added to a matrix.
#[derive(Debug)]
pub(super) struct Delta {
    /// `[r, d_in]`.
    a: Vec<f32>,
    /// `[d_out, r]`, with the scale in it.
    b: Vec<f32>,
    d_in: usize,
}

impl Delta {
    /// Adds it to the numbers of the matrix from number `first` on.
    pub fn add(&self, first: usize, out: &mut [f32]) {
        let rank = self.a.len() / self.d_in.max(1);
        let (mut at, mut rest) = (first, out);
        while !rest.is_empty() {
            let (row, column) = (at / self.d_in, at % self.d_in);
            let (piece, after) = rest.split_at_mut((self.d_in - column).min(rest.len()));
            for (k, b) in self.b[row * rank..][..rank].iter().enumerate() {
                let a = &self.a[k * self.d_in + column..];
                for (x, a) in piece.iter_mut().zip(a) {
                    *x += b * a;
                }
            }
            at += piece.len();
            rest = after;
        }
    }
}

/// Adds the adapter in `source` to the weights it was trained on.
pub(super) fn apply(files: &mut WeightFiles, source: &Source) -> Result<(), OpenError> {
    let file = source.shown(CONFIG);
    let map = fields::parse(&file, &source.require(CONFIG)?)?;
    let scales = Scales::read(Fields::new(&file, &map))?;
    let (shown, tensors) = open(source)?;
    let refuse = |problems: Vec<WeightProblem>| OpenError::Weights { file: shown.clone(), problems };
    let mut pairs: BTreeMap<String, [Option<Stored>; 2]> = BTreeMap::new();
    let mut problems = Vec::new();
    for (name, stored) in tensors {
        match role(&name) {
            Ok((module, which)) => pairs.entry(module).or_default()[which] = Some(stored),
            Err((reason, help)) => problems.push(WeightProblem::Unused { name, reason, help }),
        }
    }
    if pairs.is_empty() && problems.is_empty() {
        return Err(refuse(vec![WeightProblem::OtherNames {
            held: "no matrices of an adapter".into(),
            help: "names are to end as in `layers.0.self_attn.q_proj.lora_A.weight`".into(),
        }]));
    }
    for (module, [a, b]) in pairs {
        let missing = |which: &str| WeightProblem::MissingTensor { name: format!("{module}.lora_{which}.weight") };
        match (a, b) {
            (Some(a), Some(b)) => {
                problems.extend(add(files, &module, &a, &b, &scales).err());
            }
            (None, _) => problems.push(missing("A")),
            (_, None) => problems.push(missing("B")),
        }
    }
    if problems.is_empty() { Ok(()) } else { Err(refuse(problems)) }
}

fn open(source: &Source) -> Result<Found, OpenError> {
    for file in FILES {
        if let Some(found) = containers::open_file(source, file)? {
            return Ok(found);
        }
    }
    Err(source.missing(FILES[0], Vec::new()))
}

/// The module that a tensor belongs to, and whether it is `A` or `B`; else what cannot be done with it, and what else can.
fn role(name: &str) -> Result<(String, usize), (&'static str, &'static str)> {
    let whole = name.strip_prefix("base_model.model.").unwrap_or(name);
    if whole.contains("lora_embedding_") {
        return Err(("adapters of embeddings are not added", MERGE));
    }
    if whole.contains("lora_magnitude_vector") {
        return Err(("DoRA is not computed", MERGE));
    }
    for (which, part) in [".lora_A.", ".lora_B."].into_iter().enumerate() {
        if let Some((module, rest)) = whole.split_once(part)
            && rest.ends_with("weight")
        {
            return Ok((names::of_module(module), which));
        }
    }
    Err(("only low-rank matrices are added", MERGE))
}

/// Adds `scale * B A` to a matrix.
fn add(files: &mut WeightFiles, module: &str, a: &Stored, b: &Stored, scales: &Scales) -> Result<(), WeightProblem> {
    let name = format!("{module}.weight");
    let Some(base) = files.get(&name) else {
        let (reason, help) = ("the model has no such matrix", "the adapter belongs to another model");
        return Err(WeightProblem::Unused { name: format!("{module}.lora_A.weight"), reason, help });
    };
    let [d_out, d_in] = *base.shape() else {
        let (expected, found) = (vec![0, 0], base.shape().to_vec());
        return Err(WeightProblem::WrongShape { name, expected, found });
    };
    let rank = a.shape().first().copied().unwrap_or(0);
    let read = |which: &str, stored: &Stored, expected: [usize; 2]| {
        let name = format!("{module}.lora_{which}.weight");
        if stored.shape() != expected {
            return Err(WeightProblem::WrongShape { name, expected: expected.into(), found: stored.shape().into() });
        }
        if !stored.format().is_readable() {
            return Err(WeightProblem::UnsupportedDtype { name, dtype: stored.format().name().into() });
        }
        let mut numbers = vec![0.0; stored.n_numbers()];
        match stored.read(0, &mut numbers, f32::MAX) {
            None => Ok(numbers),
            Some(bad) => {
                let index = super::place(bad.first, stored.shape());
                Err(WeightProblem::NotFinite { name, index, value: bad.value, count: bad.count })
            }
        }
    };
    let a = read("A", a, [rank, d_in])?;
    let b = read("B", b, [d_out, rank])?;
    let wrong = |(field, named)| {
        let name = format!("{module}.lora_A.weight");
        WeightProblem::WrongRank { name, field, named, rank }
    };
    let scale = scales.of(module, rank).map_err(wrong)?;
    let b = b.into_iter().map(|x| (f64::from(x) * scale) as f32).collect();
    files.change(&name, Arc::new(Delta { a, b, d_in }));
    Ok(())
}

/// The scale of every module.
struct Scales {
    alpha: f64,
    /// Other values of some modules, by the end of their names.
    alphas: Vec<(String, f64)>,
    /// The rank of all matrices, where the config names it.
    rank: Option<usize>,
    /// That of some modules, by the end of their names.
    ranks: Vec<(String, usize)>,
    rslora: bool,
}

impl Scales {
    fn read(fields: Fields<'_>) -> Result<Self, OpenError> {
        if let Some(kind) = fields.text("peft_type")?.filter(|kind| *kind != "LORA") {
            return Err(fields.unsupported("peft_type", &format!("of adapters, LoRA is added (this one is {kind})")));
        }
        for field in ["use_dora", "use_qalora", "lora_bias", "fan_in_fan_out"] {
            if fields.flag(field)? == Some(true) {
                return Err(fields.unsupported(field, MERGE));
            }
        }
        if fields.text("bias")?.is_some_and(|bias| bias != "none") {
            return Err(fields.unsupported("bias", MERGE));
        }
        if fields.get("layer_replication").is_some() {
            return Err(fields.unsupported("layer_replication", MERGE));
        }
        let alpha = fields.require("lora_alpha", fields.positive("lora_alpha"), "a number above 0")?;
        let alphas =
            by_module(fields.object("alpha_pattern", "alpha_pattern.")?, Fields::positive, "a number above 0")?;
        let ranks = by_module(fields.object("rank_pattern", "rank_pattern.")?, Fields::count, "a whole number")?;
        let rslora = fields.flag("use_rslora")?.unwrap_or(false);
        Ok(Self { alpha, alphas, rank: fields.count("r")?, ranks, rslora })
    }

    /// The scale of a module with matrices of this rank; an error is the field that names another rank, and that rank.
    fn of(&self, module: &str, rank: usize) -> Result<f64, (&'static str, usize)> {
        let own = of_module(&self.ranks, module).map(|own| ("rank_pattern", own));
        match own.or(self.rank.map(|usual| ("r", usual))) {
            Some((field, named)) if named != rank => return Err((field, named)),
            _ => {}
        }
        let alpha = of_module(&self.alphas, module).unwrap_or(self.alpha);
        let rank = rank.max(1) as f64;
        Ok(alpha / if self.rslora { rank.sqrt() } else { rank })
    }
}

/// The values of a pattern: ends of names of modules, each with what `read` finds.
fn by_module<'a, T>(
    pattern: Option<Fields<'a>>,
    read: impl Fn(Fields<'a>, &str) -> Result<Option<T>, OpenError>,
    expected: &str,
) -> Result<Vec<(String, T)>, OpenError> {
    let Some(pattern) = pattern else { return Ok(Vec::new()) };
    let is_plain = |c: char| c.is_alphanumeric() || c == '_' || c == '.';
    let value = |name: &str| {
        if !name.trim_start_matches('^').chars().all(is_plain) {
            return Err(pattern.unsupported(name, "names of modules are compared, not patterns"));
        }
        Ok((name.to_owned(), pattern.require(name, read(pattern, name), expected)?))
    };
    pattern.names().map(value).collect()
}

/// The value that a pattern has for a module.
fn of_module<T: Copy>(pattern: &[(String, T)], module: &str) -> Option<T> {
    let is_of = |(end, _): &&(String, T)| match end.strip_prefix('^') {
        Some(whole) => module == whole,
        None => module.strip_suffix(end.as_str()).is_some_and(|rest| rest.is_empty() || rest.ends_with('.')),
    };
    pattern.iter().find(is_of).map(|(_, value)| *value)
}
