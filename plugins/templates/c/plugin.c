/* What this plugin is for. */
#include "lockgate-plugin.h"

static lockgate_string_t message;

bool configure(lockgate_string_t *json, lockgate_string_t *error) {
  if (config_text(json, "message", &message)) return true;
  *error = string("message: must be a text");
  return false;
}
{{each code}}
