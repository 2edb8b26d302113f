//! A world replayed the slow way: every month settled on the way and at its close, late events as corrections.

use std::collections::BTreeMap;

use num_traits::Zero;
use recoup_model::organisation::Billing;

use crate::book::{Bearer, LineKey, Opening, PoolSplit, Row, Settlement, Variance};
use crate::facts::{Figures, Replayed, of_day, shown};
use crate::month::{Corrections, Input, correct, settle};
use crate::number::{text, whole};
use crate::prices::{Key, Version};
use crate::trace::{Trace, resolve_all};
use crate::world::World;

/// A closed month.
struct Closed {
    opening: Opening,
    booked: Corrections,
    settlement: Settlement,
}

/// Every figure of a world, by month and name. A month whose pools are closed ends it.
#[must_use]
pub fn replay(world: &World) -> Replayed {
    let history = world.history().unwrap();
    let (mut days, mut figures) = (Figures::new(), Figures::new());
    let mut closed: Vec<Closed> = Vec::new();
    let periods = world.periods();
    for (month, period) in periods.iter().copied().enumerate() {
        let traces = resolve_all(&history, &world.known(month));
        for day in period.days() {
            let of_day = of_day(&history, &traces, day);
            days.extend(of_day.into_iter().map(|(name, figure)| (format!("{day} {name}"), figure)));
        }
        let opening = closed.last().map(|month| month.settlement.closing.clone()).unwrap_or_default();
        let corrections = correct_all(&history, &traces, &periods, &closed);
        let input = |through| Input {
            history: &history,
            traces: &traces,
            period,
            through,
            opening: &opening,
            approved: world.approved[month],
            own_prices: None,
            corrections: &corrections,
        };
        for through in [world.through[month], period.days().last().unwrap()] {
            let prefix = format!("{period} through {through}");
            match settle(input(through)) {
                Ok(settlement) if through == world.through[month] && period.days().last() != Some(through) => {
                    figures.extend(flatten(&prefix, &settlement));
                }
                Ok(settlement) => {
                    figures.extend(flatten(&prefix, &settlement));
                    closed.push(Closed { opening: opening.clone(), booked: corrections.clone(), settlement });
                    break;
                }
                Err(pools) => {
                    figures.insert(prefix, format!("closed pools {}", pools.join(" ")));
                    return Replayed { days, months: figures };
                }
            }
        }
        figures.extend(correction_figures(&format!("{period}"), &corrections));
    }
    Replayed { days, months: figures }
}

/// What is late for closed months, against their closes and the corrections booked since (LED-4).
fn correct_all(
    history: &recoup_model::organisation::History,
    traces: &[Trace],
    periods: &[recoup_model::Period],
    closed: &[Closed],
) -> Corrections {
    let mut all = Corrections::new();
    for (number, month) in closed.iter().enumerate() {
        let period = periods[number];
        let is_ours = |key: &LineKey| key.original.is_some_and(|(original, _)| original == period);
        let mut earlier = Corrections::new();
        for (of, row) in closed.iter().flat_map(|later| &later.booked).filter(|((_, key), _)| is_ours(key)) {
            earlier.entry(of.clone()).or_default().add(row, &whole(1));
        }
        let now = settle(Input {
            history,
            traces,
            period,
            through: period.days().last().unwrap(),
            opening: &month.opening,
            approved: false,
            own_prices: Some(&month.settlement.prices),
            corrections: &month.booked,
        });
        // Late events may close a group of pools; then nothing can be said, on either side.
        let Ok(now) = now else { continue };
        all.extend(correct(period, &month.settlement, &earlier, &now));
    }
    all
}

/// The name of what has a price.
#[must_use]
pub fn key_name((agent, task_type, billing): &Key) -> String {
    let billing = if *billing == Billing::Time { "time" } else { "task" };
    format!("{agent} {task_type} {billing}")
}

fn flatten(prefix: &str, settlement: &Settlement) -> Figures {
    let mut figures = Figures::new();
    let mut put = |name: String, figure: String| {
        assert!(figures.insert(format!("{prefix}: {name}"), figure).is_none(), "one figure a name");
    };
    for (team, lines) in &settlement.lines {
        for (key, row) in lines {
            let quantity = row.quantity.as_ref().map_or_else(|| "-".to_owned(), text);
            put(format!("line {team} {key}"), format!("{} of {quantity}", text(&row.exact)));
        }
    }
    for name in TOTALS {
        put(format!("total {name}"), text(&settlement.total(name)));
    }
    put("total exact_total".to_owned(), text(&settlement.exact_total()));
    let variances = settlement.variances.iter();
    for Variance { key, figures } in variances.filter(|variance| variance.figures.iter().any(|part| !part.is_zero())) {
        put(format!("variance {}", key_name(key)), figures.iter().map(text).collect::<Vec<_>>().join(" "));
    }
    // A pool without cost has nothing to split, and a record or none.
    for PoolSplit { pool, own, full, basis, ratios } in settlement.pools.iter().filter(|split| !split.full.is_zero()) {
        put(format!("pool {pool}"), format!("{} {} {basis}", text(own), text(full)));
        for (who, fraction) in ratios {
            put(format!("pool {pool} {who}"), format!("{}/{}", fraction.numer(), fraction.denom()));
        }
    }
    for Version { key, from, to, price, seed } in &settlement.prices {
        put(format!("price {} {from}", key_name(key)), format!("{to:?} {} {seed}", text(price)));
    }
    for (payer, events) in &settlement.unpriced {
        put(format!("unpriced {}", shown(payer.as_ref())), events.to_string());
    }
    for bill in &settlement.unpriced_bills {
        put(format!("bill without a rate {bill}"), "a finding".to_owned());
    }
    for (key, carried) in &settlement.closing.carried {
        put(format!("carried {}", key_name(key)), text(carried));
    }
    figures
}

/// The terms of CLO-4 that are compared.
pub const TOTALS: [&str; 8] =
    ["priced_cost", "unattributed", "unallocated", "markup", "corrections", "absorbed", "carried_out", "carried_in"];

fn correction_figures(prefix: &str, corrections: &Corrections) -> Figures {
    let named = |((bearer, key), row): (&(Bearer, LineKey), &Row)| {
        (format!("{prefix}: correction {} {key}", bearer.name()), text(&row.exact))
    };
    corrections.iter().map(named).collect::<BTreeMap<_, _>>()
}
