/** Real connections whose other end reads only when the test says so; the test owns the time. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';
import { test, type TestContext } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import type { TransferError } from '../../../../common/errors.ts';
import { inChunks } from '../../../../sender/client/connection/body-chunks.ts';
import { UnackedBytes } from '../../../../sender/client/connection/unacked-bytes.ts';
import { StallWatch, standstillOf } from '../../../../sender/client/connection/stall-watch.ts';
import { eventually } from '../../../support/eventually.ts';

const MIB = 1024 * 1024;
const stalled = (seconds: number): string => `TransferError: no data on the connection for ${seconds} s`;

interface Scene extends AsyncDisposable {
  readonly near: Socket;
  readonly far: Socket;
  readonly watch: StallWatch;
  readonly stalls: TransferError[];
  readonly line: { isReachable: boolean; asked: number };
  /** The watch looks once every five seconds. */
  pass(seconds: number, between?: () => Promise<void>): Promise<void>;
}

async function scene(context: TestContext, responseMsMax = 60_000): Promise<Scene> {
  const server = createServer({ pauseOnConnect: true }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  assert(address !== null && typeof address === 'object');
  const accepted = once(server, 'connection') as Promise<[Socket]>;
  const near = connect(address.port, '127.0.0.1');
  const [[far]] = await Promise.all([accepted, once(near, 'connect')]);
  context.mock.timers.enable({ apis: ['setInterval'] });
  const real = new UnackedBytes();
  let looks = 0;
  const unacked = {
    of: async (socket: Socket) => {
      const bytes = await real.of(socket);
      looks++;
      return bytes;
    },
  };
  const stalls: TransferError[] = [];
  const line = { isReachable: false, asked: 0 };
  const isReachable = async (): Promise<boolean> => {
    line.asked++;
    return await Promise.resolve(line.isReachable);
  };
  const onStall = (error: TransferError): void => {
    stalls.push(error);
    watch[Symbol.dispose]();
  };
  const watch = new StallWatch({
    unacked,
    socketNow: () => near,
    responseMsMax,
    responseBytesMax: MIB,
    isReachable,
    onStall,
  });
  return {
    near,
    far,
    watch,
    stalls,
    line,
    async pass(seconds, between) {
      for (let at = 0; at < seconds; at += 5) {
        await between?.();
        if (stalls.length > 0) return;
        const before = looks;
        context.mock.timers.tick(5000);
        await eventually('a look', () => looks > before);
        await turn();
      }
    },
    [Symbol.asyncDispose]: async () => {
      watch[Symbol.dispose]();
      near.destroy();
      far.destroy();
      server.close();
      await once(server, 'close');
    },
  };
}

/** Waits until the buffers of both ends are full. */
async function settle({ near }: Scene): Promise<void> {
  const unacked = new UnackedBytes();
  let [before, since] = ['', 0];
  await eventually('the buffers to be full', async () => {
    const now = `${near.bytesWritten - near.writableLength} ${await unacked.of(near)}`;
    if (now !== before) [before, since] = [now, performance.now()];
    return performance.now() - since > 300;
  });
}

async function fill(all: Scene): Promise<void> {
  inChunks(Buffer.alloc(64 * MIB, 1)).pipe(all.near);
  await settle(all);
}

/** Something moves: the other end reads enough to make room for more. */
async function take(all: Scene): Promise<void> {
  let bytes = 0;
  all.far.on('data', (chunk: Buffer) => (bytes += chunk.length)).resume();
  await eventually('some bytes', () => bytes > MIB);
  all.far.pause().removeAllListeners('data');
  await settle(all);
}

test('a connection that does not move is given up after a minute if no other gets through', async (t) => {
  await using all = await scene(t);
  await fill(all);
  await all.pass(60);
  assert.deepEqual(all.stalls, []);
  assert.equal(all.watch.standstillMs, 55_000);
  await all.pass(5);
  assert.deepEqual(all.stalls.map(String), [stalled(60)]);
  assert(all.line.asked >= 5, `${all.line.asked}`);
});

test('it is given up after ten seconds if another connection gets through', async (t) => {
  await using all = await scene(t);
  await fill(all);
  all.line.isReachable = true;
  await all.pass(10);
  assert.deepEqual([all.stalls, all.line.asked], [[], 0]);
  await all.pass(5);
  assert.deepEqual(all.stalls.map(String), [stalled(10)]);
});

test('it is not given up before it has stood still for as long as it had moved', async (t) => {
  await using all = await scene(t);
  await fill(all);
  all.line.isReachable = true;
  await all.pass(30, async () => await take(all));
  assert.equal(all.watch.standstillMs, 0);
  await all.pass(25);
  assert.deepEqual([all.stalls, all.line.asked], [[], 0]);
  await all.pass(10);
  assert.match(String(all.stalls), /no data on the connection for 30 s$/);
});

test('a receiver that has the whole request may take its time to respond', async (t) => {
  await using all = await scene(t, 600_000);
  all.near.write('request');
  all.line.isReachable = true;
  await all.pass(600);
  assert.deepEqual([all.stalls, all.line.asked], [[], 0]);
  await all.pass(10);
  assert.deepEqual(all.stalls.map(String), [stalled(600)]);
});

test('of several connections the one that moves counts, and idle ones do not', () => {
  const of = (...all: (number | undefined)[]): number | undefined =>
    standstillOf(all.map((standstillMs) => ({ standstillMs })));
  assert.equal(of(), undefined);
  assert.equal(of(undefined, undefined), undefined);
  assert.equal(of(undefined, 20_000, 15_000), 15_000);
  assert.equal(of(20_000, 0), 0);
});
