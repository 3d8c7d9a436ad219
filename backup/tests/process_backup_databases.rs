//! The program with real databases: what it backs up comes back in a drill, in a restore and by hand; what goes wrong on the
//! way is no recovery point.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests are tests")]

#[path = "postgres/mod.rs"]
mod database;
mod support;

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::{Command, Stdio};

use database::{Shop, processes_below, programs_with};
use printernizer_crds::backup_policy::RunReason;
use rusqlite::Connection;
use serde_json::json;
use support::{Pod, finish, restic};

/// A pod whose policy backs up the shop's database and a SQLite database in the volume `files`.
fn pod(shop: &Shop) -> Pod {
    let mut pod = Pod::new();
    // PostgreSQL does not run as root, and its user must get to the scratch space.
    std::fs::set_permissions(pod.root.path(), PermissionsExt::from_mode(0o711)).unwrap();
    pod.configuration["sources"] = json!({
        "sqlite": [{"claimName": "files", "path": "data/orders.db"}],
        "postgres": [{
            "host": "127.0.0.1", "port": shop.server.address().port(), "database": "shop",
            "credentialsSecretRef": {"name": "shop-database"},
            "caBundleConfigMapRef": {"name": "authority", "key": "ca.crt"},
        }],
    });
    std::fs::create_dir_all(pod.path("certificates/postgres-0")).unwrap();
    std::fs::copy(shop.reader().authority.unwrap(), pod.path("certificates/postgres-0/ca.pem")).unwrap();
    pod.set("PRINTERNIZER_BACKUP_POSTGRES_0_USERNAME", "reader");
    pod.set("PRINTERNIZER_BACKUP_POSTGRES_0_PASSWORD", database::PASSWORD);
    find_programs(&mut pod, &[shop.server.programs()]);
    pod
}

/// Lets the pod's PATH begin with these folders.
fn find_programs(pod: &mut Pod, folders: &[&Path]) {
    let restic = restic();
    let system = [restic.parent().unwrap(), Path::new("/usr/bin"), Path::new("/bin")];
    let path = std::env::join_paths(folders.iter().copied().chain(system)).unwrap();
    pod.set("PATH", path.to_str().unwrap());
}

/// A database that a program has open, with what it has not yet taken over from its log.
fn orders(pod: &Pod) -> Connection {
    pod.write("files/data/readme.txt", "orders");
    let owner = Connection::open(pod.path("sources/volumes/files/data/orders.db")).unwrap();
    let begin = "PRAGMA journal_mode = WAL; CREATE TABLE orders (id INTEGER PRIMARY KEY, what TEXT);
                 INSERT INTO orders (what) VALUES ('vase'), ('clip'), ('hook')";
    owner.execute_batch(begin).unwrap();
    owner
}

fn rows(database: &Path) -> i64 {
    Connection::open(database).unwrap().query_row("SELECT count(*) FROM orders", [], |row| row.get(0)).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn databases_come_back_in_a_drill_in_a_restore_and_by_hand() {
    let shop = Shop::open().await;
    let pod = pod(&shop);
    let owner = orders(&pod);
    let made = pod.succeed(&["backup"]);
    assert!(made.message.starts_with("2 sources with"), "{}", made.message);
    owner.execute("DELETE FROM orders", []).unwrap();
    shop.execute("DELETE FROM parts WHERE id > 10").await;

    let drilled = pod.succeed(&["drill"]);
    assert!(drilled.message.contains("SQLite database data/orders.db in volume files"), "{}", drilled.message);
    assert!(drilled.message.contains("PostgreSQL database shop at 127.0.0.1"), "{}", drilled.message);
    assert_eq!(processes_below(pod.root.path()), Vec::<String>::new());

    std::fs::create_dir_all(pod.path("restore/fresh")).unwrap();
    shop.execute("CREATE DATABASE back TEMPLATE template0 LOCALE_PROVIDER icu ICU_LOCALE 'de' OWNER reader").await;
    pod.succeed(&["restore", "--volume", "files=fresh", "--postgres", "0=back"]);
    assert_eq!(rows(&pod.path("restore/fresh/data/orders.db")), 3);
    let parts = async |database: &str| shop.server.execute(database, "SELECT count(*) FROM parts").await.unwrap();
    assert_eq!(parts("back").await, "1000");
    let refused = pod.fail(&["restore", "--postgres", "0=back"], RunReason::InvalidConfiguration);
    assert!(refused.contains("tables already"), "{refused}");
    shop.server.execute("back", "DELETE FROM parts").await.unwrap_err();
    shop.server.execute("back", "DELETE FROM words").await.unwrap();
    pod.succeed(&["restore", "--postgres", "0=back", "--overwrite"]);
    assert_eq!(shop.server.execute("back", "SELECT count(*) FROM words").await.unwrap(), "2");
    pod.fail(&["restore", "--postgres", "1=back"], RunReason::InvalidConfiguration);

    // With stock restic and PostgreSQL's own program, as the documents say.
    let copy = pod.path("by-hand.db");
    let dump = |path: &str| {
        let mut command = Command::new(restic());
        command.env("RESTIC_REPOSITORY", pod.path("target")).env("RESTIC_PASSWORD", support::PASSWORD);
        command.args(["--no-cache", "dump", "--host", "nightly.farm", "--path", path, "latest", path]);
        command
    };
    let output = dump("/files-data-orders.db").stdout(std::fs::File::create(&copy).unwrap()).status().unwrap();
    assert!(output.success());
    assert_eq!(rows(&copy), 3);
    shop.execute("CREATE DATABASE hand TEMPLATE template0 LOCALE_PROVIDER icu ICU_LOCALE 'de'").await;
    let path = format!("/127.0.0.1-{}-shop.dump", shop.server.address().port());
    let mut restic = dump(&path).stdout(Stdio::piped()).spawn().unwrap();
    let (user, password) = shop.server.superuser();
    let mut restore = Command::new(shop.server.programs().join("pg_restore"));
    restore.args(["--no-owner", "--exit-on-error", "--host=127.0.0.1", "--dbname=hand"]).env("PGPASSWORD", password);
    restore.arg(format!("--port={}", shop.server.address().port())).arg(format!("--username={user}"));
    assert!(restore.stdin(restic.stdout.take().unwrap()).status().unwrap().success());
    assert!(restic.wait().unwrap().success());
    assert_eq!(parts("hand").await, "1000");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_not_read_to_its_end_makes_no_recovery_point() {
    let shop = Shop::open().await;
    let mut pod = pod(&shop);
    let owner = orders(&pod);
    let none = |pod: &Pod, why: &str| {
        let listed = finish(&mut pod.command(&["list"]));
        assert_eq!(listed.trim(), "", "{why}");
        assert!(!pod.by_hand(&["snapshots", "--json"]).contains("source=postgres"), "{why}");
    };
    // The repository, without anything in it.
    pod.configuration["sources"]["postgres"][0]["database"] = json!("shop2");
    let message = pod.fail(&["backup"], RunReason::SourceUnavailable);
    assert!(message.contains("there is no database 127.0.0.1"), "{message}");
    assert_eq!(support::entries(&pod.path("target")), 0, "nothing is begun before every source is there");
    pod.configuration["sources"]["postgres"][0]["database"] = json!("shop");

    // A dump that ends in its middle, by an error or by a signal.
    for end in ["echo 'pg_dump: error: server closed the connection unexpectedly' >&2; exit 1", "kill -9 $$"] {
        let script = format!(
            "#!/bin/sh\nif [ \"$1\" = --version ]; then exec REAL --version; fi\nREAL \"$@\" | head -c 20000\n{end}\n"
        );
        let broken = programs_with(&shop, "pg_dump", &script);
        find_programs(&mut pod, &[broken.path(), shop.server.programs()]);
        pod.fail(&["backup"], RunReason::SourceUnavailable);
        none(&pod, end);
    }
    let old = programs_with(&shop, "pg_dump", "#!/bin/sh\necho 'pg_dump (PostgreSQL) 12.4'\n");
    find_programs(&mut pod, &[old.path(), shop.server.programs()]);
    let message = pod.fail(&["backup"], RunReason::SourceUnavailable);
    assert!(message.contains("which cannot dump newer servers"), "{message}");
    none(&pod, "an old pg_dump");
    find_programs(&mut pod, &[shop.server.programs()]);

    pod.set("PRINTERNIZER_BACKUP_POSTGRES_0_PASSWORD", "quite-wrong-secret");
    let ended = pod.run(&["backup"]);
    assert_eq!(ended.report.reason, RunReason::SourceUnavailable);
    assert!(ended.report.message.contains("does not let user reader in"), "{}", ended.report.message);
    assert!(!ended.output.contains("quite-wrong-secret"), "{}", ended.output);
    pod.set("PRINTERNIZER_BACKUP_POSTGRES_0_PASSWORD", database::PASSWORD);

    // A SQLite database that is damaged, and one that is a way out of its volume.
    let path = pod.path("sources/volumes/files/data/orders.db");
    owner.close().unwrap();
    let whole = std::fs::read(&path).unwrap();
    let mut damaged = whole.clone();
    damaged[4096..].fill(0xa5);
    std::fs::write(&path, damaged).unwrap();
    pod.fail(&["backup"], RunReason::SourceDamaged);
    none(&pod, "a damaged database");
    let outside = pod.path("outside.db");
    std::fs::write(&outside, &whole).unwrap();
    std::fs::remove_file(&path).unwrap();
    symlink(&outside, &path).unwrap();
    let message = pod.fail(&["backup"], RunReason::InvalidConfiguration);
    assert!(message.contains("leads out of the volume"), "{message}");

    // And the next run with everything in order heals it.
    std::fs::remove_file(&path).unwrap();
    std::fs::write(&path, &whole).unwrap();
    pod.succeed(&["backup"]);
}
