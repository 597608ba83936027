//! What a model predicts: next tokens with their probabilities, and logits.

use std::rc::Rc;

use longlens_core::lens::{Setup, TextCodec};
use longlens_eval::generate::PieceDecoder;
use rhai::Dynamic;
use rhai::plugin::*;

use crate::functions::calls::{self, RunRequest, index};
use crate::host::{Returned, host, raise};
use crate::options::Options;
use crate::values::predicted::Asked;
use crate::values::{Run, Trace, to_prompt};

#[export_module]
#[allow(clippy::needless_pass_by_value)] // the macro hands values over
pub mod functions {
    use rhai::{Array, Dynamic, Map};

    use super::{Positions, asked, chosen, known, texts};
    use crate::functions::calls::count;
    use crate::host::{Returned, host};
    use crate::options::Options;
    use crate::table::{Datum, Table as Rows};
    use crate::values::{Table, TableValue};

    /// The `n` most probable next tokens, with logits and probabilities: behind a prompt or a text, behind the prompt of a run, or
    /// behind the token that a trace looks from.
    ///
    /// ```rhai
    /// next_tokens("One two three one two", 5)
    /// ```
    #[rhai_fn(name = "next_tokens", return_raw)]
    pub fn next_tokens(context: NativeCallContext, of: Dynamic, n: i64) -> Returned<Table> {
        next_tokens_with(context, of, n, Map::new())
    }

    /// The same with options: `position` (behind which token, from 0), and for a prompt or a text `method`, `rope`, `layer_windows`,
    /// `prefill_chunk` and `model` (a handle or a name, for this call alone).
    ///
    /// ```rhai
    /// next_tokens("One two three one two", 3, #{ position: 2, method: "streaming:window=32" })
    /// ```
    #[rhai_fn(name = "next_tokens", return_raw)]
    pub fn next_tokens_with(context: NativeCallContext, of: Dynamic, n: i64, options: Map) -> Returned<Table> {
        let n = count("n", n, 1)?;
        let mut options = Options::new("next_tokens", options, &known(&of, "position"))?;
        let asked = asked(&context, &of, &mut options)?;
        let position = options.count("position")?.map_or(Ok(asked.usual), |at| chosen(&asked, at as i64))?;
        let predicted = asked.predict(&host(&context), vec![position])?;
        let best = predicted.best(0, n);
        let pieces = texts(&asked, position, &best)?;
        let rows = best.iter().zip(pieces).map(|((id, logit, probability), text)| {
            [
                ("token", Datum::Text(text)),
                ("id", Datum::Int(i64::from(*id))),
                ("probability", Datum::Real(*probability)),
                ("logit", Datum::Real(f64::from(*logit))),
            ]
        });
        let (table, records) = (Rows::from_records(rows), vec![predicted.record]);
        let protocol = format!("behind token {position}: {:?}", super::text_at(&asked, position)?);
        Ok(Table(TableValue { table, records, protocol, ..TableValue::default() }.into()))
    }

    /// Logits behind a prompt or a text, behind the prompt of a run, or behind the token that a trace looks from: a list with a
    /// number for every token of the vocabulary, by its id.
    ///
    /// ```rhai
    /// logits("One two three one two").len()
    /// ```
    #[rhai_fn(name = "logits", return_raw)]
    pub fn logits(context: NativeCallContext, of: Dynamic) -> Returned<Array> {
        logits_with(context, of, Map::new())
    }

    /// The same with options: `positions` (a token, a list of them, or `"all"`), which makes the result a list of lists, one for each;
    /// and for a prompt or a text `method`, `rope`, `layer_windows`, `prefill_chunk` and `model` (for this call alone).
    ///
    /// ```rhai
    /// let rows = logits("One two three one two", #{ positions: [0, 3] });
    /// rows.len()
    /// ```
    #[rhai_fn(name = "logits", return_raw)]
    pub fn logits_with(context: NativeCallContext, of: Dynamic, options: Map) -> Returned<Array> {
        let host = host(&context);
        let mut options = Options::new("logits", options, &known(&of, "positions"))?;
        let given = super::positions(&mut options)?;
        let asked = asked(&context, &of, &mut options)?;
        let wanted = match &given {
            Positions::Usual => vec![asked.usual],
            Positions::All => (0..asked.tokens.len()).collect(),
            Positions::These(list) => list.iter().map(|at| chosen(&asked, *at as i64)).collect::<Returned<Vec<_>>>()?,
        };
        let mut distinct = wanted.clone();
        distinct.sort_unstable();
        distinct.dedup();
        // as values of the language they take four times the room
        let n_values = wanted.len() as u64 * asked.model.info.spec.vocab_size as u64;
        host.room_for(n_values * size_of::<Dynamic>() as u64)?;
        let predicted = asked.predict(&host, distinct)?;
        let row = |position: &usize| {
            let at = predicted.positions.binary_search(position).expect("every wanted position was predicted");
            predicted.row(at).iter().map(|logit| f64::from(*logit).into()).collect::<Array>()
        };
        match given {
            Positions::Usual => Ok(row(&wanted[0])),
            _ => Ok(wanted.iter().map(|position| row(position).into()).collect()),
        }
    }
}

/// Options that a call takes for what it is asked of.
fn known(of: &Dynamic, position: &'static str) -> Vec<&'static str> {
    let ran = of.read_lock::<Trace>().is_some() || of.read_lock::<Run>().is_some();
    let of_prompt: &[&str] = if ran { &[] } else { &["method", "rope", "layer_windows", "prefill_chunk", "model"] };
    [&[position], of_prompt].concat()
}

/// The tokens behind which logits are asked for.
enum Positions {
    /// Nobody says which.
    Usual,
    All,
    These(Vec<usize>),
}

/// What the option `positions` says.
fn positions(options: &mut Options) -> Returned<Positions> {
    let is_all = |value: &Dynamic| value.clone().into_string().is_ok_and(|word| word == "all");
    let Some(given) = options.take("positions") else { return Ok(Positions::Usual) };
    if is_all(&given) {
        return Ok(Positions::All);
    }
    let list = crate::options::each(&given, crate::options::count).filter(|list| !list.is_empty());
    let wrong =
        || crate::options::wrong("option `positions` of `logits`", "a token, a list of tokens, or \"all\"", &given);
    list.map(Positions::These).ok_or_else(wrong)
}

/// A token of a sequence by its number.
fn chosen(asked: &Asked, position: i64) -> Returned<usize> {
    index("token", position, asked.tokens.len())
}

/// The sequence of a trace, a run or a prompt.
fn asked(context: &NativeCallContext, of: &Dynamic, options: &mut Options) -> Returned<Asked> {
    let of = of.flatten_clone();
    if let Some(trace) = of.clone().try_cast::<Trace>() {
        return Ok(Asked::of_trace(&trace));
    }
    if let Some(run) = of.clone().try_cast::<Run>() {
        let (value, n_prompt) = (Rc::clone(&run.0), run.0.prompt.built.tokens.len());
        let settings = value.settings(context, n_prompt + value.kept.generated.len())?;
        let setup = settings.setup(&value.model.info.spec, n_prompt).map_err(raise)?;
        return Ok(Asked::of_run(&run, setup));
    }
    let host = host(context);
    let model = calls::model(&host, options)?;
    let prompt = to_prompt(&host, &of, &model, "what is asked")?;
    let method = options.take("method").unwrap_or_else(|| "full".into());
    let n_tokens = prompt.built.tokens.len();
    let settings = RunRequest::new(&method, options, 0)?.settings(context, n_tokens)?;
    let setup = settings.setup(&model.info.spec, n_tokens).map_err(raise)?;
    let setup = Setup { takes_kept: prompt.built.takes_kept(), ..setup };
    Ok(Asked::of_prompt(model, &prompt, setup))
}

/// The text of every candidate as it would follow the token at `position`; words in brackets for what has none.
fn texts(asked: &Asked, position: usize, best: &[(u32, f32, f64)]) -> Returned<Vec<String>> {
    let before = &asked.tokens[..=position];
    asked.model.text(|codec| {
        let text = |id: u32| {
            let piece = piece(before, id, codec)?;
            let ends = asked.model.info.eos_tokens.contains(&id);
            Ok(match piece.as_str() {
                "" if ends => "(end of text)".to_owned(),
                "" => "(no text)".to_owned(),
                // blanks are told apart
                blank if blank.trim().is_empty() => blank.replace(' ', "␣").replace('\n', "⏎"),
                _ => piece.replace('\n', "⏎"),
            })
        };
        best.iter().map(|(id, ..)| text(*id)).collect()
    })
}

/// The text of a token of the sequence.
fn text_at(asked: &Asked, position: usize) -> Returned<String> {
    asked.model.text(|codec| piece(&asked.tokens[..position], asked.tokens[position], codec))
}

/// The text of a token behind others.
fn piece(before: &[u32], id: u32, codec: &dyn TextCodec) -> Returned<String> {
    let mut decoder = PieceDecoder::after(before, codec).map_err(raise)?;
    let pieces = [decoder.push(id, codec).map_err(raise)?, decoder.flush(codec).map_err(raise)?];
    Ok(pieces.concat())
}
