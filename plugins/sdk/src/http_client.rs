//! HTTP requests of the plugin's own. Needs the grant `http`; `wit/outbound.wit` says what holds for them.
//!
//! ```no_run
//! use lockgate_plugin::http_client::{self, Request};
//!
//! let user = http_client::get("https://auth.internal/user")?.bytes(4096)?;
//! let request = Request { method: "POST", body: &user, ..http_client::request("https://auth.internal/audit") };
//! let accepted = http_client::send(&request)?.status == 204;
//! # Ok::<(), http_client::Error>(())
//! ```

#[cfg(target_family = "wasm")]
use crate::bindings::lockgate::plugin::http_client as imported;
pub use crate::bindings::lockgate::plugin::http_client::{Error, Request};
#[cfg(not(target_family = "wasm"))]
use crate::testing::outbound::http_client as imported;

/// A response. Its body is read when it is asked for; dropping it gives up the rest.
#[derive(Debug)]
pub struct Response {
    /// The status.
    pub status: u16,
    id: u32,
    /// The body may have more.
    open: bool,
}

/// A GET without fields of its own, to be sent or to be changed before.
#[must_use]
pub fn request(url: &str) -> Request<'_> {
    Request { method: "GET", url, headers: &[], body: &[], timeout_millis: None }
}

/// Asks for a URL with GET and waits for the head of the response.
///
/// # Errors
/// Anything but a response.
pub fn get(url: &str) -> Result<Response, Error> {
    send(&request(url))
}

/// Sends a request and waits for the head of its response.
///
/// # Errors
/// Anything but a response.
pub fn send(request: &Request<'_>) -> Result<Response, Error> {
    let response = imported::send(request.clone())?;
    Ok(Response { status: response.status, id: response.id, open: true })
}

impl Response {
    /// The first field of that name.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<String> {
        imported::header(self.id, name)
    }

    /// All fields in order, names in lower case.
    #[must_use]
    pub fn headers(&self) -> Vec<(String, String)> {
        imported::headers(self.id)
    }

    /// The next bytes of the body, at least one and at most `max`; none at its end.
    ///
    /// # Errors
    /// When the body breaks off, is too long or takes too long.
    pub fn read(&mut self, max: u32) -> Result<Vec<u8>, Error> {
        if !self.open {
            return Ok(Vec::new());
        }
        let part = imported::read(self.id, max);
        // At its end, and when it breaks off, the host closes it.
        self.open = part.as_ref().is_ok_and(|part| !part.is_empty());
        part
    }

    /// The rest of the body, if it is at most `max` bytes.
    ///
    /// # Errors
    /// When the body breaks off, is longer or takes too long.
    pub fn bytes(mut self, max: u32) -> Result<Vec<u8>, Error> {
        if std::mem::take(&mut self.open) { imported::read_all(self.id, max) } else { Ok(Vec::new()) }
    }
}

impl Drop for Response {
    fn drop(&mut self) {
        if self.open {
            imported::close(self.id);
        }
    }
}
