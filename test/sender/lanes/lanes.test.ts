import assert from 'node:assert/strict';
import { setImmediate as turn } from 'node:timers/promises';
import { test } from 'node:test';
import { Lanes } from '../../../sender/lanes/lanes.ts';
import type { ReceiverClient } from '../../../sender/client/receiver-port.ts';
import { fakeLane } from '../../support/fake-lane.ts';

/** Lanes whose blocks end when the test says so. */
function scene(): {
  readonly lanes: Lanes;
  readonly made: ReceiverClient[];
  readonly blocks: { lane: ReceiverClient; end: (result: 'more' | 'done' | Error) => void }[];
  readonly run: () => Promise<void>;
} {
  const made: ReceiverClient[] = [];
  const lanes = new Lanes(() => {
    const lane = fakeLane();
    made.push(lane);
    return lane;
  });
  const blocks: { lane: ReceiverClient; end: (result: 'more' | 'done' | Error) => void }[] = [];
  const run = async (): Promise<void> =>
    await lanes.run(async (lane, isWanted) => {
      while (isWanted()) {
        const { promise, resolve } = Promise.withResolvers<'more' | 'done' | Error>();
        blocks.push({ lane, end: resolve });
        const result = await promise;
        if (result instanceof Error) throw result;
        if (result === 'done') return 'done';
      }
      return 'sent away';
    });
  return { lanes, made, blocks, run };
}

test('as many lanes are at work as are wanted, and more at once when more are', async () => {
  const { lanes, made, blocks, run } = scene();
  lanes.want(2);
  const ended = run();
  assert.deepEqual([lanes.runningCount, made.length], [2, 2]);
  lanes.want(5);
  assert.deepEqual([lanes.runningCount, lanes.connectedCount, made.length], [5, 5, 5]);
  for (const { end } of blocks) end('done');
  await ended;
  assert.equal(lanes.runningCount, 0);
});

test('of lanes too many those go that finish their block first, and they come back first', async () => {
  const { lanes, made, blocks, run } = scene();
  lanes.want(4);
  const ended = run();
  lanes.want(2);
  assert.equal(lanes.runningCount, 4, 'nobody drops a block');
  blocks[3]?.end('more');
  await turn();
  blocks[1]?.end('more');
  await turn();
  assert.equal(lanes.runningCount, 2);
  blocks[0]?.end('more');
  await turn();
  assert.equal(lanes.runningCount, 2, 'those that are left go on');
  lanes.want(3);
  assert.equal(blocks.at(-1)?.lane, blocks[1]?.lane, 'with the connection that was used last');
  assert.equal(made.length, 4);
  for (const { end } of blocks) end('done');
  await ended;
});

test('when one has found nothing left no lane begins any more', async () => {
  const { lanes, blocks, run } = scene();
  lanes.want(2);
  const ended = run();
  blocks[0]?.end('done');
  await turn();
  lanes.want(8);
  assert.equal(lanes.runningCount, 1);
  blocks[1]?.end('done');
  await ended;
  const again = run();
  assert.equal(lanes.runningCount, 8, 'the next round has them');
  for (const { end } of blocks) end('done');
  await again;
});

test('the first failure is thrown when all lanes have ended, and none begins any more', async () => {
  const { lanes, blocks, run } = scene();
  lanes.want(3);
  const ended = run();
  const rejected = assert.rejects(ended, /the first/);
  blocks[1]?.end(new Error('the first'));
  await turn();
  assert.equal(lanes.runningCount, 2);
  blocks[0]?.end(new Error('the second'));
  blocks[2]?.end('more');
  await turn();
  assert.equal(lanes.runningCount, 1);
  blocks.at(-1)?.end('done');
  await rejected;
});

test('without lanes at work the connection that counts is the control one', () => {
  const lane = fakeLane({ isConnected: false });
  const lanes = new Lanes(() => lane);
  assert.equal(lanes.connectedCount, 0);
  lane.isConnected = true;
  assert.equal(lanes.connectedCount, 1);
});
