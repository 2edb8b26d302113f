//! What an earlier release has left, also while it still writes, and what it holds up: nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use async_trait::async_trait;
use recoup_store::{Books, Expect, Key, Page, Record, StoreError, Write, WriteError};
use recoup_workflows::extensions::ExtensionState;
use recoup_workflows::watch::AlertState;
use recoup_workflows::{App, Ports, Principal, Refusal};
use serde_json::Value;

use crate::lists::{door, holder, outside, sorts, walk};
use crate::notify::{Outside, spend};
use crate::stage::all;

const EXTENSIONS: &str = "/v1/budgets/extensions";

/// Takes away what the earlier release did not write for extensions.
async fn forget_places(books: &Arc<dyn Books>) {
    for partition in ["list/extensions", "extension-periods"] {
        for sort in sorts(books, partition).await {
            let gone = Write::Delete { key: Key::new(partition, sort), expect: Expect::Any };
            books.write(vec![gone]).await.unwrap();
        }
    }
}

/// Begins adoption anew.
async fn upgrade(books: &Arc<dyn Books>) {
    forget_places(books).await;
    let begins = Write::Delete { key: Key::new("state", "adopted"), expect: Expect::Any };
    books.write(vec![begins]).await.unwrap();
}

/// Records that nobody can read.
async fn litter(books: &Arc<dyn Books>, partition: &str, sorts: impl Iterator<Item = String>) {
    let put =
        |sort| Write::Put { key: Key::new(partition, sort), value: "{}".into(), expect: Expect::Any, until_s: None };
    for group in sorts.map(put).collect::<Vec<_>>().chunks(100) {
        books.write(group.to_vec()).await.unwrap();
    }
}

#[tokio::test]
async fn bud_6_what_the_earlier_release_was_asked_for_is_decided_before_it_is_adopted() {
    let (outside, app) = outside().await;
    let books = outside.stage.ports().books;
    let pending = app.extensions(&Principal::operator(), all()).await.unwrap().rows.remove(0);
    upgrade(&books).await;
    // More than a page of others lie before it.
    litter(&books, "extensions", (0..1_100).map(|number| format!("2026-01|ext_{number:016x}"))).await;
    let newer = outside.stage.process();
    let decided = newer.decide_extension(&holder("finn"), &pending.id, true).await.unwrap();
    assert_eq!((decided.id, decided.state), (pending.id, ExtensionState::Approved));
    for id in ["ext_1", "", "1"] {
        let refused = newer.decide_extension(&holder("finn"), id, true).await;
        assert!(matches!(refused, Err(Refusal::NotFound(_))), "{id}: {refused:?}");
    }
}

#[tokio::test]
async fn bud_6_extensions_are_adopted_before_many_deliveries() {
    let (outside, app) = outside().await;
    let books = outside.stage.ports().books;
    let (whole, _) = walk(&door(&app), EXTENSIONS, 1_000).await;
    upgrade(&books).await;
    litter(&books, "deliveries", (0..300).map(|number| format!("0{number:05}"))).await;
    let newer = outside.stage.process();
    newer.watch_time().await.unwrap();
    assert_eq!(walk(&door(&newer), EXTENSIONS, 1_000).await.0, whole);
}

#[tokio::test]
async fn bud_6_what_the_earlier_release_still_writes_is_adopted_an_hour_later_and_then_no_more() {
    let (outside, app) = outside().await;
    let books = outside.stage.ports().books;
    let (whole, _) = walk(&door(&app), EXTENSIONS, 1_000).await;
    upgrade(&books).await;
    let newer = outside.stage.process();
    let look = async || {
        for _ in 0..3 {
            newer.watch_time().await.unwrap();
        }
        walk(&door(&newer), EXTENSIONS, 1_000).await.0
    };
    assert_eq!(look().await, whole);
    forget_places(&books).await;
    outside.stage.clock.pass_minutes(58);
    assert_eq!(look().await, [] as [Value; 0], "the earlier release may still write");
    outside.stage.clock.pass_minutes(3);
    assert_eq!(look().await, whole);
    forget_places(&books).await;
    outside.stage.clock.pass_minutes(24 * 60);
    assert_eq!(look().await, [] as [Value; 0], "it is over");
}

#[tokio::test]
async fn bud_6_where_the_first_pass_had_another_order_the_second_finds_what_it_left_out() {
    let (outside, app) = outside().await;
    let books = outside.stage.ports().books;
    let (whole, _) = walk(&door(&app), EXTENSIONS, 1_000).await;
    forget_places(&books).await;
    let value = r#"{"partitions":8,"after":null}"#.to_owned();
    let put = Write::Put { key: Key::new("state", "adopted"), value, expect: Expect::Any, until_s: None };
    books.write(vec![put]).await.unwrap();
    let newer = outside.stage.process();
    newer.watch_time().await.unwrap();
    outside.stage.clock.pass_minutes(61);
    newer.watch_time().await.unwrap();
    assert_eq!(walk(&door(&newer), EXTENSIONS, 1_000).await.0, whole);
}

/// Books that cannot write more than one adopted record at once, or cannot be tended at all.
struct Narrow {
    books: Arc<dyn Books>,
    is_down: AtomicBool,
    refused: AtomicUsize,
}

const ADOPTED: [&str; 5] = ["list/alerts", "list/extensions", "list/deliveries", "extension-periods", "deliveries"];

#[async_trait]
impl Books for Narrow {
    async fn get(&self, key: &Key) -> Result<Option<Record>, StoreError> {
        if self.is_down.load(Ordering::SeqCst) && *key == Key::new("state", "adopted") {
            self.refused.fetch_add(1, Ordering::SeqCst);
            return Err(StoreError::unavailable("read a record", "it is throttled"));
        }
        self.books.get(key).await
    }

    async fn scan(&self, partition: &str, prefix: &str, after: Option<&str>, limit: usize) -> Result<Page, StoreError> {
        self.books.scan(partition, prefix, after, limit).await
    }

    async fn scan_back(
        &self,
        partition: &str,
        from: &str,
        before: Option<&str>,
        limit: usize,
    ) -> Result<Page, StoreError> {
        self.books.scan_back(partition, from, before, limit).await
    }

    async fn write(&self, writes: Vec<Write>) -> Result<(), WriteError> {
        if writes.len() > 1 && writes.iter().all(|write| ADOPTED.contains(&write.key().partition.as_str())) {
            self.refused.fetch_add(1, Ordering::SeqCst);
            return Err(WriteError::TooLarge("the group has more than 4 MB".into()));
        }
        self.books.write(writes).await
    }

    async fn remove_expired(&self, now_s: i64, limit: usize) -> Result<usize, StoreError> {
        if self.is_down.load(Ordering::SeqCst) {
            self.refused.fetch_add(1, Ordering::SeqCst);
            return Err(StoreError::unavailable("remove records", "it is throttled"));
        }
        self.books.remove_expired(now_s, limit).await
    }
}

fn narrow(outside: &Outside, is_down: bool) -> (Arc<Narrow>, Arc<App>) {
    let ports = outside.stage.ports();
    let books = Arc::new(Narrow { books: ports.books.clone(), is_down: is_down.into(), refused: 0.into() });
    (books.clone(), Arc::new(App::new(Ports { books, ..ports }, [7; 32], 1).sharing(true)))
}

#[tokio::test]
async fn bud_6_records_too_large_for_one_group_are_adopted_one_by_one() {
    let (outside, app) = outside().await;
    let books = outside.stage.ports().books;
    let (whole, _) = walk(&door(&app), EXTENSIONS, 1_000).await;
    upgrade(&books).await;
    let (narrow, newer) = narrow(&outside, false);
    for _ in 0..3 {
        newer.watch_time().await.unwrap();
    }
    assert!(narrow.refused.load(Ordering::SeqCst) > 0);
    assert_eq!(walk(&door(&newer), EXTENSIONS, 1_000).await.0, whole);
}

#[tokio::test]
async fn bud_2_budgets_are_watched_while_nothing_can_be_adopted_or_removed() {
    let outside = Outside::new().await;
    spend(&outside.stage.alone(), "e1", "marketing", "1.20").await;
    let (narrow, app) = narrow(&outside, true);
    let open = async || {
        let alerts = app.budget_alerts(&Principal::operator(), None, all()).await.unwrap().rows;
        alerts.iter().filter(|alert| alert.state != AlertState::Resolved).count()
    };
    assert_eq!(open().await, 3);
    outside.stage.clock.pass_minutes(24 * 60 * 40);
    app.watch_time().await.unwrap();
    assert_eq!(narrow.refused.load(Ordering::SeqCst), 2, "both were tried");
    assert_eq!(open().await, 0, "the period is over");
}
