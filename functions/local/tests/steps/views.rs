//! The books as plain SQL shows them.

use recoup_workflows::Principal;
use recoup_workflows::nightly::Through;

use crate::stage::{ORGANISATION, Stage, events};

#[tokio::test]
async fn clo_1_the_view_of_costs_has_what_the_nights_made() {
    let stage = Stage::bare();
    let app = stage.alone();
    app.apply_organisation(ORGANISATION, None, false).await.unwrap();
    stage.ingest(&app, &events()).await;
    let outcome = app.nightly(&Principal::operator(), &app.new_run().unwrap(), Through::All).await.unwrap();
    let nights = outcome["days"].as_array().unwrap();
    let counted: u64 = nights.iter().map(|night| night["events"].as_u64().unwrap()).sum();
    let database = rusqlite::Connection::open(stage.folder().join("recoup.sqlite3")).unwrap();
    let shown = |sql: &str| database.query_row(sql, [], |row| row.get::<_, u64>(0)).unwrap();
    assert!(counted > 0);
    assert_eq!(shown("SELECT sum(events) FROM v_cells"), counted);
    assert_eq!(shown("SELECT count(DISTINCT day) FROM v_cells"), u64::try_from(nights.len()).unwrap());
}
