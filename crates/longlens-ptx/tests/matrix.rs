//! Matrix instructions of a warp and of a warpgroup, against products in f64.

mod common;

use common::Numbers;
use half::{bf16, f16};
use longlens_ptx::{Launch, Memory, Module};

/// An element type: its name, its bytes, the bits of a number, and the number that bits stand for.
struct Element {
    name: &'static str,
    bytes: usize,
    encode: fn(f32) -> u32,
    decode: fn(u32) -> f64,
}

const F16: Element = Element {
    name: "f16",
    bytes: 2,
    encode: |x| u32::from(f16::from_f32(x).to_bits()),
    decode: |bits| f16::from_bits(bits as u16).to_f64(),
};
const BF16: Element = Element {
    name: "bf16",
    bytes: 2,
    encode: |x| u32::from(bf16::from_f32(x).to_bits()),
    decode: |bits| bf16::from_bits(bits as u16).to_f64(),
};
const TF32: Element = Element {
    name: "tf32",
    bytes: 4,
    encode: |x| x.to_bits() & 0xffff_e000,
    decode: |bits| f64::from(f32::from_bits(bits)),
};
const S8: Element = Element {
    name: "s8",
    bytes: 1,
    encode: |x| u32::from((x * 127.0) as i8 as u8),
    decode: |bits| f64::from(bits as u8 as i8),
};
const U8: Element =
    Element { name: "u8", bytes: 1, encode: |x| (x.abs() * 255.0) as u32, decode: |bits| f64::from(bits as u8) };

/// Bits of a matrix of numbers between -1 and 1.
fn random(element: &Element, n: usize, seed: u64) -> Vec<u32> {
    let mut numbers = Numbers::new(seed);
    (0..n).map(|_| (element.encode)(numbers.unit())).collect()
}

/// One instruction for each of `n` registers.
fn repeat(n: usize, instruction: impl Fn(usize) -> String) -> String {
    (0..n).map(instruction).collect::<Vec<String>>().concat()
}

/// `n` registers of all lanes, `%r{first}` and following, from a buffer with the registers of a lane side by side.
fn loads(buffer: &str, first: usize, n: usize) -> String {
    let start = format!("ld.param.u64 %rd1, [{buffer}]; mad.wide.u32 %rd1, %r1, {}, %rd1;\n", 4 * n);
    start + &repeat(n, |index| format!("ld.global.u32 %r{}, [%rd1+{}];\n", first + index, 4 * index))
}

fn list(first: usize, n: usize) -> String {
    format!("{{{}}}", (first..first + n).map(|r| format!("%r{r}")).collect::<Vec<_>>().join(", "))
}

/// Packs elements of a matrix into registers: `place` gives row and column of the first element of a lane's register.
fn pack(
    element: &Element,
    matrix: impl Fn(usize, usize) -> u32,
    n: usize,
    place: impl Fn(usize, usize) -> (usize, usize),
    along_rows: bool,
) -> Vec<u32> {
    let per = 4 / element.bytes;
    let mut registers = Vec::new();
    for lane in 0..32 {
        for register in 0..n {
            let (row, column) = place(lane, register);
            registers.push((0..per).fold(0, |bits, next| {
                let value = if along_rows { matrix(row, column + next) } else { matrix(row + next, column) };
                bits | value << (8 * element.bytes * next)
            }));
        }
    }
    registers
}

/// Runs `mma` of 16 × `k` and `k` × 8 on accumulators of ones.
fn multiply(element: &Element, k: usize, accumulator: &str) {
    let (a, b) = (random(element, 16 * k, 1), random(element, k * 8, 2));
    let per = 4 / element.bytes;
    let (n_a, n_b) = (16 * k / per / 32, k * 8 / per / 32);
    // the places of the manual: g = lane / 4, t = lane % 4
    let left = pack(
        element,
        |r, c| a[r * k + c],
        n_a,
        |lane, i| (lane / 4 + 8 * (i % 2), lane % 4 * per + i / 2 * 4 * per),
        true,
    );
    let right = pack(element, |r, c| b[r * 8 + c], n_b, |lane, i| (lane % 4 * per + i * 4 * per, lane / 4), false);
    let n_d = if accumulator == "f16" { 2 } else { 4 };
    let one = match accumulator {
        "f32" => 1f32.to_bits(),
        "f16" => 0x3c00_3c00,
        _ => 1,
    };
    let name = element.name;
    let text = format!(
        ".version 9.0\n.target sm_90a\n.address_size 64\n.visible .entry k(.param .u64 a, .param .u64 b, .param .u64 out) {{
        .reg .b32 %r<60>; .reg .b64 %rd<4>; mov.u32 %r1, %tid.x;\n{}{}{}
        mma.sync.aligned.m16n8k{k}.row.col.{accumulator}.{name}.{name}.{accumulator} {d}, {}, {}, {d};
        ld.param.u64 %rd1, [out]; mad.wide.u32 %rd1, %r1, {}, %rd1;\n{} ret; }}",
        loads("a", 10, n_a),
        loads("b", 20, n_b),
        repeat(n_d, |i| format!("mov.u32 %r{}, {one};\n", 30 + i)),
        list(10, n_a),
        list(20, n_b),
        4 * n_d,
        repeat(n_d, |i| format!("st.global.u32 [%rd1+{}], %r{};\n", 4 * i, 30 + i)),
        d = list(30, n_d),
    );
    let module = Module::parse(&text).unwrap_or_else(|error| panic!("{error}"));
    let mut memory = Memory::new();
    let (left, right) = (memory.input("a", &left), memory.input("b", &right));
    let out = memory.output::<u32>("out", 32 * n_d);
    let launch = Launch::new(&module, "k").block(32, 1, 1).arg(left).arg(right).arg(out);
    let report = launch.run(&mut memory).unwrap_or_else(|error| panic!("{error}"));
    report.assert_clean();
    assert_eq!(report.mma, 1);
    let out = memory.read::<u32>(out);
    for (row, column) in (0..16).flat_map(|row| (0..8).map(move |column| (row, column))) {
        let exact =
            1.0 + (0..k).map(|i| (element.decode)(a[row * k + i]) * (element.decode)(b[i * 8 + column])).sum::<f64>();
        let lane = row % 8 * 4 + column / 2;
        let found = match accumulator {
            "f16" => f16::from_bits((out[lane * 2 + row / 8] >> (16 * (column % 2))) as u16).to_f64(),
            "f32" => f64::from(f32::from_bits(out[lane * 4 + row / 8 * 2 + column % 2])),
            _ => f64::from(out[lane * 4 + row / 8 * 2 + column % 2] as i32),
        };
        let bound = if accumulator == "f16" { 4e-3 } else { 1e-5 };
        assert!((found - exact).abs() <= bound, "{name} k {k}, row {row}, column {column}: {found}, not {exact}");
    }
}

#[test]
fn products_of_a_warp() {
    multiply(&BF16, 16, "f32");
    multiply(&F16, 16, "f32");
    multiply(&F16, 16, "f16");
    multiply(&BF16, 8, "f32");
    multiply(&F16, 8, "f32");
    multiply(&TF32, 8, "f32");
    multiply(&TF32, 4, "f32");
    multiply(&S8, 32, "s32");
    multiply(&U8, 32, "s32");
    multiply(&S8, 16, "s32");
}

/// Runs instructions on 64 rows of 8 numbers of 16 bits in shared memory, number 8 r + c in row r; every lane leaves `%r10` to `%r13`.
fn shared_matrix(instructions: &str) -> Vec<u32> {
    let text = format!(
        ".version 9.0\n.target sm_90a\n.address_size 64\n.visible .entry k(.param .u64 out) {{
        .shared .align 128 .b8 tile[1024];
        .reg .pred %p<3>; .reg .b32 %r<30>; .reg .b64 %rd<4>; mov.u32 %r1, %tid.x; mov.u32 %r2, tile;
        mov.u32 %r3, %r1;
        fill: shl.b32 %r4, %r3, 1; shl.b32 %r5, %r3, 2; add.u32 %r5, %r2, %r5; add.u32 %r6, %r4, 1; shl.b32 %r6, %r6, 16;
        or.b32 %r6, %r6, %r4; st.shared.u32 [%r5], %r6; add.u32 %r3, %r3, 32; setp.lt.u32 %p1, %r3, 256; @%p1 bra fill;
        bar.warp.sync -1;
        mad.lo.u32 %r7, %r1, 16, %r2; mov.u32 %r10, 0; mov.u32 %r11, 0; mov.u32 %r12, 0; mov.u32 %r13, 0;
        {instructions}
        ld.param.u64 %rd1, [out]; mad.wide.u32 %rd1, %r1, 16, %rd1; st.global.v4.u32 [%rd1], {}; ret; }}",
        list(10, 4)
    );
    let module = Module::parse(&text).unwrap_or_else(|error| panic!("{error}"));
    let mut memory = Memory::new();
    let out = memory.output::<u32>("out", 32 * 4);
    let report = Launch::new(&module, "k").block(32, 1, 1).arg(out).run(&mut memory);
    report.unwrap_or_else(|error| panic!("{error}")).assert_clean();
    memory.read(out)
}

#[test]
fn matrices_are_loaded_stored_and_transposed() {
    let pair = |first: usize, second: usize| (first | second << 16) as u32;
    let check = |instructions: &str, n: usize, expected: &dyn Fn(usize, usize) -> u32| {
        let out = shared_matrix(instructions);
        for (lane, register) in (0..32).flat_map(|lane| (0..n).map(move |register| (lane, register))) {
            assert_eq!(
                out[lane * 4 + register],
                expected(lane, register),
                "{instructions}: lane {lane}, register {register}"
            );
        }
    };
    let plain = |lane: usize, matrix: usize| {
        let first = 64 * matrix + 8 * (lane / 4) + 2 * (lane % 4);
        pair(first, first + 1)
    };
    let transposed = |lane: usize, matrix: usize| {
        let first = 64 * matrix + 8 * (2 * (lane % 4)) + lane / 4;
        pair(first, first + 8)
    };
    check("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%r10, %r11, %r12, %r13}, [%r7];", 4, &plain);
    check("ldmatrix.sync.aligned.m8n8.x2.shared.b16 {%r10, %r11}, [%r7];", 2, &plain);
    check("ldmatrix.sync.aligned.m8n8.x1.trans.shared.b16 {%r10}, [%r7+128];", 1, &|lane, _| transposed(lane, 1));
    check("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%r10, %r11, %r12, %r13}, [%r7];", 4, &transposed);
    let load = "ldmatrix.sync.aligned.m8n8.x2.shared.b16 {%r10, %r11}, [%r7];";
    check(&format!("{load} movmatrix.sync.aligned.m8n8.trans.b16 %r10, %r11;"), 1, &|lane, _| transposed(lane, 1));
    let store = "stmatrix.sync.aligned.m8n8.x2.shared.b16 [%r7+512], {%r11, %r10};";
    let again = "ldmatrix.sync.aligned.m8n8.x2.shared.b16 {%r10, %r11}, [%r7+512];";
    check(&format!("{load} {store} {again}"), 2, &|lane, register| plain(lane, 1 - register));
    let store = "stmatrix.sync.aligned.m8n8.x1.trans.shared.b16 [%r7+512], {%r11};";
    check(&format!("{load} {store} {again}"), 1, &|lane, _| transposed(lane, 1));
}

/// How an operand of `wgmma` lies in shared memory.
#[derive(Debug, Clone, Copy)]
struct Layout {
    /// Bytes of a swizzled row; 16 without a swizzle.
    span: usize,
    /// Rows contiguous, not `k`.
    transposed: bool,
}

impl Layout {
    /// The byte of an element, and what the descriptor says of distances (leading, stride), of `rows` × 16 elements.
    fn place(self, row: usize, k: usize, rows: usize) -> usize {
        let at = match (self.transposed, self.span) {
            (false, 16) => row / 8 * 256 + k / 8 * 128 + row % 8 * 16 + k % 8 * 2,
            (false, span) => row * span + k * 2,
            (true, 16) => k / 8 * rows * 16 + row / 8 * 128 + k % 8 * 16 + row % 8 * 2,
            (true, span) => row / (span / 2) * span * 16 + k * span + row % (span / 2) * 2,
        };
        let mask = self.span / 16 - 1;
        at ^ (at >> 7 & mask) << 4
    }

    fn descriptor(self, start: usize, rows: usize) -> u64 {
        let (leading, stride, kind) = match (self.transposed, self.span) {
            (false, 16) => (128, 256, 0),
            (false, span) => (16, 8 * span, swizzle_code(span)),
            (true, 16) => (rows * 16, 128, 0),
            (true, span) => (span * 16, 8 * span, swizzle_code(span)),
        };
        (start / 16) as u64 | (leading as u64 / 16) << 16 | (stride as u64 / 16) << 32 | kind << 62
    }
}

fn swizzle_code(span: usize) -> u64 {
    match span {
        128 => 1,
        64 => 2,
        _ => 3,
    }
}

/// Runs `wgmma` m64n`n`k16 with A in shared memory or in registers. Shared memory is filled from a buffer by all threads.
fn multiply_warpgroup(element: &Element, n: usize, a: Option<Layout>, b: Layout, accumulator: &str) {
    let (left, right) = (random(element, 64 * 16, 3), random(element, n * 16, 4));
    let (a_bytes, b_bytes) = (8192, (n * 16 * 2).max(64 * 16 * 2).next_multiple_of(1024) * 4);
    let mut image = vec![0u8; a_bytes + b_bytes];
    let mut put = |at: usize, bits: u32| image[at..at + 2].copy_from_slice(&(bits as u16).to_le_bytes());
    for (row, k) in (0..64).flat_map(|row| (0..16).map(move |k| (row, k))) {
        if let Some(layout) = a {
            put(layout.place(row, k, 64), left[row * 16 + k]);
        }
    }
    for (row, k) in (0..n).flat_map(|row| (0..16).map(move |k| (row, k))) {
        put(a_bytes + b.place(row, k, n), right[row * 16 + k]);
    }
    let mut registers = Vec::new();
    for warp in 0..4 {
        let rows = |r: usize, c: usize| left[(16 * warp + r) * 16 + c];
        registers.extend(pack(element, rows, 4, |lane, i| (lane / 4 + 8 * (i % 2), lane % 4 * 2 + i / 2 * 8), true));
    }
    let n_d = n / if accumulator == "f16" { 4 } else { 2 };
    // the first shared address is 1024, where `tile` lies
    let start = 1024;
    let left_operand = a.map_or_else(|| list(10, 4), |layout| layout.descriptor(start, 64).to_string());
    let transpose = |layout: Layout| u8::from(layout.transposed);
    let flags = match a {
        Some(a) => format!("{}, {}", transpose(a), transpose(b)),
        None => transpose(b).to_string(),
    };
    let name = element.name;
    let text = format!(
        ".version 9.0\n.target sm_90a\n.address_size 64
        .visible .entry k(.param .u64 image, .param .u64 a, .param .u64 out) {{
        .shared .align 1024 .b8 tile[{bytes}];
        .reg .pred %p<3>; .reg .b32 %r<300>; .reg .b64 %rd<4>; mov.u32 %r1, %tid.x; mov.u32 %r2, tile; ld.param.u64 %rd2, [image];
        mov.u32 %r3, %r1;
        fill: mad.wide.u32 %rd3, %r3, 4, %rd2; ld.global.u32 %r4, [%rd3]; mad.lo.u32 %r5, %r3, 4, %r2; st.shared.u32 [%r5], %r4;
        add.u32 %r3, %r3, 128; setp.lt.u32 %p1, %r3, {words}; @%p1 bra fill;
        {}
        fence.proxy.async; bar.sync 0; wgmma.fence.sync.aligned; setp.ne.u32 %p2, %r2, %r2;
        wgmma.mma_async.sync.aligned.m64n{n}k16.{accumulator}.{name}.{name} {d}, {left_operand}, {right_operand}, %p2, 1, 1, {flags};
        wgmma.mma_async.sync.aligned.m64n{n}k16.{accumulator}.{name}.{name} {d}, {left_operand}, {right_operand}, 1, -1, -1, {flags};
        wgmma.commit_group.sync.aligned; wgmma.wait_group.sync.aligned 0;
        ld.param.u64 %rd1, [out]; mad.wide.u32 %rd1, %r1, {}, %rd1;\n{} ret; }}",
        loads("a", 10, 4),
        4 * n_d,
        repeat(n_d, |i| format!("st.global.u32 [%rd1+{}], %r{};\n", 4 * i, 30 + i)),
        bytes = image.len(),
        words = image.len() / 4,
        d = list(30, n_d),
        right_operand = b.descriptor(start + a_bytes, n),
    );
    let module = Module::parse(&text).unwrap_or_else(|error| panic!("{error}"));
    let mut memory = Memory::new();
    let (image, registers) = (memory.input("image", &image), memory.input("a", &registers));
    let out = memory.output::<u32>("out", 128 * n_d);
    let launch = Launch::new(&module, "k").block(128, 1, 1).arg(image).arg(registers).arg(out);
    launch.run(&mut memory).unwrap_or_else(|error| panic!("{error}")).assert_clean();
    let out = memory.read::<u32>(out);
    for (row, column) in (0..64).flat_map(|row| (0..n).map(move |column| (row, column))) {
        // the second product adds the first once more, as both signs are turned
        let exact = 2.0
            * (0..16)
                .map(|k| (element.decode)(left[row * 16 + k]) * (element.decode)(right[column * 16 + k]))
                .sum::<f64>();
        let thread = row / 16 * 32 + row % 8 * 4 + column % 8 / 2;
        let high_rows = row % 16 / 8;
        let found = if accumulator == "f16" {
            let register = out[thread * n_d + column / 8 * 2 + high_rows];
            f16::from_bits((register >> (16 * (column % 2))) as u16).to_f64()
        } else {
            f64::from(f32::from_bits(out[thread * n_d + column / 8 * 4 + high_rows * 2 + column % 2]))
        };
        let bound = if accumulator == "f16" { 8e-3 } else { 1e-5 };
        assert!(
            (found - exact).abs() <= bound,
            "{name} n {n} {a:?} {b:?}, row {row}, column {column}: {found}, not {exact}"
        );
    }
}

#[test]
fn products_of_a_warpgroup() {
    let layouts =
        [16, 32, 64, 128].into_iter().flat_map(|span| [false, true].map(|transposed| Layout { span, transposed }));
    for b in layouts.clone() {
        multiply_warpgroup(&BF16, 64, None, b, "f32");
    }
    let b = Layout { span: 128, transposed: false };
    for a in layouts {
        multiply_warpgroup(&F16, 16, Some(a), b, "f32");
    }
    for n in [8, 24, 136, 256] {
        multiply_warpgroup(&BF16, n, None, b, "f32");
    }
    multiply_warpgroup(&F16, 64, None, b, "f16");
}
