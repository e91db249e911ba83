//! A plugin's JSON Schema for its configuration: found in the component, and held against what the configuration says.

use jsonschema::error::{TypeKind, ValidationErrorKind};
use jsonschema::{JsonType, PatternOptions, ValidationError, Validator};
use serde_json::Value;
use wasmparser::{Parser, Payload};

use crate::config::{Places, nearest};

/// What a plugin allows in its configuration.
pub(super) struct Schema {
    text: Value,
    validator: Validator,
}

/// Something that a plugin's schema does not allow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Objection {
    /// What it is about: a JSON pointer (RFC 6901) into the configuration.
    pub pointer: String,
    /// Whether it is about the key, not the value.
    pub about_key: bool,
    /// What is wrong, in lower case.
    pub sentence: String,
    /// What to write instead.
    pub hint: Option<String>,
}

impl Schema {
    /// The schema that a component carries, if it does. The error is what is wrong with it, to be put after its name.
    pub(super) fn of(component: &[u8]) -> Result<Option<Self>, String> {
        let Some(section) = find(component) else { return Ok(None) };
        let wrong = |why: String| format!("carries a schema for its configuration that {why}");
        if section.len() > LARGEST {
            return Err(wrong(format!("is larger than {} KiB", LARGEST >> 10)));
        }
        let text: Value = serde_json::from_slice(section).map_err(|error| wrong(format!("is not JSON: {error}")))?;
        // A pattern is matched in linear time, and nothing is fetched: whoever wrote it need not be trusted.
        let patterns = PatternOptions::regex().size_limit(PATTERN_SIZE);
        let validator = jsonschema::options().offline().with_pattern_options(patterns).build(&text);
        let validator = validator.map_err(|error| wrong(format!("is not a JSON Schema: {error}")))?;
        Ok(Some(Self { text, validator }))
    }

    /// All that it does not allow in that configuration.
    pub(super) fn objections(&self, config: &Value) -> Vec<Objection> {
        let mut all: Vec<_> = self.validator.iter_errors(config).flat_map(|error| self.object(&error)).collect();
        // Several parts of a schema may say the same.
        all.dedup();
        all
    }

    fn object(&self, error: &ValidationError<'_>) -> Vec<Objection> {
        let pointer = error.instance_path().as_str().to_owned();
        let (sentence, hint) = match error.kind() {
            ValidationErrorKind::AdditionalProperties { unexpected }
            | ValidationErrorKind::UnevaluatedProperties { unexpected } => {
                let known = self.known_keys(error.schema_path().as_str());
                return unexpected.iter().map(|key| unknown_key(&pointer, key, &known)).collect();
            }
            ValidationErrorKind::Required { property } => {
                (format!("`{}` is missing", property.as_str().unwrap_or_default()), None)
            }
            ValidationErrorKind::Type { kind } => (unexpected_kind(kind, error.instance()), None),
            ValidationErrorKind::Enum { options } => unknown_word(error.instance(), options),
            ValidationErrorKind::Minimum { limit } => (format!("{} is less than {limit}", error.instance()), None),
            ValidationErrorKind::Maximum { limit } => (format!("{} is more than {limit}", error.instance()), None),
            ValidationErrorKind::MinItems { limit } => (format!("it has fewer than {limit} elements"), None),
            ValidationErrorKind::MaxItems { limit } => (format!("it has more than {limit} elements"), None),
            ValidationErrorKind::MinLength { limit } => (format!("it has fewer than {limit} characters"), None),
            ValidationErrorKind::MaxLength { limit } => (format!("it has more than {limit} characters"), None),
            ValidationErrorKind::Pattern { pattern } => (format!("it does not match {pattern:?}"), None),
            // What is configured may be a secret, and what is said here goes into the log.
            _ => (error.masked_with("it").to_string(), None),
        };
        let hint = hint.or_else(|| self.explanation(error).map(str::to_owned));
        vec![Objection { pointer, about_key: false, sentence, hint }]
    }

    /// What the plugin's author says of a rule that does not speak for itself: a pattern, or one that holds on a condition.
    fn explanation(&self, error: &ValidationError<'_>) -> Option<&str> {
        let path = error.schema_path().as_str();
        let conditional = path.contains("/then/") || path.contains("/else/");
        if !conditional && !matches!(error.kind(), ValidationErrorKind::Pattern { .. }) {
            return None;
        }
        let (part, _keyword) = path.rsplit_once('/')?;
        self.text.pointer(part)?.get("description")?.as_str()
    }

    /// The keys that the part of the schema names which the keyword at `path` belongs to.
    fn known_keys(&self, path: &str) -> Vec<&str> {
        let parent = path.rfind('/').map_or("", |slash| &path[..slash]);
        let named = self.text.pointer(&format!("{parent}/properties")).and_then(Value::as_object);
        named.map(|named| named.keys().map(String::as_str).collect()).unwrap_or_default()
    }
}

/// The section of that name: the component's own before that of a module in it.
fn find(component: &[u8]) -> Option<&[u8]> {
    let mut depth = 0_u32;
    let mut within = None;
    for payload in Parser::new(0).parse_all(component) {
        match payload {
            Ok(Payload::ModuleSection { .. } | Payload::ComponentSection { .. }) => depth += 1,
            Ok(Payload::End(_)) => depth = depth.saturating_sub(1),
            Ok(Payload::CustomSection(section)) if section.name() == SECTION => {
                if depth == 0 {
                    return Some(section.data());
                }
                within = within.or(Some(section.data()));
            }
            Ok(_) => {}
            // Whoever compiles it will say what is wrong.
            Err(_) => break,
        }
    }
    within
}

fn unknown_key(parent: &str, key: &str, known: &[&str]) -> Objection {
    let hint = match nearest(key, known.iter().copied()) {
        Some(near) => Some(format!("did you mean `{near}`?")),
        None if known.is_empty() => None,
        None => Some(format!("the keys here are `{}`", known.join("`, `"))),
    };
    let pointer = Places::child(parent, key);
    Objection { pointer, about_key: true, sentence: format!("unknown key {key:?}"), hint }
}

fn unknown_word(found: &Value, options: &Value) -> (String, Option<String>) {
    let options = options.as_array().map(Vec::as_slice).unwrap_or_default();
    let shown: Vec<_> = options.iter().map(Value::to_string).collect();
    let words = options.iter().filter_map(Value::as_str);
    let near = found.as_str().and_then(|found| nearest(found, words));
    (format!("{found} is not one of {}", shown.join(", ")), near.map(|near| format!("did you mean {near:?}?")))
}

fn unexpected_kind(expected: &TypeKind, found: &Value) -> String {
    let expected = match expected {
        TypeKind::Single(kind) => name(*kind).to_owned(),
        TypeKind::Multiple(kinds) => kinds.iter().map(name).collect::<Vec<_>>().join(" or "),
    };
    let found = match found {
        Value::Null => "nothing",
        Value::Bool(_) => "a truth value",
        Value::Number(number) if number.is_f64() => "a number with a fraction",
        Value::Number(_) => "a whole number",
        Value::String(_) => "a text",
        Value::Array(_) => "an array",
        Value::Object(_) => "a table",
    };
    format!("expected {expected}, found {found}")
}

/// What the configuration file calls it.
fn name(kind: JsonType) -> &'static str {
    match kind {
        JsonType::Null => "nothing",
        JsonType::Boolean => "`true` or `false`",
        JsonType::Integer => "a whole number",
        JsonType::Number => "a number",
        JsonType::String => "a text",
        JsonType::Array => "an array",
        JsonType::Object => "a table",
    }
}

/// The name of the custom section, in the component or in a module of it.
const SECTION: &str = "lockgate:config-schema";

/// Bytes of a schema.
const LARGEST: usize = 64 << 10;

/// Bytes that a pattern may come to when it is compiled.
const PATTERN_SIZE: usize = 1 << 20;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

    use serde_json::json;

    use super::*;

    fn section(name: &str, data: &[u8]) -> Vec<u8> {
        let mut contents = leb(name.len());
        contents.extend(name.as_bytes());
        contents.extend(data);
        [vec![0], leb(contents.len()), contents].concat()
    }

    fn leb(mut number: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        loop {
            let low = (number & 0x7f) as u8;
            number >>= 7;
            bytes.push(low | if number == 0 { 0 } else { 0x80 });
            if number == 0 {
                return bytes;
            }
        }
    }

    fn component(sections: &[Vec<u8>]) -> Vec<u8> {
        [b"\0asm\x0d\0\x01\0".to_vec(), sections.concat()].concat()
    }

    fn module(sections: &[Vec<u8>]) -> Vec<u8> {
        let module = [b"\0asm\x01\0\0\0".to_vec(), sections.concat()].concat();
        [vec![1], leb(module.len()), module].concat()
    }

    fn schema(text: &Value) -> Result<Option<Schema>, String> {
        Schema::of(&component(&[section(SECTION, text.to_string().as_bytes())]))
    }

    #[test]
    fn it_is_found_in_the_component_or_else_in_a_module() {
        let other = section("name", b"x");
        assert_eq!(find(&component(std::slice::from_ref(&other))), None);
        let inner = module(&[other, section(SECTION, b"inner")]);
        assert_eq!(find(&component(std::slice::from_ref(&inner))), Some(&b"inner"[..]));
        assert_eq!(find(&component(&[inner, section(SECTION, b"outer")])), Some(&b"outer"[..]));
        assert_eq!(find(b"\0asm\x0d\0\x01\0\xff\xff"), None);
        assert_eq!(find(b"not wasm"), None);
    }

    #[test]
    fn each_objection_says_where_and_what() {
        let text = json!({
            "type": "object", "additionalProperties": false, "required": ["hosts", "rate"],
            "properties": {
                "hosts": { "type": "array", "items": { "type": "string", "pattern": "^[a-z]+$" }, "minItems": 1 },
                "rate": { "type": "integer", "minimum": 1, "maximum": 9 },
                "level": { "enum": ["low", "high"] },
                "token": { "type": "string", "not": { "const": "hunter2" } },
            },
        });
        let schema = schema(&text).unwrap().unwrap();
        assert_eq!(schema.objections(&json!({ "hosts": ["a"], "rate": 3, "level": "low" })), []);
        let config = json!({ "hosts": ["a", "B", 3], "level": "hgih", "rat": 1, "token": "hunter2" });
        let mut told: Vec<_> = schema
            .objections(&config)
            .into_iter()
            .map(|it| {
                format!(
                    "{}{} {} ({})",
                    it.pointer,
                    if it.about_key { "!" } else { "" },
                    it.sentence,
                    it.hint.unwrap_or_default()
                )
            })
            .collect();
        told.sort();
        assert_eq!(
            told,
            [
                " `rate` is missing ()",
                "/hosts/1 it does not match \"^[a-z]+$\" ()",
                "/hosts/2 expected a text, found a whole number ()",
                "/level \"hgih\" is not one of \"low\", \"high\" (did you mean \"high\"?)",
                "/rat! unknown key \"rat\" (did you mean `rate`?)",
                "/token {\"const\":\"hunter2\"} is not allowed for it ()",
            ]
        );
        let rates = [json!(0), json!(10), json!(1.5), json!(null)];
        let told = rates.map(|rate| schema.objections(&json!({ "hosts": [], "rate": rate }))[1].sentence.clone());
        assert_eq!(
            told,
            [
                "0 is less than 1",
                "10 is more than 9",
                "expected a whole number, found a number with a fraction",
                "expected a whole number, found nothing"
            ]
        );
    }

    #[test]
    fn what_is_no_schema_is_refused() {
        for (text, words) in [
            (json!({ "type": "strin" }), "is not a JSON Schema"),
            (json!({ "$ref": "http://127.0.0.1:1/schema" }), "is not a JSON Schema"),
            (json!({ "pattern": "(a{1000}){1000}" }), "is not a JSON Schema"),
            (json!({ "title": "x".repeat(LARGEST) }), "larger than 64 KiB"),
        ] {
            let error = schema(&text).err().unwrap();
            assert!(error.contains(words), "{error}");
        }
        let error = Schema::of(&component(&[section(SECTION, b"{")])).err().unwrap();
        assert!(error.contains("is not JSON"), "{error}");
    }

    /// Whoever wrote the schema need not be trusted, and it is held against the configuration of a process that serves: were
    /// its stack to overflow, all would be over.
    #[test]
    fn a_schema_that_refers_to_itself_comes_to_an_end() {
        for text in [
            json!({ "$ref": "#" }),
            json!({ "allOf": [{ "$ref": "#" }] }),
            json!({ "$ref": "#/$defs/a", "$defs": { "a": { "$ref": "#/$defs/b" }, "b": { "$ref": "#/$defs/a" } } }),
            json!({ "not": { "$ref": "#" } }),
            json!({ "$dynamicRef": "#x", "$dynamicAnchor": "x" }),
        ] {
            let objections =
                schema(&text).map(|schema| schema.unwrap().objections(&json!({ "a": { "b": [1] } })).len());
            assert!(
                objections.as_ref().is_ok_and(|count| *count <= 1) || objections.is_err(),
                "{text}: {objections:?}"
            );
        }
    }
}
