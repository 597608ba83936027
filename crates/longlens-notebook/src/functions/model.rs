//! Opening models.

use rhai::plugin::*;

#[export_module]
#[allow(clippy::needless_pass_by_value)] // the macro hands values over
pub mod functions {
    use longlens_app::settings::params::TRAINED_CONTEXT;
    use rhai::Map;

    use crate::host::{Opening, Returned, host};
    use crate::options::Options;
    use crate::values::Model;

    /// Opens the model of the session (`embedded`, unless the program was started with `--model`).
    ///
    /// ```rhai
    /// let m = open();
    /// m.n_layers * m.n_heads
    /// ```
    #[rhai_fn(name = "open", return_raw)]
    pub fn open_default(context: NativeCallContext) -> Returned<Model> {
        host(&context).model().map(Model)
    }

    /// Opens a model: `embedded`, a folder with a checkpoint, or `org/name` in the Hugging Face cache. From now on it is the
    /// one that runs.
    ///
    /// ```rhai
    /// open("embedded").trained_context
    /// ```
    #[rhai_fn(name = "open", return_raw)]
    pub fn open(context: NativeCallContext, model: &str) -> Returned<Model> {
        host(&context).open(model).map(Model)
    }

    /// The same with named arguments, those of the program's flags: `weights`, how matrices are kept (`"file"`, `"f32"`, `"bf16"`, `"q8"`,
    /// `"q4"`); `device`, where it is computed (`"cpu"`, and `"wgpu"` or `"cuda"` where the program was built for them); `kv_offload`,
    /// whether keys and values stay in the host's memory; `trained_context`, the tokens that the model was trained on, where its config
    /// says otherwise; `adapter`, a LoRA adapter to add to the weights, as PEFT saves it: its folder, or `org/name` in the Hugging
    /// Face cache. What is not said is as the session was started.
    ///
    /// ```rhai
    /// open("embedded", #{ weights: "q8", trained_context: 1024 }).trained_context
    /// ```
    #[rhai_fn(name = "open", return_raw)]
    pub fn open_with(context: NativeCallContext, model: &str, options: Map) -> Returned<Model> {
        let known = ["weights", "device", "kv_offload", TRAINED_CONTEXT.name, "adapter"];
        let mut options = Options::new("open", options, &known)?;
        let opening = Opening {
            trained_context: options.setting(&TRAINED_CONTEXT)?.map(|n_tokens| n_tokens.number() as usize),
            adapter: options.text("adapter")?,
            weights: options.text("weights")?,
            device: options.text("device")?,
            kv_offload: options.flag("kv_offload")?,
        };
        let is_usual = opening == Opening::default();
        let opened = if is_usual { host(&context).open(model) } else { host(&context).open_with(model, &opening) };
        opened.map(Model)
    }

    /// Makes a model that is open the one that runs.
    ///
    /// ```rhai
    /// let m = open("embedded");
    /// m.select();
    /// ```
    #[rhai_fn(name = "select")]
    pub fn select(context: NativeCallContext, model: &mut Model) {
        host(&context).select(&model.0);
    }

    /// The name of a model.
    #[rhai_fn(get = "name", pure)]
    pub fn name(model: &mut Model) -> String {
        model.0.info.name.clone()
    }

    /// Tokens of the longest context that a model was trained on.
    #[rhai_fn(get = "trained_context", pure)]
    pub fn trained_context(model: &mut Model) -> i64 {
        model.0.info.spec.trained_context as i64
    }

    /// Decoder layers of a model.
    #[rhai_fn(get = "n_layers", pure)]
    pub fn n_layers(model: &mut Model) -> i64 {
        model.0.info.spec.n_layers as i64
    }

    /// Query heads of a layer.
    #[rhai_fn(get = "n_heads", pure)]
    pub fn n_heads(model: &mut Model) -> i64 {
        model.0.info.spec.n_heads as i64
    }

    /// Key and value heads of a layer.
    #[rhai_fn(get = "n_kv_heads", pure)]
    pub fn n_kv_heads(model: &mut Model) -> i64 {
        model.0.info.spec.n_kv_heads as i64
    }

    /// Parameters of a model.
    #[rhai_fn(get = "n_parameters", pure)]
    pub fn n_parameters(model: &mut Model) -> i64 {
        model.0.info.n_parameters as i64
    }

    /// Everything known of a model, as a map.
    ///
    /// ```rhai
    /// open().info().kernel_path
    /// ```
    #[rhai_fn(pure)]
    pub fn info(model: &mut Model) -> Map {
        let info = &model.0.info;
        let spec = &info.spec;
        let texts = [
            ("name", &info.name),
            ("source", &info.source),
            ("family", &info.family),
            ("dtype", &info.dtype),
            ("kernel_path", &info.kernel_path),
        ];
        let numbers = [
            ("trained_context", spec.trained_context),
            ("max_position_embeddings", info.max_position_embeddings),
            ("n_layers", spec.n_layers),
            ("n_heads", spec.n_heads),
            ("n_kv_heads", spec.n_kv_heads),
            ("head_dim", spec.head_dim),
            ("d_model", spec.d_model),
            ("vocab_size", spec.vocab_size),
            ("n_parameters", info.n_parameters),
        ];
        let mut map = Map::new();
        map.extend(texts.map(|(name, text)| (name.into(), text.clone().into())));
        map.extend(numbers.map(|(name, number)| (name.into(), (number as i64).into())));
        map.insert("rope_theta".into(), spec.rope_theta.into());
        let warnings = info.warnings.iter().map(|warning| warning.clone().into());
        map.insert("warnings".into(), warnings.collect::<rhai::Array>().into());
        map.insert("rope".into(), spec.rope.to_string().into());
        map
    }
}
