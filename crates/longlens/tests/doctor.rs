//! `longlens doctor` on a machine without a GPU.

mod common;

use common::Sandbox;
use serde_json::Value;

#[test]
fn it_says_what_there_is_and_how_to_get_the_rest() {
    let sandbox = Sandbox::new();
    let said = sandbox.done("doctor").stdout;
    assert!(said.starts_with("cpu\n  kernels "), "{said}");
    for device in ["wgpu", "cuda"] {
        let (_, rest) = said.split_once(&format!("\n{device}\n")).unwrap_or_else(|| panic!("no {device}: {said}"));
        let line = rest.lines().next().unwrap();
        let is_built = !line.contains("not built in");
        assert!(is_built || line.contains(&format!("cargo build --release --features {device}")), "{line}");
    }
}

#[test]
fn one_device_is_examined_where_it_is_named() {
    let sandbox = Sandbox::new();
    let said: Value = serde_json::from_str(&sandbox.done("doctor --json --device cpu").stdout).unwrap();
    assert_eq!(said.as_array().unwrap().iter().map(|entry| &entry["device"]).collect::<Vec<_>>(), ["cpu"]);
}

#[test]
fn as_json_every_device_is_an_entry_and_every_kernel_of_the_processor_is_right() {
    let sandbox = Sandbox::new();
    let said: Value = serde_json::from_str(&sandbox.done("doctor --json").stdout).unwrap();
    let devices: Vec<&str> = said.as_array().unwrap().iter().map(|entry| entry["device"].as_str().unwrap()).collect();
    assert_eq!(devices, ["cpu", "wgpu", "cuda"]);
    let checked = said[0]["checked"].as_array().unwrap();
    assert!(checked.len() > 10, "{checked:?}");
    for entry in checked {
        assert_eq!(entry["is_right"], true, "{entry}");
    }
}
