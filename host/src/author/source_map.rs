//! Where the lines of a bundle come from: read from the source map that esbuild writes, and said in few words, for the bundle
//! to carry with it.

use serde::Deserialize;
use serde_json::json;

/// A source map, as far as it matters here (ECMA-426).
#[derive(Deserialize)]
struct SourceMap {
    sources: Vec<String>,
    mappings: String,
}

/// What the SDK's `sources.js` reads, as JSON: files as `shown` has them, relative to the map, and of each run of lines that stand
/// together the first line of the bundle, the file, and the first line there. Those that are not shown are file -1.
///
/// # Errors
/// Why it is no source map.
pub(super) fn lines(map: &str, shown: impl Fn(&str) -> Option<String>) -> Result<String, String> {
    let map: SourceMap = serde_json::from_str(map).map_err(|error| error.to_string())?;
    let mut files = Vec::new();
    let places = map.sources.iter().map(|source| {
        shown(source).map_or(-1, |name| {
            files.push(name);
            i64::try_from(files.len()).unwrap_or(i64::MAX) - 1
        })
    });
    let places: Vec<i64> = places.collect();
    let mut runs: Vec<[i64; 3]> = Vec::new();
    let (mut file, mut line) = (0, 0);
    for (bundled, segments) in (1..).zip(map.mappings.split(';')) {
        let mut first = None;
        for segment in segments.split(',').filter(|segment| !segment.is_empty()) {
            let fields = fields(segment).ok_or("it has other characters than it may")?;
            // One that has a column only is of no file.
            if let [_, more_files, more_lines, ..] = fields[..] {
                file += more_files;
                line += more_lines;
                first.get_or_insert((file, line + 1));
            }
        }
        let Some((file, line)) = first else { continue };
        let place = usize::try_from(file).ok().and_then(|file| places.get(file)).copied();
        let place = place.ok_or("it has more files than it names")?;
        let goes_on =
            runs.last().is_some_and(|[from, known, at]| *known == place && (place < 0 || line - at == bundled - from));
        if !goes_on {
            runs.push([bundled, place, if place < 0 { 0 } else { line }]);
        }
    }
    Ok(json!({ "files": files, "runs": runs }).to_string())
}

/// Numbers in Base64, six bits at a time: the last bit is the sign, the first says that more bits follow.
fn fields(segment: &str) -> Option<Vec<i64>> {
    const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut fields = Vec::new();
    let (mut number, mut shift) = (0_i64, 0_u32);
    for byte in segment.bytes() {
        let digit = i64::try_from(DIGITS.iter().position(|digit| *digit == byte)?).ok()?;
        // No file has so many lines.
        if shift > 40 {
            return None;
        }
        number |= (digit & 31) << shift;
        shift += 5;
        if digit & 32 == 0 {
            fields.push(if number & 1 == 1 { -(number >> 1) } else { number >> 1 });
            (number, shift) = (0, 0);
        }
    }
    (shift == 0).then_some(fields)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn lines_that_stand_together_are_one_run() {
        // Line 1 is of no file, 2 and 3 are lines 5 and 6 of the first, 4 is line 1 of the second, 5 has none, 6 line 3.
        let map = r#"{"sources":["a.ts","b.js"],"mappings":";AAIA,EAAE;AACA;ACLA;;AAEA"}"#;
        let all = |name: &str| Some(format!("src/{name}"));
        assert_eq!(lines(map, all).unwrap(), r#"{"files":["src/a.ts","src/b.js"],"runs":[[2,0,5],[4,1,1]]}"#);
        let one = |name: &str| (name == "b.js").then(|| name.to_owned());
        assert_eq!(lines(map, one).unwrap(), r#"{"files":["b.js"],"runs":[[2,-1,0],[4,0,1]]}"#);
        assert_eq!(fields("AAgBC"), Some(vec![0, 0, 16, 1]));
        assert_eq!(fields("D"), Some(vec![-1]));
    }

    #[test]
    fn what_is_no_map_is_refused() {
        for map in [
            "{}",
            r#"{"sources":[],"mappings":"A!"}"#,
            r#"{"sources":[],"mappings":"AAAA"}"#,
            r#"{"sources":[],"mappings":"g"}"#,
            r#"{"sources":[],"mappings":"ggggggggggggggA"}"#,
        ] {
            assert!(lines(map, |_| None).is_err(), "{map}");
        }
    }
}
