//! How many rows a list gives.

use crate::control::error::RpcFailure;

/// What a list gives when no `limit` is told.
pub const LIMIT_DEFAULT: usize = 200;
/// The largest `limit`; more is clamped.
pub const LIMIT_MAX: usize = 1000;

/// How many rows are given for what was asked.
///
/// # Errors
/// None at all were asked for.
pub fn clamp_limit(limit: Option<u64>) -> Result<usize, RpcFailure> {
    match limit {
        Some(0) => Err(RpcFailure::invalid_params("limit", "`limit` is 0; the smallest is 1")),
        Some(limit) => Ok(usize::try_from(limit).unwrap_or(LIMIT_MAX).min(LIMIT_MAX)),
        None => Ok(LIMIT_DEFAULT),
    }
}
