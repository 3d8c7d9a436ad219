//! Which connections the chart's network policy lets the operator open: the rendered policy is asked, by the rules of
//! Kubernetes. That a network plugin keeps to it is that plugin's promise; no test here has one.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests are tests")]

mod manifests;

use std::net::IpAddr;

use ipnet::IpNet;
use manifests::{chart, objects, read, run, template, the, tool};
use printernizer_e2e::farm::project;
use printernizer_e2e::tools::Tool;
use serde_json::{Value, json};

/// Where a connection goes to: an address, or a pod, which has one in the pods' network as well.
enum To {
    Address(&'static str),
    /// The name of its namespace, and its labels.
    Pod(&'static str, Value),
}
use To::{Address, Pod};

const POD_ADDRESS: &str = "10.244.3.7";

/// Whether a selector of labels, of which only `matchLabels` is in use here, chooses these.
fn selects(selector: &Value, labels: &Value) -> bool {
    assert!(selector.as_object().unwrap().keys().all(|key| key == "matchLabels"), "{selector}");
    let wanted = selector["matchLabels"].as_object();
    wanted.is_none_or(|wanted| wanted.iter().all(|(name, value)| labels[name] == *value))
}

/// Whether a peer of a rule is where the connection goes to. The policy is in the namespace `printernizer`.
fn is_peer(peer: &Value, to: &To) -> bool {
    if let Some(block) = peer.get("ipBlock") {
        let text = match to {
            Address(text) => text,
            Pod(..) => POD_ADDRESS,
        };
        let address: IpAddr = text.parse().unwrap();
        let within = |network: &Value| network.as_str().unwrap().parse::<IpNet>().unwrap().contains(&address);
        let except = block.get("except").map_or(&[][..], |except| except.as_array().unwrap());
        return within(&block["cidr"]) && !except.iter().any(within);
    }
    let Pod(namespace, labels) = to else { return false };
    let in_namespace = match peer.get("namespaceSelector") {
        Some(selector) => selects(selector, &json!({ "kubernetes.io/metadata.name": namespace })),
        None => *namespace == "printernizer",
    };
    in_namespace && peer.get("podSelector").is_none_or(|selector| selects(selector, labels))
}

/// Whether the policy lets the operator's pods open this connection.
fn allows(policy: &Value, to: &To, protocol: &str, port: u64) -> bool {
    assert!(policy["spec"]["policyTypes"].as_array().unwrap().contains(&"Egress".into()));
    policy["spec"]["egress"].as_array().unwrap().iter().any(|rule| {
        let ports = rule.get("ports").map(|ports| ports.as_array().unwrap());
        let by_port = ports.is_none_or(|ports| {
            ports.iter().any(|allowed| {
                let first = allowed["port"].as_u64().unwrap();
                let last = allowed.get("endPort").map_or(first, |last| last.as_u64().unwrap());
                allowed.get("protocol").map_or("TCP", |p| p.as_str().unwrap()) == protocol
                    && (first..=last).contains(&port)
            })
        });
        let peers = rule.get("to").map(|peers| peers.as_array().unwrap());
        by_port && peers.is_none_or(|peers| peers.is_empty() || peers.iter().any(|peer| is_peer(peer, to)))
    })
}

/// The policy of these values.
fn policy(values: &str, more: &[&str]) -> Value {
    let path = chart().join(format!("ci/{values}-values.yaml"));
    the(&objects(&template(Some(&path), more).unwrap()), "NetworkPolicy").clone()
}

/// Each connection of the table, and whether it may be opened.
fn assert_allows(policy: &Value, table: &[(To, &str, u64, bool)]) {
    for (to, protocol, port, allowed) in table {
        let shown = match to {
            Address(address) => (*address).to_owned(),
            Pod(namespace, labels) => format!("pod of {namespace} with {labels}"),
        };
        assert_eq!(allows(policy, to, protocol, *port), *allowed, "{protocol} {port} of {shown}: {policy:#}");
    }
}

#[test]
fn by_default_private_networks_are_open_and_the_internet_at_the_ports_of_the_web() {
    let table = [
        (Pod("kube-system", json!({ "k8s-app": "kube-dns" })), "UDP", 53, true),
        (Pod("kube-system", json!({ "k8s-app": "kube-dns" })), "TCP", 53, true),
        (Pod("elsewhere", json!({})), "UDP", 53, false),
        (Address("169.254.20.10"), "UDP", 53, true),
        (Address("8.8.8.8"), "UDP", 53, false),
        (Address("10.96.0.1"), "TCP", 443, true),
        (Address("203.0.113.9"), "TCP", 6443, true),
        (Address("192.168.30.51"), "TCP", 990, true),
        (Address("192.168.30.51"), "TCP", 50123, true),
        (Address("192.168.30.51"), "UDP", 990, false),
        (Address("fd00:30::51"), "TCP", 8883, true),
        (Address("203.0.113.9"), "TCP", 80, true),
        (Address("203.0.113.9"), "TCP", 443, true),
        (Address("203.0.113.9"), "TCP", 22, false),
        (Address("2001:db8::9"), "TCP", 443, true),
        (Address("2001:db8::9"), "TCP", 21, false),
        // The metadata of a cloud, what is on the node itself.
        (Address("169.254.169.254"), "TCP", 80, false),
        (Address("127.0.0.1"), "TCP", 80, false),
        (Address("fe80::1"), "TCP", 80, false),
    ];
    assert_allows(&policy("default", &[]), &table);
}

#[test]
fn networks_that_are_named_are_open_and_other_private_ones_are_not() {
    let table = [
        (Address("192.168.30.51"), "TCP", 990, true),
        (Address("192.168.31.51"), "TCP", 990, false),
        (Address("192.168.10.5"), "TCP", 8443, true),
        (Address("fd00:10::5"), "TCP", 8443, true),
        (Address("fd00:11::5"), "TCP", 8443, false),
        (Address("10.96.0.1"), "TCP", 6443, true),
        (Address("10.96.0.1"), "TCP", 443, false),
        (Address("10.96.0.2"), "TCP", 6443, false),
        (Address("8.8.8.8"), "UDP", 53, true),
        (Address("203.0.113.9"), "TCP", 443, true),
        (Address("203.0.113.9"), "TCP", 9000, true),
        (Address("203.0.113.9"), "TCP", 80, false),
        (Address("203.0.113.9"), "TCP", 6443, false),
        (Pod("printernizer", json!({ "app.kubernetes.io/name": "files" })), "TCP", 8443, true),
        (Pod("printernizer", json!({ "app.kubernetes.io/name": "other" })), "TCP", 8443, false),
        (Pod("elsewhere", json!({ "app.kubernetes.io/name": "files" })), "TCP", 8443, false),
    ];
    assert_allows(&policy("everything", &[]), &table);
}

#[test]
fn the_internet_is_closed_only_with_the_api_servers_networks_and_a_user_is_told() {
    let internet = |port, allowed| (Address("203.0.113.9"), "TCP", port, allowed);
    let no_ports = "networkPolicy.internetPorts=[]";
    let networks = r#"networkPolicy.apiServer.networks=["10.96.0.1/32","192.168.1.10/32"]"#;
    let half = policy("default", &["--set-json", no_ports]);
    assert_allows(&half, &[internet(80, false), internet(443, true), internet(6443, true)]);
    let whole = policy("default", &["--set-json", no_ports, "--set-json", networks]);
    assert_allows(&whole, &[internet(80, false), internet(443, false), internet(6443, false)]);
    assert_allows(&whole, &[(Address("192.168.1.10"), "TCP", 6443, true), (Address("10.96.0.1"), "TCP", 443, true)]);

    let told = |more: &[&str]| {
        let mut command = tool(Tool::Helm);
        command.args(["install", "printernizer", "--dry-run=client"]).arg(chart());
        let said = run(command.args(["--set", "image.repository=x"]).args(more)).unwrap();
        said.split_once("NOTES:").unwrap().1.contains("The internet is not closed")
    };
    assert!(!told(&[]), "who has not asked for it is not told");
    assert!(told(&["--set-json", no_ports]));
    assert!(!told(&["--set-json", no_ports, "--set-json", networks]));
    assert!(!told(&["--set-json", no_ports, "--set", "networkPolicy.enabled=false"]));
}

/// What `docs/install.md` says of clusters whose names are resolved elsewhere.
#[test]
fn resolvers_of_other_clusters_are_reached_with_the_values_that_are_documented() {
    let page = read(&project().join("docs/install.md"));
    assert_allows(&policy("default", &[]), &[(Address("169.254.169.254"), "UDP", 53, false)]);
    let value = "networkPolicy.dns: [{ipBlock: {cidr: 169.254.169.254/32}}]";
    assert!(page.contains(value), "{value}");
    let set = r#"networkPolicy.dns=[{"ipBlock":{"cidr":"169.254.169.254/32"}}]"#;
    let table = [
        (Address("169.254.169.254"), "UDP", 53, true),
        (Address("169.254.169.254"), "TCP", 53, true),
        (Address("169.254.169.254"), "TCP", 80, false),
    ];
    assert_allows(&policy("default", &["--set-json", set]), &table);

    let openshift = || Pod("openshift-dns", json!({}));
    assert_allows(&policy("default", &[]), &[(openshift(), "UDP", 5353, false)]);
    let (_, example) = page.split_once("a policy sees the port of the pod:\n\n```yaml\n").unwrap();
    let values = tempfile::Builder::new().suffix(".yaml").tempfile().unwrap();
    std::fs::write(values.path(), example.split_once("```").unwrap().0).unwrap();
    let with = policy("default", &["--values", values.path().to_str().unwrap()]);
    assert_allows(&with, &[(openshift(), "UDP", 5353, true), (openshift(), "UDP", 53, false)]);
}
