//! Organisation files to test with.

use serde_json::{Map, Value, json};

/// Two teams, one agent each, everything billed by token; a model at 3 and 15 dollars per million tokens.
pub const SMALL: &str = include_str!("small.toml");

/// Every billing model and every basis and method of pools; variants are made by replacing its lines.
pub const EVERYTHING: &str = include_str!("everything.toml");

/// A model call of [`SMALL`] that costs 0.0045: 1,000 tokens in, 100 out.
pub fn large_call(event_id: &str, trace_id: &str, used_at: &str, team: &str) -> Map<String, Value> {
    let event = json!({
        "event_id": event_id,
        "trace_id": trace_id,
        "used_at": used_at,
        "kind": "llm",
        "tags": { "team": team, "agent": "writer" },
        "provider": "example",
        "model": "example-large",
        "usage": { "input": 1_000, "output": 100 },
    });
    event.as_object().unwrap().clone()
}
