//! `[limits]` and `[timeouts]`.

use std::time::Duration;

use super::reader::Table;
use super::{Limits, Timeouts};

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 16_384,
            connections_per_client: 1024,
            new_connections_per_client: 20_000,
            handshakes: 1024,
            header_count: 100,
            header_size: 32 << 10,
            uri_length: 8 << 10,
            body: 1 << 30,
            streams: 100,
            exchanges_per_connection: 10_000,
            memory: None,
        }
    }
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            tls_handshake: Duration::from_secs(10),
            header: Duration::from_secs(10),
            body_idle: Duration::from_secs(30),
            keepalive: Duration::from_secs(60),
            tunnel_idle: Duration::from_secs(600),
        }
    }
}

pub(super) fn read_limits(mut table: Table<'_, '_>) -> Limits {
    let mut limits = Limits::default();
    table.set("connections", &mut limits.connections, |value| value.integer(1..=10_000_000));
    table.set("connections_per_client", &mut limits.connections_per_client, |value| value.integer(1..=10_000_000));
    let often = &mut limits.new_connections_per_client;
    table.set("new_connections_per_client", often, |value| value.integer(1..=10_000_000));
    table.set("handshakes", &mut limits.handshakes, |value| value.integer(1..=1_000_000));
    table.set("header_count", &mut limits.header_count, |value| value.integer(1..=10_000));
    table.set("header_size", &mut limits.header_size, |value| value.bytes(1 << 10..=16 << 20));
    table.set("uri_length", &mut limits.uri_length, |value| value.bytes(64..=64 << 10));
    table.set("body", &mut limits.body, |value| value.size_or_unlimited());
    table.set("streams", &mut limits.streams, |value| value.integer(1..=100_000));
    table.set("exchanges_per_connection", &mut limits.exchanges_per_connection, |value| value.integer(0..=u64::MAX));
    table.set("memory", &mut limits.memory, |value| value.memory());
    table.finish();
    limits
}

pub(super) fn read_timeouts(mut table: Table<'_, '_>) -> Timeouts {
    let mut timeouts = Timeouts::default();
    table.set("tls_handshake", &mut timeouts.tls_handshake, |value| value.duration(MOMENT..=HOUR));
    table.set("header", &mut timeouts.header, |value| value.duration(MOMENT..=HOUR));
    table.set("body_idle", &mut timeouts.body_idle, |value| value.duration(MOMENT..=DAY));
    table.set("keepalive", &mut timeouts.keepalive, |value| value.duration(MOMENT..=DAY));
    table.set("tunnel_idle", &mut timeouts.tunnel_idle, |value| value.duration(MOMENT..=DAY * 7));
    table.finish();
    timeouts
}

/// The shortest time that may be set: timers are no finer, and none may be zero by mistake.
pub(super) const MOMENT: Duration = Duration::from_millis(1);
pub(super) const HOUR: Duration = Duration::from_secs(3600);
pub(super) const DAY: Duration = Duration::from_secs(24 * 3600);
