/** What an operator reads in the terminal, or the journal, of a receiver while a copy runs. */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { freshSeed, prng } from '../support/prng.ts';
import { MIB, runSender, sendAll, startReceiver, startSender } from '../support/processes.ts';
import { tempDir } from '../support/temp-dir.ts';

const TIME = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d\d:\d\d ddt-receive: /;

test('claims, connections, refusals and the seal are logged, with time and address', async () => {
  await using folder = await tempDir();
  const source = join(folder.path, 'source');
  await writeFile(source, prng(freshSeed()).bytes(2 * MIB));
  await using receiver = await startReceiver({ folder: folder.path, target: join(folder.path, 'target') });
  const ticket = ['--ticket-file', receiver.ticketFile];
  {
    const options = ['--block-size', '64KiB', '--bwlimit', '256K', ...ticket, source];
    await using sender = await startSender(options);
    await receiver.process.waitForLine(/ddt-receive: claimed by /);
    sender.kill('SIGKILL');
    await sender.ended;
  }
  await receiver.process.waitForLine(/ddt-receive: sender at .* disconnected$/);
  const other = { size: MIB, blockSize: MIB, source: { description: 'another disk' } };
  await receiver.request('PUT', '/transfer', Buffer.from(JSON.stringify(other)));
  await sendAll(...ticket, source);
  const { stderr } = await receiver.end('SIGTERM');
  const lines = stderr.split('\n').slice(0, -1);
  for (const line of lines) assert.match(line, TIME);
  const address = '127\\.0\\.0\\.1';
  const hash = createHash('sha256').update(receiver.token).digest('hex').slice(0, 16);
  const disk = `${source}, regular file, 2 MiB`;
  const expected = [
    `sender connected from ${address}`,
    `claimed by ${address} \\(token ${hash}\\): ${disk}`,
    `sender at ${address} disconnected`,
    `warning: refused the claim of ${address}: this target belongs to another transfer: its source has .*`,
    `sender connected from ${address}`,
    `claimed again by ${address} \\(token ${hash}\\): ${disk}`,
    `sealed by ${address} \\(token ${hash}\\): 32 blocks, root sha256:[0-9a-f]{64}`,
  ];
  const messages = lines.map((line) => line.replace(TIME, ''));
  let at = 0;
  for (const pattern of expected) {
    const found = messages.findIndex((text, index) => index >= at && new RegExp(`^${pattern}$`).test(text));
    assert(found >= at, `${pattern} in:\n${stderr}`);
    at = found + 1;
  }
});

test('a ticket of a discarded transfer is named as such, on both sides', async () => {
  await using folder = await tempDir();
  const source = join(folder.path, 'source');
  await writeFile(source, prng(freshSeed()).bytes(MIB));
  await using receiver = await startReceiver({ folder: folder.path, target: join(folder.path, 'target') });
  const { ticket } = receiver;
  await sendAll(source, ticket);
  await receiver.end('SIGTERM');
  await receiver.start({ options: ['--discard-transfer', '--overwrite-target', '--yes'] });
  const refused = await runSender([source, ticket]);
  assert.equal(refused.status, 4, refused.stderr);
  const message =
    'the ticket is for an earlier transfer to this target, which was discarded, or for another target';
  assert(refused.stderr.includes(`ddt-send: error: the receiver says: ${message}\n`), refused.stderr);
  assert(refused.stderr.endsWith('hint: use the ticket that ddt-receive printed last for this target\n'));
  const { stderr } = await receiver.end('SIGTERM');
  const who = '127\\.0\\.0\\.1 \\(token [0-9a-f]{16}\\)';
  assert.match(stderr, new RegExp(`ddt-receive: warning: refused GET /transfer from ${who}: ${message}\n`));
  await receiver.start({ options: ['--overwrite-target'] });
  await sendAll(source, receiver.ticket);
});
