//! The manifests of `examples/` for simulated printers. The machines take names, serial numbers, passwords, nozzles and
//! filaments from the manifests; the only thing changed in a manifest is the printer's address, `connection.prusaLink.url`.
//! Printers beyond those of the examples are copies of the first one under another name.

use std::path::{Path, PathBuf};

use printernizer_simulator::{Password, PrinterConfig, PrinterInfo};
use serde_json::{Value, json};

use super::DemoError;

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
        let machine = |printer: &Value| {
            let link = &printer["spec"]["connection"]["prusaLink"];
            let secret = self.of_kind("Secret").find(|s| {
                let name = &s["metadata"]["name"];
                name.is_string() && name == &link["credentialsSecretRef"]["name"]
            })?;
            let mut machine = PrinterConfig::named(printer["metadata"]["name"].as_str()?);
            machine.password = Some(Password::new(secret["stringData"]["password"].as_str()?));
            link["serialNumber"].as_str().unwrap_or_default().clone_into(&mut machine.serial_number);
            if let Some(material) = printer["spec"]["slots"][0]["material"].as_str() {
                material.clone_into(&mut machine.material);
            }
            if let Some(micrometers) = printer["spec"]["capabilities"]["nozzle"]["diameterMicrometers"].as_f64() {
                machine.nozzle_diameter_millimeters = micrometers / 1000.0;
            }
            Some(machine)
        };
        self.of_kind("Printer").filter_map(machine).collect()
    }

    /// Adds copies of the first Printer and its Secret until there are this many.
    fn grow(&mut self, printers: usize) {
        let Some(first) = self.of_kind("Printer").next().cloned() else { return };
        let secret_name = first["spec"]["connection"]["prusaLink"]["credentialsSecretRef"]["name"].clone();
        let Some(secret) = self.of_kind("Secret").find(|s| s["metadata"]["name"] == secret_name).cloned() else {
            return;
        };
        for number in self.of_kind("Printer").count() + 1..=printers {
            let name = format!("prusa-{number}");
            let (mut printer, mut secret) = (first.clone(), secret.clone());
            secret["metadata"]["name"] = json!(name);
            printer["metadata"]["name"] = json!(name);
            let link = &mut printer["spec"]["connection"]["prusaLink"];
            link["serialNumber"] = json!(format!("CORE-EXAMPLE-{number:04}"));
            link["credentialsSecretRef"]["name"] = json!(name);
            self.objects.extend([secret, printer]);
        }
    }

    /// All objects as one `List`, with the addresses of the simulated printers.
    pub fn at(mut self, machines: &[PrinterInfo]) -> Value {
        for printer in self.objects.iter_mut().filter(|o| o["kind"] == "Printer") {
            let machine = machines.iter().find(|m| printer["metadata"]["name"] == m.name.as_str());
            if let Some(machine) = machine {
                printer["spec"]["connection"]["prusaLink"]["url"] = json!(machine.url);
            }
        }
        json!({ "apiVersion": "v1", "kind": "List", "items": self.objects })
    }
}

#[cfg(test)]
mod tests {
    use printernizer_simulator::PrinterKind;

    use super::*;
    use crate::farm::project;

    fn examples(printers: usize) -> Examples {
        Examples::read(&project().join("examples"), printers).unwrap()
    }

    #[test]
    fn the_machines_are_those_of_the_examples() {
        let machines = examples(4).machines();
        let short: Vec<_> = machines.iter().map(|m| (m.name.as_str(), m.material.as_str())).collect();
        assert_eq!(short, [("prusa-1", "PLA"), ("prusa-2", "PLA"), ("prusa-3", "PLA"), ("prusa-4", "PETG")]);
        assert_eq!(machines[0].serial_number, "CORE-EXAMPLE-0001");
        assert_eq!(machines[0].password.as_ref().unwrap().as_str(), "replace-me-1");
        assert!((machines[0].nozzle_diameter_millimeters - 0.4).abs() < 1e-9);
    }

    #[test]
    fn only_the_address_of_a_printer_is_changed() {
        let before = examples(4);
        let machines: Vec<PrinterInfo> = before
            .machines()
            .into_iter()
            .map(|m| PrinterInfo {
                url: format!("http://127.0.0.1:1/{}", m.name),
                name: m.name,
                kind: PrinterKind::PrusaLink,
                serial_number: m.serial_number,
                username: "maker".into(),
                password: Password::new(""),
                model: m.model,
                bambu: None,
            })
            .collect();
        let mut before = before.objects;
        let mut after = examples(4).at(&machines)["items"].as_array().unwrap().clone();
        for (old, new) in before.iter_mut().zip(&mut after).filter(|(o, _)| o["kind"] == "Printer") {
            let new = new["spec"]["connection"]["prusaLink"]["url"].take();
            assert_eq!(new, format!("http://127.0.0.1:1/{}", old["metadata"]["name"].as_str().unwrap()));
            old["spec"]["connection"]["prusaLink"]["url"].take();
        }
        assert_eq!(before, after);
    }

    #[test]
    fn more_printers_are_machines_of_their_own() {
        let machines = examples(6).machines();
        assert_eq!(machines.len(), 6);
        assert_eq!((machines[5].name.as_str(), machines[5].serial_number.as_str()), ("prusa-6", "CORE-EXAMPLE-0006"));
        assert_eq!(examples(6).jobs(), 7);
    }
}
