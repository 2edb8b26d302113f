#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use std::path::PathBuf;
use std::sync::Arc;

use proptest::prelude::*;
use recoup_model::digest::content_digest;
use recoup_model::limits::{BLOCK_EVENTS_MAX, EXTRA_TAGS_MAX};
use recoup_model::{Id, Identity, Kind, Origin, Quantity, Recorded, Reported, Status, Tags, TokenClass, Usage};
use recoup_money::{Amount, Currency};

use super::columns::{Wanted, read_columns, read_wanted_columns};
use super::samples::{Numbers, plain, realistic, recorded};
use super::*;

fn decoded(events: &[Recorded]) -> Vec<Recorded> {
    decode(&encode(events).unwrap().bytes).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn rat_3_any_events_come_back_in_order(events in prop::collection::vec(recorded(), 0..24)) {
        prop_assert_eq!(decoded(&events), events);
    }

    #[test]
    fn evt_2_the_name_of_a_block_does_not_depend_on_packaging(
        events in prop::collection::vec(recorded(), 2..12), turn in 0..12_usize, at in any::<i64>()
    ) {
        let mut other = events.clone();
        other.rotate_left(turn % events.len());
        for recorded in &mut other {
            recorded.recorded_at_ns = at;
            recorded.origin.key_id = None;
        }
        prop_assert_eq!(digest_of(&events), digest_of(&other));
    }

    #[test]
    fn clo_1_random_bytes_are_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(decode(&bytes).is_err());
    }

    #[test]
    fn clo_1_columns_that_make_no_sense_are_refused_or_read_without_a_panic(
        events in prop::collection::vec(recorded(), 1..12), seed in any::<u64>()
    ) {
        let borrowed: Vec<&Recorded> = events.iter().collect();
        let mut numbers = Numbers(seed);
        let mut sections = v1::write(&borrowed).unwrap();
        for _ in 0..=numbers.below(4) {
            let section = match numbers.below(5) {
                0 => &mut sections.text,
                1 => &mut sections.packed,
                _ => &mut sections.numbers,
            };
            damage(section, &mut numbers);
        }
        let count = usize::try_from(numbers.below(14)).unwrap();
        drop(v1::read(count, &sections));
        drop(decode(&v1::seal(count, &sections).unwrap()));
        let mut columns = v2::write(&borrowed).unwrap();
        for _ in 0..=numbers.below(4) {
            damage(&mut columns.planes, &mut numbers);
        }
        drop(decode(&v2::frame::seal(count, &columns).unwrap()));
        drop(decode(&v2::frame::seal(events.len(), &columns).unwrap()));
    }

    #[test]
    fn rat_3_blocks_of_version_1_come_back_in_order(events in prop::collection::vec(recorded(), 0..24)) {
        let borrowed: Vec<&Recorded> = events.iter().collect();
        let block = v1::seal(events.len(), &v1::write(&borrowed).unwrap()).unwrap();
        prop_assert_eq!(decode(&block).unwrap(), events);
    }

    #[test]
    fn rat_3_single_events_and_wanted_columns_are_those_of_the_block(
        events in prop::collection::vec(recorded(), 1..12)
    ) {
        let block = encode(&events).unwrap().bytes;
        let columns = read_columns(&block).unwrap();
        let single: Vec<Recorded> = (0..=columns.len).filter_map(|at| columns.event(at)).collect();
        prop_assert_eq!(&single, &events);
        let mut without = columns.clone();
        (without.response_id, without.reservation_id) = Default::default();
        prop_assert_eq!(&read_wanted_columns(&block, Wanted::WithoutCalls).unwrap(), &without);
        let times = read_wanted_columns(&block, Wanted::Times).unwrap();
        prop_assert_eq!((times.len, times.used_at_ns), (columns.len, columns.used_at_ns));
    }
}

#[test]
fn clo_1_a_text_cannot_share_letters_that_are_not_there() {
    // One event: shape, kind, two times of a unit and a difference, then an id of one letter behind five shared ones.
    let sections = v1::Sections { numbers: vec![0, 0, 0, 0, 0, 0, 1, 2, 5], text: vec![b'a'], packed: Vec::new() };
    assert_eq!(
        v1::read(1, &sections).unwrap_err().to_string(),
        "the column `event_id` shares more letters than there are; the block was not written by this codec"
    );
}

/// Changes, removes or inserts one byte behind the back of the checksum.
fn damage(section: &mut Vec<u8>, numbers: &mut Numbers) {
    let at = usize::try_from(numbers.below(u64::try_from(section.len()).unwrap() + 1)).unwrap();
    let byte = u8::try_from(numbers.below(256)).unwrap();
    match numbers.below(3) {
        0 if at < section.len() => section[at] = byte,
        1 if at < section.len() => drop(section.remove(at)),
        _ => section.insert(at, byte),
    }
}

#[test]
fn clo_1_every_flipped_bit_and_every_cut_is_refused() {
    let block = encode(&realistic(30, true)).unwrap().bytes;
    for at in 0..block.len() {
        let mut flipped = block.clone();
        flipped[at] ^= 1 << (at % 8);
        assert!(decode(&flipped).is_err(), "byte {at}");
        assert!(decode(&block[..at]).is_err(), "cut at {at}");
    }
    let longer = [&block[..], &[0]].concat();
    assert!(matches!(decode(&longer), Err(BlockError::Torn { .. })));
}

#[test]
fn clo_1_a_damaged_block_says_what_is_wrong_with_it() {
    let block = encode(&realistic(3, false)).unwrap().bytes;
    let mut flipped = block.clone();
    *flipped.last_mut().unwrap() ^= 1;
    let message = decode(&flipped).unwrap_err().to_string();
    assert_eq!(message, "the block's checksum does not match its bytes; restore it from a copy");
    let mut newer = block.clone();
    newer[5] = 3;
    let message = decode(&newer).unwrap_err().to_string();
    assert_eq!(message, "the block has codec version 3, this release knows 1 to 2; use a newer release");
    assert!(matches!(decode(&block[..block.len() - 1]), Err(BlockError::Torn { .. })));
    assert!(matches!(decode(b"SQLite"), Err(BlockError::NotABlock)));
    assert_eq!(verify(&block).unwrap(), 3);
}

#[test]
fn clo_1_a_block_has_limits() {
    let full = realistic(BLOCK_EVENTS_MAX, false);
    assert_eq!(decoded(&full), full);
    let over = realistic(BLOCK_EVENTS_MAX + 1, false);
    assert!(matches!(encode(&over), Err(BlockError::TooManyEvents { .. })));

    let mut event = plain("e");
    event.tags.extra = (0..EXTRA_TAGS_MAX).map(|at| (Id::from(format!("t{at:02}")), Id::from("v"))).collect();
    let tagged = vec![Recorded { event, origin: Origin::default(), recorded_at_ns: 0 }];
    assert_eq!(decoded(&tagged), tagged);
    let mut more = tagged;
    more[0].event.tags.extra.insert(Id::from("u"), Id::from("v"));
    assert!(matches!(encode(&more), Err(BlockError::TooManyTags { tags: 17 })));
}

#[test]
fn rat_3_texts_that_appear_again_share_one_allocation() {
    let events = decoded(&realistic(40, false));
    assert!(Id::ptr_eq(events[0].event.trace_id.as_ref().unwrap(), events[9].event.trace_id.as_ref().unwrap()));
    assert!(Id::ptr_eq(events[1].event.parent_id.as_ref().unwrap(), &events[0].event.event_id));
    assert!(Arc::ptr_eq(&events[0].origin.key_tags, &events[39].origin.key_tags));
}

#[test]
fn rat_3_parents_may_stand_later_elsewhere_or_twice() {
    let links = [("b", Some("c")), ("c", Some("outside")), ("b", Some("b")), ("d", Some("outside2")), ("e", Some("b"))];
    let events: Vec<Recorded> = links
        .into_iter()
        .map(|(event_id, parent_id)| {
            let mut event = plain(event_id);
            event.parent_id = parent_id.map(Id::from);
            Recorded { event, origin: Origin::default(), recorded_at_ns: 0 }
        })
        .collect();
    assert_eq!(decoded(&events), events);
}

#[test]
fn atr_1_a_parent_in_the_block_is_one_of_the_same_trace() {
    let links = [
        (Some("t"), "a", None),
        (Some("t"), "b", Some("a")),
        (Some("u"), "b", Some("a")),
        (Some("u"), "c", Some("b")),
        (Some("u"), "a", None),
        (None, "d", Some("a")),
        (None, "e", Some("d")),
        (Some("u"), "f", Some("x")),
    ];
    let made = |(trace_id, event_id, parent_id): (Option<&str>, &str, Option<&str>)| {
        let mut event = plain(event_id);
        (event.trace_id, event.parent_id) = (trace_id.map(Id::from), parent_id.map(Id::from));
        Recorded { event, origin: Origin::default(), recorded_at_ns: 0 }
    };
    let events = links.map(made);
    let none = columns::NOT_HERE;
    let columns = read_columns(&encode(&events).unwrap().bytes).unwrap();
    assert_eq!(columns.parent_at, [none, 0, 4, 2, none, none, none, none]);
    assert_eq!(columns.events(), events);
    // Version 1 knows the first event of that id only, which may be of another trace.
    let borrowed: Vec<&Recorded> = events.iter().collect();
    let block = v1::seal(events.len(), &v1::write(&borrowed).unwrap()).unwrap();
    let columns = read_columns(&block).unwrap();
    assert_eq!(columns.parent_at, [none, 0, none, none, none, none, none, none]);
    assert_eq!(columns.events(), events);
}

#[test]
fn rat_3_columns_hold_what_the_events_say() {
    let events = golden_events();
    let columns = read_columns(&encode(&events).unwrap().bytes).unwrap();
    assert_eq!(columns.len, 3);
    assert_eq!(columns.event_id[0].hex16(), Some(0x00f0_67aa_0ba9_02b7));
    assert_eq!(columns.id(columns.event_id[2]), *"search 1");
    assert_eq!(columns.trace_id.codes, columns::Codes::Each(vec![1, 1, 0]));
    assert_eq!(columns.agent.get(0), Some("triage"));
    assert_eq!((columns.duration_ms(0), columns.duration_ms(1)), (Some(3_000), None));
    let tokens: Vec<_> = columns.usage.tokens_of(1).collect();
    assert_eq!(tokens, [(TokenClass::Input, 1_000), (TokenClass::ImageOutput, 7)]);
    assert_eq!((columns.usage.get(0), columns.usage.get(1)), (None, events[1].event.usage));
    assert!(columns.supersedes.get(2).is_some() && columns.supersedes.get(0).is_none());
    assert_eq!(columns.extra.get(0).collect::<Vec<_>>(), [("campaign", "autumn")]);
    assert_eq!(columns.key_tags.sets.len(), 2);
    let same = read_columns(&encode(&events[..1]).unwrap().bytes).unwrap();
    assert_eq!(same.agent.codes, columns::Codes::Same(1));
    assert!(same.supersedes.is_absent() && same.reported.is_absent());
}

#[test]
fn rat_3_a_full_block_takes_at_most_48_bytes_an_event() {
    for with_response in [false, true] {
        let events = realistic(BLOCK_EVENTS_MAX, with_response);
        let bytes = encode(&events).unwrap().bytes.len();
        println!("{} bytes for 100 events, response ids: {with_response}", bytes * 100 / events.len());
        assert!(bytes <= 48 * events.len(), "{bytes}");
    }
}

fn golden_events() -> Vec<Recorded> {
    let key_tags = Arc::new(Tags { team: Some(Id::from("support")), ..Tags::default() });
    let origin = Origin { key_id: Some(Id::from("k1")), key_tags, resource_team: Some(Id::from("platform")) };
    let mut root = plain("00f067aa0ba902b7");
    root.trace_id = Some(Id::from("4bf92f3577b34da6a3ce929d0e0e4736"));
    root.kind = Kind::Agent;
    root.used_at_ns = 1_790_000_003_000_000_000;
    root.duration_ms = Some(3_000);
    root.critical = true;
    root.status = Some(Status::Ok);
    root.tags = Tags {
        agent: Some(Id::from("triage")),
        task_type: Some(Id::from("resolve_ticket")),
        task_id: Some(Id::from("T-1001")),
        user: Some(Id::from("9f86d081884c7d65")),
        team: Some(Id::from("support")),
        project: Some(Id::from("börse")),
        extra: [(Id::from("campaign"), Id::from("autumn"))].into(),
    };
    let mut call = plain("00f067aa0ba902b8");
    call.trace_id = root.trace_id.clone();
    call.parent_id = Some(root.event_id.clone());
    call.kind = Kind::Llm;
    call.used_at_ns = 1_790_000_001_500_000_001;
    call.provider = Some(Id::from("example"));
    call.model = Some(Id::from("example-large"));
    call.service_tier = Some(Id::from("batch"));
    call.usage = Some(Usage::NONE.with(TokenClass::Input, 1_000).with(TokenClass::ImageOutput, 7));
    call.response_id = Some(Id::from("resp-1"));
    call.reservation_id = Some(Id::from("r-1"));
    call.reported = Some(Reported { amount: Amount::from_pico(12_500_000_001), currency: Currency::USD });
    let mut search = plain("search 1");
    search.status = Some(Status::Killed);
    search.parent_id = Some(Id::from("elsewhere"));
    search.used_at_ns = -1;
    search.quantity = Some(Quantity {
        sku: Id::from("example.search"),
        quantity: Amount::from_pico(3 * 10_i128.pow(12)),
        unit: None,
    });
    search.retry_of = Some(Id::from("search 0"));
    search.supersedes = Some(Id::from("search 00"));
    let unnamed = Origin::default();
    vec![
        Recorded { event: root, origin: origin.clone(), recorded_at_ns: 1_790_000_004_000_000_000 },
        Recorded { event: call, origin, recorded_at_ns: 1_790_000_004_000_000_000 },
        Recorded { event: search, origin: unnamed, recorded_at_ns: 1_790_000_005_000_000_123 },
    ]
}

fn golden(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)
}

#[test]
fn rat_3_the_first_block_ever_written_by_version_1_stays_readable() {
    let events = golden_events();
    let block = std::fs::read(golden("block-v1.bin")).unwrap();
    assert_eq!(decode(&block).unwrap(), events);
    assert_eq!(decoded(&decode(&block).unwrap()), events);
    let contents = events.iter().map(|recorded| (Identity::of(&recorded.event), content_digest(&recorded.event)));
    assert_eq!(digest_of_contents(contents.collect()), encode(&events).unwrap().digest);
    assert_eq!(
        encode(&events).unwrap().digest.to_string(),
        "253b86977ba9b6792fc2edc7f7efbde488d8004169194511e96e8864399f386f"
    );
}

/// Every field, then enough events for several chunks, amounts of many digits and texts that are packed in part.
fn golden_events_of_version_2() -> Vec<Recorded> {
    let mut events = golden_events();
    let root = events[0].clone();
    for at in 0..300_u64 {
        let mut recorded = root.clone();
        recorded.recorded_at_ns += i64::try_from(at / 100).unwrap() * 1_000_000_007;
        let event = &mut recorded.event;
        event.used_at_ns += i64::try_from(at * at).unwrap() * 1_000;
        event.event_id = Id::from(if at % 3 == 0 { format!("e{at}") } else { format!("{:016x}", at << 40) });
        event.parent_id = (at % 5 > 0).then(|| Id::clone(&root.event.event_id));
        event.duration_ms = (at % 7 > 0).then_some(at * 100);
        event.response_id = Some(Id::from(format!("msg_{at:04}")));
        event.usage = (at % 2 == 0).then(|| Usage::NONE.with(TokenClass::Output, at).with(TokenClass::Input, at << 50));
        event.reported = (at % 11 == 0).then(|| Reported {
            amount: Amount::from_pico(i128::from(at) << 70),
            currency: if at % 2 == 0 { Currency::USD } else { "EUR".parse().unwrap() },
        });
        events.push(recorded);
    }
    events
}

#[test]
fn rat_3_the_first_block_ever_written_by_version_2_stays_readable() {
    let events = golden_events_of_version_2();
    let path = golden("block-v2.bin");
    if std::env::var_os("RECOUP_UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, encode(&events).unwrap().bytes).unwrap();
    }
    let block = std::fs::read(&path).unwrap();
    assert_eq!(decode(&block).unwrap(), events);
    assert_eq!(decoded(&events), events);
    assert_eq!(
        encode(&events).unwrap().digest.to_string(),
        "c15b740c0bab25ee3317cdab402775a564ae5a39f108ed5c3bb11541f4490507"
    );
}
