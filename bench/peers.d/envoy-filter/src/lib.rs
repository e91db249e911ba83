//! A Proxy-Wasm filter for Envoy that does what Lockgate's profiler and HTTPS enforcer do: redirects what does not say that it
//! is secure, and counts and times each request.

use std::time::SystemTime;

use proxy_wasm::hostcalls::{define_metric, increment_metric, record_metric};
use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::{Action, ContextType, MetricType};

proxy_wasm::main! {{
    proxy_wasm::set_root_context(|_| Box::new(Root { requests: 0, milliseconds: 0 }));
}}

struct Root {
    requests: u32,
    milliseconds: u32,
}

impl Context for Root {}

impl RootContext for Root {
    fn on_configure(&mut self, _: usize) -> bool {
        self.requests = define_metric(MetricType::Counter, "profiler_requests").unwrap_or(0);
        self.milliseconds = define_metric(MetricType::Histogram, "profiler_milliseconds").unwrap_or(0);
        true
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }

    fn create_http_context(&self, _: u32) -> Option<Box<dyn HttpContext>> {
        Some(Box::new(Filter { requests: self.requests, milliseconds: self.milliseconds, started: None }))
    }
}

struct Filter {
    requests: u32,
    milliseconds: u32,
    started: Option<SystemTime>,
}

impl Context for Filter {}

impl HttpContext for Filter {
    fn on_http_request_headers(&mut self, _: usize, _: bool) -> Action {
        self.started = Some(self.get_current_time());
        if self.get_http_request_header("x-forwarded-proto").as_deref() == Some("https") {
            return Action::Continue;
        }
        let host = self.get_http_request_header(":authority").unwrap_or_default();
        let path = self.get_http_request_header(":path").unwrap_or_default();
        let location = format!("https://{host}{path}");
        self.send_http_response(301, vec![("location", &location)], None);
        Action::Pause
    }

    fn on_log(&mut self) {
        let _ = increment_metric(self.requests, 1);
        let took = self.started.and_then(|started| self.get_current_time().duration_since(started).ok());
        let milliseconds = took.and_then(|took| u64::try_from(took.as_millis()).ok()).unwrap_or(0);
        let _ = record_metric(self.milliseconds, milliseconds);
    }
}
