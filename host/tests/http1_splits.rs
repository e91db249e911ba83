//! However the network cuts what a client sends, it is the same requests.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::fmt::Write as _;

use bytes::BytesMut;
use lockgate::http1::{HeadEnd, KnownHost, Piece, parse_request};

/// What a reader makes of the bytes in these parts: each request in one line, and what ended it.
fn read<'a>(parts: impl Iterator<Item = &'a [u8]>) -> String {
    let (mut input, mut seen) = (BytesMut::new(), String::new());
    let (mut end, mut body) = (HeadEnd::default(), None);
    for part in parts {
        input.extend_from_slice(part);
        loop {
            let Some(decoder) = &mut body else {
                match end.find(&input) {
                    Ok(Some(length)) => {
                        match parse_request(&input.split_to(length).freeze(), 100, &mut KnownHost::default()) {
                            Ok(head) => {
                                let parts = &head.parts;
                                write!(seen, "\n{} {} {:?}", parts.method, parts.uri, parts.version).unwrap();
                                write!(seen, " {:?} {} ", parts.headers, head.keep_alive).unwrap();
                                body = Some(head.body);
                            }
                            Err(bad) => return seen + "\n" + &bad.to_string(),
                        }
                    }
                    Ok(None) => break,
                    Err(bad) => return seen + "\n" + &bad.to_string(),
                }
                continue;
            };
            match decoder.decode(&mut input) {
                Ok(Piece::Data(data)) => data.iter().for_each(|byte| write!(seen, "{byte:02x}").unwrap()),
                Ok(Piece::Trailers(trailers)) => write!(seen, " {trailers:?}").unwrap(),
                Ok(Piece::Starved) => break,
                Ok(Piece::End) => body = None,
                Err(bad) => return seen + "\n" + &bad.to_string(),
            }
        }
    }
    seen + "\nleft: " + &String::from_utf8_lossy(&input)
}

/// Numbers that are the same in every run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        // Marsaglia's xorshift.
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % sides as u64).unwrap()
    }

    fn pick(&mut self, of: &[&str]) -> String {
        of[self.roll(of.len())].to_owned()
    }

    fn request(&mut self) -> String {
        let method = self.pick(&["GET", "POST", "DELETE", "PURGE"]);
        let target = self.pick(&["/", "/a?b=c%20d", "http://a/x", "*"]);
        let mut text = format!("{method} {target} HTTP/1.1\r\nHost: a\r\n");
        for number in 0..self.roll(5) {
            let value = self.pick(&["", "1", " two words\t", "\u{e9}", "a,b"]);
            write!(text, "X-{number}:{value}\r\n").unwrap();
        }
        match self.roll(3) {
            0 => text.push_str("\r\n"),
            1 => {
                let body = self.pick(&["", "x", "\r\n\r\n", "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"]);
                write!(text, "Content-Length: {}\r\n\r\n{body}", body.len()).unwrap();
            }
            _ => {
                text.push_str("Transfer-Encoding: chunked\r\n\r\n");
                for _ in 0..self.roll(4) {
                    let (extension, data) =
                        (self.pick(&["", ";a", ";a=1;b"]), self.pick(&["x", "0\r\n\r\n", "ten bytes!"]));
                    write!(text, "{:x}{extension}\r\n{data}\r\n", data.len()).unwrap();
                }
                text.push_str(&self.pick(&["0\r\n\r\n", "00;a\r\nSum: 1\r\nX: 2\r\n\r\n"]));
            }
        }
        text
    }
}

#[test]
fn pipelined_requests_are_the_same_however_they_are_cut() {
    for seed in 1..=400_u64 {
        let mut dice = Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let count = 1 + dice.roll(5);
        let text: String = (0..count).map(|_| dice.request()).collect();
        let bytes = text.as_bytes();
        let whole = read([bytes].into_iter());
        assert_eq!(whole.matches("HTTP/1.1").count(), count, "{text:?} is {whole}");
        assert!(whole.ends_with("\nleft: "), "{text:?} is {whole}");
        for _ in 0..10 {
            let mut cuts: Vec<usize> = (0..dice.roll(12)).map(|_| dice.roll(bytes.len())).collect();
            cuts.extend([0, bytes.len()]);
            cuts.sort_unstable();
            let parts = cuts.windows(2).map(|pair| &bytes[pair[0]..pair[1]]);
            assert_eq!(read(parts), whole, "{text:?} cut at {cuts:?}");
        }
    }
}

#[test]
fn what_is_refused_is_refused_wherever_it_is_cut() {
    let good = "POST /first HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n\n\n";
    for bad in [
        "GET / HTTP/1.1\nHost: a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nX : b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nX: b\r\n c\r\n\r\n",
        "GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n",
        "\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
        "POST / HTTP/1.1\r\nContent-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nG",
        "POST / HTTP/1.1\r\nContent-Length: 6\r\nContent-Length: 6\r\n\r\nGET / ",
        "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1 \r\nX\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nXZZ0\r\n\r\n",
        "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: a\0b\r\n\r\n",
    ] {
        let text = format!("{good}{bad}GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n");
        let whole = read([text.as_bytes()].into_iter());
        assert!(
            whole.contains("/first") && !whole.contains("/smuggled") && !whole.contains("left"),
            "{bad:?} is {whole}"
        );
        for cut in 0..text.len() {
            let (one, two) = text.as_bytes().split_at(cut);
            assert_eq!(read([one, two].into_iter()).lines().last(), whole.lines().last(), "{text:?} cut at {cut}");
        }
    }
}
