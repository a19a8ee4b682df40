/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/fs.h"
#include "base/str.h"
#include "cli/kinds.h"
#include "cli/secret.h"
#include "codec/json.h"

#define IDENTITIES_MAX 64
#define IDENTITIES_FILE_MAX ((size_t)64 << 10)

void secret_time(char out[32]) {
        time_t now = time(NULL);
        struct tm tm;
        (void)gmtime_r(&now, &tm);
        (void)strftime(out, 32, "%Y-%m-%dT%H:%M:%SZ", &tm);
}

int secret_load(const char *path, struct sops **ret, struct err **err) {
        _cleanup_(x_freep) char *text = NULL;
        size_t len = 0;
        int r = file_read(path, SOPS_FILE_MAX, &text, &len, err);
        return r < 0 ? r : sops_parse(path, text, len, ret, err);
}

/* ---- identities */

struct identities {
        struct age_identity *items[IDENTITIES_MAX];
        size_t n;
};

static void identities_done(struct identities *all) {
        for (size_t i = 0; i < all->n; i++)
                age_identity_free(all->items[i]);
        all->n = 0;
}

/* One a line; comments and blank lines are passed over. The text is wiped. */
static int identities_add(struct identities *all, const char *from, char *text, struct err **err) {
        size_t len = strlen(text);
        int r = 0;
        char *rest = text;
        for (char *line; r == 0 && (line = strsep(&rest, "\n"));) {
                line[strcspn(line, "\r")] = '\0';
                if (!*line || *line == '#')
                        continue;
                r = all->n == IDENTITIES_MAX ? err_set(err, E2BIG, "more than %d identities", IDENTITIES_MAX)
                                             : age_identity_parse(line, &all->items[all->n], err);
                all->n += r == 0;
        }
        explicit_bzero(text, len);
        return r < 0 ? err_wrap_code(err, r, "%s", from) : 0;
}

static int identities_add_file(struct identities *all, const char *path, struct err **err) {
        _cleanup_(x_freep) char *text = NULL;
        size_t len;
        int r = file_read(path, IDENTITIES_FILE_MAX, &text, &len, err);
        return r < 0 ? r : identities_add(all, path, text, err);
}

/* Where sops looks, too. */
static int identities_read(const struct secret_globals *s, struct identities *all, struct err **err) {
        const char *text = getenv("SOPS_AGE_KEY"),
                   *file = s->identity ? s->identity : getenv("SOPS_AGE_KEY_FILE");
        const char *config = getenv("XDG_CONFIG_HOME"), *home = getenv("HOME");
        int r = 0;
        if (!s->identity && !str_is_empty(text)) {
                _cleanup_(x_freep) char *copy = str_dup(text);
                r = copy ? identities_add(all, "$SOPS_AGE_KEY", copy, err)
                         : err_set_errno(err, ENOMEM, "identity");
        }
        if (r == 0 && !str_is_empty(file))
                r = identities_add_file(all, file, err);
        if (r < 0 || all->n > 0)
                return r;
        _cleanup_(x_freep) char *usual = !str_is_empty(config) ? str_format("%s/sops/age/keys.txt", config)
                                         : home ? str_format("%s/.config/sops/age/keys.txt", home)
                                                : NULL;
        if (usual && access(usual, F_OK) == 0)
                r = identities_add_file(all, usual, err);
        if (r == 0 && all->n == 0)
                return err_set(err, ENOKEY,
                               "no age identity at hand to open it with: give --identity FILE (age-keygen "
                               "makes one)");
        return r;
}

int secret_load_open(const struct secret_globals *s, const char *path, struct sops **ret, struct err **err) {
        _cleanup_(identities_done) struct identities all = {.n = 0};
        _cleanup_(sops_freep) struct sops *file = NULL;
        int r = secret_load(path, &file, err);
        if (r == 0)
                r = identities_read(s, &all, err);
        if (r == 0)
                r = sops_open(file, (const struct age_identity *const *)all.items, all.n, err);
        if (r == 0)
                *ret = TAKE_PTR(file);
        return r;
}

int secret_store(const char *path, const struct buf *content, struct err **err) {
        struct stat st;
        mode_t mode = stat(path, &st) == 0 ? st.st_mode & 0777 : 0644;
        return file_write_atomic(path, content->data, content->len, mode, err);
}

/* ---- nodes */

void secret_nodes_done(struct secret_nodes *n) {
        for (size_t i = 0; i < n->n; i++) {
                free(n->items[i].name);
                free(n->items[i].recipient);
        }
        free(n->items);
        *n = (struct secret_nodes){0};
}

const char *secret_nodes_name(const struct secret_nodes *n, const char *recipient) {
        for (size_t i = 0; i < n->n; i++)
                if (str_eq(n->items[i].recipient, recipient))
                        return n->items[i].name;
        return NULL;
}

static bool has_name(const struct secret_nodes *n, const char *name) {
        for (size_t i = 0; i < n->n; i++)
                if (str_eq(n->items[i].name, name))
                        return true;
        return false;
}

static int add_node(struct secret_nodes *all, const json_t *node, struct err **err) {
        const json_t *status = json_object_get(node, "status"), *facts = json_object_get(status, "facts");
        const char *recipient = json_string_value(json_object_get(facts, "recipient"));
        if (has_name(all, object_name(node)) || json_is_true(json_object_get(status, "revoked")))
                return 0;
        struct secret_node *grown = realloc(all->items, (all->n + 1) * sizeof(*grown));
        if (!grown)
                return err_set_errno(err, ENOMEM, "nodes");
        all->items = grown;
        grown[all->n] = (struct secret_node){
                .name = str_dup(object_name(node)),
                .recipient = age_recipient_is_valid(recipient) ? str_dup(recipient) : NULL};
        return grown[all->n++].name ? 0 : err_set_errno(err, ENOMEM, "nodes");
}

static int add_fleet(struct api *api, const char *fleet, struct secret_nodes *all, struct err **err) {
        _cleanup_json_ json_t *answer = NULL, *known = NULL;
        _cleanup_(buf_done) struct buf query = BUF_INIT;
        size_t i;
        json_t *node;
        if (fleet) {
                int r = kind_get(api, kind_find("fleets", NULL), fleet, &known, err);
                if (r < 0)
                        return r;
                buf_puts(&query, "fleet=");
                url_put(&query, fleet);
        }
        int r = kind_list(api, kind_find("nodes", NULL), buf_str(&query), &answer, err);
        json_array_foreach (json_object_get(answer, "items"), i, node)
                if (r == 0)
                        r = add_node(all, node, err);
        return r;
}

int secret_nodes_read(const struct cli_globals *g, char *const *fleets, char *const *names,
                      struct secret_nodes *ret, struct err **err) {
        _cleanup_(api_freep) struct api *api = NULL;
        _cleanup_(secret_nodes_done) struct secret_nodes all = {0};
        int r = api_open(g, &api, err);
        for (size_t i = 0; r == 0 && fleets && fleets[i]; i++)
                r = add_fleet(api, fleets[i], &all, err);
        for (size_t i = 0; r == 0 && names && names[i]; i++) {
                _cleanup_json_ json_t *node = NULL;
                r = kind_get(api, kind_find("nodes", NULL), names[i], &node, err);
                if (r == 0)
                        r = add_node(&all, node, err);
        }
        if (r == 0 && !(fleets && fleets[0]) && !(names && names[0]))
                r = add_fleet(api, NULL, &all, err);
        if (r < 0)
                return r;
        *ret = all;
        all = (struct secret_nodes){0};
        return 0;
}
