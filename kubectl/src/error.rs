//! Why a command did not do what was asked, in words that say what to do next; and the program's exit code for it.

use std::io;
use std::time::Duration;

use kube::config::KubeconfigError;
use thiserror::Error;

use crate::output::clean;

/// Whatever ends a command.
#[derive(Debug, Error)]
pub enum Error {
    /// The kubeconfig cannot be read, or has not what was named.
    #[error("the kubeconfig cannot be used; check --kubeconfig, --context and the variable KUBECONFIG")]
    Kubeconfig(#[source] KubeconfigError),
    /// From the kubeconfig no client can be made.
    #[error("no connection can be made as the kubeconfig says")]
    Client(#[source] Box<kube::Error>),
    /// The API server does not answer.
    #[error(
        "cannot {doing}: {server} does not answer; check the network and --context, `kubectl cluster-info` tells more"
    )]
    Unreachable {
        /// What was to be done.
        doing: String,
        /// Address of the API server.
        server: String,
        /// What the client saw.
        #[source]
        source: Box<kube::Error>,
    },
    /// The API server did not answer in time.
    #[error("cannot {doing}: {server} has not answered within {} s; try again, or give it longer with --request-timeout", .limit.as_secs())]
    Silent {
        /// What was to be done.
        doing: String,
        /// Address of the API server.
        server: String,
        /// How long it was waited for.
        limit: Duration,
    },
    /// The API server does not know who asks.
    #[error("cannot {doing}: the API server does not accept your credentials ({message}); log in again")]
    Unauthorized {
        /// What was to be done.
        doing: String,
        /// The API server's words.
        message: String,
    },
    /// The person may not do this.
    #[error(
        "cannot {doing}: you have no right to ({message}); the role `view` lets you look and `edit` lets you write, bound in the \
         namespace, or for all of them in the cluster: ask whoever runs it"
    )]
    Forbidden {
        /// What was to be done.
        doing: String,
        /// The API server's words.
        message: String,
    },
    /// The kinds do not exist in this cluster.
    #[error(
        "cannot {doing}: this cluster does not know printers and jobs; install the operator and its definitions, or choose \
         another --context"
    )]
    NotInstalled {
        /// What was to be done.
        doing: String,
    },
    /// There is no object of this name.
    #[error("there is no {kind} {name} in namespace {namespace}{others}")]
    NotFound {
        /// Kind of the object, as people say it.
        kind: &'static str,
        /// Name that was given.
        name: String,
        /// Where it was looked for.
        namespace: String,
        /// What there is instead, as the rest of the sentence.
        others: String,
    },
    /// There is an object of this name already.
    #[error("cannot {doing}: there is one of this name already")]
    Exists {
        /// What was to be done.
        doing: String,
    },
    /// The API server does not take what was to be written.
    #[error("cannot {doing}: {message}")]
    Invalid {
        /// What was to be done.
        doing: String,
        /// The API server's words.
        message: String,
    },
    /// Others write the same object all the time.
    #[error("cannot {doing}: it is being changed by others again and again; try again")]
    Contended {
        /// What was to be done.
        doing: String,
    },
    /// Any other answer of the API server.
    #[error("cannot {doing}")]
    Api {
        /// What was to be done.
        doing: String,
        /// What the client saw.
        #[source]
        source: Box<kube::Error>,
    },
    /// Things are not so that this could be done, or not any more. Nothing was written.
    #[error("{0}")]
    NotNow(String),
    /// What was given does not go together. Nothing was written.
    #[error("{0}")]
    Usage(String),
    /// A printer cannot be used.
    #[error("{0}; --no-probe adds it all the same")]
    Probe(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// A Printer was not written, or nobody knows; its Secret was, and is there still.
    #[error("{}; the Secret {secret} was written before: {left}", .source.chain())]
    SecretLeft {
        /// Name of the Secret.
        secret: String,
        /// Why it is there still, and what to do.
        left: String,
        /// What came of writing the Printer.
        #[source]
        source: Box<Error>,
    },
    /// An object cannot be watched.
    #[error("the printer cannot be watched")]
    Watch(#[source] Box<kube::runtime::wait::Error>),
    /// An object cannot be watched.
    #[error("{what} cannot be watched, so its end is not seen")]
    Unwatched {
        /// What was to be watched.
        what: String,
        /// Why.
        #[source]
        source: Box<kube::runtime::watcher::Error>,
    },
    /// What was begun did not come to a good end, or not in time.
    #[error("{0}")]
    Unfinished(String),
    /// A person's answer cannot be read.
    #[error("your answer cannot be read")]
    Input(#[source] io::Error),
    /// A file with a secret cannot be read.
    #[error("{file} cannot be read")]
    SecretFile {
        /// The file as it was named.
        file: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The answer cannot be written.
    #[error("the answer cannot be written")]
    Output(#[from] io::Error),
    /// The answer cannot be written in this form.
    #[error("the answer cannot be written as {0}")]
    Form(&'static str, #[source] Box<dyn std::error::Error + Send + Sync>),
    /// Each was told where it happened; how many.
    #[error("{failed} of {all} were not done")]
    Some {
        /// How many were not done.
        failed: usize,
        /// How many there are in all.
        all: usize,
        /// The exit code that fits all of them.
        code: u8,
    },
}

/// Something could not be done.
pub const FAILED: u8 = 1;
/// The command was not understood.
pub const USAGE: u8 = 2;
/// It was understood, but things are not, or no longer, so that it could be done; nothing was written.
pub const NOT_NOW: u8 = 3;

impl Error {
    /// The program's exit code.
    pub fn code(&self) -> u8 {
        match self {
            Self::Usage(_) => USAGE,
            Self::NotNow(_) => NOT_NOW,
            Self::Some { code, .. } => *code,
            _ => FAILED,
        }
    }

    /// Whether it says nothing that was not said already: of one thing alone, why it was not done.
    pub fn was_told(&self) -> bool {
        matches!(self, Self::Some { all: 1, .. })
    }

    /// Whether the API server has said no: what was to be done was not done, and will not be. After any other failure it
    /// may have been done, or be done yet.
    pub fn is_refusal(&self) -> bool {
        match self {
            Self::Unauthorized { .. }
            | Self::Forbidden { .. }
            | Self::NotInstalled { .. }
            | Self::Exists { .. }
            | Self::Invalid { .. } => true,
            Self::Api { source, .. } => match source.as_ref() {
                // 408 says that time was over, not what happened in it.
                kube::Error::Api(status) => (400..500).contains(&status.code) && status.code != 408,
                _ => false,
            },
            _ => false,
        }
    }

    /// The error and its causes in one line, which commands no terminal. What a cause only repeats is left out.
    pub fn chain(&self) -> String {
        let mut text = self.to_string();
        let mut next = std::error::Error::source(self);
        while let Some(cause) = next {
            let said = cause.to_string();
            if !text.contains(&said) {
                text = format!("{text}: {said}");
            }
            next = cause.source();
        }
        clean(&text)
    }
}

/// What came of several things: all well, or how many were not done.
pub fn several(results: &[Result<(), u8>]) -> Result<(), Error> {
    let failed: Vec<u8> = results.iter().filter_map(|r| r.err()).collect();
    match failed.first() {
        None => Ok(()),
        Some(code) => Err(Error::Some {
            failed: failed.len(),
            all: results.len(),
            // The other codes say that nothing was written.
            code: if results.iter().all(|r| *r == Err(*code)) { *code } else { FAILED },
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_cause_repeats_is_said_once() {
        let error = Error::SecretFile { file: "code.txt".into(), source: io::Error::other("gone") };
        assert_eq!(error.chain(), "code.txt cannot be read: gone");
        assert_eq!(Error::Probe("no answer".into()).chain(), "no answer; --no-probe adds it all the same");
    }

    #[test]
    fn no_error_commands_a_terminal() {
        let error = Error::Probe("it says \x1b]0;gotcha\x07\nand more".into());
        assert_eq!(error.chain(), "it says  ]0;gotcha  and more; --no-probe adds it all the same");
    }

    #[test]
    fn several_have_the_code_they_share_where_nothing_was_written() {
        let code = |results: &[Result<(), u8>]| several(results).err().map(|e| e.code());
        assert_eq!(code(&[Ok(()), Ok(())]), None);
        assert_eq!(code(&[Err(NOT_NOW), Err(NOT_NOW)]), Some(NOT_NOW));
        assert_eq!(code(&[Ok(()), Err(NOT_NOW)]), Some(FAILED), "something was written");
        assert_eq!(code(&[Err(FAILED), Err(NOT_NOW)]), Some(FAILED));
        let error = several(&[Ok(()), Err(NOT_NOW)]).unwrap_err();
        assert_eq!((error.to_string().as_str(), error.was_told()), ("1 of 2 were not done", false));
        assert!(several(&[Err(NOT_NOW)]).unwrap_err().was_told());
    }
}
