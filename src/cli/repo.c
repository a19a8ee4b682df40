/* SPDX-License-Identifier: Apache-2.0 */
/* skerry repo init; and what the `skerry repo` commands share. */
#include "cli/repo.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <termios.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/fs.h"
#include "base/str.h"

#define PASSPHRASE_MAX 1024
#define HOUR_S 3600
#define DAY_S (24 * HOUR_S)
#define CLOCK_SLACK_S 60 /* by which the clocks of machines that take turns may differ */

/* ---- Passphrases */

static int ask(const char *question, const char *key_name, char **ret, struct err **err) {
        _cleanup_(x_closep) int tty = open("/dev/tty", O_RDWR | O_CLOEXEC | O_NOCTTY);
        struct termios before, silent;
        char line[PASSPHRASE_MAX + 2];
        if (tty < 0 || tcgetattr(tty, &before) < 0)
                return err_set(
                        err, ENOKEY,
                        "there is no terminal to ask for the passphrase of %s: --passphrase-file names a "
                        "file that holds it",
                        key_name);
        silent = before;
        silent.c_lflag &= ~(tcflag_t)ECHO;
        (void)tcsetattr(tty, TCSAFLUSH, &silent);
        (void)dprintf(tty, "%s the key %s: ", question, key_name);
        ssize_t n = read(tty, line, sizeof(line) - 1);
        (void)tcsetattr(tty, TCSAFLUSH, &before);
        (void)dprintf(tty, "\n");
        while (n > 0 && (line[n - 1] == '\n' || line[n - 1] == '\r'))
                n--;
        *ret = n >= 0 ? str_dup_n(line, (size_t)n) : NULL;
        explicit_bzero(line, sizeof(line));
        return *ret ? 0 : err_set_errno(err, ENOMEM, "read the passphrase");
}

static int read_passphrase(const char *file, char **ret, struct err **err) {
        char *text = NULL;
        size_t len = 0;
        int r = file_read(file, PASSPHRASE_MAX, &text, &len, err);
        if (r < 0)
                return r;
        while (len > 0 && (text[len - 1] == '\n' || text[len - 1] == '\r'))
                text[--len] = '\0';
        if (len == 0) {
                free(text);
                return err_set(err, EINVAL, "the passphrase file %s is empty", file);
        }
        *ret = text;
        return 0;
}

void repo_warn_of_passphrase_file(const char *file) {
        struct stat st;
        if (file && stat(file, &st) == 0 && S_ISREG(st.st_mode) && (st.st_mode & (S_IRGRP | S_IROTH)))
                fprintf(stderr,
                        "skerry: warning: others than its owner can read the passphrase file %s (mode %04o): "
                        "run 'chmod 600 %s'\n",
                        file, (unsigned)(st.st_mode & 07777), file);
}

int repo_passphrase(void *arg, const char *key_name, char **ret, struct err **err) {
        char *text = NULL;
        int r = arg ? read_passphrase(arg, &text, err) : ask("Passphrase of", key_name, &text, err);
        if (r < 0)
                return r;
        if (!*text) {
                free(text);
                return err_set(err, ENOKEY, "no passphrase was given for the key %s", key_name);
        }
        *ret = text;
        return 0;
}

int repo_new_passphrase(const char *file, const char *key_name, char **ret, struct err **err) {
        char *first = NULL, *second = NULL;
        if (file)
                return read_passphrase(file, ret, err);
        int r = ask("New passphrase (empty: none) for", key_name, &first, err);
        if (r >= 0 && *first)
                r = ask("Once more, for", key_name, &second, err);
        if (r >= 0 && *first && !str_eq(first, second))
                r = err_set(err, EINVAL, "the two passphrases differ");
        if (second)
                explicit_bzero(second, strlen(second));
        free(second);
        if (r < 0 || !*first) {
                free(first);
                first = NULL;
        }
        if (r >= 0)
                *ret = first;
        return r;
}

/* ---- Shared */

enum signing_scheme repo_scheme(const char *name) {
        return str_eq(name, "ecdsa") ? SIGNING_ECDSA_P256 : SIGNING_ED25519;
}

int repo_open(const struct repo_globals *g, bool read_only, struct tuf_publisher **ret, struct err **err) {
        const struct tuf_publisher_options o = {.passphrase = read_only ? NULL : repo_passphrase,
                                                .passphrase_arg = g->passphrase_file,
                                                .read_only = read_only};
        if (!read_only)
                repo_warn_of_passphrase_file(g->passphrase_file);
        return tuf_publisher_open(g->repository, &o, ret, err);
}

const char *repo_expiry_text(int64_t expires_s, char *out, size_t size) {
        char text[32];
        int64_t left = expires_s - clock_wall_ms(clock_system()) / 1000;
        if (expires_s == 0)
                return "";
        (void)snprintf(out, size, left > 0 ? "in %s" : "expired %s ago",
                       age_format((left > 0 ? left : -left) * 1000, text, sizeof(text)));
        return out;
}

/* What is left when it is time to do something: offline keys take a person, a timestamp takes a timer. */
static int warn_one(void *arg, const struct tuf_publisher_role *r) {
        char text[48];
        int64_t left = r->expires_s - clock_wall_ms(clock_system()) / 1000;
        bool online = str_eq(r->name, "timestamp") || str_eq(r->name, "snapshot");
        if (r->published == 0 || left > (str_eq(r->name, "timestamp") ? DAY_S
                                         : online                     ? 3 * DAY_S
                                                                      : 30 * DAY_S))
                return 0;
        fprintf(stderr, "skerry: warning: %s version %lld %s%s: run 'skerry repo %s%s'%s\n", r->name,
                (long long)r->published, left > 0 ? "expires " : "",
                repo_expiry_text(r->expires_s, text, sizeof(text)), online ? "publish" : "sign --renew ",
                online ? "" : r->name, online ? "" : ", then 'skerry repo publish'");
        return 0;
}

void repo_warn_of_expiry(struct tuf_publisher *p) {
        (void)tuf_publisher_each_role(p, warn_one, NULL);
}

void repo_warn_of_clock(const struct tuf_publish_result *result) {
        char text[48], now[TUF_TIME_SIZE];
        if (result->timestamp_earlier_s > CLOCK_SLACK_S)
                fprintf(stderr,
                        "skerry: warning: the new timestamp expires %s sooner than the one that it replaces: "
                        "this machine's clock seems to be behind (it says %s). Set it right, and run 'skerry "
                        "repo publish' again\n",
                        age_format(result->timestamp_earlier_s * 1000, text, sizeof(text)),
                        tuf_time_format(clock_wall_ms(clock_system()) / 1000, now));
}

int repo_read(const char *path, size_t limit, char **ret, size_t *ret_len, struct err **err) {
        if (!str_eq(path, "-"))
                return file_read(path, limit, ret, ret_len, err);
        _cleanup_(buf_done) struct buf b = BUF_INIT;
        char chunk[4096];
        size_t n;
        b.limit = limit;
        while ((n = fread(chunk, 1, sizeof(chunk), stdin)) > 0)
                if (buf_append(&b, chunk, n) < 0)
                        return err_set(err, EFBIG, "standard input holds more than %zu bytes", limit);
        char *data = b.len ? buf_take(&b, ret_len) : NULL;
        if (!data)
                return err_set(err, EINVAL, "standard input is empty");
        *ret = data;
        return 0;
}

int repo_write(const char *path, const char *data, size_t len, struct err **err) {
        if (path && !str_eq(path, "-"))
                return file_write_atomic(path, data, len, 0644, err);
        return fwrite(data, 1, len, stdout) == len && fflush(stdout) == 0
                       ? 0
                       : err_set_errno(err, errno ? errno : EIO, "write");
}

/* ---- init */

struct init_settings {
        struct repo_globals repo;
        char *scheme, *root_key, *targets_key;
        bool development, no_passphrase;
};

static const struct option_spec init_options[] = {
        {"key-type", 't', OPTION_CHOICE, offsetof(struct init_settings, scheme), "TYPE", "ed25519",
         "Which keys to make", REPO_SCHEMES},
        {"root-key", 0, OPTION_STRING, offsetof(struct init_settings, root_key), "FILE", NULL,
         "Public key for the root role, whose private half is kept elsewhere, instead of a new one"},
        {"targets-key", 0, OPTION_STRING, offsetof(struct init_settings, targets_key), "FILE", NULL,
         "Public key for the targets role, whose private half is kept elsewhere, instead of a new one"},
        {"no-passphrase", 0, OPTION_BOOL, offsetof(struct init_settings, no_passphrase), NULL, NULL,
         "Keep the new root and targets keys in the clear"},
        {"development", 0, OPTION_BOOL, offsetof(struct init_settings, development), NULL, NULL,
         "One key in the clear for all roles: whoever reads it owns the repository"},
        REPO_KEY_OPTIONS,
        OPTIONS_END,
};

static int read_keys(const struct init_settings *s, struct tuf_publisher_init *i, char **ret_passphrase,
                     struct err **err) {
        int r = s->root_key ? tuf_key_load(s->root_key, &i->keys[TUF_ROOT], err) : 0;
        if (r >= 0 && s->targets_key)
                r = tuf_key_load(s->targets_key, &i->keys[TUF_TARGETS], err);
        bool wanted = !i->keys[TUF_ROOT] || !i->keys[TUF_TARGETS];
        if (r >= 0 && wanted && !s->no_passphrase && !s->development)
                r = repo_new_passphrase(s->repo.passphrase_file, "root-1, and targets-1", ret_passphrase,
                                        err);
        i->passphrase = *ret_passphrase;
        return r;
}

static int run_init(void *settings, char **arguments, size_t n) {
        const struct init_settings *s = settings;
        _cleanup_(err_freep) struct err *err = NULL;
        _cleanup_(x_freep) char *passphrase = NULL;
        const char *dir = n > 0 ? arguments[0] : ".";
        struct tuf_publisher_init i = {.scheme = repo_scheme(s->scheme), .one_key = s->development};
        if (s->development && (s->root_key || s->targets_key))
                return cli_usage("repo init",
                                 "--development makes one key for all roles; take it or given keys");
        repo_warn_of_passphrase_file(s->repo.passphrase_file);
        int r = read_keys(s, &i, &passphrase, &err);
        if (r >= 0)
                r = tuf_publisher_init(dir, &i, NULL, &err);
        tuf_key_free(i.keys[TUF_ROOT]);
        tuf_key_free(i.keys[TUF_TARGETS]);
        if (passphrase)
                explicit_bzero(passphrase, strlen(passphrase));
        if (r < 0)
                return cli_fail(err);
        printf("Repository made in %s. Its private keys are in %s/keys: copy them to a safe place, and take "
               "root's "
               "away from here when you can.\n",
               dir, dir);
        if (s->development)
                puts("It has ONE KEY FOR ALL ROLES, which lies there in the clear. Good for trying things "
                     "out.");
        puts("Next: 'skerry repo add' or 'skerry artifact push', then 'skerry repo publish'.");
        return EXIT_SUCCESS;
}

const struct command_spec repo_init_command = {
        .name = "repo init",
        .arguments = "[DIR]",
        .summary = "Make a signed repository (TUF) in a folder",
        .details =
                "Makes the work folder, a key for each role (root-1, targets-1, snapshot-1, timestamp-1) and "
                "the "
                "first metadata, signed and staged. root-1 and targets-1 are put under a passphrase, for "
                "they "
                "decide what nodes run; snapshot-1 and timestamp-1 are not, for a timer signs with "
                "them.\n\nDIR/public "
                "is what a web server, object store or CDN serves, once 'skerry repo publish' has filled it.",
        .options = init_options,
        .settings_size = sizeof(struct init_settings),
        .max_arguments = 1,
        .completes = "dir",
        .run = run_init,
};
