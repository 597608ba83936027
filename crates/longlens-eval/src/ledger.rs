//! Where finished parts of a measurement go, and where those of an earlier one come from that was cut short.

/// Finished parts `T` by what tells them apart, `K`. What decides their values beside `K` is the ledger's matter: one ledger
/// answers for one measurement.
pub trait Ledger<K, T> {
    /// What an earlier run left of this part.
    fn find(&mut self, _key: &K) -> Option<T> {
        None
    }

    /// This part was just finished.
    fn finished(&mut self, _key: &K, _part: &T) {}
}

/// Nothing is kept.
impl<K, T> Ledger<K, T> for () {}
