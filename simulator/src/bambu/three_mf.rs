//! What the printer reads of a sliced `.gcode.3mf`: is the plate there, how long does it take, which filaments.
//!
//! A small reader of zip containers with caps on entries and sizes; it never writes files and follows no paths. Layout:
//! `Metadata/plate_N.gcode` is the plate, `Metadata/slice_info.config` describes all plates (XML: `plate` elements with
//! `metadata` key/value pairs and `filament` elements, `prediction` in seconds, filament ids counted from 1).

use std::{io::Read, time::Duration};

use crate::print_time::{little_endian_u16, little_endian_u32, print_duration};

const ENTRY_LIMIT: usize = 4096;
const SLICE_INFO: &str = "Metadata/slice_info.config";
const SLICE_INFO_LIMIT_BYTES: u64 = 1024 * 1024;
/// Only the header of the gcode is read for its number of layers.
const HEADER_BYTES: u64 = 64 * 1024;
/// The end of central directory record with the longest comment.
const DIRECTORY_END_BYTES: usize = 22 + 65_535;

/// A plate as sliced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Plate {
    /// At least a second.
    pub(crate) duration: Duration,
    /// Model the plate was sliced for, for example `N2S`; not checked if absent.
    pub(crate) printer_model_id: Option<String>,
    /// Nozzle diameter in millimeters as written; not checked if absent.
    pub(crate) nozzle_diameter: Option<String>,
    pub(crate) filaments: Vec<PlateFilament>,
    pub(crate) layers: u32,
}

/// A filament the plate uses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PlateFilament {
    /// Number within the project, from 1.
    pub(crate) id: usize,
    pub(crate) material: String,
}

/// Why a file cannot be printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PlateError {
    NotAContainer,
    NoSuchPlate,
}

/// Reads one plate; `path` is `Metadata/plate_N.gcode`.
pub(crate) fn read_plate(file: &[u8], path: &str) -> Result<Plate, PlateError> {
    let entries = entries(file).ok_or(PlateError::NotAContainer)?;
    let entry = |name: &str| entries.iter().find(|entry| entry.name == name);
    let gcode = entry(path).ok_or(PlateError::NoSuchPlate)?;
    let header = gcode.read(file, HEADER_BYTES).ok_or(PlateError::NotAContainer)?;
    let number = plate_number(path).ok_or(PlateError::NoSuchPlate)?;
    let info = entry(SLICE_INFO)
        .and_then(|info| info.read(file, SLICE_INFO_LIMIT_BYTES))
        .map(|info| plate_info(&String::from_utf8_lossy(&info), number))
        .unwrap_or_default();
    Ok(Plate {
        duration: info.prediction.filter(|duration| !duration.is_zero()).unwrap_or_else(|| print_duration(&header)),
        printer_model_id: info.printer_model_id,
        nozzle_diameter: info.nozzle_diameter,
        filaments: info.filaments,
        layers: layers(&String::from_utf8_lossy(&header)).unwrap_or(100),
    })
}

/// The N of `Metadata/plate_N.gcode`.
pub(crate) fn plate_number(path: &str) -> Option<u32> {
    path.strip_prefix("Metadata/plate_")?.strip_suffix(".gcode")?.parse().ok()
}

fn layers(header: &str) -> Option<u32> {
    header.lines().find_map(|line| line.strip_prefix("; total layer number:")?.trim().parse().ok())
}

#[derive(Default)]
struct PlateInfo {
    prediction: Option<Duration>,
    printer_model_id: Option<String>,
    nozzle_diameter: Option<String>,
    filaments: Vec<PlateFilament>,
}

/// What slice_info says about the plate with this index.
fn plate_info(xml: &str, number: u32) -> PlateInfo {
    for plate in xml.split("<plate>").skip(1) {
        let plate = plate.split("</plate>").next().unwrap_or_default();
        let mut info = PlateInfo::default();
        let mut index = None;
        for tag in plate.split('<').skip(1) {
            let tag = tag.split('>').next().unwrap_or_default();
            if tag.starts_with("metadata ") {
                let value = attribute(tag, "value").unwrap_or_default();
                match attribute(tag, "key") {
                    Some("index") => index = value.parse().ok(),
                    Some("prediction") => info.prediction = value.parse().ok().map(Duration::from_secs),
                    Some("printer_model_id") => info.printer_model_id = some(value),
                    Some("nozzle_diameters") => info.nozzle_diameter = some(value),
                    _ => {}
                }
            } else if tag.starts_with("filament ")
                && let Some(id) = attribute(tag, "id").and_then(|id| id.parse().ok())
            {
                let material = attribute(tag, "type").unwrap_or_default().to_owned();
                info.filaments.push(PlateFilament { id, material });
            }
        }
        if index == Some(number) {
            return info;
        }
    }
    PlateInfo::default()
}

fn some(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

/// One attribute's value as written. The values read here never need an entity.
fn attribute<'a>(tag: &'a str, name: &str) -> Option<&'a str> {
    let mut rest = tag;
    loop {
        let at = rest.find(name)?;
        let before = rest[..at].chars().next_back();
        let after = &rest[at + name.len()..];
        if before.is_some_and(char::is_whitespace)
            && let Some(value) = after.strip_prefix("=\"")
        {
            return value.split('"').next();
        }
        rest = after;
    }
}

struct Entry {
    name: String,
    deflated: bool,
    compressed_bytes: usize,
    header_at: usize,
}

/// The central directory.
fn entries(file: &[u8]) -> Option<Vec<Entry>> {
    let searched = file.len().saturating_sub(DIRECTORY_END_BYTES);
    let tail = file.get(searched..)?;
    let end = searched + tail.windows(4).rposition(|window| window == b"PK\x05\x06")?;
    let count = usize::from(little_endian_u16(file, end + 10)?);
    let mut at = little_endian_u32(file, end + 16)?;
    let mut entries = Vec::new();
    for _ in 0..count.min(ENTRY_LIMIT) {
        if file.get(at..at.checked_add(4)?)? != b"PK\x01\x02" {
            return None;
        }
        let encrypted = little_endian_u16(file, at + 8)? & 1 == 1;
        let method = little_endian_u16(file, at + 10)?;
        let name_length = usize::from(little_endian_u16(file, at + 28)?);
        let more = usize::from(little_endian_u16(file, at + 30)?) + usize::from(little_endian_u16(file, at + 32)?);
        let name_at = at + 46;
        if !encrypted && matches!(method, 0 | 8) {
            entries.push(Entry {
                name: String::from_utf8_lossy(file.get(name_at..name_at + name_length)?).into_owned(),
                deflated: method == 8,
                compressed_bytes: little_endian_u32(file, at + 20)?,
                header_at: little_endian_u32(file, at + 42)?,
            });
        }
        at = name_at + name_length + more;
    }
    Some(entries)
}

impl Entry {
    /// At most `limit` bytes of its content.
    fn read(&self, file: &[u8], limit: u64) -> Option<Vec<u8>> {
        let header = self.header_at;
        if file.get(header..header.checked_add(4)?)? != b"PK\x03\x04" {
            return None;
        }
        let lengths =
            usize::from(little_endian_u16(file, header + 26)?) + usize::from(little_endian_u16(file, header + 28)?);
        let start = header + 30 + lengths;
        let data = file.get(start..start.checked_add(self.compressed_bytes)?)?;
        let mut content = Vec::new();
        if self.deflated {
            flate2::read::DeflateDecoder::new(data).take(limit).read_to_end(&mut content).ok()?;
        } else {
            data.take(limit).read_to_end(&mut content).ok()?;
        }
        Some(content)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::{SlicedFile, bambu::sliced::archive};

    fn container(files: &[(&str, &str)]) -> Vec<u8> {
        archive(files.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())))
    }

    /// Two plates: 1 uses filament 1, 2 uses filaments 1 and 3.
    pub(crate) fn sliced(seconds: u64) -> Vec<u8> {
        SlicedFile::lasting(seconds).plate(&[(1, "PLA")]).plate(&[(1, "PLA"), (3, "PETG")]).build()
    }

    #[test]
    fn a_plate_has_its_own_duration_and_filaments() {
        let plate = read_plate(&sliced(900), "Metadata/plate_2.gcode").unwrap();
        assert_eq!(plate.duration, Duration::from_mins(15));
        assert_eq!((plate.layers, plate.printer_model_id.as_deref()), (42, Some("N2S")));
        let ids: Vec<_> = plate.filaments.iter().map(|filament| (filament.id, filament.material.as_str())).collect();
        assert_eq!(ids, [(1, "PLA"), (3, "PETG")]);
    }

    #[test]
    fn what_is_no_sliced_plate_is_refused() {
        let project = container(&[("3D/3dmodel.model", "<model/>")]);
        assert_eq!(read_plate(b"G28\n", "Metadata/plate_1.gcode"), Err(PlateError::NotAContainer));
        assert_eq!(read_plate(&project, "Metadata/plate_1.gcode"), Err(PlateError::NoSuchPlate));
        assert_eq!(read_plate(&sliced(9), "Metadata/plate_3.gcode"), Err(PlateError::NoSuchPlate));
        let whole = sliced(9);
        assert_eq!(read_plate(&whole[..whole.len() - 30], "Metadata/plate_1.gcode"), Err(PlateError::NotAContainer));
    }

    #[test]
    fn without_slice_info_the_gcode_decides() {
        let gcode = "; estimated printing time (normal mode) = 2m 5s\n";
        let file = container(&[("Metadata/plate_1.gcode", gcode)]);
        assert_eq!(read_plate(&file, "Metadata/plate_1.gcode").unwrap().duration, Duration::from_secs(125));
    }
}
