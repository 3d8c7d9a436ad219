//! Replies of an FTP server: lines in, one reply out (RFC 959 section 4.2). Pure: no socket, no clock, no meaning of a
//! code. A device is believed neither in length nor in number of lines, and its text is made fit for messages.

use crate::error::clean_text;

/// The longest line read, in bytes without its end.
const LINE_MAX_BYTES: usize = 1024;
/// The most lines of one reply.
const REPLY_MAX_LINES: usize = 64;
/// The most text of one reply that is kept until it is complete, in bytes.
const TEXT_MAX_BYTES: usize = 2 * LINE_MAX_BYTES;

/// One reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reply {
    /// 100 to 599.
    pub code: u16,
    /// What the server says, on one line, shortened.
    pub text: String,
}

impl Reply {
    /// Whether another reply to the same command will follow.
    pub fn is_preliminary(&self) -> bool {
        self.code < 200
    }

    /// Whether the command was carried out.
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.code)
    }
}

/// What makes bytes no reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ReplyError {
    /// A line without a code where one must stand.
    #[error("the server sends something that is no FTP reply")]
    Malformed,
    /// A line over the limit.
    #[error("the server sends a line of more than {LINE_MAX_BYTES} bytes")]
    LineTooLong,
    /// More lines than the limit.
    #[error("the server sends a reply of more than {REPLY_MAX_LINES} lines")]
    TooManyLines,
}

/// Collects bytes until they are a reply. It keeps what belongs to the next one.
#[derive(Debug, Default)]
pub(crate) struct Replies {
    bytes: Vec<u8>,
    lines: usize,
    /// Code of the reply whose first line has been read.
    open: Option<u16>,
    text: String,
}

impl Replies {
    /// Takes bytes as they come from the network.
    pub fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Whether nothing has arrived that was not handed out.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty() && self.open.is_none()
    }

    /// The next whole reply; `None` while it is not complete.
    pub fn next(&mut self) -> Result<Option<Reply>, ReplyError> {
        loop {
            let Some(end) = self.bytes.iter().position(|byte| *byte == b'\n') else {
                return if self.bytes.len() > LINE_MAX_BYTES { Err(ReplyError::LineTooLong) } else { Ok(None) };
            };
            if end > LINE_MAX_BYTES {
                return Err(ReplyError::LineTooLong);
            }
            let line: Vec<u8> = self.bytes.drain(..=end).collect();
            if let Some(reply) = self.line(line.trim_ascii_end())? {
                return Ok(Some(reply));
            }
        }
    }

    fn line(&mut self, line: &[u8]) -> Result<Option<Reply>, ReplyError> {
        self.lines += 1;
        if self.lines > REPLY_MAX_LINES {
            return Err(ReplyError::TooManyLines);
        }
        let coded = code(line);
        match (self.open, coded) {
            // Only the same code followed by a blank (or nothing) ends a reply of several lines.
            (Some(open), Some((code, false))) if code == open => self.add(line.get(4..).unwrap_or_default()),
            (Some(_), _) => {
                self.add(line);
                return Ok(None);
            }
            (None, Some((code, continues))) => {
                self.open = Some(code);
                self.add(line.get(4..).unwrap_or_default());
                if continues {
                    return Ok(None);
                }
            }
            (None, None) => return Err(ReplyError::Malformed),
        }
        let code = self.open.take().ok_or(ReplyError::Malformed)?;
        self.lines = 0;
        Ok(Some(Reply { code, text: clean_text(&std::mem::take(&mut self.text)) }))
    }

    fn add(&mut self, line: &[u8]) {
        if self.text.len() < TEXT_MAX_BYTES {
            if !self.text.is_empty() {
                self.text.push(' ');
            }
            self.text.push_str(String::from_utf8_lossy(line).trim());
        }
    }
}

/// The code a line begins with, and whether the reply goes on after it.
fn code(line: &[u8]) -> Option<(u16, bool)> {
    let digits = line.get(..3).filter(|digits| digits.iter().all(u8::is_ascii_digit))?;
    let code = digits.iter().fold(0, |sum, digit| sum * 10 + u16::from(digit - b'0'));
    let continues = match line.get(3) {
        None | Some(b' ') => false,
        Some(b'-') => true,
        Some(_) => return None,
    };
    (100..600).contains(&code).then_some((code, continues))
}

/// The port in a reply to PASV: six numbers, of which the first four (an address) are left unread. Devices answer with
/// 0.0.0.0, or with an address of another network: the data connection goes where the control connection went.
pub(crate) fn passive_port(text: &str) -> Option<u16> {
    let begin = text.find(|c: char| c.is_ascii_digit())?;
    let end = text[begin..].find(|c: char| !(c.is_ascii_digit() || c == ',')).map_or(text.len(), |end| begin + end);
    let numbers: Vec<u8> = text[begin..end]
        .split(',')
        .map(str::parse)
        .collect::<Result<_, _>>()
        .ok()
        .filter(|n: &Vec<u8>| n.len() == 6)?;
    let port = u16::from_be_bytes([numbers[4], numbers[5]]);
    (port > 0).then_some(port)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn all(bytes: &[u8]) -> Vec<(u16, String)> {
        let mut replies = Replies::default();
        replies.push(bytes);
        let mut seen = Vec::new();
        while let Some(reply) = replies.next().unwrap() {
            seen.push((reply.code, reply.text));
        }
        seen
    }

    #[test]
    fn replies_of_one_and_of_several_lines_are_read() {
        assert_eq!(all(b"220 (vsFTPd 3.0.3)\r\n"), [(220, "(vsFTPd 3.0.3)".to_owned())]);
        assert_eq!(all(b"226\r\n213 5\n"), [(226, String::new()), (213, "5".into())]);
        let text = b"220-Hello\r\n220x no end\r\n 221 neither\r\n150 nor this\r\n220-still\r\n220 Done\r\n331 Next\r\n";
        let greeting = "Hello 220x no end 221 neither 150 nor this 220-still Done";
        assert_eq!(all(text), [(220, greeting.to_owned()), (331, "Next".into())]);
    }

    #[test]
    fn a_reply_is_handed_out_only_when_whole() {
        let mut replies = Replies::default();
        for byte in b"211-a\r\n211 b\r" {
            replies.push(&[*byte]);
            assert_eq!(replies.next(), Ok(None));
            assert!(!replies.is_empty());
        }
        replies.push(b"\n");
        assert_eq!(replies.next(), Ok(Some(Reply { code: 211, text: "a b".into() })));
        assert!(replies.is_empty());
    }

    #[test]
    fn what_is_no_reply_or_too_much_of_one_is_an_error() {
        for (bytes, expected) in [
            (b"HTTP/1.1 400 Bad Request\r\n".to_vec(), ReplyError::Malformed),
            (b"\r\n".to_vec(), ReplyError::Malformed),
            (b"2200 x\r\n".to_vec(), ReplyError::Malformed),
            (b"099 x\r\n".to_vec(), ReplyError::Malformed),
            (b"600 x\r\n".to_vec(), ReplyError::Malformed),
            ([b"220 ".as_slice(), &[b'x'; 2000]].concat(), ReplyError::LineTooLong),
            ([b"220 ".as_slice(), &[b'x'; 2000], b"\r\n"].concat(), ReplyError::LineTooLong),
            (b"220-x\r\n".repeat(100), ReplyError::TooManyLines),
        ] {
            let mut replies = Replies::default();
            replies.push(&bytes);
            assert_eq!(replies.next(), Err(expected), "{}", String::from_utf8_lossy(&bytes));
        }
    }

    #[test]
    fn a_servers_text_is_one_short_line() {
        let long = all(&[b"550 \x1b[31m\x07bad\xff\xe2\x80\xaename ".as_slice(), &[b'y'; 900], b"\r\n"].concat());
        assert!(long[0].1.starts_with("[31mbad\u{fffd}name yyy"), "{}", long[0].1);
        assert_eq!(long[0].1.chars().count(), 200);
    }

    #[test]
    fn the_port_is_read_whatever_address_stands_before_it() {
        assert_eq!(passive_port("Entering Passive Mode (192,168,1,5,195,80)."), Some(50_000));
        assert_eq!(passive_port("Entering Passive Mode (0,0,0,0,195,80)"), Some(50_000));
        assert_eq!(passive_port("=127,0,0,1,0,21"), Some(21));
        for text in ["", "Entering Passive Mode", "(1,2,3,4,5)", "(1,2,3,4,5,6,7)", "(1,2,3,4,256,1)", "(1,2,3,4,0,0)"]
        {
            assert_eq!(passive_port(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_in_any_pieces_give_the_same_replies(
            bytes in proptest::collection::vec(prop_oneof![Just(b'\n'), Just(b'2'), Just(b' '), Just(b'-'), any::<u8>()], 0..600),
            cut in 1usize..50,
        ) {
            let read = |piece: usize| {
                let mut replies = Replies::default();
                let mut seen = Vec::new();
                for piece in bytes.chunks(piece) {
                    replies.push(piece);
                    loop {
                        match replies.next() {
                            Ok(Some(reply)) => seen.push(Ok(reply)),
                            Ok(None) => break,
                            Err(error) => {
                                seen.push(Err(error));
                                return seen;
                            }
                        }
                    }
                }
                seen
            };
            prop_assert_eq!(read(bytes.len().max(1)), read(cut));
        }

        #[test]
        fn any_text_gives_a_port_or_none(text in "\\PC*") {
            let _ = passive_port(&text);
        }
    }
}
