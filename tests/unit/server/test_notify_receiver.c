/* SPDX-License-Identifier: Apache-2.0 */
/* The file that says who is told, and what each kind of receiver is sent. */
#include "server/notify_receiver.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "base/str.h"
#include "codec/json.h"

static void refuse(const char *text, const char *words) {
        _cleanup_(err_freep) struct err *err = NULL;
        struct receivers all = {0};
        assert_int_equal(receivers_parse("notify.yaml", text, strlen(text), &all, &err), -EINVAL);
        if (!strstr(err_message(err), words) || !strstr(err_message(err), "notify.yaml"))
                fail_msg("%s", err_message(err));
}

static void test_wrong_files(void **state) {
        refuse("", "one document");
        refuse("7", "expected an object");
        refuse("receivers: {}", "receivers");
        refuse("recievers: []", "receivers");
        refuse("receivers: [7]", "receiver 1: expected an object");
        refuse("receivers: [{name: a, type: fax, url: https://x}]", "type: fax");
        refuse("receivers: [{name: A b, type: slack, url: https://x}]", "DNS label");
        refuse("receivers: [{name: a, type: slack}]", "url");
        refuse("receivers: [{name: a, type: slack, url: ftp://x}]", "url: expected");
        refuse("receivers: [{name: a, type: slack, url: 'https://me:secret@x/y'}]", "password");
        refuse("receivers: [{name: a, type: slack, url: https://x, events: [Rain]}]", "Rain");
        refuse("receivers: [{name: a, type: slack, url: https://x, events: []}]", "events");
        refuse("receivers: [{name: a, type: slack, url: https://x, template: y}]", "only a webhook");
        refuse("receivers: [{name: a, type: webhook, url: https://x, template: '${massage}'}]", "${massage}");
        refuse("receivers: [{name: a, type: webhook, url: https://x, template: '${message'}]", "template");
        refuse("receivers: [{name: a, type: slack, url: https://x}, {name: a, type: slack, url: https://y}]",
               "receiver 2: there is another one named a");
        refuse("receivers: []\nnodeLostAfter: soon", "nodeLostAfter");
}

static void expect(const char *receiver, const char *url, const char *body) {
        _cleanup_(err_freep) struct err *err = NULL;
        struct receivers all = {0};
        _cleanup_(x_freep) char *file = str_format("receivers: [%s]\nnodeLostAfter: 90s\n", receiver);
        _cleanup_json_ json_t *event =
                json_pack("{s:s, s:s, s:s, s:s, s:s}", "type", "RolloutFailed", "message", "a \"<b>\" & c",
                          "time", "2026-01-02T03:04:05.000Z", "severity", "critical", "fleet", "edge");
        if (receivers_parse("notify.yaml", file, strlen(file), &all, &err) < 0)
                fail_msg("%s", err_message(err));
        assert_int_equal(all.n, 1);
        assert_int_equal(all.node_lost_after, 90000);
        _cleanup_(x_freep) char *got_url = notify_url(&all.items[0]),
                                *got = notify_body(&all.items[0], event);
        assert_string_equal(got_url, url);
        assert_string_equal(got, body);
        receivers_done(&all);
}

static void test_bodies(void **state) {
        expect("{name: a, type: webhook, url: https://x/y}", "https://x/y",
               "{\"type\":\"RolloutFailed\",\"message\":\"a \\\"<b>\\\" & "
               "c\",\"time\":\"2026-01-02T03:04:05.000Z\","
               "\"severity\":\"critical\",\"fleet\":\"edge\"}");
        expect("{name: a, type: webhook, url: https://x/y, template: '{\"t\": ${message}, \"n\": ${node}, "
               "\"x\": "
               "\"$${type}\"}'}",
               "https://x/y", "{\"t\": \"a \\\"<b>\\\" & c\", \"n\": null, \"x\": \"${type}\"}");
        expect("{name: a, type: slack, url: https://x/y}", "https://x/y",
               "{\"text\":\"*RolloutFailed* edge: a \\\"&lt;b&gt;\\\" &amp; c\"}");
        expect("{name: a, type: alertmanager, url: https://x/}", "https://x/api/v2/alerts",
               "[{\"labels\":{\"alertname\":\"SkerryRolloutFailed\",\"severity\":\"critical\",\"fleet\":"
               "\"edge\"},"
               "\"annotations\":{\"summary\":\"a \\\"<b>\\\" & "
               "c\"},\"startsAt\":\"2026-01-02T03:04:05.000Z\"}]");
}

static void test_wishes(void **state) {
        char failed[] = "RolloutFailed", *events[] = {failed, NULL};
        const struct receiver all = {0}, some = {.events = events};
        assert_true(receiver_wants(&all, "RolloutSucceeded"));
        assert_false(receiver_wants(&all, "NodeState"));
        assert_true(receiver_wants(&some, "RolloutFailed"));
        assert_false(receiver_wants(&some, "RolloutSucceeded"));
        assert_string_equal(notify_severity("NodeDuplicate"), "critical");
        assert_null(notify_severity("TokenCreated"));
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_wrong_files),
                cmocka_unit_test(test_bodies),
                cmocka_unit_test(test_wishes),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
