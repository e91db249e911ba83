//! No alarms: the system has no timers that a thread can wait for as for a file. The clock of all does for every thread.

use std::sync::Arc;
use std::time::Duration;

use super::Clock;

pub(super) fn keep(_: &Arc<Clock>) {}

pub(super) fn called(_: &Clock) -> bool {
    false
}

pub(super) fn resumed(_: &Clock, _: bool) -> bool {
    false
}

pub(super) fn found_at_work(_: &Clock) -> Option<Duration> {
    None
}
