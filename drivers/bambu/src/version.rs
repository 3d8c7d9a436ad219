//! What a printer says about its parts (`get_version`): model, firmware, and whether that firmware is one that takes
//! commands only in Developer Mode. The prefix of the serial number is a hint for the model where old firmware names
//! none. Facts: OpenBambuAPI mqtt.md (get_version), ha-bambulab pybambu/const.py (first versions that enforce control).

use serde_json::{Map, Value};

use crate::config::SerialNumber;
use crate::report::lenient::word;

/// The most parts kept.
const MODULES_MAX: usize = 64;

/// One part of a printer with its firmware.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Module {
    /// Its name: `ota` is the printer as a whole, `ams/0` the first AMS.
    name: String,
    /// Version of its firmware.
    firmware: Option<String>,
    /// Name of the product, for example `Bambu Lab A1`.
    product: Option<String>,
}

/// The parts of a printer.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Version {
    /// Parts, in the printer's order.
    modules: Vec<Module>,
}

impl Version {
    /// Reads an `info` object; `None` if it lists no parts.
    pub(crate) fn read(info: &Map<String, Value>) -> Option<Self> {
        let read = |module: &Value| {
            let get = |key: &str| module.get(key).and_then(word);
            Some(Module { name: get("name")?, firmware: get("sw_ver"), product: get("product_name") })
        };
        let modules = info.get("module")?.as_array()?;
        Some(Self { modules: modules.iter().take(MODULES_MAX).filter_map(read).collect() })
    }

    /// Version of the printer's firmware, for example `01.05.00.00`.
    pub fn firmware(&self) -> Option<&str> {
        self.modules.iter().find(|module| module.name == "ota")?.firmware.as_deref()
    }

    /// The model, for example `Bambu Lab A1 mini`; from the serial number where the firmware does not say.
    pub fn model(&self, serial: &SerialNumber) -> Option<String> {
        let is_printer = |module: &&Module| !module.name.contains('/') && module.product.is_some();
        let ota = self.modules.iter().find(|module| module.name == "ota" && module.product.is_some());
        let named = ota.or_else(|| self.modules.iter().find(is_printer)).and_then(|module| module.product.clone());
        named.or_else(|| model_of_serial(serial).map(str::to_owned))
    }

    /// Whether this firmware takes commands only in Developer Mode; `None` where that is not known.
    pub(crate) fn enforces_developer_mode(&self, serial: &SerialNumber) -> Option<bool> {
        let firmware = parse(self.firmware()?)?;
        let model = self.model(serial)?;
        let first = match model.trim_start_matches("Bambu Lab ") {
            "A1" | "A1 mini" => [1, 5, 0, 0],
            "P1P" | "P1S" => [1, 8, 2, 0],
            "X1" | "X1 Carbon" | "X1C" => [1, 8, 3, 0],
            "H2D" | "H2D Pro" => [1, 1, 0, 0],
            "X1E" => return None,
            _ => return Some(true),
        };
        // X1Plus, a community firmware, counts versions of its own from 99 on.
        Some(firmware >= first && firmware[0] != 99)
    }
}

fn parse(version: &str) -> Option<[u32; 4]> {
    let mut numbers = version.split('.').map(str::parse);
    let parsed = [numbers.next()?.ok()?, numbers.next()?.ok()?, numbers.next()?.ok()?, numbers.next()?.ok()?];
    numbers.next().is_none().then_some(parsed)
}

/// The model that serial numbers with this beginning were seen on.
fn model_of_serial(serial: &SerialNumber) -> Option<&'static str> {
    let known = [
        ("030", "Bambu Lab A1 mini"),
        ("039", "Bambu Lab A1"),
        ("01P", "Bambu Lab P1S"),
        ("01S", "Bambu Lab P1P"),
        ("00M", "Bambu Lab X1 Carbon"),
        ("22E8", "Bambu Lab P2S"),
        ("31B", "Bambu Lab H2C"),
    ];
    known.iter().find(|(prefix, _)| serial.as_str().starts_with(prefix)).map(|(_, model)| *model)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn version(modules: &Value) -> Version {
        Version::read(json!({"module": modules}).as_object().unwrap()).unwrap()
    }

    fn serial(text: &str) -> SerialNumber {
        SerialNumber::new(text).unwrap()
    }

    #[test]
    fn model_and_firmware_are_those_of_the_whole_printer_and_not_of_an_ams() {
        let version = version(&json!([
            {"name": "ams_f1/0", "sw_ver": "00.00.07.94", "product_name": "AMS Lite"},
            {"name": "ota", "sw_ver": "01.05.00.00", "product_name": "Bambu Lab A1"},
        ]));
        let a1 = serial("03919A3B0100254");
        assert_eq!(version.firmware(), Some("01.05.00.00"));
        assert_eq!(version.model(&a1).as_deref(), Some("Bambu Lab A1"));
        assert_eq!(version.enforces_developer_mode(&a1), Some(true));
    }

    #[test]
    fn old_firmware_without_a_name_is_known_by_the_serial_number() {
        let version = version(&json!([{"name": "ota", "sw_ver": "01.04.00.00"}]));
        assert_eq!(version.model(&serial("03919A3B0100254")).as_deref(), Some("Bambu Lab A1"));
        assert_eq!(version.enforces_developer_mode(&serial("03919A3B0100254")), Some(false));
        assert_eq!(version.model(&serial("99999A3B0100254")), None);
        assert_eq!(version.enforces_developer_mode(&serial("99999A3B0100254")), None);
    }

    #[test]
    fn a_model_that_came_later_enforces_developer_mode_and_an_unreadable_version_says_nothing() {
        let of = |firmware: &str, product: &str| {
            version(&json!([{"name": "ota", "sw_ver": firmware, "product_name": product}]))
                .enforces_developer_mode(&serial("99999A3B0100254"))
        };
        assert_eq!(of("01.00.00.00", "Bambu Lab P2S"), Some(true));
        assert_eq!(of("01.08.01.99", "Bambu Lab P1S"), Some(false));
        assert_eq!(of("99.0.0.1", "Bambu Lab X1 Carbon"), Some(false));
        assert_eq!(of("newest", "Bambu Lab A1"), None);
        assert_eq!(of("01.09.00.00", "Bambu Lab X1E"), None);
    }
}
