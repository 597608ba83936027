//! Files of every view: pictures that open, tables with a row for everything, arrays that are the app's own numbers.

use std::sync::Arc;

use longlens_app::Problem;
use longlens_app::prompt::{NeedleAsk, PromptSource};
use longlens_app::settings::Settings;
use longlens_app::steps::{Picture, Step};
use longlens_app::views::{ENDINGS, Plot, Subject, TraceView};
use longlens_app::worker::MakePage;
use longlens_core::lens::{Conversation, Lens, Message, Rows, Setup};
use longlens_core::methods::Method;
use longlens_core::scripted::ScriptedLens;
use longlens_core::setting::Setting;
use longlens_core::trace::Watch;
use longlens_eval::passkey::Chat;
use longlens_tui::app::{Grids, Options};
use longlens_tui::export::{self, PAGE};
use longlens_tui::panes::{VIEWS, positions::PositionsView};
use longlens_tui::panes::{
    attention::AttentionView, chunks::ChunksView, compare::CompareView, grid::GridView, layers::LayersView,
    loss::LossView,
};
use longlens_tui::view::View;
use serde_json::Value;

mod common;
mod files;

use common::{Rig, lens, options};
use files::{exported, needle, same, under};

const CHOOSING: &str = "long_heads:chunk_len=16,attention_len=64";

#[test]
fn heads_are_exported_as_choices_where_the_method_chooses() {
    let rig = under(CHOOSING);
    let files = exported(&rig, &ChunksView);
    let (_, heads) = rig.app.heads.keyed().unwrap();
    let ((n_layers, n_heads), n_chunks) = (heads.shape, heads.n_chunks());
    assert_eq!(files.rows.len(), 1 + n_layers * n_heads * n_chunks);
    let (shape, mass) = files.array("mass");
    assert_eq!(shape, [n_layers, n_heads, n_chunks].map(|n| n as u64));
    let head = |layer: usize, head: usize, n: usize| (layer * n_heads + head) * n..(layer * n_heads + head + 1) * n;
    assert!(same(&mass[head(1, 2, n_chunks)], heads.mass(1, 2)));
    let (shape, chunks) = files.array("chunks");
    let n_slots = shape[2] as usize;
    assert_eq!((&shape[..2], n_slots), (&[n_layers as u64, n_heads as u64][..], 4));
    let picks: Vec<f32> = heads.picks(1, 2).iter().map(|pick| pick.chunk as f32).collect();
    assert_eq!(chunks[head(1, 2, n_slots)], picks);
    let needle = needle(&rig);
    assert_eq!(files.array("needle").1, [needle.start as f32, needle.end as f32]);
    // the query is the first generated token, not the first whose choice was recorded
    assert_eq!(heads.query, rig.app.n_prompt());
    assert!(files.svg().contains(&format!("Chunks chosen by each head for token {}", heads.query)));
    let chosen = files.rows.iter().filter(|row| row.split(',').nth(5) == Some("true")).count();
    assert_eq!(chosen, n_layers * n_heads * n_slots);
    let about = files.about();
    assert_eq!((&about["query"], &about["run"]["mode"]), (&heads.query.into(), &"re-prefill".into()));
    assert_eq!(about["base"], Value::Null);
    assert_eq!(*files.picture(), Picture::View(format!("chunks:query={}", heads.query)));
    assert_eq!(files.export.content.settings.method.to_string(), CHOOSING);
}

#[test]
fn heads_are_exported_as_attention_where_nothing_is_chosen() {
    let mut rig = under("full");
    let files = exported(&rig, &ChunksView);
    assert!(!files.has("chunks") && files.svg().contains("Attention on each chunk"));
    assert_eq!(*files.picture(), Picture::View(format!("chunks:query={},chunk_len=16", rig.app.query())));
    for keys in ["]", "}", "{ {"] {
        rig.keys(keys);
        let files = exported(&rig, &ChunksView);
        assert_eq!(files.about()["query"], rig.app.query());
        assert_eq!(*files.picture(), Picture::View(format!("chunks:query={},chunk_len=16", rig.app.query())));
    }
}

#[test]
fn what_a_wrong_answer_attends_to_is_in_no_command() {
    for (method, keys, expected) in [
        ("full", "", Picture::Other("layers from a token of the answer".into())),
        ("full", "{", Picture::View("layers:query=490,chunk_len=16".into())),
        (CHOOSING, "{", Picture::Other("layers whose hits are of another answer".into())),
    ] {
        let settings = Settings { method: Method::parse(method).unwrap(), max_tokens: 6, ..Settings::default() };
        let wrong = ScriptedLens::saying("no number");
        let mut rig = Rig::with(Options { settings, ..options() }, wrong);
        rig.settle();
        rig.keys(keys);
        assert_eq!(*exported(&rig, &LayersView).picture(), expected, "{method} {keys}");
    }
}

#[test]
fn a_map_is_exported_whole_and_zoomed() {
    for method in ["full", CHOOSING] {
        let mut rig = under(method);
        rig.keys("2 ) > >");
        let files = exported(&rig, &AttentionView);
        let (_, map) = rig.app.map.keyed().unwrap();
        let side = map.side;
        assert_eq!((map.pick.layer, map.pick.head), (1, 2));
        assert_eq!(files.rows.len(), 1 + side * (side + 1) / 2);
        for (name, data) in [("mean", &map.mean), ("max", &map.max)] {
            let (shape, array) = files.array(name);
            assert!(shape == [side as u64; 2] && same(&array, data), "{name}");
        }
        assert!(same(&files.array("key").1[..2], &[0.0, map.stride as f32]));
        assert_eq!(*files.picture(), Picture::View(format!("attention:layer=1,head=2,side={side},query=505")));
        // the row that the screen outlines is that of the token which fetches the key, behind the prompt's last
        let query = rig.app.query();
        assert_eq!(query, rig.app.n_prompt());
        assert!(files.svg().contains(&format!(">query {query}<")), "{method}");
        for (keys, query) in [("[", query - 1), ("{", query - 17)] {
            rig.keys(keys);
            assert!(exported(&rig, &AttentionView).svg().contains(&format!(">query {query}<")), "{method} {keys}");
        }

        rig.keys("* m i + + +");
        let files = exported(&rig, &AttentionView);
        let window = rig.app.zoom.window().unwrap();
        assert_eq!(rig.app.map.answer().unwrap().pick.window, Some(window));
        assert_eq!((files.array("query").1[0], files.array("key").1[0]), (window.query as f32, window.key as f32));
        assert_eq!(files.about()["window"]["len"], window.len);
        let part = format!("first_query={},first_key={},len={}", window.query, window.key, window.len);
        let expected = format!("attention:layer=1,head=2,side={side},pooling=max,scale=linear,{part},query={query}");
        assert_eq!(*files.picture(), Picture::View(expected));
    }
}

#[test]
fn positions_are_exported_pair_by_pair() {
    let rig = under("self_extend:group_size=8,neighbor_window=64");
    let files = exported(&rig, &PositionsView);
    let n = rig.app.n_prompt();
    let (shape, position) = files.array("position");
    let (side, tokens) = (shape[0] as usize, files.array("token").1);
    assert_eq!((shape.len(), side), (2, n));
    assert_eq!(files.rows.len(), 1 + side * (side + 1) / 2);
    let relation = |row: usize, column: usize| {
        let plan = &rig.app.verdict.as_ref().unwrap().plan;
        let prompt = longlens_core::plan::Prefill { n_tokens: n };
        match plan.of(0, 0).relation(tokens[row] as usize, tokens[column] as usize, prompt) {
            longlens_core::plan::Relation::At(position, _) => position as f32,
            other => panic!("{other:?}"),
        }
    };
    for (row, column) in [(n - 1, 0), (200, 200), (130, 7)] {
        assert!((position[row * side + column] - relation(row, column)).abs() < 1e-6);
    }
    assert!(position[1].is_nan(), "later keys are not met");
    assert_eq!(*files.picture(), Picture::Positions { n_tokens: n, layer: 0, head: 0 });
    assert_eq!(files.about()["method"], rig.app.verdict.as_ref().unwrap().plan.method);
}

#[test]
fn a_grid_is_exported_as_far_as_it_is_done() {
    let mut rig = under("full");
    let none = export::of_view(&rig.app, &GridView, "x".into()).unwrap_err();
    assert_eq!(none.help.as_deref(), Some("run one (g)"));
    rig.app.controls.grid = longlens_tui::fields::GridForm { up_to: 2, n_depths: 3, trials: 1, ..Default::default() };
    let expected = export::grid(&rig.app);
    rig.keys("g");
    assert!(matches!(rig.app.record.steps().last(), Some(Step::Grid(_, grid)) if *grid == expected));
    let mut unfinished = rig.app.grids.list()[0].clone();
    unfinished.cells[1] = None;
    rig.app.grids = Grids::new(vec![unfinished]);
    let files = exported(&rig, &GridView);
    let (shape, accuracy) = files.array("accuracy");
    assert_eq!((shape, files.rows.len()), (vec![1, 3, 2], 6));
    let cells = &rig.app.grids.shown().unwrap().cells;
    for (accuracy, cell) in accuracy.iter().zip(cells) {
        let expected = cell.as_ref().map_or(f32::NAN, |cell| cell.accuracy() as f32);
        assert_eq!(expected.to_bits(), accuracy.to_bits());
    }
    assert_eq!((files.array("lengths").1, files.array("depths").1), (vec![256.0, 512.0], vec![0.0, 0.5, 1.0]));
    let rows: Vec<_> = files.rows[1..].iter().map(|row| row.split(',').skip(1).take(2).collect::<Vec<_>>()).collect();
    assert_eq!(rows, [["256", "0"], ["256", "0.5"], ["256", "1"], ["512", "0.5"], ["512", "1"]]);
    assert!(files.svg().contains("interrupted"));
    assert_eq!(*files.picture(), Picture::Grid(expected), "the grid that was asked for");
}

#[test]
fn losses_of_pinned_runs_and_the_shown_one_are_exported() {
    let mut rig = under("full");
    rig.keys("P long_heads");
    let [full, chosen] = &rig.app.runs.list[..] else { panic!("two runs") };
    let files = exported(&rig, &LossView);
    assert_eq!(files.rows.len(), 1 + full.prompt_nll().len() + chosen.prompt_nll().len());
    assert!(same(&files.array("nll_1").1, full.prompt_nll()) && same(&files.array("nll_2").1, chosen.prompt_nll()));
    assert!(files.rows[1].starts_with("1,full,needle=512:0.5,1,"), "{}", files.rows[1]);
    assert!(files.rows.last().unwrap().starts_with("2,\"long_heads:chunk_len=16,"));
    assert_eq!(files.about()["runs"][1]["array"], "nll_2");
    let ran = [full, chosen].map(|run| (run.settings.clone(), run.source.clone()));
    assert_eq!(*files.picture(), Picture::Loss { runs: ran.to_vec(), smooth: 5 });
}

#[test]
fn layers_are_exported_with_their_attention_to_the_needle() {
    let rig = under(CHOOSING);
    let files = exported(&rig, &LayersView);
    let (_, heads) = rig.app.heads.keyed().unwrap();
    let (n_layers, n_heads) = heads.shape;
    let (shape, scores) = files.array("scores");
    assert_eq!((shape, files.rows.len()), (vec![n_layers as u64, n_heads as u64], 1 + n_layers * n_heads));
    let needle = needle(&rig);
    let at = |layer: usize, head: usize| scores[layer * n_heads + head];
    assert!(at(1, 2).to_bits() == heads.on(1, 2, &needle).to_bits() && at(1, 2) > at(0, 0));
    let answer = rig.app.heads.key().unwrap().answer.clone();
    let (hits, n) = heads.hits(1, 2, &needle, &answer);
    assert_eq!(n, rig.app.prompt.answer().unwrap().needle.as_ref().unwrap().answer.len());
    assert!((files.array("hit_rate").1[n_heads + 2] - hits as f32 / n as f32).abs() < 1e-6);
    assert!(files.svg().contains("Attention on the needle of every head"));
    assert_eq!(files.array("mass").0, [n_layers, n_heads, heads.n_chunks()].map(|n| n as u64));
    assert_eq!(*files.picture(), Picture::View(format!("layers:query={}", heads.query)));

    // without a needle there is still where each head looks
    let mut plain = options();
    plain.prompt = Some(PromptSource::Text("a text that hides nothing ".repeat(12)));
    let mut rig = Rig::with(plain, lens());
    rig.settle();
    let files = exported(&rig, &LayersView);
    assert!(
        !files.has("needle")
            && !files.has("hit_rate")
            && files.svg().contains("Attention far away and not on the first tokens")
    );
    let query = rig.app.query();
    assert_eq!(*files.picture(), Picture::View(format!("layers:query={query},chunk_len=16")));
}

#[test]
fn two_runs_are_exported_with_the_difference_of_their_maps() {
    let mut rig = under("full");
    let none = export::of_view(&rig.app, &CompareView, "x".into()).unwrap_err();
    assert_eq!(none.help.as_deref(), Some("mark two (c), or pin one (P)"));
    rig.keys("P long_heads 7");
    let files = exported(&rig, &CompareView);
    let [a, b] = rig.app.compared().unwrap();
    assert_eq!((a.settings.method.name(), b.settings.method.name()), ("full", "long_heads"));
    let (_, delta) = files.array("delta_log_prob");
    // the prompt is compared, what each wrote is not
    assert_eq!((delta.len(), files.rows.len()), (rig.app.n_prompt() - 1, 1 + a.prompt_nll().len()));
    assert!(!files.rows.last().unwrap().ends_with(','));
    assert_eq!(delta[300].to_bits(), (a.nll[300] - b.nll[300]).to_bits());
    let (_, maps) = rig.app.difference.keyed().unwrap();
    let (shape, difference) = files.array("map_difference");
    assert_eq!(shape, [maps[0].side as u64; 2]);
    let at = maps[0].side * 100 + 3;
    assert_eq!(difference[at].to_bits(), (maps[1].mean[at] - maps[0].mean[at]).to_bits());
    assert_eq!(files.array("generated_a").1.len(), a.generated.len());
    assert!(files.svg().contains("better predicted by full"));
    assert_eq!(files.about()["b"]["run"]["method"], b.record.method);
    let runs = Box::new([a, b].map(|run| (run.settings.clone(), run.source.clone())));
    assert_eq!(*files.picture(), Picture::Compare { runs, head: Some((0, 0)) });
}

#[test]
fn reused_keys_are_named_in_every_file() {
    let mut rig = under("full");
    rig.keys("P w long_heads");
    let run = rig.app.shown_run().unwrap();
    assert!(run.base.is_some() && run.record.mode == "reuse-kv", "{:?}", run.record);
    for (at, view) in VIEWS.iter().copied().enumerate().filter(|(_, view)| *view != &GridView as &dyn View) {
        rig.show(at);
        let files = exported(&rig, view);
        assert!(files.svg().contains("reuse-kv"), "{view:?}");
        assert!(files.about().to_string().contains("reuse-kv"), "{view:?}: {}", files.about());
        if view != &PositionsView as &dyn View {
            assert!(files.about().to_string().contains("\"base\":\"full\""), "{view:?}");
            assert!(matches!(*files.picture(), Picture::Other(_)), "{view:?}: no function reuses keys");
        }
    }
    // queries before the last were not computed again
    // rows that were not computed anew are no difference
    assert!(!exported(&rig, &CompareView).has("map_difference"));
    // the one token that has a loss stands where it belongs
    let (_, nll) = exported(&rig, &LossView).array(&format!("nll_{}", rig.app.shown.unwrap()));
    let run = rig.app.shown_run().unwrap();
    assert_eq!(nll.len(), run.nll_from - 1 + run.prompt_nll().len());
    assert!(nll[..run.nll_from - 1].iter().all(|loss| loss.is_nan()));
}

#[test]
fn before_anything_is_there_it_says_what_to_do() {
    let rig = Rig::new();
    for view in VIEWS.iter().copied() {
        let problem = export::of_view(&rig.app, view, "x".into()).unwrap_err();
        assert!(problem.help.is_some(), "{view:?}: {problem}");
    }
    let problem = export::of_view(&rig.app, &ChunksView, "x".into()).unwrap_err();
    assert_eq!(problem.to_string(), "there is no attention to export yet (wait until the model is open)");
}

#[test]
fn a_missing_folder_is_named_and_nothing_is_left() {
    let rig = under("full");
    let folder = tempfile::tempdir().unwrap();
    let problem = export::of_view(&rig.app, &ChunksView, folder.path().join("absent/x")).unwrap_err();
    assert!(problem.message.contains("there is no folder"), "{problem}");
    assert_eq!(problem.help.as_deref(), Some("create the folder first"));
    assert!(export::of_view(&rig.app, &ChunksView, "".into()).is_err());

    // the folder goes, or a file is in the way, between asking and writing
    let export = export::of_view(&rig.app, &ChunksView, folder.path().join("x.png")).unwrap();
    assert_eq!(export.path("csv"), folder.path().join("x.csv"));
    std::fs::create_dir(folder.path().join("x.npz")).unwrap();
    let problem = export.write().unwrap_err();
    assert!(problem.message.contains("x.npz"), "{problem}");
    let left: Vec<_> = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["x.npz"]);
    drop(folder);
    assert_eq!(export.write().unwrap_err().help.as_deref(), Some("create the folder first"));
}

#[test]
fn a_config_says_everything_that_commands_take() {
    let mut options = options();
    options.start.device = Some("cuda".into());
    options.start.weights = Some("q8".into());
    options.start.model = "my \"models\"/llama".into();
    options.settings = Settings {
        method: Method::parse(CHOOSING).unwrap(),
        rope: Some(longlens_core::rope::RopeScaling::parse("yarn:factor=4").unwrap()),
        max_tokens: 9,
        prefill_chunk: 128,
        trained_context: Some(128),
        ..Settings::default()
    };
    options.settings.sampling.temperature = 0.7;
    options.settings.sampling.seed = 5;
    options.prompt = Some(PromptSource::Needle(NeedleAsk { length: 300, ..NeedleAsk::default() }));
    let mut rig = Rig::with(options, lens());
    rig.settle();
    let text = export::config(&rig.app);
    assert!(text.starts_with("# settings of the longlens workbench"));
    let table: toml::Table = text.parse().unwrap();
    assert_eq!(table["model"].as_str(), Some("my \"models\"/llama"));
    let method = table["method"].as_str().unwrap();
    assert!(method.starts_with(CHOOSING) && Method::parse(method).is_ok(), "{method}");
    let settings = &rig.app.controls.settings;
    assert_eq!(Method::parse(method).unwrap(), settings.method.resolved(&rig.app.model.spec));
    let rope = settings.rope.as_ref().unwrap().resolved(&rig.app.model.spec);
    assert_eq!(table["rope"].as_str(), Some(rope.to_string().as_str()));
    assert!(rope.to_string().contains("original=128"), "{rope}");
    assert_eq!(table["trained_context"].as_integer(), Some(128));
    assert_eq!((table["device"].as_str(), table["weights"].as_str()), (Some("cuda"), Some("q8")));
    assert_eq!((table["seed"].as_integer(), table["prefill_chunk"].as_integer()), (Some(5), Some(128)));
    let sampling = table["sampling"].as_table().unwrap();
    assert_eq!((sampling["max_tokens"].as_integer(), sampling["top_k"].as_integer()), (Some(9), Some(0)));
    for (key, value) in [("temperature", 0.7), ("top_p", 1.0), ("min_p", 0.0), ("repetition_penalty", 1.0)] {
        assert_eq!(sampling[key].as_float(), Some(value), "{key}");
    }
    let prompt = table["prompt"].as_table().unwrap();
    assert_eq!((prompt["needle"].as_str(), prompt["seed"].as_integer()), (Some("300:0.5"), Some(0)));
    let passkey = table["passkey"].as_table().unwrap();
    let grid = export::grid(&rig.app);
    assert_eq!(passkey["lengths"].clone().try_into::<Vec<usize>>().unwrap(), grid.lengths);
    assert_eq!(passkey["depths"].clone().try_into::<Vec<f64>>().unwrap(), grid.depths);
    assert_eq!(passkey["trials"].as_integer(), Some(grid.trials as i64));
    assert_eq!(passkey["template"].as_str(), Some("longlens"));
    let plain = export::config(&Rig::ready().app).parse::<toml::Table>().unwrap();
    assert!(["rope", "device", "weights", "trained_context"].iter().all(|key| !plain.contains_key(*key)));
}

#[test]
fn a_conversation_is_saved_with_how_it_ends() {
    let saved = |source: PromptSource| {
        let mut rig = Rig::with(Options { prompt: Some(source), ..options() }, lens());
        rig.settle();
        rig.app.controls.grid.chat = true;
        export::config(&rig.app).parse::<toml::Table>().unwrap()
    };
    let turns = [Message::user("Two \"lines\"\nhere"), Message::new("assistant", "It is")];
    let prompt = saved(PromptSource::Chat(Conversation::asking(turns.clone())))["prompt"].clone();
    assert_eq!(prompt["messages"][0]["content"].as_str(), Some("Two \"lines\"\nhere"));
    assert_eq!(prompt["date"].as_str(), Some("2024-07-26"));
    assert!(prompt.get("continue_final_message").is_none(), "a last turn of the assistant goes on by itself");
    let variables = serde_json::json!({ "enable_thinking": false, "tools": ["a"] });
    let closed = Conversation {
        add_generation_prompt: false,
        continue_final_message: false,
        variables: variables.as_object().unwrap().clone(),
        ..Conversation::asking(turns)
    };
    let prompt = saved(PromptSource::Chat(closed))["prompt"].clone();
    assert_eq!(prompt["add_generation_prompt"].as_bool(), Some(false));
    assert_eq!(prompt["continue_final_message"].as_bool(), Some(false));
    assert_eq!(serde_json::to_value(&prompt["variables"]).unwrap(), variables);
    let chat = Chat { system: Some("Be brief.".into()), ..Chat::default() };
    let table = saved(PromptSource::Needle(NeedleAsk { length: 300, chat: Some(chat), ..NeedleAsk::default() }));
    assert_eq!(
        (table["prompt"]["chat"].as_bool(), table["prompt"]["system"].as_str()),
        (Some(true), Some("Be brief."))
    );
    assert_eq!(
        (table["passkey"]["chat"].as_bool(), table["passkey"]["date"].as_str()),
        (Some(true), Some("2024-07-26"))
    );
}

/// What `longlens plot` and cells make of a view of a prompt under a method: a run of their own, looked at from its last token.
/// `page` makes what its page shows in place of the view, where it is given.
fn made_elsewhere(
    view: &'static dyn TraceView,
    options: &Setting,
    text: &str,
    method: &str,
    page: Option<&dyn MakePage>,
) -> Plot {
    let mut lens = lens();
    let prompt = PromptSource::Text(text.into()).build(lens.text().unwrap()).unwrap();
    let (tokens, passages, pieces) = (prompt.tokens, prompt.passages, prompt.pieces);
    let method = Method::parse(method).unwrap();
    let setup = Setup { keep_queries: true, ..Setup::new(&method, &lens.model().spec, tokens.len()).unwrap() };
    let model = lens.model().clone();
    lens.begin(&setup).unwrap();
    lens.feed(&tokens, Rows::None, &mut ()).unwrap();
    let subject = Subject { passages: &passages, pieces: &pieces, ..Subject::new(&model, &setup, tokens.len(), None) };
    let trace = lens.inspect(&view.watch(&subject, options).unwrap(), &mut ()).unwrap();
    let plot = view.view(&subject, options, &Arc::new(trace)).unwrap();
    let mut record = |watch: &Watch| lens.inspect(watch, &mut ()).map_err(Problem::from);
    let made = match page {
        Some(page) => page.page(&mut record),
        None => subject.page(view, options, &mut record),
    };
    plot.with_page(made.unwrap())
}

#[test]
fn every_view_of_a_trace_is_on_a_pane_and_has_the_bytes_of_all_faces() {
    let text = "some words that hide nothing, and are longer than a chunk ".repeat(8);
    for method in ["full", CHOOSING] {
        let settings = Settings { method: Method::parse(method).unwrap(), max_tokens: 1, ..Settings::default() };
        let prompt = Some(PromptSource::Text(text.clone()));
        let mut rig = Rig::with(Options { settings, prompt, ..options() }, lens());
        rig.settle();
        for view in longlens_app::views::TRACE_VIEWS {
            let name = view.info().name;
            let shows = |pane: &&dyn View| pane.trace_view().is_some_and(|shown| shown.info().name == name);
            let pane = VIEWS.iter().copied().find(shows).unwrap_or_else(|| panic!("no pane shows {name}"));
            assert_eq!(pane.name().to_lowercase(), name, "one name in all faces");
            rig.show(VIEWS.iter().position(|known| *known == pane).unwrap());
            rig.frame(100, 30);
            let files = exported(&rig, pane);
            let Picture::View(recorded) = files.picture() else { panic!("{name}: {:?}", files.picture()) };
            let (view, options) = longlens_app::views::parse(recorded).unwrap();
            let elsewhere = made_elsewhere(view, &options, &text, method, None);
            let page = files.export.content.page.as_ref().expect("every view of a run has a page");
            let own = made_elsewhere(view, &options, &text, method, Some(page.of.as_ref()));
            assert!(own.bytes(PAGE).unwrap() == elsewhere.bytes(PAGE).unwrap(), "{recorded} under {method} as a page");
            for ending in ENDINGS.into_iter().filter(|ending| *ending != PAGE) {
                assert!(
                    elsewhere.bytes(ending).unwrap() == files.bytes(ending),
                    "{recorded} under {method} as {ending}"
                );
            }
        }
    }
}
