//! Operations row by row: rotation.

use longlens_core::plan::PosMap;
use longlens_kernel::Kernels;

use crate::{Gpu, both, close, gpu, numbers, rotary, rule};

#[test]
fn rotation_matches_on_any_strides() {
    for (heads, rows, head_dim, rotary_dim, start) in
        [(1, 1, 16, 16, 0), (4, 37, 16, 16, 5), (3, 300, 24, 16, 1), (2, 5, 7, 6, 0)]
    {
        let (_, rope) = rule("full", head_dim, rotary_dim);
        let (cpu, on_gpu) = both([rows + start, heads, head_dim]);
        let expected = Kernels::rotate(
            &rotary(&rope, &PosMap::identity(), 0..rows, &Default::default()),
            cpu.slice([start..start + rows]).swap_dims(0, 1),
        );
        let table = rotary::<Gpu>(&rope, &PosMap::identity(), 0..rows, &gpu());
        let got = Kernels::rotate(&table, on_gpu.slice([start..start + rows]).swap_dims(0, 1));
        close(&numbers(got), &numbers(expected), 1e-6, &format!("{heads} x {rows} x {head_dim}"));
    }
}
