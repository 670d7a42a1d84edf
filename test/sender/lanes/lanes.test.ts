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
      return 'dismissed';
    });
  return { lanes, made, blocks, run };
}

test('as many lanes run as are wanted, and more at once when more are wanted', async () => {
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

test('surplus lanes go when they finish their block, and are the first to come back', async () => {
  const { lanes, made, blocks, run } = scene();
  lanes.want(4);
  const ended = run();
  lanes.want(2);
  assert.equal(lanes.runningCount, 4, 'no lane drops its block');
  blocks[3]?.end('more');
  await turn();
  blocks[1]?.end('more');
  await turn();
  assert.equal(lanes.runningCount, 2);
  blocks[0]?.end('more');
  await turn();
  assert.equal(lanes.runningCount, 2, 'the remaining ones continue');
  lanes.want(3);
  assert.equal(blocks.at(-1)?.lane, blocks[1]?.lane, 'with the connection used last');
  assert.equal(made.length, 4);
  for (const { end } of blocks) end('done');
  await ended;
});

test('when a lane finds nothing left, no further lane starts', async () => {
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
  assert.equal(lanes.runningCount, 8, 'the next round starts them');
  for (const { end } of blocks) end('done');
  await again;
});

test('the first failure is thrown when all lanes have ended, and no further lane starts', async () => {
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

test('while no lane runs, the control connection counts', () => {
  const lane = fakeLane({ isConnected: false });
  const lanes = new Lanes(() => lane);
  assert.equal(lanes.connectedCount, 0);
  lane.isConnected = true;
  assert.equal(lanes.connectedCount, 1);
});

test('fewer lanes may send than run; surplus permits end with their blocks', async () => {
  const { lanes, blocks, run } = scene();
  const never = new AbortController().signal;
  lanes.want(4, 2);
  const ended = run();
  assert.deepEqual([lanes.runningCount, lanes.sendingCount], [4, 2]);
  const [first, second] = [await lanes.permitToSend(never), await lanes.permitToSend(never)];
  const waiting = lanes.permitToSend(never);
  lanes.want(4, 1);
  assert.equal(lanes.sendingCount, 2, 'no block is dropped');
  first[Symbol.dispose]();
  assert.equal(lanes.sendingCount, 1);
  second[Symbol.dispose]();
  using _third = await waiting;
  assert.equal(lanes.sendingCount, 1);
  for (const { end } of blocks) end('done');
  await ended;
});
