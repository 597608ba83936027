//! Texts compiled by NVRTC for several architectures. Without it these tests pass over what they cannot do, and print so.

mod common;

use common::{Numbers, nvrtc};
use half::{bf16, f16};
use longlens_ptx::{Error, Launch, Memory, Mistake, Module};

/// The kernels of `language.cu` for every architecture.
fn everywhere(check: impl Fn(&Module)) {
    let Some(nvrtc) = nvrtc() else { return };
    let text = include_str!("kernels/language.cu");
    for arch in ["sm_80", "sm_90a", "sm_120"] {
        let compiled = nvrtc.compile(text, arch, &[]).expect("the text compiles");
        let module = Module::parse(&compiled.ptx).unwrap_or_else(|error| panic!("{arch}: {error}"));
        assert_eq!(module.target(), arch);
        check(&module);
    }
}

fn run(launch: &Launch, memory: &mut Memory) {
    launch.run(memory).unwrap_or_else(|error| panic!("{error}")).assert_clean();
}

#[test]
fn what_a_kernel_needs_is_told() {
    let Some(nvrtc) = nvrtc() else { return };
    let text = "extern \"C\" __global__ void k(float* x) { __shared__ float s[N]; s[threadIdx.x] = *x; __syncthreads(); *x = s[0]; }";
    let compiled = nvrtc.compile(text, "sm_90a", &["-DN=100"]).expect("it compiles");
    let [entry] = &compiled.entries[..] else { panic!("one kernel, not {:?}", compiled.entries) };
    assert_eq!(entry.name, "k");
    // the system's share of sm_90 is counted with the 400 bytes
    assert!(entry.registers > 0 && entry.shared_bytes >= 400, "{entry:?}");
    assert_eq!((entry.spill_store_bytes, entry.spill_load_bytes, entry.stack_bytes), (0, 0, 0));
    assert!(compiled.cubin.starts_with(b"\x7fELF"));

    let refused = nvrtc.compile("extern \"C\" __global__ void k() { frobnicate(); }", "sm_80", &[]);
    let Err(Error::Compile { log, .. }) = refused else { panic!("the text is wrong") };
    assert!(log.contains("frobnicate"), "{log}");
}

#[test]
fn what_a_kernel_prints_or_asserts() {
    let Some(nvrtc) = nvrtc() else { return };
    let text = "extern \"C\" __device__ void __assertfail(const char*, const char*, unsigned, const char*, size_t);
        extern \"C\" __global__ void k(int* x) {
          printf(\"%d\", *x);
          if (*x != 1) __assertfail(\"x == 1\", \"kernel.cu\", 3, \"k\", 1);
          *x = 2;
        }";
    let module = Module::parse(&nvrtc.compile(text, "sm_80", &[]).expect("it compiles").ptx).expect("it can be read");
    let mut memory = Memory::new();
    let x = memory.in_out("x", &[1i32]);
    let launch = Launch::new(&module, "k").arg(x);
    run(&launch, &mut memory);
    assert_eq!(memory.read::<i32>(x), [2]);
    assert_eq!(common::fault(launch.run(&mut memory)).mistake, Mistake::Trap);
}

#[test]
fn functions_of_mathematics() {
    let mut numbers = Numbers::new(9);
    let x: Vec<f32> = (0..70).map(|_| numbers.unit() * 3.0).collect();
    everywhere(|module| {
        let mut memory = Memory::new();
        let (input, out) = (memory.input("x", &x), memory.output::<f32>("out", x.len() * 8));
        let launch = Launch::new(module, "mathematics").grid(3, 1, 1).block(32, 1, 1);
        run(&launch.arg(input).arg(out).arg(x.len() as i32), &mut memory);
        for ((i, v), found) in x.iter().enumerate().zip(memory.read::<f32>(out).chunks(8)) {
            for (place, (found, expected)) in found.iter().zip(mathematics(i, *v)).enumerate() {
                let error = (f64::from(*found) - expected).abs();
                assert!(error <= 2e-6 * expected.abs().max(1.0), "{place} of {v}: {found}, not {expected}");
            }
        }
    });
}

/// What the kernel `mathematics` computes of number `i`.
fn mathematics(i: usize, v: f32) -> [f64; 8] {
    let single = v;
    let v = f64::from(v);
    let mut c = [1.0, v, [0.5, 1.5, -2.0][i % 3], [3.0, 1.0, 4.0, 1.0, 5.0][i % 5]];
    c[i & 3] += 1.0;
    let horner = |n: usize| c[..n].iter().rev().fold(0.0, |y, c| y * v + c);
    let rounded = f16::from_f32(single).to_f64() + bf16::from_f32(single).to_f64();
    [
        horner(4),
        v.exp() + (v.abs() + 1.0).ln(),
        v.sin() * v.cos() + v.tanh(),
        (v * v + 2.0).sqrt() / (1.0 + v * v) + 1.0 / (v * v + 3.0).sqrt(),
        (v.abs() + 0.5).powf(1.7) + f64::from(single % 0.3),
        f64::from((single * 10.0).floor() + (single * 7.0).round_ties_even() + (single * 3.0).trunc()),
        rounded,
        match i % 7 {
            0 => v + 1.0,
            1 => v * 2.0,
            2 => v - horner(2),
            3 => -v,
            4 => v * v,
            5 => 0.25,
            _ => v / 3.0,
        },
    ]
}

#[test]
fn functions_of_integers() {
    let mut numbers = Numbers::new(10);
    let x: Vec<u64> = (0..65).map(|i| if i % 5 == 0 { numbers.bits() >> 40 } else { numbers.bits() }).collect();
    everywhere(|module| {
        let mut memory = Memory::new();
        let (input, out) = (memory.input("x", &x), memory.output::<u64>("out", 64 * 6));
        run(&Launch::new(module, "integers").block(64, 1, 1).arg(input).arg(out), &mut memory);
        for (i, found) in memory.read::<u64>(out).chunks(6).enumerate() {
            assert_eq!(found, integers(x[i], x[i + 1] | 1), "{:#x}, {:#x}", x[i], x[i + 1] | 1);
        }
    });
}

fn integers(a: u64, b: u64) -> [u64; 6] {
    let (s, t) = (a as i32, b as i32);
    let sign = |value: i32| i64::from(value) as u64;
    let find_first = if s == 0 { 0 } else { u64::from(s.trailing_zeros()) + 1 };
    let bytes = [s as u32 as u8, t as u32 as u8, (s >> 8) as u8, (t >> 8) as u8];
    let dot: i32 = (0..4).map(|at| i32::from((s >> (8 * at)) as i8) * i32::from((t >> (8 * at)) as i8)).sum();
    let shift = (t & 31) as u32;
    let funnel = (((u64::from(t as u32) << 32 | u64::from(s as u32)) << shift) >> 32) as u32;
    [
        (a / b).wrapping_add(a % (b >> 20 | 1)),
        (((u128::from(a) * u128::from(b)) >> 64) as u64).wrapping_add(sign(s / (t >> 3 | 1))).wrapping_add(sign(s % 7)),
        u64::from(a.count_ones())
            + u64::from(b.leading_zeros())
            + find_first
            + u64::from((t as u32).reverse_bits())
            + u64::from(u32::from_le_bytes(bytes)),
        ((a as i64) >> (t & 63)) as u64 ^ a << (s & 63),
        u64::from(5i32.wrapping_add(dot) as u32) + u64::from(funnel),
        sign(i32::from(s as i8))
            .wrapping_add(sign(i32::from(t as i16)))
            .wrapping_add(sign(s.min(t)))
            .wrapping_add(u64::from((s as u32).max(t as u32))),
    ]
}

#[test]
fn functions_of_halves() {
    let mut numbers = Numbers::new(11);
    let x: Vec<f16> = (0..66).map(|_| f16::from_f32(numbers.unit() * 4.0)).collect();
    let y: Vec<bf16> = (0..66).map(|_| bf16::from_f32(numbers.unit() * 4.0)).collect();
    everywhere(|module| {
        let mut memory = Memory::new();
        let (a, b) = (memory.input("x", &x), memory.input("y", &y));
        let out = memory.output::<f32>("out", 32 * 6);
        run(&Launch::new(module, "halves").block(32, 1, 1).arg(a).arg(b).arg(out), &mut memory);
        for (i, found) in memory.read::<f32>(out).chunks(6).enumerate() {
            let fused = |at: usize| {
                let (a, b) = (x[2 * i + at].to_f64(), x[2 * i + 2 + at].to_f64());
                f16::from_f64(a * b + a.max(b)).to_f32()
            };
            let sum = |at: usize| {
                let (a, b) = (y[2 * i + at], y[2 * i + 2 + at]);
                (bf16::from_f32(a.to_f32() * b.to_f32()) + bf16::from_f32(a.to_f32().min(b.to_f32()))).to_f32()
            };
            let greater = f32::from(u8::from(x[2 * i] > x[2 * i + 2]));
            let not_above = f32::from(u8::from(y[2 * i + 1] <= y[2 * i + 3]));
            assert_eq!(found, [fused(0), fused(1), sum(0), sum(1), greater, not_above], "pair {i}");
        }
    });
}

#[test]
fn sums_of_a_block() {
    let x: Vec<f32> = (0..128).map(|i| i as f32 * 0.5).collect();
    everywhere(|module| {
        let mut memory = Memory::new();
        let input = memory.input("x", &x);
        let (out, total) = (memory.in_out("out", &[0f32; 2]), memory.in_out("total", &[0f64]));
        let pairs = memory.in_out("pairs", &[f16::ZERO; 2]);
        let launch = Launch::new(module, "sums").block(128, 1, 1);
        run(&launch.arg(input).arg(out).arg(total).arg(pairs), &mut memory);
        let sum = 127.0 * 64.0 * 0.5;
        assert_eq!(memory.read::<f32>(out), [sum, sum]);
        assert_eq!(memory.read::<f64>(total), [f64::from(sum)]);
        assert_eq!(memory.read::<f16>(pairs).iter().map(|half| half.to_f32()).collect::<Vec<f32>>(), [128.0, 64.0]);
    });
}
