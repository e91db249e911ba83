//! The bytes around the chunks of a body that is sent in chunks (RFC 9112 §7.1).

use bytes::{BufMut, BytesMut};
use http::HeaderMap;

/// Writes what stands before a chunk of `length` bytes. CR LF belongs behind the chunk. A chunk is never empty: that would
/// be the last one.
pub fn write_chunk_head(out: &mut BytesMut, length: usize) {
    debug_assert!(length > 0, "an empty chunk ends the body");
    let mut digits = [0; 2 * size_of::<usize>()];
    let mut left = length;
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b"0123456789abcdef"[left & 15];
        left >>= 4;
        if left == 0 {
            break;
        }
    }
    out.put_slice(&digits[at..]);
    out.put_slice(b"\r\n");
}

/// Writes the last chunk and the trailers, if there are any: the body is complete.
pub fn write_last_chunk(out: &mut BytesMut, trailers: Option<&HeaderMap>) {
    out.put_slice(b"0\r\n");
    for (name, value) in trailers.into_iter().flatten() {
        out.put_slice(name.as_str().as_bytes());
        out.put_slice(b": ");
        out.put_slice(value.as_bytes());
        out.put_slice(b"\r\n");
    }
    out.put_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_hexadecimal() {
        for length in [1, 9, 10, 15, 16, 255, 4096, 65_536, usize::MAX] {
            let mut out = BytesMut::new();
            write_chunk_head(&mut out, length);
            assert_eq!(out, format!("{length:x}\r\n"));
        }
    }

    #[test]
    fn trailers_stand_behind_the_last_chunk() {
        let mut out = BytesMut::new();
        write_last_chunk(&mut out, None);
        let mut trailers = HeaderMap::new();
        trailers.insert("checksum", http::HeaderValue::from_static("1"));
        write_last_chunk(&mut out, Some(&trailers));
        assert_eq!(out, "0\r\n\r\n0\r\nchecksum: 1\r\n\r\n");
    }
}
