/** Exit 0 is a proof although other programs write to the target: between two runs, and during one. */
import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { loopDevice, skipUnlessLoop } from '../support/loop-device.ts';
import { freshSeed, prng } from '../support/prng.ts';
import {
  MIB,
  assertEqualFiles,
  bounded,
  doneOf,
  runSender,
  startReceiver,
  startSender,
  until,
  writeTicketVia,
  type Receiver,
} from '../support/processes.ts';
import { Relay } from '../support/relay.ts';
import { runOk } from '../support/run.ts';
import { tempDir } from '../support/temp-dir.ts';

const seed = freshSeed();
const SIZE = 16 * MIB;
const BLOCK = 64 * 1024;
const OPTIONS = ['--block-size', '64KiB', '--progress', 'json'];

interface Place extends AsyncDisposable {
  readonly source: string;
  readonly target: string;
  readonly receiver: Receiver;
  /** Sends until so many blocks are durable, kills the sender, and stops the receiver. */
  stopAt(blocks: number): Promise<void>;
}

async function place(kind: 'file' | 'device'): Promise<Place> {
  await using building = new AsyncDisposableStack();
  const folder = building.use(await tempDir());
  const [source, file] = [join(folder.path, 'source'), join(folder.path, 'target')];
  await writeFile(source, prng(seed).bytes(SIZE));
  const device = kind === 'device' ? building.use(await loopDevice(SIZE, { directIo: true })) : undefined;
  const target = device?.path ?? file;
  const receiver = building.use(await startReceiver({ folder: folder.path, target }));
  const parts = building.move();
  return {
    source,
    target,
    receiver,
    stopAt: async (blocks) => {
      await using line = await Relay.start({ to: receiver, bytesPerSecond: 8 * MIB });
      const ticket = await writeTicketVia(receiver, line, join(folder.path, 'slow'));
      await using sender = await startSender([...OPTIONS, '--ticket-file', ticket, source]);
      await until('some blocks are durable', async () => (await receiver.durableCount()) >= blocks);
      sender.kill('SIGKILL');
      await bounded('the sender to end', sender.ended);
      await receiver.end('SIGTERM');
    },
    [Symbol.asyncDispose]: async () => await parts.disposeAsync(),
  };
}

/** dd(1), as a person would. */
async function overwrite(target: string, block: number, how: 'through the cache' | 'direct'): Promise<void> {
  const how4096 = how === 'direct' ? ['oflag=direct', 'bs=4096', 'count=2'] : ['bs=3', 'count=1'];
  const seek = how === 'direct' ? (block * BLOCK) / 4096 : Math.floor((block * BLOCK + 5) / 3);
  await runOk('dd', [
    'if=/dev/urandom',
    `of=${target}`,
    'conv=notrunc',
    'status=none',
    `seek=${seek}`,
    ...how4096,
  ]);
}

for (const kind of ['device', 'file'] as const) {
  const options = { skip: kind === 'device' && skipUnlessLoop };
  for (const how of ['through the cache', 'direct'] as const) {
    test(
      `what dd writes to a ${kind}, ${how}, while neither side runs is found and mended`,
      options,
      async (t) => {
        t.diagnostic(`seed ${seed}`);
        await using at = await place(kind);
        await at.stopAt(64);
        await overwrite(at.target, 3, how);
        await overwrite(at.target, 41, how);
        await at.receiver.start();
        const ended = await runSender([...OPTIONS, '--ticket-file', at.receiver.ticketFile, at.source]);
        doneOf(ended);
        assert.match(
          ended.stderr,
          /warning: another program has changed 2 blocks of \S+ during the transfer;/,
        );
        await assertEqualFiles(at.source, at.target);
        await at.receiver.end('SIGTERM');
        assert.match(
          at.receiver.process.stderr,
          /block \d+ \(offset \d+\) of \S+ is not what was written: another program/,
        );
      },
    );
  }
}

test(
  'what dd writes to a device while it is written is found before the seal',
  { skip: skipUnlessLoop },
  async (t) => {
    t.diagnostic(`seed ${seed}`);
    await using at = await place('device');
    await using folder = await tempDir();
    await using line = await Relay.start({ to: at.receiver, bytesPerSecond: 4 * MIB });
    const ticket = await writeTicketVia(at.receiver, line, join(folder.path, 'slow'));
    await using sender = await startSender([...OPTIONS, '--ticket-file', ticket, at.source]);
    await until('block 0 is verified', async () => {
      const { body } = await at.receiver.request('GET', '/blocks?from=0&count=1');
      return body.includes('verified');
    });
    await overwrite(at.target, 0, 'through the cache');
    doneOf(await bounded('the sender to end', sender.ended, 60_000));
    await assertEqualFiles(at.source, at.target);
    await at.receiver.end('SIGTERM');
    assert.match(
      at.receiver.process.stderr,
      /another program has written to \/dev\/loop\d+ \(.*since the start\)/,
    );
  },
);

test('one that keeps writing ends the run with 5 and its name', { skip: skipUnlessLoop }, async (t) => {
  t.diagnostic(`seed ${seed}`);
  await using at = await place('device');
  const over = new AbortController();
  const writing = (async () => {
    while (!over.signal.aborted) await overwrite(at.target, 255, 'direct');
  })();
  const ended = await runSender([...OPTIONS, '--ticket-file', at.receiver.ticketFile, at.source]);
  over.abort();
  await writing;
  assert.equal(ended.status, 5, ended.stderr);
  assert.match(
    ended.stderr,
    /error: the receiver says: (another program keeps writing to|cannot verify block 255)/,
  );
});
