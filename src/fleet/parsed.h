/* SPDX-License-Identifier: Apache-2.0 */
/* What one file of a repository was found to hold, without looking at any other file: so it can be kept
 * between compiles for as long as the file does not change. Counted references; immutable once made. */
#pragma once

#include "fleet/kinds.h"
#include "fleet/manifest.h"

enum parsed_kind {
        PARSED_FLEET_FILE, /* documents */
        PARSED_MANIFEST,   /* objects, references */
        PARSED_CONTENT,    /* data, sha256 */
        PARSED_TEMPLATE,   /* the same, and references: content that is expanded */
};

/* A name that seems to be given by something that could not be read as a document: who refers to it is not
 * told that there is no such thing. */
struct seeming_name {
        int kind; /* enum fleet_kind, or -1: any */
        const char *name;
};

struct parsed {
        enum parsed_kind kind;
        struct arena *arena;
        struct diagnostics *diagnostics;
        struct document *documents;
        size_t n_documents;
        struct seeming_name *seeming;
        size_t n_seeming, cap_seeming;
        bool unread[FLEET_KINDS]; /* there may be documents of this kind that could not be read */
        struct position fault; /* fleet file: where it stops being YAML, when nothing says that it is ours */
        const char *fault_message;
        bool looks_like_template; /* such a file: of another tool */
        struct manifest manifest;
        struct located_reference *references;
        size_t n_references;
        bool has_references; /* content: there is something to expand, be it only "$${" */
        char *data;
        size_t len;
        char sha256[65];
        _Atomic unsigned count;
};

/* Takes the text (malloc'ed) over, whatever the outcome. -ENOMEM only; everything else is a diagnostic. */
int parsed_new(enum parsed_kind kind, const char *path, char *text, size_t len, struct parsed **ret);
struct parsed *parsed_ref(struct parsed *p);
struct parsed *parsed_unref(struct parsed *p);
DEFINE_CLEANUP(struct parsed, parsed_unref)
