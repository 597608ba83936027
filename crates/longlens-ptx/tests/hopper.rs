//! The copy engine, `mbarrier` and `wgmma`: right kernels, and what is noticed in wrong ones.

mod common;

use std::sync::OnceLock;

use common::{Numbers, assert_only, fault, modules};
use half::bf16;
use longlens_ptx::{Buffer, Error, Launch, Memory, Mistake, Module, Report, Swizzle, TensorMap};

static MODULES: OnceLock<Vec<Module>> = OnceLock::new();

fn everywhere(check: impl Fn(&Module)) {
    MODULES.get_or_init(|| modules("hopper", &["sm_90a"])).iter().for_each(check);
}

/// Rows of 64 numbers of 16 bits, in boxes of 8 rows.
fn map(buffer: Buffer, rows: u64, swizzle: Swizzle) -> TensorMap {
    let (dims, strides, box_dims) = (vec![64, rows], vec![128], vec![64, 8]);
    TensorMap { address: buffer.0, element_bytes: 2, dims, strides, box_dims, swizzle }
}

fn swizzles() -> [(Swizzle, usize); 2] {
    [(Swizzle::None, 0), (Swizzle::Bytes128, 7)]
}

#[test]
fn boxes_are_swizzled_and_filled_with_zeros() {
    everywhere(|module| {
        for (swizzle, mask) in swizzles() {
            let mut memory = Memory::new();
            let values: Vec<u16> = (1..=20 * 64).collect();
            let (input, out) = (memory.input("in", &values), memory.output::<u16>("out", 8 * 64));
            let (x, y) = (-8i32, 15i32);
            let launch = Launch::new(module, "box").block(32, 1, 1).arg(map(input, 20, swizzle)).arg(out).arg(x).arg(y);
            let report = launch.run(&mut memory).expect("it runs");
            report.assert_clean();
            assert_eq!(report.traffic[0].loaded, 5 * 56 * 2);
            let out = memory.read::<u16>(out);
            for (row, column) in (0..8).flat_map(|row| (0..64).map(move |column| (row, column))) {
                let piece = (column / 8) ^ (row & mask);
                let found = out[row * 64 + piece * 8 + column % 8];
                let (y, x) = (row + 15, column.wrapping_sub(8));
                let expected = if y < 20 && x < 64 { values[y * 64 + x] } else { 0 };
                assert_eq!(found, expected, "row {row}, column {column}, {swizzle:?}");
            }
        }
    });
}

fn load(module: &Module, kernel: &str) -> Result<Report, Error> {
    let mut memory = Memory::new();
    let (input, out) = (memory.input("in", &[1u16; 24 * 64]), memory.output::<u16>("out", 8 * 64));
    let launch = Launch::new(module, kernel).block(64, 1, 1).arg(map(input, 24, Swizzle::Bytes128)).arg(out);
    let launch = if kernel.starts_with("box") { launch.arg(0i32).arg(0i32) } else { launch };
    launch.run(&mut memory)
}

#[test]
fn loads_that_are_not_waited_for() {
    everywhere(|module| {
        load(module, "ring").expect("it runs").assert_clean();
        let report = load(module, "box_without_wait").expect("it runs");
        assert!(report.of(Mistake::Race).next().is_some(), "{:?}", report.findings);
        assert!(report.of(Mistake::UninitializedMemory).next().is_some(), "{:?}", report.findings);
        load(module, "box_over_stores").expect("it runs").assert_clean();
        assert_only(&load(module, "box_over_stores_without_fence").expect("it runs"), Mistake::MissingProxyFence);
        assert_only(&load(module, "ring_given_back_early").expect("it runs"), Mistake::Race);
        // the producer runs through phases that the consumer never sees
        assert_eq!(fault(load(module, "ring_without_empty")).mistake, Mistake::Deadlock);
    });
}

#[test]
fn stores_and_what_they_need() {
    everywhere(|module| {
        for (kernel, mistake) in [
            ("store", None),
            ("store_without_fence", Some(Mistake::MissingProxyFence)),
            ("store_without_wait", Some(Mistake::UnfinishedStore)),
        ] {
            let mut memory = Memory::new();
            let values: Vec<u16> = (0..8 * 64).collect();
            let (input, out) = (memory.input("in", &values), memory.in_out("out", &[9u16; 10 * 64]));
            let launch = Launch::new(module, kernel).block(64, 1, 1).arg(map(out, 10, Swizzle::None)).arg(input);
            let report = launch.run(&mut memory).expect("it runs");
            match mistake {
                Some(mistake) => assert_only(&report, mistake),
                None => report.assert_clean(),
            }
            if kernel == "store" {
                // 8 rows from row 4 on, of which 10 exist
                let out = memory.read::<u16>(out);
                assert_eq!(out[..4 * 64], [9; 4 * 64]);
                assert_eq!(out[4 * 64..], values[..6 * 64]);
            }
        }
    });
}

/// A product of [64][64] and [8][64], transposed: the report and the largest error.
fn product(module: &Module, kernel: &str) -> (Report, f64) {
    let mut numbers = Numbers::new(5);
    let mut matrix = |n: usize| (0..n).map(|_| bf16::from_f32(numbers.unit())).collect::<Vec<bf16>>();
    let (a, b) = (matrix(64 * 64), matrix(8 * 64));
    let mut memory = Memory::new();
    let (left, right, out) = (memory.input("a", &a), memory.input("b", &b), memory.output::<f32>("out", 64 * 8));
    let launch = Launch::new(module, kernel).block(128, 1, 1).arg(left).arg(right).arg(out);
    let report = launch.run(&mut memory).expect("it runs");
    let out = memory.read::<f32>(out);
    let expected =
        |at: usize| -> f64 { (0..64).map(|k| a[at / 8 * 64 + k].to_f64() * b[at % 8 * 64 + k].to_f64()).sum() };
    let errors = out.iter().enumerate().map(|(at, out)| (f64::from(*out) - expected(at)).abs());
    (report, errors.fold(0.0, |worst, error| if error > worst || error.is_nan() { error } else { worst }))
}

#[test]
fn products_and_what_they_need() {
    everywhere(|module| {
        let (report, worst) = product(module, "product");
        report.assert_clean();
        assert!(worst < 1e-5, "{worst}");
        assert_eq!(report.wgmma, 4);

        assert_only(&product(module, "product_without_proxy_fence").0, Mistake::MissingProxyFence);
        assert_only(&product(module, "product_without_fence").0, Mistake::MissingWgmmaFence);
        let (report, worst) = product(module, "product_without_wait");
        assert_only(&report, Mistake::UnfinishedWgmma);
        assert!(worst > 0.1, "the accumulators are as they were before the product: {worst}");
    });
}

#[test]
fn an_operand_that_is_overwritten() {
    everywhere(|module| {
        let (report, worst) = product(module, "product_overwritten");
        assert_only(&report, Mistake::Race);
        assert!(worst > 0.1, "the product reads what was written too early: {worst}");
    });
}
