"""The languages that Whisper's tokenizers know, by the codes that a caller gives.

`registry` says which model knows which. Source: `LANGUAGES` of openai/whisper; Cantonese came with large-v3.
"""

from __future__ import annotations

_CODES = """
af am ar as az ba be bg bn bo br bs ca cs cy da de el en es et eu fa fi fo fr gl gu ha haw he hi hr
ht hu hy id is it ja jw ka kk km kn ko la lb ln lo lt lv mg mi mk ml mn mr ms mt my ne nl nn no oc
pa pl ps pt ro ru sa sd si sk sl sn so sq sr su sv sw ta te tg th tk tl tr tt uk ur uz vi yi yo zh
"""

ENGLISH = frozenset({"en"})

MULTILINGUAL = frozenset(_CODES.split())
"""The 99 languages of the multilingual models."""

MULTILINGUAL_V3 = MULTILINGUAL | {"yue"}
"""Those of large-v3 and its kin."""
