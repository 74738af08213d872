"""A user of Ollama on another machine, with the official client library.

Usage: client.py HOST list                    the models, one a line
       client.py HOST generate MODEL          streams generations until SIGTERM: one line per token, at once

Fails if the server cannot be reached, if a stream breaks off, or if nothing arrives for five seconds.
"""

import signal
import sys
import threading

import ollama

STALL = 5.0


def names(client: ollama.Client) -> None:
    """Prints the models' names."""
    for model in client.list().models:
        print(model.model, flush=True)


def generate(client: ollama.Client, model: str) -> None:
    """Prints each token's length as it arrives, and `done` after a last generation that ended in order."""
    told_to_end = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: told_to_end.set())
    while not told_to_end.is_set():
        finished = False
        # One thread: several wait for each other by spinning, which on a busy machine takes ten times as long.
        options = {"num_predict": 400, "num_ctx": 2048, "num_thread": 1}
        for part in client.generate(model=model, prompt="hello", stream=True, options=options):
            print("token", len(part.response), flush=True)
            finished = part.done
        if not finished:
            sys.exit("the stream ended before the generation did")
    print("done", flush=True)


def main() -> None:
    """Does what the command line says."""
    host, command, *arguments = sys.argv[1:]
    client = ollama.Client(host=host, timeout=STALL)
    if command == "list":
        names(client)
    else:
        (model,) = arguments
        generate(client, model)


if __name__ == "__main__":
    main()
