//! How a run went, from what its output says and from how its process ended. Pure.
//!
//! An exit code alone is no sign of success: goose and qwen exit with 0 when the model refused them.

use super::format::Told;
use crate::backend::acp::shown;
use crate::backend::process::RawExit;

/// What is said of a run that ended well and gave no reason of its own.
const ENDED: &str = "end_turn";
/// What is said of a run that was cancelled.
const CANCELLED: &str = "cancelled";

/// What is known of a run that is over.
#[derive(Debug)]
pub(super) struct Facts<'a> {
    /// The program, for a person.
    pub(super) program: &'a str,
    /// What its output says.
    pub(super) told: &'a Told,
    /// How it ended.
    pub(super) exit: RawExit,
    /// It was told to end.
    pub(super) cancelled: bool,
    /// The end of its stderr.
    pub(super) stderr: &'a str,
}

/// The reason for which it stopped, or what went wrong.
pub(super) fn judge(facts: &Facts<'_>) -> Result<String, String> {
    let Facts { program, told, exit, cancelled, stderr } = facts;
    if *cancelled {
        return Ok(CANCELLED.to_owned());
    }
    let how = match (exit.signal, exit.code) {
        (Some(signal), _) => Some(format!("was killed by signal {signal}")),
        (None, Some(0)) => None,
        (None, Some(code)) => Some(format!("exited with code {code}")),
        (None, None) => Some("ended, and nobody saw how".to_owned()),
    };
    match (&told.error, how) {
        (Some(error), None) => Err(error.clone()),
        (Some(error), Some(how)) => Err(with_stderr(format!("{error}; `{program}` {how}"), stderr)),
        (None, Some(how)) => Err(with_stderr(format!("`{program}` {how}"), stderr)),
        (None, None) if told.is_cut => {
            Err(with_stderr(format!("`{program}` ended before it had said how its work went"), stderr))
        }
        (None, None) => Ok(told.stop.clone().unwrap_or_else(|| ENDED.to_owned())),
    }
}

fn with_stderr(message: String, stderr: &str) -> String {
    match shown(stderr) {
        Some(end) => format!("{message}; stderr: {end}"),
        None => message,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(
        told: &Told,
        (code, signal): (Option<i32>, Option<i32>),
        cancelled: bool,
    ) -> Result<String, String> {
        let exit = RawExit { code, signal };
        judge(&Facts { program: "x", told, exit, cancelled, stderr: "oh\nno\n" })
    }

    #[test]
    fn the_output_and_the_exit_both_have_to_be_good() {
        let (good, well) = (Told::default(), (Some(0), None));
        let bad = Told { error: Some("401".into()), ..Told::default() };
        let cut = Told { is_cut: true, ..Told::default() };
        let limit = Told { stop: Some("max_turn_requests".into()), ..Told::default() };
        let err = |text: &str| Err(text.to_owned());
        let table = [
            (&good, well, Ok("end_turn".to_owned())),
            (&limit, well, Ok("max_turn_requests".to_owned())),
            (&bad, well, err("401")),
            (&bad, (Some(1), None), err("401; `x` exited with code 1; stderr: oh | no")),
            (&good, (Some(53), None), err("`x` exited with code 53; stderr: oh | no")),
            (&good, (None, Some(15)), err("`x` was killed by signal 15; stderr: oh | no")),
            (&cut, well, err("`x` ended before it had said how its work went; stderr: oh | no")),
            (&good, (None, None), err("`x` ended, and nobody saw how; stderr: oh | no")),
        ];
        for (told, exit, expected) in table {
            assert_eq!(judged(told, exit, false), expected, "{told:?} {exit:?}");
            assert_eq!(judged(told, exit, true), Ok("cancelled".to_owned()));
        }
    }
}
