//! Functions of the language that make as much as a number or a text tells them: they ask for room first.

use rhai::{Array, Blob, Dynamic, Engine, INT, ImmutableString, NativeCallContext};

use crate::desk::{Returned, desk};

/// Bytes of one entry of a list.
const ENTRY: u64 = size_of::<Dynamic>() as u64;

/// Takes the place of the language's own.
pub fn register(engine: &mut Engine) {
    register_parts(engine);
    engine.register_fn(
        "pad",
        |context: NativeCallContext, list: &mut Array, len: INT, item: Dynamic| -> Returned<()> {
            let n_new = more(list.len(), len);
            desk(&context).room_for(n_new.saturating_mul(bytes_of(&item, 0)))?;
            list.resize(list.len() + n_new as usize, item);
            Ok(())
        },
    );
    engine.register_fn("pad", |context: NativeCallContext, bytes: &mut Blob, len: INT, item: INT| -> Returned<()> {
        let n_new = more(bytes.len(), len);
        desk(&context).room_for(n_new)?;
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
        desk(&context).room_for(text.len() as u64 * ENTRY)?;
        Ok(text.chars().map(Dynamic::from).collect())
    });
    engine.register_fn("to_array", |context: NativeCallContext, bytes: Blob| -> Returned<Array> {
        desk(&context).room_for(bytes.len() as u64 * ENTRY)?;
        Ok(bytes.into_iter().map(|byte| Dynamic::from(INT::from(byte))).collect())
    });
}

fn parts<'a>(context: &NativeCallContext, parts: impl Iterator<Item = &'a str> + Clone) -> Returned<Array> {
    let n_bytes = parts.clone().map(|part| part.len() as u64 + WORD).sum();
    desk(context).room_for(n_bytes)?;
    Ok(parts.map(|part| Dynamic::from(ImmutableString::from(part))).collect())
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
    desk(context).room_for(n_bytes)?;
    Ok(vec![(item & 0xff) as u8; n_bytes as usize])
}

fn padded(context: &NativeCallContext, text: &mut ImmutableString, len: INT, with: &str) -> Returned<()> {
    let n_with = with.chars().count() as u64;
    let n_new = more(text.chars().count(), len);
    if n_new == 0 || n_with == 0 {
        return Ok(());
    }
    desk(context).room_for(n_new.saturating_mul(with.len() as u64).saturating_add(text.len() as u64))?;
    let new: String = with.chars().cycle().take(n_new as usize).collect();
    *text += new.as_str();
    Ok(())
}

fn replaced(context: &NativeCallContext, text: &mut ImmutableString, old: &str, new: &str) -> Returned<()> {
    if text.is_empty() {
        return Ok(());
    }
    let n_found = text.matches(old).count() as u64;
    desk(context).room_for(n_found.saturating_mul(new.len() as u64).saturating_add(text.len() as u64))?;
    *text = text.replace(old, new).into();
    Ok(())
}
