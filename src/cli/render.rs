//! How things look in a terminal: tables, durations, sizes, colours, text from agents.
//!
//! Pure functions. Styles are written as escape sequences always; the stream that the text goes
//! to takes them out again where nobody would see colours.

use std::fmt;

use anstyle::{AnsiColor, Style};
use comfy_table::{Cell, CellAlignment, Table, presets};

use crate::control::wire::{Moment, UsageRow};

/// Where Unicode has the pictures of control characters, and that of DEL.
const CONTROL_PICTURES: u32 = 0x2400;
const DELETE_PICTURE: char = '␡';

/// Headings.
pub const BOLD: Style = Style::new().bold();
/// What is good to know and not what was asked for.
pub const DIM: Style = Style::new().dimmed();
/// It worked.
pub const GOOD: Style = AnsiColor::Green.on_default();
/// It needs attention.
pub const WARN: Style = AnsiColor::Yellow.on_default();
/// It failed.
pub const BAD: Style = AnsiColor::Red.on_default().bold();
/// Names and ids.
pub const NAME: Style = AnsiColor::Cyan.on_default();

/// What stands for nothing in a table.
pub const NOTHING: &str = "-";

/// Text in a style.
pub fn paint(style: Style, text: impl fmt::Display) -> String {
    format!("{style}{text}{style:#}")
}

/// A table without lines: the heading is bold, columns are two spaces apart, no trailing blanks.
/// `right` names the columns (by number) that hold figures.
pub fn table(header: &[&str], right: &[usize], rows: Vec<Vec<String>>) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(header.iter().map(Cell::new));
    for row in rows {
        // A name may have an end of a line in it; a row has one line.
        table.add_row(row.into_iter().map(|text| Cell::new(text.replace('\n', "⏎"))));
    }
    for (at, column) in table.column_iter_mut().enumerate() {
        column.set_padding((0, 2));
        if right.contains(&at) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    let mut text = String::new();
    for (at, line) in table.lines().enumerate() {
        let line = line.trim_end();
        text.push_str(&if at == 0 { paint(BOLD, line) } else { line.to_owned() });
        text.push('\n');
    }
    text
}

/// `name: value` lines, the values in one column; what is empty is left out.
pub fn facts(pairs: &[(&str, String)]) -> String {
    let width = pairs.iter().filter(|(_, value)| !value.is_empty()).map(|(name, _)| name.len()).max();
    let width = width.unwrap_or_default();
    let shown = pairs.iter().filter(|(_, value)| !value.is_empty());
    shown.map(|(name, value)| format!("{DIM}{name:<width$}{DIM:#}  {value}\n")).collect()
}

/// A duration in at most two units: `850ms`, `4.2s`, `3m 20s`, `2h 5m`, `3d 4h`.
pub fn duration(ms: u64) -> String {
    let s = ms / 1000;
    match s {
        0 => format!("{ms}ms"),
        1..60 => format!("{}.{}s", s, ms % 1000 / 100),
        60..3600 => two(s / 60, "m", s % 60, "s"),
        3600..86_400 => two(s / 3600, "h", s % 3600 / 60, "m"),
        _ => two(s / 86_400, "d", s % 86_400 / 3600, "h"),
    }
}

fn two(large: u64, large_unit: &str, small: u64, small_unit: &str) -> String {
    if small == 0 {
        format!("{large}{large_unit}")
    } else {
        format!("{large}{large_unit} {small}{small_unit}")
    }
}

/// A size: `512B`, `4.0KiB`, `38MiB`, `1.2GiB`.
pub fn size(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    if bytes < 1024 {
        return format!("{bytes}B");
    }
    let mut tenths = u128::from(bytes) * 10 / 1024;
    let mut unit = 0;
    while tenths >= 10_240 && unit + 1 < UNITS.len() {
        tenths /= 1024;
        unit += 1;
    }
    if tenths < 100 {
        format!("{}.{}{}", tenths / 10, tenths % 10, UNITS[unit])
    } else {
        format!("{}{}", tenths / 10, UNITS[unit])
    }
}

/// A count of tokens: `950`, `12.4k`, `1.2M`.
pub fn tokens(n: u64) -> String {
    match n {
        0..1000 => n.to_string(),
        1000..1_000_000 => format!("{}.{}k", n / 1000, n % 1000 / 100),
        _ => format!("{}.{}M", n / 1_000_000, n % 1_000_000 / 100_000),
    }
}

/// How long ago a moment was, seen from `now`, without needless precision.
pub fn ago(at: Moment, now: Moment) -> String {
    match u64::try_from(now.0 - at.0).unwrap_or(0) {
        0..1000 => "just now".to_owned(),
        ms @ 1000..60_000 => format!("{}s ago", ms / 1000),
        ms => format!("{} ago", duration(ms - ms % 60_000)),
    }
}

/// The time of day of a moment in UTC, to the millisecond: `14:03:22.118`.
pub fn clock(at: &str) -> &str {
    at.split_once('T').map_or(at, |(_, time)| time.trim_end_matches('Z'))
}

/// What was spent, in words; empty when nothing was told.
pub fn usage(usage: &UsageRow) -> String {
    let mut parts = Vec::new();
    let mut part = |n: Option<u64>, word: &str| {
        parts.extend(n.map(|n| format!("{} {word}", tokens(n))));
    };
    part(usage.input, "in");
    part(usage.output, "out");
    part(usage.reasoning, "reasoning");
    part(usage.cached_read, "cached");
    if let (Some(used), Some(size)) = (usage.context_used, usage.context_size) {
        parts.push(format!("context {}/{}", tokens(used), tokens(size)));
    }
    if let Some(cost) = usage.cost {
        parts.push(
            format!("{cost:.4} {}", usage.currency.as_deref().unwrap_or_default()).trim_end().to_owned(),
        );
    }
    parts.join(" · ")
}

/// Text that somebody else wrote, on one line and harmless: line ends become `⏎`, other control
/// characters vanish, and what is longer than `width_max` characters is cut with `…`.
pub fn one_line(text: &str, width_max: usize) -> String {
    let mut line = String::new();
    for (at, c) in harmless(text.trim_end()).chars().enumerate() {
        if at + 1 >= width_max {
            line.push('…');
            break;
        }
        line.push(match c {
            '\n' => '⏎',
            '\t' => ' ',
            c => c,
        });
    }
    line
}

/// Text that somebody else wrote with everything visible, and nothing that steers a terminal or shows the
/// words in another order than they have; lines and tabs stay.
pub fn harmless(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\n' | '\t' => shown.push(c),
            // It is an end of a line together with what follows.
            '\r' if chars.peek() == Some(&'\n') => {}
            '\u{0}'..='\u{1f}' => shown.extend(char::from_u32(CONTROL_PICTURES + u32::from(c))),
            '\u{7f}' => shown.push(DELETE_PICTURE),
            c if c.is_control() || is_invisible(c) => shown.push_str(&format!("<U+{:04X}>", u32::from(c))),
            c => shown.push(c),
        }
    }
    shown
}

/// Whether a character is not seen, or changes the order of those around it: the format characters of
/// Unicode (category Cf) but for the joiners that emoji and scripts need, and for what is a letter to see.
fn is_invisible(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{1d173}'..='\u{1d17a}'
        | '\u{e0001}' | '\u{e0020}'..='\u{e007f}')
}

/// A value, or `-`.
pub fn or_nothing<T: fmt::Display>(value: Option<T>) -> String {
    value.map_or_else(|| NOTHING.to_owned(), |value| value.to_string())
}

/// The text as a terminal without colours would show it; for tests and for widths.
#[cfg(test)]
pub fn plain(text: &str) -> String {
    anstream::adapter::strip_str(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_at_most_two_units() {
        let cases = [
            (0, "0ms"),
            (850, "850ms"),
            (4_250, "4.2s"),
            (60_000, "1m"),
            (200_000, "3m 20s"),
            (7_500_000, "2h 5m"),
            (273_600_000, "3d 4h"),
        ];
        for (ms, shown) in cases {
            assert_eq!(duration(ms), shown);
        }
    }

    #[test]
    fn sizes_have_three_digits_at_most() {
        let cases = [(512, "512B"), (4096, "4.0KiB"), (40_000_000, "38MiB"), (1_288_490_188, "1.1GiB")];
        for (bytes, shown) in cases {
            assert_eq!(size(bytes), shown);
        }
    }

    #[test]
    fn ages_are_rounded_down() {
        let now = Moment(10_000_000);
        assert_eq!(ago(Moment(9_999_900), now), "just now");
        assert_eq!(ago(Moment(9_995_500), now), "4s ago");
        assert_eq!(ago(Moment(9_700_500), now), "4m ago");
    }

    #[test]
    fn a_table_has_no_lines_and_no_trailing_blanks() {
        let rows = vec![vec!["c-1".into(), "5".into()], vec!["a longer one".into(), "1234".into()]];
        insta::assert_snapshot!(plain(&table(&["CHAT", "QUEUED"], &[1], rows)), @"
        CHAT          QUEUED
        c-1                5
        a longer one    1234
        ");
    }

    #[test]
    fn facts_line_up_and_empty_ones_vanish() {
        let text = facts(&[("id", "s-1".into()), ("title", String::new()), ("state", "open".into())]);
        insta::assert_snapshot!(plain(&text), @"
        id     s-1
        state  open
        ");
    }

    #[test]
    fn usage_says_only_what_was_told() {
        assert_eq!(usage(&UsageRow::default()), "");
        let told =
            UsageRow { input: Some(12_420), output: Some(85), cost: Some(0.0123), ..UsageRow::default() };
        assert_eq!(usage(&told), "12.4k in · 85 out · 0.0123");
    }

    #[test]
    fn text_of_an_agent_cannot_steer_the_terminal() {
        assert_eq!(harmless("a\u{1b}[2Jb\r\nc\u{7}\rd"), "a␛[2Jb\nc␇␍d");
        assert_eq!(
            harmless("\u{9b}31m \u{7f} \u{202e}txt.exe\u{2069} \u{feff}"),
            "<U+009B>31m ␡ <U+202E>txt.exe<U+2069> <U+FEFF>"
        );
        for plain in ["👩\u{200d}💻", "می\u{200c}خواهم", "é\tü\n", "日本"] {
            assert_eq!(harmless(plain), plain);
        }
        assert_eq!(one_line("two\nlines\u{1b}\n", 40), "two⏎lines␛");
        assert_eq!(one_line("abcdefgh", 5), "abcd…");
    }
}
