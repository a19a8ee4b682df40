/* SPDX-License-Identifier: Apache-2.0 */
#include "fleet/kinds.h"

#include <errno.h>
#include <string.h>

#include "base/fs.h"
#include "base/str.h"
#include "fleet/revision.h"

#define SECOND 1000
#define MINUTE (60 * SECOND)
#define DAY (24 * 60 * MINUTE)
#define NAMES_MAX 1000
#define CALLED_MAX 63 /* bytes of a name that is not valid, as messages show it */

const char *const fleet_kind_names[FLEET_KINDS + 1] = {
        [FLEET_KIND_FLEET] = "Fleet",     [FLEET_KIND_APP] = "App",           [FLEET_KIND_NODE] = "Node",
        [FLEET_KIND_ROLLOUT] = "Rollout", [FLEET_KIND_SCHEDULE] = "Schedule",
};

/* ---- Selectors */

static const char *const operator_names[] = {
        [SELECTOR_IN] = "In",
        [SELECTOR_NOT_IN] = "NotIn",
        [SELECTOR_EXISTS] = "Exists",
        [SELECTOR_DOES_NOT_EXIST] = "DoesNotExist",
        NULL,
};

static void check_expression(struct schema_decoder *d, const struct value *v, void *object) {
        struct expression_document *e = object;
        bool takes_values = e->operator_ == SELECTOR_IN || e->operator_ == SELECTOR_NOT_IN;
        const struct value *key = value_get(v, "key"), *values = value_get(v, "values");

        if (e->key && !label_key_is_valid(e->key))
                schema_error(d, &key->position, "use letters, digits and ._/-",
                             "field \"key\": \"%s\" is not a label name", e->key);
        if (e->operator_ < 0)
                return;
        if (takes_values && !values)
                schema_error(d, &v->position, NULL, "operator %s needs a list of values",
                             operator_names[e->operator_]);
        if (!takes_values && values)
                schema_error(d, &values->position, "leave \"values\" out", "operator %s takes no values",
                             operator_names[e->operator_]);
        for (size_t i = 0; i < e->values.n; i++)
                if (!label_value_is_valid(e->values.items[i].text))
                        schema_error(d, &e->values.items[i].where,
                                     "use at most 63 of letters, digits and ._-",
                                     "\"%.80s\" is not a label value", e->values.items[i].text);
}

static const struct schema expression_schema = {
        .name = "selector expression",
        .documentation = "One condition on a label.",
        .size = sizeof(struct expression_document),
        .where_offset = offsetof(struct expression_document, where),
        .check = check_expression,
        .fields =
                (const struct schema_field[]){
                        {.name = "key",
                         .type = SCHEMA_TEXT,
                         .offset = offsetof(struct expression_document, key),
                         .required = true,
                         .documentation = "Name of the label."},
                        {.name = "operator",
                         .type = SCHEMA_CHOICE,
                         .offset = offsetof(struct expression_document, operator_),
                         .required = true,
                         .choices = operator_names,
                         .documentation = "`NotIn` and `DoesNotExist` also hold where the label is absent."},
                        {.name = "values",
                         .type = SCHEMA_TEXTS,
                         .offset = offsetof(struct expression_document, values),
                         .max = SELECTOR_VALUES_MAX,
                         .documentation = "For `In` and `NotIn`."},
                        {NULL},
                },
};

/* The model's form of what was read. */
static void check_selector(struct schema_decoder *d, const struct value *v, void *object) {
        struct selector_document *s = object;
        struct selector_term *terms = arena_calloc(d->arena, s->n_expressions + 1, sizeof *terms);

        if (!terms) {
                d->failed = -ENOMEM;
                return;
        }
        s->selector = (struct selector){.match_labels = s->match_labels, .terms = terms};
        for (size_t i = 0; i < s->n_expressions; i++) {
                const struct expression_document *e = &s->expressions[i];
                bool takes_values = e->operator_ == SELECTOR_IN || e->operator_ == SELECTOR_NOT_IN;
                const char **values = arena_calloc(d->arena, e->values.n + 1, sizeof *values);
                if (!values) {
                        d->failed = -ENOMEM;
                        return;
                }
                if (!e->key || e->operator_ < 0 || takes_values != (e->values.n > 0))
                        continue; /* reported already */
                for (size_t j = 0; j < e->values.n; j++)
                        values[j] = e->values.items[j].text;
                terms[s->selector.n_terms++] = (struct selector_term){
                        .key = e->key,
                        .operator_ = (enum selector_operator)e->operator_,
                        .values = values,
                        .n_values = e->values.n,
                };
        }
        if (selector_disjoint(&s->selector, &s->selector))
                schema_warning(d, &v->position, NULL, "this selector contradicts itself: it matches nothing");
}

const struct schema selector_schema = {
        .name = "selector",
        .documentation = "Chooses nodes by their labels; every line must hold. `{}` chooses all.",
        .size = sizeof(struct selector_document),
        .where_offset = offsetof(struct selector_document, where),
        .broken_offset = offsetof(struct selector_document, broken),
        .check = check_selector,
        .fields =
                (const struct schema_field[]){
                        {.name = "matchLabels",
                         .type = SCHEMA_LABELS,
                         .offset = offsetof(struct selector_document, match_labels),
                         .max = NAMES_MAX,
                         .documentation = "Labels that must have these values."},
                        {.name = "matchExpressions",
                         .type = SCHEMA_OBJECTS,
                         .offset = offsetof(struct selector_document, expressions),
                         .max = SELECTOR_TERMS_MAX,
                         .nested = &expression_schema,
                         .documentation = "Conditions that must hold as well."},
                        {NULL},
                },
};

/* ---- Files */

static void check_file(struct schema_decoder *d, const struct value *v, void *object) {
        struct file_document *f = object;
        const struct value *content = value_get(v, "content");

        if (f->path.text && (f->path.text[0] != '/' || !path_is_beneath(f->path.text + 1)))
                schema_error(
                        d, &f->path.where, "write it from the root, as /etc/app/config.ini",
                        "field \"path\": \"%.200s\" is not an absolute path without \".\", \"..\" and \"//\"",
                        f->path.text);
        if (f->content.text && f->source.text)
                schema_error(d, &f->source.where, "leave one of them out",
                             "file \"%.200s\" has both \"content\" and \"source\"",
                             f->path.text ? f->path.text : "");
        else if (!content && !value_get(v, "source"))
                schema_error(d, &v->position,
                             "give \"content\" (text) or \"source\" (a file beside this one)",
                             "file \"%.200s\" has no content", f->path.text ? f->path.text : "");
        if (!value_get(v, "expand"))
                f->expand = f->content.text && !f->source.text;
        if (f->expand && f->content.text)
                schema_collect_references(d, content);
}

const struct schema file_schema = {
        .name = "file",
        .documentation = "A file on the node, kept as written here.",
        .size = sizeof(struct file_document),
        .where_offset = offsetof(struct file_document, where),
        .check = check_file,
        .fields =
                (const struct schema_field[]){
                        {.name = "path",
                         .type = SCHEMA_LOCATED,
                         .offset = offsetof(struct file_document, path),
                         .required = true,
                         .expands = true,
                         .documentation = "Absolute path, beneath the node's sysroot."},
                        {.name = "content",
                         .type = SCHEMA_LOCATED,
                         .offset = offsetof(struct file_document, content),
                         .documentation = "The text itself."},
                        {.name = "source",
                         .type = SCHEMA_LOCATED,
                         .offset = offsetof(struct file_document, source),
                         .documentation =
                                 "Or a file of the repository, relative to this one; at most 8 MiB."},
                        {.name = "mode",
                         .type = SCHEMA_MODE,
                         .offset = offsetof(struct file_document, mode),
                         .fallback = "0644",
                         .documentation = "Permissions."},
                        {.name = "owner",
                         .type = SCHEMA_WORD,
                         .offset = offsetof(struct file_document, owner),
                         .documentation = "User name or quoted number; the agent's own where left out."},
                        {.name = "group",
                         .type = SCHEMA_WORD,
                         .offset = offsetof(struct file_document, group),
                         .documentation = "Group name or quoted number."},
                        {.name = "expand",
                         .type = SCHEMA_BOOL,
                         .offset = offsetof(struct file_document, expand),
                         .documentation = "Whether references in the content are replaced: by default yes "
                                          "for `content`, no for `source`."},
                        {NULL},
                },
};

/* ---- Fleet */

/* Which parts later checks can rely on. `object` is the template_ of a struct fleet_document. */
static void check_template(struct schema_decoder *d, const struct value *v, void *object) {
        struct fleet_document *f = (void *)((char *)object - offsetof(struct fleet_document, template_));
        const struct value *apps = value_get(v, "apps"), *variables = value_get(v, "variables");
        bool broken = f->template_.broken;

        f->template_.apps_unsure =
                broken && (!apps || apps->type != VALUE_LIST || apps->n_items != f->template_.apps.n);
        f->template_.variables_unsure = broken && (!variables || variables->type != VALUE_MAP ||
                                                   variables->n_pairs != f->template_.variables.n);
}

static const struct schema template_schema = {
        .name = "fleet template",
        .documentation = "What every node of the fleet runs.",
        .size = sizeof(((struct fleet_document *)0)->template_),
        .broken_offset = offsetof(struct fleet_document, template_.broken) -
                         offsetof(struct fleet_document, template_),
        .check = check_template,
        .fields =
                (const struct schema_field[]){
                        {.name = "variables",
                         .type = SCHEMA_VARIABLES,
                         .max = NAMES_MAX,
                         .documentation = "Values for `${vars.x}`; a node's own win."},
                        {.name = "files",
                         .type = SCHEMA_OBJECTS,
                         .offset = offsetof(struct fleet_document, template_.files) -
                                   offsetof(struct fleet_document, template_),
                         .max = NAMES_MAX,
                         .nested = &file_schema,
                         .documentation = "Files that are put down before any app starts."},
                        {.name = "apps",
                         .type = SCHEMA_NAMES,
                         .offset = offsetof(struct fleet_document, template_.apps) -
                                   offsetof(struct fleet_document, template_),
                         .max = REVISION_APPS_MAX,
                         .documentation = "Names of Apps."},
                        {NULL},
                },
};

static const struct schema fleet_spec_schema = {
        .name = "Fleet spec",
        .documentation = "Nodes that run the same apps.",
        .size = sizeof(struct fleet_document),
        .fields =
                (const struct schema_field[]){
                        {.name = "selector",
                         .type = SCHEMA_OBJECT,
                         .offset = offsetof(struct fleet_document, selector),
                         .required = true,
                         .nested = &selector_schema,
                         .documentation = "Which nodes belong to it; a node belongs to one fleet."},
                        {.name = "rollout",
                         .type = SCHEMA_LOCATED_NAME,
                         .offset = offsetof(struct fleet_document, rollout),
                         .documentation =
                                 "Name of a Rollout; without one, a change goes to all nodes in one wave."},
                        {.name = "template",
                         .type = SCHEMA_OBJECT,
                         .offset = offsetof(struct fleet_document, template_),
                         .required = true,
                         .nested = &template_schema,
                         .documentation = "What the nodes run."},
                        {NULL},
                },
};

/* ---- Node */

static const struct schema node_spec_schema = {
        .name = "Node spec",
        .documentation = "What is known of one machine before it is met.",
        .size = sizeof(struct node_document),
        .fields =
                (const struct schema_field[]){
                        {.name = "variables",
                         .type = SCHEMA_VARIABLES,
                         .offset = offsetof(struct node_document, variables),
                         .max = NAMES_MAX,
                         .documentation = "Values for `${vars.x}`, over the fleet's."},
                        {NULL},
                },
};

/* ---- The envelope */

static const struct schema metadata_schema = {
        .name = "metadata",
        .documentation = "Who it is.",
        .size = sizeof(struct metadata_document),
        .where_offset = offsetof(struct metadata_document, where),
        .fields =
                (const struct schema_field[]){
                        {.name = "name",
                         .type = SCHEMA_LOCATED_NAME,
                         .offset = offsetof(struct metadata_document, name),
                         .required = true,
                         .documentation = "A DNS label, unique among its kind."},
                        {.name = "labels",
                         .type = SCHEMA_LABELS,
                         .offset = offsetof(struct metadata_document, labels),
                         .max = NAMES_MAX,
                         .documentation = "What selectors choose by."},
                        {NULL},
                },
};

struct envelope {
        const char *api_version, *kind;
        struct metadata_document metadata;
        _Alignas(max_align_t) char spec[]; /* of the kind */
};

/* One envelope table a kind: the same but for the spec, which a Node may leave out. */
#define ENVELOPE(index, text, spec_schema, spec_required)                                                    \
        [index] = {                                                                                          \
                .name = #text,                                                                               \
                .documentation = "`kind: " #text "`",                                                        \
                .size = sizeof(struct envelope),                                                             \
                .fields =                                                                                    \
                        (const struct schema_field[]){                                                       \
                                {.name = "apiVersion",                                                       \
                                 .type = SCHEMA_TEXT,                                                        \
                                 .offset = offsetof(struct envelope, api_version),                           \
                                 .required = true,                                                           \
                                 .documentation = "`" FLEET_API_VERSION "`"},                                \
                                {.name = "kind",                                                             \
                                 .type = SCHEMA_TEXT,                                                        \
                                 .offset = offsetof(struct envelope, kind),                                  \
                                 .required = true,                                                           \
                                 .documentation = "`" #text "`"},                                            \
                                {.name = "metadata",                                                         \
                                 .type = SCHEMA_OBJECT,                                                      \
                                 .offset = offsetof(struct envelope, metadata),                              \
                                 .required = true,                                                           \
                                 .nested = &metadata_schema,                                                 \
                                 .documentation = "Name and labels."},                                       \
                                {.name = "spec",                                                             \
                                 .type = SCHEMA_OBJECT,                                                      \
                                 .offset = offsetof(struct envelope, spec),                                  \
                                 .required = spec_required,                                                  \
                                 .nested = &(spec_schema),                                                   \
                                 .documentation = "The rest."},                                              \
                                {NULL},                                                                      \
                        },                                                                                   \
        }

static const struct schema envelope_schemas[FLEET_KINDS] = {
        ENVELOPE(FLEET_KIND_FLEET, Fleet, fleet_spec_schema, true),
        ENVELOPE(FLEET_KIND_APP, App, app_spec_schema, true),
        ENVELOPE(FLEET_KIND_NODE, Node, node_spec_schema, false),
        ENVELOPE(FLEET_KIND_ROLLOUT, Rollout, rollout_spec_schema, true),
        ENVELOPE(FLEET_KIND_SCHEDULE, Schedule, schedule_spec_schema, true),
};

static size_t spec_size(enum fleet_kind kind) {
        switch (kind) {
        case FLEET_KIND_FLEET: return sizeof(struct fleet_document);
        case FLEET_KIND_APP: return sizeof(struct app_document);
        case FLEET_KIND_NODE: return sizeof(struct node_document);
        case FLEET_KIND_ROLLOUT: return sizeof(struct rollout_document);
        case FLEET_KIND_SCHEDULE: return sizeof(struct schedule_document);
        }
        return 0;
}

/* A name that is not valid still tells a reader which document is meant. */
static const char *name_for_messages(struct schema_decoder *d, const struct value *v) {
        const struct value *metadata = value_get(v, "metadata");
        const struct value *name = value_get(metadata, "name");

        size_t n;

        if (!name || name->type != VALUE_STRING)
                return "?";
        n = strcspn(name->text, "\r\n");
        if (n <= CALLED_MAX && !name->text[n])
                return n ? name->text : "?";
        n = MIN(n, (size_t)CALLED_MAX);
        while (n > 0 && ((unsigned char)name->text[n] & 0xc0) == 0x80) /* not inside a UTF-8 sequence */
                n--;
        return arena_strndup(d->arena, name->text, n);
}

int document_decode(struct schema_decoder *d, enum fleet_kind kind, const struct value *v,
                    struct document *ret) {
        size_t errors_before = diagnostics_errors(d->diagnostics);
        const char *called = name_for_messages(d, v);
        struct envelope *e;
        int r;

        e = arena_alloc(d->arena, sizeof *e + spec_size(kind));
        if (!e || !called)
                return -ENOMEM;
        d->references = NULL;
        d->n_references = d->cap_references = 0;
        r = schema_decode(d, &envelope_schemas[kind], v, e);
        if (r < 0)
                return r;
        *ret = (struct document){
                .kind = kind,
                .where = e->metadata.name.text ? e->metadata.name.where : v->position,
                .metadata = e->metadata,
                .called = called,
                .broken = diagnostics_errors(d->diagnostics) > errors_before,
                .references = d->references,
                .n_references = d->n_references,
        };
        switch (kind) {
        case FLEET_KIND_FLEET: ret->fleet = (struct fleet_document *)(void *)e->spec; break;
        case FLEET_KIND_APP: ret->app = (struct app_document *)(void *)e->spec; break;
        case FLEET_KIND_NODE: ret->node = (struct node_document *)(void *)e->spec; break;
        case FLEET_KIND_ROLLOUT: ret->rollout = (struct rollout_document *)(void *)e->spec; break;
        case FLEET_KIND_SCHEDULE: ret->schedule = (struct schedule_document *)(void *)e->spec; break;
        }
        return 0;
}

void kinds_write_reference(struct buf *out) {
        struct schema_page page = {.out = out};

        buf_puts(out,
                 "# Fields of `" FLEET_API_VERSION "`\n\nPrinted from the tables that decode fleet files; "
                 "[kinds.md](kinds.md) tells how they work together.\n\n");
        schema_write_reference(&page, &metadata_schema, "##");
        for (size_t i = 0; i < FLEET_KINDS; i++)
                for (const struct schema_field *f = envelope_schemas[i].fields; f->name; f++)
                        if (str_eq(f->name, "spec"))
                                schema_write_reference(&page, f->nested, "##");
}
