//! What the control group that the daemon lives in leaves of the machine's memory. A container or a
//! service has less than the machine, and is killed for what it takes beyond that.

use std::path::{Path, PathBuf};

/// Where the kernel shows control groups.
const ROOT: &str = "/sys/fs/cgroup";

/// The names of one version's files: the limit, what is used, and in the statistics what could be given
/// up at once.
struct Files {
    limit: &'static str,
    used: &'static str,
    inactive: &'static str,
}

const V2: Files = Files { limit: "memory.max", used: "memory.current", inactive: "inactive_file" };
const V1: Files =
    Files { limit: "memory.limit_in_bytes", used: "memory.usage_in_bytes", inactive: "total_inactive_file" };

/// Memory that the group and all above it still leave, in bytes; `None` where nothing is limited. Reads
/// only what the kernel makes up as it is read.
pub(super) fn free_bytes() -> Option<u64> {
    free_in(&std::fs::read_to_string("/proc/self/cgroup").ok()?, Path::new(ROOT))
}

fn free_in(groups: &str, root: &Path) -> Option<u64> {
    let (own, files) = groups.lines().find_map(|line| place(line, root))?;
    own.ancestors()
        .take_while(|group| group.starts_with(root))
        .filter_map(|group| free_of(group, &files))
        .min()
}

/// The directory of a group that limits memory, from its line in `/proc/PID/cgroup` (cgroups(7)).
fn place(line: &str, root: &Path) -> Option<(PathBuf, Files)> {
    let mut parts = line.splitn(3, ':');
    let (_, controllers, path) = (parts.next()?, parts.next()?, parts.next()?.trim_start_matches('/'));
    if controllers.is_empty() {
        return Some((root.join(path), V2));
    }
    let limits_memory = controllers.split(',').any(|controller| controller == "memory");
    limits_memory.then(|| (root.join("memory").join(path), V1))
}

/// What one group leaves; `None` where it has no limit or cannot be read.
fn free_of(group: &Path, files: &Files) -> Option<u64> {
    let number = |name: &str| std::fs::read_to_string(group.join(name)).ok()?.trim().parse::<u64>().ok();
    let (limit, used) = (number(files.limit)?, number(files.used)?);
    let stat = std::fs::read_to_string(group.join("memory.stat")).unwrap_or_default();
    let inactive =
        stat.lines().find_map(|line| line.strip_prefix(files.inactive)?.trim().parse::<u64>().ok());
    Some(limit.saturating_sub(used.saturating_sub(inactive.unwrap_or(0))))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(at: &Path, files: &[(&str, &str)]) {
        std::fs::create_dir_all(at).unwrap();
        for (name, text) in files {
            std::fs::write(at.join(name), text).unwrap();
        }
    }

    #[test]
    fn the_narrowest_group_decides() {
        let root = tempfile::tempdir().unwrap();
        let (outer, inner) = (root.path().join("a"), root.path().join("a/b"));
        let stat = "anon 5\ninactive_file 100\n";
        group(&outer, &[("memory.max", "1000\n"), ("memory.current", "900\n"), ("memory.stat", stat)]);
        group(&inner, &[("memory.max", "max\n"), ("memory.current", "800\n")]);
        assert_eq!(free_in("0::/a/b\n", root.path()), Some(200));
        group(&inner, &[("memory.max", "850\n")]);
        assert_eq!(free_in("0::/a/b\n", root.path()), Some(50));
        group(&inner, &[("memory.max", "700\n")]);
        assert_eq!(free_in("0::/a/b\n", root.path()), Some(0), "over its limit");
    }

    #[test]
    fn the_first_version_has_a_place_of_its_own_and_no_limit_is_none() {
        let root = tempfile::tempdir().unwrap();
        let own = root.path().join("memory/x");
        group(&own, &[("memory.limit_in_bytes", "300"), ("memory.usage_in_bytes", "100")]);
        assert_eq!(free_in("3:cpu:/x\n4:memory,hugetlb:/x\n", root.path()), Some(200));
        for groups in ["", "0::/", "3:cpu:/x", "nonsense", "0::/nowhere"] {
            assert_eq!(free_in(groups, root.path()), None, "{groups}");
        }
    }
}
