//! The catalogue's format, its errors, its digest, and the shipped files.

use recoup_model::TokenClass;
use recoup_pricing::{Catalogue, Compared, PriceEntry, Priced, Tier, check};

use crate::support::{amount, at, catalogue, in_currency};

const HEAD: &str = "source = \"s\"\nretrieved = \"2026-10-01\"\ncurrency = \"USD\"\n";
const MODEL: &str = r#"
[[prices]]
provider = "example"
model = "large"
from = "2026-01-01"
per_million = { input = "3", output = "15" }
"#;

fn refused(prices: &str) -> String {
    Catalogue::parse("test.toml", &format!("{HEAD}{prices}")).unwrap_err().to_string()
}

#[test]
fn rat_1_the_shipped_catalogue_can_be_used() {
    let shipped = Catalogue::shipped().unwrap();
    let (entry, price) = shipped.model("anthropic", "claude-haiku-4-5-20251001", at("2026-10-01T00:00:00Z")).unwrap();
    assert_eq!(&*price.model, "claude-haiku-4-5");
    assert_eq!(entry.from_ns, at("2025-10-15T00:00:00Z"));
    assert_eq!(price.standard.per_million.get(&TokenClass::Input), Some(&amount("1")));
    assert!(price.tiers.contains_key(&Tier::Batch));
    assert!(shipped.unit("anthropic.web_search", None, at("2026-10-01T00:00:00Z")).is_some());
    assert_eq!(shipped.digest(), Catalogue::shipped().unwrap().digest());
}

#[test]
fn rat_3_the_digest_is_of_prices_not_of_formatting() {
    let plain = catalogue(MODEL);
    let other = format!(
        "# comment\n{}",
        MODEL.replace("\"3\"", "\"3.00\"").replace("2026-01-01\"", "2026-01-01T01:00:00+01:00\"")
    );
    assert_eq!(catalogue(&other).digest(), plain.digest());
    let sourced = format!("{MODEL}source = \"elsewhere\"\n");
    assert_eq!(catalogue(&sourced).digest(), plain.digest());
    for changed in [
        MODEL.replace("\"3\"", "\"3.01\""),
        MODEL.replace("2026-01-01", "2026-01-02"),
        format!("{MODEL}to = \"2027-01-01\"\n"),
    ] {
        assert_ne!(catalogue(&changed).digest(), plain.digest(), "{changed}");
    }
    assert_ne!(in_currency("EUR", MODEL).digest(), plain.digest());
}

#[test]
fn rat_1_an_entry_ends_where_the_next_begins() {
    let second = MODEL.replace("2026-01-01", "2026-06-01").replace("\"3\"", "\"2\"");
    let both = catalogue(&[second.as_str(), MODEL].concat());
    let input = |instant: &str| {
        let (_, price) = both.model("example", "large", at(instant))?;
        price.standard.per_million.get(&TokenClass::Input).copied()
    };
    assert_eq!(input("2025-12-31T23:59:59Z"), None);
    assert_eq!(input("2026-05-31T23:59:59.999999999Z"), Some(amount("3")));
    assert_eq!(input("2026-06-01T00:00:00Z"), Some(amount("2")));
    assert_eq!(both.entries().first().unwrap().to_ns, Some(at("2026-06-01T00:00:00Z")));
    let gap = catalogue(&[&format!("{MODEL}to = \"2026-02-01\"\n"), second.as_str()].concat());
    assert!(gap.model("example", "large", at("2026-02-01T00:00:00Z")).is_none());
}

#[test]
fn rat_1_an_alias_may_move_but_never_means_two_models() {
    let other = MODEL.replace("large", "small");
    let first = format!("{MODEL}to = \"2026-02-01\"\naliases = [\"latest\"]\n");
    let moved = format!("{}aliases = [\"latest\"]\n", other.replace("2026-01-01", "2026-02-01"));
    let both = catalogue(&[first, moved.clone()].concat());
    let model = |instant: &str| both.model("example", "latest", at(instant)).unwrap().1.model.to_string();
    assert_eq!((model("2026-01-31T00:00:00Z"), model("2026-02-01T00:00:00Z")), ("large".into(), "small".into()));
    let text = refused(&[format!("{MODEL}aliases = [\"latest\"]\n"), moved].concat());
    assert!(
        text.contains("`latest` has two prices from 2026-02-01T00:00:00Z") && text.contains("earlier `to`"),
        "{text}"
    );
    let alias_of_a_model = format!("{other}aliases = [\"large\"]\n");
    assert!(refused(&[MODEL, &alias_of_a_model].concat()).contains("`large` has two prices"));
    assert!(refused(&[MODEL, MODEL].concat()).contains("`large` has two prices"));
}

#[test]
fn rat_1_an_error_names_file_price_and_remedy() {
    for (prices, words) in [
        (format!("{MODEL}colour = \"red\"\n"), "unknown field `colour`"),
        (MODEL.replace("output", "outputs"), "unknown variant `outputs`"),
        (MODEL.replace("\"3\"", "3"), "invalid type"),
        (MODEL.replace("\"3\"", "\"three\""), "is not a decimal number"),
        (
            MODEL.replace("\"3\"", "\"-3\""),
            "example/large from 2026-01-01T00:00:00Z: `per_million.input` is negative; write a price",
        ),
        (MODEL.replace("2026-01-01", "yesterday"), "`from` is `yesterday`, which is no time; write 2026-10-01"),
        (format!("{MODEL}to = \"2025-01-01\"\n"), "`to` is not after `from`"),
        (format!("{MODEL}unit = \"call\"\n"), "`unit` does not belong to a model price"),
        (format!("{MODEL}aliases = [\"large\"]\n"), "`aliases` names `large` twice"),
        (MODEL.replace("model =", "sku ="), "name one kind"),
        (MODEL.replace("{ input = \"3\", output = \"15\" }", "{}"), "`per_million` has no rate"),
        (format!("{MODEL}[prices.tiers.turbo]\nper_million = {{ input = \"1\" }}\n"), "unknown variant `turbo`"),
        ("[[prices]]\nsku = \"s\"\nfrom = \"2026-01-01\"\n".to_owned(), "`price` is missing"),
        (
            "[[prices]]\nsku = \"s\"\nfrom = \"2026-01-01\"\nprice = \"1\"\nper_million = { input = \"1\" }\n"
                .to_owned(),
            "`per_million` does not belong to a sku price",
        ),
        ("[[prices]]\nsku = \"\"\nunit = \"u\"\nfrom = \"2026-01-01\"\nprice = \"1\"\n".to_owned(), "`sku` is empty"),
    ] {
        let text = refused(&prices);
        let label = text.replace("from 2026-01-01:", "from 2026-01-01T00:00:00Z:");
        assert!(label.contains(words) && text.starts_with("test.toml: "), "{text}");
    }
}

#[test]
fn rat_3_entries_come_back_from_the_store_as_they_went() {
    for entry in Catalogue::shipped().unwrap().entries() {
        let stored = serde_json::to_string(entry).unwrap();
        assert_eq!(&serde_json::from_str::<PriceEntry>(&stored).unwrap(), entry);
    }
    let shipped = Catalogue::shipped().unwrap();
    let again = Catalogue::from_entries("store", shipped.entries().to_vec()).unwrap();
    assert_eq!(again.digest(), shipped.digest());
    let text = r#"{"provider":"p","model":"m","from":"2026-01-01","currency":"EUR","per_million":{"input":"1"}}"#;
    let entry: PriceEntry = serde_json::from_str(text).unwrap();
    assert!(matches!(entry.priced, Priced::Model(_)));
    let without = serde_json::from_str::<PriceEntry>(&text.replace(r#","currency":"EUR""#, "")).unwrap_err();
    assert!(without.to_string().contains("`currency` is missing"));
}

#[test]
fn rat_1_check_lists_what_two_catalogues_say_differently() {
    let long = "long_context = { above = 1000, per_million = { input = \"6\" } }\n[prices.tiers.batch]\nper_million = { input = \"1.5\" }\n";
    let ours = catalogue(&[MODEL, long].concat());
    let same = format!("{}{long}", MODEL.replace("input = \"3\"", "input = \"3\", cache_read = \"3\""));
    let now = at("2026-10-01T00:00:00Z");
    assert_eq!(check(&ours, &catalogue(&same), now), []);
    let theirs = format!(
        "{}{}",
        MODEL.replace("\"15\"", "\"16\""),
        long.replace("1000", "2000").replace("\"6\"", "\"7\"").replace("1.5", "1")
    );
    let found: Vec<_> = check(&ours, &catalogue(&theirs), now)
        .into_iter()
        .map(|found| (found.tier, found.what, found.ours.unwrap(), found.theirs.unwrap()))
        .collect();
    assert_eq!(
        found,
        [
            (None, Compared::Rate(TokenClass::Output), amount("15"), amount("16")),
            (None, Compared::Threshold, amount("1000"), amount("2000")),
            (None, Compared::LongRate(TokenClass::Input), amount("6"), amount("7")),
            (Some(Tier::Batch), Compared::Rate(TokenClass::Input), amount("1.5"), amount("1")),
        ]
    );
    assert_eq!(check(&ours, &catalogue(&theirs), at("2025-10-01T00:00:00Z")), []);
    let earlier = MODEL.replace("2026-01-01", "2025-01-01").replace("\"3\"", "\"30\"");
    let with_past = catalogue(&[earlier.as_str(), MODEL, long].concat());
    assert_eq!(check(&with_past, &ours, now), [], "only what is in force is compared");
    assert_eq!(check(&ours, &in_currency("EUR", &theirs), now), []);
}
