"""Measure how many photos per second `ferkit serve` answers, and how long each one takes.

The server runs in a process of its own, the clients as coroutines of this process, on the same cores. Each client sends
a photo of 640×480 pixels with two drawn faces, as the camera of the page does, waits for the answer and sends the next
one. The times are measured by the client, from the start of the upload to the end of the answer. The shipped model is
served as its ONNX file, as one in int8 and through PyTorch, in turns. Memory is the server's largest resident size.

    python benchmarks/serving.py [--quick]

It needs `pip install "ferkit[onnx,serve]" httpx` and takes about five minutes.
"""

import asyncio
import re
import subprocess
import sys
from contextlib import ExitStack, contextmanager
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter

import httpx
import numpy as np
from _common import MB, parse_arguments
from PIL import Image

import ferkit
from ferkit.datasets import make_faces


def draw_photo():
    photo, content = Image.new("RGB", (640, 480), "gray"), BytesIO()
    for image, left in zip(make_faces(7, size=200, random_state=3).images, (60, 360), strict=False):
        photo.paste(Image.fromarray(image), (left, 120))
    photo.save(content, "JPEG", quality=90)
    return content.getvalue()


async def measure(url, content, n_clients, seconds):
    """Return the time of each answer in seconds, and the number of answers per second."""
    times = []
    async with httpx.AsyncClient(base_url=url, timeout=60, limits=httpx.Limits(max_connections=None)) as client:
        end = perf_counter() + seconds

        async def ask():
            while (start := perf_counter()) < end:
                answer = await client.post("/analyze", files={"image": content})
                answer.raise_for_status()
                assert len(answer.json()["faces"]) == 2
                times.append(perf_counter() - start)

        start = perf_counter()
        await asyncio.gather(*(ask() for _ in range(n_clients)))
        return times, len(times) / (perf_counter() - start)


@contextmanager
def start_server(*model):
    """Start `ferkit serve` and yield its URL and a function that returns its peak memory in bytes."""
    command = [sys.executable, "-m", "ferkit", "serve", *model, "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            status, line = Path(f"/proc/{server.pid}/status"), server.stdout.readline()
            if not line.startswith("http"):
                raise RuntimeError("the server did not start")
            yield line.split(" ")[0], lambda: 1024 * int(re.search(r"VmHWM:\s+(\d+)", status.read_text())[1])
        finally:
            server.terminate()


def main():
    arguments = parse_arguments(__doc__)
    rounds, seconds, content = (1, 2, draw_photo()) if arguments.quick else (3, 10, draw_photo())
    pytorch = str(Path(ferkit.__file__).parent / "models" / "fer2013-small.ferkit")  # a path is not a shipped model
    sides = {}
    with ExitStack() as servers:
        int8 = str(Path(servers.enter_context(TemporaryDirectory()), "int8.onnx"))
        ferkit.export(ferkit.load(pytorch), int8, quantize=make_faces(256, random_state=0).images)
        for side, model in {"onnxruntime": [], "onnxruntime, int8": [int8], "PyTorch": [pytorch]}.items():
            try:
                sides[side] = url, _ = servers.enter_context(start_server(*model))
                asyncio.run(measure(url, content, 4, 2))  # the first photos load the detector
            except Exception as error:  # the other row is still worth having
                sides.pop(side, None)
                print(f"{side}: {type(error).__name__}: {error}\n")
        print("| | clients | photos per second | median | 95th percentile | memory |")
        print("| --- | ---: | ---: | ---: | ---: | ---: |")
        for n_clients in (1, 8, 32):
            times, rates = {side: [] for side in sides}, {side: [] for side in sides}
            for _ in range(rounds):
                for side, (url, _) in sides.items():
                    some, rate = asyncio.run(measure(url, content, n_clients, seconds))
                    times[side] += some
                    rates[side].append(rate)
            for side, (_, memory) in sides.items():
                middle, slow = 1000 * np.quantile(times[side], [0.5, 0.95])
                print(
                    f"| {side} | {n_clients} | {np.mean(rates[side]):.0f} | {middle:.0f} ms | {slow:.0f} ms | "
                    f"{memory() / MB:,.0f} MB |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
