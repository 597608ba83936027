//! Loss curve: how well each run predicts every token of a text.

use crate::canvas::{Figure, PlotError};
use crate::color::{self, GRAY, RULE};
use crate::frame::{self, Heading, Tick};
use crate::legend::{self, Entry, Marker, Sample};
use crate::scene::{Panel, Point, Rect, Scene};
use crate::ticks;

/// Loss by token position, one line per run.
#[derive(Debug, Clone, PartialEq)]
pub struct LossCurve {
    /// Title and subtitle: what ran, and on which model.
    pub heading: Heading,
    /// Trained context of the model, in tokens.
    pub trained_context: usize,
    /// One per run.
    pub series: Vec<LossSeries>,
    /// Tokens of the moving mean; 0 and 1 leave the losses as they are.
    pub smooth: usize,
}

/// The losses of one run.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct LossSeries {
    /// The method's text form.
    pub name: String,
    /// `nll[t]` is the loss of token `t + 1` in nats; what is not finite is left out.
    pub nll: Vec<f32>,
}

/// Markers of each line: they tell lines apart without colors.
const N_MARKERS: usize = 4;

/// The drawing area and how numbers become places in it.
struct Axes {
    area: Rect,
    /// One more than the last token.
    n_tokens: usize,
    losses: (f64, f64),
}

impl Figure for LossCurve {
    fn size(&self) -> (u32, u32) {
        let legend = legend::height(&self.legend(), 1000.0 - 2.0 * frame::MARGIN);
        (1000, 650.max(500 + legend as u32))
    }

    fn scene(&self, size: (u32, u32)) -> Result<Scene, PlotError> {
        if !self.series.iter().flat_map(|series| &series.nll).any(|loss| loss.is_finite()) {
            return Err(PlotError::NoData { missing: "no loss was measured" });
        }
        let mut scene = Scene::new(size);
        let room = frame::frame(&mut scene, "Loss by token position", &self.heading, &self.legend());
        // as many bins as pixels, then the range of what is left
        let n_bins = (room.width() as usize).max(1);
        let longest = self.series.iter().map(|series| series.nll.len()).max().unwrap_or(0);
        let curves: Vec<_> =
            self.series.iter().map(|series| binned(&series.nll, self.smooth, longest.div_ceil(n_bins))).collect();
        let axes = axes(room, longest + 1, &curves);
        draw_grid(&mut scene, &axes);
        scene.panels.push(Panel { area: axes.area, n_columns: 1, n_rows: 1 });
        if self.trained_context <= longest {
            frame::trained_line(&mut scene, axes.area, axes.x(self.trained_context as f64), self.trained_context);
        }
        for (idx, curve) in curves.iter().enumerate() {
            draw_curve(&mut scene, &axes, curve, idx, curves.len());
        }
        Ok(scene)
    }
}

impl LossCurve {
    fn legend(&self) -> Vec<Entry> {
        let sample = |idx| Sample::Series(color::distinct(idx), Marker::distinct(idx));
        let mut entries: Vec<_> =
            self.series.iter().enumerate().map(|(idx, series)| Entry::new(sample(idx), &series.name)).collect();
        if self.smooth > 1 {
            entries.push(Entry::new(Sample::Note, format!("moving mean of {} tokens", self.smooth)));
        }
        entries
    }
}

/// (token, loss) of every bin that holds a loss: each loss is the mean of the `smooth` losses around it, as far as there are
/// any, and each bin the mean of its `per_bin` tokens.
fn binned(nll: &[f32], smooth: usize, per_bin: usize) -> Vec<Option<Point>> {
    // sums of the finite losses before each token, and how many they are
    let mut before = Vec::with_capacity(nll.len() + 1);
    let mut total = (0.0, 0usize);
    before.push(total);
    for loss in nll {
        if loss.is_finite() {
            total = (total.0 + f64::from(*loss), total.1 + 1);
        }
        before.push(total);
    }
    let back = smooth.saturating_sub(1) / 2;
    let smoothed = |at: usize| {
        let (start, end) = (before[at.saturating_sub(back)], before[(at + smooth.max(1) - back).min(nll.len())]);
        (end.1 > start.1).then(|| (end.0 - start.0) / (end.1 - start.1) as f64)
    };
    let bin = |start: usize| {
        let end = (start + per_bin).min(nll.len());
        let losses: Vec<f64> = (start..end).filter_map(smoothed).collect();
        let token = (start + end + 1) as f64 / 2.0; // nll[t] is the loss of token t + 1
        (!losses.is_empty()).then(|| (token, losses.iter().sum::<f64>() / losses.len() as f64))
    };
    (0..nll.len()).step_by(per_bin.max(1)).map(bin).collect()
}

fn axes(room: Rect, n_tokens: usize, curves: &[Vec<Option<Point>>]) -> Axes {
    let losses = || curves.iter().flatten().flatten().map(|(_, loss)| *loss);
    let (lowest, highest) = (losses().fold(f64::INFINITY, f64::min), losses().fold(f64::NEG_INFINITY, f64::max));
    let margin = (highest - lowest).max(0.05) * 0.08;
    let losses = ((lowest - margin).max(0.0).min(lowest), highest + margin);
    let labels = ticks::labels(&ticks::linear(losses.0, losses.1, 6));
    let x0 = room.x0 + frame::y_axis_width(&labels, "loss");
    let y0 = room.y0 + 18.0;
    let y1 = (room.y1 - frame::x_axis_height(&[], "token")).max(y0 + 16.0);
    Axes { area: Rect { x0, y0, x1: room.x1 - 16.0, y1 }, n_tokens, losses }
}

fn draw_grid(scene: &mut Scene, axes: &Axes) {
    let area = axes.area;
    let tokens = ticks::tokens(axes.n_tokens, 8);
    let x_ticks: Vec<_> = tokens.into_iter().map(|token| Tick::new(axes.x(token as f64), token.to_string())).collect();
    let losses = ticks::linear(axes.losses.0, axes.losses.1, 6);
    let labels = ticks::labels(&losses);
    let y_ticks: Vec<_> = losses.into_iter().zip(labels).map(|(loss, label)| Tick::new(axes.y(loss), label)).collect();
    for tick in &x_ticks {
        scene.rect(Rect { x0: tick.at - 0.5, x1: tick.at + 0.5, ..area }, RULE);
    }
    for tick in &y_ticks {
        scene.rect(Rect { y0: tick.at - 0.5, y1: tick.at + 0.5, ..area }, RULE);
    }
    scene.outline(area.inset(-1.0), 1.0, GRAY);
    frame::x_axis(scene, area, &x_ticks, "position (token)");
    frame::y_axis(scene, area, &y_ticks, "loss (nats)");
}

/// The line, broken where nothing was measured, and a few markers, at other places for every line.
fn draw_curve(scene: &mut Scene, axes: &Axes, curve: &[Option<Point>], idx: usize, n_curves: usize) {
    let (color, marker) = (color::distinct(idx), Marker::distinct(idx));
    let place = |(token, loss): Point| (axes.x(token), axes.y(loss));
    for part in curve.split(Option::is_none) {
        let points: Vec<_> = part.iter().flatten().map(|point| place(*point)).collect();
        match &points[..] {
            [] => {}
            [at] => scene.circle(*at, 1.5, color),
            _ => scene.line(points, 1.6, color),
        }
    }
    let measured: Vec<_> = curve.iter().flatten().collect();
    for nth in 0..N_MARKERS.min(measured.len()) {
        let share = (nth as f64 + (idx as f64 + 0.5) / n_curves as f64) / N_MARKERS as f64;
        marker.draw(scene, place(*measured[(share * measured.len() as f64) as usize]), color, true);
    }
}

impl Axes {
    fn x(&self, token: f64) -> f64 {
        self.area.x0 + self.area.width() * token / self.n_tokens as f64
    }

    fn y(&self, loss: f64) -> f64 {
        let (low, high) = self.losses;
        self.area.y1 - self.area.height() * (loss - low) / (high - low)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::canvas::Canvas;

    fn figure(nll: Vec<f32>, smooth: usize) -> LossCurve {
        let series = vec![LossSeries { name: "full".to_owned(), nll }];
        LossCurve { heading: Heading::default(), trained_context: 600, series, smooth }
    }

    #[test]
    fn the_mean_is_moving_and_centered() {
        let losses = |smooth, per_bin| -> Vec<f64> {
            binned(&[0.0, 3.0, 6.0, 9.0], smooth, per_bin).into_iter().flatten().map(|(_, loss)| loss).collect()
        };
        assert_eq!(losses(1, 1), [0.0, 3.0, 6.0, 9.0]);
        assert_eq!(losses(0, 1), losses(1, 1));
        assert_eq!(losses(3, 1), [1.5, 3.0, 6.0, 7.5]);
        assert_eq!(losses(1, 2), [1.5, 7.5]);
        let tokens: Vec<_> = binned(&[1.0; 5], 1, 2).into_iter().flatten().map(|(token, _)| token).collect();
        assert_eq!(tokens, [1.5, 3.5, 5.0]);
        let holes = binned(&[f32::NAN, 2.0, f32::INFINITY], 1, 1);
        assert_eq!(holes, [None, Some((2.0, 2.0)), None]);
    }

    #[test]
    fn a_rising_loss_rises_behind_the_dashed_line() {
        let n_tokens = 20_000;
        let figure = LossCurve {
            trained_context: n_tokens / 2,
            ..figure((0..n_tokens).map(|t| if t < n_tokens / 2 { 2.0 } else { 6.0 }).collect(), 64)
        };
        let area = figure.scene(figure.size()).unwrap().panels[0].area;
        let pixels = Canvas::default().to_rgb(&figure).unwrap();
        let rows = |share: f64, color| -> Vec<u32> {
            let x = (area.x0 + area.width() * share) as u32;
            (area.y0 as u32..area.y1 as u32).filter(|y| (x - 2..=x + 2).any(|x| pixels.at(x, *y) == color)).collect()
        };
        let (before, after) = (rows(0.2, color::distinct(0)), rows(0.8, color::distinct(0)));
        assert!(after[0] + 200 < before[0], "{after:?} {before:?}");
        assert!(rows(0.5, color::ALARM).len() > 100);
        assert!(rows(0.3, color::ALARM).is_empty());
    }

    #[test]
    fn any_data_has_a_picture() {
        for nll in [vec![1.0], vec![f32::NAN, 3.0], vec![0.0; 3], vec![1e9, -4.0], vec![2.0; 100_000]] {
            Canvas::default().to_rgb(&figure(nll, 500)).unwrap();
        }
        let error = Canvas::default().to_rgb(&figure(vec![f32::NAN], 1)).unwrap_err();
        assert!(matches!(error, PlotError::NoData { .. }) && error.help().is_some());
    }
}
