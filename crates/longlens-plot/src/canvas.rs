//! Plots become files or pixels: PNG and pixels by plotters, SVG by `svg.rs`.

use std::fmt::Debug;
use std::path::{Path, PathBuf};

use plotters::backend::{BitMapBackend, DrawingBackend};
use plotters::style::{Color as _, RGBColor, ShapeStyle};

use crate::color::Rgb;
use crate::scene::{Point, Scene, Shape, Text};
use crate::whole::write_whole;
use crate::{svg, text};

/// Data that can draw itself.
pub trait Figure: Debug + Send + Sync {
    /// The size at which nothing is cramped, in logical pixels.
    fn size(&self) -> (u32, u32) {
        (1000, 650)
    }

    /// The plot on a page of this size.
    fn scene(&self, size: (u32, u32)) -> Result<Scene, PlotError>;
}

/// How large a figure is drawn.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Canvas {
    /// Width and height in logical pixels; the figure's own size when absent.
    pub size: Option<(u32, u32)>,
    /// Pixels per logical pixel: 2 for a dense screen or print.
    pub scale: f64,
}

/// A picture as plain numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pixels {
    /// Red, green, blue of every pixel, row by row.
    pub rgb: Vec<u8>,
    /// Pixels of a row.
    pub width: u32,
    /// Rows of pixels.
    pub height: u32,
}

/// Why there is no picture.
#[derive(Debug, thiserror::Error)]
pub enum PlotError {
    /// The data is empty.
    #[error("nothing to draw: {missing}")]
    NoData {
        /// What the plot needs and did not get.
        missing: &'static str,
    },
    /// Two parts of the data contradict each other.
    #[error("{what}: expected {expected}, got {found}")]
    Shape {
        /// Which part of the data has the wrong length.
        what: &'static str,
        /// Entries it must have.
        expected: usize,
        /// Entries it has.
        found: usize,
    },
    /// The file name does not say which format.
    #[error("cannot tell the picture format of `{}`", path.display())]
    UnknownExtension {
        /// The file asked for.
        path: PathBuf,
    },
    /// The system refused the file.
    #[error("cannot write `{}`: {source}", path.display())]
    Unwritable {
        /// The file asked for.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The page cannot hold the plot.
    #[error("a page of {width} by {height} pixels at scale {scale} cannot be drawn")]
    Page {
        /// Width asked for, in logical pixels.
        width: u32,
        /// Height asked for, in logical pixels.
        height: u32,
        /// Pixels per logical pixel.
        scale: f64,
    },
}

impl PlotError {
    /// What to do next.
    pub fn help(&self) -> Option<String> {
        match self {
            Self::NoData { .. } => Some("wait for the first result, or record what this plot shows".to_owned()),
            Self::Shape { .. } => None,
            Self::UnknownExtension { .. } => Some("end the file name in `.png` or `.svg`".to_owned()),
            Self::Unwritable { source, .. } if source.kind() == std::io::ErrorKind::NotFound => {
                Some("create the folder first".to_owned())
            }
            Self::Unwritable { source, .. } if source.kind() == std::io::ErrorKind::StorageFull => {
                Some("free some room, or choose another disk".to_owned())
            }
            Self::Unwritable { source, .. } if source.kind() == std::io::ErrorKind::FileTooLarge => {
                Some("raise the limit of a file's size (`ulimit -f`)".to_owned())
            }
            Self::Unwritable { .. } => Some("choose a folder you may write to".to_owned()),
            Self::Page { .. } => {
                Some(format!("use at least {} by {} and at most {MAX_SIDE} pixels a side", MIN_SIZE.0, MIN_SIZE.1))
            }
        }
    }
}

/// Writes a figure at its own size; `.png` or `.svg` decides the format.
pub fn save(figure: &dyn Figure, path: impl AsRef<Path>) -> Result<(), PlotError> {
    Canvas::default().save(figure, path)
}

impl Default for Canvas {
    fn default() -> Self {
        Self { size: None, scale: 1.0 }
    }
}

impl Canvas {
    /// The figure's own size, `scale` times as many pixels.
    pub fn scaled(scale: f64) -> Self {
        Self { size: None, scale }
    }

    /// The largest picture with the figure's own layout that fits `width` by `height` pixels.
    pub fn fitting(figure: &dyn Figure, width: u32, height: u32) -> Self {
        let (own_width, own_height) = figure.size();
        let scale = (f64::from(width) / f64::from(own_width)).min(f64::from(height) / f64::from(own_height));
        Self::scaled(scale)
    }

    /// Writes a figure; the file appears whole or not at all.
    pub fn save(&self, figure: &dyn Figure, path: impl AsRef<Path>) -> Result<(), PlotError> {
        let path = path.as_ref();
        let extension = path.extension().map(|extension| extension.to_string_lossy().to_lowercase());
        let bytes = match extension.as_deref() {
            Some("png") => self.to_png_bytes(figure)?,
            Some("svg") => self.to_svg_string(figure)?.into_bytes(),
            _ => return Err(PlotError::UnknownExtension { path: path.to_owned() }),
        };
        write_whole(path, &bytes).map_err(|source| PlotError::Unwritable { path: path.to_owned(), source })
    }

    /// The bytes of a PNG file.
    pub fn to_png_bytes(&self, figure: &dyn Figure) -> Result<Vec<u8>, PlotError> {
        let Pixels { rgb, width, height } = self.to_rgb(figure)?;
        let mut bytes = Vec::new();
        let mut encoder = png::Encoder::new(&mut bytes, width, height);
        encoder.set_color(png::ColorType::Rgb);
        encoder.set_depth(png::BitDepth::Eight);
        let mut writer = encoder.write_header().expect("memory takes a header");
        writer.write_image_data(&rgb).expect("the buffer has the size of the header");
        writer.finish().expect("memory takes an end");
        Ok(bytes)
    }

    /// The text of an SVG file.
    pub fn to_svg_string(&self, figure: &dyn Figure) -> Result<String, PlotError> {
        let (scene, size) = self.scene(figure)?;
        Ok(svg::write(&scene, size, self.scale))
    }

    /// Draws a figure into memory, in the pixels that [`Pixels`] describes.
    pub fn to_rgb(&self, figure: &dyn Figure) -> Result<Pixels, PlotError> {
        let (scene, size) = self.scene(figure)?;
        let mut rgb = vec![255; size.0 as usize * size.1 as usize * 3];
        let mut backend = BitMapBackend::with_buffer(&mut rgb, size);
        paint(&mut backend, &scene, size, self.scale);
        drop(backend);
        Ok(Pixels { rgb, width: size.0, height: size.1 })
    }

    /// The scene and the size in pixels.
    fn scene(&self, figure: &dyn Figure) -> Result<(Scene, (u32, u32)), PlotError> {
        let (width, height) = self.size.unwrap_or_else(|| figure.size());
        let side = |logical: u32| (f64::from(logical) * self.scale).round();
        let drawable = |pixels: f64| (1.0..=f64::from(MAX_SIDE)).contains(&pixels);
        if width < MIN_SIZE.0 || height < MIN_SIZE.1 || !drawable(side(width)) || !drawable(side(height)) {
            return Err(PlotError::Page { width, height, scale: self.scale });
        }
        Ok((figure.scene((width, height))?, (side(width) as u32, side(height) as u32)))
    }
}

impl Pixels {
    /// Red, green and blue of one pixel.
    pub fn at(&self, x: u32, y: u32) -> Rgb {
        let start = (y * self.width + x) as usize * 3;
        Rgb(self.rgb[start], self.rgb[start + 1], self.rgb[start + 2])
    }
}

/// Smallest page that has room for axes and legends.
pub(crate) const MIN_SIZE: (u32, u32) = (320, 240);
/// Most pixels of a side.
const MAX_SIDE: u32 = 20_000;

fn paint(backend: &mut BitMapBackend<'_>, scene: &Scene, size: (u32, u32), scale: f64) {
    let pixel = |value: f64| (value * scale).round() as i32;
    let place = |point: &Point| (pixel(point.0), pixel(point.1));
    let (right, bottom) = (f64::from(size.0) / scale, f64::from(size.1) / scale);
    let mut draw = |shape: &Shape| match shape {
        Shape::Rect { area, fill } => {
            let (from, to) = (place(&(area.x0, area.y0)), place(&(area.x1, area.y1)));
            backend.draw_rect(from, (to.0.max(from.0 + 1), to.1.max(from.1 + 1)), &solid(*fill, 1), true)
        }
        Shape::Line { points, width, color } => {
            let points: Vec<_> = points.iter().map(|(x, y)| (x * scale, y * scale)).collect();
            pixel_line(backend, &points, (width * scale).max(1.0), *color);
            Ok(())
        }
        Shape::Polygon { points, fill } => backend.fill_polygon(points.iter().map(place), &solid(*fill, 1)),
        Shape::Circle { center, radius, fill } => {
            backend.draw_circle(place(center), pixel(*radius).max(1) as u32, &solid(*fill, 1), true)
        }
        Shape::Text(text) => {
            pixel_text(backend, text, scale);
            Ok(())
        }
    };
    let page = Shape::Rect { area: crate::scene::Rect { x0: 0.0, y0: 0.0, x1: right, y1: bottom }, fill: scene.page };
    for shape in std::iter::once(&page).chain(&scene.shapes) {
        draw(shape).expect("memory takes any shape");
    }
}

fn pixel_text(backend: &mut BitMapBackend<'_>, text: &Text, scale: f64) {
    text::rasterize(text, scale, |x, y, coverage| {
        let color = rgb(text.color).mix(coverage).to_backend_color();
        backend.draw_pixel((x, y), color).expect("memory takes any pixel");
    });
}

/// Plotters rounds the corners of thick lines to whole pixels, which makes their width change with the slope; here every
/// pixel is covered by its distance from the line.
fn pixel_line(backend: &mut BitMapBackend<'_>, points: &[Point], width: f64, color: Rgb) {
    let reach = width / 2.0 + 0.5;
    for ends in points.windows(2) {
        let ((x0, y0), (x1, y1)) = (ends[0], ends[1]);
        let (dx, dy) = (x1 - x0, y1 - y0);
        let length = (dx * dx + dy * dy).max(f64::MIN_POSITIVE);
        let rows = (y0.min(y1) - reach).floor() as i32..=(y0.max(y1) + reach).ceil() as i32;
        for y in rows {
            for x in (x0.min(x1) - reach).floor() as i32..=(x0.max(x1) + reach).ceil() as i32 {
                let (px, py) = (f64::from(x) + 0.5 - x0, f64::from(y) + 0.5 - y0);
                let along = ((px * dx + py * dy) / length).clamp(0.0, 1.0);
                let coverage = (reach - (px - along * dx).hypot(py - along * dy)).clamp(0.0, 1.0);
                if coverage > 0.0 {
                    let color = rgb(color).mix(coverage).to_backend_color();
                    backend.draw_pixel((x, y), color).expect("memory takes any pixel");
                }
            }
        }
    }
}

fn rgb(color: Rgb) -> RGBColor {
    RGBColor(color.0, color.1, color.2)
}

fn solid(color: Rgb, stroke_width: u32) -> ShapeStyle {
    ShapeStyle { color: rgb(color).to_rgba(), filled: true, stroke_width }
}
