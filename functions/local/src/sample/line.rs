//! One event as one line of JSON, in the field order of the contract.
//!
//! Every text comes from our own tables and needs no escaping.

use std::fmt::Write;

use chrono::{DateTime, SecondsFormat};
use recoup_model::Status;
use recoup_money::{Amount, PICO_PER_UNIT};

use super::offers::FINE_TUNED;
use super::trace::{Cost, Root, Span, Trace};

/// The event of a span.
pub(super) fn write(trace: &Trace, span: &Span) -> String {
    let mut line = Line(String::with_capacity(512));
    line.0.push('{');
    line.hex("event_id", span.id);
    if let Some((high, low)) = trace.id {
        line.key("trace_id");
        line.print(format_args!("\"{high:016x}{low:016x}\""));
    }
    if let Some(parent) = span.parent {
        line.hex("parent_id", parent);
    }
    line.text("used_at", &DateTime::from_timestamp_nanos(span.end_ns).to_rfc3339_opts(SecondsFormat::Millis, true));
    line.number("duration_ms", span.duration_ms);
    line.text("kind", span.kind.name());
    let root = if span.parent.is_none() { trace.root } else { Root::default() };
    line.tags(span.agent, &root);
    if root.is_critical {
        line.text("priority", "critical");
    }
    line.some("status", root.status.or(span.status).map(Status::name));
    line.cost(&span.cost);
    if let Some(response) = span.response {
        line.key("response_id");
        line.print(format_args!("\"resp_{response:016x}\""));
    }
    if let Some(first) = span.retry_of {
        line.hex("retry_of", first);
    }
    line.0.push('}');
    line.0
}

struct Line(String);

impl Line {
    fn key(&mut self, name: &str) {
        if !self.0.ends_with('{') {
            self.0.push(',');
        }
        self.0.push('"');
        self.0.push_str(name);
        self.0.push_str("\":");
    }

    fn print(&mut self, arguments: std::fmt::Arguments<'_>) {
        // Writing to a string cannot fail.
        let _ = self.0.write_fmt(arguments);
    }

    fn text(&mut self, name: &str, value: &str) {
        self.key(name);
        self.0.push('"');
        self.0.push_str(value);
        self.0.push('"');
    }

    fn some(&mut self, name: &str, value: Option<&str>) {
        if let Some(value) = value {
            self.text(name, value);
        }
    }

    fn hex(&mut self, name: &str, value: u64) {
        self.key(name);
        self.print(format_args!("\"{value:016x}\""));
    }

    fn number(&mut self, name: &str, value: u64) {
        self.key(name);
        self.print(format_args!("{value}"));
    }

    fn tags(&mut self, agent: Option<&str>, root: &Root) {
        let before = self.0.len();
        self.key("tags");
        self.0.push('{');
        let empty = self.0.len();
        self.some("agent", agent);
        if let Some(task) = root.task {
            self.text("task_type", task.task_type);
            self.key("task_id");
            self.print(format_args!("\"{}-{}\"", task.ticket, task.number));
        }
        self.some("user", root.user);
        self.some("team", root.team);
        self.some("project", root.project);
        self.some("campaign", root.campaign);
        if self.0.len() == empty {
            self.0.truncate(before);
        } else {
            self.0.push('}');
        }
    }

    fn cost(&mut self, cost: &Cost) {
        match cost {
            Cost::Nothing => {}
            Cost::Tokens { model, tier, usage } => {
                self.text("provider", model.provider);
                self.text("model", model.name);
                self.some("service_tier", *tier);
                self.key("usage");
                self.0.push('{');
                for (class, tokens) in usage.nonzero() {
                    self.number(class.name(), tokens);
                }
                self.0.push('}');
                // Gateways report zero for a model that they have no price of (EVT-6).
                if *model == FINE_TUNED {
                    self.reported(0, "USD");
                }
            }
            Cost::Units { sku, thousandths } => {
                self.text("sku", sku.name);
                self.text("quantity", &decimal(*thousandths));
                self.text("unit", sku.unit);
            }
            Cost::Reported { service, thousandths } => {
                self.text("provider", service.provider);
                self.reported(*thousandths, service.currency);
            }
        }
    }

    fn reported(&mut self, thousandths: u64, currency: &str) {
        self.key("cost");
        self.0.push('{');
        self.text("amount", &decimal(thousandths));
        self.text("currency", currency);
        self.0.push('}');
    }
}

/// Thousandths as a decimal text.
fn decimal(thousandths: u64) -> String {
    let pico_of_one = PICO_PER_UNIT / 1_000;
    Amount::from_pico(i128::from(thousandths).saturating_mul(pico_of_one)).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use recoup_model::Kind;

    #[test]
    fn evt_1_a_frame_is_written_without_cost() {
        let span = Span {
            id: 0xab,
            parent: Some(1),
            end_ns: 1_792_915_200_123_000_000,
            duration_ms: 7,
            kind: Kind::Agent,
            agent: Some("triage"),
            status: None,
            cost: Cost::Nothing,
            response: None,
            retry_of: None,
            is_excessive: false,
        };
        let root = Root { team: Some("support"), ..Root::default() };
        let trace = Trace { id: Some((2, 3)), root, spans: Vec::new() };
        let expected = r#"{"event_id":"00000000000000ab","trace_id":"00000000000000020000000000000003","parent_id":"0000000000000001","used_at":"2026-10-25T08:00:00.123Z","duration_ms":7,"kind":"agent","tags":{"agent":"triage"}}"#;
        assert_eq!(write(&trace, &span), expected);
        let root_line = write(&trace, &Span { parent: None, agent: None, ..span });
        assert!(root_line.ends_with(r#""tags":{"team":"support"}}"#), "only the root names the payer: {root_line}");
    }

    #[test]
    fn mon_1_quantities_are_exact_decimals() {
        for (thousandths, text) in [(0, "0"), (1, "0.001"), (1_500, "1.5"), (2_000, "2")] {
            assert_eq!(decimal(thousandths), text);
        }
    }
}
