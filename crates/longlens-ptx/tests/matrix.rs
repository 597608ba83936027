//! Matrix instructions of a warp and of a warpgroup, against products in f64.

mod common;

use common::Numbers;
use half::{bf16, f16};
use longlens_ptx::{Launch, Memory, Mistake, Module};

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

/// Runs a text with input buffers and one output of 32-bit numbers for one block.
fn run(text: &str, inputs: &[Vec<u32>], n_out: usize, threads: u32) -> Vec<u32> {
    let module = Module::parse(text).unwrap_or_else(|error| panic!("{error}"));
    let mut memory = Memory::new();
    let mut launch = Launch::new(&module, "k").block(threads, 1, 1);
    for input in inputs {
        launch = launch.arg(memory.input("in", input));
    }
    let out = memory.output::<u32>("out", n_out);
    launch.arg(out).run(&mut memory).unwrap_or_else(|error| panic!("{error}")).assert_clean();
    memory.read(out)
}

/// Stores `n` registers of all lanes, `%r30` and following.
fn stores(n: usize) -> String {
    let start = format!("ld.param.u64 %rd1, [out]; mad.wide.u32 %rd1, %r1, {}, %rd1;\n", 4 * n);
    start + &repeat(n, |i| format!("st.global.u32 [%rd1+{}], %r{};\n", 4 * i, 30 + i))
}

/// The text of an `mma` of 16 × `k` and `k` × 8 with `n_a` and `n_b` registers, on accumulators of ones.
fn mma_text(name: &str, k: usize, accumulator: &str, n_a: usize, n_b: usize) -> String {
    let (n_d, one) = match accumulator {
        "f32" => (4, 1f32.to_bits()),
        "f16" => (2, 0x3c00_3c00),
        _ => (4, 1),
    };
    format!(
        ".version 9.0\n.target sm_90a\n.address_size 64\n.visible .entry k(.param .u64 a, .param .u64 b, .param .u64 out) {{
        .reg .b32 %r<60>; .reg .b64 %rd<4>; mov.u32 %r1, %tid.x;\n{}{}{}
        mma.sync.aligned.m16n8k{k}.row.col.{accumulator}.{name}.{name}.{accumulator} {d}, {}, {}, {d};
        {} ret; }}",
        loads("a", 10, n_a),
        loads("b", 20, n_b),
        repeat(n_d, |i| format!("mov.u32 %r{}, {one};\n", 30 + i)),
        list(10, n_a),
        list(20, n_b),
        stores(n_d),
        d = list(30, n_d),
    )
}

/// Runs `mma` of 16 × `k` and `k` × 8.
fn multiply(element: &Element, k: usize, accumulator: &str) {
    let (a, b) = (random(element, 16 * k, 1), random(element, k * 8, 2));
    let per = 4 / element.bytes;
    let (n_a, n_b) = (16 * k / per / 32, k * 8 / per / 32);
    // the places of the manual: g = lane / 4, t = lane % 4
    let place_a = |lane: usize, i: usize| (lane / 4 + 8 * (i % 2), lane % 4 * per + i / 2 * 4 * per);
    let place_b = |lane: usize, i: usize| (lane % 4 * per + i * 4 * per, lane / 4);
    let left = pack(element, |r, c| a[r * k + c], n_a, place_a, true);
    let right = pack(element, |r, c| b[r * 8 + c], n_b, place_b, false);
    let n_d = if accumulator == "f16" { 2 } else { 4 };
    let out = run(&mma_text(element.name, k, accumulator, n_a, n_b), &[left, right], 32 * n_d, 32);
    for (row, column) in (0..16).flat_map(|row| (0..8).map(move |column| (row, column))) {
        let product = |i: usize| (element.decode)(a[row * k + i]) * (element.decode)(b[i * 8 + column]);
        let exact = 1.0 + (0..k).map(product).sum::<f64>();
        let lane = row % 8 * 4 + column / 2;
        let found = match accumulator {
            "f16" => f16::from_bits((out[lane * 2 + row / 8] >> (16 * (column % 2))) as u16).to_f64(),
            "f32" => f64::from(f32::from_bits(out[lane * 4 + row / 8 * 2 + column % 2])),
            _ => f64::from(out[lane * 4 + row / 8 * 2 + column % 2] as i32),
        };
        let bound = if accumulator == "f16" { 4e-3 } else { 1e-5 };
        let name = element.name;
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
    run(&text, &[], 32 * 4, 32)
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

/// Bytes of shared memory for A, where it starts, and for B.
const A_BYTES: usize = 8192;
const START: usize = 1024;

/// What shared memory holds: A and B in their layouts, as words.
fn shared_image(left: &[u32], right: &[u32], a: Option<Layout>, b: Layout) -> Vec<u32> {
    let n = right.len() / 16;
    let mut image = vec![0u8; A_BYTES + (n * 32).max(2048).next_multiple_of(1024) * 4];
    let mut put = |at: usize, bits: u32| image[at..at + 2].copy_from_slice(&(bits as u16).to_le_bytes());
    for (at, bits) in left.iter().enumerate() {
        if let Some(layout) = a {
            put(layout.place(at / 16, at % 16, 64), *bits);
        }
    }
    for (at, bits) in right.iter().enumerate() {
        put(A_BYTES + b.place(at / 16, at % 16, n), *bits);
    }
    image.chunks(4).map(|word| u32::from_le_bytes([word[0], word[1], word[2], word[3]])).collect()
}

/// The text of two `wgmma`: the first overwrites the accumulators, the second adds the same with both signs turned.
fn wgmma_text(shape: &str, n_d: usize, words: usize, a: &str, b: u64, flags: &str) -> String {
    let instruction = format!("wgmma.mma_async.sync.aligned.{shape} {d}, {a}, {b}", d = list(30, n_d));
    format!(
        ".version 9.0\n.target sm_90a\n.address_size 64
        .visible .entry k(.param .u64 image, .param .u64 a, .param .u64 out) {{
        .shared .align 1024 .b8 tile[{}];
        .reg .pred %p<3>; .reg .b32 %r<300>; .reg .b64 %rd<4>; mov.u32 %r1, %tid.x; mov.u32 %r2, tile; ld.param.u64 %rd2, [image];
        mov.u32 %r3, %r1;
        fill: mad.wide.u32 %rd3, %r3, 4, %rd2; ld.global.u32 %r4, [%rd3]; mad.lo.u32 %r5, %r3, 4, %r2; st.shared.u32 [%r5], %r4;
        add.u32 %r3, %r3, 128; setp.lt.u32 %p1, %r3, {words}; @%p1 bra fill;
        {}
        fence.proxy.async; bar.sync 0; wgmma.fence.sync.aligned; setp.ne.u32 %p2, %r2, %r2;
        {instruction}, %p2, 1, 1, {flags};
        {instruction}, 1, -1, -1, {flags};
        wgmma.commit_group.sync.aligned; wgmma.wait_group.sync.aligned 0;
        {} ret; }}",
        4 * words,
        loads("a", 10, 4),
        stores(n_d),
    )
}

/// Runs `wgmma` m64n`n`k16 with A in shared memory or in registers.
fn multiply_warpgroup(element: &Element, n: usize, a: Option<Layout>, b: Layout, accumulator: &str) {
    let (left, right) = (random(element, 64 * 16, 3), random(element, n * 16, 4));
    let image = shared_image(&left, &right, a, b);
    let mut registers = Vec::new();
    for warp in 0..4 {
        let rows = |r: usize, c: usize| left[(16 * warp + r) * 16 + c];
        registers.extend(pack(element, rows, 4, |lane, i| (lane / 4 + 8 * (i % 2), lane % 4 * 2 + i / 2 * 8), true));
    }
    let n_d = n / if accumulator == "f16" { 4 } else { 2 };
    let operand = a.map_or_else(|| list(10, 4), |layout| layout.descriptor(START, 64).to_string());
    let transpose = |layout: Layout| u8::from(layout.transposed).to_string();
    let flags: Vec<String> = a.into_iter().chain([b]).map(transpose).collect();
    let shape = format!("m64n{n}k16.{accumulator}.{name}.{name}", name = element.name);
    let right_operand = b.descriptor(START + A_BYTES, n);
    let text = wgmma_text(&shape, n_d, image.len(), &operand, right_operand, &flags.join(", "));
    let out = run(&text, &[image, registers], 128 * n_d, 128);
    for (row, column) in (0..64).flat_map(|row| (0..n).map(move |column| (row, column))) {
        let product = |k: usize| (element.decode)(left[row * 16 + k]) * (element.decode)(right[column * 16 + k]);
        let exact = 2.0 * (0..16).map(product).sum::<f64>();
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
            "{shape} {a:?} {b:?}, row {row}, column {column}: {found}, not {exact}"
        );
    }
}

#[test]
fn the_first_product_wants_a_fence() {
    let layout = Layout { span: 128, transposed: false };
    let image = shared_image(&random(&BF16, 64 * 16, 3), &random(&BF16, 8 * 16, 4), Some(layout), layout);
    let (a, b) = (layout.descriptor(START, 64).to_string(), layout.descriptor(START + A_BYTES, 8));
    let text = wgmma_text("m64n8k16.f32.bf16.bf16", 4, image.len(), &a, b, "0, 0");
    // the accumulators were never written
    let module =
        Module::parse(&text.replace("wgmma.fence.sync.aligned;", "")).unwrap_or_else(|error| panic!("{error}"));
    let mut memory = Memory::new();
    let (image, registers) = (memory.input("image", &image), memory.input("a", &[0u32; 512]));
    let out = memory.output::<u32>("out", 512);
    let launch = Launch::new(&module, "k").block(128, 1, 1).arg(image).arg(registers).arg(out);
    let report = launch.run(&mut memory).unwrap_or_else(|error| panic!("{error}"));
    common::assert_only(&report, Mistake::MissingWgmmaFence);
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
