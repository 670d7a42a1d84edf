/** Encoded blocks over real TLS to a real receiver, and a receiver that refuses them. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { systemClock } from '../../../common/clock.ts';
import { TransferError } from '../../../common/errors.ts';
import { BlockEncoder } from '../../../sender/compression/encode-block.ts';
import type { OutgoingBlock } from '../../../sender/client/receiver-port.ts';
import { coded } from '../../support/coded.ts';
import { memorySource, sendThrough, type Interposed } from '../../support/interposed-client.ts';
import { BLOCK_BYTES } from '../../support/open-transfer.ts';
import { freshSeed, prng } from '../../support/prng.ts';
import { startReceiverApp } from '../../support/receiver-app.ts';

const seed = freshSeed();
const BLOCKS = [0, 1, 2, 3].map((index) => Buffer.alloc(BLOCK_BYTES, `block ${index} says little; `));

function encoder(warnings: string[] = []): BlockEncoder {
  const warn = (warning: string): void => void warnings.push(warning);
  return new BlockEncoder({ compression: 3, cores: 2, clock: systemClock, warn });
}

/** @param before called with each block before the receiver gets it; may throw instead. */
function noting(before: (block: OutgoingBlock, count: number) => void): {
  puts: string[];
  putBlock: NonNullable<Interposed['putBlock']>;
} {
  const puts: string[] = [];
  const putBlock: Interposed['putBlock'] = async (ask, block, signal) => {
    puts.push(`${block.index} ${block.encoded === undefined ? 'plain' : 'encoded'}`);
    before(block, puts.length);
    return await ask(block, signal);
  };
  return { puts, putBlock };
}

test('blocks arrive encoded and equal; those that do not shrink are sent plain', async (t) => {
  t.diagnostic(`seed ${seed}`);
  await using app = await startReceiverApp({ blockCount: null, isReadBack: true });
  const { puts, putBlock } = noting(() => {});
  const blocks = [...BLOCKS, Buffer.from(prng(seed).bytes(BLOCK_BYTES))];
  const { facts } = await sendThrough(app, memorySource(blocks), { putBlock }, encoder());
  assert.deepEqual(puts, ['0 encoded', '1 encoded', '2 encoded', '3 encoded', '4 plain']);
  assert.equal(facts.verified, 'read-back');
  assert(facts.bytesWire < BLOCK_BYTES + 20_000, `${facts.bytesWire}`);
});

test('a receiver that refuses the encoding gets plain blocks from then on', async () => {
  await using app = await startReceiverApp({ blockCount: null });
  const warnings: string[] = [];
  const { puts, putBlock } = noting(({ encoded }) => {
    if (encoded !== undefined) throw new TransferError('unsupported-encoding', 'no such coding here');
  });
  await sendThrough(app, memorySource(BLOCKS), { putBlock }, encoder(warnings));
  assert.deepEqual(puts, ['0 encoded', '0 plain', '1 plain', '2 plain', '3 plain'].slice(0, puts.length));
  assert.deepEqual(warnings, ['the receiver does not support zstd: blocks are sent uncompressed']);
});

test('a block that was damaged on the way is sent again, plain', async () => {
  await using app = await startReceiverApp({ blockCount: null });
  for (const code of ['decode-failed', 'digest-mismatch', 'length-mismatch'] as const) {
    const { puts, putBlock } = noting((_, count) => {
      if (count === 1) throw new TransferError(code, 'damaged');
    });
    await using fresh = await startReceiverApp({ blockCount: null });
    await sendThrough(fresh, memorySource(BLOCKS), { putBlock }, encoder());
    assert.deepEqual(puts, ['0 encoded', '0 plain', '1 encoded', '2 encoded', '3 encoded'], code);
  }
  const { puts, putBlock } = noting(() => {
    throw new TransferError('decode-failed', 'damaged');
  });
  await assert.rejects(
    sendThrough(app, memorySource(BLOCKS), { putBlock }, encoder()),
    coded('decode-failed'),
  );
  assert.deepEqual(puts, ['0 encoded', '0 plain', '0 plain']);
});

test('a block whose connection broke is sent again unchanged', async () => {
  await using app = await startReceiverApp({ blockCount: null });
  const { puts, putBlock } = noting((_, count) => {
    if (count === 1) throw new TransferError('connection-failed', 'cut');
  });
  await sendThrough(app, memorySource(BLOCKS), { putBlock }, encoder());
  assert.deepEqual(puts.slice(0, 2), ['0 encoded', '0 encoded']);
});
