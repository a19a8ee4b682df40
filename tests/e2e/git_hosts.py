# SPDX-License-Identifier: Apache-2.0
"""Real Git hosts on loopback: nginx with git http-backend over TLS, and an SSH server."""
import getpass
import os
import pathlib
import subprocess
import tempfile

from lab import wait_until
from lab.ports import free_port
from lab.program import Program


def _listening(port):
    import socket
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


class HttpsHost:
    """nginx -> fcgiwrap -> git http-backend, TLS with a certificate of its own, optional basic authentication."""

    def __init__(self, folder, projects, user=None, password=None):
        self.folder = pathlib.Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.port = free_port()
        self.certificate = self.folder / "tls.pem"
        self._make_certificate()
        # Unix socket paths are short.
        self.socket = pathlib.Path(tempfile.mkdtemp(prefix="sk-")) / "cgi"
        authentication = ""
        if user:
            digest = subprocess.run(["openssl", "passwd", "-apr1", password], capture_output=True, text=True, check=True)
            (self.folder / "users").write_text(f"{user}:{digest.stdout}")
            authentication = f'auth_basic "git"; auth_basic_user_file {self.folder}/users;'
        (self.folder / "nginx.conf").write_text(f"""
{'user root;' if os.geteuid() == 0 else ''}
daemon off; pid {self.folder}/nginx.pid; error_log stderr warn; worker_processes 1;
events {{ worker_connections 64; }}
http {{
  access_log {self.folder}/access.log;
  client_body_temp_path {self.folder}/body; proxy_temp_path {self.folder}/proxy;
  fastcgi_temp_path {self.folder}/fastcgi; uwsgi_temp_path {self.folder}/uwsgi; scgi_temp_path {self.folder}/scgi;
  server {{
    listen 127.0.0.1:{self.port} ssl;
    ssl_certificate {self.certificate}; ssl_certificate_key {self.folder}/tls.key;
    location / {{
      {authentication}
      include /etc/nginx/fastcgi_params;
      fastcgi_param SCRIPT_FILENAME /usr/lib/git-core/git-http-backend;
      fastcgi_param GIT_PROJECT_ROOT {projects};
      fastcgi_param GIT_HTTP_EXPORT_ALL "";
      fastcgi_param PATH_INFO $uri;
      fastcgi_param REMOTE_USER $remote_user;
      fastcgi_param GIT_CONFIG_COUNT 1;
      fastcgi_param GIT_CONFIG_KEY_0 safe.directory;
      fastcgi_param GIT_CONFIG_VALUE_0 *;
      fastcgi_pass unix:{self.socket};
    }}
  }}
}}
""")
        self.cgi = Program("fcgiwrap", ["/usr/sbin/fcgiwrap", "-s", f"unix:{self.socket}", "-c", "2"], self.folder / "cgi.log")
        self.nginx = Program("nginx", ["/usr/sbin/nginx", "-c", self.folder / "nginx.conf", "-p", self.folder],
                             self.folder / "nginx.log")

    def _make_certificate(self):
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
             "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1",
             "-keyout", str(self.folder / "tls.key"), "-out", str(self.certificate)], check=True, capture_output=True)

    def url(self, name):
        return f"https://localhost:{self.port}/{name}"

    def start(self):
        self.cgi.start()
        wait_until("fcgiwrap's socket", self.socket.exists, alive=self.cgi.assert_running)
        self.nginx.start()
        wait_until("nginx to listen", lambda: _listening(self.port), alive=self.nginx.assert_running)
        return self

    def stop(self):
        self.nginx.stop()
        self.cgi.kill()
        self.socket.unlink(missing_ok=True)
        self.socket.parent.rmdir()


class SshHost:
    """sshd with one key, serving what lies in a folder to git."""

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.folder.chmod(0o700)
        self.port = free_port()
        self.user = getpass.getuser()
        for name in ("host", "client"):
            subprocess.run(["ssh-keygen", "-q", "-t", "ecdsa", "-b", "256", "-m", "PEM", "-N", "", "-f", str(self.folder / name)],
                           check=True)
        (self.folder / "authorized").write_text((self.folder / "client.pub").read_text())
        self.key = self.folder / "client"
        self.known_hosts = self.folder / "known_hosts"
        key = (self.folder / "host.pub").read_text().split()
        self.known_hosts.write_text(f"[127.0.0.1]:{self.port} {key[0]} {key[1]}\n")
        (self.folder / "sshd.conf").write_text(f"""
Port {self.port}
ListenAddress 127.0.0.1
HostKey {self.folder}/host
AuthorizedKeysFile {self.folder}/authorized
PidFile {self.folder}/sshd.pid
StrictModes no
UsePAM no
PermitRootLogin yes
PasswordAuthentication no
""")
        if os.geteuid() == 0:
            pathlib.Path("/run/sshd").mkdir(exist_ok=True)  # sshd's own privilege separation folder
        self.sshd = Program("sshd", ["/usr/sbin/sshd", "-D", "-e", "-f", self.folder / "sshd.conf"], self.folder / "sshd.log")

    def url(self, path):
        return f"ssh://{self.user}@127.0.0.1:{self.port}{path}"

    def start(self):
        self.sshd.start()
        wait_until("sshd to listen", lambda: _listening(self.port), alive=self.sshd.assert_running)
        return self

    def stop(self):
        self.sshd.stop()
