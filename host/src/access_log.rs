//! One line for each exchange, written by a thread of its own: a worker never waits for a disk.
//!
//! A line for people begins as the common log format does, with the status and the bytes of the response's body, and goes
//! on with `name=value`:
//!
//! ```text
//! 192.0.2.7 - - [22/Nov/2026:16:12:18 +0000] "GET /cart?id=7 HTTP/1.1" 200 512 host=shop.example.com in=0 first=1.204ms total=1.351ms route=shop backend=http://10.0.0.1:8080 attempts=1 id=9f86d081884c7d65 reason=-
//! ```
//!
//! A tenant's exchanges have `tenant=NAME` after the route, and those of a client who has shown a certificate
//! `certificate=SUBJECT` after the request's id. Notes of plugins follow as `note.KEY=VALUE`. What is not
//! printable ASCII is written as `\xNN`.
//!
//! As JSON it is one object a line: `time` (RFC 3339), `client`, `method`, `host`, `target`, `version`, `status`,
//! `request_bytes`, `response_bytes`, `first_byte_ms`, `total_ms`, `route`, `tenant`, `backend`, `attempts`, `request_id`,
//! `certificate`, `reason` and `notes`; what is not known is `null`.

use std::io::{self, Write as _};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, SystemTime};

use crate::config::{AccessLog as Destination, Log, LogFormat};
use crate::log::{Counts, Date, Output, Settings, Spool, Trouble, escape};
use crate::metrics::LogCounts;
use crate::reason::Reason;

/// The way to the access log. Cheap to clone. The default one goes nowhere.
#[derive(Debug, Clone, Default)]
pub struct AccessLog {
    writer: Option<Arc<Writer>>,
}

/// What one line says.
#[derive(Debug)]
pub struct Entry<'a> {
    /// The client's address.
    pub client: IpAddr,
    /// As sent.
    pub method: &'a http::Method,
    /// The request's authority, `-` if it had none.
    pub host: &'a str,
    /// Path and query as the client sent them.
    pub target: &'a str,
    /// Of the client's connection.
    pub version: http::Version,
    /// What the client was sent; 0 if nothing.
    pub status: u16,
    /// Bytes of the bodies.
    pub request_bytes: u64,
    /// Bytes of the bodies.
    pub response_bytes: u64,
    /// To the response's head.
    pub first_byte: Duration,
    /// To the end.
    pub total: Duration,
    /// The route's name, `-` if none.
    pub route: &'a str,
    /// Whose route it is; none for the operator's.
    pub tenant: Option<&'a str>,
    /// The backend that answered, or was asked last.
    pub backend: Option<&'a str>,
    /// Backends asked.
    pub attempts: u32,
    /// The value of `x-request-id`.
    pub request_id: &'a str,
    /// Whom the certificate is for that the client has shown: `CN=shop, O=Example`.
    pub certificate: Option<&'a str>,
    /// Why it failed, if it did.
    pub reason: Option<Reason>,
    /// What plugins noted.
    pub notes: &'a [(String, String)],
}

/// An access log that cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The file cannot be written to.
    #[error("cannot open the access log {}: {cause}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        cause: io::Error,
    },
    /// There is no standard output to write to, or no thread to write with.
    #[error("cannot start the access log: {0}")]
    System(#[from] io::Error),
}

#[derive(Debug)]
struct Writer {
    spool: Spool,
    /// `OFF`, `TEXT` or `JSON`.
    form: AtomicU8,
}

impl AccessLog {
    /// Opens it as `[log]` says; `folder` is what a relative path is relative to.
    ///
    /// # Errors
    /// When the file cannot be opened or the system refuses a thread.
    pub fn open(settings: &Log, folder: &Path, counts: Arc<LogCounts>) -> Result<Self, OpenError> {
        let output = output(&settings.access, folder)?;
        let spool = Spool::start(
            output,
            Settings { name: "access-log", delay: DELAY, counts: Counts::Shared(counts), report },
        )?;
        Ok(Self { writer: Some(Arc::new(Writer { spool, form: AtomicU8::new(form(settings)) })) })
    }

    /// Takes up new settings; a file is opened anew even if they are the old ones, so that a log that was moved away is
    /// let go of. If that fails the old ones stay.
    ///
    /// # Errors
    /// When the file cannot be opened.
    pub fn reopen(&self, settings: &Log, folder: &Path) -> Result<(), OpenError> {
        if let Some(writer) = &self.writer {
            writer.spool.redirect(output(&settings.access, folder)?);
            writer.form.store(form(settings), Ordering::Relaxed);
        }
        Ok(())
    }

    /// Whether lines go anywhere; ask before building an entry.
    #[must_use]
    pub fn enabled(&self) -> bool {
        self.form() != OFF
    }

    /// Queues one line; drops and counts it if the queue is full.
    pub fn write(&self, entry: &Entry<'_>) {
        let Some(writer) = &self.writer else { return };
        let now = SystemTime::now();
        match self.form() {
            TEXT => writer.spool.line(|out| text(out, entry, now)),
            JSON => writer.spool.line(|out| json(out, entry, now)),
            _ => {}
        }
    }

    /// Writes what is queued, but waits for that no longer than `limit`. Says whether all is written; lines that come later
    /// are dropped.
    pub fn close(&self, limit: Duration) -> bool {
        self.writer.as_ref().is_none_or(|writer| writer.spool.close(limit))
    }

    fn form(&self) -> u8 {
        self.writer.as_ref().map_or(OFF, |writer| writer.form.load(Ordering::Relaxed))
    }
}

fn output(destination: &Destination, folder: &Path) -> Result<Output, OpenError> {
    match destination {
        Destination::Off => Ok(Output::nowhere()),
        Destination::Stdout => Ok(Output::stdout()?),
        Destination::File(path) => {
            let path = folder.join(path);
            Output::append(&path).map_err(|cause| OpenError::File { path, cause })
        }
    }
}

fn form(settings: &Log) -> u8 {
    match (&settings.access, settings.format) {
        (Destination::Off, _) => OFF,
        (Destination::Stdout | Destination::File(_), LogFormat::Text) => TEXT,
        (Destination::Stdout | Destination::File(_), LogFormat::Json) => JSON,
    }
}

fn report(trouble: Trouble<'_>) {
    match trouble {
        Trouble::Began(error) => tracing::error!("the access log cannot be written and loses lines: {error}"),
        Trouble::Ended => tracing::info!("the access log is written again"),
    }
}

fn text(out: &mut Vec<u8>, entry: &Entry<'_>, now: SystemTime) {
    address(out, entry.client);
    out.extend_from_slice(b" - - [");
    DATE.with_borrow_mut(|date| date.combined(out, now));
    out.extend_from_slice(b"] \"");
    escape::text(out, entry.method.as_str().as_bytes());
    out.push(b' ');
    escape::text(out, entry.target.as_bytes());
    out.push(b' ');
    out.extend_from_slice(version(entry.version).as_bytes());
    out.extend_from_slice(b"\" ");
    escape::padded(out, entry.status.into(), 3);
    out.push(b' ');
    escape::number(out, entry.response_bytes);
    out.extend_from_slice(b" host=");
    escape::word(out, entry.host.as_bytes());
    out.extend_from_slice(b" in=");
    escape::number(out, entry.request_bytes);
    out.extend_from_slice(b" first=");
    millis(out, entry.first_byte);
    out.extend_from_slice(b"ms total=");
    millis(out, entry.total);
    out.extend_from_slice(b"ms route=");
    escape::word(out, entry.route.as_bytes());
    if let Some(tenant) = entry.tenant {
        out.extend_from_slice(b" tenant=");
        escape::word(out, tenant.as_bytes());
    }
    out.extend_from_slice(b" backend=");
    escape::word(out, entry.backend.unwrap_or("-").as_bytes());
    out.extend_from_slice(b" attempts=");
    escape::number(out, entry.attempts.into());
    out.extend_from_slice(b" id=");
    escape::word(out, entry.request_id.as_bytes());
    if let Some(certificate) = entry.certificate {
        out.extend_from_slice(b" certificate=");
        escape::word(out, certificate.as_bytes());
    }
    out.extend_from_slice(b" reason=");
    out.extend_from_slice(entry.reason.map_or("-", Reason::code).as_bytes());
    for (key, value) in entry.notes {
        // A key may hold anything; as part of a word of its own it could pass for another field.
        out.extend_from_slice(b" note.");
        escape::word(out, key.as_bytes());
        out.push(b'=');
        escape::word(out, value.as_bytes());
    }
    out.push(b'\n');
}

fn json(out: &mut Vec<u8>, entry: &Entry<'_>, now: SystemTime) {
    out.extend_from_slice(b"{\"time\":\"");
    DATE.with_borrow_mut(|date| date.iso(out, now));
    out.extend_from_slice(b"\",\"client\":\"");
    address(out, entry.client);
    out.extend_from_slice(b"\",\"method\":");
    escape::json(out, entry.method.as_str());
    out.extend_from_slice(b",\"host\":");
    escape::json(out, entry.host);
    out.extend_from_slice(b",\"target\":");
    escape::json(out, entry.target);
    out.extend_from_slice(b",\"version\":\"");
    out.extend_from_slice(version(entry.version).as_bytes());
    out.extend_from_slice(b"\",\"status\":");
    escape::number(out, entry.status.into());
    out.extend_from_slice(b",\"request_bytes\":");
    escape::number(out, entry.request_bytes);
    out.extend_from_slice(b",\"response_bytes\":");
    escape::number(out, entry.response_bytes);
    out.extend_from_slice(b",\"first_byte_ms\":");
    millis(out, entry.first_byte);
    out.extend_from_slice(b",\"total_ms\":");
    millis(out, entry.total);
    out.extend_from_slice(b",\"route\":");
    known(out, Some(entry.route).filter(|route| *route != "-"));
    out.extend_from_slice(b",\"tenant\":");
    known(out, entry.tenant);
    out.extend_from_slice(b",\"backend\":");
    known(out, entry.backend);
    out.extend_from_slice(b",\"attempts\":");
    escape::number(out, entry.attempts.into());
    out.extend_from_slice(b",\"request_id\":");
    escape::json(out, entry.request_id);
    out.extend_from_slice(b",\"certificate\":");
    known(out, entry.certificate);
    out.extend_from_slice(b",\"reason\":");
    known(out, entry.reason.map(Reason::code));
    out.extend_from_slice(b",\"notes\":{");
    for (place, (key, value)) in entry.notes.iter().enumerate() {
        if place > 0 {
            out.push(b',');
        }
        escape::json(out, key);
        out.push(b':');
        escape::json(out, value);
    }
    out.extend_from_slice(b"}}\n");
}

fn address(out: &mut Vec<u8>, address: IpAddr) {
    // A vector takes everything.
    let _ = write!(out, "{address}");
}

fn version(version: http::Version) -> &'static str {
    match version {
        http::Version::HTTP_09 => "HTTP/0.9",
        http::Version::HTTP_10 => "HTTP/1.0",
        http::Version::HTTP_2 => "HTTP/2",
        http::Version::HTTP_3 => "HTTP/3",
        // The type is open; what else it may come to hold is not served.
        _ => "HTTP/1.1",
    }
}

/// Milliseconds with microseconds after the point.
fn millis(out: &mut Vec<u8>, duration: Duration) {
    let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
    escape::number(out, micros / 1000);
    out.push(b'.');
    escape::padded(out, micros % 1000, 3);
}

fn known(out: &mut Vec<u8>, text: Option<&str>) {
    match text {
        Some(text) => escape::json(out, text),
        None => out.extend_from_slice(b"null"),
    }
}

thread_local! {
    static DATE: std::cell::RefCell<Date> = std::cell::RefCell::default();
}

/// How long a line may wait for others.
const DELAY: Duration = Duration::from_millis(50);

const OFF: u8 = 0;
const TEXT: u8 = 1;
const JSON: u8 = 2;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use std::fs;
    use std::time::UNIX_EPOCH;

    use super::*;

    const LIMIT: Duration = Duration::from_secs(10);

    fn entry(target: &str) -> Entry<'_> {
        Entry {
            client: IpAddr::from([192, 0, 2, 7]),
            method: &http::Method::GET,
            host: "shop.example.com",
            target,
            version: http::Version::HTTP_11,
            status: 200,
            request_bytes: 0,
            response_bytes: 512,
            first_byte: Duration::from_nanos(1_204_999),
            total: Duration::from_micros(1351),
            route: "shop",
            tenant: None,
            backend: Some("http://10.0.0.1:8080"),
            attempts: 1,
            request_id: "9f86d081884c7d65",
            certificate: None,
            reason: None,
            notes: &[],
        }
    }

    fn made(make: fn(&mut Vec<u8>, &Entry<'_>, SystemTime), entry: &Entry<'_>) -> String {
        let mut out = Vec::new();
        make(&mut out, entry, UNIX_EPOCH + Duration::from_millis(1_795_363_938_123));
        String::from_utf8(out).unwrap()
    }

    fn to_file(name: &str, format: LogFormat) -> Log {
        Log { access: Destination::File(name.into()), format, level: tracing::Level::INFO }
    }

    #[test]
    fn a_line_for_people_is_what_the_manual_shows() {
        let line = made(text, &entry("/cart?id=7"));
        let manual = include_str!("access_log.rs").lines().find_map(|line| line.strip_prefix("//! 192.0.2.7"));
        assert_eq!(line.trim_end(), format!("192.0.2.7{}", manual.unwrap()));
    }

    #[test]
    fn failures_and_notes_are_shown() {
        let notes = [("user".to_owned(), "Zoë B.".to_owned()), ("a reason=x".to_owned(), String::new())];
        let entry =
            Entry { reason: Some(Reason::NoRoute), backend: None, route: "-", status: 0, notes: &notes, ..entry("/") };
        let line = made(text, &entry);
        assert!(line.contains("\" 000 512 host="), "{line}");
        assert!(
            line.ends_with(
                "route=- backend=- attempts=1 id=9f86d081884c7d65 reason=no_route note.user=\"Zo\\xc3\\xab B.\" note.\"a reason=x\"=\"\"\n"
            ),
            "{line}"
        );
        let value: serde_json::Value = serde_json::from_str(&made(json, &entry)).unwrap();
        assert_eq!(value["reason"], "no_route");
        assert_eq!(value["backend"], serde_json::Value::Null);
        assert_eq!(value["route"], serde_json::Value::Null);
        assert_eq!(value["notes"], serde_json::json!({"user": "Zoë B.", "a reason=x": ""}));
    }

    #[test]
    fn whose_certificate_it_was_is_told() {
        let entry = Entry { certificate: Some("CN=Zoë \"Z\", O=Example"), ..entry("/") };
        let line = made(text, &entry);
        assert!(line.contains(" certificate=\"CN=Zo\\xc3\\xab \\\"Z\\\", O=Example\" reason=-"), "{line}");
        let value: serde_json::Value = serde_json::from_str(&made(json, &entry)).unwrap();
        assert_eq!(value["certificate"], "CN=Zoë \"Z\", O=Example");
    }

    #[test]
    fn a_line_for_machines_holds_everything() {
        let value: serde_json::Value = serde_json::from_str(&made(json, &entry("/cart?id=7"))).unwrap();
        let expected = serde_json::json!({
            "time": "2026-11-22T16:12:18.123Z", "client": "192.0.2.7", "method": "GET", "host": "shop.example.com",
            "target": "/cart?id=7", "version": "HTTP/1.1", "status": 200, "request_bytes": 0, "response_bytes": 512,
            "first_byte_ms": 1.204, "total_ms": 1.351, "route": "shop", "tenant": null, "backend": "http://10.0.0.1:8080", "attempts": 1,
            "request_id": "9f86d081884c7d65", "certificate": null, "reason": null, "notes": {},
        });
        assert_eq!(value, expected);
    }

    #[test]
    fn nothing_from_the_network_can_forge_a_line() {
        let hostile = "/\" 200 0\r\n127.0.0.1 - - [x] \"GET /\x1b[2J\u{85}\u{2028}\\";
        let entry = Entry { host: "a b\n", request_id: "x\" y", ..entry(hostile) };
        let line = made(text, &entry);
        assert_eq!(line.matches('\n').count(), 1);
        assert!(line.trim_end().bytes().all(|byte| (b' '..=b'~').contains(&byte)), "{line}");
        assert!(line.contains(r#""GET /\" 200 0\x0d\x0a127.0.0.1"#), "{line}");
        assert!(line.contains(r#"host="a b\x0a" "#) && line.contains(r#"id="x\" y" "#), "{line}");
        let line = made(json, &entry);
        assert_eq!(line.matches('\n').count(), 1);
        assert_eq!(serde_json::from_str::<serde_json::Value>(&line).unwrap()["target"], hostile);
    }

    #[test]
    fn a_log_that_was_moved_away_is_opened_anew() {
        let folder = tempfile::tempdir().unwrap();
        let counts = Arc::new(LogCounts::default());
        let log = AccessLog::open(&to_file("access", LogFormat::Text), folder.path(), counts.clone()).unwrap();
        assert!(log.enabled());
        log.write(&entry("/one"));
        let begin = std::time::Instant::now();
        while counts.written.load(Ordering::Relaxed) == 0 {
            assert!(begin.elapsed() < LIMIT, "the line is not written");
            std::thread::park_timeout(Duration::from_millis(1));
        }
        fs::rename(folder.path().join("access"), folder.path().join("access.1")).unwrap();
        log.reopen(&to_file("access", LogFormat::Json), folder.path()).unwrap();
        log.write(&entry("/two"));
        assert!(log.close(LIMIT));
        let old = fs::read_to_string(folder.path().join("access.1")).unwrap();
        let new = fs::read_to_string(folder.path().join("access")).unwrap();
        assert!(old.contains("/one") && !old.contains("/two"), "{old}");
        assert!(new.starts_with('{') && new.contains("/two") && !new.contains("/one"), "{new}");
    }

    #[test]
    fn a_reload_can_turn_it_off_and_on() {
        let folder = tempfile::tempdir().unwrap();
        let counts = Arc::new(LogCounts::default());
        let on = to_file("access", LogFormat::Text);
        let off = Log { access: Destination::Off, ..on };
        let log = AccessLog::open(&off, folder.path(), counts).unwrap();
        assert!(!log.enabled());
        log.write(&entry("/lost"));
        log.reopen(&on, folder.path()).unwrap();
        assert!(log.enabled());
        log.write(&entry("/kept"));
        let error = log.reopen(&to_file("no/such/folder", LogFormat::Text), folder.path()).unwrap_err().to_string();
        assert!(error.starts_with("cannot open the access log ") && error.contains("no/such/folder"), "{error}");
        log.write(&entry("/kept too"));
        assert!(log.close(LIMIT));
        let text = fs::read_to_string(folder.path().join("access")).unwrap();
        assert_eq!(text.lines().count(), 2, "{text}");
    }

    #[test]
    fn a_full_disk_is_survived_and_counted() {
        let counts = Arc::new(LogCounts::default());
        let log = AccessLog::open(&to_file("/dev/full", LogFormat::Text), Path::new("/"), counts.clone()).unwrap();
        for _ in 0..1000 {
            log.write(&entry("/"));
        }
        assert!(log.close(LIMIT));
        assert_eq!((counts.written.load(Ordering::Relaxed), counts.dropped.load(Ordering::Relaxed)), (0, 1000));
    }

    #[test]
    fn the_default_goes_nowhere() {
        let log = AccessLog::default();
        assert!(!log.enabled());
        log.write(&entry("/"));
        assert!(log.close(Duration::ZERO));
    }
}
