//! What stands in for the world outside while a scenario is played: time, chance, and whoever is called.

use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode};

use super::CallError;

/// A world in which everything is arranged beforehand.
#[derive(Debug, Default)]
pub struct StandIn {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    now: u64,
    random: u64,
    answers: Vec<(Answer, bool)>,
    calls: Vec<String>,
    unanswered: Vec<String>,
}

/// What a call of `http-client` is answered with.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The method that it is for; none for every method.
    pub method: Option<Method>,
    /// The URL that it is for.
    pub url: String,
    /// A response, or why there is none.
    pub outcome: Result<Arranged, CallError>,
}

/// A response that was arranged.
#[derive(Debug, Clone)]
pub struct Arranged {
    /// The status.
    pub status: StatusCode,
    /// The fields.
    pub headers: HeaderMap,
    /// The whole body.
    pub body: Bytes,
}

impl StandIn {
    /// Arranges everything anew: nanoseconds since 1970, where chance begins, and the answers to calls.
    pub fn arrange(&self, now: u64, seed: u64, answers: Vec<Answer>) {
        let answers = answers.into_iter().map(|answer| (answer, false)).collect();
        *self.state() = State { now, random: seed, answers, ..State::default() };
    }

    /// The time, in nanoseconds since 1970. It stands still.
    #[must_use]
    pub fn now(&self) -> u64 {
        self.state().now
    }

    /// The next random number: SplitMix64, so the same seed gives the same numbers everywhere.
    #[must_use]
    pub fn number(&self) -> u64 {
        let mut state = self.state();
        state.random = state.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = state.random;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// The next random bytes.
    #[must_use]
    pub fn bytes(&self, length: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(length + 8);
        while bytes.len() < length {
            bytes.extend_from_slice(&self.number().to_le_bytes());
        }
        bytes.truncate(length);
        bytes
    }

    /// What that call is answered with: the first answer for it that was not given yet, or else the last that was.
    ///
    /// # Errors
    /// Those that were arranged, and that nothing was.
    pub fn answer(&self, method: &Method, url: &str) -> Result<Arranged, CallError> {
        let mut state = self.state();
        let call = format!("{method} {url}");
        state.calls.push(call.clone());
        let is_for = |answer: &Answer| answer.url == url && answer.method.as_ref().is_none_or(|known| known == method);
        let fresh = state.answers.iter().position(|(answer, given)| !given && is_for(answer));
        let place = fresh.or_else(|| state.answers.iter().rposition(|(answer, _)| is_for(answer)));
        match place {
            Some(place) => {
                state.answers[place].1 = true;
                state.answers[place].0.outcome.clone()
            }
            None => {
                let why = format!("the scenario has no answer to {call}");
                state.unanswered.push(call);
                Err(CallError::Connect(why))
            }
        }
    }

    /// The calls that were made, `METHOD URL` each, and those among them that nothing was arranged for. Forgets them.
    #[must_use]
    pub fn take_calls(&self) -> (Vec<String>, Vec<String>) {
        let mut state = self.state();
        (std::mem::take(&mut state.calls), std::mem::take(&mut state.unanswered))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    fn answer(method: Option<Method>, url: &str, status: u16) -> Answer {
        let status = StatusCode::from_u16(status).unwrap();
        let arranged = Arranged { status, headers: HeaderMap::new(), body: Bytes::new() };
        Answer { method, url: url.to_owned(), outcome: Ok(arranged) }
    }

    #[test]
    fn answers_are_given_in_order_and_the_last_one_again() {
        let world = StandIn::default();
        let url = "http://a/b";
        world.arrange(7, 1, vec![answer(None, url, 500), answer(Some(Method::GET), url, 200)]);
        let statuses: Vec<_> = (0..3).map(|_| world.answer(&Method::GET, url).unwrap().status.as_u16()).collect();
        assert_eq!(statuses, [500, 200, 200]);
        assert_eq!(world.answer(&Method::POST, url).unwrap().status, 500);
        assert!(matches!(world.answer(&Method::GET, "http://a/c"), Err(CallError::Connect(_))));
        let (calls, unanswered) = world.take_calls();
        assert_eq!((calls.len(), unanswered), (5, vec!["GET http://a/c".to_owned()]));
        assert_eq!(world.now(), 7);
    }

    #[test]
    fn the_same_seed_gives_the_same_numbers() {
        let world = StandIn::default();
        let mut seen = Vec::new();
        for seed in [1, 1, 2] {
            world.arrange(0, seed, Vec::new());
            seen.push((world.number(), world.bytes(11)));
        }
        assert_eq!(seen[0], seen[1]);
        assert!(seen[0] != seen[2] && seen[0].1.len() == 11);
    }
}
