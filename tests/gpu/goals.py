"""What a GPU has to show, in one place: figure, how it is compared, the bound, in words. report.py applies them."""
import operator

AT_MOST, AT_LEAST = "<=", ">="
COMPARE = {AT_MOST: operator.le, AT_LEAST: operator.ge}

GOALS = {
    # Operations: the tests of tests/kernels on the device, and under compute-sanitizer.
    "failed_tests": (AT_MOST, 0),
    "tests_on_the_device": (AT_LEAST, 1),
    "sanitizer_errors": (AT_MOST, 0),
    # Whole steps: largest relative difference over all steps.
    "float32_loss": (AT_MOST, 1e-4),
    "float32_gradient_norm": (AT_MOST, 1e-3),
    "bfloat16_loss": (AT_MOST, 5e-3),
    "differing_bytes": (AT_MOST, 0),
    # Speed at the 8B shape.
    "share_of_floor": (AT_LEAST, 0.75),
    "share_of_floor_deterministic": (AT_LEAST, 0.70),
    "over_pefts_dora": (AT_LEAST, 1.7),
    "dora_over_lora_seconds": (AT_MOST, 1.03),
    "memory_away_from_plan": (AT_MOST, 0.05),
}


def holds(goal, value):
    """NaN holds nothing."""
    comparison, bound = GOALS[goal]
    return COMPARE[comparison](value, bound)


def text(goal):
    comparison, bound = GOALS[goal]
    return f"{comparison} {bound:g}"
