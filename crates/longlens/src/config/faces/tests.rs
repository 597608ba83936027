//! One description serves every way to set a setting: each is accepted, refused and printed alike.

use std::path::Path;

use longlens_app::prompt::PromptSource;
use longlens_app::settings::Settings;
use longlens_app::settings::params::{self, Given, TOP_LEVEL};
use longlens_app::steps::{Start, Step};
use longlens_core::lens::ModelInfo;
use longlens_core::setting::{Kind, Param, Value};
use longlens_notebook::interpreter::Nobody;
use longlens_notebook::session::Session;
use longlens_notebook::steps::cells;
use longlens_tui::fields::{Around, Controls, FieldId};

use super::super::File;
use crate::args::{Cli, Command, GenerateArgs, language};
use crate::backend;
use crate::misuse;
use crate::steps::command;

/// Texts that a setting takes and texts that it refuses.
fn texts(kind: &Kind) -> (Vec<String>, Vec<String>) {
    let texts = |numbers: &[f64]| numbers.iter().map(ToString::to_string).collect::<Vec<_>>();
    let (taken, refused) = match kind {
        Kind::Count(min) => (vec![*min as f64, 1000.0], vec![*min as f64 - 1.0, 1.5, 1e12]),
        Kind::Whole(min, max) => (vec![*min as f64, *max as f64], vec![*min as f64 - 1.0, 1.5, *max as f64 + 1.0]),
        Kind::Real(min) => (vec![*min, 0.7], vec![min - 0.5, 2e9]),
        Kind::Between(min, max) => (vec![*min, 0.05, *max], vec![min - 0.5, max + 0.5]),
        Kind::Above(above, max) => (vec![above + 0.05, *max], vec![*above, max * 2.0]),
        Kind::Word(words) => return (words.iter().map(|word| (*word).to_owned()).collect(), vec!["some".to_owned()]),
        Kind::OffOr(_) | Kind::Text | Kind::Parts => panic!("no setting of a text is {kind}"),
    };
    (texts(&taken), texts(&refused))
}

/// The flags of `generate` with one more.
fn flag(param: &Param, text: &str) -> Result<GenerateArgs, String> {
    let flag = format!("--{}={text}", param.name.replace('_', "-"));
    generate(["longlens", "generate", "--prompt", "a", &flag])
}

fn generate<'a>(words: impl IntoIterator<Item = &'a str>) -> Result<GenerateArgs, String> {
    let cli: Cli = misuse::parse(words).map_err(|error| error.to_string())?;
    match cli.command {
        Some(Command::Generate(args)) => Ok(args),
        other => panic!("{other:?}"),
    }
}

/// The settings that flags name.
fn by_flags(args: &GenerateArgs) -> Given {
    [args.common.given(), args.sampling.given()].concat()
}

/// Settings by name.
fn named(given: &Given) -> Vec<(&str, &Value)> {
    given.iter().map(|(param, value)| (param.name, value)).collect()
}

/// A value as configs and cells have it: words in quotes.
fn written(param: &Param, text: &str) -> String {
    if is_word(param) { format!("\"{text}\"") } else { text.to_owned() }
}

fn is_word(param: &Param) -> bool {
    matches!(param.kind, Kind::Word(_))
}

/// The settings that a config file with one line names.
fn by_toml(param: &Param, text: &str) -> Result<Given, String> {
    let table = if TOP_LEVEL.contains(&param.name) { "" } else { "[sampling]\n" };
    let file: Result<File, _> = toml::from_str(&format!("{table}{} = {}\n", param.name, written(param, text)));
    file.map(|file| file.given()).map_err(|error| error.to_string())
}

/// The controls of the workbench after a text was typed into a field.
fn by_field(model: &ModelInfo, param: &Param, text: &str) -> Result<Settings, String> {
    let fields = Controls::new(Settings::default()).fields(&around(model));
    let shown =
        fields.iter().find(|field| field.id == FieldId::Setting(param.name)).expect("every setting has a field");
    assert_eq!((shown.label.as_str(), shown.help, &shown.range), (param.name, param.help, &param.kind.to_string()));
    field(model, shown.id, text)
}

/// The controls after a text was typed into one of their fields.
fn field(model: &ModelInfo, id: FieldId, text: &str) -> Result<Settings, String> {
    let controls = Controls::new(Settings::default());
    let fields = controls.fields(&around(model));
    let field = fields.iter().find(|field| field.id == id).expect("the field is there");
    controls.with(field, text).map(|controls| controls.settings).map_err(|problem| problem.message)
}

fn around(model: &ModelInfo) -> Around<'_> {
    Around { model, n_prompt: 8, n_fed: 8, default_query: 7, chunk_len: 4 }
}

#[test]
fn settings_are_accepted_refused_and_printed_alike() {
    let model = backend::outline("embedded", longlens_model::Options::default()).unwrap();
    let mut session = session();
    for param in params::text() {
        let usual = Settings::default().get(param);
        assert_eq!(param.default.to_string(), usual.to_string(), "{}", param.name);
        let (taken, refused) = texts(&param.kind);
        for text in taken {
            let value = param.read(&text).unwrap();
            let mut settings = Settings::default();
            settings.set(param, &value).unwrap();
            assert_eq!(named(&by_flags(&flag(param, &text).unwrap())), [(param.name, &value)], "{text}");
            assert_eq!(named(&by_toml(param, &text).unwrap()), [(param.name, &value)], "{text}");
            assert_eq!(by_field(&model, param, &text).unwrap(), settings, "{}: {text}", param.name);
            printed(&settings, &model, param, &value);
            // options are read before the method, whose name keeps this call from running
            let error = option(&mut session, param, &text);
            assert!(error.contains("unknown method `no_method`"), "{}: {text}: {error}", param.name);
        }
        for text in refused {
            let sentence = format!("{} = {text} is not {}", param.name, param.kind);
            assert_eq!(param.read(&text).unwrap_err().to_string(), sentence);
            for said in [
                flag(param, &text).unwrap_err(),
                by_toml(param, &text).unwrap_err(),
                by_field(&model, param, &text).unwrap_err(),
            ] {
                assert!(said.contains(&sentence), "{said}");
            }
            let said = option(&mut session, param, &text);
            let came = if is_word(param) { "text" } else { "number" };
            let expected = format!("option `{}` of `run` must be {}, not the {came}", param.name, param.kind);
            assert!(said.contains(&expected), "{said}");
        }
        for said in [
            flag(param, "many").unwrap_err(),
            by_toml(param, if is_word(param) { "many" } else { "\"many\"" }).unwrap_err(),
        ] {
            assert!(said.contains(&format!("{} = many is not {}", param.name, param.kind)), "{said}");
        }
    }
}

/// Where cells run.
fn session() -> Session {
    crate::commands::language::session(&language::SessionArgs::default(), false, &Nobody::out()).unwrap()
}

/// What a cell says of an option.
fn option(session: &mut Session, param: &Param, text: &str) -> String {
    let cell = format!("run(\"a\", \"no_method\", #{{ {}: {} }})", param.name, written(param, text));
    session.evaluate(&cell).map_or_else(|error| error.to_string(), |value| value.to_string())
}

/// Commands and cells that the workbench writes name the value as flags and options take it.
fn printed(settings: &Settings, model: &ModelInfo, param: &'static Param, value: &Value) {
    let start = Start { model: "embedded".into(), ..Start::default() };
    let step = Step::Run(settings.clone(), PromptSource::File("a.txt".into()));
    let line = command(&start, &step, &model.spec);
    let mut again = Settings::default();
    again.lay_over(&by_flags(&generate(line.split_whitespace()).unwrap())).unwrap();
    assert_eq!(&again, settings, "{line}");
    let cell = cells(Path::new("steps.rhai"), &start, &[step], &model.spec);
    let option = format!("{}: {}", param.name, param.literal(value));
    let is_usual = Settings::default().get(param) == *value;
    assert!(is_usual || cell.contains(&option), "{option}: {cell}");
}

#[test]
fn a_trained_context_is_one_setting_for_flags_configs_cells_and_fields() {
    let (param, mut session) = (&params::TRAINED_CONTEXT, session());
    let model = backend::outline("embedded", longlens_model::Options::default()).unwrap();
    let by_field = |text: &str| field(&model, FieldId::TrainedContext, text).map(|settings| settings.trained_context);
    for text in ["0", "2147483649", "1.5"] {
        let sentence = format!("trained_context = {text} is not a whole number from 1 to 2147483648");
        let by_toml = toml::from_str::<File>(&format!("trained_context = {text}\n")).unwrap_err().to_string();
        for said in [flag(param, text).unwrap_err(), by_toml, by_field(text).unwrap_err()] {
            assert!(said.contains(&sentence), "{said}");
        }
        let said = session.evaluate(&format!("open(\"embedded\", #{{ trained_context: {text} }})")).unwrap_err();
        let expected = "option `trained_context` of `open` must be a whole number from 1 to 2147483648, not the number";
        assert!(said.to_string().contains(expected), "{said}");
    }
    // as a session's file may have it
    let kept = Settings { trained_context: Some(0), ..Settings::default() };
    let sentence = "trained_context = 0 is not a whole number from 1 to 2147483648";
    assert_eq!(kept.setup(&model.spec, 8).unwrap_err().to_string(), sentence);
    let by_toml: File = toml::from_str("trained_context = \"2k\"\n").unwrap();
    let by_flag = flag(param, "2k").unwrap().common.opening.trained_context;
    assert_eq!((&by_flag, &by_toml.trained_context), (&Some(Value::Number(2048.0)), &by_flag));
    assert_eq!((by_field("2k"), by_field("")), (Ok(Some(2048)), Ok(None)));
}
