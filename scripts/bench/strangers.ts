/**
 * What a copy loses while people without a ticket attack its receiver from another address of this machine.
 * `npm run bench:strangers -- --size 512 --only TCP`: in MiB, and a part of an attack's name. The attackers
 * run with the lowest priority, so that the ratio shows what they cost the receiver rather than what they
 * take of the processors; their own processor time is printed beside it.
 */
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { connect as connectTcp } from 'node:net';
import { connect as connectTls } from 'node:tls';
import { setTimeout as delay } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { systemClock } from '../../common/clock.ts';
import { tempDir } from '../../test/support/temp-dir.ts';
import { prng } from '../../test/support/prng.ts';
import { MIB, sendAll, startReceiver, type Receiver } from '../../test/support/processes.ts';
import { start } from '../../test/support/run.ts';
import { ATTACKS } from './hostile-client.ts';

const OBSERVER = '127.0.0.11';
/** Strange addresses may open four connections a second. */
const HEALTH_EVERY_MS = 300;
const TICKS_PER_SECOND = 100;
const HEADS = [
  'attack',
  'MB/s',
  'ratio',
  'receiver CPU s',
  'attacker CPU s',
  'most memory MiB',
  '/health ms, median',
  'most',
];

interface Row {
  readonly name: string;
  readonly bytesPerSecond: number;
  readonly receiverSeconds: number;
  readonly attackerSeconds: number;
  readonly memoryMib: number;
  readonly healthMs: readonly number[];
}

async function cpuSeconds(pid: number): Promise<number> {
  const fields = (await readFile(`/proc/${pid}/stat`, 'utf8')).replace(/^.*\) /, '').split(' ');
  return (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND;
}

async function peakMib(pid: number): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8');
  return Number(/^VmHWM:\s+(\d+)/m.exec(status)?.[1]) / 1024;
}

/** @returns how long it took to get an answer to /health over a new connection; Infinity without one. */
async function healthMs({ host, port }: Receiver): Promise<number> {
  const startMs = systemClock.monotonicMs();
  return await new Promise<number>((resolve) => {
    const raw = connectTcp({ host, port, localAddress: OBSERVER });
    const socket = connectTls({ socket: raw, rejectUnauthorized: false }, () =>
      socket.write('GET /health HTTP/1.1\r\nhost: x\r\n\r\n'),
    );
    socket.once('data', () => {
      resolve(systemClock.monotonicMs() - startMs);
      socket.destroy();
    });
    for (const each of [raw, socket]) each.on('error', () => {}).once('close', () => resolve(Infinity));
  });
}

async function measure(name: string, source: string, sizeBytes: number): Promise<Row> {
  await using folder = await tempDir();
  await using receiver = await startReceiver({ folder: folder.path, target: join(folder.path, 'target') });
  const { pid } = receiver.process;
  const script = join(import.meta.dirname, 'hostile-client.ts');
  const args = ['-n', '19', process.execPath, script, name, receiver.host, String(receiver.port)];
  await using attacker = await start('nice', args, { env: process.env });
  if (name in ATTACKS) await delay(2000);
  const before = await cpuSeconds(pid);
  const over = new AbortController();
  const health: number[] = [];
  const asking = (async () => {
    while (!over.signal.aborted) {
      health.push(await healthMs(receiver));
      await delay(HEALTH_EVERY_MS);
    }
  })();
  const { seconds } = await sendAll('--connections', '8', '--ticket-file', receiver.ticketFile, source);
  over.abort();
  await asking;
  const isAttacked = attacker.isRunning;
  return {
    name,
    bytesPerSecond: sizeBytes / seconds,
    receiverSeconds: (await cpuSeconds(pid)) - before,
    attackerSeconds: isAttacked ? await cpuSeconds(attacker.pid) : 0,
    memoryMib: await peakMib(pid),
    healthMs: health.toSorted((one, other) => one - other),
  };
}

function print(cells: readonly (string | number)[]): void {
  process.stdout.write(`| ${cells.join(' | ')} |\n`);
}

function printRow(row: Row, bytesPerSecondAlone: number): void {
  const { healthMs: health } = row;
  print([
    row.name,
    (row.bytesPerSecond / 1e6).toFixed(0),
    `${((100 * row.bytesPerSecond) / bytesPerSecondAlone).toFixed(0)} %`,
    row.receiverSeconds.toFixed(1),
    row.attackerSeconds.toFixed(1),
    row.memoryMib.toFixed(0),
    (health[Math.floor(health.length / 2)] ?? 0).toFixed(0),
    (health.at(-1) ?? 0).toFixed(0),
  ]);
}

const { values } = parseArgs({
  options: { size: { type: 'string', default: '512' }, only: { type: 'string', default: '' } },
});
const sizeBytes = Number(values.size) * MIB;
await using sources = await tempDir();
const source = join(sources.path, 'source');
await writeFile(source, prng(1).bytes(sizeBytes));
print(HEADS);
print(HEADS.map(() => '---'));
await measure('warm up', source, sizeBytes);
let alone = await measure('none', source, sizeBytes);
for (const name of Object.keys(ATTACKS).filter((each) => each.includes(values.only))) {
  printRow(alone, alone.bytesPerSecond);
  printRow(await measure(name, source, sizeBytes), alone.bytesPerSecond);
  // Between two attacks once more: the machine has other things to do.
  alone = await measure('none', source, sizeBytes);
}
printRow(alone, alone.bytesPerSecond);
