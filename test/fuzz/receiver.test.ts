import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fuzzReceiver } from './receiver-fuzz.ts';

test('ddt-receive survives requests of all kinds, and writes only what they may write', async () => {
  const { statuses, peakMib } = await fuzzReceiver({ seed: 1, requests: 1200 });
  for (const status of [200, 202, 400, 401, 404, 409]) assert(statuses.has(status), `no ${status}`);
  assert(peakMib > 0);
});
