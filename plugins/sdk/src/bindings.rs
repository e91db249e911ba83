//! What wit-bindgen makes of `wit/`: the imports once, and each hook in a world of its own (`sdk/wit/hooks.wit`), so that a
//! plugin exports only the hooks that it has. `wit-component` unites the worlds that it finds in one module.
#![allow(
    missing_docs,
    unreachable_pub,
    unsafe_code,
    clippy::allow_attributes_without_reason,
    reason = "generated code"
)]

wit_bindgen::generate!({
    path: "../../wit",
    world: "lockgate:plugin/imports",
    ownership: Borrowing { duplicate_if_necessary: false },
});

/// Generates a module for the one hook that a world exports.
macro_rules! hook {
    ($module:ident, $world:literal, $macro:literal, { $($with:tt)* }) => {
        pub mod $module {
            wit_bindgen::generate!({
                path: ["../../wit", "wit"],
                world: $world,
                with: { $($with)* },
                pub_export_macro: true,
                export_macro_name: $macro,
            });
        }
    };
}

hook!(lifecycle, "lockgate:sdk/lifecycle", "__export_lifecycle", {});
hook!(self_test_hook, "lockgate:sdk/self-test-hook", "__export_self_test_hook", {});
hook!(state_hook, "lockgate:sdk/state-hook", "__export_state_hook", {});
hook!(tick_hook, "lockgate:sdk/tick-hook", "__export_tick_hook", {});
hook!(connect_hook, "lockgate:sdk/connect-hook", "__export_connect_hook", {
    "lockgate:plugin/types@0.1.0": crate::bindings::lockgate::plugin::types
});
hook!(request_hook, "lockgate:sdk/request-hook", "__export_request_hook", {
    "lockgate:plugin/types@0.1.0": crate::bindings::lockgate::plugin::types
});
hook!(pick_backend_hook, "lockgate:sdk/pick-backend-hook", "__export_pick_backend_hook", {});
hook!(attempt_failed_hook, "lockgate:sdk/attempt-failed-hook", "__export_attempt_failed_hook", {
    "lockgate:plugin/types@0.1.0": crate::bindings::lockgate::plugin::types
});
hook!(request_complete_hook, "lockgate:sdk/request-complete-hook", "__export_request_complete_hook", {
    "lockgate:plugin/types@0.1.0": crate::bindings::lockgate::plugin::types
});
hook!(request_body_hook, "lockgate:sdk/request-body-hook", "__export_request_body_hook", {
    "lockgate:plugin/types@0.1.0": crate::bindings::lockgate::plugin::types
});
hook!(response_body_hook, "lockgate:sdk/response-body-hook", "__export_response_body_hook", {
    "lockgate:plugin/types@0.1.0": crate::bindings::lockgate::plugin::types
});
hook!(response_hook, "lockgate:sdk/response-hook", "__export_response_hook", {
    "lockgate:plugin/types@0.1.0": crate::bindings::lockgate::plugin::types
});
hook!(response_finish_hook, "lockgate:sdk/response-finish-hook", "__export_response_finish_hook", {
    "lockgate:plugin/types@0.1.0": crate::bindings::lockgate::plugin::types
});
