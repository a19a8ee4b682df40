/* SPDX-License-Identifier: Apache-2.0 */
/* What the edge sends a node: lines of events, and the assignments and bundles in them. Whatever comes, the
 * node says no or takes something that it can store and read back; a signature it did not make is never
 * taken. The first byte says into what pieces the stream is cut. */
#include <stdlib.h>

#include "agent/assignment.h"
#include "agent/event_reader.h"
#include "base/str.h"
#include "crypto/cert.h"

struct world {
        struct bundle *bundle;
        struct assignment *held;
};

static int take(void *arg, const char *type, const json_t *event, struct err **err) {
        struct world *w = arg;
        struct assignment *a = NULL, *again = NULL;
        struct bundle *bundle = NULL;

        if (str_eq(type, "bundle") && bundle_from_json(event, &bundle, NULL) == 0)
                bundle_free(bundle);
        /* Nobody who writes fuzz inputs holds the key. */
        if (assignment_verify(event, w->bundle, "shop-1", w->held, 7, &a, NULL) == 0)
                abort();
        if (assignment_parse(event, &a, NULL) < 0)
                return 0;
        if (assignment_parse(a->document, &again, NULL) < 0 || again->version != a->version ||
            !str_eq(again->revision, a->revision) || !str_eq(again->node, a->node))
                abort();
        assignment_free(again);
        assignment_free(w->held);
        w->held = a;
        return 0;
}

/* One world for all inputs: making keys takes longer than everything else. */
static struct bundle *make_bundle(void) {
        struct key *root = NULL, *signer = NULL;
        char *pem = NULL, *public = NULL;
        struct bundle *b = NULL;
        if (key_generate(&root, NULL) < 0 || key_generate(&signer, NULL) < 0 ||
            cert_make_root(root, "fleet.test", 1763650000000, &pem, NULL) < 0 ||
            key_public_pem(signer, &public, NULL) < 0)
                abort();
        json_t *j = json_pack("{s:s, s:i, s:s, s:{s:s}}", "trustDomain", "fleet.test", "sequence", 1, "roots",
                              pem, "assignmentKeys", "k1", public);
        if (!j || bundle_from_json(j, &b, NULL) < 0)
                abort();
        json_decref(j);
        key_free(root);
        key_free(signer);
        free(pem);
        free(public);
        return b;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        static struct bundle *bundle;
        struct world w = {.held = NULL};
        struct event_reader reader;

        if (!bundle)
                bundle = make_bundle();
        if (size < 1)
                return 0;
        w.bundle = bundle;
        size_t piece = (size_t)data[0] + 1;
        event_reader_init(&reader, take, &w);
        for (size_t at = 1; at < size; at += piece)
                if (event_reader_feed(&reader, (const char *)data + at, MIN(piece, size - at), NULL) < 0)
                        break;
        event_reader_done(&reader);
        assignment_free(w.held);
        return 0;
}
