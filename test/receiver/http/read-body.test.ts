import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { connect, type AddressInfo, type Socket } from 'node:net';
import { test } from 'node:test';
import { gzipSync, zstdCompressSync } from 'node:zlib';
import * as fc from 'fast-check';
import { TransferError } from '../../../common/errors.ts';
import { decodeInPlace, readBody, type Exchange } from '../../../receiver/http/read-body.ts';
import { coded } from '../../support/coded.ts';
import { prng } from '../../support/prng.ts';

const LIMIT_BYTES = 1000;
const LONG_MS = 10_000;
const HEAD = 'PUT / HTTP/1.1\r\nhost: x\r\n';

interface ClientExchange extends Exchange {
  /** The client's end. */
  readonly socket: Socket;
}

/** Runs `check` on a request that begins with these bytes. */
async function withRequest(
  start: string | Buffer,
  check: (exchange: ClientExchange) => Promise<void>,
): Promise<void> {
  const server = createServer();
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const socket = connect(port, '127.0.0.1');
  socket.on('error', () => {});
  const requested = once(server, 'request') as Promise<[IncomingMessage, ServerResponse]>;
  socket.write(start);
  const [incoming, outgoing] = await requested;
  try {
    await check({ incoming, outgoing, socket });
  } finally {
    socket.destroy();
    server.closeAllConnections();
    server.close();
  }
}

test('a body is read whole, in any number of chunks', async () => {
  const body = prng(1).bytes(LIMIT_BYTES);
  await withRequest(`${HEAD}content-length: ${LIMIT_BYTES}\r\n\r\n`, async ({ socket, ...exchange }) => {
    const into = Buffer.alloc(LIMIT_BYTES + 50, 0xee);
    const reading = readBody(exchange, into, LIMIT_BYTES, LONG_MS);
    for (let at = 0; at < LIMIT_BYTES; at += 300) {
      socket.write(body.subarray(at, at + 300));
      await once(exchange.incoming, 'data');
    }
    assert.equal(await reading, LIMIT_BYTES);
    assert.deepEqual(into, Buffer.concat([body, Buffer.alloc(50, 0xee)]));
  });
});

test('the memory of each chunk is free as soon as it was copied', async () => {
  const body = prng(2).bytes(LIMIT_BYTES);
  await withRequest(`${HEAD}content-length: ${LIMIT_BYTES}\r\n\r\n`, async ({ socket, ...exchange }) => {
    const chunks: Buffer[] = [];
    exchange.incoming.on('data', (chunk: Buffer) => chunks.push(chunk));
    exchange.incoming.pause();
    const into = Buffer.alloc(LIMIT_BYTES);
    const reading = readBody(exchange, into, LIMIT_BYTES, LONG_MS);
    exchange.incoming.resume();
    socket.write(body);
    assert.equal(await reading, LIMIT_BYTES);
    assert.deepEqual(into, body);
    assert(chunks.length > 0);
    assert(chunks.every((chunk) => chunk.buffer.byteLength === 0));
  });
});

test('chunked bodies are read, empty ones too', async () => {
  for (const [framed, expected] of [
    ['5\r\nhello\r\n6\r\n there\r\n0\r\n\r\n', 'hello there'],
    ['0\r\n\r\n', ''],
  ] as const) {
    await withRequest(`${HEAD}transfer-encoding: chunked\r\n\r\n${framed}`, async (exchange) => {
      const into = Buffer.alloc(LIMIT_BYTES);
      const length = await readBody(exchange, into, LIMIT_BYTES, LONG_MS);
      assert.equal(into.toString('latin1', 0, length), expected);
    });
  }
});

test('one byte too many fails the body, and nothing is written past the limit', async () => {
  const body = Buffer.alloc(LIMIT_BYTES + 1, 1);
  const start = Buffer.concat([Buffer.from(`${HEAD}content-length: ${body.length}\r\n\r\n`), body]);
  await withRequest(start, async (exchange) => {
    const into = Buffer.alloc(LIMIT_BYTES + 100);
    await assert.rejects(readBody(exchange, into, LIMIT_BYTES, LONG_MS), coded('too-large'));
    assert(into.subarray(LIMIT_BYTES).equals(Buffer.alloc(100)));
  });
});

test('a body that stalls is too slow, one that trickles is not', async () => {
  await withRequest(`${HEAD}content-length: 5\r\n\r\n`, async ({ socket, ...exchange }) => {
    const into = Buffer.alloc(LIMIT_BYTES);
    const reading = readBody(exchange, into, LIMIT_BYTES, 600);
    // Longer in all than the timeout, which is for each pause.
    const trickle = setInterval(() => socket.write('x'), 150);
    await reading.finally(() => clearInterval(trickle));
    assert.equal(await reading, 5);
  });
  await withRequest(`${HEAD}content-length: 5\r\n\r\nabc`, async (exchange) => {
    const message = /^no data of the body for 0\.05 s$/;
    await assert.rejects(readBody(exchange, Buffer.alloc(9), 9, 50), coded('too-slow', { message }));
  });
});

test('a connection that is cut within the body fails with the bytes received', async () => {
  await withRequest(`${HEAD}content-length: 5\r\n\r\nabc`, async ({ socket, ...exchange }) => {
    const reading = readBody(exchange, Buffer.alloc(9), 9, LONG_MS);
    await once(exchange.incoming, 'data');
    socket.destroy();
    await assert.rejects(reading, coded('connection-failed', { message: /after 3 bytes of the body/ }));
  });
  await withRequest(
    `${HEAD}transfer-encoding: chunked\r\n\r\n3\r\nabc\r\n`,
    async ({ socket, ...exchange }) => {
      const reading = readBody(exchange, Buffer.alloc(9), 9, LONG_MS);
      socket.end();
      await assert.rejects(reading, coded('connection-failed'));
    },
  );
});

test('a connection that was cut before reading started fails at once', async () => {
  await withRequest(`${HEAD}content-length: 5\r\n\r\nabc`, async ({ socket, ...exchange }) => {
    const closed = new Promise<void>((resolve) => exchange.incoming.once('close', resolve));
    socket.destroy();
    await closed;
    await assert.rejects(readBody(exchange, Buffer.alloc(9), 9, 50), coded('connection-failed'));
  });
});

const PLAIN = prng(5).bytes(40_000);

async function decode(body: Buffer, encoding: 'zstd' | 'gzip', lengthBytes = PLAIN.length): Promise<Buffer> {
  const into = Buffer.alloc(lengthBytes + 100_000);
  body.copy(into);
  return await decodeInPlace(into, body.length, encoding, lengthBytes);
}

test('an encoded body is decoded, and a plain one stays as it is', async () => {
  assert(PLAIN.equals(await decode(zstdCompressSync(PLAIN), 'zstd')));
  assert(PLAIN.equals(await decode(gzipSync(PLAIN), 'gzip')));
  const halves = [PLAIN.subarray(0, 7), PLAIN.subarray(7)];
  assert(PLAIN.equals(await decode(Buffer.concat(halves.map((half) => zstdCompressSync(half))), 'zstd')));
  const into = Buffer.from('plain');
  assert.equal((await decodeInPlace(into, 3, 'identity', 3)).toString(), 'pla');
  await assert.rejects(decodeInPlace(into, 3, 'identity', 4), coded('length-mismatch'));
});

test('a body that decodes to another length is refused, and a bomb costs no memory', async () => {
  const mismatch = coded('length-mismatch');
  for (const encode of [zstdCompressSync, gzipSync]) {
    const encoding = encode === gzipSync ? 'gzip' : 'zstd';
    await assert.rejects(decode(encode(PLAIN), encoding, PLAIN.length + 1), mismatch);
    await assert.rejects(decode(encode(PLAIN), encoding, PLAIN.length - 1), mismatch);
    const bomb = encode(Buffer.alloc(2 ** 26));
    const before = process.memoryUsage.rss();
    await assert.rejects(decode(bomb, encoding), mismatch);
    assert.ok(process.memoryUsage.rss() - before < 2 ** 25, encoding);
  }
  const skippable = Buffer.from([0x50, 0x2a, 0x4d, 0x18, 4, 0, 0, 0, 1, 2, 3, 4]);
  await assert.rejects(decode(skippable, 'zstd'), mismatch);
});

test('a body that is truncated, empty or of another coding does not decode', async () => {
  const zstd = zstdCompressSync(PLAIN);
  const gzip = gzipSync(PLAIN);
  for (const body of [
    zstd.subarray(0, 5),
    zstd.subarray(0, 20_000),
    zstd.subarray(0, -1),
    Buffer.alloc(0),
    gzip,
    PLAIN,
  ]) {
    await assert.rejects(
      decode(body, 'zstd'),
      coded('decode-failed', { message: /^the body is not valid zstd: / }),
    );
  }
  for (const body of [gzip.subarray(0, -1), Buffer.alloc(0), zstd]) {
    await assert.rejects(
      decode(body, 'gzip'),
      coded('decode-failed', { message: /^the body is not valid gzip: / }),
    );
  }
});

test('a window larger than the largest block is refused before it is allocated', async () => {
  // RFC 8878 section 3.1.1: magic number, descriptor, window (log2 - 10, five upper bits), one raw block.
  const frame = (windowLog: number): Buffer =>
    Buffer.from([0x28, 0xb5, 0x2f, 0xfd, 0, (windowLog - 10) << 3, 0x19, 0, 0, ...Buffer.from('abc')]);
  assert.equal((await decode(frame(24), 'zstd', 3)).toString(), 'abc');
  await assert.rejects(decode(frame(25), 'zstd', 3), coded('decode-failed'));
  await assert.rejects(decode(frame(31), 'zstd', 3), coded('decode-failed'));
});

test('any bytes decode to exactly the length of the block or are refused', async () => {
  const zstd = zstdCompressSync(PLAIN);
  const mutation = fc.record({ at: fc.nat(zstd.length - 1), to: fc.nat(255), keep: fc.nat(zstd.length) });
  await fc.assert(
    fc.asyncProperty(fc.array(mutation, { minLength: 1, maxLength: 3 }), async (mutations) => {
      const body = Buffer.from(zstd);
      for (const { at, to } of mutations) body[at] = to;
      const cut = body.subarray(0, Math.max(...mutations.map(({ keep }) => keep)));
      const outcome = await decode(cut, 'zstd').catch((error: unknown) => error);
      if (outcome instanceof Buffer) assert.equal(outcome.length, PLAIN.length);
      else assert(outcome instanceof TransferError && /^(decode-failed|length-mismatch)$/.test(outcome.code));
    }),
    { numRuns: 300 },
  );
});
