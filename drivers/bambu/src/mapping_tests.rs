//! Mappings as tables: which filament from which slot, and what the command says then.

use proptest::prelude::*;

use super::*;
use crate::report::AmsUnit;

/// AMS 1 with trays 1 to 4 and AMS 2 with trays 1 and 2 loaded, AMS 2 tray 3 empty, one AMS HT, an external spool.
fn report() -> Report {
    let tray = |id, loaded| Tray { id, loaded, ..Tray::default() };
    let full = Some(true);
    let mut report = Report::default();
    report.ams.units = vec![
        AmsUnit { id: 0, trays: (0..4).map(|id| tray(id, full)).collect() },
        AmsUnit { id: 1, trays: vec![tray(0, full), tray(1, full), tray(2, Some(false)), tray(3, None)] },
        AmsUnit { id: 128, trays: vec![tray(0, full)] },
    ];
    report.external = vec![tray(254, None)];
    report
}

fn choices(text: &str) -> Vec<(u32, Slot)> {
    text.split_whitespace()
        .map(|choice| {
            let (filament, slot) = choice.split_once('=').unwrap();
            (filament.parse().unwrap(), slot.parse().unwrap())
        })
        .collect()
}

#[test]
fn slots_have_one_name_each() {
    for (name, slot) in [
        ("AMS1-1", Slot::Ams { unit: 0, tray: 0 }),
        ("AMS4-4", Slot::Ams { unit: 3, tray: 3 }),
        ("External", Slot::External),
    ] {
        assert_eq!(name.parse(), Ok(slot));
        assert_eq!(slot.to_string(), name);
    }
    for name in [
        "", "Main", "external", "AMS", "AMS1", "AMS0-1", "AMS1-0", "AMS5-1", "AMS1-5", "AMS1-11", "AMS+1-1", "AMSHT1",
        " AMS1-1", "AMS1-1-1",
    ] {
        assert_eq!(name.parse::<Slot>(), Err(SlotError(name.into())), "{name}");
    }
}

#[test]
fn slots_of_a_report_are_those_that_have_a_name() {
    assert_eq!(Slot::from_report(0, 0), Some(Slot::Ams { unit: 0, tray: 0 }));
    assert_eq!(Slot::from_report(3, 3), Some(Slot::Ams { unit: 3, tray: 3 }));
    for (unit, tray) in [(4, 0), (0, 4), (127, 0), (128, 0), (254, 0), (255, 0), (256, 0), (0, 256)] {
        assert_eq!(Slot::from_report(unit, tray), None, "{unit} {tray}");
    }
}

#[test]
fn filaments_count_from_one_and_the_command_from_zero() {
    for (project, used, chosen, use_ams, mapping, pairs) in [
        (1, &[1][..], "1=AMS1-1", true, &[0][..], "0.0"),
        (1, &[1], "1=AMS1-4", true, &[3], "0.3"),
        (2, &[1, 2], "1=AMS1-2 2=AMS2-1", true, &[1, 4], "0.1 1.0"),
        (2, &[2, 1], "2=AMS1-1 1=AMS1-2", true, &[1, 0], "0.1 0.0"),
        // Two filaments of the same kind from one spool.
        (2, &[1, 2], "1=AMS1-3 2=AMS1-3", true, &[2, 2], "0.2 0.2"),
        // Plate 1 uses filament 1, plate 2 filaments 2 and 4 of the same project.
        (4, &[1], "1=AMS1-1 2=AMS1-2 4=AMS2-2", true, &[0, -1, -1, -1], "0.0 255.255 255.255 255.255"),
        (4, &[2, 4], "1=AMS1-1 2=AMS1-2 4=AMS2-2", true, &[-1, 1, -1, 5], "255.255 0.1 255.255 1.1"),
        // A plate that uses only a late filament.
        (3, &[3], "3=AMS1-1", true, &[-1, -1, 0], "255.255 255.255 0.0"),
        // The external spool: no AMS, no number, the pair names it.
        (1, &[1], "1=External", false, &[-1], "255.0"),
        (3, &[2], "2=External", false, &[-1, -1, -1], "255.255 255.0 255.255"),
    ] {
        let made = AmsMapping::new(project, used, &choices(chosen), &report()).unwrap();
        assert_eq!((made.use_ams, made.ams_mapping.as_slice()), (use_ams, mapping), "{chosen}");
        let seen: Vec<String> = made.ams_mapping2.iter().map(|p| format!("{}.{}", p.ams_id, p.slot_id)).collect();
        assert_eq!(seen.join(" "), pairs, "{chosen}");
    }
}

#[test]
fn whatever_is_not_certain_is_refused() {
    use MappingError as E;
    let slot = |name: &str| name.parse::<Slot>().unwrap();
    for (project, used, chosen, expected) in [
        (1, &[][..], "1=AMS1-1", E::NoFilaments),
        (65, &[1], "1=AMS1-1", E::TooMany { count: 65 }),
        (1, &[0], "", E::NoSuchFilament { filament: 0, count: 1 }),
        (1, &[2], "2=AMS1-1", E::NoSuchFilament { filament: 2, count: 1 }),
        (2, &[1], "1=AMS1-1 3=AMS1-2", E::NoSuchFilament { filament: 3, count: 2 }),
        (0, &[1], "1=AMS1-1", E::NoSuchFilament { filament: 1, count: 0 }),
        (2, &[1, 2], "1=AMS1-1", E::Unresolved { filament: 2 }),
        (1, &[1], "", E::Unresolved { filament: 1 }),
        (1, &[1], "1=AMS1-1 1=AMS1-2", E::Twice { filament: 1 }),
        (1, &[1], "1=AMS3-1", E::NoSuchSlot { filament: 1, slot: slot("AMS3-1") }),
        (1, &[1], "1=AMS2-3", E::Empty { filament: 1, slot: slot("AMS2-3") }),
        // The printer does not say that it is loaded.
        (1, &[1], "1=AMS2-4", E::Empty { filament: 1, slot: slot("AMS2-4") }),
        (2, &[1, 2], "1=AMS1-1 2=External", E::ExternalNotAlone { filament: 2 }),
        (2, &[1, 2], "1=External 2=External", E::ExternalNotAlone { filament: 1 }),
    ] {
        let refused = AmsMapping::new(project, used, &choices(chosen), &report());
        assert_eq!(refused, Err(expected), "{project} {used:?} {chosen}");
    }
}

#[test]
fn the_external_spool_is_one_that_the_printer_has() {
    let mut printer = report();
    printer.external.clear();
    let refused = AmsMapping::new(1, &[1], &choices("1=External"), &printer).unwrap_err();
    assert_eq!(refused, MappingError::NoSuchSlot { filament: 1, slot: Slot::External });
    printer.external = vec![Tray { id: 254, ..Tray::default() }, Tray { id: 255, ..Tray::default() }];
    let refused = AmsMapping::new(1, &[1], &choices("1=External"), &printer).unwrap_err();
    assert_eq!(refused, MappingError::SeveralExternal { count: 2 });
}

#[test]
fn a_printer_that_reported_nothing_yet_gets_no_mapping() {
    let refused = AmsMapping::new(1, &[1], &choices("1=AMS1-1"), &Report::default()).unwrap_err();
    assert!(matches!(refused, MappingError::NoSuchSlot { .. }), "{refused}");
}

fn any_slot() -> impl Strategy<Value = Slot> {
    prop_oneof![(0u8..4, 0u8..4).prop_map(|(unit, tray)| Slot::Ams { unit, tray }), Just(Slot::External),]
}

proptest! {
    #[test]
    fn a_mapping_names_the_chosen_loaded_slot_of_each_used_filament_and_nothing_else(
        project in 0usize..8,
        used in proptest::collection::vec(0u32..9, 0..6),
        chosen in proptest::collection::vec((0u32..9, any_slot()), 0..8),
    ) {
        let report = report();
        if let Ok(made) = AmsMapping::new(project, &used, &chosen, &report) {
            prop_assert_eq!(made.ams_mapping.len(), project);
            prop_assert_eq!(made.ams_mapping2.len(), project);
            for (filament, (number, pair)) in (1u32..).zip(made.ams_mapping.iter().zip(&made.ams_mapping2)) {
                if !used.contains(&filament) {
                    prop_assert_eq!((*number, pair.ams_id, pair.slot_id), (-1, 255, 255));
                    continue;
                }
                let slots: Vec<Slot> = chosen.iter().filter(|c| c.0 == filament).map(|c| c.1).collect();
                prop_assert_eq!(slots.len(), 1);
                match slots[0] {
                    Slot::External => {
                        prop_assert!(!made.use_ams);
                        prop_assert_eq!((*number, pair.ams_id, pair.slot_id), (-1, 255, 0));
                    }
                    slot @ Slot::Ams { .. } => {
                        prop_assert!(made.use_ams);
                        prop_assert_eq!(Slot::from_report(pair.ams_id.into(), pair.slot_id.into()), Some(slot));
                        let tray = report.ams.tray(pair.ams_id.into(), pair.slot_id.into()).unwrap();
                        prop_assert_eq!(tray.loaded, Some(true));
                        prop_assert_eq!(*number, i32::from(pair.ams_id) * 4 + i32::from(pair.slot_id));
                    }
                }
            }
        }
    }
}
