/**
 * ddt and its alternatives side by side on this machine, so that no line is the limit. The tools take turns,
 * the caches are dropped before each copy, each copy is flushed and compared. Prints Markdown.
 */
import { access, constants, mkdtempDisposable, rm, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { formatSize, parseSize, parseWhole } from '../../common/units.ts';
import { Failure, runScript, runTool, TEMPORARY } from '../run-script.ts';
import { LOOPBACK, choosePeers, compareDisks, type Copy, type CopyJob, type Route } from './copy.ts';
import { openCpuGroup } from './cpu-group.ts';
import { JOBS, SIZE_BYTES_MIN, type Contender, type DiskJob } from './jobs.ts';
import { makeDevice } from './loop-device.ts';
import type { DdtOptions } from './peers.ts';
import { describeMachine, formatTable } from './report.ts';

const SIZES = JOBS.map(({ name, sizeBytes }) => `${name} (${formatSize(sizeBytes)})`).join(', ');
const USAGE = `usage: npm run bench:local -- [options]

  --jobs <name,…>         ${SIZES}; default all
  --size <size>           of the disk, instead of these
  --rounds <n>            default 5
  --tools <substring,…>   default all
  --ddt='<options>'       also ddt with these options of ddt-send, and after a ';' of ddt-receive;
                          may be repeated
  --limit <n>             seconds after which a tool is stopped for good; default 600
  --folder <folder>       default ${TEMPORARY}; needs three times the data of the disk
  --target-folder <folder>  of the target; /dev/shm stands for a disk of its own

Only root can drop all caches. The other tools: apt-get install gnutls-bin iproute2 libnbd-bin
nbdkit netcat-openbsd openssh-client openssh-server qemu-utils rsync
`;
const DROP_CACHES = '/proc/sys/vm/drop_caches';

interface Bench {
  readonly folder: string;
  readonly targetFolder: string;
  readonly route: Route;
  readonly sizeBytes: number | undefined;
  readonly rounds: number;
  readonly tools: string | undefined;
  readonly extra: ReadonlyMap<string, DdtOptions>;
  readonly limitSeconds: number;
  readonly signal: AbortSignal;
}

/** Needs root, and is not allowed in most containers. */
async function canDropAll(): Promise<boolean> {
  return await access(DROP_CACHES, constants.W_OK).then(
    () => true,
    () => false,
  );
}

async function dropCaches({ source, signal }: CopyJob): Promise<void> {
  await runTool('sync', [], signal);
  if (await canDropAll()) await writeFile(DROP_CACHES, '3');
  // Only the cache of one file (dd(1), nocache).
  else await runTool('dd', [`if=${source}`, 'iflag=nocache', 'count=0', 'status=none'], signal);
}

async function measure(disk: DiskJob, job: CopyJob, { peer, prepare }: Contender): Promise<Copy> {
  await (prepare === undefined ? disk.makeTarget(job) : prepare());
  await dropCaches(job);
  const copy = await peer.copy(job);
  if (copy.isComplete) await compareDisks(job.source, job.target, job.signal);
  return copy;
}

async function benchDisk(bench: Bench, disk: DiskJob): Promise<string[]> {
  const { rounds, tools, extra, limitSeconds, signal } = bench;
  const sizeBytes = bench.sizeBytes ?? disk.sizeBytes;
  await using stack = new AsyncDisposableStack();
  const own = stack.use(await mkdtempDisposable(join(bench.folder, `${disk.name}-`)));
  const other = stack.use(await mkdtempDisposable(join(bench.targetFolder, `${disk.name}-`)));
  const place = async (file: string): Promise<string> =>
    disk.isOnDevices === true ? await makeDevice(file, sizeBytes, signal, stack) : file;
  const source = await place(join(own.path, 'source'));
  const target = await place(join(other.path, 'target'));
  const job = { route: bench.route, folder: own.path, source, target, sizeBytes, limitSeconds, signal };
  const contenders = disk.contenders(job, extra);
  const { chosen, left } = choosePeers(
    contenders.map(({ peer }) => peer),
    tools,
  );
  const rows = contenders
    .filter(({ peer }) => chosen.includes(peer))
    .map((contender) => ({ ...contender, copies: [] as Copy[] }));
  await disk.makeSource(job);
  // Blocks that were never written are read without the disk.
  if (disk.isOnDevices === true) await disk.makeSource({ ...job, source: target });
  for (let round = 1; round <= rounds; round++) {
    for (const row of rows) {
      if (row.copies.at(-1)?.isComplete === false) continue;
      process.stderr.write(`${disk.name}, round ${round} of ${rounds}: ${row.peer.name} `);
      const copy = await measure(disk, job, row);
      row.copies.push(copy);
      process.stderr.write(`${copy.seconds.toFixed(1)} s\n`);
      if (disk.isOnDevices !== true) await rm(target, { force: true });
    }
  }
  return [
    `**${formatSize(sizeBytes)} ${disk.describe}**`,
    '',
    ...formatTable(
      rows,
      rows.find(({ peer }) => peer === contenders[0]?.peer),
      sizeBytes,
    ),
    '',
    ...left.map((reason) => `Left out: ${reason}\n`),
  ];
}

/** Each end in a control group of its own, where that is possible. */
async function openLoopback(stack: AsyncDisposableStack): Promise<Route> {
  const [near, far] = [await openCpuGroup('near'), await openCpuGroup('far')];
  if (near === undefined || far === undefined) return LOOPBACK;
  stack.use(near);
  stack.use(far);
  const ends = async (): Promise<readonly [number, number]> => [await near.seconds(), await far.seconds()];
  return { ...LOOPBACK, near: near.under, far: far.under, ends };
}

function parseDdt(text: string): [string, DdtOptions] {
  const [send = [], receive = [], ...rest] = text
    .split(';')
    .map((part) => part.split(' ').filter((word) => word !== ''));
  if (rest.length > 0) throw new Failure(`--ddt '${text}' has more than one ';'`, 2);
  return [`ddt ${[...send, ...receive].join(' ')}`, { send, receive }];
}

function parseJobs(text: string | undefined): readonly DiskJob[] {
  return (text?.split(',') ?? JOBS.map(({ name }) => name)).map((wanted) => {
    const job = JOBS.find(({ name }) => name === wanted);
    if (job !== undefined) return job;
    throw new Failure(`--jobs: '${wanted}' is not one of ${JOBS.map(({ name }) => name).join(', ')}`, 2);
  });
}

async function benchLocal(parameters: string[], signal: AbortSignal): Promise<void> {
  const text = { type: 'string' } as const;
  const { values } = parseArgs({
    args: parameters,
    options: {
      jobs: text,
      size: text,
      rounds: { ...text, default: '5' },
      tools: text,
      ddt: { ...text, multiple: true, default: [] },
      limit: { ...text, default: '600' },
      folder: { ...text, default: TEMPORARY },
      'target-folder': text,
      help: { type: 'boolean' },
    },
  });
  if (values.help === true) {
    process.stdout.write(USAGE);
    return;
  }
  const jobs = parseJobs(values.jobs);
  const sizeBytes = values.size === undefined ? undefined : parseSize(values.size);
  if (sizeBytes !== undefined && sizeBytes < SIZE_BYTES_MIN) {
    throw new Failure(`--size must be at least ${formatSize(SIZE_BYTES_MIN)}`, 2);
  }
  const rounds = parseWhole(values.rounds, '--rounds', 1, 99);
  const limitSeconds = parseWhole(values.limit, '--limit', 5, 86_400);
  const extra = new Map(values.ddt.map(parseDdt));
  await using stack = new AsyncDisposableStack();
  const own = stack.use(await mkdtempDisposable(join(resolve(values.folder), 'ddt-bench-')));
  const targetFolder = resolve(values['target-folder'] ?? own.path);
  const bench: Bench = {
    folder: own.path,
    targetFolder,
    route: await openLoopback(stack),
    sizeBytes,
    rounds,
    tools: values.tools,
    extra,
    limitSeconds,
    signal,
  };
  const machine = await describeMachine(own.path, signal);
  const cache = (await canDropAll()) ? 'caches' : "the source's cache";
  process.stdout.write(`${machine} ${rounds} rounds in turn, ${cache} dropped before each copy.\n\n`);
  for (const disk of jobs) process.stdout.write(`${(await benchDisk(bench, disk)).join('\n')}\n`);
}

await runScript('bench', async (signal) => benchLocal(process.argv.slice(2), signal));
