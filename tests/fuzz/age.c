/* SPDX-License-Identifier: Apache-2.0 */
/* Hostile age files, opened with a fixed identity; and keys. */
#include <stdlib.h>
#include <string.h>

#include "crypto/age.h"

#define IDENTITY "AGE-SECRET-KEY-1GFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPQ4EGAEX"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        _cleanup_(age_identity_freep) struct age_identity *ours = NULL, *theirs = NULL;
        _cleanup_(secret_freep) struct secret *plain = NULL, *again = NULL;
        _cleanup_(buf_done) struct buf file = BUF_INIT;
        char text[128] = "";
        if (age_identity_parse(IDENTITY, &ours, NULL) < 0)
                abort();
        if (size > 0)
                memcpy(text, data, MIN(size, sizeof(text) - 1));
        if (age_identity_parse(text, &theirs, NULL) == 0 &&
            !age_recipient_is_valid(age_identity_recipient(theirs)))
                abort();
        (void)age_recipient_is_valid(text);

        const struct age_identity *all[] = {ours};
        if (age_decrypt(data, size, all, 1, &plain, NULL) < 0)
                return 0;
        /* What opens can be written, and opens again. */
        const char *recipients[] = {age_identity_recipient(ours)};
        if (age_encrypt(secret_text(plain), secret_len(plain), recipients, 1, size % 2, &file, NULL) < 0)
                return 0;
        if (age_decrypt(file.data, file.len, all, 1, &again, NULL) < 0 ||
            secret_len(again) != secret_len(plain) ||
            memcmp(secret_text(again), secret_text(plain), secret_len(plain)) != 0)
                abort();
        return 0;
}
