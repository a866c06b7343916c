"""The first process of a container, copied into it: takes the variables over standard input and runs the command.

So no variable stands where the engine shows it to others, and when whoever waits for the command is gone, killed even,
standard input ends and the command with it. Runs under the image's Python, any from 3.8 on, with nothing but the
standard library; nothing of this package imports it.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading

# As long as natively: dbt cancels its queries after an interrupt, before it is killed.
STOP_TIMEOUT_SECONDS = 20


def main(words):  # type: ignore[no-untyped-def]
    """Exit with the command's code; with 128 and the signal's number where a signal ended it; with 127 without it."""
    variables = _variables()
    try:
        command = subprocess.Popen(
            words, stdin=subprocess.DEVNULL, env={**os.environ, **variables}, start_new_session=True
        )
    except OSError as error:
        sys.stderr.write(f"the image cannot run `{words[0]}`: {error.strerror}\n")
        sys.exit(127)
    # The kernel gives a container's first process no signal that it does not handle.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, _: _send(command, number))
    threading.Thread(target=_end_with_caller, args=(command,), daemon=True).start()
    code = command.wait()
    sys.stdout.flush()
    os._exit(code if code >= 0 else 128 - code)  # the thread is waiting for input: an orderly exit would wait with it


def _variables():  # type: ignore[no-untyped-def]
    length = int.from_bytes(_read(8), "big")
    return json.loads(_read(length))


def _read(length):  # type: ignore[no-untyped-def]
    content = b""
    while len(content) < length:
        part = os.read(0, min(65536, length - len(content)))
        if not part:
            sys.exit(1)  # the caller is gone before it told the variables
        content += part
    return content


def _end_with_caller(command):  # type: ignore[no-untyped-def]
    while os.read(0, 65536):
        pass
    _send(command, signal.SIGINT)
    try:
        command.wait(STOP_TIMEOUT_SECONDS)
    except subprocess.TimeoutExpired:
        _send(command, signal.SIGKILL)


def _send(command, number):  # type: ignore[no-untyped-def]
    with contextlib.suppress(ProcessLookupError):
        os.killpg(command.pid, number)


if __name__ == "__main__":
    main(sys.argv[1:])
