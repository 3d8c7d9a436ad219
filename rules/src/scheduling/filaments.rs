//! The mapping: which slot each filament of a print is taken from.
//!
//! Materials must be equal, colors as the job asks; a person's explicit choice of a slot replaces the search and the
//! color, never the material. Two filaments share a slot only when they are the same material and color and no other
//! way is left. What cannot be resolved is refused: a wrong slot ruins the part, and sometimes the nozzle.

use printernizer_crds::print_job::{ColorMatch, SlotChoice};

use super::capabilities::{Capabilities, Slot};
use super::mismatch::Mismatch;
use super::requirements::{FilamentNeed, Requirements};

/// Stands for the distance of a color nobody knows: farther than any known one (584,970 at most).
const UNKNOWN_COLOR_DISTANCE: u32 = 1_000_000;

/// A mapping, and how far its colors are from those of the file.
pub(super) struct Mapped {
    pub choices: Vec<SlotChoice>,
    pub color_distance: u64,
}

/// Maps each filament the job uses to a slot, in the order of the filaments. Empty when neither file nor person says what
/// the print uses; that is allowed only where there is no slot to choose.
pub fn mapping(requirements: &Requirements, capabilities: &Capabilities) -> Result<Vec<SlotChoice>, Mismatch> {
    map(requirements, capabilities).map(|mapped| mapped.choices)
}

pub(super) fn map(requirements: &Requirements, capabilities: &Capabilities) -> Result<Mapped, Mismatch> {
    let slots = capabilities.slots.as_slice();
    let usable = |s: &&Slot| s.contradicts.is_none();
    if requirements.filaments.is_empty() && requirements.materials.is_empty() && slots.len() > 1 {
        return Err(Mismatch::MaterialUnstated);
    }
    for material in &requirements.materials {
        if !slots.iter().filter(usable).any(|s| s.material.as_ref() == Some(material)) {
            return Err(absent(slots, material));
        }
    }

    let each: Vec<Vec<&FilamentNeed>> = requirements.filaments.iter().map(|f| vec![f]).collect();
    let candidates = candidates_of_all(&each, slots, requirements.color_match)?;
    let (together, taken) = if let Some(taken) = distinct(&candidates) {
        (each, taken)
    } else {
        let together = alike(&requirements.filaments);
        let candidates = candidates_of_all(&together, slots, requirements.color_match)?;
        let taken = distinct(&candidates).ok_or(Mismatch::NotEnoughSlots)?;
        (together, taken)
    };
    let mut mapped = Mapped { choices: Vec::new(), color_distance: 0 };
    for (needs, candidate) in together.iter().zip(taken) {
        let Some(slot) = slots.get(candidate.slot) else { continue };
        mapped.color_distance += u64::from(candidate.color_distance);
        mapped.choices.extend(needs.iter().map(|n| SlotChoice { index: n.index, slot: slot.slot.clone() }));
    }
    mapped.choices.sort_by_key(|c| c.index);
    Ok(mapped)
}

/// A slot that could serve.
#[derive(Clone, Copy)]
struct Candidate {
    color_distance: u32,
    slot: usize,
}

fn candidates_of_all(
    needs: &[Vec<&FilamentNeed>],
    slots: &[Slot],
    rule: ColorMatch,
) -> Result<Vec<Vec<Candidate>>, Mismatch> {
    needs.iter().map(|together| candidates(together, slots, rule)).collect()
}

/// The slots that could serve filaments that are alike, nearest color first, then in the order of slots.
fn candidates(together: &[&FilamentNeed], slots: &[Slot], rule: ColorMatch) -> Result<Vec<Candidate>, Mismatch> {
    let Some(need) = together.first() else { return Ok(Vec::new()) };
    let milligrams = together.iter().fold(0_i64, |sum, n| sum.saturating_add(n.milligrams));
    let (material, mut found) = match &need.slot {
        Some(chosen) => chosen_slot(need, chosen, slots)?,
        None => matching_slots(need, slots, rule)?,
    };
    found.retain(|c| slots.get(c.slot).and_then(|s| s.remaining_milligrams).is_none_or(|left| left >= milligrams));
    if found.is_empty() {
        return Err(Mismatch::NotEnoughFilament { material });
    }
    found.sort_by_key(|c| (c.color_distance, c.slot));
    Ok(found)
}

fn chosen_slot(need: &FilamentNeed, chosen: &str, slots: &[Slot]) -> Result<(String, Vec<Candidate>), Mismatch> {
    let Some((at, slot)) = slots.iter().enumerate().find(|(_, s)| s.slot == chosen) else {
        return Err(Mismatch::NoSlot { slot: chosen.to_owned() });
    };
    if slot.contradicts.is_some() {
        return Err(Mismatch::Contradicted { slot: chosen.to_owned() });
    }
    let Some(loaded) = &slot.material else { return Err(Mismatch::MaterialUnknown) };
    match &need.material {
        Some(material) if material != loaded => Err(Mismatch::NoMaterial { material: material.clone() }),
        _ => Ok((loaded.clone(), vec![Candidate { color_distance: 0, slot: at }])),
    }
}

fn matching_slots(need: &FilamentNeed, slots: &[Slot], rule: ColorMatch) -> Result<(String, Vec<Candidate>), Mismatch> {
    let Some(material) = &need.material else { return Err(Mismatch::MaterialUnstated) };
    let mut found: Vec<_> = slots
        .iter()
        .enumerate()
        .filter(|(_, s)| s.contradicts.is_none() && s.material.as_ref() == Some(material))
        .map(|(at, slot)| (slot, Candidate { color_distance: distance(need, slot), slot: at }))
        .collect();
    if found.is_empty() {
        return Err(absent(slots, material));
    }
    if rule != ColorMatch::Ignore {
        let Some(color) = need.color else { return Err(Mismatch::ColorUnstated) };
        found.retain(|(slot, _)| {
            slot.color.is_some_and(|loaded| match rule {
                ColorMatch::Ignore => true,
                ColorMatch::Near => loaded.is_near(color),
                ColorMatch::Exact => loaded == color,
            })
        });
        if found.is_empty() {
            return Err(Mismatch::NoColor { material: material.clone(), color });
        }
    }
    Ok((material.clone(), found.into_iter().map(|(_, candidate)| candidate).collect()))
}

fn distance(need: &FilamentNeed, slot: &Slot) -> u32 {
    match (need.color, slot.color) {
        (Some(wanted), Some(loaded)) => wanted.distance_squared(loaded),
        (Some(_), None) => UNKNOWN_COLOR_DISTANCE,
        (None, _) => 0,
    }
}

/// Why a material is in no slot that can be used.
fn absent(slots: &[Slot], material: &str) -> Mismatch {
    let is = |text: &Option<String>| text.as_deref() == Some(material);
    if let Some(slot) = slots.iter().find(|s| s.contradicts.is_some() && (is(&s.material) || is(&s.contradicts))) {
        return Mismatch::Contradicted { slot: slot.slot.clone() };
    }
    if slots.iter().all(|s| s.material.is_none() && s.contradicts.is_none()) {
        return Mismatch::MaterialUnknown;
    }
    Mismatch::NoMaterial { material: material.to_owned() }
}

/// Filaments grouped by what may come from one slot: same material, same color, same choice of a person.
fn alike(filaments: &[FilamentNeed]) -> Vec<Vec<&FilamentNeed>> {
    let mut groups: Vec<Vec<&FilamentNeed>> = Vec::new();
    for need in filaments {
        let same = |g: &&mut Vec<&FilamentNeed>| {
            g.first().is_some_and(|f| f.material == need.material && f.color == need.color && f.slot == need.slot)
        };
        match groups.iter_mut().find(same) {
            Some(group) => group.push(need),
            None => groups.push(vec![need]),
        }
    }
    groups
}

/// A different slot for each, if there is a way: exact colors are taken first, then augmenting paths find the rest
/// (bipartite matching), so that a greedy choice never hides a way.
fn distinct(candidates: &[Vec<Candidate>]) -> Option<Vec<Candidate>> {
    let slots = candidates.iter().flatten().map(|c| c.slot + 1).max().unwrap_or(0);
    let mut taker: Vec<Option<usize>> = vec![None; slots];
    let mut open = Vec::new();
    for (need, found) in candidates.iter().enumerate() {
        match found.iter().find(|c| c.color_distance == 0 && taker[c.slot].is_none()) {
            Some(exact) => taker[exact.slot] = Some(need),
            None => open.push(need),
        }
    }
    for need in open {
        if !augment(need, candidates, &mut taker, &mut vec![false; slots]) {
            return None;
        }
    }
    let slot_of = |need: usize| candidates[need].iter().find(|c| taker[c.slot] == Some(need)).copied();
    (0..candidates.len()).map(slot_of).collect()
}

fn augment(need: usize, candidates: &[Vec<Candidate>], taker: &mut [Option<usize>], tried: &mut [bool]) -> bool {
    for candidate in &candidates[need] {
        if std::mem::replace(&mut tried[candidate.slot], true) {
            continue;
        }
        let free = match taker[candidate.slot] {
            None => true,
            Some(other) => augment(other, candidates, taker, tried),
        };
        if free {
            taker[candidate.slot] = Some(need);
            return true;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::super::color::Color;
    use super::super::fixtures::{capabilities_with, need, requirements_of};
    use super::*;

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
        let color = |material: &str, color| Mismatch::NoColor {
            material: material.into(),
            color: Color::parse(color).unwrap(),
        };
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
        assert_eq!(choose("External").unwrap_err(), Mismatch::NoMaterial { material: "PLA".into() });
        assert_eq!(choose("AMS4-4").unwrap_err(), Mismatch::NoSlot { slot: "AMS4-4".into() });
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
}
