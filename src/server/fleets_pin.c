/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <string.h>

#include "base/log.h"
#include "base/table.h"
#include "codec/json.h"
#include "server/delta_worker.h"
#include "server/fleet_record.h"
#include "server/memory.h"
#include "server/revisions.h"
#include "server/rollout_record.h"

#define PREFIX_MIN 7

void fleet_pin_done(struct fleet_pin *p) {
        target_done(&p->git);
        free(p->by);
        free(p->reason);
        *p = (struct fleet_pin){0};
}

json_t *fleet_pin_to_json(const struct fleet_pin *p) {
        json_t *j = json_object_new();
        json_put(j, "git", target_to_json(&p->git));
        json_put(j, "by", json_text(p->by));
        json_put(j, "reason", json_text(p->reason));
        json_put(j, "at", json_number(p->at));
        return j;
}

void fleet_pin_from_json(const json_t *j, struct fleet_pin *ret) {
        const char *by = NULL, *reason = NULL;
        int64_t at = 0;
        struct target git = {0};
        if (json_read_int(j, "at", &at, NULL) < 0 || at <= 0 ||
            !target_from_json(json_object_get(j, "git"), &git))
                return;
        (void)json_read_optional_string(j, "by", &by, NULL);
        (void)json_read_optional_string(j, "reason", &reason, NULL);
        *ret = (struct fleet_pin){.git = git, .by = copy_text(by), .reason = copy_text(reason), .at = at};
}

static bool target_fits(const struct target *t, const char *to) {
        return t->revision[0] &&
               (str_has_prefix(t->revision, to) || (t->commit && str_has_prefix(t->commit, to)));
}

/* Among what the fleet rolled out; the newest target of a revision counts. */
static int target_find(const struct control *c, const struct fleet *f, const char *to,
                       const struct target **ret, struct err **err) {
        const struct target *found = target_fits(&f->stable, to) ? &f->stable : NULL;
        const char *id;
        void *value;
        if (strlen(to) < PREFIX_MIN || strspn(to, "0123456789abcdef") != strlen(to))
                return err_set(
                        err, EINVAL,
                        "to: %s is no revision: give the first %d or more digits of one, or of its commit",
                        to, PREFIX_MIN);
        for (size_t i = 0; table_next(c->rollouts->all, &i, &id, &value);) { /* oldest first */
                const struct rollout_record *r = value;
                if (!str_eq(r->fleet, f->name) || !target_fits(&r->target, to))
                        continue;
                if (found && strcmp(found->revision, r->target.revision) != 0)
                        return err_set(
                                err, EINVAL,
                                "to: %s fits the revisions %.12s and %.12s of fleet %s: give more of it", to,
                                found->revision, r->target.revision, f->name);
                found = &r->target;
        }
        if (!found || !revisions_have(c, found->revision))
                return err_set(err, ENOENT,
                               "fleet %s has no revision %s that it could go back to; skerry history %s "
                               "lists those it has",
                               f->name, to, f->name);
        *ret = found;
        return 0;
}

static void tell(struct control *c, const struct fleet *f, const char *type, const char *message,
                 const char *actor) {
        events_add(c->events, &(struct event){.type = type,
                                              .message = message,
                                              .fleet = f->name,
                                              .source = f->source,
                                              .actor = actor});
        log_info(message, "event", type, "fleet", f->name, NULL);
}

int fleets_pin(struct control *c, struct fleet *f, const char *to, const char *by, const char *reason,
               struct err **err) {
        const struct target *found = NULL;
        int r = target_find(c, f, to, &found, err);
        if (r < 0)
                return r;
        if (strcmp(found->key, f->desired.key) == 0)
                return err_set(err, EINVAL, "fleet %s is to run revision %.12s already%s", f->name,
                               found->revision, f->pin.at ? ", since it is pinned to it" : "");
        if (!f->pin.at)
                target_copy(&f->pin.git, &f->desired);
        replace_text(&f->pin.by, by);
        replace_text(&f->pin.reason, reason);
        f->pin.at = control_now(c);
        struct target copy = {0}; /* what was found may go with an old rollout */
        target_copy(&copy, found);
        target_copy(&f->desired, &copy);
        target_done(&copy);
        f->failed_key[0] = '\0';
        _cleanup_(x_freep) char *message =
                must(str_format("fleet %s goes back to revision %.12s (commit %.9s) and stays there, "
                                "whatever Git says, until "
                                "skerry rollback %s --clear%s%s",
                                f->name, f->desired.revision, f->desired.commit ? f->desired.commit : "",
                                f->name, reason ? ": " : "", reason ? reason : ""));
        tell(c, f, "FleetPinned", message, by);
        fleet_store(c, f);
        fleet_advance(c, f, true);
        delta_worker_wake(c);
        return 0;
}

int fleets_unpin(struct control *c, struct fleet *f, const char *by, struct err **err) {
        if (!f->pin.at)
                return err_set(err, ENOENT, "fleet %s is not pinned: Git's word counts", f->name);
        struct target git = f->pin.git;
        f->pin.git = (struct target){0};
        fleet_pin_done(&f->pin);
        bool is_new = strcmp(f->desired.key, git.key) != 0;
        target_copy(&f->desired, &git);
        target_done(&git);
        if (is_new)
                f->failed_key[0] = '\0';
        tell(c, f, "FleetUnpinned", "the fleet follows Git again", by);
        fleet_store(c, f);
        fleet_advance(c, f, is_new);
        revisions_trim(c);
        delta_worker_wake(c);
        return 0;
}
