//! Logs: one JSON object per line to standard output, where `CloudWatch` reads it. Every line of an invocation carries its
//! request id and its X-Ray trace.

use lambda_runtime::Context;
use tracing::Span;
use tracing_subscriber::EnvFilter;

/// Begins to log at the level of `RUST_LOG`, else of `AWS_LAMBDA_LOG_LEVEL`, else `info`.
pub fn start() {
    let level = std::env::var("AWS_LAMBDA_LOG_LEVEL").unwrap_or_default().to_lowercase();
    let level = if level.is_empty() { "info" } else { &level };
    let filter = EnvFilter::try_from_default_env().or_else(|_| EnvFilter::try_new(level));
    let filter = filter.unwrap_or_else(|_| EnvFilter::new("info"));
    let lines = tracing_subscriber::fmt().json().flatten_event(true).with_current_span(true).with_span_list(false);
    if let Err(error) = lines.with_env_filter(filter).with_target(false).try_init() {
        eprintln!("logs go elsewhere: {error}");
    }
}

/// The span of an invocation.
#[must_use]
pub fn invocation(context: &Context) -> Span {
    let trace = context.xray_trace_id.as_deref().unwrap_or_default();
    tracing::info_span!("invocation", request_id = context.request_id, xray_trace_id = trace)
}
