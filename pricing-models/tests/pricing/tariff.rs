//! A tariff gives what rating an event gives, wherever it says that it holds.

use std::sync::{Arc, LazyLock};

use proptest::prelude::*;
use recoup_model::{Event, Id, PriceQuery, Quantity, Rater, Rating, TokenClass, Usage};
use recoup_money::{Amount, PICO_PER_UNIT, mul_div_half_even};
use recoup_pricing::{Catalogue, PriceBook};

use crate::support::{at, catalogue, euro_rate, event, history, organisation, own_model};

const LISTED: &str = r#"
[[prices]]
provider = "example"
model = "large"
aliases = ["large-latest"]
from = "2026-01-01"
to = "2026-10-08"
per_million = { input = "3", cache_read = "0.30", output = "15" }
[[prices]]
provider = "example"
model = "large"
aliases = ["large-latest"]
from = "2026-10-08"
per_million = { input = "2.50", output = "12.0000005" }
long_context = { above = 2000, per_million = { input = "5", output = "24" } }
tiers = { batch = { per_million = { input = "1.25", output = "6" } } }
[[prices]]
sku = "search"
unit = "call"
from = "2026-01-01"
to = "2026-10-09"
price = "0.01"
[[prices]]
sku = "search"
unit = "call"
from = "2026-10-09"
price = "0.012345678901"
"#;

/// A catalogue, two versions of the organisation file with an own price in the second, and prices in euros.
fn prices() -> PriceBook {
    let own = own_model("large", "2026-10-11T12:00:00Z", "2");
    let rates = || vec![euro_rate("2026-01-01", "1.1")];
    let history = history(vec![
        (None, organisation(Vec::new(), rates())),
        (Some("2026-10-10"), organisation(vec![own], rates())),
    ]);
    let euros = crate::support::in_currency(
        "EUR",
        "[[prices]]\nprovider = \"example\"\nmodel = \"euro\"\nfrom = \"2026-01-01\"\nper_million = { input = \"3\" }\n",
    );
    let shipped = Catalogue::shipped().unwrap();
    PriceBook::new(&[Arc::new(catalogue(LISTED)), Arc::new(euros), Arc::new(shipped)], &history).unwrap()
}

static PRICES: LazyLock<PriceBook> = LazyLock::new(prices);

fn by_tariff(book: &PriceBook, event: &Event, asked_at_ns: i64) -> Option<Amount> {
    let usage = event.usage?;
    let tariff = book.tariff(&PriceQuery {
        provider: event.provider.as_deref(),
        model: event.model.as_deref(),
        service_tier: event.service_tier.as_deref(),
        used_at_ns: asked_at_ns,
        usage: Usage::NONE,
    })?;
    let holds = (tariff.from_ns..tariff.to_ns).contains(&event.used_at_ns) && usage.context() <= tariff.context_max;
    let mut cost = 0;
    for (class, tokens) in usage.nonzero() {
        let place = TokenClass::ALL.iter().position(|known| *known == class)?;
        cost += i128::from((*tariff.per_token_pico.get(place)?)?) * i128::from(tokens);
    }
    holds.then_some(Amount::from_pico(cost))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn rat_1_a_tariff_gives_what_rating_gives(
        name in prop::sample::select(vec!["large", "large-latest", "euro", "gpt-4o", "nobody"]),
        tier in prop::sample::select(vec![None, Some("batch"), Some("standard"), Some("flex")]),
        (input, cached, output) in (0..2_500_u64, 0..900_u64, 0..1_000_u64),
        (asked, used) in (0..200_i64, 0..200_i64),
    ) {
        let book = &*PRICES;
        let hour = |hours: i64| at("2026-10-06T00:00:00Z") + hours * 3_600_000_000_000;
        let usage = Usage::NONE.with(TokenClass::Input, input).with(TokenClass::CacheRead, cached)
            .with(TokenClass::Output, output);
        let provider = if name == "gpt-4o" { "openai" } else { "example" };
        let event = Event {
            provider: Some(Id::from(provider)),
            model: Some(Id::from(name)),
            service_tier: tier.map(Id::from),
            used_at_ns: hour(used),
            usage: Some(usage),
            ..event()
        };
        if let Some(cost) = by_tariff(book, &event, hour(asked)) {
            prop_assert_eq!(book.rate(&event).cost(), Some(cost));
        }
    }

    #[test]
    fn mon_1_a_unit_tariff_gives_what_rating_gives(
        quantity in 0..20_000_000_000_000_i128,
        (asked, used) in (0..200_i64, 0..200_i64),
    ) {
        let book = &*PRICES;
        let hour = |hours: i64| at("2026-10-06T00:00:00Z") + hours * 3_600_000_000_000;
        let unit = Some(Id::from("call"));
        let tariff = book.unit_tariff("search", unit.as_ref(), hour(asked)).unwrap();
        let quantity = Quantity { sku: Id::from("search"), quantity: Amount::from_pico(quantity), unit };
        let event = Event { quantity: Some(quantity.clone()), used_at_ns: hour(used), ..event() };
        if (tariff.from_ns..tariff.to_ns).contains(&event.used_at_ns) {
            let cost = mul_div_half_even(tariff.price.pico(), quantity.quantity.pico(), PICO_PER_UNIT);
            prop_assert_eq!(book.rate(&event).cost(), cost.map(Amount::from_pico));
        }
    }
}

#[test]
fn rat_1_most_models_have_a_tariff_and_those_in_other_currencies_none() {
    let book = &*PRICES;
    let query = |name: &'static str, tier| PriceQuery {
        provider: Some("example"),
        model: Some(name),
        service_tier: tier,
        used_at_ns: at("2026-10-07T00:00:00Z"),
        usage: Usage::NONE,
    };
    let tariff = book.tariff(&query("large-latest", None)).unwrap();
    assert_eq!(tariff.per_token_pico.first_chunk(), Some(&[Some(3_000_000), Some(300_000)]));
    assert_eq!(tariff.to_ns, at("2026-10-08T00:00:00Z"));
    assert!(book.tariff(&query("euro", None)).is_none());
    assert!(book.tariff(&query("large", Some("flex"))).is_none());
    assert!(matches!(book.rate(&event()), Rating::Unpriced(_)));
}
