import assert from 'node:assert/strict';
import { test } from 'node:test';
import { LaneShares, type LaneSample } from '../../../sender/watch/lane-shares.ts';

const QUIET: LaneSample = {
  waits: { source: 0, processor: 0, line: 0, target: 0 },
  busyShare: 0.2,
  lineBytesPerSecond: 1000,
  limitBytesPerSecond: undefined,
};

function sharesOf(sample: Partial<LaneSample>, count = 10): LaneShares {
  const shares = new LaneShares();
  for (let at = 0; at < count; at++) shares.add({ ...QUIET, ...sample });
  return shares;
}

test('what most lanes wait for is named, with the shares of all', () => {
  for (const [waits, pattern] of [
    [{ source: 7, processor: 1, line: 0, target: 0 }, /^The source is the slowest/],
    [{ source: 0, processor: 6, line: 2, target: 0 }, /^The processor is .* compressed/],
    [{ source: 1, processor: 0, line: 7, target: 0 }, /^The line is the slowest/],
    [{ source: 1, processor: 0, line: 1, target: 6 }, /^The target is the slowest/],
  ] as const) {
    const found = sharesOf({ waits }).bottleneck;
    assert.match(found?.text ?? '', pattern);
    for (const [who, percent] of found?.shares ?? [])
      assert(Math.abs(percent - (waits[who as keyof typeof waits] * 100) / 8) < 1, who);
  }
});

test('a limit that is reached, and a thread without time, come first', () => {
  const waits = { source: 0, processor: 0, line: 8, target: 0 };
  const limited = sharesOf({ waits, limitBytesPerSecond: 1050 });
  assert.match(limited.bottleneck?.text ?? '', /^The limit that was set/);
  const far = sharesOf({ waits, limitBytesPerSecond: 5000 });
  assert.match(far.bottleneck?.text ?? '', /^The line/);
  assert.match(sharesOf({ waits, busyShare: 0.97 }).bottleneck?.text ?? '', /itself is busy 97 %/);
});

test('nothing is said too early, and what is long past is forgotten', () => {
  assert.equal(sharesOf({ waits: { source: 1, processor: 0, line: 0, target: 0 } }, 4).bottleneck, null);
  assert.equal(sharesOf({}).bottleneck, null, 'nobody waits');
  const shares = sharesOf({ waits: { source: 9, processor: 0, line: 0, target: 0 } }, 30);
  for (let at = 0; at < 30; at++)
    shares.add({ ...QUIET, waits: { source: 0, processor: 0, line: 1, target: 0 } });
  assert.match(shares.bottleneck?.text ?? '', /^The line/);
});
