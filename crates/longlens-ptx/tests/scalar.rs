//! Instructions of one lane on integers and bits, against values computed here.

mod common;

use common::lanes::{check, integers};
use longlens_ptx::Module;

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
