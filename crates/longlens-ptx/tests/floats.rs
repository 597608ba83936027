//! Instructions of one lane on floats, against values computed here.
#![allow(clippy::float_cmp)] // results have to be equal to the last bit

mod common;

use std::cmp::Ordering;

use common::Numbers;
use common::lanes::{check, execute, integers};
use half::{bf16, f16};

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
    check_f32("max.f32 %f0, %f1, %f2, %f3;", |a, b, c| a.max(b).max(c));
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
    // what two numbers that are not NaN compare as, and what NaN answers
    type Answer = fn(Ordering) -> bool;
    let ordered: [(&str, Answer); 6] = [
        ("eq", Ordering::is_eq),
        ("ne", Ordering::is_ne),
        ("lt", Ordering::is_lt),
        ("le", Ordering::is_le),
        ("gt", Ordering::is_gt),
        ("ge", Ordering::is_ge),
    ];
    let mut cases: Vec<(String, Answer, bool)> = Vec::new();
    for (name, answer) in ordered {
        cases.push((name.to_string(), answer, false));
        cases.push((format!("{name}u"), answer, true));
    }
    cases.push(("num".to_string(), |_| true, false));
    cases.push(("nan".to_string(), |_| false, true));
    for (name, answer, for_nan) in cases {
        check(&format!("setp.{name}.f32 %p0, %f1, %f2;"), "p", &floats(), |a, b, _| {
            let order = f32::from_bits(a as u32).partial_cmp(&f32::from_bits(b as u32));
            u64::from(order.map_or(for_nan, answer))
        });
    }
}

#[test]
fn pairs_of_f32() {
    let pair = |low: f32, high: f32| u64::from(low.to_bits()) | u64::from(high.to_bits()) << 32;
    let inputs = [[pair(1.5, -2.0), pair(0.25, 3.0), pair(10.0, 0.1)]];
    let check = |text: &str, low: f32, high: f32| assert_eq!(execute(text, "rd", &inputs), [pair(low, high)], "{text}");
    check("add.rn.f32x2 %rd0, %rd1, %rd2;", 1.75, 1.0);
    check("mul.rn.f32x2 %rd0, %rd1, %rd2;", 0.375, -6.0);
    check("fma.rn.f32x2 %rd0, %rd1, %rd2, %rd3;", 10.375, (-2.0f32).mul_add(3.0, 0.1));
}

#[test]
fn properties_of_floats() {
    type Answer = fn(f32) -> bool;
    let cases: [(&str, Answer); 6] = [
        ("finite", f32::is_finite),
        ("infinite", f32::is_infinite),
        ("number", |a| !a.is_nan()),
        ("notanumber", f32::is_nan),
        ("normal", f32::is_normal),
        ("subnormal", f32::is_subnormal),
    ];
    for (name, answer) in cases {
        check(&format!("testp.{name}.f32 %p0, %f1;"), "p", &floats(), |a, _, _| {
            u64::from(answer(f32::from_bits(a as u32)))
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
