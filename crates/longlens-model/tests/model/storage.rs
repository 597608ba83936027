//! The model inside the program with its matrices kept in fewer bits: how far its logits move.

use burn_flex::{Flex, FlexDevice};
use longlens_core::lens::{Lens, Rows, Setup};
use longlens_core::methods::Method;
use longlens_kernel::linear::Storage;
use longlens_model::Options;
use longlens_model::source::Source;
use longlens_model::weights::Keep;

fn open(weights: Keep) -> Box<dyn Lens> {
    let options = Options { weights, ..Options::default() };
    longlens_model::open::<Flex>(&Source::embedded(), options, FlexDevice, "test").unwrap()
}

/// A prompt with a hidden key, as far as the model was trained, and logits of all of it: the end one token at a time.
fn logits(lens: &mut dyn Lens) -> Vec<f32> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fixtures/tiny-model/golden.json");
    let golden: serde_json::Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let prompt = golden["methods"][0]["prompt"].as_str().unwrap();
    let tokens = lens.text().unwrap().encode(prompt, true).unwrap();
    lens.begin(&Setup::new(&Method::full(), &lens.model().spec, 240).unwrap()).unwrap();
    let mut logits = lens.feed(&tokens[..240], Rows::All, &mut ()).unwrap();
    for token in &tokens[240..256] {
        logits.extend(lens.feed(&[*token], Rows::All, &mut ()).unwrap());
    }
    logits
}

#[test]
#[allow(clippy::print_stdout)] // with --nocapture it tells how far
fn fewer_bits_move_the_logits_by_no_more_than_this() {
    let exact = logits(&mut *open(Keep::As(Storage::F32)));
    let spread = exact.iter().fold(0.0f32, |max, logit| max.max(logit.abs()));
    let forms = [
        (Keep::As(Storage::F32), 0.0),
        (Keep::File, 0.0),
        (Keep::As(Storage::Bf16), 0.1),
        (Keep::As(Storage::Q8), 0.25),
        (Keep::As(Storage::Q4), 3.0),
    ];
    for (storage, limit) in forms {
        let mut lens = open(storage);
        let expected = if storage == Keep::File { "f16".into() } else { format!("{storage} (stored as f16)") };
        assert_eq!(lens.model().dtype, expected);
        let stored = logits(&mut *lens);
        let off = stored.iter().zip(&exact).map(|(a, b)| (a - b).abs());
        let (sum, max) = off.fold((0.0, 0.0f32), |(sum, max), off| (sum + f64::from(off), max.max(off)));
        println!("{storage}: largest {max} mean {} of logits up to {spread}", sum / exact.len() as f64);
        assert!(max <= limit, "{storage}: {max}, with logits up to {spread}");
    }
}
