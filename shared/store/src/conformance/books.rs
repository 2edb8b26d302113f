//! Behaviours of the books.

use std::sync::Arc;

use super::{TASKS, race};
use crate::books::{Books, Expect, GET_ALL_MAX, Key, Page, Record, VALUE_BYTES_MAX, WRITES_MAX, Write, WriteError};

fn put(key: &Key, value: &str, expect: Expect) -> Write {
    Write::Put { key: key.clone(), value: value.to_owned(), expect, until_s: None }
}

fn delete(key: &Key, expect: Expect) -> Write {
    Write::Delete { key: key.clone(), expect }
}

async fn write(books: &Arc<dyn Books>, writes: Vec<Write>) {
    books.write(writes).await.expect("write");
}

async fn get(books: &Arc<dyn Books>, key: &Key) -> Option<Record> {
    books.get(key).await.expect("get")
}

async fn scan(books: &Arc<dyn Books>, prefix: &str, after: Option<&str>, limit: usize) -> Page {
    let page = books.scan("p", prefix, after, limit).await.expect("scan");
    let names = books.names("p", prefix, after, limit).await.expect("names");
    assert_eq!((names.sorts.iter().map(String::as_str).collect(), &names.next), (sorts(&page), &page.next), "{prefix}");
    page
}

fn record(key: &Key, version: u64, value: &str) -> Record {
    Record { key: key.clone(), version, value: value.to_owned() }
}

fn sorts(page: &Page) -> Vec<&str> {
    page.records.iter().map(|record| record.key.sort.as_str()).collect()
}

/// A put adds one; a deleted record starts again.
pub async fn rat_3_versions_start_at_one_and_count_puts(books: Arc<dyn Books>) {
    let key = Key::new("p", "a");
    assert_eq!(get(&books, &key).await, None);
    write(&books, Vec::new()).await;
    write(&books, vec![put(&key, r#"{"n":1}"#, Expect::Absent)]).await;
    assert_eq!(get(&books, &key).await, Some(record(&key, 1, r#"{"n":1}"#)));
    write(&books, vec![put(&key, "2", Expect::Version(1))]).await;
    write(&books, vec![put(&key, "3", Expect::Any)]).await;
    assert_eq!(get(&books, &key).await, Some(record(&key, 3, "3")));
    assert_eq!(get(&books, &Key::new("a", "p")).await, None);
    write(&books, vec![delete(&key, Expect::Version(3))]).await;
    assert_eq!(get(&books, &key).await, None);
    write(&books, vec![put(&key, "4", Expect::Any)]).await;
    assert_eq!(get(&books, &key).await, Some(record(&key, 1, "4")));
}

/// Of each kind of write and expectation.
pub async fn rat_3_a_write_happens_only_if_its_expectation_holds(books: Arc<dyn Books>) {
    let here = Key::new("p", "here");
    let absent = Key::new("p", "absent");
    write(&books, vec![put(&here, "1", Expect::Any)]).await;
    let refused = [
        put(&here, "2", Expect::Absent),
        put(&here, "2", Expect::Version(2)),
        put(&here, "2", Expect::Version(0)),
        put(&here, "2", Expect::Version(u64::MAX)),
        put(&absent, "2", Expect::Version(1)),
        delete(&here, Expect::Absent),
        delete(&here, Expect::Version(2)),
        delete(&absent, Expect::Version(1)),
    ];
    for refused in refused {
        let expected = refused.key().clone();
        let shown = format!("{refused:?}");
        match books.write(vec![refused]).await {
            Err(WriteError::Conflict(key)) => assert_eq!(key, expected),
            other => assert!(other.is_err(), "{shown} was written"),
        }
    }
    assert_eq!(get(&books, &here).await, Some(record(&here, 1, "1")));
    assert_eq!(get(&books, &absent).await, None);
    write(&books, vec![delete(&absent, Expect::Absent), delete(&here, Expect::Any)]).await;
    write(&books, vec![delete(&here, Expect::Any)]).await;
    assert_eq!(get(&books, &here).await, None);
}

/// Good writes before and behind a bad one.
pub async fn rat_3_a_group_is_written_whole_or_not_at_all(books: Arc<dyn Books>) {
    let [a, b, c] = ["a", "b", "c"].map(|sort| Key::new("p", sort));
    write(&books, vec![put(&b, "1", Expect::Any)]).await;
    let group = vec![put(&a, "2", Expect::Absent), delete(&b, Expect::Version(9)), put(&c, "2", Expect::Any)];
    let result = books.write(group).await;
    assert!(matches!(result, Err(WriteError::Conflict(key)) if key == b));
    assert_eq!(get(&books, &a).await, None);
    assert_eq!(get(&books, &b).await, Some(record(&b, 1, "1")));
    assert_eq!(get(&books, &c).await, None);
}

/// `DynamoDB` has no order inside a group, so nobody may rely on one.
pub async fn rat_3_a_group_names_a_record_once(books: Arc<dyn Books>) {
    let key = Key::new("p", "a");
    assert!(books.write(vec![put(&key, "1", Expect::Absent), put(&key, "2", Expect::Any)]).await.is_err());
    assert_eq!(get(&books, &key).await, None);
}

/// As much as is allowed, then one more.
pub async fn rat_3_groups_and_values_have_limits(books: Arc<dyn Books>) {
    let group = |count: usize| -> Vec<Write> {
        (0..count).map(|at| put(&Key::new("p", format!("{at:03}")), "1", Expect::Absent)).collect()
    };
    let result = books.write(group(WRITES_MAX + 1)).await;
    assert!(matches!(result, Err(WriteError::TooLarge(_))));
    assert_eq!(sorts(&scan(&books, "", None, 10).await), Vec::<&str>::new());
    write(&books, group(WRITES_MAX)).await;
    assert_eq!(scan(&books, "", None, WRITES_MAX * 2).await.records.len(), WRITES_MAX);

    let key = Key::new("p", "large");
    let value = |bytes: usize| format!(r#""{}""#, "x".repeat(bytes - 2));
    let result = books.write(vec![put(&key, &value(VALUE_BYTES_MAX + 1), Expect::Any)]).await;
    assert!(matches!(result, Err(WriteError::TooLarge(_))));
    assert_eq!(get(&books, &key).await, None);
    write(&books, vec![put(&key, &value(VALUE_BYTES_MAX), Expect::Any)]).await;
    assert_eq!(get(&books, &key).await.map(|record| record.value.len()), Some(VALUE_BYTES_MAX));
}

/// Below, at and above the number of records, and from a key that is gone.
pub async fn rat_3_pages_end_at_their_limit(books: Arc<dyn Books>) {
    let names: Vec<String> = (0..7).map(|at| format!("k{at}")).collect();
    write(&books, names.iter().map(|name| put(&Key::new("p", name), "1", Expect::Any)).collect()).await;
    write(&books, vec![put(&Key::new("q", "k3"), "1", Expect::Any)]).await;
    for limit in [1, 2, 3, 6, 7, 8, 100] {
        let mut found: Vec<String> = Vec::new();
        let mut after: Option<String> = None;
        loop {
            let page = scan(&books, "k", after.as_deref(), limit).await;
            assert!(page.records.len() <= limit);
            found.extend(sorts(&page).into_iter().map(str::to_owned));
            assert!(found.len() <= names.len(), "limit {limit} does not end");
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        assert_eq!(found, names, "limit {limit}");
    }
    assert_eq!(scan(&books, "k", None, 7).await.next, None, "a page that holds all of them is the last");
    assert_eq!(sorts(&scan(&books, "k", Some("k41"), 10).await), ["k5", "k6"]);
    assert_eq!(sorts(&scan(&books, "k5", Some("k1"), 10).await), ["k5"]);
    assert_eq!(sorts(&scan(&books, "k1", Some("k5"), 10).await), Vec::<&str>::new());
}

/// Walked from either end a partition holds the same; the last record costs no walk.
pub async fn rat_3_pages_from_the_end_are_those_from_the_beginning(books: Arc<dyn Books>) {
    let names = ["", "%", "a", "a/1", "a0", "ab", "b", "é", "\u{10ffff}"];
    write(&books, names.iter().map(|name| put(&Key::new("p", *name), "1", Expect::Any)).collect()).await;
    for other in ["o", "p/", "p0", "q"] {
        write(&books, vec![put(&Key::new(other, "a"), "1", Expect::Any)]).await;
    }
    let back = async |from: &str, before: Option<&str>, limit: usize| {
        books.scan_back("p", from, before, limit).await.expect("scan back")
    };
    for limit in [1, 2, 4, 8, 9, 10, 100] {
        for from in ["", "%", "a/", "b", "z", "\u{10ffff}"] {
            let mut found: Vec<String> = Vec::new();
            let mut before: Option<String> = None;
            loop {
                let page = back(from, before.as_deref(), limit).await;
                assert!(page.records.len() <= limit);
                found.extend(sorts(&page).into_iter().map(str::to_owned));
                assert!(found.len() <= names.len(), "limit {limit} does not end");
                before = page.next;
                if before.is_none() {
                    break;
                }
            }
            let expected: Vec<&str> = names.into_iter().rev().filter(|name| *name >= from).collect();
            assert_eq!(found, expected, "limit {limit} from `{from}`");
        }
    }
    assert_eq!(back("", None, 9).await.next, None, "a page that holds all of them is the last");
    assert_eq!(sorts(&back("", None, 0).await), ["\u{10ffff}"], "at least one");
    assert_eq!(sorts(&back("", Some("a00"), 2).await), ["a0", "a/1"], "before a key that is not there");
    assert_eq!(sorts(&back("a", Some("a"), 10).await), Vec::<&str>::new());
    assert_eq!(sorts(&back("b", Some("a"), 10).await), Vec::<&str>::new());
    assert_eq!(sorts(&back("", Some(""), 10).await), Vec::<&str>::new());
    let version = back("b", Some("c"), 1).await.records;
    assert_eq!(version, [record(&Key::new("p", "b"), 1, "1")]);
}

/// No letter means anything but itself, and order is that of the bytes.
pub async fn rat_3_prefixes_are_compared_letter_by_letter(books: Arc<dyn Books>) {
    let names = ["%", "A", "_x", "a", "a%", "a%b", "a'b\"", "a/1", "a0", "a\\b", "a_b", "ab", "é", "é1", "\u{10ffff}"];
    write(&books, names.iter().map(|name| put(&Key::new("p", *name), "1", Expect::Any)).collect()).await;
    for prefix in ["", "%", "_", "a", "a%", "a'", "a/", "a\\", "a_", "A", "é", "\u{10ffff}", "b"] {
        let expected: Vec<&str> = names.into_iter().filter(|name| name.starts_with(prefix)).collect();
        let page = scan(&books, prefix, None, 100).await;
        assert_eq!(sorts(&page), expected, "prefix `{prefix}`");
        assert_eq!(page.next, None);
    }
}

/// Tasks read a number, add one, and write it back on condition, until it holds.
pub async fn rat_3_racing_writers_lose_nothing(books: Arc<dyn Books>) {
    const ROUNDS: usize = 5;
    let key = Key::new("p", "count");
    write(&books, vec![put(&key, "0", Expect::Absent)]).await;
    race(|_| {
        let (books, key) = (Arc::clone(&books), key.clone());
        async move {
            let mut done = 0;
            while done < ROUNDS {
                let Some(standing) = get(&books, &key).await else { return };
                let next = standing.value.parse::<usize>().map_or(0, |number| number + 1).to_string();
                match books.write(vec![put(&key, &next, Expect::Version(standing.version))]).await {
                    Ok(()) => done += 1,
                    Err(error) => assert!(matches!(error, WriteError::Conflict(_)), "{error}"),
                }
            }
        }
    })
    .await;
    let total = TASKS * ROUNDS;
    let version = u64::try_from(total).map_or(0, |total| total + 1);
    assert_eq!(get(&books, &key).await, Some(record(&key, version, &total.to_string())));
}

/// Tasks write a group that expects a record to be absent.
pub async fn rat_3_of_racing_first_writers_one_wins(books: Arc<dyn Books>) {
    let key = Key::new("p", "first");
    let results = race(|task| {
        let (books, key) = (Arc::clone(&books), key.clone());
        async move {
            let own = Key::new("own", task.to_string());
            let group = vec![put(&own, "1", Expect::Any), put(&key, &task.to_string(), Expect::Absent)];
            books.write(group).await.is_ok()
        }
    })
    .await;
    let winner = results.iter().position(|won| *won).expect("one wins");
    assert_eq!(results.iter().filter(|won| **won).count(), 1);
    assert_eq!(get(&books, &key).await, Some(record(&key, 1, &winner.to_string())));
    let own = books.scan("own", "", None, 100).await.expect("scan");
    assert_eq!(sorts(&own), [winner.to_string()]);
}

/// Every other task writes a group that is refused; the groups may be stored together.
pub async fn rat_3_a_refused_group_takes_no_racing_one_with_it(books: Arc<dyn Books>) {
    let taken = Key::new("p", "taken");
    write(&books, vec![put(&taken, "0", Expect::Any)]).await;
    let results = race(|task| {
        let (books, taken) = (Arc::clone(&books), taken.clone());
        async move {
            let own = put(&Key::new("own", format!("{task:02}")), "1", Expect::Absent);
            let refused = (task % 2 == 1).then(|| put(&taken, "1", Expect::Absent));
            books.write([own].into_iter().chain(refused).collect()).await
        }
    })
    .await;
    for (task, result) in results.iter().enumerate() {
        match result {
            Ok(()) => assert_eq!(task % 2, 0, "{task} was written"),
            Err(error) => assert!(matches!(error, WriteError::Conflict(key) if *key == taken), "{task}: {error}"),
        }
    }
    let own = books.scan("own", "", None, 100).await.expect("scan");
    let written: Vec<String> = (0..TASKS).step_by(2).map(|task| format!("{task:02}")).collect();
    assert_eq!(sorts(&own), written);
    assert_eq!(get(&books, &taken).await, Some(record(&taken, 1, "0")));
}

/// Records are read in the order asked for, those that are not there among them.
pub async fn rat_3_records_are_read_at_once(books: Arc<dyn Books>) {
    let keys: Vec<Key> = (0..GET_ALL_MAX).rev().map(|number| Key::new("p", format!("{number:03}"))).collect();
    let here: Vec<Write> =
        keys.iter().step_by(2).map(|key| put(key, &format!("\"{}\"", key.sort), Expect::Any)).collect();
    write(&books, here).await;
    let found = books.get_all(&keys).await.expect("get all");
    let expected =
        keys.iter().enumerate().map(|(at, key)| (at % 2 == 0).then(|| record(key, 1, &format!("\"{}\"", key.sort))));
    assert_eq!(found, expected.collect::<Vec<_>>());
    assert_eq!(books.get_all(&[]).await.expect("get none"), []);
}

/// What may go after a time is there until then. A store that removes by itself may take days: then everything is there.
pub async fn rat_3_records_whose_time_is_over_go_and_no_others(books: Arc<dyn Books>) {
    const NOW_S: i64 = 4_000_000_000;
    let until = |sort: &str, until_s| Write::Put {
        key: Key::new("p", sort),
        value: "1".to_owned(),
        expect: Expect::Any,
        until_s,
    };
    let over: Vec<Write> = (0..9).map(|number| until(&format!("over{number}"), Some(NOW_S - 1 - number))).collect();
    write(&books, over).await;
    let kept = [until("later", Some(NOW_S)), until("kept", None), until("kept again", Some(NOW_S - 1))];
    write(&books, kept.to_vec()).await;
    // The last put says.
    write(&books, vec![until("kept again", None)]).await;
    let before = scan(&books, "", None, 100).await.records.len();
    assert_eq!(before, 12, "nothing goes by itself before its time");
    let some = books.remove_expired(NOW_S, 5).await.expect("remove");
    assert!([0, 5].contains(&some), "at most as many as asked for: {some}");
    let others = books.remove_expired(NOW_S, 100).await.expect("remove");
    assert!([(0, 0), (5, 4)].contains(&(some, others)), "{some} {others}");
    assert_eq!(books.remove_expired(NOW_S, 100).await.expect("remove"), 0);
    let left = scan(&books, "", None, 100).await;
    assert_eq!(
        sorts(&left).into_iter().filter(|sort| !sort.starts_with("over")).collect::<Vec<_>>(),
        ["kept", "kept again", "later"]
    );
    assert_eq!(left.records.len(), before - some - others);
}
