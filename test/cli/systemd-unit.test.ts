/** The unit allows what a receiver does: checked with systemd's own lists, as no systemd runs here. */
import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { readDocument } from '../support/documents.ts';
import { loopDevice, skipUnlessLoop } from '../support/loop-device.ts';
import { MIB, SCRIPTS, assertEqualFiles, sendAll, startReceiver } from '../support/processes.ts';
import { prng } from '../support/prng.ts';
import { unlessInstalled } from '../support/requires.ts';
import { run, runOk } from '../support/run.ts';
import { skipUnlessStrace, strace } from '../support/strace.ts';
import { tempDir } from '../support/temp-dir.ts';

const UNIT = join(SCRIPTS, 'systemd/ddt-receive@.service');
const skip = skipUnlessLoop || skipUnlessStrace || unlessInstalled('systemd-analyze');

/** Values of one setting. */
async function settingOf(name: string): Promise<string[]> {
  const text = await readFile(UNIT, 'utf8');
  return Array.from(text.matchAll(new RegExp(`^${name}=(.*)$`, 'gm')), ([, value = '']) =>
    value.split(' '),
  ).flat();
}

/** The names in a set of system calls and the sets that it contains. */
async function namesIn(set: string): Promise<Set<string>> {
  const text = await runOk('systemd-analyze', ['syscall-filter', set]);
  const words = text.split('\n').flatMap((line) => (/^ +[@\w-]+$/.test(line) ? [line.trim()] : []));
  const inner = await Promise.all(words.filter((word) => word.startsWith('@')).map(namesIn));
  return new Set([...words, ...inner.flatMap((names) => [...names])]);
}

test('systemd accepts the unit', { skip }, async () => {
  await using folder = await tempDir();
  const path = join(folder.path, 'ddt-receive@dev-vdd.service');
  await writeFile(path, (await readFile(UNIT, 'utf8')).replace('/usr/local/bin/', `${SCRIPTS}/`));
  const { status, stderr } = await run('systemd-analyze', ['verify', path]);
  assert.deepEqual([status, stderr], [0, '']);
});

test('systemd accepts the unit of the guide that sends mail', { skip }, async () => {
  await using folder = await tempDir();
  const guide = await readDocument('docs/guide/notifications.md');
  const [, name = '', unit = ''] = /<!-- run unit (\S+) -->\n```ini\n(.*?)```/s.exec(guide) ?? [];
  const path = join(folder.path, name.replace('@', '@sealed'));
  await writeFile(path, unit);
  const { status, stderr } = await run('systemd-analyze', ['verify', path]);
  assert.deepEqual([name, status, stderr], ['notify@.service', 0, '']);
});

test('a copy needs no capability and no system call but those of the unit', { skip }, async () => {
  const capabilities = (await settingOf('CapabilityBoundingSet')).map(
    (name) => `+${name.slice(4).toLowerCase()}`,
  );
  assert(capabilities.length > 1);
  await using folder = await tempDir();
  const source = join(folder.path, 'source');
  await writeFile(source, Buffer.concat([prng(7).bytes(6 * MIB), Buffer.alloc(6 * MIB)]));
  await using device = await loopDevice(12 * MIB, { directIo: true });
  await writeFile(device.path, Buffer.alloc(12 * MIB, 0xa5));
  const log = join(folder.path, 'calls');
  const { under = [], env = {} } = strace({ log, trace: 'all' });
  const bounded = ['setpriv', `--bounding-set=-all,${capabilities.join(',')}`];
  await using receiver = await startReceiver({
    folder: folder.path,
    target: device.path,
    options: ['--once', '--overwrite-target', '--yes'],
    under: [...under, ...bounded],
    env,
  });
  await sendAll('--block-size', '1MiB', '--ticket-file', receiver.ticketFile, source);
  const ended = await receiver.process.ended;
  assert.equal(ended.status, 0, ended.stderr);
  assert.doesNotMatch(ended.stderr, /warning/);
  await assertEqualFiles(source, device.path);

  const calls = new Set(
    Array.from((await readFile(log, 'utf8')).matchAll(/^\d+ +(\w+)\(/gm), ([, name = '']) => name),
  );
  assert(calls.has('setuid') && calls.has('pwrite64'), 'the log has the calls of the receiver');
  const [set = ''] = await settingOf('SystemCallFilter');
  const allowed = await namesIn(set);
  assert.deepEqual([...calls].filter((name) => !allowed.has(name)).sort(), []);
});
