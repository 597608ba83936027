//! A folder to run the program in, and what a run leaves behind.

#![allow(dead_code, reason = "every test uses some of it")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use serde_json::Value;
use tempfile::TempDir;

/// Name, format, shape and bytes of a tensor.
pub type Tensors = BTreeMap<String, (Dtype, Vec<usize>, Vec<u8>)>;

/// An empty folder with no Hugging Face cache, where commands run.
pub struct Sandbox(TempDir);

/// What one run left.
pub struct Ran {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Sandbox {
    pub fn new() -> Self {
        Self(tempfile::Builder::new().prefix("sandbox").tempdir().unwrap())
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    pub fn json(&self, name: &str) -> Value {
        serde_json::from_slice(&self.read(name)).unwrap()
    }

    /// Writes a file, and the folders above it.
    pub fn write(&self, name: &str, bytes: impl AsRef<[u8]>) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    /// The program with these arguments, in this folder.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_longlens"));
        command.args(args).current_dir(self.0.path()).env("HF_HOME", self.path("hf"));
        command.env("XDG_STATE_HOME", self.path(".state"));
        for name in ["HF_HUB_CACHE", "NO_COLOR", "CLICOLOR_FORCE", "FORCE_COLOR"] {
            command.env_remove(name);
        }
        command
    }

    /// Runs a command to its end.
    pub fn run(&self, args: &[&str]) -> Ran {
        self.command(args).output().unwrap().into()
    }

    /// Runs a command line without blanks inside its arguments; it must succeed.
    pub fn done(&self, line: &str) -> Ran {
        let ran = self.run(&words(line));
        assert_eq!(ran.code, Some(0), "longlens {line}\n{}", ran.stderr);
        ran
    }

    /// Runs a command line that has to end with this code and say all of `expected`, however its lines are broken; returns what stands on
    /// stdout before that.
    pub fn refused(&self, line: &str, code: i32, expected: &[&str]) -> String {
        let ran = self.run(&words(line));
        let said = ran.stderr.split_whitespace().collect::<Vec<_>>().join(" ").replace(" │ ", " ");
        assert_eq!(ran.code, Some(code), "longlens {line}\n{}{}", ran.stdout, ran.stderr);
        for part in expected {
            assert!(said.contains(part), "longlens {line} does not say `{part}`:\n{}", ran.stderr);
        }
        ran.stdout
    }
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Self { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
    }
}

pub fn words(line: &str) -> Vec<&str> {
    line.split_whitespace().collect()
}

pub fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/golden").join(name)
}

/// A checkpoint of the golden models in `folder`, after `change`.
pub fn checkpoint(sandbox: &Sandbox, folder: &str, change: impl FnOnce(&mut Tensors, &mut Value)) {
    let from = golden("models/llama3-gqa");
    let mut tensors = tensors(&fs::read(from.join("model.safetensors")).unwrap());
    let mut config = serde_json::from_slice(&fs::read(from.join("config.json")).unwrap()).unwrap();
    change(&mut tensors, &mut config);
    let views = tensors
        .iter()
        .map(|(name, (dtype, shape, bytes))| (name, TensorView::new(*dtype, shape.clone(), bytes).unwrap()));
    sandbox.write(&format!("{folder}/config.json"), config.to_string());
    sandbox.write(&format!("{folder}/model.safetensors"), safetensors::serialize(views, None).unwrap());
}

/// A copy of the embedded model in `folder`, with a chat template: each turn is a line that begins with its role.
pub fn talking(folder: &Path) {
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/tiny-model");
    fs::create_dir_all(folder).unwrap();
    for name in
        ["config.json", "generation_config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"]
    {
        fs::copy(from.join(name), folder.join(name)).unwrap();
    }
    fs::write(folder.join("chat_template.jinja"), TEMPLATE).unwrap();
}

const TEMPLATE: &str = "{{ bos_token }}{% for turn in messages %}
{% if turn.role == 'tool' %}{{ raise_exception('no tools here') }}{% endif %}
{{ turn.role | capitalize }}: {{ turn.content }}
{% endfor %}{% if add_generation_prompt %}Assistant:{% endif %}";

/// Every tensor of a safetensors file.
pub fn tensors(file: &[u8]) -> Tensors {
    let read = SafeTensors::deserialize(file).unwrap();
    read.iter().map(|(name, view)| (name.into(), (view.dtype(), view.shape().into(), view.data().into()))).collect()
}

pub fn ints((_, _, bytes): &(Dtype, Vec<usize>, Vec<u8>)) -> Vec<i32> {
    bytes.chunks(4).map(|bytes| i32::from_le_bytes(bytes.try_into().unwrap())).collect()
}

pub fn floats((_, _, bytes): &(Dtype, Vec<usize>, Vec<u8>)) -> Vec<f32> {
    bytes.chunks(4).map(|bytes| f32::from_le_bytes(bytes.try_into().unwrap())).collect()
}

/// A PDF whose second page says nothing: what stands on it is under a name that no reader knows.
pub fn without_second_page(pdf: &[u8]) -> Vec<u8> {
    let (contents, unknown) = (b"/Contents 9 0 R", b"/Nothings 9 0 R");
    let at = pdf.windows(contents.len()).position(|part| part == contents).expect("the page has contents");
    [&pdf[..at], unknown, &pdf[at + contents.len()..]].concat()
}
