//! `longlens score`: predictions scored as the scripts of benchmarks do.

use std::fmt::Write;
use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use longlens_eval::evaluate::number;
use longlens_eval::predictions::{PredictionFile, score_file};
use longlens_eval::scorers::{SCORERS, score_lines};
use serde_json::{Value, json};

use crate::args::ScoreArgs;
use crate::failure::Failure;
use crate::inputs::shown;
use crate::terminal::Terminal;

pub fn run(args: &ScoreArgs) -> Result<(), Failure> {
    if let Some(path) = &args.pairs {
        return pairs(path, args);
    }
    let terminal = Terminal::new(args.json);
    let Some(path) = &args.predictions else { return list(&terminal, args.json) };
    let file = PredictionFile {
        path,
        task: args.task.as_deref(),
        source: args.source.as_deref(),
        references: args.references.as_deref(),
        scorer: args.scorer.as_deref(),
        prediction_field: args.prediction_field.as_deref(),
        answer_field: args.answer_field.as_deref(),
    };
    let scored = score_file(file, args.mode)?;
    terminal.result(&json!({ "file": path.display().to_string(), "mode": args.mode, "scored": scored }))?;
    if args.json {
        return Ok(());
    }
    let lines: Vec<String> = match &scored.score {
        Value::Array(lines) => {
            lines.iter().map(|line| line.as_str().map_or_else(|| line.to_string(), str::to_owned)).collect()
        }
        score => vec![score.to_string()],
    };
    let field = scored.field.as_ref().map_or(String::new(), |field| format!(" in `{field}`"));
    terminal.note(format_args!(
        "{}: {} of {} predictions{field}, {}",
        scored.task,
        scored.scorer,
        scored.n_predictions,
        args.mode.name()
    ))?;
    let n_raised = scored.each.iter().filter(|score| number(score).is_none()).count();
    if n_raised > 0 {
        terminal.note(format_args!(
            "of {n_raised} the script raises an exception: they count 0 here (--json names them)"
        ))?;
    }
    lines.iter().try_for_each(|line| terminal.say(line))
}

/// A line for every line, as soon as it is scored. What follows the first wrong one is not read.
fn pairs(path: &Path, args: &ScoreArgs) -> Result<(), Failure> {
    let terminal = Terminal::new(false);
    let mut unread = None;
    let tell = |told: &Value| match terminal.stream(&format!("{told}\n")) {
        Ok(()) => !terminal.is_cancelled(),
        Err(failure) => {
            unread = Some(failure);
            false
        }
    };
    if shown(path) == path {
        let file = File::open(path).map_err(|error| Failure::io("read", path, &error))?;
        score_lines(path, BufReader::new(file), args.mode, tell)?;
    } else {
        score_lines(shown(path), std::io::stdin().lock(), args.mode, tell)?;
    }
    match unread {
        Some(failure) => Err(failure),
        None if terminal.is_cancelled() => Err(Failure::interrupted()),
        None => Ok(()),
    }
}

fn list(terminal: &Terminal, is_json: bool) -> Result<(), Failure> {
    let scorers = SCORERS.iter().map(|scorer| {
        json!({ "name": scorer.name, "scale": scorer.scale, "summary": scorer.summary, "source": scorer.source, "fixed": scorer.fixed,
            "fields": scorer.extras, "is_aggregate": scorer.is_aggregate })
    });
    terminal.result(&scorers.collect::<Vec<_>>())?;
    if is_json {
        return Ok(());
    }
    let mut text = String::new();
    for scorer in SCORERS {
        let _ = writeln!(text, "{}  {}, up to {}", scorer.name, scorer.summary, scorer.scale);
        let _ = writeln!(text, "    {}", scorer.source);
        let what = if scorer.is_aggregate { "a whole data set" } else { "one prediction" };
        let fields = ["id", "scorer", "prediction", "references"].iter().chain(scorer.extras).copied();
        let _ = writeln!(text, "    a line is {what}: {}", fields.collect::<Vec<_>>().join(", "));
        if !scorer.fixed.is_empty() {
            let _ = writeln!(text, "    fixed: {}", scorer.fixed);
        }
    }
    text.push_str("A field with `?` may be missing.");
    terminal.say(text)
}
