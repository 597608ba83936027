//! What a model counts as trained on can be given while it is open, and is then what it could have been opened with.

use burn_flex::{Flex, FlexDevice};
use longlens_core::lens::{Lens, Setup};
use longlens_core::methods::Method;
use longlens_core::trace::{RunRecord, Watch};
use longlens_kernel::linear::Storage;
use longlens_model::Options;
use longlens_model::source::Source;

use crate::common::{Way, embedded, feed};

/// Another context than the embedded model's 256.
const GIVEN: Option<usize> = Some(64);

/// The setup of a way on an open model that counts as trained on [`GIVEN`].
fn given(way: &Way, lens: &dyn Lens, n_prompt: usize) -> Setup {
    let spec = lens.model().spec.trained_on(GIVEN);
    let plan = Method::parse(&way.method).unwrap().plan(&spec).unwrap();
    Setup { plan, trained_context: GIVEN, ..way.setup(lens, n_prompt, Watch::default()) }
}

fn run(lens: &mut dyn Lens, setup: &Setup) -> (Vec<f32>, RunRecord) {
    lens.begin(setup).unwrap();
    (feed(lens, 0, 90), lens.trace().run)
}

#[test]
fn a_context_that_is_given_later_gives_what_opening_with_it_gives() {
    let options = Options { trained_context: GIVEN, ..Options::from(Storage::F32) };
    let mut opened = longlens_model::open::<Flex>(&Source::embedded(), options, FlexDevice, "test").unwrap();
    let mut lens = embedded();
    for (method, rope) in [
        ("full", "none"),
        ("full", "linear:factor=2"),
        ("full", "yarn:factor=4"),
        ("full", "dynamic:factor=2"),
        ("self_extend", "none"),
        ("dual_chunk", "none"),
    ] {
        let way = Way::new(method, rope);
        let setup = way.setup(opened.as_ref(), 90, Watch::default());
        let (expected, told) = run(opened.as_mut(), &setup);
        let setup = given(&way, lens.as_ref(), 90);
        let (logits, record) = run(lens.as_mut(), &setup);
        assert!(logits == expected, "{method} {rope}");
        assert_eq!((record.trained_context, &record), (64, &told), "{method} {rope}");
    }
}

#[test]
fn tokens_of_another_trained_context_are_not_taken_for_the_same() {
    let (mut lens, way) = (embedded(), Way::new("full", "yarn:factor=4"));
    let by_config = way.setup(lens.as_ref(), 90, Watch::default());
    let (expected, _) = run(lens.as_mut(), &by_config);
    let fork = lens.fork(90).unwrap();
    let setup = given(&way, lens.as_ref(), 90);
    assert!(fork.serves(&by_config) && !fork.serves(&setup), "the scaling begins from another context");
    assert!(run(lens.as_mut(), &setup).0 != expected);
}
