//! The small commands: what is read from a file, the definitions, and what a printer says when it is asked.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests are tests")]

use std::process::{Command, Output};

use printernizer_e2e::farm::project;
use printernizer_simulator::{Config, Simulator};

fn printernizer(arguments: &[&str], environment: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_printernizer"));
    command.args(arguments).env_remove("PRUSALINK_PASSWORD").envs(environment.iter().copied());
    command.output().unwrap()
}

fn told(output: &Output) -> (bool, String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (output.status.success(), text(&output.stdout), text(&output.stderr))
}

#[test]
fn inspect_prints_what_is_read_from_a_file_as_json() {
    let clip = project().join("examples/files/cable-clip.gcode");
    let (good, text, errors) = told(&printernizer(&["inspect", clip.to_str().unwrap()], &[]));
    assert!(good, "{errors}");
    let facts: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(facts["printerModel"], "COREONE", "{text}");
    assert_eq!(facts["estimatedSeconds"], 282, "{text}");
}

#[test]
fn inspect_reads_the_plate_it_is_asked_for() {
    let plates = project().join("examples/files/two-plates-a1.gcode.3mf");
    let inspect =
        |arguments: &[&str]| told(&printernizer(&[&["inspect", plates.to_str().unwrap()], arguments].concat(), &[]));
    for (arguments, number) in [(&[][..], 1), (&["--plate", "2"][..], 2)] {
        let (good, text, errors) = inspect(arguments);
        assert!(good, "{errors}");
        let facts: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(
            (&facts["plate"]["number"], &facts["plates"]),
            (&number.into(), &serde_json::json!([1, 2])),
            "{text}"
        );
    }
    let (good, text, errors) = inspect(&["--plate", "3"]);
    assert!(!good && text.is_empty() && errors.contains("only 1, 2"), "{errors}");
}

#[test]
fn inspect_says_why_a_file_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let page = directory.path().join("page.gcode");
    std::fs::write(&page, "<!DOCTYPE html><html>login</html>").unwrap();
    for (path, why) in [
        (page.to_str().unwrap(), "refused"),
        ("/no/such/file.gcode", "No such file"),
        (directory.path().to_str().unwrap(), "folder"),
    ] {
        let (good, text, errors) = told(&printernizer(&["inspect", path], &[]));
        assert!(!good && text.is_empty(), "{text}");
        assert!(errors.contains(path) && errors.contains(why), "{errors}");
    }
}

#[test]
fn crds_prints_the_definitions_as_they_are_committed() {
    let (good, text, errors) = told(&printernizer(&["crds"], &[]));
    assert!(good, "{errors}");
    let printed: Vec<serde_json::Value> = serde_saphyr::from_multiple(&text).unwrap_or_else(|e| panic!("{e}\n{text}"));
    let mut committed = Vec::new();
    for kind in ["printers", "printjobs", "printrecords", "backuppolicies"] {
        let file = std::fs::read_to_string(project().join(format!("crds/manifests/{kind}.yaml"))).unwrap();
        committed.extend(serde_saphyr::from_multiple::<serde_json::Value>(&file).unwrap());
    }
    assert_eq!(printed.len(), 4);
    for definition in committed {
        assert!(printed.contains(&definition), "{} differs", definition["metadata"]["name"]);
    }
}

#[test]
fn a_reader_that_has_seen_enough_is_no_failure() {
    let clip = project().join("examples/files/cable-clip.gcode");
    for arguments in [&["crds"][..], &["inspect", clip.to_str().unwrap()][..]] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let mut command = Command::new(env!("CARGO_BIN_EXE_printernizer"));
        command.args(arguments).stdout(writer).stderr(std::process::Stdio::piped());
        let (good, _, errors) = told(&command.output().unwrap());
        assert!(good && errors.is_empty(), "{arguments:?}: {errors}");
    }
}

#[test]
fn a_cache_that_cannot_be_written_is_named_before_anything_else() {
    let run = ["run", "--cache-dir", "/proc/no-cache", "--listen", "127.0.0.1:0"];
    let (good, text, errors) = told(&printernizer(&run, &[("KUBECONFIG", "/no/such/kubeconfig")]));
    assert!(!good && format!("{text}{errors}").contains("/proc/no-cache"), "{text}{errors}");
}

#[tokio::test(flavor = "multi_thread")]
async fn probe_says_how_a_printer_is_or_why_it_cannot_be_asked() {
    let simulator = Simulator::start(Config::prusalink(1)).await.unwrap();
    let info = simulator.printers().remove(0);
    let probe = async |arguments: Vec<String>, password: Option<String>| {
        tokio::task::spawn_blocking(move || {
            let arguments: Vec<&str> =
                ["probe", "prusalink"].into_iter().chain(arguments.iter().map(String::as_str)).collect();
            let environment: Vec<(&str, &str)> = password.iter().map(|p| ("PRUSALINK_PASSWORD", p.as_str())).collect();
            told(&printernizer(&arguments, &environment))
        })
        .await
        .unwrap()
    };
    let password = Some(info.password.as_str().to_owned());
    let (good, text, errors) = probe(vec![info.url.clone()], password.clone()).await;
    assert!(good, "{errors}");
    for words in ["Idle", info.serial_number.as_str(), "0.40 mm", "PLA", "could take a print"] {
        assert!(text.contains(words), "{words} is missing\n{text}");
    }
    let (good, _, errors) = probe(vec![info.url.clone()], Some("wrong-guess".into())).await;
    assert!(!good && errors.contains("CredentialsRefused") && !errors.contains("wrong-guess"), "{errors}");
    let other = vec![info.url.clone(), "--serial-number".into(), "SIM-OTHER".into()];
    let (good, _, errors) = probe(other, password.clone()).await;
    assert!(!good && errors.contains("WrongSerialNumber") && errors.contains(&info.serial_number), "{errors}");
    let (good, _, errors) = probe(vec!["http://127.0.0.1:1".into()], password.clone()).await;
    assert!(!good && errors.contains("Unreachable"), "{errors}");
    let (good, _, errors) = probe(vec!["http://192.0.2.1".into()], password).await;
    assert!(!good && errors.contains("AddressForbidden"), "{errors}");
    let (good, _, errors) = probe(vec![info.url], None).await;
    assert!(!good && errors.contains("PRUSALINK_PASSWORD"), "{errors}");
    assert!(simulator.ledger().entries().is_empty(), "asking changes nothing");
}
