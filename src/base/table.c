/* SPDX-License-Identifier: Apache-2.0 */
/* Entries lie in an array in the order they came; an open-addressed index of positions finds them. A removed
 * entry leaves a hole in both, so that nothing moves under an iteration; holes go when the array is full. */
#include "base/table.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>

#include "base/random.h"

#define SLOT_FREE UINT32_MAX
#define SLOT_HOLE (UINT32_MAX - 1)
#define FIRST_ENTRIES 8

struct entry {
        char *key; /* NULL: a hole */
        void *value;
        uint64_t hash;
};

struct table {
        table_destroy_fn destroy;
        struct entry *entries;
        size_t n_entries; /* holes included */
        size_t cap_entries;
        size_t first; /* no live entry lies before */
        size_t len;
        uint32_t *slots; /* twice cap_entries of them, a power of two */
};

/* ---- SipHash-1-3 (Aumasson, Bernstein 2012; the reduced rounds that hash tables use) ---- */

static uint64_t hash_key[2]; /* written once, before any table has an entry */
static pthread_once_t hash_key_once = PTHREAD_ONCE_INIT;

static void hash_key_make(void) {
        random_bytes(hash_key, sizeof(hash_key));
}

static inline uint64_t rotate(uint64_t x, int n) {
        return (x << n) | (x >> (64 - n));
}

static inline void sip_round(uint64_t v[4]) {
        v[0] += v[1];
        v[1] = rotate(v[1], 13) ^ v[0];
        v[0] = rotate(v[0], 32);
        v[2] += v[3];
        v[3] = rotate(v[3], 16) ^ v[2];
        v[0] += v[3];
        v[3] = rotate(v[3], 21) ^ v[0];
        v[2] += v[1];
        v[1] = rotate(v[1], 17) ^ v[2];
        v[2] = rotate(v[2], 32);
}

static inline uint64_t load_little_endian(const unsigned char *p, size_t n) {
        uint64_t x = 0;
        for (size_t i = 0; i < n; i++)
                x |= (uint64_t)p[i] << (8 * i);
        return x;
}

static uint64_t hash_of(const char *key) {
        size_t len = strlen(key);
        const unsigned char *p = (const unsigned char *)key;
        uint64_t v[4] = {
                hash_key[0] ^ UINT64_C(0x736f6d6570736575),
                hash_key[1] ^ UINT64_C(0x646f72616e646f6d),
                hash_key[0] ^ UINT64_C(0x6c7967656e657261),
                hash_key[1] ^ UINT64_C(0x7465646279746573),
        };
        size_t i = 0;
        for (; len - i >= 8; i += 8) {
                uint64_t word = load_little_endian(p + i, 8);
                v[3] ^= word;
                sip_round(v);
                v[0] ^= word;
        }
        uint64_t last = (uint64_t)len << 56 | load_little_endian(p + i, len - i);
        v[3] ^= last;
        sip_round(v);
        v[0] ^= last;
        v[2] ^= 0xff;
        for (int round = 0; round < 3; round++)
                sip_round(v);
        return v[0] ^ v[1] ^ v[2] ^ v[3];
}

/* ---- The table ---- */

struct table *table_new(table_destroy_fn destroy) {
        (void)pthread_once(&hash_key_once, hash_key_make);
        struct table *t = calloc(1, sizeof(*t));
        if (t)
                t->destroy = destroy;
        return t;
}

struct table *table_free(struct table *t) {
        if (!t)
                return NULL;
        for (size_t i = 0; i < t->n_entries; i++) {
                if (!t->entries[i].key)
                        continue;
                free(t->entries[i].key);
                if (t->destroy)
                        t->destroy(t->entries[i].value);
        }
        free(t->entries);
        free(t->slots);
        free(t);
        return NULL;
}

size_t table_len(const struct table *t) {
        return t->len;
}

static uint32_t *slot_of(const struct table *t, const char *key, uint64_t hash) {
        if (t->cap_entries == 0)
                return NULL;
        size_t mask = t->cap_entries * 2 - 1;
        for (size_t i = (size_t)hash & mask;; i = (i + 1) & mask) {
                uint32_t *slot = &t->slots[i];
                if (*slot == SLOT_FREE) /* there always is one: at most half of the slots are taken */
                        return NULL;
                if (*slot == SLOT_HOLE)
                        continue;
                const struct entry *e = &t->entries[*slot];
                if (e->hash == hash && strcmp(e->key, key) == 0)
                        return slot;
        }
}

static void slot_insert(struct table *t, uint64_t hash, uint32_t position) {
        size_t mask = t->cap_entries * 2 - 1;
        size_t i = (size_t)hash & mask;
        while (t->slots[i] != SLOT_FREE)
                i = (i + 1) & mask;
        t->slots[i] = position;
}

/* Room for one more entry: closes the holes, and doubles the table where they were few. */
static int make_room(struct table *t) {
        if (t->n_entries < t->cap_entries)
                return 0;
        size_t cap = MAX(t->cap_entries, (size_t)FIRST_ENTRIES);
        if (t->len >= cap / 4 * 3)
                cap *= 2;
        if (cap > UINT32_MAX / 4)
                return -ENOMEM;
        struct entry *entries = calloc(cap, sizeof(*entries));
        uint32_t *slots = malloc(cap * 2 * sizeof(*slots));
        if (!entries || !slots) {
                free(entries);
                free(slots);
                return -ENOMEM;
        }
        memset(slots, 0xff, cap * 2 * sizeof(*slots));
        size_t n = 0;
        for (size_t i = t->first; i < t->n_entries; i++)
                if (t->entries[i].key)
                        entries[n++] = t->entries[i];
        free(t->entries);
        free(t->slots);
        t->entries = entries;
        t->slots = slots;
        t->cap_entries = cap;
        t->n_entries = n;
        t->first = 0;
        for (size_t i = 0; i < n; i++)
                slot_insert(t, entries[i].hash, (uint32_t)i);
        return 0;
}

void *table_get(const struct table *t, const char *key) {
        if (t->len == 0 || !key)
                return NULL;
        const uint32_t *slot = slot_of(t, key, hash_of(key));
        return slot ? t->entries[*slot].value : NULL;
}

int table_set(struct table *t, const char *key, void *value) {
        uint64_t hash = hash_of(key);
        const uint32_t *slot = slot_of(t, key, hash);
        if (slot) {
                void *old = t->entries[*slot].value;
                t->entries[*slot].value = value;
                if (t->destroy && old != value)
                        t->destroy(old);
                return 0;
        }
        _cleanup_(x_freep) char *copy = strdup(key);
        if (!copy || make_room(t) < 0)
                return -ENOMEM;
        t->entries[t->n_entries] = (struct entry){.key = TAKE_PTR(copy), .value = value, .hash = hash};
        slot_insert(t, hash, (uint32_t)t->n_entries);
        t->n_entries++;
        t->len++;
        return 0;
}

void *table_take(struct table *t, const char *key) {
        if (t->len == 0 || !key)
                return NULL;
        uint32_t *slot = slot_of(t, key, hash_of(key));
        if (!slot)
                return NULL;
        struct entry *e = &t->entries[*slot];
        *slot = SLOT_HOLE;
        void *value = e->value;
        free(e->key); /* the key passed in may be this very one: not used from here on */
        *e = (struct entry){0};
        t->len--;
        while (t->first < t->n_entries && !t->entries[t->first].key)
                t->first++;
        return value;
}

bool table_remove(struct table *t, const char *key) {
        void *value = table_take(t, key);
        if (!value)
                return false;
        if (t->destroy)
                t->destroy(value);
        return true;
}

bool table_next(const struct table *t, size_t *position, const char **ret_key, void **ret_value) {
        for (size_t i = MAX(*position, t->first); i < t->n_entries; i++) {
                const struct entry *e = &t->entries[i];
                if (!e->key)
                        continue;
                *position = i + 1;
                if (ret_key)
                        *ret_key = e->key;
                if (ret_value)
                        *ret_value = e->value;
                return true;
        }
        *position = t->n_entries;
        return false;
}
