"""The codec of the Python testee, as the importer asks it: by kind and policy, refusals as values.

It is written from docs/SPEC.md alone, so what it says about the vectors is a second opinion, independent of
the Rust codec that is later judged by them.
"""

from names import DIALECTS
from testee import READERS, WRITERS, read_stream, refusal

KINDS = tuple(READERS)


def decode(vector, strict=False):
    """The answer to a vector's bytes: {"value", "consumed"} or {"error", "detail"}."""
    data = bytes.fromhex(vector["hex"])
    try:
        value, consumed = READERS[vector["kind"]](DIALECTS[vector["dialect"]], data, strict)
    except Exception as error:
        return refusal(error)
    if strict and consumed < len(data):
        return {"error": "trailing-bytes", "detail": f"{consumed} bytes would do"}
    return {"value": value, "consumed": consumed}


def encode(vector):
    """The answer to a vector's value: {"hex"} or {"error", "detail"}."""
    try:
        return {"hex": WRITERS[vector["kind"]](DIALECTS[vector["dialect"]], vector["value"]).hex()}
    except Exception as error:
        return refusal(error)


def stream(vector, strict=False):
    """The answer to a vector's chunks: {"packets", "pending"} or {"error", "detail", "packets"}."""
    return read_stream(DIALECTS[vector["dialect"]], vector["chunks"], strict)


def packet(dialect, value):
    """The bytes of a packet."""
    return WRITERS["packet"](DIALECTS[dialect], value)


def message(dialect, key, type_name, value):
    """The bytes of a message."""
    return WRITERS["message"](DIALECTS[dialect], {"key": key, "type": type_name, "value": value})
