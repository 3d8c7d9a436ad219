//! Transfers that break off, against a server that does as it is told: each connection gets one answer.

use super::*;

/// What the server of a test does with one request.
enum Answer {
    /// Sends this and closes the connection.
    Bytes(String),
    /// Sends this head, and of the body so many bytes from this one on, and closes.
    Part { head: &'static str, from: usize, count: usize },
}

/// The file: 90 bytes, of which a test sees where they were taken from.
fn whole() -> Vec<u8> {
    (0..90).map(|n| b'!' + n).collect()
}

/// Gives each connection the next answer; gives back what was asked, in small letters.
async fn serve_answers(answers: Vec<Answer>) -> (SocketAddr, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let asked: Arc<Mutex<Vec<String>>> = Arc::default();
    let log = Arc::clone(&asked);
    tokio::spawn(async move {
        for answer in answers {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = vec![0; 4096];
            let count = stream.read(&mut request).await.unwrap();
            log.lock().unwrap().push(String::from_utf8_lossy(&request[..count]).to_lowercase());
            let bytes = match answer {
                Answer::Bytes(text) => text.into_bytes(),
                Answer::Part { head, from, count } => {
                    [head.as_bytes(), b"\r\n\r\n", &whole()[from..from + count]].concat()
                }
            };
            stream.write_all(&bytes).await.unwrap();
        }
    });
    (address, asked)
}

const WHOLE: &str = "HTTP/1.1 200 OK\r\nETag: \"one\"\r\nContent-Length: 90";

fn cut(count: usize) -> Answer {
    Answer::Part { head: WHOLE, from: 0, count }
}

async fn fetch(answers: Vec<Answer>) -> (Result<String, FetchError>, Vec<String>) {
    let (address, asked) = serve_answers(answers).await;
    let directory = TempDir::new().unwrap();
    let fetched = files(&directory).fetch(&http(format!("http://{address}/a")), None).await;
    let fetched = fetched.map(|file| {
        assert_eq!(file.sha256, sha256(&std::fs::read(&file.path).unwrap()), "the digest is that of the bytes on disk");
        file.sha256
    });
    if fetched.is_err() {
        assert_eq!(names_in(&directory), Vec::<String>::new());
    }
    let asked = asked.lock().unwrap().clone();
    (fetched, asked)
}

#[tokio::test]
async fn a_transfer_that_breaks_off_goes_on_where_it_stopped() {
    let rest = "HTTP/1.1 206 Partial Content\r\nETag: \"one\"\r\nContent-Range: bytes 40-89/90\r\nContent-Length: 50";
    let end = "HTTP/1.1 206 Partial Content\r\nETag: \"one\"\r\nContent-Range: bytes 60-89/90\r\nContent-Length: 30";
    let answers = vec![
        cut(40),
        Answer::Part { head: rest, from: 40, count: 20 },
        Answer::Part { head: end, from: 60, count: 30 },
    ];
    let (fetched, asked) = fetch(answers).await;
    assert_eq!(fetched.unwrap(), sha256(&whole()));
    assert!(!asked[0].contains("range"), "{}", asked[0]);
    for (request, from) in [(&asked[1], "range: bytes=40-"), (&asked[2], "range: bytes=60-")] {
        assert!(request.contains(from) && request.contains("if-range: \"one\""), "{request}");
    }
}

#[tokio::test]
async fn a_server_that_cannot_be_reached_for_a_moment_is_asked_again_for_the_rest() {
    let rest = "HTTP/1.1 206 Partial Content\r\nETag: \"one\"\r\nContent-Range: bytes 40-89/90\r\nContent-Length: 50";
    let gone = Answer::Bytes(String::new());
    let (fetched, asked) = fetch(vec![cut(40), gone, Answer::Part { head: rest, from: 40, count: 50 }]).await;
    assert_eq!((fetched.unwrap(), asked.len()), (sha256(&whole()), 3));
}

#[tokio::test]
async fn a_file_that_has_changed_meanwhile_is_fetched_from_its_beginning() {
    let new = "HTTP/1.1 200 OK\r\nETag: \"two\"\r\nContent-Length: 7\r\n\r\nanother";
    let (fetched, asked) = fetch(vec![cut(40), Answer::Bytes(new.to_owned())]).await;
    assert_eq!((fetched.unwrap(), asked.len()), (sha256(b"another"), 2));
}

#[tokio::test]
async fn parts_of_two_files_are_never_put_together() {
    for head in [
        // Another version, or one that is not named.
        "HTTP/1.1 206 Partial Content\r\nETag: \"two\"\r\nContent-Range: bytes 40-89/90\r\nContent-Length: 50",
        "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 40-89/90\r\nContent-Length: 50",
        // Another part than asked for, or one that is not named.
        "HTTP/1.1 206 Partial Content\r\nETag: \"one\"\r\nContent-Range: bytes 30-79/90\r\nContent-Length: 50",
        "HTTP/1.1 206 Partial Content\r\nETag: \"one\"\r\nContent-Range: bytes x\r\nContent-Length: 50",
        "HTTP/1.1 206 Partial Content\r\nETag: \"one\"\r\nContent-Length: 50",
        "HTTP/1.1 416 Range Not Satisfiable\r\nContent-Length: 50",
    ] {
        let (fetched, asked) = fetch(vec![cut(40), Answer::Part { head, from: 40, count: 50 }]).await;
        let error = fetched.unwrap_err();
        assert_eq!((error.reason(), error.retry()), (Reason::SourceUnreachable, Retry::Backoff), "{head}: {error}");
        assert_eq!(asked.len(), 2, "{head}");
    }
}

#[tokio::test]
async fn a_server_that_sends_less_than_the_rest_has_not_sent_the_file() {
    let some = "HTTP/1.1 206 Partial Content\r\nETag: \"one\"\r\nContent-Range: bytes 40-59/90\r\nContent-Length: 20";
    let rest = "HTTP/1.1 206 Partial Content\r\nETag: \"one\"\r\nContent-Range: bytes 60-89/90\r\nContent-Length: 30";
    let answers = vec![
        cut(40),
        Answer::Part { head: some, from: 40, count: 20 },
        Answer::Part { head: rest, from: 60, count: 30 },
    ];
    let (fetched, asked) = fetch(answers).await;
    assert_eq!((fetched.unwrap(), asked.len()), (sha256(&whole()), 3));
}

#[tokio::test]
async fn without_a_sure_name_of_its_version_a_file_is_not_continued() {
    for head in [
        "HTTP/1.1 200 OK\r\nContent-Length: 90",
        "HTTP/1.1 200 OK\r\nETag: W/\"one\"\r\nContent-Length: 90",
        "HTTP/1.1 200 OK\r\nLast-Modified: Sat, 21 Nov 2026 10:00:00 GMT\r\nContent-Length: 90",
    ] {
        let again = Answer::Bytes(String::new());
        let (fetched, asked) = fetch(vec![Answer::Part { head, from: 0, count: 40 }, again]).await;
        let error = fetched.unwrap_err();
        assert_eq!((error.reason(), asked.len()), (Reason::SourceUnreachable, 1), "{head}: {error}");
    }
}

#[tokio::test]
async fn a_transfer_that_breaks_off_again_and_again_is_given_up_for_now() {
    let nothing = || Answer::Bytes(String::new());
    let (fetched, asked) = fetch(std::iter::once(cut(40)).chain((0..9).map(|_| nothing())).collect()).await;
    let error = fetched.unwrap_err();
    assert_eq!((error.reason(), error.retry()), (Reason::SourceUnreachable, Retry::Backoff), "{error}");
    assert_eq!(asked.len(), 6, "the first and five more");
}
