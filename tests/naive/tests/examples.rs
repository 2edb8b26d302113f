//! The numbers that the rules themselves give, from events to lines, by every way of the engine and by the reference.
#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

use recoup_naive::agree::agree;
use recoup_naive::engine::{facts_by_resolve, replay};
use recoup_naive::facts::Figures;
use recoup_naive::story;
use recoup_naive::world::World;

const HEAD: &str = "[organisation]\nname = \"Example\"\ncurrency = \"USD\"\ntime_zone = \"UTC\"\n";

/// Teams, agents with their pools, pools as written, and bills of a month per pool.
fn organisation(teams: &[&str], agents: &[(&str, &str)], pools: &[&str], bills: &[(&str, &str)]) -> String {
    let teams = teams.iter().map(|id| format!("[[teams]]\nid = \"{id}\"\n"));
    let agents = agents.iter().map(|(id, pool)| format!("[[agents]]\nid = \"{id}\"\nshared_pool = \"{pool}\"\n"));
    let pools = pools.iter().map(|text| format!("[[pools]]\n{text}\n"));
    let bills = bills.iter().map(|(pool, amount)| {
        format!(
            "[[recurring]]\nid = \"bill-{pool}\"\npool = \"{pool}\"\namount = \"{amount}\"\nfrom = \"2026-01-01\"\n"
        )
    });
    HEAD.to_owned() + &teams.chain(agents).chain(pools).chain(bills).collect::<String>()
}

/// So many calls of an agent by a team, each a trace.
fn calls(team: &str, agent: &str, count: usize) -> String {
    let call = |number: usize| {
        format!(
            "{{\"trace_id\":\"{team}-{agent}-{number}\",\"event_id\":\"call\",\"used_at\":\"2026-10-01T08:00:00Z\",\
             \"kind\":\"agent\",\"tags\":{{\"team\":\"{team}\",\"agent\":\"{agent}\"}}}}\n"
        )
    };
    (0..count).map(call).collect()
}

/// A call of an agent by another one.
fn nested(team: &str, outer: &str, inner: &str, number: usize) -> String {
    let trace = format!("{team}-{outer}-{inner}-{number}");
    let at = "\"used_at\":\"2026-10-01T08:00:00Z\",\"kind\":\"agent\"";
    format!(
        "{{\"trace_id\":\"{trace}\",\"event_id\":\"outer\",{at},\"tags\":{{\"team\":\"{team}\",\"agent\":\"{outer}\"}}}}\n\
         {{\"trace_id\":\"{trace}\",\"event_id\":\"inner\",\"parent_id\":\"outer\",{at},\"tags\":{{\"agent\":\"{inner}\"}}}}\n"
    )
}

/// The figures of a world on which both sides agree.
fn agreed(world: &World) -> Figures {
    if let Err(difference) = agree(0, world) {
        panic!("{difference}");
    }
    let replayed = replay(world, facts_by_resolve);
    replayed.days.into_iter().chain(replayed.months).collect()
}

/// The amount of a team's pool line at the end of October.
fn pool_line(figures: &Figures, team: &str, pool: &str) -> Option<String> {
    let name = format!("2026-10 through 2026-10-31: line {team} pool pool={pool}");
    figures.get(&name).map(|figure| figure.split(' ').next().unwrap().to_owned())
}

#[test]
fn spl_1_a_hundred_picounits_over_none_one_one_one() {
    let pools = ["id = \"p\"\nbasis = \"invocations\""];
    let file = organisation(&["a", "b", "c", "d"], &[("g", "p")], &pools, &[("p", "0.0000000001")]);
    let events = ["b", "c", "d"].map(|team| calls(team, "g", 1)).concat();
    let figures = agreed(&story::world(&file, ("2026-10", 1), &events));
    let parts = ["a", "b", "c", "d"].map(|team| pool_line(&figures, team, "p").unwrap_or_default());
    assert_eq!(parts, ["", "0.000000000034", "0.000000000033", "0.000000000033"]);
}

#[test]
fn crx_1_ten_and_then_eleven_over_six_six_two_takes_one_back() {
    let pools = ["id = \"p\"\nbasis = \"invocations\""];
    let file = organisation(&["a", "b", "c"], &[("g", "p")], &pools, &[("p", "0.00000000001")]);
    let late = "@1 {\"trace_id\":\"a-g-0\",\"event_id\":\"fee\",\"parent_id\":\"call\",\"used_at\":\"2026-10-01T08:00:00Z\",\
                \"kind\":\"tool\",\"cost\":{\"amount\":\"0.000000000001\",\"currency\":\"USD\"}}";
    let events = [calls("a", "g", 6), calls("b", "g", 6), calls("c", "g", 2), late.to_owned()].concat();
    let figures = agreed(&story::world(&file, ("2026-10", 2), &events));
    let parts = ["a", "b", "c"].map(|team| pool_line(&figures, team, "p").unwrap());
    assert_eq!(parts, ["0.000000000004", "0.000000000004", "0.000000000002"]);
    let correction =
        |team: &str| figures[&format!("2026-11: correction {team} correction pool=p of=2026-10/pool")].clone();
    assert_eq!(["a", "b", "c"].map(correction), ["0.000000000001", "0.000000000001", "-0.000000000001"]);
}

#[test]
fn pool_1_sixty_per_cent_of_the_calls_bear_sixty_per_cent_of_the_cost() {
    let pools = ["id = \"p\"\nbasis = \"invocations\""];
    let file = organisation(&["support", "sales"], &[("guardrail", "p")], &pools, &[("p", "250")]);
    let events = calls("support", "guardrail", 6) + &calls("sales", "guardrail", 4);
    let figures = agreed(&story::world(&file, ("2026-10", 1), &events));
    assert_eq!(pool_line(&figures, "support", "p").unwrap(), "150");
    assert_eq!(figures["2026-10 through 2026-10-31: pool p team support"], "3/5");
}

/// Own costs Y 7260, Z 4000; Y serves Z 20 %, A 50 %, B 30 %; Z serves Y 30 %, A 30 %, B 40 %: what A and B pay, in cents.
fn two_pools(method: &str, steps: [u32; 2]) -> [String; 2] {
    let pool = |(id, step): (&str, u32)| {
        let step = if method == "step_down" { format!("\nstep = {step}") } else { String::new() };
        format!("id = \"{id}\"\nbasis = \"invocations\"\ngroup = \"both\"\nmethod = \"{method}\"{step}")
    };
    let (y, z) = (pool(("Y", steps[0])), pool(("Z", steps[1])));
    let file = organisation(&["A", "B"], &[("y", "Y"), ("z", "Z")], &[&y, &z], &[("Y", "7260"), ("Z", "4000")]);
    let events = [
        nested("A", "z", "y", 0),
        nested("B", "z", "y", 0),
        nested("A", "y", "z", 0),
        nested("A", "y", "z", 1),
        nested("B", "y", "z", 0),
        calls("A", "y", 3),
        calls("A", "z", 2),
        calls("B", "y", 2),
        calls("B", "z", 3),
    ];
    let figures = agreed(&story::world(&file, ("2026-10", 1), &events.concat()));
    let part =
        |team: &str, pool: &str| pool_line(&figures, team, pool).unwrap().parse::<recoup_money::Amount>().unwrap();
    let cents = |team: &str| {
        let pico = part(team, "Y").pico() + part(team, "Z").pico();
        let cents = recoup_money::div_half_even(pico, 10_000_000_000).unwrap();
        format!("{}.{:02}", cents / 100, cents % 100)
    };
    [cents("A"), cents("B")]
}

#[test]
fn pool_2_two_pools_that_serve_each_other() {
    assert_eq!(two_pools("reciprocal", [1, 2]), ["6240.00", "5020.00"]);
    assert_eq!(two_pools("direct", [1, 2]), ["6251.79", "5008.21"]);
    assert_eq!(two_pools("step_down", [1, 2]), ["5966.57", "5293.43"]);
    assert_eq!(two_pools("step_down", [2, 1]), ["6487.50", "4772.50"]);
}

#[test]
fn pool_2_pools_that_serve_only_each_other_are_named() {
    let pool = |id: &str| format!("id = \"{id}\"\nbasis = \"tokens\"\ngroup = \"both\"\nmethod = \"reciprocal\"");
    let file = organisation(&["A"], &[("y", "Y"), ("z", "Z")], &[&pool("Y"), &pool("Z")], &[("Y", "1"), ("Z", "1")]);
    // Only the inner frames use tokens, and each of them lies below the other pool's.
    let used = |events: String| {
        events.replace(
            "\"kind\":\"agent\",\"tags\":{\"agent\"",
            "\"kind\":\"llm\",\"usage\":{\"input\":5},\"tags\":{\"agent\"",
        )
    };
    let events = used(nested("A", "z", "y", 0)) + &used(nested("A", "y", "z", 0));
    let figures = agreed(&story::world(&file, ("2026-10", 1), &events));
    assert_eq!(figures["2026-10 through 2026-10-31"], "closed pools Y Z");
}

#[test]
fn prc_1_three_days_give_the_price_of_the_fourth() {
    let file = format!(
        "{HEAD}[[teams]]\nid = \"support\"\n[[agents]]\nid = \"triage\"\nbilling = \"task\"\n\
         [[prices]]\nprovider = \"p\"\nmodel = \"m\"\nfrom = \"2026-01-01\"\nper_million = {{ input = \"1\" }}\n"
    );
    let task = |day: u32, number: u32, tokens: u32| {
        format!(
            "{{\"trace_id\":\"{day}-{number}\",\"event_id\":\"root\",\"used_at\":\"2026-10-{day:02}T08:00:00Z\",\"kind\":\"llm\",\
             \"provider\":\"p\",\"model\":\"m\",\"usage\":{{\"input\":{tokens}}},\"status\":\"ok\",\
             \"tags\":{{\"team\":\"support\",\"agent\":\"triage\",\"task_type\":\"ticket\"}}}}\n"
        )
    };
    let day =
        |day: u32, count: u32, tokens: u32| (0..count).map(|number| task(day, number, tokens)).collect::<String>();
    let events = day(1, 100, 350_000) + &day(2, 150, 350_000) + &day(3, 50, 400_000);
    let mut world = story::world(&file, ("2026-10", 1), &events);
    world.through = vec!["2026-10-03".parse().unwrap()];
    let figures = agreed(&world);
    let price = |from: &str| figures[&format!("2026-10 through 2026-10-03: price triage ticket task {from}")].clone();
    assert_eq!(price("2026-10-02"), "Some(2026-10-04) 0.35 false");
    assert_eq!(price("2026-10-04"), "None 0.3524 false");
}

#[test]
fn atr_2_a_second_frame_of_an_agent_adds_nothing() {
    let file = format!("{HEAD}[[teams]]\nid = \"t\"\n");
    let span = |id: &str, parent: &str, agent: &str, cost: u32| {
        let parent = if parent.is_empty() { String::new() } else { format!("\"parent_id\":\"{parent}\",") };
        format!(
            "{{\"trace_id\":\"x\",\"event_id\":\"{id}\",{parent}\"used_at\":\"2026-10-01T08:00:00Z\",\"kind\":\"tool\",\
             \"cost\":{{\"amount\":\"{cost}\",\"currency\":\"USD\"}},\"tags\":{{\"team\":\"t\",\"agent\":\"{agent}\"}}}}\n"
        )
    };
    let events = span("1", "", "A", 1) + &span("2", "1", "B", 20) + &span("3", "2", "A", 300);
    let figures = agreed(&story::world(&file, ("2026-10", 1), &events));
    // Exclusive, inclusive, re-entrant, frames.
    assert_eq!(figures["2026-10-01 agent A"], "301 321 300 2");
    assert_eq!(figures["2026-10-01 agent B"], "20 320 0 1");
}

#[test]
fn evt_5_a_wrapper_counts_what_only_it_saw() {
    let file = format!(
        "{HEAD}[[teams]]\nid = \"t\"\n[[prices]]\nprovider = \"p\"\nmodel = \"m\"\nfrom = \"2026-01-01\"\n\
         per_million = {{ input = \"1\", cache_read = \"0.5\", output = \"2\" }}\n"
    );
    let events = "\
        {\"trace_id\":\"x\",\"event_id\":\"1\",\"used_at\":\"2026-10-01T08:00:00Z\",\"kind\":\"agent\",\
         \"usage\":{\"input\":110,\"cache_read\":70,\"output\":30},\"tags\":{\"team\":\"t\"}}\n\
        {\"trace_id\":\"x\",\"event_id\":\"2\",\"parent_id\":\"1\",\"used_at\":\"2026-10-01T08:00:00Z\",\"kind\":\"llm\",\
         \"provider\":\"p\",\"model\":\"m\",\"usage\":{\"input\":100,\"cache_read\":50,\"output\":40}}";
    let figures = agreed(&story::world(&file, ("2026-10", 1), events));
    let line = |class: &str| {
        let key = format!("line t charge provider=p model=m unit=token billing=token class={class}");
        figures[&format!("2026-10 through 2026-10-31: {key}")].clone()
    };
    // 30 of the input side were not observed, 10 of them fresh and 20 cached; of the output side nothing is missing.
    assert_eq!(line("input"), "0.00011 of 110");
    assert_eq!(line("cache_read"), "0.000035 of 70");
    assert_eq!(line("output"), "0.00008 of 40");
}
