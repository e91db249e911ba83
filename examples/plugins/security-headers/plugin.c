/* Adds what a browser needs to be careful, unless the backend has said it otherwise, and takes away what tells of the
 * software behind. config = { csp = "default-src 'self'" } replaces the policy. */
#include "lockgate-plugin.h"

static lockgate_string_t policy;

bool configure(lockgate_string_t *json, lockgate_string_t *error) {
  (void)error;
  if (!config_text(json, "csp", &policy)) policy = string("default-src 'self'; object-src 'none'; frame-ancestors 'none'");
  return true;
}

static void add(const char *name, lockgate_string_t value) {
  lockgate_string_t field = string(name), found;
  response_edit_error_t refused;
  if (!response_header(&field, &found)) response_set_header(&field, &value, &refused);
}

static void take_away(const char *name) {
  lockgate_string_t field = string(name);
  response_edit_error_t refused;
  response_remove_header(&field, &refused);
}

void on_response(types_verdict_t *verdict) {
  lockgate_string_t scheme;
  (void)verdict;
  add("content-security-policy", policy);
  add("x-content-type-options", string("nosniff"));
  add("x-frame-options", string("DENY"));
  add("referrer-policy", string("strict-origin-when-cross-origin"));
  add("permissions-policy", string("camera=(), geolocation=(), microphone=()"));
  add("cross-origin-opener-policy", string("same-origin"));
  request_scheme(&scheme);
  if (equal(scheme, string("https"))) add("strict-transport-security", string("max-age=31536000; includeSubDomains"));
  take_away("server");
  take_away("x-powered-by");
}
