"""Measure how many photos per second `ferkit serve` answers, and how long each one takes.

The server runs in a process of its own, the clients as coroutines of this process, on the same cores. Each client sends
a photo of 640×480 pixels with two drawn faces, as the camera of the page does, waits for the answer and sends the next
one. The times are measured by the client, from the start of the upload to the end of the answer.

    python benchmarks/serving.py [--quick]

It needs `pip install "ferkit[serve]" httpx`.
"""

import asyncio
import re
import subprocess
import sys
from io import BytesIO
from time import perf_counter

import httpx
import numpy as np
from _common import parse_arguments
from PIL import Image

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


def main():
    arguments = parse_arguments(__doc__)
    seconds, content = 2 if arguments.quick else 20, draw_photo()
    command = [sys.executable, "-m", "ferkit", "serve", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            url = re.match(r"\S+", server.stdout.readline())[0]
            asyncio.run(measure(url, content, 4, 2))  # the first photos load the detector
            print("| clients | photos per second | median | 95th percentile |")
            print("|---:|---:|---:|---:|")
            for n_clients in (1, 8, 32):
                times, rate = asyncio.run(measure(url, content, n_clients, seconds))
                middle, slow = 1000 * np.quantile(times, [0.5, 0.95])
                print(f"| {n_clients} | {rate:.0f} | {middle:.0f} ms | {slow:.0f} ms |")
        finally:
            server.terminate()


if __name__ == "__main__":
    main()
