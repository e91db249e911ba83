//! HTTP/1.1 on the wire (RFC 9112): what bytes mean, and which bytes say what is meant. Nothing here reads or writes a
//! socket.

mod chunk;
mod date;
mod decode;
mod facts;
mod head;
mod host;
mod incoming;
mod outbox;
mod reply;
mod request;
mod response;

pub use chunk::{write_chunk_head, write_last_chunk};
pub use date::Date;
pub use decode::{BadBody, Decoder, Piece, TRAILER_BYTES, TRAILERS};
pub use facts::{RequestFacts, ResponseFacts, Said, spells_framing};
pub use head::{BadHead, HeadEnd, connection_says, write_all, write_field};
pub use host::{KnownHost, is_host};
pub use incoming::{BadIncoming, Incoming, Source};
pub use outbox::Outbox;
pub use reply::{Asked, Reply, WrongLength};
pub use request::{RequestHead, may_be_request, parse_request};
pub use response::{ResponseHead, parse_response};
