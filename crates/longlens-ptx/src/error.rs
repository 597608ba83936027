use std::fmt;

use crate::report::Finding;

/// Why a text could not be compiled, read or launched.
#[derive(Debug, Clone, PartialEq)]
pub enum Error {
    /// NVRTC could not be loaded from the folder.
    Nvrtc { folder: String, reason: String },
    /// NVRTC refused the CUDA C++ text; the log says why.
    Compile { arch: String, log: String },
    /// The PTX text cannot be read at this line.
    Syntax { line: u32, reason: String },
    /// An instruction that the interpreter does not know.
    Unknown { line: u32, instruction: String },
    /// An instruction that is known, with operands or modifiers that are not.
    Operand { line: u32, instruction: String, reason: String },
    /// The module has no kernel of this name.
    NoKernel { name: String, kernels: Vec<String> },
    /// The launch does not fit the kernel.
    Launch { kernel: String, reason: String },
    /// A mistake of the kernel after which it cannot go on.
    Fault(Box<Finding>),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nvrtc { folder, reason } => write!(f, "NVRTC cannot be used from {folder}: {reason}"),
            Self::Compile { arch, log } => write!(f, "NVRTC refuses the text for {arch}:\n{log}"),
            Self::Syntax { line, reason } => write!(f, "PTX line {line}: {reason}"),
            Self::Unknown { line, instruction } => write!(f, "PTX line {line}: unknown instruction `{instruction}`"),
            Self::Operand { line, instruction, reason } => write!(f, "PTX line {line}: `{instruction}`: {reason}"),
            Self::NoKernel { name, kernels } => write!(f, "no kernel `{name}`; the module has: {}", kernels.join(", ")),
            Self::Launch { kernel, reason } => write!(f, "launch of `{kernel}`: {reason}"),
            Self::Fault(finding) => finding.fmt(f),
        }
    }
}

impl std::error::Error for Error {}
