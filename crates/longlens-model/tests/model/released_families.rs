//! Configs of released checkpoints of every family, as their authors wrote them: read without a false alarm, and what they say of attention
//! is understood.

use longlens_model::config::Config;

struct Released {
    name: &'static str,
    config: &'static str,
    trained_context: usize,
    own_attention: &'static [&'static str],
}

const RELEASED: &[Released] = &[
    Released {
        name: "Mistral-7B-v0.1",
        config: r#"{"architectures": ["MistralForCausalLM"], "bos_token_id": 1, "eos_token_id": 2, "hidden_act": "silu",
            "hidden_size": 4096, "initializer_range": 0.02, "intermediate_size": 14336, "max_position_embeddings": 32768,
            "model_type": "mistral", "num_attention_heads": 32, "num_hidden_layers": 32, "num_key_value_heads": 8,
            "rms_norm_eps": 1e-05, "rope_theta": 10000.0, "sliding_window": 4096, "tie_word_embeddings": false,
            "torch_dtype": "bfloat16", "transformers_version": "4.34.0.dev0", "use_cache": true, "vocab_size": 32000}"#,
        trained_context: 32_768,
        own_attention: &["layers 0-31: a window of 4096 tokens"],
    },
    Released {
        name: "Mistral-Nemo-Base-2407",
        config: r#"{"architectures": ["MistralForCausalLM"], "attention_dropout": 0.0, "bos_token_id": 1, "eos_token_id": 2,
            "head_dim": 128, "hidden_act": "silu", "hidden_size": 5120, "initializer_range": 0.02, "intermediate_size": 14336,
            "max_position_embeddings": 128000, "model_type": "mistral", "num_attention_heads": 32, "num_hidden_layers": 40,
            "num_key_value_heads": 8, "rms_norm_eps": 1e-05, "rope_theta": 1000000.0, "sliding_window": null,
            "tie_word_embeddings": false, "torch_dtype": "bfloat16", "use_cache": true, "vocab_size": 131072}"#,
        trained_context: 128_000,
        own_attention: &[],
    },
    Released {
        name: "Mixtral-8x7B-v0.1",
        config: r#"{"architectures": ["MixtralForCausalLM"], "attention_dropout": 0.0, "bos_token_id": 1, "eos_token_id": 2,
            "hidden_act": "silu", "hidden_size": 4096, "initializer_range": 0.02, "intermediate_size": 14336,
            "max_position_embeddings": 32768, "model_type": "mixtral", "num_attention_heads": 32, "num_experts_per_tok": 2,
            "num_hidden_layers": 32, "num_key_value_heads": 8, "num_local_experts": 8, "output_router_logits": false,
            "rms_norm_eps": 1e-05, "rope_theta": 1000000.0, "router_aux_loss_coef": 0.02, "sliding_window": null,
            "tie_word_embeddings": false, "torch_dtype": "bfloat16", "use_cache": true, "vocab_size": 32000}"#,
        trained_context: 32_768,
        own_attention: &[],
    },
    Released {
        name: "Qwen1.5-MoE-A2.7B",
        config: r#"{"architectures": ["Qwen2MoeForCausalLM"], "attention_dropout": 0.0, "bos_token_id": 151643,
            "decoder_sparse_step": 1, "eos_token_id": 151643, "hidden_act": "silu", "hidden_size": 2048,
            "initializer_range": 0.02, "intermediate_size": 5632, "max_position_embeddings": 8192, "max_window_layers": 21,
            "model_type": "qwen2_moe", "moe_intermediate_size": 1408, "norm_topk_prob": false, "num_attention_heads": 16,
            "num_experts": 60, "num_experts_per_tok": 4, "num_hidden_layers": 24, "num_key_value_heads": 16,
            "output_router_logits": false, "rms_norm_eps": 1e-06, "rope_theta": 1000000.0, "router_aux_loss_coef": 0.001,
            "shared_expert_intermediate_size": 5632, "sliding_window": 32768, "tie_word_embeddings": false,
            "torch_dtype": "bfloat16", "use_cache": true, "use_sliding_window": false, "vocab_size": 151936}"#,
        trained_context: 8192,
        own_attention: &[],
    },
    Released {
        name: "Qwen3-8B",
        config: r#"{"architectures": ["Qwen3ForCausalLM"], "attention_bias": false, "attention_dropout": 0.0,
            "bos_token_id": 151643, "eos_token_id": 151645, "head_dim": 128, "hidden_act": "silu", "hidden_size": 4096,
            "initializer_range": 0.02, "intermediate_size": 12288, "max_position_embeddings": 40960, "max_window_layers": 36,
            "model_type": "qwen3", "num_attention_heads": 32, "num_hidden_layers": 36, "num_key_value_heads": 8,
            "rms_norm_eps": 1e-06, "rope_scaling": null, "rope_theta": 1000000, "sliding_window": null,
            "tie_word_embeddings": false, "torch_dtype": "bfloat16", "use_cache": true, "use_sliding_window": false,
            "vocab_size": 151936}"#,
        trained_context: 40_960,
        own_attention: &[],
    },
    Released {
        name: "Qwen3-30B-A3B",
        config: r#"{"architectures": ["Qwen3MoeForCausalLM"], "attention_bias": false, "attention_dropout": 0.0,
            "bos_token_id": 151643, "decoder_sparse_step": 1, "eos_token_id": 151645, "head_dim": 128, "hidden_act": "silu",
            "hidden_size": 2048, "initializer_range": 0.02, "intermediate_size": 6144, "max_position_embeddings": 40960,
            "max_window_layers": 48, "mlp_only_layers": [], "model_type": "qwen3_moe", "moe_intermediate_size": 768,
            "norm_topk_prob": true, "num_attention_heads": 32, "num_experts": 128, "num_experts_per_tok": 8,
            "num_hidden_layers": 48, "num_key_value_heads": 4, "output_router_logits": false, "rms_norm_eps": 1e-06,
            "rope_scaling": null, "rope_theta": 1000000.0, "router_aux_loss_coef": 0.001, "sliding_window": null,
            "tie_word_embeddings": false, "torch_dtype": "bfloat16", "use_cache": true, "use_sliding_window": false,
            "vocab_size": 151936}"#,
        trained_context: 40_960,
        own_attention: &[],
    },
    Released {
        name: "phi-2",
        config: r#"{"architectures": ["PhiForCausalLM"], "attention_dropout": 0.0, "bos_token_id": 50256, "embd_pdrop": 0.0,
            "eos_token_id": 50256, "hidden_act": "gelu_new", "hidden_size": 2560, "initializer_range": 0.02,
            "intermediate_size": 10240, "layer_norm_eps": 1e-05, "max_position_embeddings": 2048, "model_type": "phi",
            "num_attention_heads": 32, "num_hidden_layers": 32, "num_key_value_heads": 32, "partial_rotary_factor": 0.4,
            "qk_layernorm": false, "resid_pdrop": 0.1, "rope_scaling": null, "rope_theta": 10000.0,
            "tie_word_embeddings": false, "torch_dtype": "float16", "use_cache": true, "vocab_size": 51200}"#,
        trained_context: 2048,
        own_attention: &["32 of 80 dimensions of a head rotate"],
    },
    Released {
        name: "Phi-3-mini-4k-instruct",
        config: r#"{"_name_or_path": "Phi-3-mini-4k-instruct", "architectures": ["Phi3ForCausalLM"], "attention_dropout": 0.0,
            "auto_map": {"AutoConfig": "configuration_phi3.Phi3Config"}, "bos_token_id": 1, "embd_pdrop": 0.0,
            "eos_token_id": 32000, "hidden_act": "silu", "hidden_size": 3072, "initializer_range": 0.02,
            "intermediate_size": 8192, "max_position_embeddings": 4096, "model_type": "phi3", "num_attention_heads": 32,
            "num_hidden_layers": 32, "num_key_value_heads": 32, "original_max_position_embeddings": 4096, "pad_token_id": 32000,
            "resid_pdrop": 0.0, "rms_norm_eps": 1e-05, "rope_scaling": null, "rope_theta": 10000.0, "sliding_window": 2047,
            "tie_word_embeddings": false, "torch_dtype": "bfloat16", "use_cache": true, "attention_bias": false,
            "vocab_size": 32064}"#,
        trained_context: 4096,
        own_attention: &["layers 0-31: a window of 2047 tokens"],
    },
    Released {
        name: "Phi-4-mini-instruct, with fewer factors",
        config: r#"{"architectures": ["Phi3ForCausalLM"], "attention_bias": false, "attention_dropout": 0.0, "bos_token_id": 199999,
            "embd_pdrop": 0.0, "eos_token_id": 199999, "full_attn_mod": 1, "hidden_act": "silu", "hidden_size": 256,
            "initializer_range": 0.02, "intermediate_size": 8192, "interpolate_factor": 1, "lm_head_bias": false,
            "max_position_embeddings": 131072, "mlp_bias": false, "model_type": "phi3", "num_attention_heads": 16,
            "num_hidden_layers": 32, "num_key_value_heads": 8, "original_max_position_embeddings": 4096, "pad_token_id": 199999,
            "partial_rotary_factor": 0.75, "resid_pdrop": 0.0, "rms_norm_eps": 1e-05, "rope_scaling": {"long_factor": [1.0,
            1.118320672, 1.250641126, 1.398617824, 1.564103225, 1.74916897], "short_factor": [1.0, 1.0, 1.0, 1.0, 1.0, 1.0],
            "type": "longrope"}, "rope_theta": 10000.0, "sliding_window": 262144, "tie_word_embeddings": true,
            "torch_dtype": "bfloat16", "use_cache": true, "vocab_size": 200064}"#,
        trained_context: 131_072,
        own_attention: &["12 of 16 dimensions of a head rotate", "layers 0-31: a window of 262144 tokens"],
    },
    Released {
        name: "gemma-2b, as it was first",
        config: r#"{"architectures": ["GemmaForCausalLM"], "attention_bias": false, "attention_dropout": 0.0, "bos_token_id": 2,
            "eos_token_id": 1, "head_dim": 256, "hidden_act": "gelu", "hidden_size": 2048, "initializer_range": 0.02,
            "intermediate_size": 16384, "max_position_embeddings": 8192, "model_type": "gemma", "num_attention_heads": 8,
            "num_hidden_layers": 18, "num_key_value_heads": 1, "pad_token_id": 0, "rms_norm_eps": 1e-06, "rope_scaling": null,
            "rope_theta": 10000.0, "torch_dtype": "bfloat16", "use_cache": true, "vocab_size": 256000}"#,
        trained_context: 8192,
        own_attention: &[],
    },
    Released {
        name: "gemma-2-27b",
        config: r#"{"architectures": ["Gemma2ForCausalLM"], "attention_bias": false, "attention_dropout": 0.0,
            "attn_logit_softcapping": 50.0, "bos_token_id": 2, "cache_implementation": "hybrid", "eos_token_id": 1,
            "final_logit_softcapping": 30.0, "head_dim": 128, "hidden_act": "gelu_pytorch_tanh",
            "hidden_activation": "gelu_pytorch_tanh", "hidden_size": 4608, "initializer_range": 0.02, "intermediate_size": 36864,
            "max_position_embeddings": 8192, "model_type": "gemma2", "num_attention_heads": 32, "num_hidden_layers": 4,
            "num_key_value_heads": 16, "pad_token_id": 0, "query_pre_attn_scalar": 144, "rms_norm_eps": 1e-06,
            "rope_theta": 10000.0, "sliding_window": 4096, "sliding_window_size": 4096, "torch_dtype": "float32",
            "use_cache": true, "vocab_size": 256000, "_attn_implementation": "eager"}"#,
        trained_context: 8192,
        own_attention: &[
            "layers 0, 2: a window of 4096 tokens",
            "scores times 0.08333333333333333",
            "scores bounded by 50",
        ],
    },
    Released {
        name: "gemma-3-1b-pt",
        config: r#"{"architectures": ["Gemma3ForCausalLM"], "attention_bias": false, "attention_dropout": 0.0,
            "attn_logit_softcapping": null, "bos_token_id": 2, "cache_implementation": "hybrid", "eos_token_id": 1,
            "final_logit_softcapping": null, "head_dim": 256, "hidden_activation": "gelu_pytorch_tanh", "hidden_size": 1152,
            "initializer_range": 0.02, "intermediate_size": 6912, "max_position_embeddings": 32768, "model_type": "gemma3_text",
            "num_attention_heads": 4, "num_hidden_layers": 26, "num_key_value_heads": 1, "pad_token_id": 0,
            "query_pre_attn_scalar": 256, "rms_norm_eps": 1e-06, "rope_local_base_freq": 10000, "rope_scaling": null,
            "rope_theta": 1000000, "sliding_window": 512, "sliding_window_pattern": 6, "torch_dtype": "bfloat16",
            "use_cache": true, "vocab_size": 262144}"#,
        trained_context: 32_768,
        own_attention: &["layers 0-4, 6-10, 12-16, 18-22, 24-25: a window of 512 tokens, RoPE base 10000, unscaled"],
    },
    Released {
        name: "the text part of gemma-3-4b-pt, of six layers",
        config: r#"{"architectures": ["Gemma3ForCausalLM"], "head_dim": 256, "hidden_size": 2560, "intermediate_size": 10240,
            "max_position_embeddings": 131072, "model_type": "gemma3_text", "num_attention_heads": 8, "num_hidden_layers": 6,
            "num_key_value_heads": 4, "query_pre_attn_scalar": 256, "rope_scaling": {"factor": 8.0, "rope_type": "linear"},
            "sliding_window": 1024, "vocab_size": 262208}"#,
        trained_context: 131_072,
        own_attention: &["layers 0-4: a window of 1024 tokens, RoPE base 10000, unscaled"],
    },
    Released {
        name: "OLMo-2-1124-7B",
        config: r#"{"architectures": ["Olmo2ForCausalLM"], "attention_bias": false, "attention_dropout": 0.0,
            "eos_token_id": 100257, "hidden_act": "silu", "hidden_size": 4096, "initializer_range": 0.02,
            "intermediate_size": 11008, "max_position_embeddings": 4096, "model_type": "olmo2", "num_attention_heads": 32,
            "num_hidden_layers": 32, "num_key_value_heads": 32, "pad_token_id": 100277, "rms_norm_eps": 1e-06,
            "rope_scaling": null, "rope_theta": 500000, "tie_word_embeddings": false, "torch_dtype": "float32",
            "use_cache": false, "vocab_size": 100352}"#,
        trained_context: 4096,
        own_attention: &[],
    },
    Released {
        name: "SmolLM3-3B, of eight layers",
        config: r#"{"architectures": ["SmolLM3ForCausalLM"], "attention_bias": false, "attention_dropout": 0.0,
            "bos_token_id": 128000, "eos_token_id": 128012, "hidden_act": "silu", "hidden_size": 2048, "initializer_range": 0.02,
            "intermediate_size": 11008, "layer_types": ["full_attention", "full_attention", "full_attention", "full_attention",
            "full_attention", "full_attention", "full_attention", "full_attention"], "max_position_embeddings": 65536,
            "max_window_layers": 28, "mlp_bias": false, "model_type": "smollm3", "no_rope_layer_interval": 4,
            "no_rope_layers": [1, 1, 1, 0, 1, 1, 1, 0], "num_attention_heads": 16, "num_hidden_layers": 8,
            "num_key_value_heads": 4, "pad_token_id": 128004, "pretraining_tp": 2, "rms_norm_eps": 1e-06, "rope_scaling": null,
            "rope_theta": 5000000.0, "sliding_window": null, "torch_dtype": "bfloat16", "use_cache": false,
            "use_sliding_window": false, "vocab_size": 128256}"#,
        trained_context: 65_536,
        own_attention: &["layers 3, 7: no rotation"],
    },
    Released {
        name: "granite-3.1-2b-instruct",
        config: r#"{"architectures": ["GraniteForCausalLM"], "attention_bias": false, "attention_dropout": 0.1,
            "attention_multiplier": 0.015625, "bos_token_id": 0, "embedding_multiplier": 12.0, "eos_token_id": 0,
            "hidden_act": "silu", "hidden_size": 2048, "initializer_range": 0.02, "intermediate_size": 8192,
            "logits_scaling": 8.0, "max_position_embeddings": 131072, "mlp_bias": false, "model_type": "granite",
            "num_attention_heads": 32, "num_hidden_layers": 40, "num_key_value_heads": 8, "pad_token_id": 0,
            "residual_multiplier": 0.22, "rms_norm_eps": 1e-05, "rope_scaling": null, "rope_theta": 5000000.0,
            "tie_word_embeddings": true, "torch_dtype": "bfloat16", "use_cache": true, "vocab_size": 49155}"#,
        trained_context: 131_072,
        own_attention: &["scores times 0.015625"],
    },
    Released {
        name: "stablelm-2-1_6b",
        config: r#"{"architectures": ["StableLmForCausalLM"], "bos_token_id": 100257, "eos_token_id": 100257,
            "attention_dropout": 0.0, "hidden_act": "silu", "hidden_dropout": 0.0, "hidden_size": 2048,
            "initializer_range": 0.02, "intermediate_size": 5632, "layer_norm_eps": 1e-05, "max_position_embeddings": 4096,
            "model_type": "stablelm", "num_attention_heads": 32, "num_hidden_layers": 24, "num_key_value_heads": 32,
            "partial_rotary_factor": 0.25, "qk_layernorm": false, "rope_scaling": null, "rope_theta": 10000,
            "tie_word_embeddings": false, "torch_dtype": "float16", "use_cache": true, "use_parallel_residual": false,
            "use_qkv_bias": true, "vocab_size": 100352}"#,
        trained_context: 4096,
        own_attention: &["16 of 64 dimensions of a head rotate"],
    },
    Released {
        name: "starcoder2-3b",
        config: r#"{"activation_function": "gelu", "architectures": ["Starcoder2ForCausalLM"], "attention_dropout": 0.1,
            "attention_softmax_in_fp32": true, "bos_token_id": 0, "embedding_dropout": 0.1, "eos_token_id": 0,
            "hidden_act": "gelu_pytorch_tanh", "hidden_size": 3072, "initializer_range": 0.018042, "intermediate_size": 12288,
            "layer_norm_epsilon": 1e-05, "max_position_embeddings": 16384, "mlp_type": "default", "model_type": "starcoder2",
            "norm_epsilon": 1e-05, "norm_type": "layer_norm", "num_attention_heads": 24, "num_hidden_layers": 30,
            "num_key_value_heads": 2, "residual_dropout": 0.1, "rope_theta": 999999.4420358813,
            "scale_attention_softmax_in_fp32": true, "scale_attn_weights": true, "sliding_window": 4096, "use_bias": true,
            "use_cache": true, "vocab_size": 49152}"#,
        trained_context: 16_384,
        own_attention: &["layers 0-29: a window of 4096 tokens"],
    },
];

#[test]
fn released_configs_of_every_family_are_read_without_a_false_alarm() {
    for Released { name, config, trained_context, own_attention } in RELEASED {
        let config = Config::parse(name, config.as_bytes()).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(config.all_warnings(), Vec::<String>::new(), "{name}");
        assert_eq!(config.trained_context, *trained_context, "{name}");
        assert_eq!(config.spec().own_attention(), *own_attention, "{name}");
    }
    let families = longlens_model::families::FAMILIES.iter().skip(1);
    let has_one = |family: &str| RELEASED.iter().any(|released| released.config.contains(&format!("\"{family}\"")));
    // Qwen2 stands among the Llamas
    let missing: Vec<_> = families.map(|family| family.model_type).filter(|family| !has_one(family)).collect();
    assert_eq!(missing, ["qwen2"]);
}

#[test]
fn smollm3_has_the_windows_that_its_config_lists_whatever_the_switch_says() {
    let text = |fields: &str| {
        format!(
            r#"{{"model_type": "smollm3", "vocab_size": 256, "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 4,
            "num_attention_heads": 4, "max_position_embeddings": 64, "sliding_window": 8{fields}}}"#
        )
    };
    let windows = |fields: &str| {
        let config = Config::parse("config.json", text(fields).as_bytes()).unwrap();
        assert_eq!(config.all_warnings(), Vec::<String>::new());
        config.spec().layers.iter().map(|layer| layer.window.is_some()).collect::<Vec<_>>()
    };
    let listed = r#""layer_types": ["full_attention", "sliding_attention", "full_attention", "sliding_attention"]"#;
    for (fields, expected) in [
        (String::new(), [false; 4]),
        (r#", "use_sliding_window": true"#.into(), [false, false, false, true]),
        (r#", "use_sliding_window": true, "no_rope_layers": [0, 1, 1, 0]"#.into(), [true, false, false, true]),
        (format!(r#", "use_sliding_window": false, {listed}"#), [false, true, false, true]),
        (format!(r#", "use_sliding_window": true, {}"#, listed.replace("sliding", "full")), [false; 4]),
    ] {
        assert_eq!(windows(&fields), expected, "{fields}");
    }
}

#[test]
fn what_a_family_does_not_compute_is_refused_with_its_field() {
    let with = |name: &str, field: &str| {
        let released = RELEASED.iter().find(|released| released.name.starts_with(name)).unwrap();
        let config = format!("{}, {field}}}", released.config.trim_end_matches('}'));
        Config::parse("config.json", config.as_bytes()).unwrap_err().to_string()
    };
    for (name, field, expected) in [
        ("phi-2", r#""qk_layernorm": true"#, "`qk_layernorm` = true is not supported"),
        ("phi-2", r#""partial_rotary_factor": 0.01"#, "`partial_rotary_factor` must be such that an even part of 80"),
        ("stablelm", r#""qk_layernorm": true"#, "`qk_layernorm` = true is not supported"),
        ("starcoder2", r#""mlp_type": "gated""#, "`mlp_type` = \"gated\" is not supported"),
        ("Mistral-7B", r#""attn_logit_softcapping": 50.0"#, "`attn_logit_softcapping` = 50.0 is not supported"),
        (
            "Mistral-7B",
            r#""quantization_config": {"bits": 4}"#,
            "the weights are quantized to 4 bits by a method that is not named (`quantization_config`), which is not read",
        ),
        ("Mixtral", r#""num_experts_per_tok": 9"#, "`num_experts_per_tok` must be at most the number of experts, 8"),
        (
            "Qwen3-8B",
            r#""layer_types": ["chunked_attention"]"#,
            "`layer_types` = [\"chunked_attention\"] is not supported",
        ),
        ("Qwen3-8B", r#""hidden_act": "relu""#, "`hidden_act` = \"relu\" is not supported"),
        ("gemma-2-27b", r#""query_pre_attn_scalar": 0"#, "`query_pre_attn_scalar` must be a number above 0, but is 0"),
        (
            "gemma-3-1b",
            r#""rope_parameters": {"full_attention": {"rope_type": "default"}, "sliding_attention": {"rope_type": "linear"}}"#,
            "`rope_parameters.sliding_attention.rope_type` = \"linear\" is not supported",
        ),
        (
            "gemma-3-1b",
            r#""use_bidirectional_attention": true"#,
            "`use_bidirectional_attention` = true is not supported",
        ),
        ("gemma-2b", r#""hidden_act": "relu""#, "`hidden_act` = \"relu\" is not supported"),
        ("gemma-2b", r#""hidden_act": "banana""#, "`hidden_act` = \"banana\" is not supported"),
        ("gemma-2b", r#""hidden_activation": "silu""#, "`hidden_activation` = \"silu\" is not supported"),
        ("gemma-3-1b", r#""hidden_act": "relu""#, "`hidden_act` = \"relu\" is not supported"),
        (
            "gemma-3-1b",
            r#""rope_parameters": {"full_attention": {"rope_type": "default"}, "sliding_attention": {"type": "linear", "factor": 4}}"#,
            "`rope_parameters.sliding_attention.type` = \"linear\" is not supported",
        ),
        (
            "gemma-3-1b",
            r#""rope_parameters": {"full_attention": {"rope_type": "default"}, "sliding_attention": {"rope_type": "default", "speed": 3}}"#,
            "`rope_parameters.sliding_attention.speed` = 3 is not supported",
        ),
        (
            "gemma-3-1b",
            r#""rope_scaling": {"full_attention": {"rope_type": "default"}, "sliding_attention": {"partial_rotary_factor": 0.5}}"#,
            "`rope_scaling.sliding_attention.partial_rotary_factor` = 0.5 is not supported",
        ),
        ("Qwen3-30B", r#""mlp_only_layers": "x""#, "`mlp_only_layers` must be a list of whole numbers, but is \"x\""),
        ("Qwen3-30B", r#""mlp_only_layers": -1"#, "`mlp_only_layers` must be a list of whole numbers, but is -1"),
        (
            "Phi-4-mini",
            r#""original_max_position_embeddings": 1"#,
            "`longrope` is impossible with these values: original >= 2, by whose logarithm the factor on scores is divided \
             (original is 1), does not hold",
        ),
        ("SmolLM3", r#""no_rope_layers": 4"#, "`no_rope_layers` must be a list of whole numbers, but is 4"),
        ("SmolLM3", r#""no_rope_layers": [1, 0]"#, "`no_rope_layers` must be a 0 or 1 for each layer, but is [1,0]"),
        ("granite", r#""num_local_experts": 4"#, "`num_local_experts` = 4 is not supported"),
        ("granite", r#""logits_scaling": 0"#, "`logits_scaling` must be a number above 0, but is 0"),
    ] {
        let error = with(name, field);
        assert!(error.starts_with(&format!("config.json: {expected}")), "{name} {field}: {error}");
    }
}

#[test]
fn a_mistral_that_names_no_window_has_that_of_transformers() {
    let windows = |field: &str| {
        let config = format!(
            r#"{{"model_type": "mistral", "vocab_size": 256, "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2,
            "num_attention_heads": 4, "max_position_embeddings": 32768{field}}}"#
        );
        Config::parse("config.json", config.as_bytes()).unwrap().spec().own_attention()
    };
    assert_eq!(windows(""), ["layers 0-1: a window of 4096 tokens"]);
    assert_eq!(windows(r#", "sliding_window": 512"#), ["layers 0-1: a window of 512 tokens"]);
    assert_eq!(windows(r#", "sliding_window": null"#), Vec::<String>::new());
}
