"""The recordings as vectors: the files of RECORDED_DIR/vectors, line by line."""

import json

import codec

PROGRAMS = {"laxcus6": "recorded from Laxcus 6.0", "lexst1": "recorded from lexst 1.x"}
GROUP_FIELDS = ("side", "packet_id", "count", "whole", "composed")  # `subs` says again what hex_list says


def read(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line]


def from_wire(line):
    """A command, message, packet, group or bucket."""
    kind, value = line["kind"], line.get("value")
    vector = common(line, "note" if line["class"] == "-" else line["class"], line["recorded"])
    if kind == "group":
        value = {field: value[field] for field in GROUP_FIELDS}
    if line["class"] == "refuse-encode":
        value = complete(kind, value)
    if value is not None and not is_lost(kind, value):
        vector["value"] = value
    for field in ("consumed", "error", "refusal"):
        if field in line and kind in codec.KINDS:
            vector[field] = line[field]
    if "override" in line:
        vector["comment"] += f" ({line['override']})"
    return vector


def from_cipher(line):
    """A cipher with its key and samples, or the entity of a security request."""
    vector = common(line, "valid", "encoded") | {"value": line["value"]}
    vector["id"] = f"{line['dialect']}/cipher/{line['id'].removeprefix('cipher-')}"
    if "secure_create_plain_hex" in line:
        vector["value"] = line["value"] | {"secure_create_plain_hex": line["secure_create_plain_hex"]}
    return vector


def common(line, class_name, recorded):
    """The fields that every recorded vector has, and its bytes."""
    vector = {"id": line["id"], "dialect": line["dialect"], "kind": line["kind"], "class": class_name}
    vector |= {field: line[field] for field in ("hex", "hex_list") if field in line}
    return vector | {"source": PROGRAMS[line["dialect"]], "recorded": recorded,
                     "comment": line.get("comment") or line["description"]}


def complete(kind, value):
    """A value that the program's encoder refused, with the fields that its own form leaves out."""
    if kind == "command":
        return value | {"version": value.get("version", 256), "message_count": value.get("message_count", 0)}
    return {"key": 1000} | value if kind == "message" else value


def is_lost(kind, value):
    """Whether the program gave no value, only that it took the bytes."""
    messages = value.get("messages", []) if kind == "packet" else [value] if kind == "message" else []
    return any(message.get("value", "") is None for message in messages)
