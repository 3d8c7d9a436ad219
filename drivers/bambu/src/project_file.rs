//! The start command, `project_file`: everything a printer must know to print one plate of a file that lies on it.
//! It builds the command and sends nothing. All identities are given by the caller and are unique to one attempt, because they
//! are how a print is recognized later. Facts: OpenBambuAPI mqtt.md, bambuddy (ids, urls), Bambu Studio; see README.md.

use std::fmt;

use serde_json::{Map, Value, json};

use crate::ftps::RemoteName;
use crate::mapping::{AmsMapping, TrayPair};

/// The number of an attempt, sent as task, subtask and project id: 1 to 2147483646. 0 means "none" to a printer, and
/// larger numbers come back as 2147483647, so that two prints look like one (bambuddy#1042).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PrintId(u32);

/// A number that no attempt can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0} cannot be the number of a print: it must be 1 to 2147483646")]
pub struct PrintIdError(pub u32);

impl PrintId {
    /// Checks the number.
    pub fn new(number: u32) -> Result<Self, PrintIdError> {
        if (1..i32::MAX.unsigned_abs()).contains(&number) { Ok(Self(number)) } else { Err(PrintIdError(number)) }
    }

    /// The number.
    pub fn number(self) -> u32 {
        self.0
    }
}

impl fmt::Display for PrintId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

/// How the printer is told where the file lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FileUrl {
    /// `ftp:///NAME`: the root of its file server.
    Ftp,
    /// `file:///sdcard/NAME`: the same place, by its path inside the printer.
    SdCard,
}

impl FileUrl {
    /// The form that was seen to work with a model, named as the printer names itself (`Bambu Lab X1 Carbon`) or by its
    /// code (`BL-P001`). Clients disagree about some models; the caller can override it.
    pub fn for_model(model: &str) -> Self {
        let is_x1 = model.contains("X1") || ["BL-P001", "BL-P002", "C13"].contains(&model);
        if is_x1 { Self::SdCard } else { Self::Ftp }
    }

    fn of(self, name: &RemoteName) -> String {
        match self {
            Self::Ftp => format!("ftp:///{name}"),
            Self::SdCard => format!("file:///sdcard/{name}"),
        }
    }
}

/// The kind of build plate, as plate_N.json names it (`textured_plate`), or `auto`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct BedType(String);

/// A word that is no kind of build plate.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the file names a kind of build plate that cannot be one: slice it again")]
pub struct BedTypeError;

impl BedType {
    /// At most 40 lower-case letters, digits and underlines.
    pub fn new(word: &str) -> Result<Self, BedTypeError> {
        let fits = (1..=40).contains(&word.len())
            && word.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
        if fits { Ok(Self(word.to_owned())) } else { Err(BedTypeError) }
    }

    /// The word.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for BedType {
    /// The printer finds out. Printers that cannot (P1S) want the word of the file (bambuddy#1042).
    fn default() -> Self {
        Self("auto".to_owned())
    }
}

/// What is done before and during the print.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct StartOptions {
    /// The bed is measured first.
    pub bed_leveling: bool,
    /// The flow is calibrated first.
    pub flow_calibration: bool,
    /// Vibrations are measured first.
    pub vibration_calibration: bool,
    /// A time-lapse is recorded.
    pub timelapse: bool,
    /// The first layer is inspected; needs the lidar of an X1.
    pub layer_inspection: bool,
}

impl Default for StartOptions {
    /// Only the bed is measured, because it changes from print to print. The printer keeps what it last found about
    /// flow and vibrations; other clients leave those out by default too (ha-bambulab, bambuddy).
    fn default() -> Self {
        Self {
            bed_leveling: true,
            flow_calibration: false,
            vibration_calibration: false,
            timelapse: false,
            layer_inspection: false,
        }
    }
}

/// A start command, complete but for its number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProjectFile {
    name: RemoteName,
    id: PrintId,
    plate: u16,
    url: FileUrl,
    mapping: AmsMapping,
    bed_type: BedType,
    options: StartOptions,
}

/// Why there is no such start command.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProjectFileError {
    /// The file still has the name it is uploaded under.
    #[error("{0} is the name of a file that is not ready: rename it before the start")]
    PartName(RemoteName),
    /// Plates count from 1.
    #[error("there is no plate {0}: plates count from 1")]
    Plate(u16),
}

impl ProjectFile {
    /// A start of one plate (counted from 1) of a file in the root of the printer's storage, with default options and
    /// the kind of build plate left to the printer.
    pub fn new(
        name: RemoteName,
        id: PrintId,
        plate: u16,
        url: FileUrl,
        mapping: AmsMapping,
    ) -> Result<Self, ProjectFileError> {
        if name.is_part() {
            return Err(ProjectFileError::PartName(name));
        }
        if plate == 0 {
            return Err(ProjectFileError::Plate(plate));
        }
        let (bed_type, options) = (BedType::default(), StartOptions::default());
        Ok(Self { name, id, plate, url, mapping, bed_type, options })
    }

    /// With the kind of build plate the file was sliced for.
    #[must_use]
    pub fn with_bed_type(self, bed_type: BedType) -> Self {
        Self { bed_type, ..self }
    }

    /// With these options.
    #[must_use]
    pub fn with_options(self, options: StartOptions) -> Self {
        Self { options, ..self }
    }

    /// The file.
    pub fn name(&self) -> &RemoteName {
        &self.name
    }

    /// The number by which the print is recognized.
    pub fn id(&self) -> PrintId {
        self.id
    }

    /// The name by which the print is recognized, and that the screen shows: the file's without its ending.
    pub fn subtask_name(&self) -> &str {
        let name = self.name.as_str();
        name.strip_suffix(".gcode.3mf").unwrap_or(name)
    }

    /// What the command's `param` is, and the answer's, if there is one.
    pub fn param(&self) -> String {
        format!("Metadata/plate_{}.gcode", self.plate)
    }

    /// The members of the command, without the number that the connection gives it.
    pub fn members(&self) -> Map<String, Value> {
        let id = self.id.to_string();
        let Self { options, mapping, .. } = self;
        let pair = |pair: &TrayPair| json!({ "ams_id": pair.ams_id, "slot_id": pair.slot_id });
        let pairs: Vec<Value> = mapping.ams_mapping2.iter().map(pair).collect();
        let members: [(&str, Value); 20] = [
            ("command", "project_file".into()),
            ("param", self.param().into()),
            ("file", self.name.as_str().into()),
            ("url", self.url.of(&self.name).into()),
            // Not proven to be checked by any printer, and widely left empty; the upload's size was checked instead.
            ("md5", "".into()),
            ("subtask_name", self.subtask_name().into()),
            ("project_id", id.as_str().into()),
            ("task_id", id.as_str().into()),
            ("subtask_id", id.as_str().into()),
            ("profile_id", "0".into()),
            ("bed_type", self.bed_type.as_str().into()),
            // Firmware and clients spell it in two ways.
            ("bed_leveling", options.bed_leveling.into()),
            ("bed_levelling", options.bed_leveling.into()),
            ("flow_cali", options.flow_calibration.into()),
            ("vibration_cali", options.vibration_calibration.into()),
            ("timelapse", options.timelapse.into()),
            ("layer_inspect", options.layer_inspection.into()),
            // A bool: the H2D Pro reads a number here as that of a nozzle.
            ("use_ams", mapping.use_ams.into()),
            ("ams_mapping", mapping.ams_mapping.clone().into()),
            ("ams_mapping2", pairs.into()),
        ];
        members.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn start() -> ProjectFile {
        let name = RemoteName::new("bracket-pz-0011223344556677-1.gcode.3mf").unwrap();
        let pair = |ams_id, slot_id| TrayPair { ams_id, slot_id };
        let mapping = AmsMapping {
            use_ams: true,
            ams_mapping: vec![1, -1, 4],
            ams_mapping2: vec![pair(0, 1), pair(255, 255), pair(1, 0)],
        };
        ProjectFile::new(name, PrintId::new(123_456_789).unwrap(), 2, FileUrl::Ftp, mapping).unwrap()
    }

    fn sent(start: &ProjectFile) -> Value {
        Value::Object(start.members())
    }

    #[test]
    fn the_command_is_this_text() {
        assert_eq!(
            sent(&start()).to_string(),
            concat!(
                r#"{"ams_mapping":[1,-1,4],"ams_mapping2":[{"ams_id":0,"slot_id":1},"#,
                r#"{"ams_id":255,"slot_id":255},{"ams_id":1,"slot_id":0}],"bed_leveling":true,"bed_levelling":true,"#,
                r#""bed_type":"auto","command":"project_file","file":"bracket-pz-0011223344556677-1.gcode.3mf","#,
                r#""flow_cali":false,"layer_inspect":false,"md5":"","param":"Metadata/plate_2.gcode","#,
                r#""profile_id":"0","project_id":"123456789","subtask_id":"123456789","#,
                r#""subtask_name":"bracket-pz-0011223344556677-1","task_id":"123456789","timelapse":false,"#,
                r#""url":"ftp:///bracket-pz-0011223344556677-1.gcode.3mf","use_ams":true,"vibration_cali":false}"#,
            )
        );
    }

    #[test]
    fn each_option_changes_its_own_keys_only() {
        let off = StartOptions { bed_leveling: false, ..StartOptions::default() };
        let base = sent(&start().with_options(off));
        for (options, keys) in [
            (StartOptions { bed_leveling: true, ..off }, &["bed_leveling", "bed_levelling"][..]),
            (StartOptions { flow_calibration: true, ..off }, &["flow_cali"]),
            (StartOptions { vibration_calibration: true, ..off }, &["vibration_cali"]),
            (StartOptions { timelapse: true, ..off }, &["timelapse"]),
            (StartOptions { layer_inspection: true, ..off }, &["layer_inspect"]),
        ] {
            let mut expected = base.clone();
            for key in keys {
                expected[key] = json!(true);
            }
            assert_eq!(sent(&start().with_options(options)), expected, "{keys:?}");
        }
        let plate = sent(&start().with_bed_type(BedType::new("textured_plate").unwrap()));
        assert_eq!(plate["bed_type"], "textured_plate");
    }

    #[test]
    fn the_address_has_the_form_of_the_model() {
        for (model, expected) in [
            ("Bambu Lab A1", FileUrl::Ftp),
            ("Bambu Lab A1 mini", FileUrl::Ftp),
            ("Bambu Lab P1S", FileUrl::Ftp),
            ("Bambu Lab P2S", FileUrl::Ftp),
            ("Bambu Lab H2D", FileUrl::Ftp),
            ("Bambu Lab X2D", FileUrl::Ftp),
            ("N2S", FileUrl::Ftp),
            ("Bambu Lab X1 Carbon", FileUrl::SdCard),
            ("Bambu Lab X1E", FileUrl::SdCard),
            ("BL-P001", FileUrl::SdCard),
            ("C13", FileUrl::SdCard),
            ("", FileUrl::Ftp),
        ] {
            assert_eq!(FileUrl::for_model(model), expected, "{model}");
        }
        let on_card = ProjectFile { url: FileUrl::SdCard, ..start() };
        assert_eq!(sent(&on_card)["url"], "file:///sdcard/bracket-pz-0011223344556677-1.gcode.3mf");
    }

    #[test]
    fn numbers_that_printers_change_are_no_identities() {
        for number in [0, 2_147_483_647, 2_147_483_648, u32::MAX] {
            assert_eq!(PrintId::new(number), Err(PrintIdError(number)));
        }
        for number in [1, 2_147_483_646] {
            assert_eq!(PrintId::new(number).unwrap().number(), number);
        }
    }

    #[test]
    fn a_file_that_is_not_ready_and_a_plate_that_is_not_there_are_not_started() {
        let ProjectFile { name, id, url, mapping, .. } = start();
        let part = ProjectFile::new(name.part(), id, 1, url, mapping.clone());
        assert_eq!(part, Err(ProjectFileError::PartName(name.part())));
        assert_eq!(ProjectFile::new(name, id, 0, url, mapping), Err(ProjectFileError::Plate(0)));
    }

    #[test]
    fn a_kind_of_plate_is_one_word() {
        for word in ["auto", "textured_plate", "hot_plate", "eng_plate_2"] {
            assert_eq!(BedType::new(word).unwrap().as_str(), word);
        }
        for word in ["", "Textured PEI Plate", "a\"b", &"x".repeat(41)] {
            assert_eq!(BedType::new(word), Err(BedTypeError), "{word}");
        }
    }
}
