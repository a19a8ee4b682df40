/* SPDX-License-Identifier: Apache-2.0 */
/* A path that is asked for, a Content-Range that a source says, and documents that it gives: the first line
 * is the path, the second the range, what follows the document. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/fs.h"
#include "base/str.h"
#include "relay/repository_documents.h"
#include "relay/repository_transport.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *line_end(const char *p, const char *end) {
        const char *n = memchr(p, '\n', (size_t)(end - p));
        return n ? n : end;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        const char *p = (const char *)data, *end = p + size, *n = line_end(p, end);
        _cleanup_(x_freep) char *path = str_dup_n(p, (size_t)(n - p)), *range = NULL, *url = NULL;
        struct repository_path named;
        int64_t first, last, total, version, length;
        char sha256[SHA256_HEX_SIZE];
        p = n < end ? n + 1 : end;
        n = line_end(p, end);
        range = str_dup_n(p, (size_t)(n - p));
        p = n < end ? n + 1 : end;
        if (range && repository_content_range(range, &first, &last, &total) == 0 && total >= 0 &&
            last >= total)
                abort();
        if (!path || repository_path_parse(path, &named) < 0)
                return 0;
        if (!path_is_beneath(path))
                abort();
        url = repository_url("https://x/", path);
        if (!url || strpbrk(url, " \r\n\"<>#?"))
                abort();
        (void)repository_document_check(&named, p, (size_t)(end - p), &version, NULL);
        if (repository_delta_find(p, (size_t)(end - p), named.sha256, named.sha256, sha256, &length, NULL) ==
                    0 &&
            (length < 0 || !sha256_hex_is_valid(sha256)))
                abort();
        return 0;
}
