//! Rotation tables of one sequence: built once for all layers, longer as the sequence grows.

use longlens_core::chunk_choice::ChunkChoice;
use longlens_core::plan::{Plan, PosMap, Prompt};
use longlens_core::rope::{Frequencies, Rope, RotaryTable};
use longlens_kernel::Kernels;
use longlens_kernel::rotary::Rotary;
use longlens_kernel::span_attention::SpanRotary;

/// Tables of every position rule of a plan.
pub struct Positions<B: Kernels> {
    rope: Rope,
    prompt: Prompt,
    plan: Plan,
    device: B::Device,
    tables: Vec<(PosMap, Rotary<B>)>,
    /// One per span of the plan.
    pub spans: Vec<SpanRotary<B>>,
    /// Offsets inside chunks, when the plan chooses chunks.
    pub offsets: Option<Rotary<B>>,
    n_rows: usize,
    /// Length seen that turned the keys of the tables, where every call turns them anew.
    moment: usize,
    /// Angles of the whole positions `-1 .. attention_len`, and the length seen that they are for.
    slots: Option<(usize, Rotary<B>)>,
}

/// Rows added beyond what is needed, so that generated tokens seldom rebuild a table.
const SPARE: usize = 256;

impl<B: Kernels> Positions<B> {
    /// No tables yet.
    pub fn new(plan: Plan, rope: Rope, prompt: Prompt, device: B::Device) -> Self {
        Self {
            rope,
            prompt,
            plan,
            device,
            tables: Vec::new(),
            spans: Vec::new(),
            offsets: None,
            n_rows: 0,
            moment: 0,
            slots: None,
        }
    }

    /// Makes the tables cover the first `n_tokens` tokens, the newest of which belong to the current call.
    pub fn cover(&mut self, n_tokens: usize) {
        let moment = if self.rope.rerotates() { self.prompt.seen(n_tokens.saturating_sub(1)) } else { 0 };
        if n_tokens <= self.n_rows && moment == self.moment {
            return;
        }
        let n_rows = match moment {
            0 => n_tokens.max(self.prompt.n_tokens) + SPARE + n_tokens / 4,
            seen => seen, // all tokens of a prompt are seen together
        };
        self.moment = moment;
        self.tables.clear();
        self.spans = (0..self.plan.spans.len())
            .map(|at| {
                let span = self.plan.spans[at].clone();
                SpanRotary {
                    query: self.table(&span.query_pos, n_tokens, n_rows),
                    key: self.table(&span.key_pos, n_tokens, n_rows),
                }
            })
            .collect();
        let chunk_len = self.plan.choice.map(|choice| choice.chunk_len);
        self.offsets = chunk_len.map(|w| self.table(&PosMap::identity().modulo(w), n_tokens, n_rows));
        self.n_rows = n_rows;
    }

    /// The table of a rule; rules that several spans share are built once.
    fn table(&mut self, map: &PosMap, n_tokens: usize, n_rows: usize) -> Rotary<B> {
        if let Some((_, table)) = self.tables.iter().find(|(known, _)| known == map) {
            return table.clone();
        }
        let now = self.prompt.seen(n_tokens.saturating_sub(1));
        let amplitude = |token: usize| self.plan.amplitude(self.prompt.seen(token));
        let table = self.rope.table(map, 0..n_rows, self.prompt, now, amplitude);
        let table = Rotary::new(table, self.rope.dim(), &self.device);
        self.tables.push((map.clone(), table.clone()));
        table
    }

    /// Makes the slot table right for queries from `first` on: row `p` is position `p - 1`.
    pub fn cover_slots(&mut self, first: usize, choice: ChunkChoice) {
        let n_positions = choice.n_slots * choice.chunk_len;
        let seen = if self.rope.is_dynamic() { self.prompt.seen(first) } else { 0 };
        if self.slots.as_ref().is_some_and(|(known, _)| *known == seen) {
            return;
        }
        let Frequencies { inv_freq, amplitude } = self.rope.frequencies(seen);
        let angles = (0..=n_positions).flat_map(|row| inv_freq.iter().map(move |f| (row as f64 - 1.0) * f));
        let (sin, cos) = angles.map(|a| ((a.sin() * amplitude) as f32, (a.cos() * amplitude) as f32)).unzip();
        self.slots = Some((seen, Rotary::new(RotaryTable { cos, sin }, self.rope.dim(), &self.device)));
    }

    /// Whether every call turns earlier keys anew.
    pub fn rerotates(&self) -> bool {
        self.rope.rerotates()
    }

    /// Offsets of keys in their chunks, and the positions of queries in their slots.
    pub fn of_slots(&self) -> (&Rotary<B>, &Rotary<B>) {
        let offsets = self.offsets.as_ref().expect("a plan with a choice has offsets");
        let (_, slots) = self.slots.as_ref().expect("covered before");
        (offsets, slots)
    }
}
