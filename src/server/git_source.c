/* SPDX-License-Identifier: Apache-2.0 */
#include "server/git_source.h"

#include <dirent.h>
#include <errno.h>
#include <git2.h>
#include <string.h>

#include "base/fs.h"
#include "base/str.h"
#include "server/git_transport.h"
#include "server/source_version.h"

#define OUR_REF "refs/skerry/head"
#define SECRET_FILE_MAX 4096
#define TREE_DEPTH_MAX 64
#define TREE_FOLDERS_MAX 100000 /* a few small objects can stand for billions of folders without a file */
#define TREE_PATH_MAX 4096
#define PACKS_MAX 256
#define PACK_OBJECTS_MAX ((size_t)10000000)

void git_source_init(void) {
        git_libgit2_init();
        /* Our bare repositories, and local ones that belong to the Git host's user: nothing in them is
         * run, so whose they are does not matter. */
        git_libgit2_opts(GIT_OPT_SET_OWNER_VALIDATION, 0);
        git_libgit2_opts(GIT_OPT_ENABLE_STRICT_HASH_VERIFICATION, 1);
        git_libgit2_opts(GIT_OPT_ENABLE_FSYNC_GITDIR, 1);
        /* No settings of whoever started us. */
        git_libgit2_opts(GIT_OPT_SET_SEARCH_PATH, GIT_CONFIG_LEVEL_GLOBAL, "");
        git_libgit2_opts(GIT_OPT_SET_SEARCH_PATH, GIT_CONFIG_LEVEL_XDG, "");
        git_libgit2_opts(GIT_OPT_SET_SEARCH_PATH, GIT_CONFIG_LEVEL_SYSTEM, "");
        git_libgit2_opts(GIT_OPT_SET_PACK_MAX_OBJECTS, PACK_OBJECTS_MAX);
        /* Blobs are read once; keep little of them. */
        git_libgit2_opts(GIT_OPT_ENABLE_CACHING, 0);
}

void git_source_done(void) {
        git_libgit2_shutdown();
}

void git_fetched_done(struct git_fetched *c) {
        free(c->branch);
        free(c->tag);
        free(c->subject);
        free(c->author);
        *c = (struct git_fetched){0};
}

static int git_failed(struct err **err, const char *doing) {
        const git_error *e = git_error_last();
        const char *text = e && e->message ? e->message : "no reason given";
        return err_set(err, EIO, "%s: %s", doing, text);
}

/* ---- the fetch */

struct fetching {
        const struct git_fetch *f;
        git_repository *repository;
        git_remote *remote;
        struct git_access access;
        char *username, *password;
        uint64_t received;
        bool is_too_much;
};

static void fetching_done(struct fetching *g) {
        git_remote_free(g->remote);
        git_repository_free(g->repository);
        free(g->username);
        if (g->password)
                explicit_bzero(g->password, strlen(g->password));
        free(g->password);
}

/* A file that holds one line of text; NULL path gives NULL. */
static int line_read(const char *path, char **ret, struct err **err) {
        size_t len;
        char *text = NULL;
        if (!path)
                return 0;
        int r = file_read(path, SECRET_FILE_MAX, &text, &len, err);
        if (r < 0)
                return r;
        text[strcspn(text, "\r\n")] = '\0';
        *ret = text;
        return 0;
}

static bool url_is_local(const char *url) {
        if (str_has_prefix(url, "file://"))
                return true;
        return !strstr(url, "://") && (url[0] == '/' || url[0] == '.' || !strchr(url, ':'));
}

static int on_progress(const git_indexer_progress *stats, void *payload) {
        struct fetching *g = payload;
        g->is_too_much = g->f->limit && stats->received_bytes > g->f->limit;
        return g->is_too_much || (g->f->cancelled && atomic_load(g->f->cancelled)) ? GIT_EUSER : 0;
}

/* Every fetch leaves a pack, and libgit2 does not put them together. */
static bool repository_is_worn(const char *folder) {
        _cleanup_(x_freep) char *packs = path_join(folder, "objects/pack");
        DIR *dir = packs ? opendir(packs) : NULL;
        size_t n = 0;
        if (!dir)
                return false;
        for (struct dirent *e; (e = readdir(dir));)
                n += str_has_suffix(e->d_name, ".pack");
        closedir(dir);
        return n > PACKS_MAX;
}

static int repository_open(struct fetching *g, struct err **err) {
        git_repository_init_options options = GIT_REPOSITORY_INIT_OPTIONS_INIT;
        if (!repository_is_worn(g->f->folder) && git_repository_open_bare(&g->repository, g->f->folder) == 0)
                return 0;
        /* Missing, broken by a power cut, or worn: it is a copy, so it is made anew. */
        int r = path_remove(g->f->folder, err);
        if (r < 0)
                return r;
        options.flags = GIT_REPOSITORY_INIT_BARE | GIT_REPOSITORY_INIT_MKPATH | GIT_REPOSITORY_INIT_NO_REINIT;
        if (git_repository_init_ext(&g->repository, g->f->folder, &options) < 0)
                return git_failed(err, "make the copy of the repository");
        return 0;
}

/* A local path that holds no repository gets clearer words here than from libgit2. */
static int local_check(const char *url, struct err **err) {
        const char *after = str_after_prefix(url, "file://"), *path = after ? after : url;
        _cleanup_(x_freep) char *inside = path_join(path, "objects"),
                                *beside = path_join(path, ".git/objects");
        if (!inside || !beside)
                return -ENOMEM;
        if (access(path, F_OK) < 0)
                return err_set_errno(err, errno, "no such repository");
        if (access(inside, F_OK) < 0 && access(beside, F_OK) < 0)
                return err_set_errno(err, errno, "this is no Git repository");
        return 0;
}

static int remote_open(struct fetching *g, struct err **err) {
        git_remote_create_options options = GIT_REMOTE_CREATE_OPTIONS_INIT;
        int r = url_is_local(g->f->url) ? local_check(g->f->url, err) : 0;
        if (r < 0)
                return r;
        /* The address is meant as it stands. (And looking for insteadOf rules leaks some 20 KB for each line
         * of configuration in libgit2 1.5, which adds up when polling.) */
        options.repository = g->repository;
        options.flags = GIT_REMOTE_CREATE_SKIP_INSTEADOF | GIT_REMOTE_CREATE_SKIP_DEFAULT_FETCHSPEC;
        if (git_remote_create_with_opts(&g->remote, g->f->url, &options) < 0)
                return git_failed(err, "take the address");
        return 0;
}

static const char *branch_of(const git_remote_head *const *heads, size_t n, const char *wanted) {
        if (wanted)
                return wanted;
        for (size_t i = 0; i < n; i++)
                if (str_eq(heads[i]->name, "HEAD") && heads[i]->symref_target)
                        return str_after_prefix(heads[i]->symref_target, "refs/heads/");
        return NULL;
}

static int branch_gone(const git_remote_head *const *heads, size_t n, const char *branch, struct err **err) {
        _cleanup_(buf_done) struct buf known = BUF_INIT;
        size_t shown = 0;
        for (size_t i = 0; i < n && shown < 10; i++) {
                const char *name = str_after_prefix(heads[i]->name, "refs/heads/");
                if (name)
                        buf_printf(&known, "%s%s", shown++ ? ", " : "", name);
        }
        if (shown == 0)
                return err_set(err, ENOENT, "the repository is empty: push branch %s",
                               branch ? branch : "main");
        if (!branch)
                return err_set(err, ENOENT, "the host names no default branch: set one, it has %s",
                               buf_str(&known));
        return err_set(err, ENOENT, "branch %s does not exist there; it has %s", branch, buf_str(&known));
}

/* What a fetch is after. */
struct wanted {
        char *ref;          /* on the host */
        git_oid id;         /* what it names there */
        char *branch, *tag; /* one of them */
};
static void wanted_done(struct wanted *w) {
        free(w->ref);
        free(w->branch);
        free(w->tag);
}

static int branch_choose(const struct fetching *g, const git_remote_head *const *heads, size_t n,
                         struct wanted *ret, struct err **err) {
        const char *branch = branch_of(heads, n, g->f->branch);
        ret->ref = branch ? str_format("refs/heads/%s", branch) : NULL;
        for (size_t i = 0; ret->ref && i < n; i++)
                if (str_eq(heads[i]->name, ret->ref)) {
                        ret->id = heads[i]->oid;
                        ret->branch = str_dup(branch);
                        return ret->branch ? 0 : -ENOMEM;
                }
        return branch_gone(heads, n, branch, err);
}

static int tag_gone(const struct fetching *g, size_t versions, size_t tags, struct err **err) {
        const char *prefix = g->f->tag_prefix ? g->f->tag_prefix : "";
        if (versions > 0)
                return err_set(
                        err, ENOENT,
                        "none of its %zu tags %sVERSION is in %s: push one that is, or widen the range",
                        versions, prefix, g->f->tags);
        return err_set(err, ENOENT, "it has no tag %sVERSION (as %s1.2.3) among its %zu tags: push one",
                       prefix, prefix, tags);
}

/* The newest version wins; of two that only differ in build metadata the one whose name sorts last. */
static int tag_choose(const struct fetching *g, const git_remote_head *const *heads, size_t n,
                      struct wanted *ret, struct err **err) {
        struct version_range range;
        struct version best = {0};
        const git_remote_head *found = NULL;
        size_t versions = 0, tags = 0;
        int r = version_range_parse(g->f->tags, &range, err);
        if (r < 0)
                return r;
        for (size_t i = 0; i < n; i++) {
                const char *name = str_after_prefix(heads[i]->name, "refs/tags/");
                const char *text = name && g->f->tag_prefix ? str_after_prefix(name, g->f->tag_prefix) : name;
                struct version v;
                tags += name && !str_has_suffix(name, "^{}");
                if (!text || !version_parse(text, &v))
                        continue;
                versions++;
                if (!version_range_has(&range, &v))
                        continue;
                int order = found ? version_compare(&v, &best) : 1;
                if (order > 0 || (order == 0 && strcmp(heads[i]->name, found->name) > 0)) {
                        found = heads[i];
                        best = v;
                }
        }
        if (!found)
                return tag_gone(g, versions, tags, err);
        ret->id = found->oid;
        ret->ref = str_dup(found->name);
        ret->tag = str_dup(str_after_prefix(found->name, "refs/tags/"));
        return ret->ref && ret->tag ? 0 : -ENOMEM;
}

/* Connects and finds what is followed. */
static int ref_find(struct fetching *g, struct wanted *ret, struct err **err) {
        git_remote_callbacks callbacks = GIT_REMOTE_CALLBACKS_INIT;
        const git_remote_head **heads = NULL;
        size_t n = 0;
        callbacks.transfer_progress = on_progress;
        callbacks.payload = g;
        git_remote_connect_options options = GIT_REMOTE_CONNECT_OPTIONS_INIT;
        if (!url_is_local(g->f->url)) {
                callbacks.transport = git_transport_make;
                callbacks.payload = &g->access;
                callbacks.transfer_progress = NULL; /* the transport looks at `cancelled` itself */
        }
        options.callbacks = callbacks;
        if (git_remote_connect_ext(g->remote, GIT_DIRECTION_FETCH, &options) < 0)
                return git_failed(err, "connect");
        if (git_remote_ls(&heads, &n, g->remote) < 0)
                return git_failed(err, "list the branches");
        return g->f->tags ? tag_choose(g, heads, n, ret, err) : branch_choose(g, heads, n, ret, err);
}

/* A repository on this machine has no wire on which to count, and libgit2 packs it in memory: looks at what
 * the files of the commit weigh before. */
static int tree_weigh(git_repository *repository, git_odb *odb, const git_tree *tree, int depth,
                      size_t *folders, uint64_t limit, uint64_t *sum) {
        if (depth > TREE_DEPTH_MAX || ++*folders > TREE_FOLDERS_MAX)
                return 0; /* tree_walk() has words for it */
        for (size_t i = 0; i < git_tree_entrycount(tree) && *sum <= limit; i++) {
                const git_tree_entry *e = git_tree_entry_byindex(tree, i);
                git_tree *below = NULL;
                git_object_t type;
                size_t len;
                if (git_tree_entry_type(e) == GIT_OBJECT_BLOB &&
                    git_odb_read_header(&len, &type, odb, git_tree_entry_id(e)) == 0)
                        *sum += len;
                else if (git_tree_entry_type(e) == GIT_OBJECT_TREE &&
                         git_tree_lookup(&below, repository, git_tree_entry_id(e)) == 0)
                        (void)tree_weigh(repository, odb, below, depth + 1, folders, limit, sum);
                git_tree_free(below);
        }
        return 0;
}

static int too_much(const struct fetching *g, struct err **err) {
        return err_set(err, EFBIG,
                       "this is more than the %llu MB that one fetch may bring: keep large files out of the "
                       "repository "
                       "(publish them as artifacts), or set fetchLimitMegabytes higher",
                       (unsigned long long)(g->f->limit >> 20));
}

static int local_weigh(struct fetching *g, const git_oid *id, struct err **err) {
        const char *after = str_after_prefix(g->f->url, "file://");
        git_repository *repository = NULL;
        git_object *object = NULL;
        git_tree *tree = NULL;
        git_odb *odb = NULL;
        uint64_t sum = 0;
        size_t folders = 0;
        if (g->f->limit && git_repository_open(&repository, after ? after : g->f->url) == 0 &&
            git_repository_odb(&odb, repository) == 0 &&
            git_object_lookup(&object, repository, id, GIT_OBJECT_ANY) == 0 &&
            git_object_peel((git_object **)(void *)&tree, object, GIT_OBJECT_TREE) == 0)
                (void)tree_weigh(repository, odb, tree, 0, &folders, g->f->limit, &sum);
        git_tree_free(tree);
        git_object_free(object);
        git_odb_free(odb);
        git_repository_free(repository);
        return g->f->limit && sum > g->f->limit ? too_much(g, err) : 0;
}

static int ref_download(struct fetching *g, const git_oid *id, const char *name, struct err **err) {
        git_fetch_options options = GIT_FETCH_OPTIONS_INIT;
        git_reference *ref = NULL;
        git_odb *odb = NULL;
        bool is_here = git_repository_odb(&odb, g->repository) == 0 && git_odb_exists(odb, id) &&
                       git_reference_name_to_id(&(git_oid){0}, g->repository, OUR_REF) == 0;
        git_odb_free(odb);
        if (!is_here) {
                _cleanup_(x_freep) char *spec = str_format("+%s:" OUR_REF, name);
                git_strarray specs = {&spec, 1};
                int r = spec ? 0 : -ENOMEM;
                if (r >= 0 && url_is_local(g->f->url))
                        r = local_weigh(g, id, err);
                if (r < 0)
                        return r;
                options.download_tags = GIT_REMOTE_DOWNLOAD_TAGS_NONE;
                options.update_fetchhead = 0;
                if (url_is_local(g->f->url)) {
                        options.callbacks.transfer_progress = on_progress;
                        options.callbacks.payload = g;
                } else {
                        options.callbacks.transport = git_transport_make;
                        options.callbacks.payload = &g->access;
                }
                if (git_remote_download(g->remote, &specs, &options) < 0)
                        return g->is_too_much ? too_much(g, err) : git_failed(err, "fetch");
        }
        if (git_reference_create(&ref, g->repository, OUR_REF, id, 1, NULL) < 0)
                return git_failed(err, "keep the fetched commit");
        git_reference_free(ref);
        return 0;
}

static int tree_of(git_commit *commit, const char *path, char out[65], struct err **err) {
        git_tree *tree = NULL;
        git_tree_entry *entry = NULL;
        if (git_commit_tree(&tree, commit) < 0)
                return git_failed(err, "read the commit");
        int r = 0;
        if (str_is_empty(path) || str_eq(path, "."))
                git_oid_tostr(out, 65, git_tree_id(tree));
        else if (git_tree_entry_bypath(&entry, tree, path) < 0 ||
                 git_tree_entry_type(entry) != GIT_OBJECT_TREE)
                r = err_set(err, ENOENT, "the commit has no folder %s", path);
        else
                git_oid_tostr(out, 65, git_tree_entry_id(entry));
        git_tree_entry_free(entry);
        git_tree_free(tree);
        return r;
}

static int commit_read(struct fetching *g, const git_oid *id, struct git_fetched *ret, struct err **err) {
        git_commit *commit = NULL;
        git_object *object = NULL;
        git_oid previous;
        git_oid_tostr(ret->object, sizeof(ret->object), id);
        int found = git_object_lookup(&object, g->repository, id, GIT_OBJECT_ANY);
        if (found == 0)
                found = git_object_peel((git_object **)(void *)&commit, object, GIT_OBJECT_COMMIT);
        git_object_free(object);
        if (found < 0)
                return git_failed(err, "read the commit");
        id = git_commit_id(commit);
        int r = tree_of(commit, g->f->path, ret->tree, err);
        if (r >= 0) {
                const char *summary = git_commit_summary(commit);
                const git_signature *author = git_commit_author(commit);
                git_oid_tostr(ret->id, sizeof(ret->id), id);
                ret->subject = str_dup(summary && utf8_is_valid(summary, strlen(summary)) ? summary : "");
                ret->author = author && author->name && author->email &&
                                              utf8_is_valid(author->name, strlen(author->name)) &&
                                              utf8_is_valid(author->email, strlen(author->email))
                                      ? str_format("%s <%s>", author->name, author->email)
                                      : str_dup("");
                ret->time = (msec_t)git_commit_time(commit) * 1000;
                /* From one release to the next a line of descent is not asked for. */
                if (!g->f->tags && g->f->previous && git_oid_fromstr(&previous, g->f->previous) == 0 &&
                    !git_oid_equal(&previous, id))
                        ret->rewritten = git_graph_descendant_of(g->repository, id, &previous) == 0;
        }
        git_commit_free(commit);
        return r;
}

int git_source_fetch(const struct git_fetch *f, struct git_fetched *ret, struct err **err) {
        _cleanup_(fetching_done) struct fetching g = {.f = f};
        _cleanup_(git_fetched_done) struct git_fetched commit = {0};
        _cleanup_(wanted_done) struct wanted wanted = {0};
        int r = line_read(f->username_file, &g.username, err);
        if (r >= 0)
                r = line_read(f->password_file, &g.password, err);
        if (r < 0)
                return r;
        g.access = (struct git_access){.url = f->url,
                                       .username = g.username,
                                       .password = g.password,
                                       .ca_file = f->ca_file,
                                       .ssh_key_file = f->ssh_key_file,
                                       .known_hosts_file = f->known_hosts_file,
                                       .received = &g.received,
                                       .limit = f->limit,
                                       .cancelled = f->cancelled};
        r = repository_open(&g, err);
        if (r >= 0)
                r = remote_open(&g, err);
        if (r >= 0)
                r = ref_find(&g, &wanted, err);
        if (r >= 0)
                r = ref_download(&g, &wanted.id, wanted.ref, err);
        if (r >= 0)
                r = commit_read(&g, &wanted.id, &commit, err);
        if (r < 0)
                return err_wrap(err, "%s", f->url);
        commit.branch = TAKE_PTR(wanted.branch);
        commit.tag = TAKE_PTR(wanted.tag);
        *ret = commit;
        commit = (struct git_fetched){0};
        return 0;
}

/* ---- a commit's files */

struct git_tree_view {
        struct fleet_tree tree; /* what the compiler sees; first, so that closing finds the rest */
        git_repository *repository;
        git_odb *odb;
        struct arena *arena;
        struct fleet_tree_entry *entries;
        size_t n, cap, n_folders;
};

static int entry_read(void *arg, const struct fleet_tree_entry *e, size_t limit, char **ret_data,
                      size_t *ret_len, struct err **err) {
        struct git_tree_view *v = arg;
        git_oid id;
        git_odb_object *object = NULL;
        size_t len;
        git_object_t type;
        if (git_oid_fromstr(&id, e->content_id) < 0 || git_odb_read_header(&len, &type, v->odb, &id) < 0)
                return git_failed(err, e->path);
        if (len > limit)
                return err_set(err, EFBIG, "%s: %zu bytes are more than the %zu that are allowed", e->path,
                               len, limit);
        if (git_odb_read(&object, v->odb, &id) < 0)
                return git_failed(err, e->path);
        len = git_odb_object_size(object);
        char *data = malloc(len + 1);
        if (data) {
                memcpy(data, git_odb_object_data(object), len);
                data[len] = '\0';
        }
        git_odb_object_free(object);
        if (!data)
                return -ENOMEM;
        *ret_data = data;
        *ret_len = len;
        return 0;
}

static int entry_add(struct git_tree_view *v, const char *prefix, const git_tree_entry *e, struct err **err) {
        char id[GIT_OID_HEXSZ + 1];
        if (v->n >= FLEET_FILES_MAX)
                return err_set(err, EFBIG,
                               "more than %d files: follow a sub-folder of the repository instead",
                               FLEET_FILES_MAX);
        if (v->n == v->cap) {
                size_t cap = v->cap ? 2 * v->cap : 256;
                struct fleet_tree_entry *more = reallocarray(v->entries, cap, sizeof(*more));
                if (!more)
                        return -ENOMEM;
                v->entries = more;
                v->cap = cap;
        }
        git_oid_tostr(id, sizeof(id), git_tree_entry_id(e));
        struct fleet_tree_entry *entry = &v->entries[v->n];
        entry->path = arena_printf(v->arena, "%s%s", prefix, git_tree_entry_name(e));
        entry->content_id = arena_strdup(v->arena, id);
        entry->size = -1;
        if (!entry->path || !entry->content_id)
                return -ENOMEM;
        v->n++;
        return 0;
}

static int tree_walk(struct git_tree_view *v, const git_oid *id, const char *prefix, int depth,
                     struct err **err) {
        git_tree *tree = NULL;
        if (depth > TREE_DEPTH_MAX)
                return err_set(err, ELOOP, "folders deeper than %d at %s", TREE_DEPTH_MAX, prefix);
        if (++v->n_folders > TREE_FOLDERS_MAX)
                return err_set(err, EFBIG,
                               "more than %d folders: follow a sub-folder of the repository instead",
                               TREE_FOLDERS_MAX);
        if (strlen(prefix) > TREE_PATH_MAX)
                return err_set(err, ENAMETOOLONG, "%.80s...: a path of more than %d bytes", prefix,
                               TREE_PATH_MAX);
        if (git_tree_lookup(&tree, v->repository, id) < 0)
                return git_failed(err, "read a folder of the commit");
        int r = 0;
        for (size_t i = 0; r >= 0 && i < git_tree_entrycount(tree); i++) {
                const git_tree_entry *e = git_tree_entry_byindex(tree, i);
                const char *name = git_tree_entry_name(e);
                git_filemode_t mode = git_tree_entry_filemode(e);
                if (!utf8_is_valid(name, strlen(name)))
                        continue;
                if (mode == GIT_FILEMODE_TREE) {
                        if (name[0] == '.')
                                continue; /* hidden folders hold other programs' things */
                        _cleanup_(x_freep) char *below = str_format("%s%s/", prefix, name);
                        r = below ? tree_walk(v, git_tree_entry_id(e), below, depth + 1, err) : -ENOMEM;
                } else if (mode == GIT_FILEMODE_BLOB || mode == GIT_FILEMODE_BLOB_EXECUTABLE)
                        r = entry_add(v, prefix, e, err);
        }
        git_tree_free(tree);
        return r;
}

static int entry_order(const void *a, const void *b) {
        return strcmp(((const struct fleet_tree_entry *)a)->path, ((const struct fleet_tree_entry *)b)->path);
}

struct fleet_tree *git_source_tree_close(struct fleet_tree *t) {
        if (!t)
                return NULL;
        struct git_tree_view *v = CONTAINER_OF(t, struct git_tree_view, tree);
        git_odb_free(v->odb);
        git_repository_free(v->repository);
        arena_free(v->arena);
        free(v->entries);
        free(v);
        return NULL;
}

int git_source_tree_open(const char *folder, const char *tree_id, struct fleet_tree **ret, struct err **err) {
        struct git_tree_view *v = calloc(1, sizeof(*v));
        git_oid id;
        if (!v)
                return -ENOMEM;
        int r = 0;
        v->arena = arena_new(0);
        if (!v->arena)
                r = -ENOMEM;
        else if (git_repository_open_bare(&v->repository, folder) < 0 ||
                 git_repository_odb(&v->odb, v->repository) < 0 || git_oid_fromstr(&id, tree_id) < 0)
                r = git_failed(err, "open the copy of the repository");
        else
                r = tree_walk(v, &id, "", 0, err);
        if (r < 0) {
                git_source_tree_close(&v->tree);
                return r;
        }
        if (v->n)
                qsort(v->entries, v->n, sizeof(*v->entries), entry_order);
        v->tree = (struct fleet_tree){.entries = v->entries, .n = v->n, .read = entry_read, .arg = v};
        *ret = &v->tree;
        return 0;
}
