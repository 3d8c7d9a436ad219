//! The mapping by example, and against a search through all ways.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::scheduling::color::Color;
use crate::scheduling::fixtures::{capabilities_with, need, requirements_of};

fn chosen(choices: &[SlotChoice]) -> Vec<(i32, &str)> {
    choices.iter().map(|c| (c.index, c.slot.as_str())).collect()
}

const BLUE: &str = "#0000FF";
const RED: &str = "#FF0000";

#[test]
fn each_filament_comes_from_a_slot_of_its_material_and_color() {
    let caps = capabilities_with(&[("AMS1-1", "PLA", RED), ("AMS1-2", "PLA", BLUE), ("AMS1-3", "PVA", "#FFFFFF")]);
    let req = requirements_of(vec![need(1, "PLA", BLUE), need(2, "PVA", "#FFFFFF"), need(4, "PLA", "#F01010")]);
    assert_eq!(chosen(&mapping(&req, &caps).unwrap()), [(1, "AMS1-2"), (2, "AMS1-3"), (4, "AMS1-1")]);
}

#[test]
fn what_does_not_fit_is_named() {
    use ColorMatch::{Exact, Ignore, Near};
    let two = [("AMS1-1", "PLA", RED), ("AMS1-2", "PETG", "")];
    let no = |material: &str| Mismatch::NoMaterial { material: material.into() };
    let color =
        |material: &str, color| Mismatch::NoColor { material: material.into(), color: Color::parse(color).unwrap() };
    for (needs, rule, slots, expected) in [
        (vec![need(1, "ASA", RED)], Ignore, &two[..], no("ASA")),
        (vec![need(1, "PLA", BLUE)], Near, &two, color("PLA", BLUE)),
        (vec![need(1, "PLA", "#F01010")], Exact, &two, color("PLA", "#F01010")),
        (vec![need(1, "PETG", RED)], Near, &two, color("PETG", RED)),
        (vec![need(1, "PLA", "")], Near, &two, Mismatch::ColorUnstated),
        (vec![need(1, "", RED)], Ignore, &two, Mismatch::MaterialUnstated),
        (vec![], Ignore, &two, Mismatch::MaterialUnstated),
        (vec![need(1, "PLA", RED)], Ignore, &[], Mismatch::MaterialUnknown),
        (vec![need(1, "PLA", RED)], Ignore, &[("Main", "", "")], Mismatch::MaterialUnknown),
        (vec![need(1, "PLA", RED), need(2, "PLA", BLUE)], Ignore, &two, Mismatch::NotEnoughSlots),
    ] {
        let req = Requirements { color_match: rule, ..requirements_of(needs) };
        assert_eq!(mapping(&req, &capabilities_with(slots)).unwrap_err(), expected, "{req:?}");
    }
}

#[test]
fn a_print_that_names_no_filament_needs_no_choice_only_where_there_is_none() {
    let req = requirements_of(vec![]);
    assert_eq!(mapping(&req, &capabilities_with(&[])).unwrap(), []);
    assert_eq!(mapping(&req, &capabilities_with(&[("Main", "PLA", RED)])).unwrap(), []);
}

#[test]
fn materials_a_person_asks_for_besides_must_be_loaded() {
    let caps = capabilities_with(&[("AMS1-1", "PLA", RED), ("AMS1-2", "PETG", RED)]);
    let asked = |material: &str| Requirements {
        materials: vec![material.into()],
        ..requirements_of(vec![need(1, "PLA", RED)])
    };
    assert_eq!(chosen(&mapping(&asked("PETG"), &caps).unwrap()), [(1, "AMS1-1")]);
    assert_eq!(mapping(&asked("PVA"), &caps).unwrap_err(), Mismatch::NoMaterial { material: "PVA".into() });
}

#[test]
fn a_persons_choice_replaces_the_search_but_not_the_material() {
    let caps = capabilities_with(&[("AMS1-1", "PLA", RED), ("AMS1-2", "PLA", BLUE), ("External", "TPU", "")]);
    let choose = |slot: &str| {
        let one = FilamentNeed { slot: Some(slot.into()), ..need(1, "PLA", RED) };
        mapping(&Requirements { color_match: ColorMatch::Exact, ..requirements_of(vec![one]) }, &caps)
    };
    assert_eq!(chosen(&choose("AMS1-2").unwrap()), [(1, "AMS1-2")], "the color is the person's business");
    let wrong = choose("External").unwrap_err();
    assert_eq!(wrong, Mismatch::WrongMaterial { slot: "External".into(), has: "TPU".into(), wants: "PLA".into() });
    assert_eq!(wrong.to_string(), "slot External holds TPU, not PLA (load it, or choose another in spec.filaments)");
    assert_eq!(choose("AMS4-4").unwrap_err(), Mismatch::NoSlot { slot: "AMS4-4".into() });
}

#[test]
fn where_only_the_color_is_missing_it_is_said_how_any_color_is_taken() {
    let req = Requirements { color_match: ColorMatch::Near, ..requirements_of(vec![need(1, "PLA", BLUE)]) };
    let told = mapping(&req, &capabilities_with(&[("AMS1-1", "PLA", RED)])).unwrap_err().to_string();
    assert!(
        told.starts_with("no PLA in #0000FF (loaded in another color") && told.contains("colorMatch: Ignore"),
        "{told}"
    );
}

#[test]
fn an_empty_slot_is_called_empty_and_not_unknown() {
    let mut caps = capabilities_with(&[("AMS1-1", "", ""), ("AMS1-2", "", "")]);
    let search = requirements_of(vec![need(1, "PLA", RED)]);
    let chosen = requirements_of(vec![FilamentNeed { slot: Some("AMS1-2".into()), ..need(1, "PLA", RED) }]);
    let empty = Mismatch::SlotEmpty { slot: "AMS1-2".into() };
    caps.slots[1].empty = true;
    assert_eq!(mapping(&chosen, &caps).unwrap_err(), empty);
    assert_eq!(empty.to_string(), "slot AMS1-2 empty (load it, or choose another in spec.filaments)");
    assert_eq!(mapping(&search, &caps).unwrap_err(), Mismatch::MaterialUnknown, "nobody knows of the other one");
    caps.slots[0].empty = true;
    assert_eq!(mapping(&search, &caps).unwrap_err(), Mismatch::NoMaterial { material: "PLA".into() });
}

#[test]
fn two_different_filaments_never_share_a_slot_even_when_a_person_says_so() {
    let caps = capabilities_with(&[("AMS1-1", "PLA", RED), ("AMS1-2", "PLA", BLUE)]);
    let choice = |index, color| FilamentNeed { slot: Some("AMS1-1".into()), ..need(index, "PLA", color) };
    let different = requirements_of(vec![choice(1, RED), choice(2, BLUE)]);
    assert_eq!(mapping(&different, &caps).unwrap_err(), Mismatch::NotEnoughSlots);
    let same = requirements_of(vec![choice(1, RED), choice(2, RED)]);
    assert_eq!(chosen(&mapping(&same, &caps).unwrap()), [(1, "AMS1-1"), (2, "AMS1-1")]);
}

#[test]
fn equal_filaments_take_a_slot_each_and_share_one_only_if_it_holds_enough() {
    let equal = || vec![need(1, "PLA", RED), need(2, "PLA", RED)];
    let two = capabilities_with(&[("AMS1-1", "PLA", RED), ("AMS1-2", "PLA", RED)]);
    assert_eq!(chosen(&mapping(&requirements_of(equal()), &two).unwrap()), [(1, "AMS1-1"), (2, "AMS1-2")]);
    let mut one = capabilities_with(&[("AMS1-1", "PLA", RED)]);
    assert_eq!(chosen(&mapping(&requirements_of(equal()), &one).unwrap()), [(1, "AMS1-1"), (2, "AMS1-1")]);
    let mut heavy = equal();
    for need in &mut heavy {
        need.milligrams = 60_000;
    }
    one.slots[0].remaining_milligrams = Some(100_000);
    let short = Mismatch::NotEnoughFilament { material: "PLA".into() };
    assert_eq!(mapping(&requirements_of(heavy), &one).unwrap_err(), short);
}

#[test]
fn a_nearly_empty_spool_is_passed_over() {
    let mut caps = capabilities_with(&[("AMS1-1", "PLA", RED), ("AMS1-2", "PLA", "#F01010")]);
    let req = requirements_of(vec![FilamentNeed { milligrams: 50_000, ..need(1, "PLA", RED) }]);
    caps.slots[0].remaining_milligrams = Some(49_999);
    assert_eq!(chosen(&mapping(&req, &caps).unwrap()), [(1, "AMS1-2")]);
    caps.slots[0].remaining_milligrams = Some(50_000);
    assert_eq!(chosen(&mapping(&req, &caps).unwrap()), [(1, "AMS1-1")]);
}

#[test]
fn a_contradicted_slot_serves_nobody() {
    let mut caps = capabilities_with(&[("Main", "PETG", RED)]);
    caps.slots[0].contradicts = Some("PLA".into());
    for (material, expected) in [
        ("PETG", Mismatch::Contradicted { slot: "Main".into() }),
        ("PLA", Mismatch::Contradicted { slot: "Main".into() }),
        ("ASA", Mismatch::NoMaterial { material: "ASA".into() }),
    ] {
        assert_eq!(mapping(&requirements_of(vec![need(1, material, RED)]), &caps).unwrap_err(), expected);
    }
    let chosen = FilamentNeed { slot: Some("Main".into()), ..need(1, "PETG", RED) };
    let expected = Mismatch::Contradicted { slot: "Main".into() };
    assert_eq!(mapping(&requirements_of(vec![chosen]), &caps).unwrap_err(), expected);
}

#[test]
fn an_early_choice_gives_way_when_another_filament_has_no_other_slot() {
    // AMS1-1 and AMS1-2 are as near to the first filament; only AMS1-1 is near to the second.
    let tight = capabilities_with(&[("AMS1-1", "PLA", "#FF0000"), ("AMS1-2", "PLA", "#FF1414")]);
    let req = requirements_of(vec![need(1, "PLA", "#FF0A0A"), need(2, "PLA", "#E80000")]);
    assert_eq!(chosen(&mapping(&req, &tight).unwrap()), [(1, "AMS1-2"), (2, "AMS1-1")]);
}

/// Whether this way of taking filaments from slots keeps every rule.
fn is_allowed(req: &Requirements, caps: &Capabilities, way: &[usize]) -> bool {
    let mut taken: BTreeMap<usize, (&FilamentNeed, i64)> = BTreeMap::new();
    req.filaments.iter().zip(way).all(|(need, at)| {
        let slot = &caps.slots[*at];
        let (first, grams) = taken.entry(*at).or_insert((need, 0));
        *grams += need.milligrams;
        let color = match (req.color_match, need.color, slot.color) {
            (ColorMatch::Ignore, ..) => true,
            (ColorMatch::Near, Some(wanted), Some(loaded)) => wanted.is_near(loaded),
            (ColorMatch::Exact, Some(wanted), Some(loaded)) => wanted == loaded,
            _ => false,
        };
        let chosen = need.slot.as_ref() == Some(&slot.slot);
        slot.contradicts.is_none()
            && slot.material == need.material
            && (chosen || (need.slot.is_none() && color))
            && (first.material == need.material && first.color == need.color && first.slot == need.slot)
            && slot.remaining_milligrams.is_none_or(|left| left >= *grams)
    })
}

/// Every way of taking this many filaments from this many slots.
fn ways(filaments: usize, slots: usize) -> Vec<Vec<usize>> {
    (0..filaments).fold(vec![vec![]], |ways, _| {
        ways.iter().flat_map(|way| (0..slots).map(|slot| [way.as_slice(), &[slot]].concat())).collect()
    })
}

prop_compose! {
    fn any_need()(
        material in prop::sample::select(vec!["PLA", "PLA", "PLA", "PLA", "PETG"]),
        // The first is near to one of the reds below, the second to both.
        color in prop::sample::select(vec!["#FF0404", "#F40808", "#FF0404", "#F40808", "#0000FF"]),
        chosen in prop::option::weighted(0.1, 0..4usize),
        grams in 0..4i64,
    ) -> FilamentNeed {
        let slot = chosen.map(|n| format!("AMS1-{}", n + 1));
        FilamentNeed { milligrams: grams * 1000, slot, ..need(0, material, color) }
    }
}

prop_compose! {
    fn any_slot()(
        material in prop::sample::select(vec!["PLA", "PLA", "PLA", "PLA", "PETG"]),
        color in prop::sample::select(vec!["#FF0000", "#EA1C1C", "#FF0000", "#EA1C1C", "#0000FF", ""]),
        left in prop::option::weighted(0.3, 0..6i64),
        contradicted in prop::bool::weighted(0.1),
    ) -> Slot {
        Slot {
            slot: String::new(),
            empty: false,
            material: Some(material.into()),
            color: Color::parse(color),
            remaining_milligrams: left.map(|grams| grams * 1000),
            contradicts: contradicted.then(|| "ASA".into()),
        }
    }
}

prop_compose! {
    fn any_pair()(
        mut filaments in prop::collection::vec(any_need(), 1..5),
        mut slots in prop::collection::vec(any_slot(), 0..5),
        color_match in prop::sample::select(vec![ColorMatch::Ignore, ColorMatch::Near, ColorMatch::Exact]),
    ) -> (Requirements, Capabilities) {
        for (need, index) in filaments.iter_mut().zip(1..) {
            need.index = index;
        }
        for (slot, n) in slots.iter_mut().zip(1..) {
            slot.slot = format!("AMS1-{n}");
        }
        (Requirements { color_match, ..requirements_of(filaments) }, Capabilities { slots, ..capabilities_with(&[]) })
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1024))]

    #[test]
    fn a_mapping_keeps_every_rule((req, caps) in any_pair()) {
        if let Ok(found) = mapping(&req, &caps) {
            let indexes: Vec<_> = req.filaments.iter().map(|f| f.index).collect();
            prop_assert_eq!(found.iter().map(|c| c.index).collect::<Vec<_>>(), indexes, "each filament once");
            let way: Vec<_> =
                found.iter().map(|c| caps.slots.iter().position(|s| s.slot == c.slot).unwrap()).collect();
            prop_assert!(is_allowed(&req, &caps, &way), "{found:?}");
        }
    }

    #[test]
    fn a_mapping_is_found_wherever_there_is_one((req, mut caps) in any_pair()) {
        // How weights are best spread over equal spools is not searched for; the job is refused then.
        for slot in &mut caps.slots {
            slot.remaining_milligrams = None;
        }
        let possible = ways(req.filaments.len(), caps.slots.len()).iter().any(|way| is_allowed(&req, &caps, way));
        prop_assert_eq!(mapping(&req, &caps).is_ok(), possible);
    }
}
