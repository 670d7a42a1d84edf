/** Disks full of old data, of which only what is used is copied, and what the copies should be. */
import assert from 'node:assert/strict';
import { open, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { mounted } from './loop-device.ts';
import { MIB, eventsOf, runSender, type Receiver } from './processes.ts';
import { freshSeed, prng } from './prng.ts';
import { runOk } from './run.ts';
import { tempDir } from './temp-dir.ts';

const USED_ONLY = ['--used-only', '--progress', 'json'];

export async function fillWithOldData(path: string): Promise<void> {
  await runOk('sh', [
    '-c',
    `yes 'what a file once held' | dd of=${path} bs=1M iflag=fullblock status=none || true`,
  ]);
  await runOk('sync', [path]);
}

/** Writes files of all sizes, of which every third is deleted again, so that what is free is in pieces. */
export async function age(folder: string): Promise<void> {
  const random = prng(freshSeed());
  for (let at = 0; at < 60; at++) {
    await writeFile(join(folder, `file-${at}`), random.bytes(1 + random.below(300_000)));
  }
  for (let at = 0; at < 60; at += 3) await runOk('rm', [join(folder, `file-${at}`)]);
}

/** What the source is, with zeros where the copy says that it has left something out. */
export async function assertLeftOut(source: string, target: string, leftOut: LeftOut): Promise<void> {
  assert.equal(leftOut.count, leftOut.areas.length);
  await using folder = await tempDir();
  const expected = join(folder.path, 'expected');
  await runOk('cp', [source, expected]);
  const size = Number(await runOk('blockdev', ['--getsize64', source]));
  {
    await using file = await open(expected, 'r+');
    for (const [offset, length] of leftOut.areas) {
      for (let at = offset; at < offset + length; at += MIB) {
        const part = Math.min(MIB, offset + length - at);
        await file.write(Buffer.alloc(part), 0, part, at);
      }
    }
  }
  await runOk('cmp', ['--bytes', String(size), expected, target]);
}

export interface LeftOut {
  readonly bytes: number;
  readonly count: number;
  readonly areas: readonly (readonly [number, number])[];
}

export function leftOutOf(stdout: string): LeftOut {
  const leftOut = eventsOf(stdout).at(-1)?.['leftOut'];
  assert(leftOut !== undefined, stdout);
  return leftOut as LeftOut;
}

/** @param more options of mount(8). */
export async function assertSameFiles(one: string, other: string, ...more: readonly string[]): Promise<void> {
  await using before = await mounted(one, ['--read-only']);
  await using after = await mounted(other, ['--read-only', ...more]);
  await runOk('diff', ['--recursive', before.path, after.path]);
}

/** With events. */
export async function sendUsed(
  to: Receiver,
  source: string,
  ...more: readonly string[]
): ReturnType<typeof runSender> {
  return await runSender(['--ticket-file', to.ticketFile, ...USED_ONLY, ...more, source]);
}
