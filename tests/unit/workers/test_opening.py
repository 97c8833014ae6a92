"""Whatever a stranger sends, opening it ends: with a result or a clear code, and without harm to the worker."""

from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import av
import numpy as np
import psutil
import pytest
from pypdf import PdfWriter

from core.errors import (
    ChunkTimeout,
    Internal,
    LeaseLost,
    MediaTooLong,
    MediaUnreadable,
    PdfUnreadable,
    StoreUnavailable,
)
from tests import nasty
from workers.inputs import audio, opening, pdf, pdf_pages
from workers.inputs.opening import Decoding
from workers.inputs.process import OpenLimits, Request

ROOT = Path(__file__).parents[3]
RECORDING = ROOT / "examples" / "tides.ogg"
DOCUMENT = ROOT / "examples" / "tides.pdf"
MIB = 1024 * 1024
LIMITS = OpenLimits(memory_bytes=1024 * MIB, total_s=60, step_s=60)

OPEN_AND_WAIT = """
import pathlib, sys
from workers.inputs.opening import read_pages
from workers.inputs.process import OpenLimits
limits = OpenLimits(2**30, 60, 60)
read_pages(pathlib.Path(sys.argv[1]), max_pages=9, limits=limits, on_page=lambda: print("begun", flush=True))
"""


def nothing() -> None:
    pass


def decoding(
    path: Path, scratch: Path, *, max_s: float = 3600.0, on_progress: Callable[[], None] = nothing
) -> AbstractContextManager[Decoding]:
    return opening.decoding(path, scratch, max_s=max_s, limits=LIMITS, on_progress=on_progress)


def length_s(path: Path, max_s: float = 3600.0) -> float:
    """Of a recording, once it is decoded."""
    with decoding(path, path.with_name("raw"), max_s=max_s) as sound:
        return sound.await_until(math.inf)


def read(path: Path, limits: OpenLimits = LIMITS, on_page: Callable[[], None] = nothing) -> pdf_pages.PdfText:
    return opening.read_pages(path, max_pages=5000, limits=limits, on_page=on_page)


def written(folder: Path, content: bytes) -> Path:
    path = folder / "input"
    path.write_bytes(content)
    return path


def children() -> list[psutil.Process]:
    return [one for one in psutil.Process().children() if "workers.inputs.confined" in one.cmdline()]


def test_a_full_disk_is_not_the_fault_of_what_is_opened(small_disk: Path) -> None:
    with pytest.raises(StoreUnavailable), decoding(RECORDING, small_disk / "raw") as sound:
        sound.await_until(math.inf)


def test_a_recording_comes_out_as_if_it_was_decoded_here(tmp_path: Path) -> None:
    told: list[bool] = []
    here = audio.decode(RECORDING, tmp_path / "here", max_s=600, on_progress=lambda _: None)
    with decoding(RECORDING, tmp_path / "there", on_progress=lambda: told.append(True)) as there:
        assert there.await_until(math.inf) == here.duration_s
        assert np.array_equal(there.samples(3.0, 20.0), here.samples(3.0, 20.0))

    assert (tmp_path / "there").read_bytes() == (tmp_path / "here").read_bytes()
    assert (there.damaged, len(told)) == (here.damaged, here.duration_s // audio.PROGRESS_S)
    assert children() == []


def test_what_is_decoded_can_be_heard_before_the_rest_is(tmp_path: Path) -> None:
    def hold() -> None:
        for one in children():
            one.suspend()

    with decoding(RECORDING, tmp_path / "raw", on_progress=hold) as sound:
        assert audio.PROGRESS_S <= sound.await_until(5.0) < 87
        assert sound.samples(0.0, 5.0).shape == (5 * audio.RATE_HZ,)
        for one in children():
            one.resume()


def test_who_lets_go_of_a_recording_ends_its_decoding(tmp_path: Path) -> None:
    with decoding(RECORDING, tmp_path / "raw") as sound:
        sound.await_until(5.0)

    assert children() == []


def test_a_document_comes_out_as_if_it_was_read_here(tmp_path: Path) -> None:
    told: list[bool] = []
    pdf.read_pages(DOCUMENT, tmp_path / "here", max_pages=10, on_page=lambda done, total: None)
    here = pdf_pages.loaded(tmp_path / "here")

    assert read(written(tmp_path, DOCUMENT.read_bytes()), on_page=lambda: told.append(True)) == here
    assert len(told) == here.n_pages


def test_a_password_is_told_to_whoever_opens_and_to_nobody_else(tmp_path: Path) -> None:
    writer = PdfWriter(clone_from=DOCUMENT)
    writer.encrypt("open sesame", algorithm="AES-256")
    writer.write(tmp_path / "input")
    seen: list[str] = []

    def look() -> None:
        seen.extend(word for one in children() for word in (*one.cmdline(), *one.environ().values()))

    text = opening.read_pages(tmp_path / "input", max_pages=9, limits=LIMITS, on_page=look, password="open sesame")
    assert text.pages
    assert seen
    assert not [word for word in seen if "sesame" in word]


@pytest.mark.parametrize("make", nasty.UNREADABLE_PDFS, ids=lambda make: make.__name__)
def test_a_pdf_that_is_a_trap_is_unreadable(tmp_path: Path, make: Callable[[], bytes]) -> None:
    path = written(tmp_path, make())
    before = psutil.Process().memory_info().rss
    with pytest.raises(PdfUnreadable) as caught:
        read(path)

    assert str(tmp_path) not in caught.value.message
    assert psutil.Process().memory_info().rss - before < 100 * MIB
    assert children() == []


def test_a_page_that_shows_itself_in_ever_more_copies_comes_to_an_end(tmp_path: Path) -> None:
    text = read(written(tmp_path, nasty.multiplying_pdf()))

    assert len(text.pages[0].text) < MIB


@pytest.mark.parametrize("name", nasty.UNREADABLE_WAVS)
def test_a_recording_that_is_a_trap_is_unreadable(tmp_path: Path, name: str) -> None:
    with pytest.raises(MediaUnreadable):
        length_s(written(tmp_path, nasty.UNREADABLE_WAVS[name]()))


def test_a_decoder_that_is_refused_memory_does_not_pass_for_a_damaged_file(tmp_path: Path) -> None:
    with pytest.raises(MediaUnreadable, match="more memory"):
        length_s(written(tmp_path, nasty.UNREADABLE_WAVS["a rate without end"]()))


def test_a_small_file_of_days_is_too_long_before_it_is_written(tmp_path: Path) -> None:
    with pytest.raises(MediaTooLong, match="longer than the 3600 s"):
        length_s(written(tmp_path, nasty.slow_wav()))

    assert (tmp_path / "raw").stat().st_size <= 3600 * audio.RATE_HZ * 2


def test_a_stream_that_is_chained_again_and_again_ends_at_the_limit(tmp_path: Path) -> None:
    with pytest.raises(MediaTooLong):
        length_s(written(tmp_path, RECORDING.read_bytes() * 40), max_s=120)


def test_silence_that_packs_well_is_too_long_all_the_same(tmp_path: Path) -> None:
    path = tmp_path / "silence.flac"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("flac", rate=8000, layout="mono")
        assert isinstance(stream, av.AudioStream)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 8000 * 1800), np.int16), format="s16", layout="mono")
        frame.rate = 8000
        for part in (frame, None):
            container.mux(stream.encode(part))

    assert path.stat().st_size < MIB
    with pytest.raises(MediaTooLong):
        length_s(path, max_s=900)


def test_a_header_that_claims_gigabytes_is_not_believed(tmp_path: Path) -> None:
    path = written(tmp_path, nasty.wav(nasty.noise(64_000), claimed_bytes=2**32 - 1))

    assert length_s(path) == pytest.approx(2.0)


def test_who_wants_more_memory_than_there_is_is_unreadable(tmp_path: Path) -> None:
    with pytest.raises(PdfUnreadable, match="more memory"):
        read(written(tmp_path, nasty.wordy_pdf()), OpenLimits(160 * MIB, 60, 60))


def test_who_writes_more_than_there_is_room_for_is_unreadable(tmp_path: Path) -> None:
    path = written(tmp_path, nasty.long_winded_pdf())
    with pytest.raises(PdfUnreadable, match="space"):
        opening.read_pages(path, max_pages=1, limits=LIMITS, on_page=nothing)

    assert (tmp_path / "pages.raw").stat().st_size < 2 * MIB


@pytest.mark.parametrize("limits", [OpenLimits(1024 * MIB, 1, 60), OpenLimits(1024 * MIB, 60, 1)])
def test_who_takes_too_long_in_all_or_for_a_step_is_stopped(tmp_path: Path, limits: OpenLimits) -> None:
    path = written(tmp_path, nasty.wordy_pdf())
    began = time.monotonic()
    with pytest.raises(ChunkTimeout):
        read(path, limits)

    assert time.monotonic() - began < 10
    assert children() == []


def test_who_loses_the_lease_stops_the_opening(tmp_path: Path) -> None:
    def lost() -> None:
        raise LeaseLost

    with pytest.raises(LeaseLost):
        read(written(tmp_path, DOCUMENT.read_bytes()), on_page=lost)

    assert children() == []


def broken_by(killer: signal.Signals, path: Path) -> None:
    """Read a document whose second page takes long, and end whoever reads it after the first."""

    def strike() -> None:
        for one in children():
            one.send_signal(killer)

    read(written(path, nasty.wordy_pdf()), on_page=strike)


def left(result: Callable[[Path], object], path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Read a document by a process that was taken over: it says that it is done, and leaves what it likes."""
    script = path / "taken_over.py"
    script.write_text("print('{\"done\": true}')")
    monkeypatch.setattr(Request, "argv", lambda request: [sys.executable, str(script)])
    result(path / "pages")
    read(written(path, DOCUMENT.read_bytes()))


RESULTS: dict[str, Callable[[Path], object]] = {
    "nothing": lambda result: None,
    "a link to another's file": lambda result: result.symlink_to("/etc/hostname"),
    "another's file itself": lambda result: result.hardlink_to(result.with_name("taken_over.py")),
    "a pipe that nobody writes to": os.mkfifo,
    "more than there is room for": lambda result: result.write_bytes(bytes(128 * MIB)),
}


@pytest.mark.parametrize("result", RESULTS)
def test_what_a_taken_over_process_leaves_is_not_followed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, result: str
) -> None:
    with pytest.raises(PdfUnreadable):
        left(RESULTS[result], tmp_path, monkeypatch)


LEFT_OF_A_RECORDING = {
    "nothing": "",
    "a link to another's file": "os.unlink(raw); os.symlink('/etc/hostname', raw)",
    "a pipe that nobody writes to": "os.unlink(raw); os.mkfifo(raw)",
    "half a sample": "open(raw, 'wb').write(b'0')",
}


def taken_over(monkeypatch: pytest.MonkeyPatch, folder: Path, *deeds: str) -> Path:
    """Have recordings decoded by a process that does this, says after each deed that it gets on, and waits for `go`."""
    script = folder / "taken_over.py"
    lines = ["import os, time", f"raw, go = {str(folder / 'raw')!r}, {str(folder / 'go')!r}"]
    for deed in deeds:
        lines += [deed, "print('{\"progress\": true}', flush=True)", "while not os.path.exists(go): time.sleep(0.01)"]
    script.write_text("\n".join([*lines, "print('{\"done\": true}')"]))
    monkeypatch.setattr(Request, "argv", lambda request: [sys.executable, str(script)])
    return folder / "raw"


@pytest.mark.parametrize("deed", LEFT_OF_A_RECORDING)
def test_what_a_taken_over_decoder_puts_in_place_of_its_samples_is_not_heard(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, deed: str
) -> None:
    raw = taken_over(monkeypatch, tmp_path, LEFT_OF_A_RECORDING[deed])
    (tmp_path / "go").touch()
    with pytest.raises(MediaUnreadable), decoding(RECORDING, raw) as sound:
        sound.await_until(math.inf)


def test_samples_that_are_taken_away_again_harm_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    raw = taken_over(monkeypatch, tmp_path, "open(raw, 'wb').write(bytes(320_000))", "os.truncate(raw, 1000)")
    with decoding(RECORDING, raw) as sound:
        assert sound.await_until(10.0) == 10.0
        (tmp_path / "go").touch()
        sound.await_until(math.inf)
        with pytest.raises(MediaUnreadable):
            sound.samples(0.0, 10.0)


@pytest.mark.parametrize("crash", [signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS])
def test_a_decoder_that_crashes_is_the_fault_of_its_input(tmp_path: Path, crash: signal.Signals) -> None:
    with pytest.raises(PdfUnreadable, match="damaged"):
        broken_by(crash, tmp_path)


def test_whoever_is_killed_from_outside_may_be_tried_again(tmp_path: Path) -> None:
    with pytest.raises(Internal):
        broken_by(signal.SIGKILL, tmp_path)


def test_a_worker_that_is_asked_to_stop_finishes_what_it_opens(tmp_path: Path) -> None:
    path = written(tmp_path, nasty.wordy_pdf(MIB))

    def ask() -> None:
        for one in children():
            one.terminate()
            one.send_signal(signal.SIGINT)

    assert read(path, on_page=ask).n_pages == 2


def test_the_opening_dies_with_its_worker(tmp_path: Path) -> None:
    path = written(tmp_path, nasty.wordy_pdf())
    worker = psutil.Popen([sys.executable, "-c", OPEN_AND_WAIT, str(path)], stdout=subprocess.PIPE)
    worker.stdout.readline()
    begun = worker.children()
    worker.kill()
    worker.wait()

    assert len(begun) == 1
    assert psutil.wait_procs(begun, timeout=2)[1] == []  # the page that it reads takes longer


def test_the_opening_knows_no_secret_of_the_worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCRIBELANE_DATABASE_URL", "postgresql://secret")
    seen: list[dict[str, str]] = []

    def look() -> None:
        seen.extend(one.environ() for one in children())
        raise LeaseLost

    with pytest.raises(LeaseLost):
        read(written(tmp_path, nasty.wordy_pdf()), on_page=look)

    assert seen
    assert not [name for one in seen for name in one if name.startswith("SCRIBELANE")]
