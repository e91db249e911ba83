//! Bodies of responses to plugins' requests, bit by bit.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;

use bytes::Bytes;
use http_body::Body as _;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use tokio::time::Instant;

use super::http1::Http1;
use super::pool::Pool;
use super::{CallError, in_time, with_causes};
use crate::http1::{Decoder, Piece, ResponseHead};

/// The body of a response, as it comes. Dropping it closes its connection if it was not read to the end.
#[derive(Debug)]
pub struct Body {
    source: Source,
    /// What has come and was not read.
    rest: Bytes,
    /// Bytes that may still come.
    room: usize,
    until: Instant,
}

/// Where the rest of it comes from.
#[derive(Debug)]
enum Source {
    /// Nothing is to come.
    Over,
    Http1(Box<Reading>),
    Http2(Incoming),
}

/// A body on its connection.
#[derive(Debug)]
struct Reading {
    connection: Http1,
    decoder: Decoder,
    keep_alive: bool,
    pool: Arc<Pool>,
    origin: usize,
}

impl Body {
    /// One that is there.
    pub(super) fn whole(bytes: Bytes, room: usize, until: Instant) -> Result<Self, CallError> {
        let room = room.checked_sub(bytes.len()).ok_or(CallError::TooLarge)?;
        Ok(Self { source: Source::Over, rest: bytes, room, until })
    }

    /// What follows a head on its connection, which goes back to the pool as soon as it can.
    pub(super) fn http1(
        head: &mut ResponseHead,
        mut connection: Http1,
        (pool, origin): (&Arc<Pool>, usize),
        (room, until): (usize, Instant),
    ) -> Result<Self, CallError> {
        let length = head.body.left().and_then(|left| usize::try_from(left).ok());
        if let Some(length) = length.filter(|length| *length <= connection.input.len() && connection.is_sent()) {
            let whole = connection.input.split_to(length).freeze();
            if head.keep_alive {
                pool.put_back(origin, connection);
            }
            return Self::whole(whole, room, until);
        }
        let decoder = std::mem::replace(&mut head.body, Decoder::length(0));
        let reading = Reading { connection, decoder, keep_alive: head.keep_alive, pool: Arc::clone(pool), origin };
        Ok(Self { source: Source::Http1(Box::new(reading)), rest: Bytes::new(), room, until })
    }

    pub(super) fn http2(body: Incoming, room: usize, until: Instant) -> Self {
        Self { source: Source::Http2(body), rest: Bytes::new(), room, until }
    }

    /// The next bytes, at least one and at most `most`; none at the end.
    ///
    /// # Errors
    /// When it breaks off, takes too long or is too long.
    pub async fn read(&mut self, most: usize) -> Result<Bytes, CallError> {
        while self.rest.is_empty() {
            let more = match &mut self.source {
                Source::Over => return Ok(Bytes::new()),
                Source::Http1(reading) => reading.next(self.until).await,
                Source::Http2(incoming) => in_time(self.until, next_data(incoming)).await?,
            };
            let Some(more) = more? else {
                if let Source::Http1(reading) = std::mem::replace(&mut self.source, Source::Over) {
                    reading.done();
                }
                return Ok(Bytes::new());
            };
            self.rest = more;
            self.room = self.room.checked_sub(self.rest.len()).ok_or(CallError::TooLarge)?;
        }
        Ok(self.rest.split_to(self.rest.len().min(most)))
    }

    /// All that is left, if it is at most `most` bytes.
    ///
    /// # Errors
    /// As those of [`Body::read`].
    pub async fn read_all(&mut self, most: usize) -> Result<Vec<u8>, CallError> {
        let announced = self.rest.len() as u64 + self.source.at_least();
        if announced > most.min(self.room.saturating_add(self.rest.len())) as u64 {
            return Err(CallError::TooLarge);
        }
        let mut all = Vec::with_capacity(usize::try_from(announced).unwrap_or(0));
        loop {
            let part = self.read(usize::MAX).await?;
            if part.is_empty() {
                return Ok(all);
            }
            if all.len() + part.len() > most {
                return Err(CallError::TooLarge);
            }
            all.extend_from_slice(&part);
        }
    }

    /// Whether all was read.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.rest.is_empty() && self.source.is_over()
    }
}

impl Source {
    /// Bytes that are announced.
    fn at_least(&self) -> u64 {
        match self {
            Self::Over => 0,
            Self::Http1(reading) => reading.decoder.left().unwrap_or(0),
            Self::Http2(incoming) => incoming.size_hint().lower(),
        }
    }

    fn is_over(&self) -> bool {
        match self {
            Self::Over => true,
            Self::Http1(reading) => reading.decoder.is_over(),
            Self::Http2(incoming) => incoming.is_end_stream(),
        }
    }
}

impl Reading {
    /// The next bytes; none at the end.
    async fn next(&mut self, until: Instant) -> Result<Option<Bytes>, CallError> {
        let broken = |error: &dyn std::fmt::Display| CallError::Failed(error.to_string());
        poll_fn(|cx| {
            loop {
                match self.decoder.decode(&mut self.connection.input).map_err(|error| broken(&error))? {
                    Piece::End => return Poll::Ready(Ok(None)),
                    Piece::Data(data) => return Poll::Ready(Ok(Some(data))),
                    // Trailers are not shown.
                    Piece::Trailers(_) => return Poll::Ready(Ok(None)),
                    Piece::Starved => {}
                }
                let more = match self.connection.poll_more(cx) {
                    Poll::Ready(more) => more.map_err(|error| broken(&error))?,
                    Poll::Pending => return self.connection.timer.poll(until, cx).map(|()| Err(CallError::TimedOut)),
                };
                if more == 0 {
                    let whole = self.decoder.finish().map_err(|error| broken(&error));
                    return Poll::Ready(whole.map(|()| None));
                }
            }
        })
        .await
    }

    /// It was read to its end. Unless the request is still on its way, the connection serves the next one.
    fn done(self) {
        if self.keep_alive && self.connection.is_sent() {
            self.pool.put_back(self.origin, self.connection);
        }
    }
}

/// The next bytes off an HTTP/2 stream; none at the end.
async fn next_data(incoming: &mut Incoming) -> Result<Option<Bytes>, CallError> {
    while let Some(frame) = incoming.frame().await {
        let frame = frame.map_err(|error| CallError::Failed(with_causes(&error)))?;
        // Trailers are not shown.
        if let Some(data) = frame.into_data().ok().filter(|data| !data.is_empty()) {
            return Ok(Some(data));
        }
    }
    Ok(None)
}
