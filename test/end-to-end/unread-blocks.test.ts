/** The memory of a receiver whose clients do not read what they ask for. */
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { MIB, startReceiver, type Receiver } from '../support/processes.ts';
import { connectRaw } from '../support/raw-exchange.ts';
import { tempDir } from '../support/temp-dir.ts';

const BLOCK_BYTES = 16 * MIB;
const BLOCKS = 8;
const CLAIM = { size: BLOCKS * BLOCK_BYTES, blockSize: BLOCK_BYTES, source: { description: 'x' } };

function headOf(path: string, token: string): string {
  return `GET ${path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer ${token}\r\n\r\n`;
}

async function memoryOf({ process }: Receiver, name: 'VmHWM' | 'VmRSS'): Promise<number> {
  const status = await readFile(`/proc/${process.pid}/status`, 'utf8');
  return Number(new RegExp(`^${name}:\\s+(\\d+) kB$`, 'm').exec(status)?.[1]) * 1024;
}

test('blocks that nobody reads stay within --memory, and blocks can still be written', async () => {
  await using folder = await tempDir();
  const target = join(folder.path, 'target.img');
  const options = { target, folder: folder.path, host: '127.0.0.1', options: ['--memory', '64MiB'] };
  await using receiver = await startReceiver(options);
  const post = async (method: string, path: string, body: object): Promise<number> =>
    (await receiver.request(method, path, Buffer.from(JSON.stringify(body)))).status;
  assert.equal(await post('PUT', '/transfer', CLAIM), 201);
  assert.equal(await post('POST', '/zero', { ranges: [[0, BLOCKS]] }), 200);
  const before = await memoryOf(receiver, 'VmRSS');
  await using sockets = new AsyncDisposableStack();
  for (let connection = 0; connection < 4; connection++) {
    const socket = await connectRaw(receiver.port);
    sockets.defer(() => void socket.destroy());
    socket.pause();
    for (let at = 0; at < 8; at++) socket.write(headOf(`/blocks/${at}`, receiver.token));
  }
  // All that may be read at once is: this one waits for memory in vain.
  assert.equal((await receiver.request('GET', '/blocks/0')).status, 503);
  assert.equal(await post('POST', '/zero', { ranges: [[0, BLOCKS]] }), 200);
  const addedMib = ((await memoryOf(receiver, 'VmHWM')) - before) / MIB;
  assert.ok(addedMib < 150, `${addedMib} MiB`);
});
