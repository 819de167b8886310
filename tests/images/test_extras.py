"""What an image has only where it is asked for."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest
from image_runs import run_in
from layers import tar_of

from cannery.images.compose import compose
from cannery.images.lock import Lock, LockRequest, covers, resolve
from cannery.images.plan import Plan
from cannery.images.store import Store

CALL = """
import asyncio, types
import grpc
from cannery.serving.calls import CALLS
from cannery.serving.protobufs import read
from cannery.serving.rpc import Remote

async def main():
    server = grpc.aio.server()
    live = CALLS["inference.GRPCInferenceService"]["ServerLive"].act
    async def act(data, context):
        return (await live(None, data)).body
    method = grpc.unary_unary_rpc_method_handler(act)
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("s", {"m": method})])
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        print(read("ServerLiveResponse", await channel.unary_unary("/s/m")(b"")).live)
    await server.stop(None)

asyncio.run(main())
"""


def test_an_image_without_extras_has_no_word_of_them(lock: Lock) -> None:
    """Neither wheels nor a port."""
    image = compose(Plan(lock=lock, mode="pull"))
    config = json.loads(image.config)["config"]
    assert list(config["ExposedPorts"]) == ["8080/tcp"]
    assert "extras" not in [layer.name for layer in image.layers]
    assert covers(lock, LockRequest(extras=("grpc",))) == "its extras are none, not grpc"


@pytest.mark.bubblewrap
@pytest.mark.network
def test_remote_calls_are_answered_inside(user_store: Store, tmp_path: Path) -> None:
    """With gRPC in a layer of its own; the rest of the image is the same."""
    plain = compose(Plan(lock=resolve(LockRequest(), user_store), mode="pull"), user_store)
    lock = resolve(LockRequest(extras=("grpc",)), user_store)
    assert msgspec.json.decode(msgspec.json.encode(lock), type=Lock).extras == ("grpc",)
    image = compose(Plan(lock=lock, mode="pull"), user_store)
    ours, others = ({layer.diff_id: layer.name for layer in i.layers} for i in (image, plain))
    assert [name for diff_id, name in ours.items() if diff_id not in others] == ["extras"]
    config = json.loads(image.config)["config"]
    assert list(config["ExposedPorts"]) == ["8080/tcp", "8081/tcp"]
    assert "GRPC_PORT=8081" in config["Env"]
    for layer in image.layers:
        with tar_of(layer) as tar:
            tar.extractall(tmp_path, filter="fully_trusted")
    python = "/usr/bin/python3.13"
    done = run_in(tmp_path, image, python, "-S", "-s", "-P", "-c", CALL)
    assert (done.returncode, done.stdout) == (0, "True\n"), done.stderr
