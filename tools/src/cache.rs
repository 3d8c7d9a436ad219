//! Where built tools are kept between runs: outside the work tree, so that `cargo clean` and a fresh clone do not
//! cost minutes. Nothing in it is precious; deleting the directory only costs the time to build again.

use std::ffi::OsString;
use std::path::PathBuf;

/// `$PRINTERNIZER_CACHE`, or `$XDG_CACHE_HOME/printernizer`, or `~/.cache/printernizer`. It may not exist yet.
/// Without any of the three variables and without `$HOME` it is a directory of the system's temporary directory.
pub fn cache_dir() -> PathBuf {
    choose(|name| std::env::var_os(name))
}

fn choose(variable: impl Fn(&str) -> Option<OsString>) -> PathBuf {
    // An empty variable counts as unset, and so does a relative XDG_CACHE_HOME: the XDG base directory
    // specification says so for both.
    let set = |name: &str| variable(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    if let Some(own) = set("PRINTERNIZER_CACHE") {
        return own;
    }
    if let Some(xdg) = set("XDG_CACHE_HOME").filter(|path| path.is_absolute()) {
        return xdg.join("printernizer");
    }
    match set("HOME") {
        Some(home) => home.join(".cache").join("printernizer"),
        None => std::env::temp_dir().join("printernizer-cache"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(variables: &[(&str, &str)]) -> PathBuf {
        choose(|name| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| OsString::from(value)))
    }

    #[test]
    fn the_more_specific_variable_wins() {
        let home = ("HOME", "/home/ada");
        let xdg = ("XDG_CACHE_HOME", "/var/cache/ada");
        assert_eq!(with(&[home, xdg, ("PRINTERNIZER_CACHE", "/fast/disk")]), PathBuf::from("/fast/disk"));
        assert_eq!(with(&[home, xdg]), PathBuf::from("/var/cache/ada/printernizer"));
        assert_eq!(with(&[home]), PathBuf::from("/home/ada/.cache/printernizer"));
    }

    #[test]
    fn empty_and_relative_values_count_as_unset() {
        let home = ("HOME", "/home/ada");
        let expected = PathBuf::from("/home/ada/.cache/printernizer");
        assert_eq!(with(&[home, ("PRINTERNIZER_CACHE", ""), ("XDG_CACHE_HOME", "")]), expected);
        assert_eq!(with(&[home, ("XDG_CACHE_HOME", "cache")]), expected);
    }

    #[test]
    fn a_machine_without_home_still_gets_a_directory() {
        assert!(with(&[]).is_absolute());
    }
}
