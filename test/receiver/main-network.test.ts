/** IPv6 and IPv4 by default, on machines that have one of them or both. For root, with iproute2. */
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { parseTicket } from '../../common/trust/ticket.ts';
import { SMALL_BLOCKS, randomSource } from '../support/copied.ts';
import { PROGRAMS, assertEqualFiles, environment } from '../support/processes.ts';
import { run, runOk, start, type Started } from '../support/run.ts';
import { skipUnlessStrace } from '../support/strace.ts';
import { tempDir } from '../support/temp-dir.ts';
import { skipUnlessNamespaces } from '../support/two-machines.ts';

const needsNamespaces = { skip: skipUnlessNamespaces };

interface Machine extends AsyncDisposable {
  /** What a command line begins with. */
  readonly within: readonly [string, ...string[]];
}

let machineCount = 0;

/** A machine with a loopback and, if there are addresses, one interface. */
async function makeMachine(...addresses: readonly string[]): Promise<Machine> {
  await using stack = new AsyncDisposableStack();
  const name = `ddt-net-${process.pid}-${++machineCount}`;
  await runOk('ip', ['netns', 'add', name]);
  stack.defer(async () => void (await run('ip', ['netns', 'del', name])));
  const ip = async (...args: readonly string[]): Promise<string> => await runOk('ip', ['-n', name, ...args]);
  await ip('link', 'set', 'lo', 'up');
  if (addresses.length > 0) {
    await ip('link', 'add', 'line', 'type', 'veth', 'peer', 'name', 'other');
    for (const end of ['line', 'other']) await ip('link', 'set', end, 'up');
  }
  for (const address of addresses) {
    const nodad = address.includes(':') ? ['nodad'] : [];
    await ip('addr', 'add', address, 'dev', 'line', ...nodad);
  }
  const owned = stack.move();
  const within = ['ip', 'netns', 'exec', name] as const;
  return { within, [Symbol.asyncDispose]: async () => await owned.disposeAsync() };
}

async function startIn(machine: Machine, folder: string, ...options: readonly string[]): Promise<Started> {
  const files = ['--state-dir', join(folder, 'state'), '--ticket-file', join(folder, 'ticket')];
  const receive = [
    join(PROGRAMS, 'ddt-receive'),
    '--listen',
    ':0',
    ...files,
    ...options,
    join(folder, 'target'),
  ];
  const [command, ...args] = [...machine.within, ...receive];
  const receiver = await start(command, args, { env: environment() });
  await receiver.waitForLine(/^listening on /);
  return receiver;
}

/** By its ticket, or by another address of the receiver. */
async function sendIn(machine: Machine, folder: string, host?: string): Promise<void> {
  const source = await randomSource(folder, 8);
  const ticket = (await readFile(join(folder, 'ticket'), 'utf8')).trim();
  const at = host === undefined ? ticket : ticket.replace(/\/\/.*:(\d+)\//, `//${host}:$1/`);
  const [command, ...args] = [...machine.within, join(PROGRAMS, 'ddt-send'), ...SMALL_BLOCKS, source, at];
  const { status, stderr } = await run(command, args, { env: environment() });
  assert.equal(status, 0, stderr);
  await assertEqualFiles(source, join(folder, 'target'));
}

async function hostOfTicket(folder: string): Promise<string> {
  return parseTicket(await readFile(join(folder, 'ticket'), 'utf8')).host;
}

test(
  'on a machine with IPv6 alone the ticket has its global address, and leads there',
  needsNamespaces,
  async () => {
    await using folder = await tempDir();
    await using only6 = await makeMachine('fd00::7/64', '2001:db8::7/64');
    await using receiver = await startIn(only6, folder.path);
    assert.match(receiver.stdout, /^listening on \[::\]:\d+$/m);
    assert.equal(await hostOfTicket(folder.path), '2001:db8::7');
    assert.match(await readFile(join(folder.path, 'ticket'), 'utf8'), /^https:\/\/\[2001:db8::7\]:\d+\/#/);
    assert.doesNotMatch(receiver.stdout, /^note/m);
    await sendIn(only6, folder.path);
  },
);

test(
  'a unique local address is advertised where there is no other, with a note',
  needsNamespaces,
  async () => {
    await using folder = await tempDir();
    await using only6 = await makeMachine('fd00::7/64');
    await using receiver = await startIn(only6, folder.path);
    assert.equal(await hostOfTicket(folder.path), 'fd00::7');
    await receiver.waitForLine(/^note: fd00::7 is a private address; /);
  },
);

test('on a machine with both, senders come by IPv4 and by IPv6 to one port', needsNamespaces, async () => {
  for (const host of [undefined, '192.0.2.7', '[2001:db8::7]', '[::1]', '127.0.0.1']) {
    await using folder = await tempDir();
    await using both = await makeMachine('192.0.2.7/24', '2001:db8::7/64');
    await using _receiver = await startIn(both, folder.path);
    assert.equal(await hostOfTicket(folder.path), '192.0.2.7');
    await sendIn(both, folder.path, host);
  }
});

test('a machine whose IPv6 is switched off is served by IPv4', needsNamespaces, async () => {
  await using folder = await tempDir();
  await using only4 = await makeMachine('192.0.2.7/24');
  const [command, ...args] = [...only4.within, 'sysctl', '-q', '-w', 'net.ipv6.conf.all.disable_ipv6=1'];
  await runOk(command, args);
  await using _receiver = await startIn(only4, folder.path);
  await sendIn(only4, folder.path);
});

const needsStrace = { skip: skipUnlessNamespaces || skipUnlessStrace };
for (const errno of ['EAFNOSUPPORT', 'EADDRNOTAVAIL']) {
  test(`a kernel that refuses IPv6 with ${errno} is served by IPv4`, needsStrace, async () => {
    await using folder = await tempDir();
    await using only4 = await makeMachine('192.0.2.7/24');
    const inject = `--inject=listen:error=${errno}:when=1`;
    const under = [
      'strace',
      '-D',
      '-f',
      '-qq',
      '--output=/dev/null',
      '--trace=listen',
      '--signal=none',
      inject,
    ];
    const traced: Machine = { ...only4, within: [...only4.within, ...under] };
    await using receiver = await startIn(traced, folder.path);
    assert.match(receiver.stdout, /^listening on 0\.0\.0\.0:\d+$/m);
    await sendIn(only4, folder.path);
  });
}

test('a machine without a network advertises loopback', needsNamespaces, async () => {
  await using folder = await tempDir();
  await using alone = await makeMachine();
  await using _receiver = await startIn(alone, folder.path);
  assert.equal(await hostOfTicket(folder.path), '127.0.0.1');
  await sendIn(alone, folder.path);
});
