//! Kernels with one mistake each: the interpreter has to notice it, and nothing in the right ones.

mod common;

use std::sync::OnceLock;

use common::{assert_only, fault, modules};
use half::bf16;
use longlens_ptx::{Launch, Memory, Mistake, Module, Report};

static MODULES: OnceLock<Vec<Module>> = OnceLock::new();

/// Every module that the kernels were compiled to.
fn everywhere(check: impl Fn(&Module)) {
    MODULES.get_or_init(|| modules("mistakes", &["sm_80", "sm_90a", "sm_120"])).iter().for_each(check);
}

/// Runs a kernel that reads 1024 numbers and writes one per thread.
fn run(module: &Module, kernel: &str, threads: u32) -> (Report, Vec<u32>) {
    let mut memory = Memory::new();
    let input = memory.input("in", &(0..1024).collect::<Vec<u32>>());
    let output = memory.output::<u32>("out", 1024);
    let launch = Launch::new(module, kernel).block(threads, 1, 1).arg(input).arg(output);
    let report = launch.run(&mut memory).expect("the kernel goes on after its mistake");
    (report, memory.read(output))
}

fn check(kernel: &str, threads: u32, mistakes: &[Mistake]) {
    everywhere(|module| {
        let (report, _) = run(module, kernel, threads);
        for mistake in mistakes {
            assert!(report.of(*mistake).next().is_some(), "{kernel}: {mistake:?} in {:?}", report.findings);
        }
        let others = report.findings.iter().filter(|finding| !mistakes.contains(&finding.mistake));
        assert_eq!(others.count(), 0, "{kernel}: {:?}", report.findings);
    });
}

#[test]
fn barriers_that_are_missing() {
    check("reverse", 64, &[]);
    // the warp that runs first reads what the other has not written
    check("reverse_without_sync", 64, &[Mistake::Race, Mistake::UninitializedMemory]);
    check("rounds", 64, &[]);
    check("rounds_without_second_sync", 64, &[Mistake::Race]);
    check("count", 64, &[]);
    check("count_without_sync", 64, &[Mistake::Race]);
    check("neighbors", 32, &[]);
    check("neighbors_without_sync", 32, &[Mistake::Race]);
}

#[test]
fn a_race_names_both_lines() {
    everywhere(|module| {
        let (report, _) = run(module, "rounds_without_second_sync", 64);
        let race = report.of(Mistake::Race).next().expect("a race");
        let lines = [race.site.line, race.other.as_ref().and_then(|other| other.line)];
        assert!(lines.iter().all(Option::is_some), "{race}");
        assert!(race.site.text.contains("shared") && race.other.as_ref().is_some_and(|o| o.text.contains("shared")));
    });
}

#[test]
fn copies_that_are_not_waited_for() {
    check("copy", 64, &[]);
    check("copy_without_wait", 64, &[Mistake::Race, Mistake::UninitializedMemory]);
    check("groups", 32, &[]);
    check("groups_waiting_for_none", 32, &[Mistake::Race, Mistake::UninitializedMemory]);
    everywhere(|module| {
        let (_, out) = run(module, "copy", 64);
        assert_eq!(out[0], 4 * 63);
        let (_, out) = run(module, "copy_without_wait", 64);
        assert_eq!(out[0], u32::MAX, "the bytes have not landed");
    });
}

#[test]
fn memory_that_nobody_wrote() {
    everywhere(|module| {
        let mut memory = Memory::new();
        let out = memory.output::<u32>("out", 64);
        let launch = Launch::new(module, "uninitialized_shared").block(64, 1, 1).arg(out);
        assert_only(&launch.run(&mut memory).expect("it goes on"), Mistake::UninitializedMemory);
        launch.permit_uninitialized().run(&mut memory).expect("it is permitted").assert_clean();

        let input = memory.output::<u32>("in", 32);
        let launch = Launch::new(module, "uninitialized_global").block(32, 1, 1).arg(input).arg(out);
        let report = launch.run(&mut memory).expect("it goes on");
        assert_only(&report, Mistake::UninitializedMemory);
        assert!(report.findings[0].detail.contains("`in`"), "{}", report.findings[0]);
    });
}

#[test]
fn accesses_outside() {
    everywhere(|module| {
        let mut memory = Memory::new();
        let input = memory.input("in", &[0u32; 64]);
        let out = memory.output::<u32>("out", 64);
        let read = |at: u32, memory: &mut Memory| {
            Launch::new(module, "read_at").block(32, 1, 1).arg(input).arg(out).arg(at).run(memory)
        };
        read(32, &mut memory).expect("the last 32 numbers").assert_clean();
        let finding = fault(read(33, &mut memory));
        assert_eq!((finding.mistake, finding.thread), (Mistake::OutOfBounds, 31));
        assert!(finding.detail.contains("offset 256 of `in`"), "{finding}");

        let write = |buffer, at: u32, memory: &mut Memory| {
            Launch::new(module, "write_at").block(32, 1, 1).arg(buffer).arg(at).run(memory)
        };
        write(out, 32, &mut memory).expect("the last 32 numbers").assert_clean();
        assert_eq!(fault(write(out, 48, &mut memory)).thread, 16);
        assert_eq!(fault(write(input, 0, &mut memory)).mistake, Mistake::ReadOnly);
        let null = longlens_ptx::Buffer(0);
        assert!(fault(write(null, 0, &mut memory)).detail.contains("null pointer"));

        let shared =
            |at: u32, memory: &mut Memory| Launch::new(module, "shared_at").shared(256).arg(out).arg(at).run(memory);
        shared(63, &mut memory).expect("the last word").assert_clean();
        assert_eq!(fault(shared(64, &mut memory)).mistake, Mistake::OutOfBounds);
    });
}

#[test]
fn addresses_that_do_not_fit_the_access() {
    everywhere(|module| {
        let mut memory = Memory::new();
        let (input, out) = (memory.input("in", &[7u8; 64]), memory.output::<u64>("out", 1));
        let read =
            |at: u32, memory: &mut Memory| Launch::new(module, "wide_read_at").arg(input).arg(out).arg(at).run(memory);
        read(8, &mut memory).expect("a multiple of 8").assert_clean();
        assert_eq!(fault(read(4, &mut memory)).mistake, Mistake::Misaligned);
    });
}

#[test]
fn threads_that_wait_for_ever() {
    everywhere(|module| {
        let mut memory = Memory::new();
        let out = memory.output::<u32>("out", 64);
        let finding = fault(Launch::new(module, "half_barrier").block(64, 1, 1).arg(out).run(&mut memory));
        assert_eq!(finding.mistake, Mistake::Deadlock);
        assert!(finding.detail.contains("bar.sync"), "{finding}");

        let flag = memory.in_out("flag", &[0u32]);
        let launch = Launch::new(module, "wait_for_other_block").grid(2, 1, 1).arg(flag).max_instructions(100_000);
        assert_eq!(fault(launch.run(&mut memory)).mistake, Mistake::TooLong);
        // the other way round the flag is set before it is asked for
        launch.backward().run(&mut memory).expect("it ends").assert_clean();

        let finding = fault(Launch::new(module, "stops_itself").block(32, 1, 1).arg(out).run(&mut memory));
        assert_eq!((finding.mistake, finding.thread), (Mistake::Trap, 5));
    });
}

#[test]
fn a_barrier_that_half_a_warp_reaches() {
    everywhere(|module| {
        let mut memory = Memory::new();
        let out = memory.output::<u32>("out", 32);
        let report = Launch::new(module, "divergent_barrier").block(32, 1, 1).arg(out).run(&mut memory);
        assert_only(&report.expect("the other half ends"), Mistake::DivergentBarrier);
    });
}

/// Four blocks of 32 threads, the last of which adds up what all have written.
fn last_block(module: &Module, kernel: &str, backward: bool) -> (Report, u32) {
    let mut memory = Memory::new();
    let input = memory.input("in", &(0..128).collect::<Vec<u32>>());
    let (parts, count) = (memory.output::<u32>("parts", 128), memory.in_out("count", &[0u32]));
    let out = memory.output::<u32>("out", 1);
    let launch = Launch::new(module, kernel).grid(4, 1, 1).block(32, 1, 1);
    let launch = launch.arg(input).arg(parts).arg(count).arg(out);
    let launch = if backward { launch.backward() } else { launch };
    let report = launch.run(&mut memory).expect("it runs");
    (report, memory.read::<u32>(out)[0])
}

#[test]
fn the_last_block_adds_in_either_order() {
    everywhere(|module| {
        for backward in [false, true] {
            let (report, sum) = last_block(module, "last_block_adds", backward);
            report.assert_clean();
            assert_eq!(sum, 127 * 64);
        }
        // one after the other, blocks give the right sum without any order between them: only the report tells
        for kernel in ["without_fence", "without_sync", "without_count"] {
            let (report, sum) = last_block(module, &format!("last_block_adds_{kernel}"), false);
            assert_only(&report, Mistake::Race);
            assert_eq!(sum, 127 * 64);
        }
    });
}

#[test]
fn rows_that_start_at_one_bank() {
    everywhere(|module| {
        let (with, right) = run(module, "matrix_with_swizzle", 32);
        with.assert_clean();
        with.assert_no_conflicts();
        let (without, same) = run(module, "matrix_without_swizzle", 32);
        without.assert_clean();
        assert_eq!(right, same);
        let matrix = without.conflicts.iter().find(|conflicts| conflicts.site.opcode.starts_with("ldmatrix"));
        assert_eq!(matrix.expect("conflicts").extra, 4 * 7);
    });
}

#[test]
fn a_wrong_layout_gives_wrong_numbers() {
    let mut numbers = common::Numbers::new(3);
    let mut matrix = |n: usize| (0..n).map(|_| bf16::from_f32(numbers.unit())).collect::<Vec<bf16>>();
    let (a, b) = (matrix(16 * 16), matrix(8 * 16));
    let expected: Vec<f64> = (0..16 * 8)
        .map(|at| (0..16).map(|k| a[at / 8 * 16 + k].to_f64() * b[at % 8 * 16 + k].to_f64()).sum())
        .collect();
    everywhere(|module| {
        for (kernel, is_right) in [("product", true), ("product_with_wrong_rows", false)] {
            let mut memory = Memory::new();
            let (a, b) = (memory.input("a", &a), memory.input("b", &b));
            let out = memory.output::<f32>("out", 16 * 8);
            let report = Launch::new(module, kernel).block(32, 1, 1).arg(a).arg(b).arg(out).run(&mut memory);
            report.expect("it runs").assert_clean();
            let out = memory.read::<f32>(out);
            let worst = out.iter().zip(&expected).map(|(out, e)| (f64::from(*out) - e).abs()).fold(0.0, f64::max);
            assert_eq!(worst < 1e-5, is_right, "{kernel}: {worst}");
        }
    });
}
