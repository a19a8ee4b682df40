/* SPDX-License-Identifier: Apache-2.0 */
#include "relay/repository_documents.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "base/fs.h"
#include "base/list.h"
#include "base/str.h"
#include "base/table.h"
#include "codec/json.h"
#include "relay/repository_cache.h"

#define ABSENT_MS 5000        /* how long "there is none" is believed */
#define DOUBT_EVERY_MS 10000  /* how often a node's word that something is wrong is followed */
#define FRESH_MS 1000         /* somebody who wants it fresh gets what is no older than this */
#define ROOTS_MISSED_MAX 1024 /* that a root is not there is remembered on the disk up to this version */
#define NAME_BYTES_MAX ((size_t)4096)
#define ETAG_MAX 200
#define ROOM_BYTES ((int64_t)16 << 20)

struct waiter {
        struct list link;
        void (*done)(void *arg, const struct edge_repository_file *f);
        void *arg;
};

struct document {
        struct repository_documents *all; /* NULL: gone while a worker had it */
        struct object_store *store;
        struct repository_path named;
        char *path, *record;          /* record: file that remembers what follows */
        char sha256[SHA256_HEX_SIZE]; /* of what is kept; "": nothing */
        int64_t version;
        char etag[ETAG_MAX]; /* as its source gave it, with quotes */
        unsigned etag_source;
        bool missing; /* the last word was that there is none */
        bool doubted; /* somebody found it wrong, who can tell: others are asked whether they have another */
        msec_t doubted_at;
        msec_t read_at; /* mono, of the last word; 0: before the start of this program, or expired */
        struct list waiters;
        void *call;
        unsigned source;
        source_mask tried, absent, skipped; /* skipped: had nothing to say */
        bool busy;                          /* a worker has it */
        /* for and from the worker */
        char *text;
        size_t len;
        char came[SHA256_HEX_SIZE];
        int64_t came_version;
        bool goes_back; /* an older version is taken, too */
        char came_etag[ETAG_MAX];
        bool kept; /* else it is only in text, for those who wait */
        int result;
};

struct repository_documents {
        struct repository_context *context;
        char *folder;
        struct table *table; /* path -> document */
        msec_t lifetime_ms;
        msec_t expired_at; /* mono; what was read before is as good as never read */
};

static struct document *document_free(struct document *d) {
        if (!d)
                return NULL;
        free(d->path);
        free(d->record);
        free(d->text);
        free(d);
        return NULL;
}

static void fetch(struct document *d);

static size_t limit_of(const struct document *d) {
        switch (d->named.kind) {
        case REPOSITORY_INDEX: return DOCUMENT_INDEX_MAX;
        case REPOSITORY_DELTA_LIST: return DOCUMENT_LIST_MAX;
        default: return DOCUMENT_METADATA_MAX;
        }
}

/* ---- telling */

static void tell_all(struct document *d, int error, const char *message, int fd) {
        struct list now;
        list_init(&now);
        while (!list_is_empty(&d->waiters)) {
                struct list *link = d->waiters.next;
                list_remove(link);
                list_append(&now, link);
        }
        while (!list_is_empty(&now)) {
                struct waiter *w = LIST_ENTRY(now.next, struct waiter, link);
                struct edge_repository_file f = repository_failure(error, message);
                list_remove(&w->link);
                if (error >= 0) {
                        f.fd = fd >= 0 ? dup(fd) : object_store_open_object(d->store, d->sha256);
                        f.error = f.fd < 0 ? -EHOSTUNREACH : 0;
                        f.immutable = d->named.immutable;
                        f.etag = d->named.immutable ? d->named.etag : fd >= 0 ? d->came : d->sha256;
                }
                w->done(w->arg, &f);
                free(w);
        }
}

/* Nobody could be asked: what is kept is better than nothing. */
static void tell_what_is_kept(struct document *d) {
        struct repository_cache_stats *stats = d->all->context->stats;
        if (d->sha256[0]) {
                stats->stale++;
                tell_all(d, 0, NULL, -1);
        } else if (d->missing) {
                stats->stale++;
                tell_all(d, -ENOENT, NULL, -1);
        } else {
                stats->failures++;
                tell_all(d, -EHOSTUNREACH, NULL, -1);
        }
}

/* ---- on the disk */

static json_t *record_json(const struct document *d) {
        return json_pack("{s:s, s:s, s:I, s:s, s:i, s:b}", "path", d->path, "sha256", d->sha256, "version",
                         (json_int_t)d->version, "etag", d->etag, "source", (int)d->etag_source, "missing",
                         d->missing);
}

static void write_record(const struct document *d) {
        _cleanup_json_ json_t *j = record_json(d);
        _cleanup_(x_freep) char *text = j ? json_encode_compact(j) : NULL;
        if (text) /* its loss costs a request */
                (void)file_write_atomic(d->record, text, strlen(text), 0600, NULL);
}

static struct document *document_new(struct repository_documents *all, const char *path,
                                     const struct repository_path *named) {
        struct document *d = calloc(1, sizeof(*d));
        char key[SHA256_HEX_SIZE];
        if (!d)
                return NULL;
        d->all = all;
        d->store = all->context->store;
        d->named = *named;
        list_init(&d->waiters);
        sha256_hex(path, strlen(path), key);
        d->path = str_dup(path);
        d->record = path_join(all->folder, key);
        if (!d->path || !d->record || table_set(all->table, path, d) < 0)
                return document_free(d);
        return d;
}

static bool is_idle(const struct document *d) {
        return !d->call && !d->busy && list_is_empty(&d->waiters);
}

/* The names that are kept are bounded: the oldest one that nobody asks for goes. */
static void forget_oldest(struct repository_documents *all) {
        const char *path;
        void *value;
        for (size_t i = 0;
             table_len(all->table) >= DOCUMENTS_MAX && table_next(all->table, &i, &path, &value);) {
                struct document *d = value;
                if (!is_idle(d))
                        continue;
                (void)unlink(d->record);
                (void)table_take(all->table, path);
                document_free(d);
        }
}

static void load_record(struct repository_documents *all, const char *name) {
        _cleanup_(x_freep) char *file = path_join(all->folder, name), *text = NULL;
        _cleanup_json_ json_t *j = NULL;
        const char *path = NULL, *sha256 = NULL, *etag = NULL;
        int64_t version = 0, source = 0;
        bool missing = false;
        struct repository_path named;
        size_t len = 0;
        if (!file || file_read(file, NAME_BYTES_MAX, &text, &len, NULL) < 0 ||
            json_decode(text, len, &j, NULL) < 0 || json_read_string(j, "path", &path, NULL) < 0 ||
            json_read_string(j, "sha256", &sha256, NULL) < 0 ||
            json_read_string(j, "etag", &etag, NULL) < 0 || json_read_int(j, "version", &version, NULL) < 0 ||
            json_read_int(j, "source", &source, NULL) < 0 ||
            json_read_optional_bool(j, "missing", &missing, NULL) < 0 ||
            repository_path_parse(path, &named) < 0 || (*sha256 && !sha256_hex_is_valid(sha256)) ||
            strlen(etag) >= ETAG_MAX || table_get(all->table, path) ||
            (*sha256 && !object_store_has(all->context->store, sha256))) {
                if (file)
                        (void)unlink(file);
                return;
        }
        struct document *d = document_new(all, path, &named);
        if (!d)
                return;
        (void)snprintf(d->sha256, sizeof(d->sha256), "%s", sha256);
        (void)snprintf(d->etag, sizeof(d->etag), "%s", etag);
        d->version = version;
        d->etag_source = (unsigned)MAX(MIN(source, (int64_t)REPOSITORY_SOURCES_MAX), (int64_t)0);
        d->missing = missing;
}

static int load(struct repository_documents *all, struct err **err) {
        DIR *dir = opendir(all->folder);
        if (!dir)
                return err_set_errno(err, errno, "open %s", all->folder);
        for (struct dirent *e; (e = readdir(dir)) && table_len(all->table) < DOCUMENTS_MAX;)
                if (e->d_name[0] != '.' || file_name_is_temporary(e->d_name))
                        load_record(all, e->d_name);
        closedir(dir);
        return 0;
}

/* ---- taking what came */

/* Signatures are not checked here: a version may be a lie, and one that is high enough would stand in the way
 * of the truth for ever. So the server is believed over mirrors, and whoever said it may take it back. That
 * nobody is led back by it is for nodes to see to, which check it all. */
static bool may_go_back(const struct document *d) {
        return d->source == d->etag_source || d->all->context->sources.all[d->source].kind == SOURCE_SERVER;
}

static void work_take(void *arg) {
        struct document *d = arg;
        d->kept = false;
        d->result = repository_document_check(&d->named, d->text, d->len, &d->came_version, NULL);
        if (d->result < 0)
                return;
        sha256_hex(d->text, d->len, d->came);
        if ((d->came_version < d->version && !d->goes_back) ||
            (d->doubted && str_eq(d->came, d->sha256) &&
             object_store_check(d->store, d->sha256, NULL) >=
                     0)) { /* the same again: perhaps another has another */
                d->result = -ESTALE;
                return;
        }
        int r = object_store_put(d->store, d->came, d->text, d->len, NULL);
        if (r == -ENOSPC && object_store_make_room(d->store, ROOM_BYTES + (int64_t)d->len, NULL) >= 0)
                r = object_store_put(d->store, d->came, d->text, d->len, NULL);
        d->kept = r >= 0;
        if (!d->kept)
                return;
        memcpy(d->sha256, d->came, sizeof(d->sha256));
        memcpy(d->etag, d->came_etag, sizeof(d->etag));
        d->etag_source = d->source;
        d->version = d->came_version;
        d->missing = false;
        write_record(d);
        (void)object_store_trim(d->store, NULL);
}

/* For those who wait, where it cannot be kept. */
static int in_memory(const struct document *d) {
        _cleanup_(x_closep) int fd = memfd_create("document", MFD_CLOEXEC);
        for (size_t at = 0; fd >= 0 && at < d->len;) {
                ssize_t n = write(fd, d->text + at, d->len - at);
                if (n < 0)
                        return -errno;
                at += (size_t)n;
        }
        return fd < 0 ? -errno : TAKE_FD(fd);
}

static void taken(void *arg) {
        struct document *d = arg;
        d->busy = false;
        if (!d->all) {
                document_free(d);
                return;
        }
        struct repository_context *c = d->all->context;
        struct repository_source *s = &c->sources.all[d->source];
        if (d->result < 0) {
                /* Older than what is known is no lie of a mirror, only of no use. */
                if (d->result != -ESTALE) {
                        c->stats->refused++;
                        repository_source_failed(s, true, repository_now(c), -1, &c->random);
                }
                free(TAKE_PTR(d->text));
                fetch(d);
                return;
        }
        repository_source_did_well(s, d->len);
        c->stats->verified++;
        d->doubted = false;
        if (d->kept) {
                d->read_at = repository_now(c);
                repository_set_verified(c, d->sha256);
                tell_all(d, 0, NULL, -1);
        } else {
                _cleanup_(x_closep) int fd = in_memory(d);
                tell_all(d, fd < 0 ? -EHOSTUNREACH : 0, NULL, fd);
        }
        free(TAKE_PTR(d->text));
}

static void on_fetched(void *arg, const struct repository_result *r) {
        struct document *d = arg;
        struct repository_context *c = d->all->context;
        struct repository_source *s = &c->sources.all[d->source];
        source_mask bit = (source_mask)1 << d->source;
        d->call = NULL;
        d->tried |= bit;
        repository_count(c, d->source, r->body_len);
        if (r->error == 0 && r->status == 304 && d->sha256[0]) {
                repository_source_did_well(s, 0);
                d->read_at = repository_now(c);
                d->missing = false;
                tell_all(d, 0, NULL, -1);
                return;
        }
        if (r->error == 0 && r->status == 200 && !r->is_page) {
                d->text = malloc(r->body_len + 1);
                (void)snprintf(d->came_etag, sizeof(d->came_etag), "%s",
                               r->etag && strlen(r->etag) < ETAG_MAX ? r->etag : "");
                if (d->text) {
                        memcpy(d->text, r->body, r->body_len);
                        d->text[r->body_len] = '\0';
                        d->len = r->body_len;
                        d->busy = true;
                        d->goes_back = may_go_back(d);
                        if (loop_work(c->loop, work_take, taken, d) >= 0)
                                return;
                        d->busy = false;
                        free(TAKE_PTR(d->text));
                }
        } else if (r->error == 0 && !r->has_none &&
                   (r->status == 404 || r->status == 410 || (r->status == 403 && s->kind == SOURCE_MIRROR))) {
                d->absent |= bit;
        } else if (r->has_none) {
                d->tried &= ~bit;
                d->skipped |= bit;
        } else if (!(s->kind == SOURCE_PEER && r->status == 504)) {
                repository_source_failed(s, r->is_page && r->status == 200, repository_now(c),
                                         r->retry_after_ms, &c->random);
        }
        fetch(d);
}

/* Asks the next source, or says what there is to say when there is none left. */
static void fetch(struct document *d) {
        struct repository_context *c = d->all->context;
        unsigned source = 0;
        bool anybody = d->named.immutable && !d->doubted; /* in doubt the server is asked first */
        if (repository_sources_pick(&c->sources, anybody, d->tried | d->skipped, repository_now(c), true,
                                    &source) < 0) {
                d->doubted = false;
                if (d->tried && repository_sources_are_sure(&c->sources, d->absent, d->tried) &&
                    !(d->named.immutable && d->sha256[0])) {
                        bool was = d->missing;
                        d->missing = true;
                        d->sha256[0] = '\0';
                        d->read_at = repository_now(c);
                        /* The probe for the next root must have an answer while nobody can be asked. */
                        if (!was && d->named.kind == REPOSITORY_ROOT && d->named.version <= ROOTS_MISSED_MAX)
                                write_record(d);
                        tell_all(d, -ENOENT, NULL, -1);
                } else {
                        tell_what_is_kept(d);
                }
                return;
        }
        d->source = source;
        struct repository_get get = {
                .source = source,
                .path = d->path,
                .first = -1,
                .etag = d->sha256[0] && d->etag[0] && d->etag_source == source && !d->doubted ? d->etag
                                                                                              : NULL,
                .limit = limit_of(d),
                .done = on_fetched,
                .arg = d,
        };
        if (c->transport.get(c->transport.arg, &get, &d->call) < 0) {
                d->call = NULL;
                tell_what_is_kept(d);
        }
}

/* ---- what is kept */

/* Metadata and indexes that never change have no digest in their names, and whether they are signed or right
 * only a node can tell: a mirror's lie would stay for ever. So a node's word is taken, now and then. */
static bool take_doubt(struct document *d, bool fresh) {
        msec_t now = repository_now(d->all->context);
        if (!fresh || !d->named.immutable || !d->sha256[0] ||
            (d->doubted_at && now - d->doubted_at < DOUBT_EVERY_MS))
                return false;
        d->doubted_at = now;
        return d->doubted = true;
}

static void work_check(void *arg) {
        struct document *d = arg;
        d->result = object_store_check(d->store, d->sha256, NULL);
}

static void begin_fetch(struct document *d) {
        d->tried = d->absent = d->skipped = 0;
        fetch(d);
}

static void checked(void *arg) {
        struct document *d = arg;
        d->busy = false;
        if (!d->all) {
                document_free(d);
                return;
        }
        struct repository_context *c = d->all->context;
        if (d->result >= 0) {
                repository_set_verified(c, d->sha256);
                c->stats->hits++;
                tell_all(d, 0, NULL, -1);
                return;
        }
        if (d->result == -EBADMSG)
                c->stats->damaged++;
        d->sha256[0] = '\0';
        d->version = 0;
        begin_fetch(d);
}

static bool is_current(const struct document *d, bool fresh) {
        const struct repository_documents *all = d->all;
        if (d->named.immutable && d->sha256[0])
                return true;
        if (d->read_at == 0 || d->read_at <= all->expired_at)
                return false;
        msec_t age = repository_now(all->context) - d->read_at;
        msec_t most = d->missing ? MIN(all->lifetime_ms, (msec_t)ABSENT_MS) : all->lifetime_ms;
        return age < (fresh ? MIN(most, (msec_t)FRESH_MS) : most);
}

/* Looks whether what is kept is what was kept, once since the start or when somebody has reason to doubt. */
static void serve_kept(struct document *d, bool fresh) {
        struct repository_context *c = d->all->context;
        if (d->missing) {
                c->stats->hits++;
                tell_all(d, -ENOENT, NULL, -1);
        } else if (repository_is_verified(c, d->sha256) && !fresh && object_store_has(c->store, d->sha256)) {
                c->stats->hits++;
                tell_all(d, 0, NULL, -1);
        } else {
                d->busy = true;
                if (loop_work(c->loop, work_check, checked, d) < 0) {
                        d->busy = false;
                        tell_all(d, -ENOMEM, "out of memory", -1);
                }
        }
}

void repository_documents_get(struct repository_documents *all, const struct edge_repository_request *q,
                              void (*done)(void *arg, const struct edge_repository_file *f), void *arg) {
        struct edge_repository_file failed = repository_failure(-ENOMEM, "out of memory");
        struct document *d = table_get(all->table, q->path);
        if (q->only_if_cached && !(d && d->sha256[0] && !d->busy && !d->call)) {
                failed = repository_failure(-ETIME, NULL);
                done(arg, &failed);
                return;
        }
        struct waiter *w = calloc(1, sizeof(*w));
        if (w && !d) {
                forget_oldest(all);
                d = document_new(all, q->path, q->named);
        }
        if (!w || !d) {
                free(w);
                done(arg, &failed);
                return;
        }
        *w = (struct waiter){.done = done, .arg = arg};
        list_append(&d->waiters, &w->link);
        if (d->call || d->busy) {
                all->context->stats->coalesced++;
                return;
        }
        if (!q->only_if_cached && take_doubt(d, q->fresh)) {
                begin_fetch(d);
                return;
        }
        if (is_current(d, q->fresh) || q->only_if_cached) {
                serve_kept(d, q->fresh && d->named.immutable);
                return;
        }
        all->context->stats->misses++;
        begin_fetch(d);
}

void repository_documents_expire(struct repository_documents *all) {
        all->expired_at = repository_now(all->context);
}

/* ---- life */

int repository_documents_new(struct repository_context *context, msec_t lifetime_ms,
                             struct repository_documents **ret, struct err **err) {
        struct repository_documents *all = calloc(1, sizeof(*all));
        if (!all)
                return err_set(err, ENOMEM, "out of memory");
        all->context = context;
        all->lifetime_ms = lifetime_ms;
        all->table = table_new(NULL);
        all->folder = path_join(context->work, "names");
        int r = all->table && all->folder ? dir_make(all->folder, 0700, err)
                                          : err_set(err, ENOMEM, "out of memory");
        if (r >= 0)
                r = load(all, err);
        if (r < 0) {
                repository_documents_free(all);
                return r;
        }
        *ret = all;
        return 0;
}

struct repository_documents *repository_documents_free(struct repository_documents *all) {
        if (!all)
                return NULL;
        const char *path;
        void *value;
        for (size_t i = 0; all->table && table_next(all->table, &i, &path, &value);) {
                struct document *d = value;
                struct repository_context *c = all->context;
                (void)table_take(all->table, path);
                tell_all(d, -ECANCELED, "stopping", -1);
                if (d->call)
                        c->transport.cancel(c->transport.arg, TAKE_PTR(d->call));
                d->all = NULL;
                if (!d->busy)
                        document_free(d);
        }
        table_free(all->table);
        free(all->folder);
        free(all);
        return NULL;
}
