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

/** Near the ends of chunks, which have 2048 blocks. */
const PLACES = [0, 1, 2046, 2047, 2048, 2049, 4095, 4096, 6143, 6144, 6999];
const LARGE = 7000;
type Step = readonly [kind: BlockState | 'listed' | 'different' | 'doubtAll' | 'doubtVerified', at: number];

function doubted(kind: string, isAll: boolean): string {
  if (isAll) return ['verified', 'durable', 'different'].includes(kind) ? 'listed' : kind;
  return kind === 'verified' ? 'durable' : kind;
}

function take(table: BlockTable, model: string[], [kind, at]: Step): void {
  if (kind === 'doubtAll' || kind === 'doubtVerified') {
    table[kind]();
    for (const [index, before] of model.entries()) model[index] = doubted(before, kind === 'doubtAll');
    return;
  }
  const index = PLACES[at % PLACES.length] ?? 0;
  if (kind === 'listed') table.setListed(index, digestFor('x'));
  else if (kind === 'different') table.setDifferent(index);
  else table.set(index, kind, digestFor('x'));
  model[index] = kind;
}

test('what is asked of a whole table is what its blocks say, whatever was doubted', () => {
  const kind = fc.constantFrom(...BLOCK_STATES, 'listed', 'different', 'doubtAll', 'doubtVerified');
  const steps = fc.array(fc.tuple(kind, fc.nat(PLACES.length - 1)), { maxLength: 30 });
  fc.assert(
    fc.property(steps, fc.nat(8), fc.constantFrom(...PLACES), (all, most, from) => {
      const table = new BlockTable(LARGE);
      const model = Array.from({ length: LARGE }, () => 'absent');
      for (const step of all as Step[]) take(table, model, step);
      const where = (...kinds: string[]): number[] =>
        [...model.entries()].filter(([, present]) => kinds.includes(present)).map(([index]) => index);
      const missing = rangesOf(where('absent', 'written', 'different'));
      assert.deepEqual(table.missing(most), missing.slice(0, most));
      assert.deepEqual(table.different(Infinity), rangesOf(where('different')));
      assert.equal(table.differentCount, where('different').length);
      assert.equal(
        table.presentEnd(),
        Math.max(-1, ...where('written', 'durable', 'verified', 'listed', 'different')) + 1,
      );
      assert.equal(
        table.nextDurable(from),
        where('durable').find((index) => index >= from),
      );
      assert.equal(
        table.nextDurable(from, true),
        where('listed').find((index) => index >= from),
      );
      for (const index of PLACES) {
        assert.equal(table.isListed(index), model[index] === 'listed');
        assert.equal(table.isDurable(index), ['durable', 'verified', 'listed'].includes(model[index] ?? ''));
      }
      assert.equal(table.countOf('durable'), where('durable', 'listed').length);
      assert.equal(table.countOf('absent'), where('absent', 'different').length);
    }),
    { numRuns: 200 },
  );
});

test('nothing that is asked of a table of a hundred million blocks looks at each of them', () => {
  const count = 134_000_000;
  const table = new BlockTable(count);
  for (const index of [0, 70_000_000, count - 1]) table.set(index, 'verified', digestFor('x'));
  const asked: Record<string, () => unknown> = {
    missing: () => table.missing(4096),
    different: () => table.different(4096),
    presentEnd: () => table.presentEnd(),
    doubtVerified: () => table.doubtVerified(),
    nextDurable: () => table.nextDurable(1),
    doubtAll: () => table.doubtAll(),
    nextListed: () => table.nextDurable(70_000_001, true),
  };
  for (const [name, ask] of Object.entries(asked)) {
    // Of the processor: a busy machine does not change it much. A look at each block takes a second.
    const start = process.cpuUsage();
    ask();
    const { user, system } = process.cpuUsage(start);
    assert.ok(user + system < 250_000, `${name} took ${(user + system) / 1000} ms`);
  }
});
