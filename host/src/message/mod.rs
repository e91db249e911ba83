//! HTTP messages: what may stand in a header section, what belongs to one connection, what is forwarded, and bodies that
//! tell how far they have come.

mod change;
mod edit;
mod forwarded;
mod gate;
mod hop;
mod incoming;
mod path;
mod upload;

pub use change::{Change, Frames, Spoilt};
pub use edit::{EditError, editable_name, editable_value};
pub use forwarded::{Added, Claims, Forwarding, RequestId, RequestIds, Untold};
pub use gate::{Framing, Passed, check_request, check_response, host_of, host_value};
pub use hop::{Hop, clean_request, clean_response, join_cookies};
pub use incoming::Incoming;
pub use path::{Spelling, canonicalize, check_path};
pub use upload::{Upload, UploadBody, editable_trailer, passable};

/// An error of a body, as the HTTP library wants it.
pub type BodyError = Box<dyn std::error::Error + Send + Sync>;
