/** SIGUSR1 prints progress, and never opens Node's debugger, whenever it comes. */
import assert from 'node:assert/strict';
import { readFile, readlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { prng } from '../support/prng.ts';
import { MIB, Receiver, startReceiver, startSender, until } from '../support/processes.ts';
import type { Started } from '../support/run.ts';
import { tempDir } from '../support/temp-dir.ts';

/** Starts of each command, with signals all the while. */
const STARTS = 4;
const PROGRESS = /^ *[\d.]+ % .*connection/m;
const SIGUSR1_BIT = 1n << 9n;

/** Whether the signal cannot end the process any more. */
async function isSafe(pid: number): Promise<boolean> {
  const status = await readFile(`/proc/${pid}/status`, 'latin1').catch(() => '');
  const masks = [...status.matchAll(/^Sig(?:Ign|Blk|Cgt):\s*([0-9a-f]+)$/gm)];
  return masks.some(([, mask]) => (BigInt(`0x${mask}`) & SIGUSR1_BIT) !== 0n);
}

/** The addresses at which a process listens, as /proc/net/tcp has them. */
async function listeners({ pid }: Started): Promise<string[]> {
  const tables = await Promise.all(
    ['tcp', 'tcp6'].map((name) => readFile(`/proc/${pid}/net/${name}`, 'latin1')),
  );
  const lines = tables.join('\n').matchAll(/^\s*\d+: (\S+) \S+ 0A .*?\s(\d+) \d+ [0-9a-f]{8,}/gm);
  const own = new Set<string>();
  for (let fd = 0; fd < 64; fd++) own.add(await readlink(`/proc/${pid}/fd/${fd}`).catch(() => ''));
  return [...lines].filter(([, , inode]) => own.has(`socket:[${inode}]`)).map(([, address = '']) => address);
}

/** Signals it without a pause until it is ready. */
async function pester(process: Started, isReady: () => Promise<boolean> | boolean): Promise<void> {
  await until('the launcher to ignore it', async () => await isSafe(process.pid));
  await until('it to be ready', async () => {
    process.kill('SIGUSR1');
    return await isReady();
  });
}

test('ddt-receive prints its blocks, from the first millisecond on', async () => {
  await using folder = await tempDir();
  for (let nth = 0; nth < STARTS; nth++) {
    await using receiver = new Receiver({ folder: folder.path, target: join(folder.path, 'target') });
    const started = await receiver.spawn();
    await pester(started, () => started.stdout.includes('listening on'));
    await receiver.listening();
    await started.waitForLine(/ddt-receive: starting$/);
    started.kill('SIGUSR1');
    await started.waitForLine(/ddt-receive: nothing is claimed yet$/);
    assert.equal((await listeners(started)).length, 1, 'its own port only');
    const { stderr } = await receiver.end('SIGTERM');
    assert.doesNotMatch(stderr, /debugger/i);
  }
});

test('both commands print how far the copy is', async () => {
  await using folder = await tempDir();
  const source = join(folder.path, 'source');
  await writeFile(source, prng(2).bytes(4 * MIB));
  await using receiver = await startReceiver({ folder: folder.path, target: join(folder.path, 'target') });
  const options = ['--bwlimit', '64K', '--block-size', '64KiB', '--digest', 'sha-256', '--progress', 'none'];
  for (let nth = 0; nth < STARTS; nth++) {
    await using sender = await startSender([...options, '--ticket-file', receiver.ticketFile, source]);
    await pester(sender, () => PROGRESS.test(sender.stderr));
    receiver.process.kill('SIGUSR1');
    await receiver.process.waitForLine(
      /ddt-receive: 64 blocks: \d+ verified, \d+ durable, \d+ written, \d+ absent$/,
    );
    assert.deepEqual(await listeners(sender), []);
    sender.kill('SIGINT');
    const { status, stderr } = await sender.ended;
    assert.equal(status, 130, stderr);
    assert.doesNotMatch(stderr, /debugger/i);
  }
});
