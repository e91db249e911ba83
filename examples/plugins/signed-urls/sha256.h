/* SHA-256 (FIPS 180-4) and HMAC (RFC 2104). */
#include <stddef.h>
#include <stdint.h>

enum { SHA256_SIZE = 32 };

void hmac_sha256(const uint8_t *key, size_t key_size, const uint8_t *message, size_t size, uint8_t mac[SHA256_SIZE]);
