//! What a cell shows, in every form that a place may want.

use std::sync::Arc;

use longlens_plot::canvas::{Canvas, Figure, PlotError};

/// One thing to show. Text is always there; the other forms where the thing has them.
#[derive(Debug, Clone, Default)]
pub struct Shown {
    /// Plain text, without colours, no newline at the end.
    pub text: String,
    /// An HTML fragment.
    pub html: Option<String>,
    /// A PNG file.
    pub png: Option<Vec<u8>>,
    /// An SVG file.
    pub svg: Option<String>,
    /// What the pictures were drawn from, for places that draw it at a size of their own.
    pub figure: Option<Arc<dyn Figure>>,
}

/// An SVG of more bytes is not kept beside its PNG.
const MAX_SVG: usize = 192 << 10;

impl Shown {
    /// Plain text alone.
    pub fn text(text: impl Into<String>) -> Self {
        Self { text: text.into(), ..Self::default() }
    }

    /// A figure with a text that stands for it; [`Shown::draw`] makes the pictures.
    pub fn figure(text: impl Into<String>, figure: Arc<dyn Figure>) -> Self {
        Self { figure: Some(figure), ..Self::text(text) }
    }

    /// The same with PNG and SVG made from the figure, if it has one and they are not there. A figure whose SVG would be very
    /// large gets its PNG alone.
    pub fn draw(mut self) -> Result<Self, PlotError> {
        if let Some(figure) = &self.figure
            && self.png.is_none()
        {
            let canvas = Canvas::default();
            self.png = Some(canvas.to_png_bytes(figure.as_ref())?);
            // dense maps are tens of megabytes as lines and areas; as pixels they are small and look the same
            self.svg = Some(canvas.to_svg_string(figure.as_ref())?).filter(|svg| svg.len() <= MAX_SVG);
        }
        Ok(self)
    }
}
