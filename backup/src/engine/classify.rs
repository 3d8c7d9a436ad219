//! What restic 0.18 says when something is wrong, and what that means. Its exit codes tell a missing repository (10), a lock
//! (11), a wrong password (12) and unreadable files (3); all else is 1 and a sentence, often one of the S3 server's or of
//! the system's, whose codes are looked for here.

use super::EngineError;
use super::location::Location;

/// What a sentence means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meaning {
    /// No room.
    Full,
    /// No bucket, no folder.
    NotFound,
    /// Refused.
    Refused,
    /// No answer.
    Unreachable,
    /// Damaged data.
    Damaged,
}

/// Codes of S3 and of the system, and the words of restic, each in lower case; the first that occurs decides.
const WORDS: &[(Meaning, &[&str])] = &[
    (
        Meaning::Full,
        &[
            "no space left on device",
            "disk quota exceeded",
            "storagefull",
            "quotaexceeded",
            "insufficientstorage",
            "insufficient storage",
        ],
    ),
    (Meaning::NotFound, &["nosuchbucket", "specified bucket does not exist"]),
    (
        Meaning::Refused,
        &[
            "invalidaccesskeyid",
            "access key id you provided",
            "signaturedoesnotmatch",
            "signature we calculated",
            "accessdenied",
            "access denied",
            "requesttimetooskewed",
            "request time and the server's time",
            "authorizationheadermalformed",
            "permanentredirect",
            "invalidbucketname",
            "403 forbidden",
            "x509:",
            "tls:",
            "server gave http response to https client",
            "permission denied",
            "read-only file system",
            "operation not permitted",
        ],
    ),
    (
        Meaning::Damaged,
        &[
            "repository contains errors",
            "ciphertext verification failed",
            "hash mismatch",
            "invalid data returned",
            "has invalid format",
            "unexpected eof in pack",
            "not found in index",
            "not found in repository",
            "could not load index",
            "file too short",
            "restic-file-too-short",
            "unexpected file size",
            "invalid header",
            "decompressing",
            "id does not match",
            "wrong data returned",
            "data seems to have been corrupted",
            "does not match id",
        ],
    ),
    (
        Meaning::Unreachable,
        &[
            "connection refused",
            "no such host",
            "i/o timeout",
            "timeout",
            "deadline exceeded",
            "connection reset",
            "no route to host",
            "network is unreachable",
            "circuit breaker",
            "server closed",
            "broken pipe",
            "slowdown",
            "serviceunavailable",
            "service unavailable",
            "internalerror",
            "internal error",
            "bad gateway",
            "dial tcp",
            "server misbehaving",
            ": eof",
            "request failed",
        ],
    ),
];

/// What a sentence means, if it is known.
pub fn meaning(said: &str) -> Option<Meaning> {
    let said = said.to_lowercase();
    WORDS.iter().find(|(_, words)| words.iter().any(|word| said.contains(word))).map(|(meaning, _)| *meaning)
}

/// Whether a sentence about a request that is tried again tells of something no retry mends.
pub fn is_hopeless(said: &str) -> bool {
    said.contains("returned error, retrying")
        && matches!(meaning(said), Some(Meaning::Full | Meaning::NotFound | Meaning::Refused))
}

/// Whether a sentence tells that a snapshot could not be loaded, which restic then leaves out and still ends well.
pub fn is_left_out(said: &str) -> bool {
    said.starts_with("Ignoring ")
        || said.contains("could not load snapshot")
        || said.contains("failed to load snapshot")
}

/// The error of a place about which this was said.
pub fn error(place: &Location, said: &str) -> EngineError {
    let meaning = meaning(said);
    let lower = said.to_lowercase();
    let (location, said) = (place.name.clone(), said.to_owned());
    let secret = &place.advice.secret;
    let advice = match meaning {
        Some(Meaning::Refused) if lower.contains("x509:") || lower.contains("tls:") => {
            "; its certificate is not trusted: name the authority in caBundleConfigMapRef, and use the name the certificate is for".to_owned()
        }
        Some(Meaning::Refused) if lower.contains("requesttimetooskewed") || lower.contains("server's time") => {
            "; the clock of the node or of the server is wrong".to_owned()
        }
        Some(Meaning::Refused) if lower.contains("authorizationheadermalformed") || lower.contains("permanentredirect") => {
            "; set region to the one the bucket is in".to_owned()
        }
        Some(Meaning::Refused) if place.key.is_some() => {
            format!("; look at accessKeyID and secretAccessKey in Secret {secret}, and at what the key may do in the bucket")
        }
        Some(Meaning::Refused) => {
            "; the volume must be writable for the pods' user and group (spec.jobTemplate.runAsUser, fsGroup)".to_owned()
        }
        Some(Meaning::Unreachable | Meaning::NotFound) if place.advice.bucket_in_host => {
            "; most services other than AWS need forcePathStyle: true".to_owned()
        }
        Some(Meaning::NotFound) => "; make the bucket, or mend its name: buckets are never made by a backup".to_owned(),
        Some(Meaning::Unreachable) => "; look at endpoint, network policies and the service itself".to_owned(),
        _ => String::new(),
    };
    match meaning {
        Some(Meaning::Full) => EngineError::Full { location, said },
        Some(Meaning::NotFound) => EngineError::NotFound { location, said, advice },
        Some(Meaning::Refused) => EngineError::Refused { location, said, advice },
        Some(Meaning::Unreachable) => EngineError::Unreachable { location, said, advice },
        Some(Meaning::Damaged) => EngineError::Damaged { location, said },
        None => EngineError::Other(format!("restic failed at {location}: {said}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sentences as restic 0.18 prints them, for S3 servers and volumes.
    #[test]
    fn sentences_are_understood() {
        for (said, expected) in [
            (
                "Stat(<config/>) returned error, retrying after 1.2s: Stat: The specified bucket does not exist.",
                Some(Meaning::NotFound),
            ),
            (
                "unable to open config file: Stat: The Access Key Id you provided does not exist in our records.",
                Some(Meaning::Refused),
            ),
            (
                "Stat: The request signature we calculated does not match the signature you provided.",
                Some(Meaning::Refused),
            ),
            (
                "Stat: Get \"https://s3/b/config\": dial tcp 127.0.0.1:9: connect: connection refused",
                Some(Meaning::Unreachable),
            ),
            ("Get \"https://s3/b/\": dial tcp: lookup s3 on 10.0.0.10:53: no such host", Some(Meaning::Unreachable)),
            (
                "Get \"https://s3/\": tls: failed to verify certificate: x509: certificate signed by unknown authority",
                Some(Meaning::Refused),
            ),
            ("unable to save snapshot: write /target/data/tmp: no space left on device", Some(Meaning::Full)),
            ("Fatal: repository contains errors", Some(Meaning::Damaged)),
            ("ciphertext verification failed", Some(Meaning::Damaged)),
            ("Fatal: something else", None),
        ] {
            assert_eq!(meaning(said), expected, "{said}");
        }
    }

    #[test]
    fn a_snapshot_that_is_left_out_is_no_retry() {
        assert!(is_left_out(
            "Ignoring \"3a8a\": failed to load snapshot 3a8a: LoadRaw(<snapshot/3a8a>): invalid data returned"
        ));
        assert!(is_left_out("could not load snapshots: no such file"));
        assert!(!is_left_out(
            "Load(<snapshot/3a8a>, 0, 0) returned error, retrying after 1s: dial tcp: connection refused"
        ));
    }

    #[test]
    fn only_what_no_retry_mends_ends_a_command_early() {
        assert!(is_hopeless("Save(<data/ab>) returned error, retrying after 1s: XMinioStorageFull"));
        assert!(!is_hopeless("Save(<data/ab>) returned error, retrying after 1s: dial tcp: connection refused"));
        assert!(!is_hopeless("lchown /scratch/x: operation not permitted"));
    }
}
