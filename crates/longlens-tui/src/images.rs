//! Real images in terminals that have them: kitty, sixel, iTerm2. Half blocks stand until an image is encoded, which
//! happens on a thread of its own.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::mpsc::{Sender, channel};
use std::time::Duration;

use image::{DynamicImage, RgbImage};
use longlens_plot::terminal::ImageProtocol;
use ratatui::buffer::Buffer;
use ratatui::layout::Size;
use ratatui::widgets::Widget;
use ratatui_image::picker::cap_parser::QueryStdioOptions;
use ratatui_image::picker::{Picker, ProtocolType};
use ratatui_image::protocol::Protocol;
use ratatui_image::{FilterType, Image, Resize};

use crate::pen::Picture;

/// Whether to ask the terminal for images.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ImageMode {
    /// Where the environment names a terminal that is known to have them.
    #[default]
    Auto,
    /// In any terminal that says it has them.
    Always,
    /// Never.
    Never,
}

/// Encoded images of the newest frames.
pub struct Images {
    picker: Picker,
    encoder: Sender<(u64, Picture)>,
    ready: Vec<(u64, Protocol)>,
    /// What is being encoded.
    asked: Vec<u64>,
    /// What cannot be encoded and stays half blocks.
    failed: HashSet<u64>,
}

/// What became of a picture.
pub struct Encoded {
    key: u64,
    outcome: Outcome,
}

enum Outcome {
    Ready(Protocol),
    Failed,
    /// There was a newer picture; it may be asked for again.
    Skipped,
}

/// Images that are kept.
const KEPT: usize = 8;
/// Time that a terminal has to say what it can do.
const PATIENCE: Duration = Duration::from_millis(400);

impl Images {
    /// Asks the terminal; nothing where it has no images. Reads its answer from standard input, so this comes before any
    /// other reading. `done` receives encoded images.
    pub fn ask(mode: ImageMode, done: impl Fn(Encoded) + Send + 'static) -> Option<Self> {
        if mode == ImageMode::Never || (mode == ImageMode::Auto && !ImageProtocol::may_be_there()) {
            return None;
        }
        let options = QueryStdioOptions { timeout: PATIENCE, ..QueryStdioOptions::default() };
        let picker = Picker::from_query_stdio_with_options(options).ok()?;
        if picker.protocol_type() == ProtocolType::Halfblocks {
            return None;
        }
        let (encoder, waiting) = channel::<(u64, Picture)>();
        let own = picker.clone();
        let work = move || {
            while let Ok(mut newest) = waiting.recv() {
                // older pictures of a busy moment are not worth encoding
                while let Ok(newer) = waiting.try_recv() {
                    done(Encoded { key: newest.0, outcome: Outcome::Skipped });
                    newest = newer;
                }
                let (key, picture) = newest;
                done(Encoded { key, outcome: encode(&own, picture).map_or(Outcome::Failed, Outcome::Ready) });
            }
        };
        std::thread::Builder::new().name("longlens-images".into()).spawn(work).ok()?;
        Some(Self { picker, encoder, ready: Vec::new(), asked: Vec::new(), failed: HashSet::new() })
    }

    /// Pixels of a cell.
    pub fn cell_pixels(&self) -> (u16, u16) {
        let size = self.picker.font_size();
        (size.width, size.height)
    }

    /// Keeps an encoded image.
    pub fn take(&mut self, encoded: Encoded) {
        self.asked.retain(|key| *key != encoded.key);
        match encoded.outcome {
            Outcome::Ready(protocol) => {
                self.ready.push((encoded.key, protocol));
                if self.ready.len() > KEPT {
                    self.ready.remove(0);
                }
            }
            Outcome::Failed => drop(self.failed.insert(encoded.key)),
            Outcome::Skipped => (),
        }
    }

    /// Draws the pictures that are encoded, and asks for the others.
    pub fn draw(&mut self, pictures: &[Picture], buffer: &mut Buffer) {
        for picture in pictures {
            let key = key(picture);
            if let Some((_, protocol)) = self.ready.iter().find(|(known, _)| *known == key) {
                Image::new(protocol).render(picture.area, buffer);
            } else if !self.asked.contains(&key) && !self.failed.contains(&key) {
                self.asked.push(key);
                // a thread that is gone leaves half blocks
                let _ = self.encoder.send((key, picture.clone()));
            }
        }
    }
}

/// What tells pictures apart.
fn key(picture: &Picture) -> u64 {
    let mut hasher = DefaultHasher::new();
    (picture.area, picture.width, picture.height, &picture.rgb).hash(&mut hasher);
    hasher.finish()
}

fn encode(picker: &Picker, picture: Picture) -> Option<Protocol> {
    let size = Size::new(picture.area.width, picture.area.height);
    let image = RgbImage::from_raw(picture.width as u32, picture.height as u32, picture.rgb)?;
    let resize = Resize::Scale(Some(FilterType::Nearest));
    picker.new_protocol(DynamicImage::ImageRgb8(image), size, resize).ok()
}

#[cfg(test)]
mod tests {
    use ratatui::layout::Rect;

    use super::*;

    #[test]
    fn a_picture_that_cannot_be_encoded_is_asked_for_once() {
        let (encoder, asked) = channel();
        let picker = Picker::halfblocks();
        let mut images = Images { picker, encoder, ready: Vec::new(), asked: Vec::new(), failed: HashSet::new() };
        let mut buffer = Buffer::empty(Rect::new(0, 0, 4, 2));
        // fewer numbers than pixels
        let picture = Picture { area: buffer.area, width: 8, height: 8, rgb: vec![0; 3] };
        assert!(encode(&images.picker, picture.clone()).is_none());
        for (outcome, n_asked) in [(Outcome::Skipped, 1), (Outcome::Failed, 1), (Outcome::Skipped, 0)] {
            for _ in 0..2 {
                images.draw(std::slice::from_ref(&picture), &mut buffer);
            }
            assert_eq!(asked.try_iter().count(), n_asked);
            images.take(Encoded { key: key(&picture), outcome });
        }
    }
}
