import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import type { Trouble } from '../../common/hooks.ts';
import { pullLine, troubleIn } from '../../common/pulled-lines.ts';
import { parseRecord } from '../../common/records.ts';

const text = fc.string({ unit: 'binary', maxLength: 50 });

test('trouble arrives on the other side as it was', () => {
  const optional = fc.option(text, { nil: undefined });
  const troubles = fc.record({
    code: text,
    message: text,
    hint: optional,
    source: optional,
    target: optional,
  });
  fc.assert(
    fc.property(troubles, (trouble: Trouble) => {
      const { trouble: found } = parseRecord(pullLine({ trouble })) ?? {};
      assert.deepEqual(troubleIn(found), { ...trouble });
    }),
  );
});

test('whatever the other side says instead, it is no trouble, or has texts only', () => {
  fc.assert(
    fc.property(fc.oneof(fc.json(), text), (line) => {
      const trouble = troubleIn(parseRecord(`{"trouble":${line}}`)?.['trouble']);
      for (const value of Object.values(trouble ?? {}))
        assert(value === undefined || typeof value === 'string');
    }),
  );
  const good = { code: 'io-error', message: 'it fails' };
  for (const value of [null, [], 'x', { ...good, code: 1 }, { code: 'x' }, { ...good, message: {} }])
    assert.equal(troubleIn(value), undefined);
  const others = { hint: 1, source: null, target: [] };
  const none = { hint: undefined, source: undefined, target: undefined };
  assert.deepEqual(troubleIn({ ...good, ...others, more: 1 }), { ...good, ...none });
});
