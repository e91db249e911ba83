//! What became of scenarios, for people and for the programs that collect tests' results.

use std::fmt::Write as _;

use super::Verdict;

/// A line for each scenario, what was otherwise than expected below it, and how many passed.
#[must_use]
pub fn text(verdicts: &[Verdict]) -> String {
    let mut text = String::new();
    for verdict in verdicts {
        let said = if verdict.passed() { "ok  " } else { "FAIL" };
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{said} {} ({})", verdict.name, verdict.place);
        for difference in &verdict.differences {
            for line in difference.to_string().lines() {
                let _ = writeln!(text, "       {line}");
            }
        }
    }
    let failed = verdicts.iter().filter(|verdict| !verdict.passed()).count();
    let _ = writeln!(text, "{} passed, {failed} failed", verdicts.len() - failed);
    text
}

/// The same as JUnit has it, which most build servers read.
#[must_use]
pub fn junit(verdicts: &[Verdict]) -> String {
    let failed = verdicts.iter().filter(|verdict| !verdict.passed()).count();
    let took: f64 = verdicts.iter().map(|verdict| verdict.took.as_secs_f64()).sum();
    let mut xml = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
         <testsuite name=\"lockgate plugin test\" tests=\"{}\" failures=\"{failed}\" errors=\"0\" time=\"{took:.3}\">\n",
        verdicts.len()
    );
    for verdict in verdicts {
        let file = verdict.place.split(':').next().unwrap_or_default();
        let _ = write!(
            xml,
            "  <testcase classname=\"{}\" name=\"{}\" time=\"{:.3}\"",
            escaped(file),
            escaped(&verdict.name),
            verdict.took.as_secs_f64()
        );
        if verdict.passed() {
            xml.push_str("/>\n");
            continue;
        }
        let all = verdict.differences.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
        let first = verdict.differences.first().map(|difference| difference.what.clone()).unwrap_or_default();
        let _ = write!(
            xml,
            ">\n    <failure message=\"{}\">{}</failure>\n  </testcase>\n",
            escaped(&format!("{first} is otherwise than expected ({})", verdict.place)),
            escaped(&all)
        );
    }
    xml.push_str("</testsuite>\n");
    xml
}

/// Text in XML 1.0, which has no way to write most control characters.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\n' | '\t' => escaped.push(letter),
            letter if letter.is_control() => escaped.push('\u{fffd}'),
            letter => escaped.push(letter),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::Difference;
    use super::*;

    #[test]
    fn reports_are_readable_by_people_and_machines() {
        let difference =
            Difference { what: "response.status".into(), expected: "308".into(), found: "<\u{1}&\"".into() };
        let verdict = |name: &str, differences| Verdict {
            place: "a.scenario.toml:1:1".into(),
            name: name.into(),
            differences,
            took: Duration::from_millis(2),
        };
        let verdicts = [verdict("passes", vec![]), verdict("fails", vec![difference])];
        assert_eq!(
            text(&verdicts),
            "ok   passes (a.scenario.toml:1:1)\nFAIL fails (a.scenario.toml:1:1)\n       response.status\n         - 308\n\
             \u{20}        + <\u{1}&\"\n1 passed, 1 failed\n"
        );
        assert_eq!(
            junit(&verdicts),
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
             <testsuite name=\"lockgate plugin test\" tests=\"2\" failures=\"1\" errors=\"0\" time=\"0.004\">\n\
             \u{20} <testcase classname=\"a.scenario.toml\" name=\"passes\" time=\"0.002\"/>\n\
             \u{20} <testcase classname=\"a.scenario.toml\" name=\"fails\" time=\"0.002\">\n\
             \u{20}   <failure message=\"response.status is otherwise than expected (a.scenario.toml:1:1)\">response.status\n\
             \u{20} - 308\n  + &lt;\u{fffd}&amp;&quot;</failure>\n  </testcase>\n</testsuite>\n"
        );
    }
}
