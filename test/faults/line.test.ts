/** Lines that damage data unnoticed by TCP, lose responses, and stand still. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { SMALL_BLOCKS, assertCopied, randomSource } from '../support/copied.ts';
import {
  OWN_HOST,
  doneOf,
  runSender,
  startReceiver,
  startSender,
  until,
  writeTicketVia,
} from '../support/processes.ts';
import { freshSeed, prng } from '../support/prng.ts';
import { TcpProxy } from '../support/tcp-proxy.ts';
import { tempDir } from '../support/temp-dir.ts';

const BLOCKS = 32;
const STILL_MS = 5000;

/**
 * The bit flips in the payload of TCP, whose checksums are correct on both sides of the proxy; TLS has to
 * notice it.
 */
test('a bit that flips on the line, unnoticed by TCP, costs a connection at most', async (context) => {
  const seed = freshSeed();
  context.diagnostic(`DDT_TEST_SEED=${seed}`);
  const random = prng(seed);
  await using folder = await tempDir();
  const source = await randomSource(folder.path, BLOCKS, seed);
  const target = join(folder.path, 'target');
  await using receiver = await startReceiver({ target, folder: folder.path });
  let flips = 0;
  let nextAt = 0;
  let seen = 0;
  await using proxy = await TcpProxy.start({ host: OWN_HOST, port: receiver.port }, (piece) => {
    seen += piece.length;
    if (seen < nextAt || flips === 8) return piece;
    nextAt = seen + 50_000 + random.below(400_000);
    flips++;
    const flipped = Buffer.from(piece);
    // Past the head of a record: a wrong length there would only be waited for.
    const at = piece.length - 1 - random.below(Math.min(16, piece.length));
    flipped[at] = (flipped[at] ?? 0) ^ (1 << random.below(8));
    return flipped;
  });
  const ticketFile = await writeTicketVia(receiver, proxy, join(folder.path, 'by-proxy'));
  const sending = await runSender([...SMALL_BLOCKS, '--ticket-file', ticketFile, source]);
  await assertCopied(sending, source, target);
  context.diagnostic(`${flips} bits flipped`);
  assert.equal(flips, 8);
});

test('a lost response costs a HEAD and no block', async () => {
  await using folder = await tempDir();
  const source = await randomSource(folder.path, BLOCKS);
  const target = join(folder.path, 'target');
  await using receiver = await startReceiver({ target, folder: folder.path });
  let lost = 0;
  let last = 0;
  await using proxy = await TcpProxy.start({ host: OWN_HOST, port: receiver.port }, (piece, way, answer) => {
    // Two in a row: the response to a block, and that to the HEAD that asks about it.
    if (way === 'to-receiver' || answer <= last || answer % 5 > 1) return piece;
    last = answer;
    lost++;
    return 'cut';
  });
  const ticketFile = await writeTicketVia(receiver, proxy, join(folder.path, 'by-proxy'));
  const options = ['--block-size', '64KiB', '--connections', '1', '--progress', 'json'];
  const sending = await runSender([...options, '--ticket-file', ticketFile, source]);
  await assertCopied(sending, source, target);
  const done = doneOf(sending);
  assert(lost >= 6, `${lost} answers`);
  assert.equal(done.blocksResent, 0);
});

describe('standing still', { concurrency: true }, () => {
  for (const stopped of ['receiver', 'sender'] as const) {
    test(`a ${stopped} that is stopped for five seconds costs no block`, async () => {
      await using folder = await tempDir();
      const source = await randomSource(folder.path, 16 * BLOCKS);
      const target = join(folder.path, 'target');
      await using receiver = await startReceiver({ target, folder: folder.path });
      const options = ['--block-size', '64KiB', '--connections', '2', '--progress', 'json'];
      await using sender = await startSender([...options, '--ticket-file', receiver.ticketFile, source]);
      await until('a first block', async () => (await receiver.status()).blocks.absent < 16 * BLOCKS);
      const still = stopped === 'receiver' ? receiver.process : sender;
      still.kill('SIGSTOP');
      await delay(STILL_MS);
      still.kill('SIGCONT');
      const sending = await sender.ended;
      await assertCopied(sending, source, target);
      assert.equal(doneOf(sending).blocksResent, 0);
    });
  }
});
