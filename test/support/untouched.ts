/** A receiver that holds two blocks, and a check that a refused request changed nothing of it. */
import assert from 'node:assert/strict';
import type { OutgoingHttpHeaders } from 'node:http';
import { BLAKE3, digestNow } from '../../common/digest/digest.ts';
import type { Answer } from './https-client.ts';
import { MemoryTarget } from './memory-target.ts';
import { BLOCK_BYTES, LAST_BYTES, contentOf, listedIn } from './open-transfer.ts';
import { startReceiverApp, type ReceiverApp, type ReceiverAppOptions } from './receiver-app.ts';
import { prng } from './prng.ts';

/** What the tests put as block 2, of 8; it holds something else, and so does the last one. */
export const BODY = prng(77).bytes(BLOCK_BYTES);
export const BODY_HEX = digestNow(BODY).toString('hex');
export const BODY_BASE64 = digestNow(BODY).toString('base64');
export const BODY_BLAKE3 = BLAKE3?.now(BODY).toString('hex') ?? assert.fail('npm ci brings BLAKE3');
export const GOOD_QUERY = `?digest=sha256:${BODY_HEX}`;

export interface UntouchedTest extends AsyncDisposable {
  readonly app: ReceiverApp;
  /** PUT of block 2 with {@link BODY}, unless others are given. */
  put(query: string, headers?: OutgoingHttpHeaders, body?: Buffer, index?: number): Promise<Answer>;
  /** Puts, and fails unless it is refused so and nothing has changed. */
  refuses(status: number, code: string, ...request: Parameters<UntouchedTest['put']>): Promise<Answer>;
  /** Fails when anything on the target or in the journal is not as it was at the start. */
  assertUntouched(why?: string): void;
}

export async function startUntouched(options: ReceiverAppOptions = {}): Promise<UntouchedTest> {
  const memory = new MemoryTarget();
  const app = await startReceiverApp({ target: memory, ...options });
  const { journal } = app.transfer;
  const open = app.transfer.claimed();
  const put: UntouchedTest['put'] = async (query, headers = {}, body = BODY, index = 2) =>
    await app.request('PUT', `/blocks/${index}${query}`, { headers, body });
  for (const index of [2, 7]) {
    const old = contentOf(open, index, 1);
    await put(`?digest=sha256:${digestNow(old).toString('hex')}`, {}, old, index);
  }
  const size = 7 * BLOCK_BYTES + LAST_BYTES;
  const before = { bytes: memory.bytesAt(0, size), listed: listedIn(journal), status: app.transfer.status() };
  assert.equal(before.listed.size, 2);
  const assertUntouched = (why = 'it was touched'): void => {
    assert(memory.bytesAt(0, size).equals(before.bytes), why);
    assert.deepEqual(listedIn(journal), before.listed, why);
    assert.deepEqual(app.transfer.status(), before.status, why);
  };
  return {
    app,
    put,
    assertUntouched,
    refuses: async (status, code, ...[query, headers, body, index]) => {
      const answer = await put(query, headers, body, index);
      const what = `${query} ${JSON.stringify(headers)}`;
      assert.deepEqual([answer.status, answer.code], [status, code], what);
      assert.equal(answer.headers['content-type'], 'application/problem+json');
      assertUntouched(what);
      assert.equal(open.slabs.freeCount, open.slabs.slabCount, what);
      return answer;
    },
    [Symbol.asyncDispose]: async () => await app[Symbol.asyncDispose](),
  };
}
