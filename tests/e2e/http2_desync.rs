//! Requests in frames that break the rules of HTTP/2 or of what may be passed on: a backend behind HTTP/1 must not see any of
//! them as a request.

use lockgate_tests::frames::{END_HEADERS, END_STREAM, PREFACE, frame, kind, literal};
use lockgate_tests::{Ledger, Proxy, proxy_to, raw, within};

use super::desync::recording;

/// A field of the request that is right: see [`head`].
type Field = (&'static str, &'static str);

const METHOD: Field = (":method", "POST");
const SCHEME: Field = (":scheme", "http");
const PATH: Field = (":path", "/");
const AUTHORITY: Field = (":authority", "a");

fn head(fields: &[Field]) -> Vec<u8> {
    fields.iter().flat_map(|(name, value)| literal(name.as_bytes(), value.as_bytes())).collect()
}

/// What the proxy does with these frames: whether it answers stream 1 with 200, or with anything else, or breaks it off.
async fn is_served(proxy: &Proxy, frames: &[u8]) -> bool {
    let mut client = raw(proxy.address()).await;
    let hello = [PREFACE, &frame(kind::SETTINGS, 0, 0, &[])[..], frames].concat();
    client.send(hello).await;
    within("an answer", async {
        let mut unread = Vec::new();
        loop {
            let mut bytes = [0; 1024];
            let n = tokio::io::AsyncReadExt::read(&mut client.stream, &mut bytes).await.unwrap_or(0);
            unread.extend_from_slice(&bytes[..n]);
            while let [a, b, c, of, _, rest @ ..] = unread.as_slice() {
                let length = u32::from_be_bytes([0, *a, *b, *c]) as usize;
                let Some(payload) = rest.get(4..4 + length) else { break };
                match *of {
                    // 200 is an entry of the static table (RFC 7541), and comes first.
                    kind::HEADERS => return payload.first() == Some(&0x88),
                    kind::RST_STREAM | kind::GOAWAY => return false,
                    _ => drop(unread.drain(..9 + length)),
                }
            }
            if n == 0 {
                return false;
            }
        }
    })
    .await
}

/// What is wrong with how these requests were treated.
async fn wrong(proxy: &Proxy, seen: &Ledger, what: &str, frames: &[u8], good: bool) -> Option<String> {
    let served = is_served(proxy, frames).await;
    let reached = seen.lines();
    seen.clear();
    let right = served == good && reached.len() == usize::from(good);
    (!right).then(|| format!("{what}: served: {served}, seen: {reached:?}"))
}

#[tokio::test]
async fn heads_that_break_the_rules_reach_no_backend() {
    let (app, seen) = recording().await;
    let proxy = proxy_to(app.url()).await;
    let right = [METHOD, SCHEME, PATH, AUTHORITY];
    let mut cases: Vec<(String, Vec<Field>, bool)> = vec![("nothing is wrong".into(), right.to_vec(), true)];
    let more: [(&[Field], bool); 2] = [
        // Another field behind those that are right.
        (
            &[
                ("host", "b"),
                ("host", " a"),
                ("connection", "close"),
                ("connection", "x-forwarded-for"),
                ("transfer-encoding", "chunked"),
                ("transfer_encoding", "chunked"),
                ("content_length", "5"),
                ("keep-alive", "x"),
                ("proxy-connection", "x"),
                ("upgrade", "h2c"),
                ("te", "gzip"),
                ("expect", "x"),
                ("content-length", "5"),
                ("content-length", "+0"),
                ("content-length", " 0"),
                ("content-length", ""),
                ("content-length", "0, 0"),
                ("X-A", "b"),
                ("x a", "b"),
                ("", "b"),
                ("x\r\nb", "b"),
                ("x-a", "a\r\nb: c"),
                ("x-a", "a\nb"),
                ("x-a", "a\rb"),
                ("x-a", "a\0b"),
                ("x-a", " a"),
                ("x-a", "a "),
                ("x-a", "\ta"),
                (":path", "/"),
                (":path", "/other"),
                (":authority", "b"),
                (":x", "y"),
                (":status", "200"),
                (":protocol", "websocket"),
            ],
            false,
        ),
        (&[("te", "trailers"), ("host", "a"), ("content-length", "0"), ("x-a", ""), ("expect", "100-continue")], true),
    ];
    for (fields, good) in more {
        for field in fields {
            cases.push((format!("{field:?} more"), [&right[..], &[*field]].concat(), good));
        }
    }
    // Another value in place of the one that is right.
    for (field, good) in [
        ((":method", "post"), false),
        ((":method", "P T"), false),
        ((":method", ""), false),
        ((":method", "CONNECT"), false),
        ((":method", "PURGE"), true),
        ((":scheme", "ftp"), false),
        ((":scheme", ""), false),
        ((":path", ""), false),
        ((":path", "*"), false),
        ((":path", "a"), false),
        ((":path", "/a b"), false),
        ((":path", "/a HTTP/1.1\r\nx: y"), false),
        ((":path", "/a/../b"), false),
        ((":path", "/a/%2e%2e/b"), false),
        ((":path", "/a%2fb"), false),
        ((":path", "/a%00"), false),
        ((":path", "http://b/"), false),
        ((":path", "/a?b=/../c"), true),
        ((":authority", ""), false),
        ((":authority", "u@a"), false),
        ((":authority", "a/b"), false),
        ((":authority", "a, b"), false),
        ((":authority", "a b"), false),
        ((":authority", "a:99999"), false),
        ((":authority", "a:80"), true),
    ] {
        let fields = right.iter().map(|one| if one.0 == field.0 { field } else { *one }).collect();
        cases.push((format!("{field:?} instead"), fields, good));
    }
    for missing in [METHOD, SCHEME, PATH, AUTHORITY] {
        let fields = right.iter().copied().filter(|field| *field != missing).collect();
        cases.push((format!("no {}", missing.0), fields, false));
    }
    cases.push(("a host for an authority".into(), vec![METHOD, SCHEME, PATH, ("host", "a")], true));
    cases.push(("two hosts".into(), vec![METHOD, SCHEME, PATH, ("host", "a"), ("host", "a")], false));
    cases.push(("a path behind fields".into(), vec![METHOD, SCHEME, AUTHORITY, ("x-a", "b"), PATH], false));
    let mut all = Vec::new();
    for (what, fields, good) in cases {
        let frames = frame(kind::HEADERS, END_HEADERS | END_STREAM, 1, &head(&fields));
        all.extend(wrong(&proxy, &seen, &what, &frames, good).await);
    }
    assert!(all.is_empty(), "{} are wrong:\n{}", all.len(), all.join("\n"));
}

#[tokio::test]
async fn bodies_that_are_not_as_long_as_they_say_are_no_requests() {
    let (app, seen) = recording().await;
    let proxy = proxy_to(app.url()).await;
    let mut all = Vec::new();
    for (what, lengths, data, trailers, good) in [
        ("as long as it says", &["5"][..], "hello", None, true),
        ("no length", &[], "hello", None, true),
        ("trailers", &["5"], "hello", Some(("x-a", "b")), true),
        ("shorter", &["6"], "hello", None, false),
        ("longer", &["4"], "hello", None, false),
        ("nothing where something is due", &["5"], "", None, false),
        ("something where nothing is due", &["0"], "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n", None, false),
        ("shorter, with trailers", &["6"], "hello", Some(("x-a", "b")), false),
        ("the same length twice", &["5", "5"], "hello", None, false),
        ("two lengths", &["5", "6"], "hello", None, false),
        // The library leaves it out.
        ("a path among the trailers", &["5"], "hello", Some((":path", "/other")), true),
        ("a line end among the trailers", &["5"], "hello", Some(("x-a", "b\r\nc: d")), false),
    ] {
        let lengths: Vec<Field> = lengths.iter().map(|length| ("content-length", *length)).collect();
        let fields = [&[METHOD, SCHEME, PATH, AUTHORITY][..], &lengths].concat();
        let mut frames = frame(kind::HEADERS, END_HEADERS, 1, &head(&fields));
        let end = if trailers.is_none() { END_STREAM } else { 0 };
        frames.extend(frame(kind::DATA, end, 1, data.as_bytes()));
        if let Some(trailer) = trailers {
            frames.extend(frame(kind::HEADERS, END_HEADERS | END_STREAM, 1, &head(&[trailer])));
        }
        all.extend(wrong(&proxy, &seen, what, &frames, good).await);
    }
    assert!(all.is_empty(), "{} are wrong:\n{}", all.len(), all.join("\n"));
}
