/* SPDX-License-Identifier: Apache-2.0 */
/* What the agent's tests share: a temporary node (state folder, sysroot, object store, ledger, loop). */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "agent/driver/driver.h"
#include "agent/health.h"
#include "codec/json.h"

struct fixture {
        char folder[64], state[80], sysroot[80];
        struct loop *loop;
        struct root_dir *root;
        struct object_store *objects;
        struct ledger *ledger;
        struct drift *drift;
        struct driver_host host;
        struct health_host health;
        struct http_client *http;
        char warning[512]; /* the last one */
};

int fixture_setup(void **state);
int fixture_teardown(void **state);

/* Stores content and returns its digest, valid until the next call. */
const char *fixture_object(struct fixture *f, const char *content);
/* A revision of these apps (JSON texts of one array; ' stands for "), bound to labels {"site":"kiel"} and
 * no variables. Members that every app has are filled in. */
struct desired *fixture_desired(struct fixture *f, const char *apps);
struct source *fixture_source(struct fixture *f, const char *apps);
/* Runs the loop until done(arg); the test fails when that never comes. */
void fixture_run(struct fixture *f, bool (*done)(void *arg), void *arg);
/* Runs the loop for what is due now and a little more. */
void fixture_turn(struct fixture *f);

/* Contents of a file beneath the sysroot; NULL when it is not there. Malloc'ed. */
char *fixture_read(struct fixture *f, const char *path);
void fixture_write(struct fixture *f, const char *path, const char *content);
bool fixture_exists(const char *path);
/* A TCP port that nobody listens on at the moment. */
unsigned fixture_free_port(void);
