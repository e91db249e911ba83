/* What stands in for a C library: memory, and the few functions that compilers and bindings call.
 *
 * Memory is a stack that only grows. What `configure` allocates stays for the instance's life; what another hook allocates,
 * and what the host hands it, is gone when the next call begins, so nothing need be freed and nothing can leak. */
#include "lockgate-plugin.h"
#include <stdlib.h>
#include <string.h>

extern unsigned char __heap_base;

/* A block is preceded by its size, which `realloc` must know. */
enum { ALIGNMENT = 8, PAGE = 65536 };

static uintptr_t top, kept;
static bool over;

void lockgate_hook_returns(bool keep) {
  if (keep) kept = top;
  /* The host has yet to read the result: the next allocation begins anew. */
  over = true;
}

void *malloc(size_t size) {
  if (!kept) kept = top = ((uintptr_t)&__heap_base + ALIGNMENT - 1) & ~(uintptr_t)(ALIGNMENT - 1);
  if (over) {
    top = kept;
    over = false;
  }
  size_t rounded = (size + ALIGNMENT - 1) & ~(size_t)(ALIGNMENT - 1);
  uintptr_t at = top + ALIGNMENT, end = at + rounded;
  if (rounded < size || end < at) abort();
  uintptr_t there = (uintptr_t)__builtin_wasm_memory_size(0) * PAGE;
  if (end > there && __builtin_wasm_memory_grow(0, (end - there + PAGE - 1) / PAGE) == (size_t)-1) abort();
  top = end;
  ((size_t *)at)[-1] = size;
  return (void *)at;
}

void *calloc(size_t count, size_t size) {
  if (size && count > (size_t)-1 / size) abort();
  return memset(malloc(count * size), 0, count * size);
}

void *realloc(void *at, size_t size) {
  void *moved = malloc(size);
  if (!at) return moved;
  size_t old = ((size_t *)at)[-1];
  return memcpy(moved, at, old < size ? old : size);
}

void free(void *at) { (void)at; }

void abort(void) { __builtin_trap(); }

/* Without the attribute the compiler would see a loop that copies, and call the function that it is in. */
#define PLAIN __attribute__((no_builtin))

PLAIN void *memcpy(void *restrict to, const void *restrict from, size_t size) {
  unsigned char *target = to;
  const unsigned char *source = from;
  for (; size >= 8; size -= 8, target += 8, source += 8) __builtin_memcpy_inline(target, source, 8);
  while (size--) *target++ = *source++;
  return to;
}

PLAIN void *memmove(void *to, const void *from, size_t size) {
  unsigned char *target = to;
  const unsigned char *source = from;
  if (target < source)
    while (size--) *target++ = *source++;
  else
    while (size--) target[size] = source[size];
  return to;
}

PLAIN void *memset(void *at, int byte, size_t size) {
  unsigned char *target = at;
  while (size--) *target++ = (unsigned char)byte;
  return at;
}

PLAIN int memcmp(const void *one, const void *other, size_t size) {
  const unsigned char *a = one, *b = other;
  for (; size--; a++, b++)
    if (*a != *b) return *a - *b;
  return 0;
}

PLAIN void *memchr(const void *at, int byte, size_t size) {
  const unsigned char *from = at;
  for (; size--; from++)
    if (*from == (unsigned char)byte) return (void *)from;
  return NULL;
}

PLAIN size_t strlen(const char *text) {
  const char *end = text;
  while (*end) end++;
  return (size_t)(end - text);
}

PLAIN int strcmp(const char *one, const char *other) {
  while (*one && *one == *other) one++, other++;
  return (unsigned char)*one - (unsigned char)*other;
}

/* For plugins that take no configuration. */
__attribute__((weak)) bool configure(lockgate_string_t *json, lockgate_string_t *error) {
  (void)json, (void)error;
  return true;
}

void log_text(log_level_t level, const char *message) {
  lockgate_string_t text = string(message);
  log_log(level, &text);
}

/* The place behind a key's colon in an object, at its first level; NULL if it is not there. */
static const char *find(const char *at, const char *end, lockgate_string_t key) {
  int depth = 0;
  for (; at < end; at++) {
    if (*at == '{' || *at == '[') depth++;
    if (*at == '}' || *at == ']') depth--;
    if (*at != '"') continue;
    const char *name = ++at;
    for (; at < end && *at != '"'; at++)
      if (*at == '\\') at++;
    if (at >= end) return NULL;
    lockgate_string_t found = {(uint8_t *)name, (size_t)(at - name)};
    const char *next = at + 1;
    while (next < end && (*next == ' ' || *next == '\n' || *next == '\t' || *next == '\r')) next++;
    if (depth != 1 || next >= end || *next != ':') continue;
    next++;
    while (next < end && (*next == ' ' || *next == '\n' || *next == '\t' || *next == '\r')) next++;
    if (equal(found, key)) return next;
  }
  return NULL;
}

bool config_text(lockgate_string_t *json, const char *key, lockgate_string_t *value) {
  const char *end = (const char *)json->ptr + json->len;
  const char *at = find((const char *)json->ptr, end, string(key));
  if (!at || at >= end || *at != '"') return false;
  uint8_t *out = value->ptr = malloc((size_t)(end - at));
  for (at++; at < end && *at != '"'; at++) {
    if (*at != '\\') {
      *out++ = (uint8_t)*at;
      continue;
    }
    static const char escapes[] = "\"\\/bfnrt", meant[] = "\"\\/\b\f\n\r\t";
    const char *escape = ++at < end ? memchr(escapes, *at, sizeof escapes - 1) : NULL;
    /* \u is for what JSON cannot hold otherwise, which is no text for a configuration. */
    if (!escape) return false;
    *out++ = (uint8_t)meant[escape - escapes];
  }
  value->len = (size_t)(out - value->ptr);
  return at < end;
}

bool config_number(lockgate_string_t *json, const char *key, int64_t *value) {
  const char *end = (const char *)json->ptr + json->len;
  const char *at = find((const char *)json->ptr, end, string(key));
  bool negative = at && at < end && *at == '-';
  if (negative) at++;
  if (!at || at >= end || *at < '0' || *at > '9') return false;
  uint64_t number = 0;
  for (; at < end && *at >= '0' && *at <= '9'; at++) {
    if (number > (INT64_MAX - (uint64_t)(*at - '0')) / 10) return false;
    number = number * 10 + (uint64_t)(*at - '0');
  }
  if (at < end && (*at == '.' || *at == 'e' || *at == 'E')) return false;
  *value = negative ? -(int64_t)number : (int64_t)number;
  return true;
}

bool config_flag(lockgate_string_t *json, const char *key, bool *value) {
  const char *end = (const char *)json->ptr + json->len;
  const char *at = find((const char *)json->ptr, end, string(key));
  if (!at) return false;
  bool yes = end - at >= 4 && !memcmp(at, "true", 4);
  if (!yes && !(end - at >= 5 && !memcmp(at, "false", 5))) return false;
  *value = yes;
  return true;
}

void answer(types_verdict_t *verdict, uint16_t status, const char *text) {
  lockgate_tuple2_string_string_t *field = malloc(sizeof *field);
  *field = (lockgate_tuple2_string_string_t){string("content-type"), string("text/plain; charset=utf-8")};
  *verdict = (types_verdict_t){.tag = TYPES_VERDICT_ANSWER};
  verdict->val.answer.status = status;
  verdict->val.answer.headers = (lockgate_list_tuple2_string_string_t){field, 1};
  verdict->val.answer.body = (lockgate_list_u8_t){(uint8_t *)text, strlen(text)};
}

void answer_header(types_verdict_t *verdict, const char *name, lockgate_string_t value) {
  lockgate_list_tuple2_string_string_t *fields = &verdict->val.answer.headers;
  fields->ptr = realloc(fields->ptr, (fields->len + 1) * sizeof *fields->ptr);
  fields->ptr[fields->len++] = (lockgate_tuple2_string_string_t){string(name), value};
}
