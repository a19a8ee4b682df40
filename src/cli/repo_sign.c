/* SPDX-License-Identifier: Apache-2.0 */
/* skerry repo sign | prepare | submit: signatures, here and elsewhere. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/encode.h"
#include "base/fs.h"
#include "base/str.h"
#include "cli/repo.h"

struct sign_settings {
        struct repo_globals repo;
        char **keys, *prepared, *key_file, *sign_command, *public_key;
        bool renew, discard;
};

static const struct option_spec sign_options[] = {
        REPO_OPTIONS,
        {"key", 'k', OPTION_STRINGS, offsetof(struct sign_settings, keys), "NAME", NULL,
         "Sign with this key alone; may be repeated (default: every key at hand)"},
        {"renew", 0, OPTION_BOOL, offsetof(struct sign_settings, renew), NULL, NULL,
         "Stage a new version of the ROLEs first, which changes nothing but the expiry time"},
        {"discard", 0, OPTION_BOOL, offsetof(struct sign_settings, discard), NULL, NULL,
         "Instead of signing: throw away what is staged of the ROLEs"},
        {"prepared", 'f', OPTION_STRING, offsetof(struct sign_settings, prepared), "FILE", NULL,
         "Sign a file that 'skerry repo prepare' wrote, in place; no repository is needed"},
        {"private-key", 0, OPTION_STRING, offsetof(struct sign_settings, key_file), "FILE", NULL,
         "With --prepared: the private key"},
        {"command", 0, OPTION_STRING, offsetof(struct sign_settings, sign_command), "COMMAND", NULL,
         "With --prepared: a command that gets the bytes and prints their signature"},
        {"public-key", 0, OPTION_STRING, offsetof(struct sign_settings, public_key), "FILE", NULL,
         "With --command: the public key"},
        REPO_KEY_OPTIONS,
        OPTIONS_END,
};

static int open_signer(const struct sign_settings *s, struct tuf_signer **ret, struct err **err) {
        _cleanup_(tuf_key_freep) struct tuf_key *key = NULL;
        _cleanup_(x_freep) char *pem = NULL, *passphrase = NULL;
        size_t len = 0;
        if (s->sign_command) {
                int r = tuf_key_load(s->public_key, &key, err);
                return r < 0 ? r : tuf_signer_from_command(s->sign_command, "given", key, ret, err);
        }
        int r = file_read(s->key_file, (size_t)64 * 1024, &pem, &len, err);
        if (r >= 0 && signing_key_pem_is_encrypted(pem))
                r = repo_passphrase(s->repo.passphrase_file, s->key_file, &passphrase, err);
        if (pem)
                explicit_bzero(pem, len);
        if (r >= 0)
                r = tuf_signer_from_file(s->key_file, passphrase, ret, err);
        if (passphrase)
                explicit_bzero(passphrase, strlen(passphrase));
        return r;
}

static int sign_prepared(const struct sign_settings *s) {
        _cleanup_(err_freep) struct err *err = NULL;
        _cleanup_(tuf_signer_freep) struct tuf_signer *signer = NULL;
        _cleanup_(x_freep) char *data = NULL, *out = NULL;
        size_t len = 0, out_len = 0;
        if (!s->key_file == !s->sign_command || (s->sign_command && !s->public_key))
                return cli_usage("repo sign",
                                 "--prepared wants --private-key, or --command together with --public-key");
        repo_warn_of_passphrase_file(s->repo.passphrase_file);
        if (open_signer(s, &signer, &err) < 0 ||
            repo_read(s->prepared, TUF_TARGETS_MAX, &data, &len, &err) < 0 ||
            tuf_prepared_sign(data, len, signer, &out, &out_len, &err) < 0 ||
            repo_write(s->prepared, out, out_len, &err) < 0)
                return cli_fail(err);
        if (!str_eq(s->prepared, "-"))
                printf("%s is signed with key %.12s...; bring it back and 'skerry repo submit' it.\n",
                       s->prepared, tuf_key_id(tuf_signer_key(signer)));
        return EXIT_SUCCESS;
}

static int change_staged(const struct sign_settings *s, struct tuf_publisher *p, char **roles, size_t n,
                         struct err **err) {
        int r = 0;
        for (size_t i = 0; r >= 0 && i < n; i++)
                if (s->discard)
                        r = tuf_publisher_discard(p, roles[i], err);
                else if (s->renew)
                        r = tuf_publisher_renew(p, roles[i], err);
        return r;
}

struct report {
        bool nothing;
};
static int report_role(void *arg, const struct tuf_publisher_role *r) {
        struct report *report = arg;
        if (r->staged == 0)
                return 0;
        report->nothing = false;
        printf("%s version %lld: %zu of %zu signatures", r->name, (long long)r->staged, r->signatures,
               r->threshold);
        if (!r->ready)
                printf("; not signed by: %s", *r->missing ? r->missing : "-");
        putchar('\n');
        return 0;
}

static int run_sign(void *settings, char **arguments, size_t n) {
        const struct sign_settings *s = settings;
        _cleanup_(err_freep) struct err *err = NULL;
        _cleanup_(tuf_publisher_freep) struct tuf_publisher *p = NULL;
        size_t made = 0;
        if (s->prepared)
                return sign_prepared(s);
        if (s->key_file || s->sign_command || s->public_key)
                return cli_usage("repo sign", "--private-key, --command and --public-key go with --prepared");
        if ((s->renew || s->discard) && n == 0)
                return cli_usage("repo sign", "name the roles");
        if (s->renew && s->discard)
                return cli_usage("repo sign", "give --renew or --discard, not both");
        if (repo_open(&s->repo, false, &p, &err) < 0 || change_staged(s, p, arguments, n, &err) < 0)
                return cli_fail(err);
        if (s->discard) {
                puts("What was staged is gone.");
                return EXIT_SUCCESS;
        }
        for (size_t i = 0; i < MAX(n, (size_t)1); i++) {
                size_t more = 0;
                if (tuf_publisher_sign(p, n ? arguments[i] : NULL, (const char *const *)s->keys,
                                       strv_len(s->keys), &more, &err) < 0)
                        return cli_fail(err);
                made += more;
        }
        struct report report = {.nothing = true};
        printf("%zu signature%s made.\n", made, made == 1 ? "" : "s");
        if (tuf_publisher_each_role(p, report_role, &report) >= 0 && report.nothing)
                puts("Nothing is staged.");
        return EXIT_SUCCESS;
}

const struct command_spec repo_sign_command = {
        .name = "repo sign",
        .arguments = "[ROLE...]",
        .summary = "Sign what is staged, with the keys at hand",
        .details = "'skerry repo publish' signs by itself with the keys it can reach; this is for the "
                   "others. With "
                   "--prepared it runs on the machine that has the key and needs nothing else.",
        .options = sign_options,
        .settings_size = sizeof(struct sign_settings),
        .max_arguments = SIZE_MAX,
        .completes = "root,targets",
        .run = run_sign,
};

/* ---- prepare */

struct prepare_settings {
        struct repo_globals repo;
        bool bytes;
};
static const struct option_spec prepare_options[] = {
        REPO_OPTIONS,
        {"bytes", 0, OPTION_BOOL, offsetof(struct prepare_settings, bytes), NULL, NULL,
         "The very bytes that are to be signed, for a signer that knows nothing of TUF"},
        OPTIONS_END,
};

static int run_prepare(void *settings, char **arguments, size_t n) {
        const struct prepare_settings *s = settings;
        _cleanup_(err_freep) struct err *err = NULL;
        _cleanup_(tuf_publisher_freep) struct tuf_publisher *p = NULL;
        _cleanup_(x_freep) char *data = NULL;
        size_t len = 0;
        if (repo_open(&s->repo, true, &p, &err) < 0)
                return cli_fail(err);
        int r = s->bytes ? tuf_publisher_prepare_bytes(p, arguments[0], &data, &len, &err)
                         : tuf_publisher_prepare(p, arguments[0], &data, &len, &err);
        if (r < 0 || repo_write(n > 1 ? arguments[1] : NULL, data, len, &err) < 0)
                return cli_fail(err);
        return EXIT_SUCCESS;
}

const struct command_spec repo_prepare_command = {
        .name = "repo prepare",
        .arguments = "ROLE [FILE]",
        .summary = "Write a staged role to a file, to be signed elsewhere",
        .details = "Without FILE it goes to standard output. There, 'skerry repo sign --prepared FILE "
                   "--private-key KEY' "
                   "signs it (so does any other TUF tool); here, 'skerry repo submit' takes it back. An edit "
                   "made "
                   "meanwhile makes the signature useless, and submit says so.",
        .options = prepare_options,
        .settings_size = sizeof(struct prepare_settings),
        .min_arguments = 1,
        .max_arguments = 2,
        .completes = "root,targets file",
        .run = run_prepare,
};

/* ---- submit */

struct submit_settings {
        struct repo_globals repo;
        char *key;
};
static const struct option_spec submit_options[] = {
        REPO_OPTIONS,
        {"key", 'k', OPTION_STRING, offsetof(struct submit_settings, key), "NAME", NULL,
         "FILE holds one signature by this key over what 'prepare --bytes' wrote: raw, hex or base64"},
        OPTIONS_END,
};

/* Raw bytes, hex or base64: as hex. */
static char *signature_hex(char *data, size_t len) {
        _cleanup_(x_freep) void *decoded = NULL;
        const void *raw = data;
        size_t text = len, n = len;
        while (text > 0 && strchr(" \t\r\n", data[text - 1]))
                text--;
        if (memchr(data, '\0', len) == NULL && text > 0 && strspn(data, "0123456789abcdefABCDEF") == text)
                return str_dup_n(data, text);
        if (memchr(data, '\0', len) == NULL && text >= 64 && base64_decode(data, text, &decoded, &n) >= 0)
                raw = decoded;
        char *hex = n <= SIGNING_SIGNATURE_MAX ? malloc(2 * n + 1) : NULL;
        if (hex)
                hex_encode(raw, n, hex);
        return hex;
}

static int run_submit(void *settings, char **arguments, size_t n) {
        const struct submit_settings *s = settings;
        _cleanup_(err_freep) struct err *err = NULL;
        _cleanup_(tuf_publisher_freep) struct tuf_publisher *p = NULL;
        _cleanup_(x_freep) char *data = NULL, *hex = NULL;
        size_t len = 0, new = 1;
        if (repo_read(arguments[1], TUF_TARGETS_MAX, &data, &len, &err) < 0 ||
            repo_open(&s->repo, false, &p, &err) < 0)
                return cli_fail(err);
        int r = 0;
        if (s->key) {
                hex = signature_hex(data, len);
                if (!hex)
                        return cli_usage("repo submit", "%s does not hold a signature", arguments[1]);
                r = tuf_publisher_submit_signature(p, arguments[0], s->key, hex, &err);
        } else
                r = tuf_publisher_submit(p, arguments[0], data, len, &new, &err);
        if (r < 0)
                return cli_fail(err);
        struct report report = {.nothing = true};
        printf("%zu new signature%s.\n", new, new == 1 ? "" : "s");
        (void)tuf_publisher_each_role(p, report_role, &report);
        return EXIT_SUCCESS;
}

const struct command_spec repo_submit_command = {
        .name = "repo submit",
        .arguments = "ROLE FILE",
        .summary = "Take back signatures that were made elsewhere",
        .details = "FILE is what 'prepare' wrote, signed; or, for a delegated role, a newer version of it "
                   "that its owner "
                   "edited and signed. Every signature is checked before it is taken.",
        .options = submit_options,
        .settings_size = sizeof(struct submit_settings),
        .min_arguments = 2,
        .max_arguments = 2,
        .completes = "root,targets file",
        .run = run_submit,
};
