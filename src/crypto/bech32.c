/* SPDX-License-Identifier: Apache-2.0 */
#include "crypto/bech32.h"

#include <ctype.h>
#include <errno.h>
#include <string.h>

#define GROUPS 52  /* of five bits, for 32 bytes */
#define CHECKSUM 6 /* groups */

static const char letters[] = "qpzry9x8gf2tvdw0s3jn54khce6mua7l";

/* The code's generator (BIP 173): a remainder over GF(32), thirty bits at a time. */
static uint32_t checksum_step(uint32_t state, uint8_t group) {
        static const uint32_t generator[] = {0x3b6a57b2, 0x26508e6d, 0x1ea119fa, 0x3d4233dd, 0x2a1462b3};
        uint32_t top = state >> 25;
        state = (state & 0x1ffffff) << 5 ^ group;
        for (unsigned i = 0; i < ARRAY_SIZE(generator); i++)
                if (top >> i & 1)
                        state ^= generator[i];
        return state;
}

static uint32_t checksum_of(const char *prefix, const uint8_t *groups, size_t n) {
        uint32_t state = 1;
        for (const char *p = prefix; *p; p++)
                state = checksum_step(state, (uint8_t)(*p >> 5));
        state = checksum_step(state, 0);
        for (const char *p = prefix; *p; p++)
                state = checksum_step(state, (uint8_t)(*p & 31));
        for (size_t i = 0; i < n; i++)
                state = checksum_step(state, groups[i]);
        return state;
}

int bech32_encode(const char *prefix, const uint8_t data[BECH32_BYTES], bool upper,
                  char out[BECH32_TEXT_MAX]) {
        uint8_t groups[GROUPS + CHECKSUM] = {0};
        size_t n_prefix = strlen(prefix), bits = 0, n = 0;
        uint32_t held = 0;
        if (n_prefix + 1 + sizeof(groups) + 1 > BECH32_TEXT_MAX)
                return -EINVAL;
        for (size_t i = 0; i < BECH32_BYTES; i++) {
                held = (held << 8 | data[i]) & 0xfff;
                for (bits += 8; bits >= 5; bits -= 5)
                        groups[n++] = held >> (bits - 5) & 31;
        }
        groups[n++] = (uint8_t)(held << (5 - bits) & 31);
        uint32_t sum = checksum_of(prefix, groups, sizeof(groups)) ^ 1;
        for (size_t i = 0; i < CHECKSUM; i++)
                groups[GROUPS + i] = sum >> 5 * (CHECKSUM - 1 - i) & 31;
        memcpy(out, prefix, n_prefix);
        out[n_prefix] = '1';
        for (size_t i = 0; i < sizeof(groups); i++)
                out[n_prefix + 1 + i] = letters[groups[i]];
        out[n_prefix + 1 + sizeof(groups)] = '\0';
        for (char *p = out; upper && *p; p++)
                *p = (char)toupper((unsigned char)*p);
        explicit_bzero(groups, sizeof(groups));
        return 0;
}

int bech32_decode(const char *prefix, const char *text, uint8_t ret[BECH32_BYTES]) {
        uint8_t groups[GROUPS + CHECKSUM], data[BECH32_BYTES];
        size_t n_prefix = strlen(prefix), bits = 0, n = 0;
        bool lower = false, upper = false;
        uint32_t held = 0;
        if (strnlen(text, BECH32_TEXT_MAX) != n_prefix + 1 + sizeof(groups))
                return -EINVAL;
        for (const char *p = text; *p; p++) {
                lower = lower || islower((unsigned char)*p);
                upper = upper || isupper((unsigned char)*p);
        }
        if ((lower && upper) || strncasecmp(text, prefix, n_prefix) != 0 || text[n_prefix] != '1')
                return -EINVAL;
        for (size_t i = 0; i < sizeof(groups); i++) {
                const char *at = strchr(letters, tolower((unsigned char)text[n_prefix + 1 + i]));
                if (!at || !*at)
                        return -EINVAL;
                groups[i] = (uint8_t)(at - letters);
        }
        if (checksum_of(prefix, groups, sizeof(groups)) != 1)
                return -EINVAL;
        for (size_t i = 0; i < GROUPS; i++) {
                held = (held << 5 | groups[i]) & 0xfff;
                if ((bits += 5) >= 8) {
                        data[n++] = (uint8_t)(held >> (bits - 8));
                        bits -= 8;
                }
        }
        bool padded = (held & ((1u << bits) - 1)) == 0;
        if (padded)
                memcpy(ret, data, sizeof(data));
        explicit_bzero(groups, sizeof(groups));
        explicit_bzero(data, sizeof(data));
        return padded ? 0 : -EINVAL;
}
