//! How much memory this process has, and how much it may have before the kernel ends it. Only what `/proc` and the control
//! groups of Linux tell; elsewhere nothing is known, and nothing is refused.

use std::fs;
use std::path::{Path, PathBuf};

/// Bytes of memory that the process has now.
#[must_use]
pub fn resident() -> Option<u64> {
    let statm = fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = statm.split(' ').nth(1)?.parse().ok()?;
    Some(pages * PAGE)
}

/// Bytes that it may have if nobody says otherwise: nearly all that the machine has, or its control group.
#[must_use]
pub fn allowed() -> u64 {
    let all = [machine(), group(Path::new("/sys/fs/cgroup"), "/proc/self/cgroup")];
    all.into_iter().flatten().min().map_or(u64::MAX, |bytes| bytes / 100 * SHARE)
}

fn machine() -> Option<u64> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1024)
}

/// The least that this process's control group, or one around it, allows. In a container the group's own path may not be
/// visible, and its limit is found at the root.
fn group(root: &Path, membership: &str) -> Option<u64> {
    let text = fs::read_to_string(membership).ok()?;
    let mut least = None;
    for line in text.lines() {
        let mut parts = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (parts.next(), parts.next()) else { continue };
        let (top, file) = match controllers {
            "" => (root.to_owned(), "memory.max"),
            "memory" => (root.join("memory"), "memory.limit_in_bytes"),
            _ => continue,
        };
        let mut folder: PathBuf = top.join(path.trim_start_matches('/'));
        loop {
            let limit = fs::read_to_string(folder.join(file)).ok();
            let limit = limit.and_then(|text| text.trim().parse::<u64>().ok());
            least = least.into_iter().chain(limit).min();
            if folder == top || !folder.pop() {
                break;
            }
        }
    }
    least
}

/// Of each page, on every architecture that we build for.
const PAGE: u64 = 4096;
/// Percentage of the memory that there is; the rest is for the kernel's own, like sockets' buffers.
const SHARE: u64 = 90;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn the_system_tells() {
        assert!(resident().unwrap() > 1 << 20);
        assert!(allowed() > 1 << 20);
    }

    #[test]
    fn the_least_of_the_groups_around_counts() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        fs::create_dir_all(path("a/b")).unwrap();
        for (file, limit) in [("memory.max", "max\n"), ("a/memory.max", "3000\n"), ("a/b/memory.max", "5000\n")] {
            fs::write(path(file), limit).unwrap();
        }
        fs::write(path("membership"), "0::/a/b\n").unwrap();
        assert_eq!(group(folder.path(), path("membership").to_str().unwrap()), Some(3000));
        fs::create_dir_all(path("memory/c")).unwrap();
        fs::write(path("memory/c/memory.limit_in_bytes"), "2000\n").unwrap();
        fs::write(path("membership"), "5:cpu:/x\n4:memory:/c\n0::/a\n").unwrap();
        assert_eq!(group(folder.path(), path("membership").to_str().unwrap()), Some(2000));
        fs::write(path("membership"), "0::/gone/from/here\n").unwrap();
        assert_eq!(group(folder.path(), path("membership").to_str().unwrap()), None);
    }
}
