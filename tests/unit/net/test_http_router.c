/* SPDX-License-Identifier: Apache-2.0 */
#include "net/http_router.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static void never(struct http_exchange *x, void *arg) {
        fail();
}

static const struct http_route routes[] = {
        {"GET", "/", never, NULL},
        {"GET", "/nodes", never, NULL},
        {"POST", "/nodes", never, NULL},
        {"GET", "/nodes/all", never, NULL},
        {"GET", "/nodes/:name", never, NULL},
        {"DELETE", "/nodes/:name", never, NULL},
        {"GET", "/nodes/:name/apps/:app", never, NULL},
        {"GET", "/ui/*", never, NULL},
        {"HEAD", "/head", never, NULL},
        {"GET", "/a/:1/:2/:3/:4/:5/:6/:7/:8/:9", never, NULL},
        {NULL, NULL, NULL, NULL},
};

/* The index of the route, or the error. */
static int find(const char *method, const char *path) {
        struct http_match m;
        int r = http_router_find(routes, method, path, &m);
        return r < 0 ? r : (int)(m.route - routes);
}

static void the_first_that_fits_is_taken(void **state) {
        assert_int_equal(find("GET", "/"), 0);
        assert_int_equal(find("GET", "/nodes"), 1);
        assert_int_equal(find("POST", "/nodes"), 2);
        assert_int_equal(find("GET", "/nodes/all"), 3);
        assert_int_equal(find("GET", "/nodes/allx"), 4);
        assert_int_equal(find("DELETE", "/nodes/all"), 5);
        assert_int_equal(find("GET", "/nodes/a/apps/b"), 6);
        assert_int_equal(find("GET", "/ui/"), 7);
        assert_int_equal(find("GET", "/ui/a/b//c"), 7);
}

static void what_does_not_fit_is_told_apart(void **state) {
        assert_int_equal(find("GET", "/node"), -ENOENT);
        assert_int_equal(find("GET", "/nodes/"), -ENOENT);
        assert_int_equal(find("GET", "/nodes/a/"), -ENOENT);
        assert_int_equal(find("GET", "/nodes/a/b"), -ENOENT);
        assert_int_equal(find("GET", "/nodes//apps/b"), -ENOENT);
        assert_int_equal(find("GET", "/ui"), -ENOENT);
        assert_int_equal(find("GET", ""), -ENOENT);
        assert_int_equal(find("PUT", "/nodes"), -EPERM);
        assert_int_equal(find("GET", "/a/1/2/3/4/5/6/7/8/9"), -ENOENT); /* more than there is room for */
}

static void head_is_served_by_get(void **state) {
        assert_int_equal(find("HEAD", "/nodes"), 1);
        assert_int_equal(find("HEAD", "/head"), 8);
        assert_int_equal(find("GET", "/head"), -EPERM);
}

static void parameters_are_pieces_of_the_path(void **state) {
        struct http_match m;
        assert_int_equal(http_router_find(routes, "GET", "/nodes/shop-1/apps/web", &m), 0);
        assert_int_equal(m.count, 2);
        assert_memory_equal(m.values[0].start, "shop-1/", 7);
        assert_int_equal(m.values[0].len, 6);
        assert_int_equal(m.values[1].len, 3);
        assert_int_equal(http_router_parameter(m.route->pattern, "name"), 0);
        assert_int_equal(http_router_parameter(m.route->pattern, "app"), 1);
        assert_int_equal(http_router_parameter(m.route->pattern, "nam"), -1);
        assert_int_equal(http_router_parameter(m.route->pattern, "names"), -1);
        assert_int_equal(http_router_parameter(m.route->pattern, "*"), -1);
        assert_int_equal(http_router_find(routes, "GET", "/ui/js/app.js", &m), 0);
        assert_string_equal(m.values[0].start, "js/app.js");
        assert_int_equal(http_router_parameter(m.route->pattern, "*"), 0);
}

static void methods_of_a_path_are_listed(void **state) {
        char text[64];
        assert_string_equal(http_router_methods(routes, "/nodes", text, sizeof(text)), "GET, HEAD, POST");
        assert_string_equal(http_router_methods(routes, "/nodes/all", text, sizeof(text)),
                            "GET, HEAD, DELETE");
        assert_string_equal(http_router_methods(routes, "/nowhere", text, sizeof(text)), "");
        char small[12];
        assert_string_equal(http_router_methods(routes, "/nodes", small, sizeof(small)), "GET, HEAD");
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(the_first_that_fits_is_taken),
                cmocka_unit_test(what_does_not_fit_is_told_apart),
                cmocka_unit_test(head_is_served_by_get),
                cmocka_unit_test(parameters_are_pieces_of_the_path),
                cmocka_unit_test(methods_of_a_path_are_listed),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
