/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/artifact_guess.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "base/fs.h"
#include "base/str.h"

static bool has(const char *folder, const char *name) {
        _cleanup_(x_freep) char *path = path_join(folder, name);
        return path && access(path, F_OK) == 0;
}

static ssize_t read_head(const char *path, char *head, size_t n) {
        _cleanup_(x_closep) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
        return fd < 0 ? -1 : read(fd, head, n);
}

static bool is_disk_image(const char *head, size_t n) {
        static const struct {
                size_t at;
                const char *magic;
                size_t len;
        } all[] = {
                {1024, "\xe2\xe1\xf5\xe0", 4}, /* EROFS */
                {0, "hsqs", 4},                /* squashfs */
                {1080, "\x53\xef", 2},         /* ext2 to ext4 */
                {512, "EFI PART", 8},          /* a disk with a GPT */
        };
        for (size_t i = 0; i < ARRAY_SIZE(all); i++)
                if (n >= all[i].at + all[i].len && memcmp(head + all[i].at, all[i].magic, all[i].len) == 0)
                        return true;
        return false;
}

int artifact_guess_type(const char *said, const char *path, enum artifact_type *ret, struct err **err) {
        static const char *const archives[] = {".tar", ".tar.gz",  ".tgz",    ".tar.xz",
                                               ".txz", ".tar.zst", ".tar.bz2"};
        char head[2048] = {0};
        struct stat st;
        if (said)
                return artifact_type_from_name(said, ret);
        if (stat(path, &st) < 0)
                return err_set_errno(err, errno, "read %s", path);
        if (S_ISDIR(st.st_mode)) {
                *ret = has(path, "oci-layout") && has(path, "index.json") ? ARTIFACT_OCI : ARTIFACT_TREE;
                return 0;
        }
        ssize_t n = read_head(path, head, sizeof(head));
        if (n < 0)
                return err_set_errno(err, errno, "read %s", path);
        for (size_t i = 0; i < ARRAY_SIZE(archives); i++)
                if (str_has_suffix(path, archives[i]))
                        return err_set(err, EINVAL,
                                       "%s is an archive: say --type tree for what is in it, --type oci for "
                                       "a container "
                                       "image, --type file for the archive itself",
                                       path);
        *ret = is_disk_image(head, (size_t)n) ? ARTIFACT_IMAGE : ARTIFACT_FILE;
        return 0;
}

static const char *elf_platform(const char *head, size_t n) {
        static const struct {
                unsigned machine;
                const char *platform;
        } all[] = {
                {EM_X86_64, "linux/amd64"},  {EM_AARCH64, "linux/arm64/v8"}, {EM_ARM, "linux/arm/v7"},
                {EM_RISCV, "linux/riscv64"}, {EM_386, "linux/386"},          {EM_S390, "linux/s390x"},
        };
        if (n < 20 || memcmp(head, ELFMAG, SELFMAG) != 0)
                return NULL;
        bool big = head[EI_DATA] == ELFDATA2MSB;
        unsigned machine = (unsigned char)head[big ? 19 : 18] | (unsigned)(unsigned char)head[big ? 18 : 19]
                                                                        << 8;
        for (size_t i = 0; i < ARRAY_SIZE(all); i++)
                if (machine == all[i].machine)
                        return all[i].platform;
        return "";
}

int artifact_guess_platform(const char *said, enum artifact_type type, const char *path,
                            char ret[PLATFORM_MAX], struct err **err) {
        char head[64] = {0};
        if (said)
                return platform_parse(said, ret, err);
        if (type == ARTIFACT_OCI) {
                ret[0] = '\0';
                return 0;
        }
        if (type == ARTIFACT_FILE) {
                ssize_t n = read_head(path, head, sizeof(head));
                const char *platform = elf_platform(head, n > 0 ? (size_t)n : 0);
                if (!platform)
                        platform = "any";
                if (*platform)
                        return platform_parse(platform, ret, err);
        }
        return err_set(err, EINVAL, "%s: what is it for? Say --platform linux/amd64, linux/arm64, ... or any",
                       path);
}
