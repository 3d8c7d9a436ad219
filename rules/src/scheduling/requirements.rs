//! What a job asks of a printer: the facts of its file, and what a person wrote in addition.
//!
//! The result is in one form (canonical models, materials in upper case), so that jobs that ask for the same compare and
//! hash equal and are decided once. What neither file nor person says stays unsaid; nothing is assumed.

use std::borrow::Cow;

use printernizer_crds::PrintJob;
use printernizer_crds::print_job::{ColorMatch, FileFilament, FileStatus, Toleration};
use printernizer_crds::printer::BuildVolume;

use super::capabilities::ModelNames;
use super::color::Color;
use super::selection::Selector;
use super::slots::normalized_material;

/// What a job asks of a printer.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Requirements {
    /// The one printer that may print it.
    pub printer: Option<String>,
    /// A printer that could not start the job: others that fit come first. `requirements` leaves it unset, because it
    /// depends on the time.
    pub avoid: Option<String>,
    /// Labels the printer must have.
    pub selector: Option<Selector>,
    /// Taints that do not keep it away.
    pub tolerations: Vec<Toleration>,
    /// Canonical names of the models that may print it. Empty: neither file nor person says which.
    pub models: Vec<Cow<'static, str>>,
    /// Whether the file is a sliced 3MF; `None` while it was not read.
    pub sliced_3mf: Option<bool>,
    /// Nozzle diameters in micrometers, the file's and the person's; all must be met.
    pub nozzle_diameters_micrometers: Vec<i32>,
    /// Whether a person asks for a hardened nozzle.
    pub nozzle_hardened: bool,
    /// Whether the file's filament wears a brass nozzle down. It excludes only a nozzle that is known not to be hardened;
    /// Prusa's firmware likewise refuses what its own settings deny.
    pub filament_abrasive: bool,
    /// Whether a person asks for a high-flow nozzle, or for one that is none.
    pub nozzle_high_flow: Option<bool>,
    /// Whether the file was sliced for a high-flow nozzle. It excludes only a nozzle that is known to be none. A file for
    /// an ordinary nozzle asks for nothing.
    pub file_high_flow: bool,
    /// Build plate a person asks for.
    pub plate: Option<String>,
    /// Build plate the file was sliced for. It is compared only where the printer's is declared.
    pub file_plate: Option<String>,
    /// Build volume a person asks for.
    pub min_build_volume: Option<BuildVolume>,
    /// Height of the part. The file states no other extent that could be compared: where on the bed the part lies is for
    /// the slicer, which knew the model.
    pub height_micrometers: Option<i64>,
    /// How closely colors must match.
    pub color_match: ColorMatch,
    /// Filaments the print uses, by index.
    pub filaments: Vec<FilamentNeed>,
    /// Materials that must be loaded besides, in upper case, sorted.
    pub materials: Vec<String>,
}

/// One filament a print uses.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct FilamentNeed {
    /// Its number, counted from 1 as the slicer does.
    pub index: i32,
    /// Its material in upper case.
    pub material: Option<String>,
    /// Its color.
    pub color: Option<Color>,
    /// How much of it is needed; 0 where the file does not say.
    pub milligrams: i64,
    /// The slot a person chose for it.
    pub slot: Option<String>,
}

/// What this job asks of a printer. Its status must hold the facts of its file; without them it asks for a model it
/// cannot name, and no printer fits.
pub fn requirements(job: &PrintJob) -> Requirements {
    ModelNames::default().requirements(job)
}

impl ModelNames {
    /// See the function of this name.
    pub(super) fn requirements(&mut self, job: &PrintJob) -> Requirements {
        let spec = &job.spec;
        let file = job.status.as_ref().and_then(|s| s.file.as_ref());
        let asked = spec.requirements.as_ref();
        let nozzle = asked.and_then(|r| r.nozzle.as_ref());

        let asked_models = asked.map(|r| r.models.as_slice()).unwrap_or_default();
        let mut models: Vec<_> = if asked_models.is_empty() {
            file.and_then(|f| f.printer_model.as_deref()).into_iter().map(|m| self.canonical(m)).collect()
        } else {
            asked_models.iter().map(|m| self.canonical(m)).collect()
        };
        models.sort_unstable();
        models.dedup();

        let mut nozzle_diameters: Vec<i32> = file
            .and_then(|f| f.nozzle_diameter_micrometers)
            .into_iter()
            .chain(nozzle.and_then(|n| n.diameter_micrometers))
            .collect();
        nozzle_diameters.sort_unstable();
        nozzle_diameters.dedup();

        let mut materials: Vec<String> =
            asked.iter().flat_map(|r| &r.materials).filter_map(|m| normalized_material(m)).collect();
        let mut filaments = used(file.map(|f| f.filaments.as_slice()).unwrap_or_default());
        if filaments.is_empty() {
            // The file names no filament at all: a person's list is then the list, in its order.
            filaments = (1..).zip(materials.drain(..)).map(|(index, m)| need(index, Some(m), None, 0)).collect();
        } else if let ([only], [material]) = (filaments.as_mut_slice(), materials.as_slice())
            && only.material.is_none()
        {
            only.material = Some(material.clone());
        }
        for choice in &spec.filaments {
            match filaments.iter_mut().find(|f| f.index == choice.index) {
                Some(filament) => filament.slot = Some(choice.slot.clone()),
                None if file.is_none_or(|f| f.filaments.is_empty()) => filaments
                    .push(FilamentNeed { slot: Some(choice.slot.clone()), ..need(choice.index, None, None, 0) }),
                // A choice for a filament the plate does not use is no demand.
                None => {}
            }
        }
        filaments.sort_by_key(|f| f.index);
        materials.sort_unstable();
        materials.dedup();

        let default_match = if filaments.len() > 1 { ColorMatch::Near } else { ColorMatch::Ignore };
        Requirements {
            printer: spec.printer_ref.as_ref().map(|r| r.name.clone()),
            avoid: None,
            selector: spec.printer_selector.as_ref().map(Selector::from),
            tolerations: spec.tolerations.clone(),
            models,
            sliced_3mf: file.map(|f| f.format == "Gcode3mf"),
            nozzle_diameters_micrometers: nozzle_diameters,
            nozzle_hardened: nozzle.and_then(|n| n.hardened).unwrap_or_default(),
            filament_abrasive: file.and_then(|f| f.filament_abrasive).unwrap_or_default()
                && nozzle.and_then(|n| n.hardened).is_none(),
            nozzle_high_flow: nozzle.and_then(|n| n.high_flow),
            file_high_flow: file.and_then(|f| f.nozzle_high_flow).unwrap_or_default()
                && nozzle.and_then(|n| n.high_flow).is_none(),
            plate: asked.and_then(|r| r.plate.clone()),
            file_plate: file.and_then(|f| f.plate.clone()),
            min_build_volume: asked.and_then(|r| r.min_build_volume_millimeters),
            height_micrometers: file.and_then(|f| f.height_micrometers),
            color_match: spec.color_match.unwrap_or(default_match),
            filaments,
            materials,
        }
    }
}

fn need(index: i32, material: Option<String>, color: Option<Color>, milligrams: i64) -> FilamentNeed {
    FilamentNeed { index, material, color, milligrams, slot: None }
}

/// The filaments the print of this file uses.
pub fn used_filaments(file: &FileStatus) -> Vec<FilamentNeed> {
    used(&file.filaments)
}

/// The filaments the print uses: a slicer lists some with an amount of 0.
fn used(filaments: &[FileFilament]) -> Vec<FilamentNeed> {
    let mut needs: Vec<_> = filaments
        .iter()
        .filter_map(|filament| {
            let milligrams = filament.grams.as_deref().and_then(milligrams);
            let unused = match (milligrams, filament.millimeters) {
                (Some(mass), Some(length)) => mass == 0 && length == 0,
                (Some(amount), None) | (None, Some(amount)) => amount == 0,
                (None, None) => false,
            };
            let material = filament.material.as_deref().and_then(normalized_material);
            let color = filament.color.as_deref().and_then(Color::parse);
            (!unused).then(|| need(filament.index, material, color, milligrams.unwrap_or_default()))
        })
        .collect();
    needs.sort_by_key(|f| f.index);
    needs.dedup_by_key(|f| f.index);
    needs
}

/// Milligrams of a decimal string of grams, rounded up; `None` when it is none, or beyond any spool.
fn milligrams(grams: &str) -> Option<i64> {
    let (whole, fraction) = grams.trim().split_once('.').unwrap_or((grams.trim(), ""));
    let digits = |s: &str| s.bytes().all(|b| b.is_ascii_digit());
    if whole.is_empty() || whole.len() > 9 || !digits(whole) || !digits(fraction) {
        return None;
    }
    let kept: String = fraction.chars().chain(std::iter::repeat('0')).take(3).collect();
    let rounded = i64::from(fraction.bytes().skip(3).any(|b| b != b'0'));
    Some(whole.parse::<i64>().ok()? * 1000 + kept.parse::<i64>().ok()? + rounded)
}

#[cfg(test)]
mod tests {
    use printernizer_crds::common::Nozzle;
    use printernizer_crds::print_job::{FilamentChoice, Requirements as Asked};

    use super::super::fixtures::{filament, job};
    use super::*;

    #[test]
    fn grams_become_milligrams_without_floating_point() {
        for (text, expected) in [
            ("12.34", Some(12_340)),
            ("0", Some(0)),
            ("0.0001", Some(1)),
            ("7.0000", Some(7000)),
            (" 3 ", Some(3000)),
            ("", None),
            (".5", None),
            ("-1", None),
            ("1,5", None),
            ("1e3", None),
            ("999999999.999", Some(999_999_999_999)),
            ("9999999999", None),
        ] {
            assert_eq!(milligrams(text), expected, "{text}");
        }
    }

    #[test]
    fn unused_filaments_are_no_demand_and_several_must_match_in_color() {
        let mut job = job("one");
        assert_eq!(requirements(&job).color_match, ColorMatch::Ignore);
        let file = job.status.as_mut().unwrap().file.as_mut().unwrap();
        file.filaments = vec![
            filament(2, "PETG", "#FF0000", "10.5"),
            filament(1, " pla ", "#0000FF", "1"),
            filament(3, "PVA", "#FFFFFF", "0.00"),
        ];
        let found = requirements(&job);
        let materials: Vec<_> =
            found.filaments.iter().map(|f| (f.index, f.material.as_deref(), f.milligrams)).collect();
        assert_eq!(materials, [(1, Some("PLA"), 1000), (2, Some("PETG"), 10_500)]);
        assert_eq!(found.color_match, ColorMatch::Near);
        job.spec.color_match = Some(ColorMatch::Exact);
        assert_eq!(requirements(&job).color_match, ColorMatch::Exact);
    }

    #[test]
    fn a_filament_is_unused_only_where_all_that_the_file_says_of_its_amount_is_nothing() {
        let of = |grams: Option<&str>, millimeters| FileFilament {
            grams: grams.map(Into::into),
            millimeters,
            ..filament(1, "PLA", "#0000FF", "")
        };
        for (grams, millimeters, is_used) in [
            (Some("0.00"), Some(0), false),
            (Some("0.00"), Some(7), true),
            (Some("0.02"), Some(0), true),
            (Some("0.02"), Some(7), true),
            (Some("0.00"), None, false),
            (None, Some(0), false),
            (None, Some(7), true),
            (Some("?"), None, true),
            (None, None, true),
        ] {
            let found = used(&[of(grams, millimeters)]);
            assert_eq!(found.len(), usize::from(is_used), "{grams:?} g, {millimeters:?} mm");
        }
    }

    #[test]
    fn a_choice_of_a_slot_is_for_its_filament_and_for_none_that_is_not_used() {
        let mut job = job("one");
        let file = job.status.as_mut().unwrap().file.as_mut().unwrap();
        file.filaments = vec![filament(1, "PLA", "#0000FF", "5"), filament(2, "PLA", "#FF0000", "5")];
        let choice = |index, slot: &str| FilamentChoice { index, slot: slot.into() };
        job.spec.filaments = vec![choice(2, "AMS1-1"), choice(3, "AMS1-3")];
        let found: Vec<_> = requirements(&job).filaments.into_iter().map(|f| (f.index, f.slot)).collect();
        assert_eq!(found, [(1, None), (2, Some("AMS1-1".into()))]);
    }

    #[test]
    fn what_a_person_asks_is_added_to_what_the_file_asks() {
        let mut job = job("one");
        let file = requirements(&job);
        assert_eq!((file.models, file.nozzle_diameters_micrometers), (vec![Cow::Borrowed("COREONE")], vec![400]));
        job.spec.requirements = Some(Asked {
            models: vec!["Bambu Lab A1".into(), "Prusa CORE One".into(), "COREONE".into()],
            materials: vec!["PVA".into()],
            nozzle: Some(Nozzle { diameter_micrometers: Some(600), hardened: Some(true), high_flow: Some(false) }),
            plate: Some("Satin".into()),
            min_build_volume_millimeters: None,
        });
        let found = requirements(&job);
        assert_eq!(found.models, ["COREONE", "N2S"]);
        assert_eq!(found.nozzle_diameters_micrometers, [400, 600]);
        assert_eq!((found.nozzle_hardened, found.nozzle_high_flow), (true, Some(false)));
        assert_eq!((found.materials.as_slice(), found.filaments.len()), (&["PVA".to_owned()][..], 1));
    }

    #[test]
    fn a_persons_word_on_the_nozzle_stands_instead_of_the_files() {
        let mut job = job("one");
        let file = job.status.as_mut().unwrap().file.as_mut().unwrap();
        (file.filament_abrasive, file.nozzle_high_flow) = (Some(true), Some(true));
        let asked = |job: &PrintJob| {
            let found = requirements(job);
            [found.nozzle_hardened, found.filament_abrasive, found.nozzle_high_flow == Some(true), found.file_high_flow]
        };
        assert_eq!(asked(&job), [false, true, false, true]);
        for (word, expected) in [(true, [true, false, true, false]), (false, [false; 4])] {
            let nozzle = Nozzle { hardened: Some(word), high_flow: Some(word), ..Nozzle::default() };
            job.spec.requirements = Some(Asked { nozzle: Some(nozzle), ..Asked::default() });
            assert_eq!(asked(&job), expected, "{word}");
        }
        job.spec.requirements = None;
        let file = job.status.as_mut().unwrap().file.as_mut().unwrap();
        (file.filament_abrasive, file.nozzle_high_flow) = (Some(false), Some(false));
        assert_eq!(asked(&job), [false; 4]);
    }

    #[test]
    fn a_file_without_filaments_uses_those_a_person_names() {
        let mut job = job("one");
        job.status.as_mut().unwrap().file.as_mut().unwrap().filaments.clear();
        assert_eq!(requirements(&job).filaments, []);
        job.spec.requirements = Some(Asked { materials: vec!["petg".into()], ..Asked::default() });
        let found = requirements(&job);
        assert_eq!((found.filaments[0].index, found.filaments[0].material.as_deref()), (1, Some("PETG")));
        assert_eq!(found.materials, Vec::<String>::new());
        job.spec.requirements = None;
        job.spec.filaments = vec![FilamentChoice { index: 1, slot: "External".into() }];
        assert_eq!(requirements(&job).filaments[0].slot.as_deref(), Some("External"));
    }

    #[test]
    fn a_material_the_file_leaves_open_is_the_one_a_person_names() {
        let mut job = job("one");
        let file = job.status.as_mut().unwrap().file.as_mut().unwrap();
        file.filaments[0].material = None;
        assert_eq!(requirements(&job).filaments[0].material, None);
        job.spec.requirements = Some(Asked { materials: vec!["ASA".into()], ..Asked::default() });
        assert_eq!(requirements(&job).filaments[0].material.as_deref(), Some("ASA"));
    }

    #[test]
    fn jobs_that_ask_for_the_same_are_one_shape() {
        let (mut one, other) = (job("one"), job("other"));
        one.spec.priority = 7;
        one.spec.display_name = Some("Clip".into());
        assert_eq!(requirements(&one), requirements(&other));
        one.status.as_mut().unwrap().file.as_mut().unwrap().filaments[0].material = Some("ASA".into());
        assert_ne!(requirements(&one), requirements(&other));
    }
}
