//! The mapping: which slot each filament of a print is taken from.
//!
//! Materials must be equal, colors as the job asks; a person's explicit choice of a slot replaces the search and the
//! color, never the material. Two filaments share a slot only when they are the same material and color and there are too
//! few slots; then all that are the same come from one. What cannot be resolved is refused: a wrong slot ruins the part, and sometimes the nozzle.

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
    if slot.empty {
        return Err(Mismatch::SlotEmpty { slot: chosen.to_owned() });
    }
    let Some(loaded) = &slot.material else { return Err(Mismatch::MaterialUnknown) };
    match &need.material {
        Some(material) if material != loaded => {
            let (slot, has, wants) = (chosen.to_owned(), loaded.clone(), material.clone());
            Err(Mismatch::WrongMaterial { slot, has, wants })
        }
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
    let all_empty = !slots.is_empty() && slots.iter().all(|s| s.empty);
    if !all_empty && slots.iter().all(|s| s.material.is_none() && s.contradicts.is_none()) {
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
mod tests;
