//! Dates in UTC. The text of a second is made once in it.

use std::time::{SystemTime, UNIX_EPOCH};

use super::escape::padded;

/// The current time as text, made again only when the second changes.
#[derive(Debug, Default)]
pub struct Date {
    second: Option<u64>,
    combined: Vec<u8>,
    iso: Vec<u8>,
}

impl Date {
    /// `22/Nov/2026:16:12:18 +0000`, as in the common log format.
    pub fn combined(&mut self, out: &mut Vec<u8>, now: SystemTime) {
        self.update(now);
        out.extend_from_slice(&self.combined);
    }

    /// `2026-11-22T16:12:18.123Z` (RFC 3339).
    pub fn iso(&mut self, out: &mut Vec<u8>, now: SystemTime) {
        let millis = self.update(now);
        out.extend_from_slice(&self.iso);
        padded(out, millis, 3);
        out.push(b'Z');
    }

    /// Returns the milliseconds within the second.
    fn update(&mut self, now: SystemTime) -> u64 {
        // Before 1970 it is 1970.
        let since = now.duration_since(UNIX_EPOCH).unwrap_or_default();
        if self.second != Some(since.as_secs()) {
            self.second = Some(since.as_secs());
            self.write(since.as_secs());
        }
        u64::from(since.subsec_millis())
    }

    fn write(&mut self, second: u64) {
        let (year, month, day) = civil(second / 86400);
        let time = [second / 3600 % 24, second / 60 % 60, second % 60];
        let Self { combined, iso, .. } = self;
        combined.clear();
        padded(combined, day, 2);
        combined.push(b'/');
        combined.extend_from_slice(MONTHS[month as usize - 1].as_bytes());
        combined.push(b'/');
        padded(combined, year, 4);
        iso.clear();
        padded(iso, year, 4);
        iso.push(b'-');
        padded(iso, month, 2);
        iso.push(b'-');
        padded(iso, day, 2);
        for (place, part) in time.into_iter().enumerate() {
            combined.push(b':');
            padded(combined, part, 2);
            iso.push(if place == 0 { b'T' } else { b':' });
            padded(iso, part, 2);
        }
        combined.extend_from_slice(b" +0000");
        iso.push(b'.');
    }
}

const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// Year, month and day of a day since 1970-01-01, in the Gregorian calendar.
fn civil(days: u64) -> (u64, u64, u64) {
    // Years are counted from March, so that the leap day is a year's last: lengths of months then follow one formula, and
    // 400 years are always 146097 days. 719468 days lie between 0000-03-01 and 1970-01-01.
    let days = days + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day_of_year = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day_of_month = day_of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (era * 400 + year + u64::from(month <= 2), month, day_of_month)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use std::time::Duration;

    use super::*;

    fn iso(date: &mut Date, millis: u64) -> String {
        let mut out = Vec::new();
        date.iso(&mut out, UNIX_EPOCH + Duration::from_millis(millis));
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn known_moments() {
        let mut date = Date::default();
        assert_eq!(iso(&mut date, 0), "1970-01-01T00:00:00.000Z");
        assert_eq!(iso(&mut date, 951_782_399_999), "2000-02-28T23:59:59.999Z");
        assert_eq!(iso(&mut date, 951_782_400_000), "2000-02-29T00:00:00.000Z");
        assert_eq!(iso(&mut date, 4_102_444_800_001), "2100-01-01T00:00:00.001Z");
        let mut out = Vec::new();
        date.combined(&mut out, UNIX_EPOCH + Duration::from_secs(1_795_363_938));
        assert_eq!(out, b"22/Nov/2026:16:12:18 +0000");
        assert_eq!(iso(&mut Date::default(), 1_795_363_938_123), "2026-11-22T16:12:18.123Z");
    }

    /// Against `httpdate`, which many rely on: every day of 300 years.
    #[test]
    fn every_day_is_the_right_one() {
        for day in 0..110_000 {
            let moment = UNIX_EPOCH + Duration::from_secs(day * 86400);
            let (year, month, day) = civil(day);
            let theirs = httpdate::fmt_http_date(moment);
            let ours = format!("{day:02} {} {year:04}", MONTHS[month as usize - 1]);
            assert_eq!(theirs.split_at(5).1.split_at(11).0, ours);
        }
    }
}
