"""Fewer points must look like all of them."""

import random
import unittest

import made_run

ABSENT = made_run.needs("numpy")
if not ABSENT:
    import numpy as np

    from shardora.report import curves


@unittest.skipIf(ABSENT, ABSENT)
class Curves(unittest.TestCase):
    def test_short_series_stay_whole(self):
        for count in (0, 1, 2, 17, 2000):
            self.assertEqual(list(curves.kept(np.zeros(count))), list(range(count)))

    def test_no_series_has_more_than_the_most(self):
        for count in (2001, 2003, 3999, 4001, 100_000):
            chosen = curves.kept(np.random.default_rng(count).normal(size=count))
            self.assertLessEqual(len(chosen), 2000)
            self.assertGreater(len(chosen), 1500)
            self.assertTrue((np.diff(chosen) > 0).all())
            self.assertEqual((chosen[0], chosen[-1]), (0, count - 1))

    def test_every_single_spike_stays(self):
        chance = random.Random(3)
        for _ in range(100):
            count = chance.randrange(2001, 30_000)
            up, down = chance.sample(range(count), 2)
            values = np.sin(np.arange(count) / 50)
            values[up], values[down] = 100, -100
            chosen = set(curves.kept(values))
            self.assertIn(up, chosen)
            self.assertIn(down, chosen)

    def test_what_is_not_finite_stays_and_hides_no_lowest_value(self):
        values = np.ones(10_000)
        values[5_001], values[5_002], values[7_777] = np.nan, -3, np.inf
        chosen = set(curves.kept(values))
        self.assertLessEqual({5_001, 5_002, 7_777}, chosen)

    def test_average_does_not_lag_and_passes_over_gaps(self):
        straight = np.arange(50.0)
        np.testing.assert_allclose(curves.smooth(straight, 7), straight)
        found = curves.smooth(np.array([np.nan, 4.0, np.nan, 5.0, 9.0, 1.0]), 1)
        np.testing.assert_allclose(found, [np.nan, 4, 4.5, 7, 5, 1])


if __name__ == "__main__":
    unittest.main()
