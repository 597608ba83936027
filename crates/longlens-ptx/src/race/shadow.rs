//! The accesses to a piece of memory, kept for 16 bytes at once where threads use them at once.

use std::collections::HashMap;

use super::clock::FastHash;
use super::{Access, Cell, Conflict, Stamp};

/// Pieces of a page, which is made when it is first touched.
const PAGE: usize = 64;

/// The accesses to 16 bytes.
#[derive(Debug, Clone, Default)]
struct Piece {
    /// While every access takes all 16 bytes.
    whole: Cell,
    /// Word by word, from the first smaller access on.
    words: Option<Box<[Cell; 4]>>,
}

/// What is written at once: a word, or a byte of a word whose bytes were accessed apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Part {
    /// By its address divided by 4.
    Word(u32),
    /// By its address.
    Byte(u32),
}

#[derive(Debug, Default)]
pub(crate) struct Shadow {
    pages: Vec<Option<Box<[Piece; PAGE]>>>,
    /// Words whose bytes were accessed apart.
    bytes: HashMap<u32, [Cell; 4], FastHash>,
}

impl Shadow {
    pub(crate) fn clear(&mut self) {
        for page in self.pages.iter_mut().flatten() {
            page.fill(Piece::default());
        }
        self.bytes.clear();
    }

    /// An access to a range of bytes; the first conflict.
    pub(crate) fn access_range(
        &mut self,
        start: u32,
        bytes: u32,
        stamp: &Stamp,
        access: Access,
        same_value: bool,
    ) -> Option<Conflict> {
        let mut conflict = None;
        let mut at = start;
        while at < start + bytes {
            let end = (start + bytes).min((at | 15) + 1);
            let found = if end - at == 16 {
                self.access_piece(at / 16, stamp, access, same_value)
            } else {
                self.access_words(at, end, stamp, access, same_value)
            };
            conflict = conflict.or(found);
            at = end;
        }
        conflict
    }

    /// Whether one of these bytes was written, in order or not.
    pub(crate) fn was_written(&mut self, start: u32, bytes: u32) -> bool {
        (start..start + bytes).any(|byte| {
            let piece = self.piece(byte / 16);
            let cell = piece.words.as_ref().map_or(&piece.whole, |words| &words[byte as usize / 4 % 4]);
            let word_written = cell.was_written();
            self.bytes.get(&(byte / 4)).map_or(word_written, |split| split[byte as usize % 4].was_written())
        })
    }

    /// Every [`Part`] that a thread wrote, with thread, time and instruction.
    pub(super) fn writers(&self) -> impl Iterator<Item = (Part, (u32, u32, u32))> + '_ {
        let pages = self.pages.iter().enumerate().filter_map(|(index, page)| Some((index, page.as_ref()?)));
        let pieces =
            pages.flat_map(|(index, page)| page.iter().enumerate().map(move |(at, piece)| (index * PAGE + at, piece)));
        pieces.flat_map(move |(index, piece)| {
            let cell = move |word: usize| piece.words.as_ref().map_or(&piece.whole, |words| &words[word]);
            (0..4).flat_map(move |word| {
                let index = (4 * index + word) as u32;
                let apart = self.bytes.get(&index);
                let whole = cell(word).writer().filter(|_| apart.is_none()).map(|writer| (Part::Word(index), writer));
                let bytes = apart.into_iter().flat_map(move |bytes| bytes.iter().zip(4 * index..));
                whole.into_iter().chain(bytes.filter_map(|(cell, byte)| Some((Part::Byte(byte), cell.writer()?))))
            })
        })
    }

    fn piece(&mut self, piece: u32) -> &mut Piece {
        let page = piece as usize / PAGE;
        if self.pages.len() <= page {
            self.pages.resize_with(page + 1, || None);
        }
        let pieces = self.pages[page].get_or_insert_with(|| Box::new(std::array::from_fn(|_| Piece::default())));
        &mut pieces[piece as usize % PAGE]
    }

    fn access_piece(&mut self, index: u32, stamp: &Stamp, access: Access, same_value: bool) -> Option<Conflict> {
        let piece = self.piece(index);
        if piece.words.is_none() {
            return piece.whole.access(stamp, access, same_value);
        }
        let conflict = self.access_words(16 * index, 16 * index + 16, stamp, access, same_value);
        if access.writes() {
            // the words are one again: all that matters now is this write
            for word in 4 * index..4 * index + 4 {
                self.bytes.remove(&word);
            }
            let piece = self.piece(index);
            piece.whole = piece.words.take().map_or_else(Cell::default, |words| words[0].clone());
        }
        conflict
    }

    /// An access inside 16 bytes.
    fn access_words(
        &mut self,
        start: u32,
        end: u32,
        stamp: &Stamp,
        access: Access,
        same_value: bool,
    ) -> Option<Conflict> {
        let mut conflict = None;
        for word in start / 4..end.div_ceil(4) {
            let (from, to) = (start.max(4 * word), end.min(4 * word + 4));
            let has_bytes = !self.bytes.is_empty() && self.bytes.contains_key(&word);
            let piece = self.piece(word / 4);
            let whole = &piece.whole;
            let words = piece.words.get_or_insert_with(|| Box::new(std::array::from_fn(|_| whole.clone())));
            let cell = &mut words[word as usize % 4];
            if to - from == 4 && !has_bytes {
                conflict = conflict.or(cell.access(stamp, access, same_value));
                continue;
            }
            let cell = cell.clone();
            let split = self.bytes.entry(word).or_insert_with(|| std::array::from_fn(|_| cell.clone()));
            for byte in from..to {
                conflict = conflict.or(split[byte as usize % 4].access(stamp, access, same_value));
            }
        }
        conflict
    }
}
