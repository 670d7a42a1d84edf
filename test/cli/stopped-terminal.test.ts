/** Ctrl-S, or a terminal whose client hangs: what is written there waits, and the copy must not. */
import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { prng } from '../support/prng.ts';
import { MIB, OWN_HOST, PROGRAMS, bounded, environment, startReceiver, until } from '../support/processes.ts';
import { unlessInstalled } from '../support/requires.ts';
import { start } from '../support/run.ts';
import { tempDir } from '../support/temp-dir.ts';
import { TicketClient } from '../support/ticket-client.ts';

const skip = unlessInstalled('script');
const STOP = '\x13';
const CONTINUE = '\x11';

test(
  'a receiver whose terminal is stopped keeps receiving, and says how many lines were dropped',
  { skip },
  async () => {
    await using folder = await tempDir();
    const place = `--listen ${OWN_HOST}:0 --state-dir ${join(folder.path, 'state')}`;
    const command = `${join(PROGRAMS, 'ddt-receive')} ${place} ${join(folder.path, 'target')}`;
    await using terminal = await start('script', ['-qec', command, '/dev/null'], { env: environment() });
    const [, ticket = ''] = await terminal.waitForLine(/^ddt-send <source> '(.*)'/);
    using client = new TicketClient(ticket);
    const claim = {
      size: MIB,
      blockSize: 65_536,
      source: { description: 'x'.repeat(200), path: 'y'.repeat(200) },
    };
    const body = Buffer.from(JSON.stringify(claim));
    const claimOnce = async (): Promise<void> => {
      const { status } = await bounded('a response', client.request('PUT', '/transfer', body));
      assert.ok(status === 200 || status === 201);
    };
    await claimOnce();
    await terminal.waitForLine(/claimed by/);
    terminal.stdin.write(STOP);
    // A line each, 400 KB together: what the terminal and the receiver keep is less.
    for (let time = 0; time < 1000; time++) await claimOnce();
    terminal.stdin.write(CONTINUE);
    await until('the terminal shows lines again', () => terminal.stdout.split('claimed again').length > 100);
    const [, dropped] = await bounded(
      'a note',
      (async () => {
        await claimOnce();
        return await terminal.waitForLine(/warning: (\d+) lines of the log were dropped: nothing read them/);
      })(),
    );
    await until(
      'all lines',
      () => terminal.stdout.split('claimed again').length - 1 + Number(dropped) === 1001,
    );
    // It would outlive its terminal.
    terminal.stdin.write('\x03');
    assert.equal((await bounded('the receiver to end', terminal.ended)).status, 130);
  },
);

test('a sender whose terminal is stopped keeps sending', { skip }, async () => {
  await using folder = await tempDir();
  const source = join(folder.path, 'source');
  await writeFile(source, prng(5).bytes(8 * MIB));
  await using receiver = await startReceiver({ folder: folder.path, target: join(folder.path, 'target') });
  const options = `--bwlimit 1M --block-size 64KiB --ticket-file ${receiver.ticketFile}`;
  const command = `stty cols 100 rows 24; ${join(PROGRAMS, 'ddt-send')} ${options} ${source}`;
  await using terminal = await start('script', ['-qec', command, '/dev/null'], {
    env: environment({ TERM: 'xterm' }),
  });
  await until('blocks to be durable', async () => (await receiver.durableCount()) > 0);
  terminal.stdin.write(STOP);
  await until('the seal', async () => (await receiver.status()).state === 'sealed');
  assert.ok(terminal.isRunning);
  terminal.stdin.write(CONTINUE);
  await terminal.waitForLine(/^.*done {5}.*read back and equal/);
  assert.equal((await bounded('the sender to end', terminal.ended)).status, 0);
});
