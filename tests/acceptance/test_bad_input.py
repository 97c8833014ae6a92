"""What cannot be worked ends with its own code, says what to do, and leaves the service as it was."""

from __future__ import annotations

import io
import wave
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest
from fpdf import FPDF
from pypdf import PdfReader, PdfWriter

from service.answers import JobStatus
from service.client import Client
from tests import nasty
from tests.acceptance.conftest import ROOT, Service

DOCUMENT = ROOT / "examples" / "tides.pdf"
RECORDING = ROOT / "examples" / "tides.ogg"


@pytest.fixture(scope="module")
def client(service: Service) -> Client:
    return service.client()


def _silence() -> bytes:
    target = io.BytesIO()
    with wave.open(target, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16_000)
        file.writeframes(bytes(2 * 16_000 * 5))
    return target.getvalue()


def _mp3() -> bytes:
    target = io.BytesIO()
    with av.open(target, "w", format="mp3") as container:
        stream = container.add_stream("mp3", rate=16_000, layout="mono")
        noise = np.random.default_rng(0).integers(-9000, 9000, (1, 16_000 * 12), dtype=np.int16)
        frame = av.AudioFrame.from_ndarray(noise, format="s16", layout="mono")
        frame.rate = 16_000
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return target.getvalue()


def _encrypted(password: str) -> bytes:
    writer = PdfWriter()
    writer.append(PdfReader(DOCUMENT))
    writer.encrypt(password, algorithm="AES-256")
    target = io.BytesIO()
    writer.write(target)
    return target.getvalue()


def _without_text() -> bytes:
    pdf = FPDF()
    pdf.add_page()
    pdf.rect(20, 20, 100, 100, style="F")
    return bytes(pdf.output())


def _ended(client: Client, tmp_path: Path, name: str, content: bytes) -> JobStatus:
    path = tmp_path / name
    path.write_bytes(content)
    job = client.embed(path) if name.endswith(".pdf") else client.transcribe(path)
    return client.wait(job.id)


@pytest.mark.parametrize(
    ("name", "make", "code"),
    [
        ("text.mp3", lambda: b"this is a letter, not a recording\n" * 40, "media_unreadable"),
        ("headless.mp3", lambda: _mp3()[:300], "media_unreadable"),
        ("noise.wav", lambda: np.random.default_rng(1).bytes(5000), "media_unreadable"),
        ("locked.pdf", lambda: _encrypted("secret"), "pdf_encrypted"),
        ("broken.pdf", lambda: DOCUMENT.read_bytes()[:200], "pdf_unreadable"),
        ("text.pdf", lambda: b"a letter", "pdf_unreadable"),
        ("picture.pdf", _without_text, "pdf_no_text"),
        ("bomb.pdf", nasty.inflating_pdf, "pdf_unreadable"),
        ("million.pdf", nasty.million_page_pdf, "pdf_unreadable"),
        ("loop.pdf", nasty.looping_pdf, "pdf_unreadable"),
        ("days.wav", nasty.slow_wav, "media_too_long"),
        ("rate.wav", nasty.UNREADABLE_WAVS["a rate without end"], "media_unreadable"),
    ],
)
def test_unusable_media_fails_with_its_own_code(
    client: Client, tmp_path: Path, name: str, make: Callable[[], bytes], code: str
) -> None:
    job = _ended(client, tmp_path, name, make())
    assert job.status == "failed"
    assert job.error is not None
    assert job.error["code"] == code
    assert job.error["stage"] == "prepare"
    assert job.error["retryable"] is False
    assert str(tmp_path) not in job.error["message"]


def test_neighbours_of_a_trap_are_done_by_the_same_worker(service: Service, client: Client, tmp_path: Path) -> None:
    before = service.worker("io.express")["pid"]
    traps = []
    for n in range(2):  # the io worker has two children
        path = tmp_path / f"trap{n}.pdf"
        path.write_bytes(nasty.wordy_pdf())
        traps.append(client.embed(path, {"model": "fake"}))
    neighbour = client.wait(client.transcribe(RECORDING, {"model": "fake"}, force=True).id)

    assert neighbour.status == "completed"
    assert {client.wait(trap.id).status for trap in traps} <= {"completed", "failed"}
    assert service.worker("io.express")["pid"] == before


def test_a_truncated_recording_is_transcribed_as_far_as_it_goes_with_a_warning(client: Client, tmp_path: Path) -> None:
    whole = _mp3()
    job = _ended(client, tmp_path, "cut.mp3", whole[: len(whole) // 2])
    assert job.status == "completed"
    assert 0 < job.raw["input"]["duration_s"] < 8
    assert "media_damaged" in [warning["code"] for warning in job.warnings]


def test_a_silent_recording_completes_with_a_warning(client: Client, tmp_path: Path) -> None:
    job = _ended(client, tmp_path, "silent.wav", _silence())
    assert job.status == "completed"
    assert [warning["code"] for warning in job.warnings] == ["no_speech"]
    assert client.transcript(job.id) == ""


def test_a_pdf_with_an_empty_password_is_read(client: Client, tmp_path: Path) -> None:
    assert _ended(client, tmp_path, "open.pdf", _encrypted("")).status == "completed"


def test_an_upload_over_the_limit_is_refused_and_leaves_nothing(service: Service) -> None:
    before = sorted((service.folder / "blobs" / "jobs").glob("*"))
    with service.http() as http:
        answer = http.post("/v1/transcriptions", files={"file": ("large.wav", bytes(9_000_000))})
    assert answer.status_code == 413
    assert answer.json()["code"] == "upload_too_large"
    assert sorted((service.folder / "blobs" / "jobs").glob("*")) == before


def test_the_command_line_says_what_is_wrong_and_exits_with_a_failure(service: Service, tmp_path: Path) -> None:
    letter = tmp_path / "letter.mp3"
    letter.write_text("Dear reader")
    done = service.run("transcribe", str(letter))
    assert done.returncode == 1
    assert done.stdout == ""
    assert "media_unreadable" in done.stderr


@pytest.mark.parametrize(
    ("container", "codec"),
    [("wav", "pcm_s16le"), ("flac", "flac"), ("mp3", "mp3"), ("mp4", "aac"), ("ogg", "libopus"), ("webm", "libopus")],
)
def test_every_common_container_is_opened(client: Client, tmp_path: Path, container: str, codec: str) -> None:
    path = tmp_path / f"clip.{container}"
    with (
        av.open(str(ROOT / "examples" / "tides.ogg")) as source,
        av.open(str(path), "w", format=container) as target,
    ):
        stream = target.add_stream(codec, rate=48_000, layout="mono")
        assert isinstance(stream, av.AudioStream)
        resampler = av.AudioResampler(format=stream.format, layout="mono", rate=48_000)
        for frame in source.decode(audio=0):
            if frame.time is not None and frame.time > 6:
                break
            for resampled in resampler.resample(frame):
                target.mux(stream.encode(resampled))
        target.mux(stream.encode(None))
    job = client.wait(client.transcribe(path, {"model": "fake"}).id)
    assert job.status == "completed", job.error
    assert job.raw["input"]["duration_s"] == pytest.approx(6, abs=0.3)


@pytest.mark.parametrize("model", ["large-v3-turbo", "bge-m3"])
def test_a_model_whose_weights_cannot_be_had_is_said_at_the_first_try(client: Client, model: str) -> None:
    recording = model == "large-v3-turbo"
    job = client.transcribe(RECORDING, {"model": model}) if recording else client.embed(DOCUMENT, {"model": model})
    ended = client.wait(job.id)
    assert ended.error is not None
    assert (ended.error["code"], ended.error["retryable"]) == ("model_unavailable", False)
