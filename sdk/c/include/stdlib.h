/* The part of the C library that there is: lockgate-plugin.h says how long what is allocated lives. */
#ifndef LOCKGATE_STDLIB_H
#define LOCKGATE_STDLIB_H
#include <stddef.h>

void *malloc(size_t size);
void *calloc(size_t count, size_t size);
void *realloc(void *at, size_t size);
/* Does nothing: what a hook allocates goes when it returns. */
void free(void *at);
/* Ends the hook, and with it the exchange, as `on_failure` of the configuration says. */
_Noreturn void abort(void);

#endif
