/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/machine.h"

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <string.h>
#include <sys/statvfs.h>
#include <sys/utsname.h>

#include "base/fs.h"
#include "base/str.h"

#define MACHINE_FILE_MAX 16384
#define ADDRESSES_MAX 16

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

/* A field of os-release(5): KEY="..."; NULL where there is none. */
static char *os_field(const char *text, const char *key) {
        size_t len = strlen(key);
        for (const char *line = text; line && *line;
             line = strchr(line, '\n') ? strchr(line, '\n') + 1 : NULL) {
                if (strncmp(line, key, len) != 0 || line[len] != '=')
                        continue;
                const char *at = line + len + 1;
                size_t n = strcspn(at, "\r\n");
                if (n >= 2 && (*at == '"' || *at == '\'') && at[n - 1] == *at) {
                        at++;
                        n -= 2;
                }
                return str_dup_n(at, MIN(n, (size_t)256));
        }
        return NULL;
}

static char *os_release(const char *sysroot) {
        char *text = read_file(sysroot, "/etc/os-release");
        return text ? text : read_file("/", "/usr/lib/os-release");
}

/* The slot that was booted, where the boot loader says it on the kernel's command line, as RAUC's do. */
static char *boot_slot(void) {
        static const char *const keys[] = {"skerry.slot=", "rauc.slot="};
        _cleanup_(x_freep) char *text = NULL;
        size_t len;
        if (file_read("/proc/cmdline", MACHINE_FILE_MAX, &text, &len, NULL) < 0)
                return NULL;
        char *rest = NULL;
        for (char *word = strtok_r(text, " \n", &rest); word; word = strtok_r(NULL, " \n", &rest))
                for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
                        if (str_has_prefix(word, keys[i]))
                                return str_dup(word + strlen(keys[i]));
        return NULL;
}

/* Those by which others may reach it: neither loopback nor link-local ones. */
static json_t *addresses(void) {
        json_t *list = json_array();
        struct ifaddrs *all = NULL;
        if (!list || getifaddrs(&all) < 0)
                return list;
        for (const struct ifaddrs *i = all; i && json_array_size(list) < ADDRESSES_MAX; i = i->ifa_next) {
                char text[INET6_ADDRSTRLEN] = "";
                if (!i->ifa_addr || (i->ifa_flags & IFF_LOOPBACK) || !(i->ifa_flags & IFF_UP))
                        continue;
                if (i->ifa_addr->sa_family == AF_INET)
                        (void)inet_ntop(AF_INET,
                                        &((const struct sockaddr_in *)(const void *)i->ifa_addr)->sin_addr,
                                        text, sizeof(text));
                else if (i->ifa_addr->sa_family == AF_INET6) {
                        const struct in6_addr *a =
                                &((const struct sockaddr_in6 *)(const void *)i->ifa_addr)->sin6_addr;
                        if (!IN6_IS_ADDR_LINKLOCAL(a))
                                (void)inet_ntop(AF_INET6, a, text, sizeof(text));
                }
                if (text[0])
                        (void)json_array_append_new(list, json_string(text));
        }
        freeifaddrs(all);
        return list;
}

static const char *valid_text(const char *s) {
        return s && utf8_is_valid(s, strlen(s)) ? s : "";
}

json_t *machine_facts(const char *sysroot) {
        _cleanup_(x_freep) char *id = machine_id(sysroot), *release = os_release(sysroot),
                                *slot = boot_slot();
        _cleanup_(x_freep) char *os = os_field(release, "PRETTY_NAME"), *os_id = os_field(release, "ID"),
                                *version = os_field(release, "VERSION_ID");
        struct utsname u;
        struct statvfs disk = {0};
        long cpus = sysconf(_SC_NPROCESSORS_ONLN), pages = sysconf(_SC_PHYS_PAGES),
             page = sysconf(_SC_PAGESIZE);
        if (uname(&u) < 0)
                return NULL;
        (void)statvfs(sysroot, &disk);
        json_t *j = json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:I, s:I, s:I, s:b, s:o}", "hostname",
                              valid_text(u.nodename), "kernel", valid_text(u.release), "os", valid_text(os),
                              "osId", valid_text(os_id), "osVersion", valid_text(version), "machineId",
                              valid_text(id), "arch", strchr(machine_platform(), '/') + 1, "cpus",
                              (json_int_t)MAX(cpus, 0L), "memoryBytes",
                              (json_int_t)MAX(pages, 0L) * (json_int_t)MAX(page, 0L), "diskBytes",
                              (json_int_t)(disk.f_blocks * disk.f_frsize), "tpm",
                              access("/sys/class/tpm/tpm0", F_OK) == 0, "addresses", addresses());
        if (j && slot && *slot && utf8_is_valid(slot, strlen(slot)) &&
            json_object_set_new(j, "bootSlot", json_string(slot)) < 0) {
                json_decref(j);
                return NULL;
        }
        return j;
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
