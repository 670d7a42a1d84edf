/** A service that cannot read one object, and one that cannot read any. */
import assert from 'node:assert/strict';
import { hash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { test } from 'node:test';
import { ObjectStore } from '../../../common/store/object-store.ts';
import { parseStoreName } from '../../../common/store/store-name.ts';

const BYTES = randomBytes(1000);
const DIGEST = hash('sha256', BYTES, 'buffer');

/** @param isThere whether it answers when it is asked for the bucket. */
async function readChunk(isThere: boolean): Promise<{ state: string; asked: number }> {
  let asked = 0;
  await using server = createServer((request, response) => {
    const url = request.url ?? '';
    if (url.startsWith('/disks/?')) return void response.end('<ListBucketResult></ListBucketResult>');
    if (url.startsWith('/disks/ddt-store.json')) return void response.writeHead(404).end();
    if (request.method === 'HEAD') return void response.writeHead(isThere ? 200 : 500).end();
    asked++;
    return void response.writeHead(500).end('<Error><Code>InternalError</Code></Error>');
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const endpoint = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const environment = { AWS_ACCESS_KEY_ID: 'A', AWS_SECRET_ACCESS_KEY: 's', HOME: '/nonexistent' };
  await using store = await ObjectStore.open(parseStoreName('s3://disks'), { endpoint, environment });
  const tell: string[] = [];
  if (isThere) store.reportOutages((sentence) => void tell.push(sentence));
  const state = await store.readChunk(Buffer.alloc(BYTES.length), DIGEST).catch(String);
  server.closeAllConnections();
  return { state, asked };
}

test('a chunk that the service cannot read is damage, and is not waited for', async () => {
  assert.deepEqual(await readChunk(true), { state: 'different', asked: 6 });
});

test('a service that cannot read anything is not there', async () => {
  assert.deepEqual(await readChunk(false), { state: 'Error: 500 InternalError', asked: 6 });
});
