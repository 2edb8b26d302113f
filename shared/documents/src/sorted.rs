//! JSON written as it is serialized, with the keys of each object sorted when the object ends.
//!
//! An object's entries stand behind each other in the output until it ends; those that are not in order by then are put in
//! order. Nothing is built but the text. What `serde_json` would refuse in a value is refused here.

use serde::ser::{self, Impossible, Serialize};

/// Why there is no text: a number that is no integer, raw JSON, or a key that is no text.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Unwritable(String);

impl ser::Error for Unwritable {
    fn custom<T: std::fmt::Display>(message: T) -> Self {
        Self(message.to_string())
    }
}

impl From<serde_json::Error> for Unwritable {
    fn from(error: serde_json::Error) -> Self {
        Self(error.to_string())
    }
}

fn no_float() -> Result<(), Unwritable> {
    Err(ser::Error::custom("a number that is no integer"))
}

/// Where an entry of an object stands: its key without escapes, and its text.
#[derive(Clone, Copy)]
struct Entry {
    key: (usize, usize),
    text: (usize, usize),
}

/// The text so far, and room for the objects that are still open; those inside others lie behind them.
#[derive(Default)]
pub(crate) struct Writer {
    text: Vec<u8>,
    keys: Vec<u8>,
    entries: Vec<Entry>,
    sorted: Vec<u8>,
}

impl Writer {
    /// The text of a value.
    pub(crate) fn write(value: &impl Serialize) -> Result<Vec<u8>, Unwritable> {
        let mut writer = Self::default();
        value.serialize(&mut writer)?;
        Ok(writer.text)
    }

    /// A scalar, as `serde_json` writes it.
    fn scalar(&mut self, value: &(impl Serialize + ?Sized)) -> Result<(), Unwritable> {
        Ok(serde_json::to_writer(&mut self.text, value)?)
    }

    fn object(&mut self) -> Object<'_> {
        self.text.push(b'{');
        Object { start: self.text.len(), first: self.entries.len(), key: 0, writer: self, closing: "}" }
    }

    fn list(&mut self, closing: &'static str) -> List<'_> {
        self.text.push(b'[');
        List { is_empty: true, writer: self, closing }
    }

    /// `{"name":`, as an enum's variant with content begins.
    fn variant(&mut self, name: &str) -> Result<(), Unwritable> {
        self.text.push(b'{');
        self.scalar(name)?;
        self.text.push(b':');
        Ok(())
    }
}

/// An object that is being written.
pub(crate) struct Object<'a> {
    writer: &'a mut Writer,
    start: usize,
    first: usize,
    /// Where the key of the entry begins that is being written.
    key: usize,
    closing: &'static str,
}

impl Object<'_> {
    fn entry<T: Serialize + ?Sized>(&mut self, key: &str, value: &T) -> Result<(), Unwritable> {
        self.key = self.writer.keys.len();
        self.writer.keys.extend_from_slice(key.as_bytes());
        self.value(value)
    }

    /// The value of the key that was noted last.
    fn value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Unwritable> {
        let key = (self.key, self.writer.keys.len());
        let name = self.writer.keys.get(key.0..key.1).map(std::str::from_utf8);
        let Some(Ok(name)) = name else { return Err(ser::Error::custom("a key is no text")) };
        if self.writer.entries.len() > self.first {
            self.writer.text.push(b',');
        }
        let begin = self.writer.text.len();
        serde_json::to_writer(&mut self.writer.text, name)?;
        self.writer.text.push(b':');
        value.serialize(&mut *self.writer)?;
        self.writer.entries.push(Entry { key, text: (begin, self.writer.text.len()) });
        Ok(())
    }

    /// Puts the entries in order of their keys; of equal keys the last one stays.
    fn end(self) -> Result<(), Unwritable> {
        let Writer { text, keys, entries, sorted } = self.writer;
        let ours = entries.get_mut(self.first..).unwrap_or_default();
        let first_key = ours.first().map(|entry| entry.key.0);
        let key = |entry: &Entry| keys.get(entry.key.0..entry.key.1).unwrap_or_default();
        if ours.is_sorted_by(|one, other| key(one) < key(other)) {
            text.extend_from_slice(self.closing.as_bytes());
            entries.truncate(self.first);
            keys.truncate(first_key.unwrap_or(keys.len()));
            return Ok(());
        }
        ours.sort_by(|one, other| key(one).cmp(key(other)));
        sorted.clear();
        let mut rest = ours.iter().peekable();
        while let Some(entry) = rest.next() {
            if rest.peek().is_some_and(|next| key(next) == key(entry)) {
                continue;
            }
            if !sorted.is_empty() {
                sorted.push(b',');
            }
            sorted.extend_from_slice(text.get(entry.text.0..entry.text.1).unwrap_or_default());
        }
        text.truncate(self.start);
        text.extend_from_slice(sorted);
        text.extend_from_slice(self.closing.as_bytes());
        entries.truncate(self.first);
        keys.truncate(first_key.unwrap_or(keys.len()));
        Ok(())
    }
}

/// A list that is being written.
pub(crate) struct List<'a> {
    writer: &'a mut Writer,
    is_empty: bool,
    closing: &'static str,
}

impl List<'_> {
    fn item<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Unwritable> {
        if !std::mem::replace(&mut self.is_empty, false) {
            self.writer.text.push(b',');
        }
        value.serialize(&mut *self.writer)
    }

    fn end(self) -> Result<(), Unwritable> {
        self.writer.text.extend_from_slice(self.closing.as_bytes());
        Ok(())
    }
}

/// Scalars, each as `serde_json` writes it.
macro_rules! scalars {
    ($($name:ident: $of:ty),* $(,)?) => {
        $(fn $name(self, value: $of) -> Result<(), Unwritable> {
            self.scalar(&value)
        })*
    };
}

impl<'a> ser::Serializer for &'a mut Writer {
    type Ok = ();
    type Error = Unwritable;
    type SerializeSeq = List<'a>;
    type SerializeTuple = List<'a>;
    type SerializeTupleStruct = List<'a>;
    type SerializeTupleVariant = List<'a>;
    type SerializeMap = Object<'a>;
    type SerializeStruct = Object<'a>;
    type SerializeStructVariant = Object<'a>;

    scalars! {
        serialize_bool: bool, serialize_i8: i8, serialize_i16: i16, serialize_i32: i32, serialize_i64: i64,
        serialize_u8: u8, serialize_u16: u16, serialize_u32: u32, serialize_u64: u64, serialize_char: char,
        serialize_str: &str,
    }

    // Amounts are text: what is no integer has no place in a document.
    fn serialize_f32(self, _: f32) -> Result<(), Unwritable> {
        // tidy: allow(float) serde asks for it; it is refused
        no_float()
    }

    fn serialize_f64(self, _: f64) -> Result<(), Unwritable> {
        // tidy: allow(float) serde asks for it; it is refused
        no_float()
    }

    fn serialize_i128(self, value: i128) -> Result<(), Unwritable> {
        self.scalar(&serde_json::to_value(value)?)
    }

    fn serialize_u128(self, value: u128) -> Result<(), Unwritable> {
        self.scalar(&serde_json::to_value(value)?)
    }

    fn serialize_bytes(self, bytes: &[u8]) -> Result<(), Unwritable> {
        self.collect_seq(bytes)
    }

    fn serialize_none(self) -> Result<(), Unwritable> {
        self.serialize_unit()
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), Unwritable> {
        value.serialize(self)
    }

    fn serialize_unit(self) -> Result<(), Unwritable> {
        self.text.extend_from_slice(b"null");
        Ok(())
    }

    fn serialize_unit_struct(self, _: &'static str) -> Result<(), Unwritable> {
        self.serialize_unit()
    }

    fn serialize_unit_variant(self, _: &'static str, _: u32, variant: &'static str) -> Result<(), Unwritable> {
        self.scalar(variant)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, _: &'static str, value: &T) -> Result<(), Unwritable> {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<(), Unwritable> {
        self.variant(variant)?;
        value.serialize(&mut *self)?;
        self.text.push(b'}');
        Ok(())
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<List<'a>, Unwritable> {
        Ok(self.list("]"))
    }

    fn serialize_tuple(self, _: usize) -> Result<List<'a>, Unwritable> {
        Ok(self.list("]"))
    }

    fn serialize_tuple_struct(self, _: &'static str, _: usize) -> Result<List<'a>, Unwritable> {
        Ok(self.list("]"))
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        _: usize,
    ) -> Result<List<'a>, Unwritable> {
        self.variant(variant)?;
        Ok(self.list("]}"))
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Object<'a>, Unwritable> {
        Ok(self.object())
    }

    fn serialize_struct(self, name: &'static str, _: usize) -> Result<Object<'a>, Unwritable> {
        // How `serde_json` hands itself text that is JSON already, which nobody has sorted.
        if name.starts_with("$serde_json::") {
            return Err(ser::Error::custom("raw JSON has no canonical form"));
        }
        Ok(self.object())
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        _: usize,
    ) -> Result<Object<'a>, Unwritable> {
        self.variant(variant)?;
        Ok(Object { closing: "}}", ..self.object() })
    }
}

/// Items of lists, whatever serde calls the list.
macro_rules! lists {
    ($($kind:ident: $item:ident),* $(,)?) => {
        $(impl ser::$kind for List<'_> {
            type Ok = ();
            type Error = Unwritable;

            fn $item<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Unwritable> {
                self.item(value)
            }

            fn end(self) -> Result<(), Unwritable> {
                List::end(self)
            }
        })*
    };
}

lists! {
    SerializeSeq: serialize_element,
    SerializeTuple: serialize_element,
    SerializeTupleStruct: serialize_field,
    SerializeTupleVariant: serialize_field,
}

/// Fields of objects, whatever serde calls the object.
macro_rules! objects {
    ($($kind:ident),* $(,)?) => {
        $(impl ser::$kind for Object<'_> {
            type Ok = ();
            type Error = Unwritable;

            fn serialize_field<T: Serialize + ?Sized>(&mut self, key: &'static str, value: &T) -> Result<(), Unwritable> {
                self.entry(key, value)
            }

            fn end(self) -> Result<(), Unwritable> {
                Object::end(self)
            }
        })*
    };
}

objects! { SerializeStruct, SerializeStructVariant }

impl ser::SerializeMap for Object<'_> {
    type Ok = ();
    type Error = Unwritable;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), Unwritable> {
        self.key = self.writer.keys.len();
        key.serialize(Key(&mut self.writer.keys))
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Unwritable> {
        self.value(value)
    }

    fn end(self) -> Result<(), Unwritable> {
        Object::end(self)
    }
}

/// A key: a text, or what becomes one.
struct Key<'a>(&'a mut Vec<u8>);

impl Key<'_> {
    fn show(self, key: impl std::fmt::Display) -> Result<(), Unwritable> {
        use std::io::Write;
        write!(self.0, "{key}").map_err(ser::Error::custom)
    }
}

fn no_key<T>() -> Result<T, Unwritable> {
    Err(ser::Error::custom("a key is no text"))
}

/// Keys that are shown as they are.
macro_rules! shown_keys {
    ($($name:ident: $of:ty),* $(,)?) => {
        $(fn $name(self, key: $of) -> Result<(), Unwritable> {
            self.show(key)
        })*
    };
}

impl ser::Serializer for Key<'_> {
    type Ok = ();
    type Error = Unwritable;
    type SerializeSeq = Impossible<(), Unwritable>;
    type SerializeTuple = Impossible<(), Unwritable>;
    type SerializeTupleStruct = Impossible<(), Unwritable>;
    type SerializeTupleVariant = Impossible<(), Unwritable>;
    type SerializeMap = Impossible<(), Unwritable>;
    type SerializeStruct = Impossible<(), Unwritable>;
    type SerializeStructVariant = Impossible<(), Unwritable>;

    shown_keys! {
        serialize_bool: bool, serialize_i8: i8, serialize_i16: i16, serialize_i32: i32, serialize_i64: i64,
        serialize_i128: i128, serialize_u8: u8, serialize_u16: u16, serialize_u32: u32, serialize_u64: u64,
        serialize_u128: u128, serialize_char: char,
    }

    fn serialize_str(self, key: &str) -> Result<(), Unwritable> {
        self.0.extend_from_slice(key.as_bytes());
        Ok(())
    }

    fn serialize_unit_variant(self, _: &'static str, _: u32, variant: &'static str) -> Result<(), Unwritable> {
        self.serialize_str(variant)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, _: &'static str, key: &T) -> Result<(), Unwritable> {
        key.serialize(self)
    }

    fn collect_str<T: std::fmt::Display + ?Sized>(self, key: &T) -> Result<(), Unwritable> {
        self.show(key)
    }

    fn serialize_f32(self, _: f32) -> Result<(), Unwritable> {
        // tidy: allow(float) serde asks for it; it is refused
        no_key()
    }

    fn serialize_f64(self, _: f64) -> Result<(), Unwritable> {
        // tidy: allow(float) serde asks for it; it is refused
        no_key()
    }

    fn serialize_bytes(self, _: &[u8]) -> Result<(), Unwritable> {
        no_key()
    }

    fn serialize_none(self) -> Result<(), Unwritable> {
        no_key()
    }

    fn serialize_some<T: Serialize + ?Sized>(self, _: &T) -> Result<(), Unwritable> {
        no_key()
    }

    fn serialize_unit(self) -> Result<(), Unwritable> {
        no_key()
    }

    fn serialize_unit_struct(self, _: &'static str) -> Result<(), Unwritable> {
        no_key()
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: &T,
    ) -> Result<(), Unwritable> {
        no_key()
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<Self::SerializeSeq, Unwritable> {
        no_key()
    }

    fn serialize_tuple(self, _: usize) -> Result<Self::SerializeTuple, Unwritable> {
        no_key()
    }

    fn serialize_tuple_struct(self, _: &'static str, _: usize) -> Result<Self::SerializeTupleStruct, Unwritable> {
        no_key()
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeTupleVariant, Unwritable> {
        no_key()
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Self::SerializeMap, Unwritable> {
        no_key()
    }

    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Self::SerializeStruct, Unwritable> {
        no_key()
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeStructVariant, Unwritable> {
        no_key()
    }
}
