//! Sends a response: head and body, as fast as the client takes them and the backend gives them.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};

use http::{Response, StatusCode};
use http_body::Body;

use super::{Driver, Ending};
use crate::http1::{Asked, Reply, WrongLength};
use crate::proxy::ResponseBody;
use crate::ready::to_the_back;

/// A response on its way.
struct Sending {
    reply: Reply,
    /// Holds the exchange, which is over when this is dropped.
    body: ResponseBody,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// More of the body is to come.
    Open,
    /// All of it waits to be written, or has been.
    Over,
    /// It ends in the middle.
    Cut,
}

impl Driver<'_> {
    /// Sends the response. Returns if the connection can be used again.
    pub(super) async fn send(&self, response: Response<ResponseBody>, mut asked: Asked) -> Result<(), Ending> {
        let (head, body) = response.into_parts();
        let watch = self.watch();
        watch.body_moves();
        asked.keep_alive &= !watch.closing() && self.wire.body_is_over();
        let reply = {
            let local = &self.connection.local;
            let date = local.date.now(&local.clock);
            self.wire.write(|out| Reply::begin(out, &head, body.size_hint().exact(), &asked, &date))
        };
        let switched = head.status == StatusCode::SWITCHING_PROTOCOLS;
        drop(head);
        let (keep_alive, until_close) = (reply.keep_alive, reply.lasts_until_close());
        if until_close {
            // Until all of it has been sent, whatever ends this must not look like the end of the body.
            self.wire.set_abrupt(true).map_err(|_| Ending::Broken)?;
        }
        let mut sending = Sending { reply, body, state: State::Open };
        to_the_back().await;
        poll_fn(|cx| self.poll_send(&mut sending, cx)).await?;
        if until_close {
            self.wire.set_abrupt(false).map_err(|_| Ending::Broken)?;
        }
        match (switched, keep_alive) {
            (true, _) => Err(Ending::Switched),
            (false, true) => Ok(()),
            (false, false) => Err(Ending::Quiet),
        }
    }

    fn poll_send(&self, sending: &mut Sending, cx: &mut Context<'_>) -> Poll<Result<(), Ending>> {
        loop {
            let gathered = self.gather(sending, cx);
            match self.wire.poll_write(cx) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(_)) => return Poll::Ready(Err(Ending::Broken)),
                Poll::Pending => return self.poll_patience(cx).map(Err),
            }
            match sending.state {
                State::Over => return Poll::Ready(Ok(())),
                State::Cut => return Poll::Ready(Err(Ending::Broken)),
                State::Open if gathered.is_pending() => return self.poll_patience(cx).map(Err),
                State::Open => {}
            }
        }
    }

    /// Takes of the body what there is room for. Pending when there is room for more than there is.
    fn gather(&self, sending: &mut Sending, cx: &mut Context<'_>) -> Poll<()> {
        while sending.state == State::Open && self.wire.write(|out| out.has_room()) {
            // What has been gathered is not lent meanwhile: the body may carry on the request's, which reads from the wire.
            let frame = if sending.body.is_end_stream() {
                None
            } else {
                match Pin::new(&mut sending.body).poll_frame(cx) {
                    Poll::Ready(frame) => frame,
                    Poll::Pending => return Poll::Pending,
                }
            };
            sending.state = match frame {
                Some(Ok(frame)) => self.add(&mut sending.reply, frame).map_or(State::Cut, |()| State::Open),
                Some(Err(_)) => State::Cut,
                None => self.wire.write(|out| sending.reply.end(out, None)).map_or(State::Cut, |()| State::Over),
            };
        }
        Poll::Ready(())
    }

    fn add(&self, reply: &mut Reply, frame: http_body::Frame<bytes::Bytes>) -> Result<(), WrongLength> {
        match frame.into_data() {
            Ok(data) => self.wire.write(|out| reply.data(out, data)),
            Err(frame) => match frame.into_trailers() {
                Ok(trailers) => self.wire.write(|out| reply.end(out, Some(&trailers))),
                Err(_) => Ok(()),
            },
        }
    }
}
