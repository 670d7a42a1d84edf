/** The client against services that break the rules, and a line that breaks. */
import assert from 'node:assert/strict';
import { hash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { test } from 'node:test';
import { ObjectStore } from '../../../common/store/object-store.ts';
import { parseStoreName } from '../../../common/store/store-name.ts';
import { coded } from '../../support/coded.ts';
import { eventually } from '../../support/eventually.ts';

const BYTES = randomBytes(100_000);
const DIGEST = hash('sha256', BYTES, 'buffer');

interface Scene {
  readonly store: ObjectStore;
  readonly requests: IncomingMessage[];
}

/** @param answer to everything but the marker, which is not there, and the listing, which is empty. */
async function withService(
  answer: (response: ServerResponse, request: IncomingMessage, count: number) => void,
  check: (scene: Scene) => Promise<void>,
): Promise<void> {
  const requests: IncomingMessage[] = [];
  const server = createServer((request, response) => {
    request.resume();
    const url = request.url ?? '';
    if (url.startsWith('/disks/a/ddt-store.json')) return void response.writeHead(404).end();
    if (url.startsWith('/disks/?')) return void response.end('<ListBucketResult></ListBucketResult>');
    requests.push(request);
    return answer(response, request, requests.length);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const endpoint = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const environment = { AWS_ACCESS_KEY_ID: 'A', AWS_SECRET_ACCESS_KEY: 's', HOME: '/nonexistent' };
  try {
    await using store = await ObjectStore.open(parseStoreName('s3://disks/a'), { endpoint, environment });
    await check({ store, requests });
  } finally {
    server.closeAllConnections();
    server.close();
  }
}

test('a chunk that is shorter, longer or other than its name is different, not equal', async () => {
  const bodies = [
    BYTES,
    BYTES.subarray(1),
    Buffer.concat([BYTES, BYTES]),
    Buffer.alloc(0),
    Buffer.from(BYTES).fill(1, 50_000, 50_001),
  ];
  await withService(
    (response, _, count) => response.end(bodies[count - 1]),
    async ({ store }) => {
      const into = Buffer.alloc(BYTES.length);
      assert.equal(await store.readChunk(into, DIGEST), 'equal');
      assert.deepEqual(into, BYTES);
      for (const what of ['shorter', 'longer', 'empty', 'flipped']) {
        assert.equal(await store.readChunk(into, DIGEST), 'different', what);
      }
    },
  );
});

test('an answer that is cut off is asked for again, and begins anew', async () => {
  await withService(
    (response, _, count) => {
      response.writeHead(200, { 'content-length': String(BYTES.length) });
      if (count === 3) response.end(BYTES);
      else response.write(BYTES.subarray(0, 30_000), () => response.destroy());
    },
    async ({ store, requests }) => {
      const into = Buffer.alloc(BYTES.length);
      assert.equal(await store.readChunk(into, DIGEST), 'equal');
      assert.equal(requests.length, 3);
    },
  );
});

test('a request says the digest of its body, and its condition, under the signature', async () => {
  await withService(
    (response, _, count) => response.writeHead(count === 1 ? 200 : 412).end(),
    async ({ store, requests }) => {
      assert.equal(await store.putChunk(BYTES, DIGEST), true);
      assert.equal(await store.putChunk(BYTES, DIGEST), false);
      const [request] = requests;
      const hex = DIGEST.toString('hex');
      assert.equal(request?.url, `/disks/a/chunks/${hex.slice(0, 2)}/${hex.slice(2, 4)}/${hex}`);
      assert.equal(request.headers['x-amz-content-sha256'], hex);
      assert.equal(request.headers['if-none-match'], '*');
      assert.equal(request.headers['content-length'], String(BYTES.length));
      assert.match(
        request.headers.authorization ?? '',
        /SignedHeaders=[^,]*if-none-match[^,]*x-amz-content-sha256/,
      );
    },
  );
});

test('until somebody waits a service that fails is given up, then it is waited for', async () => {
  let isGone = true;
  const sentences: string[] = [];
  await withService(
    (response) => response.writeHead(isGone ? 503 : 200).end(),
    async ({ store, requests }) => {
      await assert.rejects(store.putChunk(BYTES, DIGEST), /503/);
      const givenUpAfter = requests.length;
      assert(givenUpAfter > 3, `${givenUpAfter} attempts`);
      store.reportOutages((sentence) => sentences.push(sentence));
      const put = store.putChunk(BYTES, DIGEST);
      await eventually('it tries again', () => requests.length > givenUpAfter + 2);
      isGone = false;
      assert.equal(await put, true);
      assert.match(sentences.join('\n'), /^s3:\/\/disks\/a does not answer .*503.*\n.* is back after/);
      assert.equal(sentences.length, 2, 'said once');
      assert.equal(store.lossCount, 1);
    },
  );
});

test('what is not waited for any more fails, and what is refused is not tried again', async () => {
  await withService(
    (response, _, count) => {
      if (count > 1) response.writeHead(503).end();
      else response.writeHead(403).end('<Error><Code>AccessDenied</Code><Message>no</Message></Error>');
    },
    async ({ store, requests }) => {
      store.reportOutages(() => {});
      await assert.rejects(store.putChunk(BYTES, DIGEST), /403 AccessDenied: no/);
      assert.equal(requests.length, 1);
      const put = store.putChunk(BYTES, DIGEST);
      put.catch(() => {});
      await delay(300);
      store.stopWaiting();
      await assert.rejects(put);
    },
  );
});

test('an endpoint or a marker that cannot be used is refused', async () => {
  const environment = { AWS_ACCESS_KEY_ID: 'A', AWS_SECRET_ACCESS_KEY: 's', HOME: '/nonexistent' };
  for (const endpoint of ['objects.example.com', 'ftp://x', 'http://a:b@c', 'http://c?x=1']) {
    const opening = ObjectStore.open(parseStoreName('s3://disks/a'), { endpoint, environment });
    await assert.rejects(opening, coded('usage', { message: /cannot use the S3 endpoint/ }), endpoint);
  }
});
