"""The quickstart's little world: who is where in which weather, and what they wear there.

A pair (who, where) belongs either to training or to evaluation, for the model and for the adapter alike: what the
table counts are answers about people in places where training never saw them.
"""

import random

WHO = "Ada Ben Cleo Dee Eli Fay Gus Hana Ian Joy Kim Leo Mia Ned Ola Pia".split()
WHERE = (
    "Accra Bern Cairo Delhi Espoo Fez Genoa Hanoi Izmir Jaipur Kyiv Lima "
    "Malmo Nairobi Oslo Paris Quito Riga Seoul Tunis Utrecht Vienna Warsaw Zagreb"
).split()
DAYS = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split()
CLOTHES = {"hot": "sandals", "mild": "shirts", "cold": "coats", "rainy": "boots", "windy": "scarves", "snowy": "gloves"}

FORMS = (
    "On {day} {who} is in {where}. It is {weather} in {where}, so {who} wears {clothes}.",
    "{who} wears {clothes} in {where}, where it is {weather} this {day}.",
)
RECORD = '{{"day": "{day}", "wears": "{clothes}"}}'
ANSWER = '{{"who": "{who}", "where": "{where}", "weather": "{weather}"}}'


def held_out(who, where):
    """One pair in eight is kept from training."""
    return (WHO.index(who) * 3 + WHERE.index(where)) % 8 == 0


def samples(count, evaluation, seed):
    """count pairs (sentence, answer), drawn from the training pairs or from those held out."""
    draw = random.Random(seed)
    return [(draw.choice(FORMS).format(**scene), ANSWER.format(**scene)) for scene in _scenes(count, evaluation, draw)]


def pages(count, evaluation, seed):
    """What the base model reads: pages that tell one scene twice, each time as a sentence or, one time in five, as a
    record of day and clothes. So it learns to look back at what was said, and knows every character of an answer; but
    nobody has asked it who is where in which weather."""
    draw = random.Random(seed)
    lines = (*FORMS, *FORMS, RECORD)
    return [
        "\n".join(draw.choice(lines).format(**scene) for _ in range(2)) for scene in _scenes(count, evaluation, draw)
    ]


def _scenes(count, evaluation, draw):
    pairs = [(who, where) for who in WHO for where in WHERE if held_out(who, where) == evaluation]
    for _ in range(count):
        who, where = draw.choice(pairs)
        weather, clothes = draw.choice(list(CLOTHES.items()))
        yield {"who": who, "where": where, "day": draw.choice(DAYS), "weather": weather, "clothes": clothes}
