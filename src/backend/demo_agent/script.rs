//! What a prompt may ask of the built-in agent. Pure.
//!
//! The last line of the prompt that begins with a known word is obeyed; steps on it are joined by
//! ` ;; `. A prompt without such a line is said back.

use std::time::Duration;

/// What joins steps.
const JOINT: &str = " ;; ";
/// Between the pieces of `slow`, where nothing is said of it.
const SLOW_DEFAULT_MS: u64 = 50;

/// One thing to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    /// `say: TEXT`
    Say(String),
    /// `think: TEXT`
    Think(String),
    /// `slow: N [MS]`: so many pieces of text, so long apart.
    Slow(u64, Duration),
    /// `sleep: MS`
    Sleep(Duration),
    /// `write: PATH: TEXT`
    Write(String, String),
    /// `shell: COMMAND`
    Shell(String),
    /// `ask: TITLE`
    Ask(String),
    /// `count`: how many prompts it remembers.
    Count,
    /// `recall`: which.
    Recall,
    /// `big: KB`: so many KiB of text.
    Big(u64),
    /// `crash [CODE]`
    Crash(i32),
    /// `hang`: until cancelled.
    Hang,
    /// `usage: IN OUT`: what it claims to have spent.
    Usage(u64, u64),
    /// `plan: A, B`
    Plan(Vec<String>),
    /// A step that is none.
    Unknown(String),
}

/// The steps that a prompt asks for.
pub(super) fn steps(prompt: &str) -> Vec<Step> {
    let line = prompt.lines().rev().map(str::trim).find(|line| {
        let first = line.split(JOINT).next().unwrap_or_default();
        step(first.trim()).is_some()
    });
    match line {
        Some(line) => line.split(JOINT).map(|text| read(text.trim())).collect(),
        None => vec![Step::Say(prompt.to_owned())],
    }
}

fn read(text: &str) -> Step {
    step(text).unwrap_or_else(|| Step::Unknown(text.to_owned()))
}

/// `None` if it is no step.
fn step(text: &str) -> Option<Step> {
    let (word, rest) = match text.split_once(':') {
        Some((word, rest)) => (word.trim_end(), rest.trim()),
        None => text.split_once(' ').map_or((text, ""), |(word, rest)| (word, rest.trim())),
    };
    let mut numbers = rest.split_whitespace().map(str::parse::<u64>);
    let mut number = || numbers.next().and_then(Result::ok);
    let with_text = || (!rest.is_empty()).then(|| rest.to_owned());
    Some(match word {
        "say" => Step::Say(rest.to_owned()),
        "think" => Step::Think(with_text()?),
        "slow" => Step::Slow(number()?, Duration::from_millis(number().unwrap_or(SLOW_DEFAULT_MS))),
        "sleep" => Step::Sleep(Duration::from_millis(number()?)),
        "write" => {
            let (path, text) = rest.split_once(':')?;
            Step::Write(path.trim().to_owned(), text.trim().replace("\\n", "\n"))
        }
        "shell" => Step::Shell(with_text()?),
        "ask" => Step::Ask(with_text()?),
        "count" if rest.is_empty() => Step::Count,
        "recall" if rest.is_empty() => Step::Recall,
        "big" => Step::Big(number()?),
        "crash" if rest.is_empty() => Step::Crash(1),
        "crash" => Step::Crash(rest.parse().ok()?),
        "hang" if rest.is_empty() => Step::Hang,
        "usage" => Step::Usage(number()?, number()?),
        "plan" => Step::Plan(with_text()?.split(',').map(|entry| entry.trim().to_owned()).collect()),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_line_of_directives_is_obeyed() {
        let prompt = "say: old\nplease do this\nthink: hm ;; say: a: b ;; count\n";
        let expected = [Step::Think("hm".into()), Step::Say("a: b".into()), Step::Count];
        assert_eq!(steps(prompt), expected);
    }

    #[test]
    fn a_prompt_without_directives_is_said_back() {
        for prompt in ["hello there", "count the files", "hang on a moment", "recall what I said", "note: x"]
        {
            assert_eq!(steps(prompt), [Step::Say(prompt.into())], "{prompt}");
        }
    }

    #[test]
    fn every_step_is_read() {
        let ms = Duration::from_millis;
        for (text, expected) in [
            ("slow: 5", Step::Slow(5, ms(SLOW_DEFAULT_MS))),
            ("slow: 5 20", Step::Slow(5, ms(20))),
            ("sleep: 7", Step::Sleep(ms(7))),
            ("write: a/b.txt: one\\ntwo", Step::Write("a/b.txt".into(), "one\ntwo".into())),
            ("shell: echo a; echo b", Step::Shell("echo a; echo b".into())),
            ("ask: May I?", Step::Ask("May I?".into())),
            ("recall", Step::Recall),
            ("big: 64", Step::Big(64)),
            ("crash", Step::Crash(1)),
            ("crash 78", Step::Crash(78)),
            ("crash: 3", Step::Crash(3)),
            ("hang", Step::Hang),
            ("usage: 10 2", Step::Usage(10, 2)),
            ("plan: a, b", Step::Plan(vec!["a".into(), "b".into()])),
        ] {
            assert_eq!(steps(text), [expected], "{text}");
        }
    }

    #[test]
    fn a_later_step_that_is_none_is_told() {
        assert_eq!(steps("count ;; dance")[1], Step::Unknown("dance".into()));
    }
}
