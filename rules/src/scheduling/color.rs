//! Colors of filaments, and when two of them are near: a color people would call the same.
//!
//! The distance is the "redmean" formula, a weighted RGB distance with integer weights that depend on the mean red; it is
//! cheap, the same on every machine, and close enough to the eye for spools. It runs from 0 to about 765.

/// Colors at most this far apart are near. Shades of one spool as two programs write them stay below (`#1F6FEB` and
/// `#2065DC`: 29), a red and a brown are above (`#C12E1F` and `#9D432C`: 76).
const NEAR: u32 = 60;

/// An sRGB color.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Color {
    red: u8,
    green: u8,
    blue: u8,
}

impl Color {
    /// Reads `#RRGGBB` in either case, or `#RRGGBBAA` as Bambu Lab's devices and slicer write it; transparency is ignored.
    pub fn parse(text: &str) -> Option<Self> {
        let digits = text.trim().strip_prefix('#')?;
        if !matches!(digits.len(), 6 | 8) || !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
            return None;
        }
        let value = u32::from_str_radix(&digits[..6], 16).ok()?;
        let [_, red, green, blue] = value.to_be_bytes();
        Some(Self { red, green, blue })
    }

    /// Square of the redmean distance.
    pub(super) fn distance_squared(self, other: Self) -> u32 {
        let square = |a: u8, b: u8| u32::from(a.abs_diff(b)).pow(2);
        let mean_red = u32::midpoint(u32::from(self.red), u32::from(other.red));
        ((512 + mean_red) * square(self.red, other.red)) / 256
            + 4 * square(self.green, other.green)
            + ((767 - mean_red) * square(self.blue, other.blue)) / 256
    }

    /// Whether people would call both the same color.
    pub fn is_near(self, other: Self) -> bool {
        self.distance_squared(other) <= NEAR * NEAR
    }
}

impl std::fmt::Display for Color {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "#{:02X}{:02X}{:02X}", self.red, self.green, self.blue)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn color(text: &str) -> Color {
        Color::parse(text).unwrap()
    }

    #[test]
    fn colors_are_read_as_people_and_programs_write_them() {
        assert_eq!(color("#1f6feb"), color("#1F6FEBFF"));
        assert_eq!(color(" #1f6feb ").to_string(), "#1F6FEB");
        for wrong in ["", "#", "1F6FEB", "#1F6FE", "#1F6FEG", "#1F6FEB0", "#+F6FEB", "#äääää", "blue"] {
            assert_eq!(Color::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn the_same_color_as_two_programs_write_it_is_near() {
        for (one, other) in
            [("#1F6FEB", "#2065DC"), ("#000000", "#0A0A0A"), ("#FFFFFF", "#F5F5F5"), ("#FF0000", "#F01010")]
        {
            assert!(color(one).is_near(color(other)), "{one} {other}");
        }
    }

    #[test]
    fn colors_with_different_names_are_not_near() {
        for (one, other) in [
            ("#C12E1F", "#9D432C"),
            ("#000000", "#545454"),
            ("#FF6A13", "#FF0000"),
            ("#FFFFFF", "#FFFF00"),
            ("#0000FF", "#8000FF"),
        ] {
            assert!(!color(one).is_near(color(other)), "{one} {other}");
            assert!(!color(other).is_near(color(one)), "{other} {one}");
        }
        assert_eq!(color("#000000").distance_squared(color("#FFFFFF")), 584_970, "about 765 squared");
    }
}
