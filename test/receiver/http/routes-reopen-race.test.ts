/** A sealed copy that is confirmed while somebody opens it again. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { digestNow } from '../../../common/digest/digest.ts';
import { eventually } from '../../support/eventually.ts';
import { MemoryTarget } from '../../support/memory-target.ts';
import { BLOCK_BYTES, contentOf } from '../../support/open-transfer.ts';
import { startReceiverApp } from '../../support/receiver-app.ts';

const AREA = `${BLOCK_BYTES}+512`;

test('what was opened again while it was read back is not sealed over', async () => {
  const target = new MemoryTarget();
  await using app = await startReceiverApp({ target, blockCount: 2, isReadBack: true });
  const put = async (index: number, areas?: string): Promise<number> => {
    const body = contentOf(app.transfer.claimed(), index, 1);
    if (areas !== undefined) body.fill(0, 0, 512);
    const digest = digestNow(body).toString('hex');
    const headers = areas === undefined ? {} : { 'ddt-source-errors': areas };
    const path = `/blocks/${index}?flush=y&digest=sha256:${digest}`;
    return (await app.request('PUT', path, { body, headers })).status;
  };
  assert.deepEqual([await put(0), await put(1, AREA)], [201, 201]);
  const root = digestNow(app.transfer.claimed().table.allDigests()).toString('hex');
  const body = JSON.stringify({ blockCount: 2, root: `sha256:${root}` });
  const complete = async (): Promise<number> => (await app.request('POST', '/complete', { body })).status;
  await eventually('it is sealed', async () => (await complete()) === 200);

  const [isReading, isReopened] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
  // As a disk whose writes are counted: nobody else writes.
  target.writeMark = async () => await Promise.resolve({ foreignBytes: 0, stamp: '' });
  await app.request('POST', '/verify', {});
  await eventually('it is confirmed', async () => (await complete()) === 200);
  const readBack = target.readBack.bind(target);
  target.readBack = async (into, offset) => {
    if (offset === 0) {
      isReading.resolve();
      await isReopened.promise;
    }
    return await readBack(into, offset);
  };
  await app.request('POST', '/verify', {});
  const late = complete();
  await isReading.promise;
  try {
    assert.equal((await app.request('POST', '/reopen', {})).status, 200);
    assert.equal(await put(1), 200);
  } finally {
    isReopened.resolve();
  }
  assert.notEqual(await late, 200, 'the old receipt would be signed again');
  assert.equal(app.transfer.sealed, undefined);
});
