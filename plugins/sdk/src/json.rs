//! Configurations from JSON. Smaller than a parser for all purposes, by the half of a plugin: it formats no numbers with
//! fractions, counts no lines, and names the key that is wrong.

use std::fmt::{self, Display};

use serde::de::value::StringDeserializer;
use serde::de::{
    self, DeserializeOwned, DeserializeSeed, Deserializer, EnumAccess, Expected, IntoDeserializer as _, MapAccess,
    SeqAccess, Unexpected, VariantAccess, Visitor,
};

/// Reads a value.
///
/// # Errors
/// A sentence that begins with the key that it is about: `hsts.max_age: found a string, expected u64`.
pub(crate) fn read<T: DeserializeOwned>(text: &str) -> Result<T, String> {
    let mut json = Json { rest: text };
    let value = T::deserialize(&mut json).map_err(
        |Error { key, text }| {
            if key.is_empty() { text } else { key + ": " + &text }
        },
    )?;
    if json.peek().is_some() { Err(MALFORMED.to_owned()) } else { Ok(value) }
}

/// The text from where reading has got to.
struct Json<'a> {
    rest: &'a str,
}

/// What is wrong, and where.
#[derive(Debug)]
struct Error {
    /// `hsts.max_age`, `trust[1]`, or nothing for the whole.
    key: String,
    text: String,
}

/// The host writes JSON, so this is not for operators to see.
const MALFORMED: &str = "malformed JSON";

impl Error {
    fn new(text: impl Into<String>) -> Self {
        Self { key: String::new(), text: text.into() }
    }

    /// The same, from within `key`.
    fn within(mut self, key: &str) -> Self {
        if !self.key.is_empty() && !self.key.starts_with('[') {
            self.key.insert(0, '.');
        }
        self.key.insert_str(0, key);
        self
    }
}

impl Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for Error {}

impl de::Error for Error {
    fn custom<T: Display>(text: T) -> Self {
        Self::new(text.to_string())
    }

    fn invalid_type(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::new(format!("found {}, expected {expected}", name(found)))
    }

    fn invalid_value(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        match found {
            Unexpected::Unsigned(number) => Self::new(format!("{number} is out of range, expected {expected}")),
            Unexpected::Signed(number) => Self::new(format!("{number} is out of range, expected {expected}")),
            Unexpected::Str(text) => Self::new(format!("found \"{text}\", expected {expected}")),
            other => Self::invalid_type(other, expected),
        }
    }
}

fn name(found: Unexpected<'_>) -> &'static str {
    match found {
        Unexpected::Bool(_) => "a boolean",
        Unexpected::Unsigned(_) | Unexpected::Signed(_) | Unexpected::Float(_) => "a number",
        Unexpected::Str(_) | Unexpected::Char(_) => "a string",
        Unexpected::Seq => "a list",
        Unexpected::Map => "a table",
        _ => "nothing",
    }
}

impl Json<'_> {
    /// The next byte that is not white space.
    fn peek(&mut self) -> Option<u8> {
        self.rest = self.rest.trim_ascii_start();
        self.rest.bytes().next()
    }

    /// Reads past `token` if it comes next.
    fn take(&mut self, token: &str) -> bool {
        self.peek();
        match self.rest.strip_prefix(token) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn expect(&mut self, token: &str) -> Result<(), Error> {
        if self.take(token) { Ok(()) } else { Err(Error::new(MALFORMED)) }
    }

    /// Whether a list or table goes on; reads the comma before what is not its first element.
    fn goes_on(&mut self, first: bool, end: &str) -> Result<bool, Error> {
        if self.take(end) {
            return Ok(false);
        }
        if !first {
            self.expect(",")?;
        }
        Ok(true)
    }

    fn number(&mut self) -> &str {
        self.peek();
        let in_number = |byte: u8| byte.is_ascii_digit() || b"+-.eE".contains(&byte);
        let len = self.rest.bytes().position(|byte| !in_number(byte)).unwrap_or(self.rest.len());
        let (number, rest) = self.rest.split_at(len);
        self.rest = rest;
        number
    }

    fn string(&mut self) -> Result<String, Error> {
        self.expect("\"")?;
        let mut string = String::new();
        loop {
            let plain = self.rest.find(['"', '\\']).ok_or_else(|| Error::new(MALFORMED))?;
            string += &self.rest[..plain];
            let escaped = self.rest.as_bytes()[plain] == b'\\';
            self.rest = &self.rest[plain + 1..];
            if !escaped {
                return Ok(string);
            }
            string.push(self.escape().ok_or_else(|| Error::new(MALFORMED))?);
        }
    }

    /// What stands after a backslash.
    fn escape(&mut self) -> Option<char> {
        let mut chars = self.rest.chars();
        let char = chars.next()?;
        self.rest = chars.as_str();
        Some(match char {
            'b' => '\u{8}',
            'f' => '\u{c}',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'u' => {
                let mut units = [self.unit()?, 0];
                if (0xd800..0xdc00).contains(&units[0]) {
                    self.rest = self.rest.strip_prefix("\\u")?;
                    units[1] = self.unit()?;
                }
                char::decode_utf16(units).next()?.ok()?
            }
            other => other,
        })
    }

    /// Four hexadecimal digits.
    fn unit(&mut self) -> Option<u16> {
        let (digits, rest) = self.rest.split_at_checked(4)?;
        self.rest = rest;
        u16::from_str_radix(digits, 16).ok()
    }

    /// What comes next is not what the visitor wants.
    fn other_than(&mut self, expected: &dyn Expected) -> Error {
        de::Error::invalid_type(
            match self.peek() {
                Some(b'"') => Unexpected::Str(""),
                Some(b'{') => Unexpected::Map,
                Some(b'[') => Unexpected::Seq,
                Some(b't' | b'f') => Unexpected::Bool(true),
                Some(b'-' | b'0'..=b'9') => Unexpected::Unsigned(0),
                _ => Unexpected::Unit,
            },
            expected,
        )
    }
}

/// A reader for each kind of value. What no configuration of a plugin asks for is left out of the plugin.
impl Json<'_> {
    fn any<'de, V: Visitor<'de>>(&mut self, visitor: V) -> Result<V::Value, Error> {
        match self.peek() {
            Some(b'"') => self.text(visitor),
            Some(b'{') => self.table(visitor),
            Some(b'[') => self.list(visitor),
            Some(b't' | b'f') => self.boolean(visitor),
            Some(b'n') => self.nothing(visitor),
            _ if number_is_whole(self.rest) => self.whole(visitor),
            _ => self.float(visitor),
        }
    }

    fn nothing<'de, V: Visitor<'de>>(&mut self, visitor: V) -> Result<V::Value, Error> {
        if self.take("null") { visitor.visit_unit() } else { Err(self.other_than(&visitor)) }
    }

    fn boolean<'de, V: Visitor<'de>>(&mut self, visitor: V) -> Result<V::Value, Error> {
        match () {
            () if self.take("true") => visitor.visit_bool(true),
            () if self.take("false") => visitor.visit_bool(false),
            () => Err(self.other_than(&visitor)),
        }
    }

    fn whole<'de, V: Visitor<'de>>(&mut self, visitor: V) -> Result<V::Value, Error> {
        let other = self.other_than(&visitor);
        let number = self.number();
        match (number.parse(), number.parse()) {
            (Ok(number), _) => visitor.visit_u64(number),
            (_, Ok(number)) => visitor.visit_i64(number),
            _ if number.is_empty() => Err(other),
            _ => Err(Error::new(format!(
                "{number} is not a whole number, or too large, expected {}",
                &visitor as &dyn Expected
            ))),
        }
    }

    fn float<'de, V: Visitor<'de>>(&mut self, visitor: V) -> Result<V::Value, Error> {
        let other = self.other_than(&visitor);
        self.number().parse().map_or(Err(other), |number| visitor.visit_f64(number))
    }

    fn text<'de, V: Visitor<'de>>(&mut self, visitor: V) -> Result<V::Value, Error> {
        if self.peek() == Some(b'"') { visitor.visit_string(self.string()?) } else { Err(self.other_than(&visitor)) }
    }

    fn list<'de, V: Visitor<'de>>(&mut self, visitor: V) -> Result<V::Value, Error> {
        if !self.take("[") {
            return Err(self.other_than(&visitor));
        }
        let mut elements = Elements { json: self, read: 0, ended: false };
        let value = visitor.visit_seq(&mut elements)?;
        // A tuple stops when it has what it wants.
        if elements.ended || self.take("]") { Ok(value) } else { Err(Error::new("the list is too long")) }
    }

    fn table<'de, V: Visitor<'de>>(&mut self, visitor: V) -> Result<V::Value, Error> {
        if !self.take("{") {
            return Err(self.other_than(&visitor));
        }
        visitor.visit_map(Entries { json: self, first: true, key: String::new() })
    }
}

/// Whether the number that comes next, if there is one, has neither fraction nor exponent.
fn number_is_whole(text: &str) -> bool {
    !text.bytes().take_while(|byte| !b",]}".contains(byte)).any(|byte| b".eE".contains(&byte))
}

/// Maps functions of the trait to readers.
macro_rules! read {
    ($($function:ident => $reader:ident,)+) => {
        $(fn $function<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
            self.$reader(visitor)
        })+
    };
}

impl<'de> Deserializer<'de> for &mut Json<'_> {
    type Error = Error;

    read! {
        deserialize_any => any,
        deserialize_ignored_any => any,
        deserialize_unit => nothing,
        deserialize_bool => boolean,
        deserialize_i8 => whole,
        deserialize_i16 => whole,
        deserialize_i32 => whole,
        deserialize_i64 => whole,
        deserialize_u8 => whole,
        deserialize_u16 => whole,
        deserialize_u32 => whole,
        deserialize_u64 => whole,
        deserialize_f32 => float,
        deserialize_f64 => float,
        deserialize_char => text,
        deserialize_str => text,
        deserialize_string => text,
        deserialize_identifier => text,
        deserialize_bytes => list,
        deserialize_byte_buf => list,
        deserialize_seq => list,
        deserialize_map => table,
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        if self.take("null") { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Error> {
        self.nothing(visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, Error> {
        self.list(visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: usize,
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.list(visitor)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.table(visitor)
    }

    /// `"variant"` or `{"variant": value}`.
    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        match self.peek() {
            Some(b'"') => visitor.visit_enum(self.string()?.into_deserializer()),
            Some(b'{') => {
                self.expect("{")?;
                let value = visitor.visit_enum(Variant { json: self })?;
                self.expect("}")?;
                Ok(value)
            }
            _ => Err(self.other_than(&visitor)),
        }
    }
}

struct Elements<'a, 'b> {
    json: &'a mut Json<'b>,
    read: usize,
    ended: bool,
}

impl<'de> SeqAccess<'de> for &mut Elements<'_, '_> {
    type Error = Error;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Error> {
        if !self.json.goes_on(self.read == 0, "]")? {
            self.ended = true;
            return Ok(None);
        }
        self.read += 1;
        seed.deserialize(&mut *self.json).map(Some).map_err(|error| error.within(&format!("[{}]", self.read - 1)))
    }
}

struct Entries<'a, 'b> {
    json: &'a mut Json<'b>,
    first: bool,
    key: String,
}

impl<'de> MapAccess<'de> for Entries<'_, '_> {
    type Error = Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Error> {
        if !self.json.goes_on(std::mem::take(&mut self.first), "}")? {
            return Ok(None);
        }
        self.json.peek();
        self.key = self.json.string()?;
        let key: StringDeserializer<Error> = self.key.clone().into_deserializer();
        seed.deserialize(key).map(Some)
    }

    fn next_value_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<T::Value, Error> {
        self.json.expect(":")?;
        seed.deserialize(&mut *self.json).map_err(|error| error.within(&self.key))
    }
}

/// A variant that has a value.
struct Variant<'a, 'b> {
    json: &'a mut Json<'b>,
}

impl<'de> EnumAccess<'de> for Variant<'_, '_> {
    type Error = Error;
    type Variant = Self;

    fn variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<(T::Value, Self), Error> {
        let variant = seed.deserialize(&mut *self.json)?;
        self.json.expect(":")?;
        Ok((variant, self))
    }
}

impl<'de> VariantAccess<'de> for Variant<'_, '_> {
    type Error = Error;

    fn unit_variant(self) -> Result<(), Error> {
        de::Deserialize::deserialize(self.json)
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, Error> {
        seed.deserialize(self.json)
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, Error> {
        self.json.list(visitor)
    }

    fn struct_variant<V: Visitor<'de>>(self, _: &'static [&'static str], visitor: V) -> Result<V::Value, Error> {
        self.json.table(visitor)
    }
}

#[cfg(test)]
mod tests;
