//! Dumps of a real PostgreSQL server, with TLS and passwords, restored into servers of our own.
#![cfg(test)]

#[path = "postgres/mod.rs"]
mod support;

use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;
use std::time::Duration;

use printernizer_backup::postgres::{self, PostgresError, Snapshot};
use printernizer_crds::backup_policy::RunReason;
use printernizer_e2e::wait_until;
use support::{PASSWORD, Shop, children, dumped, folder, other_authority, processes_below, programs_with, scratch};
use tempfile::NamedTempFile;

/// More than fits between two programs.
const BIG: &str = "CREATE TABLE big AS SELECT n, repeat(md5(n::text), 20) FROM generate_series(1, 40000) n";

#[tokio::test]
async fn a_dump_is_restored_and_has_exactly_the_rows_of_its_moment() {
    let shop = Shop::open().await;
    let connection = shop.reader();
    let mut snapshot = Snapshot::take(&connection).await.unwrap();
    // What comes later is neither in the dump nor in what proves it.
    shop.execute("INSERT INTO parts (name) SELECT 'late' FROM generate_series(1, 50); CREATE TABLE late (id int)")
        .await;
    let file = dumped(&snapshot.dump().unwrap()).await;
    let proof = snapshot.proof().await.unwrap();
    assert_eq!(proof.rows.tables["public.parts"], 1000);
    assert_eq!(proof.rows.tables["\"Größe \"\"XL\"\"\".\"a.b\nc\""], 3);
    assert_eq!(proof.rows.tables["public.prints_2026"], 40);
    assert_eq!(proof.policy_roles, ["night shift"]);
    assert!(!proof.rows.tables.contains_key("public.prints"), "a partitioned table has no rows of its own");
    assert!(!proof.rows.tables.contains_key("public.late"));

    let scratch = scratch();
    postgres::verify(&connection.programs, scratch.path(), opened(&file), &proof).await.unwrap();
    let mut other = proof.clone();
    other.rows.tables.insert("public.parts".to_owned(), 1001);
    let error = postgres::verify(&connection.programs, scratch.path(), opened(&file), &other).await.unwrap_err();
    assert_eq!(error.reason(), RunReason::RestoreDiffers);
    assert!(error.to_string().contains("table public.parts has 1000 rows instead of 1001"), "{error}");

    // As pg_restore was before it kept psql from taking commands out of a dump.
    let older = "#!/bin/sh\nREAL \"$@\" | grep -v 'restrict '\n";
    let older = programs_with(&shop, "pg_restore", older);
    let older = postgres::Programs::in_folder(older.path());
    let error = postgres::verify(&older, scratch.path(), opened(&file), &proof).await.unwrap_err();
    assert!(matches!(error, PostgresError::Unrestricted), "{error:?}");

    // A dump that was cut anywhere is found.
    let whole = std::fs::metadata(file.path()).unwrap().len();
    for length in [whole / 2, whole - 200] {
        let cut = tempfile::NamedTempFile::new().unwrap();
        std::fs::copy(file.path(), cut.path()).unwrap();
        cut.as_file().set_len(length).unwrap();
        let error = postgres::verify(&connection.programs, scratch.path(), opened(&cut), &proof).await.unwrap_err();
        assert!(matches!(error, PostgresError::DumpDamaged { .. }), "{length}: {error:?}");
    }
    assert_eq!(folder(scratch.path()), Vec::<String>::new());
    assert_eq!(processes_below(scratch.path()), Vec::<String>::new());
}

fn opened(file: &NamedTempFile) -> File {
    File::open(file.path()).unwrap()
}

fn open(file: &NamedTempFile) -> Stdio {
    opened(file).into()
}

#[tokio::test]
async fn what_the_authors_of_a_database_wrote_reaches_nothing_but_the_scratch_server() {
    let shop = Shop::open().await;
    let scratch = scratch();
    std::fs::set_permissions(scratch.path(), PermissionsExt::from_mode(0o777)).unwrap();
    let dump = async || {
        let mut snapshot = Snapshot::take(&shop.reader()).await.unwrap();
        let proof = snapshot.proof().await.unwrap();
        (dumped(&snapshot.dump().unwrap()).await, proof)
    };
    // What only a superuser may make, and a drill needs: extensions; and what it does not: what runs at each statement.
    let extensions = "CREATE SCHEMA measures; CREATE EXTENSION cube SCHEMA measures; CREATE EXTENSION earthdistance; \
                      CREATE EXTENSION pg_stat_statements; CREATE EXTENSION postgres_fdw; \
                      CREATE SERVER other FOREIGN DATA WRAPPER postgres_fdw; COMMENT ON EXTENSION cube IS 'boxes'; \
                      CREATE TABLE boxes (box measures.cube); INSERT INTO boxes VALUES ('(1,2)')";
    shop.execute(extensions).await;
    let trace = scratch.path().join("trace");
    let run = format!("COPY (SELECT 1) TO PROGRAM 'cat > {}'", trace.display());
    let watch = format!("CREATE FUNCTION watch() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN {run}; END $$");
    shop.server.execute("shop", &watch).await.unwrap();
    shop.execute("CREATE EVENT TRIGGER watch ON ddl_command_end EXECUTE FUNCTION watch()").await;
    let programs = shop.reader().programs;
    let (file, proof) = dump().await;
    assert!(!trace.exists());
    postgres::verify(&programs, scratch.path(), opened(&file), &proof).await.unwrap();
    assert!(!trace.exists(), "an event trigger ran");

    // What runs while it is loaded runs as somebody who may not.
    shop.execute("DROP EVENT TRIGGER watch").await;
    let steal = format!("CREATE FUNCTION steal() RETURNS int LANGUAGE plpgsql AS $$ BEGIN {run}; RETURN 1; END $$");
    shop.server.execute("shop", &steal).await.unwrap();
    shop.execute("CREATE MATERIALIZED VIEW lure AS SELECT steal()").await;
    let (file, proof) = dump().await;
    std::fs::remove_file(&trace).unwrap();
    let error = postgres::verify(&programs, scratch.path(), opened(&file), &proof).await.unwrap_err();
    assert!(!trace.exists(), "a program ran: {error}");
    assert!(matches!(error, PostgresError::NotRestored { .. }), "{error:?}");
    assert!(error.to_string().contains("A drill restores as a role"), "{error}");
}

#[tokio::test]
async fn a_verification_that_is_given_up_leaves_no_server() {
    let shop = Shop::open().await;
    let mut snapshot = Snapshot::take(&shop.reader()).await.unwrap();
    let proof = snapshot.proof().await.unwrap();
    let scratch = scratch();
    let programs = shop.reader().programs;
    // A dump that never comes.
    let (reading, _writing) = std::io::pipe().unwrap();
    let verification = postgres::verify(&programs, scratch.path(), OwnedFd::from(reading).into(), &proof);
    let running = wait_until("the server runs", Duration::from_mins(3), async || {
        let processes = processes_below(scratch.path());
        if processes.iter().any(|line| line.contains("restored")) { Ok(()) } else { Err(processes) }
    });
    tokio::select! {
        result = verification => panic!("{result:?}"),
        running = running => running.unwrap(),
    }
    assert_eq!(folder(scratch.path()), Vec::<String>::new());
    assert_eq!(processes_below(scratch.path()), Vec::<String>::new());
}

#[tokio::test]
async fn each_trouble_with_a_server_says_what_to_do_and_holds_no_secret() {
    let shop = Shop::open().await;
    let refused = async |change: &dyn Fn(&mut postgres::Connection)| {
        let mut connection = shop.reader();
        change(&mut connection);
        let error = Snapshot::take(&connection).await.err().unwrap();
        assert_eq!(error.reason(), RunReason::SourceUnavailable, "{error:?}");
        let text = format!("{error} {error:?}");
        assert!(!text.contains(PASSWORD) && !text.contains("wrong-secret"), "{text}");
        error
    };
    let error = refused(&|c| c.password = Some("wrong-secret".into())).await;
    assert!(matches!(error, PostgresError::Refused { .. }), "{error:?}");
    assert!(error.to_string().contains("check username and password in the Secret"), "{error}");
    let error = refused(&|c| c.username = "nobody here".to_owned()).await;
    assert!(matches!(error, PostgresError::Refused { .. }), "{error:?}");
    let error = refused(&|c| c.password = None).await;
    assert!(matches!(error, PostgresError::Refused { .. }), "{error:?}");
    let error = refused(&|c| c.database = "shop2".to_owned()).await;
    assert!(matches!(error, PostgresError::NoDatabase { .. }), "{error:?}");
    assert!(error.to_string().contains("/shop2; check its name"), "{error}");

    let other = other_authority();
    let error = refused(&|c| c.authority = Some(other.path().to_owned())).await;
    assert!(matches!(error, PostgresError::Certificate { .. }), "{error:?}");
    let error = refused(&|c| c.authority = Some("/nonexistent/ca.pem".into())).await;
    assert!(matches!(error, PostgresError::Certificate { .. }), "{error:?}");

    // A port that was free a moment ago.
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let error = refused(&|c| c.port = free).await;
    assert!(matches!(error, PostgresError::Unreachable { .. }), "{error:?}");
    assert!(error.to_string().contains("check host and port"), "{error}");

    // A pg_dump that is older than the server.
    let old = programs_with(&shop, "pg_dump", "#!/bin/sh\necho 'pg_dump (PostgreSQL) 12.4 (Debian 12.4-1)'\n");
    let error = refused(&|c| c.programs = postgres::Programs::in_folder(old.path())).await;
    assert!(matches!(error, PostgresError::TooNew { dump: 12, .. }), "{error:?}");
    assert!(error.to_string().contains("--backup-image"), "{error}");

    // A user who may not read everything.
    shop.execute("REVOKE pg_read_all_data FROM reader").await;
    let mut snapshot = Snapshot::take(&shop.reader()).await.unwrap();
    let error = snapshot.proof().await.unwrap_err();
    assert!(matches!(error, PostgresError::Denied { .. }), "{error:?}");
    assert!(error.to_string().contains("grant it the role pg_read_all_data"), "{error}");
    // A table whose rows a policy would hide is an error, not a smaller backup.
    shop.execute("GRANT pg_read_all_data TO reader; ALTER ROLE reader NOBYPASSRLS").await;
    let error = Snapshot::take(&shop.reader()).await.unwrap().proof().await.unwrap_err();
    assert!(error.to_string().contains("BYPASSRLS"), "{error}");
}

#[tokio::test]
async fn no_argument_of_a_program_holds_the_password() {
    let shop = Shop::open().await;
    shop.execute(BIG).await;
    let snapshot = Snapshot::take(&shop.reader()).await.unwrap();
    let dump = snapshot.dump().unwrap();
    assert!(!format!("{dump:?}").contains(PASSWORD), "{dump:?}");
    // It waits until somebody reads what it writes.
    let mut command = support::command(&dump);
    let _running = command.stdout(Stdio::piped()).kill_on_drop(true).spawn().unwrap();
    let seen = wait_until("pg_dump runs", Duration::from_mins(1), async || {
        let children = children();
        let both = ["psql", "pg_dump"].iter().all(|name| children.iter().any(|line| line.contains(name)));
        if both { Ok(children) } else { Err(children) }
    });
    for line in seen.await.unwrap() {
        assert!(!line.contains(PASSWORD), "{line}");
    }
}

#[tokio::test]
async fn a_dump_whose_server_goes_ends_with_an_error() {
    let shop = Shop::open().await;
    shop.execute(BIG).await;
    let connection = shop.reader();
    let snapshot = Snapshot::take(&connection).await.unwrap();
    let mut command = support::command(&snapshot.dump().unwrap());
    let mut running = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut output = running.stdout.take().unwrap();
    // It has begun, and cannot have ended: nobody reads the rest.
    let mut begun = [0; 1024];
    tokio::io::AsyncReadExt::read_exact(&mut output, &mut begun).await.unwrap();
    drop(shop);
    tokio::io::copy(&mut output, &mut tokio::io::sink()).await.unwrap();
    let ended = running.wait_with_output().await.unwrap();
    assert!(!ended.status.success());
    let error = connection.explain(&String::from_utf8_lossy(&ended.stderr));
    assert!(matches!(error, PostgresError::Unreachable { .. }), "{error:?}");
}

#[tokio::test]
async fn a_database_is_only_restored_into_when_it_is_empty_or_may_be_overwritten() {
    let shop = Shop::open().await;
    let mut snapshot = Snapshot::take(&shop.reader()).await.unwrap();
    let proof = snapshot.proof().await.unwrap();
    let file = dumped(&snapshot.dump().unwrap()).await;
    drop(snapshot);
    shop.execute("CREATE DATABASE empty TEMPLATE template0 LOCALE_PROVIDER icu ICU_LOCALE 'de'").await;
    // As pg_restore 17 writes for every server, which only servers from 17 on know.
    let newer = "#!/bin/sh\necho 'SET transaction_timeout = 0;'\nexec REAL \"$@\"\n";
    let newer = programs_with(&shop, "pg_restore", newer);
    let mut into = shop.owner("empty");
    into.programs = postgres::Programs::in_folder(newer.path());
    postgres::restore(&into, open(&file), &proof, false).await.unwrap();
    let parts = async || shop.server.execute("empty", "SELECT count(*) FROM parts").await.unwrap();
    assert_eq!(parts().await, "1000");

    let error = postgres::restore(&into, open(&file), &proof, false).await.unwrap_err();
    assert_eq!(error.reason(), RunReason::InvalidConfiguration);
    assert!(matches!(error, PostgresError::NotEmpty { .. }), "{error:?}");

    shop.server.execute("empty", "DELETE FROM parts WHERE id > 5; CREATE TABLE mine (id int)").await.unwrap();
    // What does not turn out as it was recorded is not committed.
    let mut other = proof.clone();
    other.rows.tables.insert("public.parts".to_owned(), 7);
    let error = postgres::restore(&into, open(&file), &other, true).await.unwrap_err();
    assert!(matches!(error, PostgresError::Differs { .. }), "{error:?}");
    assert_eq!(parts().await, "5");
    postgres::restore(&into, open(&file), &proof, true).await.unwrap();
    assert_eq!(parts().await, "1000");
    assert_eq!(shop.server.execute("empty", "SELECT count(*) FROM mine").await.unwrap(), "0");

    // And what the server does not take is told, with nothing changed.
    shop.server
        .execute("empty", "CREATE VIEW needs AS SELECT * FROM parts; DELETE FROM parts WHERE id > 3")
        .await
        .unwrap();
    let error = postgres::restore(&into, open(&file), &proof, true).await.unwrap_err();
    assert!(matches!(error, PostgresError::NotRestored { .. }), "{error:?}");
    assert!(error.to_string().contains("depend"), "{error}");
    assert_eq!(parts().await, "3");
}
