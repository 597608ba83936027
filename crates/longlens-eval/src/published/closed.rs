//! L-Eval: exact match on its closed-ended tasks.

use super::Line;

const DCA: &str = "ChunkLlama, arXiv:2402.17463, L-Eval";
const TABLE: &str = "quoted by later papers beside ChunkLlama's table";
const FILES: &str = "predictions of OpenLMLab/LEval, scored by its script";
const OWN_FILE: &str = "HKUNLP/ChunkLlama, its prediction file, scored by its script; the paper says 61.72";

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
    line("leval_tpo", "", "Llama-2-7B-chat", "none", DCA, &[(0, 51.67)]),
    line("leval_quality", "", "Llama-2-7B-chat", "none", DCA, &[(0, 37.62)]),
    line("leval_coursera", "", "Llama-2-7B-chat", "none", DCA, &[(0, 29.21)]),
    line("leval_sci_fi", "", "Llama-2-7B-chat", "none", DCA, &[(0, 60.15)]),
    line("leval_tpo", "", "Llama-2-7B-chat", "dynamic NTK", DCA, &[(0, 52.27)]),
    line("leval_quality", "", "Llama-2-7B-chat", "dynamic NTK", DCA, &[(0, 30.69)]),
    line("leval_coursera", "", "Llama-2-7B-chat", "dynamic NTK", DCA, &[(0, 13.95)]),
    line("leval_sci_fi", "", "Llama-2-7B-chat", "dynamic NTK", DCA, &[(0, 57.02)]),
    line("leval_tpo", "", "Llama-2-7B-chat", "DCA", DCA, &[(0, 57.62)]),
    line("leval_quality", "", "Llama-2-7B-chat", "DCA", DCA, &[(0, 35.14)]),
    line("leval_coursera", "", "Llama-2-7B-chat", "DCA", DCA, &[(0, 32.12)]),
    line("leval_sci_fi", "", "Llama-2-7B-chat", "DCA", DCA, &[(0, 61.72)]),
    line("leval_tpo", "", "Llama-2-7B-chat", "Self-Extend", TABLE, &[(0, 55.39)]),
    line("leval_quality", "", "Llama-2-7B-chat", "Self-Extend", TABLE, &[(0, 41.09)]),
    line("leval_coursera", "", "Llama-2-7B-chat", "Self-Extend", TABLE, &[(0, 35.76)]),
    line("leval_sci_fi", "", "Llama-2-7B-chat", "Self-Extend", TABLE, &[(0, 57.81)]),
    line("leval_tpo", "", "Llama-2-13B-chat", "none", DCA, &[(0, 60.96)]),
    line("leval_quality", "", "Llama-2-13B-chat", "none", DCA, &[(0, 42.57)]),
    line("leval_coursera", "", "Llama-2-13B-chat", "none", DCA, &[(0, 35.75)]),
    line("leval_sci_fi", "", "Llama-2-13B-chat", "none", DCA, &[(0, 54.68)]),
    line("leval_tpo", "", "Llama-2-13B-chat", "DCA", DCA, &[(0, 66.54)]),
    line("leval_quality", "", "Llama-2-13B-chat", "DCA", DCA, &[(0, 43.06)]),
    line("leval_coursera", "", "Llama-2-13B-chat", "DCA", DCA, &[(0, 41.56)]),
    line("leval_sci_fi", "", "Llama-2-13B-chat", "DCA", DCA, &[(0, 57.03)]),
    line("leval_tpo", "", "Llama-2-70B-chat", "DCA", DCA, &[(0, 82.15)]),
    line("leval_quality", "", "Llama-2-70B-chat", "DCA", DCA, &[(0, 60.39)]),
    line("leval_coursera", "", "Llama-2-70B-chat", "DCA", DCA, &[(0, 48.54)]),
    line("leval_sci_fi", "", "Llama-2-70B-chat", "DCA", DCA, &[(0, 61.72)]),
    line("leval_tpo", "", "Llama-3-8B-Instruct", "DCA", TABLE, &[(0, 83.27)]),
    line("leval_quality", "", "Llama-3-8B-Instruct", "DCA", TABLE, &[(0, 63.86)]),
    line("leval_coursera", "", "Llama-3-8B-Instruct", "DCA", TABLE, &[(0, 56.24)]),
    line("leval_sci_fi", "", "Llama-3-8B-Instruct", "DCA", TABLE, &[(0, 70.31)]),
    line("leval_tpo", "", "GPT-3.5-16k", "none", FILES, &[(0, 78.44)]),
    line("leval_quality", "", "GPT-3.5-16k", "none", FILES, &[(0, 61.39)]),
    line("leval_coursera", "", "GPT-3.5-16k", "none", FILES, &[(0, 63.52)]),
    line("leval_tpo", "", "GPT-4-32k", "none", FILES, &[(0, 84.39)]),
    line("leval_quality", "", "GPT-4-32k", "none", FILES, &[(0, 82.18)]),
    line("leval_coursera", "", "GPT-4-32k", "none", FILES, &[(0, 75.58)]),
    line("leval_tpo", "", "Claude-100k", "none", FILES, &[(0, 84.01)]),
    line("leval_quality", "", "Claude-100k", "none", FILES, &[(0, 73.76)]),
    line("leval_coursera", "", "Claude-100k", "none", FILES, &[(0, 60.03)]),
    line("leval_gsm100", "", "GPT-3.5-16k", "none", FILES, &[(0, 84.0)]),
    line("leval_topic_retrieval_longchat", "", "GPT-3.5-16k", "none", FILES, &[(0, 79.33)]),
    line("leval_codeU", "", "GPT-3.5-16k", "none", FILES, &[(0, 12.22)]),
    line("leval_gsm100", "", "GPT-4-32k", "none", FILES, &[(0, 96.0)]),
    line("leval_topic_retrieval_longchat", "", "GPT-4-32k", "none", FILES, &[(0, 95.33)]),
    line("leval_codeU", "", "GPT-4-32k", "none", FILES, &[(0, 25.56)]),
    line("leval_gsm100", "", "Claude-100k", "none", FILES, &[(0, 88.0)]),
    line("leval_topic_retrieval_longchat", "", "Claude-100k", "none", FILES, &[(0, 70.67)]),
    line("leval_codeU", "", "Claude-100k", "none", FILES, &[(0, 17.78)]),
    line("leval_sci_fi", "", "Llama-2-7B-chat", "DCA", OWN_FILE, &[(0, 60.94)]),
];
