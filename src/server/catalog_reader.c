/* SPDX-License-Identifier: Apache-2.0 */
#include "server/catalog_reader.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "base/fs.h"
#include "base/log.h"
#include "codec/json.h"
#include "repo/tuf/client.h"
#include "server/director.h"
#include "server/memory.h"
#include "server/repository.h"
#include "server/shapes.h"

#define LOOK_FOLDER_MS 5000 /* how often a folder is looked at */
#define LOOK_URL_MS 60000   /* and another's server */

enum stage { IDLE, REFRESH, LOAD, BUILD };

struct catalog_reader {
        struct control *control;
        struct tuf_folder *folder;
        struct tuf_store store;
        struct tuf_client *client; /* made when the first root is known */
        struct loop_timer *timer;
        enum stage stage;
        bool again, stopped;
        /* what is under way, on the worker pool or waiting for a file */
        int fd;
        size_t max_bytes;
        struct catalog *built;
        char *complaint; /* about entries that were passed over */
        struct err *failure;
        /* as told */
        char *error;
        msec_t checked_at;
        bool has_read; /* the versions below are what the director's catalog was made of */
        struct tuf_versions versions, catalogued;
};

static void next_file(struct catalog_reader *reader);

static bool is_url(const char *location) {
        return str_has_prefix(location, "https://") || str_has_prefix(location, "http://");
}

/* ---- one look: refresh, and where something changed all roles, then the catalog */

/* What the director shows of the reading. */
static void tell(const struct catalog_reader *reader) {
        json_t *j = json_object_new(), *versions = json_object_new();
        json_put(versions, "root", json_number(reader->versions.root));
        json_put(versions, "timestamp", json_number(reader->versions.timestamp));
        json_put(versions, "snapshot", json_number(reader->versions.snapshot));
        json_put(versions, "targets", json_number(reader->versions.targets));
        json_put(j, "versions", versions);
        json_put(j, "timestampExpiresAt", json_time(reader->versions.timestamp_expires_s * 1000));
        json_put(j, "checkedAt", json_time(reader->checked_at));
        json_put(j, "error", json_text(reader->error));
        director_note(reader->control, j, reader->error);
}

static void look_ended(struct catalog_reader *reader, int r, const struct err *err) {
        const char *location = reader->control->settings->repository;
        reader->stage = IDLE;
        reader->checked_at = control_now(reader->control);
        if (r < 0 && !str_eq(reader->error, err_message(err)))
                log_warning("the repository cannot be read or is not to be trusted", "repository", location,
                            "error", err_message(err), NULL);
        else if (r == 0 && reader->error)
                log_info("the repository can be read again", "repository", location, NULL);
        replace_text(&reader->error, r < 0 ? err_message(err) : NULL);
        tell(reader);
        if (reader->again) {
                reader->again = false;
                loop_timer_set(reader->timer, 0);
        } else
                loop_timer_set(reader->timer, is_url(location) ? LOOK_URL_MS : LOOK_FOLDER_MS);
}

static int catalog_target(void *arg, const struct tuf_target *t) {
        struct catalog_reader *reader = arg;
        _cleanup_(err_freep) struct err *err = NULL;
        int r = catalog_add(reader->built, t->path, t->length, t->sha256, t->custom, &err);
        if (r == -ENOMEM || r == -EFBIG) {
                reader->failure = TAKE_PTR(err);
                return r;
        }
        if (r < 0 && !reader->complaint)
                reader->complaint = copy_text(err_message(err));
        return 0;
}

/* On a worker. */
static void build(void *arg) {
        struct catalog_reader *reader = arg;
        reader->built = must(catalog_new());
        if (tuf_client_each(reader->client, catalog_target, reader) < 0) {
                reader->built = catalog_unref(reader->built);
                return;
        }
        catalog_seal(reader->built);
        if (director_keep(reader->control, reader->built, &reader->failure) < 0)
                reader->built = catalog_unref(reader->built);
}

static void build_done(void *arg) {
        struct catalog_reader *reader = arg;
        _cleanup_(err_freep) struct err *err = TAKE_PTR(reader->failure);
        _cleanup_(x_freep) char *complaint = TAKE_PTR(reader->complaint);
        if (reader->stopped)
                return;
        if (!reader->built) {
                look_ended(reader, -EIO, err);
                return;
        }
        if (complaint)
                log_warning("an entry of the repository is passed over", "error", complaint, NULL);
        reader->catalogued = reader->versions;
        reader->has_read = true;
        look_ended(reader, 0, NULL);
        director_take(reader->control, TAKE_PTR(reader->built));
}

static void stage_ended(struct catalog_reader *reader) {
        _cleanup_(err_freep) struct err *err = NULL;
        int r = tuf_client_result(reader->client, &err);
        if (r < 0) {
                look_ended(reader, r, err);
                return;
        }
        if (reader->stage == REFRESH) {
                tuf_client_versions(reader->client, &reader->versions);
                if (reader->has_read && reader->catalogued.root == reader->versions.root &&
                    reader->catalogued.snapshot == reader->versions.snapshot) {
                        look_ended(reader, 0, NULL);
                        return;
                }
                reader->stage = LOAD;
                tuf_client_load_all(reader->client);
                next_file(reader);
                return;
        }
        reader->stage = BUILD;
        must_do(loop_work(reader->control->loop, build, build_done, reader));
}

static int read_whole(int fd, size_t limit, char **ret, size_t *ret_len) {
        struct stat st;
        if (fstat(fd, &st) < 0)
                return -errno;
        if (st.st_size < 0 || (size_t)st.st_size > limit)
                return -EFBIG;
        _cleanup_(x_freep) char *data = must(malloc((size_t)st.st_size + 1));
        size_t len = 0;
        while (len < (size_t)st.st_size) {
                ssize_t n = pread(fd, data + len, (size_t)st.st_size - len, (off_t)len);
                if (n < 0 && errno == EINTR)
                        continue;
                if (n <= 0)
                        return n < 0 ? -errno : -EIO;
                len += (size_t)n;
        }
        *ret = TAKE_PTR(data);
        *ret_len = len;
        return 0;
}

/* On a worker: signatures are verified here. */
static void give(void *arg) {
        struct catalog_reader *reader = arg;
        _cleanup_(x_freep) char *data = NULL;
        size_t len = 0;
        int r = read_whole(reader->fd, reader->max_bytes, &data, &len);
        if (r < 0)
                tuf_client_abandon(reader->client, r,
                                   r == -EFBIG ? "a file is larger than it may be" : "it cannot be read");
        else
                tuf_client_give(reader->client, data, len);
        close(reader->fd);
        reader->fd = -1;
}

static void give_done(void *arg) {
        struct catalog_reader *reader = arg;
        if (!reader->stopped)
                next_file(reader);
}

static void file_there(void *arg, int fd) {
        struct catalog_reader *reader = arg;
        if (reader->stopped) {
                if (fd >= 0)
                        close(fd);
                return;
        }
        if (fd >= 0) {
                reader->fd = fd;
                must_do(loop_work(reader->control->loop, give, give_done, reader));
                return;
        }
        if (fd == -ENOENT)
                tuf_client_missing(reader->client);
        else
                tuf_client_abandon(reader->client, fd, strerror(-fd));
        next_file(reader);
}

static void next_file(struct catalog_reader *reader) {
        const struct tuf_need *need = tuf_client_need(reader->client);
        if (!need) {
                stage_ended(reader);
                return;
        }
        reader->max_bytes = need->max_bytes;
        repository_read(reader->control, need->path, true, file_there, reader);
}

/* The first root is taken as it is found; from then on new ones come by the chain. */
static int client_make(struct catalog_reader *reader, struct err **err) {
        const json_t *root = repository_root(reader->control);
        _cleanup_(x_freep) char *text = root ? must(json_encode_compact(root)) : NULL;
        return tuf_client_new(&reader->store, text, text ? strlen(text) : 0, &reader->client, err);
}

void catalog_reader_look(struct control *c) {
        struct catalog_reader *reader = c->catalog_reader;
        _cleanup_(err_freep) struct err *err = NULL;
        if (!reader || reader->stopped)
                return;
        if (reader->stage != IDLE) {
                reader->again = true;
                return;
        }
        reader->stage = REFRESH;
        int r = reader->client ? 0 : client_make(reader, &err);
        if (r < 0) {
                look_ended(reader, r, err);
                return;
        }
        tuf_client_refresh(reader->client, control_now(c) / 1000);
        next_file(reader);
}

static void on_timer(void *arg) {
        catalog_reader_look(arg);
}

/* ---- life */

int catalog_reader_open(struct control *c, struct err **err) {
        _cleanup_(x_freep) char *trusted = must(path_join(c->settings->state, "director/trusted"));
        if (!c->settings->repository)
                return 0;
        struct catalog_reader *reader = NEW(struct catalog_reader);
        c->catalog_reader = reader;
        reader->control = c;
        reader->fd = -1;
        reader->timer = must(loop_timer_new(c->loop, on_timer, c));
        int r = tuf_folder_open(trusted, &reader->folder, err);
        if (r < 0)
                return err_wrap(err, "what is trusted of the repository");
        reader->store = tuf_folder_store(reader->folder);
        return 0;
}

void catalog_reader_start(struct control *c) {
        if (c->catalog_reader)
                loop_timer_set(c->catalog_reader->timer, 0);
}

void catalog_reader_stop(struct control *c) {
        struct catalog_reader *reader = c->catalog_reader;
        if (!reader)
                return;
        reader->stopped = true;
        reader->timer = loop_timer_free(reader->timer);
}

struct catalog_reader *catalog_reader_free(struct catalog_reader *reader) {
        if (!reader)
                return NULL;
        tuf_client_free(reader->client);
        tuf_folder_free(reader->folder);
        catalog_unref(reader->built);
        err_free(reader->failure);
        free(reader->complaint);
        free(reader->error);
        free(reader);
        return NULL;
}
