//! Models of well-known shapes with random weights: how fast a shape runs does not depend on what its weights say.

use longlens_core::lens::{Lens, ModelInfo};
use longlens_kernel::Kernels;
use longlens_kernel::linear::Storage;

use crate::config::Config;
use crate::error::OpenError;
use crate::families::FAMILIES;
pub use crate::families::Shape;
use crate::lens::DecoderLens;
use crate::weights;

/// Every shape, family by family, the smallest of each first.
pub fn all() -> impl Iterator<Item = &'static Shape> {
    FAMILIES.iter().flat_map(|family| family.shapes)
}

impl Shape {
    /// The shape of this name.
    pub fn find(name: &str) -> Option<&'static Self> {
        all().find(|shape| shape.name == name)
    }

    /// Its config, with another number of layers where one is given. It has no first and no end token.
    pub fn config(&self, n_layers: Option<usize>) -> Config {
        let mut config = Config::parse(self.name, self.config.as_bytes()).expect("shapes are valid configs");
        config.num_hidden_layers = n_layers.unwrap_or(config.num_hidden_layers);
        config
    }

    /// What a model of this shape is, with its matrices kept as `storage`.
    pub fn info(&self, n_layers: Option<usize>, storage: Storage, kernel_path: &str) -> ModelInfo {
        let config = self.config(n_layers);
        let n_own = self.config(None).num_hidden_layers;
        ModelInfo {
            name: match n_layers.filter(|n| *n != n_own) {
                Some(n) => format!("{}, {n} of {n_own} layers, random weights", self.name),
                None => format!("{}, random weights", self.name),
            },
            source: "random weights".into(),
            dtype: storage.name().into(),
            kernel_path: kernel_path.into(),
            ..config.info(storage)
        }
    }
}

/// A model of this shape with random weights, its matrices kept as `storage`, and no tokenizer, on `device`.
pub fn random<B: Kernels>(
    shape: &Shape,
    n_layers: Option<usize>,
    seed: u64,
    storage: Storage,
    device: B::Device,
    kernel_path: &str,
) -> Result<Box<dyn Lens>, OpenError> {
    random_on::<B>(shape, n_layers, seed, storage, false, device, kernel_path)
}

/// The same with keys and values in the host's memory, if `kv_offload`.
pub fn random_on<B: Kernels>(
    shape: &Shape,
    n_layers: Option<usize>,
    seed: u64,
    storage: Storage,
    kv_offload: bool,
    device: B::Device,
    kernel_path: &str,
) -> Result<Box<dyn Lens>, OpenError> {
    let model = weights::random::<B, _>(&shape.config(n_layers), seed, storage, &device)?;
    let info = ModelInfo { content: format!("random {seed}"), ..shape.info(n_layers, storage, kernel_path) };
    Ok(Box::new(DecoderLens::new(model, info, None, device).offloading(kv_offload)))
}

#[cfg(test)]
mod tests {
    use burn_flex::{Flex, FlexDevice};
    use longlens_core::lens::{Rows, Setup};
    use longlens_core::methods::Method;

    use super::*;
    use crate::source::Source;
    use crate::weights::Counts;

    #[test]
    fn the_tiny_shape_is_that_of_the_embedded_model() {
        let embedded = Config::open(&Source::embedded()).unwrap();
        let tiny = Shape::find("tiny").unwrap().config(None);
        assert_eq!(tiny.spec(), embedded.spec());
        assert_eq!(tiny.tie_word_embeddings, embedded.tie_word_embeddings);
    }

    #[test]
    fn parameters_are_those_of_the_published_models() {
        for (name, n) in [
            ("tiny", 787_584),
            ("llama2-7b", 6_738_415_616),
            ("llama3-8b", 8_030_261_248),
            ("mistral-7b", 7_241_732_096),
            ("mixtral-8x7b", 46_702_792_704),
            ("qwen2.5-7b", 7_615_616_512),
            ("qwen1.5-moe-a2.7b", 14_315_784_192),
            ("qwen3-0.6b", 596_049_920),
            ("qwen3-8b", 8_190_735_360),
            ("qwen3-30b-a3b", 30_532_122_624),
            ("phi-2", 2_779_683_840),
            ("phi-3-mini", 3_821_079_552),
            ("phi-4-mini", 3_836_021_760),
            ("gemma-2b", 2_506_172_416),
            ("gemma2-2b", 2_614_341_888),
            ("gemma3-1b", 999_885_952),
            ("olmo2-7b", 7_298_617_344),
            ("smollm3-3b", 3_075_098_624),
            ("granite-3.1-2b", 2_533_531_648),
            ("stablelm-2-1.6b", 1_644_515_328),
            ("starcoder2-3b", 3_030_371_328),
        ] {
            assert_eq!(Shape::find(name).unwrap().info(None, Storage::F32, "").n_parameters, n, "{name}");
        }
    }

    #[test]
    fn every_family_has_a_shape_and_no_name_stands_for_two() {
        assert!(FAMILIES.iter().all(|family| !family.shapes.is_empty()));
        let mut names: Vec<_> = all().map(|shape| shape.name).collect();
        let n_shapes = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), n_shapes);
    }

    #[test]
    fn bytes_are_those_of_every_storage_with_norms_in_32_bits() {
        for shape in crate::families::find("", "llama").unwrap().shapes {
            let config = shape.config(None);
            let n_norms = (2 * config.num_hidden_layers + 1) * config.hidden_size;
            for (storage, bits) in [(Storage::F32, 32), (Storage::Bf16, 16), (Storage::Q8, 9), (Storage::Q4, 5)] {
                let info = shape.info(None, storage, "");
                let bytes = (info.n_parameters - n_norms) * bits / 8 + 4 * n_norms;
                assert_eq!(info.weight_bytes, bytes, "{}, {storage}", shape.name);
            }
        }
    }

    #[test]
    fn a_layer_of_a_spec_has_the_products_of_its_blueprint() {
        let spec = Shape::find("llama3-8b").unwrap().config(Some(2)).spec();
        let layer = 4096 * (2 * 4096 + 2 * 1024 + 3 * 14_336);
        assert_eq!((spec.layer_weights, spec.output_weights), (2 * layer, 4096 * 128_256));
        // a tied output matrix is not counted among the parameters, but multiplied with
        let tiny = Shape::find("tiny").unwrap().config(None);
        assert_eq!((tiny.spec().output_weights, Counts::of(&tiny).n_parameters), (128 * 1024, 787_584));
    }

    #[test]
    fn the_same_seed_gives_the_same_model() {
        let tiny = Shape::find("tiny").unwrap();
        let logits = |seed, storage| {
            let mut lens = random::<Flex>(tiny, Some(2), seed, storage, FlexDevice, "cpu").unwrap();
            let model = lens.model().clone();
            assert_eq!(model.dtype, storage.name());
            assert_eq!(model.n_parameters, Counts::of(&tiny.config(Some(2))).n_parameters);
            assert_eq!(model.name, "tiny, 2 of 4 layers, random weights");
            lens.begin(&Setup::new(&Method::full(), &model.spec, 3).unwrap()).unwrap();
            lens.feed(&[1, 2, 3], Rows::Last, &mut ()).unwrap()
        };
        for storage in Storage::ALL {
            assert_eq!(logits(1, storage), logits(1, storage));
            assert_ne!(logits(1, storage), logits(2, storage));
        }
    }
}
