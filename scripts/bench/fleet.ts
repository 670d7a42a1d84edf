/**
 * Many disks over one long line: some at once by ddt-fleet, one after the other, and by one ddt-send for all.
 * Each way has a new line to itself, which loses packets by the same random numbers. Prints Markdown.
 */
import { mkdir, mkdtempDisposable, rm, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { formatSize, parseSize, parseWhole } from '../../common/units.ts';
import { SCRIPTS } from '../../test/support/processes.ts';
import { Failure, runScript, runTool, TEMPORARY } from '../run-script.ts';
import { compareDisks, startAt, timeCopy, type Copy, type CopyJob } from './copy.ts';
import { buildWan, lineName, openLine, parseLine, type LineOptions } from './long-line.ts';
import { startLoopbackSsh } from './loopback-ssh.ts';
import { describeMachine, median } from './report.ts';

const USAGE = `usage: npm run bench:fleet -- [options]

  --disks <n>             default 20
  --size <size>           of each, random bytes; default 32MiB
  --line <rate/rtt/loss>  Mbit/s, round trip in ms, per cent; default 100/40/0.5
  --at-once <n,…>         default 20,4,1
  --rounds <n>            default 1
  --folder <folder>       default ${TEMPORARY}; needs twice the size of all disks

Needs root, gcc, iproute2 and OpenSSH. Both ends are on this machine.
`;
const LIMIT_SECONDS = 3600;

/** How all disks are copied. */
interface Way {
  readonly name: string;
  /** Of the near end. @param ssh to the far end. */
  readonly command: (scene: Scene, ssh: string) => Promise<readonly string[]>;
}

interface Scene {
  readonly folder: string;
  readonly wan: string;
  readonly line: LineOptions;
  readonly sources: readonly string[];
  readonly targets: readonly string[];
  readonly sizeBytes: number;
  readonly signal: AbortSignal;
}

/** The receivers run from this checkout. */
function targetOptions({ folder }: Scene): string[] {
  return ['--remote-program', join(SCRIPTS, 'ddt-receive'), '--remote-dir', join(folder, 'base')];
}

function fleet(atOnce: number): Way {
  return {
    name: atOnce === 1 ? 'ddt-fleet, one after the other' : `ddt-fleet, ${atOnce} at once`,
    command: async (scene, ssh) => {
      const table = join(scene.folder, 'jobs.yaml');
      const jobs = scene.sources.map((source, at) => ({ source, target: `loopback:${scene.targets[at]}` }));
      await writeFile(table, JSON.stringify(jobs));
      await rm(join(scene.folder, 'jobs.fleet'), { recursive: true, force: true });
      const limits = ['--at-once', String(atOnce), '--at-once-per-host', String(atOnce)];
      const own = ['--ssh', ssh, '--progress', 'plain', ...limits];
      return [join(SCRIPTS, 'ddt-fleet'), ...own, table, '--', ...targetOptions(scene)];
    },
  };
}

/** It copies several disks one after another, with one login and one receiver. */
const SEVERAL: Way = {
  name: 'one ddt-send for all',
  command: async (scene, ssh) => {
    const options = ['--ssh', ssh, '--progress', 'plain', '--yes', ...targetOptions(scene)];
    return [join(SCRIPTS, 'ddt-send'), ...options, ...scene.sources, `loopback:${scene.targets.join(',')}`];
  },
};

async function makeSources({ sources, sizeBytes, signal }: Scene): Promise<void> {
  for (const source of sources) {
    const count = [`count=${sizeBytes}`, 'iflag=fullblock,count_bytes', 'conv=fsync', 'status=none'];
    await runTool('dd', ['if=/dev/urandom', `of=${source}`, 'bs=4M', ...count], signal);
  }
}

async function measure(scene: Scene, way: Way): Promise<Copy> {
  const { folder, wan, signal, sources, targets, sizeBytes } = scene;
  for (const target of targets) await rm(target, { force: true });
  await runTool('sync', [], signal);
  await writeFile('/proc/sys/vm/drop_caches', '3');
  await using stack = new AsyncDisposableStack();
  const route = await openLine(wan, scene.line, signal, stack);
  const place = { address: route.farAddress, far: route.far, near: route.near };
  const sshFolder = join(folder, 'ssh');
  stack.defer(async () => await rm(sshFolder, { recursive: true, force: true }));
  const config = await startLoopbackSsh(sshFolder, signal, stack, place);
  const command = await way.command(scene, `ssh -F ${config}`);
  const [source = '', target = ''] = [sources[0], targets[0]];
  const all = sizeBytes * sources.length;
  const job: CopyJob = { route, folder, source, target, sizeBytes: all, limitSeconds: LIMIT_SECONDS, signal };
  const copy = await timeCopy(job, async () => stack.use(await startAt(route.near, command)));
  if (!copy.isComplete) throw new Failure(`${way.name} was not finished in ${LIMIT_SECONDS} s`);
  for (const [at, each] of sources.entries()) await compareDisks(each, targets[at] ?? '', signal);
  return copy;
}

function rowOf(way: Way, copies: readonly Copy[], { line: { rateMbit } }: Scene): string {
  const seconds = copies.map((copy) => copy.seconds);
  const rates = copies.map((copy) => (copy.bytes * 8) / 1e6 / copy.seconds);
  const inUse = copies.map(({ lineMbit }) => (lineMbit / rateMbit) * 100);
  const cells = [
    way.name,
    median(seconds).toFixed(1),
    `${Math.min(...seconds).toFixed(1)}–${Math.max(...seconds).toFixed(1)}`,
    median(rates).toFixed(1),
    `${median(inUse).toFixed(0)} %`,
    median(copies.map(({ cpuSeconds }) => cpuSeconds)).toFixed(0),
  ];
  return `| ${cells.join(' | ')} |`;
}

async function benchFleet(parameters: string[], signal: AbortSignal): Promise<void> {
  const text = { type: 'string' } as const;
  const { values } = parseArgs({
    args: parameters,
    options: {
      disks: { ...text, default: '20' },
      size: { ...text, default: '32MiB' },
      line: { ...text, default: '100/40/0.5' },
      'at-once': { ...text, default: '20,4,1' },
      rounds: { ...text, default: '1' },
      folder: { ...text, default: TEMPORARY },
      help: { type: 'boolean' },
    },
  });
  if (values.help === true) {
    process.stdout.write(USAGE);
    return;
  }
  const count = parseWhole(values.disks, '--disks', 2, 1000);
  const sizeBytes = parseSize(values.size, '--size');
  const line = parseLine(values.line, '--line');
  const rounds = parseWhole(values.rounds, '--rounds', 1, 99);
  const atOnce = values['at-once'].split(',').map((each) => parseWhole(each, '--at-once', 1, 1000));
  const ways = [...atOnce.map(fleet), SEVERAL];
  await using stack = new AsyncDisposableStack();
  const folder = stack.use(await mkdtempDisposable(join(resolve(values.folder), 'ddt-bench-'))).path;
  await mkdir(join(folder, 'disks'));
  const named = (what: string): string[] =>
    Array.from({ length: count }, (_, at) => join(folder, 'disks', `${what}${at + 1}`));
  const wan = await buildWan(folder, signal);
  const disks = { sources: named('source'), targets: named('target') };
  const scene: Scene = { folder, wan, line, sizeBytes, signal, ...disks };
  await makeSources(scene);
  const copies = new Map<Way, Copy[]>();
  for (let round = 1; round <= rounds; round++) {
    for (const way of ways) {
      process.stderr.write(`${lineName(line)}, round ${round}: ${way.name} `);
      const copy = await measure(scene, way);
      process.stderr.write(`${copy.seconds.toFixed(1)} s\n`);
      copies.set(way, [...(copies.get(way) ?? []), copy]);
    }
  }
  const table = [
    `**${lineName(line)}**, ${count} disks of ${formatSize(sizeBytes)} random bytes`,
    '',
    '| | seconds | min–max | Mbit/s of the disks | line in use | CPU s |',
    '|---|---:|---:|---:|---:|---:|',
    ...ways.map((way) => rowOf(way, copies.get(way) ?? [], scene)),
  ];
  process.stdout.write(`${await describeMachine(folder, signal)}\n\n${table.join('\n')}\n`);
}

await runScript('bench', async (signal) => await benchFleet(process.argv.slice(2), signal));
