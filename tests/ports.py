"""Servers of the tests' own: where they listen, and whether they do already."""

import socket
import time
import urllib.request


def free_port():
    """A port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        return free.getsockname()[1]


def wait_for(address, process, seconds):
    """Wait until a process that was started answers at an address."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            with urllib.request.urlopen(address, timeout=10) as answer:
                assert answer.status == 200
            return
        except OSError:
            assert process.poll() is None, "the server ended while it started"
            assert time.monotonic() < deadline, f"{address} does not answer"
            time.sleep(0.05)
