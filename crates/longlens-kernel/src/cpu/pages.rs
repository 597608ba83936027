//! Huge pages: memory that a generated token reads whole is read half as fast again if the processor has fewer addresses to look up.

/// Bytes of a huge page.
#[cfg(target_os = "linux")]
pub(crate) const HUGE: usize = 2 << 20;

/// So many zeros, in huge pages where there are as many as fill one and the system has them.
pub(crate) fn zeros(len: usize) -> Vec<f32> {
    let zeros = vec![0.0; len];
    #[cfg(target_os = "linux")]
    if size_of_val(&zeros[..]) >= HUGE {
        // the pages of both ends too, which neighbours share: advice changes nothing but speed
        let first = zeros.as_ptr().addr() / HUGE * HUGE;
        let len = zeros.as_ptr_range().end.addr().next_multiple_of(HUGE) - first;
        let advise = |advice| {
            // SAFETY: advice on pages of this process, whose contents stay; where some are not there or it is refused, nothing is lost
            unsafe { libc::madvise(std::ptr::without_provenance_mut(first), len, advice) }
        };
        advise(libc::MADV_HUGEPAGE);
        // memory that was used before lies in small pages already
        advise(libc::MADV_COLLAPSE);
    }
    zeros
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zeros_are_zeros_wherever_they_lie() {
        // memory that was used before, smaller and larger than a huge page
        for len in [0, 1, 1 << 18, (1 << 19) + 5, 1 << 20, (3 << 20) + 1] {
            drop(vec![7.0_f32; len]);
            let mut numbers = zeros(len);
            assert!(numbers.len() == len && numbers.iter().all(|n| *n == 0.0), "{len}");
            numbers.fill(1.0);
            assert!(zeros(len).iter().all(|n| *n == 0.0), "{len}");
        }
    }
}
