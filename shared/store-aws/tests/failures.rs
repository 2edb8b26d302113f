//! What is said when AWS says no: a server of our own answers in AWS's place.
#![expect(clippy::indexing_slicing, reason = "tests")]

mod emulator;

use std::collections::VecDeque;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use emulator::failure;
use recoup_money::Amount;
use recoup_store::{
    Books, CounterKey, Documents, Expect, Grant, Granted, Key, LeaseName, Leases as _, Room, Write, WriteError,
};
use recoup_store_aws::{AwsStore, DocumentSettings, OpenError, S3Documents, Settings};

/// An answer of `DynamoDB`: status and body.
type Answer = (u16, String);

fn dynamodb_error(code: &str, message: &str) -> Answer {
    (400, format!(r#"{{"__type":"com.amazonaws.dynamodb.v20120810#{code}","message":"{message}"}}"#))
}

/// The item that tells a store how many lanes its log has.
fn lanes() -> Answer {
    (200, r#"{"Responses":{"books":[{"pk":{"S":"@settings"},"sk":{"S":"lanes"},"n":{"N":"1"}}]}}"#.to_owned())
}

/// Gives answers in their order, the last one for ever, and keeps what it was asked.
struct Server {
    address: String,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Server {
    fn start(answers: Vec<Answer>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = format!("http://{}", listener.local_addr().expect("an address"));
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (log, answers) = (Arc::clone(&asked), Arc::new(Mutex::new(VecDeque::from(answers))));
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (log, answers) = (Arc::clone(&log), Arc::clone(&answers));
                std::thread::spawn(move || answer(&stream, &log, &answers));
            }
        });
        Self { address, asked }
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().expect("not poisoned").clone()
    }
}

async fn open_at(address: &str) -> Result<AwsStore, OpenError> {
    let config = emulator::config().await;
    let client = aws_sdk_dynamodb::config::Builder::from(&config).endpoint_url(address).build();
    AwsStore::with_client(Settings::new("events", "books"), aws_sdk_dynamodb::Client::from_conf(client)).await
}

fn answer(mut stream: &TcpStream, log: &Mutex<Vec<String>>, answers: &Mutex<VecDeque<Answer>>) {
    let mut reader = BufReader::new(stream);
    let mut length = 0;
    let mut target = String::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).unwrap_or(0) == 0 || line == "\r\n" {
            break;
        }
        let lower = line.to_ascii_lowercase();
        if let Some(value) = lower.strip_prefix("content-length:") {
            length = value.trim().parse().expect("a length");
        }
        if lower.starts_with("x-amz-target:") || lower.starts_with("put ") {
            target.push_str(line.trim());
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).expect("the body");
    log.lock().expect("not poisoned").push(format!("{target} {}", String::from_utf8_lossy(&body)));
    let (status, body) = {
        let mut answers = answers.lock().expect("not poisoned");
        if answers.len() > 1 { answers.pop_front() } else { answers.front().cloned() }.expect("an answer")
    };
    let kind = if body.starts_with('<') { "application/xml" } else { "application/x-amz-json-1.0" };
    let head = format!("HTTP/1.1 {status} X\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n", body.len());
    // Whoever asked may have gone by now.
    drop(write!(stream, "{head}Connection: close\r\n\r\n{body}"));
}

async fn store_on(server: &Server) -> AwsStore {
    open_at(&server.address).await.expect("open")
}

fn group() -> Vec<Write> {
    ["a", "b"]
        .map(|sort| Write::Put {
            key: Key::new("p", sort),
            value: "1".to_owned(),
            expect: Expect::Absent,
            until_s: None,
        })
        .to_vec()
}

#[tokio::test]
async fn rat_3_throttling_is_said_and_tried_again_a_bounded_number_of_times() {
    let throttled =
        dynamodb_error("ProvisionedThroughputExceededException", "The level of configured throughput was exceeded.");
    let server = Server::start(vec![lanes(), throttled]);
    let store = store_on(&server).await;
    let words = failure(store.get(&Key::new("p", "a")).await);
    let expected = "could not read a record: DynamoDB is throttling: The level of configured throughput was exceeded. \
                    (ProvisionedThroughputExceededException)";
    assert_eq!(words, expected);
    assert_eq!(server.asked().len(), 1 + 5, "one call to open, five attempts");
}

#[tokio::test]
async fn rat_3_throttling_that_ends_is_not_noticed() {
    let throttled = dynamodb_error("ThrottlingException", "slow down");
    let server = Server::start(vec![lanes(), throttled.clone(), throttled, (200, "{}".to_owned())]);
    let store = store_on(&server).await;
    assert_eq!(store.get(&Key::new("p", "a")).await.expect("get"), None);
    assert_eq!(server.asked().len(), 4);
}

#[tokio::test]
async fn rat_3_a_refusal_names_the_code_and_no_secret() {
    let denied =
        dynamodb_error("AccessDeniedException", "User: role/ingest is not authorized to perform: dynamodb:GetItem");
    let server = Server::start(vec![lanes(), denied]);
    let store = store_on(&server).await;
    let words = failure(store.get(&Key::new("p", "a")).await);
    let expected = "could not read a record: DynamoDB refused the request: User: role/ingest is not authorized to perform: \
                    dynamodb:GetItem (AccessDeniedException)";
    assert_eq!(words, expected);
    assert_eq!(server.asked().len(), 2, "what is refused for good is not tried again");
    assert!(!words.contains("Signature") && !words.contains("Credential"));
}

#[tokio::test]
async fn rat_3_an_address_where_nobody_listens_is_said() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let nobody = format!("http://{}", taken.local_addr().expect("an address"));
    drop(taken);
    let error = open_at(&nobody).await.expect_err("nobody listens");
    let words = emulator::words(&error);
    assert!(words.starts_with("could not open the store: DynamoDB could not be reached: "), "{words}");
    assert!(words.contains("Connection refused"), "{words}");
}

#[tokio::test]
async fn rat_3_an_https_address_is_spoken_to_in_tls() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = format!("https://{}", listener.local_addr().expect("an address"));
    let heard = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a connection");
        let mut first = [0; 3];
        stream.read_exact(&mut first).expect("a greeting");
        drop(stream.write_all(b"HTTP/1.1 400 this is not TLS\r\n\r\n"));
        first
    });
    let error = open_at(&address).await.expect_err("the server does not speak TLS");
    assert_eq!(heard.join().expect("it listens")[..2], [0x16, 3], "a handshake of TLS");
    let words = emulator::words(&error);
    assert!(words.starts_with("could not open the store: DynamoDB could not be reached: "), "{words}");
}

fn cancelled(codes: [&str; 2]) -> Answer {
    let reasons = codes.map(|code| format!(r#"{{"Code":"{code}","Message":"because"}}"#)).join(",");
    let kind = "com.amazonaws.dynamodb.v20120810#TransactionCanceledException";
    (400, format!(r#"{{"__type":"{kind}","Message":"Transaction cancelled","CancellationReasons":[{reasons}]}}"#))
}

#[tokio::test]
async fn rat_3_a_transaction_in_the_way_of_another_is_tried_again_with_the_same_token() {
    let conflict = cancelled(["None", "TransactionConflict"]);
    let server = Server::start(vec![lanes(), conflict.clone(), conflict, (200, "{}".to_owned())]);
    let store = store_on(&server).await;
    store.write(group()).await.expect("written at the third attempt");
    let asked = server.asked();
    let token = |asked: &String| {
        let body = asked.split_once(' ').and_then(|(_, rest)| rest.find('{').map(|at| rest[at..].to_owned()));
        let body: serde_json::Value = serde_json::from_str(&body.expect("a body")).expect("JSON");
        body["ClientRequestToken"].as_str().expect("a token").to_owned()
    };
    let tokens: Vec<String> = asked[1..].iter().map(token).collect();
    assert_eq!(tokens.len(), 3);
    assert!(tokens.iter().all(|token| *token == tokens[0] && token.len() == 32), "{tokens:?}");
}

#[tokio::test]
async fn rat_3_a_transaction_that_stays_in_the_way_is_given_up_in_words() {
    let server = Server::start(vec![lanes(), cancelled(["TransactionConflict", "TransactionConflict"])]);
    let store = store_on(&server).await;
    let error = store.write(group()).await.expect_err("never written");
    let expected = "could not write records: DynamoDB: other transactions kept changing the same records";
    assert_eq!(emulator::words(&error), expected);
    assert_eq!(server.asked().len(), 1 + 12);
}

#[tokio::test]
async fn rat_3_reasons_of_a_cancelled_transaction_are_told_apart() {
    let refused = Server::start(vec![lanes(), cancelled(["TransactionConflict", "ConditionalCheckFailed"])]);
    let result = store_on(&refused).await.write(group()).await;
    assert!(matches!(&result, Err(WriteError::Conflict(key)) if *key == Key::new("p", "b")), "{result:?}");
    let server = Server::start(vec![lanes(), cancelled(["None", "ThrottlingError"])]);
    let error = store_on(&server).await.write(group()).await.expect_err("throttled");
    let expected = "could not write records: DynamoDB is throttling: because (ThrottlingError)";
    assert_eq!(emulator::words(&error), expected);
    assert_eq!(server.asked().len(), 1 + 12, "it was tried again");
    assert_eq!(server.asked().len(), 1 + 12, "throttling may end");
    let server = Server::start(vec![lanes(), cancelled(["ValidationError", "None"])]);
    let error = store_on(&server).await.write(group()).await.expect_err("invalid");
    let expected = "could not write records: DynamoDB refused the request: because (ValidationError)";
    assert_eq!(emulator::words(&error), expected);
}

/// A lease of one counter with so much free.
fn lease_with(free: u32, drawn: u32) -> Answer {
    let counters = "AQEGdGVhbTphBzIwMjYtMTAA";
    let item = format!(
        r#"{{"pk":{{"S":"l"}},"sk":{{"S":"lease"}},"g":{{"N":"900"}},"f":{{"N":"{free}"}},"n":{{"N":"{drawn}"}},"b":{{"B":"{counters}"}}}}"#
    );
    (200, format!(r#"{{"Item":{item}}}"#))
}

fn grant() -> Grant {
    let counter = CounterKey { scope: "team:a".into(), period: "2026-10".into() };
    let rooms = vec![Room { counter, limit: Some(Amount::from_pico(1_000)) }];
    let amount = Amount::from_pico(10);
    Grant { lease: LeaseName { ends_minute: 29_000_000, id: 7 }, rooms, amount, drawn: amount }
}

/// What others were granted meanwhile is drawn from: no emulator lets transactions get in each other's way.
#[tokio::test]
async fn bud_3_a_grant_in_the_way_of_another_draws_from_what_that_one_was_granted() {
    let conflict = cancelled(["TransactionConflict", "None"]);
    let nothing = (200, "{}".to_owned());
    let drawn = (200, r#"{"Attributes":{"n":{"N":"6"},"f":{"N":"80"}}}"#.to_owned());
    let server = Server::start(vec![lanes(), nothing, conflict.clone(), conflict, lease_with(90, 5), drawn]);
    let granted = store_on(&server).await.grant(grant()).await.expect("granted");
    assert_eq!(granted, Granted::Done(6));
    let asked = server.asked();
    assert_eq!(asked.len(), 6);
    assert!(asked[5].contains("DynamoDB_20120810.UpdateItem"), "{}", asked[5]);
}

#[tokio::test]
async fn bud_3_a_counter_without_room_is_told_from_one_that_is_busy() {
    let reasons = cancelled(["ConditionalCheckFailed", "TransactionConflict"]);
    let server = Server::start(vec![lanes(), lease_with(0, 5), reasons]);
    let granted = store_on(&server).await.grant(grant()).await.expect("an answer");
    assert_eq!(granted, Granted::Full(vec![CounterKey { scope: "team:a".into(), period: "2026-10".into() }]));
    // The lease changed since it was read: it is read again, and then there is room.
    let moved = cancelled(["None", "ConditionalCheckFailed"]);
    let nothing = (200, "{}".to_owned());
    let answers = vec![lanes(), lease_with(0, 5), moved, lease_with(3, 8), nothing];
    let server = Server::start(answers);
    assert_eq!(store_on(&server).await.grant(grant()).await.expect("an answer"), Granted::Done(9));
}

#[tokio::test]
async fn bud_3_a_lease_that_others_keep_changing_is_given_up_in_words() {
    let moved = cancelled(["None", "ConditionalCheckFailed"]);
    let mut answers = vec![lanes()];
    answers.extend((0..40).flat_map(|_| [lease_with(0, 5), moved.clone()]));
    let server = Server::start(answers);
    let words = failure(store_on(&server).await.grant(grant()).await);
    assert_eq!(words, "could not change a lease: DynamoDB: other transactions kept changing the same records");
    assert_eq!(server.asked().len(), 1 + 14 * 2);
    let throttled = dynamodb_error("ThrottlingException", "slow down");
    let server = Server::start(vec![lanes(), throttled]);
    let words = failure(store_on(&server).await.draw(grant().lease, grant().amount).await);
    assert_eq!(words, "could not change a lease: DynamoDB is throttling: slow down (ThrottlingException)");
}

#[tokio::test]
async fn clo_3_a_bucket_that_throttles_is_said() {
    let slow = "<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>";
    let server = Server::start(vec![(503, slow.to_owned())]);
    let settings = DocumentSettings { bucket: "b".to_owned(), lock: None };
    let config = emulator::config().await;
    let client =
        aws_sdk_s3::config::Builder::from(&config).endpoint_url(&server.address).force_path_style(true).build();
    let documents = S3Documents::with_client(settings, aws_sdk_s3::Client::from_conf(client));
    let words = failure(documents.put_once("a.json", b"{}".to_vec()).await);
    assert_eq!(words, "could not write a document: S3 is throttling: Please reduce your request rate. (SlowDown)");
    assert_eq!(server.asked().len(), 5);
}
