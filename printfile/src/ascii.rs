//! Plain G-code: facts from the comments before the first and after the last command.
//! Reads a window at each end, grown only as far as needed; never the part between. Rules from what PrusaSlicer writes
//! (thumbnails first; amounts, time and a marked settings block last), OrcaSlicer (marked header, executable and settings
//! blocks) and Bambu Studio (the same, settings before the commands). A file whose closing marker is missing is truncated, however well it begins.

use std::io::{Read, Seek};

use crate::content::window;
use crate::metadata::Metadata;
use crate::quantity::{name, thousandths};
use crate::{Error, Format, Limits, PrintFile, Thumbnail, ThumbnailFormat};

const FIRST_WINDOW_BYTES: u64 = 64 * 1024;
const WINDOW_GROWTH: u64 = 8;
/// How much after the first command is looked at for a move: longer than any start sequence before its first one.
const START_SEQUENCE_BYTES: usize = 32 * 1024;
const MOST_THUMBNAILS: usize = 32;

/// Inspects a file that looks like text.
pub(crate) fn inspect<R: Read + Seek>(reader: &mut R, file_bytes: u64, limits: &Limits) -> Result<PrintFile, Error> {
    let head_bytes = grown(file_bytes.min(limits.head_bytes), |length| {
        let bytes = window(reader, 0, length)?;
        let enough = first_command(&bytes).is_some_and(|at| bytes.len() - at >= START_SEQUENCE_BYTES);
        Ok((bytes, enough))
    })?;
    let tail_bytes = grown(file_bytes.min(limits.tail_bytes), |length| {
        let bytes = window(reader, file_bytes - length, length)?;
        let tail = Tail::parse(whole_lines(&bytes, length == file_bytes));
        let enough = if tail.settings_ended { tail.command_before_settings } else { tail.commands };
        Ok((bytes, enough))
    })?;
    let whole_file = tail_bytes.bytes.len() as u64 == file_bytes;
    judge(&head_bytes.bytes, &tail_bytes.bytes, whole_file, limits).map(|judged| judged.file)
}

/// What the two ends of a G-code say.
pub(crate) struct Judged {
    pub(crate) file: PrintFile,
    /// Whether it has the marked header, settings and executable blocks of Bambu Studio and OrcaSlicer.
    pub(crate) marked_blocks: bool,
    /// How many filaments the project has, used or not.
    pub(crate) project_filaments: Option<u32>,
}

/// The facts of a G-code that begins with `head` and ends with `tail`, which overlap when `whole_file` says that the
/// tail is all of it.
pub(crate) fn judge(head: &[u8], tail: &[u8], whole_file: bool, limits: &Limits) -> Result<Judged, Error> {
    let head = Head::parse(head);
    let tail = Tail::parse(whole_lines(tail, whole_file));
    if !(head.moves || tail.moves) {
        return Err(Error::NotAPrintFile {
            found: "text without a print move",
            advice: "check the source; it must be the exported G-code itself",
        });
    }
    if tail.settings_began && !tail.settings_ended {
        return Err(Error::Truncated { what: "the slicer's settings block has no end" });
    }
    if tail.settings_ended && !tail.settings_began {
        return Err(if whole_file {
            Error::Corrupt { what: "the slicer's settings block has no beginning" }
        } else {
            Error::TooLarge { what: "the slicer's settings block", limit_bytes: limits.tail_bytes }
        });
    }
    if head.slicer.as_deref().is_some_and(|slicer| slicer.starts_with("PrusaSlicer")) && !tail.settings_ended {
        return Err(Error::Truncated { what: "the settings block PrusaSlicer ends a file with is missing" });
    }
    if head.executable_began && !tail.executable_ended {
        return Err(Error::Truncated { what: "the end of the executable block is missing" });
    }
    let marked_blocks = head.header_ended && (head.settings_ended || tail.settings_ended) && head.executable_began;
    let mut metadata = tail.totals;
    metadata.fill_from(tail.settings);
    metadata.fill_from(head.metadata);
    metadata.fill_from(head.checks);
    Ok(Judged {
        marked_blocks,
        project_filaments: metadata.project_filaments(),
        file: metadata.facts(Format::Gcode, head.slicer, tail.last_z_micrometers, head.thumbnails)?,
    })
}

struct Grown {
    bytes: Vec<u8>,
}

/// Reads ever larger windows until `read` calls one enough, or `most` is reached.
fn grown(most: u64, mut read: impl FnMut(u64) -> Result<(Vec<u8>, bool), Error>) -> Result<Grown, Error> {
    let mut length = FIRST_WINDOW_BYTES.min(most);
    loop {
        let (bytes, enough) = read(length)?;
        if enough || length >= most {
            return Ok(Grown { bytes });
        }
        length = length.saturating_mul(WINDOW_GROWTH).min(most);
    }
}

/// The window without the line its beginning cuts through.
fn whole_lines(bytes: &[u8], from_the_start: bool) -> &[u8] {
    if from_the_start {
        return bytes;
    }
    bytes.iter().position(|b| *b == b'\n').and_then(|at| bytes.get(at + 1..)).unwrap_or_default()
}

/// Lines with the position of each in `bytes`, without line ends, outer white space and the mark of an editor before the
/// first one.
fn lines(bytes: &[u8]) -> impl Iterator<Item = (usize, &[u8])> {
    let mut at = 0;
    bytes.split_inclusive(|b| *b == b'\n').map(move |line| {
        let start = at;
        at += line.len();
        let line = if start == 0 { line.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(line) } else { line };
        (start, line.trim_ascii())
    })
}

fn is_command(line: &[u8]) -> bool {
    !line.is_empty() && line.first() != Some(&b';')
}

fn is_move(line: &[u8]) -> bool {
    matches!(line, [b'G' | b'g', b'0'..=b'3', rest @ ..] if !rest.first().is_some_and(u8::is_ascii_digit))
}

fn first_command(bytes: &[u8]) -> Option<usize> {
    lines(bytes).find(|(_, line)| is_command(line)).map(|(at, _)| at)
}

/// The text of a comment line. Long ones are pictures or settings nobody asks for, but are cheap to skip by key.
fn comment(line: &[u8]) -> Option<&str> {
    std::str::from_utf8(line.strip_prefix(b";")?).ok().map(str::trim)
}

/// What the print's own check commands ask of the machine, for files whose comments do not say it. Prusa's firmware
/// compares the nozzle with `M862.1 P<diameter> A<hardened> F<high flow>` and the model with `M862.3 P "<model>"`.
fn check_command(line: &str, checks: &mut Metadata) {
    let code = line.split(';').next().unwrap_or(line);
    if let Some(model) = code.strip_prefix("M862.3 ").and_then(|rest| rest.split('"').nth(1)) {
        checks.offer("printer_model", model);
    }
    // With a tool it is one nozzle of several.
    let Some(words) = code.strip_prefix("M862.1 ").filter(|words| !words.contains('T')) else { return };
    for word in words.split_ascii_whitespace() {
        match word.split_at_checked(1) {
            Some(("P", diameter)) => checks.offer("nozzle_diameter", diameter),
            Some(("F", high_flow)) => checks.offer("nozzle_high_flow", high_flow),
            // 0 says only that this slicer's profile of the nozzle is no hardened one.
            Some(("A", "1")) => checks.offer("filament_abrasive", "1"),
            _ => {}
        }
    }
}

#[derive(Default)]
struct Head {
    metadata: Metadata,
    checks: Metadata,
    slicer: Option<String>,
    thumbnails: Vec<Thumbnail>,
    header_ended: bool,
    settings_ended: bool,
    executable_began: bool,
    moves: bool,
}

impl Head {
    fn parse(bytes: &[u8]) -> Self {
        let mut head = Self::default();
        let mut picture: Option<Thumbnail> = None;
        let mut commands = false;
        for (at, line) in lines(bytes) {
            if is_command(line) {
                commands = true;
                head.moves |= is_move(line);
                if line.starts_with(b"M862.") {
                    check_command(&String::from_utf8_lossy(line), &mut head.checks);
                }
            }
            let Some(text) = comment(line).filter(|_| !commands) else { continue };
            if let Some(mut open) = picture.take() {
                if text.starts_with("thumbnail") && text.ends_with(" end") {
                    open.length_bytes = at as u64 - open.offset_bytes;
                    if head.thumbnails.len() < MOST_THUMBNAILS {
                        head.thumbnails.push(open);
                    }
                } else {
                    picture = Some(open);
                }
            } else if text.starts_with("thumbnail") {
                picture = thumbnail(text, at + raw_line_length(bytes, at));
            } else if text == "EXECUTABLE_BLOCK_START" {
                head.executable_began = true;
            } else if text == "HEADER_BLOCK_END" {
                head.header_ended = true;
            } else if text == "CONFIG_BLOCK_END" {
                head.settings_ended = true;
            } else if let Some(generator) = text.strip_prefix("generated by ").or_else(|| bambu(text)) {
                let program = generator.split(" on ").next().unwrap_or(generator);
                head.slicer = head.slicer.take().or_else(|| name(program));
            } else if let Some((key, value)) = text.split_once(" =") {
                head.metadata.offer(key, value);
            } else {
                // Header blocks use colons, and may state two things in one line.
                for (key, value) in text.split(';').filter_map(|part| part.split_once(':')) {
                    head.metadata.offer(key, value);
                }
            }
        }
        head
    }
}

fn bambu(text: &str) -> Option<&str> {
    Some(text).filter(|text| text.starts_with("BambuStudio "))
}

fn raw_line_length(bytes: &[u8], at: usize) -> usize {
    let rest = bytes.get(at..).unwrap_or_default();
    rest.iter().position(|b| *b == b'\n').map_or(rest.len(), |end| end + 1)
}

/// `thumbnail begin 220x124 5932`, `thumbnail_JPG begin ..`, `thumbnail_QOI begin ..`.
fn thumbnail(text: &str, data_at: usize) -> Option<Thumbnail> {
    let mut words = text.split_ascii_whitespace();
    let format = match words.next()? {
        "thumbnail" | "thumbnail_PNG" => ThumbnailFormat::Png,
        "thumbnail_JPG" => ThumbnailFormat::Jpg,
        "thumbnail_QOI" => ThumbnailFormat::Qoi,
        _ => return None,
    };
    words.next().filter(|word| *word == "begin")?;
    let (width, height) = words.next()?.split_once('x')?;
    let (width, height) = (width.parse().ok()?, height.parse().ok()?);
    Some(Thumbnail { format, width, height, offset_bytes: data_at as u64, length_bytes: 0, packed: false })
}

#[derive(Default)]
struct Tail {
    /// Comments after the last command and before the settings.
    totals: Metadata,
    settings: Metadata,
    last_z_micrometers: Option<u64>,
    settings_began: bool,
    settings_ended: bool,
    command_before_settings: bool,
    executable_ended: bool,
    commands: bool,
    moves: bool,
}

impl Tail {
    fn parse(bytes: &[u8]) -> Self {
        let mut tail = Self::default();
        for (_, line) in lines(bytes) {
            if is_command(line) {
                tail.commands = true;
                tail.moves |= is_move(line);
                // Scripts may add commands after the settings; the totals before them stay true.
                if !tail.settings_ended {
                    tail.totals.clear();
                }
                continue;
            }
            let Some(text) = comment(line) else { continue };
            match text {
                "prusaslicer_config = begin" | "CONFIG_BLOCK_START" => {
                    tail.settings_began = true;
                    tail.command_before_settings = tail.commands;
                }
                "prusaslicer_config = end" | "CONFIG_BLOCK_END" => tail.settings_ended = true,
                "EXECUTABLE_BLOCK_START" => tail.settings_stood_before_the_print(),
                "EXECUTABLE_BLOCK_END" => {
                    tail.executable_ended = true;
                    tail.settings_stood_before_the_print();
                }
                _ => tail.key_and_value(text),
            }
        }
        tail
    }

    /// Bambu Studio writes the settings before the commands: they belong to the head, and none follow the last command.
    fn settings_stood_before_the_print(&mut self) {
        self.settings_began = false;
        self.settings_ended = false;
        self.settings.clear();
        self.totals.clear();
    }

    fn key_and_value(&mut self, text: &str) {
        if let Some((key, value)) = text.split_once(" =") {
            if self.settings_began && !self.settings_ended {
                self.settings.offer(key, value);
            } else if !self.settings_ended {
                self.totals.offer(key, value);
            }
        } else if let Some(z) = text.strip_prefix("Z:").and_then(thousandths) {
            self.last_z_micrometers = Some(z);
        }
    }
}
