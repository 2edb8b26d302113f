//! What a person should look at in a trace, in words.

use recoup_model::{Basis, Finding, FindingKind, Id, Rating, Severity, UnpricedReason};

use crate::corrections::Corrections;
use crate::order::Ordered;
use crate::payer::{Payer, PayerSource};
use crate::resolve::{Context, Days};
use crate::task::{Task, is_billed_by_time};
use crate::trace::{Place, Span};
use crate::tree::Tree;

/// The findings of one trace, each with the index of the span that it concerns.
pub(crate) struct Notes<'a> {
    trace: &'a Id,
    spans: &'a [Span],
    found: Vec<(Finding, usize)>,
}

/// The words of [`FindingKind::Unattributed`].
pub(crate) const UNATTRIBUTED: &str = "nothing names a team; tag the root, its user or its API key";
/// The words of [`FindingKind::Conflict`].
const DISPUTED: &str = "it was recorded with other content too; the first record counts; to correct it send a new event whose \
                        `supersedes` names it";
/// The words of [`FindingKind::ReportedUsed`].
pub(crate) const REPORTED_USED: &str = "the reported cost is used: there is no price or no usage";

/// The words of [`FindingKind::UnknownTeam`].
pub(crate) fn unknown_team(named: &str) -> String {
    format!("the team `{named}` is not in the organisation file: unattributed; add it or correct the tag")
}

/// One severity per kind, so that a cap on the number kept never prefers the lighter ones.
pub(crate) const fn severity_of(kind: FindingKind) -> Severity {
    match kind {
        FindingKind::SharedResponse | FindingKind::Superseded | FindingKind::ReportedUsed => Severity::Info,
        _ => Severity::Warning,
    }
}

/// Why a span has no price, and what ends that.
fn without_price(span: &Span, reason: UnpricedReason) -> String {
    let (event, day) = (&span.event, span.local_day);
    let of_excess = span.unobserved.as_ref();
    let provider = event.provider.as_ref().or_else(|| of_excess?.provider.as_ref());
    let model = event.model.as_ref().or_else(|| of_excess?.model.as_ref());
    let bought = [provider, model].into_iter().flatten().map(|name| &**name).collect::<Vec<_>>().join("/");
    let sold = event.quantity.as_ref();
    let sku = sold.map_or("", |sold| &*sold.sku);
    let unit = sold.and_then(|sold| sold.unit.as_ref()).map(|unit| format!(" per `{unit}`")).unwrap_or_default();
    match reason {
        UnpricedReason::UnknownModel if model.is_none() => {
            "it names no model whose price could be applied; send `provider` and `model`, or `cost`".to_owned()
        }
        UnpricedReason::UnknownModel => {
            format!(
                "no price of `{bought}` holds on {day}; import a price list, which reaches closed months too, or add one to \
                 [[prices]] whose `from` is not later and apply the file with `--effective {day}`"
            )
        }
        UnpricedReason::UnknownTier => {
            let tier = event.service_tier.as_deref().unwrap_or_default();
            format!(
                "no price of `{bought}` in the service tier `{tier}` holds on {day}; add one to [[prices]] and apply the file with `--effective {day}`"
            )
        }
        UnpricedReason::NoRate => {
            format!("the price of `{bought}` on {day} has no rate for a class of tokens that was used; add it")
        }
        UnpricedReason::UnknownSku => {
            format!(
                "no price of the SKU `{sku}`{unit} holds on {day}; correct the unit, or add one to [[prices]] and apply the \
                 file with `--effective {day}`"
            )
        }
        UnpricedReason::NoUsage => {
            "it reports neither usage nor quantity nor cost; send `usage`, `sku` with `quantity`, or `cost`".to_owned()
        }
        UnpricedReason::NoExchangeRate => {
            format!(
                "no rate into the organisation's currency holds on {day}; add one to [[rates]] and apply the file with \
                 `--effective {day}`"
            )
        }
        UnpricedReason::Overflow => "its cost does not fit; look for an absurd amount or count".to_owned(),
    }
}

impl<'a> Notes<'a> {
    pub(crate) const fn new(trace: &'a Id, spans: &'a [Span]) -> Self {
        Self { trace, spans, found: Vec::new() }
    }

    fn add(&mut self, kind: FindingKind, at: usize, detail: String) {
        let event = self.spans.get(at).map_or("", |span| &*span.event.event_id);
        let subject = format!("{}/{event}", self.trace);
        self.found.push((Finding { severity: severity_of(kind), kind, subject, detail }, at));
    }

    /// Sorted, in two columns.
    pub(crate) fn finish(mut self) -> (Vec<Finding>, Vec<usize>) {
        self.found.sort_unstable();
        self.found.into_iter().unzip()
    }

    /// Events that were recorded twice at the same time, so that nobody saw at the door that their contents differ.
    pub(crate) fn add_disputed(&mut self, tree: &Tree, events: &Ordered<'_>) {
        for rank in events.disputed() {
            self.add(FindingKind::Conflict, tree.positions.get(rank).copied().unwrap_or_default(), DISPUTED.to_owned());
        }
    }

    /// Root, orphans, loops and corrections.
    pub(crate) fn add_shape(&mut self, tree: &Tree, events: &Ordered<'_>, corrections: &Corrections) {
        for (at, span) in self.spans.iter().enumerate().filter(|(_, span)| span.superseded_by.is_none()) {
            let parent = span.event.parent_id.as_deref().unwrap_or_default();
            match span.place {
                Place::Orphan if at != 0 => {
                    let detail =
                        format!("the parent `{parent}` is not there; the span hangs on the root until it comes");
                    self.add(FindingKind::Orphan, at, detail);
                }
                Place::LoopCut => {
                    let detail = format!("the parent `{parent}` closes a loop, which is cut here; correct `parent_id`");
                    self.add(FindingKind::ParentLoop, at, detail);
                }
                _ => {}
            }
        }
        if tree.parentless > 1 {
            let detail =
                format!("{} spans have no parent; this one is the root, the others hang on it", tree.parentless);
            self.add(FindingKind::SeveralRoots, 0, detail);
        }
        if tree.parentless == 0 {
            let detail = "no span without a parent has arrived; the cost passes through until it comes".to_owned();
            self.add(FindingKind::RootMissing, 0, detail);
        }
        for rank in &corrections.unknown {
            let target =
                events.get(*rank).and_then(|recorded| recorded.event.supersedes.as_deref()).unwrap_or_default();
            let detail =
                format!("`supersedes` names `{target}`, which is not in the trace or closes a loop; it counts");
            self.add(FindingKind::SupersedesUnknown, tree.positions.get(*rank).copied().unwrap_or_default(), detail);
        }
        self.add_superseded(tree, corrections);
    }

    fn add_superseded(&mut self, tree: &Tree, corrections: &Corrections) {
        for (at, span) in self.spans.iter().enumerate() {
            let Some(by) = &span.superseded_by else { continue };
            let several = tree.ranks.get(at).map_or(0, |rank| corrections.corrections_of(*rank));
            let detail = match several {
                0 | 1 => format!("`{by}` stands for it; it bears no cost"),
                _ => format!(
                    "{several} events correct it and all of them count, `{by}` in its place; to replace a correction, \
                     name the correction"
                ),
            };
            self.add(FindingKind::Superseded, at, detail);
        }
    }

    /// The payer.
    pub(crate) fn add_payer(&mut self, payer: &Payer, bears_cost: bool) {
        match (&payer.named, &payer.team, payer.source) {
            (Some(named), None, source) => {
                let detail = unknown_team(named);
                let at = if let PayerSource::Span(at) = source { at } else { 0 };
                self.add(FindingKind::UnknownTeam, at, detail);
            }
            // A trace whose every event is billed or corrected elsewhere needs no payer.
            (None, ..) if bears_cost => {
                self.add(FindingKind::Unattributed, 0, UNATTRIBUTED.to_owned());
            }
            _ => {}
        }
    }

    /// The task.
    pub(crate) fn add_task(&mut self, payer: &Payer, task: Option<&Task>, context: &Context<'_>) {
        let timeless = |task: &&Task| !task.of.timed && is_billed_by_time(payer.team.as_ref(), &task.of, context);
        if task.filter(timeless).is_some() {
            let detail =
                "billed by time, but no span other than `agent` has a `duration_ms`: it passes through at cost";
            self.add(FindingKind::NoDuration, 0, detail.to_owned());
        }
    }

    /// Prices and priority of each span.
    pub(crate) fn add_spans(&mut self, days: &mut Days<'_>) {
        for (at, span) in self.spans.iter().enumerate() {
            if span.excluded {
                let detail = "another report of the same provider call is billed".to_owned();
                self.add(FindingKind::SharedResponse, at, detail);
            }
            if !span.counts() {
                continue;
            }
            self.add_rating(at, span);
            let agents = &days.organisation_on(span.local_day).agents;
            let declared = span.agent.as_ref().and_then(|agent| agents.get(agent)).is_some_and(|agent| agent.critical);
            if span.event.critical && !declared {
                let agent = span.agent.as_deref().unwrap_or("-");
                let detail = format!("the agent `{agent}` is not declared `critical` in the organisation file");
                self.add(FindingKind::CriticalIgnored, at, detail);
            }
        }
    }

    fn add_rating(&mut self, at: usize, span: &Span) {
        for reason in span.unpriced() {
            self.add(FindingKind::Unpriced, at, without_price(span, reason));
        }
        if let Rating::Priced { basis, disagrees, .. } = &span.own {
            if *disagrees {
                let detail = "the reported cost differs from the catalogue's beyond 0.2x to 5x".to_owned();
                self.add(FindingKind::ReportedDisagrees, at, detail);
            }
            if *basis == Basis::Reported {
                self.add(FindingKind::ReportedUsed, at, REPORTED_USED.to_owned());
            }
        }
        if let Some(unobserved) = &span.unobserved {
            let tokens = unobserved.usage.total();
            let detail = format!("{tokens} tokens are reported here and nowhere below; instrument the calls below");
            self.add(FindingKind::UnobservedUsage, at, detail);
        }
    }
}
