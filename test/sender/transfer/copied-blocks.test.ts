/** The sender's own requests for copies, over real TLS to a receiver in this process. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { digestNow } from '../../../common/digest/digest.ts';
import { TransferError } from '../../../common/errors.ts';
import { memorySource, sendThrough, type Interposed } from '../../support/interposed-client.ts';
import { MemoryTarget } from '../../support/memory-target.ts';
import { contentOf } from '../../support/open-transfer.ts';
import { startReceiverApp, type ReceiverApp, type ReceiverAppOptions } from '../../support/receiver-app.ts';

const BLOCK_COUNT = 9;
/** Blocks 0 to 3, which are on the target, once more; the last block is short. */
const EQUAL_TO = [0, 1, 2, 3, 0, 1, 2, 3, 8];

interface Scene extends AsyncDisposable {
  readonly app: ReceiverApp;
  readonly target: MemoryTarget;
  readonly blocks: readonly Buffer[];
  readonly asked: string[];
  readonly interposed: Interposed;
  /** The target holds what the source does, when it has lost what was not flushed. */
  assertEqual(): void;
}

async function setUp(options: ReceiverAppOptions = {}): Promise<Scene> {
  const target = new MemoryTarget();
  const app = await startReceiverApp({ target, blockCount: BLOCK_COUNT, ...options });
  const open = app.transfer.claimed();
  const blocks = EQUAL_TO.map((index) => contentOf(open, index, 1));
  for (const [index, body] of blocks.slice(0, 4).entries()) {
    const digest = digestNow(body).toString('hex');
    const { status } = await app.request('PUT', `/blocks/${index}?digest=sha256:${digest}`, { body });
    assert.equal(status, 201);
  }
  const asked: string[] = [];
  return {
    app,
    target,
    blocks,
    asked,
    interposed: {
      async putBlock(ask, block, ...rest) {
        asked.push(`put ${block.index}`);
        return await ask(block, ...rest);
      },
      async copyBlock(ask, block, from, ...rest) {
        asked.push(`copy ${from} to ${block.index}`);
        return await ask(block, from, ...rest);
      },
    },
    assertEqual: () => {
      const bytes = Buffer.concat(blocks);
      assert(target.crash().bytesAt(0, bytes.length).equals(bytes));
    },
    [Symbol.asyncDispose]: async () => await app[Symbol.asyncDispose](),
  };
}

test('blocks that equal durable ones are copied there and do not travel', async () => {
  for (const digest of ['sha-256', 'blake3'] as const) {
    await using at = await setUp({ digest, isReadBack: true });
    const sealed = await sendThrough(at.app, memorySource(at.blocks), at.interposed);
    assert(sealed.outcome === 'sealed');
    const { facts, seal } = sealed;
    const { copied, sent, skipped, durable } = facts.counters;
    assert.deepEqual([copied, sent, skipped, durable], [4, 1, 4, BLOCK_COUNT]);
    assert.deepEqual(at.asked, ['copy 0 to 4', 'copy 1 to 5', 'copy 2 to 6', 'copy 3 to 7', 'put 8']);
    assert.equal(seal.verified, 'read-back');
    at.assertEqual();
  }
});

test('a receiver that knows no copying is asked once, and gets all blocks', async () => {
  await using at = await setUp({ isWithoutCopy: true });
  const { facts } = await sendThrough(at.app, memorySource(at.blocks), at.interposed);
  assert.deepEqual([facts.counters.copied, facts.counters.sent], [0, 5]);
  assert.deepEqual(at.asked, ['copy 0 to 4', 'put 4', 'put 5', 'put 6', 'put 7', 'put 8']);
  at.assertEqual();
});

test('a block that others have changed on the target is not spread, and is mended', async () => {
  await using at = await setUp({ isReadBack: true });
  await at.app.transfer.claimed().verifier?.settle();
  const interposed: Interposed = {
    ...at.interposed,
    async copyBlock(ask, block, from, ...rest) {
      if (from === 1) at.target.writeAsOther(Buffer.from('of others'), 65_536 + 10);
      return await (at.interposed.copyBlock?.(ask, block, from, ...rest) ?? ask(block, from, ...rest));
    },
  };
  const sealed = await sendThrough(at.app, memorySource(at.blocks), interposed);
  assert(sealed.outcome === 'sealed');
  const { facts, seal } = sealed;
  // How the later ones go depends on how long this one took.
  assert.deepEqual(at.asked.slice(0, 3), ['copy 0 to 4', 'copy 1 to 5', 'put 5']);
  assert(at.asked.includes('put 1') || at.asked.includes('copy 5 to 1'), at.asked.join());
  assert.deepEqual([facts.counters.copied + facts.counters.sent, facts.counters.durable], [5, BLOCK_COUNT]);
  assert.equal(seal.verified, 'read-back');
  at.assertEqual();
});

test('a copy whose response is lost is sent, and counts once', async () => {
  await using at = await setUp();
  const interposed: Interposed = {
    ...at.interposed,
    async copyBlock(ask, ...args) {
      await ask(...args);
      throw new TransferError('connection-failed', 'the answer is lost');
    },
  };
  const { facts } = await sendThrough(at.app, memorySource(at.blocks), interposed);
  const { copied, sent, resent, durable } = facts.counters;
  assert.deepEqual([copied, sent, resent, durable], [0, 5, 0, BLOCK_COUNT]);
  at.assertEqual();
});

test('a copy that is lost with its epoch is made again', async () => {
  await using at = await setUp();
  const interposed: Interposed = {
    ...at.interposed,
    async putBlock(ask, ...args) {
      // After the copies: the next flush is the one that fails.
      if (at.app.epochEnds.length === 0) at.target.arm({ operation: 'flush', errno: 'EIO' });
      return await ask(...args);
    },
  };
  const { facts } = await sendThrough(at.app, memorySource(at.blocks), interposed);
  assert.equal(at.app.epochEnds.length, 1);
  assert.deepEqual([facts.counters.copied, facts.counters.durable], [4, BLOCK_COUNT]);
  assert(facts.counters.resent >= 4, String(facts.counters.resent));
  at.assertEqual();
});
