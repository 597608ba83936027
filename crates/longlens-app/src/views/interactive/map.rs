//! Pages of attention maps: of some heads pools of the whole text down to windows of single tokens, of all heads a small map.

use longlens_core::trace::{MapPick, MapWindow, PooledMap, RowPick, Watch};
use longlens_plot::page::packed;
use serde_json::{Map, Value, json};

use super::{Record, Room, on_shares};
use crate::heads::Heads;
use crate::problem::Problem;
use crate::views::Subject;

/// Cells of a side of whole maps, and of windows.
const SIDE: usize = 256;
/// Tokens of a side of windows of other heads than the first.
const NARROW: usize = 128;
/// Cells of a side of the finer whole map of the head that is shown first.
const FINE: usize = 1024;
/// Heads of which more than the small map is stored.
const N_HEADS: usize = 4;
/// Cells of the small maps of all heads together, and of a side at most.
const SMALL_CELLS: usize = 400_000;
const SMALL_SIDE: usize = 64;
/// Queries whose attention on every key is stored.
const N_ROWS: usize = 6;

/// The data of the page that shows the map of a layer's head first.
pub fn page(subject: &Subject, first: (usize, usize), record: &mut Record) -> Result<Map<String, Value>, Problem> {
    let spec = &subject.model.spec;
    let (n_layers, n_heads, n_tokens) = (spec.n_layers, spec.n_heads, subject.n_tokens);
    let query = subject.query;
    let watch = Heads::watch(subject.model, query, query..query + 1, subject.chunk_len);
    let heads = Heads::new(record(&watch)?, query).ok_or_else(|| Problem::new("no attention was recorded", None))?;
    let scores: Vec<f32> = heads.all().map(|(layer, head)| heads.score(layer, head, subject.needle.as_ref())).collect();
    let chosen = chosen(&heads, &scores, first);

    let asked: Vec<MapPick> = chosen.iter().flat_map(|head| picks(subject, *head, *head == first)).collect();
    let rows: Vec<RowPick> = chosen
        .iter()
        .flat_map(|(layer, head)| {
            row_queries(subject).into_iter().map(|query| RowPick { layer: *layer, head: *head, query })
        })
        .collect();
    let detailed = record(&Watch { maps: asked.clone(), rows, ..Watch::default() })?;
    let side = small_side(n_layers * n_heads, n_tokens);
    let small = heads.all().map(|head| whole(head, side, n_tokens)).collect();
    let mut small = record(&Watch { maps: small, ..Watch::default() })?;
    small.maps.sort_by_key(|map| (map.pick.layer, map.pick.head));

    let mut room = Room::new();
    let texts = room.texts(subject.pieces);
    // what a reader looks at first is kept first: the first head's whole map, all heads, its row, its other maps, then other heads
    let mut maps = asked.iter().filter_map(|pick| detailed.maps.iter().find(|map| map.pick == *pick));
    let mut levels: Vec<Value> = maps.by_ref().take(1).map(|map| level(map, &mut room)).collect();
    let cells: Vec<f32> = small.maps.iter().flat_map(|map| map.mean.iter().copied()).collect();
    let side = small.maps.first().map_or(0, |map| map.side);
    let all = room.take("the small maps of all heads", packed::coded_shares(&[n_layers, n_heads, side, side], &cells));
    let stride = small.maps.first().map_or(1, |map| map.stride);
    let is_first = |pick: &RowPick| (pick.layer, pick.head, pick.query) == (first.0, first.1, query);
    let (shown, others): (Vec<_>, Vec<_>) = detailed.rows.iter().partition(|(pick, _)| is_first(pick));
    let mut rows: Vec<Value> = shown.into_iter().map(|row| stored_row(row, &mut room)).collect();
    levels.extend(maps.map(|map| level(map, &mut room)));
    rows.extend(others.into_iter().map(|row| stored_row(row, &mut room)));
    rows.retain(|row| !row["weights"].is_null());
    levels.retain(|level| !level["mean"].is_null());

    let named: Vec<String> = chosen.iter().map(|(layer, head)| format!("layer {layer} head {head}")).collect();
    room.says(format!("Maps of {}: the whole text, and windows down to single tokens around the query, the needle and the first tokens.", named.join(", ")));
    room.says(format!("Of all {} heads a small map, {stride} tokens a cell.", n_layers * n_heads));
    let from: Vec<String> = row_queries(subject).iter().map(ToString::to_string).collect();
    room.says(format!("Attention on every key of these heads from the tokens {}.", from.join(", ")));
    room.says(on_shares());
    let data = json!({
        "kind": "map", "n_layers": n_layers, "n_heads": n_heads, "layer": first.0, "head": first.1, "query": query,
        "heads": chosen, "levels": levels, "rows": rows, "small": { "side": side, "stride": stride, "mean": all },
        "number": {
            "name": if subject.needle.is_some() { "attention on the needle" } else { "attention far away" }, "unit": "share",
            "values": packed::numbers(&[n_layers, n_heads], &scores),
        },
        "texts": texts, "stored": room.sentences(),
    });
    Ok(data.as_object().cloned().unwrap_or_default())
}

/// The head that is shown first, then those that fetch most.
fn chosen(heads: &Heads, scores: &[f32], first: (usize, usize)) -> Vec<(usize, usize)> {
    let mut order: Vec<_> = heads.all().zip(scores).collect();
    order.sort_by(|a, b| b.1.total_cmp(a.1));
    let others = order.into_iter().map(|(head, _)| head).filter(|head| *head != first);
    std::iter::once(first).chain(others).take(N_HEADS).collect()
}

fn whole((layer, head): (usize, usize), side: usize, n_tokens: usize) -> MapPick {
    let window = Some(MapWindow { query: 0, key: 0, len: n_tokens });
    MapPick { layer, head, side, window }
}

/// The maps of a head, of the first one more.
fn picks(subject: &Subject, (layer, head): (usize, usize), is_first: bool) -> Vec<MapPick> {
    let n = subject.n_tokens;
    let mut picks = vec![whole((layer, head), SIDE.min(n), n)];
    let of = |window| MapPick { layer, head, side: SIDE, window: Some(window) };
    let side = if is_first { FINE.min(n) } else { SIDE.min(n) };
    let stride = n.div_ceil(side);
    if stride > 1 {
        let len = if is_first { SIDE } else { NARROW };
        picks.extend(windows(subject, len).into_iter().map(of));
    }
    if side > SIDE {
        picks.push(whole((layer, head), side, n));
    }
    if is_first && stride >= 32 {
        // half way between the pool and single tokens, by ratio
        picks.extend(windows(subject, SIDE * stride.isqrt().next_power_of_two()).into_iter().map(of));
    }
    picks
}

/// Windows of `len` tokens a side around what is looked at: the query's keys nearby, the needle's, and the first ones.
fn windows(subject: &Subject, len: usize) -> Vec<MapWindow> {
    let n = subject.n_tokens;
    let around = |token: usize| token.saturating_sub(len / 2).min(n.saturating_sub(len));
    let query = (subject.query + 1).saturating_sub(len * 7 / 8).min(n.saturating_sub(len));
    let mut windows = vec![MapWindow { query, key: query, len }];
    if let Some(needle) = &subject.needle {
        let key = around(needle.start.midpoint(needle.end));
        windows.extend([MapWindow { query, key, len }, MapWindow { query: key, key, len }]);
    }
    windows.push(MapWindow { query, key: 0, len });
    let mut distinct = Vec::new();
    for window in windows {
        if !distinct.contains(&window) {
            distinct.push(window);
        }
    }
    distinct
}

/// Queries whose rows are stored: the one that is shown, those of the answer, and those around the needle.
fn row_queries(subject: &Subject) -> Vec<usize> {
    let last = subject.n_tokens - 1;
    let answer = subject.answer.clone().unwrap_or_default().take(3);
    let needle = subject.needle.iter().map(|needle| needle.end.saturating_sub(1));
    let mut queries = vec![subject.query];
    for query in answer.chain(needle).chain([last, last / 2]) {
        if query <= last && !queries.contains(&query) && queries.len() < N_ROWS {
            queries.push(query);
        }
    }
    queries.sort_unstable();
    queries
}

/// Cells of a side of each of so many small maps.
fn small_side(n_maps: usize, n_tokens: usize) -> usize {
    (SMALL_CELLS / n_maps.max(1)).isqrt().clamp(8, SMALL_SIDE).min(n_tokens)
}

fn stored_row((pick, weights): &(RowPick, Vec<f32>), room: &mut Room) -> Value {
    let what = format!("the row of token {} of layer {}, head {}", pick.query, pick.layer, pick.head);
    let weights = room.take(what, packed::shares(&[weights.len()], weights));
    json!({ "layer": pick.layer, "head": pick.head, "query": pick.query, "weights": weights })
}

fn level(map: &PooledMap, room: &mut Room) -> Value {
    let window = map.pick.window.unwrap_or(MapWindow { query: 0, key: 0, len: map.n_tokens });
    let (shape, stride) = ([map.side, map.side], map.stride);
    let place = format!("tokens {}+{} by {}+{}", window.query, window.len, window.key, window.len);
    let what = format!("layer {} head {}, {place}, {stride} a cell", map.pick.layer, map.pick.head);
    let mean = room.take(what.clone(), packed::coded_shares(&shape, &map.mean));
    // of the coarse map alone; a cell of one query and one key has one weight
    let is_coarse = (window.query, window.key) == (0, 0) && map.side <= SIDE;
    let max = if stride == 1 || mean.is_null() || !is_coarse {
        Value::Null
    } else {
        room.take(format!("{what} (largest weights)"), packed::coded_shares(&shape, &map.max))
    };
    json!({
        "layer": map.pick.layer, "head": map.pick.head, "query": window.query, "key": window.key, "len": window.len,
        "side": map.side, "stride": stride, "mean": mean, "max": max,
    })
}
