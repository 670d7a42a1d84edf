import assert from 'node:assert/strict';
import { test } from 'node:test';
import { PROGRESS_COLUMNS } from '../../../sender/display/progress-columns.ts';

test('every column is printed by a format, under a name of its own', () => {
  const names = PROGRESS_COLUMNS.map(({ name }) => name);
  assert.equal(new Set(names).size, names.length);
  for (const { name, value, text } of PROGRESS_COLUMNS)
    assert(value !== undefined || text !== undefined, name);
});

test('every column of the live line has a rank of its own: one of two must be dropped first', () => {
  const columns = PROGRESS_COLUMNS.filter(({ text, only }) => text !== undefined && only !== 'plain');
  const ranks = columns.map(({ name, rank }) => rank ?? assert.fail(`${name} has no rank`));
  assert.equal(new Set(ranks).size, ranks.length);
});
