//! A sliced 3MF (`.gcode.3mf`): the facts of one plate, and the proof that its G-code is whole.
//! Unpacks the chosen plate's G-code once, keeping windows of it, and verifies CRC-32 and MD5; other plates and the model
//! are never unpacked. Where the plate list and the G-code contradict each other about what is printed on, the file is
//! refused. Layout from what Bambu Studio and OrcaSlicer export.

mod archive;
mod directory;
mod slice_info;

use std::fmt::Write as _;
use std::io::{Read, Seek};

use md5::{Digest, Md5};
use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};

use archive::Archive;
use slice_info::SlicedPlate;

use crate::ascii::{self, Judged};
use crate::facts::gcode_entry;
use crate::quantity::name;
use crate::{Error, Format, Limits, Plate, PrintFile, Thumbnail, ThumbnailFormat, models};

/// Signature, chunk header, width and height of a PNG.
const PNG_BEGINNING_BYTES: usize = 24;

/// What is used of `Metadata/plate_N.json`.
#[derive(Default, Deserialize)]
struct PlateSettings {
    bed_type: Option<String>,
}

/// What is used of `Metadata/project_settings.config`.
#[derive(Default, Deserialize)]
struct ProjectSettings {
    filament_colour: Option<Vec<IgnoredAny>>,
}

/// Inspects one plate of an archive, the first sliced one when none is asked for.
pub(crate) fn inspect<R: Read + Seek>(
    reader: &mut R,
    file_bytes: u64,
    wanted: Option<u32>,
    limits: &Limits,
) -> Result<PrintFile, Error> {
    let mut archive = Archive::open(reader, file_bytes, limits)?;
    let plates = archive.plates();
    let number = match wanted {
        Some(plate) if plates.contains(&plate) => plate,
        _ if plates.is_empty() => return Err(Error::Unsliced { found: "a 3MF project" }),
        Some(plate) => return Err(Error::MissingPlate { plate, present: plates }),
        None => plates.first().copied().unwrap_or_default(),
    };
    let info = archive
        .document("Metadata/slice_info.config", limits.archive_document_bytes)?
        .ok_or(Error::Corrupt { what: "the plate list Metadata/slice_info.config is missing" })?;
    let info = slice_info::parse(&info)?;
    let mut matching = info.plates.into_iter().filter(|plate| plate.index == Some(number));
    let sliced = matching.next().ok_or(Error::Corrupt { what: "its plate list does not have the plate" })?;
    if matching.next().is_some() {
        return Err(Error::Corrupt { what: "its plate list has the plate twice" });
    }
    let settings: PlateSettings = json(&mut archive, &format!("Metadata/plate_{number}.json"), limits)?;
    let project: ProjectSettings = json(&mut archive, "Metadata/project_settings.config", limits)?;
    let project_filaments = project.filament_colour.and_then(|colors| u32::try_from(colors.len()).ok());
    let thumbnails = thumbnails(&mut archive, number, limits)?;
    let (gcode, gcode_md5) = gcode(&mut archive, number, limits)?;
    let project_filaments = agreed(project_filaments, gcode.project_filaments)?;
    let mut file = merged(gcode.file, sliced)?;
    if file.filaments.last().is_some_and(|last| project_filaments.is_some_and(|count| last.index > count)) {
        return Err(Error::Corrupt { what: "the plate uses a filament the project does not have" });
    }
    file.thumbnails = thumbnails;
    file.plates = plates;
    let bed_type = settings.bed_type.as_deref().and_then(name);
    file.plate = Some(Plate { number, bed_type, project_filaments, gcode_md5 });
    Ok(file)
}

/// The facts of the G-code, corrected by what the plate list says.
fn merged(mut file: PrintFile, sliced: SlicedPlate) -> Result<PrintFile, Error> {
    file.format = Format::Gcode3mf;
    if let Some(listed) = sliced.printer_model {
        // Machines this version does not know have two names nobody can compare.
        let known = |name: &str| models::display_name(name).is_some();
        let other = |inside: &String| known(inside) && known(&listed) && !models::same(inside, &listed);
        if file.printer_model.as_ref().is_some_and(other) {
            return Err(Error::Corrupt { what: "its plate list and its G-code name different printers" });
        }
        file.printer_model = Some(listed);
    }
    if let Some(mut listed) = sliced.nozzle_diameters_micrometers {
        listed.dedup();
        let [listed] = listed.as_slice() else { return Err(Error::different_nozzles()) };
        if file.nozzle_diameter_micrometers.is_some_and(|inside| inside != *listed) {
            return Err(Error::Corrupt { what: "its plate list and its G-code name different nozzles" });
        }
        file.nozzle_diameter_micrometers = Some(*listed);
    }
    file.estimated_seconds = sliced.estimated_seconds.or(file.estimated_seconds);
    if !sliced.filaments.is_empty() {
        file.filaments = sliced.filaments;
    }
    Ok(file)
}

/// The number of filaments decides which slot each of them is taken from: two numbers are none.
fn agreed(settings: Option<u32>, gcode: Option<u32>) -> Result<Option<u32>, Error> {
    match (settings, gcode) {
        (Some(one), Some(other)) if one != other => {
            Err(Error::Corrupt { what: "its settings and its G-code count the project's filaments differently" })
        }
        (one, other) => Ok(one.or(other).filter(|count| *count > 0)),
    }
}

/// Facts and MD5 of the plate's G-code.
fn gcode<R: Read + Seek>(
    archive: &mut Archive<'_, R>,
    number: u32,
    limits: &Limits,
) -> Result<(Judged, String), Error> {
    let promised = promised_md5(archive, number, limits)?;
    let mut windows = Windows::new(limits);
    let mut digest = Md5::new();
    let entry = gcode_entry(number);
    archive.unpack(&entry, "the G-code of the plate", limits.plate_gcode_bytes, |chunk| {
        digest.update(chunk);
        windows.push(chunk);
    })?;
    let md5 = digest.finalize().iter().fold(String::with_capacity(32), |mut text, byte| {
        let _ = write!(text, "{byte:02X}");
        text
    });
    if promised.is_some_and(|promised| promised != md5) {
        return Err(Error::Corrupt { what: "the G-code of the plate does not match its MD5" });
    }
    let judged = ascii::judge(&windows.head, windows.tail(), windows.whole(), limits)?;
    if !judged.marked_blocks {
        // A printer that is given such a file never gets past unpacking it.
        return Err(Error::Unsupported {
            what: "a 3MF whose G-code lacks the header, settings and executable blocks",
            advice: "slice it with Bambu Studio or OrcaSlicer for the printer",
        });
    }
    Ok((judged, md5))
}

fn promised_md5<R: Read + Seek>(
    archive: &mut Archive<'_, R>,
    number: u32,
    limits: &Limits,
) -> Result<Option<String>, Error> {
    let Some(text) = archive.document(&format!("{}.md5", gcode_entry(number)), limits.archive_document_bytes)? else {
        return Ok(None);
    };
    let digits = text.trim_ascii();
    if digits.len() != 32 || !digits.iter().all(u8::is_ascii_hexdigit) {
        return Err(Error::Corrupt { what: "the MD5 of the plate's G-code is none" });
    }
    Ok(Some(String::from_utf8_lossy(digits).to_ascii_uppercase()))
}

/// A JSON entry; one that is missing states nothing.
fn json<T: Default + DeserializeOwned, R: Read + Seek>(
    archive: &mut Archive<'_, R>,
    entry: &str,
    limits: &Limits,
) -> Result<T, Error> {
    match archive.document(entry, limits.archive_document_bytes)? {
        Some(text) => serde_json::from_slice(&text)
            .map_err(|_| Error::Corrupt { what: "the settings of the project or the plate are no valid JSON" }),
        None => Ok(T::default()),
    }
}

/// The pictures of the plate that slicers make for people. One that is no PNG is no reason not to print.
fn thumbnails<R: Read + Seek>(
    archive: &mut Archive<'_, R>,
    number: u32,
    limits: &Limits,
) -> Result<Vec<Thumbnail>, Error> {
    let mut thumbnails = Vec::new();
    for entry in [format!("Metadata/plate_{number}.png"), format!("Metadata/plate_{number}_small.png")] {
        let mut beginning = Vec::with_capacity(PNG_BEGINNING_BYTES);
        let place = archive.unpack(&entry, "a picture", limits.thumbnail_bytes, |chunk| {
            let missing = PNG_BEGINNING_BYTES.saturating_sub(beginning.len()).min(chunk.len());
            beginning.extend(chunk.get(..missing).unwrap_or_default());
        })?;
        let Some(place) = place else { continue };
        let Some(size) = beginning.strip_prefix(b"\x89PNG\r\n\x1a\n\0\0\0\x0DIHDR") else { continue };
        let pixels = |at: usize| size.get(at..at + 4).and_then(|b| b.try_into().ok()).map(u32::from_be_bytes);
        if let (Some(width), Some(height)) = (pixels(0), pixels(4)) {
            thumbnails.push(Thumbnail {
                format: ThumbnailFormat::Png,
                width,
                height,
                offset_bytes: place.offset_bytes,
                length_bytes: place.length_bytes,
                packed: place.packed,
            });
        }
    }
    Ok(thumbnails)
}

/// The beginning and the end of a stream, each of bounded length.
struct Windows {
    head: Vec<u8>,
    head_bytes: usize,
    last: Vec<u8>,
    tail_bytes: usize,
    streamed_bytes: u64,
}

impl Windows {
    fn new(limits: &Limits) -> Self {
        let most = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
        Self {
            head: Vec::new(),
            head_bytes: most(limits.head_bytes),
            last: Vec::new(),
            tail_bytes: most(limits.tail_bytes),
            streamed_bytes: 0,
        }
    }

    fn push(&mut self, chunk: &[u8]) {
        self.streamed_bytes += chunk.len() as u64;
        let missing = self.head_bytes.saturating_sub(self.head.len()).min(chunk.len());
        self.head.extend(chunk.get(..missing).unwrap_or_default());
        self.last.extend(chunk);
        // Trimmed only at twice the length, so that each byte is moved once.
        if self.last.len() >= self.tail_bytes.saturating_mul(2) {
            self.last.drain(..self.last.len() - self.tail_bytes);
        }
    }

    fn tail(&self) -> &[u8] {
        self.last.get(self.last.len().saturating_sub(self.tail_bytes)..).unwrap_or_default()
    }

    fn whole(&self) -> bool {
        self.tail().len() as u64 == self.streamed_bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_keep_the_ends_of_a_stream_and_no_more() {
        let limits = Limits { head_bytes: 10, tail_bytes: 7, ..Limits::default() };
        for chunk_bytes in [1, 3, 7, 100] {
            let stream: Vec<u8> = (0..100).collect();
            let mut windows = Windows::new(&limits);
            for chunk in stream.chunks(chunk_bytes) {
                windows.push(chunk);
                assert!(windows.last.len() < 14);
            }
            assert_eq!((windows.head.as_slice(), windows.tail()), (&stream[..10], &stream[93..]));
            assert!(!windows.whole());
        }
        let mut short = Windows::new(&limits);
        short.push(b"abc");
        assert!(short.whole() && short.tail() == b"abc" && short.head == b"abc");
    }
}
