//! Metrics in CloudWatch's embedded format: one JSON line on standard output. The only dimension is the function, since
//! every combination of dimensions is billed.

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Map, Value, json};

/// The namespace.
const NAMESPACE: &str = "recoup";

/// A figure of an invocation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Metric {
    /// So many of something.
    Count(&'static str, u64),
    /// A length of time.
    Milliseconds(&'static str, u64),
}

/// Writes metrics of a function. An emitted line is not a log line: it must stand alone.
#[expect(clippy::print_stdout, reason = "CloudWatch reads metrics from standard output")]
pub fn emit(function: &str, metrics: &[Metric]) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    println!("{}", line(function, metrics, u64::try_from(now.as_millis()).unwrap_or(u64::MAX)));
}

fn line(function: &str, metrics: &[Metric], now_ms: u64) -> Value {
    let mut fields = Map::new();
    let mut described = Vec::new();
    for metric in metrics {
        let (name, unit, value) = match *metric {
            Metric::Count(name, value) => (name, "Count", value),
            Metric::Milliseconds(name, value) => (name, "Milliseconds", value),
        };
        described.push(json!({ "Name": name, "Unit": unit }));
        fields.insert(name.to_owned(), json!(value));
    }
    fields.insert("Function".to_owned(), json!(function));
    let directive = json!({ "Namespace": NAMESPACE, "Dimensions": [["Function"]], "Metrics": described });
    fields.insert("_aws".to_owned(), json!({ "Timestamp": now_ms, "CloudWatchMetrics": [directive] }));
    Value::Object(fields)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{Metric, line};

    #[test]
    fn a_line_describes_each_of_its_metrics() {
        let line = line("ingest", &[Metric::Count("EventsAccepted", 512), Metric::Milliseconds("Duration", 7)], 1);
        let wanted = json!({
            "_aws": { "Timestamp": 1, "CloudWatchMetrics": [{
                "Namespace": "recoup", "Dimensions": [["Function"]],
                "Metrics": [{ "Name": "EventsAccepted", "Unit": "Count" }, { "Name": "Duration", "Unit": "Milliseconds" }],
            }] },
            "Function": "ingest", "EventsAccepted": 512, "Duration": 7,
        });
        assert_eq!(line, wanted);
    }
}
