// What is tried with each input. Included by the targets for cargo-fuzz beside this file, and by `host/tests/fuzz.rs`, which
// runs the inputs in `corpus/` in every test run. A target panics when something does not hold.

mod guest;

use std::path::PathBuf;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Method};
use lockgate::config::{Source, examine};
use lockgate::http1::{Decoder, HeadEnd, KnownHost, Piece, parse_request, parse_response};
use lockgate::message::{check_path, editable_name, editable_trailer, editable_value, passable};
use lockgate::path::canonical;
use lockgate::proxy_protocol::{LONGEST_HEADER, header as written, parse};

pub(crate) use self::guest::guest;

/// A target and its name, which is also that of its folder in `corpus/`.
pub(crate) type Target = (&'static str, fn(&[u8]));

/// All of them.
pub(crate) const TARGETS: [Target; 8] = [
    ("request", request),
    ("response", response),
    ("chunks", chunks),
    ("path", path),
    ("config", config),
    ("edits", edits),
    ("proxy-protocol", proxy_protocol),
    ("guest", guest),
];

/// A request's head: its end is found wherever a read ends, and what is accepted is framed in one way and can be written
/// without a line coming out of it.
pub(crate) fn request(data: &[u8]) {
    let Some(head) = head(data) else { return };
    let Ok(request) = parse_request(&head, 100, &mut KnownHost::default()) else { return };
    sound(&request.parts.headers);
    let (lengths, codings) = framing(&request.parts.headers);
    assert!(lengths + codings <= 1, "framed twice");
    assert_eq!(codings == 1, request.body.left().is_none(), "chunked, or not");
    assert!(!request.parts.uri.to_string().bytes().any(|b| b <= b' ' || b == 0x7f), "a target with blanks");
}

/// A response's head: the same.
pub(crate) fn response(data: &[u8]) {
    let Some(head) = head(data) else { return };
    for method in [Method::GET, Method::HEAD] {
        if let Ok(response) = parse_response(&head, &method, 100) {
            sound(&response.headers);
        }
    }
}

/// Chunks: they say the same however they are cut, and nothing is taken beyond their end. The first byte is where.
pub(crate) fn chunks(data: &[u8]) {
    let Some((cut, data)) = data.split_first() else { return };
    let cut = usize::from(*cut).min(data.len());
    let whole = read_chunks(&[data]);
    assert_eq!(whole, read_chunks(&[&data[..cut], &data[cut..]]), "cut at {cut}");
    if let Ok((_, trailers, _)) = whole {
        sound(&trailers);
        let passed = passable(trailers);
        assert_eq!(framing(&passed), (0, 0));
    }
}

/// A path: what the gate lets through has one form, which the gate lets through, and which names what it seems to name.
pub(crate) fn path(data: &[u8]) {
    let Ok(path) = std::str::from_utf8(data) else { return };
    if check_path(path).is_err() {
        return;
    }
    let one = canonical(path).unwrap_or_else(|| path.to_owned());
    assert!(check_path(&one).is_ok(), "{path:?} has become {one:?}");
    assert!(canonical(&one).is_none_or(|again| again == one), "{path:?} has become {one:?}, which is not the end");
    assert!(!one.contains("//") && one.starts_with('/') && !one.contains(['\\', '#']), "{one:?}");
    assert!(!one.split('/').any(|segment| matches!(segment.split(';').next(), Some("." | ".."))), "{one:?}");
}

/// A configuration: whatever is wrong with it is told.
pub(crate) fn config(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let source = Source { path: PathBuf::from("fuzz.toml"), text: text.to_owned() };
    let (config, problems) = examine(source);
    assert!(config.is_some() || !problems.to_string().is_empty(), "refused without a word");
}

/// What a plugin hands over as a field: the first line is the name, the rest the value.
pub(crate) fn edits(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let (name, value) = text.split_once('\n').unwrap_or((&text, ""));
    for name in [editable_name(name), editable_trailer(name)].into_iter().flatten() {
        let folded = name.as_str().replace('_', "-");
        assert!(!["content-length", "transfer-encoding", "connection", "host"].contains(&folded.as_str()), "{name}");
    }
    if let Ok(value) = editable_value(value) {
        assert!(!value.as_bytes().iter().any(|b| matches!(b, b'\r' | b'\n' | 0)), "{value:?}");
    }
}

/// A PROXY header: it says the same however much has come behind it, is never complete before its end, and can be told on.
pub(crate) fn proxy_protocol(data: &[u8]) {
    let Ok(Some(header)) = parse(data) else { return };
    assert!((1..=LONGEST_HEADER).contains(&header.length) && header.length <= data.len());
    assert_eq!(parse(&data[..header.length]), Ok(Some(header)), "with nothing behind it");
    for cut in 0..header.length {
        assert_eq!(parse(&data[..cut]), Ok(None), "cut at {cut}");
    }
    let told = written(header.ends);
    let again = parse(&told).ok().flatten().expect("what is written can be read");
    assert_eq!((again.length, again.ends), (told.len(), header.ends));
}

/// The head that `data` begin with, if it has an end. The first byte says where a read ends.
fn head(data: &[u8]) -> Option<Bytes> {
    let (cut, data) = data.split_first()?;
    let whole = HeadEnd::default().find(data);
    let mut end = HeadEnd::default();
    let part = end.find(&data[..usize::from(*cut).min(data.len())]);
    let found = if part == Ok(None) { end.find(data) } else { part };
    assert_eq!(found, whole, "cut at {cut}");
    whole.ok().flatten().map(|length| Bytes::copy_from_slice(&data[..length]))
}

fn sound(headers: &HeaderMap) {
    for (name, value) in headers {
        assert!(
            !name.as_str().is_empty() && name.as_str().bytes().all(|b| b.is_ascii_graphic() && b != b':'),
            "{name:?}"
        );
        assert!(!value.as_bytes().iter().any(|b| matches!(b, b'\r' | b'\n' | 0)), "{value:?}");
    }
}

/// How many lengths and codings there are.
fn framing(headers: &HeaderMap) -> (usize, usize) {
    (headers.get_all("content-length").iter().count(), headers.get_all("transfer-encoding").iter().count())
}

/// Content, trailers and what is left; or that it is no body.
fn read_chunks(parts: &[&[u8]]) -> Result<(Vec<u8>, HeaderMap, Vec<u8>), String> {
    let (mut decoder, mut bytes) = (Decoder::chunked(), BytesMut::new());
    let (mut content, mut trailers) = (Vec::new(), HeaderMap::new());
    for part in parts {
        bytes.extend_from_slice(part);
        loop {
            match decoder.decode(&mut bytes).map_err(|bad| format!("{bad:?}"))? {
                Piece::Data(data) => content.extend_from_slice(&data),
                Piece::Trailers(found) => trailers = found,
                Piece::Starved | Piece::End => break,
            }
        }
    }
    decoder.finish().map_err(|bad| format!("{bad:?}"))?;
    Ok((content, trailers, bytes.to_vec()))
}
