//! Telling a connection's plaintext from its ciphertext.

use log_format::arena::PLAIN_KEY;

use super::{Connection, Direction, Segment, Tls};

/// How a TLS connection begins.
const HANDSHAKE: &[u8] = &[0x16, 3];

/// Passes what can be read of one connection: of one whose TLS the host has ended, what came
/// before TLS began (a CONNECT), and the plaintext; of any other one everything.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cleartext {
    intercepted: bool,
    begun: bool,
}

impl Cleartext {
    /// For this connection, as the whole session tells of it.
    pub(crate) fn of(connection: &Connection) -> Cleartext {
        let intercepted = matches!(connection.tls, Tls::Intercepted { .. });
        Cleartext { intercepted, begun: false }
    }

    /// Whether a segment passes; they are to come in their order.
    pub(crate) fn passes(&mut self, segment: &Segment<'_>) -> bool {
        if !self.intercepted || segment.log == PLAIN_KEY {
            return true;
        }
        self.begun |= segment.direction == Direction::Sent && segment.bytes.starts_with(HANDSHAKE);
        !self.begun
    }
}
