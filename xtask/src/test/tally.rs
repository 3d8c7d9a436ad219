//! Counts tests from what `cargo test` itself prints, and keeps what it said about those that failed.
//!
//! The counts are those of the `test result:` lines. A test program that ends without such a line has died, and
//! counts as one failure: silence is never taken for success.

use std::collections::BTreeSet;

use crate::process::{Finished, Stream};

/// Numbers of tests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Tests that passed.
    pub passed: u64,
    /// Tests that failed, test programs that died.
    pub failed: u64,
    /// Tests that were not run.
    pub ignored: u64,
}

impl Tally {
    /// One check that passed or failed.
    pub fn check(passed: bool) -> Self {
        Self { passed: u64::from(passed), failed: u64::from(!passed), ignored: 0 }
    }
}

impl std::ops::AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.ignored += other.ignored;
    }
}

/// What a run of `cargo test` came to.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Counted {
    /// Property tests.
    pub properties: Tally,
    /// All other tests.
    pub others: Tally,
    /// What was printed about the tests that failed.
    pub failures: Vec<String>,
}

/// The counts of a program of ours that ends with `N passed, N failed`. One that ends otherwise, or badly without saying
/// so, counts as one failure.
pub fn last_line(finished: &Finished) -> Tally {
    let counts = finished.lines.iter().rev().find_map(|(_, line)| {
        let (passed, failed) = line.strip_suffix(" failed")?.split_once(" passed, ")?;
        Some(Tally { passed: passed.parse().ok()?, failed: failed.parse().ok()?, ignored: 0 })
    });
    match counts {
        Some(tally) if finished.status.success() == (tally.failed == 0) && tally.passed + tally.failed > 0 => tally,
        _ => Tally::check(false),
    }
}

/// Counts the tests of one finished `cargo test`; `properties` are the names of those that are property tests.
pub fn count(finished: &Finished, properties: &BTreeSet<String>) -> Counted {
    let of = |from: Stream| finished.lines.iter().filter(move |l| l.0 == from).map(|l| l.1.as_str());
    let mut counted = Counted::default();
    let (mut all, mut programs_with_result) = (Tally::default(), 0);
    let mut reporting: Option<Vec<&str>> = None;
    for line in of(Stream::Output) {
        if let Some(tally) = result(line) {
            all += tally;
            programs_with_result += 1;
            // The list of names after the reports repeats what their headings say.
            counted.failures.extend(reporting.take().map(|report| report.join("\n").trim().to_owned()));
        } else if line == "failures:" && reporting.is_none() {
            reporting = Some(Vec::new());
        } else if let Some(report) = &mut reporting {
            report.push(line);
        } else if let Some(tally) = property(line, properties) {
            counted.properties += tally;
        }
    }
    counted.others = Tally {
        passed: all.passed.saturating_sub(counted.properties.passed),
        failed: all.failed.saturating_sub(counted.properties.failed),
        ignored: all.ignored.saturating_sub(counted.properties.ignored),
    };
    let started: Vec<&str> = of(Stream::Error).filter_map(|l| l.trim_start().strip_prefix("Running ")).collect();
    let died = started.len().saturating_sub(programs_with_result);
    if died > 0 {
        counted.others.failed += died as u64;
        counted
            .failures
            .push(format!("{died} test program(s) ended without a result; started were:\n{}", started.join("\n")));
    } else if !finished.status.success() && all.failed == 0 {
        counted.others.failed += 1;
        counted.failures.push(tail(finished));
    }
    counted
}

/// The last lines a program wrote, for a failure that has no other report; without cargo's words on its progress.
pub fn tail(finished: &Finished) -> String {
    const LINES: usize = 60;
    const PROGRESS: [&str; 5] = ["Compiling ", "Checking ", "Downloading ", "Downloaded ", "Running "];
    let progress =
        |line: &str| line.starts_with("   ") && PROGRESS.iter().any(|word| line.trim_start().starts_with(word));
    let lines: Vec<&str> = finished.lines.iter().map(|l| l.1.as_str()).filter(|line| !progress(line)).collect();
    lines[lines.len().saturating_sub(LINES)..].join("\n")
}

/// Reads `test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; ...`.
fn result(line: &str) -> Option<Tally> {
    let (_, counts) = line.strip_prefix("test result: ")?.split_once(". ")?;
    let mut tally = Tally::default();
    for part in counts.split("; ") {
        let Some((number, what)) = part.split_once(' ') else { continue };
        let Ok(number) = number.parse::<u64>() else { continue };
        match what {
            "passed" => tally.passed = number,
            "failed" => tally.failed = number,
            "ignored" => tally.ignored = number,
            _ => {}
        }
    }
    Some(tally)
}

/// Reads `test path::of::name ... ok`, if the name is one of a property test.
fn property(line: &str, properties: &BTreeSet<String>) -> Option<Tally> {
    let (name, outcome) = line.strip_prefix("test ")?.split_once(" ... ")?;
    if !properties.contains(name.rsplit("::").next()?) {
        return None;
    }
    let mut tally = Tally::default();
    match outcome.split(',').next()? {
        "ok" => tally.passed = 1,
        "FAILED" => tally.failed = 1,
        "ignored" => tally.ignored = 1,
        _ => return None,
    }
    Some(tally)
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;
    use std::process::ExitStatus;

    use super::*;

    fn properties() -> BTreeSet<String> {
        BTreeSet::from(["never_twice".to_owned()])
    }

    fn finished(code: i32, output: &str, errors: &str) -> Finished {
        let of = |from, text: &str| text.lines().map(move |l| (from, l.to_owned())).collect::<Vec<_>>();
        let lines = [of(Stream::Output, output), of(Stream::Error, errors)].concat();
        Finished { status: ExitStatus::from_raw(code << 8), lines }
    }

    #[test]
    fn a_program_of_ours_counts_by_its_last_line_and_never_by_silence() {
        let counted = |code, output| {
            let tally = last_line(&finished(code, output, ""));
            (tally.passed, tally.failed)
        };
        assert_eq!(counted(0, "a: broken\n\n24 passed, 0 failed"), (24, 0));
        assert_eq!(counted(1, "23 passed, 1 failed"), (23, 1));
        for (code, output) in [(0, ""), (0, "0 passed, 0 failed"), (1, "24 passed, 0 failed"), (101, "panicked")] {
            assert_eq!(counted(code, output), (0, 1), "{code} {output}");
        }
    }

    const GOOD: &str = "\
running 3 tests
test printer::table::a ... ok
test printer::tests::never_twice ... ok
test printer::table::c ... ignored, needs a printer

test result: ok. 2 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.01s
";

    #[test]
    fn tests_are_counted_by_kind() {
        let counted = count(&finished(0, GOOD, "     Running unittests src/lib.rs (target/x)"), &properties());
        assert_eq!(counted.others, Tally { passed: 1, failed: 0, ignored: 1 });
        assert_eq!(counted.properties, Tally { passed: 1, failed: 0, ignored: 0 });
        assert!(counted.failures.is_empty());
    }

    #[test]
    fn several_programs_add_up() {
        let errors = "     Running unittests src/lib.rs (target/x)\n     Running tests/api_a.rs (target/y)\n";
        let counted = count(&finished(0, &GOOD.repeat(2), errors), &properties());
        assert_eq!(counted.others, Tally { passed: 2, failed: 0, ignored: 2 });
        assert_eq!(counted.properties.passed, 2);
    }

    const BAD: &str = "\
running 2 tests
test a ... FAILED
test tests::never_twice ... FAILED

failures:

---- a stdout ----
left is not right

---- tests::never_twice stdout ----
minimal failing input: 0


failures:
    a
    tests::never_twice

test result: FAILED. 0 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.01s
";

    #[test]
    fn what_failed_tests_said_is_kept() {
        let counted = count(&finished(101, BAD, "     Running unittests src/lib.rs (target/x)"), &properties());
        assert_eq!(counted.others.failed, 1);
        assert_eq!(counted.properties.failed, 1);
        assert_eq!(counted.failures.len(), 1);
        assert!(counted.failures[0].contains("left is not right"), "{:?}", counted.failures);
        assert!(counted.failures[0].contains("minimal failing input"), "{:?}", counted.failures);
    }

    #[test]
    fn a_test_program_that_dies_is_a_failure() {
        let errors = "     Running unittests src/lib.rs (target/x)\nsignal: 6, SIGABRT\n";
        let counted = count(&finished(101, "running 3 tests\ntest a ... ok\n", errors), &properties());
        assert_eq!(counted.others, Tally { passed: 0, failed: 1, ignored: 0 });
        assert!(counted.failures[0].contains("src/lib.rs"), "{:?}", counted.failures);
    }

    #[test]
    fn a_bad_exit_without_a_failed_test_is_a_failure() {
        let errors = "   Compiling serde v1.0.0\nerror[E0308]: mismatched types\n";
        let counted = count(&finished(101, "", errors), &properties());
        assert_eq!(counted.others.failed, 1);
        assert_eq!(counted.failures, ["error[E0308]: mismatched types"], "without what cargo says of its progress");
    }

    #[test]
    fn a_test_that_only_sounds_like_a_property_is_none() {
        assert_eq!(property("test table::never_twice_in_a_row ... ok", &properties()), None);
        assert_eq!(property("test never_twice::others ... ok", &properties()), None);
        assert_eq!(property("test a::never_twice ... ok", &properties()).map(|tally| tally.passed), Some(1));
    }
}
