//! What documents do beyond the port's suite: locks, checksums, links, answers, long lists.
#![expect(clippy::indexing_slicing, reason = "tests")]

mod emulator;

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, SystemTime};

use aws_sdk_s3::types::{ChecksumMode, ObjectLockMode};
use emulator::failure;
use recoup_store::{Documents, PutOutcome};
use recoup_store_aws::{DocumentLock, DocumentSettings, LockMode, S3Documents, s3_client};

const PATH: &str = "statements/2026-10/support/r1.json";

async fn open(lock: Option<DocumentLock>) -> (S3Documents, aws_sdk_s3::Client, String) {
    let config = emulator::config().await;
    let bucket = emulator::make_bucket(&config, lock.is_some()).await;
    let documents = S3Documents::new(DocumentSettings { bucket: bucket.clone(), lock }, &config);
    (documents, s3_client(&config), bucket)
}

/// Reads an address as a browser would, without any key: status line, headers and body.
fn read_address(url: &str) -> String {
    let rest = url.strip_prefix("http://").expect("an address of the emulator");
    let (host, path) = rest.split_once('/').expect("a path");
    let mut stream = TcpStream::connect(host).expect("connect");
    stream.set_read_timeout(Some(Duration::from_secs(10))).expect("a time-out");
    write!(stream, "GET /{path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n").expect("ask");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).expect("read");
    String::from_utf8_lossy(&answer).into_owned()
}

fn status(answer: &str) -> &str {
    answer.split(' ').nth(1).unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn clo_3_a_document_is_put_with_its_lock_and_its_checksum() {
    for (mode, expected) in
        [(LockMode::Governance, ObjectLockMode::Governance), (LockMode::Compliance, ObjectLockMode::Compliance)]
    {
        let (documents, client, bucket) = open(Some(DocumentLock { mode, days: 10 })).await;
        assert_eq!(documents.put_once(PATH, b"{}".to_vec()).await.expect("put"), PutOutcome::Written);
        let head = client.head_object().bucket(&bucket).key(PATH).checksum_mode(ChecksumMode::Enabled);
        let head = head.send().await.expect("head");
        assert_eq!(head.object_lock_mode(), Some(&expected));
        let until = head.object_lock_retain_until_date().expect("a date");
        let left = SystemTime::try_from(*until).expect("a time").duration_since(SystemTime::now()).expect("later");
        assert_eq!((left + Duration::from_secs(3600)).as_secs() / (24 * 3600), 10);
        assert_eq!(head.content_type(), Some("application/json"));
        assert_eq!(head.checksum_sha256(), Some("RBNvo1WzZ4oRRq0W9+hknpT7T8If536DEMBg9hyq/4o="));
        let version = head.version_id().expect("the bucket is versioned");
        let delete = client.delete_object().bucket(&bucket).key(PATH).version_id(version).send().await;
        assert!(delete.is_err(), "a locked document was deleted");
        assert_eq!(documents.get(PATH).await.expect("get"), Some(b"{}".to_vec()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn clo_3_without_a_lock_none_is_set() {
    let (documents, client, bucket) = open(None).await;
    documents.put_once("exports/focus.csv", b"a".to_vec()).await.expect("put");
    let head = client.head_object().bucket(&bucket).key("exports/focus.csv").send().await.expect("head");
    assert_eq!((head.object_lock_mode(), head.object_lock_retain_until_date()), (None, None));
    assert_eq!(head.content_type(), Some("text/csv; charset=utf-8"));
}

#[tokio::test(flavor = "multi_thread")]
async fn clo_3_a_link_reads_the_document_and_nothing_else() {
    let (documents, _, _) = open(None).await;
    documents.put_once(PATH, br#"{"total":"12.50"}"#.to_vec()).await.expect("put");
    let link = documents.link(PATH, 60).await.expect("link").expect("S3 has links");
    assert!(link.contains("X-Amz-Expires=60") && link.contains(PATH), "{link}");
    let answer = read_address(&link);
    assert!(status(&answer) == "200" && answer.contains(r#"{"total":"12.50"}"#), "{answer}");
    let absent = documents.link("statements/none.json", 60).await.expect("link").expect("S3 has links");
    assert!(status(&read_address(&absent)) == "404", "nothing stands there");
    let forged = link.replace("X-Amz-Signature=", "X-Amz-Signature=0");
    let refused = status(&read_address(&forged)).to_owned();
    // moto does not look at signatures.
    assert_eq!(refused, if emulator::emulator() == "moto" { "200" } else { "403" });
    let longest = documents.link(PATH, u64::MAX).await.expect("link").expect("S3 has links");
    assert!(longest.contains("X-Amz-Expires=604800"), "{longest}");
}

#[tokio::test(flavor = "multi_thread")]
async fn clo_3_answers_are_shared_apart_from_documents() {
    let (documents, client, bucket) = open(Some(DocumentLock { mode: LockMode::Governance, days: 1 })).await;
    let address = documents.share(b"a large answer".to_vec(), "text/csv").await.expect("share");
    let answer = read_address(&address);
    assert!(status(&answer) == "200" && answer.ends_with("a large answer"), "{answer}");
    assert!(answer.to_ascii_lowercase().contains("content-type: text/csv"), "{answer}");
    documents.share(b"a large answer".to_vec(), "text/csv").await.expect("share");
    let keys = client.list_objects_v2().bucket(&bucket).send().await.expect("list").contents.unwrap_or_default();
    assert_eq!(keys.len(), 1, "the same answer is kept once");
    let key = keys[0].key().expect("a key");
    let head = client.head_object().bucket(&bucket).key(key).send().await.expect("head");
    assert_eq!(head.object_lock_mode(), None, "an answer is not locked");
    documents.put_once("b.json", b"{}".to_vec()).await.expect("put");
    assert_eq!(documents.list("", None, 10).await.expect("list"), ["b.json"]);
    assert!(failure(documents.get(key).await).contains("lies where answers are kept"));
}

#[tokio::test(flavor = "multi_thread")]
async fn clo_3_unsafe_paths_are_refused() {
    let (documents, _, _) = open(None).await;
    for path in ["", "/a", "a/", "a//b", "../a", "a/../../b", ".", "a b", "a\\b", "~a", "\u{e9}", "a\0"] {
        assert!(failure(documents.put_once(path, b"x".to_vec()).await).contains("has a segment"), "{path}");
        assert!(failure(documents.get(path).await).contains("has a segment"), "{path}");
        assert!(failure(documents.link(path, 1).await).contains("has a segment"), "{path}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn clo_3_lists_go_on_behind_a_page_of_a_thousand() {
    const COUNT: usize = 1_050;
    const TASKS: usize = 16;
    let (documents, client, bucket) = open(None).await;
    let putting: Vec<_> = (0..TASKS)
        .map(|task| {
            let (client, bucket) = (client.clone(), bucket.clone());
            tokio::spawn(async move {
                for at in (task..COUNT).step_by(TASKS) {
                    let put = client.put_object().bucket(&bucket).key(format!("d/{at:04}"));
                    put.body(Vec::new().into()).send().await.expect("put");
                }
            })
        })
        .collect();
    for task in putting {
        task.await.expect("a task ends");
    }
    let expected: Vec<String> = (0..COUNT).map(|at| format!("d/{at:04}")).collect();
    assert_eq!(documents.list("d/", None, COUNT * 2).await.expect("list"), expected);
    assert_eq!(documents.list("d/", None, 1_010).await.expect("list"), expected[..1_010]);
    assert_eq!(documents.list("d/", Some("d/0009"), 1_020).await.expect("list"), expected[10..1_030]);
}
