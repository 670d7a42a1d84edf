import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fuzzSender } from './sender-fuzz.ts';

test('ddt-send ends as documented, whatever a receiver says, and believes no lie', async () => {
  const statuses = await fuzzSender({ seed: 1, runs: 8 });
  assert(statuses.size > 1, 'some runs succeed, and some do not');
});
