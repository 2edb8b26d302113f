//! The known name that somebody perhaps meant.

/// Characters above which a name is not compared.
const NAME_CHARS_MAX: usize = 64;

/// The known name nearest to `name`, if one is near: at most a third of its characters (rounded up) differ, whatever
/// their case. Of equally near ones the first in byte order.
pub(super) fn nearest<'n>(name: &str, known: impl IntoIterator<Item = &'n str>) -> Option<&'n str> {
    let wanted = letters(name)?;
    let most = wanted.len().div_ceil(3);
    known
        .into_iter()
        .filter_map(|candidate| {
            let letters = letters(candidate)?;
            if letters.len().abs_diff(wanted.len()) > most {
                return None;
            }
            Some((distance(&wanted, &letters), candidate))
        })
        .filter(|(distance, _)| *distance <= most)
        .min()
        .map(|(_, candidate)| candidate)
}

fn letters(name: &str) -> Option<Vec<char>> {
    let letters: Vec<char> = name.chars().take(NAME_CHARS_MAX).flat_map(char::to_lowercase).collect();
    (name.chars().nth(NAME_CHARS_MAX).is_none()).then_some(letters)
}

/// Letters to insert, remove or replace (Levenshtein), with one row of the table in memory.
fn distance(left: &[char], right: &[char]) -> usize {
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (at, from) in left.iter().enumerate() {
        let mut diagonal = at;
        let mut before = at.saturating_add(1);
        let mut cells = row.iter_mut();
        if let Some(first) = cells.next() {
            *first = before;
        }
        for (cell, to) in cells.zip(right) {
            let replaced = diagonal.saturating_add(usize::from(from != to));
            diagonal = *cell;
            before = replaced.min(before.saturating_add(1)).min(cell.saturating_add(1));
            *cell = before;
        }
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_found_whatever_its_case() {
        assert_eq!(nearest("safty", ["safety", "search"]), Some("safety"));
        assert_eq!(nearest("taks", ["token", "task", "time"]), Some("task"));
        assert_eq!(nearest("EUROPE/BERLIN", ["Europe/Berlin", "Europe/Dublin"]), Some("Europe/Berlin"));
        assert_eq!(nearest("ab", ["ac", "aa"]), Some("aa"));
    }

    #[test]
    fn a_far_name_is_none() {
        assert_eq!(nearest("platform", ["support", "marketing"]), None);
        assert_eq!(nearest("", ["a"]), None);
        assert_eq!(nearest(&"x".repeat(65), ["x"]), None);
    }

    #[test]
    fn distance_is_that_of_levenshtein() {
        let distance =
            |left: &str, right: &str| distance(&left.chars().collect::<Vec<_>>(), &right.chars().collect::<Vec<_>>());
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("abc", ""), 3);
        assert_eq!(distance("same", "same"), 0);
    }
}
