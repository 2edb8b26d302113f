//! Organisation files: a first version, and what changes later.

use chrono::{Datelike, Days, NaiveDate};
use recoup_model::Period;

use super::ZONES;
use crate::random::Chance;
use crate::world::File;

/// Teams that every version declares.
pub(super) const TEAMS: [&str; 2] = ["support", "marketing"];
/// A team that some versions declare.
pub(super) const LATE_TEAM: &str = "ops";
/// Agents.
pub(super) const AGENTS: [&str; 6] = ["triage", "writer", "coder", "guard", "index", "cache"];
/// Agents that may be shared.
const SHARED: [&str; 4] = ["guard", "index", "cache", "writer"];
/// Task types; the first may have a seed price.
pub(super) const TASK_TYPES: [&str; 2] = ["ticket", "report"];
const POOLS: [&str; 4] = ["safety", "search", "common", "spare"];
/// Markups, one of them nothing.
const PERCENTS: [&str; 3] = ["{ percent = \"5\" }", "{ percent = \"0.1234567891\" }", "{ percent = \"0\" }"];
/// What a bill asks for a month: digits that stay after pro rata, or are gone.
const AMOUNTS: [&str; 4] = ["310.00", "0.000000000007", "99.99", "1"];
const CURRENCIES: [&str; 3] = ["USD", "EUR", "GBP"];
const BASES: [&str; 6] = ["direct_cost", "invocations", "tokens", "duration", "fixed", "even"];

/// What all versions of a file share. A pool's method is that of its group and stays: what a change of it means is left
/// open.
struct Fixed {
    /// Prices that forget fast.
    forgetful: bool,
    /// Whether some agents are billed by time.
    by_time: bool,
    /// In how many per cent of the versions prices take in pools.
    in_prices: u64,
    /// Each bill, and where its amounts and its currencies begin.
    bills: [(&'static str, usize, usize); 2],
    /// From when pounds can be converted.
    pound_from: &'static str,
    names: Vec<&'static str>,
    group: Option<&'static str>,
    method: &'static str,
}

/// The versions of a world's organisation file.
pub(super) fn files(chance: &mut Chance, periods: &[Period]) -> Vec<File> {
    let zone = *chance.pick(&ZONES);
    let head = format!("[organisation]\nname = \"Naive\"\ncurrency = \"USD\"\ntime_zone = \"{zone}\"");
    let grid = *chance.pick(&["0.0001", "0.0001", "0.01", "0.000001"]);
    let fixed = Fixed {
        forgetful: chance.percent(40),
        by_time: chance.percent(60),
        in_prices: *chance.pick(&[0, 0, 0, 100, 50]),
        bills: ["vector-store", "vm"].map(|id| {
            let (amounts, currencies): (Vec<_>, Vec<_>) =
                ((0..AMOUNTS.len()).collect(), (0..CURRENCIES.len()).collect());
            let amount = *chance.pick(&amounts);
            (id, amount, *chance.pick(&currencies))
        }),
        pound_from: chance.name(&["2024-01-01", "2026-10-20", "2026-03-10"]),
        names: POOLS[..usize::try_from(chance.between(0, 4)).unwrap()].to_vec(),
        group: chance.maybe(70, &["shared"]).copied(),
        method: chance.name(&["direct", "step_down", "reciprocal", "reciprocal"]),
    };
    let mut files = vec![file(chance, &head, grid, &fixed, None)];
    for _ in 0..*chance.pick(&[0, 0, 1, 1, 2]) {
        let effective = day_of(chance, periods);
        let fresh = file(chance, &head, grid, &fixed, Some(effective));
        let last = files.last().unwrap();
        files.push(change(chance, last, fresh));
    }
    files.sort_by_key(|file| file.effective);
    files
}

fn day_of(chance: &mut Chance, periods: &[Period]) -> NaiveDate {
    chance.pick(periods).first_day() + Days::new(chance.below(29))
}

/// Most of a version is as it was: each line comes from one of two files, an entry from where its heading stands.
fn change(chance: &mut Chance, old: &File, new: File) -> File {
    let keep = chance.between(30, 90);
    let mut policy = old.policy.clone();
    if !chance.percent(keep) {
        policy.clone_from(&new.policy);
    }
    let names = |file: &File| file.entries.iter().map(|entry| name_of(entry)).collect::<Vec<_>>();
    if names(old) != names(&new) {
        return File { policy, ..new };
    }
    let entries = old.entries.iter().zip(&new.entries);
    let entries = entries.map(|(old, new)| if chance.percent(keep) { old.clone() } else { new.clone() });
    File { entries: entries.collect(), policy, ..new }
}

/// The heading and the first line of an entry.
fn name_of(entry: &str) -> String {
    entry.lines().take(2).collect::<Vec<_>>().join(" ")
}

fn file(chance: &mut Chance, head: &str, grid: &str, fixed: &Fixed, effective: Option<NaiveDate>) -> File {
    let mut entries: Vec<String> = TEAMS.iter().map(|team| format!("[[teams]]\nid = \"{team}\"")).collect();
    let has_ops = chance.percent(75);
    if has_ops {
        entries.push(format!("[[teams]]\nid = \"{LATE_TEAM}\""));
    }
    entries.extend(agents(chance, fixed));
    for (step, pool) in (1..).zip(&fixed.names) {
        entries.push(pool_entry(chance, fixed, (step, pool)));
    }
    for task_type in TASK_TYPES {
        let seed = chance.maybe(35, &["0.35", "0.0042", "12"]);
        let seed = seed.map_or_else(String::new, |price| format!("\nseed_price = \"{price}\""));
        entries.push(format!("[[task_types]]\nid = \"{task_type}\"{seed}"));
    }
    entries.push(format!("[[people]]\nid = \"u1\"\nteam = \"{}\"", chance.pick(&TEAMS)));
    entries.push(format!("[[people]]\nid = \"u2\"\nteam = \"{}\"", chance.pick(&TEAMS)));
    entries.push("[[people]]\nid = \"u3\"".to_owned());
    entries.extend(bills(chance, fixed, effective));
    entries.extend(prices(chance));
    File { effective, head: head.to_owned(), policy: policy(chance, grid, fixed), entries }
}

fn policy(chance: &mut Chance, grid: &str, fixed: &Fixed) -> Vec<String> {
    let mut lines = vec![
        format!("price_grid = \"{grid}\""),
        format!(
            "half_life_days = {}",
            if fixed.forgetful { *chance.pick(&[1, 2, 7]) } else { *chance.pick(&[7, 7, 3, 30]) }
        ),
        format!("min_tasks = {}", chance.pick(&[1, 2, 3, 30])),
        format!("min_days = {}", chance.pick(if fixed.by_time { &[1, 1, 2] } else { &[1, 2, 3] })),
        format!("variance = \"{}\"", chance.pick(&["settle", "settle", "carry", "absorb"])),
    ];
    lines.push(match chance.below(4) {
        0 => "price_lock = \"locked\"".to_owned(),
        1 => {
            format!("price_lock = \"banded\"\nprice_band_percent = \"{}\"", chance.pick(&["10", "0.5", "35.5"]))
        }
        _ => "price_lock = \"floating\"".to_owned(),
    });
    if lines.last().is_some_and(|line| line.contains("locked")) && chance.percent(50) {
        lines.push("price_approval = \"finance\"".to_owned());
    }
    if chance.percent(25) {
        lines.push(format!("markup = {}", chance.pick(&PERCENTS)));
    }
    if chance.percent(fixed.in_prices) {
        lines.push("pool_recovery = \"price\"".to_owned());
    }
    if !fixed.names.is_empty() && chance.percent(25) {
        lines.push(format!("unattributed_pool = \"{}\"", chance.pick(&fixed.names)));
    }
    lines
}

fn agents(chance: &mut Chance, fixed: &Fixed) -> Vec<String> {
    let mut entries = Vec::new();
    for agent in AGENTS {
        let billings: &[&str] =
            if fixed.by_time { &["token", "task", "task", "time", "time"] } else { &["token", "task", "task"] };
        let billing = *chance.pick(billings);
        let mut models = vec![billing];
        let mut entry = format!("[[agents]]\nid = \"{agent}\"\nbilling = \"{billing}\"");
        if chance.percent(40) {
            let team = chance.pick(&["support", "marketing", "ops"]);
            let billing = *chance.pick(billings);
            models.push(billing);
            entry.push_str(&format!("\nbilling_by_team = {{ {team} = \"{billing}\" }}"));
        }
        if chance.percent(25) {
            let fixed = !models.contains(&"token") && chance.percent(50);
            let markup = if fixed { "{ fixed = \"0.02\" }" } else { *chance.pick(&PERCENTS) };
            let key = *chance.pick(&["markup = ", "markup_by_team = { support = "]);
            entry.push_str(&format!("\n{key}{markup}{}", if key == "markup = " { "" } else { " }" }));
        }
        if models.contains(&"time") && chance.percent(40) {
            entry.push_str(&format!("\nidle_rate = \"{}\"", chance.pick(&["0.001", "0.000000000777"])));
        }
        if chance.percent(50) {
            entry.push_str(&format!("\nowner = \"{}\"", chance.pick(&["support", "ops", "nobody"])));
        }
        if SHARED.contains(&agent) && !fixed.names.is_empty() && chance.percent(80) {
            entry.push_str(&format!("\nshared_pool = \"{}\"", chance.pick(&fixed.names)));
        }
        entries.push(entry);
    }
    entries
}

fn pool_entry(chance: &mut Chance, fixed: &Fixed, (step, pool): (u32, &str)) -> String {
    let basis = *chance.pick(&BASES);
    let mut entry = format!("[[pools]]\nid = \"{pool}\"\nbasis = \"{basis}\"\nmethod = \"{}\"", fixed.method);
    // The last pool stands alone: a second group.
    match fixed.group {
        Some(group) if step < 4 => entry.push_str(&format!("\ngroup = \"{group}\"")),
        _ => {}
    }
    if fixed.method == "step_down" {
        // Against the order of the ids.
        entry.push_str(&format!("\nstep = {}", 9 - step));
    }
    if basis == "fixed" {
        let support = *chance.pick(&["60", "33.3", "100", "0"]);
        let rest = match support {
            "60" => "40",
            "33.3" => "66.7",
            "100" => "0",
            _ => "100",
        };
        entry.push_str(&format!("\npercent = {{ support = \"{support}\", marketing = \"{rest}\" }}"));
    }
    entry
}

/// Bills of a version. What they ask for moves on with the day that the version begins, so that a bill has several amounts
/// and currencies in one month, and some days without a rate.
fn bills(chance: &mut Chance, fixed: &Fixed, effective: Option<NaiveDate>) -> Vec<String> {
    let moved = effective.map_or(0, |day| usize::try_from(day.day()).unwrap());
    let mut bearers: Vec<String> = fixed.names.iter().map(|pool| format!("pool = \"{pool}\"")).collect();
    bearers.extend(AGENTS.iter().take(5).map(|agent| format!("agent = \"{agent}\"")));
    let mut entries = vec![rate("EUR", "2024-01-01", "1.0850"), rate("EUR", "2026-10-14", "1.1")];
    entries.push(rate("GBP", fixed.pound_from, "1.3333333"));
    for (id, amount, currency) in fixed.bills {
        if chance.percent(50) {
            continue;
        }
        let bearer = chance.pick(&bearers).clone();
        let amount = AMOUNTS[(amount + moved) % AMOUNTS.len()];
        let currency = CURRENCIES[(currency + moved / AMOUNTS.len()) % CURRENCIES.len()];
        let from = chance.pick(&["2024-01-01", "2026-10-10", "2026-03-28", "2026-11-02"]);
        let to = chance.maybe(40, &["2026-10-26", "2026-04-03", "2026-11-20"]);
        let to = to.filter(|to| *to > from).map_or_else(String::new, |to| format!("\nto = \"{to}\""));
        entries.push(format!(
            "[[recurring]]\nid = \"{id}\"\n{bearer}\namount = \"{amount}\"\ncurrency = \"{currency}\"\nfrom = \"{from}\"{to}"
        ));
    }
    entries
}

fn rate(from_currency: &str, from: &str, rate: &str) -> String {
    let currencies = format!("from_currency = \"{from_currency}\"\nto_currency = \"USD\"");
    format!("[[rates]]\n{currencies}\nfrom = \"{from}\"\nrate = \"{rate}\"")
}

/// `p/m` in plain dollars, `p/n` with every kind of rate in euros, `q/m` from a day on, `q/z` free, two SKUs.
fn prices(chance: &mut Chance) -> Vec<String> {
    let input = chance.pick(&["3.00", "0.333333333333", "150.0001"]);
    let mut entries = vec![
        model("p", "m", "2024-01-01", &format!("per_million = {{ input = \"{input}\", output = \"15.7\" }}")),
        model(
            "p",
            "n",
            "2024-01-01",
            "currency = \"EUR\"\nper_million = { input = \"1.1\", cache_read = \"0.11\", output = \"7.77\", reasoning = \"0\" }\n\
             long_context = { above = 400, per_million = { input = \"2.2\", output = \"9.99\" } }\n\
             tiers = { batch = { per_million = { input = \"0.55\", output = \"3.885\" } } }",
        ),
        model("q", "z", "2024-01-01", "per_million = { input = \"0\", output = \"0\" }"),
    ];
    let from = chance.pick(&["2024-01-01", "2026-10-15T08:00:00Z", "2026-03-29T01:00:00Z"]);
    entries.push(model("q", "m", from, "currency = \"GBP\"\nper_million = { input = \"5\", output = \"25\" }"));
    entries.push("[[prices]]\nsku = \"search\"\nunit = \"call\"\nfrom = \"2024-01-01\"\nprice = \"0.0011\"".to_owned());
    entries.push(
        "[[prices]]\nsku = \"gpu\"\nunit = \"second\"\nfrom = \"2024-01-01\"\ncurrency = \"EUR\"\nprice = \"0.000333333333\""
            .to_owned(),
    );
    entries
}

fn model(provider: &str, model: &str, from: &str, rest: &str) -> String {
    format!("[[prices]]\nprovider = \"{provider}\"\nmodel = \"{model}\"\nfrom = \"{from}\"\n{rest}")
}
