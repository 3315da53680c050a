//! How a guest's TLS connection passes to the host, over the Unix socket that
//! [`crate::arena::TlsHeader`] names.
//!
//! ```text
//! shim -> host   Request (40 bytes) and the beginning of the ClientHello, with the descriptor of
//!                the guest's socket
//! host -> shim   Reply (8 bytes), with the descriptor of a socket to put in its place, if any
//! ```

/// First word of a request.
pub const MAGIC: u64 = u64::from_le_bytes(*b"RRRUNTLS");
/// Bytes of a request before the ClientHello.
pub const REQUEST_BYTES: usize = 40;
/// Most bytes of the ClientHello that are sent along.
pub const HELLO_BYTES_MAX: usize = 16 * 1024;
/// Bytes of a reply.
pub const REPLY_BYTES: usize = 8;

/// Asks the host to take a connection over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    /// Key of the guest's process.
    pub process: u64,
    /// Its steps so far: the step of the call that sends the ClientHello, or of its yield.
    pub step: u64,
    /// The guest's descriptor.
    pub fd: i32,
    /// Bytes of the ClientHello that follow.
    pub hello_len: u32,
    /// Whether bytes had passed on the connection before.
    pub used: bool,
}

impl Request {
    /// The request as it is sent.
    pub const fn to_words(self) -> [u64; REQUEST_BYTES / 8] {
        let last = self.fd as u32 as u64 | (self.hello_len as u64) << 32;
        [MAGIC, self.process, self.step, last, self.used as u64]
    }

    /// Reads a request; none if it is not one.
    pub fn from_bytes(bytes: &[u8; REQUEST_BYTES]) -> Option<Request> {
        let mut words = [0u64; REQUEST_BYTES / 8];
        for (word, part) in words.iter_mut().zip(bytes.as_chunks::<8>().0) {
            *word = u64::from_le_bytes(*part);
        }
        let hello_len = (words[3] >> 32) as u32;
        (words[0] == MAGIC && hello_len as usize <= HELLO_BYTES_MAX).then_some(Request {
            process: words[1],
            step: words[2],
            fd: words[3] as u32 as i32,
            hello_len,
            used: words[4] != 0,
        })
    }
}

/// What the host says: the word of a reply.
pub mod reply {
    /// The descriptor that comes along takes the place of the guest's socket.
    pub const SWAP: u64 = 1;
    /// The connection stays as it is.
    pub const LEAVE: u64 = 2;
}

/// Whether the bytes of a write begin with a TLS record that holds a ClientHello.
pub const fn is_client_hello(head: [u8; 6]) -> bool {
    const HANDSHAKE: u8 = 0x16;
    const CLIENT_HELLO: u8 = 1;
    head[0] == HANDSHAKE && head[1] == 3 && head[2] <= 4 && head[5] == CLIENT_HELLO
}
