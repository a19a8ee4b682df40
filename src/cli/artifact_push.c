/* SPDX-License-Identifier: Apache-2.0 */
/* skerry artifact push */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/fs.h"
#include "base/str.h"
#include "cli/artifact.h"
#include "cli/artifact_guess.h"
#include "cli/print.h"
#include "cli/progress.h"
#include "codec/json.h"
#include "crypto/digest.h"
#include "repo/chunk/index.h"
#include "repo/payload.h"

#define ATTACHMENT_MAX (64u << 20) /* bytes */
#define TEMPORARY "payload-"

struct settings {
        struct repo_globals globals;
        char *type, *sbom, *provenance, *role;
        char **platforms, **hardware;
        int64_t time;
        bool no_chunks, no_publish;
};

static const struct option_spec options[] = {
        REPO_OPTIONS,
        {"type", 't', OPTION_CHOICE, offsetof(struct settings, type), "TYPE", NULL,
         "What PATH is (default: guessed where it is clear)", "file,tree,oci,image"},
        {"platform", 'p', OPTION_STRINGS, offsetof(struct settings, platforms), "PLATFORM[=PATH]", NULL,
         "What it runs on: linux/amd64, linux/arm64, any, ...; once for each, with its PATH or in the order "
         "of the "
         "PATHs"},
        {"hardware", 0, OPTION_STRINGS, offsetof(struct settings, hardware), "KEY=VALUE", NULL,
         "A label that a node must have to get it"},
        {"sbom", 0, OPTION_STRING, offsetof(struct settings, sbom), "FILE", NULL,
         "Bill of materials to attach: SPDX or CycloneDX, JSON"},
        {"provenance", 0, OPTION_STRING, offsetof(struct settings, provenance), "FILE", NULL,
         "Provenance to attach: an in-toto statement about the payload, JSON"},
        {"role", 0, OPTION_STRING, offsetof(struct settings, role), "ROLE", NULL,
         "The delegated role that shall vouch for it (default: targets)"},
        {"time", 0, OPTION_INT, offsetof(struct settings, time), "SECONDS", "0",
         "The time that every entry of a tree is given, in Unix seconds"},
        {"no-chunks", 0, OPTION_BOOL, offsetof(struct settings, no_chunks), NULL, NULL,
         "Make no chunks: nodes without a delta fetch the whole"},
        {"no-publish", 0, OPTION_BOOL, offsetof(struct settings, no_publish), NULL, NULL,
         "Stage it only; 'skerry repo publish' makes it public"},
        REPO_KEY_OPTIONS,
        OPTIONS_END,
};

struct push {
        const struct settings *s;
        struct artifact_set *set;
        const char *name, *version;
        int64_t counter;
        json_t *hardware;
        char *sbom, *provenance; /* the files' bytes, or NULL */
        size_t sbom_len, provenance_len;
        json_t *statement; /* the provenance's */
        unsigned changed;
        struct progress *bar;
        char label[512];
};

/* ---- attachments */

static int read_attachment(const char *path, char **ret, size_t *ret_len, json_t **ret_json,
                           struct err **err) {
        int r = file_read(path, ATTACHMENT_MAX, ret, ret_len, err);
        if (r == 0 && (r = json_decode(*ret, *ret_len, ret_json, err)) < 0)
                return err_wrap_code(err, r, "%s", path);
        return r;
}

static int check_sbom(const char *path, const json_t *o, struct err **err) {
        const char *spdx = json_string_value(json_object_get(o, "spdxVersion"));
        const char *cyclone = json_string_value(json_object_get(o, "bomFormat"));
        if (spdx ? str_has_prefix(spdx, "SPDX-") : str_eq(cyclone, "CycloneDX"))
                return 0;
        return err_set(err, EINVAL,
                       "%s is no bill of materials: neither SPDX (a member spdxVersion) nor CycloneDX "
                       "(bomFormat), as JSON",
                       path);
}

static int check_statement(const char *path, const json_t *o, struct err **err) {
        const char *type = json_string_value(json_object_get(o, "_type"));
        if (!type || !str_has_prefix(type, "https://in-toto.io/Statement/v"))
                return err_set(err, EINVAL,
                               "%s is no in-toto statement (its _type is not "
                               "https://in-toto.io/Statement/v...); a signed "
                               "envelope carries one in its payload",
                               path);
        if (!json_is_array(json_object_get(o, "subject")) ||
            !json_is_string(json_object_get(o, "predicateType")))
                return err_set(err, EINVAL, "%s has no subject or no predicateType", path);
        return 0;
}

static bool is_subject(const json_t *statement, const char *sha256) {
        size_t i;
        json_t *subject;
        json_array_foreach (json_object_get(statement, "subject"), i, subject) {
                const json_t *digest = json_object_get(subject, "digest");
                if (str_eq(json_string_value(json_object_get(digest, "sha256")), sha256))
                        return true;
        }
        return false;
}

static int read_attachments(struct push *p, struct err **err) {
        const struct settings *s = p->s;
        _cleanup_json_ json_t *sbom = NULL;
        int r = 0;
        if (s->sbom && ((r = read_attachment(s->sbom, &p->sbom, &p->sbom_len, &sbom, err)) < 0 ||
                        (r = check_sbom(s->sbom, sbom, err)) < 0))
                return r;
        if (s->provenance && ((r = read_attachment(s->provenance, &p->provenance, &p->provenance_len,
                                                   &p->statement, err)) < 0 ||
                              (r = check_statement(s->provenance, p->statement, err)) < 0))
                return r;
        return 0;
}

static int attach(struct push *p, const char *target, const char *kind, const void *data, size_t len,
                  char **ret, struct err **err) {
        _cleanup_(x_freep) char *path = str_format("%s.%s.json", target, kind);
        _cleanup_json_ json_t *custom = json_pack("{s:{s:s,s:s}}", "skerry", "kind", kind, "of", target);
        char sha256[SHA256_HEX_SIZE];
        struct tuf_target there;
        if (!path || !custom)
                return err_set_errno(err, ENOMEM, "attach %s", kind);
        sha256_hex(data, len, sha256);
        int r = tuf_publisher_find(p->set->publisher, path, p->s->role, &there, NULL);
        if (r < 0 || !str_eq(there.sha256, sha256)) {
                r = tuf_publisher_add_target_bytes(p->set->publisher, path, data, len, TAKE_PTR(custom),
                                                   p->s->role, err);
                if (r < 0)
                        return r;
                p->changed++;
        }
        free(*ret);
        *ret = TAKE_PTR(path);
        return 0;
}

/* ---- chunks */

static void show(void *arg, int64_t done, int64_t total) {
        const struct push *p = arg;
        progress_show(p->bar, p->label, done, total);
}

static int open_beside(const char *path, char **ret_temporary, struct err **err) {
        _cleanup_(x_freep) char *temporary = str_format("%s.new", path), *folder = str_dup(path);
        if (!temporary || !folder)
                return err_set_errno(err, ENOMEM, "write %s", path);
        *strrchr(folder, '/') = '\0';
        int r = dir_make(folder, 0755, err);
        if (r < 0)
                return r;
        int fd = open(temporary, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
        if (fd < 0)
                return err_set_errno(err, errno, "write %s", temporary);
        *ret_temporary = TAKE_PTR(temporary);
        return fd;
}

static int put_in_place(int fd, const char *temporary, const char *path, struct err **err) {
        if (fsync(fd) < 0 || rename(temporary, path) < 0) {
                int e = errno;
                (void)unlink(temporary);
                return err_set_errno(err, e, "write %s", path);
        }
        return 0;
}

/* Chunks are unsigned and named by the target: made once, and good for ever. The index comes last: where it
 * is, the pack is. */
static int make_chunks(struct push *p, int payload, const char *sha256, const char *platform,
                       struct err **err) {
        _cleanup_(x_freep) char *index_below = repository_chunk_index(sha256),
                                *pack_below = repository_chunk_pack(sha256);
        _cleanup_(x_freep) char *index = artifact_public_path(p->set, index_below),
                                *pack = artifact_public_path(p->set, pack_below), *index_new = NULL,
                                *pack_new = NULL;
        if (!index || !pack)
                return err_set_errno(err, ENOMEM, "make chunks");
        if (access(index, F_OK) == 0 && access(pack, F_OK) == 0)
                return 0;
        _cleanup_(x_closep) int index_fd = open_beside(index, &index_new, err);
        if (index_fd < 0)
                return index_fd;
        _cleanup_(x_closep) int pack_fd = open_beside(pack, &pack_new, err);
        if (pack_fd < 0)
                return pack_fd;
        (void)snprintf(p->label, sizeof(p->label), "chunks %s:%s %s", p->name, p->version, platform);
        int r = lseek(payload, 0, SEEK_SET) < 0
                        ? err_set_errno(err, errno, "read the payload")
                        : chunk_index_make(payload, index_fd, pack_fd, 0, show, p, err);
        if (r == 0)
                r = put_in_place(pack_fd, pack_new, pack, err);
        if (r == 0)
                r = put_in_place(index_fd, index_new, index, err);
        if (r < 0) {
                (void)unlink(index_new);
                (void)unlink(pack_new);
                return err_wrap_code(err, r, "make chunks");
        }
        return 0;
}

/* ---- one platform */

static const char *base_name(const char *path) {
        const char *slash = strrchr(path, '/');
        return slash ? slash + 1 : path;
}

static int describe(struct push *p, const char *path, struct artifact *a, struct err **err) {
        struct stat st;
        a->name = str_dup(p->name);
        a->version = str_dup(p->version);
        a->release_counter = p->counter;
        a->hardware = p->hardware ? json_incref(p->hardware) : NULL;
        if (!a->name || !a->version)
                return err_set_errno(err, ENOMEM, "push %s", path);
        if (a->type != ARTIFACT_FILE)
                return 0;
        if (stat(path, &st) < 0)
                return err_set_errno(err, errno, "read %s", path);
        a->mode = st.st_mode & 0777;
        a->file_name = str_dup(base_name(path));
        return a->file_name ? 0 : err_set_errno(err, ENOMEM, "push %s", path);
}

static bool same_description(const struct artifact *a, const struct artifact *b) {
        return a->type == b->type && a->mode == b->mode && str_eq(a->file_name, b->file_name) &&
               ((!a->hardware && !b->hardware) ||
                (a->hardware && b->hardware && json_equal(a->hardware, b->hardware)));
}

/* A version is what it is for ever: nodes and reports speak of it by name. */
static int compare_with(struct push *p, const struct artifact *there, struct artifact *a, struct err **err) {
        if (!str_eq(there->sha256, a->sha256))
                return err_set(
                        err, EEXIST,
                        "%s:%s for %s is published already, with other bytes (SHA-256 %.12s..., these are "
                        "%.12s...). Versions never change: push it as another version",
                        p->name, p->version, a->platform, there->sha256, a->sha256);
        if (!same_description(there, a))
                return err_set(err, EEXIST,
                               "%s:%s for %s is published already, with the same bytes but another type, "
                               "mode, file name or "
                               "hardware. Versions never change: push it as another version",
                               p->name, p->version, a->platform);
        /* What it was given since stays. */
        a->release_counter = there->release_counter;
        a->yanked = there->yanked;
        a->replaced_by = str_dup(there->replaced_by);
        a->reason = str_dup(there->reason);
        a->sbom = str_dup(there->sbom);
        a->provenance = str_dup(there->provenance);
        return 0;
}

static int add(struct push *p, struct artifact *a, const char *file, int payload, struct err **err) {
        _cleanup_(x_freep) char *target = artifact_target_path(a->name, a->version, a->platform);
        const struct artifact *there = NULL;
        if (!target)
                return err_set_errno(err, ENOMEM, "push");
        for (size_t i = 0; i < p->set->n && !there; i++)
                if (str_eq(p->set->all[i]->name, a->name) && str_eq(p->set->all[i]->version, a->version) &&
                    str_eq(p->set->all[i]->platform, a->platform))
                        there = p->set->all[i];
        int r = there ? compare_with(p, there, a, err) : 0;
        if (r == 0 && p->statement && !is_subject(p->statement, a->sha256))
                r = err_set(err, EINVAL,
                            "%s is about other things: none of its subjects has the payload's digest "
                            "sha256:%s ('skerry "
                            "artifact pack' writes the payload, to be described before the push)",
                            p->s->provenance, a->sha256);
        if (r == 0 && !p->s->no_chunks)
                r = make_chunks(p, payload, a->sha256, a->platform, err);
        unsigned before = p->changed;
        if (r == 0 && p->sbom)
                r = attach(p, target, "sbom", p->sbom, p->sbom_len, &a->sbom, err);
        if (r == 0 && p->provenance)
                r = attach(p, target, "provenance", p->provenance, p->provenance_len, &a->provenance, err);
        if (r < 0)
                return r;
        _cleanup_json_ json_t *custom = artifact_custom(a);
        if (!custom)
                return err_set(err, EINVAL, "the name of the file %s is not UTF-8",
                               a->file_name ? a->file_name : "");
        if (there && p->changed == before)
                return 0;
        p->changed++;
        return there ? tuf_publisher_set_custom(p->set->publisher, target, TAKE_PTR(custom), p->s->role, err)
                     : tuf_publisher_add_target(p->set->publisher, target, file, TAKE_PTR(custom), p->s->role,
                                                true, err);
}

static int push_one(struct push *p, const char *platform, const char *path, struct err **err) {
        _cleanup_(artifact_freep) struct artifact *a = calloc(1, sizeof(*a));
        _cleanup_(x_freep) char *file = str_format("%s/" TEMPORARY "XXXXXX", p->s->globals.repository);
        struct stat st;
        if (!a || !file)
                return err_set_errno(err, ENOMEM, "push %s", path);
        int r = artifact_guess_type(p->s->type, path, &a->type, err);
        if (r == 0)
                r = artifact_guess_platform(platform, a->type, path, a->platform, err);
        if (r == 0)
                r = describe(p, path, a, err);
        if (r < 0)
                return r;
        _cleanup_(x_closep) int fd = mkostemp(file, O_CLOEXEC);
        if (fd < 0)
                return err_set_errno(err, errno, "make a temporary file in %s", p->s->globals.repository);
        const struct payload_progress told = {show, p};
        (void)snprintf(p->label, sizeof(p->label), "pack %s:%s %s", p->name, p->version, a->platform);
        /* A container image knows what it is for. */
        bool ask_image = !*a->platform;
        r = payload_pack(a->type, path, ask_image ? NULL : a->platform, p->s->time, fd, &told, err);
        if (r == 0 && ask_image) {
                struct oci_summary image;
                if ((r = payload_oci_summary(fd, &image, err)) == 0)
                        memcpy(a->platform, image.platform, sizeof(a->platform));
        }
        if (r == 0 &&
            (lseek(fd, 0, SEEK_SET) < 0 || fchmod(fd, 0644) < 0 || fsync(fd) < 0 || fstat(fd, &st) < 0))
                r = err_set_errno(err, errno, "write %s", file);
        if (r == 0 && sha256_file_hex(fd, a->sha256) < 0)
                r = err_set_errno(err, EIO, "read %s", file);
        if (r == 0) {
                a->length = st.st_size;
                r = add(p, a, file, fd, err);
        }
        (void)unlink(file);
        return r;
}

/* ---- the command */

/* What a push that was killed left behind; nobody else pushes while the repository is open. */
static void remove_leftovers(const char *folder) {
        DIR *dir = opendir(folder);
        const struct dirent *d;
        while (dir && (d = readdir(dir)))
                if (str_has_prefix(d->d_name, TEMPORARY) && strlen(d->d_name) == strlen(TEMPORARY) + 6)
                        (void)unlinkat(dirfd(dir), d->d_name, 0);
        if (dir)
                (void)closedir(dir);
}

static int read_hardware(char **labels, json_t **ret, struct err **err) {
        _cleanup_json_ json_t *o = json_object();
        if (strv_len(labels) > ARTIFACT_HARDWARE_MAX)
                return err_set(err, EINVAL, "--hardware: at most %d labels", ARTIFACT_HARDWARE_MAX);
        for (char **l = labels; l && *l; l++) {
                const char *equals = strchr(*l, '=');
                _cleanup_(x_freep) char *key = equals ? str_dup_n(*l, (size_t)(equals - *l)) : NULL;
                if (!key || !*key || json_object_get(o, key) ||
                    json_object_set_new(o, key, json_string(equals + 1)) < 0)
                        return err_set(err, EINVAL,
                                       "--hardware '%s' is not KEY=VALUE, or its key is there twice", *l);
        }
        if (json_object_size(o) > 0)
                *ret = json_incref(o);
        return 0;
}

/* The paths in the order of the platforms: "P=PATH" each, as many PATHs as platforms, or one PATH for all. */
static int pair_up(const struct settings *s, char **paths, size_t n_paths, char ***ret_platforms,
                   char ***ret_paths, struct err **err) {
        size_t n = strv_len(s->platforms), own = 0;
        for (size_t i = 0; i < n; i++)
                own += strchr(s->platforms[i], '=') != NULL;
        if (own == 0 && n_paths == 0)
                return err_set(err, EINVAL, "what shall be pushed? Name a PATH");
        if (own > 0 ? own != n || n_paths > 0 : n_paths != 1 && n_paths != n)
                return err_set(err, EINVAL,
                               "%zu platforms and %zu paths do not pair up: give --platform P=PATH for each, "
                               "or one PATH for "
                               "each --platform, in order",
                               n, n_paths);
        for (size_t i = 0; i < MAX(n, (size_t)1); i++) {
                const char *platform = n ? s->platforms[i] : "";
                const char *equals = strchr(platform, '=');
                _cleanup_(x_freep) char *name =
                        equals ? str_dup_n(platform, (size_t)(equals - platform)) : str_dup(platform);
                const char *path = equals ? equals + 1 : paths[n_paths == 1 ? 0 : i];
                if (!name || strv_push(ret_platforms, name) < 0 || strv_push(ret_paths, path) < 0)
                        return err_set_errno(err, ENOMEM, "push");
        }
        return 0;
}

static int push_all(struct push *p, char **platforms, char **paths, struct err **err) {
        int r = artifact_set_open(&p->s->globals, false, &p->set, err);
        if (r < 0)
                return r;
        remove_leftovers(p->s->globals.repository);
        p->counter = artifact_highest_counter(p->set, p->name) + 1;
        if ((r = read_attachments(p, err)) < 0)
                return r;
        p->bar = progress_new();
        for (size_t i = 0; r == 0 && paths[i]; i++)
                r = push_one(p, *platforms[i] ? platforms[i] : NULL, paths[i], err);
        p->bar = progress_free(p->bar);
        return r;
}

static int look_if_staged(void *arg, const struct tuf_publisher_role *r) {
        bool *staged = arg;
        *staged |= r->staged > 0;
        return 0;
}

static int finish(struct push *p) {
        _cleanup_(x_freep) char *what = str_format("%s:%s", p->name, p->version);
        if (!what)
                return EXIT_FAILURE;
        bool staged = false;
        /* The one before may have had no key at hand: then it is there, and no node can see it. */
        if (p->changed == 0)
                (void)tuf_publisher_each_role(p->set->publisher, look_if_staged, &staged);
        if (p->changed == 0 && !staged) {
                printf("%s is there already, with the same bytes; nothing to do.\n", what);
                return EXIT_SUCCESS;
        }
        if (p->s->no_publish) {
                fprintf(stderr,
                        "skerry: %s is only staged, not published: 'skerry repo publish' makes it public.\n",
                        what);
                return EXIT_SUCCESS;
        }
        return artifact_publish(p->set, what);
}

static int run(void *settings, char **arguments, size_t n) {
        const struct settings *s = settings;
        _cleanup_(err_freep) struct err *err = NULL;
        _cleanup_(x_freep) char *name = NULL, *version = NULL;
        _cleanup_(strv_freep) char **platforms = NULL, **paths = NULL;
        struct push p = {.s = s};
        if (artifact_reference_parse(arguments[0], &name, &version, &err) < 0 ||
            pair_up(s, arguments + 1, n - 1, &platforms, &paths, &err) < 0 ||
            read_hardware(s->hardware, &p.hardware, &err) < 0)
                return cli_usage("artifact push", "%s", err_message(err));
        p.name = name;
        p.version = version;
        int r = push_all(&p, platforms, paths, &err);
        if (r < 0)
                (void)err_wrap(&err, "push %s", arguments[0]);
        int code = r < 0 ? cli_fail(err) : finish(&p);
        artifact_set_free(p.set);
        json_decref(p.hardware);
        json_decref(p.statement);
        free(p.sbom);
        free(p.provenance);
        return code;
}

const struct command_spec artifact_push_command = {
        .name = "artifact push",
        .arguments = "NAME:VERSION [PATH...]",
        .summary = "Publish something that nodes shall run",
        .details = "A file, a folder or tar archive (tree), a container image (oci: an OCI layout or what "
                   "'docker save' "
                   "and 'podman save' write) or a disk image. One version holds several platforms: give "
                   "--platform for each, "
                   "with PATHs in the same order, or as PLATFORM=PATH.\n"
                   "\n"
                   "The payload is the same for the same input. A version never changes: pushing it again "
                   "with the same "
                   "bytes does nothing (but attaches --sbom and --provenance), with other bytes it is "
                   "refused. Chunks "
                   "are made along, so that nodes fetch only what they lack; 'skerry artifact delta' makes "
                   "deltas.\n"
                   "\n"
                   "Where the keys of role, snapshot and timestamp are at hand it is published at once; else "
                   "it is staged, "
                   "and 'skerry repo sign' and 'skerry repo publish' follow.",
        .options = options,
        .settings_size = sizeof(struct settings),
        .min_arguments = 1,
        .max_arguments = SIZE_MAX,
        .completes = "- file",
        .run = run,
};
