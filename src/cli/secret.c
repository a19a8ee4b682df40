/* SPDX-License-Identifier: Apache-2.0 */
/* skerry secret encrypt | rotate | edit: what a file holds. */
#include <errno.h>
#include <linux/magic.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/vfs.h>
#include <sys/wait.h>

#include "base/fs.h"
#include "base/str.h"
#include "cli/secret.h"

struct settings {
        struct secret_globals secret;
        char **recipients, **fleets, **nodes, *output;
        char *unencrypted_suffix, *encrypted_suffix, *unencrypted_regex, *encrypted_regex;
};

/* A crash must leave no plain text behind. */
static void leave_no_core(void) {
        const struct rlimit none = {0, 0};
        (void)setrlimit(RLIMIT_CORE, &none);
}

static void wipe(struct buf *b) {
        if (b->data)
                explicit_bzero(b->data, b->len);
        buf_done(b);
}

static int all_of(const struct sops *file, char ***ret, struct err **err) {
        for (size_t i = 0; i < sops_recipients(file); i++)
                if (strv_push(ret, sops_recipient(file, i)) < 0)
                        return err_set_errno(err, ENOMEM, "recipients");
        return 0;
}

/* Lines that hold nothing but a comment: they do not come through. */
static size_t comments_in(const char *text) {
        size_t n = 0;
        for (const char *line = text; line && *line;
             line = strchr(line, '\n') ? strchr(line, '\n') + 1 : NULL)
                n += line[strspn(line, " \t")] == '#';
        return n;
}

static void tell_comments(const char *path, const char *text) {
        size_t n = text[strspn(text, " \t\r\n")] == '{' ? 0 : comments_in(text);
        if (n > 0)
                (void)fprintf(stderr, "skerry: %s: %zu comment%s left out\n", path, n,
                              n == 1 ? " was" : "s were");
}

/* ---- encrypt */

static const struct option_spec encrypt_options[] = {
        {"fleet", 0, OPTION_STRINGS, offsetof(struct settings, fleets), "NAME", NULL,
         "For every node of this fleet, as the server knows it; may be given again", "@fleets"},
        {"node", 0, OPTION_STRINGS, offsetof(struct settings, nodes), "NAME", NULL,
         "For this node; may be given again", "@nodes"},
        {"recipient", 'r', OPTION_STRINGS, offsetof(struct settings, recipients), "AGE1...", NULL,
         "For this age recipient; name your own, or you cannot read it again; may be given again"},
        {"output", 'o', OPTION_STRING, offsetof(struct settings, output), "FILE", NULL,
         "Where to write it (default: in place of the plain file)", "file"},
        {"encrypted-suffix", 0, OPTION_STRING, offsetof(struct settings, encrypted_suffix), "TEXT", NULL,
         "Encrypt only what stands beneath keys that end so"},
        {"unencrypted-suffix", 0, OPTION_STRING, offsetof(struct settings, unencrypted_suffix), "TEXT", NULL,
         "Leave what stands beneath keys that end so (default: _unencrypted)"},
        {"encrypted-regex", 0, OPTION_STRING, offsetof(struct settings, encrypted_regex), "EXPRESSION", NULL,
         "Encrypt only what stands beneath keys that match"},
        {"unencrypted-regex", 0, OPTION_STRING, offsetof(struct settings, unencrypted_regex), "EXPRESSION",
         NULL, "Leave what stands beneath keys that match"},
        OPTIONS_END,
};

static int gather(const struct settings *s, char ***ret, struct err **err) {
        _cleanup_(secret_nodes_done) struct secret_nodes nodes = {0};
        int r = 0;
        for (size_t i = 0; r == 0 && s->recipients && s->recipients[i]; i++)
                if (!strv_has(*ret, s->recipients[i]))
                        r = strv_push(ret, s->recipients[i]);
        if (r < 0)
                return err_set_errno(err, -r, "recipients");
        if (s->fleets || s->nodes)
                r = secret_nodes_read(&s->secret.globals, s->fleets, s->nodes, &nodes, err);
        for (size_t i = 0; r == 0 && i < nodes.n; i++) {
                if (!nodes.items[i].recipient)
                        (void)fprintf(stderr, "skerry: node %s has told no recipient yet\n",
                                      nodes.items[i].name);
                else if (!strv_has(*ret, nodes.items[i].recipient) &&
                         strv_push(ret, nodes.items[i].recipient) < 0)
                        r = err_set_errno(err, ENOMEM, "recipients");
        }
        return r;
}

static int encrypt_file(const struct settings *s, const char *path, struct err **err) {
        const struct sops_rules rules = {s->unencrypted_suffix, s->encrypted_suffix, s->unencrypted_regex,
                                         s->encrypted_regex};
        _cleanup_(strv_freep) char **recipients = NULL;
        _cleanup_(x_freep) char *text = NULL;
        _cleanup_(buf_done) struct buf out = BUF_INIT;
        char now[32];
        size_t len = 0;
        int r = gather(s, &recipients, err);
        if (r == 0)
                r = file_read(path, SOPS_FILE_MAX, &text, &len, err);
        if (r != 0)
                return r;
        secret_time(now);
        const struct sops_encryption e = {.recipients = (const char *const *)recipients,
                                          .n_recipients = strv_len(recipients),
                                          .rules = &rules,
                                          .time = now};
        r = sops_encrypt(path, text, len, &e, &out, err);
        if (r == 0)
                tell_comments(path, text);
        explicit_bzero(text, len);
        if (r == 0)
                r = secret_store(s->output ? s->output : path, &out, err);
        if (r == 0)
                printf("%s: encrypted for %zu recipient%s\n", s->output ? s->output : path,
                       strv_len(recipients), strv_len(recipients) == 1 ? "" : "s");
        return r;
}

static int run_encrypt(void *settings, char **arguments, size_t n) {
        _cleanup_(err_freep) struct err *err = NULL;
        const struct settings *s = settings;
        (void)n;
        leave_no_core();
        if (!s->recipients && !s->fleets && !s->nodes)
                return cli_usage("secret encrypt", "say for whom: --recipient, --node or --fleet");
        return encrypt_file(s, arguments[0], &err) < 0 ? cli_fail(err) : EXIT_SUCCESS;
}

const struct command_spec secret_encrypt_command = {
        "secret encrypt",
        "FILE",
        "Encrypt the values of a YAML or JSON file",
        "Writes a SOPS file: keys stay readable, each value is encrypted by itself. Comments are left out. "
        "In place of "
        "the plain file unless --output names another; what was committed before stays in the repository's "
        "history.",
        encrypt_options,
        sizeof(struct settings),
        1,
        1,
        "file",
        run_encrypt,
};

/* ---- rotate */

static const struct option_spec open_options[] = {
        SECRET_IDENTITY_OPTION(struct settings),
        OPTIONS_END,
};

/* The file with another plain text; keep: under the same data key. */
static int encrypt_again(const char *path, const struct sops *file, const struct buf *plain, bool keep,
                         struct err **err) {
        _cleanup_(strv_freep) char **recipients = NULL;
        _cleanup_(buf_done) struct buf out = BUF_INIT;
        char now[32];
        int r = all_of(file, &recipients, err);
        if (r < 0)
                return r;
        secret_time(now);
        const struct sops_encryption e = {.recipients = (const char *const *)recipients,
                                          .n_recipients = strv_len(recipients),
                                          .before = file,
                                          .keep_key = keep,
                                          .time = now};
        r = sops_encrypt(path, buf_str(plain), plain->len, &e, &out, err);
        return r < 0 ? r : secret_store(path, &out, err);
}

static int rotate_file(const struct settings *s, const char *path, struct err **err) {
        _cleanup_(sops_freep) struct sops *file = NULL;
        _cleanup_(wipe) struct buf plain = BUF_INIT;
        int r = secret_load_open(&s->secret, path, &file, err);
        if (r == 0)
                r = sops_plain(file, &plain, err);
        if (r == 0)
                r = encrypt_again(path, file, &plain, false, err);
        if (r == 0)
                printf("%s: encrypted anew under another key\n", path);
        return r;
}

static int run_rotate(void *settings, char **arguments, size_t n) {
        _cleanup_(err_freep) struct err *err = NULL;
        leave_no_core();
        for (size_t i = 0; i < n; i++)
                if (rotate_file(settings, arguments[i], &err) < 0)
                        return cli_fail(err);
        return EXIT_SUCCESS;
}

const struct command_spec secret_rotate_command = {
        "secret rotate",
        "FILE...",
        "Encrypt files anew under another key",
        "Makes a new data key for the same recipients and encrypts every value anew, so that apps which get "
        "one are "
        "applied again when it is committed. Comments are left out.",
        open_options,
        sizeof(struct settings),
        1,
        SIZE_MAX,
        "file",
        run_rotate,
};

/* ---- edit */

static const char *memory_folder(void) {
        static const char *const places[] = {"/dev/shm", "/run"};
        struct statfs fs;
        for (size_t i = 0; i < ARRAY_SIZE(places); i++)
                if (access(places[i], W_OK) == 0 && statfs(places[i], &fs) == 0 &&
                    ((unsigned long)fs.f_type == TMPFS_MAGIC || (unsigned long)fs.f_type == RAMFS_MAGIC))
                        return places[i];
        return NULL;
}

static int run_editor(const char *file, struct err **err) {
        const char *editor = getenv("VISUAL");
        int status;
        if (str_is_empty(editor))
                editor = getenv("EDITOR");
        if (str_is_empty(editor))
                editor = "vi";
        (void)fflush(NULL);
        pid_t pid = fork();
        if (pid < 0)
                return err_set_errno(err, errno, "start %s", editor);
        if (pid == 0) {
                _cleanup_(x_freep) char *command = str_format("%s \"$1\"", editor);
                if (command)
                        (void)execl("/bin/sh", "sh", "-c", command, "sh", file, (char *)NULL);
                _exit(127);
        }
        while (waitpid(pid, &status, 0) < 0)
                if (errno != EINTR)
                        return err_set_errno(err, errno, "wait for %s", editor);
        if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
                return err_set(err, ECANCELED, "%s ended with an error: nothing was changed", editor);
        return 0;
}

static int edit_in(const char *folder, const char *path, const struct sops *file, struct err **err) {
        const char *slash = strrchr(path, '/');
        _cleanup_(x_freep) char *copy = path_join(folder, slash ? slash + 1 : path), *text = NULL;
        _cleanup_(wipe) struct buf plain = BUF_INIT, edited = BUF_INIT;
        size_t len = 0;
        int r = copy ? sops_plain(file, &plain, err) : err_set_errno(err, ENOMEM, "%s", path);
        if (r == 0)
                r = file_write_atomic(copy, buf_str(&plain), plain.len, 0600, err);
        if (r == 0)
                r = run_editor(copy, err);
        if (r == 0)
                r = file_read(copy, SOPS_FILE_MAX, &text, &len, err);
        if (r != 0)
                return r;
        if (len == plain.len && memcmp(text, buf_str(&plain), len) == 0)
                printf("%s: not changed\n", path);
        else if ((r = buf_append(&edited, text, len)) == 0 &&
                 (r = encrypt_again(path, file, &edited, true, err)) == 0) {
                tell_comments(path, text);
                printf("%s: encrypted\n", path);
        }
        explicit_bzero(text, len);
        return r;
}

static int edit_file(const struct settings *s, const char *path, struct err **err) {
        _cleanup_(sops_freep) struct sops *file = NULL;
        const char *memory = memory_folder();
        int r = secret_load_open(&s->secret, path, &file, err);
        if (r < 0)
                return r;
        if (!memory)
                return err_set(err, EOPNOTSUPP,
                               "neither /dev/shm nor /run is memory one can write to: plain text would "
                               "reach a disk");
        _cleanup_(x_freep) char *folder = str_format("%s/skerry-edit-XXXXXX", memory);
        if (!folder || !mkdtemp(folder))
                return err_set_errno(err, folder ? errno : ENOMEM, "folder for the plain text");
        r = edit_in(folder, path, file, err);
        (void)path_remove(folder, NULL);
        return r;
}

static int run_edit(void *settings, char **arguments, size_t n) {
        _cleanup_(err_freep) struct err *err = NULL;
        (void)n;
        leave_no_core();
        return edit_file(settings, arguments[0], &err) < 0 ? cli_fail(err) : EXIT_SUCCESS;
}

const struct command_spec secret_edit_command = {
        "secret edit",
        "FILE",
        "Edit an encrypted file",
        "Opens the plain text in $VISUAL or $EDITOR, in a folder in memory that is removed after, and "
        "encrypts what came "
        "of it. Values that did not change keep their cipher text. Comments are left out.",
        open_options,
        sizeof(struct settings),
        1,
        1,
        "file",
        run_edit,
};
