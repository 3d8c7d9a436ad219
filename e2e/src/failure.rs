//! What a program of this folder says when it fails.

use std::error::Error;

/// An error with its causes, a line each.
pub fn failure(error: &(dyn Error + 'static)) -> String {
    let causes = std::iter::successors(error.source(), |&cause| cause.source());
    causes.fold(format!("error: {error}"), |text, cause| format!("{text}\n  because: {cause}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_cause_has_its_line() {
        #[derive(Debug, thiserror::Error)]
        #[error("no farm")]
        struct Outer(#[source] std::fmt::Error);
        let text = failure(&Outer(std::fmt::Error));
        assert_eq!(text, format!("error: no farm\n  because: {}", std::fmt::Error));
    }
}
