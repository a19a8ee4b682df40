/* SPDX-License-Identifier: Apache-2.0 */
/* skerry artifact pack: the bytes that a push would publish, into a file. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/str.h"
#include "cli/cli.h"
#include "cli/progress.h"
#include "repo/payload.h"

struct settings {
        struct cli_globals globals;
        char *type, *platform;
        int64_t time;
};

static const struct option_spec options[] = {
        {"type", 't', OPTION_CHOICE, offsetof(struct settings, type), "TYPE", "tree", "What PATH is",
         "file,tree,oci,image"},
        {"platform", 'p', OPTION_STRING, offsetof(struct settings, platform), "PLATFORM", NULL,
         "Which platform of an image index to take (default: this machine's)"},
        {"time", 0, OPTION_INT, offsetof(struct settings, time), "SECONDS", "0",
         "The time that every entry of a tree is given, in Unix seconds"},
        OPTIONS_END,
};

static void show(void *arg, int64_t done, int64_t total) {
        progress_show(arg, "pack", done, total);
}

static int pack(const struct settings *s, const char *path, const char *out, struct err **err) {
        enum artifact_type type;
        char platform[PLATFORM_MAX];
        int r = artifact_type_from_name(s->type, &type);
        if (r < 0)
                return err_set(err, EINVAL, "no type \"%s\"", s->type);
        r = platform_parse(s->platform ? s->platform : platform_here(), platform, err);
        if (r < 0)
                return r;
        _cleanup_(x_closep) int fd = open(out, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
        if (fd < 0)
                return err_set_errno(err, errno, "open %s", out);
        _cleanup_(progress_freep) struct progress *bar = progress_new();
        const struct payload_progress told = {show, bar};
        r = payload_pack(type, path, platform, s->time, fd, &told, err);
        if (r < 0) {
                (void)unlink(out); /* half a payload is of no use */
                return err_wrap(err, "pack %s", path);
        }
        return 0;
}

static int run(void *settings, char **arguments, size_t n) {
        _cleanup_(err_freep) struct err *err = NULL;
        return pack(settings, arguments[0], arguments[1], &err) < 0 ? cli_fail(err) : EXIT_SUCCESS;
}

const struct command_spec artifact_pack_command = {
        .name = "artifact pack",
        .arguments = "PATH FILE",
        .summary = "Write what a push would publish into a file",
        .details =
                "The payload of an artifact is one stream of bytes, the same for the same input: a tree as a "
                "sorted archive, a container image as an archive of uncompressed layers. For looking at it, "
                "for "
                "comparing builds, and for trying deltas ('skerry delta make').",
        .options = options,
        .settings_size = sizeof(struct settings),
        .min_arguments = 2,
        .max_arguments = 2,
        .completes = "file",
        .run = run,
};
