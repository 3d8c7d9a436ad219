//! Codes as printers send them, and the words people get.

use proptest::prelude::*;

use super::*;

fn error(code: u32) -> PrintError {
    PrintError::new(code).unwrap()
}

#[test]
fn codes_are_written_as_the_screen_shows_them() {
    assert_eq!(error(50_348_044).to_string(), "0300_400C");
    let hms = Hms { attr: 0x0500_0500, code: 0x0001_0007 };
    assert_eq!(hms.to_string(), "0500_0500_0001_0007");
    assert_eq!(PrintError::new(0), None);
}

#[test]
fn known_codes_say_what_happened_and_what_to_do() {
    let text = error(0x0300_8007).explain().to_string();
    assert!(text.starts_with("a print was interrupted by a power loss") && text.contains("(0300_8007)"), "{text}");
    assert!(text.ends_with("clear the bed if the print is not resumed"), "{text}");
}

#[test]
fn codes_of_every_ams_are_explained_with_its_number() {
    for (code, place) in [
        (0x0700_8011, "AMS 1"),
        (0x0703_8011, "AMS 4"),
        (0x1200_8011, "AMS 1"),
        (0x1881_8011, "AMS 2"),
        (0x07FF_8011, "external spool"),
        (0x12FF_8011, "external spool"),
        (0x07FE_8011, "external spool"),
    ] {
        let explained = error(code).explain();
        assert!(explained.known, "{code:08X}");
        assert_eq!(explained.what, format!("{place}: the filament has run out"));
    }
    let slot = Hms { attr: 0x0702_2300, code: 0x0002_0001 }.explain();
    assert_eq!(slot.what, "AMS 3: the filament of slot 4 has run out");
    assert_eq!(slot.code, "0702_2300_0002_0001");
    assert!(error(0x07FF_8012).explain().known, "a mapping that the printer does not take");
}

#[test]
fn unknown_codes_lead_to_the_makers_page() {
    let explained = error(0x0300_4066).explain();
    assert!(!explained.known);
    assert_eq!(
        explained.to_string(),
        "the printer reports an error of its motion controller (0300_4066): see https://e.bambulab.com/?e=03004066 for \
         what it means"
    );
    let explained = Hms { attr: 0x0C00_0300, code: 0x0002_0001 }.explain();
    assert_eq!(explained.next, "see https://e.bambulab.com/?e=0C00030000020001 for what it means");
    assert_eq!(error(0x4200_4001).explain().what, "the printer reports an error of its module 42");
}

#[test]
fn what_a_start_depends_on_is_told_apart() {
    struct Seen {
        code: u32,
        blocks: bool,
        unfinished: bool,
        cancellation: bool,
    }
    let row = |code, flags: &str| Seen {
        code,
        blocks: flags.contains('b'),
        unfinished: flags.contains('u'),
        cancellation: flags.contains('c'),
    };
    for seen in [
        row(0x0300_8007, "bu"),
        row(0x0502_4007, "b"),
        row(0x0502_4009, "b"),
        row(0x0500_4003, "b"),
        row(0x0500_4004, "b"),
        row(0x0500_400C, "b"),
        row(0x0500_C010, "b"),
        row(0x0502_400D, "b"),
        row(0x0500_4038, "b"),
        row(0x0300_400C, "bc"),
        row(0x0500_400E, "bc"),
        row(0x0500_4001, "b"),
        row(0x0700_8012, "b"),
        row(0x0300_8004, "b"),
        row(0x0300_4066, "b"),
        row(0x0300_0001, ""),
        row(0x0500_3FFF, ""),
    ] {
        let error = error(seen.code);
        assert_eq!(error.blocks_start(), seen.blocks, "{error} blocks");
        assert_eq!(error.is_unfinished_print(), seen.unfinished, "{error} unfinished");
        assert_eq!(error.is_cancellation(), seen.cancellation, "{error} cancellation");
        assert_eq!(error.is_busy_with_job(), seen.code == 0x0500_4004, "{error} busy with a job");
    }
}

#[test]
fn the_refusal_below_the_limit_of_errors_is_not_lost() {
    let hms = Hms { attr: 0x0500_0500, code: 0x0001_0007 };
    assert_eq!(hms, Hms::VERIFY_FAILED);
    assert_eq!(hms.severity(), Severity::Fatal);
    assert!(hms.explain().next.contains("Developer Mode"));
}

#[test]
fn severity_and_consequence_are_read_from_the_number() {
    for (code, severity) in [
        (0x0001_0001, Severity::Fatal),
        (0x0002_0001, Severity::Serious),
        (0x0003_0001, Severity::Common),
        (0x0004_0001, Severity::Info),
        (0x0000_0001, Severity::Unknown),
    ] {
        assert_eq!(Hms { attr: 0x0300_0000, code }.severity(), severity);
    }
    for (code, consequence) in [
        (0x0300_4000, Consequence::Stopped),
        (0x0300_8000, Consequence::Paused),
        (0x0500_C010, Consequence::Asks),
        (0x0300_0012, Consequence::None),
        (0x0300_5000, Consequence::Unknown),
    ] {
        assert_eq!(error(code).consequence(), consequence, "{code:08X}");
    }
}

#[test]
fn the_tables_have_each_code_once_and_only_words_for_people() {
    assert!(PRINT_ERRORS.windows(2).all(|pair| pair[0].code < pair[1].code), "ascending");
    assert!(HMS.windows(2).all(|pair| pair[0].0 < pair[1].0), "ascending");
    let texts = PRINT_ERRORS.iter().flat_map(|row| [row.what, row.next]).chain(HMS.iter().flat_map(|h| [h.1, h.2]));
    for text in texts {
        assert!(text.len() >= 10 && !text.ends_with('.') && text.trim() == text, "{text:?}");
    }
    // A row for another unit than the first would never be found.
    for row in PRINT_ERRORS {
        assert_eq!(first_unit(row.code), row.code, "{:08X}", row.code);
    }
}

proptest! {
    #[test]
    fn every_code_is_explained_in_one_line(code in 1u32.., attr: u32) {
        for explained in [error(code).explain(), Hms { attr, code }.explain()] {
            let text = explained.to_string();
            prop_assert!(!text.contains('\n') && text.len() < 300, "{}", text);
        }
    }
}
