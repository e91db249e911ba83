//! Makes inputs out of seeds: each from its number alone, so that one that finds something can be made again.

/// The `index`th input of that `seed`.
#[must_use]
pub fn input(seeds: &[Vec<u8>], seed: u64, index: u64) -> Vec<u8> {
    let mut dice = Dice::new(seed, index);
    let mut bytes = dice.pick::<Vec<u8>>(seeds).clone();
    for _ in 0..dice.below(4) {
        if dice.below(3) == 0 {
            bytes.extend_from_slice(dice.pick::<Vec<u8>>(seeds));
        }
    }
    // Some stay as they are: a sequence of sound requests is an input too.
    for _ in 0..dice.below(5) {
        change(&mut bytes, seeds, &mut dice);
    }
    bytes.truncate(LONGEST);
    bytes
}

fn change(bytes: &mut Vec<u8>, seeds: &[Vec<u8>], dice: &mut Dice) {
    let at = dice.below(bytes.len() + 1);
    let end = (at + 1 + dice.below(12)).min(bytes.len());
    match dice.below(12) {
        0 if at < bytes.len() => bytes[at] ^= 1 << dice.below(8),
        1 if at < bytes.len() => bytes[at] = *dice.pick(BYTES),
        2 => bytes.insert(at, *dice.pick(BYTES)),
        3 => drop(bytes.drain(at..end)),
        4 => insert(bytes, at, dice.pick::<&[u8]>(WORDS)),
        5 => {
            let line = line_start(bytes, at);
            insert(bytes, line, dice.pick::<&[u8]>(FIELDS));
        }
        6 => {
            let from = line_start(bytes, at);
            let to = line_end(bytes, at);
            let line = bytes[from..to].to_vec();
            let there = dice.below(bytes.len() + 1);
            let there = line_start(bytes, there);
            insert(bytes, there, &line);
        }
        7 => {
            let (from, to) = (line_start(bytes, at), line_end(bytes, at));
            drop(bytes.drain(from..to));
        }
        8 => {
            let other: &Vec<u8> = dice.pick(seeds);
            let tail = &other[dice.below(other.len())..];
            bytes.truncate(at);
            bytes.extend_from_slice(tail);
        }
        9 => {
            let piece = bytes[at..end].to_vec();
            insert(bytes, at, &piece);
        }
        10 => digit(bytes, at, dice),
        _ => bytes.truncate(at.max(1)),
    }
}

/// Changes the first digit at or behind `at`: lengths and sizes.
fn digit(bytes: &mut [u8], at: usize, dice: &mut Dice) {
    if let Some(digit) = bytes[at..].iter_mut().find(|b| b.is_ascii_digit()) {
        *digit = *dice.pick(b"0123456789afAF -+,;");
    }
}

fn insert(bytes: &mut Vec<u8>, at: usize, piece: &[u8]) {
    drop(bytes.splice(at..at, piece.iter().copied()));
}

fn line_start(bytes: &[u8], at: usize) -> usize {
    bytes[..at].iter().rposition(|b| *b == b'\n').map_or(0, |end| end + 1)
}

fn line_end(bytes: &[u8], at: usize) -> usize {
    bytes[at..].iter().position(|b| *b == b'\n').map_or(bytes.len(), |end| at + end + 1)
}

/// Numbers that look random (splitmix64).
#[derive(Debug)]
pub(super) struct Dice(u64);

impl Dice {
    /// The throws of that input.
    #[must_use]
    pub(super) fn new(seed: u64, index: u64) -> Self {
        // Mixed twice, or the throws for one input would be those for the next, one later.
        Self(mix(mix(seed).wrapping_add(index)))
    }

    /// Below `bound`, 0 if that is 0.
    pub(super) fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        usize::try_from(mix(self.0) % (bound.max(1) as u64)).unwrap()
    }

    fn pick<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.below(of.len())]
    }
}

fn mix(mut number: u64) -> u64 {
    number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

/// Longer inputs find nothing more, and take time.
const LONGEST: usize = 16 * 1024;

const BYTES: &[u8] = b"\r\n\0\t \x0b\x0c\x01\x1f\x7f\x80\x85\xa0\xff:;,=\"#%/\\?*_-+0159afxX";

const WORDS: &[&[u8]] = &[
    b"\r\n",
    b"\n",
    b"\r",
    b"\r\n\r\n",
    b"\n\n",
    b"\r\n ",
    b"\r\n\t",
    b"0\r\n\r\n",
    b"\r\n0\r\n",
    b"chunked",
    b", chunked",
    b"identity",
    b";a=b",
    b";",
    b"0x",
    b"HTTP/1.0",
    b"HTTP/2.0",
    b"GET /x HTTP/1.1\r\n",
    b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n",
    b"%0d%0a",
    b"%2e%2e/",
    b"..;/",
    b"http://b/",
    b"\xc3\xa9",
    b"ffffffffffffffff",
    b"18446744073709551616",
];

const FIELDS: &[&[u8]] = &[
    b"Content-Length: 5\r\n",
    b"Content-Length: 0\r\n",
    b"Content-Length:\r\n",
    b"Content-Length : 5\r\n",
    b"Content_Length: 5\r\n",
    b"content-length: 5, 5\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Transfer-Encoding: identity\r\n",
    b"Transfer-Encoding:\x0bchunked\r\n",
    b"Transfer-Encoding : chunked\r\n",
    b"Transfer_Encoding: chunked\r\n",
    b"Transfer-Encoding:\r\n chunked\r\n",
    b"X: a\nTransfer-Encoding: chunked\r\n",
    b"Connection: close\r\n",
    b"Connection: keep-alive, Transfer-Encoding\r\n",
    b"Connection: upgrade\r\nUpgrade: websocket\r\n",
    b"Expect: 100-continue\r\n",
    b"Host: b\r\n",
    b"TE: trailers\r\n",
    b"Trailer: Content-Length\r\n",
    b": x\r\n",
    b" X: y\r\n",
];
