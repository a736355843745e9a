//! The bounds of a connection, and what it makes of what is odd.

/// The bounds of a connection.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// The longest line that is read, in bytes.
    pub max_frame: usize,
    /// Bytes of messages that were read and are not yet done with; reading waits past it.
    pub inbound_bytes: usize,
    /// Bytes that may wait to be written; the connection is closed when more is added past it.
    pub outbound_bytes: usize,
    /// What to do with JSON that no reader takes.
    pub oddities: Oddities,
}

/// What to do with JSON that readers refuse although it is none of their business.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Oddities {
    /// It stays as it is, and whoever reads it says what is wrong with it: a client must know.
    Keep,
    /// It is replaced: an agent's turn must not break at it.
    Replace,
}
