//! Sizes and durations as people write them.

use std::time::Duration;

use bytesize::ByteSize;

/// A size such as `64 KiB` or `1.5MB`, in bytes. None if the text is not one.
pub(super) fn parse_size(text: &str) -> Option<u64> {
    if !text.starts_with(|first: char| first.is_ascii_digit()) {
        return None;
    }
    text.parse::<ByteSize>().ok().map(|size| size.as_u64())
}

/// A duration such as `30s`, `100ms` or `1h 30m`. None if the text is not one.
pub(super) fn parse_duration(text: &str) -> Option<Duration> {
    humantime::parse_duration(text).ok()
}

/// A duration as one would write it in the file.
pub(super) fn show_duration(duration: Duration) -> String {
    humantime::format_duration(duration).to_string()
}

/// A size as one would write it in the file.
pub(super) fn show_size(bytes: u64) -> String {
    for (unit, name) in [(1 << 40, "TiB"), (1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")] {
        if bytes >= unit && bytes.is_multiple_of(unit) {
            return format!("{} {name}", bytes / unit);
        }
    }
    format!("{bytes} B")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_as_people_write_them() {
        for (text, bytes) in [
            ("0", Some(0)),
            ("64", Some(64)),
            ("64B", Some(64)),
            ("64 KiB", Some(65_536)),
            ("64kib", Some(65_536)),
            ("1.5 MB", Some(1_500_000)),
            ("1 GiB", Some(1 << 30)),
            ("9007199254740993 B", Some(9_007_199_254_740_993)),
            ("-1", None),
            ("+1", None),
            ("", None),
            ("KiB", None),
            ("64 apples", None),
            ("1e3", None),
        ] {
            assert_eq!(parse_size(text), bytes, "{text:?}");
        }
    }

    #[test]
    fn durations_are_read_as_people_write_them() {
        for (text, millis) in [
            ("30s", Some(30_000)),
            ("100ms", Some(100)),
            ("1h 30m", Some(5_400_000)),
            ("1h30m", Some(5_400_000)),
            ("30", None),
            ("", None),
            ("-1s", None),
            ("1 fortnight", None),
        ] {
            assert_eq!(parse_duration(text), millis.map(Duration::from_millis), "{text:?}");
        }
    }

    #[test]
    fn what_is_shown_is_read_back() {
        for bytes in [0, 1, 1023, 1024, 65_536, 1_500_000, 1 << 40] {
            assert_eq!(parse_size(&show_size(bytes)), Some(bytes));
        }
        let odd = Duration::from_millis(90_061_001);
        assert_eq!(parse_duration(&show_duration(odd)), Some(odd));
    }
}
