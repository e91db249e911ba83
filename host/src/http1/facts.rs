//! What the fields of a head say that framing, the gate and the connection go by: gathered as they are read, so that nobody
//! has to look for them again. HTTP/2's are walked through for it, and held to the same.

use http::header::{self, HeaderMap, HeaderName, HeaderValue};

use super::head::BadHead;
use super::host::KnownHost;

/// What the fields of a request say.
#[derive(Debug, Clone, Copy, Default)]
pub struct RequestFacts {
    /// Bytes of all fields, with what HTTP/1 has around them.
    pub size: usize,
    /// Whom it is for.
    pub host: Said,
    /// What the client expects; 100-continue is the only sound expectation (RFC 9110 §10.1.1).
    pub expectation: Said,
    /// `Content-Length`.
    pub length: Option<u64>,
    /// Whether `Transfer-Encoding` says so.
    pub chunked: bool,
    /// Whether a name frames the body in the eyes of some: see [`spells_framing`].
    pub misspelled: bool,
    /// Whether the client takes trailers (RFC 9110 §10.1.4).
    pub takes_trailers: bool,
    /// Whether something is said of the connection.
    pub connection: bool,
}

/// What the fields of a response say.
#[derive(Debug, Clone, Copy, Default)]
pub struct ResponseFacts {
    /// Bytes of all fields, with what HTTP/1 has around them.
    pub size: usize,
    /// `Content-Length`.
    pub length: Option<u64>,
    /// How many `Transfer-Encoding` fields there are.
    pub codings: u32,
    /// Whether the last of them says that and nothing else.
    pub chunked: bool,
}

/// What is said by a field that may be there once.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Said {
    /// The field is not there.
    #[default]
    Nothing,
    /// It is there once, and as it should be.
    Sound,
    /// It is malformed.
    Unsound,
    /// It is there more than once.
    Repeated,
}

impl RequestFacts {
    /// Of fields that have not been read one by one.
    ///
    /// # Errors
    /// When the body is framed twice, or in a way that is not served, and when a value has blanks around it.
    pub fn of(headers: &HeaderMap) -> Result<Self, BadHead> {
        let mut facts = Self { size: size_of(headers), ..Self::default() };
        let mut known = KnownHost::default();
        for (name, value) in headers {
            // RFC 9113 §8.2.1. HTTP/1 cannot even say it.
            if value.as_bytes().first().is_some_and(is_blank) || value.as_bytes().last().is_some_and(is_blank) {
                return Err(BadHead::Syntax);
            }
            facts.field(name, value, &mut known)?;
        }
        Ok(facts)
    }

    /// Takes another field into account, but for its size.
    ///
    /// # Errors
    /// When the body is framed twice, or in a way that is not served.
    #[inline]
    pub(super) fn field(
        &mut self,
        name: &HeaderName,
        value: &HeaderValue,
        known: &mut KnownHost,
    ) -> Result<(), BadHead> {
        let name = name.as_str();
        match name.as_bytes().first() {
            Some(b'c' | b'e' | b'h' | b't') => self.known_field(name, value, known),
            // Nearly all fields are passed over here.
            _ => Ok(()),
        }
    }

    fn known_field(&mut self, name: &str, value: &HeaderValue, known: &mut KnownHost) -> Result<(), BadHead> {
        match name {
            "host" => self.host.again(known.is_host(value.as_bytes())),
            "expect" => self.expectation.again(value.as_bytes().eq_ignore_ascii_case(b"100-continue")),
            "content-length" => {
                if self.length.is_some() {
                    return Err(BadHead::Framing);
                }
                self.length = Some(length_of(value.as_bytes()).ok_or(BadHead::Length)?);
            }
            "transfer-encoding" => {
                // RFC 9112 §6.1, and stricter: chunked alone, once.
                if self.chunked || !value.as_bytes().eq_ignore_ascii_case(b"chunked") {
                    return Err(BadHead::Framing);
                }
                self.chunked = true;
            }
            "connection" => self.connection = true,
            "te" => {
                let mut codings = value.as_bytes().split(|b| *b == b',');
                self.takes_trailers |= codings.any(|coding| coding.trim_ascii().eq_ignore_ascii_case(b"trailers"));
            }
            _ => self.misspelled |= spells_framing(name),
        }
        Ok(())
    }
}

impl ResponseFacts {
    /// Of fields that have not been read one by one.
    ///
    /// # Errors
    /// When the length is none, or not one.
    pub fn of(headers: &HeaderMap) -> Result<Self, BadHead> {
        let mut facts = Self { size: size_of(headers), ..Self::default() };
        headers.iter().try_for_each(|(name, value)| facts.field(name, value))?;
        Ok(facts)
    }

    /// Takes another field into account, but for its size.
    ///
    /// # Errors
    /// When the length is none, or not one.
    #[inline]
    pub(super) fn field(&mut self, name: &HeaderName, value: &HeaderValue) -> Result<(), BadHead> {
        if *name == header::CONTENT_LENGTH {
            if self.length.is_some() {
                return Err(BadHead::Length);
            }
            self.length = Some(length_of(value.as_bytes()).ok_or(BadHead::Length)?);
        } else if *name == header::TRANSFER_ENCODING {
            self.codings += 1;
            self.chunked = value.as_bytes().eq_ignore_ascii_case(b"chunked");
        }
        Ok(())
    }
}

impl Said {
    fn again(&mut self, sound: bool) {
        *self = match self {
            Self::Nothing if sound => Self::Sound,
            Self::Nothing => Self::Unsound,
            Self::Sound | Self::Unsound | Self::Repeated => Self::Repeated,
        };
    }
}

/// Whether a name, in lower case, is one that frames the body, but for its hyphens: `Content_Length`, `Transfer---Encoding`. CGI and its
/// heirs take the one for the other.
#[must_use]
pub fn spells_framing(name: &str) -> bool {
    let name = name.as_bytes();
    let plain = match name.first() {
        Some(b'c') => b"contentlength".as_slice(),
        Some(b't') => b"transferencoding",
        _ => return false,
    };
    name.len() >= plain.len()
        && *name != *b"content-length"
        && *name != *b"transfer-encoding"
        && name.iter().filter(|b| b.is_ascii_alphanumeric()).eq(plain)
}

/// RFC 9110 §8.6: 1*DIGIT, as far as anybody can count.
pub(super) fn length_of(value: &[u8]) -> Option<u64> {
    if value.is_empty() || value.len() > 18 {
        return None;
    }
    value.iter().try_fold(0, |number, b| b.is_ascii_digit().then(|| number * 10 + u64::from(b - b'0')))
}

fn is_blank(byte: &u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

fn size_of(headers: &HeaderMap) -> usize {
    headers.iter().map(|(name, value)| name.as_str().len() + value.len() + FIELD_EXTRA).sum()
}

/// What a field has beside name and value: colon, space, CR and LF.
const FIELD_EXTRA: usize = 4;
