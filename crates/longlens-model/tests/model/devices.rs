//! The model on GPUs: the goldens on a Vulkan device, of which a software one will do, and on a simulated NVIDIA card.

#[cfg(any(feature = "wgpu", feature = "simulated"))]
mod layer {
    use longlens_core::lens::{Rows, Setup};
    use longlens_core::methods::Method;
    use longlens_kernel::Kernels;
    use longlens_kernel::linear::Storage;
    use longlens_model::shapes::{self, Shape};

    /// Changes of single heads: an output of zeros, hidden keys, another method, forced chunks.
    pub const CHANGED: [&str; 2] = [
        "self_extend:group_size=4,neighbor_window=16/0h1=off/0h2=hide:5-19,40-50/0h3=streaming:n_sink=2,window=24",
        "long_heads:chunk_len=8,attention_len=40/0h1=off/0h2-3=force:3",
    ];

    /// A layer with heads of a size that tensor cores take.
    const SHAPE: Shape = Shape {
        name: "one layer",
        config: r#"{"model_type": "llama", "num_hidden_layers": 1, "hidden_size": 128, "num_attention_heads": 4,
            "num_key_value_heads": 2, "head_dim": 64, "intermediate_size": 160, "vocab_size": 96,
            "max_position_embeddings": 64, "rope_theta": 3000.0, "rms_norm_eps": 1e-5}"#,
    };

    /// Logits of every token, some of which are fed one by one.
    pub fn logits<B: Kernels>(device: B::Device, method: &str) -> Vec<f32> {
        let mut lens = shapes::random::<B>(&SHAPE, None, 5, Storage::Bf16, device, "test").unwrap();
        let tokens: Vec<u32> = (0..84).map(|at| at * 37 % 96).collect();
        let spec = lens.model().spec.clone();
        let setup = Setup::new(&Method::parse(method).unwrap(), &spec, 80).unwrap();
        lens.begin(&setup).unwrap();
        let mut logits = lens.feed(&tokens[..80], Rows::All, &mut ()).unwrap();
        for token in &tokens[80..] {
            logits.extend(lens.feed(&[*token], Rows::All, &mut ()).unwrap());
        }
        logits
    }

    /// How far two lists are apart at most, in the largest number of the first.
    pub fn off(expected: &[f32], got: &[f32]) -> f32 {
        assert!(got.len() == expected.len() && got.iter().all(|x| x.is_finite()));
        let largest = expected.iter().fold(0.0f32, |most, x| most.max(x.abs()));
        got.iter().zip(expected).fold(0.0f32, |most, (a, b)| most.max((a - b).abs())) / largest
    }
}

#[cfg(feature = "wgpu")]
mod wgpu {
    use burn_flex::{Flex, FlexDevice};
    use longlens_kernel::gpu::{Wgpu, WgpuDevice};

    use super::layer::{CHANGED, logits, off};
    use crate::golden::check_on;
    use crate::offload;

    #[test]
    fn heads_that_are_changed_give_what_the_processor_gives() {
        let whole = logits::<Flex>(FlexDevice, "full");
        for method in CHANGED {
            let expected = logits::<Flex>(FlexDevice, method);
            assert!(off(&expected, &whole) > 0.05, "{method} changes something");
            let got = logits::<Wgpu>(WgpuDevice::default(), method);
            assert!(off(&expected, &got) <= 0.03, "{method}: off by {}", off(&expected, &got));
        }
    }

    #[test]
    fn keys_in_the_hosts_memory_give_what_the_processor_gives() {
        assert_eq!(offload::check_on::<Wgpu>(&WgpuDevice::default()), 6);
    }

    #[test]
    fn goldens_match_on_a_vulkan_device() {
        assert_eq!(check_on::<Wgpu>(&["full-", "se-", "dca-", "lh-"], &WgpuDevice::default()), 73);
    }
}

#[cfg(feature = "simulated")]
mod simulated {
    use burn_flex::{Flex, FlexDevice};
    use longlens_kernel::simulated::{Simulated, SimulatedDevice, is_available};

    use super::layer::{CHANGED, logits, off};
    use crate::golden::check_on;

    /// Whether nothing can be compiled here.
    #[expect(clippy::print_stdout, reason = "a test that is skipped says so")]
    fn is_absent() -> bool {
        let is_absent = !is_available();
        if is_absent {
            println!("NOT RUN: LONGLENS_NVRTC does not name NVRTC's folder");
        }
        is_absent
    }

    /// A short one: interpreting takes a while.
    const CASES: [&str; 1] = ["dca-llama2-mha-from1"];

    #[test]
    fn goldens_match_on_a_simulated_card() {
        if is_absent() {
            return;
        }
        assert!(check_on::<Simulated>(&CASES, &SimulatedDevice::default()) >= CASES.len());
    }

    #[test]
    fn a_layer_on_tensor_cores_gives_what_the_processor_gives() {
        if is_absent() {
            return;
        }
        // changed heads are more of the same launches, and forced chunks are no text of ours: one card is enough
        for (method, capabilities) in [
            ("full", &[80, 90][..]),
            ("self_extend:group_size=4,neighbor_window=16", &[80, 90]),
            ("dual_chunk:chunk_size=24,local_window=8", &[80, 90]),
            ("long_heads:chunk_len=8,attention_len=32", &[80, 90]),
            (CHANGED[0], &[90]),
        ] {
            let expected = logits::<Flex>(FlexDevice, method);
            for capability in capabilities.iter().copied() {
                let got = logits::<Simulated>(SimulatedDevice { capability }, method);
                // queries, keys, values and what they get have 8 bits of precision
                let off = off(&expected, &got);
                assert!(off <= 0.03, "{method}: off by {off} of the largest");
            }
        }
    }
}
