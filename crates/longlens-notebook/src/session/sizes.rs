//! Functions of the language that make as much as a number or a text tells them: they ask for room first.

use rhai::{Array, Blob, Dynamic, Engine, INT, ImmutableString, Map, NativeCallContext};

use crate::host::{Returned, host};
use crate::types::plain_type;
use crate::values::size;

/// Bytes, or entries, after which a long step asks whether it is to stop.
const PIECE: usize = 1 << 20;
/// Bytes of one entry of a list.
const ENTRY: u64 = size_of::<Dynamic>() as u64;

/// Takes the place of the language's own.
pub fn register(engine: &mut Engine) {
    register_parts(engine);
    register_texts(engine);
    engine.register_fn(
        "pad",
        |context: NativeCallContext, list: &mut Array, len: INT, item: Dynamic| -> Returned<()> {
            let n_new = more(list.len(), len);
            host(&context).room_for(n_new.saturating_mul(bytes_of(&item, 0)))?;
            list.resize(list.len() + n_new as usize, item);
            Ok(())
        },
    );
    engine.register_fn("pad", |context: NativeCallContext, bytes: &mut Blob, len: INT, item: INT| -> Returned<()> {
        let n_new = more(bytes.len(), len);
        host(&context).room_for(n_new)?;
        bytes.resize(bytes.len() + n_new as usize, (item & 0xff) as u8);
        Ok(())
    });
    engine.register_fn("blob", |context: NativeCallContext, len: INT| blob(&context, len, 0));
    engine.register_fn("blob", |context: NativeCallContext, len: INT, item: INT| blob(&context, len, item));
    engine.register_fn("pad", |context: NativeCallContext, text: &mut ImmutableString, len: INT, with: char| {
        padded(&context, text, len, &with.to_string())
    });
    engine.register_fn("pad", |context: NativeCallContext, text: &mut ImmutableString, len: INT, with: &str| {
        padded(&context, text, len, with)
    });
    engine.register_fn("replace", |context: NativeCallContext, text: &mut ImmutableString, old: &str, new: &str| {
        replaced(&context, text, old, new)
    });
    engine.register_fn("replace", |context: NativeCallContext, text: &mut ImmutableString, old: &str, new: char| {
        replaced(&context, text, old, &new.to_string())
    });
    engine.register_fn("replace", |context: NativeCallContext, text: &mut ImmutableString, old: char, new: &str| {
        replaced(&context, text, &old.to_string(), new)
    });
}

/// Lists and maps as texts. Their entries may share texts, which are written out for each.
fn register_texts(engine: &mut Engine) {
    for name in ["to_string", "to_debug", "print", "debug"] {
        engine.register_fn(name, |context: NativeCallContext, list: &mut Array| {
            bracketed(&context, "[", list.iter_mut().map(|entry| (String::new(), entry)), "]")
        });
        engine.register_fn(name, |context: NativeCallContext, map: &mut Map| {
            let entries = map.iter_mut().map(|(name, entry)| (format!("{name:?}: "), entry));
            bracketed(&context, "#{", entries, "}")
        });
    }
}

/// Entries in brackets, as the language writes them. Without room it is cut short, and the cell stops at its next step: after an
/// error the language would write the value in its own way.
fn bracketed<'a>(
    context: &NativeCallContext,
    open: &str,
    entries: impl Iterator<Item = (String, &'a mut Dynamic)>,
    close: &str,
) -> ImmutableString {
    let host = host(context);
    let mut text = String::from(open);
    for (at, (name, entry)) in entries.enumerate() {
        if host.room_for(3 * size::written(entry)).is_err() || host.cancel().is_cancelled() {
            return ImmutableString::new();
        }
        let said = context.call_native_fn_raw("to_debug", true, &mut [entry]);
        let said = said.ok().and_then(|said| said.into_immutable_string().ok());
        let comma = if at == 0 { "" } else { ", " };
        text.extend([comma, &name, &said.unwrap_or_else(|| plain_type(entry.type_name()).into())]);
    }
    text.push_str(close);
    text.into()
}

/// Bytes of a short text with a list's entry for it.
const WORD: u64 = ENTRY + 48;

/// Functions that make a list of a text's or a blob's parts, each part larger than what it stands for.
fn register_parts(engine: &mut Engine) {
    // by value, or constants could not be taken apart
    type Text = ImmutableString;
    engine.register_fn("split", |context: NativeCallContext, text: Text| parts(&context, text.split_whitespace()));
    engine.register_fn("split", |context: NativeCallContext, text: Text, at: &str| parts(&context, text.split(at)));
    engine.register_fn("split", |context: NativeCallContext, text: Text, at: char| parts(&context, text.split(at)));
    engine
        .register_fn("split_rev", |context: NativeCallContext, text: Text, at: &str| parts(&context, text.rsplit(at)));
    engine
        .register_fn("split_rev", |context: NativeCallContext, text: Text, at: char| parts(&context, text.rsplit(at)));
    engine.register_fn("to_chars", |context: NativeCallContext, text: Text| -> Returned<Array> {
        host(&context).room_for(text.len() as u64 * ENTRY)?;
        Ok(text.chars().map(Dynamic::from).collect())
    });
    engine.register_fn("to_array", |context: NativeCallContext, bytes: Blob| -> Returned<Array> {
        host(&context).room_for(bytes.len() as u64 * ENTRY)?;
        Ok(bytes.into_iter().map(|byte| Dynamic::from(INT::from(byte))).collect())
    });
}

fn parts<'a>(context: &NativeCallContext, parts: impl Iterator<Item = &'a str> + Clone) -> Returned<Array> {
    let n_bytes = parts.clone().map(|part| part.len() as u64 + WORD).sum();
    host(context).room_for(n_bytes)?;
    let mut list = Array::new();
    for (at, part) in parts.enumerate() {
        if at % PIECE == 0 {
            host(context).go_on()?;
        }
        list.push(Dynamic::from(ImmutableString::from(part)));
    }
    Ok(list)
}

/// How many entries are missing to a length.
fn more(have: usize, len: INT) -> u64 {
    u64::try_from(len).unwrap_or(0).saturating_sub(have as u64)
}

/// Bytes of a value and what is in it, as each copy takes them.
fn bytes_of(value: &Dynamic, level: usize) -> u64 {
    let inside = |value: &Dynamic| if level < 64 { bytes_of(value, level + 1) } else { ENTRY };
    if let Ok(list) = value.as_array_ref() {
        return ENTRY + list.iter().map(inside).sum::<u64>();
    }
    if let Ok(map) = value.as_map_ref() {
        return ENTRY + map.values().map(|value| 2 * ENTRY + inside(value)).sum::<u64>();
    }
    if let Ok(bytes) = value.as_blob_ref() {
        return ENTRY + bytes.len() as u64;
    }
    // texts and handles are shared
    ENTRY
}

fn blob(context: &NativeCallContext, len: INT, item: INT) -> Returned<Blob> {
    let n_bytes = more(0, len);
    host(context).room_for(n_bytes)?;
    Ok(vec![(item & 0xff) as u8; n_bytes as usize])
}

fn padded(context: &NativeCallContext, text: &mut ImmutableString, len: INT, with: &str) -> Returned<()> {
    let n_with = with.chars().count() as u64;
    let n_new = more(text.chars().count(), len);
    if n_new == 0 || n_with == 0 {
        return Ok(());
    }
    host(context).room_for(n_new.saturating_mul(with.len() as u64).saturating_add(text.len() as u64))?;
    let mut new = String::with_capacity(text.len() + (n_new as usize).saturating_mul(with.len()));
    new.push_str(text);
    let (n_whole, n_rest) = (n_new / n_with, (n_new % n_with) as usize);
    let at_once = (PIECE / with.len()).max(1) as u64;
    for first in (0..n_whole).step_by(at_once as usize) {
        host(context).go_on()?;
        new.push_str(&with.repeat(at_once.min(n_whole - first) as usize));
    }
    new.extend(with.chars().take(n_rest));
    *text = new.into();
    Ok(())
}

fn replaced(context: &NativeCallContext, text: &mut ImmutableString, old: &str, new: &str) -> Returned<()> {
    if text.is_empty() {
        return Ok(());
    }
    let n_found = text.matches(old).count() as u64;
    host(context).room_for(n_found.saturating_mul(new.len() as u64).saturating_add(text.len() as u64))?;
    *text = text.replace(old, new).into();
    Ok(())
}
