//! A head's rule as text: one row per query, one relative position per key. `.` is hidden, `?` depends on the data.

use std::fmt::Write;

use crate::plan::{HeadPlan, Prefill, Relation};

/// The relative positions of a prompt of `n_tokens`.
pub fn draw(plan: &HeadPlan, n_tokens: usize) -> String {
    let prompt = Prefill { n_tokens };
    let mut rows = String::new();
    for i in 0..n_tokens {
        for j in 0..=i {
            let gap = if j == 0 { "" } else { " " };
            match plan.relation(i, j, prompt) {
                Relation::Hidden => write!(rows, "{gap}."),
                Relation::At(position, _) | Relation::Chosen { between: (position, _), forced: true } => {
                    write!(rows, "{gap}{position}")
                }
                Relation::Chosen { forced: false, .. } => write!(rows, "{gap}?"),
            }
            .expect("a string takes any text");
        }
        rows.push('\n');
    }
    rows
}
