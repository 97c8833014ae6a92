"""The rules and the memory of Scribelane: no HTTP, no GPU.

`service` (the door) and `workers` (the hands) stand on this package; it imports neither.
"""
