import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { DIGEST_BYTES, digestNow, type DigestAlgorithm } from '../../../common/digest/digest.ts';
import { TransferError } from '../../../common/errors.ts';
import {
  BLOCK_STATES,
  LISTING_COUNT_MAX,
  TYPE_DIGESTS,
  type BlockState,
} from '../../../common/protocol/protocol.ts';
import { BlockTable } from '../../../receiver/durability/block-table.ts';
import { listBlocks } from '../../../receiver/http/listing.ts';
import type { OpenTransfer } from '../../../receiver/transfer/transfer.ts';

const A: BlockState = 'absent';
const W: BlockState = 'written';
const D: BlockState = 'durable';
const V: BlockState = 'verified';
const STATES = [D, D, A, W, W, V, D, A] as const;

function digestFor(index: number): Buffer {
  return digestNow(Buffer.from(`block ${index}`));
}

/** The parts of a transfer that a listing uses. */
function transferOf(states: readonly BlockState[], algorithm: DigestAlgorithm): OpenTransfer {
  const table = new BlockTable(states.length);
  for (const [index, state] of states.entries()) table.set(index, state, digestFor(index));
  return { table, blockCount: states.length, digest: { algorithm } } as unknown as OpenTransfer;
}

type Query = Readonly<Record<string, string>>;

function list(
  query: Query = {},
  accept?: string,
  states: readonly BlockState[] = STATES,
  algorithm: DigestAlgorithm = 'sha-256',
): { type: string; body: string | Uint8Array } {
  const parameter = (name: string): string | undefined =>
    Object.hasOwn(query, name) ? query[name] : undefined;
  const { type, chunks } = listBlocks(transferOf(states, algorithm), parameter, accept);
  const bytes = Buffer.concat([...chunks]);
  return { type, body: type === TYPE_DIGESTS ? bytes : bytes.toString() };
}

function rangesOf(query: Query): unknown {
  const { type, body } = list(query);
  assert.equal(type, 'application/json');
  return JSON.parse(String(body));
}

test('the JSON listing has ranges of equal state from the first block to the last', () => {
  assert.deepEqual(rangesOf({}), [
    { first: 0, count: 2, state: D },
    { first: 2, count: 1, state: A },
    { first: 3, count: 2, state: W },
    { first: 5, count: 1, state: V },
    { first: 6, count: 1, state: D },
    { first: 7, count: 1, state: A },
  ]);
  assert.deepEqual(rangesOf({ from: '1', count: '2' }), [
    { first: 1, count: 1, state: D },
    { first: 2, count: 1, state: A },
  ]);
  assert.match(String(list().body), /\]\n$/);
});

test('`missing` includes written blocks, `durable` includes verified ones', () => {
  const indexesOf = (state: string): number[] => {
    const ranges = rangesOf({ state }) as { first: number; count: number }[];
    return ranges.flatMap(({ first, count }) => Array.from({ length: count }, (_, at) => first + at));
  };
  assert.deepEqual(indexesOf('any'), [0, 1, 2, 3, 4, 5, 6, 7]);
  assert.deepEqual(indexesOf('missing'), [2, 3, 4, 7]);
  assert.deepEqual(indexesOf('written'), [3, 4]);
  assert.deepEqual(indexesOf('durable'), [0, 1, 5, 6]);
  assert.deepEqual(indexesOf('verified'), [5]);
});

test('the text listing has a line for each block', () => {
  const { type, body } = list({ from: '1', count: '3' }, 'text/plain, */*;q=0.5');
  assert.match(type, /^text\/plain/);
  const hex = (index: number): string => digestFor(index).toString('hex');
  assert.equal(body, `1 durable ${hex(1)}\n2 absent -\n3 written ${hex(3)}\n`);
  assert.equal(list({ state: 'verified' }, 'text/plain').body, `5 verified ${hex(5)}\n`);
  const other = list({ from: '1', count: '2' }, 'text/plain', STATES, 'blake3');
  assert.equal(other.body, `1 durable blake3:${hex(1)}\n2 absent -\n`);
});

test('the binary listing has 32 bytes for each block, zeros where it is not durable', () => {
  const { type, body } = list({ from: '1', count: '5' }, TYPE_DIGESTS);
  assert.equal(type, TYPE_DIGESTS);
  const zeros = Buffer.alloc(DIGEST_BYTES);
  assert.deepEqual(
    Buffer.from(body as Uint8Array),
    Buffer.concat([digestFor(1), zeros, zeros, zeros, digestFor(5)]),
  );
  for (const state of ['missing', 'durable']) {
    assert.throws(() => list({ state }, TYPE_DIGESTS), { code: 'bad-request' });
  }
  assert.equal((list({ state: 'any' }, TYPE_DIGESTS).body as Uint8Array).length, 8 * DIGEST_BYTES);
});

test('a page ends at the last block, and may be empty past it', () => {
  assert.deepEqual(rangesOf({ from: '7', count: '65536' }), [{ first: 7, count: 1, state: A }]);
  assert.deepEqual(rangesOf({ from: '8' }), []);
  assert.deepEqual(rangesOf({ count: '0' }), []);
  assert.equal((list({ from: '8' }, TYPE_DIGESTS).body as Uint8Array).length, 0);
  assert.equal(list({}, undefined, []).body, '[]\n');
  assert.deepEqual(
    JSON.parse(
      String(
        list(
          {},
          undefined,
          Array.from({ length: 70_000 }, () => D),
        ).body,
      ),
    ),
    [{ first: 0, count: LISTING_COUNT_MAX, state: D }],
  );
});

test('values out of range are refused, with the limits', () => {
  assert.throws(() => list({ from: '9' }), {
    code: 'bad-request',
    message: 'from=9&count=65536 is out of range: from 0 to 8, count up to 65536',
  });
  assert.throws(() => list({ count: '65537' }), { code: 'bad-request' });
  for (const text of ['-1', '1.5', '0x1', '', ' 1', '1e3', '9'.repeat(16), 'all']) {
    const message = `from=${text} is not a whole number`;
    assert.throws(() => list({ from: text }), { code: 'bad-request', message });
    assert.throws(() => list({ count: text }), { code: 'bad-request' });
  }
  assert.throws(() => list({ from: 'x'.repeat(999) }), {
    message: `from=${'x'.repeat(20)} is not a whole number`,
  });
  for (const state of ['', 'absent', 'ANY', '__proto__']) {
    assert.throws(() => list({ state }), {
      code: 'bad-request',
      message: 'state must be one of any, missing, written, durable, verified',
    });
  }
});

test('the three media types agree for any query, or it is a bad request', () => {
  const states = fc.array(fc.constantFrom(...BLOCK_STATES), { maxLength: 12 });
  const number = fc.oneof(fc.nat(14).map(String), fc.string());
  fc.assert(
    fc.property(states, number, number, (all, from, count) => {
      let json: unknown;
      try {
        json = JSON.parse(String(list({ from, count }, undefined, all).body));
      } catch (error) {
        assert(error instanceof TransferError && error.code === 'bad-request', String(error));
        return;
      }
      const text = String(list({ from, count }, 'text/plain', all).body);
      const listed = (json as { count: number; state: string }[]).flatMap((range) =>
        Array.from({ length: range.count }, () => range.state),
      );
      assert.deepEqual(
        [...text.matchAll(/^\d+ (\w+) /gm)].map(([, state]) => state),
        listed,
      );
      const digests = list({ from, count }, TYPE_DIGESTS, all).body as Uint8Array;
      assert.equal(digests.length, listed.length * DIGEST_BYTES);
    }),
  );
});
