#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Cached repository files over TLS: the relay against nginx, each on one core, the same files and certificates.

relay_vs_nginx is the geometric mean, over object sizes and HTTP versions, of bytes a second through the relay divided by
those through nginx. Clients are h2load on the other core. Both sides check the client's certificate.
"""
import argparse
import hashlib
import json
import math
import os
import pathlib
import platform
import random
import re
import shutil
import signal
import statistics
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))
sys.path.insert(0, str(ROOT / "tests/e2e"))

from lab import Lab, wait_until  # noqa: E402
from lab.ports import free_port  # noqa: E402

SIZES = {"4 KiB": (4 << 10, 12000), "1 MiB": (1 << 20, 600), "64 MiB": (64 << 20, 12)}
PROTOCOLS = {"h2": ["--npn-list=h2"], "http1": ["--h1"]}
REACH = 0.7
ROUNDS = 3
CLIENTS = 8

NGINX = """
worker_processes 1;
daemon off;
pid {folder}/nginx.pid;
error_log {folder}/error.log warn;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    sendfile on;
    tcp_nopush on;
    keepalive_requests 1000000;
    client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
    server {{
        listen 127.0.0.1:{port} ssl http2;
        ssl_certificate {certificate};
        ssl_certificate_key {key};
        ssl_client_certificate {roots};
        ssl_verify_client on;
        ssl_verify_depth 4;
        ssl_protocols TLSv1.3;
        ssl_conf_command Ciphersuites TLS_AES_128_GCM_SHA256;
        location /edge/v1/repository/ {{ alias {files}/; }}
    }}
}}
"""


def say(text):
    print(f"  {text}", flush=True)


def cores():
    """One core for who serves, the rest for who asks."""
    mine = sorted(os.sched_getaffinity(0))
    return str(mine[0]), ",".join(map(str, mine[1:] or mine))


def publish(folder):
    rng, paths = random.Random(1), {}
    (folder / "metadata").mkdir(parents=True)
    for name, (size, _) in SIZES.items():
        data = rng.randbytes(size)
        path = f"targets/bench/{hashlib.sha256(data).hexdigest()}.file"
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(data)
        paths[name] = path
    return paths


def shim(folder):
    """h2load shows no client certificate by itself."""
    library = folder / "client_certificate.so"
    subprocess.run(["cc", "-shared", "-fPIC", "-o", library, ROOT / "bench/client_certificate.c", "-lssl", "-ldl"], check=True)
    return library


def load(url, protocol, requests, environment, client_cores):
    """Bytes a second of bodies."""
    command = ["taskset", "-c", client_cores, "h2load", *PROTOCOLS[protocol], "-n", str(requests), "-c", str(min(CLIENTS, requests)),
               "-t", "1", "-m", "4" if protocol == "h2" else "1", url]
    out = subprocess.run(command, capture_output=True, text=True, check=True, env=dict(os.environ, **environment)).stdout
    done = re.search(r"requests: (\d+) total.* (\d+) succeeded, (\d+) failed", out)
    if not done or int(done[2]) != requests:
        raise SystemExit(f"h2load did not get all of {url}:\n{out}")
    took = re.search(r"finished in ([\d.]+)(ms|s)", out)
    body = int(re.search(r"\((\d+)\) data", out)[1])
    return body / (float(took[1]) / (1000 if took[2] == "ms" else 1))


def measure(build, figures=None, breakdown=None):
    figures, breakdown = figures if figures is not None else {}, breakdown if breakdown is not None else {}
    server_core, client_cores = cores()
    peers = {}
    with Lab(build, log_level="warning") as lab:
        published = lab.folder / "published"
        paths = publish(published)
        lab.init_server()
        lab.start_server("--repository", str(published))
        relay = lab.start_relay("relay")
        subprocess.run(["taskset", "-a", "-p", "-c", server_core, str(relay.pid())], check=True, stdout=subprocess.DEVNULL)
        from test_hostile import call, member  # speaks the edge protocol by hand
        node = member(lab, "n")
        environment = {"LD_PRELOAD": str(shim(lab.folder)), "CLIENT_CERTIFICATE": str(node.pem)}
        for path in paths.values():
            wait_until("the relay to have " + path,
                       lambda p=path: call(relay.port, "GET", f"/edge/v1/repository/{p}", context=node.context(), headers={"Range": "bytes=0-0"})[0] == 206)
        identity = json.loads((lab.folder / "relay/identity.json").read_text())
        work = lab.folder / "nginx"
        work.mkdir()
        for name, text in (("certificate.pem", identity["certificate"]), ("key.pem", identity["key"]), ("roots.pem", identity["bundle"]["roots"])):
            (work / name).write_text(text)
        subprocess.run(["chmod", "-R", "a+rX", lab.folder], check=True)
        port = free_port()
        (work / "nginx.conf").write_text(NGINX.format(folder=work, port=port, files=published, certificate=work / "certificate.pem",
                                                      key=work / "key.pem", roots=work / "roots.pem"))
        nginx = subprocess.Popen(["taskset", "-c", server_core, shutil.which("nginx") or "/usr/sbin/nginx", "-c", work / "nginx.conf", "-p", work])
        try:
            wait_until("nginx to serve", lambda: (work / "nginx.pid").exists())
            time.sleep(0.3)
            ratios = []
            for protocol in PROTOCOLS:
                for name, path in paths.items():
                    speeds = {"relay": [], "nginx": []}
                    for _ in range(ROUNDS):  # in turns, so that what else the machine does hits both
                        for side, side_port in (("relay", relay.port), ("nginx", port)):
                            url = f"https://127.0.0.1:{side_port}/edge/v1/repository/{path}"
                            speeds[side].append(load(url, protocol, SIZES[name][1], environment, client_cores))
                    best = {side: statistics.median(values) for side, values in speeds.items()}
                    ratio = best["relay"] / best["nginx"]
                    ratios.append(ratio)
                    key = f"{protocol}, {name}"
                    breakdown.setdefault("relay (MB/s)", {})[key] = best["relay"] / 1e6
                    breakdown.setdefault("relay over nginx", {})[key] = ratio
                    peers[key] = {"nginx_mb_s": best["nginx"] / 1e6}
                    say(f"{key:16} relay {best['relay'] / 1e6:8.1f} MB/s   nginx {best['nginx'] / 1e6:8.1f} MB/s   {ratio:5.2f}")
            figures["relay_vs_nginx"] = math.exp(statistics.mean(map(math.log, ratios)))
            figures["relay_rss_mb"] = relay.status_kb("VmRSS") / 1024
        finally:
            nginx.send_signal(signal.SIGTERM)
            nginx.wait()
    return figures, peers, breakdown


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", required=True, type=pathlib.Path)
    parser.add_argument("--out", required=True, type=pathlib.Path)
    options = parser.parse_args()
    figures, peers, breakdown = measure(options.build)
    ratios = {"relay_vs_nginx": figures["relay_vs_nginx"] / REACH}
    print(f"\nrelay_vs_nginx {figures['relay_vs_nginx']:.2f} (reach {REACH} or more)")
    machine = {"cpu": platform.machine(), "cores": os.cpu_count(), "kernel": platform.release()}
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps({"name": "relay", "machine": machine, "figures": figures, "peers": peers, "ratios": ratios,
                                       "breakdown": breakdown}, indent=2) + "\n")
    print(f"written: {options.out}")


if __name__ == "__main__":
    main()
