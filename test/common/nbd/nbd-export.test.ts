/** The client against nbdkit, whose filters make it a server of every kind. */
import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { test, type TestContext } from 'node:test';
import type { NbdExport } from '../../../common/nbd/nbd-export.ts';
import { eventually } from '../../support/eventually.ts';
import { NbdServer, openExport } from '../../support/nbd-server.ts';
import { freshSeed, prng } from '../../support/prng.ts';
import { MIB, bounded, until } from '../../support/processes.ts';
import { unlessInstalled } from '../../support/requires.ts';
import { tempDir } from '../../support/temp-dir.ts';

const skip = unlessInstalled('nbdkit');
const SIZE_BYTES = 8 * MIB;
const seed = freshSeed();

interface Scene {
  readonly server: NbdServer;
  readonly disk: NbdExport;
  readonly content: () => Promise<Buffer>;
  readonly sentences: readonly string[];
}

/** @param words filters of nbdkit before its file, and parameters after `--`. */
async function withDisk(
  t: TestContext,
  words: readonly string[],
  check: (scene: Scene) => Promise<void>,
): Promise<void> {
  t.diagnostic(`seed ${seed}`);
  await using folder = await tempDir();
  const [path, socket] = [join(folder.path, 'disk'), join(folder.path, 's')];
  await writeFile(path, Buffer.alloc(SIZE_BYTES));
  const end = words.includes('--') ? words.indexOf('--') : words.length;
  const [filters, parameters] = [words.slice(0, end), words.slice(end + 1)];
  await using server = await NbdServer.nbdkit(socket, ...filters, 'file', path, ...parameters);
  await using disk = await openExport(server.uri);
  const sentences: string[] = [];
  disk.reportOutages((sentence) => sentences.push(sentence));
  await check({ server, disk, sentences, content: async () => await readFile(path) });
}

for (const [name, words] of [
  ['a plain one', []],
  ['one without extents', ['--filter=noextents']],
  ['one without zeroes', ['--filter=nozero']],
  ['one that zeroes by writing', ['--filter=nozero', '--', 'zeromode=emulate']],
  ['one that flushes each write', ['--filter=fua', '--', 'fuamode=force']],
  ['one without several connections', ['--filter=multi-conn', '--', 'multi-conn-mode=disable']],
  ['one without structured replies', ['--no-sr']],
  [
    'one that wants whole sectors and small requests',
    [
      '--filter=blocksize-policy',
      '--',
      'blocksize-minimum=4096',
      'blocksize-preferred=65536',
      'blocksize-maximum=256k',
      'blocksize-error-policy=error',
    ],
  ],
  ['a slow one', ['--filter=delay', '--', 'rdelay=5ms', 'wdelay=5ms']],
] as const) {
  test(`what is written to an export is there: ${name}`, { skip }, async (t) => {
    await withDisk(t, words, async ({ disk, content }) => {
      const bytes = prng(seed).bytes(3 * MIB + 1000);
      assert.equal(disk.sizeBytes, SIZE_BYTES);
      await disk.write(bytes, MIB);
      const zeroes = await disk.writeZeroes(MIB + 65_536, 65_536);
      assert(zeroes === 65_536 || (zeroes === 0 && !disk.facts.canWriteZeroes));
      if (zeroes > 0) bytes.fill(0, 65_536, 131_072);
      await disk.flush();
      const wanted = Buffer.alloc(SIZE_BYTES);
      bytes.copy(wanted, MIB);
      assert((await content()).equals(wanted), 'the file of the server');
      const back = Buffer.alloc(bytes.length);
      await disk.read(back, MIB);
      assert(back.equals(bytes), 'read back');
      const part = Buffer.alloc(777);
      await disk.read(part, MIB + 333);
      assert(part.equals(bytes.subarray(333, 1110)), 'read within units');
      const run = await disk.zeroRun(4 * MIB + 65_536, 2 * MIB);
      assert.deepEqual(run, {
        lengthBytes: 2 * MIB,
        isZero: disk.facts.contextId !== undefined && run.isZero,
      });
      assert.equal((await disk.zeroRun(MIB, 65_536)).isZero, false, 'data');
    });
  });
}

test(
  'an error of the server has the name of that of a system, and the next request works',
  { skip },
  async (t) => {
    const words = ['--filter=error', '--', 'error-pread=EIO', 'error-pread-rate=1', 'error-pwrite=ENOSPC'];
    await withDisk(t, [...words, 'error-pwrite-rate=1'], async ({ disk }) => {
      const bytes = Buffer.alloc(4096);
      await assert.rejects(disk.read(bytes, 0), { name: 'NbdError', code: 'EIO' });
      await assert.rejects(disk.write(bytes, 0), { name: 'NbdError', code: 'ENOSPC' });
      await disk.flush();
      assert.equal(disk.lossCount, 0);
    });
  },
);

test(
  'a server that is killed is waited for, and one flush fails for what it had not flushed',
  { skip },
  async (t) => {
    await withDisk(t, [], async ({ server, disk, sentences }) => {
      const bytes = prng(seed).bytes(MIB);
      await disk.write(bytes, 0);
      await server.kill();
      await eventually('the loss', () => sentences.length === 1);
      await assert.rejects(disk.flush(), /lost before everything was flushed/);
      const writing = disk.write(bytes, MIB);
      const reading = disk.read(Buffer.alloc(MIB), 0);
      assert.equal(await Promise.race([writing, reading, delay(300, 'waits')]), 'waits');
      await server.start();
      await bounded('both', Promise.all([writing, reading]));
      await disk.flush();
      assert.match(sentences.join('\n'), /^nbd\+unix:.* is gone: .*; trying again\n.* is back after \d/);
      assert(disk.lossCount > 0);
    });
  },
);

test('a loss without anything unflushed fails no flush', { skip }, async (t) => {
  await withDisk(t, [], async ({ server, disk, sentences }) => {
    await disk.write(Buffer.alloc(4096, 1), 0);
    await disk.flush();
    await server.kill();
    await eventually('the loss', () => sentences.length === 1);
    await server.start();
    await bounded('the flush', disk.flush());
  });
});

test('a write that was in flight when the server was killed is done by the next one', { skip }, async (t) => {
  await withDisk(t, ['--filter=delay', '--', 'delay-write=1'], async ({ server, disk, content }) => {
    const writing = disk.write(Buffer.alloc(4096, 7), 4096);
    await delay(200);
    await server.kill();
    await server.start();
    await bounded('the write', writing);
    await assert.rejects(disk.flush(), /lost before/);
    await disk.flush();
    assert.equal((await content())[4096], 7);
  });
});

test('an export that came back with another size is not used', { skip }, async (t) => {
  t.diagnostic(`seed ${seed}`);
  await using folder = await tempDir();
  const socket = join(folder.path, 's');
  const first = await NbdServer.nbdkit(socket, 'memory', '8M');
  await using disk = await openExport(first.uri);
  await first.kill();
  await using _second = await NbdServer.nbdkit(socket, 'memory', '9M');
  const wanted = /is another export since the connection was lost: it had 8388608 bytes and has 9437184 now/;
  await assert.rejects(bounded('the refusal', disk.read(Buffer.alloc(512), 0)), wanted);
});

test('a server that ends when its last client is gone sees that it is gone', { skip }, async () => {
  await using folder = await tempDir();
  await using server = await NbdServer.nbdkit(join(folder.path, 's'), '--filter=exitlast', 'memory', '8M');
  {
    await using disk = await openExport(server.uri);
    await disk.write(Buffer.alloc(MIB, 1), 0);
    await disk.flush();
  }
  await until('the server to end', () => !server.isRunning);
});
