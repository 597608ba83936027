//! Numbers and texts of a header, one after another; what the file is too short for is an error that says so.

/// A place in a header.
#[derive(Debug)]
pub(super) struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

/// Headers are not longer than this: a vocabulary of a million tokens takes some ten megabytes.
const MAX_HEADER: usize = 512 << 20;

impl<'a> Cursor<'a> {
    pub fn new(bytes: &'a [u8], at: usize) -> Self {
        Self { bytes, at }
    }

    /// The next byte's place in the file.
    pub fn at(&self) -> usize {
        self.at
    }

    /// The next `n` bytes, which are `what`.
    pub fn take(&mut self, n: usize, what: &str) -> Result<&'a [u8], String> {
        let has = self.bytes.len();
        let end = self.at.checked_add(n).filter(|end| *end <= has);
        let Some(end) = end else {
            return Err(format!(
                "is cut short: {what} would take {n} bytes from byte {} on, and the file has {has}",
                self.at
            ));
        };
        if end > MAX_HEADER {
            return Err(format!("has a header of more than {} MiB: {what} ends at byte {end}", MAX_HEADER >> 20));
        }
        let taken = &self.bytes[self.at..end];
        self.at = end;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self, what: &str) -> Result<[u8; N], String> {
        Ok(self.take(N, what)?.try_into().expect("as many were taken"))
    }

    pub fn u32(&mut self, what: &str) -> Result<u32, String> {
        self.array(what).map(u32::from_le_bytes)
    }

    pub fn u64(&mut self, what: &str) -> Result<u64, String> {
        self.array(what).map(u64::from_le_bytes)
    }

    /// How many of `things` follow, each of at least `size` bytes.
    pub fn count(&mut self, things: &str, size: usize) -> Result<usize, String> {
        let n = self.u64(&format!("the number of {things}"))?;
        let room = self.bytes.len().min(MAX_HEADER).saturating_sub(self.at) / size.max(1);
        usize::try_from(n)
            .ok()
            .filter(|n| *n <= room)
            .ok_or_else(|| format!("says that it has {n} {things}, and what is left of it has room for {room}"))
    }

    /// A text with its length before it.
    pub fn text(&mut self, what: &str) -> Result<&'a str, String> {
        let n = self.u64(&format!("the length of {what}"))?;
        let bytes = self.take(usize::try_from(n).unwrap_or(usize::MAX), what)?;
        std::str::from_utf8(bytes).map_err(|_| format!("has {what} that is no UTF-8 text"))
    }
}
