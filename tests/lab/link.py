# SPDX-License-Identifier: Apache-2.0
"""A network link that can be cut: a TCP forwarder on loopback."""
import selectors
import socket
import threading

from .ports import free_port


class Link:
    """Forwards 127.0.0.1:self.port to a target port.

    cut(): connections are reset and new ones refused. blackhole(): connections stay, bytes are swallowed.
    restore(): as new. Counts the bytes that pass, both ways.
    """

    def __init__(self, target_port):
        self.target_port = target_port
        self.bytes_up = 0
        self.bytes_down = 0
        self._lock = threading.Lock()
        self._mode = "open"
        self._pairs = {}
        self._selector = selectors.DefaultSelector()
        self._wake_read, self._wake_write = socket.socketpair()
        self._selector.register(self._wake_read, selectors.EVENT_READ, "wake")
        self._listener = None
        self.port = free_port()
        self._listen()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _listen(self):
        self._listener = socket.socket()
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._listener.bind(("127.0.0.1", self.port))
        self._listener.listen(64)
        self._selector.register(self._listener, selectors.EVENT_READ, "accept")

    def _order(self, mode):
        with self._lock:
            self._mode = mode
        self._wake_write.send(b"x")

    def cut(self):
        self._order("cut")

    def blackhole(self):
        self._order("blackhole")

    def restore(self):
        self._order("open")

    def close(self):
        self._stopping = True
        self._wake_write.send(b"x")
        self._thread.join()

    def _drop(self, a):
        b = self._pairs.pop(a, None)
        if b is not None:
            self._pairs.pop(b, None)
        for s in (a, b):
            if s is not None:
                try:
                    self._selector.unregister(s)
                except KeyError:
                    pass
                s.close()

    def _drop_all(self):
        for s in list(self._pairs):
            if s in self._pairs:
                self._drop(s)

    def _accept(self):
        client, _ = self._listener.accept()
        try:
            server = socket.create_connection(("127.0.0.1", self.target_port), timeout=5)
        except OSError:
            client.close()
            return
        for s in (client, server):
            s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._pairs[client], self._pairs[server] = server, client
        self._selector.register(client, selectors.EVENT_READ, "up")
        self._selector.register(server, selectors.EVENT_READ, "down")

    def _forward(self, source, direction):
        try:
            data = source.recv(65536)
        except OSError:
            data = b""
        if not data:
            self._drop(source)
            return
        if self._mode == "blackhole":
            return
        try:
            self._pairs[source].sendall(data)
        except OSError:
            self._drop(source)
            return
        if direction == "up":
            self.bytes_up += len(data)
        else:
            self.bytes_down += len(data)

    def _apply_mode(self):
        with self._lock:
            mode = self._mode
        if mode == "cut":
            self._drop_all()
            if self._listener is not None:
                self._selector.unregister(self._listener)
                self._listener.close()
                self._listener = None
        elif self._listener is None:
            self._listen()

    def _run(self):
        while not self._stopping:
            for key, _ in self._selector.select():
                if key.data == "wake":
                    self._wake_read.recv(64)
                    self._apply_mode()
                elif key.fileobj is self._listener:
                    self._accept()
                elif key.fileobj in self._pairs:
                    self._forward(key.fileobj, key.data)
        self._drop_all()
        if self._listener is not None:
            self._listener.close()
        self._selector.close()
