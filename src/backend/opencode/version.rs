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

/// What is wrong with a program of that version whose server answers with pages where answers should be:
/// newer ones have them at other addresses, as those of before had.
pub(super) fn of_pages(version: Option<&str>) -> String {
    let [major, minor, patch] = OLDEST;
    match version {
        Some(version) => objection(version).unwrap_or_else(|| {
            format!("opencode {version} is not supported: its server answers with a page when it is asked for its health")
        }),
        None => format!(
            "it answers with a page when it is asked for its health, and its version is not known; hob needs \
             opencode {major}.{minor}.{patch} or a later {major}.x"
        ),
    }
}

/// The version in what `opencode --version` prints.
pub(super) fn printed(output: &str) -> Option<String> {
    let words = output.split_ascii_whitespace();
    let is_version = |word: &&str| word.trim_start_matches('v').starts_with(|c: char| c.is_ascii_digit());
    words.map(|word| word.trim_end_matches(',')).find(is_version).map(str::to_owned)
}

fn leading_number(text: &str) -> Option<u64> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    text[..end].parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_answers_with_pages_is_named_by_its_version() {
        assert!(of_pages(Some("2.0.3")).starts_with("opencode 2.0.3 is not supported"));
        assert!(of_pages(Some("0.15.2")).contains("needs 1.18.0 or newer"));
        assert!(of_pages(None).contains("its version is not known"));
        let cases =
            [("2.0.3\n", Some("2.0.3")), ("opencode v2.1.0, built today", Some("v2.1.0")), ("usage", None)];
        for (output, version) in cases {
            assert_eq!(printed(output).as_deref(), version);
        }
    }

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
