/* For plugins of Lockgate, written in C.
 *
 * lockgate.h, which `lockgate plugin build` generates from the contract into target/lockgate, declares the imports
 * (`request_header`, `kv_get`, ...) and their types, each with what it means. hooks.h, from there too, declares the hooks
 * that plugin.toml names, which the plugin defines:
 *
 *     void on_request(types_verdict_t *verdict) {
 *       lockgate_string_t path;
 *       request_path(&path);
 *       if (equal(path, string("/coffee"))) answer(verdict, 418, "I am a teapot\n");
 *     }
 *
 * A verdict proceeds, and an action lets a chunk pass, unless the hook says something else.
 *
 * Memory: what the host hands over and what `malloc` gives holds until the hook returns, and need not be freed; what is
 * allocated in `configure` holds for the instance's life. The stack has 64 KiB. The C library is what stdlib.h and string.h
 * of this folder declare. */
#ifndef LOCKGATE_PLUGIN_H
#define LOCKGATE_PLUGIN_H
#include "hooks.h"
#include "lockgate.h"

/* Called once for each instance, before any hook; may be left out. `json` is the configuration of this use of the plugin;
 * it holds, as all that is allocated here, for the instance's life. To refuse it, set `error` to a sentence that begins with the
 * key and return false. */
bool configure(lockgate_string_t *json, lockgate_string_t *error);

/* A string that ends with NUL, as imports want it. Nothing is copied. */
static inline lockgate_string_t string(const char *text) {
  return (lockgate_string_t){(uint8_t *)text, __builtin_strlen(text)};
}

/* Whether two strings are the same. */
static inline bool equal(lockgate_string_t one, lockgate_string_t other) {
  return one.len == other.len && !__builtin_memcmp(one.ptr, other.ptr, one.len);
}

/* Values of the first level of the configuration: false if the key is not there, or is of another kind. */
bool config_text(lockgate_string_t *json, const char *key, lockgate_string_t *value);
bool config_number(lockgate_string_t *json, const char *key, int64_t *value);
bool config_flag(lockgate_string_t *json, const char *key, bool *value);

/* Makes a verdict an answer with a text as its body, which must hold until the hook has returned. */
void answer(types_verdict_t *verdict, uint16_t status, const char *text);
/* Adds a field to an answer. */
void answer_header(types_verdict_t *verdict, const char *name, lockgate_string_t value);

/* Writes a line into the host's log: LOG_LEVEL_INFO, ... */
void log_text(log_level_t level, const char *message);

/* Part of what is generated: a hook has returned. */
void lockgate_hook_returns(bool keep);

#endif
