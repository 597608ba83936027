//! `longlens doctor`: what this machine can compute on, what is missing and how to mend it, and a small problem of every kernel.

use std::fmt::Write;

use longlens_kernel::selfcheck::Checked;
use longlens_notebook::memory::Machine;
use serde_json::{Value, json};

use crate::args::{Device, DoctorArgs};
use crate::backend::{self, Examined};
use crate::failure::Failure;
use crate::terminal::Terminal;
use longlens_app::bytes::text as size;

/// What was found of one kind of device.
struct Found {
    device: Device,
    state: State,
}

enum State {
    /// The program was built without it: how to build it.
    NotBuilt(String),
    /// It does not work here: why, and what mends it.
    Absent {
        why: String,
        mend: Vec<String>,
    },
    Here(Examined),
}

pub fn run(args: &DoctorArgs) -> Result<(), Failure> {
    let terminal = Terminal::new(args.json);
    let devices = args.device.map_or_else(|| vec![Device::Cpu, Device::Wgpu, Device::Cuda], |device| vec![device]);
    let found: Vec<Found> = devices.into_iter().map(find).collect();
    terminal.result(&found.iter().map(as_json).collect::<Vec<_>>())?;
    if !args.json {
        terminal.say(found.iter().map(as_text).collect::<Vec<_>>().join("\n"))?;
    }
    let broken: Vec<_> = found.iter().filter(|found| !found.is_well()).map(|found| found.device.name()).collect();
    if broken.is_empty() {
        return Ok(());
    }
    Err(Failure::failed(format!("{} does not work as it should", broken.join(", ")), None))
}

fn find(device: Device) -> Found {
    let is_built = match device {
        Device::Cpu => true,
        Device::Wgpu => cfg!(feature = "wgpu"),
        Device::Cuda => cfg!(feature = "cuda"),
    };
    if !is_built {
        let how = format!("rebuild with `cargo build --release --features {}`", device.name());
        return Found { device, state: State::NotBuilt(how) };
    }
    let missing = missing(device);
    let state = if missing.is_empty() {
        match backend::examine(device) {
            Ok(examined) => State::Here(examined),
            Err(failure) => {
                let mend = failure.advice().map(str::to_owned).into_iter().collect();
                State::Absent { why: failure.to_string(), mend }
            }
        }
    } else {
        let (why, mend): (Vec<_>, Vec<_>) = missing.into_iter().unzip();
        State::Absent { why: why.join(", "), mend }
    };
    Found { device, state }
}

/// What a device needs and this machine lacks, each with what mends it.
fn missing(device: Device) -> Vec<(String, String)> {
    let mut missing = Vec::new();
    if device == Device::Cuda {
        if !is_loadable(&["libcuda.so.1", "nvcuda.dll"]) {
            let mend = "install NVIDIA's driver, then try `nvidia-smi`";
            missing.push(("the driver (libcuda.so.1) is not there".to_owned(), mend.to_owned()));
        }
        if !is_loadable(&["libnvrtc.so", "libnvrtc.so.13", "libnvrtc.so.12"]) {
            let mend = "install the CUDA toolkit, or `pip install nvidia-cuda-nvrtc` and put its lib folder into LD_LIBRARY_PATH";
            missing.push(("the compiler of kernels (libnvrtc.so) is not there".to_owned(), mend.to_owned()));
        }
        let toolkit = std::env::var_os("CUDA_PATH").map_or_else(|| "/usr/local/cuda".into(), std::path::PathBuf::from);
        if !toolkit.join("include/cuda_bf16.h").exists() {
            let mend = "let CUDA_PATH name a folder that has include/cuda_bf16.h: a toolkit, or what scripts/fetch-nvrtc prints";
            missing.push((format!("CUDA's headers are not in {}", toolkit.join("include").display()), mend.to_owned()));
        }
    }
    missing
}

/// Whether the system finds one of these libraries.
#[cfg(unix)]
fn is_loadable(names: &[&str]) -> bool {
    names.iter().any(|name| {
        let Ok(name) = std::ffi::CString::new(*name) else { return false };
        // SAFETY: the name is a C string; the library's own start runs, as it would when a device is opened
        let handle = unsafe { libc::dlopen(name.as_ptr(), libc::RTLD_LAZY | libc::RTLD_LOCAL) };
        !handle.is_null()
    })
}

#[cfg(not(unix))]
fn is_loadable(_: &[&str]) -> bool {
    true // opening the device says it
}

impl Found {
    fn is_well(&self) -> bool {
        match &self.state {
            State::NotBuilt(_) => true,
            State::Absent { .. } => false,
            State::Here(examined) => examined.checked.iter().all(Checked::is_right),
        }
    }
}

fn as_text(found: &Found) -> String {
    let mut text = format!("{}\n", found.device.name());
    match &found.state {
        State::NotBuilt(how) => {
            let _ = writeln!(text, "  not built in: {how}");
        }
        State::Absent { why, mend } => {
            let _ = writeln!(text, "  {why}");
            for mend in mend {
                let _ = writeln!(text, "  to mend it: {mend}");
            }
        }
        State::Here(Examined { facts, checked }) => {
            for (name, value) in facts.iter().cloned().chain(memory(found.device)) {
                let _ = writeln!(text, "  {name:<26}{value}");
            }
            // the processor is what others are compared with
            for checked in checked.iter().filter(|_| found.device != Device::Cpu) {
                let verdict = if checked.is_right() { "right" } else { "WRONG" };
                let off = format!("off by {:.1e} of {:.0e}", checked.off, checked.limit);
                let _ = writeln!(text, "  {:<36}{verdict:<7}{off:<24}{}", checked.operation, checked.body);
            }
        }
    }
    text
}

/// Free memory, where it is known.
fn memory(device: Device) -> Option<(&'static str, String)> {
    let room = Machine::here().room().filter(|_| device == Device::Cpu)?;
    Some(("memory left", format!("{} ({})", size(room.bytes as usize), room.bound)))
}

fn as_json(found: &Found) -> Value {
    let name = found.device.name();
    match &found.state {
        State::NotBuilt(how) => json!({ "device": name, "is_built": false, "mend": [how] }),
        State::Absent { why, mend } => {
            json!({ "device": name, "is_built": true, "is_here": false, "why": why, "mend": mend })
        }
        State::Here(Examined { facts, checked }) => {
            let facts = facts.iter().cloned().chain(memory(found.device));
            let facts: serde_json::Map<String, Value> =
                facts.map(|(name, value)| (name.to_owned(), value.into())).collect();
            let checked = checked.iter().map(|checked| {
                json!({
                    "operation": checked.operation, "body": checked.body.to_string(),
                    "off": checked.off, "limit": checked.limit, "is_right": checked.is_right(),
                })
            });
            json!({
                "device": name, "is_built": true, "is_here": true, "facts": facts,
                "checked": checked.collect::<Vec<_>>(), "is_well": found.is_well(),
            })
        }
    }
}
