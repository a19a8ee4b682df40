/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/reason.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "base/fs.h"
#include "base/str.h"
#include "codec/json.h"

#define REASON_LINE_MAX 500 /* the server takes no more */

void reason_done(struct reason *w) {
        free(w->asked);
        *w = (struct reason){0};
}

static int call(struct api *a, const char *method, const char *path, const json_t *body, const char *reason,
                json_t **ret, struct err **err) {
        _cleanup_json_ json_t *whole = NULL;
        _cleanup_(buf_done) struct buf with = BUF_INIT;
        if (!reason)
                return api_call(a, method, path, body, ret, err);
        if (body) {
                whole = json_copy((json_t *)body);
                if (!whole || json_object_set_new(whole, "reason", json_string(reason)) < 0)
                        return err_set(err, EINVAL, "the reason is not text");
                return api_call(a, method, path, whole, ret, err);
        }
        buf_printf(&with, "%s%creason=", path, strchr(path, '?') ? '&' : '?');
        url_put(&with, reason);
        if (buf_failed(&with))
                return err_set_errno(err, ENOMEM, "call %s", path);
        return api_call(a, method, buf_str(&with), NULL, ret, err);
}

/* false: there is nobody to ask, or nothing was said. */
static bool ask(struct reason *w) {
        char line[REASON_LINE_MAX + 2];
        _cleanup_(x_closep) int tty =
                isatty(STDIN_FILENO) == 1 ? open("/dev/tty", O_RDWR | O_CLOEXEC | O_NOCTTY) : -1;
        if (tty < 0)
                return false;
        (void)dprintf(tty, "The server wants to know why. Reason: ");
        ssize_t n = read(tty, line, sizeof(line) - 1);
        if (n <= 0)
                return false;
        line[n] = '\0';
        line[strcspn(line, "\r\n")] = '\0';
        if (!line[strspn(line, " \t")])
                return false;
        w->asked = str_dup(line);
        return w->asked != NULL;
}

int reason_call(struct api *a, const char *method, const char *path, const json_t *body, struct reason *w,
                json_t **ret, struct err **err) {
        _cleanup_(err_freep) struct err *why = NULL;
        int r = call(a, method, path, body, w->given ? w->given : w->asked, ret, &why);
        if (r == -ENODATA && !w->given && !w->asked && ask(w)) {
                why = err_free(why);
                r = call(a, method, path, body, w->asked, ret, &why);
        }
        return r < 0 ? err_move(err, TAKE_PTR(why)) : 0;
}

int reason_kind_call(struct api *a, const struct kind *k, const char *method, const char *name,
                     const char *rest, const json_t *body, struct reason *w, json_t **ret, struct err **err) {
        _cleanup_(err_freep) struct err *why = NULL;
        _cleanup_(buf_done) struct buf path = BUF_INIT;
        buf_printf(&path, "%s/", k->path);
        url_put(&path, name);
        buf_puts(&path, rest);
        if (buf_failed(&path))
                return err_set_errno(err, ENOMEM, "call %s", k->path);
        int r = reason_call(a, method, buf_str(&path), body, w, ret, &why);
        if (r == -ENOENT) { /* say it with the nearest name */
                _cleanup_json_ json_t *o = NULL;
                int found = kind_get(a, k, name, &o, err);
                if (found < 0)
                        return found;
        }
        return r < 0 ? err_move(err, TAKE_PTR(why)) : 0;
}
