/* Lets only those in who have a URL that the operator has signed: PATH?expires=SECONDS&signature=HEX, where HEX is
 * HMAC-SHA256(key, "PATH?expires=SECONDS"). The signature does not reach the backend. */
#include "lockgate-plugin.h"
#include "sha256.h"
#include <stdlib.h>
#include <string.h>

static lockgate_string_t key;

bool configure(lockgate_string_t *json, lockgate_string_t *error) {
  if (config_text(json, "key", &key) && key.len >= 16) return true;
  *error = string("key: must be a text of at least 16 bytes");
  return false;
}

/* The value of "NAME=" in a query; false if it is not there, or there twice, which might be read otherwise elsewhere. */
static bool parameter(lockgate_string_t query, const char *name, lockgate_string_t *value) {
  size_t length = strlen(name), found = 0;
  for (size_t at = 0; at < query.len;) {
    uint8_t *begin = query.ptr + at, *end = memchr(begin, '&', query.len - at);
    size_t size = end ? (size_t)(end - begin) : query.len - at;
    if (size > length && !memcmp(begin, name, length)) {
      *value = (lockgate_string_t){begin + length, size - length};
      found++;
    }
    at += size + 1;
  }
  return found == 1;
}

static bool is_signed(lockgate_string_t path, lockgate_string_t query, lockgate_string_t *expires) {
  lockgate_string_t signature;
  uint8_t expected[SHA256_SIZE], different = 0;
  uint64_t seconds = 0;
  if (!parameter(query, "expires=", expires) || !parameter(query, "signature=", &signature)) return false;
  if (expires->len > 12 || signature.len != 2 * SHA256_SIZE) return false;
  for (size_t i = 0; i < expires->len; i++) {
    if (expires->ptr[i] < '0' || expires->ptr[i] > '9') return false;
    seconds = seconds * 10 + (expires->ptr[i] - '0');
  }
  uint8_t *message = malloc(path.len + 9 + expires->len);
  memcpy(message, path.ptr, path.len);
  memcpy(message + path.len, "?expires=", 9);
  memcpy(message + path.len + 9, expires->ptr, expires->len);
  hmac_sha256(key.ptr, key.len, message, path.len + 9 + expires->len, expected);
  /* All of it, always: how long it takes tells nothing. */
  for (size_t i = 0; i < SHA256_SIZE; i++) {
    static const char digits[] = "0123456789abcdef";
    different |= signature.ptr[2 * i] ^ digits[expected[i] >> 4];
    different |= signature.ptr[2 * i + 1] ^ digits[expected[i] & 15];
  }
  return !different && clock_now() / 1000000000 < seconds;
}

void on_request(types_verdict_t *verdict) {
  lockgate_string_t path, query, expires;
  request_edit_error_t refused;
  request_path(&path);
  if (request_query(&query) && is_signed(path, query, &expires)) {
    request_set_query(NULL, &refused);
  } else {
    answer(verdict, 403, "this address is not signed, or no longer good\n");
  }
}
