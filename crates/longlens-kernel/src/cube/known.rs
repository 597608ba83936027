//! Numbers on the device that outlive a launch: what all layers of a call upload alike, and counters that kernels leave as they found
//! them.

use std::any::TypeId;
use std::sync::{Mutex, PoisonError};

use cubecl::client::ComputeClient;
use cubecl::device::{Device, DeviceId};
use cubecl::prelude::*;
use cubecl::server::Handle;
use cubecl::stream_id::StreamId;

/// A buffer, and what it is of: the newest come first.
struct Known {
    runtime: TypeId,
    device: DeviceId,
    of: Of,
    handle: Handle,
}

#[derive(PartialEq)]
enum Of {
    /// Numbers that nobody writes to.
    Numbers(Box<[u32]>),
    /// So many zeros of one stream, whose launches follow one another.
    Zeros(StreamId, usize),
}

static KNOWN: Mutex<Vec<Known>> = Mutex::new(Vec::new());

/// Buffers of a device that are kept, at most.
const MOST_KEPT: usize = 16;
/// Numbers of a buffer that is kept, at most.
const MOST_NUMBERS: usize = 1 << 18;

/// Whole numbers on the device, to be read alone. Layers of one call ask for the same ones, which are uploaded once.
pub(crate) fn upload_once<R: Runtime>(client: &ComputeClient<R>, device: &R::Device, numbers: &[u32]) -> Handle {
    if numbers.len() > MOST_NUMBERS {
        return client.create_from_slice(u32::as_bytes(numbers));
    }
    let is_same = |of: &Of| matches!(of, Of::Numbers(known) if **known == *numbers);
    kept::<R>(device, is_same, || (Of::Numbers(numbers.into()), client.create_from_slice(u32::as_bytes(numbers))))
}

/// The same of several lists, none of them empty, that lie together: the places of each. Places inside a buffer are what CUDA text alone
/// takes.
#[cfg(feature = "cuda-text")]
pub(crate) fn upload_lists_once<R: Runtime, const N: usize>(
    client: &ComputeClient<R>,
    device: &R::Device,
    lists: [&[u32]; N],
) -> [Handle; N] {
    let numbers = lists.concat();
    let all = upload_once::<R>(client, device, &numbers);
    let mut begin = 0;
    lists.map(|list| {
        let bytes = |n: usize| (n * size_of::<u32>()) as u64;
        let place = all.clone().offset_start(bytes(begin));
        begin += list.len();
        place.offset_end(bytes(numbers.len() - begin))
    })
}

/// At least `n` numbers that are zero before a launch of this thread, whose kernel leaves zeros.
#[cfg(feature = "cuda-text")]
pub(crate) fn zeros<R: Runtime>(client: &ComputeClient<R>, device: &R::Device, n: usize) -> Handle {
    let stream = StreamId::current();
    let n = n.next_power_of_two().max(LEAST_ZEROS);
    let is_same = |of: &Of| *of == Of::Zeros(stream, n);
    kept::<R>(device, is_same, || (Of::Zeros(stream, n), client.create_from_slice(u32::as_bytes(&vec![0; n]))))
}

/// Zeros that are kept together.
#[cfg(feature = "cuda-text")]
const LEAST_ZEROS: usize = 256;

/// Forgets what is kept of a runtime's devices.
pub(crate) fn forget<R: Runtime>() {
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    known.retain(|known| known.runtime != TypeId::of::<R>());
}

fn kept<R: Runtime>(device: &R::Device, is_same: impl Fn(&Of) -> bool, make: impl FnOnce() -> (Of, Handle)) -> Handle {
    let (runtime, device) = (TypeId::of::<R>(), device.to_id());
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    let is_here = |known: &Known| known.runtime == runtime && known.device == device;
    if let Some(at) = known.iter().position(|known| is_here(known) && is_same(&known.of)) {
        known[..=at].rotate_right(1);
        return known[0].handle.clone();
    }
    let (of, handle) = make();
    known.insert(0, Known { runtime, device, of, handle: handle.clone() });
    let mut n_here = 0;
    known.retain(|known| {
        n_here += usize::from(is_here(known));
        !is_here(known) || n_here <= MOST_KEPT
    });
    handle
}
