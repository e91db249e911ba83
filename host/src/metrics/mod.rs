//! What is counted, and how it is shown to Prometheus. Each worker has numbers of its own that it alone writes; they are
//! added up when somebody asks.

mod histogram;
mod process;
mod text;

pub use text::{Kind, Text};

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::reason::Reason;
use histogram::Histogram;

/// All numbers of this process.
#[derive(Debug)]
pub struct Metrics {
    workers: Mutex<Vec<Arc<WorkerMetrics>>>,
    /// Lines of the access log.
    pub access_log: Arc<LogCounts>,
    reloads_ok: AtomicU64,
    reloads_failed: AtomicU64,
    workers_lost: AtomicU64,
    started: SystemTime,
    /// The same, by a clock that nobody sets.
    began: Instant,
}

/// One worker's numbers. Only that worker writes them, so no read-modify-write instruction is needed, and no other worker's
/// numbers are in the same cache lines.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct WorkerMetrics {
    exchanges_started: Counter,
    exchanges: [Counter; CLASSES.len()],
    request_bytes: Counter,
    response_bytes: Counter,
    duration: Histogram,
    connections_opened: Counter,
    connections_closed: Counter,
    connections_refused: [Counter; REFUSALS.len()],
    retries: Counter,
    upstream_connections: Counter,
    failures: [Counter; Reason::COUNT],
}

/// Lines of a log.
#[derive(Debug, Default)]
pub struct LogCounts {
    /// Lines that were handed to the system.
    pub written: AtomicU64,
    /// Lines that were lost: the queue was full, or the system refused them.
    pub dropped: AtomicU64,
}

/// Lines of the log on stderr. Static, because what writes it is.
pub static LOG: LogCounts = LogCounts { written: AtomicU64::new(0), dropped: AtomicU64::new(0) };

/// What one worker, or all of them together, have counted so far.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Totals {
    /// Client connections accepted.
    pub connections: u64,
    /// Client connections open now.
    pub connections_open: u64,
    /// Exchanges that ended.
    pub exchanges: u64,
    /// Exchanges under way now.
    pub exchanges_in_flight: u64,
}

/// Status classes by their first digit; 0 is for exchanges whose client left before there was a status.
pub const CLASSES: [&str; 6] = ["none", "1xx", "2xx", "3xx", "4xx", "5xx"];

/// Why connections are refused; what is not listed is counted under the last.
const REFUSALS: [&str; 20] = [
    "connections",
    "connections_per_client",
    "new_connections_per_client",
    "handshakes",
    "tls_handshake",
    "handshake_timeout",
    "client_certificate",
    "proxy_protocol",
    "proxy_protocol_sender",
    "proxy_protocol_timeout",
    "proxy_protocol_closed",
    "plugin",
    "plugin_failed",
    "plugin_capacity",
    "plugin_quarantined",
    "tenant_memory",
    "accept",
    "flood",
    "memory",
    "other",
];

impl Metrics {
    /// Nothing counted yet; the process starts now.
    #[must_use]
    pub fn new() -> Self {
        Self {
            workers: Mutex::default(),
            access_log: Arc::default(),
            reloads_ok: AtomicU64::new(0),
            reloads_failed: AtomicU64::new(0),
            workers_lost: AtomicU64::new(0),
            started: SystemTime::now(),
            began: Instant::now(),
        }
    }

    /// Numbers for one more worker.
    #[must_use]
    pub fn worker(&self) -> Arc<WorkerMetrics> {
        let worker = Arc::new(WorkerMetrics::default());
        self.workers.lock().unwrap_or_else(PoisonError::into_inner).push(worker.clone());
        worker
    }

    /// A new configuration was taken (`ok`) or refused.
    pub fn reloaded(&self, ok: bool) {
        let counter = if ok { &self.reloads_ok } else { &self.reloads_failed };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// A worker has ended by a fault.
    pub fn worker_lost(&self) {
        self.workers_lost.fetch_add(1, Ordering::Relaxed);
    }

    /// How long ago the process started, whatever has become of the date since.
    #[must_use]
    pub fn uptime(&self) -> Duration {
        self.began.elapsed()
    }

    /// What each worker has counted, in the order in which they were made.
    #[must_use]
    pub fn by_worker(&self) -> Vec<Totals> {
        self.workers().iter().map(|worker| worker.totals()).collect()
    }

    /// Appends everything in Prometheus' text format.
    pub fn render(&self, out: &mut String) {
        let workers = self.workers();
        let mut text = Text::new(out);
        render_process(self, &mut text);
        render_connections(&workers, &mut text);
        render_exchanges(&workers, &mut text);
        render_logs(self, &mut text);
    }

    fn workers(&self) -> Vec<Arc<WorkerMetrics>> {
        self.workers.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl WorkerMetrics {
    /// A client's connection was accepted.
    pub fn connection_opened(&self) {
        self.connections_opened.add(1);
    }

    /// A client's connection is gone.
    pub fn connection_closed(&self) {
        self.connections_closed.add(1);
    }

    /// A client's connection was refused, or ended before its first request: `connections`, `connections_per_client`,
    /// `new_connections_per_client`, `handshakes`, `tls_handshake` (failed), `handshake_timeout`, `client_certificate` (none or not a good one),
    /// `proxy_protocol` (no good header) with `_sender` (not one of ours), `_timeout` and `_closed`, `plugin` (refused by
    /// `on-connect`) or the reason for which that failed, `accept` (the system refused),
    /// `flood` (of HTTP/2 frames), `memory` (the process has enough to do with what it has).
    pub fn connection_refused(&self, why: &'static str) {
        let place = REFUSALS.iter().position(|known| *known == why).unwrap_or(REFUSALS.len() - 1);
        self.connections_refused[place].add(1);
    }

    /// An exchange began.
    pub fn exchange_started(&self) {
        self.exchanges_started.add(1);
    }

    /// An exchange ended.
    pub fn exchange_finished(&self, status: u16, total: Duration, request_bytes: u64, response_bytes: u64) {
        let class = usize::from(status / 100);
        self.exchanges[if class < CLASSES.len() { class } else { 0 }].add(1);
        self.duration.observe(total);
        self.request_bytes.add(request_bytes);
        self.response_bytes.add(response_bytes);
    }

    /// Something failed; counted by reason.
    pub fn failure(&self, reason: Reason) {
        self.failures[reason as usize].add(1);
    }

    /// Another attempt was made for an exchange.
    pub fn retried(&self) {
        self.retries.add(1);
    }

    /// A connection to a backend was opened.
    pub fn upstream_connected(&self) {
        self.upstream_connections.add(1);
    }

    /// What has been counted so far.
    #[must_use]
    pub fn totals(&self) -> Totals {
        // What has ended is read before what has begun, so that nothing seems to end that never began.
        let closed = self.connections_closed.read();
        let connections = self.connections_opened.read();
        let exchanges = self.exchanges.iter().map(Counter::read).sum();
        let started = self.exchanges_started.read();
        Totals {
            connections,
            connections_open: connections.saturating_sub(closed),
            exchanges,
            exchanges_in_flight: started.saturating_sub(exchanges),
        }
    }
}

/// A number that one thread writes and others may read.
#[derive(Debug, Default)]
struct Counter(AtomicU64);

impl Counter {
    fn add(&self, by: u64) {
        // One writer, hence no need for an atomic addition. Release and Acquire cost nothing here on x86-64, and keep the
        // order that `totals` relies on.
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_add(by), Ordering::Release);
    }

    fn read(&self) -> u64 {
        self.0.load(Ordering::Acquire)
    }
}

type Workers = [Arc<WorkerMetrics>];

fn sum(workers: &Workers, counter: impl Fn(&WorkerMetrics) -> &Counter) -> u64 {
    workers.iter().map(|worker| counter(worker).read()).fold(0, u64::wrapping_add)
}

fn render_process(metrics: &Metrics, text: &mut Text<'_>) {
    text.family("lockgate_build_info", Kind::Gauge, "The version that runs; always 1.");
    text.sample("", &[("version", env!("CARGO_PKG_VERSION"))], 1.0);
    text.family("lockgate_workers", Kind::Gauge, "Threads that serve.");
    let lost = metrics.workers_lost.load(Ordering::Relaxed);
    text.count("", &[], (metrics.workers().len() as u64).saturating_sub(lost));
    text.family(
        "lockgate_workers_lost_total",
        Kind::Counter,
        "Threads that ended by a fault; others took their places.",
    );
    text.count("", &[], lost);
    text.family("lockgate_config_reloads_total", Kind::Counter, "Configurations taken or refused since the start.");
    for (result, counter) in [("ok", &metrics.reloads_ok), ("failed", &metrics.reloads_failed)] {
        text.count("", &[("result", result)], counter.load(Ordering::Relaxed));
    }
    let started = metrics.started.duration_since(UNIX_EPOCH).unwrap_or_default();
    text.family("process_start_time_seconds", Kind::Gauge, "When the process started, since the epoch.");
    text.sample("", &[], started.as_secs_f64());
    process::render(text);
}

fn render_connections(workers: &Workers, text: &mut Text<'_>) {
    let open = workers.iter().map(|worker| worker.totals().connections_open).sum();
    text.family("lockgate_connections_open", Kind::Gauge, "Client connections open now.");
    text.count("", &[], open);
    text.family("lockgate_connections_total", Kind::Counter, "Client connections accepted.");
    text.count("", &[], sum(workers, |worker| &worker.connections_opened));
    text.family("lockgate_connections_refused_total", Kind::Counter, "Client connections refused or given up, by why.");
    for (place, why) in REFUSALS.iter().enumerate() {
        text.count("", &[("why", why)], sum(workers, |worker| &worker.connections_refused[place]));
    }
    text.family("lockgate_upstream_connections_total", Kind::Counter, "Connections opened to backends.");
    text.count("", &[], sum(workers, |worker| &worker.upstream_connections));
}

fn render_exchanges(workers: &Workers, text: &mut Text<'_>) {
    let in_flight = workers.iter().map(|worker| worker.totals().exchanges_in_flight).sum();
    text.family("lockgate_exchanges_in_flight", Kind::Gauge, "Exchanges under way now.");
    text.count("", &[], in_flight);
    text.family("lockgate_exchanges_total", Kind::Counter, "Exchanges that ended, by class of the status sent.");
    for (place, class) in CLASSES.iter().enumerate() {
        text.count("", &[("class", class)], sum(workers, |worker| &worker.exchanges[place]));
    }
    text.family("lockgate_failures_total", Kind::Counter, "Failures by reason code.");
    for reason in Reason::ALL {
        let count = sum(workers, |worker| &worker.failures[reason as usize]);
        text.count("", &[("reason", reason.code())], count);
    }
    text.family("lockgate_retries_total", Kind::Counter, "Attempts after the first.");
    text.count("", &[], sum(workers, |worker| &worker.retries));
    text.family("lockgate_request_body_bytes_total", Kind::Counter, "Bytes of bodies read from clients.");
    text.count("", &[], sum(workers, |worker| &worker.request_bytes));
    text.family("lockgate_response_body_bytes_total", Kind::Counter, "Bytes of bodies handed to clients' connections.");
    text.count("", &[], sum(workers, |worker| &worker.response_bytes));
    histogram::render(
        text,
        "lockgate_exchange_duration_seconds",
        "From the end of a request's head to the end of its exchange.",
        workers.iter().map(|worker| &worker.duration),
    );
}

fn render_logs(metrics: &Metrics, text: &mut Text<'_>) {
    text.family("lockgate_log_lines_total", Kind::Counter, "Log lines handed to the system.");
    text.count("", &[("log", "access")], metrics.access_log.written.load(Ordering::Relaxed));
    text.count("", &[("log", "stderr")], LOG.written.load(Ordering::Relaxed));
    text.family(
        "lockgate_log_lines_dropped_total",
        Kind::Counter,
        "Log lines lost to a full queue or a failing system.",
    );
    text.count("", &[("log", "access")], metrics.access_log.dropped.load(Ordering::Relaxed));
    text.count("", &[("log", "stderr")], LOG.dropped.load(Ordering::Relaxed));
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

    use super::*;

    fn line<'a>(text: &'a str, begin: &str) -> &'a str {
        text.lines().find(|line| line.starts_with(begin)).unwrap_or_else(|| panic!("no {begin} in {text}"))
    }

    fn rendered(metrics: &Metrics) -> String {
        let mut text = String::new();
        metrics.render(&mut text);
        text
    }

    #[test]
    fn workers_are_added_up() {
        let metrics = Metrics::new();
        let (one, two) = (metrics.worker(), metrics.worker());
        for worker in [&one, &two] {
            worker.connection_opened();
            worker.exchange_started();
            worker.exchange_finished(204, Duration::from_micros(70), 3, 5);
        }
        two.exchange_started();
        two.connection_closed();
        let text = rendered(&metrics);
        assert_eq!(line(&text, "lockgate_connections_total"), "lockgate_connections_total 2");
        assert_eq!(line(&text, "lockgate_connections_open"), "lockgate_connections_open 1");
        assert_eq!(line(&text, "lockgate_exchanges_in_flight"), "lockgate_exchanges_in_flight 1");
        assert_eq!(line(&text, "lockgate_exchanges_total{class=\"2xx\"}"), "lockgate_exchanges_total{class=\"2xx\"} 2");
        assert_eq!(line(&text, "lockgate_request_body_bytes_total"), "lockgate_request_body_bytes_total 6");
        assert_eq!(line(&text, "lockgate_response_body_bytes_total"), "lockgate_response_body_bytes_total 10");
        assert_eq!(line(&text, "lockgate_workers"), "lockgate_workers 2");
        assert_eq!(metrics.by_worker()[1].exchanges_in_flight, 1);
    }

    #[test]
    fn every_reason_has_a_counter_of_its_own() {
        let metrics = Metrics::new();
        let worker = metrics.worker();
        for (times, reason) in Reason::ALL.into_iter().enumerate() {
            (0..=times).for_each(|_| worker.failure(reason));
        }
        let text = rendered(&metrics);
        for (times, reason) in Reason::ALL.into_iter().enumerate() {
            let begin = format!("lockgate_failures_total{{reason=\"{}\"}}", reason.code());
            assert_eq!(line(&text, &begin), format!("{begin} {}", times + 1));
        }
    }

    #[test]
    fn odd_statuses_and_refusals_are_counted_somewhere() {
        let metrics = Metrics::new();
        let worker = metrics.worker();
        for status in [0, 99, 600, 999, u16::MAX] {
            worker.exchange_finished(status, Duration::MAX, u64::MAX, 0);
        }
        worker.connection_refused("handshakes");
        worker.connection_refused("something new");
        let text = rendered(&metrics);
        assert!(line(&text, "lockgate_exchanges_total{class=\"none\"}").ends_with(" 5"));
        assert!(line(&text, "lockgate_connections_refused_total{why=\"handshakes\"}").ends_with(" 1"));
        assert!(line(&text, "lockgate_connections_refused_total{why=\"other\"}").ends_with(" 1"));
    }

    #[test]
    fn every_family_is_announced_once_and_every_sample_belongs_to_one() {
        let metrics = Metrics::new();
        metrics.worker().exchange_finished(200, Duration::from_millis(3), 0, 0);
        metrics.reloaded(true);
        metrics.reloaded(false);
        let text = rendered(&metrics);
        let mut families = std::collections::BTreeMap::new();
        let mut current = "";
        for line in text.lines() {
            let mut words = line.split(' ');
            match (words.next(), words.next()) {
                (Some("#"), Some("HELP")) => current = words.next().unwrap(),
                (Some("#"), Some("TYPE")) => {
                    assert_eq!(words.next(), Some(current));
                    let kind = words.next().unwrap();
                    assert_eq!(current.ends_with("_total"), kind == "counter", "{line}");
                    assert!(families.insert(current, kind).is_none(), "{current} twice");
                }
                (Some(sample), Some(value)) => {
                    assert!(sample.starts_with(current), "{line} under {current}");
                    assert!(value.parse::<f64>().is_ok(), "{line}");
                }
                _ => panic!("{line:?}"),
            }
        }
        for family in ["process_open_fds", "process_resident_memory_bytes", "lockgate_build_info"] {
            assert!(families.contains_key(family), "{family}");
        }
        assert!(line(&text, "lockgate_config_reloads_total{result=\"failed\"}").ends_with(" 1"));
    }

    /// Generous, because tests run unoptimised and beside others; it is there to catch a lock or a loop.
    #[test]
    fn counting_is_cheap() {
        let metrics = Metrics::new();
        let worker = metrics.worker();
        let batch = || {
            let begin = std::time::Instant::now();
            for number in 0..10_000 {
                worker.exchange_started();
                worker.exchange_finished(200, Duration::from_nanos(number * 1000), 10, 20);
            }
            begin.elapsed()
        };
        let best = (0..10).map(|_| batch()).min().unwrap();
        assert!(best < Duration::from_millis(50), "{best:?} for 10000 exchanges");
        assert_eq!(worker.totals().exchanges, 100_000);
    }
}
