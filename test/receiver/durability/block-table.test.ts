import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { DIGEST_BYTES, digestNow } from '../../../common/digest/digest.ts';
import { BLOCK_STATES, type BlockState } from '../../../common/protocol/protocol.ts';
import { rangesOf } from '../../../common/ranges.ts';
import { BlockTable } from '../../../receiver/durability/block-table.ts';

const BLOCK_COUNT = 12;
const ZEROS = Buffer.alloc(DIGEST_BYTES);

function digestFor(text: string): Buffer {
  return digestNow(Buffer.from(text));
}

/** What is known of each block, kept the simple way. */
interface Known {
  readonly state: BlockState;
  readonly digest: Buffer;
}

interface Change extends Pick<Known, 'state'> {
  readonly index: number;
  /** Of which the digest is taken; without one the block keeps what it had. */
  readonly content: string | undefined;
}

const changes: fc.Arbitrary<Change[]> = fc.array(
  fc.record({
    index: fc.nat(BLOCK_COUNT - 1),
    state: fc.constantFrom(...BLOCK_STATES),
    content: fc.option(fc.string(), { nil: undefined }),
  }),
  { maxLength: 40 },
);

/** The same changes to a table and to its model. */
function build(all: readonly Change[]): { table: BlockTable; model: Known[] } {
  const table = new BlockTable(BLOCK_COUNT);
  const model = Array.from({ length: BLOCK_COUNT }, (): Known => ({ state: 'absent', digest: ZEROS }));
  for (const { index, state, content } of all) {
    const lent = content === undefined ? undefined : digestFor(content);
    table.set(index, state, lent);
    // The lender uses its buffer again.
    lent?.fill(7);
    const present = content === undefined ? model[index]?.digest : digestFor(content);
    model[index] = { state, digest: state === 'absent' ? ZEROS : (present ?? ZEROS) };
  }
  return { table, model };
}

function isDurable({ state }: Known): boolean {
  return state === 'durable' || state === 'verified';
}

test('states, digests and counts are those of the model, whatever is set', () => {
  fc.assert(
    fc.property(changes, (all) => {
      const { table, model } = build(all);
      for (const [index, known] of model.entries()) {
        assert.equal(table.stateOf(index), known.state);
        assert.equal(table.isDurable(index), isDurable(known));
        assert.deepEqual(table.digestOf(index), known.digest);
      }
      for (const state of BLOCK_STATES) {
        assert.equal(table.countOf(state), model.filter((known) => known.state === state).length);
      }
    }),
  );
});

test('listings of any part are those of the model', () => {
  fc.assert(
    fc.property(changes, fc.nat(BLOCK_COUNT), fc.nat(BLOCK_COUNT), (all, from, length) => {
      const { table, model } = build(all);
      const count = Math.min(length, BLOCK_COUNT - from);
      const part = model.slice(from, from + count);
      const digests = Buffer.concat(part.map((known) => (isDurable(known) ? known.digest : ZEROS)));
      assert.deepEqual(table.durableDigests(from, count), digests);
      const ranges = table.statesByRange(from, count);
      const listed = ranges.flatMap((range) => Array.from({ length: range.count }, () => range.state));
      assert.deepEqual(
        listed,
        part.map(({ state }) => state),
      );
      for (const [at, range] of ranges.entries()) {
        const before = ranges[at - 1];
        assert.equal(range.first, before === undefined ? from : before.first + before.count);
        assert.notEqual(range.state, before?.state, 'neighbours of equal state are one range');
      }
    }),
  );
});

test('the missing ranges are those of the model, as many as were asked for', () => {
  fc.assert(
    fc.property(changes, fc.nat(8), (all, most) => {
      const { table, model } = build(all);
      const missing = [...model.entries()].filter(([, known]) => !isDurable(known)).map(([index]) => index);
      assert.deepEqual(table.missing(most), rangesOf(missing).slice(0, most));
    }),
  );
});

test('a new table is all absent, also an empty one', () => {
  for (const blockCount of [0, 1, 65_536]) {
    const table = new BlockTable(blockCount);
    assert.equal(table.countOf('absent'), blockCount);
    assert.equal(table.countOf('written') + table.countOf('durable') + table.countOf('verified'), 0);
    assert.deepEqual(table.missing(9), blockCount === 0 ? [] : [[0, blockCount]]);
    assert(table.durableDigests(0, blockCount).equals(Buffer.alloc(blockCount * DIGEST_BYTES)));
  }
});

test('a block keeps its digest from written to verified, and loses it when it becomes absent', () => {
  const table = new BlockTable(2);
  const digest = digestFor('x');
  table.set(1, 'written', digest);
  table.set(1, 'durable');
  table.set(1, 'verified');
  assert.deepEqual(table.digestOf(1), digest);
  table.set(1, 'absent', digest);
  assert.deepEqual(table.digestOf(1), ZEROS);
  table.set(1, 'durable');
  assert.deepEqual(table.digestOf(1), ZEROS);
});

test('a page of digests is a copy: what changes later does not change it', () => {
  const table = new BlockTable(1);
  table.set(0, 'durable', digestFor('before'));
  const page = table.durableDigests(0, 1);
  table.set(0, 'durable', digestFor('after'));
  assert.deepEqual(page, digestFor('before'));
});

test('all digests are there only when every block is durable', () => {
  const table = new BlockTable(3);
  for (const index of [2, 0]) table.set(index, 'durable', digestFor(`${index}`));
  table.set(1, 'written', digestFor('1'));
  assert.throws(() => table.allDigests(), { name: 'AssertionError' });
  table.set(1, 'verified');
  assert.deepEqual(table.allDigests(), Buffer.concat([0, 1, 2].map((index) => digestFor(`${index}`))));
  assert.equal(new BlockTable(0).allDigests().length, 0);
});

test('a block beyond the end is a bug', () => {
  const table = new BlockTable(3);
  for (const index of [-1, 3, 2 ** 32, 1.5, NaN]) {
    assert.throws(() => table.stateOf(index), { name: 'AssertionError' });
    assert.throws(() => table.set(index, 'written', ZEROS), { name: 'AssertionError' });
  }
  assert.throws(() => table.durableDigests(2, 2), { name: 'AssertionError' });
  assert.equal(table.countOf('absent'), 3);
});

test('a table that shrinks forgets absent blocks at its end, and no others', () => {
  const table = new BlockTable(5);
  assert.equal(table.presentEnd(), 0);
  table.set(0, 'verified', digestFor('0'));
  table.set(2, 'written', digestFor('2'));
  assert.equal(table.presentEnd(), 3);
  assert.throws(() => table.shrinkTo(2), { name: 'AssertionError' });
  assert.throws(() => table.shrinkTo(6), { name: 'AssertionError' });
  table.shrinkTo(3);
  assert.deepEqual([table.blockCount, table.countOf('absent'), table.stateOf(4)], [3, 1, 'absent']);
  assert.throws(() => table.set(3, 'written', ZEROS), { name: 'AssertionError' });
  for (const index of [1, 2]) table.set(index, 'durable', digestFor(`${index}`));
  assert.deepEqual(table.allDigests(), Buffer.concat([0, 1, 2].map((index) => digestFor(`${index}`))));
  assert.equal(table.presentEnd(), 3);
});
