//! The model against arrays made with the authors' own code (`fixtures/golden`, described in its README).
//!
//! `LONGLENS_GOLDEN=FOLDER cargo test --release --workspace --test model golden` runs every case of another folder.

use std::path::{Path, PathBuf};

use burn_flex::{Flex, FlexDevice};
use longlens_core::lens::{Lens, Rows, Setup};
use longlens_core::methods::Method;
use longlens_core::plan::{Prefill, Relation};
use longlens_core::spec::ModelSpec;
use longlens_core::trace::{Choices, Queries};
use longlens_kernel::Kernels;
use longlens_kernel::linear::Storage;
use longlens_model::source::Source;
use safetensors::SafeTensors;
use serde_json::Value;

/// One case: what was run and what came out.
struct Case {
    name: String,
    meta: Value,
    arrays: Vec<u8>,
}

/// Where the model of a case lies.
enum Folder {
    Fixture(PathBuf),
    Changed(tempfile::TempDir),
}

impl Folder {
    fn path(&self) -> &Path {
        match self {
            Self::Fixture(path) => path,
            Self::Changed(copy) => copy.path(),
        }
    }
}

fn folder() -> PathBuf {
    std::env::var_os("LONGLENS_GOLDEN")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/golden"), PathBuf::from)
}

/// Cases whose name starts with `prefix`.
fn cases(prefix: &str) -> Vec<Case> {
    let files = std::fs::read_dir(folder().join("cases")).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> =
        files.filter(|file| file.extension().is_some_and(|extension| extension == "json")).collect();
    files.sort();
    let load = |file: PathBuf| Case {
        name: file.file_stem().unwrap().to_string_lossy().into_owned(),
        meta: serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap(),
        arrays: std::fs::read(file.with_extension("safetensors")).unwrap(),
    };
    files.into_iter().map(load).filter(|case| case.name.starts_with(prefix)).collect()
}

impl Case {
    fn text(&self, key: &str) -> &str {
        self.meta[key].as_str().unwrap()
    }

    fn count(&self, key: &str) -> usize {
        self.meta[key].as_u64().unwrap() as usize
    }

    fn param(&self, key: &str) -> i64 {
        self.meta["params"][key].as_i64().unwrap()
    }

    fn is(&self, key: &str, word: &str) -> bool {
        self.meta["params"][key] == word
    }

    fn tokens(&self) -> Vec<u32> {
        self.meta["tokens"].as_array().unwrap().iter().map(|token| token.as_u64().unwrap() as u32).collect()
    }

    fn array(&self, name: &str) -> Option<(Vec<usize>, Vec<u8>)> {
        let arrays = SafeTensors::deserialize(&self.arrays).unwrap();
        arrays.tensor(name).ok().map(|array| (array.shape().to_vec(), array.data().to_vec()))
    }

    fn floats(&self, name: &str) -> Vec<f32> {
        let (_, bytes) = self.array(name).unwrap_or_else(|| panic!("{}: no {name}", self.name));
        bytes.chunks(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect()
    }

    fn ints(&self, name: &str) -> Option<Vec<i32>> {
        let (_, bytes) = self.array(name)?;
        Some(bytes.chunks(4).map(|b| i32::from_le_bytes(b.try_into().unwrap())).collect())
    }

    /// Positions that the case has logits and attention outputs of.
    fn rows(&self) -> Vec<usize> {
        let all = || (0..self.tokens().len()).collect();
        self.ints("rows").map_or_else(all, |rows| rows.into_iter().map(|row| row as usize).collect())
    }

    /// The token that the library computes with everything before it afresh: `generate` of transformers does so where the factors
    /// of a longrope change.
    fn computed_afresh(&self, spec: &ModelSpec) -> Option<usize> {
        self.name.ends_with("-generate").then_some(spec.original_context)
    }

    /// The authors' parameters in our names.
    fn method(&self) -> Method {
        let text = match self.text("method") {
            "full" => "full".into(),
            "self_extend" => format!(
                "self_extend:group_size={},neighbor_window={},log_scale={},shift={}",
                self.param("group_size"),
                self.param("window_size"),
                if self.param("scale_base") > 0 { self.param("scale_base").to_string() } else { "off".into() },
                if self.is("group_shift", "true_division") { "exact" } else { "floor" },
            ),
            "dca" => format!(
                "dual_chunk:chunk_size={},local_window={},temperature={}",
                self.param("chunk_size"),
                self.param("local_window"),
                if self.is("mscale", "on") { "yarn" } else { "off" },
            ),
            "longheads" => format!(
                "long_heads:chunk_len={},attention_len={},begin_len={},variant=released",
                self.param("window_size"),
                self.param("atten_length"),
                self.param("begin_selective_length"),
            ),
            other => panic!("{}: method {other}", self.name),
        };
        Method::parse(&text).unwrap()
    }

    /// The model's folder, or a copy of it with the fields of its config changed that the case names.
    fn folder(&self) -> Folder {
        let model = folder().join("models").join(self.text("model"));
        let Some(changes) = self.meta["config"].as_object() else { return Folder::Fixture(model) };
        let copy = tempfile::tempdir().unwrap();
        let mut config: Value = serde_json::from_slice(&std::fs::read(model.join("config.json")).unwrap()).unwrap();
        config.as_object_mut().unwrap().extend(changes.clone());
        std::fs::write(copy.path().join("config.json"), config.to_string()).unwrap();
        std::fs::copy(model.join("model.safetensors"), copy.path().join("model.safetensors")).unwrap();
        Folder::Changed(copy)
    }

    fn open(&self) -> Box<dyn Lens> {
        self.open_on::<Flex>(FlexDevice)
    }

    fn open_on<B: Kernels>(&self, device: B::Device) -> Box<dyn Lens> {
        let folder = self.folder();
        let source = Source::folder(folder.path());
        longlens_model::open::<B>(&source, Storage::F32, device, "test")
            .unwrap_or_else(|error| panic!("{}: {error}", self.name))
    }
}

/// Checks every case whose name starts with one of these on a device; returns how many there are.
#[cfg(any(feature = "wgpu", feature = "simulated"))]
pub fn check_on<B: Kernels>(prefixes: &[&str], device: &B::Device) -> usize {
    let cases: Vec<_> = prefixes.iter().flat_map(|prefix| cases(prefix)).collect();
    for case in &cases {
        check(case, case.open_on::<B>(device.clone()).as_mut());
    }
    cases.len()
}

fn check(case: &Case, lens: &mut dyn Lens) {
    let mut spec = lens.model().spec.clone();
    if case.is("mscale", "on") {
        // the golden names the length from which the temperature grows; the model's own length only sizes its tables
        spec.trained_context = case.param("mscale_max_position_embeddings") as usize;
    }
    let (tokens, n_prompt, last) = (case.tokens(), case.count("prefill_len"), spec.n_layers - 1);
    let mut setup = Setup::new(&case.method(), &spec, n_prompt).unwrap();
    setup.watch.attn_out = vec![0, last];
    setup.watch.choices = Queries::All;
    lens.begin(&setup).unwrap();
    let mut logits = lens.feed(&tokens[..n_prompt], Rows::All, &mut ()).unwrap();
    let mut attn_out = [0, last].map(|layer| lens.trace().layers[layer].attn_out.clone());
    let afresh = case.computed_afresh(&spec);
    for (at, token) in tokens.iter().enumerate().skip(n_prompt) {
        if afresh == Some(at) {
            setup = Setup { n_prompt: at + 1, ..setup };
            lens.begin(&setup).unwrap();
            let row = lens.feed(&tokens[..=at], Rows::Last, &mut ()).unwrap();
            logits.extend(row);
        } else {
            logits.extend(lens.feed(&[*token], Rows::All, &mut ()).unwrap());
        }
    }
    let trace = lens.trace();
    if afresh.is_none() {
        attn_out = [0, last].map(|layer| trace.layers[layer].attn_out.clone());
    }

    let limit = |key: &str| case.meta["tolerance"][key].as_f64().unwrap() as f32;
    let rows = case.rows();
    let of_rows = |numbers: &[f32], n_rows: usize| {
        let width = numbers.len() / n_rows;
        let held = rows.iter().filter(|row| **row < n_rows);
        held.flat_map(|row| numbers[row * width..][..width].to_vec()).collect::<Vec<_>>()
    };
    let got = of_rows(&logits, tokens.len());
    close(&case.name, "logits", &got, &case.floats("logits"), limit("logits_max_abs"));
    for (layer, attn_out) in [0, last].into_iter().zip(&attn_out) {
        let (name, width) = (format!("attn_out.{layer}"), spec.n_heads * spec.head_dim);
        let got = of_rows(attn_out, attn_out.len() / width);
        close(&case.name, &name, &got, &case.floats(&name)[..got.len()], limit("attn_out_max_abs"));
    }
    for (layer, trace) in trace.layers.iter().enumerate() {
        if let Some(expected) = case.ints(&format!("chunks.{layer}")) {
            check_choices(case, layer, trace.choices.as_ref().unwrap(), &expected);
        }
    }
}

fn close(case: &str, what: &str, got: &[f32], expected: &[f32], limit: f32) {
    assert_eq!(got.len(), expected.len(), "{case}: {what}: length");
    let (at, worst) = got
        .iter()
        .zip(expected)
        .map(|(a, b)| if a.is_finite() { (a - b).abs() } else { f32::INFINITY })
        .enumerate()
        .max_by(|a, b| a.1.total_cmp(&b.1))
        .unwrap();
    assert!(worst <= limit, "{case}: {what}: off by {worst:e} at {at}");
}

/// Every chosen chunk of every head; the goldens do not list the partial tail of generated tokens.
fn check_choices(case: &Case, layer: usize, choices: &Choices, expected: &[i32]) {
    let queries: Vec<usize> = case.ints("chunk_queries").unwrap().iter().map(|query| *query as usize).collect();
    assert_eq!(choices.queries, queries, "{}: layer {layer}: queries that choose", case.name);
    let n = expected.len() / queries.len() / choices.n_heads;
    for head in 0..choices.n_heads {
        for (row, query) in queries.iter().enumerate() {
            let want = expected[(head * queries.len() + row) * n..][..n].iter().filter(|chunk| **chunk >= 0);
            let want: Vec<usize> = want.map(|chunk| *chunk as usize).collect();
            let got: Vec<usize> = choices.row(row, head).map(|(chunk, _)| chunk).take(want.len()).collect();
            assert_eq!(got, want, "{}: layer {layer}, head {head}, query {query}", case.name);
        }
    }
}

/// The plan's relative positions against those that the authors' code used.
fn check_positions(case: &Case) -> bool {
    let Some((shape, bytes)) = case.array("relpos") else { return false };
    let spec = case.open().model().spec.clone();
    let plan = case.method().plan(&spec).unwrap();
    let prompt = Prefill { n_tokens: case.count("prefill_len") };
    let n = shape[0];
    let whole = case.meta["tensors"]["relpos"]["dtype"] == "int32";
    for (at, bytes) in bytes.chunks(4).enumerate() {
        let bytes = bytes.try_into().unwrap();
        let want = if whole { f64::from(i32::from_le_bytes(bytes)) } else { f64::from(f32::from_le_bytes(bytes)) };
        let (query, key) = (at / n, at % n);
        if key > query {
            continue;
        }
        let Relation::At(got, _) = plan.of(0, 0).relation(query, key, prompt) else { panic!("{}: hidden", case.name) };
        assert!((got - want).abs() < 1e-4, "{}: query {query}, key {key}: {got} instead of {want}", case.name);
    }
    true
}

/// Checks every case of this name, of which there are so many in the fixtures.
fn check_all(prefix: &str, n_cases: usize) {
    let cases = cases(prefix);
    if std::env::var_os("LONGLENS_GOLDEN").is_none() {
        assert_eq!(cases.len(), n_cases, "cases named {prefix}*");
    }
    for case in &cases {
        check(case, case.open().as_mut());
    }
}

#[test]
fn full_attention_and_every_rope_scaling_match_transformers() {
    check_all("full-", 34);
}

#[test]
fn self_extend_matches_the_authors() {
    check_all("se-", 19);
}

#[test]
fn dual_chunk_matches_the_authors() {
    check_all("dca-", 12);
}

#[test]
fn long_heads_matches_the_authors() {
    check_all("lh-", 8);
}

#[test]
fn relative_positions_match_the_authors() {
    let checked = cases("").iter().filter(|case| check_positions(case)).count();
    let usual = std::env::var_os("LONGLENS_GOLDEN").is_none();
    assert!(!usual || checked == 6, "{checked} cases list their positions");
}
