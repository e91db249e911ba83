//! A response's head on its way through the plugins' `on-response`.

use bytes::Bytes;
use http::StatusCode;
use http::header;

use super::answer;
use super::body::Source;
use super::finish::Finish;
use super::{Failure, Outcome};
use crate::exchange::{Origin, ResponseHead};
use crate::plugin::Verdict;

/// Shows the response to the plugins that the request has come past, the last of them first. Each may change its head, or
/// put another response in its place, which those before it then see.
pub(super) async fn on_response(finish: &mut Finish, (mut head, mut source): Outcome) -> Outcome {
    if head.status == StatusCode::SWITCHING_PROTOCOLS {
        return (head, source);
    }
    let mut before = finish.run_mut().passed();
    loop {
        // Edits that were made earlier are made first, so that nobody sees a response without them.
        for edit in finish.exchange().response_edits.clone() {
            edit.apply(&mut head.headers);
        }
        let had_no_body = is_bodiless(head.status);
        let headers = std::mem::take(&mut head.headers);
        let shown = ResponseHead { status: head.status, headers, origin: finish.origin };
        finish.exchange_mut().response = Some(shown);
        let (place, verdict) = finish.run_mut().on_response(before).await;
        if let Some(shown) = finish.exchange_mut().response.take() {
            (head.status, head.headers) = (shown.status, shown.headers);
        }
        source = fit(&mut head, source, had_no_body);
        match verdict {
            Verdict::Proceed | Verdict::Hold(_) => break,
            Verdict::Answer(answer) => {
                finish.origin = Origin::Plugin;
                (head, source) = answer::of_plugin(answer);
            }
            Verdict::Failed(failure) => {
                (head, source) = answer::failure(&Failure::from(failure.reason), finish);
            }
        }
        before = place;
    }
    finish.exchange_mut().response_edits.clear();
    (head, source)
}

/// Makes head and body agree again where the status says that there is no body, or says so no longer.
fn fit(head: &mut http::response::Parts, source: Source, had_no_body: bool) -> Source {
    let has_no_body = is_bodiless(head.status);
    if has_no_body == had_no_body {
        return source;
    }
    head.headers.remove(header::CONTENT_LENGTH);
    if has_no_body { Source::Whole(Bytes::new()) } else { source }
}

/// RFC 9110 §15.3.5 and §15.4.5.
fn is_bodiless(status: StatusCode) -> bool {
    matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
}
