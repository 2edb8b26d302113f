//! `simulate`: past months under other rules. It reads; what it may write is the answer.

use recoup_lambda::steps::{Duty, serve};

#[tokio::main]
async fn main() -> Result<(), lambda_runtime::Error> {
    serve(Duty::Simulate).await
}
