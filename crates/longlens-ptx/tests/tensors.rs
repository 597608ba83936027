//! Boxes of tensors of one to five dimensions, through the copy engine and back.

use longlens_ptx::{Launch, Memory, Module, Swizzle, TensorMap};

/// A tensor of 16-bit numbers, dense, the first dimension contiguous.
fn map(address: u64, dims: &[u64], box_dims: &[u32], swizzle: Swizzle) -> TensorMap {
    let strides = (1..dims.len()).map(|axis| 2 * dims[..axis].iter().product::<u64>()).collect();
    TensorMap { address, element_bytes: 2, dims: dims.to_vec(), strides, box_dims: box_dims.to_vec(), swizzle }
}

/// A kernel that loads a box, writes out shared memory as it is, and stores the box to a second tensor.
fn text(rank: usize, at: &[i32], words: usize) -> String {
    let coordinates = at.iter().map(ToString::to_string).collect::<Vec<String>>().join(", ");
    format!(
        ".version 9.0\n.target sm_90a\n.address_size 64
        .visible .entry k(.param .align 64 .b8 from[128], .param .align 64 .b8 to[128], .param .u64 out) {{
            .shared .align 1024 .b8 tile[{bytes}]; .shared .align 8 .b8 bar[8];
            .reg .pred %p<4>; .reg .b32 %r<9>; .reg .b64 %rd<9>;
            mov.b64 %rd1, from; mov.b64 %rd2, to; cvta.param.u64 %rd2, %rd2; ld.param.u64 %rd3, [out];
            mov.u32 %r1, %tid.x; mov.u32 %r2, tile; mov.u32 %r3, bar; setp.eq.u32 %p1, %r1, 0;
            @%p1 prefetch.tensormap [%rd1];
            @%p1 mbarrier.init.shared.b64 [%r3], 1; @%p1 fence.mbarrier_init.release.cluster; bar.sync 0;
            @%p1 mbarrier.arrive.expect_tx.shared.b64 _, [%r3], {bytes};
            @%p1 cp.async.bulk.tensor.{rank}d.shared::cluster.global.tile.mbarrier::complete_tx::bytes
                [%r2], [%rd1, {{{coordinates}}}], [%r3];
            wait: mbarrier.try_wait.parity.shared.b64 %p2, [%r3], 0; @!%p2 bra wait;
            mov.u32 %r4, %r1;
            copy: mad.lo.u32 %r5, %r4, 4, %r2; ld.shared.u32 %r6, [%r5]; mad.wide.u32 %rd4, %r4, 4, %rd3; st.global.u32 [%rd4], %r6;
            add.u32 %r4, %r4, 32; setp.lt.u32 %p3, %r4, {words}; @%p3 bra copy;
            @!%p1 bra end;
            cp.async.bulk.tensor.{rank}d.global.shared::cta.tile.bulk_group [%rd2, {{{coordinates}}}], [%r2];
            cp.async.bulk.commit_group; cp.async.bulk.wait_group.read 0;
            end: ret;
        }}",
        bytes = 4 * words,
    )
}

/// Indices of all elements of a box or tensor, the first dimension fastest.
fn indices(dims: &[usize]) -> impl Iterator<Item = Vec<usize>> + '_ {
    (0..dims.iter().product()).map(move |mut n: usize| {
        let index = dims.iter().map(|extent| (n % extent, n /= extent).0);
        index.collect()
    })
}

fn check(dims: &[u64], box_dims: &[u32], at: &[i32], swizzle: Swizzle) {
    let n = dims.iter().product::<u64>() as usize;
    let values: Vec<u16> = (0..n).map(|i| i as u16 + 1).collect();
    let box_len = box_dims.iter().product::<u32>() as usize;
    let module = Module::parse(&text(dims.len(), at, box_len / 2)).unwrap_or_else(|error| panic!("{error}"));
    let mut memory = Memory::new();
    let (from, to) = (memory.input("from", &values), memory.in_out("to", &vec![0u16; n]));
    let out = memory.output::<u16>("out", box_len);
    let launch = Launch::new(&module, "k").block(32, 1, 1);
    let launch = launch.arg(map(from.0, dims, box_dims, swizzle)).arg(map(to.0, dims, box_dims, swizzle)).arg(out);
    launch.run(&mut memory).unwrap_or_else(|error| panic!("{error}")).assert_clean();
    let (out, to) = (memory.read::<u16>(out), memory.read::<u16>(to));

    let extents: Vec<usize> = box_dims.iter().map(|extent| *extent as usize).collect();
    let mut stored = vec![0u16; n];
    for (place, index) in indices(&extents).enumerate() {
        let position: Vec<i64> = index.iter().zip(at).map(|(i, at)| *i as i64 + i64::from(*at)).collect();
        let is_inside = position.iter().zip(dims).all(|(p, extent)| (0..*extent as i64).contains(p));
        let flat = position.iter().zip(dims).rev().fold(0, |flat, (p, extent)| flat * *extent as i64 + p);
        let expected = if is_inside { values[flat as usize] } else { 0 };
        if is_inside {
            stored[flat as usize] = expected;
        }
        let mask = match swizzle {
            Swizzle::None => 0,
            Swizzle::Bytes32 => 1,
            Swizzle::Bytes64 => 3,
            Swizzle::Bytes128 => 7,
        };
        let byte = 2 * place;
        let mixed = byte ^ ((byte >> 7 & mask) << 4);
        assert_eq!(out[mixed / 2], expected, "{dims:?}, box {box_dims:?} at {at:?}, {swizzle:?}, element {index:?}");
    }
    assert_eq!(to, stored, "{dims:?}, box {box_dims:?} at {at:?}, {swizzle:?}");
}

#[test]
fn boxes_of_every_rank() {
    check(&[200], &[64], &[-10], Swizzle::None);
    check(&[200], &[64], &[170], Swizzle::None);
    check(&[40, 9], &[16, 8], &[30, 4], Swizzle::None);
    check(&[24, 6, 5], &[16, 4, 2], &[-3, 3, 4], Swizzle::None);
    check(&[16, 4, 3, 2], &[8, 2, 2, 2], &[3, -1, 2, 0], Swizzle::None);
    check(&[16, 3, 2, 3, 2], &[8, 2, 2, 1, 2], &[12, 1, -1, 2, 1], Swizzle::None);
}

#[test]
fn boxes_of_every_swizzle() {
    check(&[40, 40], &[16, 32], &[5, 20], Swizzle::Bytes32);
    check(&[40, 40], &[32, 32], &[5, 20], Swizzle::Bytes64);
    check(&[80, 40], &[64, 32], &[-5, 20], Swizzle::Bytes128);
    check(&[80, 40, 2], &[64, 16, 2], &[7, 30, 0], Swizzle::Bytes128);
}

#[test]
fn maps_that_the_driver_refuses() {
    let module = Module::parse(&text(1, &[0], 32)).unwrap_or_else(|error| panic!("{error}"));
    let refused = |map: TensorMap| {
        let launch = Launch::new(&module, "k").arg(map.clone()).arg(map).arg(0u64);
        launch.run(&mut Memory::new()).expect_err("the map is wrong").to_string()
    };
    assert!(refused(map(8, &[64], &[64], Swizzle::None)).contains("multiples of 16 bytes"));
    assert!(refused(map(0, &[64], &[257], Swizzle::None)).contains("1 to 256 elements"));
    assert!(refused(map(0, &[64, 8], &[32, 8], Swizzle::Bytes32)).contains("fit the swizzle"));
    assert!(refused(map(0, &[64, 8], &[64], Swizzle::None)).contains("a box of as many"));
}
