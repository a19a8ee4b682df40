/* SPDX-License-Identifier: Apache-2.0 */
/* Drivers: what makes an app's spec true on the machine, and notices when it is not true any more.
 *
 * An app consists of parts: its files (driver files), and what runs (driver process or podman). Each part
 * belongs to one driver. A part is made for one unit (or, to remove what an earlier version left, for a
 * ledger record alone), does one operation at a time, and reports what happens by itself through its
 * listener. Freeing a part only stops watching: what runs goes on, and the next part made for the same
 * app, also in a later process, takes it over.
 *
 * Operations end exactly once by done(), perhaps before they return. Everything belongs to the loop's
 * thread. */
#pragma once

#include "agent/artifact_store.h"
#include "agent/desired.h"
#include "agent/ledger.h"
#include "base/fs.h"
#include "net/loop.h"

struct drift;
struct cgroup;
struct secrets;

struct podman_settings {
        const char *program;                                       /* "podman" */
        const char *root, *runroot, *storage_driver, *image_store; /* NULL: podman's default */
};

struct driver_host { /* what the agent lends to its drivers; outlives every part */
        struct loop *loop;
        struct root_dir *sysroot;
        const char *state; /* the state folder */
        const char *node;
        struct object_store *objects;
        struct secrets *secrets;          /* NULL: this agent has none (tests) */
        struct artifact_store *artifacts; /* NULL: this agent has none (tests) */
        const struct ledger *ledger;
        struct drift *drift;   /* file watching; NULL: none */
        struct cgroup *cgroup; /* where limits can be set; NULL: nowhere on this machine */
        struct podman_settings podman;
        /* Says something once that concerns the machine rather than an app. */
        void (*warn)(void *arg, const char *message);
        void *warn_arg;
};

struct driver_outcome {
        int error;           /* 0 or -Exxx */
        const char *message; /* for people; NULL on success */
        unsigned corrected;  /* how many things had drifted and were put back */
};
typedef void (*driver_done)(void *arg, const struct driver_outcome *o);

enum driver_event_type {
        DRIVER_CHANGED, /* something may have drifted: a check is due */
        DRIVER_ENDED,   /* what ran has ended by itself */
        DRIVER_REVIVED, /* what ran has ended, and what keeps it (podman) has started it again */
};
struct driver_event {
        enum driver_event_type type;
        bool success; /* DRIVER_ENDED: with exit status 0 */
        const char *message;
};
struct driver_listener {
        void (*event)(void *arg, const struct driver_event *e);
        void *arg;
};

struct driver_app { /* whose part it is */
        const char *name;
        struct desired *desired; /* NULL with a NULL unit */
        const struct unit *unit; /* NULL: only to stop and remove */
        msec_t stop_timeout_ms;
};

struct driver;
struct driver_part { /* each driver's own struct begins with it */
        const struct driver *driver;
        const struct driver_host *host;
        struct driver_listener listener;
};

struct driver {
        const char *name;
        enum app_driver kind;
        /* No side effects. app is copied (desired by reference). */
        int (*part_new)(const struct driver_host *host, const struct driver_app *app,
                        const struct driver_listener *listener, struct driver_part **ret, struct err **err);
        /* Makes the unit true from whatever is there: a no-op where it is true already, an earlier version
         * is replaced. After a failure what is there is undefined until the next operation. */
        void (*apply)(struct driver_part *p, driver_done done, void *arg);
        /* Ends what runs and starts it afresh. */
        void (*restart)(struct driver_part *p, driver_done done, void *arg);
        /* Ends what runs, keeps what is on disk. */
        void (*stop)(struct driver_part *p, driver_done done, void *arg);
        /* Ends what runs and takes away what was put on disk. */
        void (*remove)(struct driver_part *p, driver_done done, void *arg);
        /* Full comparison of what is there with what shall be; puts back what it can. An error: what runs
         * is gone, or something cannot be put back. */
        void (*check)(struct driver_part *p, driver_done done, void *arg);
        /* The last line that what runs has printed, into out ("" when there is none). May be NULL. */
        void (*last_output)(struct driver_part *p, char *out, size_t size);
        /* Ends the operation under way without done(). */
        struct driver_part *(*part_free)(struct driver_part *p);
};

/* The table: driver/table.c. NULL for what is not known. */
const struct driver *driver_for(enum app_driver kind);
extern const struct driver files_driver, process_driver, podman_driver;

static inline void driver_finish(driver_done done, void *arg, int error, const char *message) {
        done(arg, &(struct driver_outcome){.error = error, .message = message});
}
static inline struct driver_part *driver_part_free(struct driver_part *p) {
        return p ? p->driver->part_free(p) : NULL;
}
/* The path of a state file "<state>/<folder>/<app><suffix>"; malloc'ed, NULL when memory is out. */
char *driver_state_path(const struct driver_host *host, const char *folder, const char *app,
                        const char *suffix) _must_use_;
