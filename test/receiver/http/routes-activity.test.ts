/** Lines in the receiver's log, from requests over real connections. */
import assert from 'node:assert/strict';
import { Agent } from 'node:https';
import { test } from 'node:test';
import { digestNow } from '../../../common/digest/digest.ts';
import { eventually } from '../../support/eventually.ts';
import { FakeClock } from '../../support/fake-clock.ts';
import { ask, type Answer } from '../../support/https-client.ts';
import { MemoryTarget } from '../../support/memory-target.ts';
import { claimOf, contentOf } from '../../support/open-transfer.ts';
import { startReceiverApp, type ReceiverApp } from '../../support/receiver-app.ts';

interface Sender extends Disposable {
  request(method: string, path: string, body?: Buffer | string): Promise<Answer>;
}

/** With connections, and so a lease, of its own. */
function sender(app: ReceiverApp, id: string): Sender {
  const agent = new Agent({ keepAlive: true, rejectUnauthorized: false });
  const headers = { authorization: `Bearer ${app.token}`, 'ddt-sender': id };
  return {
    request: async (method, path, body) => await ask(agent, app.port, { method, path, headers, body }),
    [Symbol.dispose]: () => agent.destroy(),
  };
}

async function put(from: Sender, app: ReceiverApp, index: number, version = 1): Promise<Answer> {
  const body = contentOf(app.transfer.claimed(), index, version);
  return await from.request('PUT', `/blocks/${index}?digest=sha256:${digestNow(body).toString('hex')}`, body);
}

test('a copy is logged from the first connection to the seal, with what comes between', async () => {
  const clock = new FakeClock();
  await using app = await startReceiverApp({ clock, blockCount: null });
  {
    using first = sender(app, 'one');
    await first.request('PUT', '/transfer', JSON.stringify(claimOf(2)));
    await put(first, app, 0);
    using second = sender(app, 'two');
    for (let time = 0; time < 20; time++) {
      const { status, code } = await second.request('GET', '/transfer');
      assert.deepEqual([status, code], [409, 'in-use']);
    }
    await clock.advance(60_000);
  }
  await eventually('both connections are closed', async () => {
    await clock.advance(1000);
    return app.logged.some((line) => line.endsWith('disconnected'));
  });
  using again = sender(app, 'one');
  await put(again, app, 1);
  const digests = [0, 1].map((index) => digestNow(contentOf(app.transfer.claimed(), index, 1)));
  const root = `sha256:${digestNow(Buffer.concat(digests)).toString('hex')}`;
  for (let time = 0; time < 2; time++) {
    const { status } = await again.request('POST', '/complete', JSON.stringify({ blockCount: 2, root }));
    assert.equal(status, 200);
  }
  const wait =
    'warning: a sender at 127.0.0.1 has to wait: another ddt-send at 127.0.0.1 is sending to this target';
  const [connected, claimed, waits, progress, more, gone, back, sealed, ...rest] = app.logged;
  assert.deepEqual(
    [connected, claimed, waits, gone, sealed, rest],
    [
      'sender connected from 127.0.0.1',
      `claimed by ${app.actor}: /dev/test, a test disk, serial T1, 65.0 KiB`,
      `${wait} (last data 0 s ago)`,
      'sender at 127.0.0.1 disconnected',
      `sealed by ${app.actor}: 2 blocks, root ${root}`,
      [],
    ],
  );
  assert.match(
    progress ?? '',
    /^progress: 98\.4 % \(64 KiB\) durable of 65\.0 KiB; receiving (9|1\d) kbit\/s$/,
    'of the line, so a little more than the block',
  );
  assert.equal(more, `${wait} (last data 0 s ago) (18 more in 1 m)`);
  assert.match(back ?? '', /^sender back from 127\.0\.0\.1 after \d+ s$/);
});

test('a full target is logged once, and once more when there is room again', async () => {
  const clock = new FakeClock();
  const target = new MemoryTarget();
  await using app = await startReceiverApp({ clock, target });
  using from = sender(app, 'one');
  for (let index = 0; index < 4; index++) {
    target.arm({ operation: 'write', errno: 'ENOSPC' });
    assert.equal((await put(from, app, index)).status, 507);
    await clock.advance(1000);
  }
  target.clearFaults();
  await clock.advance(8000);
  for (let index = 0; index < 4; index++) assert.equal((await put(from, app, index)).status, 201);
  assert.deepEqual(app.logged, [
    'sender connected from 127.0.0.1',
    'warning: block 0: cannot write memory: ENOSPC: free some space, and the transfer continues by itself',
    'there is room again after 12 s',
  ]);
});

test('refused requests are logged with their address, blocks are not logged', async () => {
  const clock = new FakeClock();
  await using app = await startReceiverApp({ clock });
  for (const path of ['/transfer', '/blocks/1', '/nothing', '/health']) {
    await app.request('GET', path, { token: null });
    await app.request('GET', path, { token: 'junk' });
  }
  await app.request('PUT', '/transfer', { body: JSON.stringify(claimOf(9)) });
  for (let index = 0; index < 8; index++) {
    const body = contentOf(app.transfer.claimed(), index, 1);
    await app.request('PUT', `/blocks/${index}?digest=sha256:${digestNow(body).toString('hex')}`, { body });
    await app.request('PUT', `/blocks/${index}`, { body });
  }
  const [token, claim, ...rest] = app.logged;
  assert.equal(
    token,
    'warning: refused GET /transfer from 127.0.0.1: Authorization: Bearer <token> is missing',
  );
  assert.match(
    claim ?? '',
    /^warning: refused the claim of 127\.0\.0\.1: this target belongs to another transfer/,
  );
  assert.deepEqual(rest, []);
});
