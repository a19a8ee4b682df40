# SPDX-License-Identifier: Apache-2.0
"""Ports on loopback for programs to listen on."""
import random
import socket


def free_port():
    """Below the ephemeral ports: a port from among those can be taken by anybody's outgoing connection before
    our program listens on it, even by the connection that looks whether it listens."""
    while True:
        port = random.randrange(15000, 32000)
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                continue
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
                return port
            except OSError:
                continue
