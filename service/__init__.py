"""The door: the HTTP API, the client, and the command line. Nothing here opens media or infers."""
