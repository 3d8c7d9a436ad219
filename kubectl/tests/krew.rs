//! The manifest for krew, filled in as a release does it: what krew asks of a plugin.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests are tests")]

use printernizer_e2e::farm::project;
use serde_json::Value;

#[test]
fn the_krew_manifest_names_this_program_and_an_archive_for_each_platform() {
    let mut text = std::fs::read_to_string(project().join("deploy/krew/printernizer.yaml")).unwrap();
    for (variable, value) in [
        ("REPOSITORY", "https://example.com/print/farm"),
        ("VERSION", "v1.2.3"),
        ("SHA256_LINUX_AMD64", &"a".repeat(64)),
        ("SHA256_LINUX_ARM64", &"b".repeat(64)),
        ("SHA256_DARWIN_AMD64", &"c".repeat(64)),
        ("SHA256_DARWIN_ARM64", &"d".repeat(64)),
    ] {
        assert!(text.contains(&format!("${{{variable}}}")), "{variable}");
        text = text.replace(&format!("${{{variable}}}"), value);
    }
    assert!(!text.contains("${"), "a release would leave something open");
    let manifest: Value = serde_saphyr::from_str(&text).unwrap();
    assert_eq!(manifest["apiVersion"], "krew.googlecontainertools.github.com/v1alpha2");
    assert_eq!((&manifest["kind"], &manifest["metadata"]["name"]), (&"Plugin".into(), &"printernizer".into()));
    assert_eq!(manifest["spec"]["version"], "v1.2.3");
    assert!(manifest["spec"]["shortDescription"].as_str().unwrap().len() < 50);
    let platforms = manifest["spec"]["platforms"].as_array().unwrap();
    let release = std::fs::read_to_string(project().join(".github/workflows/release.yml")).unwrap();
    let mut sums = std::collections::BTreeSet::new();
    for platform in platforms {
        let [os, arch] = ["os", "arch"].map(|label| platform["selector"]["matchLabels"][label].as_str().unwrap());
        assert!(platform["uri"].as_str().unwrap().ends_with(&format!("_{os}_{arch}.tar.gz")), "{platform}");
        assert!(release.contains(&format!("{{platform: {os}_{arch}, runner: ")), "no release builds {os} {arch}");
        assert!(sums.insert(platform["sha256"].as_str().unwrap()), "{platform}");
        assert_eq!(platform["sha256"].as_str().unwrap().len(), 64);
        assert_eq!(platform["bin"], "kubectl-printernizer");
    }
    assert_eq!((platforms.len(), release.matches("{platform: ").count()), (4, 4));
}
