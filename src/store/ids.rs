//! Makes ids: a prefix and 8 characters of base 32. Looks each one up, so that none is given twice.

use rusqlite::Connection;

use super::error::StoreError;
use super::sql::{self, Result};

/// The characters of an id: base 32, lower case.
const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";

/// Characters after the prefix: 40 bits, so that a collision is rare but has to be met.
const LENGTH: usize = 8;

/// Tries before giving up. With a million ids taken, one try fails once in a million.
const TRIES_MAX: usize = 16;

/// A random id that begins with `prefix` (`s-`, `w-`, …). Whether it is taken shows when it is used.
pub fn fresh_id(prefix: &str) -> String {
    let mut id = String::with_capacity(prefix.len() + LENGTH);
    id.push_str(prefix);
    id.extend((0..LENGTH).map(|_| char::from(ALPHABET[fastrand::usize(..ALPHABET.len())])));
    id
}

/// A random id that no row of `table` has.
pub(super) fn unused(conn: &Connection, table: &'static str, prefix: &str) -> Result<String> {
    unused_from(conn, table, || fresh_id(prefix))
}

fn unused_from(conn: &Connection, table: &'static str, mut draw: impl FnMut() -> String) -> Result<String> {
    let sql = format!("SELECT 1 FROM {table} WHERE id = ?1");
    for _ in 0..TRIES_MAX {
        let id = draw();
        if sql::one(conn, &sql, [&id], |_| Ok(()))?.is_none() {
            return Ok(id);
        }
    }
    Err(StoreError::Conflict(format!("no unused id for {table} was found")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_its_prefix_and_eight_characters() {
        let id = fresh_id("s-");
        assert_eq!(id.len(), 10);
        assert!(id.starts_with("s-"));
        assert!(id.bytes().skip(2).all(|byte| ALPHABET.contains(&byte)));
    }

    #[test]
    fn a_taken_id_is_not_given_again() {
        let conn = Connection::open_in_memory().unwrap();
        conn.execute_batch("CREATE TABLE tasks (id TEXT); INSERT INTO tasks VALUES ('t-a'), ('t-b')").unwrap();
        let mut draws = ["t-a", "t-b", "t-c"].into_iter();
        assert_eq!(unused_from(&conn, "tasks", || draws.next().unwrap().to_owned()).unwrap(), "t-c");
        assert!(unused_from(&conn, "tasks", || "t-a".to_owned()).is_err());
    }
}
