//! Tokens and remote names: how a print of ours is recognised on a device, whatever else was forgotten.
//!
//! A token is made of the job's UID and the attempt, so nobody has to remember which names were given out, and no name
//! is used twice. Matching reads only the token.

use std::fmt;

/// Longest remote name in bytes. PrusaLink keeps 103 bytes of a path, and 52 of a name on some cards.
pub const MAX_REMOTE_NAME_BYTES: usize = 60;
/// Longest slug of a display name.
const MAX_SLUG_BYTES: usize = 20;
/// What stands before the token in a remote name.
const MARK: &str = "pz-";
const UID_DIGITS: usize = 16;

/// Identity of one attempt of one PrintJob: 16 hex digits of the job's UID, a dash, the attempt.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Token {
    uid_digits: String,
    attempt: i32,
}

impl Token {
    /// The token of an attempt of the job with this UID.
    pub fn new(job_uid: &str, attempt: i32) -> Self {
        Self { uid_digits: uid_digits(job_uid).collect(), attempt }
    }

    /// Finds a token in a name a device shows. The last one counts, since a person's words stand before it.
    pub fn find(name: &str) -> Option<Self> {
        let lower = name.to_ascii_lowercase();
        lower.match_indices(MARK).filter_map(|(at, _)| Self::parse_prefix(&lower[at + MARK.len()..])).last()
    }

    /// Parses a token as it stands in status.
    pub fn parse(text: &str) -> Option<Self> {
        let token = Self::parse_prefix(text)?;
        (token.to_string() == text).then_some(token)
    }

    fn parse_prefix(text: &str) -> Option<Self> {
        let (uid_digits, rest) = text.split_at_checked(UID_DIGITS)?;
        if !uid_digits.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)) {
            return None;
        }
        let digits: String = rest.strip_prefix('-')?.chars().take_while(char::is_ascii_digit).collect();
        if digits.is_empty() || digits.len() > 6 {
            return None;
        }
        Some(Self { uid_digits: uid_digits.to_owned(), attempt: digits.parse().ok()? })
    }

    /// Whether this is a token of the job with this UID, of whichever attempt.
    pub fn is_of_job(&self, job_uid: &str) -> bool {
        // Asked of thousands of jobs at a time.
        self.uid_digits.chars().eq(uid_digits(job_uid))
    }

    /// The attempt.
    pub fn attempt(&self) -> i32 {
        self.attempt
    }

    /// The number sent with a start where the device takes one: 1 to 2147483646, the same whenever it is computed, and
    /// none of `seen`, so that no two prints look alike. Larger numbers come back from devices as 2147483647, 0 means none.
    pub fn print_id(&self, seen: &[u32]) -> u32 {
        const NUMBERS: u32 = i32::MAX.unsigned_abs() - 1;
        // FNV-1a: stable over versions of everything.
        let hash = self
            .to_string()
            .bytes()
            .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
        let folded = u32::try_from((hash ^ (hash >> 32)) & 0xffff_ffff).unwrap_or(0);
        let mut number = folded % NUMBERS + 1;
        while seen.contains(&number) {
            number = number % NUMBERS + 1;
        }
        number
    }

    /// The file's name on the device: a slug for the person at the screen, the token for us, the extension for the
    /// firmware. Only `[A-Za-z0-9._-]`.
    pub fn remote_name(&self, display_name: &str, extension: &str) -> String {
        let slug = slug(display_name);
        let name = format!("{slug}-{MARK}{self}.{extension}");
        debug_assert!(name.len() <= MAX_REMOTE_NAME_BYTES, "20 + 4 + 23 + 1 + 10 bytes at most");
        name
    }
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.uid_digits, self.attempt)
    }
}

/// What a token keeps of a UID.
fn uid_digits(job_uid: &str) -> impl Iterator<Item = char> + '_ {
    job_uid.chars().filter(char::is_ascii_hexdigit).take(UID_DIGITS).map(|c| c.to_ascii_lowercase())
}

fn slug(display_name: &str) -> String {
    let mut slug = String::new();
    for c in display_name.chars() {
        let c = match c {
            'ä' | 'Ä' => "ae",
            'ö' | 'Ö' => "oe",
            'ü' | 'Ü' => "ue",
            'ß' => "ss",
            c if c.is_ascii_alphanumeric() => {
                slug.push(c.to_ascii_lowercase());
                continue;
            }
            _ if slug.is_empty() || slug.ends_with('-') => continue,
            _ => "-",
        };
        slug.push_str(c);
    }
    slug.truncate(MAX_SLUG_BYTES);
    let slug = slug.trim_end_matches('-');
    // A slug must not itself look like the mark of a token.
    if slug.is_empty() || slug.contains(MARK.trim_end_matches('-')) { "part".to_owned() } else { slug.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const UID: &str = "3f2504e0-4f89-41d3-9a0c-0305e82c3301";

    #[test]
    fn a_remote_name_reads_as_the_part_and_carries_the_token() {
        let token = Token::new(UID, 2);
        assert_eq!(token.to_string(), "3f2504e04f8941d3-2");
        assert_eq!(
            token.remote_name("Kabelclip für Tür 3", "bgcode"),
            "kabelclip-fuer-tuer-pz-3f2504e04f8941d3-2.bgcode"
        );
        assert_eq!(token.remote_name("///", "gcode"), "part-pz-3f2504e04f8941d3-2.gcode");
    }

    #[test]
    fn a_slug_keeps_letters_and_digits_and_writes_out_umlauts() {
        for (display, slug) in [
            ("ÄÖÜ äöü ß", "aeoeue-aeoeue-ss"),
            ("  Clip -- 3,5 mm  ", "clip-3-5-mm"),
            ("-Left_Hand-", "left-hand"),
            ("日本", "part"),
            // What looks like a token's mark would be taken for one.
            ("pz", "part"),
            ("A pz B", "part"),
        ] {
            let name = Token::new(UID, 1).remote_name(display, "gcode");
            assert_eq!(name.strip_suffix("-pz-3f2504e04f8941d3-1.gcode"), Some(slug), "{display}");
        }
    }

    #[test]
    fn a_token_is_of_its_own_job_alone() {
        let token = Token::new(UID, 1);
        assert!(token.is_of_job(UID) && token.is_of_job(&UID.to_uppercase()));
        for other in ["", "3f2504e0-4f89-41d3", "3f2504e0-4f89-41d4-9a0c-0305e82c3301"] {
            assert_eq!(token.is_of_job(other), other.starts_with("3f2504e0-4f89-41d3"), "{other}");
        }
    }

    /// A start may be judged by a later version than the one that sent it: these never change.
    #[test]
    fn the_number_of_a_print_is_the_same_in_every_version() {
        for (uid, attempt, number) in [
            ("3f2504e04f8941d3", 1, 1_334_035_100),
            ("3f2504e04f8941d3", 2, 1_334_002_851),
            ("c0ffee0000004000", 1, 1_173_962_876),
            ("0000000000000000", 999_999, 2_074_445_957),
        ] {
            assert_eq!(Token::new(uid, attempt).print_id(&[]), number, "{uid}-{attempt}");
        }
        // A number that was seen gives way to the next; the last to the first.
        let (token, last) = (Token::new(UID, 1), i32::MAX.unsigned_abs() - 1);
        let first = token.print_id(&[]);
        assert_eq!(token.print_id(&[first]), first + 1);
        let all_but_low: Vec<u32> = (first..first + 3).collect();
        assert_eq!(token.print_id(&all_but_low), first + 3);
        assert!(first < last);
    }

    #[test]
    fn names_without_a_token_have_none() {
        for name in [
            "",
            "bracket.gcode",
            "pz-",
            "pz-3f2504e04f8941d3",
            "pz-3f2504e04f8941dg-1.gcode",
            "pz-3f2504e04f8941d3-.g",
            "pz-3f2504e04f8941d3-1234567.g",
        ] {
            assert_eq!(Token::find(name), None, "{name}");
        }
        assert_eq!(Token::parse("3f2504e04f8941d3-01"), None);
    }

    proptest! {
        #[test]
        fn every_remote_name_is_short_plain_and_gives_its_token_back(
            display in ".{0,120}", attempt in 1..999_999i32, uid in "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
        ) {
            let token = Token::new(&uid, attempt);
            let name = token.remote_name(&display, "gcode.3mf");
            prop_assert!(name.len() <= MAX_REMOTE_NAME_BYTES, "{name}");
            prop_assert!(name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b)), "{name}");
            prop_assert_eq!(Token::find(&name), Some(token.clone()));
            prop_assert!(token.is_of_job(&uid));
        }

        #[test]
        fn a_number_of_a_print_is_stable_in_range_and_never_one_that_was_seen(attempt in 1..999_999i32, more in 0..8u32) {
            let token = Token::new(UID, attempt);
            let first = token.print_id(&[]);
            prop_assert_eq!(token.print_id(&[]), first);
            prop_assert!((1..i32::MAX.unsigned_abs()).contains(&first));
            let seen: Vec<u32> = (0..=more).map(|n| (first - 1 + n) % (i32::MAX.unsigned_abs() - 1) + 1).collect();
            let next = token.print_id(&seen);
            prop_assert!(!seen.contains(&next) && (1..i32::MAX.unsigned_abs()).contains(&next));
        }

        #[test]
        fn looking_for_a_token_never_fails(name in "\\PC*") {
            let _ = Token::find(&name);
        }
    }
}
