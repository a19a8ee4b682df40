/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/machine.h"

#include <string.h>
#include <sys/utsname.h>

#include "base/fs.h"
#include "base/str.h"

#define MACHINE_FILE_MAX 16384

/* A file of the sysroot, or of the machine where the sysroot has none. */
static char *read_file(const char *sysroot, const char *path) {
        char *text = NULL;
        size_t len;
        struct root_dir *root;
        int r = root_dir_open(sysroot, &root, NULL);
        if (r == 0) {
                r = root_dir_read(root, path, MACHINE_FILE_MAX, &text, &len, NULL, NULL);
                root_dir_free(root);
        }
        if (r < 0 && file_read(path, MACHINE_FILE_MAX, &text, &len, NULL) < 0)
                return NULL;
        return text;
}

static char *machine_id(const char *sysroot) {
        char *text = read_file(sysroot, "/etc/machine-id");
        if (text)
                text[strcspn(text, " \t\r\n")] = '\0';
        return text;
}

/* PRETTY_NAME="..." of os-release(5). */
static char *os_name(const char *sysroot) {
        _cleanup_(x_freep) char *text = read_file(sysroot, "/etc/os-release");
        if (!text && !(text = read_file("/", "/usr/lib/os-release")))
                return NULL;
        const char *key = "PRETTY_NAME=",
                   *at = str_has_prefix(text, key) ? text : strstr(text, "\nPRETTY_NAME=");
        if (!at)
                return NULL;
        at += (*at == '\n') + strlen(key);
        size_t n = strcspn(at, "\r\n");
        if (n >= 2 && (*at == '"' || *at == '\'') && at[n - 1] == *at) {
                at++;
                n -= 2;
        }
        return str_dup_n(at, MIN(n, (size_t)256));
}

static const char *valid_text(const char *s) {
        return s && utf8_is_valid(s, strlen(s)) ? s : "";
}

json_t *machine_facts(const char *sysroot) {
        _cleanup_(x_freep) char *id = machine_id(sysroot), *os = os_name(sysroot);
        struct utsname u;
        if (uname(&u) < 0)
                return NULL;
        return json_pack("{s:s, s:s, s:s, s:s}", "hostname", valid_text(u.nodename), "kernel",
                         valid_text(u.release), "os", valid_text(os), "machineId", valid_text(id));
}

const char *machine_platform(void) {
#if defined(__x86_64__)
        return "linux/amd64";
#elif defined(__aarch64__)
        return "linux/arm64";
#elif defined(__arm__)
        return "linux/arm";
#elif defined(__riscv) && __riscv_xlen == 64
        return "linux/riscv64";
#elif defined(__i386__)
        return "linux/386";
#else
        return "linux/unknown";
#endif
}
