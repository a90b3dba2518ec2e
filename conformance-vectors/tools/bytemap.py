"""The byte map of a vector: every byte once and in order, with the field it belongs to and what it says.

The walk reads on as long as fields can be told apart, past values that a reader must refuse. What is left
then is one entry with the path `rest`.
"""

import json
import struct

from names import ANSWERS, DIALECTS, KEYS, named, request
from testee import NUMBERS, Refused, announced, read_value, refusal

LONGEST_TEXT = 32  # characters of a value that are shown
MESSAGES_IN_FULL = 40  # a head with more has the middle in one entry
PARTS_IN_FULL = 12  # a group with more has the middle datagrams in three entries each
PACKETS_IN_FULL = 8  # a stream has the packets behind these in one entry each
PAYLOADS = {"call": "RPC call", "reply": "RPC reply", "socket_host": "SocketHost",
            "public_secure": "public key of the server", "secure_create": "encrypted password"}


def byte_map(vector):
    """The list for the field `map`."""
    kind, dialect = vector["kind"], vector["dialect"]
    if "hex_list" in vector:
        many = len(vector["hex_list"]) > PARTS_IN_FULL
        spans = []
        for part, text in enumerate(vector["hex_list"]):
            walk = Walk(dialect, bytes.fromhex(text))
            walk.datagram()
            in_middle = many and 1 < part < len(vector["hex_list"]) - 1
            spans += walk.spans(part, coarse(walk.entries) if in_middle else walk.entries)
        return spans
    if "chunks" in vector:
        walk = Walk(dialect, bytes.fromhex("".join(vector["chunks"])))
        walk.stream()
        return cut(walk.entries, [len(chunk) // 2 for chunk in vector["chunks"]])
    if "hex" not in vector:
        return []
    walk = Walk(dialect, bytes.fromhex(vector["hex"]))
    if kind in PAYLOADS:
        walk.take(walk.left(), "payload", f"{PAYLOADS[kind]} payload, {plural(walk.left(), 'byte')}")
    else:
        {"command": walk.lone_command, "message": walk.lone_message, "packet": walk.datagram}[kind]()
    return walk.spans()


class Walk:
    """Bytes, how far they have been told apart, and the entries (length, path, meaning) so far."""

    def __init__(self, dialect, data):
        self.dialect, self.table, self.data, self.pos, self.entries = dialect, DIALECTS[dialect], data, 0, []

    def left(self):
        return len(self.data) - self.pos

    def take(self, length, path, meaning):
        """Adds an entry, unless it has no bytes, and gives its bytes."""
        self.pos += length
        if length:
            self.entries.append((length, path, meaning))
        return self.data[self.pos - length:self.pos]

    def rest(self, reason):
        self.take(self.left(), "rest", reason)

    def u16(self, at=0):
        return int.from_bytes(self.data[self.pos + at:self.pos + at + 2], "little")

    def spans(self, part=None, entries=None):
        """The entries with their offsets."""
        offset, spans = 0, []
        for length, path, meaning in self.entries if entries is None else entries:
            spans.append(span(part, offset, length, path, meaning))
            offset += length
        return spans

    def command(self, prefix=""):
        """Tells a command apart; gives the number of messages, or None where that cannot be read."""
        tag = self.data[self.pos] if self.left() else 0
        kinds = {0x87: "request", 0xc7: "answer"}
        fields = [("tag", 1, kinds.get(tag, f"{tag:02x}, no tag")), ("version", 2, f"version 0x{self.u16(1):04x}")]
        if tag == 0xc7:
            code = self.u16(3)
            legal = "" if code in self.table.answers else ", not in the dialect"
            fields.append(("code", 2, f"code {named(code, ANSWERS[self.dialect])}{legal}"))
        else:
            bytes_there = self.data[self.pos + 3:self.pos + 5]
            numbers = dict(zip(self.table.request_bytes, bytes_there))
            told = request(self.dialect, **numbers) if len(bytes_there) == 2 else numbers
            fields += [(name, 1, f"{name} {told.get(name)}") for name in self.table.request_bytes]
        count = self.u16(5)
        fields.append(("message_count", 2, plural(count, "message")))
        for name, length, meaning in fields:
            if self.left() < length:
                self.rest(f"cut short in {name.replace('_', ' ')}")
                return None
            self.take(length, f"{prefix}command.{name}", meaning)
            if name == "tag" and tag not in kinds:
                self.rest("what follows no tag means nothing")
                return None
        return count

    def message(self, prefix=""):
        """Tells a message apart; gives its key and the bytes of its value, or None where it is not all there."""
        if self.left() < 4:
            self.rest(f"cut short: a message begins with 4 bytes, {self.left()} given")
            return None
        key, field = self.u16(), self.u16(2)
        name, length = self.table.types[field >> 12], field & 4095
        self.take(2, prefix + "key", f"key {named(key, KEYS[self.dialect])}")
        known = name or f"no type: code {field >> 12}"
        self.take(2, prefix + "type_length", f"{known}, {plural(length, 'byte')}")
        if self.left() < length:
            self.rest(f"cut short: the value has {plural(length, 'byte')}, {self.left()} given")
            return None
        raw = self.data[self.pos:self.pos + length]
        return key, self.take(length, prefix + "value", meaning_of(self.table, name, raw))

    def packet(self, prefix=""):
        """Tells a packet apart; says whether all of it was there."""
        count = self.command(prefix)
        if count is None:
            return False
        size, begins = None, []
        for index in range(count):
            begins.append(len(self.entries))
            message = self.message(f"{prefix}messages[{index}].")
            if message is None:
                return False
            if size is None and message[0] == self.table.content_length:
                try:
                    size = announced(message[1])
                except Refused:
                    size = 0
        if count > MESSAGES_IN_FULL:
            self.merge(begins[8], begins[-2], f"{prefix}messages[8..{count - 2}]", plural(count - 10, "more message"))
        size = max(size or 0, 0)
        if self.left() < size:
            self.rest(f"cut short: the entity has {size} bytes, {self.left()} given")
            return False
        self.take(size, f"{prefix}entity", plural(size, "byte"))
        return True

    def merge(self, begin, end, path, meaning):
        """Makes one entry of several."""
        length = sum(entry[0] for entry in self.entries[begin:end])
        self.entries[begin:end] = [(length, path, meaning)]

    def trailing(self, what):
        self.take(self.left(), "trailing", f"{plural(self.left(), 'byte')} behind the {what}")

    def lone_command(self):
        self.command()
        self.trailing("command")

    def lone_message(self):
        self.message()
        self.trailing("message")

    def datagram(self):
        self.packet()
        self.trailing("packet")

    def stream(self):
        number = 0
        while self.left():
            begin, done = len(self.entries), self.packet(f"packets[{number}].")
            if not done:
                return
            if number >= PACKETS_IN_FULL:
                self.merge(begin, len(self.entries), f"packets[{number}]", "a packet")
            number += 1


def meaning_of(table, name, raw):
    """A value for people."""
    size = plural(len(raw), "byte")
    if name is None or name.startswith("unknown"):
        return size
    try:
        value = read_value(table, name, raw, False)
    except Exception as error:
        return f"{name} refused: {refusal(error)['detail']}"
    if name in ("string", "zstring"):
        text = json.dumps(value, ensure_ascii=False)
        shown = text if len(value) <= LONGEST_TEXT else json.dumps(value[:LONGEST_TEXT], ensure_ascii=False) + "…"
        return shown if name == "string" else f"{shown}, compressed"
    if name.startswith("float"):
        number, = struct.unpack(">f" if name == "float32" else ">d", bytes.fromhex(value))
        text = f"{number:.9g}" if name == "float32" else repr(number)
        return f"{name} {text}" if number == number else f"{name} NaN {value}"
    if name == "boolean":
        return "true" if value else "false" if raw == b"\0" else f"false, written {raw[:4].hex()}"
    if name in NUMBERS:
        return f"{name} {value}"
    return size if name == "raw" else f"{size}, compressed"


def coarse(entries):
    """The entries of a datagram in three: its command, its messages, its entity."""
    merged = []
    for length, path, meaning in entries:
        top = path.partition(".")[0].partition("[")[0]
        if merged and merged[-1][1] == top:
            merged[-1] = (merged[-1][0] + length, top, merged[-1][2])
        else:
            meanings = {"command": "the command, as in part 0", "messages": "the messages, as in part 0 but for the serial"}
            merged.append((length, top, meanings.get(top, meaning)))
    return merged


def cut(entries, lengths):
    """The entries laid over the pieces of a stream: one that crosses a border has an entry in each piece."""
    spans, part, offset = [], 0, 0
    for length, path, meaning in entries:
        done = 0
        while done < length:
            while offset == lengths[part]:
                part, offset = part + 1, 0
            step = min(length - done, lengths[part] - offset)
            which = f"byte {done + 1}" if step == 1 else f"bytes {done + 1} to {done + step}"
            told = meaning if step == length else f"{meaning} ({which} of {length})"
            spans.append(span(part, offset, step, path, told))
            done, offset = done + step, offset + step
    return spans


def span(part, offset, length, path, meaning):
    place = {} if part is None else {"part": part}
    return place | {"offset": offset, "length": length, "path": path, "meaning": meaning}


def plural(count, noun):
    return f"{count} {noun}" + ("" if count == 1 else "s")
