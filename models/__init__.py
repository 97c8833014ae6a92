"""Engines that turn sound into text and text into vectors, with the weights that they need.

This room imports nothing of the service around it and can be lifted into any project. Its parts in the
order of their use: `registry` (which models exist, as plain data), `weights` (where their files are, verified),
`whisper` / `embedder` / `reranker` / `fake` (the engines behind the protocols of `engine`), `vad` (where speech is),
and `pool` (the engines that are loaded in this process; `cold_start` tells how long that took). `devices` says what a
device can do, `batching` finds how much of it to use at once.
"""
