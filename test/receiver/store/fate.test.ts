import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { fateOf, type ChunkFacts, type CollectionTimes } from '../../../receiver/store/fate.ts';

const HOUR = 3_600_000;
const NOW = 1000 * HOUR;
const TIMES: CollectionTimes = { nowMs: NOW, graceMs: 24 * HOUR, oldestStartMs: Infinity };

function fate(chunk: Partial<ChunkFacts>, times: Partial<CollectionTimes> = {}): string {
  const facts = { isReferenced: false, modifiedAtMs: 0, condemnedAtMs: undefined, ...chunk };
  return fateOf(facts, { ...TIMES, ...times });
}

test('what nothing needs is condemned when it is a day old, and deleted a day later', () => {
  assert.equal(fate({ modifiedAtMs: NOW - 24 * HOUR }), 'young');
  assert.equal(fate({ modifiedAtMs: NOW - 24 * HOUR - 1 }), 'condemn');
  assert.equal(fate({ condemnedAtMs: NOW - 24 * HOUR + 1 }), 'waits');
  assert.equal(fate({ condemnedAtMs: NOW - 24 * HOUR }), 'delete');
});

test('what was stored again since is wanted, also where the clock of the service has whole seconds', () => {
  const condemnedAtMs = NOW - 30 * HOUR;
  assert.equal(fate({ condemnedAtMs, modifiedAtMs: condemnedAtMs - 1 }), 'delete');
  assert.equal(fate({ condemnedAtMs, modifiedAtMs: condemnedAtMs }), 'condemn');
  assert.equal(fate({ condemnedAtMs, modifiedAtMs: NOW - HOUR }), 'young');
});

test('what is younger than the oldest running transfer may be part of it', () => {
  const modifiedAtMs = NOW - 100 * HOUR;
  assert.equal(fate({ modifiedAtMs }, { oldestStartMs: modifiedAtMs }), 'young');
  assert.equal(fate({ modifiedAtMs }, { oldestStartMs: modifiedAtMs + 1 }), 'condemn');
});

test('what a manifest refers to is kept, and nothing is deleted that was not condemned for long', () => {
  const hours = fc.integer({ min: 0, max: 1100 }).map((count) => count * HOUR);
  fc.assert(
    fc.property(fc.boolean(), hours, fc.option(hours, { nil: undefined }), hours, (...values) => {
      const [isReferenced, modifiedAtMs, condemnedAtMs, oldestStartMs] = values;
      const found = fate({ isReferenced, modifiedAtMs, condemnedAtMs }, { oldestStartMs });
      assert.equal(found === 'keep', isReferenced);
      if (found !== 'delete') return;
      assert(condemnedAtMs !== undefined && condemnedAtMs <= NOW - 24 * HOUR && modifiedAtMs < condemnedAtMs);
    }),
  );
});
