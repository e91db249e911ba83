//! An HTTP/2 client that sends exact frames (RFC 9113 §4), sound or not.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

/// Kinds of frames.
pub mod kind {
    /// Part of a body.
    pub const DATA: u8 = 0;
    /// The fields of a request.
    pub const HEADERS: u8 = 1;
    /// Deprecated.
    pub const PRIORITY: u8 = 2;
    /// The end of a stream, in disorder.
    pub const RST_STREAM: u8 = 3;
    /// What the sender wishes.
    pub const SETTINGS: u8 = 4;
    /// Are you there?
    pub const PING: u8 = 6;
    /// The sender ends the connection, and says what it has seen of it.
    pub const GOAWAY: u8 = 7;
    /// The other side may send so much more.
    pub const WINDOW_UPDATE: u8 = 8;
    /// More fields.
    pub const CONTINUATION: u8 = 9;
}

/// What a client begins with (RFC 9113 §3.4).
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// The flag of a frame that is the last of its stream.
pub const END_STREAM: u8 = 1;
/// The flag of a frame that ends the fields.
pub const END_HEADERS: u8 = 4;
/// The flag of a frame with padding.
pub const PADDED: u8 = 8;

/// A frame.
#[must_use]
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut frame = vec![length[1], length[2], length[3], kind, flags];
    frame.extend_from_slice(&stream.to_be_bytes());
    frame.extend_from_slice(payload);
    frame
}

/// The fields of `GET /`, in HPACK (RFC 7541): of the static table, and an authority that nobody remembers.
#[must_use]
pub fn get_fields() -> Vec<u8> {
    [&[0x82, 0x86, 0x84][..], &literal_of_authority(b"a")].concat()
}

/// A whole request without a body.
#[must_use]
pub fn get(stream: u32) -> Vec<u8> {
    frame(kind::HEADERS, END_STREAM | END_HEADERS, stream, &get_fields())
}

/// A field that is not remembered. Name and value are shorter than 127 bytes.
#[must_use]
pub fn literal(name: &[u8], value: &[u8]) -> Vec<u8> {
    [&[0, u8::try_from(name.len()).unwrap()][..], name, &[u8::try_from(value.len()).unwrap()], value].concat()
}

fn literal_of_authority(value: &[u8]) -> Vec<u8> {
    [&[0x01, u8::try_from(value.len()).unwrap()][..], value].concat()
}

/// A setting.
#[must_use]
pub fn setting(id: u16, value: u32) -> Vec<u8> {
    [&id.to_be_bytes()[..], &value.to_be_bytes()].concat()
}

/// What became of an attack.
#[derive(Debug, Clone, Copy)]
pub struct Attack {
    /// Rounds that were sent, or at least handed to the system.
    pub rounds: u32,
    /// Whether the other side closed the connection.
    pub closed: bool,
}

/// Connects, sends the preface and `first`, and then `round(0)`, `round(1)` and so on, until the other side has closed the
/// connection or there were `most` rounds; waits then for a while whether it still does.
#[must_use]
pub fn attack(address: SocketAddr, settings: &[u8], first: &[u8], most: u32, round: impl Fn(u32) -> Vec<u8>) -> Attack {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_nodelay(true).unwrap();
    let over = Arc::new(AtomicBool::new(false));
    let reader = {
        let (mut stream, over) = (stream.try_clone().unwrap(), Arc::clone(&over));
        thread::spawn(move || {
            let mut buffer = [0; 64 * 1024];
            while stream.read(&mut buffer).is_ok_and(|length| length > 0) {}
            over.store(true, Ordering::SeqCst);
        })
    };
    stream.set_write_timeout(Some(Duration::from_secs(20))).unwrap();
    let hello = [PREFACE, &frame(kind::SETTINGS, 0, 0, settings)[..], first].concat();
    let mut rounds = 0;
    let mut sent = stream.write_all(&hello).is_ok();
    while sent && rounds < most && !over.load(Ordering::SeqCst) {
        sent = stream.write_all(&round(rounds)).is_ok();
        rounds += 1;
    }
    if rounds == most {
        for _ in 0..400 {
            if over.load(Ordering::SeqCst) {
                break;
            }
            thread::sleep(PAUSE);
        }
    }
    let closed = !sent || over.load(Ordering::SeqCst);
    let _ = stream.shutdown(std::net::Shutdown::Both);
    drop(stream);
    reader.join().unwrap();
    Attack { rounds, closed }
}

/// How often it is looked whether the other side has closed.
const PAUSE: Duration = Duration::from_millis(50);
