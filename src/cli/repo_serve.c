/* SPDX-License-Identifier: Apache-2.0 */
/* skerry repo serve: the published folder over HTTP, for development and small sites. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "base/fs.h"
#include "base/str.h"
#include "cli/repo.h"
#include "net/http_server.h"

#define PEM_MAX ((size_t)256 * 1024)

struct settings {
        struct repo_globals repo;
        char *listen, *certificate, *key;
};

static const struct option_spec options[] = {
        REPO_OPTIONS,
        {"listen", 'l', OPTION_STRING, offsetof(struct settings, listen), "ADDRESS:PORT", "127.0.0.1:8088",
         "Where to listen; port 0: any"},
        {"tls-certificate", 0, OPTION_STRING, offsetof(struct settings, certificate), "FILE", NULL,
         "Certificate chain (PEM): serve https"},
        {"tls-key", 0, OPTION_STRING, offsetof(struct settings, key), "FILE", NULL, "Its private key (PEM)"},
        OPTIONS_END,
};

struct service {
        struct root_dir *root;
        struct loop *loop;
        struct http_server *server;
};

/* What may change under its name: the timestamp, the probe for the next root, lists of deltas. */
static bool is_immutable(const char *path) {
        return !str_eq(path, "metadata/timestamp.json") &&
               !(str_has_prefix(path, "deltas/") && str_has_suffix(path, ".json"));
}

static void serve_file(struct http_exchange *x, void *arg) {
        struct service *s = arg;
        const char *path = http_parameter(x, "*");
        struct stat st;
        char etag[80];
        /* Names that begin with a dot are of files being written. */
        if (!path || !path_is_beneath(path) || path[0] == '.' || strstr(path, "/.")) {
                http_respond_error(x, 404, "not_found", "no such file");
                return;
        }
        int fd = root_dir_openat(s->root, path, O_RDONLY | O_NONBLOCK | O_NOCTTY, 0);
        if (fd >= 0 && (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))) {
                (void)close(fd);
                fd = -ENOENT;
        }
        if (fd < 0) {
                http_respond_error(x, 404, "not_found", "no such file");
                return;
        }
        (void)snprintf(etag, sizeof(etag), "%llx-%llx-%llx", (unsigned long long)st.st_ino,
                       (unsigned long long)st.st_size,
                       (unsigned long long)st.st_mtim.tv_sec * 1000000000ull +
                               (unsigned long long)st.st_mtim.tv_nsec);
        http_respond_file(x, fd,
                          str_has_suffix(path, ".json") ? "application/json" : "application/octet-stream",
                          etag, is_immutable(path));
}

static void stopped(void *arg) {
        struct service *s = arg;
        s->server = NULL;
        loop_stop(s->loop, EXIT_SUCCESS);
}

static void on_signal(void *arg, int signal) {
        struct service *s = arg;
        if (signal != SIGHUP && s->server)
                http_server_stop(s->server, 1000, stopped, s);
}

static int load_tls(const struct settings *s, struct tls_config **ret, struct err **err) {
        _cleanup_(x_freep) char *certificate = NULL, *key = NULL;
        size_t len = 0;
        if (!s->certificate)
                return 0;
        int r = file_read(s->certificate, PEM_MAX, &certificate, &len, err);
        if (r >= 0)
                r = file_read(s->key, PEM_MAX, &key, &len, err);
        if (r < 0)
                return r;
        const struct tls_material m = {.certificate_pem = certificate, .key_pem = key, .peer = TLS_PEER_NONE};
        r = tls_server_new(&m, ret, err);
        explicit_bzero(key, len);
        return r;
}

static int serve(const struct settings *s, struct service *service, struct err **err) {
        static const struct http_route routes[] = {{"GET", "/*", serve_file, NULL}, {NULL, NULL, NULL, NULL}};
        _cleanup_(tls_config_freep) struct tls_config *tls = NULL;
        _cleanup_(x_freep) char *folder = path_join(s->repo.repository, "public");
        int r = folder ? root_dir_open(folder, &service->root, err) : err_set_errno(err, ENOMEM, "serve");
        if (r < 0 || (r = load_tls(s, &tls, err)) < 0 || (r = loop_new(&service->loop, err)) < 0)
                return r;
        const struct http_server_options o = {
                .name = "repository", .address = s->listen, .tls = tls, .routes = routes, .arg = service};
        if ((r = http_server_start(service->loop, &o, &service->server, err)) < 0 ||
            (r = loop_on_signals(service->loop, on_signal, service)) < 0)
                return r;
        int host = (int)(strrchr(s->listen, ':') ? strrchr(s->listen, ':') - s->listen
                                                 : (long)strlen(s->listen));
        printf("Serving %s on %s://%.*s:%u\n", folder, tls ? "https" : "http", host, s->listen,
               (unsigned)http_server_port(service->server));
        (void)fflush(stdout);
        return loop_run(service->loop);
}

static int run(void *settings, char **arguments, size_t n) {
        const struct settings *s = settings;
        _cleanup_(err_freep) struct err *err = NULL;
        struct service service = {0};
        if (!s->certificate != !s->key)
                return cli_usage("repo serve", "--tls-certificate and --tls-key go together");
        int r = serve(s, &service, &err);
        if (service.server)
                http_server_stop(service.server, 0, NULL, NULL);
        loop_free(service.loop);
        root_dir_free(service.root);
        return r < 0 ? cli_fail(err) : r;
}

const struct command_spec repo_serve_command = {
        .name = "repo serve",
        .arguments = "",
        .summary = "Serve the published folder over HTTP",
        .details =
                "For development and small sites. It needs nothing that a plain web server does not do: "
                "static files, "
                "Range, If-None-Match. Nodes trust signatures, not who serves them, so http is no danger to "
                "them; https keeps private what they fetch.",
        .options = options,
        .settings_size = sizeof(struct settings),
        .run = run,
};
