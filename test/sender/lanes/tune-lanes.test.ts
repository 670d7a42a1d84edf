import assert from 'node:assert/strict';
import { test } from 'node:test';
import { tuneLanes } from '../../../sender/lanes/tune-lanes.ts';
import { Lanes } from '../../../sender/lanes/lanes.ts';
import { FakeClock } from '../../support/fake-clock.ts';
import { fakeLane } from '../../support/fake-lane.ts';

const LANES_MAX = 20;
const BLOCK_BYTES = 4 * 1024 * 1024;
const RATE = 1_000_000;

/** Lanes that send endlessly, all equally fast. */
function scene(): {
  clock: FakeClock;
  lanes: Lanes;
  line: { busyCount: number; isDown: boolean };
  end: () => void;
} {
  const clock = new FakeClock();
  const line = { busyCount: 0, isDown: false };
  let lookedMs = 0;
  const lanes = new Lanes(() => {
    const lane = fakeLane({
      refreshAcknowledged: async () => {
        if (!line.isDown && lanes.control === lane) {
          lane.acknowledgedBytes += (RATE * lanes.sendingCount * (clock.monotonicMs() - lookedMs)) / 1000;
        }
        if (lanes.control === lane) lookedMs = clock.monotonicMs();
        await Promise.resolve();
      },
    });
    return lane;
  });
  const over = Promise.withResolvers<'done'>();
  void lanes.run(async (_lane, isWanted) => {
    for (;;) {
      const block = Promise.race([over.promise, clock.sleep(100).then(() => 'more' as const)]);
      if ((await block) === 'done') return 'done';
      if (!isWanted()) return 'dismissed';
    }
  });
  return { clock, lanes, line, end: () => over.resolve('done') };
}

test('lanes follow the tuner: all of them while each helps, fewer when the receiver is busy', async () => {
  const { clock, lanes, line, end } = scene();
  const busyCount = (): number => line.busyCount;
  const sendingMs = (): number => clock.monotonicMs() * 100;
  let manyCount = 0;
  {
    using _tuning = tuneLanes({
      lanes,
      lanesMax: LANES_MAX,
      blockBytes: BLOCK_BYTES,
      sendingMs,
      busyCount,
      clock,
      onMany: () => manyCount++,
    });
    assert.deepEqual([lanes.runningCount, lanes.sendingCount, manyCount], [4, 2, 0], 'at once');
    await clock.advance(16_000);
    assert.deepEqual([lanes.runningCount, manyCount], [LANES_MAX, 1]);
    line.busyCount++;
    await clock.advance(1500);
    assert.equal(lanes.runningCount, 15);
  }
  await clock.advance(1000);
  const quiet = clock.sleeperCount;
  end();
  await clock.advance(1000);
  assert(quiet <= LANES_MAX && clock.sleeperCount === 0, 'it stops when it is disposed');
});

test('while nothing moves for long it looks less often', async () => {
  const { clock, lanes, line, end } = scene();
  line.isDown = true;
  let looks = 0;
  const sendingMs = (): number => {
    looks++;
    return 0;
  };
  using _tuning = tuneLanes({
    lanes,
    lanesMax: LANES_MAX,
    blockBytes: BLOCK_BYTES,
    sendingMs,
    busyCount: () => 0,
    clock,
  });
  await clock.advance(60_000);
  const before = looks;
  await clock.advance(60_000);
  assert(looks - before <= 13 && looks - before >= 11, `${looks - before} looks in a minute`);
  end();
  await clock.advance(1000);
});
