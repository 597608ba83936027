use longlens_app::prompt::{DocumentAsk, NeedleAsk};
use longlens_app::sweep::Evaluation;
use longlens_core::lens::Message;
use longlens_core::methods::Method;
use longlens_core::rope::RopeScaling;
use longlens_eval::passkey::Grid;
use longlens_eval::sampling::Sampling;

use super::*;

const LONG_HEADS: &str = "long_heads:chunk_len=16";

fn under(method: &str) -> Settings {
    Settings { method: Method::parse(method).unwrap(), ..Settings::default() }
}

fn needle() -> PromptSource {
    PromptSource::Needle(NeedleAsk::default())
}

/// The notebook of steps on the embedded model.
fn notebook(steps: &[Step]) -> String {
    let start = Start { model: "embedded".into(), ..Start::default() };
    cells(Path::new("steps.rhai"), &start, steps, &ModelSpec::tiny(256))
}

/// The notebook without its header.
fn code(steps: &[Step]) -> String {
    let text = notebook(steps);
    let begin = text.find("\n// %%\n").map_or(text.len(), |at| at + 1);
    text[begin..].to_owned()
}

fn evaluation(task: &str, lengths: &[usize]) -> Evaluation {
    Evaluation { task: task.into(), lengths: lengths.to_vec() }
}

fn saved(picture: Picture, settings: Settings, path: &str) -> Step {
    Step::Picture(picture, settings, Some(needle()), path.into())
}

#[test]
fn windows_of_layers_are_treated_as_in_the_workbench() {
    let settings = Settings { layer_windows: LayerWindows::Off, ..Settings::default() };
    let steps = [
        Step::Run(settings.clone(), needle()),
        saved(Picture::Positions { n_tokens: 64, layer: 0, head: 0 }, settings, "p.png"),
    ];
    let text = code(&steps);
    assert_eq!(text.matches("layer_windows: \"off\"").count(), 2, "{text}");
    let start = Start { model: "embedded".into(), ..Start::default() };
    for step in &steps {
        let line = command(&start, step, &ModelSpec::tiny(256));
        assert_eq!(line.matches("--layer-windows off").count(), 1, "{line}");
    }
}

#[test]
fn a_header_says_how_to_run_it_and_the_first_cell_opens_the_model() {
    let start = Start {
        model: "my \"models\"/llama".into(),
        device: Some("cuda".into()),
        weights: Some("q8".into()),
        adapter: Some("my adapter".into()),
        kv_offload: true,
    };
    let settings = Settings { trained_context: Some(16_384), ..Settings::default() };
    let steps = [Step::Run(settings, PromptSource::File("/home/me/story.txt".into()))];
    let text = cells(Path::new("my steps.rhai"), &start, &steps, &ModelSpec::tiny(256));
    insta::assert_snapshot!(text, @r#"
    // %% [markdown]
    // # Steps taken in the longlens workbench
    //
    // Every step is a cell; pictures are written to their files again (`--overwrite` lets cells replace those of the workbench). In the folder that the workbench was started in:
    //
    //     longlens notebook run 'my steps.rhai' --overwrite --device cuda --weights q8 --kv-offload --allow-outside
    //
    // Device and weights are given by these flags; a cell cannot choose them.
    //
    // Some files lie outside that folder, or have absolute names: `--allow-outside` lets cells use them.

    // %%
    open("my \"models\"/llama", #{ trained_context: 16384, adapter: "my adapter" });

    // %%
    let p1 = text("/home/me/story.txt");
    let r1 = run(p1, "full", #{ max_tokens: 16 });
    r1
    "#);
    insta::assert_snapshot!(notebook(&[]), @r"
    // %% [markdown]
    // # Steps taken in the longlens workbench
    //
    // Every step is a cell; pictures are written to their files again (`--overwrite` lets cells replace those of the workbench). In the folder that the workbench was started in:
    //
    //     longlens notebook run steps.rhai --overwrite
    //
    // Nothing was done yet.
    ");
}

#[test]
fn a_trained_context_that_changed_between_steps_changes_between_them_again() {
    let start = Start { model: "embedded".into(), ..Start::default() };
    let trained = |n| Settings { trained_context: n, ..under("self_extend") };
    let about = |question: &str| {
        let chat = Some(Chat { system: Some("Be brief.".into()), ..Chat::default() });
        PromptSource::Document(DocumentAsk { file: "a report.pdf".into(), question: Some(question.into()), chat })
    };
    let (a, b) = ((trained(Some(1024)), about("Who?")), (trained(None), about("Who?")));
    let steps = [
        Step::Run(a.0.clone(), a.1.clone()),
        Step::Run(b.0.clone(), b.1.clone()),
        saved(Picture::Positions { n_tokens: 64, layer: 0, head: 0 }, b.0.clone(), "p.png"),
        saved(Picture::Compare { runs: Box::new([a, b.clone()]), head: None }, b.0, "c.png"),
    ];
    let text = cells(Path::new("steps.rhai"), &start, &steps, &ModelSpec::tiny(256));
    insta::assert_snapshot!(text.split_once("\n// %%\n").unwrap().1, @r#"
    open("embedded", #{ trained_context: 1024 });

    // %%
    let p1 = document("a report.pdf", "Who?", #{ chat: true, system: "Be brief.", date: "2024-07-26" });
    let r1 = run(p1, "self_extend:group_size=8,neighbor_window=256,log_scale=off,shift=floor", #{ max_tokens: 16 });
    r1

    // %%
    open("embedded");
    let r2 = run(p1, "self_extend:group_size=8,neighbor_window=64,log_scale=off,shift=floor", #{ max_tokens: 16 });
    r2

    // %%
    let f1 = positions("self_extend:group_size=8,neighbor_window=64,log_scale=off,shift=floor", 64);
    save(f1, "p.png");
    f1

    // %%
    let f2 = compare(r1, r2);
    save(f2, "c.png");
    f2
    "#);
    insta::assert_snapshot!(script(&start, &steps, &ModelSpec::tiny(256)), @r"
    #!/bin/sh
    # steps taken in the longlens workbench, as commands
    set -e

    longlens generate --model embedded --trained-context 1024 --method self_extend:group_size=8,neighbor_window=256,log_scale=off,shift=floor --prefill-chunk 2048 --max-tokens 16 --file 'a report.pdf' --question 'Who?' --chat --system 'Be brief.' --date 2024-07-26

    longlens generate --model embedded --method self_extend:group_size=8,neighbor_window=64,log_scale=off,shift=floor --prefill-chunk 2048 --max-tokens 16 --file 'a report.pdf' --question 'Who?' --chat --system 'Be brief.' --date 2024-07-26

    longlens positions --tokens 64 --layer 0 --head 0 --model embedded --method self_extend:group_size=8,neighbor_window=64,log_scale=off,shift=floor --prefill-chunk 2048 --out p.png

    # c.png shows the view compare, which no command draws
    ");
}

#[test]
fn runs_share_their_prompts_and_say_what_is_not_as_usual() {
    let plain = Step::Run(Settings::default(), needle());
    let everything = Settings {
        rope: Some(RopeScaling::parse("yarn:factor=2").unwrap()),
        sampling: Sampling { temperature: 0.7, top_k: 40, top_p: 0.9, min_p: 0.05, repetition_penalty: 1.1, seed: 5 },
        max_tokens: 4,
        prefill_chunk: 64,
        swap: Swap::ReuseKv,
        ..under("self_extend:group_size=8,neighbor_window=64")
    };
    let ask = NeedleAsk {
        length: 600,
        depth: 1.0,
        key: Some("12345".into()),
        template: Template::LongLm,
        seed: 7,
        chat: None,
    };
    let steps = [
        plain.clone(),
        Step::Run(everything, needle()),
        Step::Run(Settings::default(), PromptSource::Needle(ask)),
        Step::Run(Settings::default(), PromptSource::File("texts/story.txt".into())),
        plain,
    ];
    insta::assert_snapshot!(code(&steps), @r#"
    // %%
    let p1 = needle(#{ length: 1024, depth: 0.5 });
    let r1 = run(p1, "full", #{ max_tokens: 16 });
    r1

    // %%
    // in the workbench this run reused the cache of the one before (reuse-kv), which no function does;
    // here the whole prompt runs under the method
    let r2 = run(p1, "self_extend:group_size=8,neighbor_window=64,log_scale=off,shift=floor", #{
        rope: "yarn:factor=2,original=256,beta_fast=32,beta_slow=1,truncate=true",
        max_tokens: 4,
        temperature: 0.7,
        top_k: 40,
        top_p: 0.9,
        min_p: 0.05,
        repetition_penalty: 1.1,
        seed: 5,
        prefill_chunk: 64,
    });
    r2

    // %%
    let p2 = needle(#{ length: 600, depth: 1.0, key: "12345", template: "long_lm", seed: 7 });
    let r3 = run(p2, "full", #{ max_tokens: 16 });
    r3

    // %%
    let p3 = text("texts/story.txt");
    let r4 = run(p3, "full", #{ max_tokens: 16 });
    r4

    // %%
    r1
    "#);
}

#[test]
fn typed_prompts_are_literals_in_one_line() {
    let text = "It's \"quoted\" \\ and\n// %%\n\t${not an expression} `so` é 鍵 🔑\r\n\u{1b}\u{2028}";
    let cell = code(&[Step::Run(Settings::default(), PromptSource::Text(text.into()))]);
    insta::assert_snapshot!(cell, @r#"
    // %%
    let p1 = prompt("It's \"quoted\" \\ and\n// %%\n\t${not an expression} `so` é 鍵 🔑\r\n\u001b\u2028");
    let r1 = run(p1, "full", #{ max_tokens: 16 });
    r1
    "#);
    assert_eq!(cell.lines().count(), 4);
}

#[test]
fn pictures_are_drawn_and_saved_again() {
    let view = |text: &str| Picture::View(text.into());
    let rope = Some(RopeScaling::parse("yarn:factor=2").unwrap());
    let grid = Grid {
        template: Template::Longlens,
        chat: None,
        lengths: vec![256, 512],
        depths: vec![0.0, 0.5],
        trials: 2,
        seed: 3,
    };
    let (full, chosen) = (under("full"), under(LONG_HEADS));
    let ran = [(full.clone(), needle()), (chosen.clone(), needle())];
    let steps = [
        Step::Run(full.clone(), needle()),
        saved(view("chunks:query=1000"), chosen.clone(), "a \"b\".png"),
        saved(view("layers:query=1000"), chosen.clone(), "layers.png"),
        saved(view("chunks:query=9,chunk_len=8"), full.clone(), "mass.png"),
        saved(view("attention:layer=1,head=2,side=64,pooling=max"), full.clone(), "map.png"),
        saved(view("attention:layer=1,head=2,first_query=200,first_key=100,len=64"), full.clone(), "part.png"),
        saved(
            Picture::Positions { n_tokens: 512, layer: 1, head: 0 },
            Settings { rope, ..chosen.clone() },
            "positions.png",
        ),
        saved(Picture::Loss { runs: ran.to_vec(), smooth: 10 }, full.clone(), "loss.png"),
        saved(Picture::Compare { runs: Box::new(ran), head: Some((1, 2)) }, chosen.clone(), "compare.png"),
        Step::Grid(full.clone(), grid.clone()),
        saved(Picture::Grid(grid), full.clone(), "grid.png"),
        Step::Evaluate(full.clone(), evaluation("passkey:depths=3,samples=2", &[256, 512])),
        saved(Picture::Scores(evaluation("passkey:depths=3,samples=2", &[256, 512])), full.clone(), "scores.png"),
        Step::Evaluate(full, evaluation("longbench_qasper:file=data", &[])),
    ];
    insta::assert_snapshot!(code(&steps), @r#"
    // %%
    let p1 = needle(#{ length: 1024, depth: 0.5 });
    let r1 = run(p1, "full", #{ max_tokens: 16 });
    r1

    // %%
    let t1 = trace(p1, "long_heads:chunk_len=16,attention_len=256,begin_len=256,variant=consistent");
    let f1 = chunks(t1, #{ query: 1000 });
    save(f1, "a \"b\".png");
    f1

    // %%
    let f2 = layers(t1, #{ query: 1000 });
    save(f2, "layers.png");
    f2

    // %%
    let t2 = trace(p1, "full");
    let f3 = chunks(t2, #{ query: 9, chunk_len: 8 });
    save(f3, "mass.png");
    f3

    // %%
    let f4 = attention(t2, #{ layer: 1, head: 2, side: 64, pooling: "max" });
    save(f4, "map.png");
    f4

    // %%
    let f5 = attention(t2, #{ layer: 1, head: 2, first_query: 200, first_key: 100, len: 64 });
    save(f5, "part.png");
    f5

    // %%
    let f6 = positions("long_heads:chunk_len=16,attention_len=256,begin_len=256,variant=consistent", 512, #{
        rope: "yarn:factor=2,original=256,beta_fast=32,beta_slow=1,truncate=true",
        layer: 1,
    });
    save(f6, "positions.png");
    f6

    // %%
    let r2 = run(p1, "long_heads:chunk_len=16,attention_len=256,begin_len=256,variant=consistent", #{ max_tokens: 16 });
    let f7 = losses([r1, r2], 10);
    save(f7, "loss.png");
    f7

    // %%
    // the workbench's picture also compares the maps of layer 1, head 2, which no function does
    let f8 = compare(r1, r2);
    save(f8, "compare.png");
    f8

    // %%
    let g1 = passkey(#{ lengths: [256, 512], depths: [0.0, 0.5], trials: 2, method: "full", seed: 3 });
    g1

    // %%
    save(g1, "grid.png");
    g1

    // %%
    let e1 = evaluate("passkey:depths=3,samples=2", #{ lengths: [256, 512], method: "full" });
    e1

    // %%
    save(e1, "scores.png");
    e1

    // %%
    let e2 = evaluate("longbench_qasper:file=data", #{ method: "full" });
    e2
    "#);
    assert!(!notebook(&steps).contains("--allow-outside"));
}

#[test]
fn what_no_function_does_is_a_comment_that_says_why() {
    let seeded = |seed| Settings { sampling: Sampling { seed, ..Sampling::default() }, ..Settings::default() };
    let steps = [
        saved(Picture::Other("map\nof another prompt".into()), under("full"), "%% a\nb.png"),
        saved(Picture::View("headz:query=9".into()), under(LONG_HEADS), "heads.png"),
        saved(Picture::Positions { n_tokens: 1 << 21, layer: 0, head: 0 }, under("full"), "positions.png"),
        Step::Run(seeded(u64::MAX), needle()),
        Step::Grid(
            Settings::default(),
            Grid {
                template: Template::Longlens,
                chat: None,
                lengths: vec![256],
                depths: vec![0.5],
                trials: 1,
                seed: u64::MAX,
            },
        ),
        Step::Picture(Picture::View("chunks:query=9".into()), under("full"), None, "heads.png".into()),
    ];
    insta::assert_snapshot!(code(&steps), @r"
    // %%
    // the picture %% a b.png is left out: no function draws the view map of another prompt

    // %%
    // the picture heads.png is left out: unknown view `headz`

    // %%
    // the picture positions.png is left out: `positions` draws up to 1048576 tokens, not 2097152

    // %%
    let p1 = needle(#{ length: 1024, depth: 0.5 });
    // a run is left out: functions take no seed as large as 18446744073709551615

    // %%
    // a passkey grid is left out: functions take no seed as large as 18446744073709551615

    // %%
    // the picture heads.png is left out: its prompt is not known
    ");
}

#[test]
fn files_outside_the_folder_ask_for_a_flag() {
    let outside =
        |step: Step| notebook(&[step]).contains("longlens notebook run steps.rhai --overwrite --allow-outside\n");
    let reads = |path: &str| Step::Run(Settings::default(), PromptSource::File(path.into()));
    assert!(outside(reads("/a.txt")) && outside(reads("b/../../a.txt")) && !outside(reads("b/a.txt")));
    let positions =
        |path: &str| saved(Picture::Positions { n_tokens: 64, layer: 0, head: 0 }, Settings::default(), path);
    assert!(outside(positions("/a.png")) && !outside(positions("a.png")));
    let runs = vec![(Settings::default(), PromptSource::File("/a.txt".into()))];
    assert!(outside(saved(Picture::Loss { runs, smooth: 1 }, Settings::default(), "a.png")));
    assert!(!outside(saved(Picture::Other("map".into()), Settings::default(), "/a.png")), "nothing is written");
}

#[test]
fn the_ending_decides() {
    let start = Start { model: "embedded".into(), ..Start::default() };
    let of = |name: &str| write(Path::new(name), &start, &[], &ModelSpec::tiny(256));
    assert!(of("a.rhai").unwrap().starts_with("// %% [markdown]\n"));
    assert!(of("a.sh").unwrap().starts_with("#!/bin/sh\n"));
    for name in ["steps", "steps.ipynb", "rhai", ".sh"] {
        let problem = of(name).unwrap_err();
        assert_eq!(problem.message, format!("{name} does not say what to write the steps as"));
        assert_eq!(problem.help.as_deref(), Some("end the name in .rhai for notebook cells, or in .sh for commands"));
    }
}

#[test]
fn conversations_end_again_as_they_did() {
    let turns = [Message::user("It's\ntwo?"), Message::new("assistant", "It is")];
    let begun = Conversation::asking(turns.clone()).dated(Some("2025-01-31"));
    let closed = Conversation {
        add_generation_prompt: false,
        continue_final_message: false,
        variables: serde_json::from_str(r#"{"enable_thinking": false, "n": [1, null, "x"]}"#).unwrap(),
        ..Conversation::asking(turns)
    };
    let chat = Chat { system: Some("Be brief.".into()), ..Chat::default() };
    let needle = NeedleAsk { chat: Some(chat.clone()), ..NeedleAsk::default() };
    let grid = Grid {
        template: Template::Longlens,
        chat: Some(chat),
        lengths: vec![256],
        depths: vec![0.5],
        trials: 1,
        seed: 0,
    };
    let run = |source: PromptSource| Step::Run(Settings::default(), source);
    let steps = [
        run(PromptSource::Chat(begun)),
        run(PromptSource::Chat(closed)),
        run(PromptSource::Needle(needle)),
        Step::Grid(Settings::default(), grid),
    ];
    insta::assert_snapshot!(code(&steps), @r#"
    // %%
    let p1 = chat([#{ role: "user", content: "It's\ntwo?" }, #{ role: "assistant", content: "It is" }], #{ date: "2025-01-31" });
    let r1 = run(p1, "full", #{ max_tokens: 16 });
    r1

    // %%
    let p2 = chat([#{ role: "user", content: "It's\ntwo?" }, #{ role: "assistant", content: "It is" }], #{
        date: "2024-07-26",
        add_generation_prompt: false,
        continue_final_message: false,
        variables: #{ "enable_thinking": false, "n": [1, (), "x"] },
    });
    let r2 = run(p2, "full", #{ max_tokens: 16 });
    r2

    // %%
    let p3 = needle(#{ length: 1024, depth: 0.5, chat: true, system: "Be brief.", date: "2024-07-26" });
    let r3 = run(p3, "full", #{ max_tokens: 16 });
    r3

    // %%
    let g1 = passkey(#{
        lengths: [256],
        depths: [0.5],
        trials: 1,
        method: "full",
        chat: true,
        system: "Be brief.",
        date: "2024-07-26",
    });
    g1
    "#);
    let start = Start { model: "embedded".into(), ..Start::default() };
    let script = script(&start, &steps, &ModelSpec::tiny(256));
    insta::assert_snapshot!(script, @r#"
    #!/bin/sh
    # steps taken in the longlens workbench, as commands
    set -e

    longlens generate --model embedded --method full --prefill-chunk 2048 --max-tokens 16 --messages '[{"role":"user","content":"It'\''s\ntwo?"},{"role":"assistant","content":"It is"}]' --date 2025-01-31

    longlens generate --model embedded --method full --prefill-chunk 2048 --max-tokens 16 --messages '{"messages":[{"role":"user","content":"It'\''s\ntwo?"},{"role":"assistant","content":"It is"}],"add_generation_prompt":false,"date":"2024-07-26","variables":{"enable_thinking":false,"n":[1,null,"x"]}}' --date 2024-07-26

    longlens generate --model embedded --method full --prefill-chunk 2048 --max-tokens 16 --needle 1024:0.5 --needle-seed 0 --chat --system 'Be brief.' --date 2024-07-26

    longlens passkey --model embedded --method full --prefill-chunk 2048 --template longlens --lengths 256 --depths 0.5 --trials 1 --seed 0 --chat --system 'Be brief.' --date 2024-07-26
    "#);
}

#[test]
fn pictures_are_kept_with_the_session() {
    let ran = (Settings::default(), needle());
    for picture in [
        Picture::View("layers:query=3,chunk_len=4".into()),
        Picture::Positions { n_tokens: 64, layer: 1, head: 2 },
        Picture::Loss { runs: vec![ran.clone()], smooth: 2 },
        Picture::Compare { runs: Box::new([ran.clone(), ran]), head: None },
        Picture::Scores(evaluation("ruler_vt", &[512])),
        Picture::Other("grid".into()),
    ] {
        let kept = serde_json::to_string(&picture).unwrap();
        assert_eq!(serde_json::from_str::<Picture>(&kept).unwrap(), picture);
    }
}

#[test]
fn steps_read_as_commands() {
    let start = Start { model: "my models/llama".into(), device: Some("cuda".into()), ..Start::default() };
    let settings = Settings { method: Method::parse("long_heads:chunk_len=16").unwrap(), ..Settings::default() };
    let needle = PromptSource::Needle(NeedleAsk { key: Some("12345".into()), seed: 3, ..NeedleAsk::default() });
    let steps = [
        Step::Run(settings.clone(), needle.clone()),
        Step::Run(
            Settings { sampling: Sampling { temperature: 0.5, seed: 2, ..Sampling::default() }, ..Settings::default() },
            PromptSource::Text("It's\nEND0".into()),
        ),
        Step::Picture(Picture::View("chunks:query=1000".into()), settings.clone(), Some(needle), "a b.png".into()),
        Step::Picture(Picture::Positions { n_tokens: 512, layer: 1, head: 0 }, settings, None, "p.svg".into()),
        Step::Evaluate(Settings::default(), evaluation("ruler_vt:samples=2", &[512, 1024])),
    ];
    insta::assert_snapshot!(script(&start, &steps, &ModelSpec::tiny(256)), @r"
    #!/bin/sh
    # steps taken in the longlens workbench, as commands
    set -e

    longlens generate --model 'my models/llama' --device cuda --method long_heads:chunk_len=16,attention_len=256,begin_len=256,variant=consistent --prefill-chunk 2048 --max-tokens 16 --needle 1024:0.5:12345 --needle-seed 3

    longlens generate --model 'my models/llama' --device cuda --method full --prefill-chunk 2048 --max-tokens 16 --temperature 0.5 --seed 2 --file - <<'END1'
    It's
    END0
    END1

    longlens plot chunks:query=1000 --model 'my models/llama' --device cuda --method long_heads:chunk_len=16,attention_len=256,begin_len=256,variant=consistent --prefill-chunk 2048 --out 'a b.png' --needle 1024:0.5:12345 --needle-seed 3

    longlens positions --tokens 512 --layer 1 --head 0 --model 'my models/llama' --device cuda --method long_heads:chunk_len=16,attention_len=256,begin_len=256,variant=consistent --prefill-chunk 2048 --out p.svg

    longlens evaluate ruler_vt:samples=2 --model 'my models/llama' --device cuda --method full --prefill-chunk 2048 --lengths 512,1024
    ");
}
