//! What every command does to the state. Each of the table's commands is tried by its key, so a new one needs a line here.

mod common;

use std::collections::HashSet;

use common::{Rig, lens, options, text};
use longlens_app::Problem;
use longlens_app::prompt::{DocumentAsk, PromptSource};
use longlens_app::runs::RunState;
use longlens_app::settings::Swap;
use longlens_app::steps::Step;
use longlens_app::views::ranking::HeadOrder;
use longlens_app::worker::{Ask, Event};
use longlens_core::lens::ModelInfo;
use longlens_core::methods::METHODS;
use longlens_core::plan::Capacity;
use longlens_core::rope::RopeScaling;
use longlens_eval::passkey::Chat;
use longlens_tui::app::{Action, App, Effect, Focus, GridRun, Layout, Level, TokenColor};
use longlens_tui::command::{Command, ENTRIES, entry};
use longlens_tui::dialogs::{Dialog, Question};
use longlens_tui::fields::FieldId;
use longlens_tui::panes::{VIEWS, attention::AttentionView, compare::CompareView, grid::GridView, loss::LossView};
use longlens_tui::pen::Hit;
use longlens_tui::theme::ThemeName;
use longlens_tui::view::{Need, View};
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers, MouseButton, MouseEvent, MouseEventKind};

/// Keys that come first, the command, and what must hold then.
type Try = (&'static str, Command, fn(&Rig) -> bool);

fn method(app: &App) -> &str {
    app.controls.settings.method.name()
}

fn method_at(name: &str) -> usize {
    METHODS.iter().position(|method| method.info.name == name).unwrap()
}

/// Everything that one key press can be seen to do.
const TRIES: &[Try] = &[
    ("", Command::SwapMode, |rig| {
        rig.app.controls.settings.swap == Swap::ReuseKv && rig.app.shown_run().unwrap().record.mode == "reuse-kv"
    }),
    ("", Command::Rerun, |rig| rig.app.runs.list.len() == 2 && rig.app.run().unwrap().state == RunState::Done),
    ("", Command::Cancel, |rig| matches!(rig.app.dialog, Some(Dialog::ConfirmQuit))),
    ("long_heads", Command::Undo, |rig| method(&rig.app) == "full"),
    ("long_heads dual_chunk u u", Command::Redo, |rig| method(&rig.app) == "long_heads"),
    ("", Command::Needle, |rig| matches!(rig.app.dialog, Some(Dialog::Needle { .. }))),
    ("", Command::AskDocument, |rig| matches!(rig.app.dialog, Some(Dialog::Document(_)))),
    ("", Command::OpenFile, |rig| matches!(rig.app.dialog, Some(Dialog::Ask(Question::OpenFile, _)))),
    ("", Command::TypeText, |rig| matches!(rig.app.dialog, Some(Dialog::Text(_)))),
    ("tab home", Command::NextQuery, |rig| rig.app.query() == 1),
    ("tab home ] ]", Command::PreviousQuery, |rig| rig.app.query() == 1),
    ("tab home", Command::FarNextQuery, |rig| rig.app.query() == 16 && rig.app.heads.answer().unwrap().query == 16),
    ("tab home } }", Command::FarPreviousQuery, |rig| rig.app.query() == 16),
    ("[ [", Command::DefaultQuery, |rig| rig.app.controls.query.is_none() && rig.app.query() == rig.app.n_prompt()),
    ("", Command::BestHead, |rig| (rig.app.controls.layer, rig.app.controls.head) == (1, 2)),
    ("", Command::HeadOrder, |rig| {
        rig.app.order == HeadOrder::Score && rig.app.ranking.as_ref().unwrap().heads[0] == (1, 2)
    }),
    ("", Command::SwitchHead, |rig| {
        rig.app.controls.settings.method.interventions_text() == "0h0=off" && rig.app.switched_off() == [(0, 0)]
    }),
    ("> x D", Command::WholeHeads, |rig| rig.app.controls.settings.method.to_string() == "dual_chunk"),
    ("", Command::NextHead, |rig| rig.app.controls.head == 1),
    (") > >", Command::PreviousHead, |rig| (rig.app.controls.layer, rig.app.controls.head) == (1, 1)),
    ("", Command::NextLayer, |rig| rig.app.controls.layer == 1),
    (")", Command::PreviousLayer, |rig| rig.app.controls.layer == 0),
    ("", Command::Split, |rig| matches!(rig.app.layout.shown(), [a, b] if a != b)),
    ("", Command::NextPane, |rig| rig.app.layout.focus() == Focus::View(0)),
    ("", Command::PreviousPane, |rig| rig.app.layout.focus() == Focus::History),
    ("2", Command::ZoomIn, |rig| rig.app.zoom.window().is_some_and(|window| window.len < rig.app.n_prompt())),
    ("2 + +", Command::ZoomOut, |rig| {
        rig.app.zoom.window().is_some_and(|window| window.len > rig.app.n_prompt() * 2 / 5)
    }),
    ("2 + +", Command::ZoomReset, |rig| rig.app.zoom.window().is_none()),
    ("", Command::LogScale, |rig| !rig.app.zoom.log),
    ("", Command::MaxPooling, |rig| rig.app.zoom.max),
    ("", Command::TokenColor, |rig| rig.app.token_color == TokenColor::Attention),
    ("", Command::Log, |rig| rig.app.show_log),
    ("", Command::Grid, |rig| {
        let found =
            |grid: &GridRun| grid.cells.iter().all(|cell| cell.as_ref().is_some_and(|cell| cell.accuracy() > 0.9));
        rig.app.layout.shows(&GridView) && rig.app.grids.shown().is_some_and(|grid| !grid.running && found(grid))
    }),
    ("", Command::Pin, |rig| rig.app.run().unwrap().pinned),
    ("", Command::Rename, |rig| matches!(rig.app.dialog, Some(Dialog::Ask(Question::Rename(1), _)))),
    ("c long_heads", Command::Compare, |rig| rig.app.marked == [1, 2] && rig.app.layout.shows(&CompareView)),
    ("long_heads shift-tab down", Command::Restore, |rig| method(&rig.app) == "full" && rig.app.run().unwrap().id == 3),
    ("long_heads shift-tab down", Command::Forget, |rig| rig.app.runs.list.len() == 1),
    ("", Command::Export, |rig| matches!(rig.app.dialog, Some(Dialog::Ask(Question::Export, _)))),
    ("", Command::SaveConfig, |rig| matches!(rig.app.dialog, Some(Dialog::Ask(Question::SaveConfig, _)))),
    ("", Command::Record, |rig| matches!(rig.app.dialog, Some(Dialog::Ask(Question::Record, _)))),
    ("", Command::Palette, |rig| matches!(rig.app.dialog, Some(Dialog::Palette { .. }))),
    ("", Command::Help, |rig| matches!(rig.app.dialog, Some(Dialog::Help { .. }))),
    ("", Command::Theme, |rig| rig.app.theme.name == ThemeName::Light),
    ("", Command::Images, |rig| !rig.app.images),
    ("", Command::Mouse, |rig| !rig.app.mouse),
    ("", Command::Quit, |rig| rig.over && rig.kept.as_ref().is_some_and(|session| session.clean)),
    ("down down", Command::Up, |rig| rig.app.field == 1),
    ("", Command::Down, |rig| rig.app.field == 1),
    ("long_heads", Command::Left, |rig| method(&rig.app) == METHODS[method_at("long_heads") - 1].info.name),
    ("", Command::Right, |rig| method(&rig.app) == METHODS[method_at("full") + 1].info.name),
    ("long_heads down", Command::FarLeft, |rig| param(rig, "chunk_len") == "8"),
    ("long_heads down", Command::FarRight, |rig| param(rig, "chunk_len") == "32"),
    ("end", Command::PageUp, |rig| rig.app.field + 9 == rig.app.fields().len()),
    ("", Command::PageDown, |rig| rig.app.field == 8),
    ("end", Command::First, |rig| rig.app.field == 0),
    ("", Command::Last, |rig| rig.app.field + 1 == rig.app.fields().len()),
    ("long_heads down", Command::Enter, |rig| rig.app.edit.as_ref().is_some_and(|edit| edit.text == "16")),
    ("long_heads down enter", Command::Back, |rig| rig.app.edit.is_none()),
];

fn param(rig: &Rig, name: &str) -> String {
    rig.app.controls.settings.method.setting().unwrap().value(name, &rig.app.model.spec).to_string()
}

#[test]
fn every_command_does_what_it_says() {
    let mut tried: HashSet<Command> = (0..METHODS.len()).map(Command::Method).collect();
    tried.extend((0..VIEWS.len()).map(Command::View)); // both in the next tests
    for (before, command, holds) in TRIES {
        let mut rig = Rig::ready();
        rig.frame(120, 40);
        rig.keys(before);
        assert!(!holds(&rig), "{command:?}: this holds before the key is pressed");
        let key = &entry(*command).keys[0];
        rig.keys(key);
        assert!(holds(&rig), "{command:?} by `{key}` after `{before}`; log: {:?}", rig.app.log);
        tried.insert(*command);
    }
    let missing: Vec<_> = ENTRIES.iter().filter(|entry| !tried.contains(&entry.command)).collect();
    assert!(missing.is_empty(), "not tried: {missing:?}");
}

#[test]
fn every_method_runs_at_its_key() {
    for (at, info) in METHODS.iter().map(|method| &method.info).enumerate() {
        let mut rig = Rig::ready();
        rig.keys(METHODS[(at + 1) % METHODS.len()].info.name);
        assert_ne!(method(&rig.app), info.name);
        rig.keys(&entry(Command::Method(at)).keys[0]);
        assert_eq!(method(&rig.app), info.name);
        let run = rig.app.shown_run().unwrap();
        assert!(
            run.state == RunState::Done && run.settings.method.name() == info.name,
            "{}: {:?}",
            info.name,
            rig.app.log
        );
        assert_eq!(
            rig.app.heads.answer().unwrap().chooses(),
            rig.app.verdict.as_ref().unwrap().plan.chunk_len().is_some()
        );
    }
}

#[test]
fn every_view_is_shown_at_its_key() {
    for (at, view) in VIEWS.iter().copied().enumerate() {
        let mut rig = Rig::ready();
        rig.keys("P long_heads");
        rig.show((at + 1) % VIEWS.len());
        assert!(!rig.app.layout.shows(view));
        rig.show(at);
        assert!(rig.app.layout.shows(view) && rig.app.layout.focus() == Focus::View(0), "{view:?}");
        rig.frame(120, 40);
        let has = |need| match need {
            Need::Map => rig.app.map.answer().is_some(),
            Need::Difference => rig.app.difference.answer().is_some(),
            Need::Plot(at) => rig.app.plots.of(at).trace.answer().is_some(),
        };
        assert!(view.need().is_none_or(has) && !view.is_stale(&rig.app), "{view:?}: {:?}", rig.app.log);
    }
}

fn select(rig: &mut Rig, id: FieldId) {
    rig.app.layout = Layout::new(rig.app.layout.shown()[0], None);
    rig.app.field = rig.app.field_at(id).unwrap();
}

#[test]
fn a_typed_value_runs_and_an_impossible_one_does_not() {
    let mut rig = Rig::ready();
    rig.keys("long_heads");
    select(&mut rig, FieldId::Param("chunk_len"));
    let n_runs = rig.app.runs.list.len();
    rig.type_text("24");
    let verdict = &rig.app.edit.as_ref().unwrap().verdict;
    assert!(
        verdict.as_ref().is_err_and(|problem| problem.message.contains("attention_len mod chunk_len")),
        "{verdict:?}"
    );
    rig.keys("enter");
    assert_eq!((rig.app.runs.list.len(), param(&rig, "chunk_len").as_str()), (n_runs, "24"), "shown, not sent");
    assert!(rig.app.verdict.is_err());
    // the other value makes both possible
    select(&mut rig, FieldId::Param("attention_len"));
    rig.type_text("240");
    assert!(rig.app.edit.as_ref().unwrap().verdict.is_ok());
    rig.keys("enter");
    assert_eq!(rig.app.runs.list.len(), n_runs + 1);
    assert!(rig.app.run().unwrap().text.contains("chunk_len=24,attention_len=240"));
    // nonsense stays in the edit, and says why
    select(&mut rig, FieldId::Setting("max_tokens"));
    rig.keys("enter ctrl-u");
    rig.type_text("many");
    rig.keys("enter");
    assert!(rig.app.edit.is_some() && rig.app.log.lines().last().unwrap().0 == Level::Error);
    rig.keys("esc");
    assert_eq!(rig.app.controls.settings.max_tokens, 6);
    // what was impossible ran nothing, and is passed over on the way back
    rig.keys("u");
    assert!(rig.app.verdict.is_ok());
    assert_ne!(param(&rig, "chunk_len"), "24");
    rig.keys("U");
    assert_eq!(param(&rig, "attention_len"), "240");
}

#[test]
fn arrows_pass_over_impossible_values() {
    let mut rig = Rig::ready();
    rig.keys("long_heads");
    select(&mut rig, FieldId::Param("chunk_len"));
    // 18 to 30 do not divide 256
    rig.keys("right");
    assert_eq!(param(&rig, "chunk_len"), "32");
    assert!(rig.app.verdict.is_ok());
    rig.keys("left left");
    assert_eq!(param(&rig, "chunk_len"), "8");
}

#[test]
fn a_change_dims_the_old_result_until_the_new_one_is_there() {
    let mut rig = Rig::ready();
    rig.frame(120, 40);
    let before = rig.app.heads.key().unwrap().run;
    rig.key("long_heads");
    assert!(rig.app.is_stale(), "the old run is shown until the new one arrives");
    assert_eq!(rig.app.heads.key().unwrap().run, before);
    let text = common::text(&rig.draw(120, 40));
    assert!(text.contains("the run before"), "{text}");
    rig.settle();
    assert!(!rig.app.is_stale());
    assert_ne!(rig.app.heads.key().unwrap().run, before);
}

#[test]
fn late_results_of_older_runs_change_nothing_that_is_shown() {
    let mut rig = Rig::ready();
    rig.keys("long_heads");
    let shown = |rig: &Rig| rig.app.heads.keyed().map(|(key, heads)| (key.clone(), heads.run.clone()));
    let heads = shown(&rig);
    let old = rig.app.runs.list[0].id;
    let (trace, record) = (longlens_core::trace::Trace::default(), longlens_core::trace::RunRecord::default());
    let kind = longlens_app::worker::InspectKind::Heads;
    let job = |event| Action::Job(event);
    rig.act(job(longlens_app::worker::Event::Inspected { id: 1, run: old, kind, trace: Box::new(trace) }));
    rig.act(job(longlens_app::worker::Event::Prefilled {
        run: old,
        record,
        nll: vec![9.0],
        nll_from: 1,
        seconds: 1.0,
    }));
    assert_eq!(shown(&rig), heads);
    assert!(rig.app.shown_run().unwrap().text.contains("long_heads"));
}

#[test]
fn the_needle_builder_makes_a_prompt_that_every_view_knows() {
    let mut rig = Rig::ready();
    rig.keys("n backspace backspace backspace");
    rig.type_text("300");
    rig.keys("tab backspace backspace backspace");
    rig.type_text("0.2");
    rig.keys("tab");
    rig.type_text("AB77");
    rig.keys("enter");
    let prompt = rig.app.prompt.answer().cloned().unwrap();
    assert_eq!(prompt.source.to_string(), "needle=300:0.2:AB77");
    let needle = prompt.needle.as_ref().unwrap();
    assert!(prompt.pieces[needle.tokens.clone()].concat().contains("The pass key is AB77."));
    assert_eq!(rig.app.run().unwrap().found, Some(true), "{}", rig.app.run().unwrap().output);
    // a refused value keeps the builder open
    rig.keys("n backspace backspace backspace");
    rig.type_text("x");
    rig.keys("enter");
    assert!(matches!(rig.app.dialog, Some(Dialog::Needle { .. })));
    assert!(rig.app.log.lines().last().unwrap().1.contains("is not a length"));
}

#[test]
fn pasted_text_and_files_become_prompts() {
    let mut rig = Rig::ready();
    rig.act(Action::Paste("first line\r\nsecond line".into()));
    rig.keys("ctrl-s");
    assert_eq!(rig.app.prompt.answer().unwrap().pieces.concat(), "first line\nsecond line");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.txt");
    std::fs::write(&path, "from a file\n").unwrap();
    rig.keys("o");
    rig.act(Action::Paste(path.display().to_string()));
    rig.keys("enter");
    assert_eq!(rig.app.prompt.answer().unwrap().pieces.concat(), "from a file");
    rig.keys("o");
    rig.act(Action::Paste("/no/such/file".into()));
    rig.keys("enter");
    let (level, text) = rig.app.log.lines().last().unwrap();
    assert!(*level == Level::Error && text.contains("/no/such/file") && text.contains("check the name"), "{text}");
    assert_eq!(rig.app.prompt.answer().unwrap().pieces.concat(), "from a file", "the old prompt stays");
}

/// The document that is open and what is asked about it.
fn asked(rig: &Rig) -> &DocumentAsk {
    match rig.app.prompt.key() {
        Some(PromptSource::Document(ask)) => ask,
        other => panic!("{other:?}; log: {:?}", rig.app.log),
    }
}

#[test]
fn a_document_is_asked_about_and_asked_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("birds.md");
    std::fs::write(&path, "A heron stands.\n\nA boat waits.\n").unwrap();
    let mut rig = Rig::ready();
    rig.keys("d");
    assert!(text(&rig.frame(100, 30)).contains("‹ on ›"), "the model has a chat template");
    rig.act(Action::Paste(path.display().to_string()));
    rig.keys("tab");
    rig.type_text("What stands there?");
    rig.keys("enter");
    let told = "A heron stands.\n\nA boat waits.\n\n";
    let prompt = rig.app.prompt.answer().unwrap();
    assert_eq!(prompt.pieces.concat(), format!("user: {told}What stands there?\nassistant:"));
    assert!(!prompt.passages.is_empty() && prompt.passages.iter().all(|passage| !passage.text.contains('?')));
    assert_eq!((&asked(&rig).file, asked(&rig).question.as_deref()), (&path, Some("What stands there?")));
    assert_eq!(rig.app.run().unwrap().state, RunState::Done);
    assert!(
        matches!(rig.app.record.steps().last(), Some(Step::Run(_, PromptSource::Document(ask))) if ask == asked(&rig))
    );
    let table: toml::Table = longlens_tui::export::config(&rig.app).parse().unwrap();
    let saved = |key: &str| table["prompt"][key].as_str().unwrap_or_default();
    assert_eq!((saved("file"), saved("question")), (path.to_str().unwrap(), "What stands there?"));
    assert_eq!(table["prompt"]["chat"].as_bool(), Some(true));

    // the same document, another question: the keys go there, and letters take the place of what was answered
    rig.keys("d");
    rig.type_text("And what waits?");
    rig.keys("enter");
    assert_eq!((&asked(&rig).file, asked(&rig).question.as_deref()), (&path, Some("And what waits?")));
    rig.act(Action::Tick);
    assert_eq!(rig.kept.as_ref().unwrap().source.as_ref(), rig.app.prompt.key());
    // no chat, then no question
    rig.keys("d tab right enter");
    assert_eq!(rig.app.prompt.answer().unwrap().pieces.concat(), format!("{told}And what waits?"));
    rig.keys("d ctrl-u enter");
    assert_eq!(rig.app.prompt.key(), Some(&PromptSource::File(path)));
}

#[test]
fn what_was_typed_of_a_question_is_there_to_be_mended() {
    let mut rig = Rig::ready();
    let form = |rig: &Rig| match &rig.app.dialog {
        Some(Dialog::Document(form)) => form.ask(),
        other => panic!("{other:?}"),
    };
    rig.keys("d tab");
    rig.type_text("Who?");
    rig.keys("enter");
    let said = |rig: &Rig| rig.app.log.lines().last().unwrap().clone();
    assert!(said(&rig) == (Level::Error, said(&rig).1) && said(&rig).1.starts_with("no document is named"));
    rig.keys("shift-tab");
    rig.act(Action::Paste("/no/such/report.pdf".into()));
    rig.keys("enter");
    let (level, text) = said(&rig);
    assert!(level == Level::Error && text.contains("/no/such/report.pdf") && text.contains("check the name"), "{text}");
    let typed = form(&rig);
    assert_eq!((typed.file.to_str(), typed.question.as_deref()), (Some("/no/such/report.pdf"), Some("Who?")));
    assert!(matches!(rig.app.prompt.key(), Some(PromptSource::Needle(_))), "the old prompt stays");
    // closed and opened again, it is still there
    rig.keys("esc d");
    assert_eq!(form(&rig), typed);
    // somebody types something else when the file turns out to be none: that stays, and so does the question
    rig.key("enter");
    rig.key("p");
    rig.key("x");
    rig.settle();
    assert!(matches!(&rig.app.dialog, Some(Dialog::Text(editor)) if editor.text() == "x"), "{:?}", rig.app.dialog);
    rig.keys("esc d");
    assert_eq!(form(&rig), typed);
}

#[test]
fn a_question_of_several_lines_stays_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.txt");
    std::fs::write(&path, "A boat waits.").unwrap();
    let question = Some("Who waits?\nAnswer in one word.".to_owned());
    let ask = DocumentAsk { file: path, question, chat: None };
    let prompt = Some(PromptSource::Document(ask.clone()));
    let mut rig = Rig::with(longlens_tui::app::Options { prompt, ..options() }, lens());
    rig.settle();
    rig.keys("d");
    assert!(text(&rig.frame(100, 30)).contains("Who waits? Answer in one word."));
    rig.keys("tab right enter");
    assert_eq!(asked(&rig), &DocumentAsk { chat: Some(Chat::default()), ..ask });
}

#[test]
fn what_reading_a_document_warns_of_is_in_the_log() {
    let mut rig = Rig::ready();
    rig.app.update(Action::Do(Command::OpenFile));
    rig.app.update(Action::Paste("a.pdf".into()));
    let effects = rig.app.update(Action::Key(KeyEvent::from(KeyCode::Enter)));
    let Some(Effect::Ask(Ask::Prompt(id, source))) = effects.last() else { panic!("{effects:?}") };
    let built = PromptSource::Text("some text".into()).build(&longlens_core::scripted::ByteCodec).unwrap();
    let warnings = vec!["these pages have no text: 2\u{1b}[2J".to_owned()];
    let prompt = longlens_app::prompt::Prompt { source: source.clone(), warnings, ..built };
    rig.app.update(Action::Job(Event::Prompt(*id, Ok(std::sync::Arc::new(prompt)))));
    let told = (Level::Warning, "these pages have no text: 2␛[2J".to_owned());
    assert_eq!((rig.app.log.lines().last(), rig.app.log.notice()), (Some(&told), Some(&told)));
}

#[test]
fn a_trained_context_is_given_while_the_model_is_open() {
    let mut rig = Rig::ready();
    let capacity = |rig: &Rig| rig.app.verdict.as_ref().unwrap().forecast.capacity;
    assert_eq!(capacity(&rig), Capacity::Tokens(256));
    rig.app.controls.settings.rope = RopeScaling::parse("yarn:factor=2").ok();
    rig.keys("r P");
    let field = |rig: &mut Rig, text: &str| {
        select(rig, FieldId::TrainedContext);
        rig.keys("enter ctrl-u");
        rig.type_text(text);
        rig.keys("enter");
    };
    field(&mut rig, "1k");
    let run = rig.app.shown_run().unwrap();
    assert!(run.state == RunState::Done && run.record.trained_context == 1024, "{:?}", run.record);
    assert!(run.record.rope.contains("original=1024"), "{}", run.record.rope);
    assert!(run.text.contains("trained_context=1024"), "{}", run.text);
    assert_eq!((capacity(&rig), rig.app.model.spec.trained_context), (Capacity::Tokens(2048), 1024));
    assert_eq!(longlens_tui::export::grid(&rig.app).lengths[0], 1024, "grids begin there");
    // what was run before is told as it was
    let told = longlens_tui::export::of_view(&rig.app, &LossView, "x".into()).unwrap();
    let about = serde_json::to_string(&told.content.plot.about).unwrap();
    assert!(about.contains("original=256") && about.contains("original=1024"), "{about}");
    rig.act(Action::Tick);
    let session = serde_json::to_string(rig.kept.as_ref().unwrap()).unwrap();
    let resume = serde_json::from_str(&session).ok();
    let mut again = Rig::with(longlens_tui::app::Options { resume, prompt: None, ..options() }, lens());
    again.settle();
    assert_eq!(again.app.run().unwrap().record.trained_context, 1024);

    let n_runs = rig.app.runs.list.len();
    for refused in ["0", "3e9", "1.5"] {
        field(&mut rig, refused);
        let (level, said) = rig.app.log.lines().last().unwrap();
        let range = "is not a whole number from 1 to 2147483648";
        assert!(*level == Level::Error && said.contains(range) && rig.app.edit.is_some(), "{said}");
        rig.keys("esc");
    }
    assert_eq!((rig.app.runs.list.len(), rig.app.model.spec.trained_context), (n_runs, 1024));
    rig.keys("u");
    assert_eq!((rig.app.model.spec.trained_context, rig.app.run().unwrap().record.trained_context), (256, 256));
    rig.keys("U");
    field(&mut rig, "");
    assert_eq!((rig.app.controls.settings.trained_context, rig.app.model.spec.trained_context), (None, 256));
}

#[test]
fn what_a_config_leaves_open_is_no_warning_once_it_is_given() {
    let warned = |model: &mut ModelInfo| {
        model.warnings = vec!["the context is a guess".into(), "the weights are odd".into()];
        model.context_warnings = vec!["the context is a guess".into()];
    };
    let mut options = options();
    let told = |rig: &Rig| rig.app.log.lines().iter().filter(|(_, line)| line.contains("guess")).count();
    let mut rig = Rig::with(options.clone(), lens().with_model(warned));
    rig.settle();
    assert_eq!((told(&rig), rig.app.run().unwrap().record.warnings.len()), (1, 2));
    options.settings.trained_context = Some(512);
    let mut rig = Rig::with(options, lens().with_model(warned));
    rig.settle();
    assert_eq!((told(&rig), &rig.app.run().unwrap().record.warnings), (0, &vec!["the weights are odd".to_owned()]));
}

#[test]
fn a_typed_prompt_is_not_lost_and_a_long_paste_runs_at_once() {
    let mut rig = Rig::ready();
    rig.act(Action::Paste("one\rtwo".into()));
    rig.keys("esc p ctrl-s");
    assert_eq!(rig.app.prompt.answer().unwrap().pieces.concat(), "one\ntwo", "it came back, in two lines");
    rig.act(Action::Paste("long ".repeat(30_000)));
    assert!(rig.app.dialog.is_none() && rig.app.prompt.waiting().is_some());
}

#[test]
fn a_conversation_is_typed_and_comes_back_as_it_was() {
    let typed = "system: Be brief.\nuser: What is it?\nassistant: It is";
    let mut rig = Rig::ready();
    rig.act(Action::Paste(typed.into()));
    let shown = |rig: &mut Rig| text(&rig.frame(100, 30));
    assert!(shown(&mut rig).contains("ctrl-t conversation"));
    rig.keys("ctrl-t");
    let screen = shown(&mut rig);
    assert!(screen.contains("lines of system:, user:, assistant:") && screen.contains("3 turns"), "{screen}");
    // closed and opened again, it is still a conversation
    rig.keys("esc p ctrl-s");
    let prompt = rig.app.prompt.answer().unwrap();
    assert_eq!(prompt.pieces.concat(), typed, "the scripted model's template looks like what is typed");
    let PromptSource::Chat(said) = &prompt.source else { panic!("{:?}", prompt.source) };
    assert!(said.messages.len() == 3 && said.continue_final_message && !said.add_generation_prompt);
    rig.keys("p");
    rig.type_text(" so");
    rig.keys("ctrl-s");
    assert_eq!(rig.app.prompt.answer().unwrap().pieces.concat(), format!("{typed} so"));
    // no turns are no prompt, and the dialog stays
    rig.keys("p ctrl-l ctrl-s");
    assert!(matches!(&rig.app.dialog, Some(Dialog::Text(editor)) if editor.is_chat));
    assert!(rig.app.log.lines().last().unwrap().1.contains("the prompt is empty"));
    rig.act(Action::Paste("user: long\n".repeat(10_000)));
    assert!(matches!(rig.app.prompt.waiting(), Some(PromptSource::Chat(_))), "a long paste is what its dialog was for");
}

#[test]
fn needles_and_grids_are_put_into_the_chat_template() {
    let mut rig = Rig::ready();
    rig.keys("n up");
    assert!(text(&rig.frame(100, 30)).contains("‹ off ›"));
    rig.keys("right enter");
    let prompt = rig.app.prompt.answer().unwrap();
    assert_eq!(prompt.source.to_string(), "needle=512:0.5 chat=2024-07-26");
    assert!(prompt.pieces.concat().ends_with("What is the pass key?\nassistant: The pass key is"));
    assert_eq!(rig.app.run().unwrap().found, Some(true), "{}", rig.app.run().unwrap().output);
    rig.keys("n up left enter");
    assert_eq!(rig.app.prompt.answer().unwrap().source.to_string(), "needle=512:0.5");
    let set = |rig: &Rig, value: &str| {
        let fields = rig.app.fields();
        let field = fields.iter().find(|field| field.id == FieldId::GridChat).unwrap();
        rig.app.controls.with(field, value)
    };
    assert!(set(&rig, "maybe").is_err());
    rig.app.controls = set(&rig, "on").unwrap();
    rig.app.controls.grid =
        longlens_tui::fields::GridForm { up_to: 1, n_depths: 1, trials: 1, ..rig.app.controls.grid.clone() };
    rig.keys("g");
    let grid = rig.app.grids.shown().unwrap();
    assert!(grid.chat.is_some() && grid.cells[0].as_ref().unwrap().hits_tokens == 1, "{grid:?}");
    assert_eq!(GridRun::restored(1, grid.keep(), &rig.app.model.spec).unwrap().chat, grid.chat);
}

#[test]
fn a_grid_runs_any_task() {
    let mut rig = Rig::ready();
    let set = |rig: &mut Rig, value: &str| {
        let fields = rig.app.fields();
        let field = fields.iter().find(|field| field.id == FieldId::GridTask).unwrap();
        rig.app.controls.with(field, value).map(|controls| rig.app.controls = controls)
    };
    assert!(set(&mut rig, "niah_singel_1").unwrap_err().to_string().contains("niah_single_1"), "a near name is told");
    set(&mut rig, "passkey:depths=3").unwrap();
    let form = longlens_tui::fields::GridForm { up_to: 2, trials: 2, ..rig.app.controls.grid.clone() };
    rig.app.controls.grid = form;
    rig.keys("4");
    let shown = text(&rig.frame(120, 40));
    assert!(
        shown.contains("g runs passkey:depths=3,samples=2") && shown.contains("12 samples: lengths 256 512"),
        "{shown}"
    );
    rig.keys("g");
    let grid = rig.app.grids.shown().unwrap().clone();
    let cells = grid.shown();
    assert_eq!((cells.rows.len(), &cells.lengths[..]), (3, &[Some(256), Some(512)][..]));
    assert!(cells.cells.iter().all(|cell| cell.as_ref().is_some_and(|cell| cell.text == "100")), "{cells:?}");
    assert_eq!((grid.running, grid.n_done(), grid.n_in_all()), (false, 12, Some(12)));
    assert!(matches!(rig.app.record.steps().last(), Some(Step::Evaluate(_, asked)) if asked.lengths == [256, 512]));
    let shown = text(&rig.frame(120, 40));
    assert!(shown.contains("12 of 12 samples · score 100% · beyond 100%") && shown.contains("50%"), "{shown}");
    // it survives, and is exported
    let again = GridRun::restored(9, grid.keep(), &rig.app.model.spec).unwrap();
    assert_eq!(again.shown(), cells);
    let content = GridView.export(&rig.app).unwrap();
    assert_eq!(content.plot.table().unwrap().rows.len(), 2 * (1 + 3), "each length as a whole and by depth");
    // lengths that are too short for the task are left out
    set(&mut rig, "niah_single_1:mode=fixed,samples=1").unwrap();
    rig.app.controls.grid.up_to = 8;
    rig.keys("g");
    let grid = rig.app.grids.shown().unwrap();
    assert!(format!("{:?}", rig.app.log).contains("left out: a `niah_single_1` prompt cannot be 256 tokens long"));
    assert!(grid.n_done() > 0 && grid.n_in_all() == Some(grid.n_done()), "{grid:?}");
    // what repeats it does not ask for them
    let lengths: Vec<usize> = grid.shown().lengths.iter().flatten().copied().collect();
    assert!(!lengths.contains(&256) && !lengths.is_empty(), "{lengths:?}");
    assert!(matches!(rig.app.record.steps().last(), Some(Step::Evaluate(_, asked)) if asked.lengths == lengths));
    // a task without lengths has one column, and one that lacks its file says so
    set(&mut rig, "longbench_qasper").unwrap();
    rig.keys("g");
    assert!(format!("{:?}", rig.app.log).contains("is made from a file"));
    assert!(!rig.app.grids.shown().unwrap().running);
    let shown = text(&rig.frame(120, 40));
    assert!(shown.contains("not run; the log says why"), "{shown}");
    set(&mut rig, "").unwrap();
    assert_eq!(rig.app.controls.grid.task, "passkey");
}

#[test]
fn zooming_by_key_keeps_what_is_selected_in_view() {
    let mut rig = Rig::ready();
    rig.keys("2 + + + + +");
    let window = rig.app.window();
    let needle = &rig.app.prompt.answer().unwrap().needle.as_ref().unwrap().tokens;
    assert!(window.len < 20, "{window:?}");
    assert!((window.query..window.query + window.len).contains(&rig.app.query()), "{window:?}");
    assert!((window.key..window.key + window.len).contains(&usize::midpoint(needle.start, needle.end)), "{window:?}");
}

#[test]
fn answers_to_older_questions_are_passed_over() {
    let mut rig = Rig::ready();
    let chunk = |rig: &mut Rig, len: usize| {
        select(rig, FieldId::ChunkLen);
        rig.key("enter");
        rig.key("ctrl-u");
        for c in len.to_string().chars() {
            rig.key(&c.to_string());
        }
        rig.key("enter");
    };
    chunk(&mut rig, 32);
    chunk(&mut rig, 64);
    rig.settle();
    let (key, heads) = rig.app.heads.keyed().unwrap();
    assert_eq!((key.chunk_len, heads.chunk_len, rig.app.heads.is_stale()), (64, 64, false));
}

#[test]
fn a_prompt_that_the_settings_cannot_run_shows_nothing_old() {
    let mut rig = Rig::ready();
    rig.keys("long_heads");
    select(&mut rig, FieldId::Param("chunk_len"));
    rig.type_text("24");
    rig.keys("enter");
    assert!(rig.app.verdict.is_err());
    rig.act(Action::Paste("another prompt".into()));
    rig.keys("ctrl-s");
    assert!(rig.app.current.is_none() && rig.app.heads.answer().is_none() && rig.app.n_prompt() == 15);
    rig.frame(120, 40);
    rig.keys("u");
    assert_eq!(rig.app.run().unwrap().state, RunState::Done, "what is possible again runs");
}

#[test]
fn the_palette_finds_by_name_and_by_help() {
    let mut rig = Rig::ready();
    rig.keys(":");
    rig.type_text("longh");
    rig.keys("enter");
    assert_eq!(method(&rig.app), "long_heads");
    rig.keys(":");
    rig.type_text("high contrast");
    rig.keys("enter");
    assert_eq!(rig.app.theme.name, ThemeName::Light, "the theme's help names it");
}

#[test]
fn the_mouse_selects_drags_and_zooms() {
    let mut rig = Rig::ready();
    rig.keys("long_heads");
    rig.frame(140, 44);
    let at = |rig: &Rig, wanted: &dyn Fn(&longlens_tui::pen::Hit) -> bool| {
        let (area, _) = rig.app.seen.hits.iter().rev().find(|(_, hit)| wanted(hit)).expect("it is on the screen");
        (area.x + area.width / 2, area.y + area.height / 2)
    };
    let mouse = |rig: &mut Rig, kind, (column, row): (u16, u16)| {
        rig.act(Action::Mouse(MouseEvent { kind, column, row, modifiers: KeyModifiers::NONE }));
        rig.settle();
    };
    let (down, drag) = (MouseEventKind::Down(MouseButton::Left), MouseEventKind::Drag(MouseButton::Left));
    let field = rig.app.field_at(FieldId::Param("chunk_len")).unwrap();
    let place = at(&rig, &|hit| *hit == Hit::Field(field));
    mouse(&mut rig, down, place);
    assert_eq!((rig.app.layout.focus(), rig.app.field), (Focus::Controls, field));
    mouse(&mut rig, drag, (place.0 + 1, place.1));
    assert_eq!(param(&rig, "chunk_len"), "32", "a column to the right is one step up");
    mouse(&mut rig, MouseEventKind::Up(MouseButton::Left), place);
    mouse(&mut rig, drag, (place.0 + 9, place.1));
    assert_eq!(param(&rig, "chunk_len"), "32", "after the button is up nothing is dragged");

    let head = at(&rig, &|hit| *hit == Hit::Head(1, 2));
    mouse(&mut rig, down, head);
    assert_eq!((rig.app.controls.layer, rig.app.controls.head), (1, 2));
    let tab = at(&rig, &|hit| *hit == Hit::Tab(0, 1));
    mouse(&mut rig, down, tab);
    assert!(rig.app.layout.shows(&AttentionView));
    rig.frame(140, 44);
    let map = at(&rig, &|hit| *hit == Hit::Map);
    mouse(&mut rig, MouseEventKind::ScrollUp, map);
    let window = rig.app.zoom.window().expect("the wheel zooms");
    assert!(window.len < rig.app.n_prompt());
    rig.frame(140, 44);
    assert_eq!(rig.app.map.key().unwrap().window, Some(window), "the part was computed");
    let token = at(&rig, &|hit| matches!(hit, Hit::Token(_)));
    mouse(&mut rig, down, token);
    assert!(rig.app.controls.query.is_some());
}

#[test]
fn a_run_is_kept_under_a_name_and_comes_back_in_another_sitting() {
    let mut rig = Rig::ready();
    rig.keys("dual_chunk P R");
    rig.type_text("baseline");
    rig.keys("enter long_heads g");
    rig.act(Action::Tick);
    let session = rig.kept.clone().expect("a change is kept with the next tick");
    assert!(!session.clean && session.runs.list.len() == 1, "pinned runs alone are kept");
    let text = serde_json::to_string(&session).unwrap();
    let options =
        longlens_tui::app::Options { resume: serde_json::from_str(&text).ok(), prompt: None, ..common::options() };
    let mut again = Rig::with(options, common::lens());
    again.settle();
    assert_eq!(method(&again.app), "long_heads");
    let (grid, kept) = (rig.app.grids.shown().unwrap(), again.app.grids.shown().unwrap());
    assert_eq!((&kept.cells, &kept.lengths, &kept.text, kept.running), (&grid.cells, &grid.lengths, &grid.text, false));
    let back = &again.app.runs.list[0];
    assert_eq!((back.title(), back.pinned, back.nll.len() > 500), ("baseline", true, true));
    assert_eq!(again.app.prompt.answer().unwrap().source, rig.app.prompt.answer().unwrap().source);
    // restored by one key
    again.keys("shift-tab down enter");
    assert_eq!(method(&again.app), "dual_chunk");
    assert!(again.app.runs.list.iter().filter(|run| run.text.contains("dual_chunk")).count() == 2);
}

#[test]
fn reuse_kv_keeps_the_base_and_says_so() {
    let mut rig = Rig::ready();
    rig.keys("w long_heads");
    let run = rig.app.run().unwrap();
    assert_eq!(run.record.mode, "reuse-kv");
    assert_eq!(run.base.as_ref().unwrap().method.name(), "full");
    // a query before the last token computes more anew
    rig.keys("{");
    let asked = rig.asked.iter().rev().find_map(|ask| match ask {
        Ask::Run(run) => run.query,
        _ => None,
    });
    assert_eq!(asked, Some(rig.app.query()));
    assert_eq!(rig.app.heads.answer().unwrap().query, rig.app.query());
    rig.keys("w");
    assert_eq!(rig.app.run().unwrap().record.mode, "re-prefill");
}

#[test]
fn cancelling_keeps_what_there_was() {
    let mut rig = Rig::ready();
    rig.frame(120, 40);
    let before = rig.app.heads.key().cloned();
    rig.key("long_heads");
    rig.key("ctrl-c");
    rig.settle();
    assert!(!rig.app.work.is_busy() && rig.app.heads.answer().is_some());
    // the same can be asked again
    rig.keys("r");
    assert_eq!(rig.app.run().unwrap().state, RunState::Done);
    assert_ne!(rig.app.heads.key().cloned(), before);
}

#[test]
fn the_readme_lists_every_key() {
    let readme = include_str!("../../../README.md");
    let keys = longlens_tui::command::markdown();
    assert!(readme.contains(&keys), "put this into the README:\n{keys}");
}

#[test]
fn steps_are_written_as_the_program_has_it() {
    let mut rig = Rig::ready();
    rig.keys("P w long_heads");
    assert!(rig.app.shown_run().unwrap().base.is_some());
    let folder = tempfile::tempdir().unwrap();
    let save_as = |rig: &mut Rig, name: &str| {
        rig.keys("ctrl-r ctrl-u");
        rig.act(Action::Paste(folder.path().join(name).display().to_string()));
        rig.keys("enter");
    };
    save_as(&mut rig, "steps.txt");
    let (_, said) = rig.app.log.lines().last().unwrap();
    assert!(said.ends_with("no such form (end the name in .steps)"), "{said}");
    assert!(matches!(rig.app.dialog, Some(Dialog::Ask(Question::Record, _))), "the name can be mended");
    rig.keys("esc");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);

    save_as(&mut rig, "a.steps");
    let text = std::fs::read_to_string(folder.path().join("a.steps")).unwrap();
    assert_eq!(text, format!("{:#?}", rig.app.record.steps()));
    // the change to reuse-kv ran the prompt too
    assert_eq!((text.matches("Run(").count(), text.matches("ReuseKv").count()), (3, 2), "{text}");
}

#[test]
fn a_run_without_a_cache_to_reuse_is_recorded_as_what_it_is() {
    let mut options = options();
    options.settings.swap = Swap::ReuseKv;
    let mut rig = Rig::with(options, lens());
    rig.settle();
    let swaps = |rig: &Rig| -> Vec<Swap> {
        let swap = |step: &Step| if let Step::Run(settings, _) = step { Some(settings.swap) } else { None };
        rig.app.record.steps().iter().filter_map(swap).collect()
    };
    assert_eq!(swaps(&rig), [Swap::RePrefill]);
    rig.keys("long_heads");
    assert_eq!(swaps(&rig), [Swap::RePrefill, Swap::ReuseKv]);
}

#[test]
fn what_gave_way_to_a_prompt_that_cannot_be_built_is_asked_for_again() {
    let mut rig = Rig::ready();
    let inspections =
        |effects: &[Effect]| effects.iter().filter(|effect| matches!(effect, Effect::Ask(Ask::Inspect(_)))).count();
    let key = |code| Action::Key(KeyEvent::from(code));
    // nothing answers here: the inspection is on its way when a file is named that is not there
    let moved = rig.app.update(Action::Do(Command::PreviousQuery));
    assert!(inspections(&moved) > 0 && rig.app.heads.is_stale());
    rig.app.update(Action::Do(Command::OpenFile));
    rig.app.update(Action::Paste("nowhere.txt".into()));
    let effects = rig.app.update(key(KeyCode::Enter));
    let prompt = effects.iter().find_map(|effect| match effect {
        Effect::Ask(Ask::Prompt(id, _)) => Some(*id),
        _ => None,
    });
    let failed = Event::Prompt(prompt.expect("a prompt is built"), Err(Problem::new("no such file", None)));
    assert_eq!(inspections(&rig.app.update(Action::Job(failed))), inspections(&moved));
}

#[test]
fn changes_of_heads_are_typed_as_they_are_written() {
    let mut rig = Rig::ready();
    let typed: Vec<String> =
        "0h1=off/1h0-2=streaming:n_sink=2,window=8/0h0=hide:3-9".chars().map(String::from).collect();
    rig.keys("F x down enter ctrl-u");
    rig.keys(&typed.join(" "));
    rig.keys("enter");
    let method = &rig.app.controls.settings.method;
    assert_eq!(method.to_string(), "full/0h1=off/1h0-2=streaming:n_sink=2,window=8/0h0=hide:3-9");
    assert_eq!(rig.app.switched_off(), [(0, 1)]);
    rig.keys("X");
    assert_eq!(rig.app.controls.settings.method.to_string(), "full");
}

#[test]
fn a_change_that_is_taken_back_leaves_no_line_twice() {
    let methods = |rig: &Rig| rig.app.runs.list.iter().map(|run| run.settings.method.to_string()).collect::<Vec<_>>();
    let mut rig = Rig::ready();
    rig.keys("x X");
    assert_eq!(methods(&rig), ["full/0h0=off", "full"]);
    rig.keys("u");
    assert_eq!(methods(&rig), ["full", "full/0h0=off"]);
    // what somebody runs again, keeps or compares stays
    rig.keys("r");
    assert_eq!(methods(&rig), ["full", "full/0h0=off", "full/0h0=off"]);
    rig.keys("P X");
    assert_eq!(methods(&rig), ["full/0h0=off", "full/0h0=off", "full"]);
    rig.keys("x");
    let pinned = rig.app.runs.list.iter().filter(|run| run.pinned).count();
    assert_eq!((methods(&rig), pinned), (["full/0h0=off", "full", "full/0h0=off"].map(str::to_owned).to_vec(), 1));
}

/// A model of 30 layers of 9 heads, of which head 2 of layer 20 finds the needle.
fn many_heads() -> Rig {
    let lens = lens().with_model(|model| (model.spec.n_layers, model.spec.n_heads, model.spec.n_kv_heads) = (30, 9, 3));
    let mut rig = Rig::with(
        options(),
        lens.attending(|layer, head, _, key| {
            let fetches = (layer, head) == (20, 2) && common::NEEDLE.contains(&key);
            if fetches { 3.0 } else { 0.01 + (layer * 9 + head) as f32 / 1000.0 * ((key % 7) as f32) }
        }),
    );
    rig.settle();
    rig
}

#[test]
fn many_heads_stand_apart_in_a_small_terminal_and_the_picked_one_is_marked() {
    let mut rig = many_heads();
    rig.keys("6 tab tab tab tab");
    let frame = |rig: &mut Rig| text(&rig.frame(80, 24));
    let shown = frame(&mut rig);
    let row = |text: &str, layer: &str| text.lines().find(|line| line.contains(layer)).unwrap().to_owned();
    let of = row(&shown, "│ L20 ");
    assert_eq!((rig.app.controls.layer, rig.app.controls.head), (20, 2), "the best is picked");
    assert!(of.contains("▸.4") && of.contains('◂'), "{shown}");
    // no two numbers touch
    let apart = of.replace(['▸', '◂'], " ");
    let cells: Vec<&str> = apart.rsplit("L20").next().unwrap().split_whitespace().take(9).collect();
    assert!(cells.len() == 9 && cells.iter().all(|cell| cell.chars().count() == 3), "{of}");
    assert!(!shown.contains("off"), "{shown}");

    // what is switched off is told beside its number, in the line of the best, and in words
    rig.keys("x");
    let shown = frame(&mut rig);
    let of = row(&shown, "│ L20 ");
    assert!(of.contains("▸×4") && of.contains('◂'), "{shown}");
    assert!(shown.contains("top: L20H2× ") && shown.contains("× "), "{shown}");
    assert!(shown.lines().any(|line| line.contains("on the needle") && line.contains("× ")), "{shown}");
    rig.keys(">");
    assert!(row(&frame(&mut rig), "│ L20 ").contains("×4"), "{}", frame(&mut rig));
    // with more room the list beside the panels and their numbers tell it too
    let wide = text(&rig.frame(160, 48));
    assert!(wide.contains("L20H2×") && wide.contains("× switched off") && wide.contains("× 0.4"), "{wide}");
    rig.keys("1");
    let chunks = text(&rig.frame(160, 48));
    assert!(chunks.contains("L20 H2×") && chunks.contains("× switched off"), "{chunks}");
    rig.keys("2 <");
    assert!(text(&rig.frame(160, 48)).contains("layer 20 · head 2 × off"));
}

#[test]
fn a_grid_says_how_long_it_will_take_before_it_begins() {
    let mut rig = Rig::ready();
    rig.keys("4");
    let shown = text(&rig.frame(120, 40));
    assert!(shown.contains("; about ") && shown.contains(" in all"), "{shown}");
    rig.key("g");
    let said = format!("{:?}", rig.app.log);
    assert!(said.contains("a grid of 40 prompts, about ") && said.contains("; g stops it"), "{said}");
}

#[test]
fn a_grid_of_hours_is_not_started_by_one_key() {
    let mut rig = Rig::ready();
    rig.app.controls.grid.trials = 1 << 34;
    rig.key("g");
    let said = format!("{:?}", rig.app.log);
    assert!(said.contains(": g again starts it; up_to, depths and trials make it smaller"), "{said}");
    assert!(rig.app.grids.list().is_empty());
    rig.app.controls.grid.trials = 1;
    rig.key("g");
    assert_eq!(rig.app.grids.list().len(), 1);
}

#[test]
fn the_line_at_the_bottom_says_what_the_selected_field_takes() {
    let mut rig = Rig::ready();
    rig.keys("x");
    let mut hints = |id: FieldId| {
        select(&mut rig, id);
        text(&rig.frame(160, 48)).lines().last().unwrap().to_owned()
    };
    assert!(hints(FieldId::Heads).contains("enter edits the text"));
    assert!(hints(FieldId::Layer).contains("digits type"));
    assert!(!hints(FieldId::Method).contains("digits"));
}

#[test]
fn heads_are_listed_by_what_they_do_and_the_best_is_a_key_away() {
    let mut rig = Rig::ready();
    let rows = |rig: &mut Rig| {
        let text = text(&rig.frame(120, 40));
        let shown = |line: &str| line.find('L').map(|at| line[at..].chars().take(5).collect::<String>());
        let rows = text.lines().filter(|line| line.contains("│ L")).filter_map(shown).take(8).collect::<Vec<_>>();
        (text, rows)
    };
    let (before, by_layer) = rows(&mut rig);
    assert_eq!((&by_layer[0][..5], before.contains("· by ")), ("L0 H0", false), "{before}");
    rig.keys("t");
    let (after, by_needle) = rows(&mut rig);
    assert_eq!(&by_needle[0][..5], "L1 H2", "{after}");
    assert!(after.contains("by needle attention (t)"), "{after}");
    // from the first row down is the second best, and the key of the best goes through them
    rig.keys("& tab down");
    let selected = (rig.app.controls.layer, rig.app.controls.head);
    assert_eq!(format!("L{} H{}", selected.0, selected.1), by_needle[1]);
    rig.keys("<");
    rig.act(Action::Do(Command::BestHead));
    assert_eq!((rig.app.controls.layer, rig.app.controls.head), (1, 2));
    rig.keys("t");
    let (by_entropy, _) = rows(&mut rig);
    assert!(by_entropy.contains("by entropy (t)") && by_entropy.contains("nats"), "{by_entropy}");
    rig.keys("t t");
    assert_eq!(rows(&mut rig).1, by_layer);
}

#[test]
fn a_map_of_few_tokens_has_their_words_at_both_axes() {
    let mut rig = Rig::ready();
    rig.keys("2 + + + + +");
    let shown = text(&rig.frame(120, 44));
    let window = rig.app.window();
    assert!(window.len <= 16, "{window:?}");
    for query in window.query..window.query + window.len {
        let word: String = rig.app.piece(query).trim().chars().take(4).collect();
        assert!(shown.contains(&word), "{word} in\n{shown}");
    }
    // a smaller pane has numbers again
    let small = text(&rig.frame(80, 24));
    assert!(small.contains(&window.query.to_string()), "{small}");
}

#[test]
fn how_long_a_prompt_takes_is_told_once_one_was_measured() {
    let mut rig = Rig::new();
    assert_eq!(rig.app.seconds, None);
    rig.settle();
    assert!(rig.app.seconds.is_some_and(|seconds| seconds > 0.0));
    let shown = text(&rig.frame(130, 40));
    assert!(shown.contains("capacity") && shown.contains("· ~1 s"), "{shown}");
    // and while one runs, how much of it is left
    let progress = longlens_app::worker::Progress { what: "prefill", done: 25, total: 100, seconds: 20.0, before: 0 };
    rig.key("r");
    rig.act(Action::Job(longlens_app::worker::Event::Progress(progress)));
    let running = text(&rig.draw(130, 40));
    assert!(running.contains("prefill  25% · 1 min left"), "{running}");
}
