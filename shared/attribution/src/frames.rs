//! Frames of agents (ATR-2) and invocations of shared ones (ATR-4).
//!
//! What the rules leave open: the calls of one retry chain are one invocation per agent, counted at the earliest of
//! them, even where the call that was tried first lies outside the trace; a frame below which no event counts (all of
//! it superseded or billed elsewhere) is no invocation.

use std::collections::BTreeMap;

use recoup_model::{Id, Kind};

use crate::graph::{cut_loops, find_ends, follow};
use crate::trace::Span;

/// Numbers the frames of each agent on the way down. `spans` are in preorder.
pub(crate) fn mark_frames(spans: &mut [Span]) {
    let numbers = number_agents(spans);
    let mut open_frames = vec![0_u32; spans.len()];
    // The spans on the way down to the current one, each with the agent whose frame it starts.
    let mut path: Vec<(usize, Option<usize>)> = Vec::new();
    for at in 0..spans.len() {
        let parent = spans.get(at).and_then(|span| span.parent);
        while let Some((_, left)) = path.pop_if(|(top, _)| Some(*top) != parent) {
            if let Some(count) = left.and_then(|agent| open_frames.get_mut(agent)) {
                *count = count.saturating_sub(1);
            }
        }
        let agent = follow(&numbers, at);
        let starts = match spans.get(at) {
            Some(span) if span.event.kind == Kind::Agent && span.event.tags.agent.is_some() => true,
            _ => agent != parent.and_then(|parent| follow(&numbers, parent)),
        };
        let entered = agent.filter(|_| starts);
        path.push((at, entered));
        if let (Some(count), Some(span)) = (entered.and_then(|agent| open_frames.get_mut(agent)), spans.get_mut(at)) {
            *count = count.saturating_add(1);
            span.frame = Some(*count);
        }
    }
}

fn number_agents(spans: &[Span]) -> Vec<Option<usize>> {
    let mut numbers: BTreeMap<&Id, usize> = BTreeMap::new();
    spans
        .iter()
        .map(|span| {
            let next = numbers.len();
            span.agent.as_ref().map(|agent| *numbers.entry(agent).or_insert(next))
        })
        .collect()
}

/// Finds for each span of a pool the nearest other pool above it (POOL-2).
pub(crate) fn mark_via(spans: &mut [Span]) {
    // The nearest pool at or above each span and the nearest one above that differs from it, by the spans they are of.
    let mut nearest: Vec<(Option<usize>, Option<usize>)> = Vec::with_capacity(spans.len());
    for at in 0..spans.len() {
        let Some(span) = spans.get(at) else { continue };
        let above = span.parent.and_then(|parent| nearest.get(parent)).copied().unwrap_or_default();
        let Some(pool) = span.pool.clone() else {
            nearest.push(above);
            continue;
        };
        let pool_of = |span: Option<usize>| span.and_then(|span| spans.get(span)).and_then(|span| span.pool.as_ref());
        let other = if pool_of(above.0) == Some(&pool) { above.1 } else { above.0 };
        let via = pool_of(other).cloned();
        nearest.push((Some(at), other));
        if let Some(span) = spans.get_mut(at) {
            span.via = via;
        }
    }
}

/// Marks one frame of each call of a shared agent. `find` gives the index of the span that stands for an `event_id`.
pub(crate) fn mark_invocations(spans: &mut [Span], find: impl Fn(&str) -> Option<usize>) {
    let is_candidate = |span: &Span| span.pool.is_some() && span.frame == Some(1) && span.counted_below;
    if !spans.iter().any(is_candidate) {
        return;
    }
    let mut retried: Vec<Option<usize>> =
        spans.iter().map(|span| span.event.retry_of.as_ref().and_then(|first| find(first))).collect();
    cut_loops(&mut retried);
    let ends = find_ends(&retried);
    let mut calls: BTreeMap<(Option<&Id>, &str), usize> = BTreeMap::new();
    let rank = |at: usize| spans.get(at).map(|span| (span.event.started_at_ns(), &span.event.event_id));
    for (at, span) in spans.iter().enumerate().filter(|(_, span)| is_candidate(span)) {
        let end = ends.get(at).copied().unwrap_or(at);
        let Some(last) = spans.get(end) else { continue };
        let outside = last.event.retry_of.as_deref().filter(|first| find(first).is_none());
        let call = (span.agent.as_ref(), outside.unwrap_or(&last.event.event_id));
        let earliest = calls.entry(call).or_insert(at);
        if rank(at) < rank(*earliest) {
            *earliest = at;
        }
    }
    let invocations: Vec<usize> = calls.into_values().collect();
    for at in invocations {
        if let Some(span) = spans.get_mut(at) {
            span.invocation = true;
        }
    }
}
