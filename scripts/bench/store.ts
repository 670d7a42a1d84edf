/**
 * Copies of a disk in an object store, by ddt and its alternatives: how fast in and out, how many requests,
 * how much is stored for some generations and for another disk with the same system. Prints Markdown.
 */
import { randomBytes, randomInt } from 'node:crypto';
import { mkdir, mkdtempDisposable, open, rm } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { isRecord } from '../../common/records.ts';
import { ObjectStore } from '../../common/store/object-store.ts';
import { parseStoreName } from '../../common/store/store-name.ts';
import { formatSize, parseSize, parseWhole } from '../../common/units.ts';
import { startCeph, type Ceph } from '../../test/support/ceph.ts';
import { makeBucket, storeEnvironment } from '../../test/support/object-store.ts';
import { PROGRAMS, environment, startReceiver } from '../../test/support/processes.ts';
import { findProgram } from '../../test/support/requires.ts';
import { run } from '../../test/support/run.ts';
import { endedWith, Failure, runScript, runTool, TEMPORARY } from '../run-script.ts';
import { describeMachine } from './report.ts';

const USAGE = `usage: npm run bench:store -- [options]

  --size <size>          of the disk, random bytes; default 1GiB
  --changed <percent>    of its bytes, in areas of 1 MiB, between two generations; default 1
  --generations <n>      default 3
  --other <percent>      of the second disk that the first does not have; default 30
  --tools <substring,…>  default all
  --folder <folder>      default ${TEMPORARY}; needs eight times the size of the disk

Needs Ceph with its gateway (radosgw), which it starts itself; compares with rclone and
restic where they are installed.
`;
const MIB = 2 ** 20;
const LIMIT_MS = 3_600_000;

interface Place {
  readonly ceph: Ceph;
  readonly folder: string;
  readonly bucket: string;
  readonly signal: AbortSignal;
}

interface Tool {
  readonly name: string;
  /** undefined: it is always there. */
  readonly program: string | undefined;
  begin(place: Place): Promise<void>;
  /** @param disk 'a' or 'b'. */
  store(place: Place, image: string, disk: string): Promise<void>;
  /** The last copy. */
  restore(place: Place, image: string, disk: string): Promise<void>;
}

async function runHere(
  { ceph, signal, folder }: Place,
  words: readonly [string, ...string[]],
  more: NodeJS.ProcessEnv = {},
): Promise<void> {
  const [program, ...args] = words;
  const env = environment({
    ...storeEnvironment(ceph.gateway),
    HOME: folder,
    AWS_CA_BUNDLE: undefined,
    ...more,
  });
  const ended = await run(program, args, { env, signal, timeoutMs: LIMIT_MS });
  if (ended.status !== 0) throw endedWith(program, ended);
}

async function copyByDdt(place: Place, source: string, target: string): Promise<void> {
  const { ceph, folder } = place;
  const env = storeEnvironment(ceph.gateway);
  const own = join(folder, 'receiver');
  await mkdir(own);
  {
    await using receiver = await startReceiver({ folder: own, target, env, options: ['--overwrite-target'] });
    const words = ['--progress', 'none', '--ticket-file', receiver.ticketFile];
    await runHere(place, [join(PROGRAMS, 'ddt-send'), ...words, source]);
  }
  await rm(own, { recursive: true });
}

const DDT: Tool = {
  name: 'ddt, through a receiver',
  program: undefined,
  begin: async () => await Promise.resolve(),
  store: async (place, image, disk) => await copyByDdt(place, image, `s3://${place.bucket}#${disk}`),
  restore: async (place, image, disk) => await copyByDdt(place, `s3://${place.bucket}#${disk}`, image),
};

/** A remote without a configuration file. */
function rcloneWords({ ceph }: Place): string[] {
  const { endpoint, region } = ceph.gateway;
  const flags = ['--s3-provider=Ceph', '--s3-env-auth', `--s3-endpoint=${endpoint}`, `--s3-region=${region}`];
  return [...flags, '--s3-no-check-bucket', '--ignore-times', '--config=/dev/null'];
}

const RCLONE: Tool = {
  name: 'rclone copyto',
  program: 'rclone',
  begin: async () => await Promise.resolve(),
  store: async (place, image, disk) => {
    await runHere(place, ['rclone', 'copyto', ...rcloneWords(place), image, `:s3:${place.bucket}/${disk}`]);
  },
  restore: async (place, image, disk) => {
    await runHere(place, ['rclone', 'copyto', ...rcloneWords(place), `:s3:${place.bucket}/${disk}`, image]);
  },
};

async function restic(place: Place, ...words: readonly string[]): Promise<void> {
  const { endpoint } = place.ceph.gateway;
  const more = { RESTIC_REPOSITORY: `s3:${endpoint}/${place.bucket}`, RESTIC_PASSWORD: 'bench' };
  await runHere(place, ['restic', '--quiet', ...words], more);
}

const RESTIC: Tool = {
  name: 'restic backup, restore',
  program: 'restic',
  begin: async (place) => await restic(place, 'init'),
  store: async (place, image, disk) => await restic(place, 'backup', '--force', `--tag=${disk}`, image),
  restore: async (place, image, disk) => {
    const folder = join(place.folder, 'restic');
    await restic(place, 'restore', 'latest', `--tag=${disk}`, `--target=${folder}`);
    await runTool('find', [folder, '-type', 'f', '-exec', 'mv', '{}', image, ';'], place.signal);
    await rm(folder, { recursive: true });
  },
};

interface Used {
  readonly objects: number;
  readonly bytes: number;
}

async function used({ ceph, bucket }: Place): Promise<Used> {
  const env = storeEnvironment(ceph.gateway);
  await using store = await ObjectStore.open(parseStoreName(`s3://${bucket}`), {
    endpoint: undefined,
    environment: env,
  });
  let [objects, bytes] = [0, 0];
  for await (const { sizeBytes } of store.list('')) {
    objects++;
    bytes += sizeBytes;
  }
  return { objects, bytes };
}

/** That the gateway has answered since it was started. */
async function requestCount({ ceph }: Place): Promise<number> {
  const socket = join(ceph.env['CEPH_CONF'] ?? '', '../client.gateway.asok');
  const counters: unknown = JSON.parse(
    await ceph.command('ceph', ['--admin-daemon', socket, 'perf', 'dump']),
  );
  const ofGateway = isRecord(counters) ? counters['rgw'] : undefined;
  const count = isRecord(ofGateway) ? ofGateway['req'] : undefined;
  if (typeof count !== 'number') throw new Failure('the gateway does not count its requests');
  return count;
}

async function changeAreas(path: string, sizeBytes: number, percent: number): Promise<void> {
  const areas = Math.floor(sizeBytes / MIB);
  await using handle = await open(path, 'r+');
  for (let left = Math.ceil((areas * percent) / 100); left > 0; left--) {
    await handle.write(randomBytes(MIB), 0, MIB, randomInt(areas) * MIB);
  }
}

interface Options {
  readonly sizeBytes: number;
  readonly changed: number;
  readonly generations: number;
  readonly other: number;
}

interface Result {
  readonly name: string;
  readonly secondsIn: number;
  readonly secondsOut: number;
  readonly requestsIn: number;
  readonly requestsOut: number;
  /** After each generation, and after the other disk. */
  readonly stored: readonly Used[];
}

async function timed(
  place: Place,
  work: () => Promise<void>,
): Promise<{ seconds: number; requests: number }> {
  await runTool('sync', [], place.signal);
  const before = await requestCount(place);
  const startMs = performance.now();
  await work();
  const seconds = (performance.now() - startMs) / 1000;
  return { seconds, requests: (await requestCount(place)) - before };
}

async function measure(tool: Tool, place: Place, options: Options): Promise<Result> {
  const { sizeBytes, changed, generations, other } = options;
  const at = (name: string): string => join(place.folder, name);
  const copy = async (from: string, onto: string): Promise<unknown> =>
    await runTool('cp', ['--sparse=never', at(from), at(onto)], place.signal);
  await makeBucket(place.ceph.gateway, place.bucket);
  await tool.begin(place);
  await copy('first', 'disk');
  const stored: Used[] = [];
  const store = async (disk: string): Promise<{ seconds: number; requests: number }> => {
    const found = await timed(place, async () => await tool.store(place, at('disk'), disk));
    process.stderr.write(`${tool.name}: stored in ${found.seconds.toFixed(1)} s\n`);
    stored.push(await used(place));
    return found;
  };
  const into = await store('a');
  for (let generation = 2; generation <= generations; generation++) {
    await changeAreas(at('disk'), sizeBytes, changed);
    await store('a');
  }
  const out = await timed(place, async () => await tool.restore(place, at('restored'), 'a'));
  process.stderr.write(`${tool.name}: restored in ${out.seconds.toFixed(1)} s\n`);
  await runTool('cmp', [at('disk'), at('restored')], place.signal);
  await rm(at('restored'));
  await copy('first', 'disk');
  await changeAreas(at('disk'), sizeBytes, other);
  await store('b');
  const requests = { requestsIn: into.requests, requestsOut: out.requests };
  return { name: tool.name, secondsIn: into.seconds, secondsOut: out.seconds, ...requests, stored };
}

function rowOf(result: Result, sizeBytes: number): string {
  const { name, secondsIn, secondsOut, requestsIn, requestsOut, stored } = result;
  const perGib = (requests: number): string => (requests / (sizeBytes / 2 ** 30)).toFixed(0);
  const rate = (seconds: number): string => (sizeBytes / 1e6 / seconds).toFixed(0);
  const sizes = stored.map(({ bytes }) => `${Math.round(bytes / MIB)} MiB`);
  const objects = String(stored.at(-1)?.objects ?? 0);
  const rates = [rate(secondsIn), rate(secondsOut), perGib(requestsIn), perGib(requestsOut)];
  return `| ${[name, ...rates, ...sizes, objects].join(' | ')} |`;
}

async function benchStore(parameters: string[], signal: AbortSignal): Promise<void> {
  const text = { type: 'string' } as const;
  const { values } = parseArgs({
    args: parameters,
    options: {
      size: { ...text, default: '1GiB' },
      changed: { ...text, default: '1' },
      generations: { ...text, default: '3' },
      other: { ...text, default: '30' },
      tools: { ...text, default: '' },
      folder: { ...text, default: TEMPORARY },
      help: { type: 'boolean' },
    },
  });
  if (values.help === true) {
    process.stdout.write(USAGE);
    return;
  }
  const options: Options = {
    sizeBytes: parseSize(values.size, '--size'),
    changed: parseWhole(values.changed, '--changed', 0, 100),
    generations: parseWhole(values.generations, '--generations', 1, 9),
    other: parseWhole(values.other, '--other', 0, 100),
  };
  const { sizeBytes, generations, other } = options;
  await using stack = new AsyncDisposableStack();
  const folder = stack.use(await mkdtempDisposable(join(resolve(values.folder), 'ddt-bench-'))).path;
  const ceph = stack.use(
    await startCeph({ store: 'disk', hasGateway: true, sizeBytes: 16 * sizeBytes + 4 * 2 ** 30 }),
  );
  const count = [`count=${sizeBytes}`, 'iflag=fullblock,count_bytes', 'status=none'];
  await runTool('dd', ['if=/dev/urandom', `of=${join(folder, 'first')}`, 'bs=4M', ...count], signal);
  const wanted = [DDT, RCLONE, RESTIC].filter(({ name }) =>
    values.tools.split(',').some((part) => name.includes(part)),
  );
  const isThere = ({ program }: Tool): boolean => program === undefined || findProgram(program) !== undefined;
  const rows: string[] = [];
  for (const [index, tool] of wanted.filter(isThere).entries()) {
    rows.push(
      rowOf(await measure(tool, { ceph, folder, bucket: `bench-${index}`, signal }, options), sizeBytes),
    );
  }
  const numbers = Array.from({ length: generations }, (_, at) => `stored: generation ${at + 1}`);
  const heads = [
    '',
    'MB/s in',
    'MB/s out',
    'requests per GiB in',
    'out',
    ...numbers,
    'and another disk',
    'objects',
  ];
  const what = `${formatSize(sizeBytes)} of random bytes; ${options.changed} % changed between generations; `;
  const left = wanted
    .filter((tool) => !isThere(tool))
    .map(({ name }) => `Left out: ${name} is not installed`);
  const lines = [
    `| ${heads.join(' | ')} |`,
    `|---|${'---:|'.repeat(heads.length - 1)}`,
    ...rows,
    '',
    ...left,
  ];
  process.stdout.write(`${await describeMachine(folder, signal)}\n\n${what}`);
  process.stdout.write(`the other disk differs in ${other} %\n\n${lines.join('\n')}\n`);
}

await runScript('bench', async (signal) => benchStore(process.argv.slice(2), signal));
