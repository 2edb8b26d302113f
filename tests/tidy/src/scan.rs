//! A line-based reader of Rust text: it tells code from comments and literals and matches brackets, nothing more.
//!
//! It does not parse: a block inside a signature's const generics (`Foo<{ N }>`) ends an item too early.

/// The same text twice, line by line: only the code, only the comments; everything else is blank.
#[derive(Debug, Default)]
pub struct Masks {
    /// Code without comments and without the contents of strings and characters.
    pub code: String,
    /// Comments, with their slashes.
    pub comments: String,
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Code,
    Comment,
    Literal,
}

/// Separates code from comments; both masks have the lines of `text`.
pub fn masks(text: &str) -> Masks {
    let mut masks = Masks::default();
    let mut rest = text;
    while !rest.is_empty() {
        let (kind, length) = next_piece(rest);
        let (piece, after) = rest.split_at_checked(length).unwrap_or((rest, ""));
        for letter in piece.chars() {
            let shown = |wanted| letter == '\n' || kind == wanted;
            masks.code.push(if shown(Kind::Code) { letter } else { ' ' });
            masks.comments.push(if shown(Kind::Comment) { letter } else { ' ' });
        }
        rest = after;
    }
    masks
}

fn next_piece(rest: &str) -> (Kind, usize) {
    if rest.starts_with("//") {
        (Kind::Comment, rest.find('\n').unwrap_or(rest.len()))
    } else if rest.starts_with("/*") {
        (Kind::Comment, block_comment_length(rest))
    } else if let Some(length) = raw_string_length(rest) {
        (Kind::Literal, length)
    } else if rest.starts_with('"') || starts_with_character(rest) {
        (Kind::Literal, quoted_length(rest))
    } else {
        (Kind::Code, rest.chars().next().map_or(1, char::len_utf8))
    }
}

/// Block comments nest in Rust.
fn block_comment_length(rest: &str) -> usize {
    let mut depth = 0_usize;
    let mut at = 0;
    while let Some(tail) = rest.get(at..).filter(|tail| !tail.is_empty()) {
        if tail.starts_with("/*") {
            depth += 1;
            at += 2;
        } else if tail.starts_with("*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += tail.chars().next().map_or(1, char::len_utf8);
        }
    }
    rest.len()
}

/// `r"…"` and `r#"…"#`. Since the 2021 edition no identifier may touch a quote, so what stands before `r` is a prefix.
fn raw_string_length(rest: &str) -> Option<usize> {
    let after = rest.strip_prefix('r')?;
    let body = after.trim_start_matches('#');
    let hashes = after.len() - body.len();
    let inside = body.strip_prefix('"')?;
    let closing = format!("\"{}", "#".repeat(hashes));
    let end = inside.find(&closing).map_or(inside.len(), |at| at + closing.len());
    Some(rest.len() - inside.len() + end)
}

/// Tells `'x'` and `'\n'` from the lifetime `'x`.
fn starts_with_character(rest: &str) -> bool {
    let mut letters = rest.chars();
    letters.next() == Some('\'')
        && match letters.next() {
            Some('\\') => true,
            Some(_) => letters.next() == Some('\''),
            None => false,
        }
}

fn quoted_length(rest: &str) -> usize {
    let mut letters = rest.char_indices();
    let quote = letters.next().map(|(_, letter)| letter);
    while let Some((at, letter)) = letters.next() {
        if letter == '\\' {
            letters.next();
        } else if Some(letter) == quote {
            return at + 1;
        }
    }
    rest.len()
}

/// Bytes from the start of an item to the end of its body, or to its semicolon.
pub fn item_length(code: &str) -> usize {
    let mut depth = 0_usize;
    for (at, letter) in code.char_indices() {
        match letter {
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth == 0 && matches!(letter, '}' | ';') {
            return at + 1;
        }
    }
    code.len()
}

/// The line, from 1, of a byte position.
pub fn line_at(text: &str, at: usize) -> usize {
    text.get(..at).map_or(1, |before| before.matches('\n').count() + 1)
}

/// Whether a letter may belong to an identifier.
pub fn in_word(letter: char) -> bool {
    letter.is_alphanumeric() || letter == '_'
}

/// Byte positions of `word` where no letter of an identifier touches it.
pub fn word_positions<'a>(text: &'a str, word: &'a str) -> impl Iterator<Item = usize> + 'a {
    text.match_indices(word).map(|(at, _)| at).filter(move |at| {
        let before = text.get(..*at).and_then(|head| head.chars().next_back());
        let after = text.get(at + word.len()..).and_then(|tail| tail.chars().next());
        let free =
            |edge: Option<char>, neighbour: Option<char>| !edge.is_some_and(in_word) || !neighbour.is_some_and(in_word);
        free(word.chars().next(), before) && free(word.chars().next_back(), after)
    })
}

/// A function or method as written.
#[derive(Debug, PartialEq, Eq)]
pub struct Function {
    /// Its name.
    pub name: String,
    /// The line of its `fn`, from 1.
    pub line: usize,
    /// Lines from `fn` to the closing brace.
    pub lines: usize,
    /// Parameters, the receiver not counted.
    pub parameters: usize,
}

/// Every function of a code mask, nested ones too.
pub fn functions(code: &str) -> Vec<Function> {
    word_positions(code, "fn").filter_map(|at| function_at(code, at)).collect()
}

fn function_at(code: &str, at: usize) -> Option<Function> {
    let after = code.get(at + 2..)?.trim_start();
    let name: String = after.chars().take_while(|letter| in_word(*letter)).collect();
    if name.is_empty() {
        // `fn(u8) -> u8` is a type.
        return None;
    }
    let item = code.get(at..)?;
    let item = item.get(..item_length(item))?;
    Some(Function {
        line: line_at(code, at),
        lines: item.matches('\n').count() + 1,
        parameters: parameter_count(after.get(name.len()..)?),
        name,
    })
}

fn parameter_count(signature: &str) -> usize {
    let mut parameters = vec![String::new()];
    // Generics may hold parentheses (`F: Fn(u8) -> u8`), so angle brackets are levels as well; an arrow is not one.
    let (mut depth, mut opened, mut previous) = (0_usize, false, ' ');
    for letter in signature.chars() {
        match letter {
            '(' if !opened && depth == 0 => {
                opened = true;
                continue;
            }
            ')' if opened && depth == 0 => break,
            '(' | '[' | '{' | '<' => depth += 1,
            '>' if previous == '-' => {}
            ')' | ']' | '}' | '>' => depth = depth.saturating_sub(1),
            ',' if opened && depth == 0 => parameters.push(String::new()),
            _ => {}
        }
        previous = letter;
        if let Some(parameter) = parameters.last_mut().filter(|_| opened && letter != ',') {
            parameter.push(letter);
        }
    }
    parameters
        .iter()
        .filter(|text| !text.trim().is_empty() && !text.split(|c| !in_word(c)).any(|w| w == "self"))
        .count()
}

#[cfg(test)]
mod tests {
    use super::{Function, functions, masks, word_positions};

    #[test]
    fn literals_and_comments_are_not_code() {
        let text = "a /* { /* } */ { */ b // {\nc \"{\\\"{\" d r#\"\"{\"# e '{' '\\'' 'x: f br\"{\" g\n";
        let masks = masks(text);
        let words: Vec<_> = masks.code.split_whitespace().collect();
        assert_eq!(words, ["a", "b", "c", "d", "e", "'x:", "f", "b", "g"]);
        assert_eq!(masks.code.lines().count(), 2);
        assert!(masks.comments.contains("/* } */"));
        assert!(!masks.comments.contains('a'));
    }

    #[test]
    fn a_raw_identifier_is_code_and_an_open_string_ends_with_the_text() {
        assert_eq!(masks("r#type").code, "r#type");
        assert_eq!(masks("x\"abc").code.trim(), "x");
    }

    #[test]
    fn functions_have_a_length_and_parameters() {
        let text = "impl A {\n  fn a<F: Fn(u8, u8) -> u8>(&'a mut self, f: F, (x, y): (u8, [u8; 2]),) -> [u8; 2]\n  {\n    fn b() {}\n  }\n}\ntype T = fn(u8);\ntrait Q { fn c(self: Box<Self>, m: Map<u8, u8>); }\n";
        let shape = |f: &Function| (f.name.clone(), f.line, f.lines, f.parameters);
        let found: Vec<_> = functions(text).iter().map(shape).collect();
        let expected = [("a", 2, 4, 2), ("b", 4, 1, 0), ("c", 8, 1, 1)];
        assert_eq!(found, expected.map(|(n, l, s, p)| (n.to_owned(), l, s, p)));
    }

    #[test]
    fn words_are_whole() {
        assert_eq!(word_positions("a xa ax a! a", "a").collect::<Vec<_>>(), [0, 8, 11]);
        assert_eq!(word_positions("dbg!(x) my_dbg!(x)", "dbg!").count(), 1);
    }
}
