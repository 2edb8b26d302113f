//! What the function that faces everybody may write: the items that taking events in writes, and no others. An emulator does not
//! look at the partitions of a policy, so what is sent is held against the template here.
#![expect(clippy::indexing_slicing, clippy::panic, reason = "tests")]

mod emulator;
mod stage;

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};

use aws_sdk_dynamodb::config::interceptors::BeforeTransmitInterceptorContextMut;
use aws_sdk_dynamodb::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_dynamodb::error::BoxError;
use recoup_metering::Shape;
use recoup_model::Tags;
use recoup_store_aws::AwsStore;
use recoup_workflows::authorize::{AuthorizeRequest, Estimate};
use recoup_workflows::ingest::Listing;
use recoup_workflows::{Principal, Role};
use serde_json::{Value, json};

const TEMPLATE: &str = include_str!("../../../infra/template.yaml");

const ORGANISATION: &str = r#"
[organisation]
name = "Rights"
currency = "USD"
time_zone = "Europe/Berlin"
[[teams]]
id = "support"
[[budgets]]
scope = "team:support"
limit = "10"
"#;

/// Action, table and partition of everything that is written.
#[derive(Clone, Debug, Default)]
struct Written(Arc<Mutex<BTreeSet<(String, String, String)>>>);

impl Written {
    fn note(&self, action: &str, of: &Value) {
        let partition = [&of["Item"]["pk"]["S"], &of["Key"]["pk"]["S"]].into_iter().find_map(Value::as_str);
        let (table, partition) = (of["TableName"].as_str().expect("a table"), partition.expect("a partition"));
        let entry = (action.to_owned(), table.to_owned(), partition.to_owned());
        self.0.lock().expect("nobody panicked").insert(entry);
    }

    /// Actions and partitions of one table.
    fn of(&self, table: &str) -> BTreeSet<(String, String)> {
        let written = self.0.lock().expect("nobody panicked");
        let of_table = written.iter().filter(|(_, of, _)| of == table);
        of_table.map(|(action, _, partition)| (action.clone(), partition.clone())).collect()
    }
}

impl Intercept for Written {
    fn name(&self) -> &'static str {
        "written"
    }

    fn modify_before_transmit(
        &self,
        context: &mut BeforeTransmitInterceptorContextMut<'_>,
        _components: &RuntimeComponents,
        _config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let request = context.request();
        let operation = request.headers().get("x-amz-target").and_then(|target| target.rsplit('.').next());
        let body: Value = serde_json::from_slice(request.body().bytes().unwrap_or_default())?;
        match operation.expect("an operation") {
            operation @ ("PutItem" | "UpdateItem" | "DeleteItem") => self.note(operation, &body),
            "TransactWriteItems" => {
                for item in body["TransactItems"].as_array().expect("items") {
                    for (kind, of) in item.as_object().expect("one action") {
                        let action =
                            if kind == "ConditionCheck" { "ConditionCheckItem" } else { &format!("{kind}Item") };
                        self.note(action, of);
                    }
                }
            }
            "BatchWriteItem" => panic!("nothing is written without a condition that it may have"),
            _ => {}
        }
        Ok(())
    }
}

/// The part of the template about a role's statement.
fn statement(role: &str, sid: &str) -> String {
    let of_role = TEMPLATE.split_once(&format!("  {role}:\n")).expect("the role").1;
    let of_sid = of_role.split_once(&format!("- Sid: {sid}\n")).expect("the statement").1;
    of_sid.split("- Sid:").next().expect("a text").to_owned()
}

fn allowed(statement: &str) -> (BTreeSet<String>, Vec<String>) {
    let lines = statement.lines().map(str::trim);
    let actions = lines.filter_map(|line| line.strip_prefix("- dynamodb:")).map(str::to_owned).collect();
    let keys = statement.split_once("'dynamodb:LeadingKeys': [").expect("partitions").1;
    let keys = keys.split(']').next().expect("a text").split(',');
    (actions, keys.map(|key| key.trim().trim_matches('\'').to_owned()).collect())
}

fn fits(partition: &str, pattern: &str) -> bool {
    pattern.strip_suffix('*').map_or(partition == pattern, |start| partition.starts_with(start))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn taking_events_in_writes_what_its_role_lets_it_and_nothing_else() {
    let config = emulator::config().await;
    let written = Written::default();
    let recorded = aws_sdk_dynamodb::config::Builder::from(&config).interceptor(written.clone()).build();
    let settings = emulator::make_tables(&recoup_store_aws::dynamodb_client(&config)).await;
    // The very first start of a deployment may be this function's.
    let client = aws_sdk_dynamodb::Client::from_conf(recorded);
    let store = Arc::new(AwsStore::with_client(settings.clone(), client).await.expect("open"));
    let user_key = store.user_key().await.expect("a key for users");
    assert_ne!(user_key, [0; 32]);
    let clock = stage::SetClock::new();
    let app = stage::app(&store, &clock, None).await;
    let others = Arc::new(AwsStore::open(settings.clone(), &config).await.expect("open"));
    let others = stage::app(&others, &clock, None).await;
    others.apply_organisation(ORGANISATION, None, false).await.expect("apply");
    let key = others.create_key(Role::Ingest, None, Tags::default(), None).await.expect("a key").key;
    let principal = app.authenticate(&key).await.expect("a principal");
    let estimate =
        Some(Estimate::Money { amount: "1".parse().expect("an amount"), currency: "USD".parse().expect("a currency") });
    let tags = serde_json::from_value(json!({ "team": "support" })).expect("tags");
    let asked = AuthorizeRequest { tags, estimate, ..AuthorizeRequest::default() };
    let held = others.authorize(&Principal::operator(), asked).await.expect("an answer").reservation_id;
    let event = |id: &str, user: &str, amount: &str| {
        json!({
            "event_id": id, "trace_id": "t", "used_at": "2026-11-10T07:59:00Z", "kind": "tool", "reservation_id": held,
            "tags": { "team": "support", "user": user }, "cost": { "amount": amount, "currency": "USD" },
        })
    };
    let first = json!([event("a", "ana", "1"), event("a", "ana", "2"), event("b", "finn", "1")]);
    for body in [&first, &first, &json!(event("c", "ana", "1"))] {
        clock.0.fetch_add(1_000_000_000, Ordering::SeqCst);
        app.ingest(&principal, body.to_string().as_bytes(), Shape::Json, Listing::All).await.expect("ingest");
    }

    let (actions, partitions) = allowed(&statement("IngestRole", "Write"));
    let sent = written.of(&settings.books_table);
    let strangers: Vec<_> =
        sent.iter().filter(|(_, partition)| !partitions.iter().any(|pattern| fits(partition, pattern))).collect();
    assert!(strangers.is_empty(), "its role does not let it write {strangers:?}");
    for pattern in &partitions {
        assert!(
            sent.iter().any(|(_, partition)| fits(partition, pattern)),
            "nothing is written to {pattern}: {sent:?}"
        );
    }
    assert_eq!(sent.iter().map(|(action, _)| action.clone()).collect::<BTreeSet<_>>(), actions);
    let appended = written.of(&settings.events_table);
    assert!(appended.iter().all(|(action, _)| action == "PutItem") && !appended.is_empty(), "{appended:?}");
}
