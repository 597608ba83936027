//! `SentencePiece`'s own file, `tokenizer.model`: a protocol buffer of pieces, of which a few fields are needed
//! (<https://github.com/google/sentencepiece/blob/master/src/sentencepiece_model.proto>).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::{Kind, Scored};

/// Reads the file; a sentence says what is wrong with one that cannot be read.
pub(crate) fn read(bytes: &[u8]) -> Result<Scored, String> {
    // what `SentencePiece` takes where a field is absent
    let mut model = Scored {
        unigram: true,
        unknown: Some(0),
        prefix: true,
        fewer_spaces: true,
        first: Some(1),
        last: Some(2),
        ..Scored::default()
    };
    let mut fields = Wire(bytes);
    while let Some((number, value)) = fields.next()? {
        match (number, value) {
            (1, Field::Bytes(piece)) => model.add(piece)?,
            (2, Field::Bytes(trainer)) => model.train(trainer)?,
            (3, Field::Bytes(normalizer)) => model.normalize(normalizer)?,
            _ => (),
        }
    }
    if model.pieces.is_empty() {
        return Err("it holds no pieces".into());
    }
    if model.kinds.contains(&Kind::Byte) {
        model.byte_fallback = true;
    }
    Ok(model)
}

impl Scored {
    fn add(&mut self, bytes: &[u8]) -> Result<(), String> {
        let (mut piece, mut score, mut kind) = (String::new(), 0.0, Kind::Normal);
        let mut fields = Wire(bytes);
        while let Some((number, value)) = fields.next()? {
            match (number, value) {
                (1, Field::Bytes(text)) => {
                    let text = std::str::from_utf8(text);
                    piece = text.map_err(|_| format!("piece {} is not UTF-8", self.pieces.len()))?.into();
                }
                (2, Field::Fixed(bits)) => score = f32::from_bits(bits),
                (3, Field::Whole(number)) => kind = Kind::of(number as i64),
                _ => (),
            }
        }
        self.pieces.push(piece);
        self.scores.push(score);
        self.kinds.push(kind);
        Ok(())
    }

    fn train(&mut self, bytes: &[u8]) -> Result<(), String> {
        let mut fields = Wire(bytes);
        while let Some((number, value)) = fields.next()? {
            let Field::Whole(value) = value else { continue };
            // an id is an `int32`, below zero where there is none
            let id = u32::try_from(value as i64).ok();
            match (number, value) {
                (3, 1) => self.unigram = true,
                (3, 2) => self.unigram = false,
                (3, kind) => {
                    return Err(format!("its model is of type {kind}, and unigram and BPE (1 and 2) are read"));
                }
                (35, flag) => self.byte_fallback = flag != 0,
                (40, _) => self.unknown = id,
                (41, _) => self.first = id,
                (42, _) => self.last = id,
                _ => (),
            }
        }
        Ok(())
    }

    fn normalize(&mut self, bytes: &[u8]) -> Result<(), String> {
        let mut fields = Wire(bytes);
        while let Some((number, value)) = fields.next()? {
            match (number, value) {
                (2, Field::Bytes(map)) if !map.is_empty() => self.charsmap = Some(STANDARD.encode(map)),
                (3, Field::Whole(flag)) => self.prefix = flag != 0,
                (4, Field::Whole(flag)) => self.fewer_spaces = flag != 0,
                _ => (),
            }
        }
        Ok(())
    }
}

/// Fields of a message, one after the other.
struct Wire<'a>(&'a [u8]);

enum Field<'a> {
    Whole(u64),
    Fixed(u32),
    Bytes(&'a [u8]),
}

impl<'a> Wire<'a> {
    fn next(&mut self) -> Result<Option<(u64, Field<'a>)>, String> {
        loop {
            if self.0.is_empty() {
                return Ok(None);
            }
            let key = self.whole()?;
            let field = match key & 7 {
                0 => Field::Whole(self.whole()?),
                1 => {
                    self.take(8)?;
                    continue;
                }
                2 => {
                    let len = usize::try_from(self.whole()?).unwrap_or(usize::MAX);
                    Field::Bytes(self.take(len)?)
                }
                5 => Field::Fixed(u32::from_le_bytes(self.take(4)?.try_into().expect("four bytes"))),
                _ => return Err("it is no SentencePiece model".into()),
            };
            return Ok(Some((key >> 3, field)));
        }
    }

    /// A number of seven bits a byte.
    fn whole(&mut self) -> Result<u64, String> {
        let mut number = 0;
        for at in 0..10 {
            let byte = self.take(1)?[0];
            number |= u64::from(byte & 0x7f) << (7 * at);
            if byte < 0x80 {
                return Ok(number);
            }
        }
        Err("it is no SentencePiece model".into())
    }

    fn take(&mut self, len: usize) -> Result<&'a [u8], String> {
        let (taken, rest) = self.0.split_at_checked(len).ok_or("it is cut short, or no SentencePiece model")?;
        self.0 = rest;
        Ok(taken)
    }
}
