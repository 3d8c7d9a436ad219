//! Names of writes, such that the same step of a job's life has the same name in every run: kind and name of the
//! object, and the essence of what is written. Paths of the API server follow Kubernetes' conventions; those of a
//! printer are PrusaLink's v1.

use hyper::Method;
use serde_json::Value;

/// Kinds whose writes bear no decision of the farm.
const NOT_COUNTED: [&str; 2] = ["events", "leases"];
/// How many objects a watch asks for in one page of its first list.
pub(super) const WATCH_PAGE: u32 = 100;
/// Kinds whose objects have names that differ from run to run.
const NAMED_ANEW: [&str; 1] = ["printrecords"];

/// What a path of the API server is about: `printjobs/clip-1/status`, and its kind.
fn place(path: &str) -> (&str, String) {
    let path = path.split('?').next().unwrap_or_default().trim_matches('/');
    let place = path.split_once("namespaces/").and_then(|(_, rest)| rest.split_once('/')).map_or(path, |(_, r)| r);
    let mut parts = place.splitn(3, '/');
    let kind = parts.next().unwrap_or_default();
    let mut name = kind.to_owned();
    if let Some(object) = parts.next().filter(|_| !NAMED_ANEW.contains(&kind)) {
        name.push('/');
        name.push_str(object);
    }
    if let Some(subresource) = parts.next() {
        name.push('/');
        name.push_str(subresource);
    }
    (kind, name)
}

/// The name of a write to the API server, and the status it writes, if it does; `None` for a read and for what is not
/// counted as a write.
pub(super) fn of_api_write(method: &Method, path: &str, body: &[u8]) -> Option<(String, Option<Value>)> {
    let (kind, place) = place(path);
    if !is_write(method) || NOT_COUNTED.contains(&kind) {
        return None;
    }
    let mut name = format!("{method} {place}");
    let Ok(mut body) = serde_json::from_slice::<Value>(body) else { return Some((name, None)) };
    name.push_str(&essence(kind, &body));
    Some((name, body.get_mut("status").map(Value::take).filter(Value::is_object)))
}

/// The name of anything else that the API server is asked: a read, or a write that bears no decision of the farm. Lists
/// of watches have pages of another size than the operator's quorum reads, and are told apart by that.
pub(super) fn of_api_read(method: &Method, path: &str) -> String {
    let query = path.split_once('?').map_or("", |(_, query)| query);
    let parameter = |name: &str| query.split('&').find_map(|p| p.strip_prefix(name)?.strip_prefix('='));
    let (kind, place) = place(path);
    if method != Method::GET {
        return format!("{method} {place}");
    }
    match (parameter("watch"), parameter("limit")) {
        (Some("true" | "1"), _) => format!("WATCH {place}"),
        (_, Some(limit)) => format!("LIST {place} by {limit}"),
        _ if kind == place => format!("LIST {place}"),
        _ => format!("GET {place}"),
    }
}

/// The kind of the list a watch begins with, if the request is for one.
pub(super) fn kind_of_first_list(name: &str) -> Option<&str> {
    name.strip_prefix("LIST ")?.strip_suffix(&format!(" by {WATCH_PAGE}"))
}

/// What a write says, in a few words.
fn essence(kind: &str, body: &Value) -> String {
    let mut words = String::new();
    let mut say = |what: &str| {
        words.push(' ');
        words.push_str(what);
    };
    let status = &body["status"];
    match kind {
        "printjobs" if status.is_object() => {
            say(status["phase"].as_str().unwrap_or("without phase"));
            for (field, word) in
                [("printer", "claim"), ("upload", "upload"), ("start", "intent"), ("question", "question")]
            {
                if !status[field].is_null() {
                    say(word);
                }
            }
        }
        "printers" if status.is_object() => {
            say(status["state"].as_str().unwrap_or("without state"));
            if !status["currentJob"].is_null() {
                say("claim");
            }
            match (&status["lastStart"], status["lastStart"]["verdict"].as_str()) {
                (Value::Null, _) => {}
                (_, None) => say("intent"),
                (_, Some(verdict)) => say(verdict),
            }
            match (&status["bed"], &status["bed"]["occupancyID"]) {
                (Value::Null, _) => {}
                (_, Value::Null) => say("clear"),
                _ => say("occupied"),
            }
        }
        _ => {}
    }
    if let Some(finalizers) = body["metadata"]["finalizers"].as_array().filter(|_| !status.is_object()) {
        say(if finalizers.is_empty() { "without finalizer" } else { "with finalizer" });
    }
    words
}

/// The name of a request that makes a printer do something; `None` for a read.
pub(super) fn of_device_write(printer: &str, method: &Method, path: &str) -> Option<String> {
    if !is_write(method) {
        return None;
    }
    let parts: Vec<&str> = path.split('?').next().unwrap_or_default().trim_matches('/').split('/').collect();
    let what = match (method, parts.as_slice()) {
        // An unknown sub-command of a job asks which job was last and changes nothing.
        (&Method::PUT, ["api", "v1", "job", _, command]) if !["pause", "resume", "continue"].contains(command) => {
            return None;
        }
        (_, ["api", "v1", "job", _, command]) => format!("{method} job {command}"),
        (_, ["api", "v1", "job", ..]) => format!("{method} job"),
        (&Method::POST, ["api", "v1", "files", ..]) => "POST start".to_owned(),
        (_, ["api", "v1", "files", ..]) => format!("{method} file"),
        _ => format!("{method} {}", parts.join("/")),
    };
    Some(format!("{printer} {what}"))
}

/// The name of a command to a Bambu printer: files are named by what is told by their names, not by the job's token.
pub(super) fn of_bambu_command(printer: &str, command: &str) -> String {
    let Some((verb, file)) = command.split_once(' ') else { return format!("{printer} {command}") };
    let file = file.trim_start_matches('/');
    let which = match (file.starts_with("up-"), file.rsplit('.').next() == Some("part")) {
        (true, _) => "unproven file",
        (false, true) => "unnamed file",
        (false, false) => "file",
    };
    format!("{printer} {verb} {which}")
}

fn is_write(method: &Method) -> bool {
    [Method::POST, Method::PUT, Method::PATCH, Method::DELETE].contains(method)
}
