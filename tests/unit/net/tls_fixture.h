/* SPDX-License-Identifier: Apache-2.0 */
/* A certificate authority and members for the tests of net/. */
#pragma once

#include "base/str.h"
#include "crypto/cert.h"

struct authority {
        struct key *root_key, *key; /* of the intermediate that issues */
        char *root, *intermediate;
        char pin[65];
};

static inline void authority_init(struct authority *a) {
        msec_t now = clock_wall_ms(clock_system());
        assert_int_equal(key_generate(&a->root_key, NULL), 0);
        assert_int_equal(key_generate(&a->key, NULL), 0);
        assert_int_equal(cert_make_root(a->root_key, "example.org", now, &a->root, NULL), 0);
        assert_int_equal(cert_make_intermediate(a->key, "example.org", a->root, a->root_key, now,
                                                &a->intermediate, NULL),
                         0);
        assert_int_equal(cert_pin_of_root(a->root, a->pin, NULL), 0);
}

static inline void authority_done(struct authority *a) {
        key_free(a->root_key);
        key_free(a->key);
        free(a->root);
        free(a->intermediate);
}

struct member {
        char *chain, *key;
};

/* valid_ms < 0: expired. dns may be NULL. The chain holds the root. */
static inline void member_init(struct member *m, struct authority *a, const char *id, const char *dns,
                               msec_t valid_ms) {
        msec_t now = clock_wall_ms(clock_system());
        struct key *key = NULL;
        char *leaf = NULL;
        const char *const names[] = {dns, NULL};
        assert_int_equal(key_generate(&key, NULL), 0);
        const struct cert_request request = {
                .spiffe_id = id, .dns_names = dns ? names : NULL, .not_after = now + valid_ms};
        msec_t made = valid_ms < 0 ? now + 2 * valid_ms : now;
        assert_int_equal(cert_issue(key, &request, a->intermediate, a->key, made, &leaf, NULL), 0);
        m->chain = str_format("%s%s%s", leaf, a->intermediate, a->root);
        assert_non_null(m->chain);
        assert_int_equal(key_to_pem(key, &m->key, NULL), 0);
        free(leaf);
        key_free(key);
}

static inline void member_done(struct member *m) {
        free(m->chain);
        free(m->key);
}
