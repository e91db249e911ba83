//! Any value as JSON, for plugins, and where each part of it stands.

use serde_json::Value as Json;
use toml::de::DeValue;

use super::super::Places;
use super::{Table, Value};

impl Table<'_, '_> {
    /// The whole of it, as JSON, with the places of its parts.
    pub(crate) fn into_json(self) -> Option<(Json, Places)> {
        Value { at: self.at, value: DeValue::Table(self.entries), problems: self.problems }.json()
    }
}

impl Value<'_, '_> {
    /// Anything, as JSON, with the places of its parts.
    pub(crate) fn json(self) -> Option<(Json, Places)> {
        let mut places = Places::default();
        places.note("", None, &self.at);
        let json = self.json_at("", &mut places)?;
        Some((json, places))
    }

    /// What stands at `pointer` within the whole.
    fn json_at(self, pointer: &str, places: &mut Places) -> Option<Json> {
        match self.value {
            DeValue::String(text) => Some(Json::String(text.into_owned())),
            DeValue::Boolean(value) => Some(Json::Bool(value)),
            DeValue::Datetime(time) => Some(Json::String(time.to_string())),
            DeValue::Integer(_) => self.integer(i64::MIN..=i64::MAX).map(Json::from),
            DeValue::Float(ref digits) => {
                let number = digits.as_str().parse().ok().and_then(serde_json::Number::from_f64);
                match number {
                    Some(number) => Some(Json::Number(number)),
                    None => self.wrong(format!("{digits} cannot be given to a plugin, which gets its config as JSON")),
                }
            }
            // Each is read before one that is wrong ends it, so that all that are wrong are reported.
            DeValue::Array(_) => {
                let elements = self.array()?.into_iter().enumerate().map(|(index, value)| {
                    let pointer = format!("{pointer}/{index}");
                    places.note(&pointer, None, &value.at);
                    value.json_at(&pointer, places)
                });
                let elements: Vec<_> = elements.collect();
                elements.into_iter().collect::<Option<_>>().map(Json::Array)
            }
            DeValue::Table(_) => {
                let entries = self.table()?.into_entries().map(|(key, value)| {
                    let pointer = Places::child(pointer, &key.value);
                    places.note(&pointer, Some(&key.at), &value.at);
                    Some((key.value, value.json_at(&pointer, places)?))
                });
                let entries: Vec<_> = entries.collect();
                entries.into_iter().collect::<Option<_>>().map(Json::Object)
            }
        }
    }
}
