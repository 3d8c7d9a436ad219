//! From the slicer's keys and values to the facts of a print file, the same for text and binary files.
//! Keeps only the keys it knows, so memory is bounded whatever a file carries. Key names and list separators are those
//! PrusaSlicer, OrcaSlicer and Bambu Studio write; an empty place in a list of amounts means an unused filament.

use std::collections::BTreeMap;

use crate::quantity::{color, list, name, seconds, switch, thousandths};
use crate::{Error, Filament, Format, PrintFile, Thumbnail, models};

const PRINTER_MODEL: &str = "printer_model";
const NOZZLE_DIAMETER: &str = "nozzle_diameter";
const NOZZLE_HIGH_FLOW: &str = "nozzle_high_flow";
/// OrcaSlicer and Bambu Studio: for each extruder `Standard`, `High Flow` or a mixture.
const NOZZLE_VOLUME_TYPE: &str = "nozzle_volume_type";
/// OrcaSlicer and Bambu Studio: for each extruder what its nozzle is made of.
const NOZZLE_TYPE: &str = "nozzle_type";
const FILAMENT_ABRASIVE: &str = "filament_abrasive";
/// OrcaSlicer and Bambu Studio: for each filament how hard a nozzle must be, in HRC.
const REQUIRED_HRC: &str = "required_nozzle_HRC";
/// These slicers count a nozzle of stainless steel as 20 HRC, of brass as 2, a hardened one as 55.
const STAINLESS_STEEL_HRC: u64 = 20;
const FILAMENT_TYPE: &str = "filament_type";
const FILAMENT_COLOR: &str = "filament_colour";
const EXTRUDER_COLOR: &str = "extruder_colour";
const USED_MILLIMETERS: &str = "filament used [mm]";
const USED_GRAMS: &str = "filament used [g]";
const TIME: [&str; 2] = ["estimated printing time (normal mode)", "total estimated time"];
/// Bambu Studio lists only the filaments it uses: their numbers, and amounts in the same order.
const USED_NUMBERS: &str = "filament";
const NUMBERED_MILLIMETERS: &str = "total filament length [mm]";
const NUMBERED_GRAMS: &str = "total filament weight [g]";
/// OrcaSlicer's header and footer spell the same number differently.
const LAYERS: [&str; 2] = ["total layer number", "total layers count"];
const MAX_Z: [&str; 2] = ["max_layer_z", "max_z_height"];

const KEYS: [&str; 21] = [
    PRINTER_MODEL,
    NOZZLE_DIAMETER,
    NOZZLE_HIGH_FLOW,
    NOZZLE_VOLUME_TYPE,
    NOZZLE_TYPE,
    FILAMENT_ABRASIVE,
    REQUIRED_HRC,
    FILAMENT_TYPE,
    FILAMENT_COLOR,
    EXTRUDER_COLOR,
    USED_MILLIMETERS,
    USED_GRAMS,
    TIME[0],
    TIME[1],
    USED_NUMBERS,
    NUMBERED_MILLIMETERS,
    NUMBERED_GRAMS,
    LAYERS[0],
    LAYERS[1],
    MAX_Z[0],
    MAX_Z[1],
];
/// More than 64 entries of any known list; longer values are not of a real file.
const VALUE_BYTES: usize = 4096;

/// The known keys of a file and what it says about them.
#[derive(Debug, Default)]
pub(crate) struct Metadata(BTreeMap<&'static str, String>);

impl Metadata {
    /// Keeps the value unless the key is unknown, has a value already, or the value is absurdly long.
    pub(crate) fn offer(&mut self, key: &str, value: &str) {
        if value.len() > VALUE_BYTES {
            return;
        }
        if let Some(known) = KEYS.iter().find(|k| **k == key.trim()) {
            self.0.entry(known).or_insert_with(|| value.trim().to_owned());
        }
    }

    /// Forgets everything.
    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    /// Takes over what is not known yet.
    pub(crate) fn fill_from(&mut self, other: Self) {
        for (key, value) in other.0 {
            self.0.entry(key).or_insert(value);
        }
    }

    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(String::as_str)
    }

    fn entries(&self, key: &str, separator: char) -> Vec<String> {
        self.get(key).map(|value| list(value, separator)).unwrap_or_default()
    }

    /// The facts, from everything offered.
    pub(crate) fn facts(
        &self,
        format: Format,
        slicer: Option<String>,
        last_z_micrometers: Option<u64>,
        thumbnails: Vec<Thumbnail>,
    ) -> Result<PrintFile, Error> {
        let filaments = self.filaments();
        let used: Vec<usize> = filaments.iter().map(|f| f.index as usize - 1).collect();
        let first_of = |keys: [&str; 2]| keys.iter().find_map(|key| self.get(key));
        let printer_model = self.get(PRINTER_MODEL).map(|value| value.trim_matches('"')).and_then(name);
        let nozzle_high_flow = self
            .any_of_used(NOZZLE_HIGH_FLOW, &used)
            .or_else(|| self.high_flow_by_volume())
            .or_else(|| printer_model.as_deref().is_some_and(models::says_high_flow).then_some(true));
        Ok(PrintFile {
            format,
            slicer,
            printer_model,
            nozzle_diameter_micrometers: self.nozzle_diameter(&used)?,
            nozzle_high_flow,
            nozzle_type: self
                .same_for_all(NOZZLE_TYPE)
                .filter(|made_of| made_of != "undefine")
                .as_deref()
                .and_then(name),
            filament_abrasive: self.any_of_used(FILAMENT_ABRASIVE, &used).or_else(|| self.abrasive_by_hardness(&used)),
            estimated_seconds: first_of(TIME).and_then(seconds),
            layers: first_of(LAYERS).and_then(|value| value.parse().ok()),
            max_z_micrometers: first_of(MAX_Z).and_then(thousandths).or(last_z_micrometers),
            filaments,
            thumbnails,
            plate: None,
            plates: Vec::new(),
        })
    }

    /// How many filaments the project has, used or not, by its list of colors.
    pub(crate) fn project_filaments(&self) -> Option<u32> {
        self.get(FILAMENT_COLOR).and_then(|_| u32::try_from(self.entries(FILAMENT_COLOR, ';').len()).ok())
    }

    fn filaments(&self) -> Vec<Filament> {
        let materials = self.entries(FILAMENT_TYPE, ';');
        let filament_colors = self.entries(FILAMENT_COLOR, ';');
        let extruder_colors = self.entries(EXTRUDER_COLOR, ';');
        let millimeters = self.amounts(USED_MILLIMETERS, NUMBERED_MILLIMETERS, materials.len());
        let grams = self.amounts(USED_GRAMS, NUMBERED_GRAMS, materials.len());
        let amounts_known = !(millimeters.is_empty() && grams.is_empty());
        let count = materials.len().max(millimeters.len()).max(grams.len());
        let colored = |colors: &[String], at: usize| colors.get(at).and_then(|c| color(c));
        (0..count)
            .zip(1_u32..)
            .filter_map(|(at, index)| {
                let length = millimeters.get(at).map(|text| thousandths(text));
                let mass = grams.get(at).map(|text| thousandths(text));
                // Unused only when nothing says otherwise; an amount nobody can read may be one.
                let unused = |amount: Option<Option<u64>>| matches!(amount, None | Some(Some(0)));
                if amounts_known && unused(length) && unused(mass) {
                    return None;
                }
                Some(Filament {
                    index,
                    profile_id: None,
                    material: materials.get(at).and_then(|material| name(material)),
                    // The color given to the extruder is what the person sees in the slicer; it wins.
                    color: colored(&extruder_colors, at).or_else(|| colored(&filament_colors, at)),
                    milligrams: mass.flatten().filter(|milligrams| *milligrams > 0),
                    millimeters: length.flatten().map(|micrometers| micrometers.saturating_add(500) / 1000),
                })
            })
            .collect()
    }

    /// Amounts by place, one for each filament up to the last used one, from either way to write them.
    fn amounts(&self, by_place: &str, by_number: &str, materials: usize) -> Vec<String> {
        let numbered = self.entries(by_number, ',');
        let numbers = self.entries(USED_NUMBERS, ',');
        if self.get(by_place).is_some() || numbered.is_empty() {
            return self.entries(by_place, ',');
        }
        if numbers.is_empty() {
            // Some versions leave the numbers out: as many amounts as filaments can only be one for each.
            return if numbered.len() == materials { numbered } else { Vec::new() };
        }
        let mut amounts = Vec::new();
        for (number, amount) in numbers.iter().zip(numbered) {
            if let Some(at) = number.trim().parse::<usize>().ok().and_then(|n| n.checked_sub(1)).filter(|at| *at < 64) {
                amounts.resize(amounts.len().max(at + 1), "0".to_owned());
                amounts[at] = amount;
            }
        }
        amounts
    }

    /// The entry of each used filament; a list of one entry holds for all. Without used filaments, the first entry.
    fn of_used(&self, key: &str, used: &[usize]) -> Vec<String> {
        let entries = self.entries(key, ',');
        if entries.len() <= 1 || used.is_empty() {
            return entries.into_iter().take(1).collect();
        }
        used.iter().filter_map(|at| entries.get(*at).cloned()).collect()
    }

    /// The one entry of a list, or what all its entries are.
    fn same_for_all(&self, key: &str) -> Option<String> {
        let mut entries = self.entries(key, ',');
        entries.dedup();
        if entries.len() == 1 { entries.pop() } else { None }
    }

    fn high_flow_by_volume(&self) -> Option<bool> {
        match self.same_for_all(NOZZLE_VOLUME_TYPE)?.as_str() {
            "Standard" => Some(false),
            "High Flow" => Some(true),
            _ => None, // a mixture, or a kind that is no more than a name here
        }
    }

    fn abrasive_by_hardness(&self, used: &[usize]) -> Option<bool> {
        let hardest =
            self.of_used(REQUIRED_HRC, used).iter().filter_map(|entry| entry.trim().parse::<u64>().ok()).max();
        hardest.map(|hardest| hardest > STAINLESS_STEEL_HRC)
    }

    fn any_of_used(&self, key: &str, used: &[usize]) -> Option<bool> {
        let values: Vec<bool> = self.of_used(key, used).iter().filter_map(|entry| switch(entry)).collect();
        (!values.is_empty()).then(|| values.contains(&true))
    }

    fn nozzle_diameter(&self, used: &[usize]) -> Result<Option<u32>, Error> {
        let mut diameters: Vec<u32> = self
            .of_used(NOZZLE_DIAMETER, used)
            .iter()
            .filter_map(|entry| thousandths(entry))
            .filter_map(|micrometers| u32::try_from(micrometers).ok())
            .filter(|micrometers| *micrometers > 0)
            .collect();
        diameters.dedup();
        match diameters.as_slice() {
            [] => Ok(None),
            [one] => Ok(Some(*one)),
            _ => Err(Error::different_nozzles()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(pairs: &[(&str, &str)]) -> Result<PrintFile, Error> {
        let mut metadata = Metadata::default();
        for (key, value) in pairs {
            metadata.offer(key, value);
        }
        metadata.facts(Format::Gcode, None, None, Vec::new())
    }

    #[test]
    fn unused_filaments_are_left_out_and_the_others_keep_their_number() {
        let file = facts(&[
            ("filament_type", "PLA;PETG;PLA;TPU"),
            ("filament_colour", "#111111;#222222;#333333;#444444"),
            ("extruder_colour", "\"\";#AAAAAA;\"\";\"\""),
            ("filament used [mm]", "0.00, 1200.50, 33.00"),
            ("filament used [g]", "0.00, 3.58"),
            ("filament_abrasive", "1,0,0,1"),
        ])
        .unwrap();
        let filament = |index, material: &str, color: &str, milligrams, millimeters| Filament {
            index,
            profile_id: None,
            material: Some(material.to_owned()),
            color: Some(color.to_owned()),
            milligrams,
            millimeters: Some(millimeters),
        };
        assert_eq!(
            file.filaments,
            [filament(2, "PETG", "#AAAAAA", Some(3580), 1201), filament(3, "PLA", "#333333", None, 33)]
        );
        assert_eq!(file.filament_abrasive, Some(false), "the abrasive ones are not used");
    }

    #[test]
    fn without_amounts_every_filament_counts_as_used() {
        let file = facts(&[("filament_type", "PLA;PETG"), ("filament_abrasive", "0,1")]).unwrap();
        assert_eq!(file.filaments.len(), 2);
        assert_eq!(file.filaments[1].milligrams, None);
        assert_eq!(file.filament_abrasive, Some(true));
    }

    #[test]
    fn an_unreadable_amount_does_not_make_a_filament_unused() {
        let file = facts(&[("filament_type", "PLA"), ("filament used [mm]", "?"), ("filament used [g]", "0")]).unwrap();
        assert_eq!(file.filaments.len(), 1);
        assert_eq!(file.filaments[0].millimeters, None);
    }

    #[test]
    fn the_nozzle_is_that_of_the_used_filament() {
        let used_second = [("filament used [mm]", "0, 10"), ("nozzle_diameter", "0.4,0.6")];
        assert_eq!(facts(&used_second).unwrap().nozzle_diameter_micrometers, Some(600));
        let one_for_all = [("filament used [mm]", "5, 10"), ("nozzle_diameter", "0.4")];
        assert_eq!(facts(&one_for_all).unwrap().nozzle_diameter_micrometers, Some(400));
        let both = [("filament used [mm]", "5, 10"), ("nozzle_diameter", "0.4,0.6")];
        assert!(matches!(facts(&both), Err(Error::Unsupported { .. })));
    }

    #[test]
    fn a_nozzle_is_high_flow_where_any_slicer_says_so() {
        for (pairs, expected) in [
            (&[("nozzle_high_flow", "1")][..], Some(true)),
            (&[("nozzle_volume_type", "High Flow")], Some(true)),
            (&[("nozzle_volume_type", "High Flow,High Flow")], Some(true)),
            (&[("nozzle_volume_type", "Standard")], Some(false)),
            (&[("nozzle_volume_type", "Standard,High Flow")], None),
            (&[("nozzle_volume_type", "Hybrid")], None),
            (&[("printer_model", "Prusa CORE One HF")], Some(true)),
            (&[("printer_model", "Prusa CORE One HF"), ("nozzle_high_flow", "0")], Some(false)),
            (&[("printer_model", "Prusa CORE One")], None),
        ] {
            assert_eq!(facts(pairs).unwrap().nozzle_high_flow, expected, "{pairs:?}");
        }
    }

    #[test]
    fn a_filament_for_hardened_nozzles_counts_as_abrasive_where_it_is_used() {
        let used_second = ("filament used [mm]", "0, 10");
        for (hardness, expected) in [
            ("3", Some(false)),
            ("20", Some(false)),
            ("21", Some(true)),
            ("40", Some(true)),
            ("40,3", Some(false)),
            ("3,40", Some(true)),
            ("hard", None),
            ("-1", None),
            ("nan,inf", None),
        ] {
            let file = facts(&[used_second, ("required_nozzle_HRC", hardness)]).unwrap();
            assert_eq!(file.filament_abrasive, expected, "{hardness}");
        }
        let both = facts(&[("filament_abrasive", "0"), ("required_nozzle_HRC", "40")]).unwrap();
        assert_eq!(both.filament_abrasive, Some(false), "said outright");
    }

    #[test]
    fn what_the_nozzle_is_made_of_is_told_when_it_is_one_thing() {
        let made_of = |value| facts(&[("nozzle_type", value)]).unwrap().nozzle_type;
        assert_eq!(made_of("hardened_steel,hardened_steel").as_deref(), Some("hardened_steel"));
        assert_eq!(made_of("hardened_steel,brass"), None);
        assert_eq!(made_of("undefine"), None);
    }

    #[test]
    fn amounts_without_numbers_are_believed_only_when_each_filament_has_one() {
        let amounts = |types| facts(&[("filament_type", types), ("total filament weight [g]", "1.5,2.5")]).unwrap();
        let both = amounts("PLA;PETG").filaments;
        assert_eq!(both.iter().map(|f| f.milligrams).collect::<Vec<_>>(), [Some(1_500), Some(2_500)]);
        let unclear = amounts("PLA;PETG;ABS").filaments;
        assert_eq!(unclear.iter().map(|f| f.milligrams).collect::<Vec<_>>(), [None, None, None]);
    }

    #[test]
    fn numbers_that_are_none_state_nothing() {
        for number in ["NaN", "inf", "-inf", "-0.4", "1e3", "0x10", "1,5e", "99999999999999999999999", "", "٣"] {
            let file = facts(&[
                ("filament_type", "PLA"),
                ("filament used [g]", number),
                ("filament used [mm]", number),
                ("nozzle_diameter", number),
                ("max_layer_z", number),
                ("total layer number", number),
                ("estimated printing time (normal mode)", number),
            ])
            .unwrap();
            let [filament] = &file.filaments[..1] else { panic!("{number}") };
            assert_eq!(
                (filament.milligrams.filter(|_| number != "1,5e"), file.max_z_micrometers),
                (None, None),
                "{number}"
            );
            assert_eq!((file.layers, file.estimated_seconds), (None, None), "{number}");
        }
    }

    #[test]
    fn what_is_not_stated_is_not_guessed() {
        let file = facts(&[]).unwrap();
        assert_eq!(file.nozzle_diameter_micrometers, None);
        assert_eq!(file.nozzle_high_flow, None);
        assert_eq!(file.filament_abrasive, None);
        assert_eq!(file.estimated_seconds, None);
        assert!(file.filaments.is_empty());
    }
}
