//! A client that looks at as little of a line as it can: what it costs must not be what is measured.

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;

use serde_json::{Value, json};

use super::wait::PATIENCE;

/// What is read at once: enough for many events.
const READ_BYTES: usize = 64 << 10;

/// One connection.
pub struct Client {
    writer: UnixStream,
    reader: BufReader<UnixStream>,
    line: Vec<u8>,
}

impl Client {
    /// Connects to a socket.
    pub fn connect(socket: &Path) -> std::io::Result<Self> {
        Self::over(UnixStream::connect(socket)?)
    }

    /// Speaks over a connection that is there.
    pub fn over(writer: UnixStream) -> std::io::Result<Self> {
        writer.set_read_timeout(Some(PATIENCE))?;
        let reader = BufReader::with_capacity(READ_BYTES, writer.try_clone()?);
        Ok(Self { writer, reader, line: Vec::new() })
    }

    /// Sends bytes, which must end a line.
    pub fn send(&mut self, bytes: &[u8]) {
        self.writer.write_all(bytes).unwrap();
    }

    /// The next line; empty when the connection was closed.
    pub fn receive(&mut self) -> &[u8] {
        self.line.clear();
        self.reader.read_until(b'\n', &mut self.line).unwrap();
        &self.line
    }

    /// Sends a line and returns the next one.
    pub fn exchange(&mut self, bytes: &[u8]) -> &[u8] {
        self.send(bytes);
        self.receive()
    }

    /// Calls a method that must succeed. For preparations: it parses.
    #[track_caller]
    pub fn call(&mut self, method: &str, params: Value) -> Value {
        self.send(&request(method, params));
        loop {
            let line = self.receive();
            let mut answer: Value = serde_json::from_slice(line).unwrap_or_else(|e| panic!("{method}: {e}"));
            if answer.get("id").is_some() {
                assert!(answer.get("error").is_none(), "{method}: {answer:#}");
                return answer["result"].take();
            }
        }
    }
}

/// A request as a line.
pub fn request(method: &str, params: Value) -> Vec<u8> {
    format!("{}\n", json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params})).into_bytes()
}
