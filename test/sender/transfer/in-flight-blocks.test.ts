import assert from 'node:assert/strict';
import { setImmediate as turn } from 'node:timers/promises';
import { test } from 'node:test';
import { TransferError } from '../../../common/errors.ts';
import type { InFlightBlock } from '../../../sender/transfer/in-flight-block.ts';
import { InFlightBlocks } from '../../../sender/transfer/in-flight-blocks.ts';
import type { ReadBlock } from '../../../sender/source/read-block.ts';
import { FakeClock } from '../../support/fake-clock.ts';
import { fakeLane, type FakeLane } from '../../support/fake-lane.ts';

const BLOCK_BYTES = 1000;
const block = (index: number): ReadBlock => ({
  index,
  bytes: Buffer.alloc(BLOCK_BYTES),
  digest: Buffer.alloc(32),
  algorithm: 'sha-256',
  isZero: false,
  unreadable: [],
});

interface Flown {
  readonly lane: FakeLane;
  readonly flight: InFlightBlock;
  readonly land: () => void;
  readonly landed: Promise<void>;
}

class Scene {
  readonly clock = new FakeClock();
  readonly flights: InFlightBlocks;
  readonly end = new AbortController();

  constructor() {
    this.flights = new InFlightBlocks(this.clock, this.end.signal);
  }

  /** A block whose lane obeys the flight's signal; `land` is its receipt. */
  fly(index: number, encoded?: Buffer): Flown {
    const lane = fakeLane();
    const { promise, resolve } = Promise.withResolvers<void>();
    let started: InFlightBlock | undefined;
    const landed = this.flights.fly({ block: block(index), encoded }, lane, async (flight) => {
      started = flight;
      const aborted = new Promise<never>((_, reject) => {
        flight.signal.addEventListener('abort', () => reject(flight.signal.reason as Error));
      });
      await Promise.race([promise.then(() => flight.win()), aborted]);
    });
    assert(started !== undefined);
    return { lane, flight: started, land: resolve, landed };
  }

  /** Three blocks that take `ms` each: what blocks take. */
  async usual(ms: number): Promise<void> {
    const flown = [this.fly(100), this.fly(101), this.fly(102)];
    await this.clock.advance(ms);
    for (const { land } of flown) land();
    await Promise.all(flown.map(async ({ landed }) => await landed));
  }
}

const nothing = (): boolean => false;

test('a block that stands still while others had nothing left is late, and helped once', async () => {
  const scene = new Scene();
  await scene.usual(3000);
  const stuck = scene.fly(0);
  const [first, second] = [fakeLane(), fakeLane()].map(
    async (lane) => await scene.flights.late(lane, nothing),
  );
  await scene.clock.advance(10_000);
  assert.equal(await first, stuck.flight);
  stuck.land();
  await stuck.landed;
  assert.equal(await second, undefined, 'one helper is enough');
});

test('a block as fast as the others, or done before another lane could be, is not late', async () => {
  const scene = new Scene();
  await scene.usual(10_000);
  const steady = scene.fly(0);
  const nearlyDone = scene.fly(1);
  nearlyDone.lane.acknowledgedBytes = 0;
  const late = scene.flights.late(fakeLane(), nothing);
  for (let second = 1; second <= 18; second++) {
    steady.lane.acknowledgedBytes = second * 55;
    nearlyDone.lane.acknowledgedBytes = second * 55;
    await scene.clock.advance(1000);
  }
  steady.land();
  nearlyDone.land();
  assert.equal(await late, undefined);
});

test('a plain block after small encoded ones is not late because it is larger', async () => {
  const scene = new Scene();
  const small = [100, 101, 102].map((index) => scene.fly(index, Buffer.alloc(BLOCK_BYTES / 10)));
  await scene.clock.advance(3000);
  for (const { land } of small) land();
  await Promise.all(small.map(async ({ landed }) => await landed));
  const plain = scene.fly(0);
  const late = scene.flights.late(fakeLane(), nothing);
  for (let second = 1; second <= 29; second++) {
    plain.lane.acknowledgedBytes = (second * BLOCK_BYTES) / 30;
    await scene.clock.advance(1000);
  }
  plain.land();
  assert.equal(await late, undefined);
});

test('a block that goes so slowly that it would take more than twice as long is late', async () => {
  const scene = new Scene();
  await scene.usual(4000);
  const slow = scene.fly(0);
  const late = scene.flights.late(fakeLane(), nothing);
  for (let second = 1; second <= 4; second++) {
    slow.lane.acknowledgedBytes = second * 20;
    await scene.clock.advance(1000);
  }
  assert.equal(await Promise.race([late, turn()]), slow.flight);
  slow.land();
});

test('the lane that was slower hears that it lost; its receipt would not count', async () => {
  const scene = new Scene();
  const slow = scene.fly(0);
  await slow.flight.help(scene.end.signal, async () => {
    assert.equal(slow.flight.win(), true);
  });
  await slow.landed;
  assert.equal(slow.flight.win(), false);
  assert(slow.flight.signal.aborted && !scene.end.signal.aborted);
});

test('a block is not given back while a helper uses its bytes', async () => {
  const scene = new Scene();
  const slow = scene.fly(0);
  const order: string[] = [];
  const helped = slow.flight.help(scene.end.signal, async (signal) => {
    await new Promise((resolve) => signal.addEventListener('abort', resolve));
    await turn();
    order.push('the helper has ended');
    throw new TransferError('interrupted', 'cancelled');
  });
  slow.land();
  await slow.landed;
  order.push('given back');
  await helped;
  assert.deepEqual(order, ['the helper has ended', 'given back']);
});

test('a helper that fails changes nothing, unless it is a bug', async () => {
  const scene = new Scene();
  const slow = scene.fly(0);
  await slow.flight.help(scene.end.signal, async () => {
    await Promise.reject(new TransferError('connection-failed', 'cut'));
  });
  assert(!slow.flight.isWon && !slow.flight.signal.aborted);
  const bug = slow.flight.help(scene.end.signal, async () => await Promise.reject(new TypeError('bug')));
  await assert.rejects(bug, TypeError);
  slow.land();
  await slow.landed;
});

test('who waits for late blocks goes when there is work, nothing under way, or all ends', async () => {
  const scene = new Scene();
  assert.equal(await scene.flights.late(fakeLane(), nothing), undefined);
  const flown = scene.fly(0);
  assert.equal(await scene.flights.late(fakeLane(), () => true), undefined);
  const waiting = scene.flights.late(fakeLane(), nothing);
  scene.end.abort(new TransferError('interrupted', 'interrupted'));
  await assert.rejects(waiting, { code: 'interrupted' });
  await assert.rejects(flown.landed, { code: 'interrupted' });
});

test('the time that blocks are under way is counted, those in the air included', async () => {
  const scene = new Scene();
  const [one, two] = [scene.fly(0), scene.fly(1)];
  await scene.clock.advance(1000);
  one.land();
  await one.landed;
  await scene.clock.advance(500);
  assert.equal(scene.flights.sendingMs, 1000 + 1500);
  two.land();
  await two.landed;
});
