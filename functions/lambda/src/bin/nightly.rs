//! `nightly`: the steps of a night: plan, parts, settle.

use recoup_lambda::steps::{Duty, serve};

#[tokio::main]
async fn main() -> Result<(), lambda_runtime::Error> {
    serve(Duty::Nightly).await
}
