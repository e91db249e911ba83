//! A request that waits until its plugins have seen its whole body.

use bytes::Bytes;
use http::header::{self, HeaderValue};

use super::finish::Finish;
use super::{Failure, Handling};
use crate::message::{Incoming, Upload};
use crate::plugin::Verdict;
use crate::reason::Reason;

impl Handling<'_> {
    /// Reads the body, which may have so many bytes, shows it to the plugin that wants it and goes on with the next ones.
    pub(super) async fn hold(&mut self, most: u64, finish: &mut Finish) -> Result<Verdict, Failure> {
        // What was announced is known to be no more than the route allows.
        let announced = self.upload.as_ref().map_or(Some(0), Upload::length);
        if announced.is_some_and(|length| length > most) {
            return Err(Reason::BodyTooLarge.into());
        }
        let room = finish.run_mut().hold(announced.unwrap_or(most)).map_err(|failure| failure.reason)?;
        if room.is_none() {
            return Ok(finish.run_mut().pass_over().await);
        }
        let body = match &self.upload {
            Some(upload) => self.read(upload, most, finish).await?,
            None => Bytes::new(),
        };
        let verdict = finish.run_mut().on_request_complete(&body).await;
        if let Some(body) = finish.exchange_mut().new_body.take() {
            self.replace(body, finish);
        }
        Ok(verdict)
    }

    async fn read(&self, upload: &Upload, most: u64, finish: &Finish) -> Result<Bytes, Reason> {
        let deadline = self.connection.local.clock.deadline();
        let left = self.route.timeout.saturating_sub(finish.elapsed());
        let reading = upload.hold(most, &deadline, self.snapshot.config.timeouts.body_idle);
        tokio::time::timeout(left, reading).await.map_err(|_| Reason::RequestTimeout)?
    }

    /// Sends `body` instead of what the client sent.
    fn replace(&mut self, body: Bytes, finish: &mut Finish) {
        let length = HeaderValue::from(body.len());
        finish.exchange_mut().request.headers.insert(header::CONTENT_LENGTH, length);
        let upload = self.upload.get_or_insert_with(|| Upload::new(Incoming::None, self.route.body_limit, true));
        upload.refill(body);
        finish.upload.clone_from(&self.upload);
    }
}
