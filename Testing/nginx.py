"""nginx as Debian has it, in front of a worker: with a plain `proxy_pass`, or with the lines of the guide."""

from __future__ import annotations

import contextlib
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

NGINX = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
"""The program; None where it is not installed (apt-get install nginx-light)."""

GUIDE = Path(__file__).resolve().parents[1] / "docs" / "administrators.md"
PLAIN = "location / { proxy_pass http://127.0.0.1:8123; }"
CONFIGURATION = """
daemon off; master_process off; pid {folder}/pid; error_log stderr;
events {{ }}
http {{
    access_log off;
    client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
    server {{ listen 127.0.0.1:{port}; {location} }}
}}
"""


def guide() -> str:
    """The lines that the administrators' guide gives."""
    found = re.search(r"### Behind nginx\s+```text\n(.*?)```", GUIDE.read_text("utf-8"), re.DOTALL)
    assert found
    return found.group(1)


@contextlib.contextmanager
def behind_nginx(worker_port: int, location: str, folder: Path) -> Iterator[str]:
    """The address of an nginx in front of a worker on this computer. location: its lines, for a worker on port 8123."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = int(listener.getsockname()[1])
    file = folder / "nginx.conf"
    location = location.replace("8123", str(worker_port))
    file.write_text(CONFIGURATION.format(folder=folder, port=port, location=location), "utf-8")
    assert NGINX is not None
    process = subprocess.Popen([NGINX, "-c", str(file), "-p", str(folder)])
    try:
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", port)).close()
                break
            time.sleep(0.05)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(30)
