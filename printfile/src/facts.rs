//! The facts of a print file, in integer units, as JSON and in code.
//! A fact the file does not state is `None`, never guessed: what was not said cannot be matched against a printer.

use serde::Serialize;

/// How the toolpaths are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[non_exhaustive]
pub enum Format {
    /// Plain text G-code.
    Gcode,
    /// Prusa's binary G-code (`.bgcode`).
    BinaryGcode,
    /// Bambu Lab's sliced 3MF (`.gcode.3mf`): a ZIP file with the G-code of one or more plates.
    Gcode3mf,
}

/// What a print file asks of a printer and promises about the print.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PrintFile {
    /// How the toolpaths are stored.
    pub format: Format,
    /// Program and version that sliced it, for example `PrusaSlicer 2.9.4`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slicer: Option<String>,
    /// Printer model as the slicer writes it, for example `COREONE`; compare with [`crate::models::same`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub printer_model: Option<String>,
    /// Nozzle diameter it was sliced for: 400 is 0.4 mm.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nozzle_diameter_micrometers: Option<u32>,
    /// Whether it was sliced for a high-flow nozzle.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nozzle_high_flow: Option<bool>,
    /// What the nozzle is made of that it was sliced for, as OrcaSlicer and Bambu Studio write it, for example
    /// `stainless_steel`. It is that of the printer's profile; what the print needs is in `filament_abrasive`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nozzle_type: Option<String>,
    /// Whether a used filament wears out a nozzle that is not hardened.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub filament_abrasive: Option<bool>,
    /// The slicer's estimate of the printing time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub estimated_seconds: Option<u64>,
    /// Number of layers, where the slicer states it (PrusaSlicer does not).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub layers: Option<u32>,
    /// Height of the highest layer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_z_micrometers: Option<u64>,
    /// The filaments the print uses, in the slicer's order. When the file does not say how much it uses of each,
    /// all that it was sliced with.
    pub filaments: Vec<Filament>,
    /// Pictures of the part inside the file.
    pub thumbnails: Vec<Thumbnail>,
    /// Of a `.gcode.3mf`: the plate that all these facts are of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plate: Option<Plate>,
    /// Of a `.gcode.3mf`: the numbers of all plates with G-code, rising. Empty for other formats.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub plates: Vec<u32>,
}

/// One sliced plate of a `.gcode.3mf`, as far as it is more than a print file of its own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Plate {
    /// Its number, from 1: the N of `Metadata/plate_N.gcode`.
    pub number: u32,
    /// Kind of build plate it was sliced for, as the slicer writes it, for example `textured_plate`; see
    /// [`Plate::build_plate`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bed_type: Option<String>,
    /// How many filaments the whole project has, used on this plate or not. The printer is told a slot for each of
    /// them. From the list of colors in `project_settings.config`, else from that in the settings block of the G-code.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub project_filaments: Option<u32>,
    /// MD5 of the plate's unpacked G-code, 32 upper-case hex digits, computed from the bytes. It proves nothing about
    /// the origin; some firmware is told it with the start.
    pub gcode_md5: String,
}

impl Plate {
    /// The entry of the archive that holds the plate's G-code, as the printer is told it.
    pub fn gcode_entry(&self) -> String {
        gcode_entry(self.number)
    }

    /// The kind of build plate by the name people know from the slicer; an unknown kind as it is written.
    pub fn build_plate(&self) -> Option<&str> {
        self.bed_type.as_deref().map(|kind| match kind {
            "cool_plate" => "Cool Plate",
            "eng_plate" => "Engineering Plate",
            "hot_plate" => "High Temp Plate",
            "textured_plate" => "Textured PEI Plate",
            "supertack_plate" => "Cool Plate SuperTack",
            other => other,
        })
    }
}

/// The entry of the archive that holds the G-code of a plate.
pub(crate) fn gcode_entry(plate: u32) -> String {
    format!("Metadata/plate_{plate}.gcode")
}

/// One filament a print uses.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Filament {
    /// Position in the slicer's list, from 1; of a `.gcode.3mf`, in the list of the whole project. A list may have
    /// gaps: unused ones are left out.
    pub index: u32,
    /// Bambu Lab's identifier of the filament's profile, for example `GFA00`.
    #[serde(rename = "profileID", skip_serializing_if = "Option::is_none")]
    pub profile_id: Option<String>,
    /// Material as the slicer names it, for example `PETG`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub material: Option<String>,
    /// Color as `#RRGGBB`, upper case.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub color: Option<String>,
    /// Mass used, in milligrams. Slicers leave it out when they do not know the density.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub milligrams: Option<u64>,
    /// Length used, in whole millimeters, rounded half up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub millimeters: Option<u64>,
}

/// Where a picture is in the file. In plain G-code these are comment lines of Base64, in binary G-code the image itself,
/// in a `.gcode.3mf` the data of an entry, which is packed with deflate when `packed` is set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Thumbnail {
    /// Image format.
    pub format: ThumbnailFormat,
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
    /// Position of its first byte in the file.
    pub offset_bytes: u64,
    /// Its length in the file.
    pub length_bytes: u64,
    /// Whether these bytes are a deflate stream of the image.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub packed: bool,
}

/// Image format of a thumbnail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "UPPERCASE")]
#[non_exhaustive]
pub enum ThumbnailFormat {
    /// Portable Network Graphics.
    Png,
    /// JPEG.
    Jpg,
    /// Quite OK Image.
    Qoi,
}
