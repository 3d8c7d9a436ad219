//! Reads values the way printers write them: numbers as numbers or as strings, by model and firmware. A value of the
//! wrong kind is unknown, never an error and never a guess. Every text is capped. Facts: OpenBambuAPI mqtt.md,
//! ha-bambulab pybambu/models.py.

use serde_json::Value;

/// The longest text kept, in characters. Names and ids are far shorter.
const TEXT_MAX_CHARS: usize = 300;

/// A text, or a number written as one.
pub(crate) fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.chars().take(TEXT_MAX_CHARS).collect()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// A text that says something: neither empty nor "0", which is how printers write "none" for an id.
pub(crate) fn identity(value: &Value) -> Option<String> {
    text(value).filter(|text| !text.is_empty() && text != "0")
}

/// A text that is not empty.
pub(crate) fn word(value: &Value) -> Option<String> {
    text(value).filter(|text| !text.is_empty())
}

/// A whole number.
pub(crate) fn integer(value: &Value) -> Option<i64> {
    match value {
        Value::Number(number) => number.as_i64().or_else(|| whole(number.as_f64()?)),
        Value::String(text) => {
            let text = text.trim();
            text.parse().ok().or_else(|| whole(text.parse().ok()?))
        }
        _ => None,
    }
}

#[allow(clippy::cast_possible_truncation, reason = "the range is checked, and fractions are refused")]
fn whole(number: f64) -> Option<i64> {
    (number.fract() == 0.0 && number.abs() < 9.0e15).then_some(number as i64)
}

/// A whole number of a certain type.
pub(crate) fn small<T: TryFrom<i64>>(value: &Value) -> Option<T> {
    integer(value).and_then(|number| T::try_from(number).ok())
}

/// 32 bits, written signed or unsigned.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "both spellings mean the same bits")]
pub(crate) fn bits32(value: &Value) -> Option<u32> {
    let number = integer(value)?;
    (i64::from(i32::MIN)..=i64::from(u32::MAX)).contains(&number).then_some(number as u32)
}

/// A finite number.
pub(crate) fn number(value: &Value) -> Option<f64> {
    let number = match value {
        Value::Number(number) => number.as_f64()?,
        Value::String(text) => text.trim().parse().ok()?,
        _ => return None,
    };
    number.is_finite().then_some(number)
}

/// Bits written as hexadecimal digits, as the fields of the newer protocol and the AMS are.
pub(crate) fn hexadecimal(value: &Value) -> Option<u64> {
    let Value::String(text) = value else { return None };
    let text = text.trim();
    let digits = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")).unwrap_or(text);
    digits.bytes().all(|b| b.is_ascii_hexdigit()).then(|| u64::from_str_radix(digits, 16).ok())?
}

/// Yes or no.
pub(crate) fn boolean(value: &Value) -> Option<bool> {
    match value {
        Value::Bool(value) => Some(*value),
        Value::Number(_) => match integer(value) {
            Some(0) => Some(false),
            Some(1) => Some(true),
            _ => None,
        },
        Value::String(text) if text.eq_ignore_ascii_case("true") => Some(true),
        Value::String(text) if text.eq_ignore_ascii_case("false") => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn numbers_are_read_as_numbers_and_as_strings() {
        for value in [json!(57), json!("57"), json!(57.0), json!(" 57 "), json!("57.0")] {
            assert_eq!(integer(&value), Some(57), "{value}");
        }
        for value in [json!(57.5), json!("x"), json!(null), json!([57]), json!(1e300), json!("NaN")] {
            assert_eq!(integer(&value), None, "{value}");
        }
        assert_eq!(number(&json!("0.4")), Some(0.4));
        assert_eq!(number(&json!("inf")), None);
        assert_eq!(small::<u8>(&json!(300)), None);
    }

    #[test]
    fn the_same_bits_written_signed_and_unsigned_are_the_same() {
        assert_eq!(bits32(&json!(-1_072_267_264)), bits32(&json!(3_222_700_032_u32)));
        assert_eq!(bits32(&json!("50348044")), Some(0x0300_400C));
        assert_eq!(bits32(&json!(4_294_967_296_i64)), None);
    }

    #[test]
    fn hexadecimal_bits_are_read_only_from_digits() {
        assert_eq!(hexadecimal(&json!("3EC1AFFF9CFF")), Some(0x3EC1_AFFF_9CFF));
        assert_eq!(hexadecimal(&json!("0xf")), Some(15));
        for value in [json!(""), json!("+f"), json!("g"), json!(15), json!("fffffffffffffffff")] {
            assert_eq!(hexadecimal(&value), None, "{value}");
        }
    }

    #[test]
    fn no_identity_is_written_as_nothing_or_as_zero() {
        assert_eq!(identity(&json!("0")), None);
        assert_eq!(identity(&json!(0)), None);
        assert_eq!(identity(&json!("")), None);
        assert_eq!(identity(&json!(2_147_483_647)), Some("2147483647".into()));
    }
}
