//! The person at the terminal: asked where there is one, never where there is none. Questions go to standard error, so that
//! an answer that is piped into a file has none in it.

use std::io::{self, BufRead as _, IsTerminal as _, Write as _};

use secrecy::SecretString;

use crate::error::Error;

/// Whoever answers questions.
pub trait Person {
    /// Whether anybody would see a question.
    fn is_there(&self) -> bool;
    /// Asks, and gives the answer without the end of its line.
    fn ask(&mut self, question: &str) -> Result<String, Error>;
    /// Asks for something that is not shown while it is typed.
    fn ask_secret(&mut self, question: &str) -> Result<SecretString, Error>;

    /// Whether the person says yes. Anything but a yes is a no.
    fn agrees(&mut self, question: &str) -> Result<bool, Error> {
        let answer = self.ask(&format!("{question} [y/N] "))?;
        Ok(matches!(answer.trim().to_lowercase().as_str(), "y" | "yes"))
    }
}

/// The terminal this program was started from.
#[derive(Clone, Copy, Debug, Default)]
pub struct Terminal;

impl Person for Terminal {
    fn is_there(&self) -> bool {
        io::stdin().is_terminal() && io::stderr().is_terminal()
    }

    fn ask(&mut self, question: &str) -> Result<String, Error> {
        let mut output = io::stderr();
        write!(output, "{question}").and_then(|()| output.flush()).map_err(Error::Input)?;
        let mut line = String::new();
        let read = io::stdin().lock().read_line(&mut line).map_err(Error::Input)?;
        if read == 0 {
            return Err(Error::NotNow("there was no answer, so nothing was written".to_owned()));
        }
        Ok(line.trim().to_owned())
    }

    fn ask_secret(&mut self, question: &str) -> Result<SecretString, Error> {
        rpassword::prompt_password(question).map(SecretString::from).map_err(Error::Input)
    }
}

/// Goes on only with a yes: that of `--yes`, or the person's. Without both nothing is written.
pub fn sure(person: &mut dyn Person, yes: bool, question: &str) -> Result<(), Error> {
    if yes {
        return Ok(());
    }
    if !person.is_there() {
        return Err(Error::Usage(
            "nobody is at the terminal to be asked; --yes says that what is shown is right".to_owned(),
        ));
    }
    if person.agrees(question)? { Ok(()) } else { Err(Error::NotNow("nothing was written".to_owned())) }
}

#[cfg(test)]
pub(crate) mod testing {
    use super::*;

    /// Somebody who answers one thing after the other.
    #[derive(Default)]
    pub(crate) struct Scripted {
        pub(crate) answers: Vec<&'static str>,
        pub(crate) asked: Vec<String>,
    }

    impl Scripted {
        pub(crate) fn new(answers: &[&'static str]) -> Self {
            Self { answers: answers.iter().rev().copied().collect(), asked: Vec::new() }
        }
    }

    impl Person for Scripted {
        fn is_there(&self) -> bool {
            true
        }

        fn ask(&mut self, question: &str) -> Result<String, Error> {
            self.asked.push(question.to_owned());
            let answer = self.answers.pop();
            answer.map(str::to_owned).ok_or_else(|| Error::NotNow(format!("not expected: {question}")))
        }

        fn ask_secret(&mut self, question: &str) -> Result<SecretString, Error> {
            self.ask(question).map(SecretString::from)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::testing::Scripted;
    use super::*;

    struct Nobody;

    impl Person for Nobody {
        fn is_there(&self) -> bool {
            false
        }

        fn ask(&mut self, question: &str) -> Result<String, Error> {
            panic!("nobody is asked: {question}")
        }

        fn ask_secret(&mut self, question: &str) -> Result<SecretString, Error> {
            panic!("nobody is asked: {question}")
        }
    }

    #[test]
    fn only_a_yes_is_a_yes() {
        for (answer, agrees) in [("y", true), ("Yes", true), ("", false), ("n", false), ("yess", false)] {
            assert_eq!(sure(&mut Scripted::new(&[answer]), false, "Is it?").is_ok(), agrees, "{answer:?}");
        }
    }

    #[test]
    fn nobody_is_asked_where_nobody_is_there() {
        let refused = sure(&mut Nobody, false, "Is it?").unwrap_err();
        assert_eq!((refused.code(), refused.to_string().contains("--yes")), (crate::error::USAGE, true));
        assert!(sure(&mut Nobody, true, "Is it?").is_ok());
    }
}
