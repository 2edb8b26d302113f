//! The id of a reservation: it says what is needed to settle it, and is sealed, so that no store keeps an item for it.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use recoup_budgets::admission::Asker;
use recoup_model::Id;
use recoup_model::limits::{RESERVATION_ID_BYTES_MAX, TAG_BYTES_MAX};
use recoup_money::Amount;
use recoup_store::{LeaseName, Settlement};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use crate::people::Pseudonyms;

/// Of an id that says for whose tags it was given.
const PREFIX: &str = "rsv2_";
const PURPOSE: &str = "reservation-2";
/// Of ids that were given out before they said so, which stand in the log.
const PREFIX_1: &str = "rsv_";
const PURPOSE_1: &str = "reservation";
/// Bytes of the seal that travel.
const SEAL_BYTES: usize = 10;
/// Bytes that tell the keys of askers apart.
const HOLDER_BYTES: usize = 4;
/// Bytes of when it ends, the lease, the number, the holder and the amount: a multiple of three, so that the same tags are
/// the same letters in every id and little in a compressed block.
const FIXED_BYTES: usize = 4 + 8 + 4 + HOLDER_BYTES + 16;
/// The longest that tags can be: which of the six there are, and each with its length.
const TAGS_BYTES_MAX: usize = 1 + 6 * (1 + TAG_BYTES_MAX);
const _: () = assert!(
    PREFIX.len() + (FIXED_BYTES + TAGS_BYTES_MAX + SEAL_BYTES).div_ceil(3) * 4 <= RESERVATION_ID_BYTES_MAX,
    "an id that we give out can be sent back",
);

/// Whoever asked for it: the id of its API key, as far as an id of a reservation tells.
pub(crate) type Holder = [u8; HOLDER_BYTES];

/// A reservation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reservation {
    pub(crate) settlement: Settlement,
    pub(crate) holder: Holder,
    /// Whom it was admitted for.
    pub(crate) asker: Asker,
}

/// The holder with an API key; `None`: the operator at the machine.
pub(crate) fn holder(key_id: Option<&str>) -> Holder {
    let digest = Sha256::digest(key_id.unwrap_or_default());
    let mut holder = Holder::default();
    holder.iter_mut().zip(digest).for_each(|(to, from)| *to = from);
    holder
}

impl Reservation {
    /// When it ends, nanoseconds since 1970-01-01T00:00:00Z.
    pub(crate) fn expires_ns(&self) -> i64 {
        i64::from(self.settlement.lease.ends_minute).saturating_mul(60_000_000_000)
    }

    pub(crate) fn to_text(&self, pseudonyms: &Pseudonyms) -> String {
        let mut bytes = self.body();
        let seal = pseudonyms.seal(PURPOSE, &bytes);
        bytes.extend(seal.iter().take(SEAL_BYTES));
        let mut text = PREFIX.to_owned();
        URL_SAFE_NO_PAD.encode_string(&bytes, &mut text);
        text
    }

    /// The reservation that an id names; `None`: we gave out no such id.
    pub(crate) fn from_text(text: &str, pseudonyms: &Pseudonyms) -> Option<Self> {
        let (bytes, purpose) = match text.strip_prefix(PREFIX) {
            Some(letters) => (URL_SAFE_NO_PAD.decode(letters).ok()?, PURPOSE),
            None => (hex::decode(text.strip_prefix(PREFIX_1)?).ok()?, PURPOSE_1),
        };
        let (body, seal) = bytes.split_at_checked(bytes.len().checked_sub(SEAL_BYTES)?)?;
        let expected = pseudonyms.seal(purpose, body);
        if !bool::from(expected.get(..SEAL_BYTES)?.ct_eq(seal)) {
            return None;
        }
        let (ends_minute, rest) = body.split_first_chunk()?;
        let (id, rest) = rest.split_first_chunk()?;
        let (number, rest) = rest.split_first_chunk()?;
        let (holder, rest) = rest.split_first_chunk()?;
        let (pico, rest) = rest.split_first_chunk()?;
        let lease = LeaseName { ends_minute: u32::from_be_bytes(*ends_minute), id: u64::from_be_bytes(*id) };
        let amount = Amount::from_pico(i128::from_be_bytes(*pico));
        let settlement = Settlement { lease, number: u32::from_be_bytes(*number), amount };
        let asker = if rest.is_empty() { Asker::default() } else { read_tags(rest)? };
        Some(Self { settlement, holder: *holder, asker })
    }

    fn body(&self) -> Vec<u8> {
        let Settlement { lease, number, amount } = self.settlement;
        let tags = tags_of(&self.asker);
        let texts = tags.iter().flatten().map(|tag| tag.len().saturating_add(1));
        let mut body = Vec::with_capacity(texts.fold(FIXED_BYTES + 1 + SEAL_BYTES, usize::saturating_add));
        body.extend(lease.ends_minute.to_be_bytes());
        body.extend(lease.id.to_be_bytes());
        body.extend(number.to_be_bytes());
        body.extend(self.holder);
        body.extend(amount.pico().to_be_bytes());
        write_tags(tags, &mut body);
        body
    }
}

/// In the order that they are written in.
fn tags_of(asker: &Asker) -> [Option<&Id>; 6] {
    let Asker { team, project, agent, task_type, user, task } = asker;
    [team, project, agent, task_type, user, task].map(Option::as_ref)
}

/// A bit for each that there is, then each as its length less one and its text. None is empty, none is longer than 256.
fn write_tags(tags: [Option<&Id>; 6], to: &mut Vec<u8>) {
    let there = tags.iter().enumerate().filter(|(_, tag)| tag.is_some());
    to.push(there.fold(0, |bits, (at, _)| bits | (1 << at)));
    for tag in tags.into_iter().flatten() {
        to.push(u8::try_from(tag.len().saturating_sub(1)).unwrap_or(u8::MAX));
        to.extend(tag.bytes());
    }
}

fn read_tags(bytes: &[u8]) -> Option<Asker> {
    let (bits, mut rest) = bytes.split_first()?;
    let mut next = |at: u32| -> Option<Option<Id>> {
        if bits & (1 << at) == 0 {
            return Some(None);
        }
        let (less_one, after) = rest.split_first()?;
        let (text, after) = after.split_at_checked(usize::from(*less_one).checked_add(1)?)?;
        rest = after;
        Some(Some(Id::from(std::str::from_utf8(text).ok()?)))
    };
    let (team, project, agent) = (next(0)?, next(1)?, next(2)?);
    let (task_type, user, task) = (next(3)?, next(4)?, next(5)?);
    rest.is_empty().then_some(Asker { team, project, agent, user, task, task_type })
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
    use super::*;

    fn id(text: &str) -> Option<Id> {
        Some(Id::from(text))
    }

    fn made() -> Reservation {
        let lease = LeaseName { ends_minute: 29_900_000, id: u64::MAX };
        let settlement = Settlement { lease, number: 9, amount: "12.500000000001".parse().unwrap() };
        let asker = Asker { team: id("support"), task: id("T-1"), ..Asker::default() };
        Reservation { settlement, holder: holder(Some("k1")), asker }
    }

    #[test]
    fn bud_3_an_id_is_read_as_it_was_made_and_no_other_is() {
        let pseudonyms = Pseudonyms::new([7; 32]);
        let made = made();
        let text = made.to_text(&pseudonyms);
        assert_eq!(Reservation::from_text(&text, &pseudonyms).as_ref(), Some(&made));
        assert!(text.len() <= 100, "{text}");
        let changed = |at: usize| {
            let mut letters: Vec<char> = text.chars().collect();
            letters[at] = if letters[at] == 'A' { 'B' } else { 'A' };
            letters.into_iter().collect::<String>()
        };
        for at in 0..text.len() {
            assert_eq!(Reservation::from_text(&changed(at), &pseudonyms), None, "letter {at}");
        }
        for other in ["", "rsv_", "rsv2_", "rsv_00", "rsv2_AA", &text[1..], &format!("{text}00")] {
            assert_eq!(Reservation::from_text(other, &pseudonyms), None, "{other}");
        }
        assert_eq!(Reservation::from_text(&text, &Pseudonyms::new([8; 32])), None, "of another organisation");
    }

    #[test]
    fn bud_1_an_id_says_for_whose_tags_it_was_given() {
        let pseudonyms = Pseudonyms::new([7; 32]);
        let long = |letter: char| Some(Id::from(letter.to_string().repeat(TAG_BYTES_MAX).as_str()));
        let all = Asker {
            team: long('a'),
            project: long('b'),
            agent: long('c'),
            user: long('d'),
            task: long('e'),
            task_type: long('f'),
        };
        let none = Asker::default();
        for asker in [all.clone(), none, Asker { user: id("u"), ..Asker::default() }, Asker { task: None, ..all }] {
            let made = Reservation { asker, ..made() };
            let text = made.to_text(&pseudonyms);
            assert!(text.len() <= RESERVATION_ID_BYTES_MAX, "{}", text.len());
            assert_eq!(Reservation::from_text(&text, &pseudonyms), Some(made));
        }
    }

    /// Ids stand in the log for ever: this one was made by the release before they named tags.
    #[test]
    fn bud_3_an_id_that_was_given_out_before_it_named_tags_is_still_read() {
        let pseudonyms = Pseudonyms::new([7; 32]);
        let text = "rsv_01c83ce0ffffffffffffffff000000096ab9f1eb000000000000000000000b5e620f4801d50ee417117e4a39a3f4";
        let read = Reservation::from_text(text, &pseudonyms).unwrap();
        assert_eq!(read, Reservation { asker: Asker::default(), ..made() });
    }
}
