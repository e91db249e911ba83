//! Requests as bytes, from the files in `tests/corpus`, and what is to become of them.

use std::path::Path;

/// One request.
#[derive(Debug, Clone)]
pub struct Case {
    /// What it is, in words.
    pub title: String,
    /// What becomes of it.
    pub verdict: Verdict,
    /// What is sent.
    pub bytes: Vec<u8>,
}

/// What becomes of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It is refused with that status, and the connection closed.
    Refused(u16),
    /// A backend sees it, with this method and target.
    Passed(String),
}

/// The requests of our own corpus.
#[must_use]
pub fn http1() -> Vec<Case> {
    read("http1.txt")
}

/// The requests by which the library http-desync-guardian is tested.
#[must_use]
pub fn guardian() -> Vec<Case> {
    read("guardian.txt")
}

/// What the fuzz target `desync` has found worth keeping.
#[must_use]
pub fn found() -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus/desync");
    let files = std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut found: Vec<_> = files.map(|file| std::fs::read(file.unwrap().path()).unwrap()).collect();
    found.sort();
    found
}

impl Case {
    /// The bytes, with the body that they promise, if they hold none.
    #[must_use]
    pub fn whole(&self) -> Vec<u8> {
        let mut bytes = self.bytes.clone();
        if crate::raw::head_length(&bytes) != Some(bytes.len()) {
            return bytes;
        }
        let head = String::from_utf8_lossy(&bytes).to_ascii_lowercase();
        let value = |name: &str| head.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
        if let Some(length) = value("content-length:").and_then(|length| length.parse::<usize>().ok()) {
            bytes.resize(bytes.len() + length, b'x');
        } else if value("transfer-encoding:").is_some() {
            bytes.extend_from_slice(b"5\r\nhello\r\n0\r\n\r\n");
        }
        bytes
    }
}

fn read(file: &str) -> Vec<Case> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(file);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    text.lines().filter(|line| !line.starts_with('#')).map(case).collect()
}

fn case(line: &str) -> Case {
    let mut columns = line.splitn(3, " | ");
    let mut column = || columns.next().unwrap_or_else(|| panic!("three columns: {line}"));
    let (title, verdict, bytes) = (column().to_owned(), column(), unescape(column()));
    let verdict = match verdict.parse() {
        Ok(status) => Verdict::Refused(status),
        Err(_) => Verdict::Passed(match verdict.strip_prefix("as ") {
            Some(seen) => seen.to_owned(),
            None => {
                let first = String::from_utf8_lossy(&bytes);
                first.split(' ').take(2).collect::<Vec<_>>().join(" ")
            }
        }),
    };
    Case { title, verdict, bytes }
}

/// `\r`, `\n`, `\t`, `\\` and `\xNN` are what they are in Rust.
fn unescape(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let (byte, length) = match (first, tail) {
            (b'\\', [b'r', ..]) => (b'\r', 2),
            (b'\\', [b'n', ..]) => (b'\n', 2),
            (b'\\', [b't', ..]) => (b'\t', 2),
            (b'\\', [b'x', high, low, ..]) => {
                let hex = [*high, *low];
                (u8::from_str_radix(std::str::from_utf8(&hex).unwrap(), 16).unwrap(), 4)
            }
            (b'\\', [b'\\', ..]) => (b'\\', 2),
            (byte, _) => (*byte, 1),
        };
        bytes.push(byte);
        rest = &rest[length..];
    }
    bytes
}
