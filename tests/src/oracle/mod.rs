//! The desync oracle: raw bytes, through Lockgate, to an origin that says what it took for requests. What that is must be
//! what the bytes say when they are read to the letter, request by request, and nothing else may reach it.

mod lenient;
mod mutate;
mod origin;
mod read;

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

pub use mutate::input;
pub use origin::{Origin, fingerprint, seen};
pub use read::{Nothing, Request, requests};

use crate::corpus;
use crate::frames::{PREFACE, kind};

/// What is sent, and how what comes back is judged.
#[derive(Debug, Clone, Copy)]
pub struct Trial {
    /// Where Lockgate listens.
    pub proxy: SocketAddr,
    /// Where the inputs begin; each is made from this and its number.
    pub seed: u64,
    /// How many there are.
    pub inputs: u64,
    /// Connections at once.
    pub clients: u64,
    /// Words of `x-seen` that the origin can be trusted with: method and target, then length and hash of the body.
    pub words: usize,
}

/// What came of it.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Requests that an origin answered.
    pub forwarded: u64,
    /// Requests that Lockgate answered itself.
    pub answered: u64,
    /// Inputs of which the last words were not answered.
    pub unanswered: u64,
    /// What was forwarded otherwise than it reads, with the number of the input.
    pub differences: Vec<String>,
}

/// The requests of both corpora and the inputs that fuzzing has found, to be changed.
#[must_use]
pub fn seeds() -> Vec<Vec<u8>> {
    let cases = corpus::http1().into_iter().chain(corpus::guardian()).map(|case| case.whole());
    cases.chain(corpus::found()).filter(|bytes| bytes.len() < 4096).collect()
}

impl Trial {
    /// Sends all inputs, and looks at each answer.
    #[must_use]
    pub fn run(&self, seeds: &[Vec<u8>]) -> Outcome {
        let (next, all) = (AtomicU64::new(0), Mutex::new(Outcome::default()));
        thread::scope(|scope| {
            for _ in 0..self.clients {
                scope.spawn(|| {
                    let mut mine = Outcome::default();
                    while let Some(index) = Some(next.fetch_add(1, Ordering::Relaxed)).filter(|i| *i < self.inputs) {
                        // The first are the seeds themselves.
                        let seed = usize::try_from(index).ok().and_then(|index| seeds.get(index));
                        let bytes = seed.cloned().unwrap_or_else(|| input(seeds, self.seed, index));
                        self.send(&bytes, index, &mut mine);
                    }
                    all.lock().unwrap().add(mine);
                });
            }
        });
        all.into_inner().unwrap()
    }

    /// Sends one input, and looks at the answers. Its number says whether it goes in two parts.
    pub fn send(&self, bytes: &[u8], index: u64, outcome: &mut Outcome) {
        let answers = exchange(self.proxy, bytes, index);
        if !bytes.starts_with(PREFACE) {
            self.judge(bytes, &answers, index, outcome);
        } else if !is_http2(&answers) {
            outcome.difference(
                index,
                bytes,
                &format!("HTTP/2 was answered with {:?}", String::from_utf8_lossy(&answers)),
            );
        }
    }

    /// Holds the answers against what was sent: the nth answer is the nth request's.
    fn judge(&self, sent: &[u8], answers: &[u8], index: u64, outcome: &mut Outcome) {
        let (requests, end) = requests(sent);
        let mut rest = answers;
        let mut number = 0;
        while !rest.is_empty() {
            let request = requests.get(number);
            let Some(answer) = answer(&mut rest) else {
                outcome.difference(index, sent, &format!("malformed answers: {:?}", String::from_utf8_lossy(answers)));
                return;
            };
            match (answer.seen, request) {
                (None, _) => outcome.answered += 1,
                (Some(seen), Some(request)) if self.is(&seen, request) => outcome.forwarded += 1,
                (Some(other), _) => {
                    let due = request.map(expected);
                    outcome.difference(index, sent, &format!("{number}: {due:?} was forwarded as {other:?}"));
                }
            }
            number += 1;
        }
        let over = usize::from(end.is_some());
        if number > requests.len() + over {
            outcome.difference(index, sent, &format!("{number} answers to {} requests", requests.len()));
        }
        outcome.unanswered += u64::from(number < requests.len() + over);
    }

    fn is(&self, seen: &str, request: &Request) -> bool {
        let due = expected(request);
        seen.split(' ').take(self.words).eq(due.split(' ').take(self.words))
    }
}

impl Outcome {
    fn difference(&mut self, index: u64, sent: &[u8], what: &str) {
        if self.differences.len() < REPORTED {
            self.differences.push(format!("input {index}: {what}; it is {:?}", String::from_utf8_lossy(sent)));
        }
    }

    fn add(&mut self, mut other: Self) {
        self.forwarded += other.forwarded;
        self.answered += other.answered;
        self.unanswered += other.unanswered;
        self.differences.append(&mut other.differences);
    }
}

/// What an origin ought to see of a request.
fn expected(request: &Request) -> String {
    let target = forwarded_target(&request.target);
    seen(&Request { target, ..request.clone() })
}

/// A target in the form in which Lockgate forwards it: without scheme and authority, and with its path in its one form.
#[must_use]
pub fn forwarded_target(target: &str) -> String {
    let target = match target.split_once("://") {
        Some((_, rest)) if !target.starts_with('/') => match rest.find(['/', '?']) {
            Some(at) if rest[at..].starts_with('/') => rest[at..].to_owned(),
            Some(at) => format!("/{}", &rest[at..]),
            None => "/".to_owned(),
        },
        _ => target.to_owned(),
    };
    let (path, query) = target.split_at(target.find('?').unwrap_or(target.len()));
    let mut out: Vec<u8> = Vec::new();
    let mut rest = path.as_bytes();
    while let [first, tail @ ..] = rest {
        let hex = if *first == b'%' { tail.get(..2).and_then(|hex| std::str::from_utf8(hex).ok()) } else { None };
        match hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) => {
                if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
                    out.push(byte);
                } else {
                    out.extend_from_slice(format!("%{byte:02X}").as_bytes());
                }
                rest = &rest[3..];
            }
            None => {
                if !(*first == b'/' && out.last() == Some(&b'/')) {
                    out.push(*first);
                }
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned() + query
}

/// Sends an input on a connection of its own, some in two parts, says that this is all, and reads what comes.
fn exchange(proxy: SocketAddr, bytes: &[u8], index: u64) -> Vec<u8> {
    let mut stream = TcpStream::connect(proxy).unwrap();
    stream.set_nodelay(true).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let cut = if index.is_multiple_of(4) { mutate::Dice::new(1, index).below(bytes.len()) } else { 0 };
    let (first, second) = bytes.split_at(cut);
    // Lockgate may have closed, having heard enough.
    let sent = stream.write_all(first).and_then(|()| {
        if cut > 0 {
            thread::yield_now();
        }
        stream.write_all(second)?;
        stream.shutdown(std::net::Shutdown::Write)
    });
    drop(sent);
    let mut answers = Vec::new();
    if let Err(error) = stream.read_to_end(&mut answers) {
        assert_ne!(error.kind(), std::io::ErrorKind::WouldBlock, "input {index}: no end after {answers:?}");
    }
    // With a RST, so that a million connections do not wait for their last packets.
    let _ = socket_reset(stream);
    answers
}

fn socket_reset(stream: TcpStream) -> std::io::Result<()> {
    socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO))
}

/// One response.
struct Answer {
    seen: Option<String>,
}

/// Takes a final response off `rest`.
fn answer(rest: &mut &[u8]) -> Option<Answer> {
    loop {
        let length = crate::raw::head_length(rest)?;
        let head = String::from_utf8_lossy(&rest[..length]).into_owned();
        *rest = &rest[length..];
        let status: u16 = head.strip_prefix("HTTP/1.")?.get(2..5)?.parse().ok()?;
        if status < 200 {
            continue;
        }
        let value = |name: &str| {
            let (_, value) = head.lines().filter_map(|line| line.split_once(": ")).find(|(known, _)| *known == name)?;
            Some(value.to_owned())
        };
        let length: usize = value("content-length").map_or(Some(0), |length| length.parse().ok())?;
        let chunked = value("transfer-encoding").is_some();
        // An answer to HEAD has none; whether it was HEAD, nobody can say of what is malformed.
        let has_body = !rest.is_empty() && !rest.starts_with(b"HTTP/1.");
        if has_body {
            if chunked {
                let end = rest.windows(5).position(|five| five == b"0\r\n\r\n")?;
                *rest = &rest[end + 5..];
            } else {
                *rest = rest.get(length..)?;
            }
        }
        // A server that could not read the request may say that it has seen nothing.
        return Some(Answer { seen: value("x-seen").filter(|seen| !seen.trim().is_empty()) });
    }
}

/// Whether that is frames of HTTP/2 and no more, SETTINGS first (RFC 9113 §3.4), or nothing at all. What the requests in
/// them ask for is the business of other scenes.
fn is_http2(answers: &[u8]) -> bool {
    let mut rest = answers;
    while let [a, b, c, kind, _, _, _, _, _, payload @ ..] = rest {
        let length = u32::from_be_bytes([0, *a, *b, *c]) as usize;
        let is_first = rest.len() == answers.len();
        if length > payload.len() || is_first && *kind != kind::SETTINGS {
            return false;
        }
        rest = &payload[length..];
    }
    rest.is_empty()
}

/// How many differences a client reports.
const REPORTED: usize = 10;
/// How long an answer may take on a machine that has much else to do.
const PATIENCE: Duration = Duration::from_secs(60);
