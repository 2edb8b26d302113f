//! BUD-5: what is answered while budgets cannot be read.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use recoup_model::Tags;
use recoup_money::Amount;
use recoup_store::{
    Balance, Books, CounterKey, Grant, Granted, Key, Lease, LeaseName, Leases, Page, Record, Settlement, StoreError,
    Write, WriteError,
};
use recoup_workflows::authorize::{AuthorizeRequest, Estimate};
use recoup_workflows::nightly::Through;
use recoup_workflows::{App, Ports, Principal, Refusal, Role};
use serde_json::{Value, json};

use crate::stage::{ORGANISATION, Stage, more};

const BUDGETS: &str = r#"
[[agents]]
id = "pager"
critical = true
[[budgets]]
scope = "team:support"
limit = "1"
[[budgets]]
scope = "project:x"
limit = "1"
unavailable = "allow"
"#;

/// A store of which a part can fail, or never answer.
struct Failing<T: ?Sized> {
    inner: Arc<T>,
    is_down: AtomicBool,
    is_silent: AtomicBool,
}

impl<T: ?Sized> Failing<T> {
    fn over(inner: Arc<T>) -> Arc<Self> {
        Arc::new(Self { inner, is_down: AtomicBool::new(false), is_silent: AtomicBool::new(false) })
    }

    fn fails(&self, fails: bool) {
        self.is_down.store(fails, Ordering::SeqCst);
    }

    async fn up(&self) -> Result<&T, StoreError> {
        if self.is_silent.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
        if self.is_down.load(Ordering::SeqCst) {
            return Err(StoreError::unavailable("ask", "it is down"));
        }
        Ok(&self.inner)
    }
}

#[async_trait]
impl Leases for Failing<dyn Leases> {
    async fn balances(&self, counters: &[CounterKey]) -> Result<Vec<Balance>, StoreError> {
        self.up().await?.balances(counters).await
    }

    async fn grant(&self, grant: Grant) -> Result<Granted, StoreError> {
        self.up().await?.grant(grant).await
    }

    async fn draw(&self, lease: LeaseName, amount: Amount) -> Result<Option<u32>, StoreError> {
        self.up().await?.draw(lease, amount).await
    }

    async fn give_back(&self, lease: LeaseName, amount: Amount) -> Result<(), StoreError> {
        self.up().await?.give_back(lease, amount).await
    }

    async fn settle(&self, settlements: &[Settlement]) -> Result<(), StoreError> {
        self.up().await?.settle(settlements).await
    }

    async fn lease(&self, name: LeaseName) -> Result<Option<Lease>, StoreError> {
        self.up().await?.lease(name).await
    }

    async fn ending(&self, minute: u32, limit: usize) -> Result<Vec<LeaseName>, StoreError> {
        self.up().await?.ending(minute, limit).await
    }

    async fn end(&self, leases: &[LeaseName]) -> Result<(), StoreError> {
        self.up().await?.end(leases).await
    }

    async fn extend(&self, reservation: Settlement, to: LeaseName) -> Result<Option<u32>, StoreError> {
        self.up().await?.extend(reservation, to).await
    }
}

#[async_trait]
impl Books for Failing<dyn Books> {
    async fn get(&self, key: &Key) -> Result<Option<Record>, StoreError> {
        self.up().await?.get(key).await
    }

    async fn scan(&self, partition: &str, prefix: &str, after: Option<&str>, limit: usize) -> Result<Page, StoreError> {
        self.up().await?.scan(partition, prefix, after, limit).await
    }

    async fn scan_back(
        &self,
        partition: &str,
        from: &str,
        before: Option<&str>,
        limit: usize,
    ) -> Result<Page, StoreError> {
        self.up().await?.scan_back(partition, from, before, limit).await
    }

    async fn write(&self, writes: Vec<Write>) -> Result<(), WriteError> {
        self.up().await?.write(writes).await
    }
}

struct Served {
    stage: Stage,
    app: App,
    leases: Arc<Failing<dyn Leases>>,
    books: Arc<Failing<dyn Books>>,
}

/// A process of several, which has read the organisation and nothing else.
async fn served() -> Served {
    let stage = Stage::bare();
    stage.alone().apply_organisation(&format!("{ORGANISATION}{BUDGETS}"), None, false).await.unwrap();
    let ports = stage.ports();
    let (leases, books) = (Failing::over(Arc::clone(&ports.leases)), Failing::over(Arc::clone(&ports.books)));
    let ports = Ports { leases: leases.clone(), books: books.clone(), ..ports };
    let app = App::new(ports, [7; 32], 1).sharing(true);
    app.world().await.unwrap();
    Served { stage, app, leases, books }
}

fn team(id: &str) -> Tags {
    serde_json::from_value(json!({ "team": id })).unwrap()
}

impl Served {
    /// Decision and reason.
    async fn ask(&self, amount: &str, tags: Value, critical: bool) -> (Value, Value) {
        let estimate = Some(Estimate::Money { amount: amount.parse().unwrap(), currency: "USD".parse().unwrap() });
        let tags = serde_json::from_value(tags).unwrap();
        let request = AuthorizeRequest { tags, critical, estimate, ..AuthorizeRequest::default() };
        let answer = json!(self.app.authorize(&Principal::operator(), request).await.unwrap());
        (answer["decision"].clone(), answer["decided_by"]["reason"].clone())
    }
}

#[tokio::test]
async fn bud_5_without_balances_critical_work_is_let_through_and_other_work_where_every_budget_says_so() {
    let served = served().await;
    served.leases.fails(true);
    let answer = |decision: &str| (json!(decision), json!("unavailable"));
    let pager = json!({ "team": "support", "agent": "pager" });
    assert_eq!(served.ask("0.1", pager.clone(), true).await, answer("allow"));
    assert_eq!(served.ask("0.1", pager, false).await, answer("deny"));
    assert_eq!(served.ask("0.1", json!({ "team": "support", "agent": "triage" }), true).await, answer("deny"));
    assert_eq!(served.ask("0.1", json!({ "project": "x" }), false).await, answer("allow"));
    assert_eq!(served.ask("0.1", json!({ "project": "x", "team": "support" }), false).await, answer("deny"));
    served.leases.fails(false);
    assert_eq!(served.ask("0.1", json!({ "team": "support" }), false).await, (json!("allow"), Value::Null));
}

#[tokio::test]
async fn bud_5_without_what_was_approved_the_limits_of_the_file_hold() {
    let served = served().await;
    let app = served.stage.alone();
    let request = more("1", "a launch");
    let [ana, finn] = ["ana", "finn"].map(|name| Principal { person: Some(name.into()), ..Principal::operator() });
    let asked = app.request_extension(&ana, request).await.unwrap();
    app.decide_extension(&finn, &asked.id, true).await.unwrap();
    served.books.fails(true);
    let support = || json!({ "team": "support" });
    assert_eq!(served.ask("1.5", support(), false).await, (json!("deny"), json!("budget-exceeded")));
    assert_eq!(served.ask("0.5", support(), false).await, (json!("allow"), Value::Null));
    served.books.fails(false);
    assert_eq!(served.ask("1.5", support(), false).await, (json!("allow"), Value::Null), "0.5 and 1.5 of 2");
}

/// An agent brings its key to each call: a store that is down must not turn the answer of BUD-5 into none.
#[tokio::test]
async fn bud_5_a_key_that_was_read_holds_while_it_cannot_be_read_again() {
    let served = served().await;
    let make = async || served.stage.alone().create_key(Role::Ingest, None, Tags::default(), None).await.unwrap();
    let (known, fresh) = (make().await, make().await);
    served.app.authenticate(&known.key).await.unwrap();
    served.stage.clock.pass_minutes(5);
    served.books.fails(true);
    let principal = served.app.authenticate(&known.key).await.unwrap();
    assert_eq!((principal.key_id.as_deref(), principal.role), (Some(known.id.as_str()), Role::Ingest));
    let wrong = format!("{}0", known.key);
    assert!(
        matches!(served.app.authenticate(&wrong).await, Err(Refusal::Unauthenticated(_))),
        "its secret is looked at"
    );
    assert!(matches!(served.app.authenticate(&fresh.key).await, Err(Refusal::Store(_))), "nobody knows this one");
    served.books.fails(false);
    served.stage.alone().revoke_key(&known.id).await.unwrap();
    assert!(matches!(served.app.authenticate(&known.key).await, Err(Refusal::Unauthenticated(_))), "it was revoked");
}

/// Everything that is done for one answer shares the time that there is for it, however much of it never answers: organisation,
/// what was approved and balances each had its own before, and took more than twice as long together.
#[tokio::test]
async fn bud_5_who_asks_is_answered_in_time_by_what_is_known() {
    const WITHIN: Duration = Duration::from_secs(3);
    let Served { stage, app, leases, books } = served().await;
    let make = async || stage.alone().create_key(Role::Ingest, None, Tags::default(), None).await.unwrap().key;
    let (known, unknown) = (make().await, make().await);
    let estimate = Some(Estimate::Money { amount: "0.1".parse().unwrap(), currency: "USD".parse().unwrap() });
    let request = AuthorizeRequest { estimate, tags: team("support"), ..AuthorizeRequest::default() };
    let held = stage.alone().authorize(&Principal::operator(), request).await.unwrap().reservation_id.unwrap();
    let served = Served { app: app.answering_within(WITHIN), stage, leases, books };
    served.app.authenticate(&known).await.unwrap();
    assert_eq!(served.ask("0.1", json!({ "team": "support" }), false).await.0, "allow");
    served.stage.clock.pass_minutes(5);
    served.leases.is_silent.store(true, Ordering::SeqCst);
    served.books.is_silent.store(true, Ordering::SeqCst);
    served.app.authenticate(&known).await.unwrap();
    let began = Instant::now();
    let pager = json!({ "team": "support", "agent": "pager" });
    let operator = Principal::operator();
    let (answered, critical, nobody, released, extended) = tokio::join!(
        served.ask("0.1", json!({ "team": "support" }), false),
        served.ask("0.1", pager, true),
        served.app.authenticate(&unknown),
        served.app.release(&operator, &held),
        served.app.extend_reservation(&operator, &held, 900),
    );
    assert!(began.elapsed() < WITHIN * 2, "{:?}", began.elapsed());
    assert_eq!(answered, (json!("deny"), json!("unavailable")));
    assert_eq!(critical, (json!("allow"), json!("unavailable")));
    assert!(matches!(nobody, Err(Refusal::Store(_))), "nobody knows this key");
    assert!(matches!((released, extended), (Err(Refusal::Store(_)), Err(Refusal::Store(_)))));
}

/// On a full disk nothing can be recorded, the end of a run neither: who waits for it sees it all the same.
#[tokio::test]
async fn rat_3_a_run_whose_failure_cannot_be_recorded_is_seen_to_have_failed() {
    let stage = Stage::bare();
    stage.alone().apply_organisation(ORGANISATION, None, false).await.unwrap();
    let ports = stage.ports();
    let books = Failing::over(Arc::clone(&ports.books));
    let app = Arc::new(App::new(Ports { books: books.clone(), ..ports }, [7; 32], 1));
    let run = app.new_run().unwrap();
    app.announce_run(&run, "nightly").await.unwrap();
    assert!(app.run(&run).await.unwrap().is_running());
    books.fails(true);
    app.nightly(&Principal::operator(), &run, Through::All).await.unwrap_err();
    let seen = json!(app.run(&run).await.unwrap());
    assert_eq!((&seen["state"], &seen["refused"]), (&json!("failed"), &Value::Null), "{seen}");
    assert!(seen["error"].to_string().contains("it is down"), "{seen}");
}
