//! What only shows inside the cache: disks without room, and who reads at the same time.

use super::*;

/// After a restart many jobs may ask for files at once that were there before.
#[tokio::test]
async fn files_of_an_earlier_process_are_read_in_turn_before_their_first_use() {
    let directory = tempfile::tempdir().unwrap();
    let sha256 = hexadecimal(&Sha256::digest(b"G28"));
    let key = Key { namespace: "farm".to_owned(), sha256: sha256.clone() };
    std::fs::write(directory.path().join(key.file_name()), b"G28").unwrap();
    let cache = Arc::new(Cache::open(directory.path(), 1_000, Duration::MAX).unwrap());
    let all = u32::try_from(DIGESTS).unwrap();
    let turns = Arc::clone(&cache.digests).acquire_many_owned(all).await.unwrap();
    let find = |cache: &Arc<Cache>| {
        let (cache, sha256) = (Arc::clone(cache), sha256.clone());
        tokio::spawn(async move { cache.find("farm", &sha256).await.unwrap() })
    };
    let mut finds = [find(&cache), find(&cache)];
    let early = tokio::time::timeout(Duration::from_millis(200), &mut finds[0]).await;
    assert!(early.is_err(), "all turns are taken");
    drop(turns);
    for found in finds {
        assert!(found.await.unwrap().is_some());
    }
    assert_eq!(cache.digests.available_permits(), DIGESTS);
}

#[tokio::test]
async fn a_full_disk_is_said_to_be_full() {
    let directory = tempfile::tempdir().unwrap();
    let cache = Arc::new(Cache::open(directory.path(), 1_000, Duration::MAX).unwrap());
    let mut partial = cache.begin().unwrap();
    // What every write to this device is answered is what a full disk answers.
    partial.writer = tokio::fs::File::options().write(true).open("/dev/full").await.unwrap();
    let written = partial.write(b"G28").await;
    let error = match written {
        Ok(()) => partial.complete("farm").await.unwrap_err(),
        Err(error) => error,
    };
    assert!(matches!(error, FetchError::DiskFull { .. }), "{error:?}");
    assert_eq!(cache.index().partial_bytes, 0);
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
}
