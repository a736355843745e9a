//! What the way of an event cannot do without: its row in the database, its line on each socket.

use std::io::Write as _;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use rusqlite::types::Value;
use rusqlite::{Connection, OpenFlags, params_from_iter};

use crate::support::client::Client;
use crate::support::wait::PATIENCE;

/// Rows in one transaction, as many as hobd's writer takes at most.
const GROUP_ROWS: usize = 1024;

/// Bytes that are written to a socket at once, as hobd does.
const WRITE_BYTES: usize = 64 << 10;

/// A database with the tables of hobd's, and the rows of its journal.
pub struct Insertion {
    connection: Connection,
    insert: String,
    rows: Vec<Vec<Value>>,
    next: i64,
}

impl Insertion {
    /// Takes the newest rows of the journal of the daemon in `home`.
    pub fn of(home: &Path, n_rows: usize) -> Self {
        let source =
            Connection::open_with_flags(home.join("hob.db"), OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
        let connection = Connection::open(home.join("limit.db")).unwrap();
        connection.query_row("PRAGMA journal_mode = WAL", [], |_| Ok(())).unwrap();
        connection.execute_batch("PRAGMA synchronous = NORMAL").unwrap();
        let mut schema = source.prepare(
            "SELECT sql FROM sqlite_schema WHERE tbl_name = 'events' AND sql NOT NULL ORDER BY rowid",
        );
        let statements = schema.as_mut().unwrap().query_map([], |row| row.get::<_, String>(0)).unwrap();
        statements.for_each(|statement| connection.execute_batch(&statement.unwrap()).unwrap());
        let mut select = source
            .prepare("SELECT * FROM (SELECT * FROM events ORDER BY seq DESC LIMIT ?1) ORDER BY seq")
            .unwrap();
        let n_columns = select.column_count();
        let row = |row: &rusqlite::Row<'_>| (0..n_columns).map(|column| row.get(column)).collect();
        let rows: Vec<Vec<Value>> =
            select.query_map([n_rows as i64], row).unwrap().map(Result::unwrap).collect();
        assert_eq!(rows.len(), n_rows);
        let insert = format!("INSERT INTO events VALUES ({})", vec!["?"; n_columns].join(", "));
        Self { connection, insert, rows, next: 1 }
    }

    /// How many rows it inserts at a time.
    pub fn n_events(&self) -> usize {
        self.rows.len()
    }

    /// About what hobd sends of these rows.
    pub fn lines(&self) -> Vec<u8> {
        let mut lines = Vec::new();
        for row in &self.rows {
            let fields: Vec<String> = row.iter().map(|value| format!("\"column\":{value:?}")).collect();
            writeln!(lines, "{{{}}}", fields.join(",")).unwrap();
        }
        lines
    }

    /// Inserts all rows once more, in groups.
    pub fn run(&mut self) -> Duration {
        let begin = Instant::now();
        for group in self.rows.chunks_mut(GROUP_ROWS) {
            let transaction = self.connection.transaction().unwrap();
            let mut insert = transaction.prepare_cached(&self.insert).unwrap();
            for row in group {
                row[0] = Value::Integer(self.next);
                self.next += 1;
                insert.execute(params_from_iter(row.iter())).unwrap();
            }
            drop(insert);
            transaction.commit().unwrap();
        }
        begin.elapsed()
    }
}

/// Sockets with a reader behind each.
pub struct Delivery {
    writers: Vec<UnixStream>,
    lines: Vec<u8>,
    read: Receiver<Instant>,
}

impl Delivery {
    /// Opens so many.
    pub fn to(n_readers: usize, lines: Vec<u8>) -> Self {
        let n_lines = memchr::memchr_iter(b'\n', &lines).count();
        let (told, read) = channel();
        let open = |_| {
            let (writer, reader) = UnixStream::pair().unwrap();
            let told = told.clone();
            std::thread::spawn(move || {
                let mut client = Client::over(reader).unwrap();
                loop {
                    for _ in 0..n_lines {
                        if client.receive().is_empty() {
                            return;
                        }
                    }
                    if told.send(Instant::now()).is_err() {
                        return;
                    }
                }
            });
            writer
        };
        Self { writers: (0..n_readers).map(open).collect(), lines, read }
    }

    /// Sends all lines to all of them; ends when the last has read the last.
    pub fn run(&mut self) -> Duration {
        let begin = Instant::now();
        for piece in self.lines.chunks(WRITE_BYTES) {
            for writer in &mut self.writers {
                writer.write_all(piece).unwrap();
            }
        }
        let ends = self.writers.iter().map(|_| self.read.recv_timeout(PATIENCE).unwrap());
        ends.max().unwrap() - begin
    }
}
