//! The plate list of a sliced 3MF, `Metadata/slice_info.config`: what each plate asks for and promises.
//! XML without document type, without entities beyond the five predefined ones, of bounded depth. Element and key names
//! are those Bambu Studio and OrcaSlicer write; unknown ones are passed over.

use quick_xml::XmlVersion;
use quick_xml::events::{BytesStart, Event};
use quick_xml::reader::Reader;

use crate::quantity::{color, name, thousandths};
use crate::{Error, Filament};

const MOST_DEPTH: usize = 16;
const MOST_ATTRIBUTES: usize = 32;
const MOST_PLATES: usize = 999;
/// As many as are kept of any other list of filaments.
const MOST_FILAMENTS: usize = 64;
const ILL_FORMED: Error = Error::Corrupt { what: "its plate list is no well-formed XML" };
const AMBIGUOUS: Error = Error::Corrupt { what: "its plate list states something twice" };

/// What the plate list says.
#[derive(Debug, Default)]
pub(super) struct SliceInfo {
    pub(super) plates: Vec<SlicedPlate>,
}

/// What it says of one plate.
#[derive(Debug, Default)]
pub(super) struct SlicedPlate {
    pub(super) index: Option<u32>,
    pub(super) printer_model: Option<String>,
    /// Each extruder's nozzle.
    pub(super) nozzle_diameters_micrometers: Option<Vec<u32>>,
    pub(super) estimated_seconds: Option<u64>,
    /// By rising index.
    pub(super) filaments: Vec<Filament>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Element {
    Config,
    Plate,
    Other,
}

/// Reads the plate list.
pub(super) fn parse(bytes: &[u8]) -> Result<SliceInfo, Error> {
    let text = std::str::from_utf8(bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes)).map_err(|_| ILL_FORMED)?;
    let mut reader = Reader::from_str(text);
    let mut info = SliceInfo::default();
    let mut open: Vec<Element> = Vec::new();
    let mut roots = 0;
    loop {
        match reader.read_event().map_err(|_| ILL_FORMED)? {
            Event::Start(element) => {
                roots += usize::from(open.is_empty());
                let kind = info.begin(open.last().copied(), &element)?;
                if open.len() == MOST_DEPTH {
                    return Err(Error::Corrupt { what: "its plate list is nested too deeply" });
                }
                open.push(kind);
            }
            Event::Empty(element) => {
                roots += usize::from(open.is_empty());
                info.begin(open.last().copied(), &element)?;
            }
            Event::End(_) => {
                open.pop();
            }
            Event::DocType(_) => return Err(Error::Corrupt { what: "its plate list has a document type" }),
            Event::Eof => break,
            _ => {}
        }
    }
    if !open.is_empty() || roots != 1 {
        return Err(ILL_FORMED);
    }
    for plate in &mut info.plates {
        plate.filaments.sort_by_key(|filament| filament.index);
        if plate.filaments.windows(2).any(|pair| pair[0].index == pair[1].index) {
            return Err(AMBIGUOUS);
        }
    }
    Ok(info)
}

impl SliceInfo {
    /// Takes in the beginning of an element.
    fn begin(&mut self, parent: Option<Element>, element: &BytesStart<'_>) -> Result<Element, Error> {
        match (parent, element.name().0) {
            (None, "config") => Ok(Element::Config),
            (Some(Element::Config), "plate") => {
                if self.plates.len() == MOST_PLATES {
                    return Err(Error::Corrupt { what: "its plate list has too many plates" });
                }
                self.plates.push(SlicedPlate::default());
                Ok(Element::Plate)
            }
            (Some(Element::Plate), "metadata") => {
                let [key, value] = attributes(element, ["key", "value"])?;
                if let (Some(plate), Some(key), Some(value)) = (self.plates.last_mut(), key, value) {
                    plate.metadata(&key, &value)?;
                }
                Ok(Element::Other)
            }
            (Some(Element::Plate), "filament") => {
                if let Some(plate) = self.plates.last_mut() {
                    plate.filament(element)?;
                }
                Ok(Element::Other)
            }
            _ => Ok(Element::Other),
        }
    }
}

impl SlicedPlate {
    fn metadata(&mut self, key: &str, value: &str) -> Result<(), Error> {
        match key {
            "index" => {
                let index = value.trim().parse().map_err(|_| Error::Corrupt { what: "a plate has no number" })?;
                once(&mut self.index, Some(index))
            }
            // Empty when sliced without a printer's profile.
            "printer_model_id" => once(&mut self.printer_model, name(value)),
            "nozzle_diameters" => once(&mut self.nozzle_diameters_micrometers, diameters(value)),
            "prediction" => {
                once(&mut self.estimated_seconds, thousandths(value).map(|milliseconds| milliseconds / 1000))
            }
            _ => Ok(()),
        }
    }

    fn filament(&mut self, element: &BytesStart<'_>) -> Result<(), Error> {
        let [id, profile, material, shade, meters, grams] =
            attributes(element, ["id", "tray_info_idx", "type", "color", "used_m", "used_g"])?;
        let index = id.and_then(|id| id.trim().parse().ok()).filter(|id| (1..=MOST_FILAMENTS).contains(id));
        let Some(index) = index.and_then(|index| u32::try_from(index).ok()) else {
            return Err(Error::Corrupt { what: "a filament has no number from 1 to 64" });
        };
        if self.filaments.len() == MOST_FILAMENTS {
            return Err(AMBIGUOUS);
        }
        self.filaments.push(Filament {
            index,
            profile_id: profile.as_deref().and_then(name),
            material: material.as_deref().and_then(name),
            color: shade.as_deref().and_then(color),
            milligrams: grams.as_deref().and_then(thousandths).filter(|milligrams| *milligrams > 0),
            millimeters: meters.as_deref().and_then(thousandths),
        });
        Ok(())
    }
}

/// Nozzle diameters as a list with commas; `None` when it is not one.
fn diameters(text: &str) -> Option<Vec<u32>> {
    let diameters: Option<Vec<u32>> = text
        .split([',', ';'])
        .take(MOST_FILAMENTS)
        .map(|part| thousandths(part).and_then(|micrometers| u32::try_from(micrometers).ok()).filter(|d| *d > 0))
        .collect();
    diameters.filter(|diameters| !diameters.is_empty())
}

/// Keeps a value that is stated for the first time. Two readers could believe two different ones.
fn once<T>(place: &mut Option<T>, value: Option<T>) -> Result<(), Error> {
    match (place.is_some(), value) {
        (true, Some(_)) => Err(AMBIGUOUS),
        (_, None) => Ok(()),
        (false, value) => {
            *place = value;
            Ok(())
        }
    }
}

/// The values of the attributes asked for. Bounded: the library's own check for repeated ones compares each with each.
fn attributes<const N: usize>(element: &BytesStart<'_>, wanted: [&str; N]) -> Result<[Option<String>; N], Error> {
    let mut values = [const { None }; N];
    for (count, attribute) in element.attributes().with_checks(false).enumerate() {
        let attribute = attribute.map_err(|_| ILL_FORMED)?;
        if count == MOST_ATTRIBUTES {
            return Err(Error::Corrupt { what: "its plate list has too many attributes" });
        }
        if let Some(place) = wanted.iter().position(|key| *key == attribute.key.0).and_then(|at| values.get_mut(at)) {
            let value = attribute.normalized_value(XmlVersion::Implicit1_0).map_err(|_| ILL_FORMED)?;
            once(place, Some(value.into_owned()))?;
        }
    }
    Ok(values)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plate(inner: &str) -> Result<SliceInfo, Error> {
        parse(format!("<?xml version=\"1.0\"?>\n<config><plate>{inner}</plate></config>").as_bytes())
    }

    fn refused(text: &str) -> &'static str {
        match parse(text.as_bytes()) {
            Err(Error::Corrupt { what }) => what,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_plate_list_is_read_whatever_else_it_says() {
        let info = parse(
            b"\xEF\xBB\xBF<config><header><header_item key=\"X-BBL-Client-Version\" value=\"01.09.00.60\"/></header>\
            <plate><metadata key='index' value='2'/><metadata key=\"printer_model_id\" value=\"N2S\"/>\
            <metadata key=\"nozzle_diameters\" value=\"0.4,0.6\"/><metadata key=\"prediction\" value=\"917.8\"/>\
            <metadata key=\"later\" value=\"&amp;\"/><object identify_id=\"3\"/><new><metadata key=\"index\" value=\"9\"/></new>\
            <filament id=\"3\" tray_info_idx=\"GFG99\" type=\"PETG\" color=\"#f5a623ff\" used_m=\"0.5\" used_g=\"0\"/>\
            <filament id=\"1\" type=\"A&amp;B\" color=\"red\" used_m=\"1.2345\" used_g=\"3.69\" used_for_object=\"true\"/>\
            </plate></config>",
        )
        .unwrap();
        let [plate] = info.plates.as_slice() else { panic!("{info:?}") };
        assert_eq!((plate.index, plate.printer_model.as_deref()), (Some(2), Some("N2S")));
        assert_eq!(plate.nozzle_diameters_micrometers, Some(vec![400, 600]));
        assert_eq!(plate.estimated_seconds, Some(917));
        let [first, third] = plate.filaments.as_slice() else { panic!("{plate:?}") };
        assert_eq!((first.index, first.material.as_deref(), first.color.as_deref()), (1, Some("A&B"), None));
        assert_eq!((first.millimeters, first.milligrams), (Some(1_235), Some(3_690)));
        assert_eq!((third.index, third.profile_id.as_deref()), (3, Some("GFG99")));
        assert_eq!((third.color.as_deref(), third.milligrams), (Some("#F5A623"), None));
    }

    #[test]
    fn an_empty_printer_model_is_none() {
        let info = plate("<metadata key=\"printer_model_id\" value=\"\"/>").unwrap();
        assert_eq!(info.plates[0].printer_model, None);
    }

    #[test]
    fn entities_are_never_expanded() {
        let bomb = "<!DOCTYPE config [<!ENTITY a \"aaaa\"><!ENTITY b \"&a;&a;\">]><config/>";
        assert_eq!(refused(bomb), "its plate list has a document type");
        let unknown = "<config><plate><metadata key=\"index\" value=\"&b;\"/></plate></config>";
        assert_eq!(refused(unknown), "its plate list is no well-formed XML");
    }

    #[test]
    fn depth_and_attributes_are_bounded() {
        let deep = ["<a>".repeat(100_000), "</a>".repeat(100_000)].concat();
        assert_eq!(refused(&deep), "its plate list is nested too deeply");
        let wide = " a=\"\"".repeat(100_000);
        let wide = format!("<config><plate><metadata{wide}/></plate></config>");
        assert_eq!(refused(&wide), "its plate list has too many attributes");
        let plates = format!("<config>{}</config>", "<plate/>".repeat(1_000));
        assert_eq!(refused(&plates), "its plate list has too many plates");
        let filaments = plate(&"<filament id=\"1\"/>".repeat(65));
        assert!(matches!(filaments, Err(Error::Corrupt { .. })), "{filaments:?}");
    }

    #[test]
    fn what_is_said_twice_is_not_believed() {
        for inner in [
            "<metadata key=\"index\" value=\"1\"/><metadata key=\"index\" value=\"2\"/>",
            "<metadata key=\"printer_model_id\" value=\"N1\"/><metadata key=\"printer_model_id\" value=\"N2S\"/>",
            "<metadata key=\"index\" value=\"1\" value=\"2\"/>",
            "<filament id=\"1\" type=\"PLA\"/><filament id=\"1\" type=\"ABS\"/>",
        ] {
            assert!(matches!(plate(inner), Err(Error::Corrupt { .. })), "{inner}");
        }
    }

    #[test]
    fn cut_and_broken_lists_are_refused() {
        let whole = "<config><plate><metadata key=\"index\" value=\"1\"/></plate></config>";
        assert!(parse(whole.as_bytes()).is_ok());
        for length in 0..whole.len() {
            assert!(parse(&whole.as_bytes()[..length]).is_err(), "{length}");
        }
        for text in ["<config></plate>", "<config/><config/>", "text", "\u{FEFF}", "<config><plate a></config>"] {
            assert!(parse(text.as_bytes()).is_err(), "{text}");
        }
        assert!(parse(b"<config>\xFF</config>").is_err(), "not UTF-8");
        for id in ["0", "65", "-1", "x", ""] {
            assert!(plate(&format!("<filament id=\"{id}\"/>")).is_err(), "{id}");
        }
        assert!(plate("<filament/>").is_err());
    }
}
