// The rules of the page that need no browser.

import assert from "node:assert/strict";
import { test } from "node:test";

import { roundAbove } from "../../gateway/src/console/page/chart.js";
import { backoff, comesBack } from "../../gateway/src/console/page/comeback.js";

test("the close codes say whether to come back", () => {
  for (const code of [1000, 1001, 1005, 1006, 1011, 1012, 1013, 4100, 4401, 4408, 4429, 4430, 4431, 4499]) {
    assert.equal(comesBack(code), true, code);
  }
  for (const code of [1002, 1003, 1007, 1008, 1009, 4500, 4501, 4502, 4503, 4504, 4900, 4999]) {
    assert.equal(comesBack(code), false, code);
  }
});

test("the back-off has full jitter, doubles and has a bound", () => {
  const longest = [0, 1, 4, 5, 60, 2_000].map((attempt) => backoff(attempt, () => 1));
  assert.deepEqual(longest, [1_000, 2_000, 16_000, 30_000, 30_000, 30_000]);
  assert.equal(backoff(3, () => 0), 0);
  assert.equal(backoff(3, () => 0.5), 4_000);
});

test("a chart ends at a round number with a round half", () => {
  for (const [value, expected] of [[0, 2], [1, 2], [2, 2], [3, 4], [5, 6], [9, 10], [10, 10], [11, 20], [99, 100], [401, 600], [12_345, 20_000]]) {
    assert.equal(roundAbove(value), expected, value);
  }
});
