//! Perplexities: PG19 and Proof-pile, in windows of the length every 256 tokens.

use super::{ABOVE_100, Line};

const TABLE_1: &str = "ChunkLlama, arXiv:2402.17463, table 1";
const TABLE_2: &str = "ChunkLlama, arXiv:2402.17463, table 2";
const README: &str = "HKUNLP/ChunkLlama, README";
const ADAGROPE: &str = "AdaGroPE (2025), table 2";
const LONG_LORA: &str = "LongLoRA, arXiv:2309.12307";
const VALIDATION: &str = "PG19 validation";
const TEST: &str = "PG19 test";
const PROOFS: &str = "Proof-pile";

const K: usize = 1024;

const fn line(
    data: &'static str,
    model: &'static str,
    method: &'static str,
    source: &'static str,
    values: &'static [(usize, f64)],
) -> Line {
    Line { task: "perplexity_sliding", data, model, method, source, values }
}

pub const LINES: &[Line] = &[
    line(
        VALIDATION,
        "Llama-2-7B",
        "none",
        TABLE_1,
        &[(4 * K, 7.87), (8 * K, ABOVE_100), (16 * K, ABOVE_100), (32 * K, ABOVE_100), (64 * K, ABOVE_100)],
    ),
    line(
        VALIDATION,
        "Llama-2-7B",
        "PI",
        TABLE_1,
        &[(4 * K, 7.87), (8 * K, 9.19), (16 * K, 15.11), (32 * K, ABOVE_100), (64 * K, ABOVE_100)],
    ),
    line(
        VALIDATION,
        "Llama-2-7B",
        "NTK",
        TABLE_1,
        &[(4 * K, 7.87), (8 * K, 11.98), (16 * K, 26.12), (32 * K, 58.91), (64 * K, ABOVE_100)],
    ),
    line(
        VALIDATION,
        "Llama-2-7B",
        "NTK-YaRN",
        TABLE_1,
        &[(4 * K, 7.87), (8 * K, 8.06), (16 * K, 9.82), (32 * K, 11.74), (64 * K, 41.57)],
    ),
    line(
        VALIDATION,
        "Llama-2-7B",
        "PI-YaRN",
        TABLE_1,
        &[(4 * K, 7.87), (8 * K, 8.80), (16 * K, 11.75), (32 * K, 42.42), (64 * K, ABOVE_100)],
    ),
    line(VALIDATION, "Llama-2-7B", "ReRoPE", TABLE_1, &[(4 * K, 7.94), (8 * K, 7.75)]),
    line(
        VALIDATION,
        "Llama-2-7B",
        "DCA",
        TABLE_1,
        &[(4 * K, 7.87), (8 * K, 7.67), (16 * K, 7.64), (32 * K, 7.89), (64 * K, 15.87)],
    ),
    line(VALIDATION, "Llama-2-7B", "DCA", TABLE_2, &[(96 * K, 43.57), (128 * K, 96.21), (160 * K, ABOVE_100)]),
    line(
        VALIDATION,
        "Llama-2-13B",
        "DCA",
        TABLE_1,
        &[(4 * K, 7.15), (8 * K, 6.95), (16 * K, 6.99), (32 * K, 7.90), (64 * K, 15.14)],
    ),
    line(
        VALIDATION,
        "Llama-2-70B",
        "DCA",
        TABLE_1,
        &[(4 * K, 5.24), (8 * K, 5.18), (16 * K, 5.21), (32 * K, 5.30), (64 * K, 5.59)],
    ),
    line(
        VALIDATION,
        "Llama-2-70B",
        "DCA",
        TABLE_2,
        &[(96 * K, 5.80), (128 * K, 6.12), (160 * K, 6.52), (192 * K, 7.05)],
    ),
    line(
        VALIDATION,
        "LongLoRA-32k",
        "none",
        TABLE_1,
        &[(4 * K, 8.14), (8 * K, 7.85), (16 * K, 7.70), (32 * K, 7.80), (64 * K, 91.79)],
    ),
    line(
        VALIDATION,
        "Together-32k",
        "none",
        TABLE_1,
        &[(4 * K, 8.21), (8 * K, 7.95), (16 * K, 7.76), (32 * K, 7.64), (64 * K, ABOVE_100)],
    ),
    line(
        VALIDATION,
        "Together-32k",
        "DCA",
        TABLE_2,
        &[
            (4 * K, 8.21),
            (32 * K, 7.64),
            (64 * K, 7.59),
            (96 * K, 7.64),
            (128 * K, 7.67),
            (160 * K, 7.74),
            (192 * K, 7.83),
        ],
    ),
    line(
        VALIDATION,
        "CodeLlama",
        "none",
        TABLE_1,
        &[(4 * K, 8.93), (8 * K, 8.64), (16 * K, 8.44), (32 * K, 8.36), (64 * K, 8.65)],
    ),
    line(VALIDATION, "CodeLlama", "DCA", TABLE_2, &[(192 * K, 9.83)]),
    line(
        VALIDATION,
        "Llama-2-7B",
        "Self-Extend",
        ADAGROPE,
        &[(4 * K, 7.87), (8 * K, 7.67), (16 * K, 7.58), (32 * K, 7.71)],
    ),
    line(
        VALIDATION,
        "Llama-2-7B",
        "AdaGroPE",
        ADAGROPE,
        &[(4 * K, 7.87), (8 * K, 7.65), (16 * K, 7.56), (32 * K, 7.75)],
    ),
    line(
        VALIDATION,
        "Llama-3-8B",
        "Self-Extend",
        ADAGROPE,
        &[(4 * K, 9.13), (8 * K, 8.80), (16 * K, 8.59), (32 * K, 8.52)],
    ),
    line(
        VALIDATION,
        "Llama-3-8B",
        "none",
        README,
        &[(4 * K, 9.04), (8 * K, 8.71), (16 * K, 78.88), (32 * K, ABOVE_100)],
    ),
    line(
        VALIDATION,
        "Llama-3-8B",
        "DCA",
        README,
        &[
            (4 * K, 9.04),
            (8 * K, 8.71),
            (16 * K, 8.61),
            (32 * K, 8.62),
            (64 * K, 8.95),
            (96 * K, 9.43),
            (128 * K, 10.04),
            (160 * K, 10.66),
        ],
    ),
    line(
        VALIDATION,
        "Llama-3-70B",
        "DCA",
        README,
        &[
            (4 * K, 5.36),
            (8 * K, 5.16),
            (16 * K, 5.14),
            (32 * K, 5.14),
            (64 * K, 5.21),
            (96 * K, 5.32),
            (128 * K, 5.40),
            (160 * K, 5.45),
        ],
    ),
    line(
        VALIDATION,
        "CLEX",
        "none",
        "the author of CLEX in HKUNLP/ChunkLlama#5, against table 1",
        &[(4 * K, 8.84), (8 * K, 7.66), (16 * K, 7.43), (32 * K, 7.57), (64 * K, 8.73)],
    ),
    line(TEST, "Llama-2-7B", "full fine-tuning to 8k", LONG_LORA, &[(2 * K, 7.55), (4 * K, 7.21), (8 * K, 6.98)]),
    line(
        TEST,
        "Llama-2-7B",
        "LongLoRA to 32k",
        LONG_LORA,
        &[(2 * K, 8.29), (4 * K, 7.83), (8 * K, 7.54), (16 * K, 7.35), (32 * K, 7.22)],
    ),
    line(
        PROOFS,
        "Llama-2-7B",
        "LongLoRA to 32k",
        LONG_LORA,
        &[(2 * K, 3.35), (4 * K, 3.01), (8 * K, 2.78), (16 * K, 2.61), (32 * K, 2.50)],
    ),
    line(
        PROOFS,
        "Llama-2-13B",
        "LongLoRA to 32k",
        LONG_LORA,
        &[(2 * K, 3.05), (4 * K, 2.76), (8 * K, 2.57), (16 * K, 2.42), (32 * K, 2.32)],
    ),
    line(
        "PG19, of 0.5k to 8k",
        "Llama-2-7B",
        "LongHeads",
        "a user in LuLuLuyi/LongHeads#3",
        &[(512, 8.85), (K, 7.97), (2 * K, 7.42), (4 * K, 7.08), (8 * K, 7.75)],
    ),
];
