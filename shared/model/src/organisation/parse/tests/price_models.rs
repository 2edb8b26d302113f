//! What a file says about price models: markup, idle minutes, recovery of pools, approval, prices without a hole.

use super::{amount, good, refused};
use crate::organisation::{Markup, PoolRecovery, PriceApproval};

fn agent(rest: &str) -> String {
    format!("[[teams]]\nid = \"x\"\n[[agents]]\nid = \"a\"\n{rest}\n")
}

#[test]
fn prc_5_a_markup_is_that_of_the_team_else_the_agent_s_else_the_policy_s() {
    let text = format!(
        "[policy]\nmarkup = {{ percent = \"5\" }}\n{}{}",
        agent("billing = \"task\"\nmarkup = { fixed = \"0.02\" }\nmarkup_by_team = { x = { percent = 0 } }"),
        "[[agents]]\nid = \"b\"\n"
    );
    let organisation = good(&text);
    let markup = |team, agent| organisation.markup(team, agent);
    assert_eq!(markup("x", Some("a")), None, "0 is no markup");
    assert_eq!(markup("y", Some("a")), Some(Markup::Fixed(amount("0.02"))));
    for agent in [Some("b"), Some("undeclared"), None] {
        assert_eq!(markup("x", agent), Some(Markup::Percent(amount("5"))));
    }
    assert_eq!(good(&agent("")).markup("x", Some("a")), None);
}

#[test]
fn prc_5_a_markup_is_a_percentage_or_fixed_and_tokens_have_no_fixed_one() {
    let by_token = "a fixed markup is one per task or minute, and the agent is billed by token; \
                    write { percent = \"5\" }, or bill by task or time";
    let team_by_token = by_token.replace("the agent is", "team `x` is");
    refused(&[
        (
            &agent("markup = {}"),
            "line 9: agents[0].markup: neither `percent` nor `fixed`; write { percent = \"5\" } or { fixed = \"0.02\" }",
        ),
        (
            &agent("billing = \"task\"\nmarkup = { percent = 1, fixed = 1 }"),
            "line 10: agents[0].markup: both `percent` and `fixed`; keep the one that is added to a charge",
        ),
        (
            &agent("markup = { percent = \"-1\" }"),
            "line 9: agents[0].markup.percent: `-1` is negative; write 0 or more",
        ),
        (
            &agent("markup = { percent = \"0.00000000001\" }"),
            "line 9: agents[0].markup.percent: `0.00000000001` has more than 10 fraction digits; \
             round it to 10 fraction digits",
        ),
        (
            &agent("markup = { percentage = 5 }"),
            "line 9: agents[0].markup.percentage: unknown key; did you mean `percent`?",
        ),
        (
            &agent("markup = \"5\""),
            "line 9: agents[0].markup: expected a table, found a string; write it such as { key = \"value\" }",
        ),
        (&agent("markup = { fixed = \"0.02\" }"), &format!("line 9: agents[0].markup: {by_token}")),
        (
            &agent("billing = \"task\"\nbilling_by_team = { x = \"token\" }\nmarkup = { fixed = 1 }"),
            &format!("line 11: agents[0].markup: {team_by_token}"),
        ),
        (
            &agent("markup_by_team = { x = { fixed = 1 } }"),
            &format!("line 9: agents[0].markup_by_team: {team_by_token}"),
        ),
        (
            "[policy]\nmarkup = { fixed = 1 }",
            "line 6: policy.markup: a fixed markup is one per task or minute, and agents without a declaration are billed \
             by token; write { percent = \"5\" } here, and a fixed one at the agents that it is for",
        ),
    ]);
    good(&agent("billing_by_team = { x = \"task\" }\nmarkup_by_team = { x = { fixed = 1 } }"));
    good(&agent(
        "billing = \"task\"\nbilling_by_team = { x = \"token\" }\nmarkup = { fixed = 1 }\nmarkup_by_team = { x = { percent = 1 } }",
    ));
}

#[test]
fn prc_4_idle_minutes_have_a_rate_where_somebody_is_billed_by_time() {
    let organisation = good(&agent("billing_by_team = { x = \"time\" }\nidle_rate = \"0.004\""));
    assert_eq!(organisation.idle_rate("a"), amount("0.004"));
    assert_eq!(organisation.idle_rate("b"), amount("0"));
    refused(&[
        (
            &agent("billing = \"task\"\nidle_rate = \"0.004\""),
            "line 10: agents[0].idle_rate: nobody is billed by time for this agent; remove it, or set `billing = \"time\"`",
        ),
        (
            &agent("billing = \"time\"\nidle_rate = \"-1\""),
            "line 10: agents[0].idle_rate: `-1` is negative; write 0 or more",
        ),
    ]);
}

#[test]
fn prc_1_pools_are_recovered_by_lines_or_by_the_price() {
    assert_eq!(good("[policy]\npool_recovery = \"price\"").policy.pool_recovery, PoolRecovery::Price);
    assert_eq!(good("").policy.pool_recovery, PoolRecovery::Line);
}

#[test]
fn prc_3_only_a_locked_price_waits_for_approval() {
    let policy = |lock: &str, approval: &str| {
        good(&format!("[policy]\nprice_lock = \"{lock}\"\nprice_approval = \"{approval}\"")).policy.price_approval
    };
    assert_eq!(policy("locked", "finance"), Some(PriceApproval::Finance));
    assert_eq!([policy("locked", "none"), policy("floating", "none")], [None, None]);
    let remedy =
        "needs a locked price: any other moves by itself every night; remove it, or set `price_lock = \"locked\"`";
    refused(&[
        ("[policy]\nprice_approval = \"finance\"", &format!("line 6: policy.price_approval: {remedy}")),
        (
            "[policy]\nprice_lock = \"banded\"\nprice_band_percent = 5\nprice_approval = \"finance\"",
            &format!("line 8: policy.price_approval: {remedy}"),
        ),
        (
            "[policy]\nprice_lock = \"locked\"\nprice_approval = \"board\"",
            "line 7: policy.price_approval: `board` is not known here; write none or finance",
        ),
    ]);
}

#[test]
fn rat_1_prices_of_one_subject_leave_no_hole_in_time() {
    let price =
        |from: &str, to: &str| format!("[[prices]]\nsku = \"s\"\nunit = \"call\"\nprice = 1\nfrom = {from}\n{to}\n");
    let march = price("2026-03-01", "");
    let hole = |to: &str| {
        format!(
            "line 15: prices[1].from: no price holds from {to}T00:00:00Z, where the one on line 5 ends, to \
             2026-03-01T00:00:00Z; begin this one at {to}T00:00:00Z, let that one end at 2026-03-01T00:00:00Z, or add a \
             price for the time between"
        )
    };
    refused(&[(&format!("{}{march}", price("2026-01-01", "to = 2026-02-01")), &hole("2026-02-01"))]);
    for (from, to) in [("2026-01-01", "to = 2026-03-01"), ("2026-01-01", ""), ("2026-01-01", "to = 2026-04-01")] {
        good(&format!("{}{march}", price(from, to)));
    }
    // In whatever order they stand, and each subject by itself.
    refused(&[(
        &format!("{march}{}", price("2026-01-01", "to = 2026-02-01")),
        &hole("2026-02-01").replace("line 15: prices[1]", "line 9: prices[0]").replace("on line 5", "on line 11"),
    )]);
    let other = march.replace("\"s\"", "\"other\"");
    good(&format!("{}{other}", price("2026-01-01", "to = 2026-02-01")));
}
