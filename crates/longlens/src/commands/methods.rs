//! `longlens methods`: the catalog, from the same definition that parses it.

use std::fmt::Write;

use longlens_core::methods::INFOS;
use longlens_core::nearest::nearest;
use longlens_core::rope::SCALINGS;
use longlens_core::setting::Info;
use serde_json::json;

use crate::args::MethodsArgs;
use crate::failure::Failure;
use crate::terminal::Terminal;

pub fn run(args: &MethodsArgs) -> Result<(), Failure> {
    let terminal = Terminal::new(args.json);
    let all: Vec<&Info> = INFOS.iter().chain(SCALINGS.iter()).copied().collect();
    let shown = match &args.name {
        None => all,
        Some(name) => vec![*all.iter().find(|info| info.name == name).ok_or_else(|| unknown(name, &all))?],
    };
    terminal.result(&shown.iter().map(|info| describe_json(info)).collect::<Vec<_>>())?;
    if args.json {
        return Ok(());
    }
    let mut text = String::new();
    for info in shown {
        if args.name.is_none() {
            if info.name == INFOS[0].name {
                text.push_str("Attention methods (--method)\n\n");
            } else if info.name == SCALINGS[0].name {
                text.push_str("RoPE scalings (--rope)\n\n");
            }
        }
        describe(info, &mut text);
    }
    text.push_str("Write a method as `name:key=value,key=value`, in TOML as that text or as a table with `name`.");
    terminal.say(text)
}

fn unknown(name: &str, all: &[&Info]) -> Failure {
    let names = all.iter().map(|info| info.name);
    let help = match nearest(name, names.clone()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("one of: {}", names.collect::<Vec<_>>().join(", ")),
    };
    Failure::usage(format!("unknown method or RoPE scaling `{name}`"), help)
}

/// Name, parameters and defaults of an entry, in lines.
pub fn describe(info: &Info, text: &mut String) {
    let _ = writeln!(text, "  {}  {}: {}", info.name, info.title, info.summary);
    let _ = writeln!(text, "      {}", info.source);
    for param in info.params {
        let alias = if param.alias.is_empty() || param.alias == param.name {
            String::new()
        } else {
            format!(" [{}]", param.alias)
        };
        let _ =
            writeln!(text, "      {:<17} {}; {}; default {}{alias}", param.name, param.help, param.kind, param.default);
    }
    text.push('\n');
}

/// The same as JSON.
pub fn describe_json(info: &Info) -> serde_json::Value {
    let params: Vec<_> = info
        .params
        .iter()
        .map(|param| {
            json!({
                "name": param.name, "authors_name": param.alias, "accepts": param.kind.to_string(),
                "default": param.default.to_string(), "help": param.help,
            })
        })
        .collect();
    json!({ "name": info.name, "title": info.title, "source": info.source, "summary": info.summary, "parameters": params })
}
