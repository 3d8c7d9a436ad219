//! The chart renders what is committed, for every values file of `charts/printernizer/ci`, and so does what is made from
//! it: the base of the overlays, the README. Whoever changes a template sees in the difference what a user will get.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests are tests")]

mod manifests;

use std::collections::BTreeMap;

use manifests::{assert_file, chart, kustomize, objects, read, release, run, template, the, tool, values};
use printernizer_e2e::farm::project;
use printernizer_e2e::tools::Tool;
use serde_json::{Value, json};

/// Documents of definitions without what they define, and dashboards without what they show: both are in files of their
/// own, and compared by tests of their own.
fn without_definitions(rendered: &str) -> String {
    let short = |document: &str| match document.split_once("\nspec:\n") {
        Some((before, _)) if document.contains("\nkind: CustomResourceDefinition\n") => {
            format!("{before}\nspec: {{}} # that of crds/manifests\n")
        }
        _ if document.contains("# Source: printernizer/templates/dashboards.yaml\n") => {
            let before = document.split_once("\ndata:\n").map_or(document, |(before, _)| before);
            format!("{before}\ndata: {{}} # those of files/dashboards\n")
        }
        _ => document.to_owned(),
    };
    rendered.split("---\n").map(short).collect::<Vec<_>>().join("---\n")
}

#[test]
fn every_values_file_renders_what_is_committed() {
    for (name, path) in values() {
        let rendered = template(Some(&path), &[]).unwrap();
        assert_file(&chart().join(format!("ci/golden/{name}.yaml")), &without_definitions(&rendered));
    }
    let committed = std::fs::read_dir(chart().join("ci/golden")).unwrap();
    assert_eq!(committed.count(), values().len(), "a file that no values file makes any more must go");
}

#[test]
fn the_base_of_the_overlays_is_made_from_the_chart() {
    let rendered = template(Some(&project().join("deploy/kustomize/values.yaml")), &[]).unwrap();
    let of_helm = ["# Source: ", "helm.sh/chart: ", "app.kubernetes.io/managed-by: "];
    let kept: Vec<&str> = rendered.lines().filter(|line| !of_helm.iter().any(|h| line.trim().starts_with(h))).collect();
    let header = "# Made from charts/printernizer, see docs/testing.md. Do not edit.\n";
    assert_file(&project().join("deploy/kustomize/base/operator.yaml"), &format!("{header}{}\n", kept.join("\n")));
}

#[test]
fn the_definitions_of_the_chart_are_those_of_the_code() {
    let rendered = objects(&template(None, &["--set", "image.repository=x"]).unwrap());
    let definitions: Vec<&Value> = rendered.iter().filter(|o| o["kind"] == "CustomResourceDefinition").collect();
    assert_eq!(definitions.len(), 4);
    for definition in definitions {
        let name = definition["spec"]["names"]["plural"].as_str().unwrap();
        let code = objects(&read(&project().join(format!("crds/manifests/{name}.yaml"))));
        assert_eq!(definition["spec"], code[0]["spec"], "{name}");
        assert_eq!(definition["metadata"]["annotations"], json!({ "helm.sh/resource-policy": "keep" }), "{name}");
    }
}

#[test]
fn what_is_uninstalled_takes_the_definitions_along_only_if_asked() {
    let rendered = objects(&template(None, &["--set", "image.repository=x", "--set", "crds.keep=false"]).unwrap());
    assert_eq!(rendered.iter().filter(|o| o["kind"] == "CustomResourceDefinition").count(), 4);
    assert!(!rendered.iter().any(|o| o["metadata"]["annotations"]["helm.sh/resource-policy"].is_string()));
}

#[test]
fn a_release_without_an_image_is_told_what_to_give() {
    let said = template(None, &[]).unwrap_err();
    assert!(said.contains("image.repository must be given"), "{said}");
}

#[test]
fn the_values_of_the_examples_for_gitops_are_ones_the_chart_knows() {
    let folder = tempfile::TempDir::new().unwrap();
    for (file, kind, at) in [
        ("argocd/application-operator.yaml", "Application", "/spec/source/helm/valuesObject"),
        ("flux/operator.yaml", "HelmRelease", "/spec/values"),
    ] {
        let example = objects(&read(&project().join("deploy").join(file)));
        let values = example.iter().find(|o| o["kind"] == kind).unwrap().pointer(at).unwrap();
        let path = folder.path().join("values.json");
        std::fs::write(&path, values.to_string()).unwrap();
        let rendered = template(Some(&path), &[]).unwrap_or_else(|said| panic!("{file}: {said}"));
        assert!(rendered.contains("--printer-networks=192.168.30.0/24"), "{file}");
    }
}

#[test]
fn a_value_that_does_not_exist_or_cannot_be_is_refused_by_name() {
    let refused = [
        ("replicas=3", "replicas"),
        ("cache.size=10Gi", "size"),
        ("printerNetworks[0]=192.168.30.x", "printerNetworks"),
        ("sourceNetworks[0]=192.168.300.0/24", "sourceNetworks"),
        ("networkPolicy.apiServer.networks[0]=fd00::/129", "networks"),
        ("podDisruptionBudget.maxUnavailable=0%", "maxUnavailable"),
        ("extraEnv[0].name=RUST_LOG", "extraEnv"),
        ("fullnameOverride=3d-farm", "fullnameOverride"),
        ("watchNamespaces[0]=a,watchNamespaces[1]=a", "watchNamespaces"),
        ("watchNamespaces[0]=A", "watchNamespaces"),
        ("log.format=xml", "format"),
        ("uploads=0", "uploads"),
        ("metrics.prometheusRule.overrides.PrinternizerPanics.for=soon", "for"),
        ("metrics.prometheusRule.overrides.PrinternizerPanics.level=info", "level"),
        ("metrics.prometheusRule.runbookURL=runbooks", "runbookURL"),
        ("metrics.prometheusRule.selector={job=\"farm\"}", "selector"),
        ("metrics.prometheusRule.selector=farm", "selector"),
    ];
    for (value, named) in refused {
        let said = template(None, &["--set", "image.repository=x", "--set", value]).unwrap_err();
        assert!(said.contains("schema") && said.contains(named), "{value}: {said}");
    }
    let said = template(
        None,
        &["--set", "image.repository=x,metrics.service.enabled=false,metrics.serviceMonitor.enabled=true"],
    );
    assert!(said.unwrap_err().contains("metrics.serviceMonitor.enabled needs metrics.service.enabled"));
}

#[test]
fn a_chart_that_has_this_one_as_a_dependency_may_have_a_condition_for_it() {
    template(None, &["--set", "image.repository=x,enabled=true"]).unwrap();
}

#[test]
fn a_release_whose_name_cannot_be_that_of_a_service_is_told_what_to_give() {
    let said = release("3d-farm", None, &["--set", "image.repository=x"]).unwrap_err();
    assert!(said.contains("3d-farm-printernizer") && said.contains("fullnameOverride"), "{said}");
    release("3d-farm", None, &["--set", "image.repository=x,fullnameOverride=farm"]).unwrap();
}

#[test]
fn labels_are_texts_whatever_the_release_is_called() {
    let rendered = release("1e3", None, &["--set", "image.repository=x,fullnameOverride=farm"]).unwrap();
    for object in objects(&rendered) {
        assert_eq!(object["metadata"]["labels"]["app.kubernetes.io/instance"], "1e3", "{object}");
    }
}

#[test]
fn labels_of_the_user_never_replace_those_the_pods_are_selected_by() {
    for (name, path) in values() {
        let rendered = objects(&template(Some(&path), &[]).unwrap());
        let deployment = &the(&rendered, "Deployment")["spec"];
        for (label, value) in deployment["selector"]["matchLabels"].as_object().unwrap() {
            assert_eq!(&deployment["template"]["metadata"]["labels"][label], value, "{name}: {label}");
        }
    }
}

#[test]
fn a_second_release_in_the_same_namespace_wants_what_the_first_one_owns() {
    let lease = |name: &str| {
        let rendered = release(name, None, &["--set", "image.repository=x,watchNamespaces[0]=farm"]).unwrap();
        let mut own = objects(&rendered);
        own.retain(|object| object["metadata"]["namespace"] == "printernizer");
        ["Role", "RoleBinding"].map(|kind| the(&own, kind)["metadata"]["name"].clone())
    };
    assert_eq!(lease("printernizer-a"), lease("printernizer-b"));
}

/// The rules of a role, of which there is at least one.
fn rules(role: &Value) -> &Value {
    assert!(role["rules"].as_array().is_some_and(|rules| !rules.is_empty()), "{role}");
    &role["rules"]
}

#[test]
fn the_rights_of_the_chart_are_those_of_the_example_which_a_whole_print_is_run_with() {
    let example = objects(&read(&project().join("examples/operator/rbac.yaml")));
    let of = |objects: &[Value], name: &str| {
        let named = objects.iter().filter(|o| o["metadata"]["name"] == name && o["rules"].is_array());
        // One of each namespace, or one of all.
        let mut roles: Vec<_> = named.map(|role| rules(role).clone()).collect();
        roles.dedup();
        assert_eq!(roles.len(), 1, "{name}");
        roles.remove(0)
    };
    for values in ["default", "one-namespace", "two-namespaces"] {
        let values_file = chart().join(format!("ci/{values}-values.yaml"));
        let rendered = objects(&template(Some(&values_file), &["--set", "backup.image.repository=x"]).unwrap());
        for name in ["printernizer", "printernizer-leader"] {
            assert_eq!(of(&rendered, name), of(&example, name), "{values}: {name}");
        }
        // Whoever may make pods, accounts and roles can read every Secret; and of others' pods nothing is read for nothing.
        let without = of(&objects(&template(Some(&values_file), &[]).unwrap()), "printernizer");
        let (all, without) = (of(&example, "printernizer"), without.as_array().unwrap().clone());
        let more = all.as_array().unwrap().iter().filter(|rule| !without.contains(rule));
        let more: Vec<String> = more.map(|rule| format!("{} {}", rule["verbs"], rule["resources"])).collect();
        assert_eq!(
            more,
            [
                r#"["get","list","watch"] ["cronjobs"]"#,
                r#"["list","watch"] ["jobs"]"#,
                r#"["list","watch"] ["pods"]"#,
                r#"["get"] ["persistentvolumeclaims"]"#,
                r#"["create","patch","delete"] ["cronjobs"]"#,
                r#"["create"] ["jobs"]"#,
                r#"["get","create","patch"] ["serviceaccounts"]"#,
                r#"["get","create","patch"] ["roles","rolebindings"]"#,
            ],
            "{values}: only with an image for backups"
        );
    }
}

#[test]
fn a_list_of_namespaces_that_is_taken_back_means_all_of_them() {
    // As somebody types who had a list before; what is told after an installation is made of it, too.
    let rendered = template(None, &["--set", "image.repository=x", "--set", "watchNamespaces=null"]).unwrap();
    let rendered = objects(&rendered);
    assert!(rendered.iter().any(|object| object["kind"] == "ClusterRoleBinding"));
    let operator = the(&rendered, "Deployment").to_string();
    assert!(!operator.contains("--namespace="), "{operator}");
}

#[test]
fn in_named_namespaces_the_operator_has_no_right_anywhere_else() {
    for (values, namespaces) in [("one-namespace", &["farm"][..]), ("two-namespaces", &["laboratory", "workshop"])] {
        let rendered = objects(&template(Some(&chart().join(format!("ci/{values}-values.yaml"))), &[]).unwrap());
        assert!(rendered.iter().all(|object| object["kind"] != "ClusterRoleBinding"));
        let text = |v: &Value| v.as_str().unwrap().to_owned();
        let given = |kind: &str| {
            let of_kind = rendered.iter().filter(|object| object["kind"] == kind);
            let named = of_kind.map(|o| [&o["metadata"]["name"], &o["metadata"]["namespace"]].map(text));
            named.collect::<std::collections::BTreeSet<_>>()
        };
        let work = namespaces.iter().map(|namespace| ["printernizer", *namespace]);
        let expected = work.chain([["printernizer-leader", "printernizer"]]).map(|of| of.map(str::to_owned)).collect();
        assert_eq!(given("Role"), expected);
        assert_eq!(given("RoleBinding"), expected);
        for binding in rendered.iter().filter(|object| object["kind"] == "RoleBinding") {
            assert_eq!(
                (&binding["roleRef"]["kind"], &binding["roleRef"]["name"]),
                (&json!("Role"), &binding["metadata"]["name"])
            );
        }
        let operator = the(&rendered, "Deployment")["spec"]["template"]["spec"]["containers"][0].clone();
        let arguments = operator["args"].as_array().unwrap().iter().filter_map(Value::as_str);
        let asked = arguments.filter_map(|a| a.strip_prefix("--namespace=")).flat_map(|list| list.split(','));
        let mut asked: Vec<&str> = asked.collect();
        asked.sort_unstable();
        assert_eq!(asked, namespaces, "{operator}");
    }
}

#[test]
fn secrets_are_read_one_by_one_and_never_listed() {
    for (name, path) in values() {
        for role in objects(&template(Some(&path), &[]).unwrap()).iter().filter(|o| o["rules"].is_array()) {
            for rule in rules(role).as_array().unwrap() {
                let all = ["apiGroups", "resources", "verbs"].iter().any(|field| rule[field].to_string().contains('*'));
                assert!(!all, "{name}: {rule}");
                if rule["resources"].to_string().contains("secrets") {
                    assert_eq!((&rule["resources"], &rule["verbs"]), (&json!(["secrets"]), &json!(["get"])), "{name}");
                }
            }
        }
    }
}

#[test]
fn every_overlay_runs_as_many_operators_as_it_says_with_the_image_it_names() {
    let expected = BTreeMap::from([("dev", (1, "dev")), ("production", (2, "0.1.0")), ("staging", (1, "0.1.0"))]);
    let folders = std::fs::read_dir(project().join("deploy/kustomize/overlays")).unwrap();
    assert_eq!(folders.count(), expected.len());
    for (name, (replicas, tag)) in expected {
        let built = objects(&kustomize(&format!("deploy/kustomize/overlays/{name}")).unwrap());
        let deployment = &the(&built, "Deployment")["spec"];
        assert_eq!(deployment["replicas"], replicas, "{name}");
        let operator = &deployment["template"]["spec"]["containers"][0];
        assert_eq!(operator["image"], format!("registry.example.com/printernizer:{tag}"), "{name}");
        let budgets = built.iter().filter(|o| o["kind"] == "PodDisruptionBudget").count();
        assert_eq!(budgets, usize::from(replicas > 1), "{name}");
        assert!(
            !built.iter().any(|o| o["kind"] == "CustomResourceDefinition"),
            "{name}: deleting it would delete the farm"
        );
        for object in &built {
            let cluster_wide = ["Namespace", "ClusterRole", "ClusterRoleBinding"].iter().any(|k| object["kind"] == *k);
            assert!(cluster_wide || object["metadata"]["namespace"] == "printernizer", "{name}: {object}");
        }
    }
    let built = objects(&kustomize("deploy/kustomize/overlays/production").unwrap());
    let arguments = &the(&built, "Deployment")["spec"]["template"]["spec"]["containers"][0]["args"];
    assert!(arguments.to_string().contains("--printer-networks=192.168.30.0/24"), "{arguments}");
    let printers = &the(&built, "NetworkPolicy")["spec"]["egress"][2]["to"];
    assert_eq!(printers, &json!([{ "ipBlock": { "cidr": "192.168.30.0/24" } }]));
}

#[test]
fn the_definitions_can_be_applied_as_one_folder() {
    let built = objects(&kustomize("crds/manifests").unwrap());
    assert_eq!(built.len(), 4);
}

#[test]
fn the_readme_lists_the_values_as_they_are() {
    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path().join("printernizer");
    std::fs::create_dir(&copy).unwrap();
    for file in ["Chart.yaml", "values.yaml", "README.md.gotmpl"] {
        std::fs::copy(chart().join(file), copy.join(file)).unwrap();
    }
    run(tool(Tool::HelmDocs).arg("--chart-search-root").arg(folder.path()).args(["--sort-values-order", "file"]))
        .unwrap();
    assert_file(&chart().join("README.md"), &read(&copy.join("README.md")));
}

#[test]
fn the_chart_has_the_version_of_the_program() {
    let chart = &objects(&read(&chart().join("Chart.yaml")))[0];
    assert_eq!(chart["appVersion"], env!("CARGO_PKG_VERSION"));
}
