/* SPDX-License-Identifier: Apache-2.0 */
#include "server/signed_report.h"

#include <errno.h>
#include <string.h>

#include "base/log.h"
#include "codec/json.h"
#include "crypto/key.h"
#include "relay/edge.h"
#include "server/inventory_facts.h"
#include "server/memory.h"
#include "server/relays.h"

static int serial_position(const struct serials *s, const char *serial) {
        for (int i = 0; *serial && i < SERIALS_KEPT; i++)
                if (str_eq(s->items[i], serial))
                        return i;
        return -1;
}

/* Of what was heard last the certificate may be forgotten by now: then any other is later. */
static bool is_newer(const struct node *n, int position, int64_t sequence) {
        int heard = serial_position(&n->serials, n->heard.serial);
        return heard < 0 || position < heard || (position == heard && sequence > n->heard.sequence);
}

static int verify(const char *public_key, const json_t *status, const char *signature, struct err **err) {
        _cleanup_(buf_done) struct buf text = BUF_INIT;
        _cleanup_(key_freep) struct key *key = NULL;
        int r = json_encode_canonical(status, &text, err);
        if (r >= 0)
                r = key_from_public_pem(public_key, &key, err);
        if (r >= 0)
                r = key_verify(key, text.data, text.len, signature, err);
        return r < 0 && r != -ENOMEM ? -EKEYREJECTED : r;
}

int signed_report_check(const json_t *report, const struct node *n, const json_t **ret_status,
                        struct report_order *ret_order, struct err **err) {
        const json_t *status = NULL, *signature = NULL;
        const char *serial = NULL, *sig = NULL, *type = NULL, *name = NULL;
        int64_t sequence = 0;
        int r = json_read_object(report, "signed", &status, NULL);
        if (r >= 0)
                r = json_read_object(report, "signature", &signature, NULL);
        if (r >= 0)
                r = json_read_string(signature, "serial", &serial, NULL);
        if (r >= 0)
                r = json_read_string(signature, "sig", &sig, NULL);
        if (r >= 0)
                r = json_read_string(status, "_type", &type, NULL);
        if (r >= 0)
                r = json_read_string(status, "node", &name, NULL);
        if (r >= 0)
                r = json_read_int(status, "seq", &sequence, NULL);
        if (r < 0)
                return err_set(err, EKEYREJECTED, "it is no signed report");
        if (!str_eq(type, "status"))
                return err_set(err, EKEYREJECTED, "what was signed is no status");
        if (!str_eq(name, n->name))
                return err_set(err, EKEYREJECTED, "it was signed in the name of %.80s", name);
        int position = serial_position(&n->serials, serial);
        if (position < 0)
                return err_set(err, EKEYREJECTED,
                               "the certificate %.40s is not one that this node may use now", serial);
        if (!is_newer(n, position, sequence))
                return -ESTALE;
        if (!n->keys[position])
                return -ENOKEY;
        r = verify(n->keys[position], status, sig, err);
        if (r < 0)
                return r;
        struct report_order order = {.sequence = sequence};
        memcpy(order.serial, n->serials.items[position], sizeof(order.serial));
        *ret_order = order;
        *ret_status = status;
        return 0;
}

/* Both who is said to speak and who brought it are named: it takes a person to find out which of the two. */
static void refuse(struct control *c, struct node *n, const char *via, const char *why) {
        struct relay *relay = relays_find(c, via);
        struct event_allowance *allowance = relay ? &relay->refusals : &n->speech;
        if (relay && relay->reports_refused++ == 0)
                log_warning("a report was refused; more of this relay are counted and told as events",
                            "relay", via, "node", n->name, "error", why, NULL);
        unsigned unsaid = 0;
        if (!event_allowance_take(allowance, clock_mono_ms(c->clock), &unsaid))
                return;
        if (!relay)
                log_warning("a report was refused", "node", n->name, "error", why, NULL);
        _cleanup_(x_freep) char *more =
                must(unsaid > 0 ? str_format(" (%u like it before were left out)", unsaid) : str_dup(""));
        _cleanup_(x_freep) char *message =
                must(str_format("a report in the name of %s%s%s was refused: %s%s", n->name,
                                relay ? ", brought by relay " : "", relay ? via : "", why, more));
        events_add(c->events, &(struct event){.type = "ReportRefused", .message = message, .node = n->name});
}

/* A report that comes too late says nothing new, but one from another machine than the node's says that there
 * are two: their numbers run side by side. */
static void watch_stale(struct control *c, struct node *n, const json_t *report) {
        const json_t *status = json_object_get(report, "signed"),
                     *signature = json_object_get(report, "signature");
        const char *serial = json_string_value(json_object_get(signature, "serial")),
                   *sig = json_string_value(json_object_get(signature, "sig"));
        char machine[129];
        facts_machine_id(json_object_get(status, "facts"), machine);
        int position = serial ? serial_position(&n->serials, serial) : -1;
        if (!machine[0] || !n->machine_id || !*n->machine_id || str_eq(machine, n->machine_id) ||
            n->duplicate || position < 0 || !n->keys[position] || !sig ||
            verify(n->keys[position], status, sig, NULL) < 0)
                return;
        char here[MACHINE_ID_SHORT], there[MACHINE_ID_SHORT];
        _cleanup_(x_freep) char *why =
                must(str_format("its key is used on machine %s..., and it enrolled on %s...: revoke it, and "
                                "enrol both anew",
                                machine_id_short(machine, here), machine_id_short(n->machine_id, there)));
        inventory_alarm(c, n, why);
}

void signed_report_take(struct control *c, struct node *n, const char *via, const json_t *report) {
        _cleanup_(err_freep) struct err *err = NULL;
        const json_t *status = NULL;
        struct report_order order;
        int r = signed_report_check(report, n, &status, &order, &err);
        if (r == -ESTALE) {
                watch_stale(c, n, report);
                return;
        }
        if (r == -ENOKEY) { /* a new certificate comes with a key that is kept, and with a full report */
                if (c->edge)
                        (void)edge_send(c->edge, n->name, "renew", must(json_object()));
                return;
        }
        if (r < 0) {
                refuse(c, n, via, err_message(err));
                return;
        }
        n->heard = order;
        turns_write(c->turns, "UPDATE nodes SET heard_serial = $2, heard_sequence = $3 WHERE name = $1",
                    "ssi", n->name, order.serial, order.sequence);
        inventory_report(c, n, status);
}
