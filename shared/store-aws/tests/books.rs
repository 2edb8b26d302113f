//! What the books do beyond the port's suite: races of groups, pages above 1 MB, values at the limit, lost answers.
#![expect(clippy::indexing_slicing, reason = "tests")]

mod emulator;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use aws_sdk_dynamodb::config::interceptors::BeforeDeserializationInterceptorContextMut;
use aws_sdk_dynamodb::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_dynamodb::error::BoxError;
use aws_sdk_dynamodb::types::AttributeValue;
use emulator::{failure, open_store};
use recoup_store::books::{VALUE_BYTES_MAX, WRITES_MAX};
use recoup_store::{Books, Expect, Key, Record, Write, WriteError};
use recoup_store_aws::{AwsStore, OpenError, Settings, dynamodb_client};

fn put(key: &Key, value: impl Into<String>, expect: Expect) -> Write {
    Write::Put { key: key.clone(), value: value.into(), expect, until_s: None }
}

/// Text that hardly gets smaller, the same for the same seed.
fn noise(seed: u64, bytes: usize) -> String {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut letter = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        char::from(u8::try_from(state % 95).expect("below 95") + b' ')
    };
    (0..bytes).map(|_| letter()).collect()
}

async fn get(store: &AwsStore, key: &Key) -> Option<Record> {
    store.get(key).await.expect("get")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn rat_3_racing_groups_lose_nothing_and_tear_nothing() {
    const TASKS: usize = 8;
    const ROUNDS: usize = 6;
    let store = open_store().await;
    let keys = ["a", "b", "c"].map(|sort| Key::new("accounts", sort));
    store.write(keys.iter().map(|key| put(key, "0", Expect::Absent)).collect()).await.expect("write");
    let tasks: Vec<_> = (0..TASKS)
        .map(|task| {
            let (store, keys) = (Arc::clone(&store), keys.clone());
            tokio::spawn(async move {
                let mut done = 0;
                while done < ROUNDS {
                    // Two of the three accounts, in either order: groups overlap without being equal.
                    let chosen = [&keys[(task + done) % 3], &keys[(task + done + 1) % 3]];
                    let mut group = Vec::new();
                    for key in chosen {
                        let standing = get(&store, key).await.expect("an account");
                        let next: u64 = standing.value.parse::<u64>().expect("a number") + 1;
                        group.push(put(key, next.to_string(), Expect::Version(standing.version)));
                    }
                    match store.write(group).await {
                        Ok(()) => done += 1,
                        Err(WriteError::Conflict(_)) => {}
                        Err(other) => assert!(failure(Err::<(), _>(as_store(other))).contains("other transactions")),
                    }
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.expect("a task ends");
    }
    let mut total = 0;
    for key in &keys {
        let standing = get(&store, key).await.expect("an account");
        let value: u64 = standing.value.parse().expect("a number");
        assert_eq!(standing.version, value + 1, "each group raised it once");
        total += value;
    }
    assert_eq!(total, u64::try_from(2 * TASKS * ROUNDS).expect("small"));
}

fn as_store(error: WriteError) -> recoup_store::StoreError {
    match error {
        WriteError::Store(error) => error,
        other => unreachable!("{other}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rat_3_a_scan_goes_on_behind_a_page_of_a_megabyte() {
    let store = open_store().await;
    let keys: Vec<Key> = (0..9).map(|at| Key::new("p", format!("k{at}"))).collect();
    for (seed, key) in (1..).zip(&keys) {
        store.write(vec![put(key, noise(seed, VALUE_BYTES_MAX), Expect::Any)]).await.expect("write");
    }
    for limit in [1, 4, 8, 9, 100] {
        let mut found: Vec<Record> = Vec::new();
        let mut after: Option<String> = None;
        loop {
            let page = store.scan("p", "k", after.as_deref(), limit).await.expect("scan");
            assert_eq!(page.records.len(), limit.min(keys.len() - found.len()), "limit {limit}");
            found.extend(page.records);
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        assert_eq!(found.iter().map(|record| &record.key).collect::<Vec<_>>(), keys.iter().collect::<Vec<_>>());
        assert!((1..).zip(&found).all(|(seed, record)| record.value == noise(seed, VALUE_BYTES_MAX)));
        let mut back: Vec<Record> = Vec::new();
        let mut before: Option<String> = None;
        loop {
            let page = store.scan_back("p", "k", before.as_deref(), limit).await.expect("scan back");
            back.extend(page.records);
            before = page.next;
            if before.is_none() {
                break;
            }
        }
        back.reverse();
        assert_eq!(back, found, "limit {limit}");
    }
    let newest = store.scan_back("p", "", None, 1).await.expect("scan back").records;
    assert_eq!(newest.first().map(|record| &record.key), keys.last());
}

#[tokio::test(flavor = "multi_thread")]
async fn rat_3_values_at_the_limit_come_back_as_they_went() {
    let store = open_store().await;
    let wide: String = noise(7, VALUE_BYTES_MAX / 4)
        .chars()
        .map(|letter| char::from_u32(0x1_0400 + u32::from(letter)))
        .map(|letter| letter.expect("a letter"))
        .collect();
    assert_eq!(wide.len(), VALUE_BYTES_MAX);
    for (at, value) in [noise(1, VALUE_BYTES_MAX), wide, "x".repeat(VALUE_BYTES_MAX), noise(2, 1024), noise(3, 1025)]
        .into_iter()
        .enumerate()
    {
        let key = Key::new("p", at.to_string());
        store.write(vec![put(&key, value.clone(), Expect::Absent)]).await.expect("write");
        assert!(get(&store, &key).await.is_some_and(|record| record.value == value), "value {at}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rat_3_groups_above_what_a_transaction_takes_are_refused_before_anything_is_written() {
    let store = open_store().await;
    let group: Vec<Write> =
        (0..20).map(|at| put(&Key::new("p", format!("{at:02}")), noise(at, VALUE_BYTES_MAX), Expect::Any)).collect();
    let result = store.write(group).await;
    assert!(matches!(&result, Err(WriteError::TooLarge(words)) if words.contains("split it")), "{result:?}");
    assert!(store.scan("p", "", None, 10).await.expect("scan").records.is_empty());
    let fits: Vec<Write> = (0..)
        .take(WRITES_MAX)
        .map(|at| put(&Key::new("q", format!("{at:02}")), noise(at, 30_000), Expect::Any))
        .collect();
    store.write(fits).await.expect("three megabytes are written");
}

#[tokio::test(flavor = "multi_thread")]
async fn rat_3_large_values_are_packed_and_small_ones_readable() {
    let config = emulator::config().await;
    let client = dynamodb_client(&config);
    let settings = emulator::make_tables(&client).await;
    let store = AwsStore::open(settings.clone(), &config).await.expect("open");
    let key = Key::new("p", "");
    let item = async || {
        let get = client.get_item().table_name(&settings.books_table);
        let get = get.key("pk", AttributeValue::S("p".into())).key("sk", AttributeValue::S("/".into()));
        get.send().await.expect("get").item.expect("an item")
    };
    let large = format!(r#"["{}"]"#, "statement ".repeat(500));
    store.write(vec![put(&key, large.clone(), Expect::Absent)]).await.expect("write");
    let stored = item().await;
    let packed = stored.get("z").and_then(|value| value.as_b().ok()).expect("packed").as_ref().len();
    assert!(packed < 200 && !stored.contains_key("s"), "{packed}");
    assert_eq!(get(&store, &key).await.map(|record| record.value), Some(large));
    store.write(vec![put(&key, "{}", Expect::Version(1))]).await.expect("write");
    let stored = item().await;
    assert_eq!(stored.get("s"), Some(&AttributeValue::S("{}".into())));
    assert!(!stored.contains_key("z"), "the packed value is gone");
    assert_eq!(get(&store, &key).await, Some(Record { key: key.clone(), version: 2, value: "{}".into() }));
    let page = store.scan("p", "", None, 10).await.expect("scan");
    assert_eq!(page.records.iter().map(|record| &record.key).collect::<Vec<_>>(), [&key]);
}

#[tokio::test(flavor = "multi_thread")]
async fn rat_3_the_adapters_own_partitions_are_out_of_reach() {
    let store = open_store().await;
    for (partition, words) in [("@settings", "belongs to the adapter"), ("", "is empty"), (&*"p".repeat(2049), "2,048")]
    {
        let key = Key::new(partition, "lanes");
        assert!(failure(store.get(&key).await).contains(words));
        assert!(failure(store.scan(partition, "", None, 1).await).contains(words));
        let refused = store.write(vec![put(&key, "1", Expect::Any)]).await.expect_err("refused");
        assert!(emulator::words(&refused).contains(words), "{refused}");
    }
    let long = Key::new("p", "s".repeat(1024));
    assert!(failure(store.get(&long).await).contains("longer than 1023 bytes"));
    let longest = Key::new("p".repeat(2048), "s".repeat(1023));
    store.write(vec![put(&longest, "1", Expect::Absent)]).await.expect("write");
    assert!(get(&store, &longest).await.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn atr_1_lanes_and_the_key_of_pseudonyms_are_fixed_by_the_first_opener() {
    let config = emulator::config().await;
    let settings = emulator::make_tables(&dynamodb_client(&config)).await;
    let with = |lanes: u16| Settings { lanes: lanes.try_into().ok(), ..settings.clone() };
    let (first, second) = tokio::join!(AwsStore::open(with(3), &config), AwsStore::open(with(3), &config));
    let (first, second) = (first.expect("open"), second.expect("open"));
    assert_eq!([first.lanes(), second.lanes()], [3, 3]);
    assert_eq!(AwsStore::open(settings.clone(), &config).await.expect("open").lanes(), 3);
    let refused = AwsStore::open(with(2), &config).await.expect_err("other lanes");
    assert!(matches!(refused, OpenError::Lanes { created: 3, asked: 2 }));
    let expected = "the log was created with 3 lanes, not 2; lanes are fixed, set RECOUP_LANES back to 3";
    assert_eq!(refused.to_string(), expected);
    let (one, other) = tokio::join!(first.user_key(), second.user_key());
    let (one, other) = (one.expect("a key"), other.expect("a key"));
    assert_eq!(one, other);
    assert_ne!(one, [0; 32]);
    let plain = emulator::make_tables(&dynamodb_client(&config)).await;
    let plain = AwsStore::open(plain, &config).await.expect("open");
    assert_eq!(plain.lanes(), 1);
    assert_ne!(plain.user_key().await.expect("a key"), one);
}

#[tokio::test(flavor = "multi_thread")]
async fn bud_1_what_calls_cost_is_counted() {
    let store = open_store().await;
    let key = Key::new("p", "a");
    let cost = async |writes: Vec<Write>| {
        let before = store.meter().usage();
        store.write(writes).await.expect("write");
        let after = store.meter().usage();
        assert_eq!((after.calls - before.calls, after.read_halves - before.read_halves), (1, 0));
        after.written_halves - before.written_halves
    };
    // moto gives every call the same cost: there it is only seen that it is counted.
    let is_exact = emulator::emulator() != "moto";
    let expected = |halves: u64| if is_exact { halves } else { 1 };
    assert_eq!(cost(vec![put(&key, "1", Expect::Absent)]).await, expected(2), "one unit");
    let two = vec![put(&Key::new("p", "b"), "1", Expect::Any), put(&Key::new("p", "c"), "1", Expect::Any)];
    assert_eq!(cost(two).await, if is_exact { 8 } else { 0 }, "two units for each record of a group");
    let before = store.meter().usage();
    get(&store, &key).await;
    assert_eq!(store.meter().usage().read_halves - before.read_halves, expected(2), "one unit");
}

/// Makes the answers to the next calls that change something look as if the service had broken down after its work.
#[derive(Debug, Default)]
struct LoseAnswers {
    left: AtomicUsize,
}

impl Intercept for LoseAnswers {
    fn name(&self) -> &'static str {
        "LoseAnswers"
    }

    fn modify_before_deserialization(
        &self,
        context: &mut BeforeDeserializationInterceptorContextMut<'_>,
        _components: &RuntimeComponents,
        _config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let taken = self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        if taken.is_ok() {
            *context.response_mut().status_mut() = 500_u16.try_into()?;
        }
        Ok(())
    }
}

#[derive(Clone, Debug)]
struct Shared(Arc<LoseAnswers>);

impl Intercept for Shared {
    fn name(&self) -> &'static str {
        "Shared"
    }

    fn modify_before_deserialization(
        &self,
        context: &mut BeforeDeserializationInterceptorContextMut<'_>,
        components: &RuntimeComponents,
        config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        self.0.modify_before_deserialization(context, components, config)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rat_3_a_write_whose_answer_is_lost_is_done_once_and_is_no_conflict() {
    let config = emulator::config().await;
    let settings = emulator::make_tables(&dynamodb_client(&config)).await;
    let faults = Arc::new(LoseAnswers::default());
    let client = aws_sdk_dynamodb::config::Builder::from(&config).interceptor(Shared(Arc::clone(&faults))).build();
    let store = AwsStore::with_client(settings, aws_sdk_dynamodb::Client::from_conf(client)).await.expect("open");
    let [a, b] = ["a", "b"].map(|sort| Key::new("p", sort));
    let delete = |key: &Key, expect| Write::Delete { key: key.clone(), expect };
    let version = async |key: &Key| get(&store, key).await.map(|record| record.version);
    let steps: [(Vec<Write>, [Option<u64>; 2]); 5] = [
        (vec![put(&a, "1", Expect::Absent)], [Some(1), None]),
        (vec![put(&a, "2", Expect::Version(1))], [Some(2), None]),
        (vec![put(&a, "3", Expect::Version(2)), put(&b, "1", Expect::Absent)], [Some(3), Some(1)]),
        (vec![delete(&a, Expect::Version(3))], [None, Some(1)]),
        (vec![put(&a, "4", Expect::Absent), delete(&b, Expect::Version(1))], [Some(1), None]),
    ];
    for (at, (writes, expected)) in steps.into_iter().enumerate() {
        faults.left.store(1, Ordering::SeqCst);
        // What names itself in the record is recognised anywhere. Other writes are told from a conflict by the token of
        // their transaction, which moto does not know: there the conflict stays, and nothing is done twice either.
        let by_token = writes.len() > 1 || matches!(writes[0], Write::Delete { .. });
        match store.write(writes.clone()).await {
            Ok(()) => assert!(!by_token || emulator::emulator() != "moto", "moto knows tokens now"),
            Err(WriteError::Conflict(_)) => assert!(by_token && emulator::emulator() == "moto", "step {at}"),
            Err(other) => unreachable!("step {at}: {}", emulator::words(&other)),
        }
        assert_eq!(faults.left.load(Ordering::SeqCst), 0);
        assert_eq!([version(&a).await, version(&b).await], expected, "step {at}");
        let again = store.write(writes).await;
        assert!(matches!(again, Err(WriteError::Conflict(_))), "step {at} once more: {again:?}");
    }
}
