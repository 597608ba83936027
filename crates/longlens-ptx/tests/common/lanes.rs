//! Instructions of one lane, run on many inputs.

use longlens_ptx::{Launch, Memory, Module};

use super::Numbers;

/// Runs instructions on three inputs per thread. They find the inputs in registers 1, 2 and 3 of every kind (`%rd`, `%r`, `%rs`, `%f`,
/// `%fd`), may use the numbers 4 to 9, and leave the result in number 0 of the kind that `result` names.
pub fn execute(instructions: &str, result: &str, inputs: &[[u64; 3]]) -> Vec<u64> {
    let text = kernel(instructions, result);
    let module = Module::parse(&text).unwrap_or_else(|error| panic!("{instructions}: {error}"));
    let mut memory = Memory::new();
    let flat: Vec<u64> = inputs.iter().flatten().copied().collect();
    let (input, output) = (memory.input("in", &flat), memory.output::<u64>("out", inputs.len()));
    let launch = Launch::new(&module, "k").block(inputs.len() as u32, 1, 1).arg(input).arg(output);
    launch.run(&mut memory).unwrap_or_else(|error| panic!("{error}")).assert_clean();
    memory.read(output)
}

/// The text of a kernel of these instructions.
fn kernel(instructions: &str, result: &str) -> String {
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
    format!(
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
    )
}

/// Numbers at the edges of their types, and others.
pub fn integers() -> Vec<[u64; 3]> {
    let edges = [0, 1, 2, 7, 31, 33, 0x7fff, 0x8000, 0xffff, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff, 1 << 63, u64::MAX];
    let mut numbers = Numbers::new(1);
    let mut inputs: Vec<[u64; 3]> = edges.iter().flat_map(|a| edges.map(|b| [*a, b, a ^ b])).collect();
    inputs.extend((0..60).map(|_| [numbers.bits(), numbers.bits(), numbers.bits()]));
    inputs
}

/// Compares the results of instructions, as bits, with those of a function.
pub fn check(instructions: &str, result: &str, inputs: &[[u64; 3]], expected: impl Fn(u64, u64, u64) -> u64) {
    for (found, [a, b, c]) in execute(instructions, result, inputs).iter().zip(inputs) {
        let expected = expected(*a, *b, *c);
        assert_eq!(*found, expected, "{instructions} of {a:#x}, {b:#x}, {c:#x}: {found:#x}, not {expected:#x}");
    }
}
