//! Instructions of a whole warp or block, calls, and memory of every kind.

mod common;

use longlens_ptx::{Launch, Memory, Mistake, Module, Report};

/// Runs instructions with `%r1` the thread's number and `%r2` its square; the result is in `%r0`. `declarations` stand before the kernel.
fn execute(declarations: &str, instructions: &str, threads: u32) -> (Vec<u32>, Report) {
    let text = format!(
        ".version 9.0
        .target sm_90a
        .address_size 64
        .extern .shared .align 16 .b8 dynamic[];
        {declarations}
        .visible .entry k(.param .u64 out) {{
            .reg .pred %p<10>; .reg .b16 %rs<10>; .reg .b32 %r<20>; .reg .b64 %rd<20>; .reg .f32 %f<10>; .reg .f64 %fd<10>;
            ld.param.u64 %rd11, [out];
            mov.u32 %r1, %tid.x;
            mul.lo.u32 %r2, %r1, %r1;
            mad.wide.u32 %rd13, %r1, 4, %rd11;
            {instructions}
            st.global.u32 [%rd13], %r0;
            ret;
        }}"
    );
    let module = Module::parse(&text).unwrap_or_else(|error| panic!("{instructions}: {error}"));
    let mut memory = Memory::new();
    let output = memory.output::<u32>("out", threads as usize);
    let launch = Launch::new(&module, "k").block(threads, 1, 1).shared(4096).arg(output);
    let report = launch.run(&mut memory).unwrap_or_else(|error| panic!("{error}"));
    report.assert_clean();
    (memory.read(output), report)
}

fn check(instructions: &str, expected: impl Fn(u32) -> u32) {
    check_with("", instructions, 32, expected);
}

fn check_with(declarations: &str, instructions: &str, threads: u32, expected: impl Fn(u32) -> u32) {
    let (found, _) = execute(declarations, instructions, threads);
    let expected: Vec<u32> = (0..threads).map(expected).collect();
    assert_eq!(found, expected, "{instructions}");
}

#[test]
fn shuffles() {
    let square = |lane: u32| lane * lane;
    check("shfl.sync.bfly.b32 %r0, %r2, 5, 31, -1;", |lane| square(lane ^ 5));
    check("shfl.sync.down.b32 %r0|%p1, %r2, 3, 31, -1; selp.b32 %r0, %r0, 7, %p1;", |lane| {
        if lane + 3 < 32 { square(lane + 3) } else { 7 }
    });
    check("shfl.sync.up.b32 %r0|%p1, %r2, 3, 0, -1; selp.b32 %r0, %r0, 7, %p1;", |lane| {
        if lane >= 3 { square(lane - 3) } else { 7 }
    });
    check("shfl.sync.idx.b32 %r0, %r2, 9, 31, -1;", |_| 81);
    // segments of 8 lanes: the bits above are the lane's own
    check("shfl.sync.idx.b32 %r0, %r2, 2, 0x181f, -1;", |lane| square(lane / 8 * 8 + 2));
    check("shfl.sync.up.b32 %r0, %r2, 1, 0x1800, -1;", |lane| square(if lane % 8 == 0 { lane } else { lane - 1 }));
}

#[test]
fn votes_and_sums_of_a_warp() {
    check("setp.gt.u32 %p1, %r1, 20; vote.sync.ballot.b32 %r0, %p1, -1;", |_| 0xffe0_0000);
    check("setp.gt.u32 %p1, %r1, 20; vote.sync.any.pred %p2, %p1, -1; selp.b32 %r0, 1, 0, %p2;", |_| 1);
    check("setp.gt.u32 %p1, %r1, 20; vote.sync.all.pred %p2, %p1, -1; selp.b32 %r0, 1, 0, %p2;", |_| 0);
    check("redux.sync.add.u32 %r0, %r1, -1;", |_| 31 * 16);
    check("redux.sync.max.s32 %r0, %r1, -1;", |_| 31);
    check("and.b32 %r3, %r1, 1; match.any.sync.b32 %r0, %r3, -1;", |lane| 0x5555_5555 << (lane & 1));
    check("elect.sync %r0|%p1, -1; selp.b32 %r0, 100, %r0, %p1;", |lane| if lane == 0 { 100 } else { 0 });
    check("match.all.sync.b32 %r0|%p1, 5, -1; @!%p1 mov.u32 %r0, 9;", |_| u32::MAX);
    check("match.all.sync.b32 %r0|%p1, %r1, -1; @!%p1 add.u32 %r0, %r0, 9;", |_| 9);
    check("setp.gt.u32 %p1, %r1, 40; vote.sync.uni.pred %p2, %p1, -1; selp.b32 %r0, 1, 0, %p2;", |_| 1);
    check("activemask.b32 %r0;", |_| u32::MAX);
    check("mov.u32 %r0, 0; setp.lt.u32 %p1, %r1, 8; @%p1 redux.sync.add.u32 %r0, %r1, 0xff;", |lane| {
        if lane < 8 { 28 } else { 0 }
    });
    check("mov.u32 %r0, %lanemask_lt;", |lane| (1 << lane) - 1);
}

#[test]
fn lanes_of_both_sides_of_a_branch_vote_together() {
    let text = "setp.lt.u32 %p1, %r1, 16; @%p1 bra low;
        add.u32 %r3, %r1, 100; bra.uni join;
        low: add.u32 %r3, %r1, 200;
        join: shfl.sync.bfly.b32 %r0, %r3, 16, 31, -1;";
    check(text, |lane| if lane < 16 { lane + 16 + 100 } else { lane - 16 + 200 });
}

#[test]
fn lanes_that_have_ended_are_not_waited_for() {
    let text = "mov.u32 %r0, 7; setp.lt.u32 %p1, %r1, 16; @!%p1 bra end; shfl.sync.bfly.b32 %r0, %r2, 1, 31, -1; end:";
    check(&format!("{text} add.u32 %r0, %r0, 0;"), |lane| if lane < 16 { (lane ^ 1) * (lane ^ 1) } else { 7 });
}

#[test]
fn barriers_of_a_block() {
    let reverse = "mov.u32 %r3, dynamic; shl.b32 %r4, %r1, 2; add.u32 %r5, %r3, %r4; st.shared.u32 [%r5], %r2;
        bar.sync 0;
        sub.u32 %r6, 95, %r1; shl.b32 %r6, %r6, 2; add.u32 %r6, %r3, %r6; ld.shared.u32 %r0, [%r6];";
    check_with("", reverse, 96, |thread| (95 - thread) * (95 - thread));
    let red = "setp.gt.u32 %p1, %r1, 69;";
    check_with("", &format!("{red} bar.red.popc.u32 %r0, 0, %p1;"), 96, |_| 26);
    check_with("", &format!("{red} bar.red.or.pred %p2, 0, %p1; selp.b32 %r0, 1, 0, %p2;"), 96, |_| 1);
    check_with("", &format!("{red} bar.red.and.pred %p2, 0, %p1; selp.b32 %r0, 1, 0, %p2;"), 96, |_| 0);
    check_with("", "barrier.cluster.arrive; barrier.cluster.wait; mov.u32 %r0, %cluster_nctarank;", 96, |_| 1);
}

#[test]
fn one_warp_gives_and_another_takes() {
    // the first warp arrives without waiting, the second waits for it
    let text = "mov.u32 %r3, dynamic; and.b32 %r4, %r1, 31; mad.lo.u32 %r4, %r4, 4, %r3;
        mov.u32 %r0, 1; setp.lt.u32 %p1, %r1, 32; @!%p1 bra take;
        st.shared.u32 [%r4], %r2; bar.arrive 3, 64; bra.uni end;
        take: bar.sync 3, 64; ld.shared.u32 %r0, [%r4];
        end:";
    check_with("", &format!("{text} add.u32 %r0, %r0, 1;"), 64, |thread| {
        if thread < 32 { 2 } else { (thread - 32) * (thread - 32) + 1 }
    });
}

#[test]
fn a_warp_that_is_not_full_counts_whole() {
    check_with("", "bar.sync 1, 64; add.u32 %r0, %r1, 1;", 48, |thread| thread + 1);
}

#[test]
fn a_barrier_turns_when_the_last_arrives() {
    // the first warp gives three times, each time only after the second has taken
    let text =
        "mov.u32 %r3, dynamic; and.b32 %r4, %r1, 31; mad.lo.u32 %r4, %r4, 4, %r3; mov.u32 %r0, 0; mov.u32 %r5, 0;
        setp.lt.u32 %p1, %r1, 32; @!%p1 bra take;
        give: add.u32 %r6, %r2, %r5; st.shared.u32 [%r4], %r6; bar.arrive 3, 64; bar.sync 4, 64;
        add.u32 %r5, %r5, 1; setp.lt.u32 %p2, %r5, 3; @%p2 bra give; bra.uni end;
        take: bar.sync 3, 64; ld.shared.u32 %r6, [%r4]; add.u32 %r0, %r0, %r6; bar.arrive 4, 64;
        add.u32 %r5, %r5, 1; setp.lt.u32 %p2, %r5, 3; @%p2 bra take;
        end:";
    check_with("", &format!("{text} add.u32 %r0, %r0, 1;"), 64, |thread| {
        if thread < 32 { 1 } else { 3 * (thread - 32) * (thread - 32) + 4 }
    });
}

#[test]
fn atomic_operations() {
    let setup = "mov.u32 %r3, dynamic; setp.eq.u32 %p1, %r1, 0; @%p1 st.shared.u32 [%r3], 10; bar.sync 0;";
    let read = "bar.sync 0; ld.shared.u32 %r0, [%r3];";
    for (instruction, expected) in [
        ("red.shared.add.u32 [%r3], %r1;", 10 + 63 * 32),
        ("red.shared.max.u32 [%r3], %r1;", 63),
        ("red.shared.min.u32 [%r3], %r1;", 0),
        ("red.shared.or.b32 [%r3], %r1;", 63),
        ("atom.shared.inc.u32 %r4, [%r3], 20;", (10 + 64) % 21),
        ("atom.shared.cas.b32 %r4, [%r3], 10, 99;", 99),
        ("atom.shared.exch.b32 %r4, [%r3], 5;", 5),
    ] {
        check_with("", &format!("{setup} {instruction} {read}"), 64, |_| expected);
    }
    let float = "mov.u32 %r3, dynamic; setp.eq.u32 %p1, %r1, 0; @%p1 st.shared.f32 [%r3], 0f3f000000; bar.sync 0;
        red.shared.add.f32 [%r3], 0f3f800000; bar.sync 0; ld.shared.f32 %f1, [%r3]; cvt.rni.u32.f32 %r0, %f1;";
    check_with("", float, 64, |_| 64);
}

#[test]
fn memory_of_every_kind() {
    let declarations = ".global .align 4 .b8 table[16] = {1, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0, 4};
        .const .align 4 .u32 factor = 7;";
    let table = "and.b32 %r3, %r1, 3; mul.wide.u32 %rd1, %r3, 4; mov.u64 %rd2, table; add.s64 %rd3, %rd2, %rd1;
        ld.global.u32 %r4, [%rd3]; ld.const.u32 %r5, [factor]; mul.lo.u32 %r0, %r4, %r5;";
    check_with(declarations, table, 32, |lane| (lane % 4 + 1) * 7);

    let local =
        ".local .align 16 .b8 depot[32]; .reg .b64 %SP; .reg .b64 %SPL; mov.u64 %SPL, depot; cvta.local.u64 %SP, %SPL;
        st.local.v2.u32 [%SPL+8], {%r1, %r2}; ld.u32 %r0, [%SP+12];";
    check(local, |lane| lane * lane);

    let narrow = "mov.u32 %r3, dynamic; mad.lo.u32 %r4, %r1, 2, %r3; cvt.u16.u32 %rs1, %r2; sub.s16 %rs1, %rs1, 1000;
        st.shared.u16 [%r4], %rs1; bar.warp.sync -1; xor.b32 %r5, %r1, 1; mad.lo.u32 %r5, %r5, 2, %r3; ld.shared.s16 %r0, [%r5];";
    check(narrow, |lane| ((lane ^ 1) * (lane ^ 1)).wrapping_sub(1000));

    let generic = "mov.u64 %rd1, dynamic; cvta.shared.u64 %rd2, %rd1; mad.wide.u32 %rd3, %r1, 4, %rd2; st.u32 [%rd3], %r2;
        ld.u32 %r0, [%rd3]; isspacep.shared %p1, %rd3; selp.b32 %r0, %r0, 0, %p1; isspacep.global %p1, %rd3; @%p1 mov.u32 %r0, 0;";
    check(generic, |lane| lane * lane);
}

#[test]
fn accesses_of_32_bytes() {
    let text = "mad.wide.u32 %rd1, %r1, 32, %rd11; st.global.v8.b32 [%rd1], {%r1, %r2, %r1, %r2, %r1, %r2, %r1, %r2}; bar.warp.sync -1;
        xor.b32 %r3, %r1, 1; mad.wide.u32 %rd1, %r3, 32, %rd11; ld.global.v4.b64 {%rd2, %rd3, %rd4, %rd5}, [%rd1];
        cvt.u32.u64 %r0, %rd4; bar.warp.sync -1;";
    let kernel = format!(
        ".version 9.0\n.target sm_120\n.address_size 64\n.visible .entry k(.param .u64 out) {{
        .reg .b32 %r<9>; .reg .b64 %rd<20>; ld.param.u64 %rd11, [out]; mov.u32 %r1, %tid.x; mul.lo.u32 %r2, %r1, %r1;
        {text} mad.wide.u32 %rd1, %r1, 4, %rd11; st.global.u32 [%rd1], %r0; griddepcontrol.launch_dependents; ret; }}"
    );
    let module = Module::parse(&kernel).unwrap_or_else(|error| panic!("{error}"));
    let mut memory = Memory::new();
    let out = memory.output::<u32>("out", 256);
    let report = Launch::new(&module, "k").block(32, 1, 1).arg(out).run(&mut memory);
    report.unwrap_or_else(|error| panic!("{error}")).assert_clean();
    assert_eq!(memory.read::<u32>(out)[..32], (0..32).map(|lane| lane ^ 1).collect::<Vec<u32>>());
}

#[test]
fn the_read_only_cache_does_not_see_stores() {
    let report = |load: &str| {
        let text = format!(
            ".version 9.0\n.target sm_80\n.address_size 64\n.visible .entry k(.param .u64 out) .maxntid 32 {{ .reg .b32 %r<9>;
            .reg .b64 %rd<9>; ld.param.u64 %rd1, [out]; mov.u32 %r1, %tid.x; mad.wide.u32 %rd2, %r1, 4, %rd1;
            ld.global.nc.u32 %r2, [%rd2+128]; st.global.u32 [%rd2], %r2; {load} %r3, [%rd2]; ret; }}"
        );
        let module = Module::parse(&text).unwrap_or_else(|error| panic!("{error}"));
        let mut memory = Memory::new();
        let out = memory.in_out("out", &[5u32; 64]);
        let launch = Launch::new(&module, "k").block(32, 1, 1).arg(out);
        launch.run(&mut memory).unwrap_or_else(|error| panic!("{error}"))
    };
    report("ld.global.u32").assert_clean();
    common::assert_only(&report("ld.global.nc.u32"), Mistake::Misuse);
}

#[test]
fn lanes_that_store_to_one_word() {
    let report = |value: &str| {
        let text = format!(
            ".version 9.0\n.target sm_80\n.address_size 64\n.visible .entry k() {{ .shared .align 4 .b8 word[4]; .reg .b32 %r<9>;
            mov.u32 %r1, %tid.x; mov.u32 %r2, word; st.shared.u{value}; ret; }}"
        );
        let module = Module::parse(&text).unwrap_or_else(|error| panic!("{error}"));
        Launch::new(&module, "k").block(32, 1, 1).run(&mut Memory::new()).unwrap_or_else(|error| panic!("{error}"))
    };
    report("32 [%r2], 7").assert_clean();
    common::assert_only(&report("32 [%r2], %r1"), Mistake::Race);
    // bytes of one word are apart from each other
    report("8 [%r2], 1; bar.warp.sync -1; and.b32 %r3, %r1, 3; add.u32 %r2, %r2, %r3; st.shared.u8 [%r2], %r3")
        .assert_clean();
}

#[test]
fn functions_that_are_called() {
    let function = ".func (.param .b32 result) weigh(.param .b32 x, .param .b32 y) {
            .reg .b32 %r<4>; .reg .pred %p<2>;
            ld.param.u32 %r1, [x]; ld.param.u32 %r2, [y]; setp.gt.u32 %p1, %r1, 15; @%p1 bra far;
            add.u32 %r3, %r1, %r2; st.param.b32 [result], %r3; ret;
            far: sub.u32 %r3, %r2, %r1; st.param.b32 [result], %r3; ret;
        }";
    let call = "{ .param .b32 param0; st.param.b32 [param0], %r1; .param .b32 param1; st.param.b32 [param1], %r2; .param .b32 retval0;
        call.uni (retval0), weigh, (param0, param1); ld.param.b32 %r0, [retval0]; }";
    check_with(function, call, 32, |lane| if lane > 15 { lane * lane - lane } else { lane * lane + lane });
    check_with(
        function,
        &format!("mov.u32 %r0, 3; setp.lt.u32 %p1, %r1, 20; @!%p1 bra end; {call} end: add.u32 %r0, %r0, 0;"),
        32,
        |lane| match lane {
            20.. => 3,
            16.. => lane * lane - lane,
            _ => lane * lane + lane,
        },
    );
}

#[test]
fn bank_conflicts_are_counted() {
    let stride = |words: u32| {
        let text = format!(
            "mov.u32 %r3, dynamic; mad.lo.u32 %r4, %r1, {}, %r3; st.shared.u32 [%r4], %r1; ld.shared.u32 %r0, [%r4];",
            4 * words
        );
        execute("", &text, 32).1.extra_passes()
    };
    assert_eq!(stride(1), 0);
    assert_eq!(stride(2), 2);
    assert_eq!(stride(32), 2 * 31);
    assert_eq!(stride(17), 0);
}

#[test]
fn registers_that_nobody_wrote() {
    let report = |instructions: &str| {
        let text = format!(
            ".version 9.0\n.target sm_80\n.address_size 64\n.visible .entry k() {{ .reg .b32 %r<9>; .reg .pred %p<3>;
            mov.u32 %r1, %tid.x; setp.lt.u32 %p1, %r1, 8; @%p1 mov.u32 %r2, 1; {instructions} ret; }}"
        );
        let module = Module::parse(&text).unwrap_or_else(|error| panic!("{error}"));
        Launch::new(&module, "k").block(32, 1, 1).run(&mut Memory::new()).unwrap_or_else(|error| panic!("{error}"))
    };
    report("@%p1 add.u32 %r3, %r2, 1;").assert_clean();
    // a move alone uses nothing, but carries on what was not written
    report("mov.u32 %r4, %r2; @%p1 add.u32 %r3, %r4, 1;").assert_clean();
    common::assert_only(&report("mov.u32 %r4, %r2; add.u32 %r3, %r4, 1;"), Mistake::UninitializedRegister);
    common::assert_only(&report("@%p2 add.u32 %r3, %r1, 1;"), Mistake::UninitializedRegister);
    // a lane that does not take part in a shuffle gives nothing
    common::assert_only(&report("shfl.sync.idx.b32 %r3, %r2, 9, 31, -1;"), Mistake::UninitializedRegister);
}

#[test]
fn what_was_executed_is_counted() {
    let (_, report) = execute(
        "",
        "setp.lt.u32 %p1, %r1, 8; mov.u32 %r0, 0; @%p1 bra end; add.u32 %r0, %r0, 1; end: add.u32 %r0, %r0, 1;",
        64,
    );
    assert_eq!(report.opcodes["bra"], 2);
    assert_eq!(report.opcodes["add.u32"], 4);
    assert_eq!(report.opcodes["st.global.u32"], 2);
    assert_eq!(report.lane_instructions, 64 * 11 - 8);
    assert_eq!(report.traffic[0].stored, 64 * 4);
    assert_eq!(report.shared_bytes, 4096);
}

#[test]
fn blocks_on_several_threads() {
    let run = |place: &str, threads: usize| {
        let text = format!(
            ".version 9.0\n.target sm_80\n.address_size 64\n.visible .entry k(.param .u64 out) {{
            .reg .b32 %r<9>; .reg .b64 %rd<9>; ld.param.u64 %rd1, [out]; mov.u32 %r1, %ctaid.x; mov.u32 %r2, %ctaid.y;
            mad.lo.u32 %r3, %r2, 5, %r1; mad.wide.u32 %rd2, {place}, 4, %rd1; st.global.u32 [%rd2], %r3; ret; }}"
        );
        let module = Module::parse(&text).unwrap_or_else(|error| panic!("{error}"));
        let mut memory = Memory::new();
        let out = memory.output::<u32>("out", 15);
        let report = Launch::new(&module, "k").grid(5, 3, 1).arg(out).threads(threads).run(&mut memory);
        report.map(|report| (memory.read::<u32>(out), report))
    };
    let (out, report) = run("%r3", 4).expect("blocks of their own");
    assert_eq!(out, (0..15).collect::<Vec<u32>>());
    let (_, alone) = run("%r3", 1).expect("one thread");
    assert_eq!(report, alone);
    let error = run("%r1", 4).expect_err("blocks that write to one place").to_string();
    assert!(error.contains("different values to one byte of `out`"), "{error}");
}

#[test]
fn launches_that_do_not_fit() {
    let text =
        ".version 9.0\n.target sm_80\n.address_size 64\n.visible .entry k(.param .u32 n)\n.maxntid 64, 1, 1\n{ ret; }";
    let module = Module::parse(text).expect("a kernel");
    let mut memory = Memory::new();
    let mut refused = |launch: Launch| launch.run(&mut memory).expect_err("it does not fit").to_string();
    let launch = || Launch::new(&module, "k");
    assert_eq!(refused(launch()), "launch of `k`: 0 arguments for 1 parameters");
    assert_eq!(refused(launch().arg(1u64)), "launch of `k`: argument 0 has 8 bytes instead of 4");
    assert_eq!(refused(launch().arg(1u32).block(65, 1, 1)), "launch of `k`: 65 threads a block, of at most 64");
    assert!(refused(launch().arg(1u32).shared(300_000)).contains("300000 bytes of shared memory"));
    assert_eq!(refused(Launch::new(&module, "other")), "no kernel `other`; the module has: k");
}

#[test]
fn blocks_may_write_the_two_halves_of_a_word() {
    let report = |distance: u32| {
        let text = format!(
            ".version 9.0\n.target sm_80\n.address_size 64\n.visible .entry k(.param .u64 out) .maxntid 32 {{ .reg .b32 %r<9>;
            .reg .b16 %rs<3>; .reg .b64 %rd<9>; .reg .pred %p; ld.param.u64 %rd1, [out]; mov.u32 %r1, %tid.x;
            setp.ne.u32 %p, %r1, 0; @%p ret; mov.u32 %r2, %ctaid.x; cvt.u16.u32 %rs1, %r2;
            mad.wide.u32 %rd2, %r2, {distance}, %rd1; st.global.u16 [%rd2], %rs1; ret; }}"
        );
        let module = Module::parse(&text).unwrap_or_else(|error| panic!("{error}"));
        let mut memory = Memory::new();
        let out = memory.in_out("out", &[9u16; 4]);
        let report = Launch::new(&module, "k").grid(2, 1, 1).block(32, 1, 1).arg(out).run(&mut memory);
        report.unwrap_or_else(|error| panic!("{error}"))
    };
    report(2).assert_clean();
    common::assert_only(&report(0), Mistake::Race);
}
