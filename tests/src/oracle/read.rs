//! Reads requests as strictly as RFC 9112 can be read. Written for this judge alone, so that it shares no mistake with
//! Lockgate.

/// A request that is there to its last byte.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The method.
    pub method: String,
    /// The target as sent.
    pub target: String,
    /// Fields, names in lower case.
    pub fields: Vec<(String, Vec<u8>)>,
    /// The body, without chunks.
    pub body: Vec<u8>,
    /// Bytes that it took.
    pub length: usize,
}

/// Why there is no request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Nothing {
    /// It may come yet.
    Partial,
    /// It breaks the rules.
    Bad,
}

/// All requests that `bytes` hold, and what comes after them; nothing if they end where a request ends.
#[must_use]
pub fn requests(mut bytes: &[u8]) -> (Vec<Request>, Option<Nothing>) {
    let mut found = Vec::new();
    while !bytes.is_empty() {
        match request(bytes) {
            Ok(request) => {
                bytes = &bytes[request.length..];
                found.push(request);
            }
            Err(nothing) => return (found, Some(nothing)),
        }
    }
    (found, None)
}

/// The request that `bytes` begin with.
///
/// # Errors
/// [`Nothing`].
pub(super) fn request(bytes: &[u8]) -> Result<Request, Nothing> {
    let (line, mut rest) = line(bytes)?;
    let mut words = line.split(|b| *b == b' ');
    let (Some(method), Some(target), Some(version), None) = (words.next(), words.next(), words.next(), words.next())
    else {
        return Err(Nothing::Bad);
    };
    let good = is_token(method)
        && !target.is_empty()
        && target.iter().all(|b| *b > b' ' && *b != 0x7f)
        && [&b"HTTP/1.1"[..], b"HTTP/1.0"].contains(&version);
    if !good {
        return Err(Nothing::Bad);
    }
    let fields = fields(&mut rest)?;
    let named = |name: &str| fields.iter().filter(|(known, _)| known == name).map(|(_, value)| &value[..]).collect();
    let (lengths, codings): (Vec<&[u8]>, Vec<&[u8]>) = (named("content-length"), named("transfer-encoding"));
    let body = match (&lengths[..], &codings[..]) {
        ([], []) => Vec::new(),
        ([length], []) => {
            let length = number(length, 10)?;
            let body = rest.get(..length).ok_or(Nothing::Partial)?.to_vec();
            rest = &rest[length..];
            body
        }
        ([], [coding]) if coding.eq_ignore_ascii_case(b"chunked") && version == b"HTTP/1.1" => chunks(&mut rest)?,
        _ => return Err(Nothing::Bad),
    };
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let length = bytes.len() - rest.len();
    Ok(Request { method: text(method), target: text(target), fields, body, length })
}

/// Fields up to the empty line.
fn fields(rest: &mut &[u8]) -> Result<Vec<(String, Vec<u8>)>, Nothing> {
    let mut fields = Vec::new();
    loop {
        let (line, after) = line(rest)?;
        *rest = after;
        if line.is_empty() {
            return Ok(fields);
        }
        let colon = line.iter().position(|b| *b == b':').ok_or(Nothing::Bad)?;
        let (name, value) = (&line[..colon], trim(&line[colon + 1..]));
        if !is_token(name) || value.iter().any(|b| (*b < b' ' && *b != b'\t') || *b == 0x7f) {
            return Err(Nothing::Bad);
        }
        fields.push((String::from_utf8_lossy(name).to_ascii_lowercase(), value.to_vec()));
    }
}

fn chunks(rest: &mut &[u8]) -> Result<Vec<u8>, Nothing> {
    let mut body = Vec::new();
    loop {
        let (line, after) = line(rest)?;
        *rest = after;
        if line.iter().any(|b| *b < b' ' && *b != b'\t') {
            return Err(Nothing::Bad);
        }
        let size = line.split(|b| *b == b';').next().unwrap_or_default();
        let size = number(size, 16)?;
        if size == 0 {
            fields(rest)?;
            return Ok(body);
        }
        body.extend_from_slice(rest.get(..size).ok_or(Nothing::Partial)?);
        *rest = &rest[size..];
        match rest {
            [b'\r', b'\n', after @ ..] => *rest = after,
            [] | [b'\r'] => return Err(Nothing::Partial),
            _ => return Err(Nothing::Bad),
        }
    }
}

/// A line that ends in CR LF, with neither CR nor LF in it.
fn line(bytes: &[u8]) -> Result<(&[u8], &[u8]), Nothing> {
    let end = bytes.iter().position(|b| matches!(b, b'\r' | b'\n')).ok_or(Nothing::Partial)?;
    match &bytes[end..] {
        [b'\r', b'\n', rest @ ..] => Ok((&bytes[..end], rest)),
        [b'\r'] => Err(Nothing::Partial),
        _ => Err(Nothing::Bad),
    }
}

/// Without the blanks around it, of which there are two (RFC 9110 §5.6.3).
fn trim(mut value: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = value {
        value = rest;
    }
    value
}

fn number(digits: &[u8], radix: u32) -> Result<usize, Nothing> {
    let all = !digits.is_empty() && digits.iter().all(|b| char::from(*b).is_digit(radix));
    let text = std::str::from_utf8(digits).ok().filter(|_| all).ok_or(Nothing::Bad)?;
    match usize::from_str_radix(text, radix) {
        // More than anybody sends: it will never be there.
        Ok(number) => Ok(number.min(usize::MAX / 2)),
        Err(_) => Err(Nothing::Bad),
    }
}

fn is_token(bytes: &[u8]) -> bool {
    !bytes.is_empty() && bytes.iter().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(b))
}
