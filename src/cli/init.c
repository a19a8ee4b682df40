/* SPDX-License-Identifier: Apache-2.0 */
/* skerry init: a small fleet repository to begin with. */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/fs.h"
#include "base/str.h"
#include "cli/cli.h"

struct settings {
        struct cli_globals globals;
};

static const struct option_spec options[] = {OPTIONS_END};

static const struct {
        const char *path, *text;
} starter[] = {
        {"README.md", "# Fleet\n"
                      "\n"
                      "What the machines of this fleet run. Every commit on the followed branch goes out to "
                      "them, in waves.\n"
                      "\n"
                      "    skerry validate          is it right?\n"
                      "    skerry plan --server     what would it change?\n"
                      "\n"
                      "- `fleet.yaml`: which nodes belong to the fleet, and what they run\n"
                      "- `apps/`: the apps\n"
                      "- `nodes/`: what is special about single nodes\n"
                      "- `rollout.yaml`: how a change moves through the fleet\n"},
        {"fleet.yaml",
         "# A fleet: all nodes with these labels have one desired state.\n"
         "apiVersion: skerry/v1alpha1\n"
         "kind: Fleet\n"
         "metadata:\n"
         "  name: edge\n"
         "spec:\n"
         "  selector:\n"
         "    matchLabels:\n"
         "      fleet: edge\n"
         "  rollout: careful # see rollout.yaml\n"
         "  template:\n"
         "    # Text that apps and files take in as ${vars.greeting}. A node's own variables win.\n"
         "    variables:\n"
         "      greeting: \"Hello\"\n"
         "    # Files on the nodes; when somebody changes one by hand it is put back.\n"
         "    files:\n"
         "      - path: /etc/fleet/node.conf\n"
         "        content: |\n"
         "          name = ${node.name}\n"
         "          site = ${labels.site:-unknown}\n"
         "    apps: [hello]\n"},
        {"apps/hello.yaml",
         "# An app: a process that the agent starts, watches and, when it ends, starts again.\n"
         "apiVersion: skerry/v1alpha1\n"
         "kind: App\n"
         "metadata:\n"
         "  name: hello\n"
         "spec:\n"
         "  driver: process # podman takes Kubernetes manifests instead of a command\n"
         "  command: [/bin/sh, -c, \"echo \\\"$GREETING from ${node.name}\\\"; exec sleep infinity\"]\n"
         "  environment:\n"
         "    GREETING: \"${vars.greeting}\"\n"
         "  restart:\n"
         "    policy: Always\n"
         "  # A new version that is not healthy within this time is taken back.\n"
         "  readyTimeout: 30s\n"
         "  healthChecks:\n"
         "    - name: alive\n"
         "      exec:\n"
         "        command: [/bin/true]\n"
         "      interval: 10s\n"},
        {"nodes/example-1.yaml",
         "# Labels and variables of one node. Nodes join with a token (skerry token create); this file is "
         "only needed\n"
         "# for what is special about one. Give yours its own name here, or take the file away.\n"
         "apiVersion: skerry/v1alpha1\n"
         "kind: Node\n"
         "metadata:\n"
         "  name: example-1\n"
         "  labels:\n"
         "    fleet: edge\n"
         "    site: lab\n"
         "    canary: \"true\"\n"
         "spec:\n"
         "  variables:\n"
         "    greeting: \"Hello, first\"\n"},
        {"rollout.yaml",
         "# How a change moves: one canary first, then everybody. When the canary fails, all goes back.\n"
         "apiVersion: skerry/v1alpha1\n"
         "kind: Rollout\n"
         "metadata:\n"
         "  name: careful\n"
         "spec:\n"
         "  waves:\n"
         "    - name: canary\n"
         "      selector:\n"
         "        matchLabels:\n"
         "          canary: \"true\"\n"
         "      limit: 1\n"
         "      pause:\n"
         "        duration: 30s # stay healthy this long before the next wave begins\n"
         "    - name: rest\n"
         "  maxFailed: 0\n"
         "  progressDeadlineSeconds: 600\n"
         "  rollback:\n"
         "    onFailure: true\n"},
};

/* Is there anything in the folder but what Git itself puts there? */
static int check_empty(const char *dir, struct err **err) {
        DIR *d = opendir(dir);
        if (!d)
                return errno == ENOENT ? 0 : err_set_errno(err, errno, "open the folder %s", dir);
        int r = 0;
        for (struct dirent *e; r == 0 && (e = readdir(d));) {
                static const char *const ignored[] = {".", "..", ".git", ".gitignore", "LICENSE"};
                bool known = false;
                for (size_t i = 0; i < ARRAY_SIZE(ignored); i++)
                        known = known || str_eq(e->d_name, ignored[i]);
                if (!known)
                        r = err_set(err, EEXIST, "%s is not empty (there is %s in it); name a new folder",
                                    dir, e->d_name);
        }
        (void)closedir(d);
        return r;
}

static int run(void *settings, char **arguments, size_t n) {
        const char *dir = arguments[0];
        _cleanup_(err_freep) struct err *err = NULL;
        _cleanup_(root_dir_freep) struct root_dir *root = NULL;
        const struct file_attributes attributes = {.mode = 0644, .uid = (uid_t)-1, .gid = (gid_t)-1};
        if (check_empty(dir, &err) < 0 || dir_make(dir, 0755, &err) < 0 ||
            root_dir_open(dir, &root, &err) < 0)
                return cli_fail(err);
        for (size_t i = 0; i < ARRAY_SIZE(starter); i++)
                if (root_dir_write(root, starter[i].path, starter[i].text, strlen(starter[i].text),
                                   &attributes, &err) < 0)
                        return cli_fail(err);
        printf("A fleet repository is in %s. Next:\n"
               "  skerry validate %s\n"
               "  git -C %s init -b main && git -C %s add . && git -C %s commit -m 'Begin the fleet'\n"
               "and, when it is where the server can fetch it: skerry source add NAME --url URL\n",
               dir, dir, dir, dir, dir);
        return EXIT_SUCCESS;
}

const struct command_spec init_command = {
        "init",
        "DIR",
        "Begin a fleet repository",
        "Writes a small, commented fleet repository that is valid as it is. The folder must be new, or empty "
        "but for"
        " .git.",
        options,
        sizeof(struct settings),
        1,
        1,
        "dir",
        run,
};
