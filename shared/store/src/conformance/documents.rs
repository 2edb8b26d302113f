//! Behaviours of the documents.

use std::sync::Arc;

use super::{TASKS, race};
use crate::documents::{Documents, PutOutcome};

const PATH: &str = "statements/2026-10/support/r1.json";

async fn put(documents: &Arc<dyn Documents>, path: &str, bytes: &[u8]) -> PutOutcome {
    documents.put_once(path, bytes.to_vec()).await.expect("put_once")
}

async fn get(documents: &Arc<dyn Documents>, path: &str) -> Option<Vec<u8>> {
    documents.get(path).await.expect("get")
}

fn count(outcomes: &[PutOutcome], wanted: PutOutcome) -> usize {
    outcomes.iter().filter(|outcome| **outcome == wanted).count()
}

/// Empty and large ones too; what stands is never changed.
pub async fn clo_3_a_document_is_written_once(documents: Arc<dyn Documents>) {
    assert_eq!(get(&documents, PATH).await, None);
    assert_eq!(put(&documents, PATH, b"first").await, PutOutcome::Written);
    assert_eq!(put(&documents, PATH, b"first").await, PutOutcome::Same);
    assert_eq!(put(&documents, PATH, b"second").await, PutOutcome::Different);
    assert_eq!(put(&documents, PATH, b"").await, PutOutcome::Different);
    assert_eq!(get(&documents, PATH).await, Some(b"first".to_vec()));
    assert_eq!(put(&documents, "empty", b"").await, PutOutcome::Written);
    assert_eq!(get(&documents, "empty").await, Some(Vec::new()));
    let large = vec![7; 1024 * 1024];
    assert_eq!(put(&documents, "large", &large).await, PutOutcome::Written);
    assert_eq!(get(&documents, "large").await, Some(large));
    assert_eq!(get(&documents, "statements/2026-10").await, None);
}

/// Tasks put contents of their own at one path.
pub async fn clo_3_of_racing_contents_one_stays(documents: Arc<dyn Documents>) {
    let outcomes = race(|task| {
        let documents = Arc::clone(&documents);
        async move { put(&documents, PATH, task.to_string().repeat(1_000).as_bytes()).await }
    })
    .await;
    assert_eq!(count(&outcomes, PutOutcome::Written), 1);
    assert_eq!(count(&outcomes, PutOutcome::Different), TASKS - 1);
    let winner = outcomes.iter().position(|outcome| *outcome == PutOutcome::Written).expect("one is written");
    assert_eq!(get(&documents, PATH).await, Some(winner.to_string().repeat(1_000).into_bytes()));
}

/// Tasks put the same content at one path.
pub async fn clo_3_racing_equal_contents_are_the_same(documents: Arc<dyn Documents>) {
    let outcomes = race(|_| {
        let documents = Arc::clone(&documents);
        async move { put(&documents, PATH, &[3; 10_000]).await }
    })
    .await;
    assert_eq!(count(&outcomes, PutOutcome::Written), 1);
    assert_eq!(count(&outcomes, PutOutcome::Same), TASKS - 1);
}

/// In the order of their bytes (`-` and `.` before `/`), by prefix, from a path on, page by page.
pub async fn clo_3_documents_are_listed_in_order(documents: Arc<dyn Documents>) {
    let paths = ["a-b/x", "a.json", "a/b/1.json", "a/b/2.json", "a/b2", "a/c", "ab", "z/y/x"];
    for path in paths.iter().rev() {
        put(&documents, path, path.as_bytes()).await;
    }
    let listed = async |prefix: &str, after: Option<&str>, limit: usize| {
        documents.list(prefix, after, limit).await.expect("list")
    };
    for prefix in ["", "a", "a/", "a/b", "a/b/", "a/b/1", "a-", "z/y/x", "b", "a/c/d"] {
        let expected: Vec<&str> = paths.into_iter().filter(|path| path.starts_with(prefix)).collect();
        assert_eq!(listed(prefix, None, 100).await, expected, "prefix `{prefix}`");
    }
    assert_eq!(listed("a/", Some("a/b/1.json"), 2).await, ["a/b/2.json", "a/b2"]);
    assert_eq!(listed("", Some("z/y/x"), 2).await, Vec::<String>::new());
    let mut paged: Vec<String> = Vec::new();
    loop {
        let page = listed("", paged.last().map(String::as_str), 3).await;
        if page.is_empty() {
            break;
        }
        paged.extend(page);
    }
    assert_eq!(paged, paths);
}

/// A store that has links gives one without looking, one that has none says so for every document.
pub async fn clo_3_a_link_is_an_address_or_nothing(documents: Arc<dyn Documents>) {
    put(&documents, PATH, b"{}").await;
    let link = async |path: &str| documents.link(path, 60).await.expect("link");
    let links = [link(PATH).await, link("statements/absent.json").await];
    assert_eq!(links[0].is_some(), links[1].is_some());
    for link in links.into_iter().flatten() {
        assert!(link.starts_with("http"), "{link}");
    }
}
