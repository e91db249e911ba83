//! Text from the network, made harmless in a line of a log: nothing in it can end the line, leave its quotes or speak to a
//! terminal.

/// Appends `text` to a line for people, without quotes around it: printable ASCII stays, every other byte becomes `\xNN`.
pub fn text(out: &mut Vec<u8>, text: &[u8]) {
    let mut rest = text;
    while let Some(place) = rest.iter().position(|byte| !plain(*byte)) {
        out.extend_from_slice(&rest[..place]);
        match rest[place] {
            byte @ (b'"' | b'\\') => out.extend_from_slice(&[b'\\', byte]),
            byte => out.extend_from_slice(&[b'\\', b'x', hex(byte >> 4), hex(byte)]),
        }
        rest = &rest[place + 1..];
    }
    out.extend_from_slice(rest);
}

/// Appends `text` to a line for people as one word: as it is if it is one, else in quotes.
pub fn word(out: &mut Vec<u8>, word: &[u8]) {
    if !word.is_empty() && word.iter().all(|byte| plain(*byte) && *byte != b' ') {
        out.extend_from_slice(word);
    } else {
        out.push(b'"');
        text(out, word);
        out.push(b'"');
    }
}

/// Appends `text` as a JSON string, in quotes. Control characters become `\u00NN`, letters of all scripts stay.
pub fn json(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    let mut rest = text;
    while let Some((place, c)) = rest.char_indices().find(|(_, c)| !plain_in_json(*c)) {
        out.extend_from_slice(&rest.as_bytes()[..place]);
        match c {
            '"' | '\\' => out.extend_from_slice(&[b'\\', c as u8]),
            c => {
                let code = u32::from(c);
                out.extend_from_slice(b"\\u");
                out.extend([12, 8, 4, 0].map(|shift| hex((code >> shift) as u8)));
            }
        }
        rest = &rest[place + c.len_utf8()..];
    }
    out.extend_from_slice(rest.as_bytes());
    out.push(b'"');
}

/// Appends a sentence to a line for people: letters of all scripts and quotes stay, what would end the line, steer a
/// terminal or turn the order of the letters round is written as in a Rust string.
pub fn message(out: &mut Vec<u8>, text: &str) {
    let mut rest = text;
    while let Some((place, c)) = rest.char_indices().find(|(_, c)| steers(*c)) {
        out.extend_from_slice(&rest.as_bytes()[..place]);
        out.extend(c.escape_default().map(|c| c as u8));
        rest = &rest[place + c.len_utf8()..];
    }
    out.extend_from_slice(rest.as_bytes());
}

/// Appends a number in decimal.
pub fn number(out: &mut Vec<u8>, number: u64) {
    let mut digits = [0; 20];
    let mut place = digits.len();
    let mut rest = number;
    loop {
        place -= 1;
        digits[place] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[place..]);
}

/// Appends a number with zeros before it, `width` digits long; higher digits are left out.
pub fn padded(out: &mut Vec<u8>, number: u64, width: u32) {
    out.extend((0..width).rev().map(|place| b'0' + (number / 10u64.pow(place) % 10) as u8));
}

fn plain(byte: u8) -> bool {
    matches!(byte, b' '..=b'~') && byte != b'"' && byte != b'\\'
}

fn plain_in_json(c: char) -> bool {
    // The separators end a line for some readers, though not for JSON.
    !c.is_control() && !matches!(c, '"' | '\\' | '\u{2028}' | '\u{2029}')
}

fn steers(c: char) -> bool {
    c.is_control() || matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

fn hex(digit: u8) -> u8 {
    b"0123456789abcdef"[usize::from(digit & 15)]
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    fn made(make: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        make(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn text_is_printable_ascii_whatever_comes() {
        assert_eq!(made(|out| text(out, b"/a b?c=1~")), "/a b?c=1~");
        assert_eq!(made(|out| text(out, b"\"\\\r\n\0\x1b[31m\x7f")), r#"\"\\\x0d\x0a\x00\x1b[31m\x7f"#);
        assert_eq!(made(|out| text(out, "ä".as_bytes())), r"\xc3\xa4");
        assert_eq!(made(|out| text(out, b"\xff")), r"\xff");
        let all: Vec<u8> = (0..=255).collect();
        assert!(made(|out| text(out, &all)).bytes().all(|byte| (b' '..=b'~').contains(&byte)));
    }

    #[test]
    fn a_word_is_quoted_only_where_it_must_be() {
        assert_eq!(made(|out| word(out, b"app-1")), "app-1");
        assert_eq!(made(|out| word(out, b"")), r#""""#);
        assert_eq!(made(|out| word(out, b"two words")), r#""two words""#);
        assert_eq!(made(|out| word(out, b"a\"b\n")), r#""a\"b\x0a""#);
    }

    #[test]
    fn json_reads_back_as_it_was() {
        let all: String = (0..0x300).filter_map(char::from_u32).chain("\u{2028}\u{2029}\u{202e}😀".chars()).collect();
        let out = made(|out| json(out, &all));
        assert_eq!(serde_json::from_str::<String>(&out).unwrap(), all);
        assert!(!out.chars().any(char::is_control));
        assert!(out.starts_with(r#""\u0000\u0001"#), "{out}");
        assert!(out.contains(r"\u007f") && out.contains(r"\u0085") && out.contains(r"\u2028") && out.contains("äåæ"));
    }

    #[test]
    fn a_message_stays_readable() {
        let said = made(|out| message(out, "no \"ö\" in C:\\x\r\n\u{1b}[2J\u{202e}"));
        assert_eq!(said, "no \"ö\" in C:\\x\\r\\n\\u{1b}[2J\\u{202e}");
    }

    #[test]
    fn numbers() {
        for value in [0, 9, 10, 12345, u64::MAX] {
            assert_eq!(made(|out| number(out, value)), value.to_string());
        }
        assert_eq!(made(|out| padded(out, 7, 3)), "007");
        assert_eq!(made(|out| padded(out, 12345, 3)), "345");
        assert_eq!(made(|out| padded(out, 2026, 4)), "2026");
    }
}
