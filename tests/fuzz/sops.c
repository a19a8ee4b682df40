/* SPDX-License-Identifier: Apache-2.0 */
/* Hostile SOPS files, opened with a fixed identity; and plain documents that are encrypted and read back. */
#include <stdlib.h>
#include <string.h>

#include "fleet/sops.h"

#define IDENTITY "AGE-SECRET-KEY-1GFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPQ4EGAEX"
#define TIME "2026-11-20T22:00:00Z"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void read_it(const char *text, size_t size, const struct age_identity *const *identities) {
        _cleanup_(sops_freep) struct sops *s = NULL;
        _cleanup_(buf_done) struct buf out = BUF_INIT;
        const char *cipher;
        if (sops_parse("file", text, size, &s, NULL) < 0)
                return;
        (void)sops_find(s, "db/password", &cipher, NULL);
        (void)sops_find(s, "a/0/~1", &cipher, NULL);
        if (sops_open(s, identities, 1, NULL) < 0)
                return;
        (void)sops_plain(s, &out, NULL);
        buf_clear(&out);
        const char *recipients[] = {age_identity_recipient(identities[0])};
        if (sops_write_recipients(s, recipients, 1, &out, NULL) < 0)
                return;
        _cleanup_(sops_freep) struct sops *again = NULL;
        if (sops_parse("again", out.data, out.len, &again, NULL) < 0 ||
            sops_open(again, identities, 1, NULL) < 0)
                abort();
}

static void write_it(const char *text, size_t size, const struct age_identity *const *identities) {
        const char *recipients[] = {age_identity_recipient(identities[0])};
        const struct sops_encryption e = {.recipients = recipients, .n_recipients = 1, .time = TIME};
        _cleanup_(buf_done) struct buf out = BUF_INIT;
        _cleanup_(sops_freep) struct sops *s = NULL;
        _cleanup_(err_freep) struct err *err = NULL;
        if (size > 65536 || sops_encrypt("plain", text, size, &e, &out, NULL) < 0)
                return;
        int r = sops_parse("written", out.data, out.len, &s, &err);
        if (r == 0)
                r = sops_open(s, identities, 1, &err);
        if (r < 0)
                abort(); /* what we write, we read */
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        _cleanup_(age_identity_freep) struct age_identity *ours = NULL;
        char *text = malloc(size + 1);
        if (!text || age_identity_parse(IDENTITY, &ours, NULL) < 0)
                abort();
        if (size > 0)
                memcpy(text, data, size);
        text[size] = '\0';
        const struct age_identity *all[] = {ours};
        read_it(text, size, all);
        write_it(text, size, all);
        free(text);
        return 0;
}
