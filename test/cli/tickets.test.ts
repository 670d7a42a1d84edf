/** How a ticket reaches ddt-send, and the address that it connects to. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { createServer, type AddressInfo } from 'node:net';
import { join } from 'node:path';
import { test } from 'node:test';
import { atAddress, formatTicket, parseTicket } from '../../common/trust/ticket.ts';
import {
  MIB,
  OWN_HOST,
  PROGRAMS,
  bounded,
  environment,
  runSender,
  startReceiver,
  startSender,
  type Receiver,
} from '../support/processes.ts';
import { run } from '../support/run.ts';
import { tempDir } from '../support/temp-dir.ts';

interface Scene extends AsyncDisposable {
  readonly folder: string;
  readonly source: string;
  readonly receiver: Receiver;
}

async function makeScene(): Promise<Scene> {
  await using stack = new AsyncDisposableStack();
  const folder = stack.use(await tempDir());
  const source = join(folder.path, 'source');
  await writeFile(source, Buffer.alloc(MIB, 1));
  const receiver = stack.use(
    await startReceiver({ folder: folder.path, target: join(folder.path, 'target') }),
  );
  const owned = stack.move();
  return {
    folder: folder.path,
    source,
    receiver,
    [Symbol.asyncDispose]: async () => await owned.disposeAsync(),
  };
}

test('tickets are accepted the way people paste them', async () => {
  await using scene = await makeScene();
  const { source, receiver } = scene;
  const { ticket } = receiver;
  const wrapped = ticket.replaceAll(/.{80}/g, '$&\n');
  for (const args of [
    [source, ` ticket: ${wrapped}\n`],
    [source, 'ticket:', ...wrapped.split('\n')],
    [source, `ddt-send /dev/sdX '${wrapped}'`],
    [ticket, source],
  ]) {
    const { status, stderr } = await runSender(['--dry-run', ...args]);
    assert.equal(status, 3, `${args.join(' ')}: ${stderr}`);
  }
});

test('a ticket is read from standard input, as ddt-receive prints it', async () => {
  await using scene = await makeScene();
  const { source, receiver } = scene;
  const ended = await run(join(PROGRAMS, 'ddt-send'), ['--dry-run', '--ticket-file', '-', source], {
    env: environment(),
    input: `${receiver.process.stdout}ticket: ${receiver.ticket}\n`,
  });
  assert.equal(ended.status, 3, ended.stderr);
  const empty = await run(join(PROGRAMS, 'ddt-send'), ['--ticket-file', '-', source], { env: environment() });
  assert.equal(empty.status, 2);
  assert.match(empty.stderr, /^ddt-send: error: cannot read the ticket: it is empty\n/);
});

test('--connect takes the place of the address in the ticket, and the pin is checked', async () => {
  await using scene = await makeScene();
  await using other = await makeScene();
  const { source, receiver } = scene;
  const moved = formatTicket(atAddress(parseTicket(receiver.ticket), 'receiver.invalid', 1));
  const sent = await runSender(['--connect', `${OWN_HOST}:${receiver.port}`, source, moved]);
  assert.equal(sent.status, 0, sent.stderr);
  const samePort = formatTicket(atAddress(parseTicket(receiver.ticket), 'receiver.invalid', undefined));
  const again = await runSender(['--connect', OWN_HOST, source, samePort]);
  assert.equal(again.status, 0, again.stderr);
  const wrong = await runSender(['--connect', `${OWN_HOST}:${other.receiver.port}`, source, moved]);
  assert.equal(wrong.status, 4);
  assert.match(wrong.stderr, /is not the receiver of this ticket: its pin is /);
});

test('a ticket without a port connects to 443, and the message says so', async () => {
  await using scene = await makeScene();
  const ticket = scene.receiver.ticket.replace(/:\d+\/#/, '/#');
  const { status, stderr } = await runSender(['--retry-for', '0s', scene.source, ticket]);
  assert.equal(status, 6);
  assert(stderr.includes(`cannot reach the receiver at ${OWN_HOST}:443: connection refused`), stderr);
});

test('an address that does not answer is named after a second', async () => {
  await using scene = await makeScene();
  const server = createServer(() => {}).listen(0, OWN_HOST);
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const ticket = formatTicket(atAddress(parseTicket(scene.receiver.ticket), OWN_HOST, port));
  await using sender = await startSender([scene.source, ticket]);
  await sender.waitForLine(new RegExp(`^connecting to ${OWN_HOST}:${port} …$`));
  // Connecting may take half a minute; whoever interrupts it does not wait for that.
  sender.kill('SIGINT');
  const ended = await bounded('the sender to end', sender.ended, 10_000);
  assert.equal(ended.status, 130);
  assert.match(
    ended.stderr,
    /\nddt-send: error: interrupted\nddt-send: hint: run the same command again to resume\n$/,
  );
  server.close();
});
