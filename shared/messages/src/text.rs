//! Text of others, made fit for lines and limits.
//!
//! Who limits a text may count characters or UTF-16 units: lengths here are in units, of which a text never has fewer.

/// What stands where something was cut off.
pub(crate) const ELLIPSIS: char = '…';

/// Escapes what chats read as control characters, and cuts what is longer than that.
pub(crate) fn escaped(text: &str, units_max: usize) -> String {
    cut_pieces(text, units_max, |letter, buffer| match letter {
        '&' => "&amp;",
        '<' => "&lt;",
        '>' => "&gt;",
        _ => letter.encode_utf8(buffer),
    })
}

/// Cuts what is longer than that.
pub(crate) fn cut(text: &str, units_max: usize) -> String {
    cut_pieces(text, units_max, |letter, buffer| letter.encode_utf8(buffer))
}

/// Writes each letter as `form` says and never a part of that.
fn cut_pieces(text: &str, units_max: usize, form: impl for<'a> Fn(char, &'a mut [u8; 4]) -> &'a str) -> String {
    let mut written = String::new();
    // How far `written` goes if an ellipsis has to follow.
    let (mut units, mut head) = (0_usize, 0_usize);
    for letter in text.chars() {
        let mut buffer = [0; 4];
        let piece = form(letter, &mut buffer);
        units = units.saturating_add(units_of(piece));
        if units > units_max {
            written.truncate(head);
            written.push(ELLIPSIS);
            return written;
        }
        written.push_str(piece);
        if units < units_max {
            head = written.len();
        }
    }
    written
}

/// UTF-16 units of a text.
pub(crate) fn units_of(text: &str) -> usize {
    text.encode_utf16().count()
}

/// One line: whitespace and control characters become single spaces, marks that turn the direction of text around are gone.
#[must_use]
pub fn one_line(text: &str) -> String {
    let shown: String = text.chars().filter(|letter| !is_direction(*letter)).map(space_if_control).collect();
    shown.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Lines stay, other control characters do not.
pub(crate) fn lines(text: &str) -> String {
    let lines: Vec<String> = text
        .trim()
        .lines()
        .map(|line| {
            let shown: String = line.chars().filter(|letter| !is_direction(*letter)).map(space_if_control).collect();
            shown.trim_end().to_owned()
        })
        .collect();
    lines.join("\n")
}

fn space_if_control(letter: char) -> char {
    if letter.is_control() { ' ' } else { letter }
}

/// Overrides, embeddings and isolates of text that runs the other way, which can make a line read as another one.
const fn is_direction(letter: char) -> bool {
    matches!(letter, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// A figure with commas between its thousands.
#[must_use]
pub fn grouped(figure: &str) -> String {
    let whole_ends = figure.find('.').unwrap_or(figure.len());
    let mut grouped = String::new();
    for (at, letter) in figure.char_indices() {
        let left = whole_ends.saturating_sub(at);
        let is_inside = grouped.ends_with(|before: char| before.is_ascii_digit());
        if at < whole_ends && is_inside && left.is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(letter);
    }
    grouped
}

/// The pieces of a line, and whether a piece stood between backticks: those are typed.
pub(crate) fn spans(line: &str) -> Vec<(&str, bool)> {
    let mut spans = Vec::new();
    let mut rest = line;
    while let Some((before, from)) = rest.split_once('`') {
        let Some((typed, after)) = from.split_once('`') else { break };
        spans.extend([(before, false), (typed, true)]);
        rest = after;
    }
    spans.push((rest, false));
    spans.retain(|(piece, _)| !piece.is_empty());
    spans
}

/// A time of RFC 3339 as people write it, in UTC; as it is, if it is none.
#[must_use]
pub fn when(at: &str) -> String {
    chrono::DateTime::parse_from_rfc3339(at)
        .map_or_else(|_| one_line(at), |time| time.to_utc().format("%-d %b %Y, %H:%M UTC").to_string())
}

/// Seconds since 1970 of a time of RFC 3339 that is not before.
pub(crate) fn seconds(at: &str) -> Option<u64> {
    let time = chrono::DateTime::parse_from_rfc3339(at).ok()?;
    u64::try_from(time.timestamp()).ok()
}

/// One line of at most `chars_max` printable ASCII characters.
#[must_use]
pub fn ascii_line(text: &str, chars_max: usize) -> String {
    let mut line = String::new();
    for character in text.chars() {
        match character {
            ' '..='~' => line.push(character),
            _ if character.is_whitespace() || character.is_control() => line.push(' '),
            _ => match latin(character) {
                Some(letters) => line.push_str(letters),
                None => line.extend(character.escape_unicode()),
            },
        }
    }
    let words = line.split_whitespace().collect::<Vec<_>>().join(" ");
    if words.len() <= chars_max {
        return words;
    }
    let head: String = words.chars().take(chars_max.saturating_sub(3)).collect();
    format!("{head}...")
}

/// How a letter beyond ASCII is written without its marks.
const fn latin(character: char) -> Option<&'static str> {
    Some(match character {
        'ä' | 'æ' => "ae",
        'ö' | 'œ' => "oe",
        'ü' => "ue",
        'ß' => "ss",
        'Ä' | 'Æ' => "Ae",
        'Ö' | 'Œ' => "Oe",
        'Ü' => "Ue",
        'à' | 'á' | 'â' | 'ã' | 'å' | 'ą' => "a",
        'À' | 'Á' | 'Â' | 'Ã' | 'Å' | 'Ą' => "A",
        'ç' | 'ć' | 'č' => "c",
        'Ç' | 'Ć' | 'Č' => "C",
        'è' | 'é' | 'ê' | 'ë' | 'ę' | 'ě' => "e",
        'È' | 'É' | 'Ê' | 'Ë' | 'Ę' | 'Ě' => "E",
        'ì' | 'í' | 'î' | 'ï' => "i",
        'Ì' | 'Í' | 'Î' | 'Ï' => "I",
        'ł' => "l",
        'Ł' => "L",
        'ñ' | 'ń' => "n",
        'Ñ' | 'Ń' => "N",
        'ò' | 'ó' | 'ô' | 'õ' | 'ø' => "o",
        'Ò' | 'Ó' | 'Ô' | 'Õ' | 'Ø' => "O",
        'ř' => "r",
        'ś' | 'š' => "s",
        'Ś' | 'Š' => "S",
        'ù' | 'ú' | 'û' | 'ů' => "u",
        'Ù' | 'Ú' | 'Û' | 'Ů' => "U",
        'ý' | 'ÿ' => "y",
        'ź' | 'ż' | 'ž' => "z",
        'Ź' | 'Ż' | 'Ž' => "Z",
        '–' | '—' => "-",
        '‘' | '’' => "'",
        '“' | '”' | '„' => "\"",
        '…' => "...",
        '€' => "EUR",
        '£' => "GBP",
        _ => return None,
    })
}
