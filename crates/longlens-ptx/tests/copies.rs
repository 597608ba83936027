//! Asynchronous copies of all kinds, and the barriers that count them.

mod common;

use common::{assert_only, fault};
use longlens_ptx::{Error, Launch, Memory, Mistake, Module, Report};

/// Runs instructions for `threads` threads on 4096 bytes `in` (bytes of u32 0, 1, 2 …). They find `%r1` the thread, `%r2` an array of
/// 4096 bytes in shared memory, `%r3` and `%r4` two places for barriers, `%rd1` the input; they leave the result in `%r0`.
fn execute(instructions: &str, threads: u32) -> Result<(Vec<u32>, Report), Error> {
    let text = format!(
        ".version 9.0\n.target sm_90a\n.address_size 64
        .visible .entry k(.param .u64 in, .param .u64 out) {{
            .shared .align 128 .b8 tile[4096]; .shared .align 8 .b8 bars[16];
            .reg .pred %p<10>; .reg .b32 %r<20>; .reg .b64 %rd<20>;
            ld.param.u64 %rd1, [in]; ld.param.u64 %rd2, [out];
            mov.u32 %r1, %tid.x; mov.u32 %r2, tile; mov.u32 %r3, bars; add.u32 %r4, %r3, 8;
            mad.wide.u32 %rd3, %r1, 4, %rd2; setp.eq.u32 %p1, %r1, 0;
            mad.lo.u32 %r5, %r1, 16, %r2; mad.wide.u32 %rd4, %r1, 16, %rd1;
            {instructions}
            st.global.u32 [%rd3], %r0; ret;
        }}"
    );
    let module = Module::parse(&text).unwrap_or_else(|error| panic!("{instructions}: {error}"));
    let mut memory = Memory::new();
    let input = memory.input("in", &(0..1024).collect::<Vec<u32>>());
    let output = memory.output::<u32>("out", threads as usize);
    let launch = Launch::new(&module, "k").block(threads, 1, 1).arg(input).arg(output);
    launch.run(&mut memory).map(|report| (memory.read(output), report))
}

fn check(instructions: &str, threads: u32, expected: impl Fn(u32) -> u32) {
    let (found, report) = execute(instructions, threads).unwrap_or_else(|error| panic!("{error}"));
    report.assert_clean();
    assert_eq!(found, (0..threads).map(expected).collect::<Vec<u32>>(), "{instructions}");
}

/// The number of the neighbor's piece, after everyone has waited.
const READ_NEIGHBOR: &str =
    "bar.sync 0; xor.b32 %r6, %r1, 1; mad.lo.u32 %r6, %r6, 16, %r2; ld.shared.u32 %r0, [%r6+12];";

#[test]
fn copies_of_threads() {
    let wait = "cp.async.commit_group; cp.async.wait_group 0;";
    let last = |thread: u32| (thread ^ 1) * 4 + 3;
    check(&format!("cp.async.cg.shared.global [%r5], [%rd4], 16; {wait} {READ_NEIGHBOR}"), 64, last);
    check(
        &format!("cp.async.ca.shared.global.L2::128B [%r5+12], [%rd4+12], 4; cp.async.wait_all; {READ_NEIGHBOR}"),
        64,
        last,
    );
    check(&format!("cp.async.ca.shared.global [%r5+8], [%rd4+8], 8; {wait} {READ_NEIGHBOR}"), 64, last);
    // the rest of a piece that is read in part is zero
    let part = "setp.lt.u32 %p2, %r1, 8; selp.b32 %r7, 16, 12, %p2; cp.async.cg.shared.global [%r5], [%rd4], 16, %r7;";
    check(&format!("{part} {wait} {READ_NEIGHBOR}"), 32, |thread| if thread < 8 { last(thread) } else { 0 });
    // nothing is read where the length is zero, even if the address is wrong
    let none = "mov.u64 %rd4, 0; cp.async.cg.shared.global [%r5], [%rd4], 16, 0;";
    check(&format!("{none} {wait} {READ_NEIGHBOR}"), 32, |_| 0);
    let hinted = "createpolicy.fractional.L2::evict_last.b64 %rd5, 0f3f800000;
        cp.async.cg.shared.global.L2::cache_hint [%r5], [%rd4], 16, %rd5;";
    check(&format!("{hinted} {wait} {READ_NEIGHBOR}"), 64, last);
    let ignored = "setp.ge.u32 %p2, %r1, 8; cp.async.cg.shared.global [%r5], [%rd4], 16, %p2;";
    check(&format!("{ignored} {wait} {READ_NEIGHBOR}"), 32, |thread| if thread < 8 { last(thread) } else { 0 });
}

#[test]
fn copies_that_arrive_at_a_barrier() {
    for (noinc, count) in [(".noinc", 32), ("", 0)] {
        // without `.noinc` an arrival cancels itself, and the barrier counts one arrival of the first thread
        let count = if count == 0 { 1 } else { count };
        let arrive = if noinc.is_empty() { "@%p1 mbarrier.arrive.shared.b64 _, [%r3];" } else { "" };
        let text = format!(
            "@%p1 mbarrier.init.shared.b64 [%r3], {count}; bar.sync 0;
            cp.async.cg.shared.global [%r5], [%rd4], 16; cp.async.mbarrier.arrive{noinc}.shared.b64 [%r3];
            bar.warp.sync -1; {arrive}
            wait: mbarrier.try_wait.parity.shared.b64 %p2, [%r3], 0; @!%p2 bra wait;
            xor.b32 %r6, %r1, 1; mad.lo.u32 %r6, %r6, 16, %r2; ld.shared.u32 %r0, [%r6];"
        );
        check(&text, 32, |thread| (thread ^ 1) * 4);
    }
}

#[test]
fn phases_of_a_barrier() {
    // every thread writes, arrives, and waits for all others, twice
    let round = |parity: u32, offset: u32| {
        format!(
            "st.shared.u32 [%r5], %r{}; mbarrier.arrive.shared.b64 %rd5, [%r3];
            wait{parity}: mbarrier.test_wait.shared.b64 %p2, [%r3], %rd5; @!%p2 bra wait{parity};
            xor.b32 %r6, %r1, {offset}; mad.lo.u32 %r6, %r6, 16, %r2; ld.shared.u32 %r7, [%r6]; add.u32 %r0, %r0, %r7;
            mbarrier.arrive.shared.b64 _, [%r4];
            again{parity}: mbarrier.try_wait.parity.shared.b64 %p2, [%r4], {parity}; @!%p2 bra again{parity};",
            1 + parity * 7
        )
    };
    let text = format!(
        "@%p1 mbarrier.init.shared.b64 [%r3], 64; @%p1 mbarrier.init.shared.b64 [%r4], 64; bar.sync 0;
        mov.u32 %r0, 0; add.u32 %r8, %r1, 100; {}{}",
        round(0, 33),
        round(1, 2)
    );
    check(&text, 64, |thread| (thread ^ 0x21) + (thread ^ 2) + 100);
}

#[test]
fn ranges_by_the_copy_engine() {
    let wait = "wait: mbarrier.try_wait.parity.shared.b64 %p2, [%r3], 0; @!%p2 bra wait;";
    let load = format!(
        "@%p1 mbarrier.init.shared.b64 [%r3], 1; bar.sync 0;
        @%p1 mbarrier.expect_tx.relaxed.cta.shared::cta.b64 [%r3], 512;
        @%p1 cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%r2], [%rd1], 256, [%r3];
        @%p1 cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%r2+256], [%rd1+512], 256, [%r3];
        @%p1 mbarrier.arrive.shared.b64 _, [%r3];
        {wait} mad.lo.u32 %r6, %r1, 4, %r2; ld.shared.u32 %r0, [%r6];"
    );
    check(&load, 128, |thread| if thread < 64 { thread } else { thread + 64 });

    let store = "st.shared.u32 [%r5], %r1; st.shared.u32 [%r5+4], %r1; st.shared.u32 [%r5+8], %r1; st.shared.u32 [%r5+12], %r1;
        fence.proxy.async.shared::cta; bar.sync 0; @!%p1 bra end;
        cp.async.bulk.global.shared::cta.bulk_group [%rd2], [%r2], 64; cp.async.bulk.commit_group; cp.async.bulk.wait_group 0;
        end: setp.lt.u32 %p3, %r1, 16; mov.u32 %r0, 9; @%p3 exit;";
    check(store, 32, |thread| if thread < 16 { thread / 4 } else { 9 });
}

#[test]
fn barriers_that_lose_threads_and_end() {
    // one arrival of two is dropped for good, so the next phase waits for one alone; then another barrier takes the place
    let text = "@!%p1 bra end; mbarrier.init.shared.b64 [%r3], 2;
        mbarrier.arrive_drop.shared.b64 %rd5, [%r3]; mbarrier.pending_count.b64 %r7, %rd5; mbarrier.arrive.shared.b64 _, [%r3];
        first: mbarrier.try_wait.parity.shared.b64 %p2, [%r3], 0; @!%p2 bra first;
        mbarrier.arrive.shared.b64 _, [%r3];
        second: mbarrier.try_wait.parity.shared.b64 %p2, [%r3], 1; @!%p2 bra second;
        mbarrier.inval.shared.b64 [%r3]; mbarrier.init.shared.b64 [%r3], 1;
        mbarrier.test_wait.parity.shared.b64 %p2, [%r3], 0; selp.b32 %r8, 100, 200, %p2; add.u32 %r0, %r7, %r8; bra.uni store;
        end: mov.u32 %r0, 0;
        store:";
    check(&format!("{text} add.u32 %r0, %r0, 0;"), 32, |thread| if thread == 0 { 201 } else { 0 });
}

#[test]
fn bank_conflicts_of_copies() {
    let extra = |stride: u32| {
        let text = format!(
            "mad.lo.u32 %r5, %r1, {stride}, %r2; cp.async.cg.shared.global [%r5], [%rd4], 16; cp.async.wait_all; mov.u32 %r0, 0;"
        );
        execute(&text, 32).unwrap_or_else(|error| panic!("{error}")).1.extra_passes()
    };
    assert_eq!(extra(16), 0);
    assert_eq!(extra(128), 4 * 7);
    assert_eq!(extra(112), 0);
}

#[test]
fn bytes_that_never_come() {
    let text = "@%p1 mbarrier.init.shared.b64 [%r3], 1; bar.sync 0;
        @%p1 mbarrier.arrive.expect_tx.shared.b64 _, [%r3], 512;
        @%p1 cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%r2], [%rd1], 256, [%r3];
        wait: mbarrier.try_wait.parity.shared.b64 %p2, [%r3], 0; @!%p2 bra wait; mov.u32 %r0, 1;";
    assert_eq!(fault(execute(text, 32).map(|(_, report)| report)).mistake, Mistake::Deadlock);
}

#[test]
fn wrong_uses_of_barriers() {
    let misuse = |text: &str| {
        let finding = fault(execute(&format!("{text} mov.u32 %r0, 1;"), 32).map(|(_, report)| report));
        assert_eq!(finding.mistake, Mistake::Misuse, "{finding}");
    };
    misuse("mbarrier.arrive.shared.b64 _, [%r3];");
    misuse(
        "@%p1 mbarrier.init.shared.b64 [%r3], 1; bar.sync 0; mbarrier.arrive.shared.b64 _, [%r3]; mbarrier.arrive.shared.b64 _, [%r3+8];",
    );
    misuse("@%p1 mbarrier.init.shared.b64 [%r3], 1; @%p1 mbarrier.init.shared.b64 [%r3], 1;");
    // a barrier that is used without waiting for its initialization by another thread
    let text = "@%p1 mbarrier.init.shared.b64 [%r3], 32; mbarrier.arrive.shared.b64 _, [%r3]; mov.u32 %r0, 1;";
    let (_, report) = execute(text, 32).expect("it goes on");
    assert_only(&report, Mistake::Race);
}
