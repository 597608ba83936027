//! Position map: the relative position at which each query sees each key, as a plan has it.

use longlens_core::plan::{HeadPlan, Plan, Prefill, Relation};

use super::attention_map::{draw_axes, square};
use crate::canvas::{Figure, PlotError};
use crate::color::{ALARM, GRAY, Palette, Rgb};
use crate::frame::{self, ColorBar, Heading};
use crate::legend::{Entry, Sample};
use crate::scene::{Panel, Scene};
use crate::ticks;

/// Relative positions of a plan, query by key.
#[derive(Debug, Clone, PartialEq)]
pub struct PositionMap {
    /// What is planned.
    pub heading: Heading,
    /// What the head does.
    pub rule: HeadPlan,
    /// Tokens of the prompt.
    pub n_tokens: usize,
    /// Positions from this on were never trained.
    pub trained_context: usize,
}

/// What a cell shows.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Seen {
    /// The query does not meet the key.
    Hidden,
    /// It meets the key at this relative position.
    At(f64),
    /// The data decides whether they meet, and at which trained position.
    Depends,
    /// At a position that was never trained.
    Untrained,
}

const DEPENDS: Rgb = crate::color::FILLS[1];
/// Cells of a side at most; longer prompts are sampled.
const MAX_SIDE: usize = 256;

impl Seen {
    /// What a relation shows on a model with `trained_context` trained positions.
    pub fn of(relation: Relation, trained_context: usize) -> Self {
        let trained = |position: f64| position < trained_context as f64;
        match relation {
            Relation::Hidden => Self::Hidden,
            Relation::At(position, _) if trained(position) => Self::At(position),
            Relation::Chosen { between: (low, high), forced } if trained(high) => {
                if forced {
                    Self::At(low)
                } else {
                    Self::Depends
                }
            }
            Relation::At(..) | Relation::Chosen { .. } => Self::Untrained,
        }
    }
}

impl Figure for PositionMap {
    fn size(&self) -> (u32, u32) {
        (800, 740)
    }

    fn scene(&self, size: (u32, u32)) -> Result<Scene, PlotError> {
        if self.n_tokens == 0 {
            return Err(PlotError::NoData { missing: "the prompt has no token" });
        }
        let side = self.n_tokens.min(MAX_SIDE);
        let seen = self.cells(side);

        let mut scene = Scene::new(size);
        let what = format!("Relative positions over {} tokens", self.n_tokens);
        let room = frame::frame(&mut scene, &what, &self.heading, &self.legend(&seen));
        let top = self.top();
        let color = |amount| Palette::Viridis.at(amount);
        let positions = ticks::tokens(top as usize, 6).into_iter().chain([top as usize]);
        let marks = positions.map(|at| (at as f64 / top.max(1.0), at.to_string())).collect();
        let bar = ColorBar { color: &color, ticks: marks, title: "relative position" };
        let area = square(room, self.n_tokens, bar.width());
        draw_axes(&mut scene, area, self.n_tokens, (0, 0), self.n_tokens as f64);
        let panel = Panel { area, n_columns: side, n_rows: side };
        scene.panels.push(panel);
        scene.cells(&panel, |row, column| match seen[row * side + column] {
            Seen::Hidden => None,
            Seen::At(position) => Some(color(position / top.max(1.0))),
            Seen::Depends => Some(DEPENDS),
            Seen::Untrained => Some(ALARM),
        });
        scene.outline(area.inset(-1.0), 1.0, GRAY);
        bar.draw(&mut scene, area);
        Ok(scene)
    }
}

impl PositionMap {
    /// The map of a head, titled with the method, and with layer and head where not all follow one rule; `subtitle` says on
    /// what model and under which scaling.
    pub fn new(
        plan: &Plan,
        (layer, head): (usize, usize),
        n_tokens: usize,
        trained_context: usize,
        subtitle: String,
    ) -> Self {
        let of_head = if plan.rules().len() > 1 { format!(" · layer {layer}, head {head}") } else { String::new() };
        let heading = Heading { title: format!("{}{of_head}", plan.method), subtitle };
        Self { heading, rule: plan.of(layer, head).clone(), n_tokens, trained_context }
    }

    /// The position of the palette's upper end: the same for every method at one length, so that maps compare.
    pub fn top(&self) -> f64 {
        self.n_tokens.min(self.trained_context).saturating_sub(1) as f64
    }

    /// What every block of pairs shows: row-major `[side, side]`, a block of queries per row. All are hidden when there is no
    /// token; with fewer tokens than `side`, neighbors show the same pair.
    pub fn cells(&self, side: usize) -> Vec<Seen> {
        if self.n_tokens == 0 {
            return vec![Seen::Hidden; side * side];
        }
        (0..side * side).map(|at| self.cell(at / side, at % side, side)).collect()
    }

    /// What a cell of many pairs shows: untrained positions if any of the sampled pairs has one, else its middle, else what
    /// another sample sees.
    fn cell(&self, row: usize, column: usize, side: usize) -> Seen {
        let tokens = |at: usize| {
            let start = at * self.n_tokens / side;
            let end = ((at + 1) * self.n_tokens / side).max(start + 1);
            [usize::midpoint(start, end - 1), start, end - 1]
        };
        if tokens(column)[1] > tokens(row)[2] {
            return Seen::Hidden;
        }
        let mut shown = Seen::Hidden;
        for i in tokens(row) {
            for j in tokens(column).into_iter().filter(|j| *j <= i) {
                match self.pair(i, j) {
                    Seen::Untrained => return Seen::Untrained,
                    seen if shown == Seen::Hidden => shown = seen,
                    _ => {}
                }
            }
        }
        shown
    }

    fn pair(&self, i: usize, j: usize) -> Seen {
        let relation = self.rule.relation(i, j, Prefill { n_tokens: self.n_tokens });
        Seen::of(relation, self.trained_context)
    }

    fn legend(&self, seen: &[Seen]) -> Vec<Entry> {
        let mut entries = Vec::new();
        if seen.contains(&Seen::Untrained) {
            let from = self.trained_context;
            entries.push(Entry::new(Sample::Cell(ALARM), format!("position never trained (≥ {from})")));
        }
        if seen.contains(&Seen::Depends) {
            entries.push(Entry::new(Sample::Cell(DEPENDS), "seen if chosen; position depends on the choice"));
        }
        let side = self.n_tokens.min(MAX_SIDE);
        if self.n_tokens > side {
            entries.push(Entry::new(Sample::Note, format!("{side} × {side} cells sampled")));
        }
        entries.push(Entry::new(Sample::Cell(crate::color::WHITE), "not seen"));
        entries
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use longlens_core::methods::Method;
    use longlens_core::spec::ModelSpec;

    use crate::canvas::Canvas;
    use crate::color::WHITE;

    /// Colors of (query, key) pairs of a method on a model trained on 32 tokens.
    fn colors<const N: usize>(method: &str, n_tokens: usize, pairs: [(usize, usize); N]) -> [Rgb; N] {
        let plan = Method::parse(method).unwrap().plan(&ModelSpec::tiny(32)).unwrap();
        let map = PositionMap::new(&plan, (0, 0), n_tokens, 32, String::new());
        let panel = map.scene(map.size()).unwrap().panels[0];
        let pixels = Canvas::default().to_rgb(&map).unwrap();
        pairs.map(|(i, j)| {
            let cell = |token: usize| token * panel.n_rows / n_tokens;
            let (x, y) = panel.cell(cell(i), cell(j)).center();
            pixels.at(x as u32, y as u32)
        })
    }

    fn position(position: f64) -> Rgb {
        Palette::Viridis.at(position / 31.0)
    }

    #[test]
    fn positions_past_the_trained_ones_alarm() {
        let colors = colors("full", 64, [(5, 5), (31, 0), (32, 0), (63, 40), (3, 9)]);
        assert_eq!(colors, [position(0.0), position(31.0), ALARM, position(23.0), WHITE]);
    }

    #[test]
    fn hidden_pairs_are_blank() {
        let colors = colors("sliding_window:window=8", 64, [(40, 33), (40, 32), (40, 0)]);
        assert_eq!(colors, [position(7.0), WHITE, WHITE]);
    }

    #[test]
    fn grouped_positions_are_those_of_the_plan() {
        let colors = colors("self_extend:group_size=4,neighbor_window=8", 64, [(40, 36), (40, 0)]);
        assert_eq!(colors, [position(4.0), position(16.0)]);
    }

    #[test]
    fn chunks_left_to_the_data_are_gray() {
        let method = "long_heads:chunk_len=4,attention_len=24,begin_len=24,variant=consistent";
        assert_eq!(colors(method, 64, [(60, 20), (60, 60)]), [DEPENDS, position(0.0)]);
    }

    #[test]
    fn cells_of_any_side_say_what_the_plan_says() {
        let plan = Method::parse("sliding_window:window=2").unwrap().plan(&ModelSpec::tiny(32)).unwrap();
        let map = PositionMap::new(&plan, (0, 0), 3, 32, String::new());
        let (no, at) = (Seen::Hidden, Seen::At);
        assert_eq!(map.cells(3), [at(0.0), no, no, at(1.0), at(0.0), no, no, at(1.0), at(0.0)]);
        let large = map.cells(6);
        assert_eq!(large[..6], [at(0.0), at(0.0), no, no, no, no]);
        assert_eq!(large[30..], [no, no, at(1.0), at(1.0), at(0.0), at(0.0)]);
        assert_eq!((map.cells(0), map.top()), (Vec::new(), 2.0));
        assert_eq!(PositionMap { n_tokens: 0, ..map }.cells(2), [no; 4]);
    }

    #[test]
    fn sampling_loses_neither_sinks_nor_untrained_positions() {
        let n_tokens = 8192;
        let sink = colors("streaming:n_sink=1,window=28", n_tokens, [(8000, 0), (8000, 4000)]);
        assert!(sink[0] != WHITE && sink[1] == WHITE);
        assert_eq!(colors("full", n_tokens, [(8000, 0)]), [ALARM]);
    }
}
