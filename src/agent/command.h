/* SPDX-License-Identifier: Apache-2.0 */
/* Runs a short-lived program on the loop, with a time limit, and keeps the end of what it prints: health
 * checks and podman. */
#pragma once

#include "net/loop.h"

struct command;

struct command_request {
        const char *path;             /* absolute, or a name that is looked for in PATH */
        const char *const *arguments; /* NULL-terminated, the program's name first */
        char *const *environment;     /* NULL: ours */
        const char *folder;           /* NULL: ours */
        bool change_user;
        uid_t uid;
        gid_t gid;
        msec_t timeout_ms;   /* past it the program's whole session gets SIGKILL; 0: none */
        size_t output_limit; /* most bytes of standard output kept (past it: -EMSGSIZE); 0: only its end */
};
struct command_result {
        int error;           /* 0: ended with status 0; -ENOENT, -ETIMEDOUT, -EMSGSIZE, -EIO: anything else */
        int exit_status;     /* -1 when it did not exit by itself */
        const char *message; /* for people, with the last line printed; NULL on success */
        const char *output;  /* standard output, NUL-terminated, "" without output_limit */
        size_t output_len;
        const char *last_line; /* the last line printed to either, standard error first; "" for none */
};

/* done is called once, never from within this call; a command that is freed ends (SIGKILL) without it.
 * The result lives until done returns; the command is freed after. */
int command_start(struct loop *l, const struct command_request *request,
                  void (*done)(void *arg, const struct command_result *r), void *arg, struct command **ret,
                  struct err **err);
struct command *command_free(struct command *c);
/* Lets it go on without us, and forgets it: for the end of the program, when killing it would leave a job
 * half done. */
struct command *command_abandon(struct command *c);
