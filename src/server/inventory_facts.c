/* SPDX-License-Identifier: Apache-2.0 */
#include "server/inventory_facts.h"

#include <string.h>

#include "codec/json.h"
#include "server/memory.h"

#define FACT_SIZE 64 /* a label's value, with NUL */
#define GIB ((int64_t)1 << 30)

enum fact_type { FACT_TEXT, FACT_NUMBER, FACT_BOOL, FACT_GIB };

/* Sorted by key, as pairs are. */
static const struct {
        const char *key, *fact;
        enum fact_type type;
} known[] = {
        {"facts.arch", "arch", FACT_TEXT},
        {"facts.bootSlot", "bootSlot", FACT_TEXT},
        {"facts.cpus", "cpus", FACT_NUMBER},
        {"facts.diskGiB", "diskBytes", FACT_GIB},
        {"facts.hostname", "hostname", FACT_TEXT},
        {"facts.kernel", "kernel", FACT_TEXT},
        {"facts.memoryGiB", "memoryBytes", FACT_GIB},
        {"facts.os", "osId", FACT_TEXT},
        {"facts.osVersion", "osVersion", FACT_TEXT},
        {"facts.tpm", "tpm", FACT_BOOL},
};

static bool fact_value(const json_t *v, enum fact_type type, char out[FACT_SIZE]) {
        switch (type) {
        case FACT_TEXT:
                if (!json_is_string(v) || json_string_length(v) >= FACT_SIZE)
                        return false;
                (void)snprintf(out, FACT_SIZE, "%s", json_string_value(v));
                return out[0] && label_value_is_valid(out);
        case FACT_NUMBER:
        case FACT_GIB:
                if (!json_is_integer(v) || json_integer_value(v) < 0)
                        return false;
                (void)snprintf(out, FACT_SIZE, "%lld",
                               (long long)(type == FACT_GIB ? json_integer_value(v) / GIB +
                                                                      (json_integer_value(v) % GIB > 0)
                                                            : json_integer_value(v)));
                return true;
        case FACT_BOOL:
                if (!json_is_boolean(v))
                        return false;
                (void)snprintf(out, FACT_SIZE, "%s", json_is_true(v) ? "true" : "false");
                return true;
        }
        return false;
}

struct pairs *facts_pairs(const char *facts, const char *platform) {
        char values[ARRAY_SIZE(known)][FACT_SIZE];
        struct pair items[ARRAY_SIZE(known)];
        struct pairs set = {items, 0};
        json_t *j = NULL;
        if (facts)
                (void)json_decode(facts, strlen(facts), &j, NULL);
        if (!json_is_object(j)) {
                json_decref(j);
                j = NULL;
        }
        /* Agents that do not tell it yet say it with their platform. */
        if (!json_object_get(j, "arch") && platform && strchr(platform, '/')) {
                if (!j)
                        j = json_object_new();
                json_t *arch = json_string(strchr(platform, '/') + 1);
                if (arch)
                        json_put(j, "arch", arch);
        }
        for (size_t i = 0; i < ARRAY_SIZE(known); i++)
                if (fact_value(json_object_get(j, known[i].fact), known[i].type, values[set.n])) {
                        items[set.n] = (struct pair){known[i].key, values[set.n]};
                        set.n++;
                }
        json_decref(j);
        return pairs_pack(&set);
}

void facts_machine_id(const json_t *facts, char out[129]) {
        const char *id = json_string_value(json_object_get(facts, "machineId"));
        out[0] = '\0';
        if (id && strlen(id) <= 128)
                memcpy(out, id, strlen(id) + 1);
}

const char *machine_id_short(const char *id, char out[MACHINE_ID_SHORT]) {
        size_t n = 0;
        for (; id && id[n] && n < MACHINE_ID_SHORT - 1; n++) {
                unsigned char c = (unsigned char)id[n];
                out[n] = (char)(c > ' ' && c < 127 ? c : '?');
        }
        out[n] = '\0';
        return out;
}
