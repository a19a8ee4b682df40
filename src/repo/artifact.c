/* SPDX-License-Identifier: Apache-2.0 */
#include "repo/artifact.h"

#include <errno.h>
#include <string.h>

#include "base/fs.h"
#include "base/str.h"
#include "codec/json.h"
#include "crypto/digest.h"

#define RELEASE_COUNTER_MAX ((int64_t)1 << 53) /* what every JSON reader carries exactly */
#define LABEL_TEXT_MAX 253                     /* bytes of a hardware label's key and value */
#define FILE_NAME_MAX 255

static const char *const type_names[] = {
        [ARTIFACT_FILE] = "file",
        [ARTIFACT_TREE] = "tree",
        [ARTIFACT_OCI] = "oci",
        [ARTIFACT_IMAGE] = "image",
};

const char *artifact_type_name(enum artifact_type t) {
        return (size_t)t < ARRAY_SIZE(type_names) ? type_names[t] : "unknown";
}

int artifact_type_from_name(const char *name, enum artifact_type *ret) {
        for (size_t i = 0; i < ARRAY_SIZE(type_names); i++)
                if (str_eq(name, type_names[i])) {
                        *ret = (enum artifact_type)i;
                        return 0;
                }
        return -EINVAL;
}

/* ---- names and versions */

bool artifact_name_is_valid(const char *name) {
        size_t len = name ? strlen(name) : 0;
        if (len == 0 || len > ARTIFACT_NAME_MAX)
                return false;
        for (const char *p = name;;) {
                char label[64];
                size_t n = strcspn(p, ".");
                if (n >= sizeof(label))
                        return false;
                memcpy(label, p, n);
                label[n] = '\0';
                if (!name_is_dns_label(label))
                        return false;
                if (!p[n])
                        return true;
                p += n + 1;
        }
}

static bool is_alphanumeric(char c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

bool artifact_version_is_valid(const char *version) {
        if (!version || !is_alphanumeric(version[0]))
                return false;
        size_t n = 1;
        while (is_alphanumeric(version[n]) || (version[n] && strchr("._+-", version[n])))
                n++;
        return !version[n] && n <= ARTIFACT_VERSION_MAX;
}

int artifact_reference_parse(const char *text, char **ret_name, char **ret_version, struct err **err) {
        const char *colon = strchr(text, ':');
        if (!colon)
                return err_set(err, EINVAL, "'%s' names no version: write NAME:VERSION, as in web:1.2.0",
                               text);
        _cleanup_(x_freep) char *name = str_dup_n(text, (size_t)(colon - text)),
                                *version = str_dup(colon + 1);
        if (!name || !version)
                return err_set_errno(err, ENOMEM, "'%s'", text);
        if (!artifact_name_is_valid(name))
                return err_set(err, EINVAL,
                               "'%s' in '%s' is not an artifact's name: lower case letters, digits and '-' "
                               "inside, parts joined by dots, at most %d",
                               name, text, ARTIFACT_NAME_MAX);
        if (!artifact_version_is_valid(version))
                return err_set(err, EINVAL,
                               "'%s' in '%s' is not a version: it begins with a letter or digit, goes on "
                               "with letters, digits and '._+-', and has at most %d characters",
                               version, text, ARTIFACT_VERSION_MAX);
        *ret_name = TAKE_PTR(name);
        *ret_version = TAKE_PTR(version);
        return 0;
}

/* ---- platforms */

struct platform_parts {
        char system[PLATFORM_MAX], architecture[PLATFORM_MAX], variant[PLATFORM_MAX];
};

/* What people and tools call an architecture, and what OCI calls it. */
static const struct {
        const char *name, *architecture, *variant;
} architectures[] = {
        {"x86_64", "amd64", ""}, {"x86-64", "amd64", ""}, {"aarch64", "arm64", "v8"}, {"armhf", "arm", "v7"},
        {"armv7l", "arm", "v7"}, {"armv7", "arm", "v7"},  {"armv6l", "arm", "v6"},    {"armel", "arm", "v6"},
        {"i386", "386", ""},     {"i686", "386", ""},     {"arm64", "arm64", "v8"},   {"arm", "arm", "v7"},
};

/* No '-' in a part: the file name joins them by it. */
static bool part_is_valid(const char *s) {
        if (!is_alphanumeric(s[0]))
                return false;
        return s[strspn(s, "abcdefghijklmnopqrstuvwxyz0123456789_.")] == '\0';
}

static bool split_platform(const char *text, struct platform_parts *ret) {
        char *const places[] = {ret->system, ret->architecture, ret->variant};
        memset(ret, 0, sizeof(*ret));
        if (strlen(text) >= PLATFORM_MAX)
                return false;
        for (size_t i = 0; i < ARRAY_SIZE(places); i++) {
                size_t n = strcspn(text, "/");
                for (size_t k = 0; k < n; k++) /* people write "Linux/ARM64" */
                        places[i][k] =
                                text[k] >= 'A' && text[k] <= 'Z' ? (char)(text[k] - 'A' + 'a') : text[k];
                if (n == 0)
                        return false;
                if (!text[n])
                        return i > 0;
                text += n + 1;
        }
        return false;
}

int platform_parse(const char *text, char ret[PLATFORM_MAX], struct err **err) {
        struct platform_parts parts;
        if (str_eq(text, "any")) {
                memcpy(ret, "any", sizeof("any"));
                return 0;
        }
        if (!split_platform(text, &parts))
                return err_set(err, EINVAL,
                               "'%.*s' is not a platform: write OS/ARCHITECTURE or OS/ARCHITECTURE/VARIANT, "
                               "as in linux/amd64, linux/arm64 or linux/arm/v7, or 'any'",
                               PLATFORM_MAX, text);
        const char *architecture = parts.architecture, *variant = parts.variant;
        for (size_t i = 0; i < ARRAY_SIZE(architectures); i++)
                if (str_eq(architecture, architectures[i].name)) {
                        architecture = architectures[i].architecture;
                        if (!*variant)
                                variant = architectures[i].variant;
                        break;
                }
        /* "linux/arm64/8", as some tools write it; and the first of amd64 is what has no variant. */
        char with_v[PLATFORM_MAX + 1];
        if (variant[0] >= '0' && variant[0] <= '9') {
                with_v[0] = 'v';
                memcpy(with_v + 1, variant, strlen(variant) + 1);
                variant = with_v;
        }
        if (str_eq(architecture, "amd64") && str_eq(variant, "v1"))
                variant = "";
        if (!part_is_valid(parts.system) || !part_is_valid(architecture) ||
            (*variant && !part_is_valid(variant)))
                return err_set(err, EINVAL,
                               "the platform '%s' has other characters than letters, digits, '.' and '_'",
                               text);
        char out[3 * PLATFORM_MAX];
        size_t n = strlen(parts.system) + 1 + strlen(architecture) + (*variant ? 1 + strlen(variant) : 0);
        if (n >= PLATFORM_MAX)
                return err_set(err, EINVAL, "the platform '%s' is longer than %d characters", text,
                               PLATFORM_MAX - 1);
        char *p = stpcpy(stpcpy(stpcpy(out, parts.system), "/"), architecture);
        if (*variant)
                stpcpy(stpcpy(p, "/"), variant);
        memcpy(ret, out, n + 1);
        return 0;
}

void platform_file_name(const char *platform, char ret[PLATFORM_MAX]) {
        size_t i = 0;
        for (; i < PLATFORM_MAX - 1 && platform[i]; i++)
                ret[i] = platform[i] == '/' ? '-' : platform[i];
        ret[i] = '\0';
}

const char *platform_here(void) {
#if defined(__x86_64__)
        return "linux/amd64";
#elif defined(__aarch64__)
        return "linux/arm64/v8";
#elif defined(__arm__) && __ARM_ARCH >= 7
        return "linux/arm/v7";
#elif defined(__arm__)
        return "linux/arm/v6";
#elif defined(__riscv) && __riscv_xlen == 64
        return "linux/riscv64";
#elif defined(__i386__)
        return "linux/386";
#elif defined(__powerpc64__) && defined(__LITTLE_ENDIAN__)
        return "linux/ppc64le";
#elif defined(__s390x__)
        return "linux/s390x";
#else
#error "say here what OCI calls this architecture"
#endif
}

/* "v7" is 700, "v8.2" is 802, none is 100 (amd64's first); -1: nothing that can be compared. */
static int variant_level(const char *variant) {
        if (!*variant)
                return 100;
        if (variant[0] != 'v')
                return -1;
        int level[2] = {0, 0}, at = 0, digits = 0;
        for (const char *p = variant + 1;; p++) {
                if (*p >= '0' && *p <= '9' && digits < 2) {
                        level[at] = level[at] * 10 + (*p - '0');
                        digits++;
                } else if (*p == '.' && digits > 0 && at == 0) {
                        at = 1;
                        digits = 0;
                } else if (!*p && digits > 0) {
                        return level[0] * 100 + level[1];
                } else {
                        return -1;
                }
        }
}

#define MATCH_SAME 100000
#define MATCH_ANY 1

int platform_match(const char *node, const char *made_for) {
        struct platform_parts a, b;
        if (str_eq(made_for, "any"))
                return MATCH_ANY;
        if (!split_platform(node, &a) || !split_platform(made_for, &b))
                return 0;
        if (!str_eq(a.system, b.system) || !str_eq(a.architecture, b.architecture))
                return 0;
        if (str_eq(a.variant, b.variant))
                return MATCH_SAME;
        int has = variant_level(a.variant), needs = variant_level(b.variant);
        return has > needs && needs >= 0 ? MATCH_SAME - (has - needs) : 0;
}

/* ---- the description in a target's custom */

struct artifact *artifact_free(struct artifact *a) {
        if (!a)
                return NULL;
        free(a->name);
        free(a->version);
        free(a->file_name);
        json_decref(a->hardware);
        free(a->replaced_by);
        free(a->reason);
        free(a->sbom);
        free(a->provenance);
        free(a);
        return NULL;
}

char *artifact_target_path(const char *name, const char *version, const char *platform) {
        char last[PLATFORM_MAX];
        platform_file_name(platform, last);
        return str_format("artifacts/%s/%s/%s", name, version, last);
}

static bool file_name_is_valid(const char *s) {
        return strlen(s) <= FILE_NAME_MAX && !strchr(s, '/') && path_is_beneath(s);
}

static bool text_is_plain(const char *s, size_t max) {
        size_t len = strlen(s);
        if (len > max)
                return false;
        for (size_t i = 0; i < len; i++)
                if ((unsigned char)s[i] < 0x20 || s[i] == 0x7f)
                        return false;
        return true;
}

static int copy_text(const json_t *o, const char *key, char **ret, struct err **err) {
        const char *text = NULL;
        int r = json_read_optional_string(o, key, &text, err);
        if (r < 0 || !text)
                return r;
        *ret = str_dup(text);
        return *ret ? 0 : err_set_errno(err, ENOMEM, "field %s", key);
}

static int read_hardware(const json_t *o, json_t **ret, struct err **err) {
        const json_t *hardware = json_object_get(o, "hardware");
        if (!hardware || json_is_null(hardware))
                return 0;
        if (!json_is_object(hardware))
                return err_set(err, EINVAL, "field hardware: expected an object of texts");
        if (json_object_size(hardware) > ARTIFACT_HARDWARE_MAX)
                return err_set(err, EINVAL, "field hardware: more than %d labels", ARTIFACT_HARDWARE_MAX);
        const char *key;
        json_t *value;
        json_object_foreach ((json_t *)hardware, key, value)
                if (!*key || !text_is_plain(key, LABEL_TEXT_MAX) || !json_is_string(value) ||
                    !text_is_plain(json_string_value(value), LABEL_TEXT_MAX))
                        return err_set(err, EINVAL,
                                       "field hardware: keys and values are texts of at most %d bytes",
                                       LABEL_TEXT_MAX);
        if (json_object_size(hardware) == 0)
                return 0;
        *ret = json_deep_copy(hardware);
        return *ret ? 0 : err_set_errno(err, ENOMEM, "field hardware");
}

/* An attachment lies beside its artifact, nowhere else. */
static int read_attachment(const json_t *o, const char *key, const char *path, const char *suffix, char **ret,
                           struct err **err) {
        int r = copy_text(o, key, ret, err);
        if (r < 0 || !*ret)
                return r;
        const char *rest = str_after_prefix(*ret, path);
        return rest && str_eq(rest, suffix)
                       ? 0
                       : err_set(err, EINVAL, "field %s: '%s' is not %s%s", key, *ret, path, suffix);
}

static int read_type(const json_t *o, struct artifact *a, struct err **err) {
        const char *type = NULL;
        int r = json_read_string(o, "type", &type, err);
        if (r < 0)
                return r;
        if (artifact_type_from_name(type, &a->type) < 0)
                return err_set(err, EINVAL, "field type: '%s' is none of file, tree, oci, image", type);
        if (a->type != ARTIFACT_FILE)
                return 0;
        int64_t mode = 0644;
        if ((r = copy_text(o, "fileName", &a->file_name, err)) < 0 ||
            (r = json_read_optional_int(o, "mode", &mode, err)) < 0)
                return r;
        if (mode < 0 || mode > 0777)
                return err_set(err, EINVAL, "field mode: %lld is not between 0 and 0777", (long long)mode);
        a->mode = (unsigned)mode;
        if (a->file_name && !file_name_is_valid(a->file_name))
                return err_set(err, EINVAL, "field fileName: '%s' is not the name of a file", a->file_name);
        return 0;
}

static int read_custom(const char *path, const json_t *o, struct artifact *a, struct err **err) {
        const char *kind = NULL, *name = NULL, *version = NULL, *platform = NULL;
        int r = json_read_string(o, "kind", &kind, err);
        if (r < 0)
                return r;
        if (!str_eq(kind, "artifact"))
                return err_set(err, EINVAL, "it is of kind '%s', not an artifact", kind);
        if ((r = json_read_string(o, "name", &name, err)) < 0 ||
            (r = json_read_string(o, "version", &version, err)) < 0 ||
            (r = json_read_string(o, "platform", &platform, err)) < 0 ||
            (r = json_read_int(o, "releaseCounter", &a->release_counter, err)) < 0)
                return r;
        if (!artifact_name_is_valid(name))
                return err_set(err, EINVAL, "field name: '%s' is not an artifact's name", name);
        if (!artifact_version_is_valid(version))
                return err_set(err, EINVAL, "field version: '%s' is not a version", version);
        if ((r = platform_parse(platform, a->platform, err)) < 0)
                return r;
        if (!str_eq(platform, a->platform))
                return err_set(err, EINVAL, "field platform: '%s' should be written '%s'", platform,
                               a->platform);
        if (a->release_counter < 1 || a->release_counter > RELEASE_COUNTER_MAX)
                return err_set(err, EINVAL, "field releaseCounter: %lld is not a counter",
                               (long long)a->release_counter);
        if (!(a->name = str_dup(name)) || !(a->version = str_dup(version)))
                return err_set_errno(err, ENOMEM, "artifact");
        _cleanup_(x_freep) char *should_be = artifact_target_path(name, version, platform);
        if (!should_be)
                return err_set_errno(err, ENOMEM, "artifact");
        if (!str_eq(path, should_be))
                return err_set(err, EINVAL, "its description belongs to %s", should_be);
        if ((r = read_type(o, a, err)) < 0 || (r = read_hardware(o, &a->hardware, err)) < 0 ||
            (r = json_read_optional_bool(o, "yanked", &a->yanked, err)) < 0 ||
            (r = copy_text(o, "replacedBy", &a->replaced_by, err)) < 0 ||
            (r = copy_text(o, "reason", &a->reason, err)) < 0 ||
            (r = read_attachment(o, "sbom", path, ".sbom.json", &a->sbom, err)) < 0 ||
            (r = read_attachment(o, "provenance", path, ".provenance.json", &a->provenance, err)) < 0)
                return r;
        if (a->replaced_by && !artifact_version_is_valid(a->replaced_by))
                return err_set(err, EINVAL, "field replacedBy: '%s' is not a version", a->replaced_by);
        if (a->reason && !text_is_plain(a->reason, ARTIFACT_REASON_MAX))
                return err_set(err, EINVAL, "field reason: more than one line, or more than %d bytes",
                               ARTIFACT_REASON_MAX);
        return 0;
}

int artifact_from_target(const char *path, int64_t length, const char *sha256, const json_t *custom,
                         struct artifact **ret, struct err **err) {
        const json_t *o = custom ? json_object_get(custom, "skerry") : NULL;
        if (!json_is_object(o))
                return err_set(err, EINVAL, "the target %s has no description of an artifact", path);
        if (length < 0 || !sha256 || !sha256_hex_is_valid(sha256))
                return err_set(err, EINVAL, "the target %s has no length and SHA-256", path);
        _cleanup_(artifact_freep) struct artifact *a = calloc(1, sizeof(*a));
        if (!a)
                return err_set_errno(err, ENOMEM, "the target %s", path);
        int r = read_custom(path, o, a, err);
        if (r < 0)
                return err_wrap_code(err, r, "the target %s", path);
        a->length = length;
        memcpy(a->sha256, sha256, sizeof(a->sha256));
        *ret = TAKE_PTR(a);
        return 0;
}

static int put(json_t *o, const char *key, json_t *value) {
        return json_object_set_new(o, key, value); /* fails for NULL */
}

json_t *artifact_custom(const struct artifact *a) {
        _cleanup_json_ json_t *o = json_object();
        int r = put(o, "kind", json_string("artifact"));
        r |= put(o, "name", json_string(a->name));
        r |= put(o, "version", json_string(a->version));
        r |= put(o, "platform", json_string(a->platform));
        r |= put(o, "type", json_string(artifact_type_name(a->type)));
        r |= put(o, "releaseCounter", json_integer(a->release_counter));
        if (a->hardware && json_object_size(a->hardware) > 0)
                r |= put(o, "hardware", json_deep_copy(a->hardware));
        if (a->type == ARTIFACT_FILE) {
                if (a->file_name)
                        r |= put(o, "fileName", json_string(a->file_name));
                r |= put(o, "mode", json_integer((json_int_t)a->mode));
        }
        if (a->yanked)
                r |= put(o, "yanked", json_true());
        if (a->replaced_by)
                r |= put(o, "replacedBy", json_string(a->replaced_by));
        if (a->reason)
                r |= put(o, "reason", json_string(a->reason));
        if (a->sbom)
                r |= put(o, "sbom", json_string(a->sbom));
        if (a->provenance)
                r |= put(o, "provenance", json_string(a->provenance));
        return r < 0 ? NULL : json_pack("{s:O}", "skerry", o);
}

/* ---- choice */

/* How many labels it asks for; -1: the node lacks one. */
static int hardware_match(const struct artifact *a, const json_t *labels) {
        const char *key;
        json_t *value;
        int n = 0;
        if (!a->hardware)
                return 0;
        json_object_foreach (a->hardware, key, value) {
                const json_t *has = labels ? json_object_get(labels, key) : NULL;
                if (!json_is_string(has) || !str_eq(json_string_value(has), json_string_value(value)))
                        return -1;
                n++;
        }
        return n;
}

const struct artifact *artifact_choose(const struct artifact *const *all, size_t n, const char *platform,
                                       const json_t *labels) {
        const struct artifact *best = NULL;
        int64_t best_rank[4] = {0};
        for (size_t i = 0; i < n; i++) {
                const struct artifact *a = all[i];
                int fits = platform_match(platform, a->platform), hardware = hardware_match(a, labels);
                if (fits == 0 || hardware < 0)
                        continue;
                /* In the order of weight. */
                const int64_t rank[4] = {!a->yanked, fits, hardware, a->release_counter};
                size_t k = 0;
                while (k < ARRAY_SIZE(rank) && rank[k] == best_rank[k])
                        k++;
                if (!best || (k < ARRAY_SIZE(rank) && rank[k] > best_rank[k])) {
                        best = a;
                        memcpy(best_rank, rank, sizeof(rank));
                }
        }
        return best;
}

/* ---- the published folder */

char *repository_target_file(const char *target_path, const char *sha256) {
        const char *slash = strrchr(target_path, '/');
        int folder = slash ? (int)(slash + 1 - target_path) : 0;
        return str_format("targets/%.*s%s.%s", folder, target_path, sha256, target_path + folder);
}

char *repository_chunk_index(const char *sha256) {
        return str_format("chunks/%.2s/%s.index", sha256, sha256);
}

char *repository_chunk_pack(const char *sha256) {
        return str_format("chunks/%.2s/%s.pack", sha256, sha256);
}

char *repository_delta_list(const char *sha256) {
        return str_format("deltas/%.2s/%s.json", sha256, sha256);
}

char *repository_delta(const char *sha256, const char *from) {
        return str_format("deltas/%.2s/%s/%s.delta", sha256, sha256, from);
}
