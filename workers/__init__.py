"""The hands: Celery workers that open inputs, infer, and stitch results.

A message names a chunk. `tasks` receives it, `runtime` claims and completes it, `stages` do the work,
`inputs` open what the client sent. `beat` rings `rescue`, `clean` and the dispatcher.
"""
