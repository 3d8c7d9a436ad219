//! What an account may do, and what it did, both as `verb resource.group/subresource`: the rules of roles against the audit
//! log of the API server.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::Value;

/// What rules of roles allow.
pub fn granted<'a>(rules: impl IntoIterator<Item = &'a Value>) -> BTreeSet<String> {
    let mut rights = BTreeSet::new();
    for rule in rules {
        for (group, resource) in
            words(&rule["apiGroups"]).flat_map(|group| words(&rule["resources"]).map(move |resource| (group, resource)))
        {
            let (resource, subresource) = resource.split_once('/').unwrap_or((resource, ""));
            rights.extend(words(&rule["verbs"]).map(|verb| right(verb, group, resource, subresource)));
        }
    }
    rights
}

/// The requests in an audit log.
pub fn requests(audit: &Path) -> std::io::Result<Vec<Value>> {
    let text = std::fs::read_to_string(audit)?;
    // The last line may be half written.
    Ok(text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect())
}

/// What every account may read that has proven who it is: the role system:discovery of Kubernetes.
const OPEN_TO_ALL: &str = "/openapi/v3";

/// What these requests were for, but what every account may do.
pub fn used<'a>(requests: impl IntoIterator<Item = &'a Value>) -> BTreeSet<String> {
    let of = |object: &'a Value, field: &str| object[field].as_str().unwrap_or_default();
    let is_open = |request: &&'a Value| {
        let uri = of(request, "requestURI");
        of(request, "verb") == "get" && request["objectRef"].is_null() && uri.starts_with(OPEN_TO_ALL)
    };
    let rights = requests.into_iter().filter(|request| !is_open(request)).flat_map(|request| {
        let object = &request["objectRef"];
        let to = |verb: &str| right(verb, of(object, "apiGroup"), of(object, "resource"), of(object, "subresource"));
        let verb = of(request, "verb");
        // What is applied and was not there is created, which is a right of its own.
        let made = verb == "patch" && request["responseStatus"]["code"] == 201;
        [Some(to(verb)), made.then(|| to("create"))]
    });
    rights.flatten().collect()
}

/// Whether every right was used and nothing else asked for.
pub fn compare(granted: &BTreeSet<String>, used: &BTreeSet<String>) -> Result<(), String> {
    let only = |a: &BTreeSet<String>, b: &BTreeSet<String>| a.difference(b).cloned().collect::<Vec<_>>();
    let (never, more) = (only(granted, used), only(used, granted));
    if never.is_empty() && more.is_empty() {
        Ok(())
    } else {
        Err(format!("never used: {never:?}, not granted: {more:?}"))
    }
}

fn words(value: &Value) -> impl Iterator<Item = &str> {
    value.as_array().into_iter().flatten().filter_map(Value::as_str)
}

fn right(verb: &str, group: &str, resource: &str, subresource: &str) -> String {
    format!("{verb} {resource}.{group}/{subresource}")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_right_that_was_not_used_is_told_and_so_is_a_use_without_a_right() {
        let rules = [json!({ "apiGroups": ["", "x.io"], "resources": ["jobs/status"], "verbs": ["get", "update"] })];
        let ask = |verb: &str, group: &str| {
            json!({ "verb": verb,
                "objectRef": { "apiGroup": group, "resource": "jobs", "subresource": "status", "name": "a" } })
        };
        let all = [ask("get", "x.io"), ask("update", "x.io"), ask("get", ""), ask("update", "")];
        assert_eq!(compare(&granted(&rules), &used(&all)), Ok(()));
        let told = compare(&granted(&rules), &used(&all[..3])).unwrap_err();
        assert_eq!(told, r#"never used: ["update jobs./status"], not granted: []"#);
        let told = compare(&granted(&rules), &used(all.iter().chain(&[ask("list", "")]))).unwrap_err();
        assert_eq!(told, r#"never used: [], not granted: ["list jobs./status"]"#);
        // The schema is for all to read; other addresses of the API server are not.
        let read = |verb: &str, uri: &str| json!({ "verb": verb, "requestURI": uri });
        let schema = read("get", "/openapi/v3/apis/x.io/v1?hash=A");
        assert_eq!(compare(&granted(&rules), &used(all.iter().chain(&[schema]))), Ok(()));
        for other in [read("get", "/metrics"), read("post", "/openapi/v3")] {
            assert!(compare(&granted(&rules), &used(all.iter().chain(&[other]))).is_err());
        }
    }
}
