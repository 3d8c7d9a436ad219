//! Every target with its seeds, cut and changed: what a fuzzer would try first, on every test run and without a fuzzer.

use printernizer_fuzz::TARGETS;
use printernizer_printfile::{Error, Limits, inspect};

#[test]
fn every_target_stands_its_seeds_whole_cut_and_changed() {
    for target in TARGETS {
        let seeds = (target.seeds)();
        assert!(!seeds.is_empty(), "{}", target.name);
        (target.body)(b"");
        for seed in seeds {
            (target.body)(&seed);
            for at in (0..seed.len()).step_by(1 + seed.len() / 50) {
                (target.body)(&seed[..at]);
                let mut changed = seed.clone();
                changed[at] ^= 0xFF;
                (target.body)(&changed);
            }
        }
    }
}

#[test]
fn each_target_is_a_program_for_cargo_fuzz_and_has_a_name_of_its_own() {
    let manifest = include_str!("../Cargo.toml");
    for target in TARGETS {
        let program = format!("name = \"{0}\"\npath = \"targets/{0}.rs\"\n", target.name);
        assert_eq!(manifest.matches(&program).count(), 1, "{}", target.name);
    }
    assert_eq!(manifest.matches("[[bin]]").count(), TARGETS.len() + 1, "and the one that writes the seeds");
}

#[test]
fn seeds_get_past_the_first_look() {
    let of = |name: &str| TARGETS.iter().find(|target| target.name == name).map(|target| (target.seeds)());
    for name in ["gcode", "bgcode", "archive"] {
        let accepted = of(name)
            .into_iter()
            .flatten()
            .filter(|seed| inspect(std::io::Cursor::new(seed), &Limits::default()).is_ok());
        assert!(accepted.count() >= 3, "{name}");
    }
    let refused =
        |seed: &Vec<u8>| matches!(inspect(std::io::Cursor::new(seed), &Limits::default()), Err(Error::Unsliced { .. }));
    assert!(of("archive").into_iter().flatten().any(|seed| refused(&seed)));
}
