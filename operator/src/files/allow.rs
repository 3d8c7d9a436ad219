//! Which addresses the operator may connect to, for print files and for printers.
//!
//! A check is about the address that is connected to, never about a name, and is made for each redirect again. Special
//! addresses, above all link-local ones and the metadata services of clouds, are never allowed, whatever is listed.
//! IPv6 forms that carry an IPv4 address are judged by that address. Ranges: the IANA special-purpose registries.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use thiserror::Error;

/// Why an address may not be connected to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Forbidden {
    /// Link-local, metadata, multicast, unspecified or otherwise no address of a server.
    #[error("{0} is a link-local, metadata or other special address; these are never allowed")]
    Special(IpAddr),
    /// This machine.
    #[error("{0} is this machine itself; for simulated printers run the operator with --allow-loopback")]
    Loopback(IpAddr),
    /// Not on the list.
    #[error("{address} is not in an allowed network; if it should be, name its network in {option} of {program}")]
    NotListed {
        /// The address.
        address: IpAddr,
        /// The option that lists networks.
        option: &'static str,
        /// The command that has it.
        program: &'static str,
    },
}

/// A network that could not be read.
#[derive(Debug, Error)]
#[error("{text:?} is not a network; write an address and a prefix length such as 192.168.10.0/24 or fd12:3456::/32")]
pub struct NetworkError {
    text: String,
    source: ipnet::AddrParseError,
}

/// The networks that may be connected to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Networks {
    public: bool,
    loopback: bool,
    listed: Vec<IpNet>,
    /// Option and command by which a person lists networks.
    named_by: (&'static str, &'static str),
}

/// What lists the networks of printers where the operator runs.
const BY_RUN: (&str, &str) = ("--printer-networks", "`printernizer run`");

impl Networks {
    /// For printers by default: the private ranges, and nothing on the internet.
    pub fn for_printers(loopback: bool) -> Self {
        Self::only(PRIVATE.into_iter().flat_map(str::parse).collect(), loopback)
    }

    /// For print files by default: the internet, and of the private ranges only those named.
    pub fn for_sources(named: Vec<IpNet>, loopback: bool) -> Self {
        Self { public: true, loopback, listed: named, named_by: ("--source-networks", "`printernizer run`") }
    }

    /// For printers: only the networks named.
    pub fn only(named: Vec<IpNet>, loopback: bool) -> Self {
        Self { public: false, loopback, listed: named, named_by: BY_RUN }
    }

    /// The same, where they are named by `printernizer probe`.
    #[must_use]
    pub fn of_probe(self) -> Self {
        Self { named_by: ("--networks", "`printernizer probe`"), ..self }
    }

    /// Networks of a comma-separated list, as in a command line option. A bare address is a network of its own.
    pub fn parse(list: &str) -> Result<Vec<IpNet>, NetworkError> {
        list.split(',').map(str::trim).filter(|text| !text.is_empty()).map(parse).collect()
    }

    /// Whether `address` may be connected to.
    pub fn check(&self, address: IpAddr) -> Result<(), Forbidden> {
        let Some(real) = carried(address) else { return Err(Forbidden::Special(address)) };
        if real.is_loopback() {
            return if self.loopback { Ok(()) } else { Err(Forbidden::Loopback(address)) };
        }
        if is_special(real) {
            return Err(Forbidden::Special(address));
        }
        if self.listed.iter().any(|network| network.contains(&real)) || (self.public && is_public(real)) {
            return Ok(());
        }
        let (option, program) = self.named_by;
        Err(Forbidden::NotListed { address, option, program })
    }
}

fn parse(text: &str) -> Result<IpNet, NetworkError> {
    let network = text.parse::<IpNet>();
    network.or_else(|source| {
        text.parse::<IpAddr>().map(IpNet::from).map_err(|_| NetworkError { text: text.to_owned(), source })
    })
}

/// RFC 1918, RFC 6598 (shared by carriers and overlay networks) and RFC 4193.
const PRIVATE: [&str; 5] = ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7"];

/// The address a packet would really go to; none where that depends on somebody's relay.
fn carried(address: IpAddr) -> Option<IpAddr> {
    let IpAddr::V6(six) = address else { return Some(address) };
    if six.is_loopback() {
        return Some(address);
    }
    match six.segments() {
        // ::ffff:0:0/96 (mapped) and 64:ff9b::/96 (NAT64).
        [0, 0, 0, 0, 0, 0xffff, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] => {
            Some(IpAddr::V4(Ipv4Addr::from_bits((u32::from(high) << 16) | u32::from(low))))
        }
        // ::/96 (compatible), ::ffff:0:0:0/96 (translated, RFC 6052 2.1), 64:ff9b:1::/48 (local NAT64), 2001::/32
        // (Teredo), 2002::/16 (6to4).
        [0, 0, 0, 0, 0 | 0xffff, 0, ..] | [0x64, 0xff9b, ..] | [0x2001, 0, ..] | [0x2002, ..] => None,
        _ => Some(address),
    }
}

fn is_special(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(four) => {
            let [a, ..] = four.octets();
            a == 0 || a >= 224 || four.is_link_local() || METADATA_4.contains(&four)
        }
        IpAddr::V6(six) => {
            let first = six.segments()[0];
            // fe80::/10, fec0::/10 (once site-local), ff00::/8.
            six.is_unspecified() || (0xfe80..=0xffff).contains(&first) || is_metadata_6(six)
        }
    }
}

/// Metadata services outside the link-local range: Alibaba Cloud, Oracle Cloud, Azure's platform address.
const METADATA_4: [Ipv4Addr; 3] =
    [Ipv4Addr::new(100, 100, 100, 200), Ipv4Addr::new(192, 0, 0, 192), Ipv4Addr::new(168, 63, 129, 16)];
/// Metadata services over IPv6, which stand in the private range: all of what Amazon took there (fd00:ec2::/32: metadata,
/// credentials of pods), Google's fd20:ce::254, Scaleway's fd00:42::42.
fn is_metadata_6(six: Ipv6Addr) -> bool {
    matches!(
        six.segments(),
        [0xfd00, 0xec2, ..] | [0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254] | [0xfd00, 0x42, 0, 0, 0, 0, 0, 0x42]
    )
}

fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(four) => !matches!(
            four.octets(),
            [10 | 127, ..]
                | [100, 64..=127, ..]
                | [172, 16..=31, ..]
                | [192, 0, 0 | 2, _]
                | [192, 88, 99, _]
                | [192, 168, ..]
                | [198, 18 | 19, ..]
                | [198, 51, 100, _]
                | [203, 0, 113, _]
        ),
        // 2000::/3 is all that has been given out; of it 2001::/23, 2001:db8::/32 and 3fff::/20 are special.
        IpAddr::V6(six) => {
            let [a, b, ..] = six.segments();
            a & 0xe000 == 0x2000 && !(a == 0x2001 && (b < 0x200 || b == 0xdb8)) && !(a == 0x3fff && b < 0x1000)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(networks: &Networks, address: &str) -> Result<(), &'static str> {
        networks.check(address.parse().unwrap()).map_err(|error| match error {
            Forbidden::Special(_) => "special",
            Forbidden::Loopback(_) => "loopback",
            Forbidden::NotListed { .. } => "not listed",
        })
    }

    #[test]
    fn the_network_policy_of_the_chart_knows_the_same_private_ranges() {
        let helpers = include_str!("../../../charts/printernizer/templates/_helpers.tpl");
        let (_, list) = helpers.split_once("define \"printernizer.privateNetworks\" -}}\n").unwrap();
        let listed: Vec<&str> = list.lines().map_while(|line| line.strip_prefix("- ")).collect();
        assert_eq!(listed, PRIVATE);
    }

    #[test]
    fn link_local_and_metadata_addresses_are_never_allowed_in_any_form() {
        let everything = Networks::parse("0.0.0.0/0, ::/0").unwrap();
        for networks in [Networks::only(everything.clone(), true), Networks::for_sources(everything, true)] {
            for address in [
                "169.254.169.254",
                "169.254.1.1",
                "::ffff:169.254.169.254",
                "64:ff9b::a9fe:a9fe",
                "::169.254.169.254",
                "64:ff9b:1::a9fe:a9fe",
                "2002:a9fe:a9fe::1",
                "2001::a9fe:a9fe",
                "fe80::1",
                "febf::1",
                "fec0::1",
                "fd00:ec2::254",
                "fd00:ec2::23",
                "fd20:ce::254",
                "fd00:42::42",
                "::ffff:0:169.254.169.254",
                "::ffff:0:10.0.0.1",
                "100.100.100.200",
                "192.0.0.192",
                "168.63.129.16",
                "0.0.0.0",
                "0.1.2.3",
                "::",
                "224.0.0.1",
                "ff02::1",
                "255.255.255.255",
                "250.1.2.3",
            ] {
                assert_eq!(check(&networks, address), Err("special"), "{address}");
            }
        }
    }

    #[test]
    fn printers_live_in_private_networks_only() {
        let networks = Networks::for_printers(false);
        for address in ["10.1.2.3", "172.31.0.1", "192.168.1.9", "100.64.0.1", "fd12::1", "::ffff:192.168.1.9"] {
            assert_eq!(check(&networks, address), Ok(()), "{address}");
        }
        for address in ["8.8.8.8", "172.32.0.1", "2001:4860:4860::8888", "100.128.0.1", "::ffff:8.8.8.8"] {
            assert_eq!(check(&networks, address), Err("not listed"), "{address}");
        }
        for address in ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"] {
            assert_eq!(check(&networks, address), Err("loopback"), "{address}");
            assert_eq!(check(&Networks::for_printers(true), address), Ok(()), "{address}");
        }
    }

    #[test]
    fn files_come_from_the_internet_and_from_private_networks_that_are_named() {
        let networks = Networks::for_sources(Networks::parse("192.168.10.0/24,fd12::/16").unwrap(), false);
        for address in ["8.8.8.8", "2606:4700::1111", "192.168.10.7", "::ffff:192.168.10.7", "fd12::7"] {
            assert_eq!(check(&networks, address), Ok(()), "{address}");
        }
        let elsewhere = ["192.168.11.7", "10.0.0.1", "fd13::1", "100.64.0.1", "198.18.0.1", "192.0.2.1", "2001:db8::1"];
        for address in elsewhere.into_iter().chain(["::ffff:10.0.0.1", "64:ff9b::10.0.0.1", "3fff::1", "4000::1"]) {
            assert_eq!(check(&networks, address), Err("not listed"), "{address}");
        }
        // Naming loopback as a network is not the switch for it.
        let named = Networks::for_sources(Networks::parse("127.0.0.0/8").unwrap(), false);
        assert_eq!(check(&named, "127.0.0.1"), Err("loopback"));
    }

    #[test]
    fn an_address_that_is_not_listed_names_the_one_option_that_lists_it() {
        let none = || Networks::only(Vec::new(), false);
        for (networks, option) in [
            (Networks::for_sources(Vec::new(), false), "--source-networks of `printernizer run`"),
            (Networks::for_printers(false), "--printer-networks of `printernizer run`"),
            (none(), "--printer-networks of `printernizer run`"),
            (none().of_probe(), "--networks of `printernizer probe`"),
        ] {
            let told = networks.check("192.0.2.7".parse().unwrap()).unwrap_err().to_string();
            assert!(told.ends_with(&format!("name its network in {option}")), "{told}");
            assert!(told.starts_with("192.0.2.7 is not") && told.matches("--").count() == 1, "{told}");
        }
    }

    #[test]
    fn a_list_is_read_or_says_what_to_write() {
        assert_eq!(Networks::parse(" 10.0.0.0/8 ,, 192.168.1.5").unwrap().len(), 2);
        assert_eq!(Networks::parse("").unwrap(), []);
        let error = Networks::parse("10.0.0.0/8,nas.local").unwrap_err().to_string();
        assert!(error.contains("nas.local") && error.contains("/24"), "{error}");
    }
}
