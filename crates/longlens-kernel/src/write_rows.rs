//! New keys or values go into the room that a cache keeps for them.

use burn_tensor::Tensor;
use burn_tensor::backend::Backend;

/// Writes `rows`, `[n_heads, seq, head_dim]`, into `store`, `[n_heads, capacity, head_dim]`, from row `at` on.
pub fn reference<B: Backend>(store: Tensor<B, 3>, at: usize, rows: Tensor<B, 3>) -> Tensor<B, 3> {
    let [n_heads, seq, head_dim] = rows.dims();
    store.slice_assign([0..n_heads, at..at + seq, 0..head_dim], rows)
}

#[cfg(feature = "cube")]
pub mod cube;

#[cfg(feature = "flex")]
pub mod cpu {
    //! In place: burn-flex 0.21 copies the whole store even for its only owner.

    use burn_flex::Flex;
    use burn_tensor::{Tensor, TensorPrimitive};

    use crate::cpu::RowTensor;

    /// Returns what [`reference`](super::reference) returns. A store with another owner is copied.
    pub fn write(store: Tensor<Flex, 3>, at: usize, rows: Tensor<Flex, 3>) -> Tensor<Flex, 3> {
        let [n_heads, capacity, head_dim] = store.dims();
        let [same_heads, seq, same_dim] = rows.dims();
        assert!(same_heads == n_heads && same_dim == head_dim && at + seq <= capacity, "rows that fit the store");
        let rows = RowTensor::new(rows);
        let rows = rows.rows();
        let mut store = store.into_primitive().tensor();
        if !store.is_contiguous() || store.layout().start_offset() > 0 {
            store = store.to_contiguous();
        }
        let numbers = store.storage_mut::<f32>();
        for head in 0..n_heads {
            let from = (head * capacity + at) * head_dim;
            for (row, out) in numbers[from..from + seq * head_dim].chunks_exact_mut(head_dim).enumerate() {
                out.copy_from_slice(rows.of(head, row, head_dim));
            }
        }
        Tensor::from_primitive(TensorPrimitive::Float(store))
    }

    #[cfg(test)]
    mod tests {
        use burn_flex::FlexDevice;
        use burn_tensor::Distribution;

        use super::*;

        #[test]
        fn rows_go_where_the_reference_puts_them_and_other_owners_see_nothing() {
            let random = |shape: [usize; 3]| Tensor::<Flex, 3>::random(shape, Distribution::Default, &FlexDevice);
            let store = random([3, 20, 5]);
            let rows = random([7, 3, 5]).swap_dims(0, 1); // heads interleaved, as a projection leaves them
            let other = store.clone();
            let before = other.to_data();
            let expected = super::super::reference(store.clone(), 11, rows.clone());
            let got = write(store, 11, rows);
            assert_eq!(got.to_data(), expected.to_data());
            assert_eq!(other.to_data(), before);
        }

        #[test]
        fn the_only_owner_writes_in_place() {
            let store = Tensor::<Flex, 3>::zeros([2, 8, 4], &FlexDevice);
            let place = |t: &Tensor<Flex, 3>| t.clone().into_primitive().tensor().storage::<f32>().as_ptr();
            let before = place(&store);
            let after = write(store, 3, Tensor::ones([2, 1, 4], &FlexDevice));
            assert_eq!(place(&after), before);
        }
    }
}
