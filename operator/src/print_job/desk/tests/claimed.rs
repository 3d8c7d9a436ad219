//! Jobs that hold a printer and do not get their files: what they keep from others, and what is learned from them.

use std::net::SocketAddr;
use std::sync::atomic::AtomicU8;

use printernizer_rules::print_job::place_of_file;
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;
use tokio::io::AsyncWriteExt as _;

use super::sources::{PART, answer, claimed, files, job_from, read, serve};
use super::*;

/// What the server does.
const SERVES: u8 = 0;
const IS_BROKEN: u8 = 1;
const HAS_NOTHING: u8 = 2;
const DRIPS: u8 = 3;

struct Server {
    address: SocketAddr,
    does: Arc<AtomicU8>,
    asked: Arc<AtomicUsize>,
}

/// The file of the job with this name: no two are the same.
fn part(name: &str) -> String {
    PART.replace("; printer_model", &format!("; name = {name}\n; printer_model"))
}

impl Server {
    async fn start(does: u8) -> Self {
        let (does, asked) = (Arc::new(AtomicU8::new(does)), Arc::new(AtomicUsize::new(0)));
        let (now, count) = (Arc::clone(&does), Arc::clone(&asked));
        let address = serve(move |request, mut stream| {
            count.fetch_add(1, Ordering::SeqCst);
            let (does, name) = (now.load(Ordering::SeqCst), request.split(['/', '.']).nth(1).unwrap_or_default());
            let part = part(name);
            async move {
                match does {
                    SERVES => answer(stream, "200 OK", &part).await,
                    IS_BROKEN => answer(stream, "503 Service Unavailable", "").await,
                    HAS_NOTHING => answer(stream, "404 Not Found", "").await,
                    _ => {
                        let _written = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\nG").await;
                        std::future::pending::<()>().await;
                    }
                }
            }
        })
        .await;
        Self { address, does, asked }
    }

    fn does(&self, what: u8) {
        self.does.store(what, Ordering::SeqCst);
    }

    /// A job that was accepted with its file from here, and given a printer.
    fn holding(&self, name: &str) -> PrintJob {
        let job = job_from(name, self.address);
        let digits = Sha256::digest(part(name)).iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>();
        claimed(&job, &FileStatus { sha256: digits.concat(), read_from: place_of_file(&job), ..FileStatus::default() })
    }

    /// One that waits for a printer.
    fn waiting(&self, name: &str) -> PrintJob {
        gave_back(&self.holding(name))
    }

    async fn asked(&self, times: usize, what: &str) {
        let asked = async {
            while self.asked.load(Ordering::SeqCst) < times {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), asked).await.expect(what);
    }
}

/// The job, without the printer it held.
fn gave_back(holding: &PrintJob) -> PrintJob {
    let mut job = holding.clone();
    job.status.as_mut().unwrap().printer = None;
    job
}

#[tokio::test]
async fn while_a_source_lets_jobs_down_others_that_need_it_are_not_worth_a_printer() {
    let (server, other) = (Server::start(SERVES).await, Server::start(SERVES).await);
    let directory = TempDir::new().unwrap();
    let desk = Desk::new(files(&directory), Queue::default());
    let (kept, first, second) = (server.holding("kept"), server.holding("first"), server.waiting("second"));
    desk.fetch(&kept);
    read(&desk, &kept).await;
    server.does(IS_BROKEN);
    assert_eq!(desk.resting(&second), None, "nobody knows yet");
    // Who has no printer keeps nobody from one.
    desk.fetch(&second);
    refused(&desk, &second, Reason::SourceUnreachable).await;
    assert_eq!(desk.resting(&second), None);
    desk.fetch(&first);
    refused(&desk, &first, Reason::SourceUnreachable).await;
    assert!(desk.resting(&second).is_some_and(|until| until <= Instant::now() + Duration::from_secs(30)));
    assert_eq!(desk.resting(&gave_back(&kept)), None, "its file is in the cache");
    std::fs::remove_file(desk.at_hand(&kept).unwrap().path).unwrap();
    assert!(desk.resting(&gave_back(&kept)).is_some(), "not any more");
    assert_eq!(desk.resting(&other.waiting("second")), None);
    let mut elsewhere = second.clone();
    elsewhere.metadata.namespace = Some("shop".into());
    assert_eq!(desk.resting(&elsewhere), None, "others may be let in");
    // The job that was let down goes on asking, and ends the rest for all.
    server.does(SERVES);
    let first = gave_back(&first);
    pass(RETRY).await;
    assert!(desk.resting(&second).is_some());
    assert_eq!(desk.fetch(&first), None);
    read(&desk, &first).await;
    assert_eq!(desk.resting(&second), None);
}

#[tokio::test]
async fn a_file_that_is_gone_tells_of_its_copies_and_not_of_its_server() {
    let server = Server::start(HAS_NOTHING).await;
    let directory = TempDir::new().unwrap();
    let desk = Desk::new(files(&directory), Queue::default());
    let gone = server.holding("gone");
    desk.fetch(&gone);
    refused(&desk, &gone, Reason::FileNotFound).await;
    let mut copy = gave_back(&gone);
    (copy.metadata.name, copy.metadata.uid) = (Some("copy".into()), Some("copy".into()));
    assert!(desk.resting(&copy).is_some());
    assert_eq!(desk.resting(&server.waiting("other")), None);
}

#[tokio::test]
async fn who_gives_its_printer_back_leaves_its_place_to_those_that_hold_one() {
    let server = Server::start(DRIPS).await;
    let directory = TempDir::new().unwrap();
    let desk = Desk::new(files(&directory), Queue::default());
    let slow = [1, 2, 3].map(|number| server.holding(&format!("slow-{number}")));
    for job in &slow {
        desk.fetch(job);
    }
    server.asked(3, "three are asked for at a time").await;
    assert_eq!(desk.resting(&server.waiting("other")), None, "they may still come");
    let (next, last) = (server.holding("next"), server.holding("last"));
    for (job, waiting) in [(&next, 1), (&last, 2)] {
        desk.fetch(job);
        let waits = async {
            while desk.reader.claimed.waiting() != waiting {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), waits).await.expect("the places of this server are taken");
    }
    // One of those that only wait, and one that is being read.
    desk.state(&gave_back(&last));
    assert!(matches!(desk.state(&gave_back(&slow[0])), FileState::Fetching { .. }), "what was begun goes on");
    server.asked(5, "one is asked for among the others, and the next one has its place").await;
    assert!(matches!(desk.state(&next), FileState::Fetching { .. }));
    assert!(desk.resting(&server.waiting("other")).is_some(), "too slow is as good as away");
    // Among the others they count like all.
    for job in &slow[1..] {
        desk.state(&gave_back(job));
    }
    let place = || Lane { namespace: "farm".into(), server: Some(server.address.to_string()) };
    let full = async {
        while desk.reader.accepting.enter(place()).now_or_never().is_some() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), full).await.expect("nobody else is asked for there");
}

#[tokio::test]
async fn a_job_that_holds_a_printer_waits_for_room_in_the_cache_as_for_the_file() {
    let (server, other) = (Server::start(SERVES).await, Server::start(SERVES).await);
    let directory = TempDir::new().unwrap();
    let mut config = config(directory.path(), Objects::of(|_, _| None));
    // Room for one of them; and what passes of the clock below is no trouble of the network.
    config.cache_bytes = part("one").len() as u64 * 3 / 2;
    config.limits.connect_timeout = Duration::from_hours(100);
    (config.limits.stall_timeout, config.limits.total_timeout) = (Duration::from_hours(100), Duration::from_hours(100));
    let desk = Desk::new(Files::new(config).unwrap(), Queue::default());
    let [one, two, three] = ["one", "two", "three"].map(|name| server.holding(name));
    desk.fetch(&one);
    read(&desk, &one).await;
    desk.fetch(&two);
    for times in 2..6 {
        server.asked(times, "it is asked for again while its job holds the printer").await;
        let is_fetched = |job| matches!(desk.state(job), FileState::Fetching { .. });
        // The desk's clock is moved here, so that it ends no wait.
        let began = std::time::Instant::now();
        while server.asked.load(Ordering::SeqCst) == times {
            assert!(began.elapsed().as_secs() < 60, "it is not asked for again");
            assert!(is_fetched(&two), "{:?}", desk.state(&two));
            pass(RETRY).await;
            tokio::task::yield_now().await;
        }
    }
    assert_eq!(desk.resting(&other.waiting("four")), None);
    // One that gives up says why, and no other job needs to find out.
    desk.fetch(&three);
    desk.state(&gave_back(&three));
    refused(&desk, &gave_back(&three), Reason::FileCacheUnusable).await;
    desk.state(&gave_back(&two));
    let message = refused(&desk, &gave_back(&two), Reason::FileCacheUnusable).await;
    assert!(message.contains("full of files in use"), "{message}");
    assert!(desk.resting(&other.waiting("four")).is_some(), "wherever it comes from");
    // The printer of the first one has its file.
    desk.state(&gave_back(&one));
    pass(RETRY_CAP).await;
    assert_eq!(desk.fetch(&two), None);
    read(&desk, &two).await;
    assert_eq!(desk.resting(&other.waiting("four")), None);
}

#[tokio::test]
async fn a_file_that_is_lost_while_it_is_at_hand_is_looked_for_again() {
    let server = Server::start(SERVES).await;
    let directory = TempDir::new().unwrap();
    let desk = Desk::new(files(&directory), Queue::default());
    let job = server.holding("clip");
    desk.fetch(&job);
    read(&desk, &job).await;
    let lose: [fn(&std::path::Path); 2] =
        [|path| std::fs::remove_file(path).unwrap(), |path| std::fs::write(path, "G28").unwrap()];
    for (times, lose) in (2..).zip(lose) {
        lose(&desk.at_hand(&job).unwrap().path);
        assert!(matches!(desk.state(&job), FileState::Unknown), "{:?}", desk.state(&job));
        assert!(desk.at_hand(&job).is_none(), "no printer is sent what is not there");
        assert_eq!(desk.fetch(&job), None, "at once");
        read(&desk, &job).await;
        assert_eq!(std::fs::read_to_string(desk.at_hand(&job).unwrap().path).unwrap(), part("clip"));
        assert_eq!(server.asked.load(Ordering::SeqCst), times);
    }
}
