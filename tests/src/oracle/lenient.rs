//! Servers that take more than they should, each in a way of its own. What Lockgate sends must leave none of them a choice.

/// How such a server reads.
#[derive(Debug, Clone, Copy)]
pub(super) struct Manners {
    /// For reports.
    name: &'static str,
    /// A lone CR ends a line as well.
    lone_cr: bool,
    /// Underscores in names are hyphens, as in CGI and its heirs.
    underscores: bool,
    /// Of several fields the last counts.
    last: bool,
    /// A length counts for more than a coding.
    length_first: bool,
    /// Any coding in which the word occurs is chunked.
    loose_coding: bool,
}

/// Every kind that is tried.
pub(super) const ALL: [Manners; 6] = [
    Manners { name: "loose", loose_coding: true, ..PLAIN },
    Manners { name: "length first", length_first: true, ..PLAIN },
    Manners { name: "last field", last: true, loose_coding: true, ..PLAIN },
    Manners { name: "lone CR", lone_cr: true, loose_coding: true, ..PLAIN },
    Manners { name: "CGI", underscores: true, loose_coding: true, ..PLAIN },
    Manners { name: "CGI, length first, last", underscores: true, length_first: true, last: true, ..PLAIN },
];

const PLAIN: Manners = Manners {
    name: "plain",
    lone_cr: false,
    underscores: false,
    last: false,
    length_first: false,
    loose_coding: false,
};

impl Manners {
    /// What it is called.
    #[must_use]
    pub(super) fn name(&self) -> &'static str {
        self.name
    }

    /// First line and number of bytes of the request that it sees in `bytes`, if it sees a whole one.
    #[must_use]
    pub(super) fn request(&self, bytes: &[u8]) -> Option<(String, usize)> {
        let mut rest = bytes;
        let first = String::from_utf8_lossy(self.line(&mut rest)?.trim_ascii()).into_owned();
        let (mut length, mut chunked) = (None, false);
        loop {
            let line = self.line(&mut rest)?;
            if line.is_empty() {
                break;
            }
            let (name, value) = line.split_at(line.iter().position(|b| *b == b':').unwrap_or(line.len()));
            let mut name = String::from_utf8_lossy(name.trim_ascii()).to_ascii_lowercase();
            if self.underscores {
                name = name.replace('_', "-");
            }
            let value = String::from_utf8_lossy(value.get(1..).unwrap_or_default()).to_ascii_lowercase();
            match name.as_str() {
                "content-length" if length.is_none() || self.last => length = value.trim().parse().ok(),
                "transfer-encoding" if self.loose_coding => chunked |= value.contains("chunked"),
                "transfer-encoding" => chunked = value.trim() == "chunked",
                _ => {}
            }
        }
        match length {
            Some(length) if self.length_first || !chunked => rest = rest.get(length..)?,
            _ if chunked => self.chunks(&mut rest)?,
            _ => {}
        }
        Some((first, bytes.len() - rest.len()))
    }

    fn chunks(&self, rest: &mut &[u8]) -> Option<()> {
        loop {
            let line = self.line(rest)?;
            let digits = line.iter().position(|b| !b.is_ascii_hexdigit()).unwrap_or(line.len());
            let size = usize::from_str_radix(std::str::from_utf8(&line[..digits]).ok()?, 16).ok()?;
            if size == 0 {
                while !self.line(rest)?.is_empty() {}
                return Some(());
            }
            *rest = rest.get(size..)?;
            self.line(rest)?;
        }
    }

    fn line<'a>(&self, rest: &mut &'a [u8]) -> Option<&'a [u8]> {
        let ends = |b: &u8| *b == b'\n' || (self.lone_cr && *b == b'\r');
        let end = rest.iter().position(ends)?;
        let line = &rest[..end];
        let pair = rest[end] == b'\r' && rest.get(end + 1) == Some(&b'\n');
        *rest = &rest[end + 1 + usize::from(pair)..];
        Some(line.strip_suffix(b"\r").unwrap_or(line))
    }
}
