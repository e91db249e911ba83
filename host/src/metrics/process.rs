//! What the system knows of this process, under the names that Prometheus' own libraries use. On systems without `/proc`
//! these families are left out.

use std::fs;

use super::{Kind, Text};

pub(super) fn render(text: &mut Text<'_>) {
    if let Some(open) = open_files() {
        text.family("process_open_fds", Kind::Gauge, "Open file descriptors.");
        text.count("", &[], open);
    }
    if let Some(limit) = file_limit() {
        text.family("process_max_fds", Kind::Gauge, "File descriptors that may be open.");
        text.count("", &[], limit);
    }
    if let Some(bytes) = resident_bytes() {
        text.family("process_resident_memory_bytes", Kind::Gauge, "Resident memory.");
        text.count("", &[], bytes);
    }
    if let Some(seconds) = cpu_seconds() {
        text.family("process_cpu_seconds_total", Kind::Counter, "CPU time, user and system.");
        text.sample("", &[], seconds);
    }
}

fn open_files() -> Option<u64> {
    // The folder that is being read is one of them.
    Some((fs::read_dir("/proc/self/fd").ok()?.count() as u64).saturating_sub(1))
}

fn file_limit() -> Option<u64> {
    let limits = fs::read_to_string("/proc/self/limits").ok()?;
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}

fn resident_bytes() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kilobytes * 1024)
}

fn cpu_seconds() -> Option<f64> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    // The program's name stands in parentheses and may hold anything; the fields after it are counted from state, the third.
    let (_, fields) = stat.rsplit_once(')')?;
    let mut times = fields.split_whitespace().skip(11).map(str::parse::<u64>);
    let ticks = times.next()?.ok()? + times.next()?.ok()?;
    Some(ticks as f64 / TICKS_PER_SECOND)
}

/// `USER_HZ` of the Linux ABI: 100 on every architecture that we build for.
const TICKS_PER_SECOND: f64 = 100.0;

#[cfg(all(test, target_os = "linux"))]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn the_system_is_understood() {
        assert!(open_files().unwrap() >= 3);
        assert!(file_limit().is_none_or(|limit| limit >= 3));
        assert!(resident_bytes().unwrap() > 1 << 20);
        assert!(cpu_seconds().unwrap() >= 0.0);
    }
}
