//! Completion in a shell. kubectl runs `kubectl_complete-printernizer` with the words after `kubectl printernizer`, the last of
//! which is to be completed; it answers as cobra's programs do: one candidate in a line, with what it means behind a tab,
//! then a colon and a number that says how to go on.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::io::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Arg, Command, CommandFactory as _};
use kube::ResourceExt as _;
use printernizer_crds::{BackupPolicy, PrintJob, Printer};

use crate::arguments::{Arguments, ClusterArguments};
use crate::cluster::Cluster;
use crate::objects::{Bed, bed, has_ended, part, phase, question};
use crate::output::clean;
use crate::trust::distrust;

/// Longest wait for the API server: whoever presses the key looks on.
const LIMIT: Duration = Duration::from_secs(4);
/// No names of files (cobra's ShellCompDirectiveNoFileComp).
const NO_FILES: u8 = 4;
/// What stands before the words to complete.
const ASKED: &str = "__complete";
/// Names of files (cobra's ShellCompDirectiveDefault).
const FILES: u8 = 0;

/// What stands at the place that is to be completed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// One of these words; each with its meaning.
    Words(Vec<(String, String)>),
    /// The name of a printer whose bed waits.
    Beds,
    /// The name of a job with an open question.
    Questions,
    /// The name of a job that has not ended.
    Jobs,
    /// A job that has not ended, or a printer as `printer/NAME`.
    JobsAndPrinters,
    /// The name of any job.
    AnyJob,
    /// The name of a printer that is not trusted.
    Distrusted,
    /// The name of a backup policy.
    Policies,
    /// Where printers stand.
    Locations,
    /// The name of a file.
    File,
    /// Something only a person knows.
    Nothing,
}

/// The program `kubectl_complete-printernizer`.
pub async fn program() -> ExitCode {
    answer(&texts(std::env::args_os().skip(1))).await
}

/// The words to complete, where the plugin itself is asked: a script in the place of that program has no other to run. This is
/// no command of the command line, which would propose it to people.
pub fn asked(arguments: impl IntoIterator<Item = OsString>) -> Option<Vec<String>> {
    let mut arguments = arguments.into_iter();
    arguments.next().filter(|first| first == ASKED)?;
    Some(texts(arguments))
}

fn texts(words: impl IntoIterator<Item = OsString>) -> Vec<String> {
    words.into_iter().map(|word| word.to_string_lossy().into_owned()).collect()
}

/// Answers with candidates for the last of these words.
pub async fn answer(words: &[String]) -> ExitCode {
    let place = place(words);
    let (candidates, directive) = match &place {
        Place::File => (Vec::new(), FILES),
        Place::Nothing => (Vec::new(), NO_FILES),
        Place::Words(known) => (known.clone(), NO_FILES),
        named => (
            tokio::time::timeout(LIMIT, names(named, &cluster(words))).await.ok().flatten().unwrap_or_default(),
            NO_FILES,
        ),
    };
    let started = words.last().map(String::as_str).unwrap_or_default();
    let text = lines(&candidates, started, words, directive);
    let mut out = std::io::stdout();
    let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    if written.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The answer: candidates that go on from what was typed and were not typed before.
fn lines(candidates: &[(String, String)], started: &str, words: &[String], directive: u8) -> String {
    let before = words.split_last().map_or(&[][..], |(_, before)| before);
    let mut text = String::new();
    for (word, meaning) in candidates.iter().filter(|(word, _)| word.starts_with(started) && !before.contains(word)) {
        // Writing into a String cannot fail.
        let _ =
            if meaning.is_empty() { writeln!(text, "{word}") } else { writeln!(text, "{word}\t{}", clean(meaning)) };
    }
    let _ = writeln!(text, ":{directive}");
    text
}

/// What stands at the place of the last word.
pub fn place(words: &[String]) -> Place {
    let root = Arguments::command();
    let Some((word, before)) = words.split_last() else { return Place::Nothing };
    let mut command = &root;
    let mut chosen = None;
    let mut positionals = 0;
    let mut awaits: Option<&Arg> = None;
    for word in before {
        if awaits.take().is_some() {
            continue;
        }
        if let Some(option) = option(&root, command, word) {
            awaits = Some(option).filter(|arg| arg.get_action().takes_values() && !word.contains('='));
        } else if word.starts_with('-') {
            // Not an option that is known; whatever it is, it names nothing.
        } else if let (None, Some(sub)) = (chosen, root.find_subcommand(word)) {
            (chosen, command) = (Some(sub.get_name()), sub);
        } else {
            positionals += 1;
        }
    }
    if let Some(arg) = awaits {
        return value(arg);
    }
    if word.starts_with('-') {
        return Place::Words(options(&root, command));
    }
    match chosen {
        None => Place::Words(
            root.get_subcommands()
                .map(|c| (c.get_name().to_owned(), c.get_about().map(ToString::to_string).unwrap_or_default()))
                .collect(),
        ),
        Some("clear-bed") => Place::Beds,
        Some("outcome") if positionals == 0 => Place::Questions,
        Some("outcome") if positionals == 1 => {
            command.get_arguments().find(|arg| arg.get_id() == "answer").map_or(Place::Nothing, value)
        }
        Some("pause" | "resume" | "cancel") => Place::Jobs,
        Some("hold" | "release") => Place::JobsAndPrinters,
        Some("acknowledge") => Place::Distrusted,
        Some("backup-now") => Place::Policies,
        Some("restore") if positionals == 0 => Place::Policies,
        Some("why") if positionals == 0 => Place::AnyJob,
        Some(_) => Place::Nothing,
    }
}

/// The option this word is.
fn option<'a>(root: &'a Command, command: &'a Command, word: &str) -> Option<&'a Arg> {
    let all = || command.get_arguments().chain(root.get_arguments());
    if let Some(long) = word.strip_prefix("--") {
        let name = long.split('=').next().unwrap_or_default();
        return all().find(|arg| arg.get_long() == Some(name));
    }
    let mut letters = word.strip_prefix('-')?.chars();
    let letter = letters.next()?;
    // `-nfarm` has its value with it.
    let whole = letters.next().is_none();
    all().find(|arg| arg.get_short() == Some(letter) && (whole || !arg.get_action().takes_values()))
}

fn options(root: &Command, command: &Command) -> Vec<(String, String)> {
    let all = command.get_arguments().chain(root.get_arguments());
    let mut options: Vec<(String, String)> = all
        .filter_map(|arg| {
            Some((format!("--{}", arg.get_long()?), arg.get_help().map(ToString::to_string).unwrap_or_default()))
        })
        .collect();
    options.sort();
    options.dedup_by(|a, b| a.0 == b.0);
    options
}

fn value(arg: &Arg) -> Place {
    let possible = arg.get_possible_values();
    if !possible.is_empty() {
        let word = |v: &clap::builder::PossibleValue| {
            (v.get_name().to_owned(), v.get_help().map(ToString::to_string).unwrap_or_default())
        };
        return Place::Words(possible.iter().map(word).collect());
    }
    match arg.get_id().as_str() {
        "location" => Place::Locations,
        "kubeconfig" | "secret_file" => Place::File,
        _ => Place::Nothing,
    }
}

/// The flags about the cluster among these words, as far as they are whole.
fn cluster(words: &[String]) -> ClusterArguments {
    let mut found = ClusterArguments::default();
    let mut rest = words.iter().map(String::as_str);
    while let Some(word) = rest.next() {
        let (name, with) = word.split_once('=').map_or((word, None), |(name, value)| (name, Some(value)));
        let mut value = || with.map(str::to_owned).or_else(|| rest.next().map(str::to_owned));
        match name {
            "-n" | "--namespace" => found.namespace = value(),
            "--context" => found.context = value(),
            "--cluster" => found.cluster = value(),
            "--user" => found.user = value(),
            "--kubeconfig" => found.kubeconfig = value().map(Into::into),
            "--as" => found.act_as = value(),
            _ => {}
        }
    }
    found
}

/// The names that fit the place, each with a word about it; `None` where the API server does not tell.
async fn names(place: &Place, flags: &ClusterArguments) -> Option<Vec<(String, String)>> {
    let cluster = Cluster::connect(flags).await.ok()?;
    let of_jobs = matches!(place, Place::Questions | Place::Jobs | Place::JobsAndPrinters | Place::AnyJob);
    let of_printers = matches!(place, Place::Beds | Place::Distrusted | Place::Locations | Place::JobsAndPrinters);
    let jobs: Vec<PrintJob> = if of_jobs { cluster.list(false, None).await.ok()? } else { Vec::new() };
    let printers: Vec<Printer> = if of_printers { cluster.list(false, None).await.ok()? } else { Vec::new() };
    if *place == Place::Policies {
        let policies: Vec<BackupPolicy> = cluster.list(false, None).await.ok()?;
        return Some(policies.iter().map(|policy| (policy.name_any(), String::new())).collect());
    }
    Some(candidates(place, &jobs, &printers))
}

/// The names of these objects that fit the place.
fn candidates(place: &Place, jobs: &[PrintJob], printers: &[Printer]) -> Vec<(String, String)> {
    let job = |job: &PrintJob| {
        let phase = phase(job).map(|p| format!("{p:?}, ")).unwrap_or_default();
        (job.name_any(), format!("{phase}{}", part(job)))
    };
    let named = |kept: &dyn Fn(&PrintJob) -> bool| jobs.iter().filter(|j| kept(j)).map(job).collect::<Vec<_>>();
    match place {
        Place::AnyJob => named(&|_| true),
        Place::Questions => named(&|j| question(j).is_some()),
        Place::Jobs => named(&|j| !has_ended(j)),
        Place::JobsAndPrinters => {
            let mut all = named(&|j| !has_ended(j));
            all.extend(printers.iter().map(|p| (format!("printer/{}", p.name_any()), p.spec.model.clone())));
            all
        }
        Place::Beds => printers
            .iter()
            .filter_map(|p| match bed(p) {
                Bed::Waits(on) => Some((p.name_any(), on.what)),
                _ => None,
            })
            .collect(),
        Place::Distrusted => {
            printers.iter().filter_map(|p| Some((p.name_any(), format!("{:?}", distrust(p)?.reason)))).collect()
        }
        Place::Locations => {
            let mut all: Vec<_> =
                printers.iter().filter_map(|p| Some((plain(p.spec.location.as_deref()?)?, String::new()))).collect();
            all.sort();
            all.dedup();
            all
        }
        Place::Words(_) | Place::Policies | Place::File | Place::Nothing => Vec::new(),
    }
}

/// The text, if it is one word that means nothing to any shell: shells do not all quote what they are given.
fn plain(text: &str) -> Option<String> {
    let fits = |c: char| c.is_alphanumeric() || "-_.".contains(c);
    (text.chars().all(fits) && !text.starts_with('-')).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::objects::testing::{job, occupied, printer};

    fn at(line: &str) -> Place {
        place(&line.split(' ').map(str::to_owned).collect::<Vec<_>>())
    }

    fn words(place: Place) -> Vec<String> {
        match place {
            Place::Words(words) => words.into_iter().map(|(word, _)| word).collect(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_completion_asks_the_plugin_is_no_command_that_is_proposed_to_people() {
        let asked = |line: &str| super::asked(line.split(' ').map(OsString::from));
        assert_eq!(asked("__complete why -n farm "), Some(["why", "-n", "farm", ""].map(str::to_owned).to_vec()));
        assert_eq!(asked("why __complete"), None);
        let said = Arguments::command().try_get_matches_from(["kubectl printernizer", "complete"]).unwrap_err();
        assert!(!said.to_string().contains(ASKED), "{said}");
    }

    #[test]
    fn each_place_of_a_command_line_is_known() {
        for (line, expected) in [
            ("clear-bed ", Place::Beds),
            ("clear-bed a1 pru", Place::Beds),
            ("-n farm clear-bed ", Place::Beds),
            ("clear-bed -n farm ", Place::Beds),
            ("clear-bed --location ", Place::Locations),
            ("--kubeconfig ", Place::File),
            ("add-printer --secret-file ", Place::File),
            ("add-printer ", Place::Nothing),
            ("outcome ", Place::Questions),
            ("pause a b ", Place::Jobs),
            ("hold ", Place::JobsAndPrinters),
            ("why ", Place::AnyJob),
            ("why clip ", Place::Nothing),
            ("acknowledge ", Place::Distrusted),
            ("backup-now a ", Place::Policies),
            ("restore --list ", Place::Policies),
            ("restore shop --volume ", Place::Nothing),
            ("backups ", Place::Nothing),
            ("status -n ", Place::Nothing),
        ] {
            assert_eq!(at(line), expected, "{line:?}");
        }
        assert!(words(at("")).contains(&"clear-bed".to_owned()));
        assert_eq!(words(at("outcome clip ")), ["succeeded", "failed", "not-printed"]);
        assert_eq!(words(at("outcome --yes clip -n farm ")), ["succeeded", "failed", "not-printed"]);
        assert_eq!(words(at("status -o ")), ["wide", "name", "json", "yaml"]);
        let flags = words(at("clear-bed --"));
        for flag in ["--all", "--location", "--yes", "--namespace", "--context"] {
            assert!(flags.contains(&flag.to_owned()), "{flags:?}");
        }
    }

    #[test]
    fn names_are_those_for_which_the_command_does_something() {
        let doubt = json!({ "status": { "question": { "id": "1", "reason": "X", "shown": { "state": "Idle" } } } });
        let jobs = [
            job("asked", "AttentionNeeded", doubt, &[("OutcomeUnknown", "True", "X", "?")]),
            job("done", "Succeeded", json!({}), &[]),
            job("runs", "Printing", json!({}), &[]),
        ];
        let mut printers = [printer("a1", json!({}), &[]), occupied("a2", "PartOnBed", json!({ "job": "done" }))];
        printers[0].spec.location = Some("shelf".into());
        let named = |place| candidates(&place, &jobs, &printers).into_iter().map(|(name, _)| name).collect::<Vec<_>>();
        assert_eq!(named(Place::Questions), ["asked"]);
        assert_eq!(named(Place::Jobs), ["asked", "runs"]);
        assert_eq!(named(Place::AnyJob), ["asked", "done", "runs"]);
        assert_eq!(named(Place::Beds), ["a2"]);
        assert_eq!(named(Place::JobsAndPrinters), ["asked", "runs", "printer/a1", "printer/a2"]);
        assert_eq!(named(Place::Locations), ["shelf"]);
        assert_eq!(named(Place::Distrusted), [""; 0]);
    }

    #[test]
    fn no_location_that_a_shell_would_act_on_is_offered() {
        let at = |location: &str| {
            let mut one = printer("a1", json!({}), &[]);
            one.spec.location = Some(location.to_owned());
            candidates(&Place::Locations, &[], &[one])
        };
        assert_eq!(at("Küche-3.1").len(), 1);
        for location in ["$(reboot)", "a;b", "a b", "`a`", "--yes", "a\nb", "a'b", "a\u{202e}b"] {
            assert_eq!(at(location), [], "{location}");
        }
    }

    #[test]
    fn the_answer_is_written_as_kubectl_reads_it() {
        let candidates = [
            ("a1".to_owned(), "\"Clip\"\n".to_owned()),
            ("a2".to_owned(), String::new()),
            ("b".to_owned(), String::new()),
        ];
        let words = ["clear-bed", "a2", "a"].map(str::to_owned);
        assert_eq!(lines(&candidates, "a", &words, NO_FILES), "a1\t\"Clip\"\n:4\n");
        assert_eq!(lines(&[], "", &[], FILES), ":0\n");
    }

    #[test]
    fn flags_about_the_cluster_are_heeded() {
        let words = ["clear-bed", "--context=office", "-n", "farm", ""].map(str::to_owned);
        let found = cluster(&words);
        assert_eq!((found.context.as_deref(), found.namespace.as_deref()), (Some("office"), Some("farm")));
    }
}
