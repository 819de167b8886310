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
from cannery.oci.descriptors import Image

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


PYTHON = ("/usr/bin/python3.13", "-S", "-s", "-P", "-c")


def unpacked(image: Image, folder: Path) -> Path:
    """Unpack the layers of an image."""
    for layer in image.layers:
        with tar_of(layer) as tar:
            tar.extractall(folder, filter="fully_trusted")
    return folder


def test_an_image_without_extras_has_no_word_of_them(lock: Lock) -> None:
    """Neither wheels nor a port."""
    image = compose(Plan(lock=lock, mode="pull"))
    config = json.loads(image.config)["config"]
    assert list(config["ExposedPorts"]) == ["8080/tcp"]
    assert "extras" not in [layer.name for layer in image.layers]
    assert covers(lock, LockRequest(extras=("grpc",))) == "its extras are none, not grpc"


TABLE = """
import io, sys
import pyarrow as pa, pyarrow.parquet
from cannery.serving.parquets import is_read, table_of
sink = io.BytesIO()
pa.parquet.write_table(pa.table({"tenure": [1, None], "contract": ["year", "month"]}), sink)
print(is_read(), table_of(sink.getvalue()))
"""


@pytest.mark.bubblewrap
@pytest.mark.network
def test_parquet_is_read_inside(user_store: Store, tmp_path: Path) -> None:
    """Arrow's wheel alone does it, on what the image has of the system."""
    lock = resolve(LockRequest(extras=("parquet",)), user_store)
    image = compose(Plan(lock=lock, mode="pull"), user_store)
    done = run_in(unpacked(image, tmp_path), image, *PYTHON, TABLE)
    answer = "True {'tenure': [1, None], 'contract': ['year', 'month']}\n"
    assert (done.returncode, done.stdout) == (0, answer), done.stderr


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
    done = run_in(unpacked(image, tmp_path), image, *PYTHON, CALL)
    assert (done.returncode, done.stdout) == (0, "True\n"), done.stderr
