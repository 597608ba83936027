//! `longlens model`: what is open, and what it needs.

pub use longlens_app::bytes::text as bytes;
use longlens_core::lens::ModelInfo;
use longlens_core::memory::{OnDevice, RunSize};
use longlens_core::plan::Prefill;
use longlens_core::printable::printable_line;
use serde_json::json;

use crate::args::{Device, ModelArgs};
use crate::backend;
use crate::config::{RunConfig, length};
use crate::failure::Failure;
use crate::terminal::Terminal;

pub fn run(args: &ModelArgs) -> Result<(), Failure> {
    let config = RunConfig::new(&args.common)?;
    let terminal = Terminal::new(config.json);
    super::no_out(&args.common, "`--json > FILE` keeps what it says")?;
    let info = &backend::describe(&config.model, config.opening())?;
    let n_tokens = args.tokens.as_deref().map_or(Ok(info.spec.trained_context), length)?;
    let plan = config.settings.plan(&info.spec)?;
    let (prompt, step) = (Prefill { n_tokens }, config.settings.prefill_chunk);
    let on_device = |device| RunSize::on_device(info, &plan, prompt, n_tokens, step, device);
    let (memory, host_bytes) = match config.device {
        Device::Cpu => (RunSize::of(info, &plan, prompt, n_tokens, step), None),
        device => {
            let device = on_device_or_usual(device, info, config.kv_offload);
            let whole = on_device(OnDevice { offloads: false, ..device });
            (on_device(device), config.kv_offload.then_some(whole.cache))
        }
    };
    terminal.result(&json!({
        "model": info, "n_tokens": n_tokens,
        "memory_bytes": memory, "host_memory_bytes": host_bytes,
    }))?;
    if config.json {
        return Ok(());
    }
    let spec = &info.spec;
    let lines = [
        ("name", info.name.clone()),
        ("source", info.source.clone()),
        ("family", info.family.clone()),
        ("parameters", thousands(info.n_parameters)),
        ("layers", spec.n_layers.to_string()),
        ("heads", format!("{} queries, {} keys, {} dimensions each", spec.n_heads, spec.n_kv_heads, spec.head_dim)),
        ("width", format!("{} residual, {} MLP", spec.d_model, spec.d_mlp)),
        ("vocabulary", spec.vocab_size.to_string()),
        ("trained context", trained(info, config.trained_context.is_some())),
        ("rope", format!("{}, theta {}", spec.rope, spec.rope_theta)),
        ("numbers", info.dtype.clone()),
        (
            "memory",
            format!(
                "{} at {n_tokens} tokens: weights {}, cache {}, activations about {}",
                bytes(memory.total()),
                bytes(memory.weights),
                bytes(memory.cache),
                bytes(memory.activations),
            ),
        ),
    ];
    let host = host_bytes.map(|n| {
        let text =
            format!("{} of keys and values at {n_tokens} tokens; a layer of them is on the device at a time", bytes(n));
        ("host memory", text)
    });
    let (chunks, keys) = (bytes(memory.chunks), bytes(memory.chunk_keys));
    let chunk_keys =
        format!("{keys} of that: keys once more, packed for {}; what represents chunks {chunks}", plan.method);
    let chunk_keys = Some(("chunk keys", chunk_keys)).filter(|_| memory.chunk_keys > 0);
    let own = spec.own_attention().into_iter().map(|own| ("attention", own));
    let warnings = info.warnings.iter().map(|warning| ("warning", warning.clone()));
    for (name, value) in lines.into_iter().chain(host).chain(own).chain(chunk_keys).chain(warnings) {
        terminal.say(format_args!("{name:<16} {}", printable_line(&value)))?;
    }
    Ok(())
}

/// How a device keeps what a run makes; where it is not here to be asked, as devices usually do.
fn on_device_or_usual(device: Device, info: &ModelInfo, offloads: bool) -> OnDevice {
    let asked = backend::on_device_of(device, info, offloads).ok().flatten();
    asked.unwrap_or(OnDevice { number: if info.has_32_bits() { 4 } else { 2 }, offloads, keeps_queries: false })
}

/// The trained context as it is used, and what the config has where that is another number.
fn trained(info: &ModelInfo, is_given: bool) -> String {
    let (used, stated) = (info.spec.trained_context, info.max_position_embeddings);
    let source = if is_given { "as given; " } else { "" };
    let before = info.spec.original_context;
    let scaled = if before == used { String::new() } else { format!(", {before} before RoPE scaling") };
    if used == stated && !is_given {
        format!("{used} tokens{scaled}")
    } else {
        format!("{used} tokens{scaled} ({source}`max_position_embeddings` is {stated})")
    }
}

/// `787,584`.
fn thousands(n: usize) -> String {
    let digits = n.to_string();
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}
