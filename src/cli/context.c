/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/context.h"

#include <errno.h>
#include <string.h>

#include "base/arena.h"
#include "base/fs.h"
#include "base/str.h"
#include "codec/json.h"
#include "codec/yaml.h"

#define FILE_LIMIT ((size_t)1 << 20) /* bytes */
#define CONTEXTS_MAX 256

void cli_context_done(struct cli_context *c) {
        free(c->name);
        free(c->server);
        free(c->token);
        free(c->pin);
        *c = (struct cli_context){0};
}

void context_file_done(struct context_file *f) {
        for (size_t i = 0; i < f->n; i++)
                cli_context_done(&f->items[i]);
        free(f->items);
        free(f->current);
        free(f->path);
        *f = (struct context_file){0};
}

int context_file_path(const struct cli_globals *g, char **ret, struct err **err) {
        const char *xdg = getenv("XDG_CONFIG_HOME"), *home = getenv("HOME");
        char *path;
        if (!str_is_empty(g->config))
                path = str_dup(g->config);
        else if (!str_is_empty(xdg) && *xdg == '/')
                path = path_join(xdg, "skerry/config.yaml");
        else if (!str_is_empty(home))
                path = path_join(home, ".config/skerry/config.yaml");
        else
                return err_set(err, ENOENT, "no place for contexts: neither HOME nor SKERRY_CONFIG is set");
        if (!path)
                return err_set_errno(err, ENOMEM, "find the context file");
        *ret = path;
        return 0;
}

/* ---- reading */

static int read_text(const struct value *map, const char *key, bool required, char **ret, struct err **err) {
        const struct value *v = value_get(map, key);
        if (!v || v->type == VALUE_NULL) {
                if (required)
                        return err_set(err, EINVAL, "%s:%u:%u: '%s' is missing", map->position.file,
                                       map->position.line, map->position.column, key);
                return 0;
        }
        if (!v->text)
                return err_set(err, EINVAL, "%s:%u:%u: '%s' is a %s, not text", v->position.file,
                               v->position.line, v->position.column, key, value_type_name(v->type));
        return str_replace(ret, v->text) < 0 ? err_set_errno(err, ENOMEM, "read %s", v->position.file) : 0;
}

static int read_contexts(const struct value *document, struct context_file *f, struct err **err) {
        if (document->type != VALUE_MAP)
                return err_set(err, EINVAL, "%s:%u:%u: expected a map with currentContext and contexts",
                               f->path, document->position.line, document->position.column);
        int r = read_text(document, "currentContext", false, &f->current, err);
        if (r < 0)
                return r;
        const struct value *list = value_get(document, "contexts");
        if (!list || list->type == VALUE_NULL)
                return 0;
        if (list->type != VALUE_LIST || list->n_items > CONTEXTS_MAX)
                return err_set(err, EINVAL, "%s:%u:%u: 'contexts' must be a list of at most %d", f->path,
                               list->position.line, list->position.column, CONTEXTS_MAX);
        for (size_t i = 0; i < list->n_items; i++) {
                const struct value *item = list->items[i];
                struct cli_context c = {0};
                if (item->type != VALUE_MAP)
                        return err_set(err, EINVAL, "%s:%u:%u: a context must be a map", f->path,
                                       item->position.line, item->position.column);
                r = read_text(item, "name", true, &c.name, err);
                if (r == 0)
                        r = read_text(item, "server", true, &c.server, err);
                if (r == 0)
                        r = read_text(item, "token", false, &c.token, err);
                if (r == 0)
                        r = read_text(item, "pin", false, &c.pin, err);
                if (r == 0)
                        r = context_file_set(f, c.name, c.server, c.token, c.pin, err);
                cli_context_done(&c);
                if (r < 0)
                        return r;
        }
        return 0;
}

int context_file_load(const char *path, struct context_file *ret, struct err **err) {
        _cleanup_(context_file_done) struct context_file f = {.path = str_dup(path)};
        _cleanup_(x_freep) char *text = NULL;
        size_t len;
        if (!f.path)
                return err_set_errno(err, ENOMEM, "read %s", path);
        if (access(f.path, F_OK) == 0) {
                _cleanup_(arena_freep) struct arena *arena = arena_new(0);
                struct value **documents = NULL;
                size_t n = 0;
                int r = file_read(path, FILE_LIMIT, &text, &len, err);
                if (r < 0)
                        return r;
                if (!arena)
                        return err_set_errno(err, ENOMEM, "read %s", path);
                r = yaml_decode(arena, path, text, len, &documents, &n, NULL, err);
                if (r < 0)
                        return r;
                if (n > 0) {
                        r = read_contexts(documents[0], &f, err);
                        if (r < 0)
                                return r;
                }
        }
        *ret = f;
        f = (struct context_file){0};
        return 0;
}

int context_file_save(const struct context_file *f, struct err **err) {
        _cleanup_json_ json_t *document = json_object(), *list = json_array();
        if (f->current)
                (void)json_object_set_new(document, "currentContext", json_string(f->current));
        for (size_t i = 0; i < f->n; i++) {
                const struct cli_context *c = &f->items[i];
                json_t *item = json_pack("{s:s, s:s, s:s*, s:s*}", "name", c->name, "server", c->server,
                                         "token", c->token, "pin", c->pin);
                if (!item || json_array_append_new(list, item) < 0)
                        return err_set(err, EINVAL, "write %s: context %s is not text", f->path, c->name);
        }
        _cleanup_(x_freep) char *text = NULL, *folder = str_dup(f->path);
        if (!document || !list || !folder || json_object_set(document, "contexts", list) < 0)
                return err_set_errno(err, ENOMEM, "write %s", f->path);
        text = json_encode_yaml(document);
        if (!text)
                return err_set_errno(err, ENOMEM, "write %s", f->path);
        char *slash = strrchr(folder, '/');
        if (slash && slash != folder) {
                *slash = '\0';
                int r = dir_make(folder, 0700, err);
                if (r < 0)
                        return r;
        }
        return file_write_atomic(f->path, text, strlen(text), 0600, err);
}

/* ---- changing */

static int unknown_context(const struct context_file *f, const char *name, struct err **err) {
        if (f->n == 0)
                return err_set(err, ENOENT,
                               "no context '%s': %s holds none; add one with 'skerry context add'", name,
                               f->path);
        _cleanup_(x_freep) const char **names = calloc(f->n, sizeof(*names));
        for (size_t i = 0; names && i < f->n; i++)
                names[i] = f->items[i].name;
        const char *nearest = names ? str_nearest(name, names, f->n) : NULL;
        return nearest ? err_set(err, ENOENT, "no context '%s' in %s; did you mean '%s'?", name, f->path,
                                 nearest)
                       : err_set(err, ENOENT,
                                 "no context '%s' in %s; 'skerry context list' shows those there are", name,
                                 f->path);
}

struct cli_context *context_file_find(const struct context_file *f, const char *name, struct err **err) {
        for (size_t i = 0; i < f->n; i++)
                if (str_eq(f->items[i].name, name))
                        return &f->items[i];
        (void)unknown_context(f, name, err);
        return NULL;
}

int context_file_set(struct context_file *f, const char *name, const char *server, const char *token,
                     const char *pin, struct err **err) {
        struct cli_context c = {str_dup(name), str_dup(server), str_dup(token), str_dup(pin)};
        struct cli_context *old = context_file_find(f, name, NULL);
        if (!c.name || !c.server || (token && !c.token) || (pin && !c.pin))
                goto no_memory;
        if (old) {
                cli_context_done(old);
                *old = c;
                return 0;
        }
        if (f->n >= CONTEXTS_MAX) {
                cli_context_done(&c);
                return err_set(err, E2BIG, "there are %d contexts already; remove one first", CONTEXTS_MAX);
        }
        struct cli_context *items = realloc(f->items, (f->n + 1) * sizeof(*items));
        if (!items)
                goto no_memory;
        f->items = items;
        f->items[f->n++] = c;
        return 0;
no_memory:
        cli_context_done(&c);
        return err_set_errno(err, ENOMEM, "add context %s", name);
}

int context_file_remove(struct context_file *f, const char *name, struct err **err) {
        struct cli_context *c = context_file_find(f, name, err);
        if (!c)
                return -ENOENT;
        cli_context_done(c);
        size_t index = (size_t)(c - f->items);
        memmove(c, c + 1, (f->n - index - 1) * sizeof(*c));
        f->n--;
        if (str_eq(f->current, name))
                (void)str_replace(&f->current, NULL);
        return 0;
}

/* ---- using */

static bool host_is_local(const char *host, size_t len) {
        static const char *const names[] = {"localhost", "127.0.0.1", "[::1]"};
        for (size_t i = 0; i < ARRAY_SIZE(names); i++)
                if (strlen(names[i]) == len && strncmp(names[i], host, len) == 0)
                        return true;
        return false;
}

int server_url_normalise(const char *text, char **ret, struct err **err) {
        const char *scheme = "https://", *rest = text, *after;
        if ((after = str_after_prefix(text, "https://"))) {
                rest = after;
        } else if ((after = str_after_prefix(text, "http://"))) {
                scheme = "http://";
                rest = after;
        } else if (strstr(text, "://")) {
                return err_set(err, EINVAL, "server '%s': only https is spoken", text);
        }
        size_t len = strlen(rest);
        while (len > 0 && rest[len - 1] == '/')
                len--;
        size_t host = strcspn(rest, "/?#");
        if (host > len)
                host = len;
        if (host < len)
                return err_set(err, EINVAL, "server '%s': give the host and port only, without '%s'", text,
                               rest + host);
        if (host == 0 || strcspn(rest, " \t@\"<>\\^`{|}") < host)
                return err_set(err, EINVAL, "server '%s' is not a host name or address with an optional port",
                               text);
        size_t name = *rest == '[' ? strcspn(rest, "]") + 1 : strcspn(rest, ":/?#");
        size_t digits = name + 1 < host ? strspn(rest + name + 1, "0123456789") : 0;
        if (name == 0 || name > host ||
            (name < host && (rest[name] != ':' || digits == 0 || name + 1 + digits != host)))
                return err_set(err, EINVAL,
                               "server '%s': after the host only a port may follow, as in host:8443", text);
        if (scheme[4] == ':' && !host_is_local(rest, name))
                return err_set(
                        err, EINVAL,
                        "server '%s': without TLS the token would cross the network in clear; use https",
                        text);
        char *url = str_format("%s%.*s", scheme, (int)len, rest);
        if (!url)
                return err_set_errno(err, ENOMEM, "read the server's address");
        *ret = url;
        return 0;
}

static int copy_context(struct cli_context *to, const struct cli_context *from, struct err **err) {
        if (str_replace(&to->name, from->name) < 0 || str_replace(&to->server, from->server) < 0 ||
            str_replace(&to->token, from->token) < 0 || str_replace(&to->pin, from->pin) < 0)
                return err_set_errno(err, ENOMEM, "read the context");
        return 0;
}

static int resolve(const struct cli_globals *g, struct cli_context *c, struct err **err) {
        const char *server = getenv("SKERRY_SERVER"), *token = getenv("SKERRY_TOKEN");
        _cleanup_(context_file_done) struct context_file f = {0};
        _cleanup_(x_freep) char *path = NULL;
        int r;
        if (str_is_empty(server) || !str_is_empty(g->context)) {
                r = context_file_path(g, &path, err);
                if (r == 0)
                        r = context_file_load(path, &f, err);
                if (r < 0)
                        return r;
                const char *name = !str_is_empty(g->context) ? g->context : f.current;
                if (!name)
                        return err_set(
                                err, ENOENT,
                                f.n ? "no context is chosen: name one with --context or 'skerry context use'"
                                    : "no server is known: 'skerry context add NAME --server URL --token-file"
                                      " FILE' makes one known, or set SKERRY_SERVER and SKERRY_TOKEN");
                const struct cli_context *found = context_file_find(&f, name, err);
                if (!found)
                        return -ENOENT;
                r = copy_context(c, found, err);
                if (r < 0)
                        return r;
        }
        if (!str_is_empty(server)) {
                char *url = NULL;
                r = server_url_normalise(server, &url, err);
                if (r < 0) {
                        (void)err_wrap(err, "environment variable SKERRY_SERVER");
                        return r;
                }
                free(c->server);
                c->server = url;
                if (!c->name)
                        c->name = str_dup("environment");
        }
        if (!str_is_empty(token) && str_replace(&c->token, token) < 0)
                return err_set_errno(err, ENOMEM, "read the context");
        return 0;
}

int context_resolve(const struct cli_globals *g, struct cli_context *ret, struct err **err) {
        struct cli_context c = {0};
        int r = resolve(g, &c, err);
        if (r < 0) {
                cli_context_done(&c);
                return r;
        }
        *ret = c;
        return 0;
}

bool context_exists(const struct cli_globals *g) {
        struct cli_context c = {0};
        bool there = context_resolve(g, &c, NULL) == 0;
        cli_context_done(&c);
        return there;
}
