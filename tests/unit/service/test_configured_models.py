"""A process does not start for a model that can be nowhere, and says which there are."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.errors import Misconfigured
from core.settings import Settings
from service.cli import server_commands


def check(monkeypatch: pytest.MonkeyPatch, own: Settings) -> None:
    monkeypatch.setattr("core.settings.settings", lambda: own)
    server_commands._check_settings()


def test_a_re_ranker_that_is_not_registered_needs_a_folder_of_models(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with pytest.raises(Misconfigured, match=r"'house'; there are ms-marco-MiniLM-L6-v2, .*SCRIBELANE_MODELS_DIR"):
        check(monkeypatch, Settings(rerank_model="house"))

    check(monkeypatch, Settings(rerank_model="house", models_dir=tmp_path))
    check(monkeypatch, Settings(rerank_model="bge-reranker-v2-m3"))
    check(monkeypatch, Settings())


def test_an_embedding_model_is_no_re_ranker(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Misconfigured, match="no re-ranker named 'bge-m3'"):
        check(monkeypatch, Settings(rerank_model="bge-m3"))
