"""Measure memory and speed of `ferkit.photos` on a video with drawn faces that move through a drawn scene.

- Memory: the resident memory of a process that analyzes a long video, after each tenth of it. Target: less than 1 GB,
  and no growth over the second half.
- Speed: frames per second of decoding, detection, recognition and all of `analyze_video`, and faces per second of the
  bare model on the same crops, frame by frame and in batches.
- Peer: the package `fer`, if the environment PEER can import it, with its default detector, on the same video.

    python benchmarks/video.py [--quick] [--peer PEER/bin/python]
"""

import re
import subprocess
import sys
import tempfile
from pathlib import Path
from time import perf_counter

import cv2
import numpy as np
from _common import MB, count_cores
from PIL import Image

from ferkit import load_model
from ferkit.datasets import make_faces
from ferkit.photos import analyze_video, crop_faces, detect_faces

SIZE, FPS, N_FACES = (960, 540), 25, 2

PEER = """
import sys, time, cv2
from fer.fer import FER
detector, capture, n_frames, n_faces = FER(), cv2.VideoCapture(sys.argv[1]), 0, 0
detector.detect_emotions(capture.read()[1])
start = time.perf_counter()
while n_frames < int(sys.argv[2]):
    n_faces += len(detector.detect_emotions(capture.read()[1]))
    n_frames += 1
seconds = time.perf_counter() - start
print(f"fer: {n_frames / seconds:.1f} frames/s, {n_faces} faces in {n_frames} frames")
"""


def draw_video(path, n_frames):
    """Write a video in which faces move on circles and change their expression every four seconds."""
    width, height = SIZE
    rng = np.random.default_rng(0)
    scene = cv2.resize(rng.integers(60, 200, (5, 8, 3), dtype=np.uint8), SIZE, interpolation=cv2.INTER_CUBIC)
    faces = [Image.fromarray(face).resize((180, 180)) for face in make_faces(60, random_state=0).images]
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"mp4v"), FPS, SIZE)
    for index in range(n_frames):
        frame = Image.fromarray(scene)
        for number in range(N_FACES):
            angle = index / 60 + number
            x = (number + 0.5) * width / N_FACES - 90 + 60 * np.cos(angle)
            y = height / 2 - 90 + 150 * np.sin(angle)
            frame.paste(faces[(index // 100 * N_FACES + number) % len(faces)], (int(x), int(y)))
        writer.write(np.asarray(frame)[:, :, ::-1])
    writer.release()


def memory():
    """Describe the resident memory of this process, its part that is not the files of libraries, and its peak."""
    status = Path("/proc/self/status").read_text()
    total, own, peak = (
        int(re.search(rf"{field}:\s+(\d+)", status)[1]) * 1024 / MB for field in ("VmRSS", "RssAnon", "VmHWM")
    )
    return f"{total:,.0f} MB, {own:,.0f} MB without libraries, peak {peak:,.0f} MB"


def trace_memory(path, n_frames):
    """Analyze a video; print the frames that are done and the memory, and keep no table."""
    due = n_frames // 10
    for table in analyze_video(path):
        if table["frame"].iloc[-1] + 1 >= due:
            print(f"{due:,} frames: {memory()}", flush=True)
            due += n_frames // 10


def measure_speed(path, n_frames):
    capture = cv2.VideoCapture(str(path))
    start = perf_counter()
    frames = [cv2.cvtColor(capture.read()[1], cv2.COLOR_BGR2RGB) for _ in range(n_frames)]
    print(f"decoding: {n_frames / (perf_counter() - start):.1f} frames/s")
    detect_faces(frames[0])
    start = perf_counter()
    found = [detect_faces(frame) for frame in frames]
    seconds = perf_counter() - start
    n_faces = sum(len(faces.boxes) for faces in found)
    print(f"detection: {n_frames / seconds:.1f} frames/s, {n_faces} faces in {n_frames} frames")
    start = perf_counter()
    crops = [crop_faces(frame, faces) for frame, faces in zip(frames, found, strict=True)]
    print(f"crops: {n_faces / (perf_counter() - start):,.0f} faces/s")
    model, stack = load_model(), np.concatenate(crops)
    model.predict_proba(stack)
    for name, batches in (("per frame", crops), ("of 96 faces", np.array_split(stack, max(1, len(stack) // 96)))):
        start = perf_counter()
        for batch in batches:
            if len(batch):
                model.predict_proba(batch)
        print(f"bare model, batches {name}: {n_faces / (perf_counter() - start):,.0f} faces/s")
    start = perf_counter()
    n_rows = sum(len(table) for table in analyze_video(path, max_frames=n_frames))
    seconds = perf_counter() - start
    print(f"analyze_video: {n_frames / seconds:.1f} frames/s, {n_rows / seconds:,.0f} faces/s")


def main():
    arguments = sys.argv[1:]
    if arguments[:1] == ["--trace"]:
        trace_memory(arguments[1], int(arguments[2]))
        return
    n_frames, n_timed = (300, 60) if "--quick" in arguments else (10_000, 150)
    print(f"{SIZE[0]}×{SIZE[1]} pixels, {N_FACES} faces, {count_cores()} cores, OpenCV {cv2.__version__}", end="\n\n")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "video.mp4")
        draw_video(path, n_frames)
        measure_speed(path, n_timed)
        if "--peer" in arguments:
            peer = arguments[arguments.index("--peer") + 1]
            result = subprocess.run([peer, "-c", PEER, path, str(n_timed)], capture_output=True, text=True)
            print(result.stdout.strip() or result.stderr.splitlines()[-1])
        print("\nmemory")
        subprocess.run([sys.executable, __file__, "--trace", path, str(n_frames)], check=True)


if __name__ == "__main__":
    main()
