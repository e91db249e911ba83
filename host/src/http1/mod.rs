//! HTTP/1.1 on the wire (RFC 9112): what bytes mean, and which bytes say what is meant. Nothing here reads or writes a
//! socket.

mod chunk;
mod decode;
mod head;
mod response;

pub use chunk::{write_chunk_head, write_last_chunk};
pub use decode::{BadBody, Decoder, Piece, TRAILER_BYTES, TRAILERS};
pub use head::{BadHead, HeadEnd, connection_says, write_field};
pub use response::{ResponseHead, parse_response};
