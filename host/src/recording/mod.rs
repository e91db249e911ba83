//! Exchanges and connections that are recorded for a plugin, as scenarios: what it was shown, and what it decided. Workers only
//! collect; a thread of its own redacts and writes. What cannot be written in time is dropped and counted.

mod redact;
mod script;
mod settings;
mod writer;

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use http::{HeaderMap, StatusCode, request};

use crate::config::{self, Record};
use crate::reason::Reason;
use crate::tls::TlsInfo;

/// What records one use of a plugin.
#[derive(Debug)]
pub struct Recorder {
    plugin: Arc<str>,
    settings: Record,
    /// `path` or `bundled`, and what that is.
    component: (&'static str, String),
    config: serde_json::Value,
    /// What else its section says, as a scenario's file says it.
    rest: toml::Table,
    folder: PathBuf,
    /// Of 2^32 exchanges so many.
    share: u64,
    /// Connections that it was shown.
    connections: AtomicU64,
    queue: OnceLock<Option<SyncSender<Box<Part>>>>,
    counts: Arc<Counts>,
}

/// What became of exchanges and connections that were to be recorded.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    written: AtomicU64,
    /// The writer had too much to do.
    dropped: AtomicU64,
    /// There is no more room, as `most` has it.
    full: AtomicU64,
    failed: AtomicU64,
}

/// What is recorded of one exchange, by the plugins for which it is.
#[derive(Debug, Default)]
pub struct Recording {
    parts: Vec<Part>,
    /// The one whose plugin is being called.
    current: Option<usize>,
}

/// What is recorded of one exchange for one plugin.
#[derive(Debug)]
pub struct Part {
    recorder: Arc<Recorder>,
    /// What the plugin was shown.
    pub shown: Shown,
    /// `proceed`, `answer` or `fail`.
    pub verdict: Option<&'static str>,
    /// The request as it left it, if it was asked.
    pub request: Option<request::Parts>,
    /// The body of the request, if the plugin has seen it whole.
    pub body: Option<Bytes>,
    /// The response before it, and after.
    pub response: Option<[(StatusCode, HeaderMap); 2]>,
    /// What it answered instead.
    pub answer: Option<(StatusCode, HeaderMap, Bytes)>,
    /// Fields that it asked for before there was a response.
    pub edits: HeaderMap,
    /// Whether one of its hooks failed.
    pub failed: bool,
    /// What it had to pick from, and what it picked, for each attempt that it was asked about.
    pub picks: Vec<(Vec<String>, Option<String>)>,
    /// Attempts that failed, as it heard of them.
    pub attempts: Vec<Attempt>,
    /// What it found in its key space, by key, when it first looked.
    pub kv: Vec<(String, Option<Vec<u8>>)>,
    /// Its calls.
    pub http: Vec<Call>,
}

/// What a plugin was shown before it did anything.
#[derive(Debug)]
pub struct Shown {
    /// The exchange, or the connection.
    pub id: u64,
    /// Nanoseconds since 1970.
    pub time: u64,
    /// The client's address.
    pub client: IpAddr,
    /// What is known of it by TLS, if it came over that.
    pub tls: Option<TlsInfo>,
    /// Its counters.
    pub counters: Vec<(String, u64)>,
    /// The rest of it.
    pub what: What,
}

/// What a plugin was shown.
#[derive(Debug)]
pub enum What {
    /// An exchange.
    Exchange(Box<Asked>),
    /// A connection on which nothing has been asked yet.
    Connection(Arrived),
}

/// An exchange.
#[derive(Debug)]
pub struct Asked {
    /// The request's head.
    pub request: request::Parts,
    /// Whether it came from a trusted proxy.
    pub trusted: bool,
    /// The route.
    pub route: Arc<str>,
    /// Whether that names the host.
    pub host_is_named: bool,
    /// Notes of plugins before it.
    pub notes: Vec<(String, String)>,
}

/// A connection.
#[derive(Debug)]
pub struct Arrived {
    /// The client's port.
    pub port: u16,
    /// Where it came in.
    pub listener: SocketAddr,
    /// What was agreed on by ALPN.
    pub alpn: Option<&'static str>,
    /// Whether HTTP/2 is spoken.
    pub http2: bool,
}

/// An attempt that failed.
#[derive(Debug)]
pub struct Attempt {
    /// The backend's address.
    pub backend: String,
    /// The backends that there are besides.
    pub others: Vec<String>,
    /// Why it failed.
    pub reason: Reason,
    /// The status that is to be retried, if it is that.
    pub status: Option<StatusCode>,
    /// Whether there may be another attempt.
    pub may_retry: bool,
    /// What the plugin wanted then: `proceed`, `give-up` or the address of a backend. None if it failed.
    pub next: Option<String>,
}

/// A call of a plugin's own.
#[derive(Debug)]
pub struct Call {
    /// `METHOD URL`
    pub request: String,
    /// The response's head, or the word for why there is none.
    pub answer: Result<(StatusCode, HeaderMap), &'static str>,
    /// What was read of its body.
    pub body: Vec<u8>,
}

impl Recorder {
    /// What records the plugin of that name, as `settings` has it. Nothing is done before the first exchange.
    #[must_use]
    pub fn new(name: &str, plugin: &config::Plugin, settings: &Record, folder: &Path) -> Self {
        let component = match &plugin.component {
            config::Component::Bundled(name) => ("bundled", name.value.clone()),
            config::Component::Registry(reference) => ("path", reference.value.to_string()),
            config::Component::Path(path) => {
                let path = folder.join(&path.value);
                ("path", std::path::absolute(&path).unwrap_or(path).display().to_string())
            }
        };
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the share is between 0 and 1")]
        let share = (settings.share * 4_294_967_296.0) as u64;
        Self {
            plugin: name.into(),
            component,
            config: plugin.config.clone(),
            rest: settings::settings(plugin),
            folder: folder.join(&settings.dir.value),
            share,
            settings: settings.clone(),
            connections: AtomicU64::new(0),
            queue: OnceLock::new(),
            counts: Arc::default(),
        }
    }

    /// Whether that exchange is one of those that are recorded.
    #[must_use]
    pub fn wants(&self, exchange: u64) -> bool {
        let mut mixed = exchange.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed ^= mixed >> 27;
        mixed >> 32 < self.share
    }

    /// A number for the connection that has just come, if it is one of those that are recorded.
    #[must_use]
    pub fn connection(&self) -> Option<u64> {
        let number = self.connections.fetch_add(1, Ordering::Relaxed);
        self.wants(number).then_some(number)
    }

    /// How many exchanges and connections were written, or why not.
    #[must_use]
    pub fn counts(&self) -> Vec<(&'static str, u64)> {
        let Counts { written, dropped, full, failed } = &*self.counts;
        let all = [("written", written), ("dropped", dropped), ("full", full), ("failed", failed)];
        all.into_iter().map(|(name, count)| (name, count.load(Ordering::Relaxed))).filter(|(_, n)| *n > 0).collect()
    }

    fn send(&self, part: Box<Part>) {
        let queue = self.queue.get_or_init(|| {
            let (queue, parts) = sync_channel(QUEUE);
            let writer =
                writer::Writer::new(&self.folder, self.settings.most, self.plugin.clone(), self.counts.clone());
            let thread = std::thread::Builder::new().name("plugin-recorder".into());
            let started = thread.spawn(move || writer.run(&parts));
            started.is_ok().then_some(queue)
        });
        let lost = match queue {
            Some(queue) => match queue.try_send(part) {
                Ok(()) => return,
                Err(TrySendError::Full(_)) => &self.counts.dropped,
                Err(TrySendError::Disconnected(_)) => &self.counts.failed,
            },
            None => &self.counts.failed,
        };
        lost.fetch_add(1, Ordering::Relaxed);
    }
}

impl Recording {
    /// The part for that recorder: what there is, or a new one that begins with what `shown` says.
    pub fn part(&mut self, recorder: &Arc<Recorder>, shown: impl FnOnce() -> Shown) -> &mut Part {
        let place = self.parts.iter().position(|part| Arc::ptr_eq(&part.recorder, recorder)).unwrap_or_else(|| {
            self.parts.push(Part::new(recorder, shown()));
            self.parts.len() - 1
        });
        self.current = Some(place);
        &mut self.parts[place]
    }

    /// The part of the plugin that is being called.
    pub fn current(&mut self) -> Option<&mut Part> {
        self.parts.get_mut(self.current?)
    }

    /// No plugin is being called that is recorded.
    pub fn pause(&mut self) {
        self.current = None;
    }

    /// The exchange is over: everything goes to where it is written.
    pub fn send(self) {
        for part in self.parts {
            Arc::clone(&part.recorder).send(Box::new(part));
        }
    }
}

impl Part {
    fn new(recorder: &Arc<Recorder>, shown: Shown) -> Self {
        Self {
            recorder: Arc::clone(recorder),
            shown,
            verdict: None,
            request: None,
            body: None,
            response: None,
            answer: None,
            edits: HeaderMap::new(),
            failed: false,
            picks: Vec::new(),
            attempts: Vec::new(),
            kv: Vec::new(),
            http: Vec::new(),
        }
    }

    /// Notes what is at `key`, if that is not known from before.
    pub fn found(&mut self, key: &str, value: impl FnOnce() -> Option<Vec<u8>>) {
        if !self.kv.iter().any(|(known, _)| known == key) {
            self.kv.push((key.to_owned(), value()));
        }
    }
}

/// Exchanges and connections that wait to be written.
const QUEUE: usize = 256;
