//! What stays in the cache, what goes, and what a new process makes of what it finds there.

use super::*;

#[tokio::test]
async fn the_file_unused_for_longest_makes_room_and_files_in_use_never_do() {
    let letter = |axum::extract::Path(letter): axum::extract::Path<String>| async move { letter.repeat(50) };
    let address = serve(Router::new().route("/{letter}", get(letter))).await;
    let directory = TempDir::new().unwrap();
    let files = Files::new(FilesConfig { cache_bytes: 150, ..config(directory.path()) }).unwrap();
    let fetch = async |letter: &str| files.fetch(&http(format!("http://{address}/{letter}")), None).await;
    let kept = fetch("a").await.unwrap();
    for letter in ["b", "c"] {
        fetch(letter).await.unwrap();
    }
    files.fetch(&http("http://127.0.0.1:9/"), Some(&sha256("b".repeat(50).as_bytes()))).await.unwrap();
    fetch("d").await.unwrap();
    let mut left: Vec<String> = names_in(&directory);
    left.sort();
    let mut expected = ["a", "b", "d"].map(|letter| format!("farm.{}", sha256(letter.repeat(50).as_bytes())));
    expected.sort();
    assert_eq!(left, expected, "c was unused for longest, a is in use");
    let held = [fetch("b").await.unwrap(), fetch("d").await.unwrap()];
    let error = fetch("e").await.unwrap_err();
    assert_eq!((error.reason(), error.retry()), (Reason::FileCacheUnusable, Retry::Backoff), "{error}");
    drop(held);
    fetch("e").await.unwrap();
    assert!(kept.path.exists());
}

#[tokio::test]
async fn a_file_larger_than_the_whole_cache_costs_no_other_and_says_which_option_helps() {
    let bytes = |count| Ok::<_, std::io::Error>(vec![b'G'; count]);
    // The rest never comes, and need not be waited for.
    let announced = move || async move {
        let body = Body::from_stream(stream::iter([bytes(60)]).chain(stream::pending()));
        ([(header::CONTENT_LENGTH, "90")], body)
    };
    let chunked = move || async move { Body::from_stream(stream::iter([bytes(30), bytes(30), bytes(30)])) };
    let address = serve(Router::new().route("/large", get(announced)).route("/chunked", get(chunked))).await;
    let directory = TempDir::new().unwrap();
    let files = Files::new(FilesConfig { cache_bytes: 65, ..config(directory.path()) }).unwrap();
    let kept = files.fetch(&map("parts", "bracket"), None).await.unwrap().path;
    let error = files.fetch(&http(format!("http://{address}/large")), None).await.unwrap_err();
    assert!(kept.exists(), "what is announced is judged before room is made for it");
    for error in [error, files.fetch(&http(format!("http://{address}/chunked")), None).await.unwrap_err()] {
        assert_eq!((error.reason(), error.retry()), (Reason::FileCacheUnusable, Retry::Seldom), "{error}");
        assert!(error.to_string().contains("larger --cache-mebibytes"), "{error}");
    }
}

#[tokio::test]
async fn a_new_process_uses_good_files_and_neither_damaged_nor_half_written_ones() {
    let directory = TempDir::new().unwrap();
    let first = files(&directory).fetch(&map("parts", "bracket"), None).await.unwrap();
    std::fs::write(directory.path().join(".partial-left"), "G").unwrap();
    std::fs::write(directory.path().join("README"), "not ours").unwrap();
    // A source that is gone shows that the cache answered.
    let elsewhere = map("gone", "gone");
    let found = files(&directory).fetch(&elsewhere, Some(&sha256(GCODE))).await.unwrap();
    assert_eq!(found.path, first.path);
    let mut names = names_in(&directory);
    names.sort();
    assert_eq!(names, ["README".to_owned(), format!("farm.{}", sha256(GCODE))]);
    std::fs::write(&first.path, "G28 ; hame\n").unwrap();
    let error = files(&directory).fetch(&elsewhere, Some(&sha256(GCODE))).await.unwrap_err();
    assert_eq!(error.reason(), Reason::FileNotFound);
    assert!(!first.path.exists());
}

#[tokio::test]
async fn a_file_nobody_used_for_long_goes_while_it_runs_and_when_it_starts() {
    let directory = TempDir::new().unwrap();
    let day = Duration::from_hours(24);
    let open = || Files::new(FilesConfig { max_age: 30 * day, ..config(directory.path()) }).unwrap();
    let files = open();
    let file = files.fetch(&map("parts", "bracket"), None).await.unwrap();
    let later = |days: u32| SystemTime::now() + days * day;
    files.inner.cache.evict_old(later(31));
    assert!(file.path.exists(), "it is in use");
    let path = file.path.clone();
    drop(file);
    files.inner.cache.evict_old(later(29));
    assert!(path.exists());
    files.inner.cache.evict_old(later(31));
    assert!(!path.exists());

    let used_at = |age: Duration| {
        let file = std::fs::File::open(&path).unwrap();
        file.set_modified(SystemTime::now() - age).unwrap();
    };
    files.fetch(&map("parts", "bracket"), None).await.unwrap();
    used_at(29 * day);
    // Its use makes it young again, for the next process too.
    open().fetch(&map("gone", "gone"), Some(&sha256(GCODE))).await.unwrap();
    let age = std::fs::metadata(&path).unwrap().modified().unwrap().elapsed().unwrap();
    assert!(age < day, "{age:?}");
    used_at(31 * day);
    open();
    assert!(!path.exists());
}

#[tokio::test]
async fn a_full_disk_costs_the_files_nobody_uses() {
    let directory = TempDir::new().unwrap();
    let files = files(&directory);
    let unused = files.fetch(&map("parts", "bracket"), None).await.unwrap().path;
    let full = std::io::Error::from(std::io::ErrorKind::StorageFull);
    let full = files.inner.after(Err(FetchError::from(full))).unwrap_err();
    assert_eq!((full.reason(), full.retry()), (Reason::FileCacheUnusable, Retry::Backoff), "{full}");
    assert!(!unused.exists(), "the next try has more room");
}
