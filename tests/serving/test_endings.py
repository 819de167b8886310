"""Ends from both sides: SIGTERM at every stage of a request, and callers who close their half."""

from __future__ import annotations

import json
import signal
import socket
import time

import pytest
from churn_cans import RECORD, MakeCan, Running, running

BODY = json.dumps(RECORD).encode()
CHUNK = b"%x\r\n%s\r\n" % (len(BODY), BODY)
CHUNKED = b"POST /predict HTTP/1.1\r\nHost: here\r\nTransfer-Encoding: chunked\r\n\r\n"


def asking(body: bytes = BODY, path: bytes = b"/predict") -> bytes:
    """Return a request."""
    head = b"POST %s HTTP/1.1\r\nHost: here\r\nContent-Length: %d\r\n\r\n"
    return head % (path, len(body)) + body


WHOLE = asking()
QUERY = asking(path=b"/predict?outputs=label")
LONG = asking(b"[" + b",".join([BODY] * 20_000) + b"]")

STAGES: dict[str, tuple[bytes, bytes, int]] = {
    "half a body": (WHOLE[:-9], WHOLE[-9:], 1),
    "half a body, the long way": (QUERY[:-9], QUERY[-9:], 1),
    "half a chunk": (CHUNKED + CHUNK[:-9], CHUNK[-9:] + b"0\r\n\r\n", 1),
    "half a head": (WHOLE[:40], WHOLE[40:], 1),
    "half a head on a kept connection": (WHOLE + WHOLE[:40], WHOLE[40:], 2),
    "no more than a connection": (b"", WHOLE, 1),
    "a kept connection": (WHOLE, WHOLE, 2),
    "requests behind a long one": (LONG + WHOLE + WHOLE, b"", 3),
    "a long one that is half there": (LONG[:1_000_000], LONG[1_000_000:], 1),
}
"""What was sent before SIGTERM, what after it, and how many answers must come."""


class Talk:
    """One connection to a service that is told to end."""

    def __init__(self, service: Running, first: bytes) -> None:
        self.socket = socket.create_connection(("127.0.0.1", service.port), timeout=20)
        self.socket.sendall(first)

    def rest(self) -> bytes:
        """Return what comes until the service hangs up."""
        answer = b""
        while block := self.socket.recv(1 << 20):
            answer += block
        self.socket.close()
        return answer


def test_whoever_has_begun_to_ask_is_answered(make_can: MakeCan) -> None:
    """Every answer is whole, the last of each connection says that it ends, and the status is 0 soon."""
    with running(make_can().folder) as service:
        talks = {name: Talk(service, first) for name, (first, _, _) in STAGES.items()}
        time.sleep(0.3)
        service.process.send_signal(signal.SIGTERM)
        time.sleep(0.4)
        with pytest.raises(ConnectionRefusedError):
            Talk(service, b"")
        for name, (_, then, _) in STAGES.items():
            talks[name].socket.sendall(then)
        answers = {name: talk.rest() for name, talk in talks.items()}
        began = time.monotonic()
        status, log = service.end()
    for name, (_, then, count) in STAGES.items():
        found = answers[name]
        assert found.count(b"HTTP/1.1 200") == count, (name, found[-300:])
        if then:  # else it may have been over before the signal
            assert b"connection: close" in found.rpartition(b"HTTP/1.1 ")[2], name
    assert (status, time.monotonic() - began < 2) == (0, True)
    assert "Traceback" not in log


def test_what_never_comes_is_not_waited_for(make_can: MakeCan) -> None:
    """A body of which half is sent is answered 503 in time; half a head is left; the status is 0 within 10 s."""
    with running(make_can().folder) as service:
        talks = [Talk(service, part) for part in (WHOLE[:-9], CHUNKED + CHUNK, WHOLE[:40])]
        time.sleep(0.3)
        service.process.send_signal(signal.SIGTERM)
        began = time.monotonic()
        answers = [talk.rest() for talk in talks]
        status, log = service.end()
        seconds = time.monotonic() - began
    for answer in answers[:2]:
        assert answer.startswith(b"HTTP/1.1 503")
        assert b"the service ends, and the body was not here" in answer
    assert answers[2] == b""
    assert (status, seconds < 9.5) == (0, True), seconds
    assert "Traceback" not in log


SAID: dict[str, tuple[bytes, int]] = {
    "the short cut": (WHOLE, 1),
    "the long way": (QUERY, 1),
    "one after the other": (WHOLE + QUERY + WHOLE, 3),
    "a long one": (LONG, 1),
    "chunks": (CHUNKED + CHUNK + b"0\r\n\r\n", 1),
    "half a head behind": (QUERY + WHOLE[:40], 1),
    "half a body": (WHOLE[:-9], 0),
    "half a body, the long way": (QUERY[:-9], 0),
    "nothing": (b"", 0),
}
"""What a caller says before it closes its half of the connection, and how many answers must come."""


def test_a_caller_who_closes_its_half_is_answered(make_can: MakeCan) -> None:
    """Every whole request, and then the connection ends; what is half is not waited for."""
    with running(make_can().folder) as service:
        for name, (first, count) in SAID.items():
            talk = Talk(service, first)
            talk.socket.shutdown(socket.SHUT_WR)
            began = time.monotonic()
            answer = talk.rest()
            assert answer.count(b"HTTP/1.1 200") == answer.count(b"HTTP/1.1 ") == count, name
            assert time.monotonic() - began < 10, name
        service.process.send_signal(signal.SIGTERM)
        status, log = service.end()
    assert status == 0
    assert "Traceback" not in log
