//! Names for cells that come without one.

use std::collections::{HashMap, HashSet};

use super::{Cell, Kind};
use crate::hash::hash64;

/// Gives every cell without an id the one that its text asks for, or the next that is free.
pub fn name_cells(cells: &mut [Cell]) {
    let mut taken: HashSet<String> = cells.iter().map(|cell| cell.id.clone()).collect();
    let wishes = wishes(cells);
    for (cell, wish) in cells.iter_mut().zip(wishes) {
        if !cell.id.is_empty() {
            continue;
        }
        cell.id = wish;
        while taken.contains(&cell.id) {
            cell.id = short(hash64([cell.id.as_bytes()]));
        }
        taken.insert(cell.id.clone());
    }
}

/// The id that each cell gets if it has none: made of its kind, its text and how many equal ones stand before it, so that
/// the same file gives the same ids every time.
pub fn wishes(cells: &[Cell]) -> Vec<String> {
    let mut n_equal: HashMap<(Kind, &str), u64> = HashMap::new();
    let mut wishes = Vec::with_capacity(cells.len());
    for Cell { kind, source, .. } in cells {
        let count = n_equal.entry((*kind, source)).or_default();
        *count += 1;
        wishes.push(short(hash64([kind.name().as_bytes(), source.as_bytes(), &count.to_le_bytes()])));
    }
    wishes
}

/// Whether the format allows an id.
pub fn is_id(text: &str) -> bool {
    (1..=64).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
}

/// Eight hexadecimal digits, as long as the ids that Jupyter makes.
fn short(hash: u64) -> String {
    format!("{:08x}", (hash >> 32) as u32 ^ hash as u32)
}
