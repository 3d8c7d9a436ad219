//! Names of what belongs to a policy. A name that would be too long is cut, and ends with a hash of the whole.

use printernizer_crds::backup_policy::Role;
use sha2::{Digest as _, Sha256};

/// Longest name of a CronJob: its Jobs add eleven characters.
const LONGEST_CRON_JOB: usize = 52;
/// Longest name of a Job, which becomes a label of its pods.
const LONGEST_JOB: usize = 63;
/// Digits of a hash in a name.
const HASH_DIGITS: usize = 10;

/// The CronJob of a role, and of a further schedule of this name.
pub fn cron_job_name(policy: &str, role: Role, schedule: Option<&str>) -> String {
    let whole = match schedule {
        Some(schedule) => format!("{policy}-{}-{schedule}", role.as_label()),
        None => format!("{policy}-{}", role.as_label()),
    };
    shortened(&whole, LONGEST_CRON_JOB)
}

/// The Job a person has asked for with this text.
pub fn manual_job_name(policy: &str, uid: &str, trigger: &str) -> String {
    let hash = hash(&format!("{uid}\n{trigger}"));
    let role = Role::Backup.as_label();
    format!("{}-{hash}", shortened(&format!("{policy}-{role}"), LONGEST_JOB - HASH_DIGITS - 1))
}

/// The account, and the role and its binding, of pods that read objects. It is the policy's alone: an account somebody made
/// for another purpose has no such name.
pub fn account_name(policy: &str, uid: &str) -> String {
    let role = Role::Backup.as_label();
    let beginning = shortened(&format!("{policy}-{role}"), LONGEST_CRON_JOB - HASH_DIGITS - 1);
    format!("{beginning}-{}", hash(uid))
}

fn shortened(name: &str, longest: usize) -> String {
    if name.len() <= longest {
        return name.to_owned();
    }
    // Names of objects are ASCII.
    let beginning: String = name.chars().take(longest - HASH_DIGITS - 1).collect();
    format!("{}-{}", beginning.trim_end_matches(['-', '.']), hash(name))
}

/// The first digits of a text's SHA-256.
pub fn hash(text: &str) -> String {
    let mut digits = format!("{:x}", Sha256::digest(text));
    digits.truncate(HASH_DIGITS);
    digits
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_say_what_they_are_and_never_exceed_what_kubernetes_takes() {
        assert_eq!(cron_job_name("farm", Role::Backup, None), "farm-backup");
        assert_eq!(cron_job_name("farm", Role::Backup, Some("six-hourly")), "farm-backup-six-hourly");
        assert_eq!(cron_job_name("farm", Role::RestoreDrill, None), "farm-drill");
        let long = "a".repeat(63);
        for role in Role::ALL {
            let names = [None, Some("twenty-characters-20")].map(|schedule| cron_job_name(&long, role, schedule));
            assert!(names.iter().all(|name| name.len() <= LONGEST_CRON_JOB), "{names:?}");
            assert_ne!(names[0], names[1]);
        }
        assert_ne!(cron_job_name(&long, Role::Check, None), cron_job_name(&"a".repeat(62), Role::Check, None));
        let dots = format!("{}.{}", "a".repeat(40), "b".repeat(22));
        assert!(!cron_job_name(&dots, Role::Backup, None).contains(".-"));
        assert!(manual_job_name(&long, "uid", "now").len() <= LONGEST_JOB);
    }

    #[test]
    fn an_account_is_of_one_policy_alone() {
        let of = |policy: &str, uid: &str| account_name(policy, uid);
        assert_eq!(of("farm", "1"), of("farm", "1"));
        assert_ne!(of("farm", "1"), of("farm", "2"), "another policy of this name");
        assert!(of("farm", "1").starts_with("farm-backup-"));
        let long = of(&"a".repeat(63), "1");
        assert!(long.len() <= LONGEST_CRON_JOB && long.ends_with(&hash("1")), "{long}");
    }

    #[test]
    fn each_text_of_a_trigger_is_another_job_and_the_same_text_the_same() {
        let of = |uid: &str, trigger: &str| manual_job_name("farm", uid, trigger);
        assert_eq!(of("1", "now"), of("1", "now"));
        assert_ne!(of("1", "now"), of("1", "now "));
        assert_ne!(of("1", "now"), of("2", "now"));
    }
}
