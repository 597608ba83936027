//! Fonts of this machine, for characters that the embedded ones lack: Chinese, Japanese, Korean, Thai and so on.
//!
//! They are looked for once, when the first such character is drawn. Which font serves a character depends on the fonts
//! that are installed and on nothing else, so the same figure on the same machine gives the same pixels. Characters are
//! drawn one by one, in the order and forms that `script.rs` gives them.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::ops::RangeInclusive;
use std::sync::{LazyLock, Mutex, PoisonError};

use ab_glyph::{Font, FontRef, FontVec};
use fontdb::{Database, FaceInfo, ID, Style, Weight};

/// The font of this machine that draws `c`, if one does.
pub fn font_with(c: char) -> Option<&'static FontVec> {
    static FONTS: LazyLock<Mutex<Fonts>> = LazyLock::new(|| {
        let mut database = Database::new();
        database.load_system_fonts();
        Mutex::new(Fonts::of(database))
    });
    // a panic between two lines that only add to a table leaves a table
    FONTS.lock().unwrap_or_else(PoisonError::into_inner).font_with(c)
}

struct Fonts {
    database: Database,
    /// In the order in which they are asked, each with the characters that it names, once they were read.
    faces: Vec<(ID, Option<Coverage>)>,
    opened: HashMap<ID, Option<&'static FontVec>>,
    served: HashMap<char, Option<ID>>,
}

/// Characters of a font, as ascending ranges.
type Coverage = Vec<RangeInclusive<u32>>;

impl Fonts {
    fn of(database: Database) -> Self {
        let mut faces: Vec<&FaceInfo> = database.faces().collect();
        faces.sort_by_cached_key(|face| preference(face));
        let faces = faces.into_iter().map(|face| (face.id, None)).collect();
        Self { database, faces, opened: HashMap::new(), served: HashMap::new() }
    }

    fn font_with(&mut self, c: char) -> Option<&'static FontVec> {
        if let Some(served) = self.served.get(&c) {
            return self.opened.get(served.as_ref()?).copied().flatten();
        }
        // a font names one character of those that share a sign, as U+957F does with U+2ED3: the others are asked for one by one
        let listed = (0..self.faces.len()).map(|place| (place, false));
        let asked = (0..self.faces.len()).map(|place| (place, true));
        for (place, asks) in listed.chain(asked) {
            let id = self.faces[place].0;
            if !(if asks { self.maps(id, c) } else { self.covers(place, c) }) {
                continue;
            }
            // fonts of bitmaps name characters and hold no outline to draw
            if let Some(font) = self.open(id).filter(|font| font.outline(font.glyph_id(c)).is_some()) {
                self.served.insert(c, Some(id));
                return Some(font);
            }
        }
        self.served.insert(c, None);
        None
    }

    /// Whether a font has a sign for a character, whatever it lists.
    fn maps(&self, id: ID, c: char) -> bool {
        let has = |bytes: &[u8], index| {
            FontRef::try_from_slice_and_index(bytes, index).is_ok_and(|font| font.glyph_id(c).0 != 0)
        };
        self.database.with_face_data(id, has).unwrap_or(false)
    }

    fn covers(&mut self, place: usize, c: char) -> bool {
        let (id, coverage) = &mut self.faces[place];
        let coverage =
            coverage.get_or_insert_with(|| self.database.with_face_data(*id, read_coverage).unwrap_or_default());
        let after = coverage.partition_point(|range| *range.start() <= u32::from(c));
        after > 0 && coverage[after - 1].contains(&u32::from(c))
    }

    /// A font's bytes stay in memory as long as the program: few fonts serve a picture, and the next one wants the same.
    fn open(&mut self, id: ID) -> Option<&'static FontVec> {
        *self.opened.entry(id).or_insert_with(|| {
            let read = |bytes: &[u8], index| FontVec::try_from_vec_and_index(bytes.to_vec(), index).ok();
            let font = self.database.with_face_data(id, read)??;
            Some(Box::leak(Box::new(font)))
        })
    }
}

/// Upright fonts of usual weight first, those without serifs before others, then by name.
fn preference(face: &FaceInfo) -> (bool, Reverse<bool>, bool, u16, String, String, u32) {
    let family = face.families.first().map_or(String::new(), |(name, _)| name.clone());
    let weight = face.weight.0.abs_diff(Weight::NORMAL.0);
    let is_color = family.contains("Color");
    let is_sans = ["Sans", "Gothic", "Hei"].iter().any(|word| family.contains(word));
    (is_color, Reverse(is_sans), face.style != Style::Normal, weight, family, face.post_script_name.clone(), face.index)
}

fn read_coverage(bytes: &[u8], index: u32) -> Coverage {
    let Ok(font) = FontRef::try_from_slice_and_index(bytes, index) else { return Coverage::new() };
    let mut chars: Vec<u32> = font.codepoint_ids().map(|(_, c)| u32::from(c)).collect();
    chars.sort_unstable();
    let mut coverage = Coverage::new();
    for c in chars {
        match coverage.last_mut() {
            Some(last) if c <= last.end() + 1 => *last = *last.start()..=c,
            _ => coverage.push(c..=c),
        }
    }
    coverage
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_font_that_draws_a_character_is_found_and_none_for_what_nobody_draws() {
        let mut database = Database::new();
        database.load_fonts_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/fonts"));
        let mut fonts = Fonts::of(database);
        assert_eq!(fonts.faces.len(), 2);
        for c in ['é', 'α', '→'] {
            let font = fonts.font_with(c).unwrap_or_else(|| panic!("{c}"));
            assert_ne!(font.glyph_id(c).0, 0, "{c}");
        }
        for c in ['长', '\u{10fffd}'] {
            assert!(fonts.font_with(c).is_none(), "{c}");
            assert!(fonts.font_with(c).is_none(), "asked again: {c}");
        }
        assert!(Fonts::of(Database::new()).font_with('a').is_none());
    }

    #[test]
    fn characters_that_share_a_sign_are_found_each() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/fonts");
        let mut database = Database::new();
        database.load_fonts_dir(folder);
        let mut fonts = Fonts::of(database);
        let sans = FontVec::try_from_vec(std::fs::read(format!("{folder}/DejaVuSans.ttf")).unwrap()).unwrap();
        let drawn = |c: &char| sans.glyph_id(*c).0 != 0 && sans.outline(sans.glyph_id(*c)).is_some();
        let all: Vec<char> = ('!'..'\u{2600}').filter(drawn).collect();
        assert!(all.len() > 500, "{}", all.len());
        let missed: String = all.into_iter().filter(|c| fonts.font_with(*c).is_none()).collect();
        assert_eq!(missed, "");
    }
}
