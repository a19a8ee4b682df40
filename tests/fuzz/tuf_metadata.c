/* SPDX-License-Identifier: Apache-2.0 */
/* TUF metadata as it comes from a mirror: the first byte says which role, the rest is the file. */
#include <string.h>

#include "base/str.h"
#include "base/table.h"
#include "repo/tuf/metadata.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool holds) {
        if (!holds)
                abort();
}

static int look_at(void *arg, const struct tuf_target *t) {
        struct tuf_target again;
        check(t->path[0] && t->length >= 0 && tuf_metadata_target(arg, t->path, &again));
        check(again.length == t->length && strcmp(again.sha256, t->sha256) == 0);
        return 0;
}

static void look(const struct tuf_metadata *m) {
        struct tuf_file file;
        check(m->version >= 1 && m->version <= TUF_VERSION_MAX);
        for (size_t i = 0; m->type == TUF_ROOT && i < TUF_TYPES; i++) {
                check(m->roles[i].threshold >= 1);
                (void)tuf_metadata_count_signatures(m, m, &m->roles[i]);
        }
        if (m->type == TUF_TIMESTAMP)
                check(tuf_metadata_file(m, "snapshot.json", &file) && file.version >= 1 && file.length >= -1);
        if (m->type != TUF_TARGETS)
                return;
        check(tuf_metadata_each_target(m, look_at, (void *)m) == 0);
        for (size_t i = 0; i < m->n_delegations; i++) {
                const struct tuf_delegation *d = &m->delegations[i];
                _cleanup_(x_freep) char *quoted = tuf_role_quote(d->name);
                check(quoted && !strchr(quoted, '/') && !tuf_role_is_top_level(d->name));
                check(tuf_metadata_delegation(m, d->name) == d);
                (void)tuf_delegation_covers(d, "artifacts/web/1.2.0/linux-amd64");
                (void)tuf_metadata_count_signatures(m, m, &d->role);
        }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        _cleanup_(err_freep) struct err *err = NULL;
        _cleanup_(tuf_metadata_freep) struct tuf_metadata *m = NULL, *again = NULL;
        _cleanup_(x_freep) char *text = NULL;
        size_t len = 0;
        if (size == 0)
                return 0;
        enum tuf_type type = (enum tuf_type)(data[0] % TUF_TYPES);
        if (tuf_metadata_parse(type, (const char *)data + 1, size - 1, &m, &err) < 0) {
                check(err != NULL && m == NULL);
                return 0;
        }
        look(m);
        check(tuf_metadata_serialise(m, &text, &len, NULL) == 0);
        /* Ours may be longer than theirs by escapes. */
        if (tuf_metadata_parse(type, text, len, &again, NULL) < 0) {
                check(len > tuf_type_max(type));
                return 0;
        }
        check(again->canonical_len == m->canonical_len &&
              memcmp(again->canonical, m->canonical, m->canonical_len) == 0);
        return 0;
}
