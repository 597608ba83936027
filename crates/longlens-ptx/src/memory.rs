//! Global memory: buffers apart from each other, with a note of which bytes were written.

use half::{bf16, f16};

/// Unused addresses between buffers, so that an access past the end of one does not meet the next.
const GAP: u64 = 1 << 20;
/// The address of the first buffer.
const FIRST: u64 = 0x7_0000_0000;
/// What a byte holds that was never written: NaN in every float type.
const UNWRITTEN: u8 = 0xff;

/// A buffer's device address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Buffer(pub u64);

impl Buffer {
    /// The address that many bytes further.
    #[must_use]
    pub fn offset(self, bytes: u64) -> Self {
        Self(self.0 + bytes)
    }
}

/// A number type that buffers are made of.
pub trait Plain: Copy {
    const BYTES: usize;
    fn put(self, out: &mut Vec<u8>);
    fn take(bytes: &[u8]) -> Self;
}

macro_rules! plain {
    ($($number:ty),*) => {$(
        impl Plain for $number {
            const BYTES: usize = size_of::<$number>();
            fn put(self, out: &mut Vec<u8>) { out.extend_from_slice(&self.to_le_bytes()); }
            fn take(bytes: &[u8]) -> Self { Self::from_le_bytes(bytes.try_into().expect("a chunk of its size")) }
        }
    )*};
}

plain!(u8, i8, u16, i16, u32, i32, u64, i64, f32, f64, f16, bf16);

/// The bytes of a slice of numbers.
pub fn bytes_of<T: Plain>(values: &[T]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(values.len() * T::BYTES);
    for value in values {
        value.put(&mut bytes);
    }
    bytes
}

#[derive(Debug, Clone)]
pub(crate) struct Allocation {
    pub name: String,
    pub base: u64,
    pub data: Vec<u8>,
    /// 1 for bytes that hold something.
    pub written: Vec<u8>,
    pub writable: bool,
    pub loaded: u64,
    pub stored: u64,
}

/// The device's global memory.
#[derive(Debug, Clone, Default)]
pub struct Memory {
    pub(crate) allocations: Vec<Allocation>,
    /// The allocation that the last access found.
    last: usize,
    next: u64,
}

impl Memory {
    pub fn new() -> Self {
        Self { allocations: Vec::new(), last: 0, next: FIRST }
    }

    /// A buffer that kernels may only read.
    pub fn input<T: Plain>(&mut self, name: &str, values: &[T]) -> Buffer {
        self.add(name, bytes_of(values), true, false)
    }

    /// A buffer that holds something and may be written.
    pub fn in_out<T: Plain>(&mut self, name: &str, values: &[T]) -> Buffer {
        self.add(name, bytes_of(values), true, true)
    }

    /// A buffer for `count` numbers that holds nothing yet.
    pub fn output<T: Plain>(&mut self, name: &str, count: usize) -> Buffer {
        self.add(name, vec![UNWRITTEN; count * T::BYTES], false, true)
    }

    /// All numbers of a buffer. What nobody wrote reads as NaN or as the largest number.
    pub fn read<T: Plain>(&self, buffer: Buffer) -> Vec<T> {
        self.allocation(buffer).data.chunks_exact(T::BYTES).map(T::take).collect()
    }

    /// How many bytes of a buffer were never written.
    pub fn unwritten(&self, buffer: Buffer) -> usize {
        let written = &self.allocation(buffer).written;
        written.len() - written.iter().map(|byte| usize::from(*byte)).sum::<usize>()
    }

    /// Replaces what a buffer holds.
    pub fn write<T: Plain>(&mut self, buffer: Buffer, values: &[T]) {
        let bytes = bytes_of(values);
        let allocation = self.allocations.iter_mut().find(|allocation| allocation.base == buffer.0);
        let allocation = allocation.expect("the buffer is of this memory");
        allocation.data[..bytes.len()].copy_from_slice(&bytes);
        allocation.written[..bytes.len()].fill(1);
    }

    fn allocation(&self, buffer: Buffer) -> &Allocation {
        self.allocations
            .iter()
            .find(|allocation| allocation.base == buffer.0)
            .expect("the buffer is of this memory, and not an address inside one")
    }

    fn add(&mut self, name: &str, data: Vec<u8>, filled: bool, writable: bool) -> Buffer {
        let base = self.next.max(FIRST);
        self.next = (base + data.len() as u64).next_multiple_of(1 << 12) + GAP;
        self.place(name, base, data, filled, writable);
        Buffer(base)
    }

    /// Puts a variable of a module at its address, unless it is there already.
    pub(crate) fn place_variable(&mut self, name: &str, base: u64, data: Vec<u8>, writable: bool) {
        if !self.allocations.iter().any(|allocation| allocation.base == base) {
            self.place(name, base, data, true, writable);
        }
    }

    fn place(&mut self, name: &str, base: u64, data: Vec<u8>, filled: bool, writable: bool) {
        let written = vec![u8::from(filled); data.len()];
        let at = self.allocations.partition_point(|allocation| allocation.base < base);
        let name = name.to_string();
        self.allocations.insert(at, Allocation { name, base, data, written, writable, loaded: 0, stored: 0 });
    }

    /// The allocation that holds these bytes, and where in it.
    pub(crate) fn locate(&mut self, address: u64, bytes: usize) -> Option<(usize, usize)> {
        let holds = |allocation: &Allocation| {
            let offset = address.checked_sub(allocation.base)? as usize;
            (offset + bytes <= allocation.data.len()).then_some(offset)
        };
        if let Some(offset) = self.allocations.get(self.last).and_then(holds) {
            return Some((self.last, offset));
        }
        let at = self.allocations.partition_point(|allocation| allocation.base <= address).checked_sub(1)?;
        let offset = holds(&self.allocations[at])?;
        self.last = at;
        Some((at, offset))
    }

    /// Where a wrong address lies, in words.
    pub(crate) fn describe(&self, address: u64, bytes: usize) -> String {
        if address < 4096 {
            return format!("address {address:#x} is a null pointer");
        }
        let distance = |allocation: &Allocation| {
            let end = allocation.base + allocation.data.len() as u64;
            allocation.base.saturating_sub(address).max(address.saturating_sub(end))
        };
        let Some(near) = self.allocations.iter().min_by_key(|allocation| distance(allocation)) else {
            return format!("{bytes} bytes at {address:#x}, and no buffer exists");
        };
        let (name, size) = (&near.name, near.data.len());
        if address < near.base {
            return format!("{bytes} bytes, {} before the start of `{name}` ({size} bytes)", near.base - address);
        }
        format!("{bytes} bytes at offset {} of `{name}`, which has {size}", address - near.base)
    }

    /// Takes over what a copy changed since `before`; the name of a buffer in which another change differs is an error.
    pub(crate) fn take_over(&mut self, before: &Self, after: &Self) -> Result<(), String> {
        let others = before.allocations.iter().zip(&after.allocations);
        for (own, (before, after)) in self.allocations.iter_mut().zip(others) {
            own.loaded += after.loaded;
            own.stored += after.stored;
            if !own.writable {
                continue;
            }
            for at in 0..own.data.len() {
                let value = |memory: &Allocation| (memory.data[at], memory.written[at]);
                if value(after) == value(before) {
                    continue;
                }
                if value(own) != value(before) && value(own) != value(after) {
                    return Err(own.name.clone());
                }
                (own.data[at], own.written[at]) = value(after);
            }
        }
        Ok(())
    }

    pub(crate) fn reset_traffic(&mut self) {
        for allocation in &mut self.allocations {
            (allocation.loaded, allocation.stored) = (0, 0);
        }
    }
}
