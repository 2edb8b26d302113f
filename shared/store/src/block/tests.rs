#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use std::path::PathBuf;
use std::sync::Arc;

use proptest::prelude::*;
use recoup_model::digest::content_digest;
use recoup_model::limits::{BLOCK_EVENTS_MAX, EXTRA_TAGS_MAX};
use recoup_model::{Id, Identity, Kind, Origin, Quantity, Recorded, Reported, Status, Tags, TokenClass, Usage};
use recoup_money::{Amount, Currency};

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
        let mut sections = v1::write(&borrowed).unwrap();
        let mut numbers = Numbers(seed);
        for _ in 0..=numbers.below(4) {
            damage(&mut sections, &mut numbers);
        }
        let count = usize::try_from(numbers.below(14)).unwrap();
        drop(v1::read(count, &sections));
        drop(decode(&v1::frame::seal(count, &sections).unwrap()));
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
fn damage(sections: &mut v1::Sections, numbers: &mut Numbers) {
    let section = match numbers.below(5) {
        0 => &mut sections.text,
        1 => &mut sections.packed,
        _ => &mut sections.numbers,
    };
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
    newer[5] = 2;
    let message = decode(&newer).unwrap_err().to_string();
    assert_eq!(message, "the block has codec version 2, this release knows 1 to 1; use a newer release");
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

#[test]
fn rat_3_the_first_block_ever_written_by_version_1_stays_readable() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden/block-v1.bin");
    let events = golden_events();
    if std::env::var_os("RECOUP_UPDATE_GOLDEN").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, encode(&events).unwrap().bytes).unwrap();
    }
    let golden = std::fs::read(&path).unwrap();
    assert_eq!(decode(&golden).unwrap(), events);
    assert_eq!(decoded(&decode(&golden).unwrap()), events);
    let contents = events.iter().map(|recorded| (Identity::of(&recorded.event), content_digest(&recorded.event)));
    assert_eq!(digest_of_contents(contents.collect()), encode(&events).unwrap().digest);
    assert_eq!(
        encode(&events).unwrap().digest.to_string(),
        "253b86977ba9b6792fc2edc7f7efbde488d8004169194511e96e8864399f386f"
    );
}
