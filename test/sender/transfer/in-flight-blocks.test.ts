import assert from 'node:assert/strict';
import { setImmediate as turn } from 'node:timers/promises';
import { test } from 'node:test';
import { abortable } from '../../../common/abortable.ts';
import { TransferError } from '../../../common/errors.ts';
import type { InFlightBlock } from '../../../sender/transfer/in-flight-block.ts';
import { InFlightBlocks } from '../../../sender/transfer/in-flight-blocks.ts';
import type { ReadBlock } from '../../../sender/source/read-block.ts';
import { FakeClock } from '../../support/fake-clock.ts';
import { fakeLane, type FakeLane } from '../../support/fake-lane.ts';

const BLOCK_BYTES = 1000;
const blockOf = (index: number): ReadBlock => ({
  index,
  bytes: Buffer.alloc(BLOCK_BYTES),
  digest: Buffer.alloc(32),
  algorithm: 'sha-256',
  isZero: false,
  unreadable: [],
});

interface Sent {
  readonly lane: FakeLane;
  readonly block: InFlightBlock;
  /** Its own lane gets the result. */
  readonly write: () => void;
  readonly ended: Promise<void>;
}

class Scene {
  readonly clock = new FakeClock();
  readonly inFlight: InFlightBlocks;
  readonly end = new AbortController();

  constructor() {
    this.inFlight = new InFlightBlocks(this.clock, this.end.signal);
  }

  /** A block whose lane obeys its signal. */
  send(index: number, encoded?: Buffer): Sent {
    const lane = fakeLane();
    const { promise, resolve } = Promise.withResolvers<void>();
    const block = this.inFlight.add({ block: blockOf(index), lane, encoded });
    const sending = async (): Promise<void> => {
      await using own = block;
      await abortable(promise, own.signal);
      this.inFlight.noteWritten(own);
      own.settle();
    };
    return { lane, block, write: resolve, ended: sending() };
  }

  /** Three blocks that take `ms` each: the usual time. */
  async usual(ms: number): Promise<void> {
    const sent = [this.send(100), this.send(101), this.send(102)];
    await this.clock.advance(ms);
    for (const { write } of sent) write();
    await Promise.all(sent.map(async ({ ended }) => await ended));
  }
}

const nothing = (): boolean => false;

test('a block that stands still while others have nothing left is overdue, and hedged once', async () => {
  const scene = new Scene();
  await scene.usual(3000);
  const stuck = scene.send(0);
  const [first, second] = [fakeLane(), fakeLane()].map(
    async (lane) => await scene.inFlight.nextOverdue(lane, nothing),
  );
  await scene.clock.advance(10_000);
  assert.equal(await first, stuck.block);
  stuck.write();
  await stuck.ended;
  assert.equal(await second, undefined, 'one hedged request is enough');
});

test('a block that is as fast as others, or would be done before another lane, is not overdue', async () => {
  const scene = new Scene();
  await scene.usual(10_000);
  const steady = scene.send(0);
  const nearlyDone = scene.send(1);
  nearlyDone.lane.acknowledgedBytes = 0;
  const overdue = scene.inFlight.nextOverdue(fakeLane(), nothing);
  for (let second = 1; second <= 18; second++) {
    steady.lane.acknowledgedBytes = second * 55;
    nearlyDone.lane.acknowledgedBytes = second * 55;
    await scene.clock.advance(1000);
  }
  steady.write();
  nearlyDone.write();
  assert.equal(await overdue, undefined);
});

test('a plain block after small encoded ones is not overdue because it is larger', async () => {
  const scene = new Scene();
  const small = [100, 101, 102].map((index) => scene.send(index, Buffer.alloc(BLOCK_BYTES / 10)));
  await scene.clock.advance(3000);
  for (const { write } of small) write();
  await Promise.all(small.map(async ({ ended }) => await ended));
  const plain = scene.send(0);
  const overdue = scene.inFlight.nextOverdue(fakeLane(), nothing);
  for (let second = 1; second <= 29; second++) {
    plain.lane.acknowledgedBytes = (second * BLOCK_BYTES) / 30;
    await scene.clock.advance(1000);
  }
  plain.write();
  assert.equal(await overdue, undefined);
});

test('a block so slow that it would take more than twice the usual time is overdue', async () => {
  const scene = new Scene();
  await scene.usual(4000);
  const slow = scene.send(0);
  const overdue = scene.inFlight.nextOverdue(fakeLane(), nothing);
  for (let second = 1; second <= 4; second++) {
    slow.lane.acknowledgedBytes = second * 20;
    await scene.clock.advance(1000);
  }
  assert.equal(await Promise.race([overdue, turn()]), slow.block);
  slow.write();
});

test('the slower lane is aborted, and its result does not count', async () => {
  const scene = new Scene();
  const slow = scene.send(0);
  await slow.block.hedge(scene.end.signal, async () => {
    assert.equal(slow.block.settle(), true);
  });
  await assert.rejects(slow.ended, { message: 'another lane was faster' });
  assert.equal(slow.block.settle(), false);
  assert(slow.block.signal.aborted && !scene.end.signal.aborted);
});

test('a block does not end while a hedged request uses its bytes', async () => {
  const scene = new Scene();
  const slow = scene.send(0);
  const order: string[] = [];
  const hedged = slow.block.hedge(scene.end.signal, async (signal) => {
    await new Promise((resolve) => signal.addEventListener('abort', resolve));
    await turn();
    order.push('the hedged request has ended');
    throw new TransferError('interrupted', 'cancelled');
  });
  slow.write();
  await slow.ended;
  order.push('the block has ended');
  await hedged;
  assert.deepEqual(order, ['the hedged request has ended', 'the block has ended']);
});

test('a hedged request that fails changes nothing, unless it is a bug', async () => {
  const scene = new Scene();
  const slow = scene.send(0);
  await slow.block.hedge(scene.end.signal, async () => {
    await Promise.reject(new TransferError('connection-failed', 'cut'));
  });
  assert(!slow.block.isSettled && !slow.block.signal.aborted);
  const bug = slow.block.hedge(scene.end.signal, async () => await Promise.reject(new TypeError('bug')));
  await assert.rejects(bug, TypeError);
  slow.write();
  await slow.ended;
});

test('waiting for overdue blocks ends when there is work, nothing is in flight, or all ends', async () => {
  const scene = new Scene();
  assert.equal(await scene.inFlight.nextOverdue(fakeLane(), nothing), undefined);
  const sent = scene.send(0);
  assert.equal(await scene.inFlight.nextOverdue(fakeLane(), () => true), undefined);
  const waiting = scene.inFlight.nextOverdue(fakeLane(), nothing);
  const ended = assert.rejects(sent.ended, { code: 'interrupted' });
  scene.end.abort(new TransferError('interrupted', 'interrupted'));
  await assert.rejects(waiting, { code: 'interrupted' });
  await ended;
});

test('the time of blocks in flight is counted, including those that have not ended', async () => {
  const scene = new Scene();
  const [one, two] = [scene.send(0), scene.send(1)];
  await scene.clock.advance(1000);
  one.write();
  await one.ended;
  await scene.clock.advance(500);
  assert.equal(scene.inFlight.sendingMs, 1000 + 1500);
  two.write();
  await two.ended;
});
