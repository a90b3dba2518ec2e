"""Which rules of docs/SPEC.md a vector tests, derived from what it holds and from why it is refused."""

import re
from pathlib import Path

import codec
import rpc
from names import DIALECTS, KEYS
from testee import NUMBERS, write_value

SPEC = Path(__file__).parents[2] / "docs" / "SPEC.md"

# Why the codec refused: kind of the error, pattern of its detail, rules. The first that fits counts.
REASONS = [
    ("truncated", "^command", ["2.1"]),
    ("truncated", "^entity", ["5.4"]),
    ("truncated", "", ["3.4"]),
    ("bad-tag", "", ["2.1"]),
    ("bad-version", "", ["2.2"]),
    ("illegal-command", "'code'", ["2.7"]),
    ("illegal-command", "", ["2.6"]),
    ("unknown-type", "", ["3.3"]),
    ("bad-value", "^empty|^value of 0 bytes", ["4.8"]),
    ("bad-value", "^value of", ["3.4"]),
    ("bad-value", "^digits beyond", ["4.3"]),
    ("bad-value", "^boolean of", ["4.5"]),
    ("not-canonical", "messages$", ["2.5"]),
    ("not-canonical", "^padded", ["4.1", "4.2"]),
    ("not-canonical", "^boolean", ["4.5"]),
    ("not-canonical", "NaN", ["4.4"]),
    ("not-canonical", "CONTENT_LENGTH", ["5.1"]),
    ("bad-entity", "^negative", ["5.3"]),
    ("bad-entity", "entity's length", ["5.6"]),
    ("bad-entity", "", ["5.2"]),
    ("invalid-utf8", "", ["4.6"]),
    ("bad-compression", "", ["4.9"]),
    ("limit", "^inflates", ["4.9", "7.5"]),
    ("limit", "", ["7.5"]),
    ("trailing-bytes", "", ["5.5"]),
]
CLASSES = {"valid": [], "decode-only": [], "refuse-encode": [], "invalid": ["7.1", "7.6"], "lenient": ["7.1", "7.3", "7.4"]}
TYPES = {"raw": "4.7", "boolean": "4.5", "string": "4.6", "float32": "4.4", "float64": "4.4", "zraw": "4.9", "zstring": "4.9"}


def in_spec():
    """The numbers of all rules."""
    # From 9.4 on the rules are about conversations, which the transport's tests test; but for the payloads of calls.
    rules = re.findall(r"^\*\*(\d+)\.(\d+)\*\*", SPEC.read_text(encoding="utf-8"), re.MULTILINE)
    numbers = [(int(section), int(rule)) for section, rule in rules]
    return [f"{section}.{rule}" for section, rule in numbers if (section, rule) < (9, 4) or (12, 10) <= (section, rule) < (12, 50)]


def in_order(rules):
    return sorted(rules, key=lambda rule: tuple(map(int, rule.split("."))))


def of(vector, named=()):
    """The rules a vector tests; `named` are those its author says, where it was made by hand."""
    kind = vector["kind"]
    if kind in ("group", "bucket"):
        return ["9.1", "9.2", "9.3"]
    if kind in ("call", "reply"):
        return in_order({*named, *rpc.rules(vector)})
    if kind not in codec.KINDS and kind != "stream":
        return []  # ciphers: the specification has no rules for them yet
    found = {*named, *CLASSES[vector["class"]]}
    if kind == "stream":
        return in_order(found | of_stream(vector))
    if vector["class"] == "refuse-encode":
        return in_order(found | reasons(codec.encode(vector)))
    for strict in (True, False):
        found |= reasons(codec.decode(vector, strict))
    if "value" in vector:
        found |= of_lenient_entity(vector) if vector["class"] == "lenient" else of_value(vector)
    return in_order(found)


def reasons(answer):
    """The rules that a refusal is about."""
    if "error" not in answer:
        return set()
    for kind, pattern, rules in REASONS:
        if answer["error"] == kind and re.search(pattern, answer["detail"]):
            return set(rules)
    return set()


def of_stream(vector):
    found = {"8.1"} if len(vector["packets"]) > 1 else set()
    if len(vector["chunks"]) > 1:
        found.add("8.2")
    if vector["class"] == "invalid":
        found.add("8.3")
    for strict in (True, False):
        found |= reasons(codec.stream(vector, strict))
    return found or {"8.1"}


def of_value(vector):
    """What a canonical value tests."""
    kind, dialect, value = vector["kind"], vector["dialect"], vector["value"]
    found = set()
    if kind in ("command", "packet"):
        found |= {"2.1", "2.2", *(["2.3", "2.6"] if value["type"] == "request" else ["2.4", "2.7"])}
    if kind == "command" and value["message_count"]:
        found |= {"2.5", "1.2"} if value["message_count"] > 255 else {"2.5"}
    if kind == "packet":
        found |= {"1.1", "5.1", "7.2"} | (set() if value["data"] else {"5.3"})
        found |= set() if dialect == "laxcus2" else {"6.2"}
    messages = value["messages"] if kind == "packet" else [value] if kind == "message" else []
    for message in messages:
        found |= of_message(message)
    keys = [message["key"] for message in messages]
    if len(keys) > len(set(keys)) or any(key not in KEYS[dialect] for key in keys):
        found.add("3.1")
    if kind == "message":
        found.add("3.2")
    if kind in ("command", "message") and any(codec.decode(vector | {"dialect": other}) != codec.decode(vector)
                                              for other in DIALECTS):
        found.add("6.1")
    return found


def of_message(message):
    name = message["type"]
    if name in TYPES:
        found = {TYPES[name]}
    else:
        found = {"4.1"} if name.startswith("int") else {"3.3"}
    if name.startswith("z"):
        return found
    raw = write_value(name, message["value"])
    if len(raw) == 4095:
        found.add("3.4")
    if name in NUMBERS and len(raw) > 1:
        found.add("1.2")
    if name.startswith("int") and raw[-1] >= 0x80 and int(message["value"]) > 0:
        found.add("4.2")  # a reader that extends signs would make it negative
    return found


def of_lenient_entity(vector):
    """What a packet tests whose CONTENT_LENGTH is not where or what it should be."""
    if vector["kind"] != "packet" or not reasons(codec.decode(vector, True)) & {"5.1", "5.3"}:
        return set()
    key = DIALECTS[vector["dialect"]].content_length
    messages = vector["value"]["messages"]
    if not any(message["key"] == key for message in messages):
        return {"5.3"}
    last = messages[-1]
    return {"5.2"} if last["key"] == key and last["type"] == "int32" else {"5.2", "5.6"}
