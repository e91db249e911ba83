//! `[server]`, `[log]` and `[admin]`.

use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use tracing::Level;

use super::limits::{DAY, MOMENT};
use super::listeners::{address, file};
use super::reader::{Mistake, Table, Value};
use super::{AccessLog, Admin, Located, Log, LogFormat, Server};

impl Default for Server {
    fn default() -> Self {
        Self {
            workers: std::thread::available_parallelism().map_or(1, usize::from).min(MOST_WORKERS),
            grace: Duration::from_secs(30),
            trusted_proxies: Vec::new(),
            forwarded: false,
            via: "lockgate".to_owned(),
        }
    }
}

impl Default for Log {
    fn default() -> Self {
        Self { access: AccessLog::Stdout, format: LogFormat::Text, level: Level::INFO }
    }
}

pub(super) fn read_server(mut table: Table<'_, '_>) -> Server {
    let mut server = Server::default();
    table.set("workers", &mut server.workers, |value| value.integer(1..=MOST_WORKERS));
    table.set("grace", &mut server.grace, |value| value.duration(MOMENT..=DAY));
    server.trusted_proxies = table.list("trusted_proxies", |value| value.parsed(network));
    table.set("forwarded", &mut server.forwarded, Value::boolean);
    table.set("via", &mut server.via, |value| value.parsed(pseudonym));
    table.finish();
    server
}

pub(super) fn read_log(mut table: Table<'_, '_>) -> Log {
    let mut log = Log::default();
    table.set("access", &mut log.access, |value| value.parsed(access_log));
    let formats = [("text", LogFormat::Text), ("json", LogFormat::Json)];
    table.set("format", &mut log.format, |value| value.word(&formats));
    let levels = [
        ("error", Level::ERROR),
        ("warn", Level::WARN),
        ("info", Level::INFO),
        ("debug", Level::DEBUG),
        ("trace", Level::TRACE),
    ];
    table.set("level", &mut log.level, |value| value.word(&levels));
    table.finish();
    log
}

pub(super) fn read_admin(mut table: Table<'_, '_>) -> Option<Admin> {
    let address = table.required("address", |value| value.located(address));
    let token_file = table.optional("token_file", file);
    let ready_fails_on_quarantine = table.optional("ready_fails_on_quarantine", Value::boolean).unwrap_or(false);
    table.finish();
    address.map(|Located { at, value: address }| Admin { at, address, token_file, ready_fails_on_quarantine })
}

fn access_log(text: &str) -> Result<AccessLog, Mistake> {
    match text {
        "stdout" => Ok(AccessLog::Stdout),
        "off" => Ok(AccessLog::Off),
        // A bare word is more likely a misspelt "stdout" than a file in this folder.
        path if path.contains(['/', '.']) => Ok(AccessLog::File(PathBuf::from(path))),
        word => Err(Mistake::new(format!("{word:?} is not \"stdout\", \"off\" or a file's path"))
            .hint(format!("write \"./{word}\" if you mean a file"))),
    }
}

pub(super) fn network(text: &str) -> Result<IpNet, Mistake> {
    if let Ok(network) = text.parse::<IpNet>() {
        return Ok(network);
    }
    text.parse::<std::net::IpAddr>().map(IpNet::from).map_err(|_| {
        Mistake::new(format!("{text:?} is not an address or a network"))
            .hint("write it as in \"10.0.0.0/8\", \"192.0.2.1\" or \"2001:db8::/32\"")
    })
}

fn pseudonym(text: &str) -> Result<String, Mistake> {
    // RFC 9110 §7.6.3: received-by is a host with a port, or a token.
    let fits = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~:".contains(c);
    if !text.is_empty() && text.chars().all(fits) {
        Ok(text.to_owned())
    } else {
        Err(Mistake::new(format!("{text:?} cannot stand in `Via`")).hint("use letters, digits, \"-\", \".\" and \"_\""))
    }
}

const MOST_WORKERS: usize = 1024;
