"""Makes the vector files from the recordings and from the tables of derived vectors beside this file.

    python3 conformance-vectors/tools/import.py RECORDED_DIR

RECORDED_DIR holds `vectors/laxcus6.jsonl` and the others. The same input gives the same bytes. Nothing is
written when a vector disagrees with the Python codec or a rule of docs/SPEC.md has no vector.
"""

import json
import sys
from pathlib import Path

sys.dont_write_bytecode = True

import bombs  # noqa: E402
import bytemap  # noqa: E402
import check  # noqa: E402
import codec  # noqa: E402
import derived  # noqa: E402
import laxcus2  # noqa: E402
import recorded  # noqa: E402
import rpc  # noqa: E402
import rules  # noqa: E402
import streams  # noqa: E402

TOOLS = Path(__file__).parent
VECTORS = TOOLS.parent / "vectors"


def main(folder):
    files = {name: [read(line) for line in recorded.read(folder / "vectors" / name)] for name, read in {
        "lexst1.jsonl": recorded.from_wire,
        "laxcus6.jsonl": recorded.from_wire,
        "laxcus6-cipher.jsonl": recorded.from_cipher,
        "rpc-laxcus6.jsonl": rpc.from_recording,
        "rpc-lexst1.jsonl": rpc.from_recording,
    }.items()}
    override([vector for vectors in files.values() for vector in vectors])
    files["lexst1.jsonl"] += derived.vectors("lexst1")
    files["laxcus6.jsonl"] += derived.vectors("laxcus6")
    files["rpc-lexst1.jsonl"] += rpc.examples("lexst1")
    files["rpc-laxcus6.jsonl"] += rpc.examples("laxcus6")
    files["laxcus2.jsonl"] = laxcus2.vectors() + derived.vectors("laxcus2")
    files["streams.jsonl"] = streams.vectors()
    files["bombs.jsonl"] = bombs.vectors()

    wrong, ids = [], set()
    for vectors in files.values():
        for index, vector in enumerate(vectors):
            try:
                vectors[index] = finish(vector)
                check.check(vectors[index])
            except check.Wrong as error:
                wrong.append(str(error))
            if vector["id"] in ids:
                wrong.append(f"{vector['id']}: twice")
            ids.add(vector["id"])
    tested = {rule for vectors in files.values() for vector in vectors if vector["class"] != "note" for rule in vector.get("rules", [])}
    wrong += [f"rule {rule} has no vector" for rule in rules.in_spec() if rule not in tested]
    wrong += [f"there is no rule {rule}" for rule in rules.in_order(tested - set(rules.in_spec()))]
    if wrong:
        sys.exit("\n".join(wrong))
    for name, vectors in files.items():
        text = "".join(json.dumps(vector, separators=(",", ":")) + "\n" for vector in vectors)
        (VECTORS / name).write_text(text, encoding="ascii", newline="\n")
        print(f"{name}: {len(vectors)} vectors, {len(text)} bytes, longest line {max(map(len, text.splitlines()))}")


def override(vectors):
    """Sets what the table says differs from the recordings; a field set to null is taken away."""
    by_id = {vector["id"]: vector for vector in vectors}
    for line in recorded.read(TOOLS / "overrides.jsonl"):
        vector = by_id[line["id"]]
        vector.update(line["set"])
        vector["overridden"] = list(line["set"])
        vector["comment"] += f" (changed: {line['why']})"
        for field in [field for field, value in line["set"].items() if value is None]:
            del vector[field]


def finish(vector):
    """A vector with the fields that are computed: what our compatible reader says, rules and map; in the order of the files."""
    vector = dict(vector)
    overridden, named = vector.pop("overridden", []), vector.pop("named_rules", [])
    if vector["kind"] in codec.KINDS and vector["class"] == "lenient":
        answer = codec.decode(vector)
        for field, ours in (("refusal", answer.get("error")), ("consumed", answer.get("consumed"))):
            told = vector.get(field, ours)
            if told != ours and field not in overridden and not (field == "consumed" and "error" in answer):
                raise check.Wrong(f"{vector['id']}: recorded {field} {told}, ours {ours}, and no override")
            if ours is not None:
                vector[field] = ours
        if "error" in answer:
            vector.pop("consumed", None)
    if vector["kind"] in codec.KINDS and vector["class"] == "refuse-encode":
        vector["error"] = codec.encode(vector).get("error", "none")
    vector["rules"] = rules.of(vector, named)
    vector["map"] = bytemap.byte_map(vector)
    return {field: vector[field] for field in check.FIELDS if field in vector}


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(Path(sys.argv[1]))
