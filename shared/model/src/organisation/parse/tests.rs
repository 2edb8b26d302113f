//! Every error with the smallest input that triggers it and its exact words, and the contract's example.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

mod price_models;

use proptest::prelude::*;
use recoup_money::Amount;

use super::*;
use crate::limits::ORGANISATION_ENTRIES_MAX;
use crate::organisation::{Billing, Mode, PoolBasis, PoolMethod};
use crate::period::format_instant;

/// The example of the contract, letter by letter.
const CONTRACT_EXAMPLE: &str = include_str!("contract_example.toml");
/// Four lines; what a test adds begins on line 5.
const HEAD: &str = "[organisation]\nname = \"A\"\ncurrency = \"USD\"\ntime_zone = \"UTC\"\n";
const POOL: &str = "[[pools]]\nid = \"p\"\n";
const PRICE: &str = "[[prices]]\nprovider = \"a\"\nmodel = \"b\"\nfrom = 2026-01-01\n";

fn good(rest: &str) -> Organisation {
    let text = format!("{HEAD}{rest}");
    match parse(&text) {
        Ok(organisation) => organisation,
        Err(_) => unreachable!("{rest} is refused: {:#?}", words(&text)),
    }
}

fn words(text: &str) -> Vec<String> {
    parse(text).unwrap_err().iter().map(ToString::to_string).collect()
}

/// Each text after HEAD has exactly this one problem.
#[track_caller]
fn refused(table: &[(&str, &str)]) {
    for (rest, expected) in table {
        assert_eq!(words(&format!("{HEAD}{rest}")), [*expected], "{rest}");
    }
}

fn amount(text: &str) -> Amount {
    text.parse().unwrap()
}

#[test]
fn the_contract_s_example_is_read() {
    let organisation = parse(CONTRACT_EXAMPLE).unwrap();
    assert_eq!((organisation.name.as_str(), organisation.currency.code()), ("Example", "USD"));
    assert_eq!(organisation.time_zone, Tz::Europe__Berlin);
    assert_eq!(&*organisation.policy.extra_tags[0], "campaign");
    assert_eq!(organisation.teams["support"].slack_channel.as_deref(), Some("#support-ai"));
    assert_eq!(organisation.billing("support", Some("triage")), Billing::Task);
    assert_eq!(organisation.billing("marketing", Some("triage")), Billing::Token);
    assert_eq!(organisation.shared_pool("guardrail").map(|pool| &**pool), Some("safety"));
    assert_eq!(organisation.pools["safety"].basis, PoolBasis::Invocations);
    assert_eq!(organisation.task_types["resolve_ticket"].cap, Some(amount("2")));
    assert_eq!(organisation.people["u17"].role.as_deref(), Some("lead"));
    assert_eq!(organisation.recurring[0].from.to_string(), "2026-10-01");
    assert_eq!(organisation.rates[0].rate, amount("1.085"));
    assert_eq!(organisation.budgets[0].tiers, [70, 90, 100]);
    assert_eq!(organisation.prices[0].per_million["cache_read"], amount("0.3"));
    assert_eq!(format_instant(organisation.prices[0].from_ns), "2026-01-01T00:00:00Z");
    assert_eq!(organisation.prices[1].price, Some(amount("0.001")));
}

#[test]
fn undeclared_owners_and_exceptions_are_noted_and_not_refused() {
    let (_, notices) = parse_with_notices(CONTRACT_EXAMPLE).unwrap();
    let words: Vec<String> = notices.iter().map(ToString::to_string).collect();
    assert_eq!(
        words,
        [
            "line 27: agents[0].billing_by_team.marketing: no team `marketing`; \
             declare it in [[teams]], or it has no effect",
            "line 31: agents[1].owner: no team `platform`; declare it in [[teams]], or it has no effect",
        ]
    );
}

#[test]
fn what_is_left_out_has_the_contract_s_default() {
    let organisation = good(
        "[[teams]]\nid = \"t\"\n[[agents]]\nid = \"a\"\n[[pools]]\nid = \"p\"\n\
         [[recurring]]\nid = \"r\"\nagent = \"a\"\namount = 3\nfrom = \"2026-10-01\"\n\
         [[budgets]]\nscope = \"organisation\"\nlimit = 5\n",
    );
    assert_eq!(organisation.policy, good("[policy]\n").policy);
    assert_eq!(organisation.policy.price_grid, amount("0.0001"));
    assert_eq!((organisation.policy.lanes, organisation.policy.half_life_days), (1, 7));
    assert_eq!((organisation.policy.min_tasks, organisation.policy.min_days), (30, 3));
    assert_eq!((organisation.policy.price_lock, organisation.policy.soft_close_days), (PriceLock::Floating, 3));
    assert_eq!(organisation.policy.variance, VariancePolicy::Settle);
    assert_eq!(organisation.policy.pool_recovery, PoolRecovery::Line);
    assert!(organisation.policy.extra_tags.is_empty());
    assert_eq!(organisation.teams["t"].mode, Mode::Showback);
    assert_eq!(organisation.agents["a"].billing, Billing::Token);
    let pool = &organisation.pools["p"];
    assert_eq!((pool.basis, pool.method, &*pool.group), (PoolBasis::DirectCost, PoolMethod::Direct, "p"));
    assert_eq!((organisation.recurring[0].currency, organisation.recurring[0].amount), (Currency::USD, amount("3")));
    assert_eq!(organisation.recurring[0].period, "month");
    assert_eq!(
        (organisation.budgets[0].period.as_str(), &*organisation.budgets[0].tiers),
        ("month", &[70, 90, 100][..])
    );
}

#[test]
fn all_problems_are_found_in_the_order_of_the_lines() {
    let text = "[organisation]\nname = 1\ncurrency = \"usd\"\n[policy]\nlanes = 0\n[[agents]]\nbilling = \"taks\"\n\
                shared_pool = \"safty\"\n[[pools]]\nid = \"safety\"\n[extra]\n";
    assert_eq!(
        words(text),
        [
            "line 1: organisation.time_zone: missing; add `time_zone = \"Europe/Berlin\"`",
            "line 2: organisation.name: expected a string, found an integer; write it in quotes",
            "line 3: organisation.currency: `usd` is not an ISO 4217 currency code; \
             use one such as USD or EUR, in capitals",
            "line 5: policy.lanes: `0` is out of range; write a whole number from 1 to 256",
            "line 6: agents[0].id: missing; add `id = \"triage\"`",
            "line 7: agents[0].billing: `taks` is not known here; did you mean `task`?",
            "line 8: agents[0].shared_pool: no pool `safty`; did you mean `safety`?",
            "line 11: extra: unknown key; known here: organisation, policy, teams, agents, pools, task_types, \
             people, recurring, rates, budgets, prices, alerts",
        ]
    );
}

#[test]
fn a_syntax_error_has_its_line_and_column() {
    assert_eq!(
        words("[organisation]\nname = \"A\"\ncurrency = USD\n"),
        ["line 3: column 12: string values must be quoted, expected literal string; correct the TOML"]
    );
    assert_eq!(words("a = 1\na = 2\n"), ["line 2: column 1: duplicate key; correct the TOML"]);
    assert_eq!(words("[a\n"), ["line 1: column 3: unclosed table, expected `]`; correct the TOML"]);
}

#[test]
fn a_file_without_its_head_is_refused() {
    assert_eq!(words(""), ["line 1: organisation: missing; add `organisation = { .. }`"]);
    assert_eq!(
        words("organisation = 1"),
        ["line 1: organisation: expected a table, found an integer; write it such as { key = \"value\" }"]
    );
}

#[test]
fn mon_4_the_head_names_a_known_currency_and_zone() {
    let head = |currency: &str, zone: &str| {
        words(&format!("[organisation]\nname = \"A\"\ncurrency = {currency}\ntime_zone = {zone}\n"))
    };
    assert_eq!(
        head("\"BTC\"", "\"Europe/Berln\""),
        [
            "line 3: organisation.currency: `BTC` is not an ISO 4217 currency code; use one such as USD or EUR, in capitals",
            "line 4: organisation.time_zone: `Europe/Berln` is not an IANA time zone; did you mean `Europe/Berlin`?",
        ]
    );
    assert_eq!(
        head("\"EUR\"", "\"berlin\""),
        ["line 4: organisation.time_zone: `berlin` is not an IANA time zone; did you mean `Europe/Berlin`?"]
    );
    assert_eq!(
        head("\"EUR\"", "\"Middle Earth\""),
        ["line 4: organisation.time_zone: `Middle Earth` is not an IANA time zone; \
          write one such as \"Europe/Berlin\" or \"UTC\""]
    );
}

#[test]
fn an_unknown_key_comes_with_the_nearest_known_one() {
    refused(&[
        (
            "[[teams]]\nid = \"a\"\ncost_center = \"x\"",
            "line 7: teams[0].cost_center: unknown key; did you mean `cost_centre`?",
        ),
        ("[[team]]\nid = \"a\"", "line 5: team: unknown key; did you mean `teams`?"),
        (
            "[policy]\nhalf_life = 7",
            "line 6: policy.half_life: unknown key; known here: lanes, price_lock, \
          price_band_percent, price_approval, price_grid, half_life_days, min_tasks, min_days, markup, variance, \
          pool_recovery, soft_close_days, extra_tags, unattributed_pool",
        ),
        (
            "[[people]]\nid = \"u\"\n\"a b\" = 1",
            "line 7: people[0].\"a b\": unknown key; known here: id, team, role, slack",
        ),
    ]);
}

#[test]
fn ids_are_names_without_a_slash() {
    let long = "x".repeat(257);
    refused(&[
        ("[[teams]]\nid = \"\"", "line 6: teams[0].id: empty; write at least one character, or leave the key out"),
        ("[[teams]]\nid = \"a/b\"", "line 6: teams[0].id: `a/b` contains `/`; use another character, such as `-`"),
        ("[[teams]]\nid = \"a\\u0007\"", "line 6: teams[0].id: `a\\u{7}` contains a control character; remove it"),
        (
            &format!("[[teams]]\nid = \"{long}\""),
            "line 6: teams[0].id: 257 bytes long; shorten it to at most 256 bytes",
        ),
        ("[[teams]]\nid = 7", "line 6: teams[0].id: expected a string, found an integer; write it in quotes"),
        (
            "[[teams]]\nid = \"unattributed\"",
            "line 6: teams[0].id: `unattributed` is an account of the ledger; choose another id",
        ),
        (
            "[[teams]]\nid = \"unallocated\"",
            "line 6: teams[0].id: `unallocated` is an account of the ledger; choose another id",
        ),
        (
            "[[agents]]\nid = \"a\"\n[[agents]]\nid = \"a\"",
            "line 8: agents[1].id: `a` is declared twice; change or remove one; the first stands on line 6",
        ),
        ("[[task_types]]\ncap = 1", "line 5: task_types[0].id: missing; add `id = \"resolve_ticket\"`"),
        (
            "[teams]\nid = \"a\"",
            "line 5: teams: expected a list of tables, found a table; write each entry under [[teams]]",
        ),
    ]);
}

#[test]
fn an_entry_is_a_table() {
    assert_eq!(
        words(&format!("people = [{{ id = \"u\" }}, 1]\n{HEAD}")),
        ["line 1: people[1]: expected a table, found an integer; write it such as { key = \"value\" }"]
    );
}

#[test]
fn the_policy_is_checked() {
    refused(&[
        ("[policy]\nlanes = 257", "line 6: policy.lanes: `257` is out of range; write a whole number from 1 to 256"),
        (
            "[policy]\nlanes = \"1\"",
            "line 6: policy.lanes: expected an integer, found a string; write a whole number from 1 to 256",
        ),
        ("[policy]\nprice_grid = \"0\"", "line 6: policy.price_grid: `0` is not positive; write more than 0"),
        ("[policy]\nprice_grid = \"-0.01\"", "line 6: policy.price_grid: `-0.01` is not positive; write more than 0"),
        (
            "[policy]\nhalf_life_days = 0",
            "line 6: policy.half_life_days: `0` is out of range; write a whole number from 1 to 3650",
        ),
        (
            "[policy]\nmin_tasks = 0",
            "line 6: policy.min_tasks: `0` is out of range; write a whole number from 1 to 1000000000",
        ),
        ("[policy]\nmin_days = 0", "line 6: policy.min_days: `0` is out of range; write a whole number from 1 to 3650"),
        (
            "[policy]\nsoft_close_days = 29",
            "line 6: policy.soft_close_days: `29` is out of range; write a whole number from 0 to 28",
        ),
        (
            "[policy]\nsoft_close_days = -1",
            "line 6: policy.soft_close_days: `-1` is out of range; write a whole number from 0 to 28",
        ),
        (
            "[policy]\nprice_lock = \"fixed\"",
            "line 6: policy.price_lock: `fixed` is not known here; write floating, locked or banded",
        ),
        (
            "[policy]\nvariance = \"carry over\"",
            "line 6: policy.variance: `carry over` is not known here; write settle, carry or absorb",
        ),
        (
            "[policy]\npool_recovery = \"lines\"",
            "line 6: policy.pool_recovery: `lines` is not known here; did you mean `line`?",
        ),
        (
            "[policy]\nunattributed_pool = \"x\"",
            "line 6: policy.unattributed_pool: no pool `x`; declare it in [[pools]]",
        ),
        ("policy = 1", "line 5: organisation.policy: unknown key; known here: name, currency, time_zone"),
    ]);
}

#[test]
fn prc_3_a_band_belongs_to_a_banded_price() {
    refused(&[
        (
            "[policy]\nprice_lock = \"banded\"",
            "line 5: policy.price_band_percent: missing; add `price_band_percent = \"10\"`",
        ),
        (
            "[policy]\nprice_band_percent = 5",
            "line 6: policy.price_band_percent: needs a banded price; remove it, or set `price_lock = \"banded\"`",
        ),
        (
            "[policy]\nprice_lock = \"banded\"\nprice_band_percent = 0",
            "line 7: policy.price_band_percent: `0` is not positive; write more than 0",
        ),
    ]);
    let policy = good("[policy]\nprice_lock = \"banded\"\nprice_band_percent = \"2.5\"\n").policy;
    assert_eq!((policy.price_lock, policy.price_band_percent), (PriceLock::Banded, Some(amount("2.5"))));
}

#[test]
fn extra_tags_are_few_and_none_is_a_dimension() {
    let many = (0..65).map(|n| format!("\"t{n}\"")).collect::<Vec<_>>().join(",");
    let long = "t".repeat(65);
    refused(&[
        (
            "[policy]\nextra_tags = [\"x\", \"team\"]",
            "line 6: policy.extra_tags[1]: `team` is a dimension of its own; remove it: it is always kept",
        ),
        (
            "[policy]\nextra_tags = [\n\"x\",\n\"x\"]",
            "line 8: policy.extra_tags[1]: `x` is declared twice; change or remove one; the first stands on line 7",
        ),
        (
            "[policy]\nextra_tags = [1]",
            "line 6: policy.extra_tags[0]: expected a string, found an integer; write it in quotes",
        ),
        (
            "[policy]\nextra_tags = \"x\"",
            "line 6: policy.extra_tags: expected a list, found a string; write it such as [..]",
        ),
        (&format!("[policy]\nextra_tags = [{many}]"), "line 6: policy.extra_tags: 65 tags; allow at most 64"),
        (
            &format!("[policy]\nextra_tags = [\"{long}\"]"),
            "line 6: policy.extra_tags[0]: 65 bytes long; shorten it to at most 64 bytes",
        ),
    ]);
}

#[test]
fn teams_and_agents_are_checked() {
    refused(&[
        (
            "[[teams]]\nid = \"a\"\nmode = \"showbak\"",
            "line 7: teams[0].mode: `showbak` is not known here; did you mean `showback`?",
        ),
        (
            "[[teams]]\nid = \"a\"\nlead = \"\"",
            "line 7: teams[0].lead: empty; write at least one character, or leave the key out",
        ),
        (
            "[[agents]]\nid = \"a\"\ncritical = \"yes\"",
            "line 7: agents[0].critical: expected a boolean, found a string; write true or false",
        ),
        (
            "[[agents]]\nid = \"a\"\nbilling_by_team = { x = \"tim\" }",
            "line 7: agents[0].billing_by_team.x: `tim` is not known here; did you mean `time`?",
        ),
        (
            "[[agents]]\nid = \"a\"\nshared_pool = \"p\"",
            "line 7: agents[0].shared_pool: no pool `p`; declare it in [[pools]]",
        ),
        ("[[people]]\nid = \"u\"\nteam = \"x\"", "line 7: people[0].team: no team `x`; declare it in [[teams]]"),
        (
            "[[people]]\nid = \"u\"\nrole = \"boss\"",
            "line 7: people[0].role: `boss` is not known here; write viewer, lead, finance or admin",
        ),
    ]);
}

#[test]
fn mon_1_a_decimal_is_a_string_or_an_integer_and_never_a_float() {
    let cap = |value: &str| format!("[[task_types]]\nid = \"t\"\ncap = {value}\n");
    for (value, expected) in [("\"2.00\"", "2"), ("2", "2"), ("1_000", "1000"), ("0x10", "16"), ("\"1e-3\"", "0.001")] {
        assert_eq!(good(&cap(value)).task_types["t"].cap, Some(amount(expected)), "{value}");
    }
    for (value, expected) in [
        ("2.5", "`2.5` is a float, which is not exact; write it in quotes"),
        ("nan", "`nan` is a float, which is not exact; write it in quotes"),
        ("\"a\"", "`a` is not a decimal number; write it such as \"12.50\""),
        ("\"0.0000000000001\"", "`0.0000000000001` has more than 12 fraction digits; round it to 12 fraction digits"),
        ("\"1000000000000000\"", "`1000000000000000` is too large; write less than 1000000000000000"),
        ("9223372036854775807", "`9223372036854775807` is too large; write less than 1000000000000000"),
        ("\"1e30\"", "`1e30` is too large; write less than 1000000000000000"),
        (
            "\"12345678901234567890123456789012345678901\"",
            "`12345678901234567890123456789012345678901` is too large; write less than 1000000000000000",
        ),
        ("true", "expected a decimal, found a boolean; write it in quotes, such as \"12.50\""),
        ("0", "`0` is not positive; write more than 0"),
    ] {
        refused(&[(&cap(value), &format!("line 7: task_types[0].cap: {expected}"))]);
    }
    refused(&[(
        "[[task_types]]\nid = \"t\"\nseed_price = \"-1\"",
        "line 7: task_types[0].seed_price: `-1` is negative; write 0 or more",
    )]);
}

#[test]
fn pool_1_fixed_percentages_sum_to_exactly_100() {
    let teams = "[[teams]]\nid = \"a\"\n[[teams]]\nid = \"b\"\n";
    let pool = |rest: &str| format!("{teams}{POOL}{rest}");
    let percent = &good(&pool("basis = \"fixed\"\npercent = { a = \"33.3\", b = \"66.7\" }\n")).pools["p"].percent;
    assert_eq!((percent["a"], percent["b"]), (amount("33.3"), amount("66.7")));
    refused(&[
        (
            &pool("basis = \"fixed\"\npercent = { a = 60, b = \"39.9\" }"),
            "line 12: pools[0].percent: the percentages sum to 99.9; make them sum to exactly 100",
        ),
        (
            &pool("basis = \"fixed\"\npercent = { a = 60, c = 40 }"),
            "line 12: pools[0].percent.c: no team `c`; did you mean `a`?",
        ),
        (
            &pool("basis = \"fixed\"\npercent = { a = 160, b = -60 }"),
            "line 12: pools[0].percent.b: `-60` is negative; write 0 or more",
        ),
        (
            &pool("basis = \"fixed\"\npercent = { a = 60.0, b = 40 }"),
            "line 12: pools[0].percent.a: `60.0` is a float, which is not exact; write it in quotes",
        ),
        (
            &pool("basis = \"fixed\""),
            "line 9: pools[0].percent: missing; add `percent = { support = \"60\", sales = \"40\" }`",
        ),
        (
            &pool("percent = { a = 100 }"),
            "line 11: pools[0].percent: needs the basis fixed; remove it, or set `basis = \"fixed\"`",
        ),
        (&pool("basis = \"evenly\""), "line 11: pools[0].basis: `evenly` is not known here; did you mean `even`?"),
    ]);
}

#[test]
fn pool_2_a_group_has_one_method_and_a_step_down_its_order() {
    let pool = |id: &str, rest: &str| format!("[[pools]]\nid = \"{id}\"\ngroup = \"g\"\n{rest}\n");
    let two = |first: &str, second: &str| format!("{}{}", pool("a", first), pool("b", second));
    let step = "method = \"step_down\"\nstep = ";
    let pools = good(&two(&format!("{step}2"), &format!("{step}1"))).pools;
    assert_eq!((pools["a"].step, pools["b"].step), (Some(2), Some(1)));
    assert_eq!(good("[[pools]]\nid = \"a\"\nmethod = \"step_down\"").pools["a"].step, Some(1));
    refused(&[
        (
            &two("method = \"reciprocal\"", ""),
            "line 9: pools[1].method: group `g` mixes methods: the pool on line 5 is `reciprocal`; give all pools of a group one method",
        ),
        (
            &two(&format!("{step}1"), &format!("{step}1")),
            "line 10: pools[1].step: the pool on line 5 of group `g` is step 1 too; give each pool of the group its own step",
        ),
        (
            &two(&format!("{step}1"), "method = \"step_down\""),
            "line 10: pools[1].step: missing; add `step = 1` for the first, 2 for the next",
        ),
        (
            &two(&format!("{step}1"), &format!("{step}0")),
            "line 14: pools[1].step: `0` is out of range; write a whole number from 1 to 10000",
        ),
        (
            &pool("a", "step = 1"),
            "line 8: pools[0].step: needs the method step_down; remove it, or set `method = \"step_down\"`",
        ),
        (
            &pool("a", "method = \"step\""),
            "line 8: pools[0].method: `step` is not known here; write direct, step_down or reciprocal",
        ),
        (
            "[[pools]]\nid = \"a\"\ngroup = \"x/y\"",
            "line 7: pools[0].group: `x/y` contains `/`; use another character, such as `-`",
        ),
    ]);
}

#[test]
fn pool_5_a_bill_has_one_bearer_and_a_range() {
    let bill = |rest: &str| format!("{POOL}[[agents]]\nid = \"a\"\n[[recurring]]\nid = \"r\"\n{rest}");
    let bills =
        good(&bill("agent = \"a\"\namount = \"310.00\"\ncurrency = \"EUR\"\nfrom = 2026-10-01\nto = \"2027-01-01\"\n"));
    assert_eq!(bills.recurring[0].currency.code(), "EUR");
    assert_eq!(bills.recurring[0].to.unwrap().to_string(), "2027-01-01");
    let rest = "amount = 1\nfrom = 2026-10-01\n";
    refused(&[
        (&bill(rest), "line 9: recurring[0]: neither `pool` nor `agent`; add the one that bears the cost"),
        (
            &bill(&format!("pool = \"p\"\nagent = \"a\"\n{rest}")),
            "line 9: recurring[0]: both `pool` and `agent`; keep the one that bears the cost",
        ),
        (&bill(&format!("pool = \"q\"\n{rest}")), "line 11: recurring[0].pool: no pool `q`; did you mean `p`?"),
        (
            &bill(&format!("agent = \"zzzz\"\n{rest}")),
            "line 11: recurring[0].agent: no agent `zzzz`; declare it in [[agents]]",
        ),
        (
            &bill(&format!("pool = \"p\"\nperiod = \"year\"\n{rest}")),
            "line 12: recurring[0].period: `year` is not known here; write month",
        ),
        (&bill("pool = \"p\"\nfrom = 2026-10-01"), "line 9: recurring[0].amount: missing; add `amount = \"310.00\"`"),
        (&bill("pool = \"p\"\namount = 1"), "line 9: recurring[0].from: missing; add `from = \"2026-10-01\"`"),
        (
            &bill(&format!("pool = \"p\"\nto = 2026-10-01\n{rest}")),
            "line 12: recurring[0].to: does not lie after `from`; write a later one: `to` is the first instant outside",
        ),
        (
            &format!("{}[[recurring]]\nid = \"r\"\npool = \"p\"\n{rest}", bill(&format!("pool = \"p\"\n{rest}"))),
            "line 15: recurring[1].id: `r` is declared twice; change or remove one; the first stands on line 10",
        ),
    ]);
}

#[test]
fn dates_are_plain_and_plausible() {
    let bill = |from: &str| format!("{POOL}[[recurring]]\nid = \"r\"\npool = \"p\"\namount = 1\nfrom = {from}\n");
    for (from, expected) in [
        ("2026-10-01T00:00:00Z", "`2026-10-01T00:00:00Z` is not a date; write it such as \"2026-10-01\""),
        ("\"2026-1-1\"", "`2026-1-1` is not a date; write it such as \"2026-10-01\""),
        ("\"2026-02-30\"", "`2026-02-30` is not a date; write it such as \"2026-10-01\""),
        ("0206-10-01", "the year 206 is out of range; write a year from 1970 to 2200"),
        ("20261001", "expected a date, found an integer; write it such as \"2026-10-01\""),
    ] {
        refused(&[(&bill(from), &format!("line 11: recurring[0].from: {expected}"))]);
    }
}

#[test]
fn mon_4_a_rate_is_positive_and_stated_once() {
    let rate = |from: &str, to: &str, rate: &str| {
        format!("[[rates]]\nfrom_currency = \"{from}\"\nto_currency = \"{to}\"\nfrom = 2026-10-01\nrate = {rate}\n")
    };
    let back = format!("{}{}", rate("EUR", "USD", "\"1.08\""), rate("USD", "EUR", "\"0.92\""));
    assert_eq!(good(&back).rates.len(), 2);
    refused(&[
        (&rate("EUR", "USD", "0"), "line 9: rates[0].rate: `0` is not positive; write more than 0"),
        (
            &rate("EUR", "USD", "1.08"),
            "line 9: rates[0].rate: `1.08` is a float, which is not exact; write it in quotes",
        ),
        (&rate("USD", "USD", "1"), "line 7: rates[0].to_currency: USD is both currencies; name two currencies"),
        (
            &rate("EUR", "usd", "1"),
            "line 7: rates[0].to_currency: `usd` is not an ISO 4217 currency code; use one such as USD or EUR, in capitals",
        ),
        (
            &format!("{0}{0}", rate("EUR", "USD", "1")),
            "line 13: rates[1].from: the rate of EUR in USD from 2026-10-01 is declared twice; change or remove one; the first stands on line 8",
        ),
        (
            "[[rates]]\nfrom_currency = \"EUR\"\nfrom = 2026-10-01\nrate = 1",
            "line 5: rates[0].to_currency: missing; add `to_currency = \"USD\"`",
        ),
    ]);
}

#[test]
fn bud_1_a_scope_is_one_that_exists() {
    let budget = |scope: &str| {
        format!("[[teams]]\nid = \"sales\"\n[[agents]]\nid = \"a\"\n[[budgets]]\nscope = \"{scope}\"\nlimit = 5\n")
    };
    for scope in ["organisation", "team:sales", "agent:a", "project:x/y:z", "user:u", "task:t"] {
        assert_eq!(good(&budget(scope)).budgets[0].scope, scope);
    }
    let kinds = "write one of organisation, team:, project:, agent:, user:, task: (the latter with an id)";
    for (scope, expected) in [
        ("team:sale", "no team `sale`; did you mean `sales`?"),
        ("agent:zzzz", "no agent `zzzz`; declare it in [[agents]]"),
        ("team:", "empty; write at least one character, or leave the key out"),
        ("project:", "empty; write at least one character, or leave the key out"),
        ("sales", &format!("`sales` is not a scope; {kinds}")),
        ("pool:p", &format!("`pool:p` is not a scope; {kinds}")),
        ("organisation:x", &format!("`organisation:x` is not a scope; {kinds}")),
    ] {
        refused(&[(&budget(scope), &format!("line 10: budgets[0].scope: {expected}"))]);
    }
}

#[test]
fn bud_2_tiers_rise_from_1_to_100() {
    let budget = |rest: &str| format!("[[budgets]]\nscope = \"organisation\"\n{rest}");
    assert_eq!(good(&budget("limit = 5\nperiod = \"week\"\ntiers = [1, 100]\n")).budgets[0].tiers, [1, 100]);
    let tiers = |tiers: &str| budget(&format!("limit = 5\ntiers = {tiers}"));
    refused(&[
        (
            &tiers("[]"),
            "line 8: budgets[0].tiers: empty; write at least one percentage, or leave the key out for 70, 90, 100",
        ),
        (
            &tiers("[90, 70]"),
            "line 8: budgets[0].tiers: the tiers do not rise; write each percentage once, smallest first",
        ),
        (
            &tiers("[70, 70]"),
            "line 8: budgets[0].tiers: the tiers do not rise; write each percentage once, smallest first",
        ),
        (&tiers("[70, 101]"), "line 8: budgets[0].tiers[1]: `101` is out of range; write a whole number from 1 to 100"),
        (&tiers("[0]"), "line 8: budgets[0].tiers[0]: `0` is out of range; write a whole number from 1 to 100"),
        (&budget("limit = 0"), "line 7: budgets[0].limit: `0` is not positive; write more than 0"),
        (&budget(""), "line 5: budgets[0].limit: missing; add `limit = \"4000.00\"`"),
        (
            &budget("limit = 5\nperiod = \"year\""),
            "line 8: budgets[0].period: `year` is not known here; write month, week or day",
        ),
        (
            &format!("{0}{0}", budget("limit = 5\n")),
            "line 9: budgets[1].scope: the budget of `organisation` per month is declared twice; change or remove one; the first stands on line 6",
        ),
    ]);
}

#[test]
fn rat_1_a_price_is_one_of_a_model_or_of_a_sku() {
    let rates = "per_million = { input = 1 }\n";
    refused(&[
        (
            "[[prices]]\nfrom = 2026-01-01",
            "line 5: prices[0]: neither a model nor a sku; add `provider` and `model`, or `sku`",
        ),
        (
            &format!("{PRICE}sku = \"s\"\n{rates}"),
            "line 5: prices[0]: both a model and a sku; keep `provider` and `model`, or `sku`",
        ),
        (
            &format!("[[prices]]\nmodel = \"b\"\nfrom = 2026-01-01\n{rates}"),
            "line 5: prices[0].provider: missing; add `provider = \"openai\"`",
        ),
        (
            &format!("[[prices]]\nprovider = \"b\"\nfrom = 2026-01-01\n{rates}"),
            "line 5: prices[0].model: missing; add `model = \"gpt-5\"`",
        ),
        (PRICE, "line 5: prices[0].per_million: missing; add `per_million = { input = \"3.00\", output = \"15.00\" }`"),
        (
            &format!("{PRICE}{rates}price = 1"),
            "line 10: prices[0].price: belongs to a price by sku; remove it: a model is priced by `per_million`",
        ),
        ("[[prices]]\nsku = \"s\"\nfrom = 2026-01-01", "line 5: prices[0].price: missing; add `price = \"0.001\"`"),
        (
            &format!("[[prices]]\nsku = \"s\"\nfrom = 2026-01-01\nprice = 1\n{rates}"),
            "line 9: prices[0].per_million: belongs to a price by model; remove it: a sku is priced by `price`",
        ),
        (
            &format!("[[prices]]\nprovider = \"a\"\nmodel = \"b\"\n{rates}"),
            "line 5: prices[0].from: missing; add `from = \"2026-01-01\"`",
        ),
        (
            &format!("{PRICE}{rates}{PRICE}{rates}"),
            "line 13: prices[1].from: a price of the same subject from the same time is declared twice; change or remove one; the first stands on line 8",
        ),
        (
            &format!("{PRICE}{rates}aliases = []"),
            "line 10: prices[0].aliases: unknown key; known here: unit, price, provider, model, sku, from, to, currency, per_million, long_context, tiers",
        ),
    ]);
}

#[test]
fn rat_1_rates_are_by_class_threshold_and_tier() {
    let price = |rest: &str| format!("{PRICE}{rest}");
    let organisation = good(&price(
        "currency = \"EUR\"\nper_million = { input = \"0\" }\nlong_context = { above = 200000, per_million = { input = 2 } }\n\
         [prices.tiers.batch]\nper_million = { input = \"0.5\" }\n",
    ));
    let read = &organisation.prices[0];
    assert_eq!((read.currency.code(), read.per_million["input"]), ("EUR", Amount::ZERO));
    assert_eq!(read.long_context.as_ref().unwrap().above, 200_000);
    assert_eq!(read.tiers["batch"].per_million["input"], amount("0.5"));
    refused(&[
        (
            &price("per_million = { inptu = 1 }"),
            "line 9: prices[0].per_million.inptu: `inptu` is not a token class; did you mean `input`?",
        ),
        (
            &price("per_million = { tokens = 1 }"),
            "line 9: prices[0].per_million.tokens: `tokens` is not a token class; known here: input, cache_read, cache_write_5m, cache_write_1h, output, reasoning, audio_input, audio_output, image_input, image_output",
        ),
        (
            &price("per_million = { input = \"-1\" }"),
            "line 9: prices[0].per_million.input: `-1` is negative; write 0 or more",
        ),
        (
            &price("per_million = { input = 3.00 }"),
            "line 9: prices[0].per_million.input: `3.00` is a float, which is not exact; write it in quotes",
        ),
        (
            &price("per_million = {}"),
            "line 9: prices[0].per_million: empty; write at least one rate, such as { input = \"3.00\", output = \"15.00\" }",
        ),
        (
            &price("per_million = { input = 1 }\nlong_context = { per_million = { input = 1 } }"),
            "line 10: prices[0].long_context.above: missing; add `above = 200000`",
        ),
        (
            &price("per_million = { input = 1 }\ntiers.standard = { per_million = { input = 1 } }"),
            "line 10: prices[0].tiers.standard: `standard` is not a service tier; write batch, flex or priority; the entry's own rates are the standard ones",
        ),
        (
            &price("per_million = { input = 1 }\n[prices.tiers.flex]"),
            "line 10: prices[0].tiers.flex.per_million: missing; add `per_million = { input = \"3.00\", output = \"15.00\" }`",
        ),
    ]);
}

#[test]
fn rat_1_a_price_begins_at_an_instant() {
    let price = |from: &str| format!("[[prices]]\nsku = \"s\"\nprice = 1\nfrom = {from}\n");
    for (from, expected) in [
        ("\"2026-01-01\"", "2026-01-01T00:00:00Z"),
        ("2026-01-01", "2026-01-01T00:00:00Z"),
        ("\"2026-01-01T09:00:00+02:00\"", "2026-01-01T07:00:00Z"),
        ("2026-01-01 09:00:00.5+02:00", "2026-01-01T07:00:00.500Z"),
    ] {
        assert_eq!(format_instant(good(&price(from)).prices[0].from_ns), expected, "{from}");
    }
    let remedy = "write it such as \"2026-10-01\" or \"2026-10-01T09:00:00Z\"";
    for (from, expected) in [
        (
            "2026-01-01T09:00:00",
            format!("`2026-01-01T09:00:00` is neither a date nor a time with its offset; {remedy}"),
        ),
        ("09:00:00", format!("`09:00:00` is neither a date nor a time with its offset; {remedy}")),
        ("\"soon\"", format!("`soon` is neither a date nor a time with its offset; {remedy}")),
        ("9999-01-01", "the year 9999 is out of range; write a year from 1970 to 2200".to_owned()),
    ] {
        refused(&[(&price(from), &format!("line 8: prices[0].from: {expected}"))]);
    }
    refused(&[(
        &format!("{}to = 2026-01-01", price("2026-01-01")),
        "line 9: prices[0].to: does not lie after `from`; write a later one: `to` is the first instant outside",
    )]);
}

#[test]
fn a_file_is_bounded() {
    let long = format!("{HEAD}{}", "#".repeat(ORGANISATION_BYTES_MAX));
    let bytes = long.len();
    assert_eq!(words(&long), [format!("line 1: the file has {bytes} bytes; shorten it to at most 1048576 bytes")]);
    let many: String = (0..=ORGANISATION_ENTRIES_MAX).map(|n| format!("[[teams]]\nid = \"t{n}\"\n")).collect();
    refused(&[(&many, "line 5: teams: 10001 entries; declare at most 10000")]);
}

#[test]
fn a_very_faulty_file_lists_a_thousand_problems_and_counts_the_rest() {
    let many: String = (0..2_500).map(|n| format!("k{n} = 1\n")).collect();
    let words = words(&format!("{HEAD}{many}"));
    assert_eq!(words.len(), 1_001);
    assert_eq!(words.last().unwrap(), "1500 more problems are not listed; correct these first");
}

#[test]
fn only_the_first_unknown_names_are_searched_for() {
    let people: String = (0..21).map(|n| format!("[[people]]\nid = \"u{n}\"\nteam = \"sale\"\n")).collect();
    let words = words(&format!("{HEAD}[[teams]]\nid = \"sales\"\n{people}"));
    assert_eq!(words[19], "line 66: people[19].team: no team `sale`; did you mean `sales`?");
    assert_eq!(words[20], "line 69: people[20].team: no team `sale`; declare it in [[teams]]");
}

#[test]
fn a_long_value_is_not_repeated_in_full() {
    let long = "x".repeat(300);
    refused(&[(
        &format!("[[teams]]\nid = \"a\"\nmode = \"{long}\""),
        &format!("line 7: teams[0].mode: `{}...` is not known here; write showback or chargeback", &long[..64]),
    )]);
}

/// The example with one piece of it replaced by something else.
fn mangled() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        "[ -~\n]{0,6}",
        Just("\"".to_owned()),
        Just("\n[[".to_owned()),
        Just("{".to_owned()),
        Just("1.5".to_owned()),
        Just("1979-05-27".to_owned()),
        Just("99999999999999999999999999999999999999999999".to_owned()),
    ];
    (0..CONTRACT_EXAMPLE.len(), 0_usize..12, piece).prop_map(|(at, length, piece)| {
        let end = at.saturating_add(length).min(CONTRACT_EXAMPLE.len());
        format!("{}{piece}{}", &CONTRACT_EXAMPLE[..at], &CONTRACT_EXAMPLE[end..])
    })
}

fn check_total(text: &str) -> Result<(), TestCaseError> {
    if let Err(problems) = parse(text) {
        prop_assert!(!problems.is_empty());
        for problem in problems {
            prop_assert!(problem.line >= 1 && problem.line <= text.matches('\n').count().saturating_add(1));
            prop_assert!(!problem.problem.is_empty() && !problem.remedy.is_empty());
            prop_assert!(!problem.to_string().contains('\n'), "{problem}");
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn any_text_is_read_or_refused_with_reasons(text in "\\PC{0,200}") {
        check_total(&text)?;
    }

    #[test]
    fn any_mangled_file_is_read_or_refused_with_reasons(text in mangled()) {
        check_total(&text)?;
    }
}

#[test]
fn bud_2_alerts_have_people_channels_and_a_time_to_wait() {
    let alerts = good("").alerts;
    assert_eq!((alerts.escalate_after_hours, alerts.finops_email), (4, None));
    let text = "[alerts]\nfinops_slack_channel = \"#finops\"\nfinops_email = \"f@example.com\"\n\
                escalate_after_hours = 2\ndashboard_url = \"https://recoup.example.com/\"\n\
                [[people]]\nid = \"u17\"\nslack = \"U024BE7LH\"\n\
                [[task_types]]\nid = \"outage\"\ncritical = true\n\
                [[budgets]]\nscope = \"organisation\"\nlimit = \"5\"\nunavailable = \"allow\"";
    let organisation = good(text);
    assert_eq!(organisation.alerts.dashboard_url.as_deref(), Some("https://recoup.example.com"));
    assert_eq!(organisation.alerts.escalate_after_hours, 2);
    assert_eq!(organisation.people["u17"].slack.as_deref(), Some("U024BE7LH"));
    assert!(organisation.task_types["outage"].critical);
    assert_eq!(organisation.budgets[0].unavailable, crate::organisation::Unavailable::Allow);
    refused(&[(
        "[alerts]\ndashboard_url = \"recoup\"",
        "line 6: alerts.dashboard_url: `recoup` is no address of a page; write one such as \"https://recoup.example.com\"",
    )]);
}
