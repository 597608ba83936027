//! What the machine lets this program have: its free memory, the control groups that the program is in, and its own limits.

use std::fs;
use std::path::{Path, PathBuf};

/// Bytes that can still be taken, and what bounds them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    pub bytes: u64,
    /// What bounds them, as errors name it.
    pub bound: &'static str,
}

/// Where the system tells of memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Machine {
    root: PathBuf,
}

const SYSTEM: &str = "the machine's memory";
const GROUP: &str = "the memory of the control group (container)";
const SPACE: &str = "the limit of address space (ulimit -v)";
const DATA: &str = "the limit of data (ulimit -d)";

impl Machine {
    /// This one.
    pub fn here() -> Self {
        Self::at("/")
    }

    /// One whose `proc` and `sys` lie below another folder.
    pub fn at(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// What is left where it is least; nothing on systems that do not tell.
    pub fn room(&self) -> Option<Room> {
        let bounds = [(self.free(), SYSTEM), (self.group(), GROUP), (self.own("Max address space", "VmSize:"), SPACE)];
        let bounds = bounds.into_iter().chain([(self.own("Max data size", "VmData:"), DATA)]);
        bounds.filter_map(|(bytes, bound)| Some(Room { bytes: bytes?, bound })).min_by_key(|room| room.bytes)
    }

    fn read(&self, name: impl AsRef<Path>) -> Option<String> {
        fs::read_to_string(self.root.join(name)).ok()
    }

    fn free(&self) -> Option<u64> {
        kib(&self.read("proc/meminfo")?, "MemAvailable:")
    }

    /// What a limit of this process leaves of what it uses.
    fn own(&self, limit: &str, used: &str) -> Option<u64> {
        let most = limit_of(&self.read("proc/self/limits")?, limit)?;
        let used = kib(&self.read("proc/self/status")?, used)?;
        Some(most.saturating_sub(used))
    }

    /// What the control groups leave: that of the process and all above it.
    fn group(&self) -> Option<u64> {
        let groups = self.read("proc/self/cgroup")?;
        let (path, mount, names) = match unified(&groups) {
            Some(path) if self.root.join("sys/fs/cgroup/cgroup.controllers").exists() => (path, "sys/fs/cgroup", &V2),
            _ => (of_controller(&groups, "memory")?, "sys/fs/cgroup/memory", &V1),
        };
        let mount = self.root.join(mount);
        // a container often sees its own group as the mount's root, under a path that it cannot see
        let path = Path::new(path.trim_start_matches('/'));
        let below = path.ancestors().map(|path| mount.join(path)).filter(|folder| folder.starts_with(&mount));
        below.filter_map(|folder| left_in(&folder, names)).min()
    }
}

/// What the files of a control group are called.
struct Names {
    most: &'static [&'static str],
    used: &'static str,
    /// The line of `memory.stat` with what the kernel can take back.
    cache: &'static str,
}

const V2: Names = Names { most: &["memory.max", "memory.high"], used: "memory.current", cache: "inactive_file" };
const V1: Names =
    Names { most: &["memory.limit_in_bytes"], used: "memory.usage_in_bytes", cache: "total_inactive_file" };

/// What one control group leaves; nothing where it has no limit.
fn left_in(folder: &Path, names: &Names) -> Option<u64> {
    let number = |name: &str| fs::read_to_string(folder.join(name)).ok()?.trim().parse::<u64>().ok();
    // the older kind writes a number near 2^63 for no limit
    let most = names.most.iter().filter_map(|name| number(name)).min().filter(|most| *most < 1 << 60)?;
    let stat = fs::read_to_string(folder.join("memory.stat")).unwrap_or_default();
    let cache = stat.lines().find_map(|line| line.strip_prefix(names.cache)?.trim().parse::<u64>().ok());
    let used = number(names.used)?.saturating_sub(cache.unwrap_or(0));
    Some(most.saturating_sub(used))
}

/// The process's group in the unified hierarchy: `0::/path`.
fn unified(groups: &str) -> Option<&str> {
    groups.lines().find_map(|line| line.strip_prefix("0::"))
}

/// The process's group under a controller of the older kind: `4:cpu,memory:/path`.
fn of_controller<'a>(groups: &'a str, controller: &str) -> Option<&'a str> {
    groups.lines().find_map(|line| {
        let mut parts = line.splitn(3, ':').skip(1);
        let is_it = parts.next()?.split(',').any(|name| name == controller);
        parts.next().filter(|_| is_it)
    })
}

/// A line like `MemAvailable:   123 kB`, in bytes.
fn kib(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1 << 10)
}

/// The soft limit of a line like `Max address space   123   unlimited   bytes`.
fn limit_of(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine(files: &[(&str, &str)]) -> (tempfile::TempDir, Machine) {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let machine = Machine::at(folder.path());
        (folder, machine)
    }

    const MEMINFO: (&str, &str) =
        ("proc/meminfo", "MemTotal:       16000000 kB\nMemFree: 1 kB\nMemAvailable:    8000000 kB\n");

    #[test]
    fn the_smallest_bound_counts() {
        let limits = "Limit                     Soft Limit           Hard Limit           Units\n\
                      Max data size             unlimited            unlimited            bytes\n\
                      Max address space         4096000000           unlimited            bytes\n";
        let status = "Name:\tlonglens\nVmSize:\t 1000000 kB\nVmData:\t  500000 kB\n";
        let v2 = [
            ("proc/self/cgroup", "0::/user/longlens\n"),
            ("sys/fs/cgroup/cgroup.controllers", "cpu memory\n"),
            ("sys/fs/cgroup/user/longlens/memory.max", "max\n"),
            ("sys/fs/cgroup/user/longlens/memory.current", "1\n"),
            ("sys/fs/cgroup/user/memory.max", "2000000000\n"),
            ("sys/fs/cgroup/user/memory.current", "1500000000\n"),
            ("sys/fs/cgroup/user/memory.stat", "anon 3\ninactive_file 100000000\n"),
        ];
        let v1 = [
            ("proc/self/cgroup", "5:cpu,cpuacct:/x\n4:memory:/docker/abc\n"),
            // the container's own group is the root that it sees
            ("sys/fs/cgroup/memory/memory.limit_in_bytes", "1000000000\n"),
            ("sys/fs/cgroup/memory/memory.usage_in_bytes", "400000000\n"),
            ("sys/fs/cgroup/memory/memory.stat", "inactive_file 1\ntotal_inactive_file 50000000\n"),
        ];
        let own = [("proc/self/limits", limits), ("proc/self/status", status)];
        let free = Some(Room { bytes: 8_000_000 << 10, bound: SYSTEM });
        for (name, files, room) in [
            ("nothing is told", vec![], None),
            ("no limits", vec![MEMINFO], free),
            ("v2", [&[MEMINFO][..], &v2].concat(), Some(Room { bytes: 600_000_000, bound: GROUP })),
            ("v1", [&[MEMINFO][..], &v1].concat(), Some(Room { bytes: 650_000_000, bound: GROUP })),
            (
                "own",
                [&[MEMINFO][..], &own].concat(),
                Some(Room { bytes: 4_096_000_000 - (1_000_000 << 10), bound: SPACE }),
            ),
            ("own and v2", [&[MEMINFO][..], &own, &v2].concat(), Some(Room { bytes: 600_000_000, bound: GROUP })),
        ] {
            let (_folder, machine) = machine(&files);
            assert_eq!(machine.room(), room, "{name}");
        }
    }

    #[test]
    fn strange_files_are_no_bound() {
        for text in ["", "\n\n", "MemAvailable: many kB", "MemAvailable: 99999999999999999999 kB", "MemAvailable:"] {
            let (_folder, machine) =
                machine(&[("proc/meminfo", text), ("proc/self/cgroup", "0::/../..\n4:memory\n::\n")]);
            assert_eq!(machine.room(), None, "{text:?}");
        }
        let unlimited = [
            ("proc/self/cgroup", "4:memory:/\n"),
            ("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n"),
            ("sys/fs/cgroup/memory/memory.usage_in_bytes", "5\n"),
        ];
        assert_eq!(machine(&unlimited).1.room(), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn this_machine_has_room_for_this_test() {
        let room = Machine::here().room().expect("Linux tells of its memory");
        assert!((1 << 20..1 << 50).contains(&room.bytes), "{room:?}");
    }
}
