"""One bit flipped in the memory of a rank that trains: in a frozen vector, in the embedding, through /proc/PID/mem.

    python bitflips.py [--count 20] [--seed 1] [--program build/release/shardora]

Each time the run must end with 78, name the rank and the tensor, and save nothing after that. Every other time it is the
bit that makes a value of 1 to 2 infinite or no number, and only the loss that is then not finite brings the check.
"""
import json
import pathlib
import random
import struct

import common

RANKS = 2
SMALLEST_BYTES = 64  # of a pattern that is looked for
HIGHEST_OF_EXPONENT = 30  # bit of an fp32 value


def words(output, check_every):
    return common.words(train__steps=100000, train__check_every=check_every, output__dir=output,
                        output__checkpoint_every=0, parallel__tensor=1)


def frozen_patterns():
    """Name -> bytes of fp32 values as the program keeps them: vectors, which it keeps as they are."""
    data = (common.MODEL / "model.safetensors").read_bytes()
    length = struct.unpack("<Q", data[:8])[0]
    patterns = {}
    for name, entry in json.loads(data[8:8 + length]).items():
        if name == "__metadata__" or len(entry["shape"]) != 1 or entry["dtype"] != "F32":
            continue
        begin, end = entry["data_offsets"]
        pattern = data[8 + length + begin:8 + length + end]
        if len(pattern) >= SMALLEST_BYTES and len(set(struct.unpack(f"<{len(pattern) // 4}f", pattern))) > 4:
            patterns[name] = pattern
    return patterns


def writable_memory(process):
    for line in pathlib.Path(f"/proc/{process}/maps").read_text().splitlines():
        place, rights = line.split()[:2]
        if rights.startswith("rw") and "/dev/shm" not in line and "[v" not in line:
            begin, end = (int(part, 16) for part in place.split("-"))
            yield begin, end


def flip(process, pattern, bit):
    """The bit of every copy of the pattern that this process can write; how many there were."""
    found = 0
    with open(f"/proc/{process}/mem", "r+b", buffering=0) as memory:
        for begin, end in writable_memory(process):
            try:
                memory.seek(begin)
                content = memory.read(end - begin)
            except OSError:
                continue
            at = content.find(pattern)
            while at >= 0:
                byte = at + bit // 8
                memory.seek(begin + byte)
                memory.write(bytes([content[byte] ^ (1 << bit % 8)]))
                found += 1
                at = content.find(pattern, at + 1)
    return found


def flip_in_a_run(options, output, name, pattern, bit, check_every, chance):
    with common.Job(options, words(output, check_every), ranks=RANKS) as job:
        begun = common.wait_until(lambda: (output / "metrics.jsonl").exists() and common.metrics(output), 60)
        common.expect(begun, output, "no step came to its end", job.said()[-1500:])
        rank = chance.randrange(RANKS)
        try:
            found = flip(job.process_of(rank), pattern, bit)
        except PermissionError:
            common.skip("this user may not write the memory of its processes")
        common.expect(found > 0, output, f"{name} was not found in the memory of rank {rank}")
        status = job.wait(60)
        said = job.said()
    common.expect(status == 78, output, f"a bit of {name} on rank {rank} ended the run with {status}", "expected 78",
                  said[-1500:])
    common.expect(f"{name} has changed in the memory of rank {rank} " in said, output, f"rank {rank} and {name}",
                  "expected to be named", said[-1500:])
    common.expect(not (output / "adapter").exists() and not common.checkpoints(output), output, "something was saved")


def any_bit(patterns, chance):
    name = chance.choice(sorted(patterns))
    return name, chance.randrange(8 * len(patterns[name]))


def poisonous(patterns):
    """(name, bit) of the highest bit of the exponent of each value from 1 to 2."""
    return [(name, 32 * i + HIGHEST_OF_EXPONENT) for name, pattern in sorted(patterns.items())
            for i, value in enumerate(struct.unpack(f"<{len(pattern) // 4}f", pattern)) if 1 <= abs(value) < 2]


def main(options, scratch):
    chance, patterns = random.Random(options.seed), frozen_patterns()
    common.expect(patterns, common.MODEL, "no vector to flip a bit in")
    for number in range(options.count):
        name, bit = chance.choice(poisonous(patterns)) if number % 2 == 0 else any_bit(patterns, chance)
        flip_in_a_run(options, scratch / f"run-{number}", name, patterns[name], bit, number % 2, chance)
    print(f"bitflips: {options.count} of {options.count} found at the next check, rank and tensor named; seed {options.seed}")


common.campaign(main, common.arguments(__doc__, 20))
