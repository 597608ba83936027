//! Few-shot tasks, LongBench and pass keys.

use super::Line;

const FEW_SHOT: &str = "ChunkLlama, arXiv:2402.17463, few-shot results at 16k";
const EXAMPLES: &str = "ChunkLlama, arXiv:2402.17463, choice of examples";
const LONGBENCH: &str = "THUDM/LongBench, README";
const SELF_EXTEND: &str =
    "Self-Extend, arXiv:2401.01325, as recalled; its mean agrees with the one that AdaGroPE prints";
const ADAGROPE: &str = "AdaGroPE (2025), table 3: mean of 16 English tasks";
const LONG_HEADS: &str = "LongHeads, arXiv:2402.10685, read off its figure";

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
    line("fewshot_narrative_qa", "validation split", "Llama-2-7B", "DCA", FEW_SHOT, &[(16_000, 20.0)]),
    line("fewshot_qasper", "validation split", "Llama-2-7B", "DCA", FEW_SHOT, &[(16_000, 28.2)]),
    line("fewshot_quality", "validation split", "Llama-2-7B", "DCA", FEW_SHOT, &[(16_000, 35.6)]),
    line("fewshot_qmsum", "validation split", "Llama-2-7B", "DCA", FEW_SHOT, &[(16_000, 14.7)]),
    line("fewshot_narrative_qa", "validation split", "Llama-2-13B", "DCA", FEW_SHOT, &[(16_000, 26.3)]),
    line("fewshot_qasper", "validation split", "Llama-2-13B", "DCA", FEW_SHOT, &[(16_000, 29.3)]),
    line("fewshot_quality", "validation split", "Llama-2-13B", "DCA", FEW_SHOT, &[(16_000, 47.9)]),
    line("fewshot_qmsum", "validation split", "Llama-2-13B", "DCA", FEW_SHOT, &[(16_000, 15.2)]),
    line("fewshot_narrative_qa", "validation split", "Llama-2-70B", "DCA", FEW_SHOT, &[(16_000, 32.5)]),
    line("fewshot_qasper", "validation split", "Llama-2-70B", "DCA", FEW_SHOT, &[(16_000, 29.6)]),
    line("fewshot_quality", "validation split", "Llama-2-70B", "DCA", FEW_SHOT, &[(16_000, 73.2)]),
    line("fewshot_qmsum", "validation split", "Llama-2-70B", "DCA", FEW_SHOT, &[(16_000, 16.0)]),
    line("fewshot_narrative_qa", "validation split", "Llama-2-70B", "none", FEW_SHOT, &[(16_000, 25.7)]),
    line("fewshot_qasper", "validation split", "Llama-2-70B", "none", FEW_SHOT, &[(16_000, 27.5)]),
    line("fewshot_quality", "validation split", "Llama-2-70B", "none", FEW_SHOT, &[(16_000, 53.0)]),
    line("fewshot_qmsum", "validation split", "Llama-2-70B", "none", FEW_SHOT, &[(16_000, 11.9)]),
    line("fewshot_narrative_qa", "validation split", "Llama-2-70B", "dynamic NTK", FEW_SHOT, &[(16_000, 11.1)]),
    line("fewshot_qasper", "validation split", "Llama-2-70B", "dynamic NTK", FEW_SHOT, &[(16_000, 27.8)]),
    line("fewshot_quality", "validation split", "Llama-2-70B", "dynamic NTK", FEW_SHOT, &[(16_000, 60.9)]),
    line("fewshot_qmsum", "validation split", "Llama-2-70B", "dynamic NTK", FEW_SHOT, &[(16_000, 7.8)]),
    line("fewshot_qasper", "validation split", "Llama-2-7B", "DCA, best examples", EXAMPLES, &[(16_000, 27.3)]),
    line("fewshot_quality", "validation split", "Llama-2-7B", "DCA, best examples", EXAMPLES, &[(16_000, 33.9)]),
    line("fewshot_qmsum", "validation split", "Llama-2-7B", "DCA, best examples", EXAMPLES, &[(16_000, 15.0)]),
    line("fewshot_qasper", "validation split", "Llama-2-7B", "DCA, worst examples", EXAMPLES, &[(16_000, 28.4)]),
    line("fewshot_quality", "validation split", "Llama-2-7B", "DCA, worst examples", EXAMPLES, &[(16_000, 35.9)]),
    line("fewshot_qmsum", "validation split", "Llama-2-7B", "DCA, worst examples", EXAMPLES, &[(16_000, 14.3)]),
    line("fewshot_qasper", "validation split", "Llama-2-13B", "DCA, best examples", EXAMPLES, &[(16_000, 28.5)]),
    line("fewshot_quality", "validation split", "Llama-2-13B", "DCA, best examples", EXAMPLES, &[(16_000, 46.2)]),
    line("fewshot_qmsum", "validation split", "Llama-2-13B", "DCA, best examples", EXAMPLES, &[(16_000, 15.6)]),
    line("fewshot_qasper", "validation split", "Llama-2-13B", "DCA, worst examples", EXAMPLES, &[(16_000, 29.0)]),
    line("fewshot_quality", "validation split", "Llama-2-13B", "DCA, worst examples", EXAMPLES, &[(16_000, 47.5)]),
    line("fewshot_qmsum", "validation split", "Llama-2-13B", "DCA, worst examples", EXAMPLES, &[(16_000, 15.5)]),
    line("longbench_narrativeqa", "", "Llama-2-7B-chat", "none", LONGBENCH, &[(0, 18.7)]),
    line("longbench_qasper", "", "Llama-2-7B-chat", "none", LONGBENCH, &[(0, 19.2)]),
    line("longbench_multifieldqa_en", "", "Llama-2-7B-chat", "none", LONGBENCH, &[(0, 36.8)]),
    line("longbench_hotpotqa", "", "Llama-2-7B-chat", "none", LONGBENCH, &[(0, 25.4)]),
    line("longbench_2wikimqa", "", "Llama-2-7B-chat", "none", LONGBENCH, &[(0, 32.8)]),
    line("longbench_musique", "", "Llama-2-7B-chat", "none", LONGBENCH, &[(0, 9.4)]),
    line("longbench_gov_report", "", "Llama-2-7B-chat", "none", LONGBENCH, &[(0, 27.3)]),
    line("longbench_qmsum", "", "Llama-2-7B-chat", "none", LONGBENCH, &[(0, 20.8)]),
    line("longbench_multi_news", "", "Llama-2-7B-chat", "none", LONGBENCH, &[(0, 25.8)]),
    line("longbench_vcsum", "", "Llama-2-7B-chat", "none", LONGBENCH, &[(0, 0.2)]),
    line("longbench", "mean of six English categories", "Llama-2-7B-chat", "none", LONGBENCH, &[(0, 31.0)]),
    line("longbench_narrativeqa", "", "Llama-2-7B-chat", "Self-Extend, 25k", SELF_EXTEND, &[(0, 21.37)]),
    line("longbench_qasper", "", "Llama-2-7B-chat", "Self-Extend, 25k", SELF_EXTEND, &[(0, 26.68)]),
    line("longbench_multifieldqa_en", "", "Llama-2-7B-chat", "Self-Extend, 25k", SELF_EXTEND, &[(0, 34.63)]),
    line("longbench_hotpotqa", "", "Llama-2-7B-chat", "Self-Extend, 25k", SELF_EXTEND, &[(0, 35.47)]),
    line("longbench_2wikimqa", "", "Llama-2-7B-chat", "Self-Extend, 25k", SELF_EXTEND, &[(0, 30.46)]),
    line("longbench_musique", "", "Llama-2-7B-chat", "Self-Extend, 25k", SELF_EXTEND, &[(0, 15.51)]),
    line("longbench_gov_report", "", "Llama-2-7B-chat", "Self-Extend, 25k", SELF_EXTEND, &[(0, 27.51)]),
    line("longbench_qmsum", "", "Llama-2-7B-chat", "Self-Extend, 25k", SELF_EXTEND, &[(0, 21.3)]),
    line("longbench_multi_news", "", "Llama-2-7B-chat", "Self-Extend, 25k", SELF_EXTEND, &[(0, 25.87)]),
    line("longbench_trec", "", "Llama-2-7B-chat", "Self-Extend, 25k", SELF_EXTEND, &[(0, 68.5)]),
    line("longbench_triviaqa", "", "Llama-2-7B-chat", "Self-Extend, 25k", SELF_EXTEND, &[(0, 78.79)]),
    line("longbench_samsum", "", "Llama-2-7B-chat", "Self-Extend, 25k", SELF_EXTEND, &[(0, 41.29)]),
    line("longbench_passage_count", "", "Llama-2-7B-chat", "Self-Extend, 25k", SELF_EXTEND, &[(0, 3.9)]),
    line("longbench_passage_retrieval_en", "", "Llama-2-7B-chat", "Self-Extend, 25k", SELF_EXTEND, &[(0, 3.5)]),
    line("longbench_lcc", "", "Llama-2-7B-chat", "Self-Extend, 25k", SELF_EXTEND, &[(0, 59.69)]),
    line("longbench_repobench-p", "", "Llama-2-7B-chat", "Self-Extend, 25k", SELF_EXTEND, &[(0, 53.83)]),
    line("longbench", "mean of 16 English tasks", "Llama-2-7B-chat", "none, 4k", ADAGROPE, &[(0, 31.52)]),
    line("longbench", "mean of 16 English tasks", "Llama-2-7B-chat", "DCA, 25k", ADAGROPE, &[(0, 32.34)]),
    line("longbench", "mean of 16 English tasks", "Llama-2-7B-chat", "Self-Extend, 25k", ADAGROPE, &[(0, 34.26)]),
    line("longbench", "mean of 16 English tasks", "Llama-2-7B-chat", "AdaGroPE, 25k", ADAGROPE, &[(0, 35.27)]),
    line("longbench", "mean of 16 English tasks", "Llama-3-8B-Instruct", "none, 8k", ADAGROPE, &[(0, 42.78)]),
    line("longbench", "mean of 16 English tasks", "Llama-3-8B-Instruct", "DCA", ADAGROPE, &[(0, 44.58)]),
    line("longbench", "mean of 16 English tasks", "Llama-3-8B-Instruct", "Self-Extend", ADAGROPE, &[(0, 46.11)]),
    line("longbench", "mean of 16 English tasks", "Llama-3-8B-Instruct", "AdaGroPE", ADAGROPE, &[(0, 47.1)]),
    line(
        "passkey_longheads",
        "",
        "Llama-2-7B",
        "LongHeads",
        LONG_HEADS,
        &[(4096, 100.0), (16_384, 94.0), (32_768, 98.0), (65_536, 96.0), (131_072, 100.0)],
    ),
    line("passkey_longheads", "", "Llama-2-7B", "none", LONG_HEADS, &[(16_384, 0.0), (32_768, 0.0)]),
];
