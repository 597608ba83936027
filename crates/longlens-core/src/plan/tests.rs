use super::*;
use crate::methods::Method;
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
        assert_eq!((plan.capacity(64), plan.warnings(300, 64)), (capacity, Vec::new()), "{method}");
    }
}
