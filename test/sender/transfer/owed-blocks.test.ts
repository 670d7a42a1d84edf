import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { digestNow } from '../../../common/digest/digest.ts';
import type { Range } from '../../../common/ranges.ts';
import { OwedLedger, type OwedBlocks, type Settled } from '../../../sender/transfer/owed-blocks.ts';
import type { ResponseInfo } from '../../../sender/client/receiver-port.ts';

function block(index: number, epoch: string, generation: number): OwedBlocks {
  return { ranges: [[index, 1]], epoch, generation, digest: digestNow(Buffer.from(`${index}`)) };
}

function zeros(ranges: readonly Range[], epoch: string, generation: number): OwedBlocks {
  return { ranges, epoch, generation, digest: undefined };
}

function indexesOf(blocks: readonly OwedBlocks[]): number[] {
  return blocks.flatMap(({ ranges }) => ranges.map(([first]) => first));
}

/** A response to a request that was begun at 0, when nothing was known. */
function settle(ledger: OwedLedger, epoch: string, durableGeneration: number): Settled {
  return ledger.settle({ epoch, durableGeneration, requestedMs: 0 }, 1);
}

/** First blocks of the ranges that became durable, and of those that were lost. */
function firstsOf({ durable, lost }: Settled): [number[], number[]] {
  return [indexesOf(durable), indexesOf(lost)];
}

test('a block is owed until a response of its epoch reaches its generation', () => {
  const ledger = new OwedLedger();
  assert.deepEqual(firstsOf(settle(ledger, 'a', 0)), [[], []]);
  for (const [index, generation] of [
    [10, 1],
    [11, 2],
    [12, 3],
  ] as const) {
    assert.equal(ledger.add(block(index, 'a', generation)), true);
  }
  assert.equal(ledger.blockCount, 3);
  assert.deepEqual(firstsOf(settle(ledger, 'a', 0)), [[], []]);
  assert.deepEqual(firstsOf(settle(ledger, 'a', 2)), [[10, 11], []]);
  assert.equal(ledger.blockCount, 1);
  assert.deepEqual(firstsOf(settle(ledger, 'a', 1)), [[], []], 'an older response');
  assert.deepEqual(firstsOf(settle(ledger, 'a', 99)), [[12], []]);
  assert.deepEqual(firstsOf(settle(ledger, 'a', 99)), [[], []], 'reported once');
});

test('zeros are owed as ranges and counted in blocks', () => {
  const ledger = new OwedLedger();
  const ranges: readonly Range[] = [
    [0, 100],
    [200, 7],
  ];
  ledger.add(zeros(ranges, 'a', 5));
  ledger.add(block(150, 'a', 6));
  assert.equal(ledger.blockCount, 108);
  const { durable } = settle(ledger, 'a', 5);
  assert.deepEqual(durable, [zeros(ranges, 'a', 5)]);
  assert.equal(ledger.blockCount, 1);
});

test('a new epoch loses everything that was owed, however high its generation', () => {
  const ledger = new OwedLedger();
  ledger.add(block(1, 'a', 1));
  ledger.add(block(2, 'a', 2));
  assert.deepEqual(firstsOf(settle(ledger, 'b', 1000)), [[], [1, 2]]);
  assert.equal(ledger.blockCount, 0);
});

test('a stale response of the old epoch neither loses nor settles blocks owed in the new one', () => {
  const ledger = new OwedLedger();
  settle(ledger, 'a', 7);
  settle(ledger, 'b', 0);
  ledger.add(block(1, 'b', 3));
  assert.deepEqual(firstsOf(settle(ledger, 'a', 9)), [[], []]);
  assert.deepEqual(firstsOf(settle(ledger, 'b', 3)), [[1], []]);
  ledger.add(block(2, 'b', 1000));
  for (let times = 0; times < 200; times++) {
    const late = settle(ledger, 'a', times);
    const current = settle(ledger, 'b', times);
    assert.deepEqual(
      [firstsOf(late), firstsOf(current)],
      [
        [[], []],
        [[], []],
      ],
      'as many of them as possible',
    );
  }
});

test('a block written in an epoch that is over is lost, not owed', () => {
  const ledger = new OwedLedger();
  settle(ledger, 'a', 0);
  settle(ledger, 'b', 0);
  assert.equal(ledger.add(block(1, 'a', 1)), false);
  assert.equal(ledger.blockCount, 0);
  assert.equal(ledger.add(block(1, 'b', 1)), true);
});

test('a result with an epoch that ended before its response was made does not start a new one', () => {
  const ledger = new OwedLedger();
  settle(ledger, 'a', 0);
  // Written in b; an error had started c when the response was made, whose head is settled first.
  settle(ledger, 'c', 0);
  assert.equal(ledger.add(block(1, 'b', 1)), false);
  assert.equal(ledger.add(block(1, 'c', 1)), true);
});

test('an epoch that ended before its first response arrived does not stay the current one', () => {
  const ledger = new OwedLedger();
  const settleAt = (epoch: string, requestedMs: number, nowMs: number): Settled =>
    ledger.settle({ epoch, durableGeneration: 0, requestedMs }, nowMs);
  settleAt('a', 0, 10);
  settleAt('c', 5, 20);
  // Overtaken by the response before it.
  settleAt('b', 4, 30);
  settleAt('c', 30, 40);
  assert.equal(ledger.add(block(1, 'c', 1)), false, 'it may have been overtaken');
  settleAt('c', 31, 41);
  assert.equal(ledger.add(block(1, 'c', 1)), true, 'its request was begun when b was known');
  settleAt('b', 29, 50);
  settleAt('a', 29, 50);
  assert.equal(ledger.add(block(2, 'c', 2)), true);
});

test('everything that is owed can be given up, once', () => {
  const ledger = new OwedLedger();
  ledger.add(block(1, 'a', 1));
  ledger.add(zeros([[5, 2]], 'a', 2));
  assert.deepEqual(indexesOf(ledger.take(ledger.all())), [1, 5]);
  assert.deepEqual(ledger.take(ledger.all()), []);
  assert.equal(ledger.blockCount, 0);
  assert.deepEqual(firstsOf(settle(ledger, 'a', 9)), [[], []]);
});

/** A model receiver writes, flushes, fails and responds; the sender gets the responses in any order. */
type Event = 'write' | 'flush' | 'fail' | 'answer' | number;
const events = fc.array(
  fc.oneof(
    { weight: 3, arbitrary: fc.constant<Event>('write') },
    { weight: 3, arbitrary: fc.constantFrom<Event>('flush', 'fail', 'answer') },
    { weight: 2, arbitrary: fc.nat(5) },
  ),
  { maxLength: 60 },
);

interface Reply extends Omit<ResponseInfo, 'verifiedCount'> {
  readonly owed: OwedBlocks;
}

test('no lost block counts as durable; every block is reported durable or lost, once', () => {
  fc.assert(
    fc.property(events, (all) => {
      const ledger = new OwedLedger();
      let [epoch, generation, durableGeneration, next] = [0, 0, 0, 0];
      const durable = new Set<number>();
      let [written, unanswered]: [number[], Omit<Reply, 'epoch' | 'durableGeneration'>[]] = [[], []];
      const replies: Reply[] = [];
      const outcome = new Map<number, string>();
      const note = (settled: Settled): void => {
        for (const index of indexesOf(settled.durable)) {
          assert(durable.has(index), `block ${index} is not durable`);
          assert.equal(outcome.get(index), undefined);
          outcome.set(index, 'durable');
        }
        for (const index of indexesOf(settled.lost)) {
          assert.equal(outcome.get(index), undefined);
          outcome.set(index, 'lost');
        }
      };
      let nowMs = 0;
      const hear = (reply: Reply): void => {
        note(ledger.settle(reply, ++nowMs));
        if (!ledger.add(reply.owed)) note({ durable: [], lost: [reply.owed] });
      };
      const answer = (): void => {
        for (const request of unanswered) replies.push({ ...request, epoch: `${epoch}`, durableGeneration });
        unanswered = [];
      };
      for (const event of all) {
        if (event === 'write') {
          written.push(next);
          unanswered.push({ owed: block(next++, `${epoch}`, ++generation), requestedMs: ++nowMs });
        } else if (event === 'flush') {
          for (const index of written) durable.add(index);
          [written, durableGeneration] = [[], generation];
        } else if (event === 'fail') {
          [written, epoch, generation, durableGeneration] = [[], epoch + 1, 0, 0];
        } else if (event === 'answer') answer();
        else replies.splice(event, 1).forEach(hear);
      }
      answer();
      replies.forEach(hear);
      note(ledger.settle({ epoch: `${epoch}`, durableGeneration, requestedMs: ++nowMs }, ++nowMs));
      const isCurrent = ledger.add(block(next++, `${epoch}`, ++generation));
      assert(isCurrent, 'what a request begun by now has written is owed');
      note({ durable: [], lost: ledger.take(ledger.all()) });
      assert.equal(outcome.size, next, 'every written block has been reported');
    }),
    { numRuns: 500 },
  );
});
