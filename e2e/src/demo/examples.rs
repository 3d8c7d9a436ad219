//! The manifests of `examples/` for simulated printers. The machines take names, serial numbers, passwords, nozzles and
//! filaments from the manifests; an A1 gets [`SPOOLS`], because its manifest names none. The only thing changed in a
//! manifest is how the printer is reached: PrusaLink's `url`; of Bambu's connection `host`, the two ports, and `tls`,
//! where the simulated printer's key is pinned, because the maker's authority has not signed for it.
//! Printers beyond those of the examples are copies of the first one under another name.

use std::path::{Path, PathBuf};

use printernizer_simulator::{Password, PrinterConfig, PrinterInfo, Tray};
use serde_json::{Value, json};

use super::DemoError;

/// Material and color in the slots of a simulated AMS lite: what the examples' prints in two colors need, and more.
const SPOOLS: [(&str, &str); 4] = [("PLA", "1F6FEBFF"), ("PETG", "F5A623FF"), ("PLA", "FFFFFFFF"), ("", "")];

/// The manifests.
#[derive(Debug)]
pub struct Examples {
    objects: Vec<Value>,
}

impl Examples {
    /// Reads all `*.yaml` of a folder, as `kubectl apply -f` would, and brings them to this number of printers.
    pub fn read(folder: &Path, printers: usize) -> Result<Self, DemoError> {
        let unreadable = |source| DemoError::Read { path: folder.to_owned(), source };
        let mut files: Vec<PathBuf> = Vec::new();
        for entry in std::fs::read_dir(folder).map_err(unreadable)? {
            let path = entry.map_err(unreadable)?.path();
            if path.extension().is_some_and(|e| e == "yaml") {
                files.push(path);
            }
        }
        files.sort();
        let mut examples = Self { objects: Vec::new() };
        for path in files {
            let text =
                std::fs::read_to_string(&path).map_err(|source| DemoError::Read { path: path.clone(), source })?;
            examples.add(&text).map_err(|source| DemoError::Yaml { path, source: Box::new(source) })?;
        }
        if examples.machines().is_empty() {
            return Err(DemoError::NoPrinters { path: folder.to_owned() });
        }
        examples.grow(printers);
        Ok(examples)
    }

    fn add(&mut self, text: &str) -> Result<(), serde_saphyr::Error> {
        let objects: Vec<Value> = serde_saphyr::from_multiple(text)?;
        self.objects.extend(objects.into_iter().filter(Value::is_object));
        Ok(())
    }

    fn of_kind<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = &'a Value> {
        self.objects.iter().filter(move |o| o["kind"] == kind)
    }

    /// Number of PrintJobs.
    pub fn jobs(&self) -> usize {
        self.of_kind("PrintJob").count()
    }

    /// The machines the Printers stand for.
    pub fn machines(&self) -> Vec<PrinterConfig> {
        self.of_kind("Printer").filter_map(|printer| self.machine(printer)).collect()
    }

    /// The machine a Printer stands for; `None` if something needed is missing.
    fn machine(&self, printer: &Value) -> Option<PrinterConfig> {
        let name = printer["metadata"]["name"].as_str()?;
        let connection = &printer["spec"]["connection"];
        let (mut machine, link, secret, key) = if connection["bambu"].is_object() {
            let link = &connection["bambu"];
            let secret = &link["accessCodeSecretRef"];
            (PrinterConfig::bambu(name), link, &secret["name"], secret["key"].as_str()?)
        } else {
            let link = &connection["prusaLink"];
            (PrinterConfig::named(name), link, &link["credentialsSecretRef"]["name"], "password")
        };
        let secret = self.of_kind("Secret").find(|s| secret.is_string() && &s["metadata"]["name"] == secret)?;
        machine.password = Some(Password::new(secret["stringData"][key].as_str()?));
        link["serialNumber"].as_str().unwrap_or_default().clone_into(&mut machine.serial_number);
        machine.bambu.trays = SPOOLS.map(|(material, color)| Tray::loaded(material, color)).to_vec();
        if let Some(material) = printer["spec"]["slots"][0]["material"].as_str() {
            material.clone_into(&mut machine.material);
        }
        if let Some(micrometers) = printer["spec"]["capabilities"]["nozzle"]["diameterMicrometers"].as_f64() {
            machine.nozzle_diameter_millimeters = micrometers / 1000.0;
        }
        Some(machine)
    }

    /// Adds copies of the first Printer, an A1, and its Secret until there are this many.
    fn grow(&mut self, printers: usize) {
        let Some(first) = self.of_kind("Printer").next().cloned() else { return };
        let secret_name = first["spec"]["connection"]["bambu"]["accessCodeSecretRef"]["name"].clone();
        let Some(secret) = self.of_kind("Secret").find(|s| s["metadata"]["name"] == secret_name).cloned() else {
            return;
        };
        for number in self.of_kind("Printer").count() + 1..=printers {
            let name = format!("a1-{number}");
            let (mut printer, mut secret) = (first.clone(), secret.clone());
            secret["metadata"]["name"] = json!(name);
            printer["metadata"]["name"] = json!(name);
            let link = &mut printer["spec"]["connection"]["bambu"];
            link["serialNumber"] = json!(format!("039EXAMPLE{number:05}"));
            link["accessCodeSecretRef"]["name"] = json!(name);
            self.objects.extend([secret, printer]);
        }
    }

    /// All objects as one `List`, with the ways to the simulated printers.
    pub fn at(mut self, machines: &[PrinterInfo]) -> Value {
        for printer in self.objects.iter_mut().filter(|o| o["kind"] == "Printer") {
            let machine = machines.iter().find(|m| printer["metadata"]["name"] == m.name.as_str());
            let Some(machine) = machine else { continue };
            let connection = &mut printer["spec"]["connection"];
            if let Some(bambu) = &machine.bambu {
                let link = &mut connection["bambu"];
                link["host"] = json!(bambu.host);
                link["mqttPort"] = json!(bambu.mqtt_port);
                link["ftpsPort"] = json!(bambu.ftps_port);
                link["tls"] = json!({ "verification": "PinnedKey", "publicKeySHA256": bambu.public_key_sha256 });
            } else {
                connection["prusaLink"]["url"] = json!(machine.url);
            }
        }
        json!({ "apiVersion": "v1", "kind": "List", "items": self.objects })
    }
}

#[cfg(test)]
mod tests {
    use printernizer_simulator::{BambuInfo, PrinterKind};

    use super::*;
    use crate::farm::project;

    fn examples(printers: usize) -> Examples {
        Examples::read(&project().join("examples"), printers).unwrap()
    }

    #[test]
    fn the_machines_are_those_of_the_examples() {
        let machines = examples(6).machines();
        let short: Vec<_> = machines.iter().map(|m| (m.name.as_str(), m.kind)).collect();
        let (bambu, prusa) = (PrinterKind::Bambu, PrinterKind::PrusaLink);
        assert_eq!(
            short,
            [
                ("a1-1", bambu),
                ("a1-2", bambu),
                ("a1-3", bambu),
                ("a1-4", bambu),
                ("prusa-1", prusa),
                ("prusa-2", prusa)
            ]
        );
        let secrets: Vec<_> = machines.iter().map(|m| m.password.as_ref().unwrap().as_str()).collect();
        assert_eq!(secrets[..2], ["00000001", "00000002"]);
        assert_eq!(secrets[4..], ["replace-me-1", "replace-me-2"]);
        assert_eq!(machines[0].serial_number, "039EXAMPLE00001");
        assert_eq!(machines[4].serial_number, "CORE-EXAMPLE-0001");
        assert_eq!((machines[4].material.as_str(), machines[5].material.as_str()), ("PLA", "PETG"));
        assert!((machines[4].nozzle_diameter_millimeters - 0.4).abs() < 1e-9);
    }

    fn info(machine: PrinterConfig) -> PrinterInfo {
        let bambu = (machine.kind == PrinterKind::Bambu).then(|| BambuInfo {
            host: "127.0.0.1".into(),
            mqtt_port: 1,
            ftps_port: 2,
            access_code: Password::new(""),
            certificate_authority_pem: String::new(),
            public_key_sha256: "ab".repeat(32),
        });
        PrinterInfo {
            url: format!("http://127.0.0.1:1/{}", machine.name),
            name: machine.name,
            kind: machine.kind,
            serial_number: machine.serial_number,
            username: "maker".into(),
            password: Password::new(""),
            model: machine.model,
            bambu,
        }
    }

    #[test]
    fn only_the_way_to_a_printer_is_changed() {
        let before = examples(6);
        let machines: Vec<PrinterInfo> = before.machines().into_iter().map(info).collect();
        let mut before = before.objects;
        let mut after = examples(6).at(&machines)["items"].as_array().unwrap().clone();
        let mut changed = 0;
        for (old, new) in before.iter_mut().zip(&mut after).filter(|(o, _)| o["kind"] == "Printer") {
            let name = old["metadata"]["name"].as_str().unwrap().to_owned();
            let (old, new) = (&mut old["spec"]["connection"], &mut new["spec"]["connection"]);
            if old["bambu"].is_object() {
                assert_eq!(new["bambu"]["tls"]["publicKeySHA256"], "ab".repeat(32));
                for way in ["host", "mqttPort", "ftpsPort", "tls"] {
                    let new = new["bambu"].as_object_mut().unwrap().remove(way).unwrap();
                    assert_ne!(Some(new), old["bambu"].as_object_mut().unwrap().remove(way));
                }
            } else {
                assert_eq!(new["prusaLink"]["url"].take(), format!("http://127.0.0.1:1/{name}"));
                old["prusaLink"]["url"].take();
            }
            changed += 1;
        }
        assert_eq!((changed, before), (6, after));
    }

    #[test]
    fn more_printers_are_machines_of_their_own() {
        let machines = examples(8).machines();
        assert_eq!(machines.len(), 8);
        assert_eq!((machines[7].name.as_str(), machines[7].serial_number.as_str()), ("a1-8", "039EXAMPLE00008"));
        assert_eq!(machines[7].kind, PrinterKind::Bambu);
        assert_eq!(examples(8).jobs(), 8);
    }
}
