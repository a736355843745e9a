//! Hears the output of a run: finds out what it is, and turns it into news.

use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::sync::Semaphore;

use std::sync::Arc;

use hob_actors::event::{Event, Level};
use hob_actors::ports::{News, NewsSink, Permit};

use super::format::{self, Format, Told};
use super::pieces::{Piece, Pieces};
use crate::jsonrpc::Frame;
use crate::legible::{legible, legible_bytes};

/// What is read at once.
const READ_BYTES: usize = 64 << 10;
/// Bytes of news that are on their way to the disk; it is read no further then.
const INBOUND_BYTES: u32 = 1 << 20;

/// The output of one run, as far as it was heard.
pub(super) struct Reading {
    pieces: Pieces,
    format: Option<Format>,
    room: Arc<Semaphore>,
    sink: NewsSink,
}

impl Reading {
    /// Nothing was heard yet. No line is longer than `line_bytes_max`.
    pub(super) fn new(line_bytes_max: usize, sink: NewsSink) -> Self {
        let room = Arc::new(Semaphore::new(INBOUND_BYTES as usize));
        Self { pieces: Pieces::new(line_bytes_max), format: None, room, sink }
    }

    /// Hears everything up to the end of the stream.
    pub(super) async fn hear(&mut self, mut stdout: impl AsyncRead + Unpin) {
        let mut buffer = vec![0; READ_BYTES];
        while let Ok(n_bytes @ 1..) = stdout.read(&mut buffer).await {
            self.pieces.push(&buffer[..n_bytes]);
            self.tell(false).await;
        }
        self.tell(true).await;
    }

    /// What the output said of the whole run.
    pub(super) fn told(&self) -> Told {
        self.format.as_ref().map(Format::told).unwrap_or_default()
    }

    async fn tell(&mut self, ended: bool) {
        while let Some(piece) = self.pieces.next(ended) {
            let n_bytes = u32::try_from(piece.held_bytes()).unwrap_or(INBOUND_BYTES).min(INBOUND_BYTES);
            let news = self.understand(piece);
            let n_news = news.len();
            for (n, news) in news.into_iter().enumerate() {
                // What is told last is written last, and gives back the room of all.
                let permit = if n + 1 == n_news { self.permit(n_bytes).await } else { Permit::free() };
                (self.sink)(news, permit);
            }
        }
    }

    async fn permit(&self, n_bytes: u32) -> Permit {
        // Nobody closes the semaphore.
        let room = self.room.clone().acquire_many_owned(n_bytes).await;
        room.map_or_else(|_| Permit::free(), Permit::holding)
    }

    fn understand(&mut self, piece: Piece) -> Vec<News> {
        match piece {
            Piece::Text(text) => vec![News::Said(Event::Text { text, message: None })],
            Piece::Object(line) => self.object(&legible(&line)),
            Piece::Line(frame) => self.line(frame),
        }
    }

    fn object(&mut self, line: &str) -> Vec<News> {
        let Some(mut format) = format::detect(line.trim()) else { return vec![format::unknown(line)] };
        self.pieces.only_lines();
        let news = format.read(line.trim());
        self.format = Some(format);
        news
    }

    fn line(&mut self, frame: Frame) -> Vec<News> {
        let problem = match frame {
            Frame::Line(bytes) | Frame::Invalid { line: bytes } => {
                let line = legible_bytes(&bytes);
                return match &mut self.format {
                    Some(format) => format.read(&line),
                    None => vec![format::other(&line)],
                };
            }
            Frame::TooLong { bytes } => format!("a line of {bytes} bytes was too long and was skipped"),
        };
        vec![News::Said(Event::Notice { level: Level::Warning, text: problem })]
    }
}
