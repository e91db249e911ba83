//! Bytes that wait to be written: what we make ourselves, and large pieces of bodies, which are sent from where they lie.

use std::io::IoSlice;

use bytes::{Buf, Bytes, BytesMut};

/// Bytes that wait to be written, in this order.
#[derive(Debug, Default)]
pub struct Outbox {
    /// Heads, framing, and small pieces.
    front: BytesMut,
    /// A large piece.
    piece: Bytes,
    /// What stands behind the large piece.
    back: BytesMut,
}

impl Outbox {
    /// Where text is added.
    pub fn text(&mut self) -> &mut BytesMut {
        if self.is_in_front() { &mut self.front } else { &mut self.back }
    }

    /// Adds a piece of a body; a large one without copying it, if none is there yet.
    pub fn data(&mut self, data: Bytes) {
        if data.len() > SMALL && self.is_in_front() {
            self.piece = data;
        } else {
            self.text().extend_from_slice(&data);
        }
    }

    /// Whether nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.front.is_empty() && self.is_in_front()
    }

    /// Whether more may be added before what waits is written.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.is_in_front() && self.front.len() < FULL
    }

    /// All that waits, to be written at once.
    #[must_use]
    pub fn slices(&self) -> [IoSlice<'_>; 3] {
        [IoSlice::new(&self.front), IoSlice::new(&self.piece), IoSlice::new(&self.back)]
    }

    /// So many bytes of it have been written.
    pub fn advance(&mut self, written: usize) {
        let mut left = written;
        let n = left.min(self.front.len());
        self.front.advance(n);
        left -= n;
        let n = left.min(self.piece.len());
        self.piece.advance(n);
        left -= n;
        self.back.advance(left);
    }

    /// Gives back memory while nothing waits.
    pub fn rest(&mut self) {
        if self.is_empty() {
            *self = Self::default();
        }
    }

    fn is_in_front(&self) -> bool {
        self.piece.is_empty() && self.back.is_empty()
    }

    /// What waits, as text.
    #[cfg(test)]
    pub(super) fn drain(&mut self) -> String {
        let text = self.slices().iter().flat_map(|slice| slice.to_vec()).collect();
        *self = Self::default();
        String::from_utf8(text).expect("text")
    }
}

/// A piece up to this length is copied: cheaper than a slice of its own for the system.
const SMALL: usize = 4 * 1024;
/// What has grown this large is written before more is added.
const FULL: usize = 16 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_is_written_in_order_wherever_a_write_ends() {
        let large = Bytes::from(vec![b'x'; SMALL + 1]);
        let whole = [b"head".to_vec(), large.to_vec(), b"end".to_vec(), large.to_vec(), b".".to_vec()].concat();
        for step in [1, 3, 4, 5, SMALL, SMALL + 5, 2 * SMALL + 9, whole.len()] {
            let mut out = Outbox::default();
            out.text().extend_from_slice(b"head");
            out.data(large.clone());
            out.text().extend_from_slice(b"end");
            out.data(large.clone());
            out.text().extend_from_slice(b".");
            assert!(!out.has_room());
            let mut written = Vec::new();
            while !out.is_empty() {
                let waiting: Vec<u8> = out.slices().iter().flat_map(|slice| slice.to_vec()).collect();
                let n = step.min(waiting.len());
                written.extend_from_slice(&waiting[..n]);
                out.advance(n);
            }
            assert_eq!(written, whole, "in steps of {step}");
            assert!(out.slices().iter().all(|slice| slice.is_empty()));
        }
    }

    #[test]
    fn a_large_piece_stays_where_it_is() {
        let large = Bytes::from(vec![b'x'; SMALL + 1]);
        let mut out = Outbox::default();
        out.data(large.clone());
        assert_eq!(out.slices()[1].as_ptr(), large.as_ptr());
    }
}
