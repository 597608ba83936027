use super::*;
use crate::methods::Method;
use crate::setting::SettingError;
use crate::spec::{LayerSpec, Rotation};

fn model() -> ModelSpec {
    ModelSpec { n_layers: 3, n_heads: 8, n_kv_heads: 2, ..ModelSpec::tiny(64) }
}

#[test]
fn equal_rules_are_shared_and_neighbours_are_one_group() {
    let narrow = |layer: usize, head: usize| layer == 1 && (3..7).contains(&head);
    let rule = |layer, head| if narrow(layer, head) { HeadPlan::window(4) } else { HeadPlan::full() };
    let plan = Plan::new("mine", Heads::by_head(&model(), rule));
    assert_eq!(plan.rules(), [HeadPlan::full(), HeadPlan::window(4)]);
    let groups = |layer| plan.groups(layer, 8).into_iter().map(|group| (group.heads, group.rule)).collect::<Vec<_>>();
    assert_eq!(groups(0), [(0..8, 0)]);
    // heads 0 to 3 share a key head and 4 to 7 another: no group crosses from one into a part of the other
    assert_eq!(groups(1), [(0..3, 0), (3..4, 1), (4..7, 1), (7..8, 0)]);
    assert!((0..3).all(|layer| (0..8).all(|head| *plan.of(layer, head) == rule(layer, head))));
    assert_eq!(plan.places(), ["layers 0, 2; layer 1, heads 0-2, 7", "layer 1, heads 3-6"]);
}

#[test]
fn a_rule_that_holds_everywhere_needs_no_table() {
    let plan = Plan::new("mine", Heads::by_layer(&model(), |_| HeadPlan::full()));
    assert_eq!(plan, Plan::new("mine", HeadPlan::full()));
    assert_eq!((plan.groups(2, 8)[0].heads.clone(), plan.places().len()), (0..8, 0));
}

#[test]
fn layers_with_a_window_of_their_own_keep_it_under_any_method() {
    let own = LayerSpec { window: Some(8), rotation: Rotation::Base(1e4) };
    let model = ModelSpec {
        layers: vec![own, LayerSpec::default(), LayerSpec { window: None, rotation: Rotation::Off }],
        ..model()
    };
    for text in ["full", "self_extend:group_size=4,neighbor_window=16", "quest:dense_layers=0"] {
        let plan = Method::parse(text).unwrap().plan(&model).unwrap();
        let alone = Method::parse(text).unwrap().plan(&ModelSpec { layers: Vec::new(), ..model.clone() }).unwrap();
        assert_eq!(plan.of(0, 0), &HeadPlan { rotation: Rotation::Base(1e4), ..HeadPlan::window(8) }, "{text}");
        assert_eq!(plan.of(1, 0), alone.of(1, 0), "{text}");
        assert_eq!(plan.of(2, 0), &HeadPlan { rotation: Rotation::Off, ..alone.of(2, 0).clone() }, "{text}");
        assert_eq!(plan.capacity(64), alone.capacity(64), "{text}");
    }
}

#[test]
fn a_window_that_the_prompt_does_not_fill_is_not_missed() {
    let own = LayerSpec { window: Some(40), rotation: Rotation::Model };
    let model = ModelSpec { layers: vec![own; 3], ..model() };
    let method = Method::parse("self_extend:group_size=4,neighbor_window=16").unwrap();
    for windows in [LayerWindows::Auto, LayerWindows::Off] {
        let plan = method.plan_with(&model, windows).unwrap();
        assert_eq!([40, 41].map(|n_tokens| plan.warnings(n_tokens, None).len()), [0, 1], "{windows:?}");
    }
}

#[test]
fn a_model_that_turns_nothing_has_no_positions_to_leave_or_to_squeeze() {
    let own = LayerSpec { window: None, rotation: Rotation::Off };
    let model = ModelSpec { layers: vec![own; 3], ..model() };
    let relation = |distance: usize| Ok::<_, std::convert::Infallible>(Some(distance as f64));
    let written = crate::written::from_distance("mine", "mine", 300, relation).unwrap();
    for (method, capacity) in [
        (Method::parse("full").unwrap(), Capacity::Unlimited),
        (Method::parse("self_extend:group_size=64,neighbor_window=10").unwrap(), Capacity::Unlimited),
        (Method::written("mine", written), Capacity::Tokens(300)),
    ] {
        let plan = method.plan(&model).unwrap();
        assert_eq!((plan.capacity(64), plan.warnings(300, Some(64))), (capacity, Vec::new()), "{method}");
    }
}

/// Layers of which these have a window of nine tokens.
fn windowed(layers: &[usize]) -> ModelSpec {
    let own = |layer: usize| LayerSpec { window: layers.contains(&layer).then_some(9), ..LayerSpec::default() };
    ModelSpec { layers: (0..4).map(own).collect(), n_layers: 4, ..ModelSpec::tiny(64) }
}

#[test]
fn windows_are_kept_or_left_out_as_asked_and_views_begin_at_a_layer_that_the_method_acts_on() {
    use LayerWindows::{Auto, Keep, Off};
    for (text, layers, asked, first, recorded) in [
        ("full", &[0, 1][..], Auto, 2, None),
        ("full", &[0, 1][..], Off, 0, Some("off")),
        ("streaming:window=20", &[0, 1][..], Keep, 2, Some("keep")),
        ("streaming:window=20", &[1][..], Auto, 0, None),
        ("streaming:window=20", &[0, 1, 2, 3][..], Auto, 0, None),
        ("by_layer:0-=full/1=streaming:window=20", &[0, 1, 2, 3][..], Off, 0, Some("off")),
        // nothing to keep or leave out
        ("full", &[][..], Off, 0, None),
    ] {
        let plan = Method::parse(text).unwrap().plan_with(&windowed(layers), asked).unwrap();
        assert_eq!((plan.first_layer(), plan.layer_windows()), (first, recorded), "{text} {layers:?} {asked:?}");
        if asked == Off {
            let alone = Method::parse(text).unwrap().plan(&windowed(&[])).unwrap();
            assert!((0..4).all(|layer| plan.of(layer, 0) == alone.of(layer, 0)), "{text}");
        }
    }
    let of_one = Method::full().plan_with(&windowed(&[1]), Off).unwrap();
    assert_eq!(
        of_one.windows().unwrap().to_string(),
        "layer 1 has a window of 9 tokens, which layer_windows = off leaves out: it was trained to see no further"
    );
    let refused = Method::parse("streaming").unwrap().plan_with(&windowed(&[0, 1, 2, 3]), Keep).unwrap_err();
    assert_eq!(refused, SettingError::NoLayerLeft { method: "streaming".into() });
}

#[test]
fn a_method_acts_on_layers_that_see_everything_or_on_all_where_none_does() {
    let plan = |text: &str, layers: &[usize]| Method::parse(text).unwrap().plan(&windowed(layers)).unwrap();
    let sees =
        |plan: &Plan, layer: usize| plan.of(layer, 0).relation(40, 2, Prefill { n_tokens: 41 }) != Relation::Hidden;
    for (text, layers, reach, said) in [
        ("full", &[0, 1, 2, 3][..], [false; 4], None),
        ("full", &[0, 2][..], [false, true, false, true], None),
        ("self_extend", &[][..], [true; 4], None),
        (
            "self_extend",
            &[0, 2][..],
            [false, true, false, true],
            Some("layers 0, 2 keep their own window of 9 tokens; the method acts on layers 1, 3"),
        ),
        (
            "self_extend",
            &[1][..],
            [true, false, true, true],
            Some("layer 1 keeps its own window of 9 tokens; the method acts on layers 0, 2-3"),
        ),
        (
            "self_extend",
            &[0, 1, 2, 3][..],
            [true; 4],
            Some(
                "every layer of this model has a window of 9 tokens, which the method takes the place of: it was trained to \
                 see no further",
            ),
        ),
    ] {
        let plan = plan(text, layers);
        assert_eq!([0, 1, 2, 3].map(|layer| sees(&plan, layer)), reach, "{text} {layers:?}");
        assert_eq!(plan.windows().map(ToString::to_string).as_deref(), said);
        let told = plan.warnings(20, None).iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(told, said.into_iter().map(String::from).collect::<Vec<_>>());
    }
}
