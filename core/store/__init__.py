"""The memory of Scribelane, and the only place where SQL lives.

Each module holds the statements about one thing and takes a `Connection`, so its caller decides what
is one transaction. Whoever changes a job's chunks locks the job's row first; that one order is why
completion, cancel, failure and rescue never deadlock.
"""
