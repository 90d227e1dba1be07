//! How much memory the system lets this process have (cgroups(7)): a container's limit.

use std::fs;
use std::path::{Path, PathBuf};

/// Where control groups are mounted: version 2, and version 1's controller of memory.
const V2: &str = "/sys/fs/cgroup";
const V1: &str = "/sys/fs/cgroup/memory";

/// The least limit in bytes of this process's control group and those above it; none where there is none.
pub(crate) fn memory_max() -> Option<u64> {
    let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    least(files(&groups).iter().filter_map(|file| fs::read_to_string(file).ok()))
}

/// The files that may have a limit, by `/proc/self/cgroup`. Within a container the group's path is often that of the host,
/// which is not there, and the mount is the group itself: hence the groups up to the mount.
fn files(groups: &str) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for line in groups.lines() {
        let mut parts = line.splitn(3, ':');
        let (Some(_), Some(controllers), Some(group)) = (parts.next(), parts.next(), parts.next()) else { continue };
        let (mount, name) = match controllers {
            "" => (V2, "memory.max"),
            _ if controllers.split(',').any(|controller| controller == "memory") => (V1, "memory.limit_in_bytes"),
            _ => continue,
        };
        files.extend(
            Path::new(group.trim_start_matches('/')).ancestors().map(|group| Path::new(mount).join(group).join(name)),
        );
    }
    files
}

/// The least of the limits that are numbers; version 2 says `max` where there is none, and version 1 has a number beyond
/// any memory.
fn least(texts: impl Iterator<Item = String>) -> Option<u64> {
    texts.filter_map(|text| text.trim().parse().ok()).filter(|bytes| *bytes > 0).min()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(groups: &str) -> Vec<String> {
        files(groups).iter().map(|path| path.display().to_string()).collect()
    }

    #[test]
    fn a_group_and_those_above_it_may_have_a_limit() {
        assert_eq!(paths("0::/\n"), ["/sys/fs/cgroup/memory.max"]);
        assert_eq!(
            paths("0::/system.slice/ponte.service\n"),
            [
                "/sys/fs/cgroup/system.slice/ponte.service/memory.max",
                "/sys/fs/cgroup/system.slice/memory.max",
                "/sys/fs/cgroup/memory.max"
            ]
        );
        assert_eq!(
            paths("12:cpu,cpuacct:/a\n5:memory:/docker/1f\n1:name=systemd:/x\n"),
            [
                "/sys/fs/cgroup/memory/docker/1f/memory.limit_in_bytes",
                "/sys/fs/cgroup/memory/docker/memory.limit_in_bytes",
                "/sys/fs/cgroup/memory/memory.limit_in_bytes"
            ]
        );
        for nothing in ["", "x", "0:", "3:devices:/a"] {
            assert_eq!(paths(nothing), [""; 0], "{nothing}");
        }
    }

    #[test]
    fn the_least_limit_is_the_one() {
        let read = |texts: &[&str]| least(texts.iter().map(|text| (*text).to_owned()));
        assert_eq!(read(&["max\n", "536870912\n", "134217728\n"]), Some(128 << 20));
        assert_eq!(read(&["9223372036854771712\n"]), Some(9_223_372_036_854_771_712));
        for none in [&[][..], &["max\n"], &["0\n"], &["-1\n", "x"]] {
            assert_eq!(read(none), None, "{none:?}");
        }
    }
}
