//! Which opencode is new enough. Pure.

/// The oldest version that has every endpoint that is used, as it is used.
pub(super) const OLDEST: [u64; 3] = [1, 18, 0];

/// Why a version cannot be used, if it cannot. One that cannot be read is tried.
pub(super) fn objection(version: &str) -> Option<String> {
    let numbers: Option<Vec<u64>> =
        version.trim_start_matches('v').splitn(3, '.').map(leading_number).collect();
    let too_old = numbers.is_some_and(|numbers| numbers.as_slice() < &OLDEST[..]);
    let [major, minor, patch] = OLDEST;
    too_old.then(|| format!("it is opencode {version}, and hob needs {major}.{minor}.{patch} or newer"))
}

fn leading_number(text: &str) -> Option<u64> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    text[..end].parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn older_ones_are_refused_by_name() {
        let cases = [
            ("1.18.33", true),
            ("1.18.0", true),
            ("v1.18.1-beta.2", true),
            ("2.0", true),
            ("local", true),
            ("", true),
            ("1.17.99", false),
            ("0.15.31", false),
            ("1", false),
        ];
        for (version, good) in cases {
            let why = objection(version);
            assert_eq!(why.is_none(), good, "{version}: {why:?}");
            assert!(why.is_none_or(|why| why.contains(version) && why.contains("1.18.0")));
        }
    }
}
