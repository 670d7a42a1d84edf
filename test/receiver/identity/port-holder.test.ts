import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:net';
import { test } from 'node:test';
import { findPortHolder } from '../../../receiver/identity/port-holder.ts';
import { OWN_HOST } from '../../support/processes.ts';

async function listening(host: string): Promise<AsyncDisposable & { port: number }> {
  const server: Server = createServer().listen({ host, port: 0 });
  await once(server, 'listening');
  const address = server.address();
  assert(typeof address === 'object' && address !== null);
  return { port: address.port, [Symbol.asyncDispose]: async () => await server[Symbol.asyncDispose]() };
}

test('the process that listens on a port is found, by whatever address', async () => {
  const own = { processId: process.pid, name: (await readFile('/proc/self/comm', 'utf8')).trim() };
  for (const [listen, wanted] of [
    [OWN_HOST, OWN_HOST],
    [OWN_HOST, '0.0.0.0'],
    [OWN_HOST, '::'],
    ['0.0.0.0', OWN_HOST],
    ['::', OWN_HOST],
    ['::', '::'],
    ['::1', '::'],
  ] as const) {
    await using server = await listening(listen);
    assert.deepEqual(await findPortHolder(wanted, server.port), own, `${wanted}, taken by ${listen}`);
  }
});

test('a port that is free, or taken on another address alone, has no holder', async () => {
  await using server = await listening(OWN_HOST);
  assert.equal(await findPortHolder('127.0.0.1', server.port), undefined);
  const { port } = server;
  await server[Symbol.asyncDispose]();
  assert.equal(await findPortHolder(OWN_HOST, port), undefined);
});
