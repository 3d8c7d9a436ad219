//! A watch on its way through the proxy: what it says goes through unchanged until something is wrong with watches. Cut
//! ones end in the middle of a line, expired ones with the error object the API server would send, frozen ones are
//! silent for a while and then say everything.

use std::io;
use std::time::Duration;

use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::{Bytes, Frame};
use tokio::sync::watch;

use super::Body;
use super::script::{Stopped, WatchFault};

/// How long a frozen watch is silent: longer than a print of the tests.
const FROZEN: Duration = Duration::from_secs(8);
/// How long after a start the watches of a life that was shown old lists are silent.
const BEHIND: Duration = Duration::from_secs(3);

/// What the API server says when a watch begins at a version it has forgotten.
const EXPIRED: &str = "{\"type\":\"ERROR\",\"object\":{\"kind\":\"Status\",\"apiVersion\":\"v1\",\"metadata\":{},\
    \"status\":\"Failure\",\"message\":\"too old resource version\",\"reason\":\"Expired\",\"code\":410}}\n";

/// How a watch goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Behind,
    Open,
    /// The next line is cut.
    Cutting,
    /// It breaks off.
    Lost,
    /// It is over.
    Over,
}

struct Watch<B> {
    body: B,
    faults: watch::Receiver<Option<WatchFault>>,
    state: State,
}

/// The body of a watch, with the faults that come; `behind`: it begins late.
pub(super) fn faulty<B>(body: B, mut faults: watch::Receiver<Option<WatchFault>>, behind: bool) -> Body
where
    B: hyper::body::Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>> + Send,
{
    // What was wrong with earlier ones is not wrong with this one.
    faults.borrow_and_update();
    let watch = Watch { body, faults, state: if behind { State::Behind } else { State::Open } };
    let frames = futures::stream::unfold(watch, |mut watch| async move {
        let frame = watch.next().await?;
        Some((frame, watch))
    });
    StreamBody::new(frames).boxed_unsync()
}

impl<B> Watch<B>
where
    B: hyper::body::Body<Data = Bytes> + Unpin,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>> + Send,
{
    async fn next(&mut self) -> Option<io::Result<Frame<Bytes>>> {
        loop {
            match self.state {
                State::Over => return None,
                State::Lost => {
                    self.state = State::Over;
                    return Some(Err(io::Error::other(Stopped)));
                }
                State::Behind => {
                    tokio::time::sleep(BEHIND).await;
                    self.state = State::Open;
                }
                State::Open | State::Cutting => {}
            }
            let frame = tokio::select! {
                biased;
                Ok(()) = self.faults.changed() => {
                    let fault = *self.faults.borrow_and_update();
                    match fault {
                        Some(WatchFault::Cut) => self.state = State::Cutting,
                        Some(WatchFault::Frozen) => tokio::time::sleep(FROZEN).await,
                        Some(WatchFault::Expired) => {
                            self.state = State::Over;
                            return Some(Ok(Frame::data(Bytes::from_static(EXPIRED.as_bytes()))));
                        }
                        None => {}
                    }
                    continue;
                }
                frame = self.body.frame() => frame?,
            };
            let frame = frame.map_err(io::Error::other);
            if self.state != State::Cutting {
                return Some(frame);
            }
            self.state = State::Lost;
            match frame.map(Frame::into_data) {
                Ok(Ok(line)) if line.len() > 1 => return Some(Ok(Frame::data(line.slice(..line.len() / 2)))),
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::channel::mpsc;

    use super::*;

    type Says = mpsc::UnboundedSender<io::Result<Frame<Bytes>>>;

    fn opened(behind: bool) -> (watch::Sender<Option<WatchFault>>, Says, Body) {
        let (says, said) = mpsc::unbounded();
        let faults = watch::Sender::new(Some(WatchFault::Expired));
        let body = faulty(StreamBody::new(said), faults.subscribe(), behind);
        (faults, says, body)
    }

    fn tell(says: &Says, line: &'static str) {
        says.unbounded_send(Ok(Frame::data(Bytes::from_static(line.as_bytes())))).unwrap();
    }

    async fn said(body: &mut Body) -> Option<io::Result<String>> {
        let frame = body.frame().await?;
        Some(frame.map(|f| String::from_utf8(f.into_data().unwrap().to_vec()).unwrap()))
    }

    #[tokio::test(start_paused = true)]
    async fn a_cut_watch_breaks_off_in_the_middle_of_a_line() {
        let (faults, says, mut body) = opened(false);
        tell(&says, "{\"a\":1}\n");
        assert_eq!(said(&mut body).await.unwrap().unwrap(), "{\"a\":1}\n");
        faults.send_replace(Some(WatchFault::Cut));
        tell(&says, "{\"b\":1}\n");
        assert_eq!(said(&mut body).await.unwrap().unwrap(), "{\"b\"");
        assert!(said(&mut body).await.unwrap().is_err(), "no proper end");
    }

    #[tokio::test(start_paused = true)]
    async fn an_expired_watch_says_410_and_ends() {
        let (faults, _says, mut body) = opened(false);
        faults.send_replace(Some(WatchFault::Expired));
        let text = said(&mut body).await.unwrap().unwrap();
        let event: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!((&event["type"], &event["object"]["code"]), (&"ERROR".into(), &410.into()));
        assert!(text.ends_with('\n') && said(&mut body).await.is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn a_frozen_watch_and_one_that_is_behind_say_everything_later() {
        for behind in [false, true] {
            let (faults, says, mut body) = opened(behind);
            if !behind {
                faults.send_replace(Some(WatchFault::Frozen));
            }
            tell(&says, "late\n");
            let began = tokio::time::Instant::now();
            assert_eq!(said(&mut body).await.unwrap().unwrap(), "late\n");
            assert_eq!(began.elapsed(), if behind { BEHIND } else { FROZEN });
        }
    }
}
