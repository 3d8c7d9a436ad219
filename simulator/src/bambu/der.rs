//! Just enough DER (X.690) to write a certificate. It never reads any.

/// Tags used by certificates.
const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const OBJECT_IDENTIFIER: u8 = 0x06;
const UTF8_STRING: u8 = 0x0c;
const UTC_TIME: u8 = 0x17;
const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;

/// One element: tag, length, content.
pub(crate) fn element(tag: u8, content: &[u8]) -> Vec<u8> {
    let mut encoded = vec![tag];
    let length = content.len();
    let bytes = length.to_be_bytes();
    let significant = &bytes[bytes.iter().position(|byte| *byte != 0).unwrap_or(bytes.len() - 1)..];
    if length >= 128 {
        encoded.push(0x80 | u8::try_from(significant.len()).unwrap_or(8));
    }
    encoded.extend(significant);
    encoded.extend(content);
    encoded
}

pub(crate) fn sequence(parts: &[&[u8]]) -> Vec<u8> {
    element(SEQUENCE, &parts.concat())
}

pub(crate) fn set(part: &[u8]) -> Vec<u8> {
    element(SET, part)
}

/// A positive integer, big-endian.
pub(crate) fn integer(value: &[u8]) -> Vec<u8> {
    let value = &value[value.iter().position(|byte| *byte != 0).unwrap_or(value.len().saturating_sub(1))..];
    let mut content = Vec::with_capacity(value.len() + 1);
    if value.first().is_none_or(|byte| *byte >= 128) {
        content.push(0);
    }
    content.extend(value);
    element(INTEGER, &content)
}

/// Whole bytes only.
pub(crate) fn bit_string(content: &[u8]) -> Vec<u8> {
    element(BIT_STRING, &[&[0], content].concat())
}

/// From its encoded content.
pub(crate) fn object_identifier(encoded: &[u8]) -> Vec<u8> {
    element(OBJECT_IDENTIFIER, encoded)
}

pub(crate) fn utf8_string(text: &str) -> Vec<u8> {
    element(UTF8_STRING, text.as_bytes())
}

/// `YYMMDDHHMMSSZ`
pub(crate) fn utc_time(text: &str) -> Vec<u8> {
    element(UTC_TIME, text.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_and_signs_are_minimal() {
        assert_eq!(integer(&[0, 0, 5]), [2, 1, 5]);
        assert_eq!(integer(&[0x80]), [2, 2, 0, 0x80]);
        assert_eq!(integer(&[0]), [2, 1, 0]);
        assert_eq!(element(4, &[7; 127])[..3], [4, 127, 7]);
        assert_eq!(element(4, &[7; 128])[..4], [4, 0x81, 128, 7]);
        assert_eq!(element(4, &[7; 300])[..5], [4, 0x82, 1, 44, 7]);
        assert_eq!(element(4, &[]), [4, 0]);
        assert_eq!(bit_string(&[1]), [3, 2, 0, 1]);
    }
}
