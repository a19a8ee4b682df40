/* SPDX-License-Identifier: Apache-2.0 */
#include "repo/tuf/search.h"

#include <errno.h>

#include "base/str.h"

/* What one role may put on the list of visits. Beyond it the search cannot end well anyway: it visits 32. */
#define VISITS_MAX ((size_t)2 * TUF_DELEGATED_MAX)

static void visit_done(struct tuf_visit *v) {
        free(v->role);
        free(v->delegator);
}

static void drop_visits(struct tuf_search *s) {
        while (s->n_visits > 0)
                visit_done(&s->visits[--s->n_visits]);
}

void tuf_search_done(struct tuf_search *s) {
        drop_visits(s);
        free(s->visits);
        free(s->path);
        table_free(s->visited);
        *s = (struct tuf_search){0};
}

static int push(struct tuf_search *s, const char *role, const char *delegator, struct err **err) {
        if (s->n_visits == s->room) {
                size_t room = s->room ? 2 * s->room : 8;
                struct tuf_visit *more =
                        room > VISITS_MAX ? NULL : reallocarray(s->visits, room, sizeof(*more));
                if (!more)
                        return err_set(err, ELOOP, "there are too many delegations");
                s->visits = more;
                s->room = room;
        }
        struct tuf_visit v = {str_dup(role), delegator ? str_dup(delegator) : NULL};
        if (!v.role || (delegator && !v.delegator)) {
                visit_done(&v);
                return err_set_errno(err, ENOMEM, "search");
        }
        s->visits[s->n_visits++] = v;
        return 0;
}

int tuf_search_init(struct tuf_search *s, const char *path, struct err **err) {
        *s = (struct tuf_search){0};
        s->path = path ? str_dup(path) : NULL;
        s->visited = table_new(NULL);
        if ((path && !s->path) || !s->visited) {
                tuf_search_done(s);
                return err_set_errno(err, ENOMEM, "search");
        }
        return push(s, "targets", NULL, err);
}

/* The roles that may speak of the path, in the order of the delegator, up to the first that has the last
 * word. */
static int push_delegations(struct tuf_search *s, const char *role, const struct tuf_metadata *m,
                            struct err **err) {
        size_t n = m->n_delegations;
        for (size_t i = 0; s->path && i < n; i++)
                if (m->delegations[i].terminating && tuf_delegation_covers(&m->delegations[i], s->path)) {
                        n = i + 1;
                        drop_visits(s);
                }
        for (size_t i = n; i-- > 0;) {
                const struct tuf_delegation *d = &m->delegations[i];
                if (table_get(s->visited, d->name) || (s->path && !tuf_delegation_covers(d, s->path)))
                        continue;
                int r = push(s, d->name, role, err);
                if (r < 0)
                        return r;
        }
        return 0;
}

int tuf_search_run(struct tuf_search *s, struct tuf_trusted *t, struct tuf_target *ret, struct err **err) {
        while (s->n_visits > 0) {
                struct tuf_visit *next = &s->visits[s->n_visits - 1];
                if (table_get(s->visited, next->role)) {
                        visit_done(&s->visits[--s->n_visits]);
                        continue;
                }
                if (table_len(s->visited) >= TUF_DELEGATIONS_MAX)
                        return err_set(err, ELOOP, "%s%s: more than %d roles would have to be asked",
                                       s->path ? "find " : "list targets", s->path ? s->path : "",
                                       TUF_DELEGATIONS_MAX);
                int r = tuf_trusted_role(t, next->role, next->delegator, err);
                if (r != 0)
                        return r;
                if (table_set(s->visited, next->role, t) < 0)
                        return err_set_errno(err, ENOMEM, "search");
                struct tuf_visit made = s->visits[--s->n_visits];
                const struct tuf_held *held = tuf_trusted_held(t, made.role);
                if (s->path && tuf_metadata_target(held->m, s->path, ret)) {
                        ret->role = held->name;
                        visit_done(&made);
                        return 0;
                }
                r = push_delegations(s, made.role, held->m, err);
                visit_done(&made);
                if (r < 0)
                        return r;
        }
        return s->path ? err_set(err, ENOENT, "no role of the repository lists %s", s->path) : -ENOENT;
}
