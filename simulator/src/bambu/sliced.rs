//! Makes sliced `.gcode.3mf` files, for tests and for files a simulated person brings.
//!
//! Small, but complete for every reader: checksums are right, the plate's MD5 is in place, every second entry is
//! deflated. The gcode prints one line.

use std::io::Write;

use md5::{Digest, Md5};

use crate::hex::hex;

/// A sliced file to be built.
///
/// ```
/// let file = printernizer_simulator::SlicedFile::lasting(3600).plate(&[(1, "PLA"), (3, "PETG")]).build();
/// assert!(file.starts_with(b"PK"));
/// ```
#[derive(Debug, Clone)]
pub struct SlicedFile {
    seconds: u64,
    printer_model_id: String,
    nozzle_diameter: String,
    plates: Vec<Vec<(usize, String)>>,
}

impl SlicedFile {
    /// For an A1 with a nozzle of 0.4 mm; each plate prints for this long.
    pub fn lasting(seconds: u64) -> Self {
        Self { seconds, printer_model_id: "N2S".to_owned(), nozzle_diameter: "0.4".to_owned(), plates: Vec::new() }
    }

    /// Sliced for another model (`N1`, `C12`, ...) and nozzle.
    #[must_use]
    pub fn sliced_for(mut self, printer_model_id: &str, nozzle_diameter: &str) -> Self {
        printer_model_id.clone_into(&mut self.printer_model_id);
        nozzle_diameter.clone_into(&mut self.nozzle_diameter);
        self
    }

    /// Adds a plate with the project filaments it uses: number from 1, material.
    #[must_use]
    pub fn plate(mut self, filaments: &[(usize, &str)]) -> Self {
        self.plates.push(filaments.iter().map(|(id, material)| (*id, (*material).to_owned())).collect());
        self
    }

    /// The file's bytes. Without a plate it is a project that was not sliced.
    pub fn build(&self) -> Vec<u8> {
        let mut files = vec![
            ("[Content_Types].xml".to_owned(), "<Types/>".to_owned()),
            ("3D/3dmodel.model".to_owned(), "<model/>".to_owned()),
            ("Metadata/slice_info.config".to_owned(), self.slice_info()),
        ];
        // All filaments of the project, used on this plate or not.
        let filaments = self.plates.iter().flatten().map(|(id, _)| *id).max().unwrap_or(0);
        let colors = vec!["#FFFFFF"; filaments].join(";");
        for number in 1..=self.plates.len() {
            let gcode = format!(
                "; HEADER_BLOCK_START\n; total estimated time: {}s\n; total layer number: 42\n; HEADER_BLOCK_END\n\
                 ; CONFIG_BLOCK_START\n; filament_colour = {colors}\n; CONFIG_BLOCK_END\n\
                 ; EXECUTABLE_BLOCK_START\nG28\nG1 X10 Y10 E1\n; EXECUTABLE_BLOCK_END\n",
                self.seconds
            );
            let md5 = hex(&Md5::digest(&gcode)).to_uppercase();
            files.push((format!("Metadata/plate_{number}.gcode"), gcode));
            files.push((format!("Metadata/plate_{number}.gcode.md5"), md5));
        }
        archive(files)
    }

    fn slice_info(&self) -> String {
        let mut text = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<config>\n".to_owned();
        for (index, filaments) in self.plates.iter().enumerate() {
            let plate = format!(
                "<plate>\n<metadata key=\"index\" value=\"{}\"/>\n<metadata key=\"printer_model_id\" value=\"{}\"/>\n\
                 <metadata key=\"nozzle_diameters\" value=\"{}\"/>\n<metadata key=\"prediction\" value=\"{}\"/>\n\
                 <metadata key=\"weight\" value=\"12.50\"/>\n",
                index + 1,
                self.printer_model_id,
                self.nozzle_diameter,
                self.seconds
            );
            text += &plate;
            for (id, material) in filaments {
                let filament = format!(
                    "<filament id=\"{id}\" tray_info_idx=\"GFL99\" type=\"{material}\" color=\"#FFFFFF\" \
                     used_m=\"4.00\" used_g=\"12.50\" />\n"
                );
                text += &filament;
            }
            text += "</plate>\n";
        }
        text + "</config>\n"
    }
}

/// A zip container with these entries, stored and deflated in turn.
pub(crate) fn archive(files: impl IntoIterator<Item = (String, String)>) -> Vec<u8> {
    let (mut archive, mut directory) = (Vec::new(), Vec::new());
    let mut count: u16 = 0;
    for (name, text) in files {
        let deflated = count % 2 == 1;
        let data = if deflated { deflate(text.as_bytes()) } else { text.as_bytes().to_vec() };
        let mut crc = flate2::Crc::new();
        crc.update(text.as_bytes());
        let mut header = vec![20, 0, 0, 0];
        header.extend(if deflated { 8_u16 } else { 0 }.to_le_bytes());
        // Time and date: 1980-01-01.
        header.extend([0, 0, 0x21, 0]);
        header.extend(crc.sum().to_le_bytes());
        header.extend(length(data.len()).to_le_bytes());
        header.extend(length(text.len()).to_le_bytes());
        header.extend(u16::try_from(name.len()).unwrap_or(u16::MAX).to_le_bytes());
        header.extend([0, 0]);
        directory.extend(b"PK\x01\x02\x14\x00");
        directory.extend(&header);
        directory.extend([0; 10]);
        directory.extend(length(archive.len()).to_le_bytes());
        directory.extend(name.as_bytes());
        archive.extend(b"PK\x03\x04");
        archive.extend(header);
        archive.extend(name.as_bytes());
        archive.extend(data);
        count += 1;
    }
    let (start, size) = (length(archive.len()), length(directory.len()));
    archive.extend(directory);
    archive.extend(b"PK\x05\x06\0\0\0\0");
    archive.extend(count.to_le_bytes());
    archive.extend(count.to_le_bytes());
    archive.extend(size.to_le_bytes());
    archive.extend(start.to_le_bytes());
    archive.extend([0, 0]);
    archive
}

fn length(bytes: usize) -> u32 {
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

fn deflate(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::default());
    // Writing to a Vec cannot fail.
    let _ = encoder.write_all(bytes);
    encoder.finish().unwrap_or_default()
}
