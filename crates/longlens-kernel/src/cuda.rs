//! CUDA C++ text as kernels on the client, stream and memory of a CubeCL runtime: what tensor cores need and CubeCL cannot say.
//!
//! A kernel's text is `#define` lines, the shared functions in `cuda/prelude.cu`, and the `.cu` file beside its operation. The runtime
//! compiles it where it is launched (NVRTC), for the device's architecture.

use std::collections::HashMap;
use std::fmt::Write;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex, PoisonError};

use burn_tensor::DType;
use cubecl::client::ComputeClient;
use cubecl::prelude::*;
use cubecl::server::{Handle, KernelArguments, MetadataBindingInfo, TensorMapBinding, TensorMapMeta};
use cubecl::zspace::metadata::Metadata;
use cubecl::zspace::{Shape, Strides};
use cubecl::{CompilationError, Compiler, CubeTask};

use cubecl_cpp::cuda::CudaDialect;
use cubecl_cpp::cuda::mma::CudaWmmaCompiler;
use cubecl_cpp::shared::{Body, ComputeKernel, CppCompiler, Elem, Flags, Item, SharedMemory};
use cubecl_runtime::id::KernelId;
use cubecl_runtime::kernel::{CompiledKernel, KernelMetadata};
use cubecl_runtime::tma::{
    OobFill, TensorMapFormat, TensorMapInterleave, TensorMapPrefetch, TensorMapSwizzle, TiledArgs,
};

/// The compiler of the runtimes that take CUDA text.
pub type CudaCompiler = CppCompiler<CudaDialect<CudaWmmaCompiler>>;

/// Functions that all texts share.
const PRELUDE: &str = include_str!("cuda/prelude.cu");

/// A kernel of CUDA text.
#[derive(Debug, Clone)]
pub struct Text {
    source: Arc<Source>,
    entry: &'static str,
    threads: u32,
    shared: usize,
}

/// A whole text, made once for each kernel and its definitions: one is launched thousands of times a second.
#[derive(Debug)]
struct Source {
    text: String,
    digest: [u64; 2],
}

impl Source {
    fn of(entry: &'static str, lines: String, files: &[&str]) -> Arc<Self> {
        type Known = HashMap<(&'static str, String), Arc<Source>>;
        static KNOWN: Mutex<Option<Known>> = Mutex::new(None);
        let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
        let known = known.get_or_insert_default();
        let name = (entry, lines);
        if let Some(source) = known.get(&name) {
            return Arc::clone(source);
        }
        let text = format!("{}{PRELUDE}{}", name.1, files.concat());
        let digest = [0u8, 1].map(|half| {
            let mut hasher = DefaultHasher::new();
            (half, &text).hash(&mut hasher);
            hasher.finish()
        });
        let source = Arc::new(Self { text, digest });
        known.insert(name, Arc::clone(&source));
        source
    }
}

impl Text {
    /// The text in `files`, in order, with these definitions; `threads` in a block and `shared` bytes of dynamic shared memory.
    pub fn new(entry: &'static str, files: &[&str], defines: &[(&str, String)], threads: usize, shared: usize) -> Self {
        let mut lines = String::new();
        for (name, value) in defines {
            writeln!(lines, "#define {name} {value}").expect("strings take all text");
        }
        Self { source: Source::of(entry, lines, files), entry, threads: threads as u32, shared }
    }

    /// The whole text.
    pub fn source(&self) -> &str {
        &self.source.text
    }

    /// The kernel's name in it.
    pub fn entry(&self) -> &'static str {
        self.entry
    }

    /// Threads of a block.
    pub fn threads(&self) -> usize {
        self.threads as usize
    }

    /// Bytes of shared memory that a launch adds to what the text declares.
    pub fn shared(&self) -> usize {
        self.shared
    }

    /// Launches it on a client's stream. It gets the maps, a pointer to what each lies on, a pointer for every buffer, then `info` by
    /// value.
    pub fn launch<R: Runtime<Compiler = CudaCompiler>>(
        self,
        client: &ComputeClient<R>,
        grid: [usize; 3],
        maps: &[TensorMap],
        buffers: &[&Handle],
        info: &Info,
    ) where
        R::Server: cubecl::server::ComputeServer<Kernel = Box<dyn CubeTask<CudaCompiler>>>,
    {
        let bindings = buffers.iter().map(|buffer| (*buffer).clone().binding()).collect();
        let words = info.words();
        let n_words = words.len();
        let arguments = KernelArguments::new()
            .with_tensor_maps(maps.iter().map(TensorMap::binding).collect())
            .with_buffers(bindings)
            .with_info(MetadataBindingInfo::new(words, n_words));
        let [x, y, z] = grid.map(|extent| extent as u32);
        // SAFETY: buffers and sizes are those that the text's own description asks for
        unsafe { client.launch_unchecked(Box::new(self), CubeCount::Static(x, y, z), arguments) }
    }
}

/// A tensor of 16-bit numbers from which the copy engine takes boxes, with zeros outside; rows of a box are 128 bytes, swizzled.
#[derive(Debug, Clone)]
pub struct TensorMap {
    /// Where it lies.
    pub handle: Handle,
    /// Its type.
    pub dtype: DType,
    /// Matrices, rows and columns.
    pub shape: [usize; 3],
    /// Numbers from one matrix to the next, and from one row to the next.
    pub strides: [usize; 2],
    /// Rows of a box.
    pub rows: usize,
}

impl TensorMap {
    fn binding(&self) -> TensorMapBinding {
        let strides = [self.strides[0], self.strides[1], 1];
        let map = TensorMapMeta {
            format: TensorMapFormat::Tiled(TiledArgs { tile_size: Shape::from([1, self.rows, 64]) }),
            metadata: Metadata::new(Shape::from(self.shape), Strides::new(&strides)),
            elem_stride: Strides::new(&[1, 1, 1]),
            interleave: TensorMapInterleave::None,
            swizzle: TensorMapSwizzle::B128,
            prefetch: TensorMapPrefetch::B256,
            oob_fill: OobFill::Zero,
            storage_ty: self.dtype.into(),
        };
        TensorMapBinding { binding: self.handle.clone().binding(), map }
    }
}

/// What a text of attention is compiled for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Variant {
    /// Dimensions of a head.
    pub head_dim: usize,
    /// Of those, the ones that rotate.
    pub rotary_dim: usize,
    /// Type of queries, keys and values.
    pub dtype: DType,
    /// Query heads of a key head that a block computes together.
    pub pack: usize,
    /// Bound of scores.
    pub soft_cap: Option<f64>,
    /// Whether some query does not see all keys between its first and last.
    pub has_holes: bool,
}

impl Variant {
    /// Its definitions, with those of a tile; all texts may have them all.
    pub(crate) fn defines(&self, tile: &[(&'static str, usize)]) -> Vec<(&'static str, String)> {
        let tile = tile.iter().map(|(name, value)| (*name, value.to_string()));
        let own = [
            ("HEAD_DIM", self.head_dim.to_string()),
            ("ROTARY_DIM", self.rotary_dim.to_string()),
            ("F16", u8::from(self.dtype == DType::F16).to_string()),
            ("PACK", self.pack.to_string()),
            ("SOFT_CAP", format!("{:e}f", self.soft_cap.unwrap_or(0.0))),
            ("HOLES", u8::from(self.has_holes).to_string()),
        ];
        own.into_iter().chain(tile).collect()
    }
}

/// Sizes of heads that texts of attention are made for.
const HEAD_DIMS: [usize; 5] = [64, 80, 96, 128, 256];

/// Why no text attends with queries, keys and values of these types, and heads of this size, if none does.
pub(crate) fn refused_heads(capability: u32, dtypes: [DType; 3], head_dim: usize) -> Option<&'static str> {
    refused_types(capability, &dtypes)
        .or_else(|| (!HEAD_DIMS.contains(&head_dim)).then_some("heads of another size than 64, 80, 96, 128 or 256"))
}

/// Why no text multiplies numbers of these types, if none does.
pub(crate) fn refused_types(capability: u32, dtypes: &[DType]) -> Option<&'static str> {
    if capability < 80 {
        return Some("the card is older than sm_80");
    }
    if !matches!(dtypes[0], DType::BF16 | DType::F16) {
        return Some("numbers of 32 bits");
    }
    dtypes.iter().any(|dtype| *dtype != dtypes[0]).then_some("numbers of different types")
}

/// Query heads of a key head that a block computes together: the most that divide them, up to 16.
pub(crate) fn pack_of(n_rep: usize) -> usize {
    (1..=n_rep.min(MOST_PACKED)).rev().find(|pack| n_rep.is_multiple_of(*pack)).unwrap_or(1)
}

/// Query heads that a block computes together, at most.
const MOST_PACKED: usize = 16;

/// The bytes of a kernel's last parameter, a struct whose fields are aligned to their size.
#[derive(Debug, Clone, Default)]
pub struct Info(Vec<u8>);

impl Info {
    /// Adds a field of 64 bits.
    #[must_use]
    pub fn wide(mut self, value: usize) -> Self {
        assert!(self.0.len().is_multiple_of(8), "64-bit fields come first");
        self.0.extend((value as u64).to_le_bytes());
        self
    }

    /// Adds a field of 32 bits.
    #[must_use]
    pub fn word(mut self, value: usize) -> Self {
        self.0.extend((value as u32).to_le_bytes());
        self
    }

    /// Adds a field of 32 bits that is a float.
    #[must_use]
    pub fn float(mut self, value: f32) -> Self {
        self.0.extend(value.to_le_bytes());
        self
    }

    fn words(&self) -> Vec<u64> {
        let word = |bytes: &[u8]| {
            let mut word = [0; 8];
            word[..bytes.len()].copy_from_slice(bytes);
            u64::from_le_bytes(word)
        };
        self.0.chunks(8).map(word).collect()
    }
}

/// Compute capability of a card, ten times the major number plus the minor one, as far as texts differ by it: 80, 90, or 100 for all
/// that came after; nothing for older ones.
#[cfg(feature = "cuda")]
pub fn capability<R: Runtime>(client: &ComputeClient<R>) -> Option<u32> {
    use cubecl::features::Tma;
    let features = client.features();
    match (features.tma.contains(Tma::Im2colWide), features.tma.contains(Tma::Base), features.copy_async) {
        (true, ..) => Some(100),
        (false, true, _) => Some(90),
        (false, false, true) => Some(80),
        _ => None,
    }
}

/// Bytes of a card's memory that nobody holds, and all there are.
#[cfg(feature = "cuda")]
pub fn free_memory(device: &cubecl::cuda::CudaDevice) -> Option<(u64, u64)> {
    let context = cudarc::driver::CudaContext::new(device.index).ok()?;
    let (free, total) = context.mem_get_info().ok()?;
    Some((free as u64, total as u64))
}

impl KernelMetadata for Text {
    fn id(&self) -> KernelId {
        // compiled kernels may be kept under this name alone, so it says what the whole text is
        KernelId::new::<Self>().cube_dim(CubeDim::new_1d(self.threads)).info((
            self.entry,
            self.source.digest,
            self.shared,
        ))
    }

    fn address_type(&self) -> StorageType {
        u32::as_type_native_unchecked().storage_type()
    }
}

#[allow(clippy::default_trait_access)] // types that the crate does not name in public
impl CubeTask<CudaCompiler> for Text {
    fn compile(
        &self,
        _: &mut CudaCompiler,
        _: &<CudaCompiler as Compiler>::CompilationOptions,
        _: ExecutionMode,
        _: StorageType,
    ) -> Result<CompiledKernel<CudaCompiler>, CompilationError> {
        let byte = Item::scalar(Elem::U8, true);
        let cube_dim = CubeDim::new_1d(self.threads);
        // all that the runtime reads of it is how much shared memory a launch asks for
        let shared = SharedMemory::Array { index: 0, item: byte, length: self.shared, align: 128, offset: 0 };
        let body = Body {
            instructions: Vec::new(),
            shared_memories: vec![shared],
            pipelines: Vec::new(),
            barriers: Vec::new(),
            const_arrays: Vec::new(),
            local_arrays: Vec::new(),
            info_by_ptr: false,
            has_dynamic_meta: false,
            address_type: byte,
        };
        let repr = ComputeKernel {
            tensor_maps: Vec::new(),
            buffers: Vec::new(),
            scalars: Vec::new(),
            info: Default::default(),
            meta_static_len: 0,
            body,
            cube_dim,
            cluster_dim: None,
            extensions: Vec::new(),
            flags: Flags::default(),
            items: Default::default(),
            kernel_name: self.entry.into(),
        };
        Ok(CompiledKernel {
            entrypoint_name: self.entry.into(),
            debug_name: Some(self.entry),
            source: self.source.text.clone(),
            repr: Some(repr),
            cube_dim,
            debug_info: None,
        })
    }
}
