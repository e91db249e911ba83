//! A chunk of a body in the hands of one plugin.

use bytes::Bytes;
use http::HeaderMap;
use smallvec::SmallVec;

use super::chain::Run;
use super::hooks::{OnRequestBody, OnResponseBody};
use super::stats::Hook;
use super::wit::WitBodyAction;
use super::{Failure, PluginUse};

/// Which body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The request's.
    Request,
    /// The response's.
    Response,
}

/// A piece of a body, of at most 64 KiB, for one plugin.
#[derive(Debug)]
pub struct Chunk {
    /// Which body.
    pub side: Side,
    /// The plugin's place in the chain.
    pub place: usize,
    /// The bytes.
    pub bytes: Bytes,
    /// With the last one, the body's trailers, which the plugin may change.
    pub last: Option<HeaderMap>,
}

/// What becomes of a chunk.
#[derive(Debug)]
pub enum BodyAction {
    /// It goes on as it is.
    Pass,
    /// This goes on in its place.
    Replace(Bytes),
    /// The exchange ends.
    Abort,
}

impl Side {
    /// The hook for such a body.
    #[must_use]
    pub const fn hook(self) -> Hook {
        match self {
            Self::Request => Hook::OnRequestBody,
            Self::Response => Hook::OnResponseBody,
        }
    }
}

impl Run {
    /// The places of the plugins that a body goes through, in that order: a request's goes down the chain and a response's
    /// comes up again.
    #[must_use]
    pub fn body_places(&self, side: Side) -> SmallVec<[usize; 4]> {
        let mut places: SmallVec<[usize; 4]> = (0..self.passed())
            .filter(|place| self.plugin(*place).has(side.hook()) && self.takes_part(*place))
            .collect();
        if side == Side::Response {
            places.reverse();
        }
        places
    }

    /// Shows a chunk to its plugin, if that can be done without waiting.
    pub fn on_body_now(&mut self, chunk: &mut Chunk) -> Option<Result<BodyAction, Option<Failure>>> {
        let plugin = self.plugin(chunk.place).clone();
        let keep = keeps(&plugin, chunk);
        let last = self.show_trailers(chunk);
        let hand = self.hand_mut();
        let called = match chunk.side {
            Side::Request => hand.call_now(&plugin, OnRequestBody(&chunk.bytes, last), keep, checked),
            Side::Response => hand.call_now(&plugin, OnResponseBody(&chunk.bytes, last), keep, checked),
        };
        self.take_trailers(chunk);
        let called = called?;
        self.note_failure(chunk.place, called.is_err());
        Some(called)
    }

    /// Shows a chunk to its plugin. An error is none when the plugin is to be skipped; it is not called again then.
    ///
    /// # Errors
    /// When the plugin failed.
    pub async fn on_body(&mut self, chunk: &mut Chunk) -> Result<BodyAction, Option<Failure>> {
        let plugin = self.plugin(chunk.place).clone();
        let keep = keeps(&plugin, chunk);
        let last = self.show_trailers(chunk);
        let hand = self.hand_mut();
        let called = match chunk.side {
            Side::Request => hand.call(&plugin, OnRequestBody(&chunk.bytes, last), keep, checked).await,
            Side::Response => hand.call(&plugin, OnResponseBody(&chunk.bytes, last), keep, checked).await,
        };
        self.take_trailers(chunk);
        self.note_failure(chunk.place, called.is_err());
        called
    }

    fn show_trailers(&mut self, chunk: &mut Chunk) -> bool {
        let trailers = chunk.last.take().map(Box::new);
        let last = trailers.is_some();
        self.exchange_mut().trailers = trailers;
        last
    }

    fn take_trailers(&mut self, chunk: &mut Chunk) {
        chunk.last = self.exchange_mut().trailers.take().map(|trailers| *trailers);
    }
}

/// Whether the instance is needed again: for the rest of this body, or in a later hook.
fn keeps(plugin: &PluginUse, chunk: &Chunk) -> bool {
    chunk.last.is_none() || plugin.hooks().has_after(chunk.side.hook())
}

fn checked((action,): (WitBodyAction,)) -> Result<BodyAction, String> {
    match action {
        WitBodyAction::Pass => Ok(BodyAction::Pass),
        WitBodyAction::Replace(bytes) if bytes.len() > LARGEST_OUTPUT => {
            Err(format!("it made {} bytes of one chunk; {LARGEST_OUTPUT} is the most", bytes.len()))
        }
        WitBodyAction::Replace(bytes) => Ok(BodyAction::Replace(bytes.into())),
        WitBodyAction::Abort => Ok(BodyAction::Abort),
    }
}

/// Bytes that a plugin may make of one chunk.
const LARGEST_OUTPUT: usize = 1 << 20;
