//! Response bodies on their way to the client.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use super::finish::Finish;
use super::stream::Lifeline;
use crate::exchange::End;
use crate::message::{BodyError, passable};
use crate::reason::Reason;
use crate::upstream::BackendBody;

/// A response's body. Holds the exchange: when it is dropped, the exchange is over.
#[derive(Debug)]
pub struct ResponseBody(Box<Inner>);

/// Where a response's body comes from.
#[derive(Debug)]
pub(super) enum Source {
    /// It is here.
    Whole(Bytes),
    /// A backend.
    Backend(BackendBody),
}

#[derive(Debug)]
struct Inner {
    source: Option<Source>,
    finish: Box<Finish>,
    lifeline: Lifeline,
}

impl ResponseBody {
    pub(super) fn new(source: Source, finish: Box<Finish>, lifeline: Lifeline) -> Self {
        let mut inner = Inner { source: Some(source), finish, lifeline };
        let nothing = match &inner.source {
            Some(Source::Whole(bytes)) => bytes.is_empty(),
            Some(Source::Backend(incoming)) => incoming.is_end_stream(),
            None => true,
        };
        if nothing {
            inner.complete();
        } else {
            inner.lifeline.moves();
        }
        Self(Box::new(inner))
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        self.0.poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.0.source.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0.source {
            None => SizeHint::with_exact(0),
            Some(Source::Whole(bytes)) => SizeHint::with_exact(bytes.len() as u64),
            Some(Source::Backend(incoming)) => incoming.size_hint(),
        }
    }
}

impl Inner {
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let incoming = match &mut self.source {
            None => return Poll::Ready(None),
            Some(Source::Backend(incoming)) => incoming,
            Some(Source::Whole(bytes)) => {
                let bytes = std::mem::take(bytes);
                self.finish.response_bytes += bytes.len() as u64;
                self.complete();
                return Poll::Ready(Some(Ok(Frame::data(bytes))));
            }
        };
        match ready!(Pin::new(&mut *incoming).poll_frame(cx)) {
            None => {
                self.complete();
                Poll::Ready(None)
            }
            Some(Err(error)) => {
                self.finish.fails(End::UpstreamTruncated, Reason::UpstreamTruncated);
                self.source = None;
                Poll::Ready(Some(Err(error)))
            }
            Some(Ok(frame)) => {
                let over = incoming.is_end_stream();
                self.lifeline.moves();
                let frame = match frame.into_data() {
                    Ok(data) => {
                        self.finish.response_bytes += data.len() as u64;
                        Frame::data(data)
                    }
                    Err(frame) => match frame.into_trailers() {
                        Ok(trailers) => Frame::trailers(passable(trailers)),
                        Err(frame) => frame,
                    },
                };
                if over {
                    self.complete();
                }
                Poll::Ready(Some(Ok(frame)))
            }
        }
    }

    /// The last byte is on its way: the backend's connection is free for the next request.
    fn complete(&mut self) {
        self.finish.end = Some(End::Complete);
        if let Some(Source::Backend(body)) = self.source.take() {
            body.done();
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        if self.finish.end.is_none() {
            if self.lifeline.passed() {
                self.finish.fails(End::TimedOut, Reason::BodyStalled);
            } else {
                self.finish.fails(End::ClientGone, Reason::ClientGone);
            }
        }
    }
}
