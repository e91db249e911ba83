//! The date of responses (RFC 9110 §6.6.1), made once a second.

use std::cell::{Cell, RefCell};
use std::time::{SystemTime, UNIX_EPOCH};

use http::header::HeaderValue;

use crate::clock::Clock;

/// One worker's date.
#[derive(Debug)]
pub struct Date {
    value: RefCell<HeaderValue>,
    /// Until when it holds, in the clock's milliseconds.
    until: Cell<u64>,
}

impl Date {
    /// The date now, as far as the clock knows.
    pub fn now(&self, clock: &Clock) -> std::cell::Ref<'_, HeaderValue> {
        let now = clock.millis();
        if now >= self.until.get() {
            self.refresh(now);
        }
        self.value.borrow()
    }

    fn refresh(&self, now: u64) {
        let time = SystemTime::now();
        if let Ok(value) = HeaderValue::try_from(httpdate::fmt_http_date(time)) {
            *self.value.borrow_mut() = value;
        }
        let into_second = time.duration_since(UNIX_EPOCH).map_or(0, |since| since.subsec_millis());
        self.until.set(now + u64::from(1000 - into_second));
    }
}

impl Default for Date {
    fn default() -> Self {
        Self { value: RefCell::new(HeaderValue::from_static("")), until: Cell::new(0) }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn it_is_a_date_and_made_once_a_second() {
        let (date, clock) = (Date::default(), Clock::new());
        let first = date.now(&clock).clone();
        let parsed = httpdate::parse_http_date(first.to_str().unwrap()).unwrap();
        assert!(SystemTime::now().duration_since(parsed).unwrap().as_secs() < 5);
        let until = date.until.get();
        assert!(until > clock.millis() || until <= 1000);
        drop(date.now(&clock));
        assert!(date.until.get() >= until && date.until.get() <= until + 1000);
    }
}
