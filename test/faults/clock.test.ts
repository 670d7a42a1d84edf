/** Wall clocks that jump: machines start with a wrong time, which is corrected later. */
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { FRAME_STATUS, FrameReader } from '../../common/watch/watch-frames.ts';
import type { WatchUpdate } from '../../common/watch/watch-status.ts';
import { blockOf, claimByHand, putByHand } from '../support/by-hand.ts';
import { SMALL_BLOCKS, assertCopied, randomSource } from '../support/copied.ts';
import { skipUnlessFaketime, wallClock } from '../support/fake-wall-clock.ts';
import { eventsOf, runSender, startSender, Receiver } from '../support/processes.ts';
import { tempDir } from '../support/temp-dir.ts';

const skip = skipUnlessFaketime;

test(
  "clocks that are set forward and back, the receiver's and the sender's, end no transfer",
  { skip },
  async () => {
    await using folder = await tempDir();
    const clock = await wallClock(join(folder.path, 'clock'));
    const senderClock = await wallClock(join(folder.path, 'sender-clock'));
    const path = await randomSource(folder.path, 256);
    const source = await readFile(path);
    const target = join(folder.path, 'target');
    await using receiver = new Receiver({ target, folder: folder.path });
    await receiver.start(clock.wrapping);
    const ticket = (await readFile(receiver.ticketFile, 'utf8')).trim();
    await claimByHand(receiver.client, source.length, path);
    for (const [index, days] of [20, -1, -400, 0].entries()) {
      await clock.set(days);
      assert.equal(await putByHand(receiver.client, index, blockOf(source, index)), 201, `${days} days`);
    }
    // The ticket was made a day before the time that the clock shows from now on.
    await clock.set(-1);
    await receiver.end('SIGTERM');
    await receiver.start(clock.wrapping);
    const options = [...SMALL_BLOCKS, '--progress', 'json', path, ticket];
    await using sender = await startSender(options, senderClock.wrapping.env);
    await sender.waitForLine(/"event":"progress"/);
    await senderClock.set(300);
    await clock.set(25);
    const sending = await sender.ended;
    await assertCopied(sending, path, target);
    assert(Number(eventsOf(sending.stdout).at(-1)?.['seconds']) < 60);
  },
);

test('an expired ticket ends the sender with 4 and a hint', { skip }, async () => {
  await using folder = await tempDir();
  const clock = await wallClock(join(folder.path, 'clock'));
  const source = await randomSource(folder.path, 16);
  const target = join(folder.path, 'target');
  await using receiver = new Receiver({ target, folder: folder.path });
  await receiver.start(clock.wrapping);
  const options = [...SMALL_BLOCKS, '--ticket-file', receiver.ticketFile, source];
  await clock.set(31);
  const refused = await runSender(options);
  assert.equal(refused.status, 4);
  const hint = 'restart ddt-receive on the same target: it prints a new ticket for the same transfer';
  const said = `ddt-send: error: the receiver says: the token has expired\nddt-send: hint: ${hint}\n`;
  assert(refused.stderr.endsWith(said), refused.stderr);
  await receiver.end('SIGTERM');
  await receiver.start(clock.wrapping);
  await assertCopied(await runSender(options), source, target);
});

test('the chart of a watched copy continues where the clock is set back', { skip }, async () => {
  await using folder = await tempDir();
  const clock = await wallClock(join(folder.path, 'clock'));
  const source = await randomSource(folder.path, 64);
  const target = join(folder.path, 'target');
  await using receiver = new Receiver({ target, folder: folder.path });
  await receiver.start();
  const slow = ['--bwlimit', '1M', '--progress', 'plain', '--web', '--ticket-file', receiver.ticketFile];
  await using sender = await startSender([...SMALL_BLOCKS, ...slow, source], clock.wrapping.env);
  const [, url = ''] = await sender.waitForLine(/^web {6}(http:\/\/\S+)$/);
  const { origin, hash } = new URL(url);
  const headers = { authorization: `Bearer ${hash.slice(1)}` };
  const { body } = await fetch(`${origin}/copies/0`, { headers });
  assert(body !== null);
  const reader = new FrameReader();
  const seconds: number[] = [];
  for await (const part of body) {
    for (const { kind, content } of reader.push(part)) {
      if (kind !== FRAME_STATUS) continue;
      const { points } = JSON.parse(Buffer.from(content).toString()) as WatchUpdate;
      if (seconds.length < 2 && seconds.length + points.length >= 2) await clock.set(-1);
      for (const [second] of points) seconds.push(second);
    }
    if (seconds.length >= 4) break;
  }
  assert.deepEqual(
    seconds,
    seconds.toSorted((one, other) => one - other),
  );
  const [first = 0, last = 0] = [seconds[0], seconds.at(-1)];
  assert(last - first < 60, `${last - first} seconds`);
});
