//! Drives an HTTP/1 connection: its exchanges one after the other, its deadlines, and the way it ends. All of it is one
//! task, and what an exchange needs is kept for the next.

mod close;
mod send;
mod wire;

use std::cell::Cell;
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use http::{Method, Request, Response};

use self::wire::{NoHead, Wire, reason_of};
use crate::config::Limits;
use crate::http1::{Asked, KnownHost, RequestFacts, parse_request};
use crate::message::Incoming;
use crate::proxy::{Connection, ResponseBody, serve};
use crate::reason::Reason;
use crate::socket::{ClientStream, Phase, Watch};

/// Serves the connection to its end. `read` has been read from `stream` already.
pub(super) async fn drive(connection: Rc<Connection>, stream: ClientStream, read: BytesMut, limits: &Limits) {
    let wire = Rc::new(Wire::new(stream, read, Rc::clone(&connection.watch)));
    let driver = Driver { connection, wire, limits, told_to_close: Cell::new(false) };
    let ending = driver.exchanges().await;
    if let Ending::Broken = ending {
        // A response that was cut short must not look whole: no more bytes, and no orderly end of TLS.
        return;
    }
    // Boxed, because the task lives as long as the connection and this only at its end.
    Box::pin(close::end(&driver.connection, &driver.wire, ending)).await;
}

struct Driver<'a> {
    connection: Rc<Connection>,
    wire: Rc<Wire>,
    limits: &'a Limits,
    /// It has had its moment to take its leave.
    told_to_close: Cell<bool>,
}

/// How a connection ends.
#[derive(Debug)]
enum Ending {
    /// All that was begun has been finished.
    Quiet,
    /// It is HTTP no more.
    Switched,
    /// What came cannot be served.
    Refused(Reason),
    /// Something broke off in the middle.
    Broken,
}

/// What comes after an exchange.
enum Next {
    /// A request's head.
    Head(Bytes),
    /// Nothing for a while.
    Rest,
    /// The end.
    End(Ending),
}

impl Driver<'_> {
    async fn exchanges(&self) -> Ending {
        // One place for all exchanges, but none while the connection is idle.
        let mut place = None;
        let mut known = KnownHost::default();
        loop {
            let head = match poll_fn(|cx| self.poll_next(cx)).await {
                Next::Head(head) => head,
                Next::Rest => {
                    place = None;
                    self.wire.rest();
                    continue;
                }
                Next::End(ending) => return ending,
            };
            let (request, facts, asked) = match self.understand(&head, &mut known) {
                Ok(understood) => understood,
                Err(reason) => return Ending::Refused(reason),
            };
            drop(head);
            let exchange = place.get_or_insert_with(|| Box::pin(None));
            exchange.as_mut().set(Some(serve(Rc::clone(&self.connection), request, Some(facts))));
            let response = match poll_fn(|cx| self.poll_exchange(exchange.as_mut(), cx)).await {
                Ok(response) => response,
                Err(ending) => return ending,
            };
            exchange.as_mut().set(None);
            if let Err(ending) = self.send(response, asked).await {
                return ending;
            }
        }
    }

    /// The next request, or why there is none.
    fn poll_next(&self, cx: &mut Context<'_>) -> Poll<Next> {
        let watch = self.watch();
        loop {
            let head = self.wire.poll_head(cx, self.limits);
            let begun = self.wire.has_input();
            match head {
                Poll::Ready(Ok(Some(head))) => return Poll::Ready(Next::Head(head)),
                Poll::Ready(Ok(None)) if !begun => return Poll::Ready(Next::End(Ending::Quiet)),
                Poll::Ready(Ok(None) | Err(NoHead::Lost)) => return Poll::Ready(Next::End(Ending::Broken)),
                Poll::Ready(Err(NoHead::Refused(reason))) => return Poll::Ready(Next::End(Ending::Refused(reason))),
                Poll::Pending if begun => watch.bytes_came(),
                Poll::Pending => {}
            }
            if watch.closing() && watch.phase() == Phase::Idle {
                return Poll::Ready(Next::End(Ending::Quiet));
            }
            if watch.poll_due(cx).is_pending() {
                return Poll::Pending;
            }
            if watch.closing() && !self.told_to_close.replace(true) {
                // A request may be on its way this very moment.
                watch.closing_begun();
                continue;
            }
            return Poll::Ready(match watch.phase() {
                Phase::Idle if watch.rests() => Next::Rest,
                _ if begun => Next::End(Ending::Refused(Reason::RequestTimeout)),
                _ => Next::End(Ending::Quiet),
            });
        }
    }

    fn understand(
        &self,
        head: &Bytes,
        known: &mut KnownHost,
    ) -> Result<(Request<Incoming>, RequestFacts, Asked), Reason> {
        let head = parse_request(head, self.limits.header_count, known).map_err(reason_of)?;
        let asked = Asked {
            version: head.parts.version,
            head: head.parts.method == Method::HEAD,
            takes_trailers: head.facts.takes_trailers,
            keep_alive: head.keep_alive,
        };
        let body = self.wire.begin(head.body, head.expects_continue);
        Ok((Request::from_parts(head.parts, body), head.facts, asked))
    }

    /// Carries the exchange on to its response.
    fn poll_exchange<F>(
        &self,
        exchange: Pin<&mut Option<F>>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Response<ResponseBody>, Ending>>
    where
        F: Future<Output = Response<ResponseBody>>,
    {
        let Some(exchange) = exchange.as_pin_mut() else { return Poll::Ready(Err(Ending::Broken)) };
        let response = exchange.poll(cx);
        while let Some(interim) = self.watch().take_interim() {
            self.wire.write(|out| out.text().extend_from_slice(&interim));
        }
        if let Poll::Ready(response) = response {
            return Poll::Ready(Ok(response));
        }
        if self.wire.write(|out| !out.is_empty())
            && let Poll::Ready(Err(_)) = self.wire.poll_write(cx)
        {
            return Poll::Ready(Err(Ending::Broken));
        }
        self.poll_patience(cx).map(Err)
    }

    /// While an exchange is under way: ready when it is in vain.
    #[inline]
    fn poll_patience(&self, cx: &Context<'_>) -> Poll<Ending> {
        if self.watch().poll_due(cx).is_pending() { Poll::Pending } else { self.poll_end_of_patience(cx) }
    }

    #[cold]
    fn poll_end_of_patience(&self, cx: &Context<'_>) -> Poll<Ending> {
        let watch = self.watch();
        while watch.poll_due(cx).is_ready() {
            if watch.is_shed() || self.wire.gone() {
                return Poll::Ready(Ending::Broken);
            }
            if watch.body_stands() {
                watch.times_out();
                return Poll::Ready(Ending::Broken);
            }
            watch.look_again();
        }
        Poll::Pending
    }

    fn watch(&self) -> &Watch {
        &self.connection.watch
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size_of_future<'a, F: Future>(_: impl Fn(Rc<Connection>, ClientStream, BytesMut, &'a Limits) -> F) -> usize {
        size_of::<F>()
    }

    #[test]
    fn a_connection_is_small_enough_to_be_idle_in_thousands() {
        let size = size_of_future(drive);
        assert!(size <= 1024, "{size} bytes");
    }
}
