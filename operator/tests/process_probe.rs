//! `printernizer probe` for Bambu Lab printers: what a person is told who asks one, with everything right and with each
//! thing wrong, and who looks for printers in a network. Needs no cluster.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests are tests")]

use std::net::SocketAddr;
use std::process::Stdio;

use printernizer_simulator::{BambuFault, BambuInfo, Config, Fault, FaultKind, PrinterInfo, Simulator};
use tokio::net::TcpListener;
use tokio::process::Command;

/// Runs the command with this access code in its environment; gives whether it went well, its output, its errors.
async fn probe(arguments: &[&str], access_code: Option<&str>) -> (bool, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_printernizer"));
    command.arg("probe").args(arguments).env_remove("BAMBU_ACCESS_CODE").stdin(Stdio::null()).kill_on_drop(true);
    command.envs(access_code.map(|code| ("BAMBU_ACCESS_CODE", code)));
    let output = tokio::time::timeout(std::time::Duration::from_secs(90), command.output()).await.unwrap().unwrap();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (output.status.success(), text(&output.stdout), text(&output.stderr))
}

async fn a1() -> (Simulator, PrinterInfo, BambuInfo) {
    let simulator = Simulator::start(Config::bambu(1)).await.unwrap();
    let info = simulator.printers().remove(0);
    let bambu = info.bambu.clone().unwrap();
    (simulator, info, bambu)
}

async fn ask(bambu: &BambuInfo, serial: &str, pinned: bool, access_code: &str) -> (bool, String, String) {
    let port = bambu.mqtt_port.to_string();
    let mut arguments = vec!["bambu", &bambu.host, "--serial-number", serial, "--mqtt-port", &port];
    if pinned {
        arguments.extend(["--public-key-sha256", &bambu.public_key_sha256]);
    }
    let told = probe(&arguments, Some(access_code)).await;
    assert!(!told.1.contains(access_code) && !told.2.contains(access_code), "the code is told: {told:?}");
    told
}

#[tokio::test]
async fn a_bambu_printer_that_is_asked_tells_what_it_is_and_what_is_loaded() {
    let (_simulator, info, bambu) = a1().await;
    let (good, text, errors) = ask(&bambu, &info.serial_number, true, bambu.access_code.as_str()).await;
    assert!(good, "{errors}");
    for words in [info.serial_number.as_str(), "Bambu Lab A1", "0.40 mm", "Slot AMS1-1", "PLA", "could take a print"] {
        assert!(text.contains(words), "{words} is missing\n{text}");
    }
}

#[tokio::test]
async fn a_wrong_access_code_is_tried_once_and_the_advice_names_the_screen() {
    let (simulator, info, bambu) = a1().await;
    let (good, text, errors) = ask(&bambu, &info.serial_number, true, "99999999").await;
    assert!(!good && text.is_empty(), "{text}");
    assert!(errors.contains("CredentialsRefused") && errors.contains("copy it from the printer's screen"), "{errors}");
    assert_eq!(simulator.printer("bambu-1").unwrap().state().bambu.unwrap().clients, 0);
}

#[tokio::test]
async fn a_wrong_serial_number_is_answered_with_the_one_in_the_certificate() {
    let (_simulator, info, bambu) = a1().await;
    let (good, text, errors) = ask(&bambu, "039WRONG0000001", true, bambu.access_code.as_str()).await;
    assert!(!good && text.is_empty(), "{text}");
    assert!(errors.contains("WrongSerialNumber") && errors.contains(&info.serial_number), "{errors}");
}

#[tokio::test]
async fn an_unknown_issuer_is_answered_with_the_key_that_could_be_pinned() {
    let (_simulator, info, bambu) = a1().await;
    let (good, text, errors) = ask(&bambu, &info.serial_number, false, bambu.access_code.as_str()).await;
    assert!(!good && text.is_empty(), "{text}");
    assert!(errors.contains(&bambu.public_key_sha256), "{errors}");
}

#[tokio::test]
async fn without_an_access_code_the_variable_and_the_page_of_the_screen_are_named() {
    for code in [None, Some("")] {
        let (good, _, errors) = probe(&["bambu", "127.0.0.1", "--serial-number", "039EXAMPLE00001"], code).await;
        assert!(!good && errors.contains("BAMBU_ACCESS_CODE") && errors.contains("Settings > WLAN"), "{errors}");
    }
}

#[tokio::test]
async fn a_scan_finds_the_bambu_printers_of_a_network_and_nothing_else() {
    let mut config = Config::bambu(2);
    config.printers.push(printernizer_simulator::PrinterConfig::named("prusa-1"));
    let simulator = Simulator::start(config).await.unwrap();
    // One that would refuse every code is found all the same: nobody logs in.
    let refusing = Fault::lasting(FaultKind::Bambu(BambuFault::LoginRefusal { code: 5 }));
    simulator.printer("bambu-1").unwrap().fault(refusing);
    // A port that is closed again, one that never answers, and a printer that speaks something else.
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let infos = simulator.printers();
    let prusa = infos.iter().find_map(|i| i.url.strip_prefix("http://")).unwrap();
    let prusa: SocketAddr = prusa.trim_end_matches('/').parse().unwrap();
    let bambus: Vec<&BambuInfo> = infos.iter().filter_map(|i| i.bambu.as_ref()).collect();
    let mut ports = vec![closed.port(), silent.local_addr().unwrap().port(), prusa.port()];
    ports.extend(bambus.iter().map(|b| b.mqtt_port));
    let ports = ports.iter().map(u16::to_string).collect::<Vec<_>>().join(",");
    let (good, text, errors) = probe(&["scan", "127.0.0.1/32", "--ports", &ports], None).await;
    assert!(good, "{errors}");
    let rows: Vec<&str> = text.lines().take_while(|l| !l.is_empty()).collect();
    assert_eq!(rows.len(), 3, "{text}");
    for info in infos.iter().filter(|i| i.bambu.is_some()) {
        let bambu = info.bambu.as_ref().unwrap();
        let row = rows.iter().find(|r| r.contains(&info.serial_number)).unwrap();
        assert!(row.contains(&format!("127.0.0.1:{}", bambu.mqtt_port)), "{row}");
        assert!(row.contains("unknown") && row.ends_with(&bambu.public_key_sha256), "{row}");
    }
    assert!(errors.contains("1 more answer"), "{errors}");
}

#[tokio::test]
async fn a_scan_that_finds_nothing_says_what_to_switch_on() {
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port().to_string();
    let (good, text, errors) = probe(&["scan", "127.0.0.1/32", "--ports", &closed], None).await;
    assert!(!good && text.is_empty() && errors.contains("LAN Only Mode"), "{text}{errors}");
}

#[tokio::test]
async fn a_scan_of_a_public_or_large_network_is_refused() {
    for (network, why) in [("8.8.8.0/24", "private"), ("10.0.0.0/8", "smaller"), ("169.254.0.0/24", "private")] {
        let (good, text, errors) = probe(&["scan", network], None).await;
        assert!(!good && text.is_empty() && errors.contains(why), "{network}: {errors}");
    }
}
