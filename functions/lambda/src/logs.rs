//! Logs: one JSON object per line to standard output, where `CloudWatch` reads it. Every line of an invocation carries its
//! request id and its X-Ray trace.

use lambda_runtime::Context;
use tracing::Span;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::util::SubscriberInitExt;

/// Begins to log at the level of `RUST_LOG`, else of `AWS_LAMBDA_LOG_LEVEL`, else `info`.
pub fn start() {
    let level = std::env::var("AWS_LAMBDA_LOG_LEVEL").unwrap_or_default().to_lowercase();
    let level = if level.is_empty() { "info" } else { &level };
    let filter = EnvFilter::try_from_default_env().or_else(|_| EnvFilter::try_new(level));
    let filter = filter.unwrap_or_else(|_| EnvFilter::new("info"));
    if let Err(error) = lines(filter, std::io::stdout).try_init() {
        eprintln!("logs go elsewhere: {error}");
    }
}

/// Lines of JSON with the fields of the event and of its span.
fn lines<W>(filter: EnvFilter, to: W) -> impl SubscriberInitExt
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let lines = tracing_subscriber::fmt().json().flatten_event(true).with_current_span(true).with_span_list(false);
    lines.with_env_filter(filter).with_target(false).with_writer(to).finish()
}

/// The span of an invocation.
#[must_use]
pub fn invocation(context: &Context) -> Span {
    let trace = context.xray_trace_id.as_deref().unwrap_or_default();
    tracing::info_span!("invocation", request_id = context.request_id, xray_trace_id = trace)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

    use std::sync::{Arc, Mutex};

    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn every_line_of_an_invocation_carries_its_request_and_its_x_ray_trace() {
        let written: Arc<Mutex<Vec<u8>>> = Arc::default();
        let to = Arc::clone(&written);
        let lines = lines(EnvFilter::new("info"), move || Shared(Arc::clone(&to)));
        let mut context = Context::default();
        context.request_id = "c6af9ac6-7b61".into();
        context.xray_trace_id = Some("Root=1-5759e988-bd862e3fe1be46a994272793".into());
        tracing::dispatcher::with_default(&lines.into(), || {
            let span = invocation(&context);
            span.in_scope(|| {
                tracing::info!(answer = 42, "first");
                tracing::debug!("not at this level");
                tracing::info_span!("inner").in_scope(|| tracing::error!("second"));
            });
        });
        let text = String::from_utf8(written.lock().unwrap().clone()).unwrap();
        let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines.len(), 2, "{text}");
        assert_eq!(
            (&lines[0]["message"], &lines[0]["answer"], &lines[0]["level"]),
            (&json!("first"), &json!(42), &json!("INFO"))
        );
        assert_eq!(lines[0]["span"]["request_id"], "c6af9ac6-7b61");
        assert_eq!(lines[0]["span"]["xray_trace_id"], "Root=1-5759e988-bd862e3fe1be46a994272793");
    }

    struct Shared(Arc<Mutex<Vec<u8>>>);

    impl std::io::Write for Shared {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
}
