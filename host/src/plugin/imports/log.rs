//! `lockgate:plugin/log`

use std::fmt::{self, Write};
use std::sync::atomic::Ordering;

use wasmtime::component::{ComponentType, Lift};

use super::super::direct::Text;
use super::super::host::{Host, Misuse};
use super::{Cx, LinkerInstance};
use crate::exchange::Logged;

/// `log.level`
#[derive(Debug, Clone, Copy, ComponentType, Lift)]
#[component(enum)]
#[repr(u8)]
pub(in super::super) enum Level {
    #[component(name = "error")]
    Error,
    #[component(name = "warn")]
    Warn,
    #[component(name = "info")]
    Info,
    #[component(name = "debug")]
    Debug,
}

impl Level {
    /// As a core module gives it.
    pub(in super::super) fn of(case: u32) -> Result<Self, Misuse> {
        [Self::Error, Self::Warn, Self::Info, Self::Debug]
            .get(case as usize)
            .copied()
            .ok_or_else(|| Misuse::Bound(format!("log.level has no case {case}")))
    }

    fn enabled(self) -> bool {
        match self {
            Self::Error => tracing::enabled!(target: TARGET, tracing::Level::ERROR),
            Self::Warn => tracing::enabled!(target: TARGET, tracing::Level::WARN),
            Self::Info => tracing::enabled!(target: TARGET, tracing::Level::INFO),
            Self::Debug => tracing::enabled!(target: TARGET, tracing::Level::DEBUG),
        }
    }
}

pub(super) fn link(log: &mut LinkerInstance<'_, Host>) -> wasmtime::Result<()> {
    log.func_wrap("enabled", |_: Cx<'_>, (level,): (Level,)| Ok((level.enabled(),)))?;
    log.func_wrap("log", |mut cx: Cx<'_>, (level, message): (Level, Text)| {
        if level.enabled() {
            write(&mut cx, level, &message)?;
        }
        Ok(())
    })
}

fn write(cx: &mut Cx<'_>, level: Level, message: &Text) -> wasmtime::Result<()> {
    let most = cx.data().core.limits.log;
    if !room(&logged(cx), 0, most) {
        cx.data().core.stats.log_lines_dropped.fetch_add(1, Ordering::Relaxed);
        return Ok(());
    }
    let (line, length) = {
        let message = message.to_str(&*cx)?;
        let length = u32::try_from(message.len()).unwrap_or(u32::MAX);
        if room(&logged(cx), length, most) { (Some(message.into_owned()), length) } else { (None, length) }
    };
    let host = cx.data_mut();
    let Some(line) = line else {
        host.core.stats.log_lines_dropped.fetch_add(1, Ordering::Relaxed);
        return Ok(());
    };
    let logged = host.exchange.as_deref_mut().map_or(&mut host.logged, |exchange| &mut exchange.logged);
    logged.lines += 1;
    logged.bytes += length;
    emit(host, level, &line);
    Ok(())
}

/// A line that did not come through this interface, within the same bounds.
pub(in super::super) fn line(host: &mut Host, level: Level, line: &str) {
    if !level.enabled() {
        return;
    }
    let (most, length) = (host.core.limits.log, u32::try_from(line.len()).unwrap_or(u32::MAX));
    let logged = host.exchange.as_deref_mut().map_or(&mut host.logged, |exchange| &mut exchange.logged);
    if !room(logged, length, most) {
        host.core.stats.log_lines_dropped.fetch_add(1, Ordering::Relaxed);
        return;
    }
    logged.lines += 1;
    logged.bytes += length;
    emit(host, level, line);
}

fn emit(host: &Host, level: Level, line: &str) {
    let plugin = &*host.core.name;
    let tenant = host.core.tenant_name();
    let line = Escaped(line);
    let request_id = host.exchange.as_deref().map(|exchange| exchange.request_id.as_str());
    match level {
        Level::Error => tracing::error!(target: TARGET, tenant, plugin, request_id, "{line}"),
        Level::Warn => tracing::warn!(target: TARGET, tenant, plugin, request_id, "{line}"),
        Level::Info => tracing::info!(target: TARGET, tenant, plugin, request_id, "{line}"),
        Level::Debug => tracing::debug!(target: TARGET, tenant, plugin, request_id, "{line}"),
    }
}

fn logged(cx: &Cx<'_>) -> Logged {
    let host = cx.data();
    host.exchange.as_deref().map_or(host.logged, |exchange| exchange.logged)
}

fn room(logged: &Logged, length: u32, most: u32) -> bool {
    logged.lines < MOST_LINES && logged.bytes.saturating_add(length) <= most
}

/// A guest's text, in which nothing can pass for another line or command a terminal.
struct Escaped<'a>(&'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.0;
        while let Some(place) = rest.find(char::is_control) {
            let (clean, dirty) = rest.split_at(place);
            f.write_str(clean)?;
            let mut letters = dirty.chars();
            for escape in letters.next().into_iter().flat_map(char::escape_default) {
                f.write_char(escape)?;
            }
            rest = letters.as_str();
        }
        f.write_str(rest)
    }
}

/// Lines in one exchange.
const MOST_LINES: u32 = 64;

/// What filters of the log can name.
const TARGET: &str = "lockgate::plugin";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_stays_one_line() {
        assert_eq!(Escaped("a\r\nb\u{1b}[31m\u{85}\u{e4}").to_string(), "a\\r\\nb\\u{1b}[31m\\u{85}\u{e4}");
    }
}
