//! What the data folder refuses, and what it keeps from one opening to the next.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use std::fs;
use std::num::NonZeroU16;
use std::path::Path;
use std::sync::Arc;

use recoup_store::block::prints::print_of;
use recoup_store::conformance::event_log::{contents, event, incoming};
use recoup_store::{
    Appended, Books, Documents, EventLog, Expect, Incoming, Key, PutOutcome, StoreError, Write, WriteError,
};
use recoup_store_sqlite::{FolderDocuments, OpenError, Options, SqliteStore};
use rusqlite::Connection;

fn open(folder: &Path) -> Result<SqliteStore, OpenError> {
    SqliteStore::open(folder, Options::default())
}

fn with_lanes(lanes: u16) -> Options {
    Options { lanes: NonZeroU16::new(lanes) }
}

/// The error and everything behind it.
fn words(error: &OpenError) -> String {
    let mut words = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        words = format!("{words}: {cause}");
        source = cause.source();
    }
    words
}

#[test]
fn evt_2_a_second_opener_is_told_who_holds_the_folder() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).unwrap();
    let error = open(folder.path()).unwrap_err();
    assert!(matches!(error, OpenError::Locked { pid: Some(pid), .. } if pid == std::process::id()));
    let expected = format!("is in use by process {}; stop that process", std::process::id());
    assert!(words(&error).contains(&expected), "{}", words(&error));
    drop(store);
    drop(open(folder.path()).unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn evt_2_everything_is_there_after_opening_again() {
    let folder = tempfile::tempdir().unwrap();
    let sent = incoming(event("t", "a", 1));
    let key = Key::new("p", "a");
    {
        let store = open(folder.path()).unwrap();
        store.append(vec![sent.clone()]).await.unwrap();
        store
            .write(vec![Write::Put { key: key.clone(), value: "1".to_owned(), expect: Expect::Absent, until_s: None }])
            .await
            .unwrap();
        store.documents().put_once("a/b", b"x".to_vec()).await.unwrap();
    }
    let store = Arc::new(open(folder.path()).unwrap());
    assert_eq!(store.append(vec![sent.clone()]).await.unwrap(), [Appended::Duplicate]);
    assert_eq!(store.get(&key).await.unwrap().unwrap().value, "1");
    assert_eq!(store.documents().put_once("a/b", b"x".to_vec()).await.unwrap(), PutOutcome::Same);
    let log: Arc<dyn EventLog> = store;
    assert_eq!(contents(&log).await, [sent.recorded]);
}

#[tokio::test(flavor = "multi_thread")]
async fn atr_1_a_trace_stays_in_the_lane_of_its_fingerprint() {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(folder.path(), with_lanes(4)).unwrap();
    let events: Vec<_> = (0..40).map(|at| incoming(event(&format!("t{at}"), "a", 1))).collect();
    store.append(events.clone()).await.unwrap();
    let infos = store.blocks_after(0, 100).await.unwrap();
    assert_eq!(infos.len(), 4);
    for incoming in &events {
        let lane = u16::try_from(incoming.identity.trace % 4).unwrap();
        let blocks = store.blocks_of_traces(vec![incoming.identity.trace]).await.unwrap();
        let info = infos.iter().find(|info| info.seq == blocks[0].1).unwrap();
        assert_eq!(info.lane, lane);
        assert!(store.blocks_of_day(info.utc_day, lane).await.unwrap().contains(info));
    }
}

#[test]
fn atr_1_lanes_are_fixed_when_the_folder_is_created() {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(SqliteStore::open(folder.path(), with_lanes(3)).unwrap().lanes(), 3);
    assert_eq!(open(folder.path()).unwrap().lanes(), 3);
    let error = SqliteStore::open(folder.path(), with_lanes(2)).unwrap_err();
    assert_eq!(words(&error), "the log was created with 3 lanes, not 2; lanes are fixed, set `lanes` back to 3");
    let plain = tempfile::tempdir().unwrap();
    assert_eq!(open(plain.path()).unwrap().lanes(), 1);
}

#[test]
fn clo_1_a_newer_or_foreign_database_is_refused_unchanged() {
    let folder = tempfile::tempdir().unwrap();
    drop(open(folder.path()).unwrap());
    let file = folder.path().join("recoup.sqlite3");
    let database = Connection::open(&file).unwrap();
    database.pragma_update(None, "user_version", 7).unwrap();
    drop(database);
    let error = open(folder.path()).unwrap_err();
    assert!(words(&error).contains("has tables of version 7, this release knows up to 6; use a newer release"));

    fs::remove_file(&file).unwrap();
    let database = Connection::open(&file).unwrap();
    database.execute_batch("CREATE TABLE theirs (a)").unwrap();
    drop(database);
    assert!(matches!(open(folder.path()), Err(OpenError::Foreign { .. })));
    let database = Connection::open(&file).unwrap();
    let tables: u32 = database.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0)).unwrap();
    assert_eq!(tables, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn clo_1_a_broken_file_is_refused_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).unwrap();
    store.append((0..500).map(|at| incoming(event("t", &format!("e{at}"), 1))).collect()).await.unwrap();
    drop(store);
    let file = folder.path().join("recoup.sqlite3");
    let whole = fs::read(&file).unwrap();
    let mut scribbled = whole.clone();
    scribbled[..16].copy_from_slice(b"not a database!!");
    for broken in [&whole[..whole.len() - 4096], &whole[..50], &scribbled] {
        fs::write(&file, broken).unwrap();
        let error = open(folder.path()).unwrap_err();
        assert!(matches!(error, OpenError::Damaged { .. }), "{}", words(&error));
        assert!(words(&error).contains("restore the data folder from a backup"));
        assert_eq!(fs::read(&file).unwrap(), broken, "nothing is repaired in silence");
    }
    fs::write(&file, whole).unwrap();
    drop(open(folder.path()).unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn clo_1_a_damaged_block_is_named_and_the_others_stay_readable() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).unwrap();
    for at in 0..2 {
        store.append(vec![incoming(event("t", &format!("e{at}"), 1))]).await.unwrap();
    }
    let database = Connection::open(folder.path().join("recoup.sqlite3")).unwrap();
    let mut bytes: Vec<u8> =
        database.query_row("SELECT bytes FROM blocks WHERE seq = 1", [], |row| row.get(0)).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    database.execute("UPDATE blocks SET bytes = ?1 WHERE seq = 1", [bytes]).unwrap();
    let Err(StoreError::Damaged { what, detail }) = store.read(vec![1]).await else {
        unreachable!("a damaged block was read")
    };
    assert_eq!(what, "block 1 of 2026-10-01, lane 0");
    assert!(detail.contains("checksum does not match"), "{detail}");
    assert_eq!(store.read(vec![2]).await.unwrap().len(), 1);
}

/// Lays the books as version 5 did; of its views only the names matter.
const BOOKS_OF_5: &str = "DROP VIEW v_books; DROP VIEW v_task_prices; DROP VIEW v_ledger; DROP VIEW v_statements; \
    DROP TABLE books; \
    CREATE TABLE books ( \
        \"partition\" TEXT NOT NULL, sort TEXT NOT NULL, version INTEGER NOT NULL, value TEXT NOT NULL, until_s INTEGER, \
        PRIMARY KEY (\"partition\", sort) \
    ) STRICT, WITHOUT ROWID; \
    CREATE INDEX books_until ON books (until_s) WHERE until_s IS NOT NULL; \
    CREATE VIEW v_books AS SELECT sort FROM books; CREATE VIEW v_task_prices AS SELECT sort FROM books; \
    CREATE VIEW v_ledger AS SELECT sort FROM books; CREATE VIEW v_statements AS SELECT sort FROM books; \
    CREATE VIEW v_cells AS SELECT sort FROM books;";
/// Takes away what came with version 5.
const WITHOUT_UNTIL: &str = "DROP INDEX books_until; ALTER TABLE books DROP COLUMN until_s;";
/// Takes away what came with version 4.
const WITHOUT_LEASES: &str =
    "DROP TABLE reserved; DROP TABLE leases; DROP TABLE lease_counters; DROP TABLE lease_settled;";
/// Takes away what came with version 3.
const WITHOUT_LIVE: &str = "DROP INDEX blocks_by_digest; DROP TABLE live_traces; DROP TABLE live_blocks; \
    DROP TABLE live_posted; DROP TABLE counters;";

/// The tables and indexes of a folder as they were created.
fn tables(folder: &Path) -> Vec<(String, String)> {
    let database = Connection::open(folder.join("recoup.sqlite3")).unwrap();
    let mut select =
        database.prepare("SELECT name, sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY name").unwrap();
    let rows = select.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
    rows.collect::<Result<_, _>>().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn evt_2_a_folder_of_tables_without_prints_is_brought_up_to_date() {
    let folder = tempfile::tempdir().unwrap();
    let old = incoming(event("t", "old", 1));
    open(folder.path()).unwrap().append(vec![old.clone()]).await.unwrap();
    let database = Connection::open(folder.path().join("recoup.sqlite3")).unwrap();
    database
        .execute_batch(&format!(
            "DROP TABLE block_prints; {WITHOUT_LIVE} {WITHOUT_LEASES} {BOOKS_OF_5} {WITHOUT_UNTIL} \
             PRAGMA user_version = 1;"
        ))
        .unwrap();
    drop(database);
    let store = open(folder.path()).unwrap();
    let fresh = tempfile::tempdir().unwrap();
    drop(open(fresh.path()).unwrap());
    assert_eq!(tables(folder.path()), tables(fresh.path()), "an upgrade gives the tables of a new folder");
    let new = incoming(event("t", "new", 1));
    assert_eq!(store.append(vec![old.clone(), new.clone()]).await.unwrap(), [Appended::Duplicate, Appended::Accepted]);
    let expected = vec![None, Some(vec![print_of(new.identity, &new.digest)])];
    assert_eq!(store.prints(vec![1, 2]).await.unwrap(), expected);
    drop(store);
    let store = Arc::new(open(folder.path()).unwrap());
    assert_eq!(store.prints(vec![1, 2]).await.unwrap(), expected, "opened once more");
    let log: Arc<dyn EventLog> = store;
    assert_eq!(contents(&log).await, [old.recorded, new.recorded]);
}

#[test]
fn bud_1_a_folder_of_older_tables_is_brought_up_to_date() {
    for older in [
        format!("{WITHOUT_LIVE} {WITHOUT_LEASES} {BOOKS_OF_5} {WITHOUT_UNTIL} PRAGMA user_version = 2;"),
        format!("{WITHOUT_LEASES} {BOOKS_OF_5} {WITHOUT_UNTIL} PRAGMA user_version = 3;"),
        format!("{BOOKS_OF_5} {WITHOUT_UNTIL} PRAGMA user_version = 4;"),
        format!("{BOOKS_OF_5} PRAGMA user_version = 5;"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        drop(open(folder.path()).unwrap());
        let database = Connection::open(folder.path().join("recoup.sqlite3")).unwrap();
        database.execute_batch(&older).unwrap();
        drop(database);
        for _ in 0..2 {
            drop(open(folder.path()).unwrap());
        }
        let fresh = tempfile::tempdir().unwrap();
        drop(open(fresh.path()).unwrap());
        assert_eq!(tables(folder.path()), tables(fresh.path()), "an upgrade gives the tables of a new folder");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rat_3_records_of_an_older_folder_are_as_they_were() {
    let folder = tempfile::tempdir().unwrap();
    drop(open(folder.path()).unwrap());
    let database = Connection::open(folder.path().join("recoup.sqlite3")).unwrap();
    database.execute_batch(&format!("{BOOKS_OF_5} PRAGMA user_version = 5;")).unwrap();
    let day = "facts/2026-10-01/000";
    let rows = [
        ("periods", "2026-10", 7, None),
        (day, "r/costs/0", 1, None),
        ("alerts", "a", 2, Some(9)),
        (day, "r/cells/0", 1, None),
        (day, "r/users/0", 1, None),
    ];
    // What people make for themselves.
    database
        .execute_batch(
            "CREATE VIEW mine AS SELECT count(*) AS n FROM books; CREATE VIEW ours AS SELECT * FROM v_cells; \
             CREATE VIEW sorts AS SELECT sort FROM v_books;",
        )
        .unwrap();
    for (partition, sort, version, until_s) in rows {
        let row = (partition, sort, version, format!("\"{sort}\""), until_s);
        database.execute("INSERT INTO books VALUES (?1, ?2, ?3, ?4, ?5)", row).unwrap();
    }
    drop(database);
    let store = open(folder.path()).unwrap();
    for (partition, sort, version, _) in &rows[..3] {
        let record = store.get(&Key::new(*partition, *sort)).await.unwrap().unwrap();
        assert_eq!((record.version, record.value), (*version, format!("\"{sort}\"")));
    }
    for (partition, sort, ..) in &rows[3..] {
        assert_eq!(store.get(&Key::new(*partition, *sort)).await.unwrap(), None, "the next night makes it again");
    }
    let database = Connection::open(folder.path().join("recoup.sqlite3")).unwrap();
    let shown = |sql: &str| database.query_row(sql, [], |row| row.get::<_, u32>(0)).unwrap();
    assert_eq!((shown("SELECT n FROM mine"), shown("SELECT count(*) FROM sorts")), (3, 3));
    assert_eq!(store.remove_expired(10, 10).await.unwrap(), 1, "a record goes when its time is over, as before");
    assert!(store.get(&Key::new("periods", "2026-10")).await.unwrap().is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn clo_1_prints_that_do_not_hold_are_not_given_out() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).unwrap();
    for at in 0..4 {
        store.append(vec![incoming(event("t", &format!("e{at}"), 1))]).await.unwrap();
    }
    let kept = store.prints(vec![1, 2, 3, 4]).await.unwrap();
    assert!(kept.iter().all(Option::is_some));
    let database = Connection::open(folder.path().join("recoup.sqlite3")).unwrap();
    let prints = |block: u64| kept[usize::try_from(block).unwrap() - 1].clone().unwrap().into_flattened();
    let mut flipped = prints(1);
    flipped[20] ^= 1;
    let update = |block: u64, prints: Vec<u8>| {
        database.execute("UPDATE block_prints SET prints = ?2 WHERE block = ?1", (block, prints)).unwrap()
    };
    update(1, flipped);
    update(2, prints(2)[1..].to_vec());
    // Whole and with its own checksum, but of another block.
    database
        .execute_batch(
            "UPDATE block_prints SET (checksum, prints) = (SELECT checksum, prints FROM block_prints \
                            WHERE block = 4) WHERE block = 3",
        )
        .unwrap();
    assert_eq!(store.prints(vec![4, 3, 2, 1]).await.unwrap(), [kept[3].clone(), None, None, None]);
}

#[tokio::test(flavor = "multi_thread")]
async fn evt_2_an_append_that_cannot_be_stored_leaves_the_others_of_its_commit_alone() {
    let folder = tempfile::tempdir().unwrap();
    let store = Arc::new(open(folder.path()).unwrap());
    let mut appends = Vec::new();
    for at in 0..40 {
        let mut event = event("t", &format!("e{at}"), 1);
        if at % 10 == 3 {
            // More than any door lets in.
            event.tags.extra = (0..40).map(|tag| (format!("t{tag}").into(), "v".into())).collect();
        }
        let store = Arc::clone(&store);
        appends.push((at, tokio::spawn(async move { store.append(vec![incoming(event)]).await })));
    }
    for (at, append) in appends {
        assert_eq!(append.await.unwrap().is_ok(), at % 10 != 3, "append {at}");
    }
    let log: Arc<dyn EventLog> = store;
    assert_eq!(contents(&log).await.len(), 36);
}

#[tokio::test(flavor = "multi_thread")]
async fn evt_2_appends_and_book_writes_share_the_writer() {
    let folder = tempfile::tempdir().unwrap();
    let store = Arc::new(open(folder.path()).unwrap());
    let mut tasks = Vec::new();
    for at in 0..60 {
        let store = Arc::clone(&store);
        tasks.push(tokio::spawn(async move {
            if at % 2 == 0 {
                store.append(vec![incoming(event("t", &format!("e{at}"), 1))]).await.map_err(WriteError::Store)?;
                return Ok(());
            }
            let key = Key::new("p", format!("{at:02}"));
            store.write(vec![Write::Put { key, value: "1".to_owned(), expect: Expect::Absent, until_s: None }]).await
        }));
    }
    for task in tasks {
        task.await.unwrap().unwrap();
    }
    assert_eq!(store.scan("p", "", None, 100).await.unwrap().records.len(), 30);
    let log: Arc<dyn EventLog> = store;
    assert_eq!(contents(&log).await.len(), 30);
}

/// An event that names the provider call of that number.
fn calling(trace: &str, call: usize) -> Incoming {
    let mut event = event(trace, &format!("e{call}"), 1);
    event.response_id = Some(format!("r{call}").into());
    incoming(event)
}

#[tokio::test(flavor = "multi_thread")]
async fn evt_2_provider_calls_are_indexed_whenever_they_are_asked_for() {
    const CALLS: usize = 7_000;
    let folder = tempfile::tempdir().unwrap();
    let day = {
        let store = open(folder.path()).unwrap();
        store.append((0..CALLS).map(|call| calling("gateway", call)).collect()).await.unwrap();
        store.utc_days().await.unwrap()
    };
    // What was queued before the folder was opened again, and while others append and ask.
    let store = Arc::new(open(folder.path()).unwrap());
    let appending = Arc::clone(&store);
    let appends = tokio::spawn(async move {
        for start in (0..CALLS).step_by(100) {
            appending.append((start..start + 100).map(|call| calling("sdk", call)).collect()).await.unwrap();
        }
    });
    let mut before = 0;
    while !appends.is_finished() {
        let found = store.shared_responses(day.clone()).await.unwrap().len();
        assert!(found >= before && found % 2 == 0, "{found} after {before}");
        before = found;
    }
    appends.await.unwrap();
    assert_eq!(store.shared_responses(day.clone()).await.unwrap().len(), 2 * CALLS);
    store.append(vec![calling("third", 5)]).await.unwrap();
    drop(store);
    let store = open(folder.path()).unwrap();
    assert_eq!(store.shared_responses(day).await.unwrap().len(), 2 * CALLS + 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn clo_3_unsafe_paths_and_leftovers_are_kept_out() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("documents");
    let documents = FolderDocuments::open(&root).unwrap();
    for path in ["", "/a", "a/", "a//b", "../a", "a/../../b", ".", "a b", "a\\b", "~incoming-1", "é", "a\0"] {
        assert!(documents.put_once(path, b"x".to_vec()).await.is_err(), "{path}");
        assert!(documents.get(path).await.is_err(), "{path}");
    }
    documents.put_once("a/b", b"x".to_vec()).await.unwrap();
    fs::write(root.join("~incoming-1-1"), b"half").unwrap();
    assert_eq!(documents.list("", None, 10).await.unwrap(), ["a/b"]);
    assert_eq!(documents.list("../", None, 10).await.unwrap(), Vec::<String>::new());
    FolderDocuments::open(&root).unwrap();
    let names: Vec<_> = fs::read_dir(&root).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["a"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn clo_1_the_views_are_readable_with_plain_sql() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).unwrap();
    store.append(vec![incoming(event("t", "a", 1)), incoming(event("t", "b", 1))]).await.unwrap();
    let put = Write::Put {
        key: Key::new("keys", "k1"),
        value: r#"{"role":"ingest"}"#.to_owned(),
        expect: Expect::Any,
        until_s: None,
    };
    store.write(vec![put]).await.unwrap();
    let database = Connection::open(folder.path().join("recoup.sqlite3")).unwrap();
    let text = |sql: &str| database.query_row(sql, [], |row| row.get::<_, String>(0)).unwrap();
    assert_eq!(text("SELECT json_extract(value, '$.role') FROM v_books WHERE \"partition\" = 'keys'"), "ingest");
    assert_eq!(text("SELECT utc_day || ' ' || lane || ' ' || blocks || ' ' || events FROM v_days"), "2026-10-01 0 1 2");
    let digest = store.blocks_after(0, 1).await.unwrap()[0].digest.to_string();
    assert_eq!(text("SELECT digest FROM v_blocks"), digest);
}
