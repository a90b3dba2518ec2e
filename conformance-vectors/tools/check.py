"""Whether the vectors hold together: what the Python codec, under both policies, makes of each."""

import codec

# Fields in the order in which they are written; see ../vectors/README.md.
FIELDS = ("id dialect kind class hex hex_list chunks value packets pending consumed error refusal rules source recorded "
          "memory map comment").split()


class Wrong(Exception):
    """A vector that does not say what the specification says."""


def check(vector):
    """Raises Wrong unless the vector is right."""
    try:
        assert set(vector) <= set(FIELDS), f"fields {set(vector) - set(FIELDS)}"
        covers_every_byte(vector)
        if vector["kind"] == "stream":
            stream(vector)
        elif vector["kind"] in codec.KINDS:
            {"valid": valid, "decode-only": decode_only, "lenient": lenient, "invalid": invalid,
             "refuse-encode": refuse_encode}[vector["class"]](vector)
    except (AssertionError, KeyError) as error:
        raise Wrong(f"{vector['id']}: {error}") from error


def expect(got, wanted):
    assert got == wanted, f"expected {str(wanted)[:300]}, got {str(got)[:300]}"


def refused(answer):
    assert "error" in answer, f"not refused: {str(answer)[:300]}"


def valid(vector):
    for strict in (False, True):
        expect(codec.decode(vector, strict), {"value": vector["value"], "consumed": len(vector["hex"]) // 2})
    expect(codec.encode(vector), {"hex": vector["hex"]})


def decode_only(vector):
    for strict in (False, True):
        expect(codec.decode(vector, strict), {"value": vector["value"], "consumed": len(vector["hex"]) // 2})
    again = vector | codec.encode(vector)
    expect(codec.decode(again).get("value"), vector["value"])


def lenient(vector):
    refused(codec.decode(vector, strict=True))
    answer = codec.decode(vector)
    if "refusal" in vector:
        expect(answer.get("error"), vector["refusal"])
    elif "value" in vector:
        expect(answer, {"value": vector["value"], "consumed": vector["consumed"]})
    else:
        expect(answer.get("consumed"), vector["consumed"])


def invalid(vector):
    for strict in (False, True):
        refused(codec.decode(vector, strict))


def refuse_encode(vector):
    refused(codec.encode(vector))


def stream(vector):
    result = {field: vector[field] for field in ("packets", "pending") if field in vector}
    strict, compatible = codec.stream(vector, strict=True), codec.stream(vector)
    if vector["class"] == "valid":
        expect(strict, result)
        expect(compatible, result)
    elif vector["class"] == "lenient":
        refused(strict)
        expect(compatible.get("error"), vector["refusal"]) if "refusal" in vector else expect(compatible, result)
    else:
        for answer in (strict, compatible):
            refused(answer)
            expect(answer["packets"], vector["packets"])


def covers_every_byte(vector):
    parts = [vector["hex"]] if "hex" in vector else vector.get("hex_list") or vector.get("chunks") or []
    ends = [0] * len(parts)
    for span in vector["map"]:
        part = span.get("part", 0)
        assert span["offset"] == ends[part] and span["length"] > 0, f"map at {span}"
        ends[part] += span["length"]
    expect(ends, [len(part) // 2 for part in parts])
