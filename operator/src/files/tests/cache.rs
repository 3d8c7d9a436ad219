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
    assert_eq!((error.reason(), error.retry()), (Reason::FetchingFile, Retry::Backoff), "{error}");
    drop(held);
    fetch("e").await.unwrap();
    assert!(kept.path.exists());
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
