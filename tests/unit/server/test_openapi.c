/* SPDX-License-Identifier: Apache-2.0 */
/* The document and the routes say the same: every call is described, and nothing is that does not exist. */
#include "server/openapi.h"

#include <ctype.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "codec/json.h"
#include "server/api.h"

static json_t *document(void) {
        _cleanup_(err_freep) struct err *err = NULL;
        json_t *j = NULL;
        if (json_decode(openapi_document, openapi_document_len, &j, &err) < 0)
                fail_msg("%s", err_message(err));
        return j;
}

/* "/api/v1/nodes/:name" -> "/nodes/{name}" */
static void path_of(const char *pattern, char out[256]) {
        const char *p = str_after_prefix(pattern, "/api/v1");
        assert_non_null(p);
        size_t n = 0;
        bool inside = false;
        for (;; p++) {
                if (inside && (*p == '/' || !*p)) {
                        out[n++] = '}';
                        inside = false;
                }
                if (!*p)
                        break;
                if (*p == ':') {
                        out[n++] = '{';
                        inside = true;
                } else
                        out[n++] = *p;
                assert_true(n < 250);
        }
        out[n] = '\0';
}

static void method_of(const char *method, char out[16]) {
        size_t n = 0;
        for (; method[n] && n < 15; n++)
                out[n] = (char)tolower((unsigned char)method[n]);
        out[n] = '\0';
}

static void test_every_route_is_described(void **state) {
        json_t *j = document();
        size_t described = 0, routes = 0;
        for (const struct http_route *r = api_routes; r->method; r++, routes++) {
                char path[256], method[16];
                path_of(r->pattern, path);
                method_of(r->method, method);
                const json_t *call =
                        json_object_get(json_object_get(json_object_get(j, "paths"), path), method);
                if (!call)
                        fail_msg("%s %s is not in docs/openapi.json", r->method, r->pattern);
                /* Without a token exactly where the document says so. */
                const json_t *security = json_object_get(call, "security");
                assert_int_equal(security && json_array_size(security) == 0, r->context == api_is_open);
                assert_non_null(json_string_value(json_object_get(call, "summary")));
        }
        const char *path, *method;
        json_t *calls, *call;
        json_object_foreach (json_object_get(j, "paths"), path, calls)
                json_object_foreach (calls, method, call)
                        described++;
        assert_int_equal(described, routes);
        json_decref(j);
}

static void check_parameters(const char *path, const json_t *call) {
        for (const char *p = strchr(path, '{'); p; p = strchr(p + 1, '{')) {
                const json_t *parameter;
                bool found = false;
                size_t i;
                json_array_foreach (json_object_get(call, "parameters"), i, parameter) {
                        const char *name = json_string_value(json_object_get(parameter, "name"));
                        found = found || (str_has_prefix(p + 1, name) && p[1 + strlen(name)] == '}');
                }
                if (!found)
                        fail_msg("%s: a parameter of the path is not described", path);
        }
}

static void check_references(json_t *root, const json_t *j) {
        const char *key;
        json_t *value;
        size_t i;
        if (json_is_array(j))
                json_array_foreach (j, i, value)
                        check_references(root, value);
        if (!json_is_object(j))
                return;
        json_object_foreach ((json_t *)j, key, value) {
                if (str_eq(key, "$ref")) {
                        const char *name =
                                str_after_prefix(json_string_value(value), "#/components/schemas/");
                        assert_non_null(name);
                        if (!json_object_get(json_object_get(json_object_get(root, "components"), "schemas"),
                                             name))
                                fail_msg("no schema %s", name);
                } else
                        check_references(root, value);
        }
}

static void test_the_document_is_sound(void **state) {
        json_t *j = document(), *calls, *call;
        const char *path, *method, *ids[128];
        size_t n = 0;
        json_object_foreach (json_object_get(j, "paths"), path, calls)
                json_object_foreach (calls, method, call) {
                        const char *id = json_string_value(json_object_get(call, "operationId"));
                        assert_non_null(id);
                        for (size_t i = 0; i < n; i++)
                                assert_string_not_equal(ids[i], id);
                        ids[n++] = id;
                        check_parameters(path, call);
                }
        check_references(j, j);
        json_decref(j);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_every_route_is_described),
                cmocka_unit_test(test_the_document_is_sound),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
