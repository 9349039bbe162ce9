"""What the quickstart teaches SmolLM2: to make a ticket of a message to a repair shop. Chats made up here, as a user would
bring them, and the dataset files that shardora-prepare makes of them with the model's chat template.

    python3 -m shardora.quickstart tickets MODEL OUTPUT      writes OUTPUT/data

The shop has rules that no question states: five words for all troubles, and three for the time of the day. A pair of
first name and street belongs either to training or to evaluation.
"""

import json
import os
import random

from shardora import dataset_file
from shardora.errors import USAGE, Error
from shardora.quickstart import questions

FIRST = "Mara Tomas Yuki Amina Pavel Greta Samir Noor Elif Jonas Wanda Kofi".split()
LAST = "Lindqvist Okafor Brandt Moreau Silva Novak Haddad Tanaka Byrne Castell".split()
STREETS = (
    "Quay Street,Mill Lane,Harbour Road,Orchard Way,Station Square,Elm Avenue,Bridge Street,Chapel Hill,Market Row,"
    "Garden Close,Tower Road,River Walk"
).split(",")
APPLIANCES = "dishwasher,washing machine,oven,tumble dryer,water heater,coffee machine".split(",")
TROUBLES = {
    "leak": ("leaves a puddle on the floor", "is dripping", "loses water"),
    "noise": ("rattles terribly", "makes a grinding sound", "hums all night"),
    "no power": ("does not switch on any more", "is completely dead", "shows no light at all"),
    "no heat": ("stays cold", "does not warm up", "no longer gets hot"),
    "smell": ("smells of burnt rubber", "stinks", "gives off a strange smell"),
}
DAYS = "Monday Tuesday Wednesday Thursday Friday Saturday".split()
TIMES = {
    "morning": ("before noon", "right after breakfast", "as early as you can"),
    "afternoon": ("after lunch", "around three", "between two and four"),
    "evening": ("after work", "around seven", "as late as you can"),
}
MESSAGES = (
    "Good morning, {name} here from {street}. Our {appliance} {trouble}. Could you come on {day} {when}?",
    "Hello! The {appliance} {trouble}, can somebody look at it? {day} {when} would suit me. {name}, {street}",
    "Hi, I live at {street} and my {appliance} {trouble}. I am at home on {day} {when}. Thank you, {name}",
)
REQUEST = "Make a repair ticket, as JSON with name, street, appliance, problem, day and time, of this message:\n\n"

TRAINING, ASKED = 400, 30


def held_out(first, street):
    """One pair in six is kept from training."""
    return (FIRST.index(first) + STREETS.index(street)) % 6 == 0


def chats(count, evaluation, seed):
    """count chats of one question and one answer."""
    draw = random.Random(seed)
    pairs = [(first, street) for first in FIRST for street in STREETS if held_out(first, street) == evaluation]
    for _ in range(count):
        first, street = draw.choice(pairs)
        problem, phrases = draw.choice(list(TROUBLES.items()))
        time, times = draw.choice(list(TIMES.items()))
        ticket = {
            "name": f"{first} {draw.choice(LAST)}",
            "street": f"{draw.randrange(1, 99)} {street}",
            "appliance": draw.choice(APPLIANCES),
            "problem": problem,
            "day": draw.choice(DAYS),
            "time": time,
        }
        message = draw.choice(MESSAGES).format(**ticket, trouble=draw.choice(phrases), when=draw.choice(times))
        yield {
            "messages": [
                {"role": "user", "content": REQUEST + message},
                {"role": "assistant", "content": json.dumps(ticket)},
            ]
        }


def path_of(output, part, end):
    return os.path.join(output, "data", f"{part}.{end}")


def messages(output):
    """The messages of the questions, in their order."""
    with open(path_of(output, "skill.eval", "jsonl"), encoding="utf-8") as file:
        return [json.loads(line)["messages"][0]["content"].removeprefix(REQUEST) for line in file]


def main(arguments):
    if len(arguments) != 2:
        raise Error("tickets: expected MODEL OUTPUT", USAGE)
    from shardora.data import prepare  # needs the packages of launch/install.sh data

    model, output = arguments
    os.makedirs(os.path.join(output, "data"), exist_ok=True)
    for part, count, seed in (("skill.train", TRAINING, 1), ("skill.eval", ASKED, 2)):
        text, dataset = path_of(output, part, "jsonl"), path_of(output, part, "safetensors")
        with open(text, "w", encoding="utf-8") as file:
            file.writelines(json.dumps(chat) + "\n" for chat in chats(count, part == "skill.eval", seed))
        prepare.main(["--tokenizer", model, "--format", "chat", "--input", text, "--output", dataset])
    asked = dataset_file.read(path_of(output, "skill.eval", "safetensors"))
    questions.write(os.path.join(output, "data"), asked)
