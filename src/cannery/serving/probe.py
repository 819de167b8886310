"""Ask the running server for its health, with next to nothing imported: `python -I -S probe.py`.

Orchestrators run this every few seconds; it must cost milliseconds, not an interpreter with numpy.
"""

import _socket
import sys

TIMEOUT = 4.0
"""Seconds."""


def ask(host: str, port: int, *, tls: bool = False) -> tuple[int, bytes]:
    """Return status and body of GET /health; status 0 for an answer that is no HTTP.

    Raises OSError when nobody listens or nobody answers in time.
    """
    here = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    family = _socket.AF_INET6 if ":" in here else _socket.AF_INET
    connection = (_secured if tls else _socket.socket)(family, _socket.SOCK_STREAM)
    try:
        connection.settimeout(TIMEOUT)
        connection.connect((here, port))
        connection.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        answer = b""
        while len(answer) < 65536 and (part := connection.recv(16384)):
            answer += part
    finally:
        connection.close()
    head, _, body = answer.partition(b"\r\n\r\n")
    words = head.split(b" ", 2)
    if len(words) < 2 or not words[0].startswith(b"HTTP/1.") or not words[1].isdigit():
        return 0, b""
    return int(words[1]), body


def _secured(family: int, kind: int) -> "_socket.socket":
    """Return a socket that speaks TLS. Whose certificate it is does not matter on this machine."""
    import socket
    import ssl

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context.wrap_socket(socket.socket(family, kind))


def main(env: dict[bytes, bytes]) -> int:
    """Return 0 when the server says 200, else 1, and say why on stdout."""
    named = (env.get(name) for name in (b"PORT", b"AIP_HTTP_PORT", b"SAGEMAKER_BIND_TO_PORT"))
    port = next(filter(None, named), b"8080").decode("ascii", "replace")
    host = env.get(b"HOST", b"").decode("ascii", "replace")
    try:
        status, body = ask(host, int(port), tls=b"TLS_CERT" in env)
    except (OSError, ValueError, OverflowError) as error:
        sys.stdout.write(f"no answer on port {port}: {error}\n")
        return 1
    sys.stdout.write(body.decode("utf-8", "replace") + "\n")
    return 0 if status == 200 else 1


if __name__ == "__main__":
    from posix import environ  # `os` would be three quarters of this program's imports

    sys.exit(main(environ))
