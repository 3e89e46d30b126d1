"""A hospital's proxy as a process: `python http_proxy.py worker.hospital.example=8443`, or `--refuse`.

Its first line on stdout is its port, every further one the first line of a request. A name of the command line leads to
that port of this computer, others nowhere.
"""

from __future__ import annotations

import socket
import sys
import threading


def pump(source: socket.socket, sink: socket.socket) -> None:
    """Copy until one side ends."""
    try:
        while data := source.recv(65536):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        pass


def serve(near: socket.socket, places: dict[str, int], refuses: bool) -> None:
    """One connection: CONNECT host:port, or GET http://host:port/path."""
    head = b""
    while b"\r\n\r\n" not in head:
        data = near.recv(65536)
        if not data:
            return
        head += data
    line, _, rest = head.partition(b"\r\n")
    print(line.decode("ascii", "replace"), flush=True)
    method, target, version = line.decode("ascii").split(" ")
    if refuses:
        near.sendall(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
        near.close()
        return
    place = target.removeprefix("http://")
    authority, _, path = place.partition("/")
    port = places.get(authority.split(":")[0])
    if port is None:
        near.sendall(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n")
        near.close()
        return
    far = socket.create_connection(("127.0.0.1", port))
    if method == "CONNECT":
        near.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
    else:
        far.sendall(f"{method} /{path} {version}\r\n".encode() + rest)
    threading.Thread(target=pump, args=(near, far), daemon=True).start()
    pump(far, near)
    near.close()


def main() -> None:
    """Serve until stdin closes."""
    words = sys.argv[1:]
    places = {name: int(port) for name, _, port in (word.partition("=") for word in words if "=" in word)}
    listener = socket.create_server(("127.0.0.1", 0))
    print(listener.getsockname()[1], flush=True)

    def accept() -> None:
        while True:
            near, _ = listener.accept()
            threading.Thread(target=serve, args=(near, places, "--refuse" in words), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    sys.stdin.read()


if __name__ == "__main__":
    main()
