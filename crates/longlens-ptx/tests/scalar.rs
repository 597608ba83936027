//! Every group of instructions of one lane, against values computed here.

mod common;

use common::Numbers;
use half::{bf16, f16};
use longlens_ptx::{Launch, Memory, Module};

/// Runs instructions on three inputs per thread. They find the inputs in registers 1, 2 and 3 of every kind (`%rd`, `%r`, `%rs`, `%f`,
/// `%fd`), may use the numbers 4 to 9, and leave the result in number 0 of the kind that `result` names.
fn execute(instructions: &str, result: &str, inputs: &[[u64; 3]]) -> Vec<u64> {
    let to_wide = match result {
        "rd" => "",
        "r" => "cvt.u64.u32 %rd0, %r0;",
        "rs" => "cvt.u64.u16 %rd0, %rs0;",
        "f" => "mov.b32 %r0, %f0; cvt.u64.u32 %rd0, %r0;",
        "fd" => "mov.b64 %rd0, %fd0;",
        "p" => "selp.u64 %rd0, 1, 0, %p0;",
        other => panic!("no registers of kind {other}"),
    };
    let narrow = |n: usize| {
        format!(
            "ld.global.u64 %rd{n}, [%rd12+{}]; cvt.u32.u64 %r{n}, %rd{n}; cvt.u16.u64 %rs{n}, %rd{n};
             mov.b32 %f{n}, %r{n}; mov.b64 %fd{n}, %rd{n}; setp.ne.s32 %p{n}, %r{n}, 0;",
            8 * (n - 1)
        )
    };
    let text = format!(
        ".version 9.0
        .target sm_90a
        .address_size 64
        .visible .entry k(.param .u64 in, .param .u64 out) {{
            .reg .pred %p<10>; .reg .b16 %rs<10>; .reg .b32 %r<20>; .reg .b64 %rd<20>; .reg .f32 %f<10>; .reg .f64 %fd<10>;
            ld.param.u64 %rd10, [in]; ld.param.u64 %rd11, [out];
            mov.u32 %r10, %tid.x;
            mad.wide.u32 %rd12, %r10, 24, %rd10;
            mad.wide.u32 %rd13, %r10, 8, %rd11;
            {}{}{}
            {instructions}
            {to_wide}
            st.global.u64 [%rd13], %rd0;
            ret;
        }}",
        narrow(1),
        narrow(2),
        narrow(3)
    );
    let module = Module::parse(&text).unwrap_or_else(|error| panic!("{instructions}: {error}"));
    let mut memory = Memory::new();
    let flat: Vec<u64> = inputs.iter().flatten().copied().collect();
    let (input, output) = (memory.input("in", &flat), memory.output::<u64>("out", inputs.len()));
    let launch = Launch::new(&module, "k").block(inputs.len() as u32, 1, 1).arg(input).arg(output);
    launch.run(&mut memory).unwrap_or_else(|error| panic!("{error}")).assert_clean();
    memory.read(output)
}

/// Numbers at the edges of their types, and others.
fn integers() -> Vec<[u64; 3]> {
    let edges = [0, 1, 2, 7, 31, 33, 0x7fff, 0x8000, 0xffff, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff, 1 << 63, u64::MAX];
    let mut numbers = Numbers::new(1);
    let mut inputs: Vec<[u64; 3]> = edges.iter().flat_map(|a| edges.map(|b| [*a, b, a ^ b])).collect();
    inputs.extend((0..60).map(|_| [numbers.bits(), numbers.bits(), numbers.bits()]));
    inputs
}

fn check(instructions: &str, result: &str, inputs: &[[u64; 3]], expected: impl Fn(u64, u64, u64) -> u64) {
    for (found, [a, b, c]) in execute(instructions, result, inputs).iter().zip(inputs) {
        let expected = expected(*a, *b, *c);
        assert_eq!(*found, expected, "{instructions} of {a:#x}, {b:#x}, {c:#x}: {found:#x}, not {expected:#x}");
    }
}

fn check32(instructions: &str, expected: impl Fn(u32, u32, u32) -> u32) {
    check(instructions, "r", &integers(), |a, b, c| u64::from(expected(a as u32, b as u32, c as u32)));
}

fn check64(instructions: &str, expected: impl Fn(u64, u64, u64) -> u64) {
    check(instructions, "rd", &integers(), expected);
}

#[test]
fn sums_and_products_of_integers() {
    check32("add.s32 %r0, %r1, %r2;", |a, b, _| a.wrapping_add(b));
    check32("sub.u32 %r0, %r1, %r2;", |a, b, _| a.wrapping_sub(b));
    check32("add.sat.s32 %r0, %r1, %r2;", |a, b, _| (a as i32).saturating_add(b as i32) as u32);
    check32("mul.lo.s32 %r0, %r1, %r2;", |a, b, _| a.wrapping_mul(b));
    check32("mul.hi.u32 %r0, %r1, %r2;", |a, b, _| ((u64::from(a) * u64::from(b)) >> 32) as u32);
    check32("mul.hi.s32 %r0, %r1, %r2;", |a, b, _| ((i64::from(a as i32) * i64::from(b as i32)) >> 32) as u32);
    check32("mad.lo.s32 %r0, %r1, %r2, %r3;", |a, b, c| a.wrapping_mul(b).wrapping_add(c));
    check32("mad.hi.u32 %r0, %r1, %r2, %r3;", |a, b, c| (((u64::from(a) * u64::from(b)) >> 32) as u32).wrapping_add(c));
    check32("sad.s32 %r0, %r1, %r2, %r3;", |a, b, c| c.wrapping_add((a as i32).abs_diff(b as i32)));
    check64("add.s64 %rd0, %rd1, %rd2;", |a, b, _| a.wrapping_add(b));
    check64("mul.hi.u64 %rd0, %rd1, %rd2;", |a, b, _| ((u128::from(a) * u128::from(b)) >> 64) as u64);
    check64("mul.wide.u32 %rd0, %r1, %r2;", |a, b, _| u64::from(a as u32) * u64::from(b as u32));
    check64("mul.wide.s32 %rd0, %r1, %r2;", |a, b, _| (i64::from(a as i32) * i64::from(b as i32)) as u64);
    check64("mad.wide.s32 %rd0, %r1, %r2, %rd3;", |a, b, c| {
        (i64::from(a as i32) * i64::from(b as i32)).wrapping_add(c as i64) as u64
    });
    check("mul.lo.s16 %rs0, %rs1, %rs2;", "rs", &integers(), |a, b, _| u64::from((a as u16).wrapping_mul(b as u16)));
    check32("mul.wide.u16 %r0, %rs1, %rs2;", |a, b, _| (a & 0xffff) * (b & 0xffff));
}

#[test]
fn sums_through_the_carry_flag() {
    let split = "mov.b64 {%r4, %r5}, %rd1; mov.b64 {%r6, %r7}, %rd2;";
    let sum = "add.cc.u32 %r8, %r4, %r6; addc.u32 %r9, %r5, %r7; mov.b64 %rd0, {%r8, %r9};";
    check64(&format!("{split}{sum}"), |a, b, _| a.wrapping_add(b));
    let difference = "sub.cc.u32 %r8, %r4, %r6; subc.u32 %r9, %r5, %r7; mov.b64 %rd0, {%r8, %r9};";
    check64(&format!("{split}{difference}"), |a, b, _| a.wrapping_sub(b));
    let product = "mad.lo.cc.u32 %r8, %r4, %r6, %r3; madc.hi.u32 %r9, %r4, %r6, 0; mov.b64 %rd0, {%r8, %r9};";
    check64(&format!("{split}{product}"), |a, b, c| u64::from(a as u32) * u64::from(b as u32) + u64::from(c as u32));
}

#[test]
fn quotients_and_order_of_integers() {
    let inputs: Vec<[u64; 3]> = integers().into_iter().filter(|[_, b, _]| *b as u32 != 0).collect();
    let check = |text: &str, expected: fn(u32, u32) -> u32| {
        check(text, "r", &inputs, |a, b, _| u64::from(expected(a as u32, b as u32)));
    };
    check("div.u32 %r0, %r1, %r2;", |a, b| a / b);
    check("rem.u32 %r0, %r1, %r2;", |a, b| a % b);
    check("div.s32 %r0, %r1, %r2;", |a, b| (a as i32).wrapping_div(b as i32) as u32);
    check("rem.s32 %r0, %r1, %r2;", |a, b| (a as i32).wrapping_rem(b as i32) as u32);
    check32("min.s32 %r0, %r1, %r2;", |a, b, _| (a as i32).min(b as i32) as u32);
    check32("max.u32 %r0, %r1, %r2;", |a, b, _| a.max(b));
    check32("abs.s32 %r0, %r1;", |a, _, _| (a as i32).wrapping_abs() as u32);
    check32("neg.s32 %r0, %r1;", |a, _, _| a.wrapping_neg());
    check64("max.s64 %rd0, %rd1, %rd2;", |a, b, _| (a as i64).max(b as i64) as u64);
}

#[test]
fn bits() {
    check32("and.b32 %r0, %r1, -16;", |a, _, _| a & !15);
    check32("or.b32 %r0, %r1, %r2;", |a, b, _| a | b);
    check32("xor.b32 %r0, %r1, -1;", |a, _, _| !a);
    check32("not.b32 %r0, %r1;", |a, _, _| !a);
    check32("cnot.b32 %r0, %r1;", |a, _, _| u32::from(a == 0));
    check32("shl.b32 %r0, %r1, %r2;", |a, b, _| a.checked_shl(b).unwrap_or(0));
    check32("shr.u32 %r0, %r1, %r2;", |a, b, _| a.checked_shr(b).unwrap_or(0));
    check32("shr.s32 %r0, %r1, %r2;", |a, b, _| ((a as i32) >> b.min(31)) as u32);
    check64("shr.s64 %rd0, %rd1, %r2;", |a, b, _| ((a as i64) >> (b as u32).min(63)) as u64);
    check32("popc.b32 %r0, %r1;", |a, _, _| a.count_ones());
    check("popc.b64 %r0, %rd1;", "r", &integers(), |a, _, _| u64::from(a.count_ones()));
    check32("clz.b32 %r0, %r1;", |a, _, _| a.leading_zeros());
    check32("brev.b32 %r0, %r1;", |a, _, _| a.reverse_bits());
    check32("bfind.u32 %r0, %r1;", |a, _, _| 31u32.wrapping_sub(a.leading_zeros()) | u32::from(a == 0).wrapping_neg());
    check32("bfe.u32 %r0, %r1, 5, 9;", |a, _, _| a >> 5 & 0x1ff);
    check32("bfe.s32 %r0, %r1, 5, 9;", |a, _, _| ((a as i32) << 18 >> 23) as u32);
    check32("bfi.b32 %r0, %r1, %r2, 8, 4;", |a, b, _| b & !0xf00 | (a & 15) << 8);
    check32("shf.l.wrap.b32 %r0, %r1, %r2, 7;", |a, b, _| b << 7 | a >> 25);
    check32("shf.r.wrap.b32 %r0, %r1, %r2, 7;", |a, b, _| b << 25 | a >> 7);
    check32("shf.r.clamp.b32 %r0, %r1, %r2, %r3;", |a, b, c| ((u64::from(b) << 32 | u64::from(a)) >> c.min(32)) as u32);
    check32("prmt.b32 %r0, %r1, %r2, 0x5410;", |a, b, _| a & 0xffff | b << 16);
    check32("prmt.b32 %r0, %r1, %r2, 0x7632;", |a, b, _| a >> 16 | b & 0xffff_0000);
    check32("prmt.b32 %r0, %r1, 0, 0x8880;", |a, _, _| {
        let sign = if a & 0x80 == 0 { 0 } else { 0xffff_ff00 };
        a & 0xff | sign
    });
    check32("lop3.b32 %r0, %r1, %r2, %r3, 0x96;", |a, b, c| a ^ b ^ c);
    check32("lop3.b32 %r0, %r1, %r2, %r3, 0xca;", |a, b, c| a & b | !a & c);
    check32("dp4a.s32.s32 %r0, %r1, %r2, %r3;", |a, b, c| {
        let byte = |word: u32, at: u32| i32::from((word >> (8 * at)) as i8);
        c.wrapping_add((0..4).map(|at| byte(a, at) * byte(b, at)).sum::<i32>() as u32)
    });
}

#[test]
fn choices() {
    check32("selp.b32 %r0, %r1, %r2, %p3;", |a, b, c| if c != 0 { a } else { b });
    check32("slct.u32.s32 %r0, %r1, %r2, %r3;", |a, b, c| if c as i32 >= 0 { a } else { b });
    check32(
        "setp.lt.s32 %p4|%p5, %r1, %r2; selp.b32 %r4, 1, 0, %p4; selp.b32 %r5, 2, 0, %p5; or.b32 %r0, %r4, %r5;",
        |a, b, _| {
            if (a as i32) < b as i32 { 1 } else { 2 }
        },
    );
    check32("setp.hs.and.u32 %p4, %r1, %r2, !%p3; selp.b32 %r0, 1, 0, %p4;", |a, b, c| u32::from(a >= b && c == 0));
    check32(
        "and.pred %p4, %p1, %p2; xor.pred %p5, %p4, %p3; not.pred %p6, %p5; selp.b32 %r0, 1, 0, %p6;",
        |a, b, c| u32::from((a != 0 && b != 0) == (c != 0)),
    );
    check32("mov.u32 %r0, 5; @%p1 mov.u32 %r0, 6; @!%p2 add.u32 %r0, %r0, 10;", |a, b, _| {
        5 + u32::from(a != 0) + 10 * u32::from(b == 0)
    });
    check32("set.gt.u32.s32 %r0, %r1, %r2;", |a, b, _| u32::from(a as i32 > b as i32).wrapping_neg());
}

/// Pairs of f32, as bits: ordinary, huge, tiny, infinite, NaN.
fn floats() -> Vec<[u64; 3]> {
    let edges =
        [0.0, -0.0, 1.0, -1.5, 3.0e38, 1.0e-38, 1.0e-40, f32::INFINITY, f32::NEG_INFINITY, f32::NAN, 0.1, 1.0e10];
    let mut numbers = Numbers::new(2);
    let bits = |value: f32| u64::from(value.to_bits());
    let mut inputs: Vec<[u64; 3]> =
        edges.iter().flat_map(|a| edges.map(|b| [bits(*a), bits(b), bits(a - b)])).collect();
    inputs.extend((0..60).map(|_| [0; 3].map(|_| bits(numbers.unit() * 8.0))));
    inputs
}

fn check_f32(instructions: &str, expected: impl Fn(f32, f32, f32) -> f32) {
    let inputs = floats();
    let value = |bits: u64| f32::from_bits(bits as u32);
    for (found, [a, b, c]) in execute(instructions, "f", &inputs).iter().zip(&inputs) {
        let (found, expected) = (value(*found), expected(value(*a), value(*b), value(*c)));
        let equal = found.to_bits() == expected.to_bits()
            || found.is_nan() && expected.is_nan()
            || found == 0.0 && expected == 0.0;
        assert!(equal, "{instructions} of {}, {}, {}: {found}, not {expected}", value(*a), value(*b), value(*c));
    }
}

#[test]
fn arithmetic_of_f32() {
    check_f32("add.f32 %f0, %f1, %f2;", |a, b, _| a + b);
    check_f32("sub.rn.f32 %f0, %f1, %f2;", |a, b, _| a - b);
    check_f32("mul.f32 %f0, %f1, %f2;", |a, b, _| a * b);
    check_f32("fma.rn.f32 %f0, %f1, %f2, %f3;", f32::mul_add);
    check_f32("div.rn.f32 %f0, %f1, %f2;", |a, b, _| a / b);
    check_f32("min.f32 %f0, %f1, %f2;", |a, b, _| a.min(b));
    check_f32("max.f32 %f0, %f1, %f2;", |a, b, _| a.max(b));
    check_f32("max.NaN.f32 %f0, %f1, %f2;", |a, b, _| if a.is_nan() || b.is_nan() { f32::NAN } else { a.max(b) });
    check_f32("abs.f32 %f4, %f1; neg.f32 %f0, %f4;", |a, _, _| -a.abs());
    check_f32("copysign.f32 %f0, %f1, %f2;", |a, b, _| b.copysign(a));
    check_f32("rcp.rn.f32 %f0, %f1;", |a, _, _| 1.0 / a);
    check_f32("sqrt.rn.f32 %f0, %f1;", |a, _, _| a.sqrt());
    check_f32("add.ftz.f32 %f0, %f1, 0f00000000;", |a, _, _| if a.is_subnormal() { 0.0 } else { a });
    check_f32("add.sat.f32 %f0, %f1, %f2;", |a, b, _| if (a + b).is_nan() { 0.0 } else { (a + b).clamp(0.0, 1.0) });
    check_f32("slct.f32.f32 %f0, %f1, %f2, %f3;", |a, b, c| if c >= 0.0 { a } else { b });
}

#[test]
fn directed_rounding() {
    let one = |text: &str, a: f32, b: f32| {
        let bits = execute(text, "f", &[[u64::from(a.to_bits()), u64::from(b.to_bits()), 0]]);
        f32::from_bits(bits[0] as u32)
    };
    let tiny = 1.0e-20;
    assert_eq!(one("add.rp.f32 %f0, %f1, %f2;", 1.0, tiny), 1.0f32.next_up());
    assert_eq!(one("add.rm.f32 %f0, %f1, %f2;", 1.0, tiny), 1.0);
    assert_eq!(one("add.rz.f32 %f0, %f1, %f2;", -1.0, tiny), -(1.0f32.next_down()));
    assert_eq!(one("sub.rm.f32 %f0, %f1, %f2;", 1.0, tiny), 1.0f32.next_down());
}

#[test]
fn approximate_functions() {
    let inputs: Vec<[u64; 3]> = (1..100).map(|n| [u64::from((n as f32 * 0.13 - 4.0).to_bits()), 0, 0]).collect();
    for (text, expected) in [
        ("ex2.approx.ftz.f32 %f0, %f1;", f64::exp2 as fn(f64) -> f64),
        ("lg2.approx.f32 %f0, %f1;", f64::log2),
        ("sin.approx.f32 %f0, %f1;", f64::sin),
        ("cos.approx.f32 %f0, %f1;", f64::cos),
        ("tanh.approx.f32 %f0, %f1;", f64::tanh),
        ("rsqrt.approx.f32 %f0, %f1;", |x| 1.0 / x.sqrt()),
        ("rcp.approx.ftz.f32 %f0, %f1;", |x| 1.0 / x),
        ("div.full.f32 %f0, %f1, 0f40400000;", |x| x / 3.0),
    ] {
        for (found, [a, ..]) in execute(text, "f", &inputs).iter().zip(&inputs) {
            let expected = expected(f64::from(f32::from_bits(*a as u32)));
            let found = f64::from(f32::from_bits(*found as u32));
            assert!(
                (found - expected).abs() <= 1e-6 * expected.abs() || found.is_nan() && expected.is_nan(),
                "{text}: {found}"
            );
        }
    }
}

#[test]
fn arithmetic_of_f64() {
    let inputs = [[2.5f64.to_bits(), (-0.75f64).to_bits(), 1e-300f64.to_bits()]];
    let check = |text: &str, expected: f64| assert_eq!(execute(text, "fd", &inputs), [expected.to_bits()], "{text}");
    check("fma.rn.f64 %fd0, %fd1, %fd2, %fd3;", 2.5f64.mul_add(-0.75, 1e-300));
    check("div.rn.f64 %fd0, %fd1, %fd2;", 2.5 / -0.75);
    check("max.f64 %fd0, %fd1, %fd2;", 2.5);
    check("sqrt.rn.f64 %fd0, %fd1;", 2.5f64.sqrt());
}

#[test]
fn comparisons_of_floats() {
    type Answer = fn(f32, f32) -> bool;
    let cases: [(&str, Answer); 14] = [
        ("eq", |a, b| a == b),
        ("ne", |a, b| a < b || a > b),
        ("lt", |a, b| a < b),
        ("le", |a, b| a <= b),
        ("gt", |a, b| a > b),
        ("ge", |a, b| a >= b),
        ("equ", |a, b| a == b || a.is_nan() || b.is_nan()),
        ("neu", |a, b| a != b),
        ("ltu", |a, b| a < b || a.is_nan() || b.is_nan()),
        ("leu", |a, b| a <= b || a.is_nan() || b.is_nan()),
        ("gtu", |a, b| a > b || a.is_nan() || b.is_nan()),
        ("geu", |a, b| a >= b || a.is_nan() || b.is_nan()),
        ("num", |a, b| !a.is_nan() && !b.is_nan()),
        ("nan", |a, b| a.is_nan() || b.is_nan()),
    ];
    for (name, answer) in cases {
        check(&format!("setp.{name}.f32 %p0, %f1, %f2;"), "p", &floats(), |a, b, _| {
            u64::from(answer(f32::from_bits(a as u32), f32::from_bits(b as u32)))
        });
    }
}

#[test]
fn halves() {
    type Pair<T> = (T, T);
    let inputs: Vec<[u64; 3]> = floats()
        .chunks_exact(2)
        .map(|pair| {
            let half = |at: usize, of: usize| u64::from(f16::from_f32(f32::from_bits(pair[at][of] as u32)).to_bits());
            [0, 1, 2].map(|of| half(0, of) | half(1, of) << 16)
        })
        .collect();
    let check = |text: &str, expected: fn(f64, f64, f64) -> f64| {
        for (found, input) in execute(text, "r", &inputs).iter().zip(&inputs) {
            let parts = |bits: u64| -> Pair<f16> { (f16::from_bits(bits as u16), f16::from_bits((bits >> 16) as u16)) };
            let [a, b, c] = input.map(parts);
            let exact = |a: f16, b: f16, c: f16| f16::from_f64(expected(a.to_f64(), b.to_f64(), c.to_f64()));
            let (low, high) = (exact(a.0, b.0, c.0), exact(a.1, b.1, c.1));
            let found = parts(*found);
            for (found, expected) in [(found.0, low), (found.1, high)] {
                assert!(found == expected || found.is_nan() && expected.is_nan(), "{text}: {found}, not {expected}");
            }
        }
    };
    check("add.f16x2 %r0, %r1, %r2;", |a, b, _| a + b);
    check("mul.rn.f16x2 %r0, %r1, %r2;", |a, b, _| a * b);
    check("fma.rn.f16x2 %r0, %r1, %r2, %r3;", |a, b, c| a * b + c);
    check("max.f16x2 %r0, %r1, %r2;", |a, b, _| a.max(b));
    check("neg.f16x2 %r4, %r1; abs.f16x2 %r0, %r4;", |a, _, _| a.abs());
}

#[test]
fn bfloats() {
    let inputs = floats();
    let value = |bits: u64| f32::from_bits(bits as u32);
    let round = |value: f32| u64::from(bf16::from_f32(value).to_bits());
    let usual: Vec<[u64; 3]> = inputs.into_iter().filter(|i| i.iter().all(|bits| value(*bits).is_finite())).collect();
    check("cvt.rn.bf16x2.f32 %r0, %f1, %f2;", "r", &usual, |a, b, _| round(value(a)) << 16 | round(value(b)));
    check("cvt.rn.bf16.f32 %rs0, %f1;", "rs", &usual, |a, _, _| round(value(a)));
    check("cvt.rz.bf16.f32 %rs0, %f1;", "rs", &usual, |a, _, _| a >> 16 & 0xffff);
    check("cvt.rn.relu.bf16x2.f32 %r0, %f1, %f2;", "r", &usual, |a, b, _| {
        round(value(a).max(0.0)) << 16 | round(value(b).max(0.0))
    });
    check("cvt.rn.bf16.f32 %rs4, %f1; cvt.f32.bf16 %f0, %rs4;", "f", &usual, |a, _, _| round(value(a)) << 16);
    check("cvt.rn.f16.f32 %rs0, %f1;", "rs", &usual, |a, _, _| u64::from(f16::from_f32(value(a)).to_bits()));
    check("cvt.rna.tf32.f32 %r0, %f1;", "r", &[[0x3f80_1000, 0, 0], [0x3f80_0fff, 0, 0]], |a, _, _| {
        if a == 0x3f80_1000 { 0x3f80_2000 } else { 0x3f80_0000 }
    });
    check("fma.rn.bf16x2 %r0, %r1, %r2, %r3;", "r", &[[0x4000_3f80, 0x4040_4000, 0x3f80_bf80]], |_, _, _| 0x40e0_3f80);
}

#[test]
fn conversions_of_integers() {
    check64("cvt.u64.u32 %rd0, %r1;", |a, _, _| a & 0xffff_ffff);
    check64("cvt.s64.s32 %rd0, %r1;", |a, _, _| i64::from(a as i32) as u64);
    check32("cvt.u32.u16 %r0, %rs1;", |a, _, _| a & 0xffff);
    check32("cvt.s32.s16 %r0, %rs1;", |a, _, _| a as i16 as u32);
    check32("cvt.s32.s8 %r0, %r1;", |a, _, _| a as i8 as u32);
    check32("cvt.u32.u8 %r0, %r1;", |a, _, _| a & 0xff);
    check32("cvt.u32.u64 %r0, %rd1;", |a, _, _| a);
    check32("cvt.sat.s8.s32 %r0, %r1;", |a, _, _| (a as i32).clamp(-128, 127) as u32);
    check32("cvt.sat.u8.s32 %r0, %r1;", |a, _, _| (a as i32).clamp(0, 255) as u32);
}

#[test]
fn conversions_between_integers_and_floats() {
    let inputs = floats();
    let value = |bits: u64| f32::from_bits(bits as u32);
    check("cvt.rni.s32.f32 %r0, %f1;", "r", &inputs, |a, _, _| u64::from(value(a).round_ties_even() as i32 as u32));
    check("cvt.rzi.u32.f32 %r0, %f1;", "r", &inputs, |a, _, _| u64::from(value(a) as u32));
    check("cvt.rmi.s32.f32 %r0, %f1;", "r", &inputs, |a, _, _| u64::from(value(a).floor() as i32 as u32));
    check("cvt.rzi.s64.f32 %rd0, %f1;", "rd", &inputs, |a, _, _| value(a) as i64 as u64);
    check_f32("cvt.rmi.f32.f32 %f0, %f1;", |a, _, _| a.floor());
    check_f32("cvt.rpi.f32.f32 %f0, %f1;", |a, _, _| a.ceil());
    check_f32("cvt.rni.f32.f32 %f0, %f1;", |a, _, _| a.round_ties_even());
    check_f32("cvt.sat.f32.f32 %f0, %f1;", |a, _, _| if a.is_nan() { 0.0 } else { a.clamp(0.0, 1.0) });
    check("cvt.rn.f32.s32 %f0, %r1;", "f", &integers(), |a, _, _| u64::from((a as i32 as f32).to_bits()));
    check("cvt.rn.f32.u64 %f0, %rd1;", "f", &integers(), |a, _, _| u64::from((a as f32).to_bits()));
    check("cvt.rz.f32.u32 %f0, %r1;", "f", &[[0xffff_ffff, 0, 0]], |_, _, _| u64::from(4_294_967_040f32.to_bits()));
    check("cvt.f64.f32 %fd0, %f1;", "fd", &[[u64::from(0.1f32.to_bits()), 0, 0]], |_, _, _| {
        f64::from(0.1f32).to_bits()
    });
    check("cvt.rn.f32.f64 %f0, %fd1;", "f", &[[0.1f64.to_bits(), 0, 0]], |_, _, _| u64::from(0.1f32.to_bits()));
}

#[test]
fn registers_are_packed_and_cut() {
    check64("mov.b64 {%r4, %r5}, %rd1; mov.b64 %rd0, {%r5, %r4};", |a, _, _| a.rotate_left(32));
    check32("mov.b32 {%rs4, %rs5}, %r1; mov.b32 %r0, {%rs5, %rs4};", |a, _, _| a.rotate_left(16));
    check32("{ .reg .b16 low, high; mov.b32 {low, high}, %r1; mov.b32 %r0, {high, low}; }", |a, _, _| {
        a.rotate_left(16)
    });
}

#[test]
fn branches_go_to_labels_of_their_scope() {
    let text = "mov.u32 %r0, 0;
        { again: add.u32 %r0, %r0, 1; setp.lt.u32 %p4, %r0, 3; @%p4 bra again; }
        { again: add.u32 %r0, %r0, 10; setp.lt.u32 %p4, %r0, 40; @%p4 bra again; }";
    check32(text, |_, _, _| 43);
}

#[test]
fn lanes_that_part_come_together() {
    let text = "and.b32 %r4, %r1, 3; mov.u32 %r0, 0;
        loop: setp.eq.u32 %p4, %r4, 0; @%p4 bra done;
        add.u32 %r0, %r0, %r4; sub.u32 %r4, %r4, 1; bra.uni loop;
        done: add.u32 %r0, %r0, 100;";
    check32(text, |a, _, _| (0..=a & 3).sum::<u32>() + 100);
    let switch = "and.b32 %r4, %r1, 3;
        targets: .branchtargets zero, one, many, many;
        brx.idx %r4, targets;
        zero: mov.u32 %r0, 70; bra.uni end;
        one: mov.u32 %r0, 71; bra.uni end;
        many: mov.u32 %r0, 72;
        end: add.u32 %r0, %r0, 1;";
    check32(switch, |a, _, _| 71 + (a & 3).min(2));
}

#[test]
fn unknown_instructions_are_quoted() {
    let text = ".version 9.0\n.target sm_80\n.address_size 64\n.visible .entry k() {\n.reg .b32 %r<3>;\nfrobnicate.u32 %r1, %r2;\n}";
    let error = Module::parse(text).expect_err("the instruction does not exist").to_string();
    assert_eq!(error, "PTX line 6: unknown instruction `frobnicate.u32 %r1, %r2;`");
}
