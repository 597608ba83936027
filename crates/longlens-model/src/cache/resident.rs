//! Chunks of keys and values that are on the device while the whole cache is in the host's memory: what generated tokens chose lately,
//! and the chunk that is being written.
//!
//! Chunks of packed slots stand at no position of their own, so a chunk may lie anywhere: a choice names places instead of chunks. What
//! is missing is uploaded in one piece, to the places of what was not chosen for longest.

use std::ops::Range;

use burn_tensor::{Int, Tensor, TensorData};
use longlens_core::memory::n_places;
use longlens_kernel::Kernels;

use super::host::HostRows;

/// Chunks that one token chose, on the device.
#[derive(Debug)]
pub struct Brought<B: Kernels> {
    /// `[n_kv_heads, rows, head_dim]`: chunk after chunk, the newest one last and as long as it is.
    pub key: Tensor<B, 3>,
    /// Likewise.
    pub value: Tensor<B, 3>,
    /// `[n_heads, 1, n_slots]`: the choice, as places among those chunks.
    pub places: Tensor<B, 3, Int>,
}

/// Of every key head, places for chunks; the last place of each holds the newest chunk.
#[derive(Debug)]
pub struct Resident<B: Kernels> {
    chunk_len: usize,
    key: Tensor<B, 3>,   // [n_kv_heads, n_places * chunk_len, head_dim]
    value: Tensor<B, 3>, // likewise
    /// Of every key head and place, which chunk lies there, and the step that chose it last.
    places: Vec<Vec<Place>>,
    /// The newest chunk, and how many of its tokens are on the device.
    newest: (usize, usize),
    step: u64,
    /// Chunks fetched so far.
    n_fetched: usize,
}

#[derive(Debug, Clone, Copy, Default)]
struct Place {
    chunk: Option<usize>,
    step: u64,
}

impl<B: Kernels> Resident<B> {
    /// Empty places for tokens that choose at most `n_chosen` of `n_chunks` chunks of a key head.
    pub fn new(n_chosen: usize, n_chunks: usize, chunk_len: usize, like: &Tensor<B, 3>) -> Self {
        let [n_kv_heads, _, head_dim] = like.dims();
        let n_places = n_places(n_chosen, n_chunks) + 1;
        let room = || B::store([n_kv_heads, n_places * chunk_len, head_dim], like);
        let places = vec![vec![Place::default(); n_places - 1]; n_kv_heads];
        Self { chunk_len, key: room(), value: room(), places, newest: (0, 0), step: 0, n_fetched: 0 }
    }

    /// Whether a token can choose so many of so many chunks of a key head.
    pub fn holds(&self, n_chosen: usize, n_chunks: usize, chunk_len: usize) -> bool {
        let most = n_chosen.min(n_chunks);
        self.chunk_len == chunk_len && self.places.first().is_some_and(|places| most <= places.len())
    }

    /// Brings the chunks that one token chose, and the newest one of `n_tokens`. `chosen`: `[n_heads][n_slots]`, the last slot being the
    /// newest chunk's, of the query heads of `kv_heads`.
    pub fn bring(
        &mut self,
        chosen: &[Vec<i32>],
        n_rep: usize,
        kv_heads: Range<usize>,
        n_tokens: usize,
        [keys, values]: [&HostRows; 2],
        device: &B::Device,
    ) -> Brought<B> {
        self.step += 1;
        let n_places = self.places[0].len();
        let mut missing: Vec<(usize, usize, usize)> = Vec::new(); // key head, place, chunk
        let mut as_places: Vec<i32> = Vec::new();
        for kv_head in 0..self.places.len() {
            let heads = &chosen[kv_head * n_rep..(kv_head + 1) * n_rep];
            for chunk in heads.iter().flat_map(|slots| &slots[..slots.len() - 1]) {
                let chunk = *chunk as usize;
                let place = self.place_of(kv_head, chunk).unwrap_or_else(|| {
                    let place = self.least_used(kv_head);
                    missing.push((kv_head, place, chunk));
                    self.places[kv_head][place].chunk = Some(chunk);
                    place
                });
                self.places[kv_head][place].step = self.step;
            }
            for slots in heads {
                let complete = &slots[..slots.len() - 1];
                let place = |chunk: &i32| self.place_of(kv_head, *chunk as usize).expect("it was brought") as i32;
                as_places.extend(complete.iter().map(place));
                as_places.push(n_places as i32); // the newest chunk, of which an empty slot sees nothing
            }
        }
        self.n_fetched += missing.len();
        if !missing.is_empty() {
            missing.sort_unstable(); // neighbours are written together
            let chunk_len = self.chunk_len;
            fetch(&mut self.key, &missing, chunk_len, kv_heads.start, keys, device);
            fetch(&mut self.value, &missing, chunk_len, kv_heads.start, values, device);
        }
        self.follow(n_tokens, &kv_heads, [keys, values], device);
        let n_rows = n_places * self.chunk_len + n_tokens - self.newest.0 * self.chunk_len;
        let n_slots = chosen[0].len();
        let as_places = TensorData::new(as_places, [chosen.len(), 1, n_slots]);
        let first = |store: &Tensor<B, 3>| B::first_rows(store, n_rows);
        Brought { key: first(&self.key), value: first(&self.value), places: Tensor::from_data(as_places, device) }
    }

    fn place_of(&self, kv_head: usize, chunk: usize) -> Option<usize> {
        self.places[kv_head].iter().position(|place| place.chunk == Some(chunk))
    }

    /// The place that nobody chose for longest; none that this step chose.
    fn least_used(&self, kv_head: usize) -> usize {
        let places = self.places[kv_head].iter().enumerate();
        places.min_by_key(|(_, place)| place.step).expect("there are places").0
    }

    /// Makes the last place hold the newest chunk, up to token `n_tokens`.
    fn follow(&mut self, n_tokens: usize, kv_heads: &Range<usize>, [keys, values]: [&HostRows; 2], device: &B::Device) {
        let chunk = (n_tokens - 1) / self.chunk_len;
        let there = if self.newest.0 == chunk { self.newest.1 } else { 0 };
        let tokens = chunk * self.chunk_len + there..n_tokens;
        if !tokens.is_empty() {
            let at = self.places[0].len() * self.chunk_len + there;
            let write = |store: &mut Tensor<B, 3>, host: &HostRows| {
                // taken out: the only owner writes in place
                let empty = Tensor::empty([0, 0, 0], device);
                let whole = std::mem::replace(store, empty);
                let pieces = kv_heads.clone().map(|head| (head, tokens.clone()));
                let rows = host.gathered(pieces, [kv_heads.len(), tokens.len(), whole.dims()[2]], device);
                *store = B::write_rows(whole, at, rows);
            };
            write(&mut self.key, keys);
            write(&mut self.value, values);
        }
        self.newest = (chunk, n_tokens - chunk * self.chunk_len);
    }
}

/// Brings missing chunks (key head, place, chunk; in order) to their places: one upload, and a write for places that are neighbours.
fn fetch<B: Kernels>(
    store: &mut Tensor<B, 3>,
    missing: &[(usize, usize, usize)],
    chunk_len: usize,
    first_head: usize,
    host: &HostRows,
    device: &B::Device,
) {
    let ([n_kv_heads, n_rows, head_dim], w) = (store.dims(), chunk_len);
    let pieces = missing.iter().map(|(kv_head, _, chunk)| (first_head + kv_head, chunk * w..(chunk + 1) * w));
    let uploaded = host.gathered::<B, 3>(pieces, [1, missing.len() * w, head_dim], device);
    // taken out: the only owner writes in place
    let whole = std::mem::replace(store, Tensor::empty([0, 0, 0], device));
    let mut rows = whole.reshape([1, n_kv_heads * n_rows, head_dim]);
    let row = |(kv_head, place, _): (usize, usize, usize)| kv_head * n_rows + place * w;
    let mut from = 0;
    for run in missing.chunk_by(|a, b| row(*a) + w == row(*b)) {
        let until = from + run.len() * w;
        rows = B::write_rows(rows, row(run[0]), uploaded.clone().slice([0..1, from..until, 0..head_dim]));
        from = until;
    }
    *store = rows.reshape([n_kv_heads, n_rows, head_dim]);
}

#[cfg(test)]
mod tests {
    use burn_flex::{Flex, FlexDevice};

    use super::*;

    const W: usize = 4;
    const WIDTH: usize = 2;

    fn name(head: usize, token: usize) -> f32 {
        (1000 * head + token) as f32
    }

    /// Two key heads; the number of a row says whose it is.
    fn host(n_tokens: usize, sign: f32) -> HostRows {
        let numbers: Vec<f32> =
            (0..2 * n_tokens * WIDTH).map(|at| sign * name(at / WIDTH / n_tokens, at / WIDTH % n_tokens)).collect();
        let rows = Tensor::<Flex, 3>::from_data(TensorData::new(numbers, [2, n_tokens, WIDTH]), &FlexDevice);
        let mut host = HostRows::new(64, &rows);
        host.write(0, rows);
        host
    }

    fn row(t: &Tensor<Flex, 3>, head: usize, at: usize) -> f32 {
        t.clone().slice([head..head + 1, at..at + 1, 0..1]).into_scalar()
    }

    #[test]
    fn chunks_are_fetched_once_and_lie_where_the_choice_says() {
        let like = Tensor::<Flex, 3>::zeros([2, 1, WIDTH], &FlexDevice);
        let mut resident = Resident::new(2, 9, W, &like);
        // chunks of both key heads, the slot of the newest one, and how many had to be fetched since the first token
        let steps = [
            (21, [[0, 2, 5], [1, 2, 5]], 4),
            (22, [[0, 2, 5], [1, 2, 5]], 4), // all there
            (23, [[0, 3, 5], [1, 2, 5]], 5),
            (25, [[3, 5, 6], [1, 5, 6]], 7), // the chunk that was written is complete now
            (26, [[0, 2, 6], [0, 4, 6]], 9), // still there, beside two others
        ];
        for (n_tokens, chosen, n_fetched) in steps {
            let (keys, values) = (host(n_tokens, 1.0), host(n_tokens, -1.0));
            let choices: Vec<Vec<i32>> = chosen.iter().map(|slots| slots.to_vec()).collect();
            let brought = resident.bring(&choices, 1, 0..2, n_tokens, [&keys, &values], &FlexDevice);
            assert_eq!(resident.n_fetched, n_fetched, "after {n_tokens} tokens");
            let places = brought.places.into_data().convert::<i32>();
            let places = places.as_slice::<i32>().unwrap();
            for (head, slots) in chosen.iter().enumerate() {
                for (slot, chunk) in slots.iter().enumerate() {
                    let (place, chunk) = (places[head * 3 + slot] as usize, *chunk as usize);
                    for offset in 0..W.min(n_tokens - chunk * W) {
                        let expected = name(head, chunk * W + offset);
                        assert_eq!(row(&brought.key, head, place * W + offset).to_bits(), expected.to_bits());
                        assert_eq!(row(&brought.value, head, place * W + offset).to_bits(), (-expected).to_bits());
                    }
                }
            }
        }
    }
}
