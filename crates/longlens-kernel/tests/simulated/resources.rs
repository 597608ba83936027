//! What every text of CUDA asks of a multiprocessor, written down in `src/cuda/resources.tsv`.
//!
//! `LONGLENS_UPDATE=1` writes the table anew.

use std::fmt::Write;
use std::path::Path;

use longlens_kernel::gpu::texts;
use longlens_ptx::Nvrtc;

/// Architectures that texts are compiled for.
const ARCHITECTURES: [&str; 3] = ["sm_80", "sm_90a", "sm_120"];
/// Bytes that a thread may spill: outside its loops.
const MOST_SPILLED: u32 = 64;
/// The same of a token's attention with heads of 256, whose keys and output do not fit the registers together.
const MOST_SPILLED_BY_A_TOKEN: u32 = 288;

#[test]
fn registers_and_shared_memory_are_those_of_the_table() {
    let Some(nvrtc) = Nvrtc::from_env().unwrap() else {
        println!("NOT RUN: LONGLENS_NVRTC does not name NVRTC's folder");
        return;
    };
    let mut table = "text\tarchitecture\tregisters\tspilled bytes\tshared bytes\tthreads\n".to_owned();
    for (name, text) in texts() {
        for architecture in ARCHITECTURES {
            // wgmma is of one architecture
            if text.entry().contains("wgmma") && architecture != "sm_90a" {
                continue;
            }
            let compiled = nvrtc.compile(text.source(), architecture, &[]).unwrap();
            let used = compiled.entries.iter().find(|entry| entry.name == text.entry()).unwrap();
            let shared = used.shared_bytes as usize + text.shared();
            let spilled = used.spill_store_bytes.max(used.spill_load_bytes);
            let is_largest = name.starts_with("256: span attention of a token");
            let most = if is_largest { MOST_SPILLED_BY_A_TOKEN } else { MOST_SPILLED };
            assert!(spilled <= most, "{name} on {architecture} spills {spilled} bytes");
            let threads = text.threads();
            writeln!(table, "{name}\t{architecture}\t{}\t{spilled}\t{shared}\t{threads}", used.registers).unwrap();
        }
    }
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/cuda/resources.tsv");
    if std::env::var_os("LONGLENS_UPDATE").is_some() {
        std::fs::write(&file, &table).unwrap();
    }
    let written = std::fs::read_to_string(&file).unwrap();
    for (got, written) in table.lines().zip(written.lines()) {
        assert_eq!(got, written, "LONGLENS_UPDATE=1 writes the table anew");
    }
    assert_eq!(table.lines().count(), written.lines().count());
}
