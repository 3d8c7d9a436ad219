//! A mistake in this program while a file is fetched: an error like any other, for all who wait for that file.

use super::*;

#[tokio::test]
async fn a_panic_is_an_error_for_all_who_wait_and_the_next_fetch_succeeds() {
    let directory = TempDir::new().unwrap();
    let asked = AtomicUsize::new(0);
    let objects = Objects::of(move |_, _| {
        assert!(asked.fetch_add(1, Ordering::SeqCst) > 0, "a bug");
        Some(GCODE.to_vec())
    });
    let files = Files::new(FilesConfig { references: objects, ..config(directory.path()) }).unwrap();
    let request = map("parts", "bracket");
    let both = async { tokio::join!(files.fetch(&request, None), files.fetch(&request, None)) };
    let both = tokio::time::timeout(Duration::from_secs(20), both).await.expect("nobody waits for ever");
    for result in [both.0, both.1] {
        let error = result.unwrap_err();
        assert_eq!((error.reason(), error.retry()), (Reason::FetchingFile, Retry::Backoff), "{error}");
    }
    assert_eq!(names_in(&directory), Vec::<String>::new(), "nothing half-written stays");
    assert_eq!(files.fetch(&request, None).await.unwrap().size_bytes, 11);
}
