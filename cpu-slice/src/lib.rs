//! How long the kernel lets a thread compute at a time, before another one that wants the same core has its turn.
//!
//! A thread that wakes up has to wait until the slice of the one that runs is over, for milliseconds, unless its own slices are
//! shorter: then it goes first (Linux 6.12 and later; before that, the slice is not heard of and nothing changes). So a thread
//! that has little to do, but has to do it in time, asks for short slices. It needs no privilege for that, and gets no more of
//! the core in all.
//!
//! A crate of its own, because these system calls have no safe wrapper, and the host forbids `unsafe`.
#![cfg(target_os = "linux")]

use std::io;
use std::time::Duration;

use libc::{SCHED_BATCH, SCHED_OTHER, SYS_sched_getattr, SYS_sched_setattr, sched_attr};

/// Has the kernel give this thread slices of that length; it takes what lies between 0.1 and 100 ms. A thread that is scheduled
/// in real time has no slices, and is left alone.
///
/// # Errors
/// When the system call is refused, as some sandboxes do.
pub fn set(slice: Duration) -> io::Result<()> {
    // With what else it is scheduled by, which would be reset otherwise.
    let mut attributes = attributes()?;
    if ![SCHED_OTHER as u32, SCHED_BATCH as u32].contains(&attributes.sched_policy) {
        return Ok(());
    }
    attributes.sched_runtime = u64::try_from(slice.as_nanos()).unwrap_or(u64::MAX);
    set_attributes(&attributes)
}

#[expect(unsafe_code, reason = "there is no safe wrapper")]
fn attributes() -> io::Result<sched_attr> {
    let mut attributes = sched_attr {
        size: SIZE,
        sched_policy: 0,
        sched_flags: 0,
        sched_nice: 0,
        sched_priority: 0,
        sched_runtime: 0,
        sched_deadline: 0,
        sched_period: 0,
    };
    // SAFETY: the kernel writes no more than `SIZE` bytes, which is what there is; 0 stands for this thread.
    let told = unsafe { libc::syscall(SYS_sched_getattr, 0, &raw mut attributes, SIZE, 0) };
    if told == 0 { Ok(attributes) } else { Err(io::Error::last_os_error()) }
}

#[expect(unsafe_code, reason = "there is no safe wrapper")]
fn set_attributes(attributes: &sched_attr) -> io::Result<()> {
    // SAFETY: the kernel reads `attributes.size` bytes, which is what there is; 0 stands for this thread.
    let told = unsafe { libc::syscall(SYS_sched_setattr, 0, &raw const *attributes, 0) };
    if told == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Bytes of what the kernel is told.
const SIZE: u32 = size_of::<sched_attr>() as u32;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn a_thread_has_the_slices_that_it_asked_for_and_else_what_it_had() {
        let before = attributes().unwrap();
        set(Duration::from_micros(200)).unwrap();
        let after = attributes().unwrap();
        assert_eq!((after.sched_policy, after.sched_nice), (before.sched_policy, before.sched_nice));
        // A kernel that knows of slices says how long they are, and one that does not says 0.
        let expected = if before.sched_runtime == 0 { 0 } else { 200_000 };
        assert_eq!(after.sched_runtime, expected);
        std::thread::spawn(|| set(Duration::ZERO).unwrap()).join().unwrap();
        assert_eq!(attributes().unwrap().sched_runtime, expected, "another thread has its own");
    }
}
