//! Files of weights cut short, changed or made to do harm: the answer is a model or an error that names the file, in bounded time
//! and memory, and never a panic.

use std::fs;
use std::io::{Cursor, Write};
use std::path::{Path, PathBuf};

use longlens_model::config::Config;
use longlens_model::error::OpenError;
use longlens_model::source::Source;
use longlens_model::weights::{self, WeightFiles};
use proptest::prelude::*;
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

fn fixture(path: &str) -> Vec<u8> {
    fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures").join(path)).unwrap()
}

/// Bytes as a file of this name, beside a config where the file has none of its own.
struct Saved {
    folder: tempfile::TempDir,
    path: PathBuf,
}

impl Saved {
    fn new(file: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("config.json"), fixture("formats/llama-pt/config.json")).unwrap();
        let path = folder.path().join(file);
        Self { folder, path }
    }

    /// Opens these bytes, and checks all that their headers say.
    fn open(&self, bytes: &[u8]) -> Result<(), OpenError> {
        fs::write(&self.path, bytes).unwrap();
        let source = Source::file(&self.path).expect("a file of weights");
        let files = WeightFiles::open(&source)?;
        let mut config = Config::open(&source)?;
        let mut files = files;
        config.follow(&mut files);
        weights::check(&config, &files).map(drop)
    }

    fn refused(&self, bytes: &[u8]) -> String {
        assert!(self.folder.path().is_dir());
        self.open(bytes).map_or_else(|error| error.to_string(), |()| panic!("accepted"))
    }
}

const FILES: [(&str, &str); 4] = [
    ("model.gguf", "formats/llama-gguf-q4_1/llama-gguf-q4_1.gguf"),
    ("model.safetensors", "golden/models/llama2-mha/model.safetensors"),
    ("model.bin", "formats/llama-pt/pytorch_model.bin"),
    ("old.bin", "formats/llama-pt-legacy/pytorch_model.bin"),
];

#[test]
fn every_truncation_is_an_error_that_names_the_file() {
    for (file, path) in FILES {
        let (whole, saved) = (fixture(path), Saved::new(file));
        // all places of a header, and some of what follows
        let places = (0..whole.len()).filter(|at| *at < 4000 && at % 3 == 0 || at % 619 == 0).chain([whole.len() - 1]);
        for at in places {
            let said = saved.refused(&whole[..at]);
            assert!(said.contains(file), "{file} of {at} bytes: {said}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn changed_bytes_are_survived(which in 0..FILES.len(), changes in prop::collection::vec((0..9000usize, any::<u8>()), 1..4), end in any::<bool>()) {
        let (file, path) = FILES[which];
        let mut bytes = fixture(path);
        let n = bytes.len();
        for (at, byte) in changes {
            bytes[if end { n - 1 - at % n } else { at % n }] = byte;
        }
        // whatever it answers, it answers
        let _ = Saved::new(file).open(&bytes);
    }
}

/// A GGUF file of these words after `GGUF` and the version.
fn gguf(words: &[u64], rest: &[u8]) -> Vec<u8> {
    let words: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    [b"GGUF\x03\0\0\0", &words[..], rest].concat()
}

fn text(text: &str) -> Vec<u8> {
    [&(text.len() as u64).to_le_bytes()[..], text.as_bytes()].concat()
}

#[test]
fn absurd_counts_of_gguf_files_are_refused_before_anything_is_reserved() {
    let saved = Saved::new("model.gguf");
    let list = |kind: u32, n: u64| {
        [text("tokens"), 9u32.to_le_bytes().to_vec(), kind.to_le_bytes().to_vec(), n.to_le_bytes().to_vec()].concat()
    };
    let long = [u64::MAX.to_le_bytes().to_vec(), vec![0; 64]].concat();
    let tensor = |dims: &[u64], kind: u32, offset: u64| {
        let dims: Vec<u8> =
            (dims.len() as u32).to_le_bytes().into_iter().chain(dims.iter().flat_map(|n| n.to_le_bytes())).collect();
        [text("t"), dims, kind.to_le_bytes().to_vec(), offset.to_le_bytes().to_vec(), vec![0; 64]].concat()
    };
    let many = |n_dims: u32| [text("t"), n_dims.to_le_bytes().to_vec(), vec![0; 64]].concat();
    for (bytes, expected) in [
        (
            gguf(&[u64::MAX, 0], &[0; 64]),
            "says that it has 18446744073709551615 tensors, and what is left of it has room for",
        ),
        (gguf(&[0, 1 << 40], &[0; 64]), "says that it has 1099511627776 metadata entries"),
        (gguf(&[0, 1], &long), "is cut short: the key of metadata entry 0 would take 18446744073709551615 bytes"),
        (gguf(&[0, 1], &list(8, 1 << 60)), "entries of `tokens`, and what is left of it has room for 0"),
        (gguf(&[0, 1], &list(9, 1)), "has lists of lists in `tokens`"),
        (gguf(&[0, 1], &list(77, 1)), "gives `tokens` the type 77, which is unknown"),
        (gguf(&[1, 0], &many(1 << 30)), "says that `t` has 1073741824 dimensions"),
        (b"GGUF\x01\0\0\0\0\0\0\0\0\0\0\0".to_vec(), "is a GGUF file of version 1; versions 2 and 3 are read"),
        (b"GGUF\0\0\0\x03\0\0\0\0\0\0\0\0".to_vec(), "is a big endian GGUF file"),
        (b"GGML".to_vec(), "is no GGUF file"),
    ] {
        let said = saved.refused(&bytes);
        assert!(said.contains(&format!("model.gguf {expected}")) || said.contains(expected), "{said}");
    }
    // sizes are judged once the architecture is known
    let arch = [text("general.architecture"), 8u32.to_le_bytes().to_vec(), text("llama")].concat();
    for (tensor, expected) in [
        (tensor(&[u64::MAX, u64::MAX], 0, 0), "there are no F32 numbers of shape"),
        (tensor(&[1 << 40], 2, 0), "there are no Q4_0 numbers of shape"),
        (tensor(&[7], 2, 0), "there are no Q4_0 numbers of shape [7]"),
        (tensor(&[1], 99, 0), "has a tensor of type 99, which is unknown: `t`"),
        (tensor(&[1], 0, u64::MAX), "begins at byte"),
    ] {
        let said = saved.refused(&gguf(&[1, 1], &[arch.clone(), tensor].concat()));
        assert!(said.contains(expected), "{said}");
    }
}

/// A zip archive as torch writes it, with this program.
fn torch(program: &[u8]) -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    let plain = SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
    zip.start_file("model/data.pkl", plain).unwrap();
    zip.write_all(program).unwrap();
    zip.start_file("model/data/0", plain).unwrap();
    zip.write_all(&[0; 64]).unwrap();
    zip.finish().unwrap().into_inner()
}

#[test]
fn pickles_that_want_more_than_tensors_are_refused_by_name() {
    let saved = Saved::new("model.bin");
    for (program, expected) in [
        (&b"cos\nsystem\n(X\x04\0\0\0true\x85R."[..], "asks Python to load `os.system`, which no tensor needs"),
        (b"\x80\x04\x8c\x08builtins\x8c\x04eval\x93.", "asks Python to load `builtins.eval`"),
        (b"ctorch.utils\ncollect_env\n.", "asks Python to load `torch.utils.collect_env`"),
        (b"}}R.", "asks Python to call what is no function of torch"),
        (b"i__main__\nC\n.", "asks for the pickle operation 0x69"),
        (b"(((((((((", "is cut short: its pickle has no end"),
        (b"h\x07.", "nothing was kept as 7"),
        (b"R.", "takes a value that is not there"),
        (b"}.", "holds no tensors by name"),
    ] {
        let said = saved.refused(&torch(program));
        assert!(said.contains(&format!("model.bin {expected}")) || said.contains(expected), "{said}");
    }
}

/// What a pickle says of a tensor of this shape whose numbers all are the first one of a storage of 16.
fn expanded(name: &str, shape: [u64; 2]) -> Vec<u8> {
    let text = |text: &str| [b"X", &(text.len() as u32).to_le_bytes()[..], text.as_bytes()].concat();
    let sizes = shape.map(|size| [b"\x8a\x08", &size.to_le_bytes()[..]].concat()).concat();
    let storage =
        [&b"(("[..], &text("storage"), b"ctorch\nFloatStorage\n", &text("0"), &text("cpu"), b"K\x10tQ"].concat();
    let rebuilt = [&b"ctorch._utils\n_rebuild_tensor_v2\n"[..], &storage, b"K\0(", &sizes, b"tK\0K\0\x86"].concat();
    [&text(name), &rebuilt[..], b"\x89ccollections\nOrderedDict\n)RtR"].concat()
}

#[test]
fn a_view_that_makes_many_numbers_of_few_is_refused_before_anything_is_made_of_it() {
    let saved = Saved::new("model.bin");
    let with = |tensors: &[(&str, [u64; 2])]| {
        let tensors: Vec<u8> = tensors.iter().flat_map(|(name, shape)| expanded(name, *shape)).collect();
        torch(&[&b"}("[..], &tensors, b"u."].concat())
    };
    let (embedding, head) = ("model.embed_tokens.weight", "lm_head.weight");
    for tensors in [
        &[(embedding, [1, 1 << 36]), (head, [1, 1 << 36])][..],
        &[(embedding, [1 << 39, 1]), (head, [1 << 39, 1])],
        &[("model.layers.0.mlp.up_proj.bias", [1 << 36, 1])],
        &[("base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight", [1 << 31, 64])],
        &[(embedding, [1 << 40, 1 << 40])],
    ] {
        let said = saved.refused(&with(tensors));
        // of several, one is said
        let is_said = |(name, shape): &(&str, [u64; 2])| {
            said.contains(&format!("model.bin makes `{name}` of shape {shape:?} out of 16 stored numbers"))
        };
        assert!(tensors.iter().any(is_said), "{said}");
    }
    // a few repeated numbers are numbers like others: the model is refused for what it has not
    let said = saved.refused(&with(&[(embedding, [256, 64])]));
    assert!(!said.contains("stored numbers"), "{said}");
}

#[test]
fn a_tensor_that_a_header_names_twice_is_refused() {
    let entry = |from: usize| format!(r#""a":{{"dtype":"F32","shape":[1],"data_offsets":[{from},{}]}}"#, from + 4);
    let header = format!("{{{},{}}}", entry(0), entry(4));
    let bytes = [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &[0; 8]].concat();
    let said = Saved::new("model.safetensors").refused(&bytes);
    assert!(said.contains("model.safetensors holds `a` twice"), "{said}");
}

#[test]
fn a_pickle_that_multiplies_itself_is_stopped() {
    // a list of a thousand values, then a dictionary of them over and over
    let mut program = b"](".to_vec();
    program.extend(std::iter::repeat_n(b"NN\x86", 1000).flatten());
    program.extend(b"eq\x01ccollections\nOrderedDict\nq\x02");
    program.extend(std::iter::repeat_n(b"h\x02h\x01\x85R0", 200_000).flatten());
    program.push(b'.');
    let said = Saved::new("model.bin").refused(&torch(&program));
    assert!(said.contains("builds far more than a model is made of"), "{said}");
    // values inside values, far deeper than a stack
    let nested = [vec![b']'; 1 << 20], vec![b'a'; (1 << 20) - 1], vec![b'.']].concat();
    assert!(Saved::new("model.bin").refused(&torch(&nested)).contains("holds no tensors by name"));
}

/// A GGUF file whose tensor of this name begins so many bytes further.
fn moved(name: &str, by: i64) -> Vec<u8> {
    let mut bytes = fixture("formats/llama-gguf-q4_1/llama-gguf-q4_1.gguf");
    let at = bytes.windows(name.len()).position(|part| part == name.as_bytes()).expect("a tensor of the file");
    let n_dims = u32::from_le_bytes(bytes[at + name.len()..][..4].try_into().unwrap()) as usize;
    let place = &mut bytes[at + name.len() + 4 + 8 * n_dims + 4..][..8];
    let offset = i64::from_le_bytes((&*place).try_into().unwrap()) + by;
    place.copy_from_slice(&offset.to_le_bytes());
    bytes
}

#[test]
fn tensors_of_a_gguf_file_that_lie_in_each_other_or_between_places_are_refused() {
    let saved = Saved::new("model.gguf");
    let name = "blk.1.ffn_up.weight";
    saved.open(&moved(name, 0)).unwrap();
    for (by, expected) in [(3, "which is no multiple of 32"), (-32, "begins inside"), (32, "begins inside")] {
        let said = saved.refused(&moved(name, by));
        assert!(said.contains("model.gguf") && said.contains(expected) && said.contains("blk."), "{by}: {said}");
    }
}
