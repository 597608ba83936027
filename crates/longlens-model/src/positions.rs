//! Rotation tables of one sequence: built once for all layers, longer as the sequence grows.

use std::sync::Arc;

use longlens_core::plan::{ChunkScore, HeadPlan, Plan, PosMap, Prefill, SlotPositions, Temperature};
use longlens_core::rope::{Frequencies, Rope, RopeScaling, RotaryTable};
use longlens_core::setting::SettingError;
use longlens_core::spec::ModelSpec;
use longlens_kernel::Kernels;
use longlens_kernel::chunk_attention::key_pos;
use longlens_kernel::rotary::Rotary;
use longlens_kernel::span_attention::SpanRotary;

/// Tables of every position rule of a plan.
pub struct Positions<B: Kernels> {
    prompt: Prefill,
    plan: Arc<Plan>,
    device: B::Device,
    /// Different frequencies, each once.
    ropes: Vec<Rope>,
    /// Of each rule of the plan, which frequencies rotate it.
    rope_of: Vec<usize>,
    tables: Vec<Table<B>>,
    rules: Vec<RuleTables<B>>,
    /// Of each rule with packed slots, angles of the whole positions `-1 .. attention_len`, and the length seen that they are for.
    slots: Vec<Option<(usize, Rotary<B>)>>,
    /// Of each rule with packed slots, what rotates keys whose chunks lie anywhere, and how many rows.
    places: Vec<Option<(usize, Rotary<B>)>>,
}

/// Angles of the first tokens.
struct Table<B: Kernels> {
    rule: TableRule,
    n_rows: usize,
    /// Length seen that rotated its keys, where every call rotates them anew; else 0.
    moment: usize,
    rotary: Rotary<B>,
}

/// What decides a table, besides its length and moment.
#[derive(Debug, Clone, PartialEq)]
struct TableRule {
    rope: usize,
    temperature: Option<Temperature>,
    map: PosMap,
}

/// Cosines and sines of the positions that one rule gives, for as many tokens as were needed so far.
struct RuleTables<B: Kernels> {
    /// One per span.
    spans: Vec<SpanRotary<B>>,
    /// Of a rule that chooses: what rotates keys to make what represents a chunk, and the keys of chosen chunks.
    chunks: Option<(Rotary<B>, Rotary<B>)>,
}

/// Rows added beyond what is needed, so that generated tokens seldom rebuild a table.
const SPARE: usize = 256;

impl<B: Kernels> Positions<B> {
    /// No tables yet. `scaling` is the one that the run asks for.
    pub fn new(
        plan: Arc<Plan>,
        scaling: &RopeScaling,
        spec: &ModelSpec,
        prompt: Prefill,
        device: B::Device,
    ) -> Result<Self, SettingError> {
        let (mut ropes, mut rope_of) = (Vec::new(), Vec::new());
        for rule in plan.rules() {
            let rope = rule.rope(scaling, spec)?;
            rope_of.push(ropes.iter().position(|known| *known == rope).unwrap_or_else(|| {
                ropes.push(rope);
                ropes.len() - 1
            }));
        }
        let none = || plan.rules().iter().map(|_| None).collect();
        let (slots, places) = (none(), none());
        let (tables, rules) = (Vec::new(), Vec::new());
        Ok(Self { prompt, plan, device, ropes, rope_of, tables, rules, slots, places })
    }

    /// Makes the tables cover the first `n_tokens` tokens, the newest of which belong to the current call.
    pub fn cover(&mut self, n_tokens: usize) {
        let (n_tables, moments) = (self.tables.len(), self.ropes.iter().map(|rope| self.moment(rope, n_tokens)));
        let moments: Vec<usize> = moments.collect();
        self.tables.retain(|table| n_tokens <= table.n_rows && table.moment == moments[table.rule.rope]);
        if self.tables.len() == n_tables && n_tables > 0 {
            return;
        }
        let plan = Arc::clone(&self.plan);
        let rules = plan.rules().iter().zip(self.rope_of.clone());
        self.rules = rules.map(|(rule, rope)| self.tables_of(rule, rope, n_tokens)).collect();
    }

    /// Length seen that rotates the keys of a call which ends with token `n_tokens`; 0 where they stay as they are.
    fn moment(&self, rope: &Rope, n_tokens: usize) -> usize {
        if rope.rerotates() { self.prompt.seen(n_tokens.saturating_sub(1)) } else { 0 }
    }

    fn tables_of(&mut self, rule: &HeadPlan, rope: usize, n_tokens: usize) -> RuleTables<B> {
        let temperature = rule.temperature;
        let mut table = |map: &PosMap| self.table(TableRule { rope, temperature, map: map.clone() }, n_tokens);
        let spans =
            rule.spans.iter().map(|span| SpanRotary { query: table(&span.query_pos), key: table(&span.key_pos) });
        let spans = spans.collect();
        let chunks = rule.choice.map(|choice| {
            let in_chunks = match choice.score {
                ChunkScore::Summary => PosMap::identity().modulo(choice.chunk_len),
                ChunkScore::Bounds => PosMap::identity(),
            };
            (table(&in_chunks), table(&key_pos(&choice)))
        });
        RuleTables { spans, chunks }
    }

    /// The table of a rule; rules that several spans share are built once.
    fn table(&mut self, rule: TableRule, n_tokens: usize) -> Rotary<B> {
        if let Some(table) = self.tables.iter().find(|table| table.rule == rule) {
            return table.rotary.clone();
        }
        let seen = |token: usize| self.prompt.seen(token);
        let amplitude = |token| rule.temperature.map_or(1.0, |temperature| temperature.at(seen(token)));
        let rope = &self.ropes[rule.rope];
        let moment = self.moment(rope, n_tokens);
        let n_rows = match moment {
            0 => n_tokens.max(self.prompt.n_tokens) + SPARE + n_tokens / 4,
            seen => seen, // all tokens of a prompt are seen together
        };
        let table = rope.table(&rule.map, 0..n_rows, self.prompt, moment, amplitude);
        let rotary = Rotary::new(table, rope.dim(), &self.device);
        self.tables.push(Table { rule, n_rows, moment, rotary: rotary.clone() });
        rotary
    }

    /// Makes the slots of a rule right for queries from `first` on: where they are packed, row `p` is position `p - 1`.
    pub fn cover_slots(&mut self, rule: usize, first: usize) {
        let choice = self.plan.rules()[rule].choice.filter(|choice| choice.slots == SlotPositions::Packed);
        let (Some(choice), rope) = (choice, &self.ropes[self.rope_of[rule]]) else { return };
        let seen = if rope.is_dynamic() { self.prompt.seen(first) } else { 0 };
        if self.slots[rule].as_ref().is_some_and(|(known, _)| *known == seen) {
            return;
        }
        let Frequencies { inv_freq, amplitude } = rope.frequencies(seen);
        let n_positions = choice.n_slots * choice.chunk_len;
        let angles = (0..=n_positions).flat_map(|row| inv_freq.iter().map(move |f| (row as f64 - 1.0) * f));
        let (sin, cos) = angles.map(|a| ((a.sin() * amplitude) as f32, (a.cos() * amplitude) as f32)).unzip();
        self.slots[rule] = Some((seen, Rotary::new(RotaryTable { cos, sin, steps: None }, rope.dim(), &self.device)));
    }

    /// Whether a key of a chosen chunk is rotated by its place in the chunk alone, so that the chunk may lie anywhere.
    pub fn are_movable(&self, rule: usize) -> bool {
        let of_rule = &self.plan.rules()[rule];
        let is_packed = of_rule.choice.is_some_and(|choice| choice.slots == SlotPositions::Packed);
        is_packed && of_rule.temperature.is_none() && !self.ropes[self.rope_of[rule]].is_dynamic()
    }

    /// Angles of the first `n_rows` keys of chunks that lie anywhere, of a rule that lets them ([`Positions::are_movable`]).
    pub fn cover_places(&mut self, rule: usize, n_rows: usize) {
        let choice = self.plan.rules()[rule].choice.filter(|_| self.are_movable(rule));
        let Some(choice) = choice.filter(|_| self.places[rule].as_ref().is_none_or(|(known, _)| *known < n_rows))
        else {
            return;
        };
        let (rope, n_rows) = (&self.ropes[self.rope_of[rule]], n_rows.next_multiple_of(choice.chunk_len));
        let table = rope.table(&key_pos(&choice), 0..n_rows, self.prompt, 0, |_| 1.0);
        self.places[rule] = Some((n_rows, Rotary::new(table, rope.dim(), &self.device)));
    }

    /// What [`Positions::cover_places`] made.
    pub fn of_places(&self, rule: usize) -> Option<&Rotary<B>> {
        self.places[rule].as_ref().map(|(_, rotary)| rotary)
    }

    /// Whether every call rotates the earlier keys of a rule anew.
    pub fn rerotates(&self, rule: usize) -> bool {
        self.ropes[self.rope_of[rule]].rerotates()
    }

    /// Whether it does so for some rule.
    pub fn any_rerotates(&self) -> bool {
        self.ropes.iter().any(Rope::rerotates)
    }

    /// One table per span of a rule.
    pub fn of_spans(&self, rule: usize) -> &[SpanRotary<B>] {
        &self.rules[rule].spans
    }

    /// What rotates keys, and the queries that meet them, to make and to score what represents a chunk.
    pub fn of_chunks(&self, rule: usize) -> &Rotary<B> {
        &self.choosing(rule).0
    }

    /// Where keys of chosen chunks stand, and queries in their slots.
    pub fn of_slots(&self, rule: usize) -> (&Rotary<B>, &Rotary<B>) {
        let (_, keys) = self.choosing(rule);
        (keys, self.slots[rule].as_ref().map_or(keys, |(_, slots)| slots))
    }

    fn choosing(&self, rule: usize) -> &(Rotary<B>, Rotary<B>) {
        self.rules[rule].chunks.as_ref().expect("a rule that chooses has tables for it")
    }
}
