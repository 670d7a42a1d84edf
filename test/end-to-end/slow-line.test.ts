/** What a slow line looks like while it works: never like one that hangs. */
import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { prng } from '../support/prng.ts';
import { KIB, MIB, eventsOf, startReceiver, startSender } from '../support/processes.ts';
import { tempDir } from '../support/temp-dir.ts';

test('at 400 KiB/s rate, percentage and ETA are there within ten seconds', async () => {
  await using folder = await tempDir();
  const source = join(folder.path, 'source');
  await writeFile(source, prng(9).bytes(64 * MIB));
  await using receiver = await startReceiver({ folder: folder.path, target: join(folder.path, 'target') });
  const options = ['--bwlimit', '400K', '--progress', 'json', '--ticket-file', receiver.ticketFile];
  await using sender = await startSender([...options, source]);
  await sender.waitForLine(/"event":"progress"/);
  await delay(10_000);
  sender.kill('SIGINT');
  const { stdout } = await sender.ended;
  const progress = eventsOf(stdout).filter(({ event }) => event === 'progress');
  const [percent, arrived, line, left] = ['percent', 'bytesArrived', 'lineBytesPerSecond', 'secondsLeft'].map(
    (name) => Number(progress.at(-1)?.[name]),
  );
  assert(percent !== undefined && arrived !== undefined && line !== undefined && left !== undefined);
  assert(percent > 3 && percent < 8, `${percent} %`);
  assert(arrived > 2 * MIB && arrived < 5 * MIB, `${arrived} bytes`);
  assert(line > 300 * KIB && line < 480 * KIB, `${line} bytes/s`);
  assert(left > 100 && left < 250, `${left} s`);
  const percents = progress.map((event) => Number(event['percent']));
  assert.deepEqual(
    percents,
    percents.toSorted((a, b) => a - b),
    'the percentage never falls',
  );
});
