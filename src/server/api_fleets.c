/* SPDX-License-Identifier: Apache-2.0 */
/* Fleets and apps. */
#include "server/api.h"
#include "server/fleets.h"

void api_fleets_list(struct http_exchange *x, void *arg) {
        api_answer_list(x, "FleetList", fleets_json(arg, NULL));
}

void api_fleets_get(struct http_exchange *x, void *arg) {
        const char *name = http_parameter(x, "name");
        const struct fleet *f = fleets_find(arg, name);
        if (f)
                api_answer_only(x, fleets_json(arg, f), "fleet", name);
        else
                api_answer_missing(x, "fleet", name);
}

void api_apps_list(struct http_exchange *x, void *arg) {
        api_answer_list(x, "AppList", fleets_apps_json(arg, http_query(x, "fleet"), NULL));
}

/* An app of one name may be in several fleets; ?fleet= says which, else the first is given. */
void api_apps_get(struct http_exchange *x, void *arg) {
        const char *name = http_parameter(x, "name");
        api_answer_only(x, fleets_apps_json(arg, http_query(x, "fleet"), name), "app", name);
}
