//! Counts the frames of an HTTP/2 connection (RFC 9113 §4.1) as their headers pass, below the library, which takes any
//! number of those that cost it work and the sender nothing.

/// What has passed of one connection.
#[derive(Debug)]
pub(super) struct Frames {
    /// Bytes still to come of the preface or of a frame's payload.
    skip: u32,
    /// The part of a frame's header that has come.
    header: [u8; HEADER],
    /// How many bytes of it.
    come: usize,
    /// When the counting began, in milliseconds of the worker's clock.
    since: u64,
    /// Frames that carry nothing.
    idle: u32,
    /// Streams opened, and reset.
    requests: u32,
    resets: u32,
    /// Windows opened, and how many were to be expected.
    updates: u32,
    due: u32,
}

/// What there was among the bytes that have passed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Passed {
    /// The beginning of a request, or what may become one.
    pub(super) request: bool,
    /// More frames that carry nothing than anybody sends in good faith.
    pub(super) flood: bool,
}

impl Frames {
    /// For a connection that begins `now`.
    pub(super) const fn new(now: u64) -> Self {
        Self {
            skip: PREFACE,
            header: [0; HEADER],
            come: 0,
            since: now,
            idle: 0,
            requests: 0,
            resets: 0,
            updates: 0,
            due: 0,
        }
    }

    /// These bytes have come. `now` tells the time in milliseconds.
    pub(super) fn pass(&mut self, mut bytes: &[u8], now: impl Fn() -> u64) -> Passed {
        let mut passed = Passed::default();
        while !bytes.is_empty() {
            if self.skip > 0 {
                let n = bytes.len().min(self.skip as usize);
                bytes = &bytes[n..];
                // No more than `skip`, which fits.
                self.skip -= u32::try_from(n).unwrap_or(self.skip);
                continue;
            }
            let n = bytes.len().min(HEADER - self.come);
            self.header[self.come..self.come + n].copy_from_slice(&bytes[..n]);
            self.come += n;
            bytes = &bytes[n..];
            if self.come == HEADER {
                self.come = 0;
                self.frame(&now, &mut passed);
            }
        }
        passed
    }

    /// Bytes have been sent, for which the client opens windows.
    pub(super) fn sent(&mut self, bytes: usize) {
        self.due = self.due.saturating_add(u32::try_from(bytes / BYTES_FOR_UPDATE).unwrap_or(u32::MAX));
    }

    fn frame(&mut self, now: &impl Fn() -> u64, passed: &mut Passed) {
        let [high, middle, low, kind, flags, ..] = self.header;
        self.skip = u32::from_be_bytes([0, high, middle, low]);
        match kind {
            DATA if self.skip > 0 || flags & END_STREAM != 0 => {}
            HEADERS => {
                passed.request = true;
                self.requests = self.requests.saturating_add(1);
            }
            RST_STREAM => {
                self.resets = self.resets.saturating_add(1);
                if self.resets > RESETS.saturating_add(self.requests / 2) {
                    self.full(now, passed);
                }
            }
            // The library has limits of its own for these.
            PUSH_PROMISE | GOAWAY | CONTINUATION => {}
            WINDOW_UPDATE => {
                self.updates = self.updates.saturating_add(1);
                if self.updates > UPDATES.saturating_add(self.due) {
                    self.full(now, passed);
                }
            }
            // Empty DATA, PRIORITY, SETTINGS, PING, and what nobody knows.
            _ => {
                self.idle += 1;
                if self.idle > IDLE {
                    self.full(now, passed);
                }
            }
        }
    }

    /// So many are too many, if they have come within [`SPAN`]. The time is asked for only here.
    fn full(&mut self, now: &impl Fn() -> u64, passed: &mut Passed) {
        let now = now();
        passed.flood |= now.saturating_sub(self.since) < SPAN;
        *self = Self { skip: self.skip, ..Self::new(now) };
    }
}

/// Bytes of a frame's header.
const HEADER: usize = 9;
/// Bytes of the client's preface (RFC 9113 §3.4).
const PREFACE: u32 = 24;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const PUSH_PROMISE: u8 = 5;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;

/// Frames that carry nothing, within [`SPAN`].
const IDLE: u32 = 1000;
/// Streams reset, beside half of those that are opened: who asks in earnest wants most of the answers.
const RESETS: u32 = 1000;
/// Windows opened, beside those that are due for what was sent.
const UPDATES: u32 = 1000;
/// A client that opens windows more often than this many bytes is not interested in them.
const BYTES_FOR_UPDATE: usize = 16;
/// Milliseconds.
const SPAN: u64 = 10_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, flags: u8, length: u8) -> Vec<u8> {
        let mut frame = vec![0, 0, length, kind, flags, 0, 0, 0, 1];
        frame.resize(HEADER + usize::from(length), 0xaa);
        frame
    }

    /// The first of so many frames of a kind that is too many.
    fn first_too_many(frames: &mut Frames, frame: &[u8], now: u64) -> Option<u32> {
        (1..3000).find(|_| frames.pass(frame, || now).flood)
    }

    fn begun() -> Frames {
        let mut frames = Frames::new(0);
        assert_eq!(frames.pass(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", || 0), Passed::default());
        frames
    }

    #[test]
    fn frames_that_carry_nothing_are_counted() {
        for idle in [frame(6, 0, 8), frame(6, 1, 8), frame(4, 0, 0), frame(2, 0, 5), frame(0, 0, 0), frame(99, 0, 3)] {
            assert_eq!(first_too_many(&mut begun(), &idle, 5000), Some(IDLE + 1), "{idle:?}");
        }
        for good in [frame(0, 0, 1), frame(0, 1, 0), frame(1, 4, 9), frame(9, 0, 2)] {
            assert_eq!(first_too_many(&mut begun(), &good, 5000), None, "{good:?}");
        }
    }

    #[test]
    fn who_asks_may_change_their_mind_now_and_then() {
        let (request, reset) = (frame(1, 5, 9), frame(3, 0, 4));
        assert_eq!(first_too_many(&mut begun(), &reset, 5000), Some(RESETS + 1));
        assert_eq!(first_too_many(&mut begun(), &[&request[..], &reset].concat(), 5000), Some(2 * RESETS + 1));
        assert_eq!(first_too_many(&mut begun(), &[&request[..], &request, &reset].concat(), 5000), None);
    }

    #[test]
    fn it_matters_how_fast_they_come() {
        let mut frames = begun();
        let ping = frame(6, 0, 8);
        assert!((0..2000).all(|second| !frames.pass(&ping, || second * 1000).flood));
    }

    #[test]
    fn windows_may_be_opened_as_data_is_sent() {
        let update = frame(8, 0, 4);
        assert_eq!(first_too_many(&mut begun(), &update, 5000), Some(UPDATES + 1));
        let mut frames = begun();
        frames.sent(500 * BYTES_FOR_UPDATE);
        assert_eq!(first_too_many(&mut frames, &update, 5000), Some(UPDATES + 501));
    }

    #[test]
    fn frames_are_seen_wherever_a_read_ends() {
        let bytes =
            [&b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..], &frame(4, 0, 6), &frame(1, 4, 20), &frame(6, 0, 8)].concat();
        for size in 1..bytes.len() {
            let mut frames = Frames::new(0);
            let requests = bytes.chunks(size).filter(|piece| frames.pass(piece, || 0).request).count();
            assert_eq!((requests, frames.idle, frames.skip, frames.come), (1, 2, 0, 0), "in pieces of {size}");
        }
    }
}
