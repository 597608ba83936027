//! Weights that another program quantized: the format is named before anything else is refused, since nothing else about such a
//! checkpoint matters.

use serde_json::{Map, Value};

use crate::error::{OpenError, cut};

/// Fields that say how weights were quantized.
const FIELDS: [&str; 4] = ["quantization_config", "compression_config", "quantization", "quant_config"];

/// Formats by the name that `quant_method` gives them.
const FORMATS: [(&str, &str); 12] = [
    ("gptq", "GPTQ"),
    ("awq", "AWQ"),
    ("bitsandbytes", "bitsandbytes"),
    ("compressed-tensors", "compressed-tensors"),
    ("fp8", "FP8 with scales"),
    ("fbgemm_fp8", "FP8 with scales"),
    ("mxfp4", "MXFP4"),
    ("hqq", "HQQ"),
    ("aqlm", "AQLM"),
    ("eetq", "EETQ"),
    ("quanto", "Quanto"),
    ("torchao", "torchao"),
];

/// Refuses a config whose weights are quantized; `null` says that they are not.
pub(super) fn refuse(file: &str, map: &Map<String, Value>) -> Result<(), OpenError> {
    let Some((field, value)) =
        FIELDS.iter().find_map(|field| Some((*field, map.get(*field).filter(|v| !v.is_null())?)))
    else {
        return Ok(());
    };
    Err(OpenError::Quantized { file: file.into(), field: field.into(), format: format(field, value) })
}

/// The format's name, after its bits where they are told.
fn format(field: &str, value: &Value) -> String {
    let flag = |name: &str| value.get(name).and_then(Value::as_bool) == Some(true);
    let method = value.get("quant_method").or(value.get("quant_type")).and_then(Value::as_str);
    let known = |method: &str| FORMATS.iter().find(|(name, _)| name.eq_ignore_ascii_case(method));
    let name = match method {
        Some(method) => known(method).map_or_else(|| format!("`{}`", cut(method)), |(_, format)| (*format).into()),
        None if flag("load_in_4bit") || flag("load_in_8bit") => "bitsandbytes".into(),
        None if field == "quantization" => "MLX".into(),
        None => "a method that is not named".into(),
    };
    let bits = value.get("bits").or(value.get("w_bit")).and_then(Value::as_u64);
    let bits = bits.or(flag("load_in_4bit").then_some(4)).or(flag("load_in_8bit").then_some(8));
    bits.map_or_else(|| format!("by {name}"), |bits| format!("to {bits} bits by {name}"))
}

#[cfg(test)]
mod tests {
    use super::super::Config;

    #[test]
    fn the_format_is_named_before_anything_else() {
        for (inside, format) in [
            (
                r#""quantization_config": {"quant_method": "gptq", "bits": 4, "group_size": 128}"#,
                "to 4 bits by GPTQ (`quantization_config`)",
            ),
            (
                r#""quantization_config": {"quant_method": "awq", "bits": 4}"#,
                "to 4 bits by AWQ (`quantization_config`)",
            ),
            (
                r#""quantization_config": {"quant_method": "bitsandbytes", "load_in_4bit": true}"#,
                "to 4 bits by bitsandbytes (`quantization_config`)",
            ),
            (r#""quantization_config": {"load_in_8bit": true}"#, "to 8 bits by bitsandbytes (`quantization_config`)"),
            (r#""quantization_config": {"quant_method": "fp8"}"#, "by FP8 with scales (`quantization_config`)"),
            (r#""quantization_config": {"quant_method": "new\u001b[2J"}"#, "by `new\u{1b}[2J` (`quantization_config`)"),
            (r#""quantization": {"group_size": 64, "bits": 4}"#, "to 4 bits by MLX (`quantization`)"),
            (r#""quantization_config": {}"#, "by a method that is not named (`quantization_config`)"),
        ] {
            // neither the family nor a missing field comes first
            let config = format!(r#"{{"model_type": "unheard_of", {inside}}}"#);
            let error = Config::parse("config.json", config.as_bytes()).unwrap_err();
            assert_eq!(
                error.to_string(),
                format!("config.json: the weights are quantized {format}, which is not read")
            );
            assert!(error.help().unwrap().contains("quantized from"));
        }
        let plain = Config::parse("config.json", br#"{"model_type": "unheard_of", "quantization_config": null}"#);
        assert!(plain.unwrap_err().to_string().contains("unheard_of"));
    }
}
