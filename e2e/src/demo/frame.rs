//! A picture of the table as data: lines of coloured words. The terminal and the SVG picture show the same frame.

/// What a word's colour says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    /// Nothing.
    Plain,
    /// Less important.
    Dim,
    /// A heading.
    Head,
    /// Done, fine.
    Good,
    /// Going on.
    Busy,
    /// Waits for somebody.
    Waiting,
    /// Wrong.
    Bad,
}

/// Words in one colour.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    /// The words, padded to their column.
    pub text: String,
    /// Their colour.
    pub tone: Tone,
}

/// One line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Line(pub Vec<Span>);

impl Line {
    /// A line of one colour.
    pub fn of(text: impl Into<String>, tone: Tone) -> Self {
        Self(vec![Span { text: text.into(), tone }])
    }

    /// Adds words that fill a column of this width; longer ones are cut, and a column's end stays free.
    #[must_use]
    pub fn cell(mut self, text: &str, width: usize, tone: Tone) -> Self {
        let text = clip(text, width.saturating_sub(1));
        self.0.push(Span { text: format!("{text:<width$}"), tone });
        self
    }

    /// The line cut to a width.
    pub fn clipped(&self, width: usize) -> Self {
        let mut left = width;
        let mut spans = Vec::new();
        for span in &self.0 {
            let length = span.text.chars().count();
            let text = if length <= left { span.text.clone() } else { clip(&span.text, left) };
            left = left.saturating_sub(length);
            if !text.is_empty() {
                spans.push(Span { text, tone: span.tone });
            }
        }
        Self(spans)
    }
}

/// All lines.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Frame(pub Vec<Line>);

/// The words in lines of at most this width, all but the first indented; a word that is longer has a line of its own.
pub fn wrap(text: &str, width: usize, indent: usize) -> Vec<String> {
    let start = text.len() - text.trim_start().len();
    let mut lines = vec![text[..start].to_owned()];
    // Two spaces between words, as after a time, are kept.
    for (number, word) in text[start..].split(' ').enumerate() {
        let Some(line) = lines.last_mut() else { break };
        if number == 0 {
            line.push_str(word);
        } else if line.chars().count() + 1 + word.chars().count() <= width {
            line.push(' ');
            line.push_str(word);
        } else {
            lines.push(format!("{:indent$}{word}", ""));
        }
    }
    lines
}

/// The first `width` characters; a mark at the end says that something is missing.
pub fn clip(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    let mut cut: String = text.chars().take(width.saturating_sub(1)).collect();
    if width > 0 {
        cut.push('…');
    }
    cut
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_word_never_moves_the_next_column() {
        let line = Line::default().cell("cable-clip-urgent", 8, Tone::Plain).cell("x", 3, Tone::Good);
        assert_eq!(line.0[0].text, "cable-… ");
        assert_eq!(line.0[1].text, "x  ");
    }

    #[test]
    fn a_long_sentence_is_shown_to_its_end() {
        let lines = wrap("  1.0 s  the bed of prusa-1 waits for a person", 24, 9);
        assert_eq!(lines, ["  1.0 s  the bed of", "         prusa-1 waits", "         for a person"]);
        assert_eq!(wrap("short", 24, 9), ["short"]);
        assert_eq!(wrap("", 24, 9), [""]);
    }

    #[test]
    fn a_line_is_cut_to_the_terminal() {
        let line = Line::default().cell("abc", 5, Tone::Plain).cell("defgh", 6, Tone::Good);
        let text = |l: &Line| l.0.iter().map(|s| s.text.as_str()).collect::<String>();
        assert_eq!(text(&line.clipped(7)), "abc  d…");
        assert_eq!(text(&line.clipped(3)), "ab…");
        assert_eq!(text(&line.clipped(40)), "abc  defgh ");
    }
}
