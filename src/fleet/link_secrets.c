/* SPDX-License-Identifier: Apache-2.0 */
/* Secrets that apps name: that the SOPS file is there and holds the value, encrypted; and that the nodes of a
 * fleet, as far as they are known, are recipients. No key is needed, and none is at hand. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/str.h"
#include "fleet/compiler.h"
#include "fleet/sops.h"

#define NAMED_MAX 5 /* nodes that a message names */

static int no_memory(struct compiler *c) {
        return err_set_errno(c->err, ENOMEM, "compile");
}

static int copy_recipients(struct compiler *c, const struct sops *s, const char ***ret) {
        const char **list = arena_calloc(c->arena, sops_recipients(s) + 1, sizeof *list);
        if (!list)
                return no_memory(c);
        for (size_t i = 0; i < sops_recipients(s); i++)
                if (!(list[i] = arena_strdup(c->arena, sops_recipient(s, i))))
                        return no_memory(c);
        *ret = list;
        return 0;
}

/* *ret_ok: the file holds the value as it should. */
static int read_file(struct compiler *c, const struct secret_document *d,
                     const struct fleet_tree_entry *entry, const struct parsed *content, const char *key,
                     struct linked_secret *linked, bool *ret_ok) {
        _cleanup_(sops_freep) struct sops *s = NULL;
        _cleanup_(err_freep) struct err *problem = NULL;
        const char *text;
        int r = sops_parse(entry->path, content->data, content->len, &s, &problem);
        if (r == 0)
                r = sops_find(s, key, &text, &problem);
        if (r == -ENOMEM)
                return no_memory(c);
        if (r < 0) {
                compiler_error(c, &d->secret.where, NULL, "%s", err_message(problem));
                return 0;
        }
        if (sops_recipients(s) == 0) {
                compiler_error(c, &d->secret.where,
                               "skerry secret add --fleet NAME FILE makes its nodes recipients",
                               "file \"%.200s\" has no age recipients, so no node can read it", entry->path);
                return 0;
        }
        *ret_ok = true;
        return copy_recipients(c, s, &linked->recipients);
}

static int link_secret(struct compiler *c, struct app_entry *e, const struct secret_document *d) {
        const char *hash = d->secret.text ? strchr(d->secret.text, '#') : NULL;
        const struct fleet_tree_entry *entry = NULL;
        const struct parsed *content = NULL;
        struct linked_secret *linked = &e->linked_secrets[e->n_secrets];
        struct app_secret *out = &e->secrets[e->n_secrets];
        bool ok = false;
        if (!hash || hash == d->secret.text || !hash[1] ||
            !d->environment.text + !d->credential.text + !d->path.text != 2)
                return 0; /* reported when it was read */
        struct located name = {arena_strndup(c->arena, d->secret.text, (size_t)(hash - d->secret.text)),
                               d->secret.where};
        if (!name.text)
                return no_memory(c);
        int r = compiler_find_file(c, &name, &entry);
        if (r < 0 || !entry)
                return r;
        r = compiler_parse(c, PARSED_CONTENT, entry, SOPS_FILE_MAX, &content);
        if (r == -EFBIG) {
                compiler_error(c, &d->secret.where, "split it", "file \"%.200s\" is larger than %zu MiB",
                               entry->path, SOPS_FILE_MAX >> 20);
                return 0;
        }
        if (r == 0)
                r = read_file(c, d, entry, content, hash + 1, linked, &ok);
        if (r < 0 || !ok)
                return r;
        linked->where = d->secret.where;
        *out = (struct app_secret){
                .kind = d->environment.text  ? SECRET_ENVIRONMENT
                        : d->credential.text ? SECRET_CREDENTIAL
                                             : SECRET_FILE,
                .name = d->environment.text ? d->environment.text : d->credential.text,
                .path = d->path.text,
                .mode = d->path.text ? d->mode : 0,
                .owner = d->owner,
                .group = d->group,
                .source = entry->path,
                .key = hash + 1,
                .sha256 = content->sha256,
                .size = (int64_t)content->len,
        };
        e->n_secrets++;
        return compiler_keep_object(c, content->sha256, content->data, content->len);
}

int link_secrets(struct compiler *c, struct app_entry *e) {
        const struct app_document *a = e->document->app;
        e->secrets = arena_calloc(c->arena, a->n_secrets + 1, sizeof *e->secrets);
        e->linked_secrets = arena_calloc(c->arena, a->n_secrets + 1, sizeof *e->linked_secrets);
        if (!e->secrets || !e->linked_secrets)
                return no_memory(c);
        for (size_t i = 0; i < a->n_secrets; i++) {
                int r = link_secret(c, e, &a->secrets[i]);
                if (r < 0)
                        return r;
        }
        return 0;
}

static bool is_recipient(const char *const *recipients, const char *recipient) {
        for (; *recipients; recipients++)
                if (str_eq(*recipients, recipient))
                        return true;
        return false;
}

/* A node whose recipient nobody told us is not spoken of: it says so itself when it gets there. */
static void check_app(struct compiler *c, const struct fleet_entry *f, const struct app_entry *e, size_t i) {
        char names[256] = "", way_out[256];
        size_t used = 0, n = 0;
        for (size_t k = 0; k < i; k++)
                if (str_eq(e->secrets[k].source, e->secrets[i].source))
                        return; /* said of the file already */
        for (size_t k = 0; k < f->n_nodes; k++) {
                const struct fleet_node *node = &c->nodes[f->nodes[k]];
                if (!node->recipient || is_recipient(e->linked_secrets[i].recipients, node->recipient))
                        continue;
                if (n++ < NAMED_MAX && used < sizeof names)
                        used += (size_t)snprintf(names + used, sizeof names - used, "%s%s", n > 1 ? ", " : "",
                                                 node->name);
        }
        if (n == 0)
                return;
        (void)snprintf(way_out, sizeof way_out, "skerry secret add --fleet %s %s", f->document->called,
                       e->secrets[i].source);
        compiler_warning(
                c, &e->linked_secrets[i].where, way_out,
                "app \"%s\" of fleet \"%s\" will fail on %zu node%s (%s%s) that cannot read \"%.200s\"",
                e->name, f->document->called, n, n == 1 ? "" : "s", names, n > NAMED_MAX ? ", ..." : "",
                e->secrets[i].source);
}

void check_recipients(struct compiler *c, const struct fleet_entry *f) {
        for (size_t a = 0; a < f->n_apps; a++)
                for (size_t i = 0; i < f->apps[a]->n_secrets; i++)
                        check_app(c, f, f->apps[a], i);
}
