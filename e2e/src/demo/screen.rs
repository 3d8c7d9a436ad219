//! Where the demo is shown: on a terminal the table is drawn over itself, in one write for each change, so that it does
//! not flicker; elsewhere each new line of the story is printed once, without colours.

use std::io::{IsTerminal as _, Write as _};

use crossterm::cursor::{Hide, MoveToColumn, MoveUp, Show};
use crossterm::style::{Attribute, Color, Print, ResetColor, SetAttribute, SetForegroundColor};
use crossterm::terminal::{BeginSynchronizedUpdate, Clear, ClearType, EndSynchronizedUpdate};
use crossterm::{QueueableCommand as _, terminal};

use super::DemoError;
use super::frame::{Frame, Line, Tone};

/// The standard output.
#[derive(Debug)]
pub struct Screen {
    is_terminal: bool,
    with_colors: bool,
    /// Lines of the table that are on the screen above the cursor.
    drawn: u16,
    last: (Frame, (u16, u16)),
}

impl Screen {
    /// The standard output as it is: a terminal, or a file or pipe.
    pub fn new() -> Self {
        let is_terminal = std::io::stdout().is_terminal();
        let with_colors = is_terminal && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty());
        Self { is_terminal, with_colors, drawn: 0, last: (Frame::default(), (0, 0)) }
    }

    /// Prints a line that stays. Not while the table is shown.
    pub fn say(line: &str) -> Result<(), DemoError> {
        writeln!(std::io::stdout(), "{line}").map_err(DemoError::Screen)
    }

    /// Whether the table is shown: elsewhere than on a terminal there is only the story.
    pub fn shows_table(&self) -> bool {
        self.is_terminal
    }

    /// Shows a frame on a terminal; elsewhere the new lines of the story.
    pub fn show(&mut self, frame: &Frame, news: &[String]) -> Result<(), DemoError> {
        if self.is_terminal {
            return self.draw(frame).map_err(DemoError::Screen);
        }
        news.iter().try_for_each(|line| Self::say(line))
    }

    fn draw(&mut self, frame: &Frame) -> std::io::Result<()> {
        let size = terminal::size().unwrap_or((100, 24));
        if self.last.0 == *frame && self.last.1 == size {
            return Ok(());
        }
        let mut bytes = Vec::new();
        bytes.queue(BeginSynchronizedUpdate)?.queue(Hide)?;
        if self.drawn > 0 {
            bytes.queue(MoveUp(self.drawn.min(size.1.saturating_sub(1))))?;
        }
        bytes.queue(MoveToColumn(0))?;
        self.drawn = 0;
        // One line stays free for the cursor, and the last column because some terminals wrap at it.
        for line in frame.0.iter().take(usize::from(size.1.saturating_sub(1))) {
            self.queue_line(&mut bytes, &line.clipped(usize::from(size.0.saturating_sub(1))))?;
            bytes.queue(Clear(ClearType::UntilNewLine))?.queue(Print("\r\n"))?;
            self.drawn += 1;
        }
        bytes.queue(Clear(ClearType::FromCursorDown))?.queue(EndSynchronizedUpdate)?;
        let mut output = std::io::stdout().lock();
        output.write_all(&bytes)?;
        output.flush()?;
        self.last = (frame.clone(), size);
        Ok(())
    }

    fn queue_line(&self, bytes: &mut Vec<u8>, line: &Line) -> std::io::Result<()> {
        for span in &line.0 {
            let (color, bold) = match span.tone {
                Tone::Plain => (None, false),
                Tone::Dim => (Some(Color::DarkGrey), false),
                Tone::Head => (None, true),
                Tone::Good => (Some(Color::DarkGreen), false),
                Tone::Busy => (Some(Color::DarkCyan), false),
                Tone::Waiting => (Some(Color::DarkYellow), false),
                Tone::Bad => (Some(Color::DarkRed), true),
            };
            if !self.with_colors {
                bytes.queue(Print(&span.text))?;
                continue;
            }
            if let Some(color) = color {
                bytes.queue(SetForegroundColor(color))?;
            }
            if bold {
                bytes.queue(SetAttribute(Attribute::Bold))?;
            }
            bytes.queue(Print(&span.text))?;
            if bold {
                bytes.queue(SetAttribute(Attribute::Reset))?;
            }
            if color.is_some() {
                bytes.queue(ResetColor)?;
            }
        }
        Ok(())
    }

    /// Gives the terminal back; what was drawn stays.
    pub fn leave(&mut self) -> Result<(), DemoError> {
        if !self.is_terminal {
            return Ok(());
        }
        let mut output = std::io::stdout().lock();
        output.queue(Show).and_then(std::io::Write::flush).map_err(DemoError::Screen)?;
        self.drawn = 0;
        Ok(())
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // A terminal that is gone does not need its cursor back.
        drop(self.leave());
    }
}
