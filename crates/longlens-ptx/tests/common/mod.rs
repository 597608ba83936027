//! What several tests share.
#![allow(dead_code)] // every test file uses a part of it

pub mod lanes;

use longlens_ptx::{Error, Finding, Mistake, Module, Nvrtc, Report};

/// The committed text of a file of kernels and, where NVRTC can be used, the freshly compiled ones for these architectures.
/// With `LONGLENS_WRITE_PTX` set, the committed text is written anew from what was compiled for `sm_90a`.
pub fn modules(name: &str, architectures: &[&str]) -> Vec<Module> {
    let folder = format!("{}/tests/kernels", env!("CARGO_MANIFEST_DIR"));
    let read = |ending: &str| std::fs::read_to_string(format!("{folder}/{name}.{ending}")).expect("a committed file");
    let mut modules = vec![Module::parse(&read("ptx")).expect("the committed text can be read")];
    if let Some(nvrtc) = nvrtc() {
        for architecture in architectures {
            let compiled = nvrtc.compile(&read("cu"), architecture, &[]).expect("the text compiles");
            if *architecture == "sm_90a" && std::env::var_os("LONGLENS_WRITE_PTX").is_some() {
                // names of files and the strings of the debugger are left out
                let text = compiled.ptx.split("\t.file").next().unwrap_or_default();
                std::fs::write(format!("{folder}/{name}.ptx"), text).expect("the file can be written");
            }
            modules.push(Module::parse(&compiled.ptx).expect("the compiled text can be read"));
        }
    }
    modules
}

/// The compiler, where it can be used.
#[allow(clippy::print_stdout)] // a test that passes over something says so
pub fn nvrtc() -> Option<Nvrtc> {
    let nvrtc = Nvrtc::from_env().expect("NVRTC can be loaded");
    if nvrtc.is_none() {
        println!("passed over: LONGLENS_NVRTC is not set, so nothing is compiled");
    }
    nvrtc
}

/// The mistake that ended a launch.
pub fn fault(result: Result<Report, Error>) -> Finding {
    match result {
        Err(Error::Fault(finding)) => *finding,
        other => panic!("the launch should have ended with a fault: {other:?}"),
    }
}

/// Panics unless a report has findings of one kind, and no others.
pub fn assert_only(report: &Report, mistake: Mistake) {
    assert!(report.of(mistake).next().is_some(), "{mistake:?} was not noticed: {:?}", report.findings);
    let others: Vec<String> =
        report.findings.iter().filter(|f| f.mistake != mistake).map(ToString::to_string).collect();
    assert!(others.is_empty(), "other findings: {}", others.join("\n"));
}

/// Numbers that look random and are the same in every run.
pub struct Numbers(u64);

impl Numbers {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub fn bits(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// Between -1 and 1.
    pub fn unit(&mut self) -> f32 {
        (self.bits() >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    }
}
