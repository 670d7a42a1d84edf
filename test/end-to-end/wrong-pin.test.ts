import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { freshSeed, prng } from '../support/prng.ts';
import {
  MIB,
  OWN_HOST,
  bounded,
  eventsOf,
  startReceiver,
  startSender,
  until,
  writeTicketVia,
} from '../support/processes.ts';
import { Relay, makeImpostor } from '../support/relay.ts';
import { unlessInstalled } from '../support/requires.ts';
import { start } from '../support/run.ts';
import { tempDir } from '../support/temp-dir.ts';

interface Attack {
  readonly connections: number;
  /** The impostor gets the connections from this one on. */
  readonly from: number;
  /** The line is cut when this much has passed, so that the sender reconnects. */
  readonly cutAtBytes?: number;
}

/** The sender ends with status 4, and the impostor gets not a byte of a request. */
async function attack({ connections, from, cutAtBytes }: Attack): Promise<void> {
  await using folder = await tempDir();
  const source = join(folder.path, 'source');
  await writeFile(source, prng(freshSeed()).bytes(8 * MIB));
  await using receiver = await startReceiver({ folder: folder.path, target: join(folder.path, 'target') });
  const impostor = await makeImpostor();
  const bytesPerSecond = 4 * MIB;
  await using relay = await Relay.start({
    to: receiver,
    bytesPerSecond,
    impostor: { from, take: impostor.take },
  });
  const ticketFile = await writeTicketVia(receiver, relay, join(folder.path, 'via'));
  const limits = ['--connections', String(connections), '--block-size', '64KiB'];
  const options = ['--progress', 'json', ...limits, '--ticket-file', ticketFile, source];
  await using sender = await startSender(options);
  if (cutAtBytes !== undefined) {
    await bounded('the transfer to begin', relay.reach(cutAtBytes));
    relay.cut();
  }
  const ended = await bounded('the sender to end', sender.ended);
  assert.equal(ended.status, 4, ended.stderr);
  assert.equal(eventsOf(ended.stdout).at(-1)?.['code'], 'pin-mismatch');
  const message = `its pin is ${impostor.pin}, not ${receiver.pin}`;
  assert(ended.stderr.includes(message), ended.stderr);
  assert(impostor.connectionCount > 0);
  assert.equal(impostor.requestBytes, 0, 'not a byte of a request was sent to it');
}

test('a wrong key on the first connection ends the sender before it sends anything', async () => {
  await attack({ connections: 1, from: 1 });
});

test('so does a wrong key on the second of several connections', async () => {
  await attack({ connections: 2, from: 2 });
});

test('so does a wrong key on a connection that replaces a lost one', async () => {
  await attack({ connections: 1, from: 2, cutAtBytes: MIB });
});

test(
  'the impostor would have heard what a client without a pin tells it',
  { skip: unlessInstalled('curl') },
  async () => {
    const impostor = await makeImpostor();
    const nobody = { host: OWN_HOST, port: 9 };
    await using relay = await Relay.start({ to: nobody, impostor: { from: 1, take: impostor.take } });
    await using curl = await start('curl', ['-sk', `https://${OWN_HOST}:${relay.port}/`]);
    await until('the request to come', () => impostor.requestBytes > 0);
    relay.cut();
    await bounded('curl to end', curl.ended);
  },
);
