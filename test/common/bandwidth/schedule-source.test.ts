import assert from 'node:assert/strict';
import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { ScheduleSource, type ScheduleSourceOptions } from '../../../common/bandwidth/schedule-source.ts';
import { FakeClock } from '../../support/fake-clock.ts';
import { tempDir } from '../../support/temp-dir.ts';

const MIB = 1024 * 1024;

interface Heard extends ScheduleSourceOptions {
  readonly clock: FakeClock;
  readonly changes: (number | undefined)[];
  readonly broken: string[];
}

function listen(clock = new FakeClock()): Heard {
  const [changes, broken]: [(number | undefined)[], string[]] = [[], []];
  return {
    clock,
    changes,
    broken,
    onChange: (limit) => changes.push(limit),
    onBroken: ({ message }) => broken.push(message),
  };
}

test('a schedule changes the limit on time, and reports it once', async () => {
  const heard = listen(new FakeClock(new Date('2026-11-22T07:59:58').getTime()));
  using limits = await ScheduleSource.open('08:00,1M 19:00,off', heard);
  assert.equal(limits.bytesPerSecond, undefined);
  await heard.clock.advance(1999);
  await limits.reload();
  assert.deepEqual(heard.changes, []);
  await heard.clock.advance(1);
  assert.equal(limits.bytesPerSecond, MIB);
  await limits.reload();
  await limits.reload();
  assert.deepEqual(heard.changes, [MIB]);
  await heard.clock.advance(11 * 3_600_000);
  await limits.reload();
  assert.deepEqual(heard.changes, [MIB, undefined]);
});

test('an edited file is used; a broken or missing one changes nothing and is reported once', async () => {
  await using folder = await tempDir();
  const path = join(folder.path, 'limit');
  await writeFile(path, '1M\n');
  const heard = listen();
  using limits = await ScheduleSource.open(`@${path}`, heard);
  assert.equal(limits.bytesPerSecond, MIB);
  await writeFile(path, '00:00,2M\n12:00,2M\n');
  await limits.reload();
  assert.deepEqual(heard.changes, [2 * MIB]);
  await writeFile(path, '');
  await limits.reload();
  assert.deepEqual(heard.broken, [], 'the file may be being written');
  for (let times = 0; times < 3; times++) await limits.reload();
  assert.deepEqual(heard.broken, [`cannot use the bandwidth limit in ${path}: '' is not a bandwidth limit`]);
  await rm(path);
  for (let times = 0; times < 3; times++) await limits.reload();
  const gone = `cannot read the bandwidth limit from ${path}: no such file or directory`;
  assert.deepEqual(heard.broken.slice(1), [gone]);
  assert.equal(limits.bytesPerSecond, 2 * MIB);
  await writeFile(path, 'off');
  await limits.reload();
  assert.deepEqual(heard.changes, [2 * MIB, undefined]);
  await writeFile(path, 'bad');
  await limits.reload(true);
  assert.equal(heard.broken.length, 3, 'a forced reload reports at once');
});

test('at the start a missing or broken file is a usage error', async () => {
  await using folder = await tempDir();
  const path = join(folder.path, 'limit');
  await assert.rejects(ScheduleSource.open(`@${path}`, listen()), {
    code: 'usage',
    message: /^cannot read the bandwidth limit/,
  });
  await writeFile(path, '2X');
  await assert.rejects(ScheduleSource.open(`@${path}`, listen()), {
    code: 'usage',
    message: /'2X' is not a bandwidth limit$/,
  });
});
