//! NVRTC, NVIDIA's compiler of CUDA C++ text, loaded at run time.

use std::path::{Path, PathBuf};

use crate::Error;

/// The environment variable that names the folder with `lib/libnvrtc.so.13` and `include`.
const FOLDER: &str = "LONGLENS_NVRTC";
/// The environment variable that makes a missing folder an error.
const REQUIRED: &str = "LONGLENS_REQUIRE_NVRTC";

/// The compiler.
#[derive(Debug)]
pub struct Nvrtc {
    folder: PathBuf,
    library: library::Library,
}

/// What a text was compiled to.
#[derive(Debug, Clone, PartialEq)]
pub struct Compiled {
    pub ptx: String,
    pub cubin: Vec<u8>,
    pub log: String,
    pub entries: Vec<EntryUse>,
}

/// What a kernel needs on the architecture it was compiled for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EntryUse {
    pub name: String,
    pub registers: u32,
    pub stack_bytes: u32,
    pub spill_store_bytes: u32,
    pub spill_load_bytes: u32,
    /// Declared shared memory; what a launch adds is not in it.
    pub shared_bytes: u32,
}

impl Nvrtc {
    /// Loads the compiler from the folder that `LONGLENS_NVRTC` names. None where the variable is absent, unless
    /// `LONGLENS_REQUIRE_NVRTC` is set, which makes that an error.
    pub fn from_env() -> Result<Option<Self>, Error> {
        match std::env::var_os(FOLDER) {
            Some(folder) => Self::load(Path::new(&folder)).map(Some),
            None if std::env::var_os(REQUIRED).is_some() => {
                Err(Error::Nvrtc { folder: String::new(), reason: format!("{FOLDER} is not set") })
            }
            None => Ok(None),
        }
    }

    /// Loads the compiler from a folder such as `site-packages/nvidia/cu13`.
    pub fn load(folder: &Path) -> Result<Self, Error> {
        let error = |reason| Error::Nvrtc { folder: folder.display().to_string(), reason };
        let library = library::Library::load(&folder.join("lib")).map_err(error)?;
        Ok(Self { folder: folder.to_path_buf(), library })
    }

    /// Compiles a text for an architecture such as `sm_80`, to PTX with line numbers and to machine code.
    pub fn compile(&self, text: &str, arch: &str, options: &[&str]) -> Result<Compiled, Error> {
        let include = self.folder.join("include");
        let mut all = vec![
            format!("--gpu-architecture={arch}"),
            format!("--include-path={}", include.display()),
            format!("--include-path={}", include.join("cccl").display()),
            "-lineinfo".to_string(),
            "--ptxas-options=-v".to_string(),
        ];
        all.extend(options.iter().map(ToString::to_string));
        let output = self.library.compile(text, &all).map_err(|log| Error::Compile { arch: arch.to_string(), log })?;
        let entries = entries(&output.log);
        Ok(Compiled { ptx: output.ptx, cubin: output.cubin, log: output.log, entries })
    }
}

/// Registers, stack and shared memory of each kernel, from the log that `--ptxas-options=-v` leaves.
fn entries(log: &str) -> Vec<EntryUse> {
    let mut found: Vec<EntryUse> = Vec::new();
    for line in log.lines() {
        if let Some(rest) = line.split("Compiling entry function '").nth(1) {
            let name = rest.split('\'').next().unwrap_or_default().to_string();
            found.push(EntryUse { name, ..EntryUse::default() });
        }
        let Some(entry) = found.last_mut() else { continue };
        let words: Vec<&str> = line.split([' ', ',']).filter(|word| !word.is_empty()).collect();
        let before = |what: &[&str]| {
            let at = words.windows(what.len()).position(|window| window == what)?;
            words.get(at.checked_sub(1)?)?.parse::<u32>().ok()
        };
        let mut take = |place: fn(&mut EntryUse) -> &mut u32, what: &[&str]| {
            if let Some(number) = before(what) {
                *place(entry) = number;
            }
        };
        take(|entry| &mut entry.registers, &["registers"]);
        take(|entry| &mut entry.stack_bytes, &["bytes", "stack", "frame"]);
        take(|entry| &mut entry.spill_store_bytes, &["bytes", "spill", "stores"]);
        take(|entry| &mut entry.spill_load_bytes, &["bytes", "spill", "loads"]);
        take(|entry| &mut entry.shared_bytes, &["bytes", "smem"]);
    }
    found
}

#[cfg(unix)]
mod library {
    use std::ffi::{CStr, CString, c_char, c_int, c_void};
    use std::path::Path;
    use std::ptr::null;
    use std::sync::Mutex;

    /// One compilation at a time: the library's own messages name no thread.
    static COMPILING: Mutex<()> = Mutex::new(());

    type Program = *mut c_void;
    type Create = unsafe extern "C" fn(
        *mut Program,
        *const c_char,
        *const c_char,
        c_int,
        *const *const c_char,
        *const *const c_char,
    ) -> c_int;
    type Compile = unsafe extern "C" fn(Program, c_int, *const *const c_char) -> c_int;
    type Size = unsafe extern "C" fn(Program, *mut usize) -> c_int;
    type Text = unsafe extern "C" fn(Program, *mut c_char) -> c_int;
    type Destroy = unsafe extern "C" fn(*mut Program) -> c_int;

    /// The functions that are called.
    #[derive(Debug, Clone, Copy)]
    pub(super) struct Library {
        create: Create,
        compile: Compile,
        destroy: Destroy,
        log: (Size, Text),
        ptx: (Size, Text),
        cubin: (Size, Text),
    }

    pub(super) struct Output {
        pub(super) ptx: String,
        pub(super) cubin: Vec<u8>,
        pub(super) log: String,
    }

    impl Library {
        pub(super) fn load(folder: &Path) -> Result<Self, String> {
            // the compiler looks for its own builtins by name: one that is loaded already is found
            open(&find(folder, "libnvrtc-builtins.so")?)?;
            let library = open(&find(folder, "libnvrtc.so")?)?;
            // SAFETY: the signatures are those of nvrtc.h of CUDA 13
            unsafe {
                Ok(Self {
                    create: std::mem::transmute::<*mut c_void, Create>(symbol(library, c"nvrtcCreateProgram")?),
                    compile: std::mem::transmute::<*mut c_void, Compile>(symbol(library, c"nvrtcCompileProgram")?),
                    destroy: std::mem::transmute::<*mut c_void, Destroy>(symbol(library, c"nvrtcDestroyProgram")?),
                    log: pair(library, c"nvrtcGetProgramLogSize", c"nvrtcGetProgramLog")?,
                    ptx: pair(library, c"nvrtcGetPTXSize", c"nvrtcGetPTX")?,
                    cubin: pair(library, c"nvrtcGetCUBINSize", c"nvrtcGetCUBIN")?,
                })
            }
        }

        /// The output, or the log of a text that is refused.
        pub(super) fn compile(&self, text: &str, options: &[String]) -> Result<Output, String> {
            let _guard = COMPILING.lock();
            let text = CString::new(text).map_err(|_| "the text holds a zero byte".to_string())?;
            let options: Vec<CString> =
                options.iter().filter_map(|option| CString::new(option.as_str()).ok()).collect();
            let pointers: Vec<*const c_char> = options.iter().map(|option| option.as_ptr()).collect();
            let mut program: Program = std::ptr::null_mut();
            // SAFETY: all pointers live through the calls, and the program is destroyed once
            unsafe {
                if (self.create)(&raw mut program, text.as_ptr(), c"kernel.cu".as_ptr(), 0, null(), null()) != 0 {
                    return Err("no program could be created".to_string());
                }
                let failed = (self.compile)(program, pointers.len() as c_int, pointers.as_ptr()) != 0;
                let log = text_of(&bytes(program, self.log));
                let result = if failed {
                    Err(log)
                } else {
                    Ok(Output { ptx: text_of(&bytes(program, self.ptx)), cubin: bytes(program, self.cubin), log })
                };
                (self.destroy)(&raw mut program);
                result
            }
        }
    }

    /// The file of a library, whatever version its name ends with.
    fn find(folder: &Path, name: &str) -> Result<CString, String> {
        let entries = std::fs::read_dir(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
        let mut names: Vec<_> = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect();
        names.sort_by_key(String::len);
        let file = names.iter().find(|file| file.starts_with(name)).ok_or_else(|| format!("there is no lib/{name}"))?;
        CString::new(folder.join(file).display().to_string()).map_err(|error| error.to_string())
    }

    fn open(path: &CStr) -> Result<*mut c_void, String> {
        // SAFETY: the path is a C string; the library stays open
        let handle = unsafe { libc::dlopen(path.as_ptr(), libc::RTLD_NOW | libc::RTLD_GLOBAL) };
        if handle.is_null() { Err(last_error()) } else { Ok(handle) }
    }

    fn last_error() -> String {
        // SAFETY: dlerror gives a C string or null
        unsafe {
            let message = libc::dlerror();
            if message.is_null() {
                return "unknown error".to_string();
            }
            CStr::from_ptr(message).to_string_lossy().into_owned()
        }
    }

    /// # Safety
    /// `library` comes from `dlopen`.
    unsafe fn symbol(library: *mut c_void, name: &CStr) -> Result<*mut c_void, String> {
        // SAFETY: as promised by the caller
        let found = unsafe { libc::dlsym(library, name.as_ptr()) };
        if found.is_null() { Err(format!("no function {}", name.to_string_lossy())) } else { Ok(found) }
    }

    /// # Safety
    /// As `symbol`; the functions have the signatures of `Size` and `Text`.
    unsafe fn pair(library: *mut c_void, size: &CStr, text: &CStr) -> Result<(Size, Text), String> {
        // SAFETY: as promised by the caller
        unsafe {
            Ok((
                std::mem::transmute::<*mut c_void, Size>(symbol(library, size)?),
                std::mem::transmute::<*mut c_void, Text>(symbol(library, text)?),
            ))
        }
    }

    /// # Safety
    /// `program` is one of the library, and the functions belong together.
    unsafe fn bytes(program: Program, (size, get): (Size, Text)) -> Vec<u8> {
        let mut length = 0;
        // SAFETY: the buffer has the length that the library asks for
        unsafe {
            if size(program, &raw mut length) != 0 {
                return Vec::new();
            }
            let mut bytes = vec![0u8; length];
            if get(program, bytes.as_mut_ptr().cast()) != 0 {
                return Vec::new();
            }
            bytes
        }
    }

    fn text_of(bytes: &[u8]) -> String {
        String::from_utf8_lossy(bytes).trim_end_matches('\0').to_string()
    }
}

#[cfg(not(unix))]
mod library {
    use std::path::Path;

    #[derive(Debug)]
    pub(super) struct Library;

    pub(super) struct Output {
        pub(super) ptx: String,
        pub(super) cubin: Vec<u8>,
        pub(super) log: String,
    }

    impl Library {
        pub(super) fn load(_: &Path) -> Result<Self, String> {
            Err("it is loaded on Unix only".to_string())
        }

        pub(super) fn compile(&self, _: &str, _: &[String]) -> Result<Output, String> {
            Err("it is loaded on Unix only".to_string())
        }
    }
}
