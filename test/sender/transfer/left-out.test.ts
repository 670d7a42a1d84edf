/** A source that is not read whole: what is claimed and sent, and which receipt is believed. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { SealReceipt } from '../../../common/protocol/protocol.ts';
import type { Area } from '../../../common/areas.ts';
import { leavingOut } from '../../../sender/source/leaving-out.ts';
import { coded } from '../../support/coded.ts';
import { memorySource, sendThrough, type Interposed } from '../../support/interposed-client.ts';
import { BLOCK_BYTES, contentOf } from '../../support/open-transfer.ts';
import { startReceiverApp, type ReceiverApp } from '../../support/receiver-app.ts';

const BLOCK_COUNT = 4;
const AREAS: readonly Area[] = [
  [4096, 8192],
  [2 * BLOCK_BYTES, BLOCK_BYTES],
];
const LEFT_OUT = { bytes: 8192 + BLOCK_BYTES, count: 2, areas: AREAS };

function blocksOf({ transfer }: ReceiverApp): Buffer[] {
  const open = transfer.claimed();
  return Array.from({ length: BLOCK_COUNT }, (_, index) => contentOf(open, index, 1));
}

test('what is left out is claimed before, and signed with the root', async () => {
  await using app = await startReceiverApp({ blockCount: BLOCK_COUNT });
  const source = leavingOut(memorySource(blocksOf(app)), AREAS);
  const claimed: unknown[] = [];
  const result = await sendThrough(app, source, {
    async claim(ask, ...args) {
      claimed.push(args[0].leavesOut);
      return await ask(...args);
    },
  });
  assert(result.outcome === 'sealed');
  assert.deepEqual([claimed, app.transfer.hasLeftOut], [[true], true]);
  assert.deepEqual([result.facts.leftOut, result.seal.leftOut], [LEFT_OUT, LEFT_OUT]);
  assert.deepEqual((JSON.parse(result.seal.text) as SealReceipt).leftOut, LEFT_OUT);
  assert.deepEqual([result.facts.counters.sent, result.facts.counters.zero], [3, 1]);
});

test('a receiver that would not say so gets no claim', async () => {
  await using app = await startReceiverApp({ blockCount: BLOCK_COUNT });
  const blocks = blocksOf(app);
  const old: Interposed = {
    async transfer(ask, ...args) {
      return { ...(await ask(...args)), hasLeftOut: null };
    },
  };
  await assert.rejects(
    sendThrough(app, leavingOut(memorySource(blocks), AREAS), old),
    coded('transfer-mismatch', { message: /^the receiver is of version 0\.2 or earlier: its receipt/ }),
  );
  assert.equal(app.transfer.hasLeftOut, false);
  // All of the source can be sent to it.
  assert.equal((await sendThrough(app, memorySource(blocks), old)).outcome, 'sealed');
});

test('a receipt that says something else is not believed', async () => {
  for (const said of [null, { ...LEFT_OUT, bytes: LEFT_OUT.bytes - 1 }, { ...LEFT_OUT, areas: [AREAS[1]] }]) {
    await using app = await startReceiverApp({ blockCount: BLOCK_COUNT });
    const source = leavingOut(memorySource(blocksOf(app)), AREAS);
    const lying: Interposed = {
      async complete(ask, ...args) {
        const answer = await ask(...args);
        return answer === 'verifying' ? answer : ({ ...answer, leftOut: said } as typeof answer);
      },
    };
    await assert.rejects(
      sendThrough(app, source, lying),
      coded('receipt-invalid', { message: /^the receipt does not say what this run has left out/ }),
    );
  }
});
