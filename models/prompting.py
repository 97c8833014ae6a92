"""Fits what a caller says beforehand into the decoder's window, which it shares with the text of a clip.

Whisper's decoder has room for 448 tokens. faster-whisper gives up to 223 of them to the hotwords and as many to the
prompt, and then none is left: the decoding fails. Here both together get half, so that a clip's text has the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

from models.engine import TranscribeOptions

MAX_TOKENS = 220
"""Of prompt and hotwords together. What 30 s of quick speech takes is less than the rest."""


class _Encoded(Protocol):
    @property
    def ids(self) -> Sequence[int]: ...


class Tokenizer(Protocol):
    """What is needed of one of `tokenizers`."""

    def encode(self, sequence: str, *, add_special_tokens: bool) -> _Encoded: ...
    def decode(self, ids: Sequence[int]) -> str: ...


def fitted(options: TranscribeOptions, tokenizer: Tokenizer) -> TranscribeOptions:
    """The options with as much of the hotwords, from their beginning, and of the prompt, from its end, as has room.

    The hotwords leave at least half of the room to a prompt.
    """
    if options.hotwords:
        hotwords = tokenizer.encode(options.hotwords, add_special_tokens=False).ids
        room = max(MAX_TOKENS // 2, MAX_TOKENS - _count(options.prompt, tokenizer))
        if len(hotwords) > room:
            options = replace(options, hotwords=tokenizer.decode(hotwords[:room]).strip())
    if options.prompt:
        prompt = tokenizer.encode(options.prompt, add_special_tokens=False).ids
        room = MAX_TOKENS - _count(options.hotwords, tokenizer)
        if len(prompt) > room:
            options = replace(options, prompt=tokenizer.decode(prompt[-room:]).strip())
    return options


def _count(text: str | None, tokenizer: Tokenizer) -> int:
    return len(tokenizer.encode(text, add_special_tokens=False).ids) if text else 0
