//! Whether two files hold the same. Reads only.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

/// Bytes that are read at once.
const BUFFER_BYTES: usize = 64 << 10;

/// Whether two files have the same content; what cannot be read has not.
pub(super) fn same_content(left: &Path, right: &Path) -> bool {
    let (Ok(left), Ok(right)) = (File::open(left), File::open(right)) else { return false };
    let mut left = BufReader::with_capacity(BUFFER_BYTES, left);
    let mut right = BufReader::with_capacity(BUFFER_BYTES, right);
    loop {
        let (Ok(a), Ok(b)) = (left.fill_buf(), right.fill_buf()) else { return false };
        let n = a.len().min(b.len());
        if n == 0 {
            return a.len() == b.len();
        }
        if a[..n] != b[..n] {
            return false;
        }
        left.consume(n);
        right.consume(n);
    }
}
