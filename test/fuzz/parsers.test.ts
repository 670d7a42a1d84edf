import assert from 'node:assert/strict';
import { test } from 'node:test';
import { PARSERS, failureOfParser, shareOf } from './parsers.ts';

/** The same in every run: a test must not fail by chance. `npm run fuzz` makes others. */
const SEED = 1;
const INPUTS = 12_000;

for (const parser of PARSERS) {
  test(`${parser.name}: changed inputs are refused as documented, or parsed whole`, async () => {
    assert.equal(await failureOfParser(parser, { seed: SEED, inputs: shareOf(parser, INPUTS) }), undefined);
  });
}

test('every parser gets its share of the inputs', () => {
  const total = PARSERS.reduce((sum, parser) => sum + shareOf(parser, 1_000_000), 0);
  assert(total >= 1_000_000 && total < 1_001_000, `${total}`);
});
