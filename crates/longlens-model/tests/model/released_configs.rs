//! What released checkpoints say in `config.json` beyond their sizes: nothing of it is refused, and only a scaling whose trained
//! length has to be worked out is worth a word.

use longlens_model::config::Config;

/// Fields that most of them have.
const USUAL: &str = r#""architectures": ["LlamaForCausalLM"], "model_type": "llama", "bos_token_id": 1, "eos_token_id": 2,
    "hidden_act": "silu", "hidden_size": 4096, "initializer_range": 0.02, "intermediate_size": 11008, "num_attention_heads": 32,
    "num_hidden_layers": 32, "num_key_value_heads": 32, "pretraining_tp": 1, "rms_norm_eps": 1e-05,
    "tie_word_embeddings": false, "torch_dtype": "float16", "transformers_version": "4.31.0.dev0", "use_cache": true"#;

/// Name, what it has beside or instead of the usual, trained context, and whether it is told how that was found.
const RELEASED: &[(&str, &str, usize, bool)] = &[
    (
        "Llama-2-7b-hf",
        r#""_name_or_path": "meta-llama/Llama-2-7b-hf", "max_length": 4096, "max_position_embeddings": 4096, "pad_token_id": 0,
            "rope_scaling": null, "vocab_size": 32000"#,
        4096,
        false,
    ),
    (
        "Meta-Llama-3-8B",
        r#""attention_bias": false, "attention_dropout": 0.0, "max_position_embeddings": 8192, "rope_scaling": null,
            "rope_theta": 500000.0, "vocab_size": 128256"#,
        8192,
        false,
    ),
    (
        "Llama-3.1-8B-Instruct",
        r#""attention_bias": false, "attention_dropout": 0.0, "max_position_embeddings": 131072, "mlp_bias": false,
            "rope_scaling": {"factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
            "original_max_position_embeddings": 8192, "rope_type": "llama3"}, "rope_theta": 500000.0, "vocab_size": 128256"#,
        131_072,
        false,
    ),
    (
        "Llama-3.2-1B",
        r#""attention_bias": false, "attention_dropout": 0.0, "head_dim": 128, "max_position_embeddings": 131072,
            "mlp_bias": false, "rope_scaling": {"factor": 32.0, "high_freq_factor": 4.0, "low_freq_factor": 1.0,
            "original_max_position_embeddings": 8192, "rope_type": "llama3"}, "rope_theta": 500000.0, "vocab_size": 128256"#,
        131_072,
        false,
    ),
    ("TinyLlama-1.1B", r#""max_position_embeddings": 2048, "rope_scaling": null, "vocab_size": 32000"#, 2048, false),
    (
        "vicuna-7b-v1.5-16k",
        r#""max_position_embeddings": 4096, "max_sequence_length": 16384, "pad_token_id": 0, "rope_scaling": {"factor": 4.0,
            "type": "linear"}, "vocab_size": 32000"#,
        16_384,
        false,
    ),
    (
        "LLaMA-2-7B-32K",
        r#""max_length": 32768, "max_position_embeddings": 32768, "pad_token_id": 0, "rope_scaling": {"factor": 8.0,
            "type": "linear"}, "vocab_size": 32000"#,
        32_768,
        true,
    ),
    (
        "longchat-7b-v1.5-32k",
        r#""max_position_embeddings": 32768, "max_sequence_length": 32768, "rope_scaling": {"factor": 8.0, "type": "linear"},
            "vocab_size": 32000"#,
        32_768,
        false,
    ),
    (
        "deepseek-coder-6.7b, without its tokenizer",
        r#""max_position_embeddings": 16384, "rope_scaling": {"factor": 4.0, "type": "linear"}, "rope_theta": 100000,
            "vocab_size": 32256"#,
        16_384,
        true,
    ),
    (
        "SmolLM2-135M",
        r#""attention_bias": false, "attention_dropout": 0.0, "is_llama_config": true, "max_position_embeddings": 8192,
            "rope_interleaved": false, "rope_scaling": null, "rope_theta": 100000, "vocab_size": 49152"#,
        8192,
        false,
    ),
    (
        "Yi-6B",
        r#""attention_bias": false, "max_position_embeddings": 4096, "pad_token_id": 0, "rope_scaling": null,
            "rope_theta": 5000000.0, "vocab_size": 64000"#,
        4096,
        false,
    ),
    (
        "CodeLlama-7b-hf",
        r#""max_position_embeddings": 16384, "rope_scaling": null, "rope_theta": 1000000, "vocab_size": 32016"#,
        16_384,
        false,
    ),
    (
        "a Llama tuned by unsloth",
        r#""_attn_implementation_autoset": true, "unsloth_fixed": true, "unsloth_version": "2024.9", "neftune_noise_alpha": 5,
            "max_position_embeddings": 4096, "pad_token_id": 32000, "layer_types": null, "vocab_size": 32001"#,
        4096,
        false,
    ),
    (
        "Qwen1.5-7B",
        r#""architectures": ["Qwen2ForCausalLM"], "model_type": "qwen2", "attention_dropout": 0.0, "max_position_embeddings": 32768,
            "max_window_layers": 28, "rms_norm_eps": 1e-06, "rope_theta": 1000000.0, "sliding_window": 32768,
            "use_sliding_window": false, "vocab_size": 151936"#,
        32_768,
        false,
    ),
    (
        "Qwen2.5-7B",
        r#""architectures": ["Qwen2ForCausalLM"], "model_type": "qwen2", "attention_dropout": 0.0, "hidden_size": 3584,
            "max_position_embeddings": 131072, "max_window_layers": 28, "num_attention_heads": 28, "num_key_value_heads": 4,
            "rms_norm_eps": 1e-06, "rope_theta": 1000000.0, "sliding_window": 131072, "use_mrope": false,
            "use_sliding_window": false, "vocab_size": 152064"#,
        131_072,
        false,
    ),
    (
        "Qwen2.5-7B with the scaling that its authors advise",
        r#""architectures": ["Qwen2ForCausalLM"], "model_type": "qwen2", "max_position_embeddings": 32768, "rope_theta": 1000000.0,
            "rope_scaling": {"factor": 4.0, "original_max_position_embeddings": 32768, "type": "yarn"},
            "use_sliding_window": false, "vocab_size": 152064"#,
        32_768,
        false,
    ),
];

#[test]
fn released_configs_are_read_without_a_false_alarm() {
    for (name, inside, trained, is_told) in RELEASED {
        let config = Config::parse(name, format!("{{{USUAL}, {inside}}}").as_bytes());
        let config = config.unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(config.warnings, Vec::<String>::new(), "{name}");
        assert_eq!(
            (config.trained_context, config.context_warnings.len()),
            (*trained, usize::from(*is_told)),
            "{name}"
        );
    }
}
