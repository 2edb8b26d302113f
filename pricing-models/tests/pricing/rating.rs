//! Rating: precedence, reported costs, conversion, exactness.

use std::sync::Arc;

use num_bigint::BigInt;
use proptest::prelude::*;
use recoup_model::organisation::OwnPrice;
use recoup_model::{
    Basis, CostPart, Event, Id, Kind, PriceQuery, Quantity, Rater, Rating, Reported, TokenClass, UnpricedReason, Usage,
};
use recoup_money::Amount;
use recoup_pricing::{Catalogue, PriceBook};

use crate::support::{
    amount, at, book, catalogue, euro_rate, event, history, in_currency, no_prices, organisation, own_model,
};

const LARGE: &str = r#"
[[prices]]
provider = "example"
model = "large"
aliases = ["large-latest"]
from = "2026-01-01"
per_million = { input = "3", output = "15" }
"#;
const SEARCH: &str = r#"
[[prices]]
sku = "search"
unit = "call"
from = "2026-01-01"
price = "0.01"
"#;

fn input(tokens: u64) -> Option<Usage> {
    Some(Usage::NONE.with(TokenClass::Input, tokens))
}

fn searches(quantity: &str, unit: Option<&str>) -> Option<Quantity> {
    Some(Quantity { sku: Id::from("search"), quantity: amount(quantity), unit: unit.map(Id::from) })
}

fn reported(text: &str, currency: &str) -> Option<Reported> {
    Some(Reported { amount: amount(text), currency: currency.parse().unwrap() })
}

fn unpriced(reason: UnpricedReason) -> Rating {
    Rating::Unpriced(reason)
}

fn cost(book: &PriceBook, event: &Event) -> Option<String> {
    book.rate(event).cost().map(|cost| cost.to_string())
}

fn at_model(model: &str, used_at: &str) -> Event {
    Event { model: Some(Id::from(model)), used_at_ns: at(used_at), usage: input(1_000_000), ..event() }
}

#[test]
fn rat_1_the_own_price_wins_from_its_from_and_for_aliases_too() {
    let own = own_model("large", "2026-10-10T00:00:00Z", "2");
    let history = history(vec![(None, organisation(vec![own], Vec::new()))]);
    let book = PriceBook::new(&[Arc::new(catalogue(LARGE))], &history).unwrap();
    assert_eq!(cost(&book, &at_model("large", "2026-10-09T23:59:59Z")).unwrap(), "3");
    assert_eq!(cost(&book, &at_model("large", "2026-10-10T00:00:00Z")).unwrap(), "2");
    assert_eq!(cost(&book, &at_model("large-latest", "2026-10-10T00:00:00Z")).unwrap(), "2");
}

#[test]
fn rat_1_an_own_price_that_ended_gives_way_to_the_catalogue() {
    let own = OwnPrice { to_ns: Some(at("2026-10-20T00:00:00Z")), ..own_model("large", "2026-10-10T00:00:00Z", "2") };
    let history = history(vec![(None, organisation(vec![own], Vec::new()))]);
    let book = PriceBook::new(&[Arc::new(catalogue(LARGE))], &history).unwrap();
    assert_eq!(cost(&book, &at_model("large", "2026-10-20T00:00:00Z")).unwrap(), "3");
}

#[test]
fn rat_1_own_prices_are_those_of_the_version_in_force_on_the_local_day() {
    let version = |input| organisation(vec![own_model("large", "2026-01-01T00:00:00Z", input)], Vec::new());
    let history = history(vec![(None, version("2")), (Some("2026-10-10"), version("1"))]);
    let book = PriceBook::new(&[], &history).unwrap();
    // 10 October begins at 22:00 UTC in Berlin.
    assert_eq!(cost(&book, &at_model("large", "2026-10-09T21:59:59.999999999Z")).unwrap(), "2");
    assert_eq!(cost(&book, &at_model("large", "2026-10-09T22:00:00Z")).unwrap(), "1");
}

#[test]
fn rat_1_earlier_catalogues_win_and_later_ones_fill_gaps() {
    let import = catalogue(&LARGE.replace("\"3\"", "\"9\"").replace("\"15\" }", "\"15\" }\n")).entries().to_vec();
    let more = catalogue(&LARGE.replace("large", "other").replace("\"3\"", "\"4\"")).entries().to_vec();
    let import = Catalogue::from_entries("import", [import, more].concat()).unwrap();
    let book = PriceBook::new(&[Arc::new(catalogue(LARGE)), Arc::new(import)], &no_prices()).unwrap();
    assert_eq!(cost(&book, &at_model("large", "2026-10-10T00:00:00Z")).unwrap(), "3");
    assert_eq!(cost(&book, &at_model("other-latest", "2026-10-10T00:00:00Z")).unwrap(), "4");
}

#[test]
fn rat_1_of_lists_that_grow_the_price_that_began_last_holds() {
    let list = |from: &str, price: &str| {
        let text = LARGE.replace("\"large\"", "\"new\"").replace("large-latest", "new-latest");
        let text = text.replace("2026-01-01", from).replace("\"3\"", &format!("\"{price}\""));
        assert!(text.contains(from) && text.contains(price), "{text}");
        Arc::new(catalogue(&text))
    };
    let shipped = Arc::new(catalogue(LARGE));
    let imports = vec![list("2026-02-01", "4"), list("2026-11-01", "7"), list("2026-10-01", "5")];
    let book = |imports: &[Arc<Catalogue>]| {
        PriceBook::of_layers(&[vec![Arc::clone(&shipped)], imports.to_vec()], &no_prices()).unwrap()
    };
    let all = book(&imports);
    for (at, expected) in [("2026-09-30", "4"), ("2026-10-01", "5"), ("2026-10-31", "5"), ("2026-11-01", "7")] {
        for name in ["new", "new-latest"] {
            let at = format!("{at}T00:00:00Z");
            assert_eq!(cost(&all, &at_model(name, &at)).unwrap(), expected, "{name} at {at}");
        }
    }
    let again = [imports.clone(), vec![list("2026-11-01", "8")]].concat();
    assert_eq!(cost(&book(&again), &at_model("new", "2026-11-02T00:00:00Z")).unwrap(), "8", "the later list corrects");
    // What a list adds to a layer of its own fills gaps only.
    let alone: Vec<_> = imports.iter().map(|list| vec![Arc::clone(list)]).collect();
    let gaps = PriceBook::of_layers(&alone, &no_prices()).unwrap();
    assert_eq!(cost(&gaps, &at_model("new", "2026-11-02T00:00:00Z")).unwrap(), "4");
    // A month that was closed before keeps its rules.
    let before = book(&imports).under_rules(4);
    assert_eq!(cost(&before, &at_model("new", "2026-11-02T00:00:00Z")).unwrap(), "4");
    let flat = [vec![Arc::clone(&shipped)], imports.clone()].concat();
    let flat = PriceBook::new(&flat, &no_prices()).unwrap();
    assert_eq!(before.name_digest("model:example/new"), flat.name_digest("model:example/new"));
    assert!(!all.is_before_rules_5() && before.is_before_rules_5());
    // Nights know that the rule came to matter.
    let name = "model:example/new";
    assert_ne!(all.name_digest(name), gaps.name_digest(name));
    assert_eq!(
        book(&imports.iter().take(1).cloned().collect::<Vec<_>>()).name_digest("model:example/large"),
        all.name_digest("model:example/large")
    );
}

#[test]
fn rat_1_a_sku_is_priced_in_its_unit_or_when_the_event_names_none() {
    let book = book(catalogue(SEARCH));
    let rate = |unit| book.rate(&Event { kind: Kind::Tool, quantity: searches("2.5", unit), ..event() });
    assert_eq!(rate(Some("call")).cost(), Some(amount("0.025")));
    assert_eq!(rate(None).cost(), Some(amount("0.025")));
    assert_eq!(rate(Some("hour")), unpriced(UnpricedReason::UnknownSku));
    let two_units = [SEARCH, &SEARCH.replace("\"call\"", "\"hour\"")].concat();
    let two = crate::support::book(catalogue(&two_units));
    let nameless = Event { kind: Kind::Tool, quantity: searches("1", None), ..event() };
    assert_eq!(two.rate(&nameless), unpriced(UnpricedReason::UnknownSku));
}

#[test]
fn rat_1_usage_and_quantity_both_cost() {
    let book = book(catalogue(&[LARGE, SEARCH].concat()));
    let both = Event { usage: input(1000), quantity: searches("1", Some("call")), ..event() };
    let Rating::Priced { cost, parts, .. } = book.rate(&both) else { unreachable!() };
    assert_eq!(cost, amount("0.013"));
    assert_eq!(parts.iter().map(CostPart::cost).collect::<Vec<_>>(), [amount("0.003"), amount("0.01")]);
    let half = Event { quantity: searches("1", Some("hour")), ..both };
    assert_eq!(book.rate(&half), unpriced(UnpricedReason::UnknownSku));
}

#[test]
fn rat_2_what_has_no_price_is_never_zero() {
    let book = book(catalogue(LARGE));
    let unknown = Event { model: Some(Id::from("new")), usage: input(5), ..event() };
    assert_eq!(book.rate(&unknown), unpriced(UnpricedReason::UnknownModel));
    assert_eq!(
        book.rate(&Event { provider: None, usage: input(5), ..event() }),
        unpriced(UnpricedReason::UnknownModel)
    );
    assert_eq!(book.rate(&Event { kind: Kind::Tool, ..event() }), unpriced(UnpricedReason::NoUsage));
    let zero_reported = Event { reported: reported("0", "USD"), ..unknown };
    assert_eq!(book.rate(&zero_reported), unpriced(UnpricedReason::UnknownModel), "EVT-6");
}

#[test]
fn evt_6_the_catalogue_prices_first_and_compares() {
    let book = book(catalogue(LARGE));
    for (text, disagrees) in [
        ("0.003", false),
        ("0.0006", false),
        ("0.000599999999", true),
        ("0.015", false),
        ("0.015000000001", true),
        ("0", true),
    ] {
        let rating = book.rate(&Event { usage: input(1000), reported: reported(text, "USD"), ..event() });
        let Rating::Priced { cost, basis, disagrees: found, .. } = rating else { unreachable!("{text}") };
        assert_eq!((cost, basis, found), (amount("0.003"), Basis::Catalogue, disagrees), "{text}");
    }
    let free = book.rate(&Event { usage: Some(Usage::NONE), reported: reported("0.01", "USD"), ..event() });
    assert!(matches!(free, Rating::Priced { disagrees: true, cost: Amount::ZERO, .. }));
}

#[test]
fn evt_6_a_reported_cost_is_used_where_there_is_no_price_or_no_usage() {
    let book = book(catalogue(LARGE));
    let report = |event: Event| match book.rate(&event) {
        Rating::Priced { cost, parts, basis: Basis::Reported, disagrees: false } => {
            assert_eq!(parts, [CostPart::Reported { cost }]);
            Some(cost)
        }
        _ => None,
    };
    let cost = reported("0.5", "USD");
    let unknown = Event { model: Some(Id::from("new")), usage: input(5), reported: cost, ..event() };
    assert_eq!(report(unknown), Some(amount("0.5")));
    assert_eq!(report(Event { reported: cost, ..event() }), Some(amount("0.5")));
    assert_eq!(
        report(Event { service_tier: Some(Id::from("flex")), usage: input(5), reported: cost, ..event() }),
        Some(amount("0.5"))
    );
    assert_eq!(report(Event { reported: reported("0", "USD"), ..event() }), Some(Amount::ZERO));
}

#[test]
fn evt_5_a_wrapper_is_rated_by_its_quantity_only() {
    let book = book(catalogue(&[LARGE, SEARCH].concat()));
    let frame = Event { kind: Kind::Agent, ..event() };
    assert_eq!(book.rate(&frame), Rating::Free);
    let wrapper = Event { usage: input(1000), reported: reported("9", "USD"), ..frame.clone() };
    assert_eq!(book.rate(&wrapper), Rating::Free);
    let searching = Event { quantity: searches("1", None), ..wrapper.clone() };
    assert_eq!(book.rate(&searching).cost(), Some(amount("0.01")));
    assert!(matches!(book.rate(&searching), Rating::Priced { disagrees: false, .. }));
    let unknown = Event { quantity: searches("1", Some("hour")), ..wrapper };
    assert_eq!(book.rate(&unknown), unpriced(UnpricedReason::UnknownSku));
    assert_eq!(book.rate(&Event { reported: reported("9", "USD"), ..frame }).cost(), Some(amount("9")));
    let query = PriceQuery {
        provider: Some("example"),
        model: Some("large"),
        service_tier: None,
        used_at_ns: event().used_at_ns,
        usage: input(1000).unwrap(),
    };
    assert_eq!(book.rate_tokens(&query).cost(), Some(amount("0.003")));
}

#[test]
fn mon_4_costs_are_converted_by_the_rate_of_their_utc_date() {
    let rates = vec![euro_rate("2026-10-10", "1.1"), euro_rate("2026-10-11", "1.2")];
    let history = history(vec![(None, organisation(Vec::new(), rates))]);
    let book = PriceBook::new(&[Arc::new(in_currency("EUR", LARGE))], &history).unwrap();
    let on = |used_at| book.rate(&at_model("large", used_at));
    assert_eq!(on("2026-10-09T23:59:59Z"), unpriced(UnpricedReason::NoExchangeRate));
    assert_eq!(on("2026-10-10T00:00:00Z").cost(), Some(amount("3.3")));
    // Already 11 October in Berlin, but not in UTC.
    assert_eq!(on("2026-10-10T23:30:00Z").cost(), Some(amount("3.3")));
    assert_eq!(on("2026-10-11T00:00:00Z").cost(), Some(amount("3.6")));
    let in_dollars = Event { reported: reported("3", "USD"), ..at_model("large", "2026-10-09T00:00:00Z") };
    assert_eq!(book.rate(&in_dollars), unpriced(UnpricedReason::NoExchangeRate), "the price is known, the rate is not");
    let in_euro = Event { reported: reported("1", "EUR"), ..event() };
    assert_eq!(cost(&book, &in_euro).unwrap(), "1.1");
    let in_yen = Event { reported: reported("1", "JPY"), ..event() };
    assert_eq!(book.rate(&in_yen), unpriced(UnpricedReason::NoExchangeRate));
}

#[test]
fn mon_1_class_and_conversion_are_rounded_together() {
    // 1 token at 0.000001 a million is 1 pico; times 0.5 is half a pico. Two classes: 0.5 + 0.5 is 1, not 0 + 0.
    let prices = LARGE.replace("\"3\"", "\"0.000001\"").replace("\"15\"", "\"0.000001\"");
    let history = history(vec![(None, organisation(Vec::new(), vec![euro_rate("2026-10-01", "0.5")]))]);
    let book = PriceBook::new(&[Arc::new(in_currency("EUR", &prices))], &history).unwrap();
    let usage = Usage::NONE.with(TokenClass::Input, 1);
    assert_eq!(book.rate(&Event { usage: Some(usage), ..event() }).cost(), Some(Amount::ZERO));
    let both = book.rate(&Event { usage: Some(usage.with(TokenClass::Output, 1)), ..event() });
    let Rating::Priced { cost, parts, .. } = both else { unreachable!() };
    assert_eq!(cost.pico(), 1);
    // SPL-1: equal remainders and weights, so the smaller id.
    assert_eq!(parts.iter().map(|part| part.cost().pico()).collect::<Vec<_>>(), [1, 0]);
}

#[test]
fn mon_1_a_wrapper_s_quantity_and_excess_are_rounded_together() {
    // Half a pico each: 0.5 + 0.5 is 1, not 0 + 0.
    let prices = LARGE.replace("\"3\"", "\"0.000001\"") + &SEARCH.replace("\"0.01\"", "\"0.000000000001\"");
    let history = history(vec![(None, organisation(Vec::new(), vec![euro_rate("2026-10-01", "0.5")]))]);
    let book = PriceBook::new(&[Arc::new(in_currency("EUR", &prices))], &history).unwrap();
    let wrapper = Event { kind: Kind::Agent, quantity: searches("1", None), ..event() };
    let excess = PriceQuery {
        provider: Some("example"),
        model: Some("large"),
        service_tier: None,
        used_at_ns: wrapper.used_at_ns,
        usage: Usage::NONE.with(TokenClass::Input, 1),
    };
    assert_eq!(
        (book.rate(&wrapper).cost(), book.rate_tokens(&excess).cost()),
        (Some(Amount::ZERO), Some(Amount::ZERO))
    );
    let (units, tokens) = book.rate_wrapper(&wrapper, &excess).unwrap();
    // SPL-1: equal remainders and weights, so the smaller id.
    let pico = |rating: &Rating| rating.cost().map(Amount::pico);
    assert_eq!((pico(&units), pico(&tokens)), (Some(0), Some(1)));
    let alone = |event: &Event, model| book.rate_wrapper(event, &PriceQuery { model: Some(model), ..excess });
    assert_eq!(alone(&wrapper, "unknown"), None);
    assert_eq!(alone(&Event { quantity: None, ..wrapper }, "large"), None);
}

#[test]
fn mon_3_a_product_that_overflows_is_unpriced() {
    let prices = LARGE.replace("\"3\"", "\"70000000000000000\"");
    let book = book(catalogue(&prices));
    let rating = book.rate(&Event { usage: input(u64::MAX), ..event() });
    assert_eq!(rating, unpriced(UnpricedReason::Overflow));
}

fn at_ns(text: &str) -> i64 {
    chrono::DateTime::parse_from_rfc3339(text).unwrap().timestamp_nanos_opt().unwrap()
}

#[test]
fn rat_2_a_name_s_digest_moves_with_every_price_that_it_can_come_to() {
    let plain = history(vec![(None, organisation(Vec::new(), Vec::new()))]);
    let listed = Arc::new(catalogue(&[LARGE, SEARCH].concat()));
    let book = PriceBook::new(&[Arc::clone(&listed)], &plain).unwrap();
    let name = "model:example/large-latest";
    let nothing = book.name_digest("model:example/unheard");
    assert_eq!(nothing, book.name_digest("sku:unheard"));
    assert_ne!(book.name_digest(name), nothing);
    assert_ne!(book.name_digest("sku:search"), nothing);

    let import = Arc::new(catalogue(&LARGE.replace("\"large\"", "\"unheard\"").replace("large-latest", "u")));
    let imported = PriceBook::new(&[Arc::clone(&listed), import], &plain).unwrap();
    assert_ne!(imported.name_digest("model:example/unheard"), nothing);
    assert_eq!(imported.name_digest(name), book.name_digest(name));
    assert_ne!(imported.digest(), book.digest());

    // An own price for the model reaches its alias.
    let own = || organisation(vec![own_model("large", "2026-10-10T00:00:00Z", "2")], Vec::new());
    let owned = PriceBook::new(&[Arc::clone(&listed)], &history(vec![(None, own())])).unwrap();
    assert_ne!(owned.name_digest(name), book.name_digest(name));
    assert_eq!(owned.name_digest("sku:search"), book.name_digest("sku:search"));
    // What begins later prices nothing that was used earlier.
    let [before, after] = ["2026-10-10T00:00:00Z", "2026-10-10T00:00:00.000000001Z"].map(at_ns);
    assert_eq!(owned.name_digest_before(name, before), book.name_digest_before(name, before));
    assert_ne!(owned.name_digest_before(name, after), book.name_digest_before(name, after));
    // A version that says the same about prices changes no digest.
    let again = history(vec![(None, own()), (Some("2026-11-01"), own())]);
    let again = PriceBook::new(&[Arc::clone(&listed)], &again).unwrap();
    assert_eq!(again.name_digest(name), owned.name_digest(name));
    assert_eq!(again.digest(), owned.digest());

    // Exchange rates matter to what is priced in another currency, and to nothing else.
    let rates = history(vec![(None, organisation(Vec::new(), vec![euro_rate("2026-10-01", "1.1")]))]);
    let rated = PriceBook::new(&[Arc::clone(&listed)], &rates).unwrap();
    assert_eq!(rated.name_digest(name), book.name_digest(name));
    assert_ne!(rated.name_digest("rate:EUR"), book.name_digest("rate:EUR"));
    assert_eq!(rated.name_digest("rate:GBP"), book.name_digest("rate:GBP"));
    assert_eq!(rated.name_digest_before("rate:EUR", at_ns("2026-10-01T00:00:00Z")), book.name_digest("rate:EUR"));
    assert_ne!(rated.exchange_digest(), book.exchange_digest());
    assert_eq!(rated.exchange_digest_before(at_ns("2026-10-01T00:00:00Z")), book.exchange_digest());
    assert_eq!(rated.exchange_digest_before(at_ns("2026-10-02T00:00:00Z")), rated.exchange_digest());
    let euro = Arc::new(in_currency("EUR", LARGE));
    let [without, with] =
        [&plain, &rates].map(|history| PriceBook::new(&[Arc::clone(&euro)], history).unwrap().name_digest(name));
    assert_ne!(without, with);
}

#[test]
fn rat_1_an_own_price_that_cannot_be_used_is_named() {
    let problem = |own: OwnPrice| {
        let history = history(vec![(None, organisation(vec![own], Vec::new()))]);
        PriceBook::new(&[], &history).unwrap_err().to_string()
    };
    let mut own = own_model("large", "2026-10-10T00:00:00Z", "2");
    own.per_million.insert("inputs".to_owned(), amount("1"));
    let text = problem(own);
    assert!(
        text.contains("version 1") && text.contains("number 1 (large)") && text.contains("`inputs` is no token class"),
        "{text}"
    );
    let own = OwnPrice { provider: None, ..own_model("large", "2026-10-10T00:00:00Z", "2") };
    assert!(problem(own).contains("name one kind"));
}

/// What an event costs by its definition, as (numerator, denominator) in picounits.
fn ideal(rates: &[i128], tokens: &[u64], exchange: i128) -> (BigInt, BigInt) {
    let products = rates.iter().zip(tokens).map(|(rate, tokens)| BigInt::from(*rate) * BigInt::from(*tokens));
    (products.sum::<BigInt>() * exchange, BigInt::from(10).pow(18))
}

fn half_even(numerator: &BigInt, denominator: &BigInt) -> BigInt {
    let quotient: BigInt = numerator / denominator;
    let twice: BigInt = (numerator % denominator) * 2;
    let odd = &quotient % 2 == BigInt::from(1);
    if twice > *denominator || (twice == *denominator && odd) { quotient + 1 } else { quotient }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn mon_1_the_cost_is_the_definition_s_and_its_parts_sum_to_it(
        rates in prop::array::uniform3(0_i128..100_000_000_000_000),
        tokens in prop::array::uniform3(0_u64..1_000_000_000_000),
        exchange in 1_i128..3_000_000_000_000,
        foreign: bool,
    ) {
        let [input, cache, output] = rates.map(Amount::from_pico);
        let prices = format!(
            "[[prices]]\nprovider = \"example\"\nmodel = \"large\"\nfrom = \"2026-01-01\"\n\
             per_million = {{ input = \"{input}\", cache_read = \"{cache}\", output = \"{output}\" }}\n"
        );
        let rate = euro_rate("2026-01-01", &Amount::from_pico(exchange).to_string());
        let history = history(vec![(None, organisation(Vec::new(), vec![rate]))]);
        let listed = in_currency(if foreign { "EUR" } else { "USD" }, &prices);
        let book = PriceBook::new(&[Arc::new(listed)], &history).unwrap();
        let classes = [TokenClass::Input, TokenClass::CacheRead, TokenClass::Output];
        let usage = classes.iter().zip(tokens).fold(Usage::NONE, |usage, (class, tokens)| usage.with(*class, tokens));
        let event = Event { usage: Some(usage), ..event() };
        let rating = book.rate(&event);
        prop_assert_eq!(&rating, &book.rate(&event), "RAT-3");
        let Rating::Priced { cost, parts, .. } = rating else { unreachable!() };

        let factor = if foreign { exchange } else { 1_000_000_000_000 };
        let (numerator, denominator) = ideal(&rates, &tokens, factor);
        prop_assert_eq!(BigInt::from(cost.pico()), half_even(&numerator, &denominator));
        prop_assert_eq!(Amount::checked_sum(parts.iter().map(CostPart::cost)), Some(cost));
        prop_assert!(!parts.is_empty());
        for part in &parts {
            let CostPart::Tokens { class, tokens, cost } = part else { unreachable!() };
            let at = classes.iter().position(|known| known == class).unwrap_or_default();
            let (own, unit) = ideal(rates.get(at..=at).unwrap(), &[*tokens], factor);
            let off: BigInt = BigInt::from(cost.pico()) * &unit - own;
            prop_assert!(off < &unit * 2 && off > &unit * -2, "{part:?}");
        }
    }

    #[test]
    fn rat_3_the_order_of_entries_and_events_changes_nothing(
        seed in prop::collection::vec((0_u8..4, 1_u32..28, 1_i128..1_000_000), 1..12),
        tokens in prop::collection::vec((0_u8..4, 1_u32..29, 0_u64..1_000_000), 1..20),
    ) {
        let mut unique = std::collections::BTreeMap::new();
        for (model, day, rate) in seed {
            unique.insert((model, day), Amount::from_pico(rate));
        }
        let entry = |((model, day), rate): (&(u8, u32), &Amount)| format!(
            "[[prices]]\nprovider = \"example\"\nmodel = \"m{model}\"\nfrom = \"2026-10-{day:02}\"\nper_million = {{ input = \"{rate}\" }}\n"
        );
        let forwards: String = unique.iter().map(entry).collect();
        let backwards: String = unique.iter().rev().map(entry).collect();
        let (forwards, backwards) = (catalogue(&forwards), catalogue(&backwards));
        prop_assert_eq!(forwards.digest(), backwards.digest());
        let (forwards, backwards) = (book(forwards), book(backwards));
        let events: Vec<Event> = tokens
            .iter()
            .map(|(model, day, tokens)| Event {
                model: Some(Id::from(format!("m{model}"))),
                used_at_ns: at(&format!("2026-10-{day:02}T00:00:00Z")),
                usage: input(*tokens),
                ..event()
            })
            .collect();
        let ratings: Vec<Rating> = events.iter().map(|event| forwards.rate(event)).collect();
        let mut reversed: Vec<Rating> = events.iter().rev().map(|event| backwards.rate(event)).collect();
        reversed.reverse();
        prop_assert_eq!(&reversed, &ratings);
        for ((model, day, _), rating) in tokens.iter().zip(&ratings) {
            let known = unique.range((*model, 0)..=(*model, *day)).next_back().is_some();
            prop_assert_eq!(rating.cost().is_some(), known);
        }
    }

    #[test]
    fn rat_1_the_threshold_itself_takes_the_lower_rate(above in 1_u64..1_000_000, cached in 0_u64..1_000_000) {
        let prices = LARGE.trim_end().to_owned() + &format!("\nlong_context = {{ above = {above}, per_million = {{ input = \"6\" }} }}\n");
        let book = book(catalogue(&prices));
        let cached = cached.min(above);
        let at_limit = Usage::NONE.with(TokenClass::Input, above - cached).with(TokenClass::CacheRead, cached);
        let beyond = at_limit.with(TokenClass::Input, above - cached + 1);
        let cost = |usage| book.rate(&Event { usage: Some(usage), ..event() }).cost().unwrap().pico();
        prop_assert_eq!(cost(at_limit), i128::from(above) * 3_000_000);
        prop_assert_eq!(cost(beyond), i128::from(above + 1) * 6_000_000);
    }
}

#[test]
fn evt_6_a_currency_is_compared_after_conversion() {
    let history = history(vec![(None, organisation(Vec::new(), vec![euro_rate("2026-10-01", "2")]))]);
    let book = PriceBook::new(&[Arc::new(catalogue(LARGE))], &history).unwrap();
    let disagrees = |text, currency| {
        let rating = book.rate(&Event { usage: input(1000), reported: reported(text, currency), ..event() });
        matches!(rating, Rating::Priced { disagrees: true, .. })
    };
    assert!(!disagrees("0.0075", "EUR"));
    assert!(disagrees("0.007500000001", "EUR"));
    assert!(!disagrees("900", "JPY"), "what cannot be converted cannot be compared");
}
