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
    /// A PNG file. No SVG stands beside it: programs that make PDF pages take the SVG where there is one, and fail without
    /// another program that converts it.
    pub png: Option<Vec<u8>>,
    /// What the picture was drawn from, for places that draw it at a size of their own.
    pub figure: Option<Arc<dyn Figure>>,
    /// What the picture says, in words, where the text is of a table that it belongs to.
    pub caption: String,
}

impl Shown {
    /// Plain text alone.
    pub fn text(text: impl Into<String>) -> Self {
        Self { text: text.into(), ..Self::default() }
    }

    /// A figure with a text that stands for it; [`Shown::draw`] makes the picture.
    pub fn figure(text: impl Into<String>, figure: Arc<dyn Figure>) -> Self {
        Self { figure: Some(figure), ..Self::text(text) }
    }

    /// The same with a PNG made from the figure, if it has one and none is there.
    pub fn draw(mut self) -> Result<Self, PlotError> {
        if let Some(figure) = &self.figure
            && self.png.is_none()
        {
            self.png = Some(Canvas::default().to_png_bytes(figure.as_ref())?);
        }
        Ok(self)
    }

    /// The picture, where a table has one, and the rest. Of all forms of one thing, notebooks show the richest that they know, and
    /// that is HTML: a table would hide its picture. So the two are shown one after the other.
    pub fn parts(mut self) -> (Option<Self>, Self) {
        let has_picture = self.png.is_some() || self.figure.is_some();
        if self.html.is_none() || !has_picture {
            return (None, self);
        }
        let (png, figure) = (self.png.take(), self.figure.take());
        let text = std::mem::take(&mut self.caption);
        (Some(Self { text, png, figure, ..Self::default() }), self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_does_not_hide_its_picture() {
        let (html, png) = (Some("<table></table>".to_owned()), Some(vec![1]));
        let both = Shown { html, png, caption: "what was measured".into(), ..Shown::text("1  2") };
        let (picture, table) = both.clone().parts();
        let picture = picture.unwrap();
        assert_eq!((picture.text.as_str(), picture.png, picture.html), ("what was measured", Some(vec![1]), None));
        assert_eq!((table.text.as_str(), table.png, table.html), ("1  2", None, both.html.clone()));
        for one in [Shown { html: None, ..both.clone() }, Shown { png: None, ..both }, Shown::text("a")] {
            let (picture, rest) = one.clone().parts();
            assert!(picture.is_none() && rest.png == one.png && rest.html == one.html && rest.text == one.text);
        }
    }
}
