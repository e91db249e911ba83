//! Response bodies on their way to the client.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use super::finish::Finish;
use super::stream::Lifeline;
use super::transform::Transform;
use crate::exchange::{End, Origin};
use crate::message::{BodyError, Change, Frames, Spoilt, Upload, passable};
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
    /// Before the exchange, which it may have to be given back.
    transform: Option<Box<Transform>>,
    source: Option<Source>,
    finish: Box<Finish>,
    lifeline: Lifeline,
    /// The client has to take what there is, before there is more.
    waits: bool,
}

impl ResponseBody {
    pub(super) fn new(
        source: Source,
        transform: Option<Box<Transform>>,
        finish: Box<Finish>,
        lifeline: Lifeline,
    ) -> Self {
        let mut inner = Inner { transform, source: Some(source), finish, lifeline, waits: false };
        if inner.transform.is_none() && inner.is_read() {
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
        self.0.source.is_none() && self.0.transform.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0.source {
            _ if self.0.transform.is_some() => SizeHint::default(),
            None => SizeHint::with_exact(0),
            Some(Source::Whole(bytes)) => SizeHint::with_exact(bytes.len() as u64),
            Some(Source::Backend(incoming)) => incoming.size_hint(),
        }
    }
}

impl Inner {
    #[inline]
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let frame = if self.transform.is_some() {
            self.poll_transformed(cx)
        } else if self.finish.changes_bodies() {
            self.poll_watched(cx)
        } else {
            self.poll_source(cx)
        };
        self.waits_for_client(matches!(&frame, Poll::Ready(Some(Ok(frame))) if self.holds(frame)));
        frame
    }

    /// Whether it is worth noting that the client has to take this: most responses are one small piece.
    #[inline]
    fn holds(&self, frame: &Frame<Bytes>) -> bool {
        self.finish.end.is_none() || frame.data_ref().is_some_and(|data| data.len() >= SMALL)
    }

    #[inline]
    fn waits_for_client(&mut self, waits: bool) {
        if self.waits != waits {
            self.waits = waits;
            self.finish.watch().body_waits(waits);
        }
    }

    /// The body as it comes, unless what plugins make of the request's body fails meanwhile: nobody else would tell the client.
    fn poll_watched(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if self.source.is_none() {
            return Poll::Ready(None);
        }
        let before = self.finish.response_bytes;
        let frame = match self.spoilt() {
            None => self.poll_source(cx),
            Some(_) => Poll::Pending,
        };
        let Some(reason) = self.spoilt() else { return frame };
        self.finish.response_bytes = before;
        self.finish.fails(End::Aborted, reason);
        self.source = None;
        Poll::Ready(Some(Err("a plugin ended the exchange".into())))
    }

    /// Why what plugins make of the request's body has failed since the response began.
    fn spoilt(&self) -> Option<Reason> {
        // What the host itself says of such a failure is not spoilt by it.
        let upload = self.finish.upload.as_ref().filter(|_| self.finish.origin == Origin::Backend)?;
        upload.failed().filter(|reason| matches!(reason, Reason::PluginFailed | Reason::PluginAborted))
    }

    /// The body as the plugins make it.
    fn poll_transformed(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let Some(mut transform) = self.transform.take() else { return Poll::Ready(None) };
        let frame = match transform.poll_changed(cx, self) {
            Poll::Pending => {
                self.transform = Some(transform);
                return Poll::Pending;
            }
            Poll::Ready(frame) => frame,
        };
        let over = transform.is_over();
        // What plugins make of the request's body has failed since the response began: nobody else would tell the client.
        let upload = self.finish.upload.as_ref().filter(|_| self.finish.reason.is_none());
        let failed = upload.and_then(Upload::failed);
        let reason = match &frame {
            Some(Err(Spoilt::Change(reason))) => Some(*reason),
            _ => failed.filter(|reason| matches!(reason, Reason::PluginFailed | Reason::PluginAborted)),
        };
        if let Some(reason) = reason {
            self.finish.fails(End::Aborted, reason);
            self.source = None;
            return Poll::Ready(Some(Err("a plugin ended the exchange".into())));
        }
        match frame {
            None => {
                self.finish.end = Some(End::Complete);
                Poll::Ready(None)
            }
            Some(Ok(frame)) => {
                self.finish.response_bytes += frame.data_ref().map_or(0, |data| data.len() as u64);
                self.lifeline.moves();
                if over {
                    self.finish.end = Some(End::Complete);
                } else {
                    self.transform = Some(transform);
                }
                Poll::Ready(Some(Ok(frame)))
            }
            // It has been noted down whose fault it is.
            Some(Err(Spoilt::Body(error))) => Poll::Ready(Some(Err(error))),
            Some(Err(Spoilt::Change(_))) => Poll::Ready(Some(Err("a plugin ended the exchange".into()))),
        }
    }

    /// The body as it comes.
    fn poll_source(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
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

    /// Whether there is nothing more to come from the source.
    fn is_read(&self) -> bool {
        match &self.source {
            Some(Source::Whole(bytes)) => bytes.is_empty(),
            Some(Source::Backend(incoming)) => incoming.is_end_stream(),
            None => true,
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

/// The body as it comes, for plugins to change: what is counted, and when it is complete, is for what they make of it to say.
impl Frames for Inner {
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let before = self.finish.response_bytes;
        let frame = self.poll_source(cx);
        self.finish.response_bytes = before;
        if self.finish.end == Some(End::Complete) {
            self.finish.end = None;
        }
        frame
    }

    fn is_over(&self) -> bool {
        self.is_read()
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        // A call under way ends here, and the run is brought back.
        self.transform = None;
        self.waits_for_client(false);
        if self.finish.end.is_none() {
            if self.finish.watch().is_shed() {
                self.finish.fails(End::Aborted, Reason::Overloaded);
            } else if self.lifeline.passed() {
                self.finish.fails(End::TimedOut, Reason::BodyStalled);
            } else {
                self.finish.fails(End::ClientGone, Reason::ClientGone);
            }
        }
    }
}

/// Bytes of a body's end that are not worth noting that they wait for the client.
const SMALL: usize = 4 << 10;
