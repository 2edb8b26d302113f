//! Data folders that are not what was written: told, and never turned into figures.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use chrono::{Datelike as _, Months, NaiveDate, Utc};
use rusqlite::Connection;

use crate::on_folder;

const ORGANISATION: &str = "[organisation]\nname = \"Example\"\ncurrency = \"USD\"\ntime_zone = \"UTC\"\n\
                            [[teams]]\nid = \"support\"\n";

/// The month before this one.
fn month() -> NaiveDate {
    Utc::now().date_naive().with_day(1).unwrap() - Months::new(1)
}

fn period() -> String {
    month().format("%Y-%m").to_string()
}

/// Books with the nights of a month.
fn with_nights(folder: &Path) -> std::path::PathBuf {
    let write = |name: &str, text: &str| {
        let file = folder.join(name);
        fs::write(&file, text).unwrap();
        file.to_str().unwrap().to_owned()
    };
    let event = |day: u32| {
        format!(
            "{{\"event_id\":\"e{day}\",\"used_at\":\"{}T12:00:00Z\",\"kind\":\"llm\",\"tags\":{{\"team\":\"support\"}},\
             \"provider\":\"anthropic\",\"model\":\"claude-sonnet-4-6\",\"usage\":{{\"input\":1000000}}}}\n",
            month().with_day(day).unwrap()
        )
    };
    let data = folder.join("data");
    on_folder(&data, &["apply", &write("recoup.toml", ORGANISATION)]).exits(0);
    let events: String = (3..6).map(event).collect();
    on_folder(&data, &["ingest", &write("events.ndjson", &events)]).exits(0);
    on_folder(&data, &["nightly", "--all"]).exits(0);
    data
}

fn close(data: &Path) -> crate::Outcome {
    let after = month() + Months::new(1);
    on_folder(data, &["close", &period(), "--as-of", &format!("{}T00:00:00Z", after.with_day(6).unwrap())])
}

/// CLO-2: a figure that flipped in the books is found before a statement is made of it.
#[test]
fn clo_2_a_bit_that_flipped_in_stored_facts_is_no_figure() {
    let folder = tempfile::tempdir().unwrap();
    let data = with_nights(folder.path());
    let database = Connection::open(data.join("recoup.sqlite3")).unwrap();
    let day = month().with_day(4).unwrap();
    let change = |from: &str, to: &str| {
        let sql = "UPDATE books SET value = replace(value, ?1, ?2) WHERE \"partition\" = ?3 AND sort LIKE '%/costs/%'";
        assert_eq!(database.execute(sql, (from, to, format!("facts/{day}/000"))).unwrap(), 1);
    };
    // Three dollars in picounits, and the same with one bit more.
    change("3000000000000", "7000000000000");
    let refused = close(&data).exits(3);
    assert!(refused.stderr.contains(&format!("the record of the facts of {day} is damaged")), "{}", refused.stderr);
    assert!(refused.stderr.contains("restore"), "{}", refused.stderr);
    assert!(!data.join("documents/statements").exists(), "nothing was issued");
    on_folder(&data, &["costs", "--month", &period()]).exits(3);
    change("7000000000000", "3000000000000");
    close(&data).exits(0);
}

/// CLO-2: books that are gone are not begun anew beside what was made of them.
#[test]
fn clo_2_a_folder_that_lost_its_database_is_not_a_new_one() {
    let folder = tempfile::tempdir().unwrap();
    let data = with_nights(folder.path());
    close(&data).exits(0);
    let database = data.join("recoup.sqlite3");
    let whole = fs::read(&database).unwrap();
    let lost = |what: &str| {
        for verb in [
            &["ledger", &period()][..],
            &["ingest", "-"],
            &["apply", folder.path().join("recoup.toml").to_str().unwrap()],
        ] {
            let refused = on_folder(&data, verb).exits(3);
            assert!(refused.stderr.contains("has lost its database"), "{what}: {}", refused.stderr);
        }
    };
    fs::write(&database, "").unwrap();
    lost("empty");
    // A process that was killed left what it wrote last.
    fs::write(data.join("recoup.sqlite3-wal"), "what was written last").unwrap();
    lost("empty, beside its log");
    assert_eq!(fs::read(data.join("recoup.sqlite3-wal")).unwrap(), b"what was written last");
    fs::remove_file(data.join("recoup.sqlite3-wal")).unwrap();
    fs::remove_file(&database).unwrap();
    lost("gone");
    fs::rename(data.join("documents"), folder.path().join("documents")).unwrap();
    lost("gone, and no document was issued");
    fs::write(&database, whole).unwrap();
    on_folder(&data, &["ledger", &period()]).exits(0);
}

/// Every team's figures are in the folder: no other user of the machine looks into a new one.
#[test]
fn only_its_owner_looks_into_a_new_data_folder() {
    let folder = tempfile::tempdir().unwrap();
    let data = with_nights(folder.path());
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&data), 0o700);
    // What its owner has opened to others stays open.
    fs::set_permissions(&data, fs::Permissions::from_mode(0o755)).unwrap();
    on_folder(&data, &["runs"]).exits(0);
    assert_eq!(mode(&data), 0o755);
}
