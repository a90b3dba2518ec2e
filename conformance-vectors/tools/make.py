"""How the tables of derived vectors make a vector of a row."""

import codec
from names import DIALECTS

# A request and an answer that are legal in the dialect: the fields of a command.
REQUEST = {
    "lexst1": {"type": "request", "major": 3, "minor": 1, "version": 256},
    "laxcus6": {"type": "request", "major": 1, "minor": 5, "version": 256},
    "laxcus2": {"type": "request", "major": 1, "minor": 5, "version": 256},
}
ANSWER = {
    "lexst1": {"type": "answer", "code": 2000, "version": 256},
    "laxcus6": {"type": "answer", "code": 1010, "version": 256},
    "laxcus2": {"type": "answer", "code": 1010, "version": 256},
}


def vector(dialect, kind, name, class_name, rule, comment, **fields):
    """A vector; `rule` is the rule of docs/SPEC.md that it was made for, or several with spaces between."""
    id = f"{dialect}/{'bomb' if fields.pop('bomb', False) else kind}/{name}"
    named = rule.split()
    return {"id": id, "dialect": dialect, "kind": kind, "class": class_name, **fields,
            "source": f"derived from SPEC {', '.join(named)}", "comment": comment, "named_rules": named}


def valid(dialect, kind, name, rule, value, comment, **fields):
    """A vector whose bytes the Python codec makes of its value."""
    bare = {"dialect": dialect, "kind": kind, "value": value}
    return vector(dialect, kind, name, "valid", rule, comment, **codec.encode(bare), value=value, **fields)


def lenient(dialect, kind, name, rule, data, comment, **fields):
    """A vector whose value is what the compatible Python codec makes of its bytes, if it takes them."""
    bare = {"dialect": dialect, "kind": kind, "hex": data}
    answer = codec.decode(bare)
    value = {"value": answer["value"]} if "value" in answer else {}
    return vector(dialect, kind, name, "lenient", rule, comment, hex=data, **value, **fields)


def invalid(dialect, kind, name, rule, data, error, comment, **fields):
    return vector(dialect, kind, name, "invalid", rule, comment, hex=data, error=error, **fields)


def refused(dialect, kind, name, rule, value, comment):
    """A value that no writer may write."""
    return vector(dialect, kind, name, "refuse-encode", rule, comment, value=value)


def content_length(dialect, size):
    return {"key": DIALECTS[dialect].content_length, "type": "int32", "value": size}


def packet(dialect, messages=(), data="", command=REQUEST):
    """A canonical packet: the messages, CONTENT_LENGTH and the entity behind a command."""
    length = content_length(dialect, len(data) // 2)
    return {**command[dialect], "messages": [*messages, length], "data": data}


def pattern(size):
    """Bytes without a meaning, in hex: 00 to fa, again and again."""
    return bytes(index % 251 for index in range(size)).hex()
