//! What a cell shows, in every form that a place may want.

use std::sync::Arc;

use longlens_plot::canvas::{Canvas, Figure, PlotError};
use serde_json::{Map, Value, json};

/// One thing to show. Text is always there; the other forms where the thing has them.
#[derive(Debug, Clone, Default)]
pub struct Shown {
    /// Plain text, without colours, no newline at the end.
    pub text: String,
    /// An HTML fragment.
    pub html: Option<String>,
    /// An HTML fragment that shows the picture as a page, in the same output as the picture.
    pub frame: Option<String>,
    /// A PNG file. No SVG stands beside it unless somebody asks for that: programs that make PDF pages take the SVG where there is
    /// one, and fail without another program that converts it; and notebooks would hold every picture twice.
    pub png: Option<Vec<u8>>,
    /// Width and height at which the PNG is to be shown, in pixels of a page, where it has more pixels than that.
    pub size: Option<(u32, u32)>,
    /// An SVG file, in place of the PNG.
    pub svg: Option<String>,
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

    /// The same with a PNG made from the figure, if it has one and no picture is there.
    pub fn draw(self) -> Result<Self, PlotError> {
        self.draw_as(Form::Png)
    }

    /// The same with a picture in this form.
    pub fn draw_as(mut self, form: Form) -> Result<Self, PlotError> {
        let Some(figure) = self.figure.clone().filter(|_| self.png.is_none() && self.svg.is_none()) else {
            return Ok(self);
        };
        match form {
            Form::Png => self.png = Some(Canvas::default().to_png_bytes(figure.as_ref())?),
            Form::Png2x => {
                self.png = Some(Canvas::scaled(2.0).to_png_bytes(figure.as_ref())?);
                self.size = Some(figure.size());
            }
            Form::Svg => self.svg = Some(Canvas::default().to_svg_string(figure.as_ref())?),
        }
        Ok(self)
    }

    /// What goes with the forms of this thing in a notebook: the size at which its PNG is shown.
    pub fn metadata(&self) -> Map<String, Value> {
        let size =
            self.size.map(|(width, height)| ("image/png".to_owned(), json!({ "width": width, "height": height })));
        size.into_iter().collect()
    }

    /// The picture, where a table has one, and the rest. Of all forms of one thing, notebooks show the richest that they know, and
    /// that is HTML: a table would hide its picture. So the two are shown one after the other.
    pub fn parts(mut self) -> (Option<Self>, Self) {
        let has_picture = self.png.is_some() || self.svg.is_some() || self.figure.is_some();
        if self.html.is_none() || !has_picture {
            return (None, self);
        }
        let (png, size, svg, figure) = (self.png.take(), self.size.take(), self.svg.take(), self.figure.take());
        let text = std::mem::take(&mut self.caption);
        (Some(Self { text, png, size, svg, figure, ..Self::default() }), self)
    }
}

/// What pictures are drawn as, for places that keep them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Form {
    /// A PNG, a pixel for a pixel of a page.
    #[default]
    Png,
    /// A PNG with twice as many pixels each way, shown at the same size: sharp on dense screens, and larger in the file.
    Png2x,
    /// An SVG, at any size sharp.
    Svg,
}

impl Form {
    /// Every form.
    pub const ALL: [Self; 3] = [Self::Png, Self::Png2x, Self::Svg];

    /// What it is called.
    pub fn name(self) -> &'static str {
        match self {
            Self::Png => "png",
            Self::Png2x => "png2x",
            Self::Svg => "svg",
        }
    }

    /// The form of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|form| form.name() == name)
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
