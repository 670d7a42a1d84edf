/** How the sender handles rare responses, with a real receiver and a target in memory. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { digestNow } from '../../../common/digest/digest.ts';
import { TransferError } from '../../../common/errors.ts';
import { coded } from '../../support/coded.ts';
import { memorySource, sendThrough, type Interposed } from '../../support/interposed-client.ts';
import { MemoryTarget } from '../../support/memory-target.ts';
import { contentOf } from '../../support/open-transfer.ts';
import { startReceiverApp, type ReceiverApp } from '../../support/receiver-app.ts';

const BLOCK_COUNT = 4;

function blocksOf({ transfer }: ReceiverApp, version = 1): Buffer[] {
  const open = transfer.claimed();
  return Array.from({ length: BLOCK_COUNT }, (_, index) => contentOf(open, index, version));
}

async function putByHand(app: ReceiverApp, index: number, bytes: Buffer): Promise<void> {
  const digest = digestNow(bytes).toString('hex');
  const { status } = await app.request('PUT', `/blocks/${index}?digest=sha256:${digest}`, { body: bytes });
  assert.ok(status === 200 || status === 201, `${status}`);
}

async function completeByHand(app: ReceiverApp, blocks: readonly Buffer[]): Promise<void> {
  const root = digestNow(Buffer.concat(blocks.map(digestNow))).toString('hex');
  const body = JSON.stringify({ blockCount: blocks.length, root: `sha256:${root}` });
  const { status } = await app.request('POST', '/complete', {
    body,
    headers: { 'content-type': 'application/json' },
  });
  assert.equal(status, 200);
}

/** The first `/complete` reports that block 1 is missing; `seal` is called before the block is sent again. */
function missingForAMoment(seal: () => Promise<void>): { interposed: Interposed; readonly asked: string[] } {
  const asked: string[] = [];
  return {
    asked,
    interposed: {
      async complete(ask, ...args) {
        asked.push('complete');
        if (asked.filter((each) => each === 'complete').length > 1) return await ask(...args);
        await seal();
        throw new TransferError('incomplete', 'not on the target: block 1', {
          details: { missing: [[1, 1]] },
        });
      },
      async putBlock(ask, ...args) {
        asked.push(`put ${args[0].index}`);
        return await ask(...args);
      },
    },
  };
}

test('a transfer sealed meanwhile by an earlier request is ours if its root is', async () => {
  await using app = await startReceiverApp({ blockCount: BLOCK_COUNT });
  const blocks = blocksOf(app);
  const { interposed, asked } = missingForAMoment(async () => await completeByHand(app, blocks));
  const result = await sendThrough(app, memorySource(blocks), interposed);
  assert(result.outcome === 'sealed');
  const { facts, seal } = result;
  assert.deepEqual(asked.slice(BLOCK_COUNT), ['complete', 'put 1', 'complete']);
  assert.equal(seal.text, app.transfer.sealed?.json);
  assert.deepEqual([facts.counters.durable, facts.counters.resent], [BLOCK_COUNT, 1]);
});

test('if such a seal has another root it is an error', async () => {
  await using app = await startReceiverApp({ blockCount: BLOCK_COUNT });
  const blocks = blocksOf(app);
  const others = blocks.with(1, Buffer.alloc(blocks[1]?.length ?? 0, 7));
  const { interposed, asked } = missingForAMoment(async () => {
    await putByHand(app, 1, others[1] ?? Buffer.alloc(0));
    await completeByHand(app, others);
  });
  await assert.rejects(
    sendThrough(app, memorySource(blocks), interposed),
    coded('root-mismatch', { message: /are not those of the source/ }),
  );
  assert.deepEqual(asked.slice(BLOCK_COUNT), ['complete', 'put 1', 'complete']);
});

test('any other failure while blocks are sent again is an error', async () => {
  await using app = await startReceiverApp({ blockCount: BLOCK_COUNT });
  const { interposed } = missingForAMoment(async () => await Promise.resolve());
  let puts = 0;
  const putBlock: Interposed['putBlock'] = async (ask, ...args) => {
    if (++puts > BLOCK_COUNT) throw new TransferError('transfer-mismatch', 'another transfer');
    return await ask(...args);
  };
  const source = memorySource(blocksOf(app));
  await assert.rejects(sendThrough(app, source, { ...interposed, putBlock }), coded('transfer-mismatch'));
});

test('blocks lost by an error of the target are sent again, and counted once', async () => {
  const target = new MemoryTarget();
  await using app = await startReceiverApp({ target, blockCount: BLOCK_COUNT });
  target.arm({ operation: 'flush', errno: 'EIO' });
  const { facts } = await sendThrough(app, memorySource(blocksOf(app)));
  const { durable, sent, resent } = facts.counters;
  assert.deepEqual([durable, sent, resent], [BLOCK_COUNT, BLOCK_COUNT, BLOCK_COUNT]);
  assert.equal(app.epochEnds.length, 1);
});

test('a block that changes on the source before it is sent again ends the run', async () => {
  const target = new MemoryTarget();
  await using app = await startReceiverApp({ target, blockCount: BLOCK_COUNT });
  target.arm({ operation: 'flush', errno: 'EIO' });
  const blocks = blocksOf(app);
  const source = memorySource(blocks);
  const interposed: Interposed = {
    async putBlock(ask, block, ...rest) {
      if (block.index === 3) blocks[0] = Buffer.alloc(blocks[0]?.length ?? 0, 7);
      return await ask(block, ...rest);
    },
  };
  await assert.rejects(
    sendThrough(app, source, interposed),
    coded('source-changed', { message: /^block 0 / }),
  );
});

test('a block that is durable with other bytes is sent', async () => {
  await using app = await startReceiverApp({ blockCount: BLOCK_COUNT });
  await putByHand(app, 0, blocksOf(app)[0] ?? Buffer.alloc(0));
  await putByHand(app, 1, blocksOf(app, 2)[1] ?? Buffer.alloc(0));
  const { facts } = await sendThrough(app, memorySource(blocksOf(app)));
  assert.deepEqual([facts.counters.skipped, facts.counters.sent], [1, 3]);
});

test('after a lost response the receiver is asked, and has to have exactly this block', async () => {
  await using app = await startReceiverApp({ blockCount: BLOCK_COUNT });
  const asked: number[] = [];
  const interposed: Interposed = {
    async putBlock(ask, block, ...rest) {
      const { index } = block;
      asked.push(index);
      if (asked.length > 2) return await ask(block, ...rest);
      // The first block arrived; at the place of the second one there is somebody else's.
      if (index === 0) await ask(block, ...rest);
      else await putByHand(app, index, blocksOf(app, 2)[index] ?? Buffer.alloc(0));
      throw new TransferError('connection-failed', 'the answer is lost');
    },
  };
  const { facts } = await sendThrough(app, memorySource(blocksOf(app)), interposed);
  assert.deepEqual(asked, [0, 1, 1, 2, 3]);
  assert.equal(facts.counters.durable, BLOCK_COUNT);
});

test('a result of another transfer ends the run', async () => {
  await using app = await startReceiverApp({ blockCount: BLOCK_COUNT });
  const interposed: Interposed = {
    putBlock: async (ask, ...args) => ({ ...(await ask(...args)), transferId: 'other' }),
  };
  const source = memorySource(blocksOf(app));
  await assert.rejects(sendThrough(app, source, interposed), coded('transfer-mismatch'));
});
