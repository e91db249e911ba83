//! Bodies of responses, off a backend's connection.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use super::http1::{Http1, Uploading};
use super::pool::{Pool, Stream};
use crate::clock::Clock;
use crate::http1::{Decoder, Piece};
use crate::message::BodyError;

/// The body of a backend's response, with the hold on the connection that it comes over. [`BackendBody::done`] gives the
/// connection back; dropping it before ends the request.
#[derive(Debug)]
pub struct BackendBody(Source);

#[derive(Debug)]
enum Source {
    /// It came with the head. The connection is free already.
    Whole(Bytes),
    Http1(Reading),
    Http2(Incoming, #[expect(dead_code, reason = "counts the stream until it is dropped")] Stream),
}

/// A body that is being read.
#[derive(Debug)]
struct Reading {
    connection: Http1,
    decoder: Decoder,
    keep_alive: bool,
    uploading: Option<Uploading>,
    pool: Rc<Pool>,
    clock: Clock,
}

impl BackendBody {
    /// What follows a head on its connection, which goes back to `pool` as soon as it can.
    pub(super) fn http1(
        decoder: Decoder,
        keep_alive: bool,
        mut connection: Http1,
        uploading: Option<Uploading>,
        pool: &Rc<Pool>,
        clock: &Clock,
    ) -> Self {
        let here = decoder.left().and_then(|left| usize::try_from(left).ok());
        if let Some(length) = here.filter(|length| *length <= connection.input.len())
            && uploading.is_none()
        {
            let whole = connection.input.split_to(length).freeze();
            if keep_alive {
                pool.put_back(connection, clock.millis());
            }
            return Self(Source::Whole(whole));
        }
        let (pool, clock) = (Rc::clone(pool), clock.clone());
        Self(Source::Http1(Reading { connection, decoder, keep_alive, uploading, pool, clock }))
    }

    pub(super) fn http2(body: Incoming, stream: Stream) -> Self {
        Self(Source::Http2(body, stream))
    }

    /// It has been read to its end. The connection serves the next request, unless this one's body is still on its way: the
    /// backend may never read the rest of it, and nobody would notice.
    pub fn done(self) {
        if let Source::Http1(reading) = self.0 {
            let sent = reading.uploading.as_ref().is_none_or(Uploading::is_over);
            let free = sent && reading.decoder.is_over() && reading.keep_alive;
            if free {
                reading.pool.put_back(reading.connection, reading.clock.millis());
            }
        }
    }
}

impl Body for BackendBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match &mut self.get_mut().0 {
            Source::Whole(bytes) if bytes.is_empty() => Poll::Ready(None),
            Source::Whole(bytes) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
            Source::Http1(reading) => reading.poll(cx),
            Source::Http2(incoming, _) => Pin::new(incoming).poll_frame(cx).map_err(BodyError::from),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Source::Whole(bytes) => bytes.is_empty(),
            Source::Http1(reading) => reading.decoder.is_over(),
            Source::Http2(incoming, _) => incoming.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Source::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Source::Http1(reading) => reading.decoder.left().map_or_else(SizeHint::default, SizeHint::with_exact),
            Source::Http2(incoming, _) => incoming.size_hint(),
        }
    }
}

impl Reading {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        loop {
            match self.decoder.decode(&mut self.connection.input) {
                Err(error) => return Poll::Ready(Some(Err(error.into()))),
                Ok(Piece::End) => return Poll::Ready(None),
                Ok(Piece::Data(data)) => return Poll::Ready(Some(Ok(Frame::data(data)))),
                Ok(Piece::Trailers(trailers)) => return Poll::Ready(Some(Ok(Frame::trailers(trailers)))),
                Ok(Piece::Starved) => {}
            }
            match ready!(self.connection.poll_read(cx)) {
                Ok(0) => {
                    return Poll::Ready(match self.decoder.finish() {
                        Ok(()) => None,
                        Err(error) => Some(Err(error.into())),
                    });
                }
                Ok(_) => {}
                Err(error) => return Poll::Ready(Some(Err(error.into()))),
            }
        }
    }
}
