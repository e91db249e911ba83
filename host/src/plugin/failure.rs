//! What a failing plugin leaves behind: a count, a line in the log, and the end of its exchange or not.

use std::sync::{Mutex, PoisonError};

use super::Failure;
use super::clock::now_nanos;
use super::core::Core;
use super::instance::Fault;
use super::quarantine::Pass;
use super::stats::Cause;
use crate::config::OnFailure;
use crate::reason::Reason;

/// Counts and logs a failure. None if the exchange is to go on without the plugin.
pub(super) fn failed(core: &Core, pass: Pass, fault: &Fault, request_id: Option<&str>) -> Option<Failure> {
    core.stats.failure(fault.hook, fault.cause);
    let reason = match fault.cause {
        Cause::Capacity => Reason::PluginCapacity,
        Cause::Quarantined => Reason::PluginQuarantined,
        Cause::Quota => Reason::TenantMemory,
        Cause::Trap | Cause::Cpu | Cause::Wall | Cause::Memory | Cause::Table | Cause::HostCalls | Cause::BadAnswer => {
            Reason::PluginFailed
        }
    };
    log(core, fault, request_id);
    // That too many exchanges want it, or that it is set aside already, is not the plugin's doing.
    if reason == Reason::PluginFailed
        && let Some(back_off) = core.quarantine.failed(pass, || core.stats.attempts())
    {
        let (tenant, plugin) = (core.tenant_name(), &*core.name);
        tracing::warn!(target: "lockgate::plugin", tenant, plugin, ?back_off, "the plugin keeps failing and is set aside");
    }
    match core.on_failure {
        OnFailure::Deny => Some(Failure { reason }),
        OnFailure::Skip => None,
    }
}

/// Counts and logs that what a plugin knew is lost to its successor, which starts without.
#[cold]
pub(super) fn state_lost(core: &Core, fault: &Fault) {
    core.stats.failure(fault.hook, fault.cause);
    let Some(_) = core.log_limit.line() else { return };
    let (tenant, plugin) = (core.tenant_name(), &*core.name);
    let (hook, cause, detail) = (fault.hook.name(), fault.cause.name(), fault.detail.escape_debug());
    tracing::warn!(target: "lockgate::plugin", tenant, plugin, hook, cause, "the plugin's state is lost: {detail}");
}

/// Counts and logs that a tick failed.
#[cold]
pub(super) fn tick_failed(core: &Core, fault: &Fault) {
    core.stats.failure(fault.hook, fault.cause);
    log(core, fault, None);
}

fn log(core: &Core, fault: &Fault, request_id: Option<&str>) {
    let Some(suppressed) = core.log_limit.line() else { return };
    let (tenant, plugin) = (core.tenant_name(), &*core.name);
    let hook = fault.hook.name();
    let cause = fault.cause.name();
    let detail = fault.detail.escape_debug();
    if suppressed > 0 {
        tracing::warn!(target: "lockgate::plugin", tenant, plugin, hook, cause, request_id, suppressed, "plugin failed: {detail}");
    } else {
        tracing::warn!(target: "lockgate::plugin", tenant, plugin, hook, cause, request_id, "plugin failed: {detail}");
    }
}

/// So many lines a second about one use: a storm of traps must not become a storm of lines.
#[derive(Debug, Default)]
pub(super) struct LogLimit {
    state: Mutex<Second>,
}

#[derive(Debug, Default)]
struct Second {
    began: u64,
    lines: u32,
    suppressed: u64,
}

impl LogLimit {
    /// Whether a line may be written now: if so, how many were left out before it.
    pub(super) fn line(&self) -> Option<u64> {
        let mut second = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let now = now_nanos();
        if second.began == 0 || now.saturating_sub(second.began) >= 1_000_000_000 {
            second.began = now;
            second.lines = 0;
        }
        if second.lines >= LINES_A_SECOND {
            second.suppressed += 1;
            return None;
        }
        second.lines += 1;
        Some(std::mem::take(&mut second.suppressed))
    }
}

const LINES_A_SECOND: u32 = 10;
