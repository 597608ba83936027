//! The names that a pickle of weights may ask Python for, and what each makes.

use crate::weights::numbers::Format;

/// What a name stands for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Global {
    /// Makes a dictionary.
    Dict,
    /// Makes a tuple of its argument.
    Tuple,
    /// Makes a tensor: storage, offset, shape, strides.
    Tensor,
    /// The same of bytes, with a number format as seventh argument.
    TensorOfBytes,
    /// Makes a tensor of the tensor that is its first argument.
    Parameter,
    /// A kind of storage, or a number format.
    Format(Format),
    /// A storage of bytes.
    Bytes,
}

/// What `module.name` stands for, if a tensor may need it.
pub(super) fn find(module: &str, name: &str) -> Option<Global> {
    Some(match (module, name) {
        ("collections", "OrderedDict") => Global::Dict,
        ("torch", "Size") => Global::Tuple,
        ("torch._utils", "_rebuild_tensor" | "_rebuild_tensor_v2") => Global::Tensor,
        ("torch._utils", "_rebuild_tensor_v3") => Global::TensorOfBytes,
        ("torch._utils", "_rebuild_parameter") => Global::Parameter,
        ("torch.storage" | "torch", "UntypedStorage") => Global::Bytes,
        ("torch", name) => Global::Format(format(name)?),
        _ => return None,
    })
}

fn format(name: &str) -> Option<Format> {
    Some(match name {
        "DoubleStorage" | "float64" => Format::F64,
        "FloatStorage" | "float32" => Format::F32,
        "HalfStorage" | "float16" => Format::F16,
        "BFloat16Storage" | "bfloat16" => Format::Bf16,
        "float8_e4m3fn" => Format::F8E4m3,
        "float8_e5m2" => Format::F8E5m2,
        "LongStorage" | "int64" => Format::Other("I64", 64),
        "IntStorage" | "int32" => Format::Other("I32", 32),
        "ShortStorage" | "int16" => Format::Other("I16", 16),
        "CharStorage" | "int8" => Format::Other("I8", 8),
        "ByteStorage" | "uint8" => Format::Other("U8", 8),
        "BoolStorage" | "bool" => Format::Other("BOOL", 8),
        _ => return None,
    })
}
