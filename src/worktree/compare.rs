//! Whether two files hold the same. Reads only.

use std::convert::Infallible;
use std::io::{BufRead, BufReader};
use std::path::Path;

use crate::regular;

/// Bytes that are read at once.
const BUFFER_BYTES: usize = 64 << 10;

/// Whether two files have the same content; what cannot be read has not.
pub(super) fn same_content(left: &Path, right: &Path) -> bool {
    matches!(same_content_while(left, right, || Ok::<(), Infallible>(())), Ok(true))
}

/// The same, for as long as it may go on.
pub(super) fn same_content_while<E>(
    left: &Path,
    right: &Path,
    mut may_go_on: impl FnMut() -> Result<(), E>,
) -> Result<bool, E> {
    let (Ok(left), Ok(right)) = (regular::open_no_link(left), regular::open_no_link(right)) else {
        return Ok(false);
    };
    let mut left = BufReader::with_capacity(BUFFER_BYTES, left);
    let mut right = BufReader::with_capacity(BUFFER_BYTES, right);
    loop {
        let (Ok(a), Ok(b)) = (left.fill_buf(), right.fill_buf()) else { return Ok(false) };
        let n = a.len().min(b.len());
        if n == 0 {
            return Ok(a.len() == b.len());
        }
        if a[..n] != b[..n] {
            return Ok(false);
        }
        left.consume(n);
        right.consume(n);
        may_go_on()?;
    }
}
