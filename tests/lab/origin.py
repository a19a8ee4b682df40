# SPDX-License-Identifier: Apache-2.0
"""A web server with the files of a folder that can be told to misbehave."""
import http.server
import os
import pathlib
import re
import socket
import threading
import time
import urllib.parse


class Origin:
    """http://127.0.0.1:self.port/<path below folder>. Keeps what was asked and how many bytes were sent.

    misbehave(pattern, how, **settings): for paths that match, until behave(). how:
      "page"     200 with a web page, as a captive portal answers
      "forge"    other bytes of the same length
      "long"     a Content-Length of `length` instead of the right one; sends the file and then waits
      "short"    says and sends only half of the file as if that were all
      "cut"      closes the connection after `after` bytes of a body
      "stall"    sends `after` bytes and then nothing
      "slow"     `rate` bytes a second
      "whole"    ignores Range
      "redirect" 302 to itself
      "error"    500
    """

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.requests = []
        self.bytes_sent = 0
        self.faults = []
        self.closing = threading.Event()
        self.lock = threading.Lock()
        self.connections = set()
        origin = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                try:
                    origin.answer(self)
                except (BrokenPipeError, ConnectionResetError):
                    self.close_connection = True

            do_HEAD = do_GET

            def log_message(self, *arguments):
                pass

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 128

            def process_request(self, request, client_address):
                origin.connections.add(request)
                super().process_request(request, client_address)

            def shutdown_request(self, request):
                origin.connections.discard(request)
                super().shutdown_request(request)

            def handle_error(self, request, client_address):
                pass

        self.handler = Handler
        self.server_class = Server
        self.server = None
        self.port = 0
        self.start()

    def start(self):
        self.server = self.server_class(("127.0.0.1", self.port), self.handler)
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def stop(self):
        if self.server:
            self.server.shutdown()
            self.server.server_close()
            self.server = None
            for connection in list(self.connections):
                try:
                    connection.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass

    def close(self):
        self.closing.set()
        self.stop()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    def misbehave(self, pattern, how, **settings):
        self.faults.insert(0, (re.compile(pattern), how, settings))

    def behave(self):
        self.faults.clear()

    def asked(self, pattern):
        return [r for r in self.requests if re.search(pattern, r[0])]

    def fault_of(self, path):
        return next(((how, settings) for pattern, how, settings in self.faults if pattern.search(path)), (None, {}))

    def send(self, x, data, how, settings):
        if how == "slow":
            step = max(settings["rate"] // 20, 1)
            for at in range(0, len(data), step):
                x.wfile.write(data[at:at + step])
                x.wfile.flush()
                with self.lock:
                    self.bytes_sent += len(data[at:at + step])
                if self.closing.wait(0.05) or self.fault_of(urllib.parse.unquote(x.path))[0] != "slow":
                    x.wfile.write(data[at + step:])
                    with self.lock:
                        self.bytes_sent += len(data[at + step:])
                    return
            return
        if how in ("cut", "stall"):
            data = data[:settings["after"]]
        x.wfile.write(data)
        x.wfile.flush()
        with self.lock:
            self.bytes_sent += len(data)
        if how in ("stall", "long"):
            self.closing.wait(settings.get("seconds", 120))
        if how in ("cut", "stall", "long"):
            x.close_connection = True

    def answer(self, x):
        path = urllib.parse.unquote(x.path).lstrip("/")
        with self.lock:
            self.requests.append((path, x.headers.get("Range"), time.monotonic()))
        how, settings = self.fault_of(path)
        file = self.folder / path
        if how == "redirect":
            x.send_response(302)
            x.send_header("Location", x.path)
            x.send_header("Content-Length", "0")
            x.end_headers()
            return
        if how == "page":
            page = b"<html><body>Please log in to the airport's network</body></html>"
            x.send_response(200)
            x.send_header("Content-Type", "text/html")
            x.send_header("Content-Length", str(len(page)))
            x.end_headers()
            x.wfile.write(page)
            return
        if how == "error" or not file.is_file():
            x.send_error(500 if how == "error" else 404)
            return
        data = file.read_bytes()
        if how == "forge":
            data = bytes(b ^ 0x55 for b in data)
        if how == "short":
            data = data[:len(data) // 2]
        etag = f'"{os.stat(file).st_mtime_ns:x}-{len(data):x}"'
        if x.headers.get("If-None-Match") == etag:
            x.send_response(304)
            x.send_header("ETag", etag)
            x.end_headers()
            return
        match = re.fullmatch(r"bytes=(\d+)-(\d*)", x.headers.get("Range") or "")
        status, total = 200, len(data)
        if match and how != "whole":
            first = int(match[1])
            last = min(int(match[2] or total - 1), total - 1)
            if first >= total:
                x.send_response(416)
                x.send_header("Content-Range", f"bytes */{total}")
                x.send_header("Content-Length", "0")
                x.end_headers()
                return
            data, status = data[first:last + 1], 206
        x.send_response(status)
        if status == 206:
            said = settings["length"] if how == "long" else total
            x.send_header("Content-Range", f"bytes {first}-{last}/{said}")
        x.send_header("ETag", etag)
        length = settings["length"] if how == "long" and status == 200 else len(data)
        x.send_header("Content-Length", str(length))
        x.end_headers()
        if x.command != "HEAD":
            self.send(x, data, how, settings)
