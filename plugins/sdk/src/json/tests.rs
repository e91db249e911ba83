#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use super::*;

#[derive(Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct All {
    text: String,
    small: u8,
    negative: Option<i32>,
    fraction: Option<f64>,
    #[serde(default)]
    flag: bool,
    #[serde(default)]
    list: Vec<Choice>,
    pair: Option<(u16, String)>,
    #[serde(default)]
    table: BTreeMap<String, Self>,
}

#[derive(Debug, PartialEq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Choice {
    Plain,
    Value(u8),
    Both(u8, u8),
    Table { a: Option<char> },
}

const RIGHT: [&str; 6] = [
    r#"{"text": "", "small": 0}"#,
    r#" { "small" : 255 , "text":"a\"\\\/\b\f\n\r\t\u00e9\ud83d\ude00é" , "negative":-5,"fraction":1 } "#,
    r#"{"text":"x","small":1,"negative":null,"fraction":-2.5e3,"flag":true,"pair":[7,"b"]}"#,
    r#"{"text":"x","small":1,"list":["plain",{"value":3},{"both":[1,2]},{"table":{"a":"z"}},{"table":{}}]}"#,
    r#"{"text":"x","small":1,"list":[],"table":{"a":{"text":"y","small":2,"table":{}}}}"#,
    "{\"text\":\"x\",\"small\":1,\n\t\"flag\":false}",
];

#[test]
fn what_another_parser_reads_is_read_alike() {
    for json in RIGHT {
        assert_eq!(read::<All>(json).unwrap(), serde_json::from_str(json).unwrap(), "{json}");
        assert_eq!(read::<Value>(json).unwrap(), serde_json::from_str::<Value>(json).unwrap(), "{json}");
    }
}

#[test]
fn what_is_cut_short_or_too_long_is_refused() {
    for json in RIGHT {
        for end in 0..json.trim_end().len() {
            if let Some(cut) = json.get(..end) {
                assert!(read::<All>(cut).is_err(), "{cut}");
                assert!(read::<Value>(cut).is_err(), "{cut}");
            }
        }
        assert_eq!(read::<All>(&(json.to_owned() + ",")).unwrap_err(), MALFORMED);
    }
}

#[test]
fn errors_name_the_key() {
    for (json, error) in [
        (r#"{"text": 1, "small": 1}"#, "text: found a number, expected a string"),
        (r#"{"text": "", "small": "1"}"#, "small: found a string, expected u8"),
        (r#"{"text": "", "small": 256}"#, "small: 256 is out of range, expected u8"),
        (r#"{"text": "", "small": -1}"#, "small: -1 is out of range, expected u8"),
        (r#"{"text": "", "small": 1.5}"#, "small: 1.5 is not a whole number, or too large, expected u8"),
        (r#"{"text": "", "small": 1, "fraction": []}"#, "fraction: found a list, expected f64"),
        (r#"{"text": "", "small": 1, "flag": {}}"#, "flag: found a table, expected a boolean"),
        (r#"{"text": "", "small": 1, "list": true}"#, "list: found a boolean, expected a sequence"),
        (r#"{"text": "", "small": 1, "list": ["plain", 5]}"#, "list[1]: found a number, expected enum Choice"),
        (r#"{"text": "", "small": 1, "pair": [1, "b", 2]}"#, "pair: the list is too long"),
        (
            r#"{"text": "", "small": 1, "table": {"a": {"text": "", "small": null}}}"#,
            "table.a.small: found nothing, expected u8",
        ),
        (r#"{"text": "", "small": 1, "table": {"a": {"text": ""}}}"#, "table.a: missing field `small`"),
        (r#"{"text": "", "text": ""}"#, "duplicate field `text`"),
        ("[]", "found a list, expected struct All"),
    ] {
        assert_eq!(read::<All>(json).unwrap_err(), error);
    }
    let unknown = read::<All>(r#"{"test": ""}"#).unwrap_err();
    assert!(unknown.starts_with("unknown field `test`, expected one of `text`, `small`"), "{unknown}");
}
