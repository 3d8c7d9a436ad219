//! One name for each printer model: makers, slicers and firmwares spell the same machine differently.
//! Decides only whether two names mean the same machine, never whether a file for one machine runs on another.
//! Prusa codes and names are those of PrusaSlicer's profiles (the input-shaper profiles are the same machines); Bambu Lab
//! codes are those the printers announce and the slicer writes.

use std::borrow::Cow;

/// A model, its maker's name, and other spellings, without the maker's prefix (see [`PREFIXES`]).
struct Model {
    code: &'static str,
    name: &'static str,
    aliases: &'static [&'static str],
}

const fn model(code: &'static str, name: &'static str, aliases: &'static [&'static str]) -> Model {
    Model { code, name, aliases }
}

/// What may stand before a model's name. Longest first.
const PREFIXES: [&str; 4] = ["originalprusa", "bambulab", "prusa", "bambu"];

const MODELS: &[Model] = &[
    model(
        "COREONE",
        "Prusa CORE One",
        &["CORE One+", "CORE One && CORE One+", "CORE One & CORE One+", "CORE One HF", "CORE One+ HF"],
    ),
    model("COREONEMMU3", "Prusa CORE One MMU3", &["CORE One+ MMU3", "CORE One && CORE One+ MMU3"]),
    model("COREONEL", "Prusa CORE One L", &["CORE One L HF"]),
    model("COREONELMMU3", "Prusa CORE One L MMU3", &[]),
    model("COREONEOAK", "Prusa Signature Oak", &["CORE One Signature Oak"]),
    model("COREONE_INDX4T", "Prusa CORE One INDX 4T", &[]),
    model("COREONE_INDX8T", "Prusa CORE One INDX 8T", &[]),
    model("MK4S", "Original Prusa MK4S", &["MK4S HF"]),
    model("MK4SMMU3", "Original Prusa MK4S MMU3", &[]),
    model("MK4", "Original Prusa MK4", &["MK4IS", "MK4 Input Shaper"]),
    model("MK4MMU3", "Original Prusa MK4 MMU3", &["MK4ISMMU3"]),
    model("MK3.9S", "Original Prusa MK3.9S", &[]),
    model("MK3.9SMMU3", "Original Prusa MK3.9S MMU3", &[]),
    model("MK3.9", "Original Prusa MK3.9", &["MK3.9IS", "MK3.9 Input Shaper"]),
    model("MK3.9MMU3", "Original Prusa MK3.9 MMU3", &[]),
    model("MK3.5", "Original Prusa MK3.5", &["MK3.5S", "MK3.5 && MK3.5S", "MK3.5 & MK3.5S"]),
    model("MK3.5MMU3", "Original Prusa MK3.5 MMU3", &["MK3.5S MMU3", "MK3.5 && MK3.5S MMU3"]),
    model("MINI", "Original Prusa MINI", &["MINI+", "MINIIS", "MINI && MINI+", "MINI && MINI+ Input Shaper"]),
    model("XL", "Original Prusa XL", &["XLIS", "XL Input Shaper"]),
    model("XL2", "Original Prusa XL - 2T", &["XL2IS", "XL 2T", "XL - 2T Input Shaper"]),
    model("XL5", "Original Prusa XL - 5T", &["XL5IS", "XL 5T", "XL - 5T Input Shaper"]),
    model("MK3S", "Original Prusa i3 MK3S", &["MK3S+", "i3 MK3S+", "i3 MK3S && MK3S+"]),
    model("MK3SMMU3", "Original Prusa i3 MK3S MMU3", &["i3 MK3S+ MMU3", "i3 MK3S && MK3S+ MMU3"]),
    model("MK3SMMU2S", "Original Prusa i3 MK3S MMU2S", &["i3 MK3S+ MMU2S", "i3 MK3S && MK3S+ MMU2S"]),
    model("MK3", "Original Prusa i3 MK3", &[]),
    model("MK3MMU2", "Original Prusa i3 MK3 MMU2", &[]),
    model("MK2.5S", "Original Prusa i3 MK2.5S", &[]),
    model("MK2.5SMMU2S", "Original Prusa i3 MK2.5S MMU2S", &[]),
    model("MK2.5", "Original Prusa i3 MK2.5", &[]),
    model("MK2.5MMU2", "Original Prusa i3 MK2.5 MMU2", &[]),
    model("MK2S", "Original Prusa i3 MK2S", &[]),
    model("MK2SMM", "Original Prusa i3 MK2S MMU1", &[]),
    model("N1", "Bambu Lab A1 mini", &[]),
    model("N2S", "Bambu Lab A1", &[]),
    model("C11", "Bambu Lab P1P", &[]),
    model("C12", "Bambu Lab P1S", &[]),
    model("N7", "Bambu Lab P2S", &[]),
    model("BL-P001", "Bambu Lab X1 Carbon", &["X1C"]),
    model("BL-P002", "Bambu Lab X1", &[]),
    model("C13", "Bambu Lab X1E", &[]),
    model("N6", "Bambu Lab X2D", &[]),
    model("O1D", "Bambu Lab H2D", &[]),
    model("O1E", "Bambu Lab H2D Pro", &[]),
    model("O1S", "Bambu Lab H2S", &[]),
    model("O1C", "Bambu Lab H2C", &["O1C2"]),
    model("N9", "Bambu Lab A2L", &[]),
];

/// The code of a known model (`COREONE` for `Prusa CORE One`), else the name in lower case without white space,
/// hyphens, underscores and dots. Two names mean the same machine exactly when this is equal.
pub fn canonical(name: &str) -> Cow<'static, str> {
    find(name).map_or_else(|| Cow::Owned(folded(name)), |model| Cow::Borrowed(model.code))
}

/// Whether two names mean the same model.
pub fn same(one: &str, other: &str) -> bool {
    canonical(one) == canonical(other)
}

/// Whether the name of a known model says that its nozzle is a high-flow one: OrcaSlicer has profiles of the same machines
/// for these nozzles, `Prusa CORE One HF`.
pub(crate) fn says_high_flow(name: &str) -> bool {
    find(name).is_some() && folded(name).ends_with("hf")
}

/// The names of all known models, for people who have to choose one.
pub fn display_names() -> impl Iterator<Item = &'static str> {
    MODELS.iter().map(|model| model.name)
}

/// The maker's name of a known model, for people.
pub fn display_name(name: &str) -> Option<&'static str> {
    find(name).map(|model| model.name)
}

fn find(name: &str) -> Option<&'static Model> {
    let wanted = folded(name);
    MODELS.iter().find(|model| {
        let spelled = |spelling: &&str| without_maker(&folded(spelling)) == without_maker(&wanted);
        spelled(&model.code) || spelled(&model.name) || model.aliases.iter().any(spelled)
    })
}

fn folded(name: &str) -> String {
    let skipped = |c: &char| c.is_whitespace() || matches!(c, '-' | '_' | '.');
    name.chars().filter(|c| !skipped(c)).flat_map(char::to_lowercase).collect()
}

fn without_maker(folded: &str) -> &str {
    PREFIXES.iter().find_map(|prefix| folded.strip_prefix(prefix).filter(|rest| !rest.is_empty())).unwrap_or(folded)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn the_names_of_one_machine_are_the_same() {
        for names in [
            &["COREONE", "Prusa CORE One", "Original Prusa CORE One", "core one", "Prusa CORE One && CORE One+"][..],
            &["COREONEL", "Prusa CORE One L", "CORE One L", "Prusa CORE One L HF"],
            &["COREONE", "Prusa COREONE HF", "Prusa CORE One HF"],
            &["COREONE_INDX8T", "Prusa CORE One INDX - 8T"],
            &["O1E", "Bambu Lab H2D Pro"],
            &["MK4", "MK4IS", "Original Prusa MK4", "Original Prusa MK4 Input Shaper"],
            &["MK3S", "Original Prusa i3 MK3S && MK3S+", "MK3S+"],
            &["N2S", "Bambu Lab A1", "BambuLab A1", "A1"],
            &["BL-P001", "X1C", "Bambu Lab X1 Carbon", "bl_p001"],
            &["Voron 2.4", "voron-24", "VORON24"],
        ] {
            for name in names {
                assert!(same(names[0], name), "{} and {name}", names[0]);
            }
        }
    }

    #[test]
    fn different_machines_are_never_the_same() {
        let names = [
            "COREONE",
            "COREONEL",
            "CORE One MMU3",
            "MK4",
            "MK4S",
            "A1",
            "A1 mini",
            "X1",
            "X1C",
            "XL",
            "XL5",
            "H2D",
            "H2D Pro",
            "",
        ];
        for (at, one) in names.iter().enumerate() {
            for other in &names[at + 1..] {
                assert!(!same(one, other), "{one} and {other}");
            }
        }
    }

    #[test]
    fn no_spelling_belongs_to_two_models() {
        let mut owners = BTreeMap::new();
        for model in MODELS {
            for spelling in [model.code, model.name].iter().chain(model.aliases) {
                let owner = owners.entry(without_maker(&folded(spelling)).to_owned()).or_insert(model.code);
                assert_eq!(*owner, model.code, "{spelling}");
            }
        }
    }

    #[test]
    fn a_profile_for_high_flow_nozzles_says_so_and_is_the_same_machine() {
        for name in ["Prusa CORE One HF", "Prusa COREONE HF", "Prusa MK4S HF", "Prusa CORE One L HF"] {
            assert!(says_high_flow(name), "{name}");
        }
        for name in ["Prusa CORE One", "MK4S", "Frobnicator HF", "", "HF"] {
            assert!(!says_high_flow(name), "{name}");
        }
    }

    #[test]
    fn people_see_the_makers_name() {
        assert!(display_names().any(|name| name == "Bambu Lab A1"));
        assert_eq!(display_name("COREONE"), Some("Prusa CORE One"));
        assert_eq!(display_name("Voron"), None);
    }
}
