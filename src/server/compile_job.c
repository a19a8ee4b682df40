/* SPDX-License-Identifier: Apache-2.0 */
#include "server/compile_job.h"

#include <stdarg.h>
#include <string.h>

#include "base/encode.h"
#include "codec/json.h"
#include "crypto/digest.h"
#include "fleet/app.h"
#include "server/memory.h"

static void compiled_fleet_done(struct compiled_fleet *f) {
        free(f->name);
        free(f->spec);
        free(f->apps);
        revision_free(f->revision);
}

struct compiled *compiled_free(struct compiled *c) {
        if (!c)
                return NULL;
        for (size_t i = 0; i < c->n_fleets; i++)
                compiled_fleet_done(&c->fleets[i]);
        for (size_t i = 0; i < c->n_nodes; i++) {
                free(c->nodes[i].node);
                free(c->nodes[i].labels);
                free(c->nodes[i].variables);
        }
        free(c->fleets);
        free(c->nodes);
        json_decref(c->diagnostics);
        free(c->source);
        free(c->commit);
        free(c->subject);
        free(c->author);
        free(c);
        return NULL;
}

void compiled_add_error(struct compiled *c, const char *suggestion, const char *format, ...) {
        char message[512];
        va_list ap;
        va_start(ap, format);
        (void)vsnprintf(message, sizeof(message), format, ap);
        va_end(ap);
        json_t *j = json_object_new();
        json_put(j, "severity", json_text("error"));
        json_put(j, "file", json_text(""));
        json_put(j, "line", json_number(0));
        json_put(j, "column", json_number(0));
        json_put(j, "message", json_text(message));
        json_put(j, "suggestion", json_text(suggestion));
        json_add(c->diagnostics, j);
        c->n_errors++;
}

/* ---- what the control plane keeps of a fleet */

static char *fleet_spec_text(const struct fleet_model *m, const struct fleet_spec *f) {
        struct rollout_policy fallback;
        const struct rollout_policy *policy = f->rollout ? fleet_model_policy(m, f->rollout) : NULL;
        if (!policy) {
                rollout_policy_default(&fallback);
                policy = &fallback;
        }
        json_t *j = json_object_new(), *apps = json_array_new(), *drivers = json_object_new();
        for (size_t i = 0; i < f->revision->n_apps; i++) {
                const struct app_spec *a = &f->revision->apps[i];
                json_add(apps, json_text(a->name));
                json_put(drivers, a->name, json_text(app_driver_name(a->driver)));
        }
        json_put(j, "labels", must(pairs_to_json(&f->labels)));
        json_put(j, "selector", must(selector_to_json(&f->selector)));
        json_put(j, "rolloutPolicy", json_text(f->rollout));
        json_put(j, "policy", must(rollout_policy_to_json(policy)));
        json_put(j, "apps", apps);
        json_put(j, "drivers", drivers);
        json_put(j, "variables", must(pairs_to_json(&f->revision->variables)));
        char *text = must(json_encode_compact(j));
        json_decref(j);
        return text;
}

static char *apps_text(const struct revision *r) {
        json_t *apps = json_array_new();
        for (size_t i = 0; i < r->n_apps; i++) {
                json_t *j = json_object_new();
                json_put(j, "name", json_text(r->apps[i].name));
                json_put(j, "driver", json_text(app_driver_name(r->apps[i].driver)));
                json_add(apps, j);
        }
        char *text = must(json_encode_compact(apps));
        json_decref(apps);
        return text;
}

/* Names the target: the revision, and how it is bound for every node that the repository declares. */
static void target_keys(const struct fleet_model *m, struct compiled *c) {
        struct sha256 **digests = must(calloc(m->n_fleets + 1, sizeof(void *)));
        for (size_t i = 0; i < m->n_fleets; i++) {
                digests[i] = must(sha256_new());
                sha256_update(digests[i], c->fleets[i].digest, 64);
        }
        for (size_t i = 0; i < m->n_nodes; i++) {
                const struct fleet_node *n = &m->nodes[i];
                const struct fleet_spec *owner = NULL;
                char fingerprint[66];
                if (fleet_model_owner(m, &n->labels, &owner) != 1)
                        continue;
                size_t at = (size_t)(owner - m->fleets);
                struct binding b = {.node_name = n->name, .labels = n->labels, .variables = n->variables};
                if (revision_binding_fingerprint(c->fleets[at].revision, &b, fingerprint) < 0)
                        continue;
                sha256_update(digests[at], n->name, strlen(n->name) + 1);
                sha256_update(digests[at], fingerprint, 64);
        }
        for (size_t i = 0; i < m->n_fleets; i++) {
                uint8_t digest[SHA256_SIZE];
                sha256_final(digests[i], digest);
                hex_encode(digest, sizeof(digest), c->fleets[i].key);
                sha256_free(digests[i]);
        }
        free(digests);
}

static int compiled_fleet_fill(struct compiled_fleet *out, const struct fleet_model *m,
                               const struct fleet_spec *f, struct object_store *objects, struct err **err) {
        int r = revision_decode(f->revision_json, f->revision_len, &out->revision, err);
        if (r < 0)
                return err_wrap(err, "fleet %s: the revision just compiled", f->name);
        r = object_store_put(objects, f->revision->digest, f->revision_json, f->revision_len, err);
        if (r < 0)
                return err_wrap(err, "store the revision of fleet %s", f->name);
        out->name = copy_text(f->name);
        out->spec = fleet_spec_text(m, f);
        out->apps = apps_text(out->revision);
        memcpy(out->digest, f->revision->digest, sizeof(out->digest));
        out->length = (int64_t)f->revision_len;
        return 0;
}

static int compiled_fill(struct compiled *c, const struct fleet_model *m, struct object_store *objects,
                         struct err **err) {
        c->fleets = new0((m->n_fleets + 1) * sizeof(*c->fleets));
        c->nodes = new0((m->n_nodes + 1) * sizeof(*c->nodes));
        for (size_t i = 0; i < m->n_objects; i++) {
                const struct fleet_object *o = &m->objects[i];
                int r = object_store_put(objects, o->sha256, o->data, o->len, err);
                if (r < 0)
                        return err_wrap(err, "store a file of the commit");
        }
        for (size_t i = 0; i < m->n_fleets; i++) {
                c->n_fleets = i + 1;
                int r = compiled_fleet_fill(&c->fleets[i], m, &m->fleets[i], objects, err);
                if (r < 0)
                        return r;
        }
        for (size_t i = 0; i < m->n_nodes; i++)
                c->nodes[c->n_nodes++] =
                        (struct declaration){.node = copy_text(m->nodes[i].name),
                                             .source = c->source,
                                             .labels = pairs_pack(&m->nodes[i].labels),
                                             .variables = pairs_pack(&m->nodes[i].variables)};
        target_keys(m, c);
        return 0;
}

int compile_run(const struct compile_input *input, struct compiled **ret, struct err **err) {
        _cleanup_(fleet_model_freep) struct fleet_model *model = NULL;
        const struct fleet_compile_options options = {.inventory = input->inventory,
                                                      .n_inventory = input->n_inventory,
                                                      .cache = input->cache,
                                                      .check_artifacts = true,
                                                      .catalog = input->catalog,
                                                      .why_no_catalog = input->why_no_catalog};
        int r = fleet_compile_with(input->tree, &options, &model, err);
        if (r < 0)
                return r;
        _cleanup_(compiled_freep) struct compiled *c = NEW(struct compiled);
        c->source = copy_text(input->source);
        c->commit = copy_text(input->commit);
        c->subject = copy_text(input->subject);
        c->author = copy_text(input->author);
        diagnostics_sort(model->diagnostics);
        c->diagnostics = must(diagnostics_to_json(model->diagnostics));
        c->n_errors = diagnostics_errors(model->diagnostics);
        if (c->n_errors == 0) {
                r = compiled_fill(c, model, input->objects, err);
                if (r < 0)
                        return r;
        }
        *ret = TAKE_PTR(c);
        return 0;
}
