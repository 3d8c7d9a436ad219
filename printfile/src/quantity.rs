//! Numbers as slicers write them, read into integers: no rounding surprises, no NaN, no overflow.
//! Anything that is not exactly the expected shape is `None`.

/// A decimal number in thousandths: `0.4` is 400, `437.6449` is 437645 (half up). No sign, no exponent.
pub(crate) fn thousandths(text: &str) -> Option<u64> {
    let text = text.trim();
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    if whole.is_empty() && fraction.is_empty() || !(whole.bytes().chain(fraction.bytes())).all(|b| b.is_ascii_digit()) {
        return None;
    }
    let digit = |position: usize| fraction.as_bytes().get(position).map_or(0, |b| u64::from(b - b'0'));
    let whole: u64 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    let fraction = digit(0) * 100 + digit(1) * 10 + digit(2) + u64::from(digit(3) >= 5);
    whole.checked_mul(1000)?.checked_add(fraction)
}

/// A time as slicers write it, `1d 2h 3m 4s` with any part left out, in seconds.
pub(crate) fn seconds(text: &str) -> Option<u64> {
    let mut total: Option<u64> = None;
    for part in text.split_ascii_whitespace() {
        let unit = match part.as_bytes().last()? {
            b'd' => 86_400,
            b'h' => 3_600,
            b'm' => 60,
            b's' => 1,
            _ => return None,
        };
        let number: u64 = part.get(..part.len() - 1)?.parse().ok()?;
        total = Some(total.unwrap_or(0).checked_add(number.checked_mul(unit)?)?);
    }
    total
}

/// A color as `#RRGGBB` in upper case; an alpha part is dropped.
pub(crate) fn color(text: &str) -> Option<String> {
    let digits = text.trim().strip_prefix('#')?;
    let valid = matches!(digits.len(), 6 | 8) && digits.bytes().all(|b| b.is_ascii_hexdigit());
    valid.then(|| format!("#{}", digits[..6].to_ascii_uppercase()))
}

/// A switch: `1` or `0`.
pub(crate) fn switch(text: &str) -> Option<bool> {
    match text.trim() {
        "1" => Some(true),
        "0" => Some(false),
        _ => None,
    }
}

/// A name for people and for matching: one line, printable, at most 64 characters. `None` when nothing is left.
pub(crate) fn name(text: &str) -> Option<String> {
    let text: String = text.trim().chars().filter(|c| !c.is_control()).take(64).collect();
    let text = text.trim();
    (!text.is_empty()).then(|| text.to_owned())
}

/// The entries of a list, `a;b` or `a,b`, where an entry may stand in double quotes. At most 64 entries.
pub(crate) fn list(text: &str, separator: char) -> Vec<String> {
    let mut entries = vec![String::new()];
    let mut quoted = false;
    let mut characters = text.trim().chars();
    while let Some(character) = characters.next() {
        match character {
            '"' => quoted = !quoted,
            '\\' if quoted => {
                if let (Some(next), Some(entry)) = (characters.next(), entries.last_mut()) {
                    entry.push(next);
                }
            }
            c if c == separator && !quoted => {
                if entries.len() == 64 {
                    break;
                }
                entries.push(String::new());
            }
            c => {
                if let Some(entry) = entries.last_mut() {
                    entry.push(c);
                }
            }
        }
    }
    entries
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_become_thousandths_without_floats() {
        for (text, expected) in [
            ("0.4", Some(400)),
            ("437.64", Some(437_640)),
            ("1.0005", Some(1_001)),
            (" 12 ", Some(12_000)),
            (".5", Some(500)),
            ("", None),
            (".", None),
            ("-1", None),
            ("1e3", None),
            ("nan", None),
            ("99999999999999999999", None),
            ("18446744073709551", Some(18_446_744_073_709_551_000)),
            ("18446744073709552", None),
        ] {
            assert_eq!(thousandths(text), expected, "{text:?}");
        }
    }

    #[test]
    fn times_are_read_in_every_length() {
        assert_eq!(seconds("1d 2h 3m 4s"), Some(93_784));
        assert_eq!(seconds("4m 42s"), Some(282));
        assert_eq!(seconds("59s"), Some(59));
        for text in ["", "soon", "4 m", "m", "1.5h", "99999999999999999999d", "999999999999999999d"] {
            assert_eq!(seconds(text), None, "{text:?}");
        }
    }

    #[test]
    fn colors_have_one_spelling() {
        assert_eq!(color("#1f6feb").as_deref(), Some("#1F6FEB"));
        assert_eq!(color("#1F6FEB80").as_deref(), Some("#1F6FEB"));
        for text in ["", "#", "red", "#12345", "#12345G", "#ä2345"] {
            assert_eq!(color(text), None, "{text:?}");
        }
    }

    #[test]
    fn quotes_keep_a_separator_inside_an_entry() {
        assert_eq!(list(r#""PLA;matte";PETG;"""#, ';'), ["PLA;matte", "PETG", ""]);
        assert_eq!(list("0.4,0.6", ','), ["0.4", "0.6"]);
        assert_eq!(list(&";".repeat(1_000), ';').len(), 64);
    }

    #[test]
    fn names_are_one_short_printable_line() {
        assert_eq!(name("  CORE\u{1b}[31mONE\n").as_deref(), Some("CORE[31mONE"));
        assert_eq!(name("\u{7}"), None);
        assert_eq!(name(&"ä".repeat(100)).map(|n| n.chars().count()), Some(64));
    }
}
