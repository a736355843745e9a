//! What can go wrong with the store, and how bad it is. Decides nothing about retries: the writer
//! does, by [`severity`].

use std::error::Error;
use std::path::Path;

use rusqlite::ErrorCode;

/// Why the store did not do what it was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// An id names nothing.
    #[error("no {what} `{id}`")]
    NotFound {
        /// What was looked for: `session`, `chat`, `task`, …
        what: &'static str,
        /// The id that names nothing.
        id: String,
    },
    /// It contradicts what is recorded: in words.
    #[error("{0}")]
    Conflict(String),
    /// The store was closed, or its writer has ended.
    #[error("the database is closed")]
    Closed,
    /// The disk is full. Nothing was written; it may be tried again.
    #[error("the disk that holds the database is full: {0}")]
    Full(String),
    /// Another program holds the database for too long. Nothing was written; it may be tried again.
    #[error("another program holds the database: {0}")]
    Busy(String),
    /// The database cannot be written to at present. Nothing was written; it may be tried again.
    #[error("the database is read-only: {0}")]
    ReadOnly(String),
    /// The system would not read or write the files of the database, and SQLite does not say why.
    #[error("the files of the database cannot be read or written: {0}")]
    Io(String),
    /// What is in the file is no whole database.
    #[error("the database is damaged: {0}")]
    Damaged(String),
    /// Anything else.
    #[error("could not {action}")]
    Other {
        /// What was attempted, as an infinitive.
        action: &'static str,
        /// Why it failed.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
}

impl StoreError {
    /// Nothing was written, and it may be tried again.
    pub fn is_passing(&self) -> bool {
        matches!(self, Self::Full(_) | Self::Busy(_) | Self::ReadOnly(_))
    }

    pub(super) fn not_found(what: &'static str, id: &str) -> Self {
        Self::NotFound { what, id: id.to_owned() }
    }

    pub(super) fn other(action: &'static str, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Other { action, source: source.into() }
    }

    /// Says what was attempted, where nothing more telling is known.
    pub(super) fn while_trying_to(self, action: &'static str) -> Self {
        match self {
            Self::Other { source, .. } => Self::Other { action, source },
            known => known,
        }
    }

    /// The same failure for another command of the same batch.
    pub(super) fn for_neighbour(&self) -> Self {
        match self {
            Self::Full(why) => Self::Full(why.clone()),
            Self::Busy(why) => Self::Busy(why.clone()),
            Self::ReadOnly(why) => Self::ReadOnly(why.clone()),
            _ => Self::Closed,
        }
    }
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => Self::Full(error.to_string()),
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Self::Busy(error.to_string()),
            Some(ErrorCode::ReadOnly) => Self::ReadOnly(error.to_string()),
            Some(ErrorCode::SystemIoFailure) => Self::Io(error.to_string()),
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => Self::Damaged(error.to_string()),
            _ => Self::other("use the database", error),
        }
    }
}

impl From<serde_json::Error> for StoreError {
    fn from(error: serde_json::Error) -> Self {
        Self::other("write a value as JSON", error)
    }
}

/// How far a failure reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Severity {
    /// This command is refused; its neighbours are not touched.
    Command,
    /// Nothing can be written at present.
    Passing,
    /// The database cannot be trusted any more: the daemon must end.
    Fatal,
}

/// How far `error` reaches.
pub(super) fn severity(error: &StoreError) -> Severity {
    match error {
        StoreError::Full(_) | StoreError::Busy(_) | StoreError::ReadOnly(_) => Severity::Passing,
        StoreError::Io(_) | StoreError::Damaged(_) => Severity::Fatal,
        StoreError::Other { source, .. } => match source.downcast_ref::<rusqlite::Error>() {
            Some(sql) => match sql.sqlite_error_code() {
                // A broken constraint is a contradiction, and a value too big is a bad request.
                None | Some(ErrorCode::ConstraintViolation | ErrorCode::TooBig) => Severity::Command,
                Some(_) => Severity::Fatal,
            },
            None => Severity::Command,
        },
        StoreError::NotFound { .. } | StoreError::Conflict(_) | StoreError::Closed => Severity::Command,
    }
}

/// Why a database could not be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The SQLite in this program has a known bug.
    #[error("this program was built with SQLite {found}, and needs 3.51.3 or newer")]
    OldSqlite {
        /// Its version.
        found: &'static str,
    },
    /// A newer program made it.
    #[error("the database has schema {found}, and this program knows up to {known}; use the newer program")]
    Newer {
        /// The schema of the file.
        found: usize,
        /// The newest schema that this program knows.
        known: usize,
    },
    /// A migration did not keep everything. It was rolled back.
    #[error("migration {name} was rolled back because it would not keep everything: {}", rows.join("; "))]
    Refused {
        /// The migration.
        name: &'static str,
        /// What would have been lost, in words; at most 20.
        rows: Vec<String>,
    },
    /// A migration failed. It was rolled back.
    #[error("migration {name} failed and was rolled back")]
    Migration {
        /// The migration.
        name: &'static str,
        /// Why.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
    /// The copy that is made before a migration could not be made.
    #[error("could not copy the database before its migration")]
    Backup(#[source] Box<dyn Error + Send + Sync>),
    /// The file system cannot hold a write-ahead log.
    #[error("the file system of the database cannot hold a write-ahead log; keep the state on a local disk")]
    NoLog,
    /// What is in the file is no whole database.
    #[error("the database is damaged: {}", found.join("; "))]
    Damaged {
        /// What SQLite found, in its words; at most 5.
        found: Vec<String>,
    },
    /// The disk has no room for what SQLite keeps beside the database, or takes no writes.
    #[error("{0}")]
    NoRoom(StoreError),
    /// The file could not be made.
    #[error("could not make the file of the database")]
    Make(#[source] std::io::Error),
    /// The file could not be opened or read.
    #[error("could not open the database")]
    Sqlite(#[source] rusqlite::Error),
    /// A thread could not be started.
    #[error("could not start a thread of the store")]
    Thread(#[from] std::io::Error),
}

impl OpenError {
    /// What a person can do about it, `database` being the file.
    pub fn hint(&self, database: &Path) -> Option<String> {
        match self {
            Self::Damaged { .. } => Some(repair_hint(database)),
            Self::Backup(_) | Self::Migration { .. } | Self::NoRoom(_) => {
                Some(format!("df -h {}", database.parent().unwrap_or(database).display()))
            }
            _ => None,
        }
    }
}

impl From<rusqlite::Error> for OpenError {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
                Self::Damaged { found: vec![error.to_string()] }
            }
            _ => Self::Sqlite(error),
        }
    }
}

/// What a person can do about a damaged database: what SQLite's own program saves of it, or a new
/// beginning.
pub fn repair_hint(database: &Path) -> String {
    let file = database.display();
    format!(
        "sqlite3 {file} .recover | sqlite3 {file}.saved, and put that in its place; \
         or move it away and begin anew (worktrees and branches stay)"
    )
}
