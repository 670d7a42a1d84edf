/** What a lane through ssh has delivered, seen from outside of that ssh, with a real sshd. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readFile, writeFile } from 'node:fs/promises';
import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { inChunks } from '../../../sender/client/connection/body-chunks.ts';
import { AcknowledgedBytes, UnackedBytes } from '../../../sender/client/connection/unacked-bytes.ts';
import { SshClient } from '../../../common/ssh/ssh-client.ts';
import { SshLane } from '../../../common/ssh/ssh-lane.ts';
import { eventually } from '../../support/eventually.ts';
import { FarMachine } from '../../support/far-machine.ts';
import { unlessInstalled } from '../../support/requires.ts';

const MIB = 1024 * 1024;
/** The kernel's buffers stay small. */
const FEW_BYTES = 128 * 1024;
const MANY_BYTES = 48 * MIB;
/** The frames of what is sent while nothing is taken; the keys of the login are more. */
const WRONG_BYTES_MAX = 3000;
const skip = unlessInstalled('ssh', 'sshd', 'ssh-keygen');

interface Line extends AsyncDisposable {
  /** Changes a configuration of ssh, so that the first connection takes this line. */
  lead(configFile: string): Promise<void>;
  /** Bytes of ssh that have arrived at the kernel of this end. */
  arrivedBytes(): Promise<number>;
  /** Nothing that is sent is taken from now on. */
  stop(): void;
  resume(): void;
}

/** Between ssh and the first sshd on its way. */
async function startLine(port: number): Promise<Line> {
  const open: Socket[] = [];
  const server = createServer((near) => {
    const far = connect(port, '127.0.0.1');
    near.pipe(far).pipe(near);
    open.push(near, far);
    for (const socket of [near, far]) socket.on('error', () => {});
  });
  const { port: ownPort } = await listen(server);
  return {
    async lead(configFile) {
      const config = await readFile(configFile, 'utf8');
      const changed = config
        .replace(`Port ${port}\n`, `Port ${ownPort}\n`)
        .replaceAll('StrictHostKeyChecking yes', 'StrictHostKeyChecking no\nUserKnownHostsFile /dev/null');
      assert.notEqual(changed, config);
      await writeFile(configFile, changed);
    },
    async arrivedBytes() {
      const table = await readFile('/proc/self/net/tcp', 'utf8');
      const hex = ownPort.toString(16).toUpperCase().padStart(4, '0');
      const pattern = new RegExp(`^ *\\d+: \\w+:${hex} \\w+:\\w+ 01 \\w+:(\\w+) `, 'm');
      return (open[0]?.bytesRead ?? 0) + parseInt(pattern.exec(table)?.[1] ?? '', 16);
    },
    stop: () => open[0]?.unpipe().pause(),
    resume: () => void (open[1] !== undefined && open[0]?.pipe(open[1])),
    async [Symbol.asyncDispose]() {
      for (const socket of open) socket.destroy();
      server.close();
      await once(server, 'close');
    },
  };
}

async function listen(server: Server): Promise<AddressInfo> {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return server.address() as AddressInfo;
}

async function portOf({ configFile }: FarMachine): Promise<number> {
  return Number(/^Port (\d+)$/m.exec(await readFile(configFile, 'utf8'))?.[1]);
}

async function openSsh({ configFile }: FarMachine): Promise<SshClient> {
  const destination = { login: 'loopback', port: undefined, path: '/x' };
  return await SshClient.open({ command: `ssh -F ${configFile}`, destination, onWords: () => {} });
}

async function assertCounted(machine: FarMachine, line: Line): Promise<void> {
  await using ssh = await openSsh(machine);
  const sink = createServer();
  const { port } = await listen(sink);
  using _sink = { [Symbol.dispose]: () => sink.close() };
  const accepted = once(sink, 'connection') as Promise<[Socket]>;
  const lane = new SshLane(ssh.laneCommand(true, `127.0.0.1:${port}`, false));
  using _lane = { [Symbol.dispose]: () => lane.socket.destroy() };
  const unacked = new UnackedBytes();
  unacked.carry(lane.socket, lane);
  const acknowledged = new AcknowledgedBytes(unacked);
  acknowledged.adopt(lane.socket);
  const [far] = await accepted;
  far.on('error', () => {}).resume();
  const send = (bytes: number): void =>
    void inChunks(Buffer.alloc(bytes, 1)).pipe(lane.socket, { end: false });
  const arrive = async (bytes: number): Promise<void> =>
    await eventually('all to arrive', async () => {
      await acknowledged.refresh();
      return acknowledged.bytes === bytes && far.bytesRead === bytes;
    });
  send(FEW_BYTES);
  await arrive(FEW_BYTES);
  const overheadBytes = (await line.arrivedBytes()) - FEW_BYTES;
  assert(overheadBytes > WRONG_BYTES_MAX, `ssh has sent ${overheadBytes} bytes of its own`);
  line.stop();
  send(MANY_BYTES);
  // On a busy machine the buffers fill slowly.
  await eventually('full buffers, and a count of what has arrived', async () => {
    await delay(300);
    await acknowledged.refresh();
    const arrived = (await line.arrivedBytes()) - overheadBytes;
    const taken = lane.socket.bytesWritten - lane.socket.writableLength;
    const isWaiting = lane.socket.writableNeedDrain && acknowledged.bytes < taken;
    return isWaiting && Math.abs(acknowledged.bytes - arrived) < WRONG_BYTES_MAX;
  });
  line.resume();
  await arrive(FEW_BYTES + MANY_BYTES);
}

test('what waits in ssh and in its socket does not count as delivered', { skip }, async () => {
  await using machine = await FarMachine.make();
  await using line = await startLine(await portOf(machine));
  await line.lead(machine.configFile);
  await assertCounted(machine, line);
});

test('behind a jump host, the ssh that has the connection is the one that counts', { skip }, async () => {
  await using jump = await FarMachine.make();
  await using machine = await FarMachine.make();
  await using line = await startLine(await portOf(jump));
  await line.lead(jump.configFile);
  await machine.jumpOver(jump);
  await assertCounted(machine, line);
});

test('a lane says why it ended', { skip }, async () => {
  await using machine = await FarMachine.make();
  await using ssh = await openSsh(machine);
  const lane = new SshLane(ssh.laneCommand(true, '127.0.0.1:1', false));
  await once(lane.socket, 'close');
  assert.match(await lane.lastWords(), /open failed: connect failed: Connection refused/);
  const missing = new SshLane({ program: '/nonexistent/ssh', args: [] });
  assert.match(await missing.lastWords(), /not found/);
});
