//! Sliced 3MF files in small, and every lie a ZIP file can tell. Written from the descriptions of the formats; nothing
//! here uses the code under test.

use flate2::Compression;
use flate2::write::DeflateEncoder;
use std::io::Write as _;

/// An entry of a ZIP file; `None` means the truth.
#[derive(Clone, Debug, Default)]
pub struct Part {
    pub name: String,
    pub data: Vec<u8>,
    pub stored: bool,
    pub flags: u16,
    pub claimed_method: Option<u16>,
    pub claimed_crc: Option<u32>,
    pub claimed_bytes: Option<u32>,
    /// Name in the entry's own header.
    pub own_name: Option<String>,
    /// Where the directory says the entry's header is.
    pub claimed_offset: Option<u32>,
    pub extra: Vec<u8>,
    /// What the entry's own header says, where it is not what the directory says.
    pub own: Option<Own>,
}

/// Fields of an entry's own header.
#[derive(Clone, Debug, Default)]
pub struct Own {
    pub flags: u16,
    pub checksum: u32,
    pub packed_bytes: u32,
    pub unpacked_bytes: u32,
    pub extra: Vec<u8>,
}

impl Own {
    /// The truth about a part.
    pub fn of(part: &Part) -> Self {
        Self {
            flags: part.flags,
            checksum: crc32fast::hash(&part.data),
            packed_bytes: u32::try_from(part.packed().len()).unwrap(),
            unpacked_bytes: u32::try_from(part.data.len()).unwrap(),
            extra: Vec::new(),
        }
    }
}

pub fn part(name: &str, data: impl AsRef<[u8]>) -> Part {
    Part { name: name.to_owned(), data: data.as_ref().to_vec(), ..Part::default() }
}

impl Part {
    fn packed(&self) -> Vec<u8> {
        if self.stored {
            return self.data.clone();
        }
        let mut encoder = DeflateEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(&self.data).unwrap();
        encoder.finish().unwrap()
    }

    fn own_fields(&self, packed: &[u8], name: &str) -> Vec<u8> {
        let Some(own) = &self.own else { return self.fields(packed, name, &[]) };
        let mut fields = self.fields(packed, name, &own.extra);
        fields[2..4].copy_from_slice(&own.flags.to_le_bytes());
        let sizes = [own.checksum, own.packed_bytes, own.unpacked_bytes];
        fields[10..22].copy_from_slice(&sizes.map(u32::to_le_bytes).concat());
        fields
    }

    /// What own header and directory have in common: flags to lengths.
    fn fields(&self, packed: &[u8], name: &str, extra: &[u8]) -> Vec<u8> {
        let method = self.claimed_method.unwrap_or(if self.stored { 0 } else { 8 });
        let length = |bytes: usize| u32::try_from(bytes).unwrap().to_le_bytes();
        [
            &20_u16.to_le_bytes()[..],
            &self.flags.to_le_bytes(),
            &method.to_le_bytes(),
            &[0, 0, 0x21, 0],
            &self.claimed_crc.unwrap_or(crc32fast::hash(&self.data)).to_le_bytes(),
            &length(packed.len()),
            &self.claimed_bytes.map_or(length(self.data.len()), u32::to_le_bytes),
            &u16::try_from(name.len()).unwrap().to_le_bytes(),
            &u16::try_from(extra.len()).unwrap().to_le_bytes(),
        ]
        .concat()
    }
}

/// A ZIP file with a directory of these parts.
pub fn zip(parts: &[Part]) -> Vec<u8> {
    let (mut bytes, directory) = body(parts);
    let at = bytes.len();
    bytes.extend(&directory);
    bytes.extend(end(parts.len(), directory.len(), at));
    bytes
}

/// The same with the records for large archives that some writers add to small ones.
pub fn zip_with_large_records(parts: &[Part]) -> Vec<u8> {
    let (mut bytes, directory) = body(parts);
    let at = bytes.len() as u64;
    bytes.extend(&directory);
    let record_at = bytes.len() as u64;
    let numbers = [parts.len() as u64, parts.len() as u64, directory.len() as u64, at];
    bytes.extend([b"PK\x06\x06".as_slice(), &44_u64.to_le_bytes(), &[45, 0, 45, 0], &[0; 8]].concat());
    bytes.extend(numbers.iter().flat_map(|n| n.to_le_bytes()));
    bytes.extend([b"PK\x06\x07".as_slice(), &[0; 4], &record_at.to_le_bytes(), &1_u32.to_le_bytes()].concat());
    bytes.extend(end(parts.len(), directory.len(), usize::try_from(at).unwrap()));
    bytes
}

fn body(parts: &[Part]) -> (Vec<u8>, Vec<u8>) {
    let (mut bytes, mut directory) = (Vec::new(), Vec::new());
    for part in parts {
        let at = part.claimed_offset.unwrap_or(u32::try_from(bytes.len()).unwrap());
        let packed = part.packed();
        let own_name = part.own_name.as_ref().unwrap_or(&part.name);
        bytes.extend(b"PK\x03\x04");
        bytes.extend(part.own_fields(&packed, own_name));
        bytes.extend(own_name.as_bytes());
        bytes.extend(part.own.iter().flat_map(|own| &own.extra));
        bytes.extend(&packed);
        directory.extend(b"PK\x01\x02\x14\0");
        directory.extend(part.fields(&packed, &part.name, &part.extra));
        directory.extend([0; 10]);
        directory.extend(at.to_le_bytes());
        directory.extend(part.name.as_bytes());
        directory.extend(&part.extra);
    }
    (bytes, directory)
}

pub fn end(count: usize, directory_bytes: usize, at: usize) -> Vec<u8> {
    let count = u16::try_from(count).unwrap().to_le_bytes();
    let number = |n: usize| u32::try_from(n).unwrap().to_le_bytes();
    [b"PK\x05\x06".as_slice(), &[0; 4], &count, &count, &number(directory_bytes), &number(at), &[0; 2]].concat()
}

/// The G-code of a plate as Bambu Studio lays it out, for filaments 1 and 3 of three.
pub fn plate_gcode() -> String {
    "; HEADER_BLOCK_START\n; BambuStudio 01.09.00.60\n\
     ; model printing time: 1m 0s; total estimated time: 1m 30s\n; total layer number: 2\n\
     ; total filament length [mm] : 10.5,20.5\n; total filament weight [g] : 0.03,0.06\n; max_z_height: 0.40\n\
     ; filament: 1,3\n; HEADER_BLOCK_END\n\n; CONFIG_BLOCK_START\n; filament_colour = #111111;#222222;#333333\n\
     ; filament_type = PLA;PETG;PLA\n; nozzle_diameter = 0.4\n; printer_model = Bambu Lab A1\n; CONFIG_BLOCK_END\n\n\
     ; EXECUTABLE_BLOCK_START\nM73 P0 R1\nG28\nG1 X10 Y10 E.1\nT2\nG1 X20 Y10 E.1\nM84\n; EXECUTABLE_BLOCK_END\n"
        .to_owned()
}

pub fn slice_info(plates: &[&str]) -> String {
    let plates = plates.iter().flat_map(|plate| ["  <plate>\n", plate, "  </plate>\n"]).collect::<String>();
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<config>\n  <header>\n    \
         <header_item key=\"X-BBL-Client-Type\" value=\"slicer\"/>\n    \
         <header_item key=\"X-BBL-Client-Version\" value=\"01.09.00.60\"/>\n  </header>\n{plates}</config>\n"
    )
}

pub const PLATE_1: &str = "    <metadata key=\"index\" value=\"1\"/>\n    \
    <metadata key=\"printer_model_id\" value=\"N2S\"/>\n    <metadata key=\"nozzle_diameters\" value=\"0.4\"/>\n    \
    <metadata key=\"prediction\" value=\"91\"/>\n    <metadata key=\"weight\" value=\"0.09\"/>\n    \
    <object identify_id=\"7\" name=\"clip.stl\" skipped=\"false\" />\n    \
    <filament id=\"1\" tray_info_idx=\"GFA00\" type=\"PLA\" color=\"#1F6FEB\" used_m=\"0.01\" used_g=\"0.03\" />\n    \
    <filament id=\"3\" tray_info_idx=\"GFG99\" type=\"PETG\" color=\"#f5a623\" used_m=\"0.02\" used_g=\"0.06\" />\n";

/// A picture as far as anybody reads it here.
pub const PNG: &[u8] = b"\x89PNG\r\n\x1a\n\0\0\0\x0DIHDR\0\0\0\x10\0\0\0\x11\x08\x02\0\0\0";

/// The parts of a file with plate 1, in the order of Bambu Studio. `MD5` is that of [`plate_gcode`].
pub fn parts() -> Vec<Part> {
    vec![
        part("3D/3dmodel.model", "<model/>"),
        Part { stored: true, ..part("Metadata/plate_1.png", PNG) },
        part("Metadata/plate_1.json", "{\"bed_type\":\"textured_plate\",\"filament_ids\":[0,2],\"version\":2}"),
        part("Metadata/project_settings.config", "{\"filament_colour\":[\"#111111\",\"#222222\",\"#333333\"]}"),
        part("Metadata/slice_info.config", slice_info(&[PLATE_1])),
        part("Metadata/plate_1.gcode.md5", MD5),
        part("Metadata/plate_1.gcode", plate_gcode()),
        part("[Content_Types].xml", "<Types/>"),
        part("_rels/.rels", "<Relationships/>"),
    ]
}

/// As `md5sum` prints it, in upper case.
pub const MD5: &str = "EA00A6E681E4FF67262050B8B205B022";

/// [`parts`] with one replaced, by name; a new one is added.
pub fn with(replacement: Part) -> Vec<u8> {
    let mut parts = parts();
    match parts.iter_mut().find(|part| part.name == replacement.name) {
        Some(part) => *part = replacement,
        None => parts.push(replacement),
    }
    zip(&parts)
}

/// [`parts`] without one.
pub fn without(name: &str) -> Vec<u8> {
    zip(&parts().into_iter().filter(|part| part.name != name).collect::<Vec<_>>())
}
