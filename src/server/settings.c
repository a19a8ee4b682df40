/* SPDX-License-Identifier: Apache-2.0 */
#include "server/settings.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>

#include "base/fs.h"
#include "codec/json.h"
#include "server/memory.h"

#define SETTINGS_MAX 65536
#define PASSPHRASE_MAX 4096

void settings_done(struct settings *s) {
        free(s->state);
        free(s->domain);
        free(s->name);
        strv_free(s->dns_names);
        if (s->passphrase)
                explicit_bzero(s->passphrase, strlen(s->passphrase));
        free(s->passphrase);
        free(s->api_listen);
        free(s->edge_listen);
        free(s->credentials);
        free(s->notify);
        free(s->repository);
        free(s->repository_trust);
        strv_free(s->repository_mirrors);
        if (s->lock_fd > 0)
                close(s->lock_fd);
        *s = (struct settings){0};
}

static char *settings_path(const char *state) {
        return must(path_join(state, "server.json"));
}

bool settings_exist(const char *state) {
        _cleanup_(x_freep) char *path = settings_path(state);
        return access(path, F_OK) == 0;
}

int settings_create(const char *state, const char *domain, const char *name, char *const *dns_names,
                    struct err **err) {
        _cleanup_(x_freep) char *path = settings_path(state);
        json_t *j = json_object_new(), *names = json_array_new();
        for (size_t i = 0; dns_names && dns_names[i]; i++)
                json_add(names, json_text(dns_names[i]));
        json_put(j, "trustDomain", json_text(domain));
        json_put(j, "name", json_text(name));
        json_put(j, "dnsNames", names);
        json_put(j, "bundleSequence", json_number(1));
        _cleanup_(x_freep) char *text = must(json_encode_pretty(j));
        json_decref(j);
        return file_write_atomic(path, text, strlen(text), 0644, err);
}

int settings_load(const char *state, struct settings *s, struct err **err) {
        _cleanup_(x_freep) char *path = settings_path(state), *text = NULL;
        size_t len = 0;
        json_t *j = NULL;
        const json_t *names = NULL, *item;
        const char *domain = NULL, *name = NULL;
        if (!settings_exist(state))
                return err_set(err, ENOENT,
                               "%s holds no server yet: make one with skerry-server init --state %s --domain "
                               "YOUR.DOMAIN",
                               state, state);
        int r = file_read(path, SETTINGS_MAX, &text, &len, err);
        if (r >= 0)
                r = json_decode(text, len, &j, err);
        if (r >= 0)
                r = json_read_string(j, "trustDomain", &domain, err);
        if (r >= 0)
                r = json_read_string(j, "name", &name, err);
        if (r >= 0)
                r = json_read_array(j, "dnsNames", &names, err);
        if (r >= 0)
                r = json_read_int(j, "bundleSequence", &s->bundle_sequence, err);
        if (r < 0) {
                json_decref(j);
                return err_wrap(err, "%s", path);
        }
        size_t i;
        replace_text(&s->state, state);
        replace_text(&s->domain, domain);
        replace_text(&s->name, name);
        json_array_foreach (names, i, item)
                if (json_is_string(item))
                        must_do(strv_push(&s->dns_names, json_string_value(item)));
        json_decref(j);
        return 0;
}

int settings_lock(struct settings *s, struct err **err) {
        _cleanup_(x_freep) char *path = must(path_join(s->state, "lock"));
        int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
        if (fd < 0)
                return err_set_errno(err, errno, "open %s", path);
        if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
                int error = errno;
                close(fd);
                if (error == EWOULDBLOCK)
                        return err_set(err, EBUSY,
                                       "another skerry-server runs on %s: stop it first, or give this one a "
                                       "state folder of its own",
                                       s->state);
                return err_set_errno(err, error, "lock %s", path);
        }
        s->lock_fd = fd;
        return 0;
}

int settings_read_passphrase(const char *path, char **ret, struct err **err) {
        char *text = NULL;
        size_t len = 0;
        if (!path)
                return 0;
        int r = file_read(path, PASSPHRASE_MAX, &text, &len, err);
        if (r < 0)
                return r;
        text[strcspn(text, "\r\n")] = '\0';
        if (!*text) {
                free(text);
                return err_set(err, EINVAL, "%s: its first line, the passphrase, is empty", path);
        }
        *ret = text;
        return 0;
}
