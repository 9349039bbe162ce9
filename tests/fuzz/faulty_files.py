"""Safetensors files that are right, but for a few faults in header, length or data."""
import json
import struct

BITS = {"BOOL": 8, "U8": 8, "I8": 8, "F8_E5M2": 8, "F8_E4M3": 8, "I16": 16, "U16": 16, "F16": 16, "BF16": 16,
        "I32": 32, "U32": 32, "F32": 32, "F64": 64, "I64": 64, "U64": 64}
OTHER_TYPES = ['"F31"', '"f32"', '"F4"', '"F8_E8M0"', '"C64"', '"F6_E2M3"', '""', "null", "32", '["F32"]', '"F32 "',
               '"F3\\u0032"']
NUMBERS = ["0", "1", "2", "7", "-1", "-0", "00", "01", "1.0", "1e0", "1E2", "0.0", "-0.0", "null", "true", '"1"', "[]",
           "[1]", "2147483648", "4294967296", "9223372036854775807", "9223372036854775808", "18446744073709551615",
           "18446744073709551616", "1e400", "+1", "0x1", "NaN", "Infinity", " 3", "3 ", "3\n"]
NAMES = ['""', '"a"', '"b"', '"__metadata__"', '"a\\u0000"', '"\\u0061"', '"\\ud800"', '"\\ud83d\\ude00"',
         '"\\udc00\\ud800"',
         '"\\/"', '"\\x"', '"a\nb"', '"\u00e9"', "'a'", "a", "1", '"dtype"', '"\x7f"']
KEYS = ['"shape"', '"dtype"', '"Shape"', '"dtyp\\u0065"', "shape", '""']
METADATA = ["null", "[]", "{}", '"x"', '{"a":1}', '{"a":null}', '{"a":"b","a":"c"}', '{"a":{}}', '{"":""}', "{}{}", "1"]
ENDS = [b" ", b"   ", b"\n", b"\t", b"\0", b"x", b",", b"}", b"{}", b"\xff", b"/**/", b"\x0b"]


class Entry:
    """One tensor as pieces of JSON text."""

    def __init__(self, source, name, begin):
        dtype = source.choice(list(BITS))
        shape = [source.choice((0, 1, 1, 2, 3, 4)) for _ in range(source.choice((0, 1, 2, 2, 3)))]
        size = BITS[dtype] // 8
        for length in shape:
            size *= length
        self.name, self.dtype = json.dumps(name), json.dumps(dtype)
        self.shape, self.offsets = [str(n) for n in shape], [str(begin), str(begin + size)]
        self.end = begin + size
        self.keys = ['"dtype"', '"shape"', '"data_offsets"']
        self.more = []

    def text(self, source):
        values = [self.dtype, f"[{','.join(self.shape)}]", f"[{','.join(self.offsets)}]"]
        fields = [f"{key}:{value}" for key, value in zip(self.keys, values)] + self.more
        if source.random() < 0.3:
            source.shuffle(fields)
        return f"{self.name}:{{{','.join(fields)}}}"


def change_number(source, numbers):
    if not numbers:
        numbers.append(source.choice(NUMBERS))
        return
    place = source.randrange(len(numbers))
    kind = source.random()
    if kind < 0.4 and numbers[place].isdigit():
        numbers[place] = str(int(numbers[place]) + source.choice((-4, -2, -1, 1, 2, 4)))
    elif kind < 0.7:
        numbers[place] = source.choice(NUMBERS)
    elif kind < 0.8:
        numbers.insert(place, source.choice(("1", "1", "0", *NUMBERS)))
    elif kind < 0.9:
        del numbers[place]
    else:
        numbers.extend(["1"] * source.choice((1, 5, 8, 9)))


def change_fields(source, entry):
    kind = source.randrange(5)
    if kind == 0:
        entry.keys[source.randrange(3)] = source.choice(KEYS)
    elif kind == 1:
        entry.more.append(source.choice(('"x":1', '"shape":[]', '"dtype":"F32"', '"x":{}', '"data_offsets":[0,0]', "")))
    elif kind == 2:
        entry.dtype = source.choice([*OTHER_TYPES, *map(json.dumps, BITS)])
    elif kind == 3:
        entry.name = source.choice(NAMES)
    else:
        entry.offsets.reverse()


def change_entry(source, entries):
    if not entries:
        return
    entry, kind = source.choice(entries), source.randrange(4)
    if kind == 0:
        change_number(source, entry.shape)
    elif kind == 1:
        change_number(source, entry.offsets)
    elif kind == 2:
        change_fields(source, entry)
    else:
        other = source.choice(entries)
        entry.offsets, other.offsets = other.offsets, entry.offsets


def change_bytes(source, header):
    """Text of the header, without regard to its structure."""
    kind = source.randrange(5)
    place = source.randrange(len(header) + 1)
    if kind == 0:
        return header + source.choice(ENDS)
    if kind == 1:
        return source.choice((b" ", b"\n", b"\xef\xbb\xbf", b"[", b"\0")) + header
    if kind == 2:
        return header[:place] + bytes([source.randrange(256)]) + header[place + 1:]
    if kind == 3:
        return header[:place] + source.choice((b" ", b"\n", b",", b"\0", b"\xc3", b"\xed\xa0\x80")) + header[place:]
    return header[:place] + header[place + source.randrange(1, 4):]


def lay_out(source):
    entries, begin = [], 0
    for number in range(source.choice((0, 1, 1, 2, 2, 3, 5))):
        entries.append(Entry(source, f"t{number}" if source.random() < 0.9 else "a", begin))
        begin = entries[-1].end
    return entries, begin


def faulty_file(source):
    """The bytes of a file with 0 to 3 faults."""
    entries, size = lay_out(source)
    faults = source.choice((0, 1, 1, 1, 2, 3))
    for _ in range(faults):
        if source.random() < 0.6:
            change_entry(source, entries)
    parts = [entry.text(source) for entry in entries]
    if source.random() < 0.3:
        value = source.choice(METADATA) if faults and source.random() < 0.4 else '{"format":"pt"}'
        parts.insert(source.randrange(len(parts) + 1), f'"__metadata__":{value}')
    if source.random() < 0.3:
        source.shuffle(parts)
    header = ("{" + source.choice((",", ",", ", ")).join(parts) + "}").encode("utf-8", "surrogatepass")
    if faults and source.random() < 0.25:
        header = change_bytes(source, header)
    length = len(header)
    if faults and source.random() < 0.08:
        length += source.choice((-8, -1, 1, 8, 2**62, -length))
    if faults and source.random() < 0.1:
        size = max(0, size + source.choice((-1, 1, 8, -size)))
    content = struct.pack("<Q", length % 2**64) + header + bytes(size)
    return content if source.random() < 0.98 else content[:source.randrange(len(content) + 1)]
