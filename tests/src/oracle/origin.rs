//! A backend that writes down what it was sent, and says in each response what it took for the request.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use super::lenient;
use super::read::{Nothing, Request, request};

/// A running origin. Its threads end with their connections.
#[derive(Debug, Clone)]
pub struct Origin {
    /// Where it listens.
    pub address: SocketAddr,
    ledger: Arc<Mutex<Ledger>>,
}

/// What came.
#[derive(Debug, Clone, Default)]
pub struct Ledger {
    /// Whole requests.
    pub requests: u64,
    /// The sum of the fingerprints of all of them.
    pub fingerprints: u64,
    /// What could be read in more than one way.
    pub differences: Vec<String>,
}

impl Origin {
    /// Starts one.
    #[must_use]
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let origin = Self { address: listener.local_addr().unwrap(), ledger: Arc::default() };
        let ledger = Arc::clone(&origin.ledger);
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let ledger = Arc::clone(&ledger);
                thread::spawn(move || serve(stream, &ledger));
            }
        });
        origin
    }

    /// What came so far.
    #[must_use]
    pub fn ledger(&self) -> Ledger {
        self.ledger.lock().unwrap().clone()
    }
}

fn serve(mut stream: TcpStream, ledger: &Mutex<Ledger>) {
    stream.set_nodelay(true).unwrap();
    let mut bytes = Vec::new();
    let mut buffer = vec![0; 64 * 1024];
    loop {
        match request(&bytes) {
            Ok(request) => {
                note(&request, &bytes, &mut ledger.lock().unwrap());
                bytes.drain(..request.length);
                let answer = format!("HTTP/1.1 200 OK\r\nx-seen: {}\r\ncontent-length: 0\r\n\r\n", seen(&request));
                if stream.write_all(answer.as_bytes()).is_err() {
                    return;
                }
            }
            Err(Nothing::Bad) => {
                ledger.lock().unwrap().differences.push(format!("sent to the backend: {:?}", show(&bytes)));
                return;
            }
            Err(Nothing::Partial) => match stream.read(&mut buffer) {
                Ok(0) | Err(_) => return,
                Ok(length) => bytes.extend_from_slice(&buffer[..length]),
            },
        }
    }
}

fn note(request: &Request, bytes: &[u8], ledger: &mut Ledger) {
    ledger.requests += 1;
    let id = request.fields.iter().find(|(name, _)| name == "x-request-id").map_or(&b""[..], |(_, value)| value);
    let told = fingerprint(id, &request.method, &request.target, request.body.len());
    ledger.fingerprints = ledger.fingerprints.wrapping_add(told);
    if !request.target.starts_with('/') && request.target != "*" {
        ledger.differences.push(format!("a target that is none: {:?}", show(bytes)));
    }
    if request.length < bytes.len() {
        // The next request is sent when this one has been answered.
        ledger.differences.push(format!("behind a request: {:?}", show(bytes)));
    }
    let first = format!("{} {} HTTP/1.1", request.method, request.target);
    for manners in lenient::ALL {
        let other = manners.request(bytes);
        if other.as_ref() != Some(&(first.clone(), request.length)) {
            ledger.differences.push(format!("{} sees {other:?} in {:?}", manners.name(), show(bytes)));
        }
    }
}

/// What a request comes to, in one line.
#[must_use]
pub fn seen(request: &Request) -> String {
    format!("{} {} {} {:x}", request.method, request.target, request.body.len(), hash([&request.body[..]]))
}

/// A number for a request that was forwarded; the sum of many says whether two have seen the same, in whatever order.
#[must_use]
pub fn fingerprint(id: &[u8], method: &str, target: &str, length: usize) -> u64 {
    hash([id, method.as_bytes(), target.as_bytes(), length.to_string().as_bytes()])
}

/// FNV-1a, with a mark behind each part.
fn hash<const N: usize>(parts: [&[u8]; N]) -> u64 {
    let bytes = parts.iter().flat_map(|part| part.iter().map(|b| u64::from(*b)).chain([256]));
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ byte).wrapping_mul(0x0100_0000_01b3))
}

fn show(bytes: &[u8]) -> String {
    String::from_utf8_lossy(&bytes[..bytes.len().min(2000)]).into_owned()
}
