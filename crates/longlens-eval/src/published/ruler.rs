//! RULER: the mean of its 13 tasks.

use super::Line;

const RULER: &str = "NVIDIA/RULER, README";
const PAPER: &str = "RULER, arXiv:2404.06654: the threshold of effective lengths";

const fn line(
    task: &'static str,
    data: &'static str,
    model: &'static str,
    method: &'static str,
    source: &'static str,
    values: &'static [(usize, f64)],
) -> Line {
    Line { task, data, model, method, source, values }
}

pub const LINES: &[Line] = &[
    line(
        "ruler",
        "mean of 13 tasks",
        "Llama-3.1-8B",
        "none",
        RULER,
        &[(4096, 95.5), (8192, 93.8), (16_384, 91.6), (32_768, 87.4), (65_536, 84.7), (131_072, 77.0)],
    ),
    line(
        "ruler",
        "mean of 13 tasks",
        "Mistral-7B-v0.2",
        "none",
        RULER,
        &[(4096, 93.6), (8192, 91.2), (16_384, 87.2), (32_768, 75.4), (65_536, 49.0), (131_072, 13.8)],
    ),
    line(
        "ruler",
        "mean of 13 tasks",
        "Together-7B-32k",
        "none",
        RULER,
        &[(4096, 88.2), (8192, 81.1), (16_384, 69.4), (32_768, 63.0), (65_536, 0.0), (131_072, 0.0)],
    ),
    line(
        "ruler",
        "mean of 13 tasks",
        "LongChat-7B",
        "none",
        RULER,
        &[(4096, 84.7), (8192, 79.9), (16_384, 70.8), (32_768, 59.3), (65_536, 0.0), (131_072, 0.0)],
    ),
    line("ruler", "mean of 13 tasks", "Llama-2-7B-chat", "none", PAPER, &[(4096, 85.6)]),
];
