//! Spans of time as a person says them.

use std::time::Duration;

/// The two greatest units that are not zero: `2m`, `1h 30m`, `300ms`.
pub(crate) fn duration(span: Duration) -> String {
    let secs = span.as_secs();
    let (hours, minutes, seconds) = (secs / 3600, secs / 60 % 60, secs % 60);
    match (hours, minutes, seconds) {
        (0, 0, 0) => format!("{}ms", span.as_millis()),
        (0, 0, seconds) => format!("{seconds}s"),
        (0, minutes, 0) => format!("{minutes}m"),
        (0, minutes, seconds) => format!("{minutes}m {seconds}s"),
        (hours, 0, _) => format!("{hours}h"),
        (hours, minutes, _) => format!("{hours}h {minutes}m"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_is_said_in_its_two_greatest_units() {
        let cases = [
            (0, "0ms"),
            (300, "300ms"),
            (5_400, "5s"),
            (120_000, "2m"),
            (450_000, "7m 30s"),
            (7_200_000, "2h"),
            (5_430_000, "1h 30m"),
        ];
        for (ms, said) in cases {
            assert_eq!(duration(Duration::from_millis(ms)), said);
        }
    }
}
