//! `close`: the steps of a month's close: plan, checks, issue.

use recoup_lambda::steps::{Duty, serve};

#[tokio::main]
async fn main() -> Result<(), lambda_runtime::Error> {
    serve(Duty::Close).await
}
