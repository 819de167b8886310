"""A toy image with a real Python and a server of forty lines: small enough to be made for a test.

`toy_image(store, behaviour)` takes the interpreter that runs the tests, with its libraries.
"""

from __future__ import annotations

import re
import sys
import sysconfig
from functools import cache
from pathlib import Path

from image_parts import file, folder, make_image, make_layer

from cannery.oci.descriptors import Image, Layer
from cannery.processes import run

SERVER = """
import json, os, signal, socket, sys, time

BEHAVIOUR = os.environ["BEHAVIOUR"]
print("toy server:", BEHAVIOUR, "uid", os.getuid(), flush=True)
if sys.argv[1:] == ["smoke"]:
    print(json.dumps({"score": 0.25}))
    sys.exit(0)
if sys.argv[1:] == ["exit"]:
    sys.exit(3)
if sys.argv[1:] == ["health"]:
    with socket.socket() as s:
        s.connect(("127.0.0.1", int(os.environ.get("PORT", "8080"))))
        s.sendall(b"GET /health HTTP/1.0\\r\\n\\r\\n")
        sys.exit(0 if b" 200 " in s.recv(100) else 1)
if BEHAVIOUR == "crash":
    print("no model here", file=sys.stderr)
    sys.exit(4)
if BEHAVIOUR != "deaf":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(9 if BEHAVIOUR == "rude" else 0))

def answer(method, path, body):
    if path == "/health":
        return (503, {"reason": "sick"}) if BEHAVIOUR == "sick" else (200, {})
    if path == "/version":
        return 200, json.loads(os.environ.get("VERSION", "{}"))
    if path == "/write":
        try:
            open("/written", "w")
            return 200, {}
        except OSError as error:
            return 403, {"error": error.strerror}
    if path == "/about":
        status = open("/proc/self/status").read().split()
        return 200, {
            "uid": os.getuid(), "gid": os.getgid(), "pid": os.getpid(),
            "capabilities": status[status.index("CapEff:") + 1],
            "bounding": status[status.index("CapBnd:") + 1],
            "privileges": status[status.index("NoNewPrivs:") + 1],
            "environment": dict(os.environ), "root": sorted(os.listdir("/")),
            "mounted": os.path.exists("/data/x") and open("/data/x").read(),
        }
    if path == "/predict":
        record = json.loads(body)
        many = record if isinstance(record, list) else [record]
        for one in many:
            issues = [k for k in one if k not in ("a", "b")] + [k for k in ("a", "b") if k not in one]
            issues += [k for k, v in one.items() if type(v) not in (int, float)]
            if issues and BEHAVIOUR != "lenient":
                return 422, {"error": {"issues": [{"path": "." + k} for k in issues]}}
        off = 0.5 if BEHAVIOUR == "wrong" else 0.0
        scores = [{"score": one.get("a", 0) / 4 + off} for one in many]
        return 200, scores if isinstance(record, list) else scores[0]
    return 404, {}

told = [os.environ[v] for v in ("PORT", "AIP_HTTP_PORT", "SAGEMAKER_BIND_TO_PORT") if v in os.environ]
server = socket.create_server((os.environ.get("HOST", "0.0.0.0"), int([*told, "8080"][0])))
while True:
    connection, _ = server.accept()
    with connection:
        data = b""
        while b"\\r\\n\\r\\n" not in data:
            piece = connection.recv(65536)
            if not piece:
                break
            data += piece
        head, _, body = data.partition(b"\\r\\n\\r\\n")
        if not head:
            continue
        length = [l for l in head.lower().split(b"\\r\\n") if l.startswith(b"content-length:")]
        while length and len(body) < int(length[0].split(b":")[1]):
            body += connection.recv(65536)
        method, path = head.decode().split()[:2]
        status, document = answer(method, path, body)
        out = json.dumps(document).encode()
        connection.sendall(b"HTTP/1.1 %d X\\r\\nContent-Length: %d\\r\\n\\r\\n" % (status, len(out)) + out)
"""

_PACKAGES = ("encodings", "collections", "importlib", "re", "json")
_MODULES = ("_socket", "select", "math", "_struct", "_json", "array", "_posixsubprocess", "fcntl")


@cache
def _runtime() -> tuple[tuple[str, bytes, int], ...]:
    """Return name, content and mode of every file that the interpreter needs."""
    program = Path(sys.executable).resolve()
    library = Path(
        sysconfig.get_path(
            "stdlib", vars={"base": sys.base_prefix, "installed_base": sys.base_prefix}
        )
    )
    dynamic = [p for m in _MODULES for p in (library / "lib-dynload").glob(f"{m}.*.so")]
    found = {program, *dynamic, *library.glob("*.py")}
    for package in _PACKAGES:
        found |= set((library / package).rglob("*.py"))
    text = "".join(run(["ldd", p]).stdout.decode() for p in [program, *dynamic])
    found |= {Path(p) for p in re.findall(r"(/\S+) \(0x", text)}
    return tuple((str(p)[1:], p.read_bytes(), p.stat().st_mode & 0o777) for p in sorted(found))


@cache
def runtime_layer(store: Path) -> Layer:
    """Return a layer with the interpreter; made once."""
    return make_layer(
        store,
        folder("tmp", 0o1777),
        folder("data"),
        file("etc/passwd", b"root:x:0:0::/:\ntoy:x:10001:10002::/:\n"),
        *(file(name, data, mode) for name, data, mode in _runtime()),
        compressed=False,
    )


def toy_image(store: Path, behaviour: str = "good", **settings: object) -> Image:
    """Return an image whose server behaves: good, crash, sick, wrong, lenient, rude or deaf."""
    program = [str(Path(sys.executable).resolve()), "-S", "-s", "-E", "/app/serve.py"]
    given = {
        "Entrypoint": program,
        "Cmd": ["serve"],
        "User": "10001:10001",
        "Env": [f"BEHAVIOUR={behaviour}", "PATH=/usr/bin", *settings.pop("Env", [])],
        "Healthcheck": {"Test": ["CMD", *program, "health"], "Interval": 1_000_000_000},
        "ExposedPorts": {"8080/tcp": {}},
    }
    app = make_layer(store, folder("app"), file("app/serve.py", SERVER.encode()), compressed=False)
    return make_image(runtime_layer(store), app, **{**given, **settings})
