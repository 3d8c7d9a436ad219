//! How answers look: aligned tables, color where a person looks on, JSON and YAML for programs.
//!
//! Texts from objects and devices pass [`clean`]: what a device or another person has written must not command a terminal.

use std::io::IsTerminal;

use clap::ValueEnum;
use jiff::Timestamp;
use serde::Serialize;

use crate::error::Error;

/// Forms of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// A table with more columns
    Wide,
    /// Kind and name alone
    Name,
    /// JSON
    Json,
    /// YAML
    Yaml,
}

/// How a piece of text is shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Style {
    /// As it is.
    #[default]
    Plain,
    /// A heading.
    Heading,
    /// All is well.
    Good,
    /// A person is needed, or soon will be.
    Notice,
    /// Something is wrong.
    Bad,
    /// Of less weight.
    Faint,
}

/// Whether there is color.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Paint {
    colors: bool,
}

impl Paint {
    /// Color where this goes to a terminal and nobody declined it (<https://no-color.org>).
    pub fn on(stream: &impl IsTerminal) -> Self {
        let declined = std::env::var_os("NO_COLOR").is_some_and(|v| !v.is_empty());
        let dumb = std::env::var_os("TERM").is_some_and(|v| v == "dumb");
        Self { colors: stream.is_terminal() && !declined && !dumb }
    }

    /// The text in this style.
    pub fn paint(self, style: Style, text: &str) -> String {
        let code = match style {
            _ if !self.colors || text.is_empty() => return text.to_owned(),
            Style::Plain => return text.to_owned(),
            Style::Heading => "1",
            Style::Good => "32",
            Style::Notice => "33",
            Style::Bad => "31",
            Style::Faint => "2",
        };
        format!("\x1b[{code}m{text}\x1b[0m")
    }
}

/// A text without anything that would command a terminal, in one line.
pub fn clean(text: &str) -> String {
    let no_command = |c: char| if c.is_control() || is_direction(c) { ' ' } else { c };
    text.chars().map(no_command).collect::<String>().trim().to_owned()
}

/// Whether the character turns the direction of what follows, which can make one name look like another.
fn is_direction(c: char) -> bool {
    matches!(c, '\u{061c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Columns of texts, aligned.
#[derive(Clone, Debug, Default)]
pub struct Table {
    header: Vec<&'static str>,
    rows: Vec<Vec<(String, Style)>>,
}

impl Table {
    /// A table with these headings.
    pub fn new(header: &[&'static str]) -> Self {
        Self { header: header.to_vec(), rows: Vec::new() }
    }

    /// Adds a row.
    pub fn row(&mut self, cells: impl IntoIterator<Item = (String, Style)>) {
        self.rows.push(cells.into_iter().map(|(text, style)| (clean(&text), style)).collect());
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The table as text, each line with this indent. Nothing stands behind the last text of a line.
    pub fn render(&self, indent: &str, paint: Paint) -> String {
        let width = |column: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(column)).map(|(text, _)| text.chars().count());
            cells.chain(self.header.get(column).map(|h| h.chars().count())).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..self.header.len()).map(width).collect();
        let header: Vec<(String, Style)> = self.header.iter().map(|h| ((*h).to_owned(), Style::Faint)).collect();
        let mut text = String::new();
        for row in std::iter::once(&header).chain(&self.rows) {
            let last = row.iter().rposition(|(cell, _)| !cell.is_empty()).map_or(0, |at| at + 1);
            text.push_str(indent);
            for (at, ((cell, style), width)) in row.iter().zip(&widths).take(last).enumerate() {
                text.push_str(&paint.paint(*style, cell));
                if at + 1 < last {
                    text.extend(std::iter::repeat_n(' ', width - cell.chars().count() + 2));
                }
            }
            text.push('\n');
        }
        text
    }
}

/// A value for programs.
pub fn structured(format: Format, value: &impl Serialize) -> Result<String, Error> {
    if format == Format::Json {
        return serde_json::to_string_pretty(value)
            .map(|text| text + "\n")
            .map_err(|e| Error::Form("JSON", Box::new(e)));
    }
    // By way of JSON, so that both say the same.
    let value = serde_json::to_value(value).map_err(|e| Error::Form("YAML", Box::new(e)))?;
    serde_saphyr::to_string(&value).map_err(|e| Error::Form("YAML", Box::new(e)))
}

/// How long ago, as kubectl writes ages.
pub fn age(since: Timestamp, now: Timestamp) -> String {
    let seconds = now.duration_since(since).as_secs().max(0);
    match seconds {
        0..120 => format!("{seconds}s"),
        120..7_200 => format!("{}m", seconds / 60),
        7_200..172_800 => format!("{}h", seconds / 3_600),
        _ => format!("{}d", seconds / 86_400),
    }
}

/// A span of time as it is given on the command line.
pub fn span_of(time: std::time::Duration) -> String {
    match time.as_secs() {
        s if s > 0 && s % 3_600 == 0 => format!("{}h", s / 3_600),
        s if s > 0 && s % 60 == 0 => format!("{}m", s / 60),
        s => format!("{s}s"),
    }
}

/// A word for one or for several.
pub fn count(number: usize, one: &str, several: &str) -> String {
    if number == 1 { format!("1 {one}") } else { format!("{number} {several}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cell(text: &str) -> (String, Style) {
        (text.to_owned(), Style::Plain)
    }

    #[test]
    fn columns_are_aligned_and_nothing_stands_behind_the_last_text() {
        let mut table = Table::new(&["NAME", "STATE", "JOB"]);
        table.row([cell("a1"), cell("Printing"), cell("clip")]);
        table.row([cell("prusa-1"), cell("Größer"), cell("")]);
        table.row([cell(""), cell(""), cell("")]);
        let expected = "  NAME     STATE     JOB\n  a1       Printing  clip\n  prusa-1  Größer\n  \n";
        assert_eq!(table.render("  ", Paint::default()), expected);
    }

    #[test]
    fn color_changes_no_column() {
        let mut table = Table::new(&["A", "B"]);
        table.row([("x".to_owned(), Style::Bad), cell("y")]);
        table.row([cell("long"), cell("z")]);
        let colored = table.render("", Paint { colors: true });
        assert!(colored.contains("\x1b[31mx\x1b[0m     y\n") && colored.contains("long  z\n"), "{colored:?}");
    }

    #[test]
    fn no_text_commands_a_terminal() {
        assert_eq!(clean("a\x1b[2Jb\nc\u{202e}d\u{9b}1m\u{061c}e"), "a [2Jb c d 1m e");
        let mut table = Table::new(&["NAME"]);
        table.row([cell("\x1b]0;gotcha\x07")]);
        assert!(!table.render("", Paint::default()).contains(['\x1b', '\x07']));
    }

    #[test]
    fn ages_are_short() {
        let now: Timestamp = "2026-11-22T12:00:00Z".parse().unwrap();
        let ago = |seconds: i64| age(Timestamp::from_second(now.as_second() - seconds).unwrap(), now);
        let ages: Vec<String> = [-5, 0, 119, 120, 7_199, 7_200, 172_799, 172_800].into_iter().map(ago).collect();
        assert_eq!(ages, ["0s", "0s", "119s", "2m", "119m", "2h", "47h", "2d"]);
    }

    #[test]
    fn both_forms_for_programs_say_the_same() {
        let value = serde_json::json!({ "name": "on", "list": [1, null], "text": "a: b" });
        let json: serde_json::Value = serde_json::from_str(&structured(Format::Json, &value).unwrap()).unwrap();
        let yaml: serde_json::Value = serde_saphyr::from_str(&structured(Format::Yaml, &value).unwrap()).unwrap();
        assert_eq!((&json, &yaml), (&value, &value));
    }
}
