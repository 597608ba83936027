use toml::Table;

use super::*;

fn units(text: &str) -> Result<Vec<Unit>, Problem> {
    Axes::of(&text.parse::<Table>().unwrap())?.units()
}

fn words(units: &[Unit]) -> Vec<String> {
    let word = |unit: &Unit| {
        let rope = unit.settings.rope.as_ref().map_or(String::new(), |rope| format!(" {rope}"));
        format!("{} {}{rope}", unit.settings.method, unit.task)
    };
    units.iter().map(word).collect()
}

#[test]
fn a_grid_is_every_combination_and_parameters_belong_to_their_method() {
    let units = units(
        r#"
        name = "windows"
        [fixed]
        task = "passkey:samples=2"
        [grid]
        length = [512, "1k"]
        method = ["full", "self_extend"]
        self_extend.group_size = [2, 4]
        "#,
    )
    .unwrap();
    assert_eq!(
        words(&units),
        [
            "full passkey:length=512,samples=2",
            "self_extend:group_size=2 passkey:length=512,samples=2",
            "self_extend:group_size=4 passkey:length=512,samples=2",
            "full passkey:length=1024,samples=2",
            "self_extend:group_size=2 passkey:length=1024,samples=2",
            "self_extend:group_size=4 passkey:length=1024,samples=2",
        ]
    );
}

#[test]
fn lists_go_side_by_side_and_runs_are_written_out() {
    let side_by_side = units(
        r#"
        [fixed]
        task = "passkey"
        length = 512
        [[zip]]
        method = ["full", "dual_chunk"]
        rope = ["none", "linear:factor=2"]
        "#,
    );
    assert_eq!(
        words(&side_by_side.unwrap()),
        ["full passkey:length=512 none", "dual_chunk passkey:length=512 linear:factor=2"]
    );
    let listed = units(
        r#"
        [fixed]
        method = "full"
        [[list]]
        task = "passkey"
        length = 512
        [[list]]
        task = "passkey_longheads"
        length = 2048
        method = "streaming"
        limit = "1k"
        too_long = "cut"
        "#,
    )
    .unwrap();
    assert_eq!(words(&listed), ["full passkey:length=512", "streaming passkey_longheads:length=2048"]);
    assert_eq!((listed[1].options.limit, listed[1].options.too_long), (Some(1024), TooLong::Cut));
}

#[test]
fn an_axis_can_be_set_from_outside() {
    let file: Table = "[fixed]\ntask = \"passkey\"\nlength = 512\nmethod = \"full\"".parse().unwrap();
    let mut axes = Axes::of(&file).unwrap();
    axes.set("method=self_extend:group_size=4,neighbor_window=64;full").unwrap();
    axes.set("length=256,1k").unwrap();
    axes.set("task.samples=3").unwrap();
    let units = axes.units().unwrap();
    assert_eq!(units.len(), 4);
    assert_eq!(words(&units)[0], "self_extend:group_size=4,neighbor_window=64 passkey:length=256,samples=3");
    assert_eq!(words(&units)[3], "full passkey:length=1024,samples=3");
}

#[test]
fn a_family_is_all_its_tasks() {
    let units = units("[fixed]\ntask = \"passkey\"\n[grid]\nlength = [512]").unwrap();
    assert_eq!(words(&units), ["full passkey:length=512"], "a task that is called as its family is itself");
    for task in TASKS.iter() {
        let of_family = tasks(task.family).unwrap();
        assert!(of_family.iter().any(|of| of.info().name == task.info.name) || Task::named(task.family).is_some());
    }
}

#[test]
fn what_a_sweep_does_not_know_is_refused() {
    for (text, problem) in [
        ("[fixed]\ntask = \"passkeys\"", "passkeys"),
        ("[fixed]\ntask = \"passkey\"\nlenght = 512", "no axis `lenght`"),
        ("[fixed]\ntask = \"passkey\"\n[grid]\n\"full.window\" = [1]", "`full` has a parameter `window`"),
        ("[fixed]\ntask = [\"passkey\"]", "`task` is a list"),
        ("[grid]\ntask = []", "the list of `task` is empty"),
        ("[zip]\ntask = [\"passkey\"]\nlength = [1, 2]", "side by side"),
        ("[fixd]\ntask = \"passkey\"", "no `fixd`"),
        ("[fixed]\nlength = 512", "has no task"),
        ("[fixed]\ntask = \"passkey\"\ntoo_long = \"drop\"", "not `skip` or `cut`"),
        ("[fixed]\ntask = \"passkey\"\nmethod = \"fool\"", "fool"),
        ("[fixed]\ntask = \"passkey\"\n[grid]\nseed = [0, 1.5]", "seed"),
        ("list = 3", "no `list`"),
    ] {
        let error = units(text).err().unwrap_or_else(|| panic!("{text:?} is refused"));
        assert!(error.message.contains(problem), "{text:?}: {error}");
    }
}

#[test]
fn parts_are_each_sample_once_and_about_equal() {
    let costs: Vec<Vec<f64>> =
        (1..40).map(|unit| (0..unit * 3).map(|sample| 1.0 + f64::from(sample % 7 * unit)).collect()).collect();
    for of in [1, 2, 7, 16] {
        let parts: Vec<_> = (1..=of).map(|at| Shard { at, of }.takes(&costs)).collect();
        for (unit, samples) in costs.iter().enumerate() {
            for sample in 0..samples.len() {
                assert_eq!(parts.iter().filter(|part| part[unit][sample]).count(), 1, "{unit} {sample} of {of}");
            }
        }
        let load = |part: &Vec<Vec<bool>>| -> f64 {
            costs.iter().flatten().zip(part.iter().flatten()).filter(|(_, takes)| **takes).map(|(cost, _)| cost).sum()
        };
        let loads: Vec<f64> = parts.iter().map(load).collect();
        let (mean, most) = (loads.iter().sum::<f64>() / of as f64, loads.iter().copied().fold(0.0, f64::max));
        assert!(most < 1.1 * mean, "{of} parts: {loads:?}");
    }
    assert_eq!("2/8".parse::<Shard>().unwrap(), Shard { at: 2, of: 8 });
    for text in ["0/8", "9/8", "2", "a/b", "2/0"] {
        assert!(text.parse::<Shard>().is_err(), "{text}");
    }
}

#[test]
fn the_trained_context_is_an_axis() {
    let of = |text: &str| Axes::of(&text.parse().unwrap()).unwrap().units();
    let units = of("[fixed]\ntask = \"passkey\"\n[grid]\ntrained_context = [128, \"1k\"]").unwrap();
    let found: Vec<_> = units.iter().map(|unit| unit.settings.trained_context).collect();
    assert_eq!(found, [Some(128), Some(1024)]);
    assert!(of("[fixed]\ntask = \"passkey\"\ntrained_context = \"many\"").is_err());
}
