/** The benchmarks run, small, and print complete tables. Their figures are not checked. */
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { unlessCephVolumes } from '../support/ceph.ts';
import { skipUnlessLoop } from '../support/loop-device.ts';
import { notApplicable, unlessInstalled, unlessRoot } from '../support/requires.ts';
import { run } from '../support/run.ts';
import { tempDir } from '../support/temp-dir.ts';

const BENCH = join(import.meta.dirname, '../../scripts/bench');

/** @returns the output, and the rows of its tables by their first cell. */
async function bench(
  script: string,
  parameters: readonly string[],
): Promise<{ stdout: string; rows: Map<string, string[]> }> {
  await using folder = await tempDir();
  const command = [join(BENCH, script), ...parameters, '--folder', folder.path];
  const { status, stdout, stderr } = await run(process.execPath, command);
  assert.equal(status, 0, stderr);
  const rows = stdout.split('\n').flatMap((line): [string, string[]][] => {
    const [, name = '', ...cells] = line.replaceAll(String.raw`\|`, '/').split('|');
    return line.startsWith('| ') ? [[name.trim(), cells.slice(0, -1).map((cell) => cell.trim())]] : [];
  });
  return { stdout, rows: new Map(rows) };
}

test('bench:local copies a disk with every tool that is installed, and lists the missing ones', async () => {
  const small = ['--jobs', 'sparse', '--size', '16MiB', '--rounds', '1'];
  const { stdout, rows } = await bench('local.ts', [...small, '--ddt=--connections 1; --verify none']);
  const wanted = ['ddt', 'ddt --verify none', 'ddt --connections 1 --verify none', 'dd, no network'];
  for (const name of wanted) {
    const [rate, span, seconds, ratio, cpu, near, far, proof, ...peaks] = rows.get(name) ?? [];
    assert.match(`${rate} ${span} ${seconds} ${ratio} ${cpu}`, /^\d+ \d+–\d+ [\d.]+ [\d.]+ [\d.]+$/, stdout);
    // Empty where control groups cannot be made.
    assert.match(`${near} ${far}`, /^([\d.]+ [\d.]+| )$/, stdout);
    const isDdt = name.startsWith('ddt');
    assert.equal(proof?.includes('read back'), name === 'ddt', stdout);
    assert.deepEqual(
      peaks.map((peak) => peak.endsWith(' MiB')),
      [isDdt, isDdt],
      stdout,
    );
  }
  for (const name of ['nbdcopy', 'dd / ssh dd', 'dd / nc', 'rsync', 'qemu-img convert']) {
    const isThere = [...rows.keys()].some((row) => row.startsWith(name));
    const isLeft = stdout.includes(`\nLeft out: ${name.replaceAll('/', '|')}`);
    assert(isThere !== isLeft, `${name}\n${stdout}`);
  }
});

test('bench:local copies from device to device', { skip: skipUnlessLoop }, async () => {
  const small = ['--jobs', 'device', '--size', '16MiB', '--rounds', '1'];
  const { stdout, rows } = await bench('local.ts', [...small, '--target-folder', '/dev/shm']);
  for (const name of ['ddt', 'ddt --verify none', 'dd, direct I/O, no network']) {
    assert.match(rows.get(name)?.[0] ?? '', /^\d+$/, stdout);
  }
});

test('bench:local runs ddt again after an interrupted run and after a sealed one', async () => {
  const small = ['--jobs', 'second', '--size', '16MiB', '--rounds', '1', '--tools', 'first run'];
  const { stdout, rows } = await bench('local.ts', small);
  for (const name of ['ddt, first run not sealed', 'ddt, first run sealed: starts over']) {
    assert.equal(rows.get(name)?.[7], 'digests, flushed, read back', stdout);
  }
});

test('bench:scale prints the cost of each number of blocks, and what grows with it', async () => {
  const { stdout, rows } = await bench('scale.ts', ['--blocks', '6000,3000']);
  assert.deepEqual(rows.get(''), ['3,000 blocks', '6,000 blocks']);
  assert(rows.size > 12, stdout);
  for (const [name, cells] of rows) assert(cells.length === 2 && cells.every((cell) => cell !== ''), name);
  assert.match(
    stdout,
    /\nBytes of memory per block, from 3,000 to 6,000 blocks: sender [\d.-]+, receiver [\d.-]+\.\n/,
  );
});

const skip =
  unlessRoot ||
  unlessInstalled('cc', 'ip') ||
  (!existsSync('/dev/net/tun') && notApplicable('there is no /dev/net/tun'));

test('bench:update updates the target of every tool that is installed', { skip }, async () => {
  const { rows, stdout } = await bench('update.ts', ['--size', '8MiB', '--rounds', '2', '--changed', '20']);
  for (const name of ['ddt --update', 'ddt --adopt']) assert.equal(rows.get(name)?.length, 10, stdout);
  assert.match(stdout, /\*\*1 Gbit\/s, 20 ms, no loss\*\*, 8 MiB of random bytes, 20 % changed\n/);
});

test(
  'bench:used copies an aged disk over a line, all of it and what is used',
  { skip: skip || skipUnlessLoop || unlessInstalled('partclone.extfs', 'nc', 'ss') },
  async () => {
    const { rows, stdout } = await bench('used.ts', ['--size', '64MiB', '--line', '1000/2/0']);
    const [all, used, other] = ['ddt', 'ddt --used-only', 'partclone -c / nc / partclone -r, not encrypted'];
    for (const name of [all, used, other]) assert.equal(rows.get(name)?.length, 4, stdout);
    const mib = (name: string): number => Number(/^([\d.]+) MiB$/.exec(rows.get(name)?.[1] ?? '')?.[1]);
    assert(mib(used) < mib(all) && mib(other) < mib(all), stdout);
    assert.match(stdout, /64 MiB, 30 % used, the rest old data, over 1 Gbit\/s, 2 ms, no loss\n/);
  },
);

test(
  'bench:ceph copies onto a volume with every tool that is installed',
  { skip: unlessCephVolumes() || unlessInstalled('nbdcopy') },
  async () => {
    const { rows, stdout } = await bench('ceph.ts', ['--size', '16MiB', '--rounds', '1']);
    for (const name of ['ddt', 'ddt --verify none', 'qemu-img convert -n -W -m 8', 'nbdcopy'])
      assert.match(rows.get(name)?.[0] ?? '', /^\d+$/, stdout);
  },
);

test(
  'bench:fleet copies disks side by side, one after the other, and with one sender',
  { skip },
  async () => {
    const small = ['--disks', '2', '--size', '1MiB', '--line', '1000/2/0', '--at-once', '2,1'];
    const { rows, stdout } = await bench('fleet.ts', small);
    for (const name of ['ddt-fleet, 2 at once', 'ddt-fleet, one after the other', 'one ddt-send for all'])
      assert.match(rows.get(name)?.[0] ?? '', /^\d+\.\d$/, stdout);
    assert.match(stdout, /\*\*1 Gbit\/s, 2 ms, no loss\*\*, 2 disks of 1 MiB random bytes\n/);
  },
);

test('a wrong option of a benchmark is refused with the valid values', async () => {
  for (const [script, option, message] of [
    ['local.ts', '--jobs=tape', /--jobs: 'tape' is not one of device, random, image, sparse, second\n/],
    ['local.ts', '--size=1MiB', /--size must be at least 16 MiB\n/],
    ['local.ts', '--ddt=a;b;c', /--ddt 'a;b;c' has more than one ';'\n/],
    ['scale.ts', '--blocks=0', /--blocks/],
    ['used.ts', '--line=fast', /--line: 'fast' is not rate\/rtt\/loss/],
    ['ceph.ts', '--rounds=0', /--rounds/],
    ['fleet.ts', '--disks=1', /--disks '1' is not a whole number from 2/],
    ['update.ts', '--line=fast', /--line: 'fast' is not rate\/rtt\/loss/],
  ] as const) {
    const { status, stdout, stderr } = await run(process.execPath, [join(BENCH, script), option]);
    assert.deepEqual([status, stdout], [2, ''], stderr);
    assert.match(stderr, message);
  }
});
