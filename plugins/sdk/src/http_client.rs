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
    /// Fields in order, names in lower case.
    pub headers: Vec<(String, String)>,
    body: Option<u32>,
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
    Ok(Response { status: response.status, headers: response.headers, body: Some(response.body) })
}

impl Response {
    /// The first field of that name.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut fields = self.headers.iter();
        fields.find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// The next bytes of the body, at least one and at most `max`; none at its end.
    ///
    /// # Errors
    /// When the body breaks off, is too long or takes too long.
    pub fn read(&mut self, max: u32) -> Result<Vec<u8>, Error> {
        let Some(body) = self.body else { return Ok(Vec::new()) };
        let part = imported::read(body, max);
        if part.as_ref().is_ok_and(|part| !part.is_empty()) {
            return part;
        }
        // The host has closed it.
        self.body = None;
        part
    }

    /// The rest of the body, if it is at most `max` bytes.
    ///
    /// # Errors
    /// When the body breaks off, is longer or takes too long.
    pub fn bytes(mut self, max: u32) -> Result<Vec<u8>, Error> {
        match self.body.take() {
            Some(body) => imported::read_all(body, max),
            None => Ok(Vec::new()),
        }
    }
}

impl Drop for Response {
    fn drop(&mut self) {
        if let Some(body) = self.body {
            imported::close(body);
        }
    }
}
