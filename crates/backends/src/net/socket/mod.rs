//! Networks whose other side is another program: frames over a connection, each behind its length, or as datagrams.

mod datagram;
mod options;
mod stream;

pub use datagram::DatagramNet;
pub use options::{DatagramAddress, DatagramOptions, StreamOptions};
pub(super) use options::{read_datagram, read_socket, read_stream};
pub use stream::StreamNet;
