/**
 * The cost of a disk of millions of blocks: seconds to claim, list, send and resume, the size of the journal,
 * the peak memory of both sides. A sparse file in the smallest blocks stands for a much larger disk in larger
 * blocks. There is a column for each number of blocks, which shows what grows with it.
 */
import { randomBytes } from 'node:crypto';
import { mkdir, mkdtempDisposable, open, readdir, rm, stat } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { BLOCK_SIZE_BYTES_MIN } from '../../common/geometry.ts';
import { LISTING_COUNT_MAX, TYPE_DIGESTS } from '../../common/protocol/protocol.ts';
import { formatSize, parseWhole } from '../../common/units.ts';
import { type Receiver, SCRIPTS, startReceiver } from '../../test/support/processes.ts';
import { lastWords, start, type Started } from '../../test/support/run.ts';
import type { TicketClient } from '../../test/support/ticket-client.ts';
import { endedWith, Failure, runScript, TEMPORARY } from '../run-script.ts';
import { compareDisks } from './copy.ts';
import { PeakMemory } from './peak-memory.ts';
import { describeMachine } from './report.ts';

const USAGE = `usage: npm run bench:scale -- [options]

  --blocks <n,…>     default 26214,262144,2621440; of 64 KiB each, nearly all zeros
  --connections <n>  default 8
  --folder <folder>  default ${TEMPORARY}; needs 3 GiB free
`;
const MIB = 2 ** 20;
/** One block in 160 is not zero, in groups of sixteen. */
const DATA_BYTES = MIB;
const DATA_EVERY_BYTES = 160 * MIB;
const POLL_MS = 10;

interface Scale {
  readonly blockCount: number;
  readonly connections: string;
  readonly folder: string;
  readonly source: string;
  readonly target: string;
  readonly signal: AbortSignal;
}

/** The cost of one number of blocks: the rows of the table, by name. */
interface Figures {
  readonly blockCount: number;
  readonly rows: Map<string, string>;
  senderBytes: number;
  receiverBytes: number;
}

async function makeSource({ source, blockCount }: Scale): Promise<void> {
  const sizeBytes = blockCount * BLOCK_SIZE_BYTES_MIN;
  await using handle = await open(source, 'wx');
  await handle.truncate(sizeBytes);
  for (let offset = 0; offset < sizeBytes; offset += DATA_EVERY_BYTES) {
    const bytes = randomBytes(Math.min(DATA_BYTES, sizeBytes - offset));
    await handle.write(bytes, 0, bytes.length, offset);
  }
  await handle.sync();
}

/** Records in `row` how many seconds it took. */
async function timed<Result>(figures: Figures, row: string, work: () => Promise<Result>): Promise<Result> {
  const startMs = performance.now();
  const result = await work();
  const seconds = (performance.now() - startMs) / 1000;
  figures.rows.set(row, seconds < 10 ? seconds.toFixed(2) : seconds.toFixed(0));
  process.stderr.write(`${figures.blockCount} blocks: ${row}: ${seconds.toFixed(2)}\n`);
  return result;
}

/** All pages in order, as the sender fetches them. */
async function listAll(client: TicketClient, { blockCount }: Scale, accept: string): Promise<void> {
  for (let from = 0; from < blockCount; from += LISTING_COUNT_MAX) {
    const { status, body } = await client.request('GET', `/blocks?from=${from}`, undefined, { accept });
    if (status !== 200) throw new Failure(`GET /blocks: status ${status}: ${body.toString('utf8')}`);
  }
}

async function claim(client: TicketClient, { blockCount }: Scale): Promise<void> {
  const source = { description: 'bench:scale' };
  const size = blockCount * BLOCK_SIZE_BYTES_MIN;
  const body = JSON.stringify({ size, blockSize: BLOCK_SIZE_BYTES_MIN, source });
  const { status, body: response } = await client.request('PUT', '/transfer', Buffer.from(body));
  if (status !== 201) throw new Failure(`PUT /transfer: status ${status}: ${response.toString('utf8')}`);
}

/** Bytes of the journal's files. */
async function journalBytes(state: string): Promise<number> {
  let bytes = 0;
  for (const name of await readdir(state, { recursive: true })) {
    if (name.includes('journal.db')) bytes += (await stat(join(state, name))).size;
  }
  return bytes;
}

async function startSender(scale: Scale, { ticketFile }: Receiver): Promise<Started> {
  const options = ['--connections', scale.connections, '--progress', 'json', '--ticket-file', ticketFile];
  return await start(join(SCRIPTS, 'ddt-send'), [...options, scale.source]);
}

/** Ends both sides. */
async function recordMemory(
  figures: Figures,
  stage: string,
  ending: { sender: Started; receiver: Receiver; memory: readonly PeakMemory[]; signal: NodeJS.Signals },
): Promise<void> {
  for (const each of ending.memory) each.sample();
  ending.sender.kill(ending.signal);
  await ending.sender.ended;
  await ending.receiver.end(ending.signal);
  const peaks = ending.memory.map(({ bytes }) => bytes);
  const [senderBytes = NaN, receiverBytes = NaN] = peaks;
  figures.senderBytes = Math.max(figures.senderBytes, senderBytes);
  figures.receiverBytes = Math.max(figures.receiverBytes, receiverBytes);
  figures.rows.set(`peak memory, ${stage}: sender, receiver`, peaks.map(formatSize).join(', '));
}

/** Claims, lists, and sends until half of the blocks are durable, then kills both sides. */
async function measureFirst(scale: Scale, figures: Figures): Promise<void> {
  await using stack = new AsyncDisposableStack();
  const receiver = stack.use(await startReceiver(scale));
  const { client } = receiver;
  await client.status();
  await timed(figures, 'claim, s', async () => await claim(client, scale));
  await timed(figures, 'list, all absent, s', async () => await listAll(client, scale, TYPE_DIGESTS));
  const sender = stack.use(await startSender(scale, receiver));
  const memory = [new PeakMemory(sender), new PeakMemory(receiver.process)];
  await timed(figures, 'first half, s', async () => {
    while (sender.isRunning) {
      scale.signal.throwIfAborted();
      const { durable, verified } = (await client.status()).blocks;
      if (durable + verified >= scale.blockCount / 2) return;
      await delay(POLL_MS);
    }
    throw new Failure(`ddt-send has ended: ${lastWords(sender)}`);
  });
  await recordMemory(figures, 'first half', { sender, receiver, memory, signal: 'SIGKILL' });
}

/** Restarts the receiver on its journal, sends to the end, and waits for both sides to end. */
async function measureAgain(
  scale: Scale,
  figures: Figures,
  stage: string,
  look: (client: TicketClient) => Promise<void> = async () => {},
): Promise<void> {
  await using stack = new AsyncDisposableStack();
  const starting = async (): Promise<Receiver> => await startReceiver(scale);
  const receiver = stack.use(await timed(figures, `${stage}: receiver starts, s`, starting));
  await look(receiver.client);
  const sender = stack.use(await startSender(scale, receiver));
  const memory = [new PeakMemory(sender), new PeakMemory(receiver.process)];
  const ended = await timed(figures, `${stage}: to exit 0, s`, async () => await sender.ended);
  if (ended.status !== 0) throw endedWith('ddt-send', ended);
  figures.rows.set('journal', formatSize(await journalBytes(join(scale.folder, 'state'))));
  await recordMemory(figures, stage, { sender, receiver, memory, signal: 'SIGTERM' });
}

/** Requests about a complete transfer. */
async function lookAt(client: TicketClient, scale: Scale, figures: Figures): Promise<void> {
  await timed(figures, 'GET /transfer, s', async () => await client.status());
  for (const type of [TYPE_DIGESTS, 'application/json', 'text/plain']) {
    await timed(figures, `list as ${type}, s`, async () => await listAll(client, scale, type));
  }
}

async function measure(scale: Scale): Promise<Figures> {
  const figures: Figures = {
    blockCount: scale.blockCount,
    rows: new Map(),
    senderBytes: 0,
    receiverBytes: 0,
  };
  await mkdir(scale.folder);
  await makeSource(scale);
  await measureFirst(scale, figures);
  await measureAgain(scale, figures, 'resumed');
  await measureAgain(scale, figures, 'only compared', async (client) => await lookAt(client, scale, figures));
  await compareDisks(scale.source, scale.target, scale.signal);
  await rm(scale.folder, { recursive: true });
  return figures;
}

function formatCount({ blockCount }: Figures): string {
  return blockCount.toLocaleString('en');
}

/** From the smallest to the largest; all have the same rows. */
function formatTable(all: readonly Figures[]): string[] {
  const names = [...(all[0]?.rows.keys() ?? [])];
  const table = [
    `| | ${all.map((each) => `${formatCount(each)} blocks`).join(' | ')} |`,
    `|---|${all.map(() => '---:|').join('')}`,
    ...names.map((name) => `| ${name} | ${all.map(({ rows }) => rows.get(name)).join(' | ')} |`),
  ];
  // The smallest ones say little: they do not fill what every process reserves, such as the young heap.
  const [less, most] = all.slice(-2);
  if (less === undefined || most === undefined) return table;
  const growth = (name: 'senderBytes' | 'receiverBytes'): string =>
    ((most[name] - less[name]) / (most.blockCount - less.blockCount)).toFixed(1);
  const grown = `sender ${growth('senderBytes')}, receiver ${growth('receiverBytes')}`;
  const from = `${formatCount(less)} to ${formatCount(most)} blocks`;
  return [...table, '', `Bytes of memory per block, from ${from}: ${grown}.`];
}

async function bench(parameters: string[], signal: AbortSignal): Promise<void> {
  const text = { type: 'string' } as const;
  const { values } = parseArgs({
    args: parameters,
    options: {
      blocks: { ...text, default: '26214,262144,2621440' },
      connections: { ...text, default: '8' },
      folder: { ...text, default: TEMPORARY },
      help: { type: 'boolean' },
    },
  });
  if (values.help === true) {
    process.stdout.write(USAGE);
    return;
  }
  const counts = values.blocks.split(',').map((count) => parseWhole(count, '--blocks', 1, 2 ** 26));
  parseWhole(values.connections, '--connections', 1, 64);
  await using stack = new AsyncDisposableStack();
  const parent = stack.use(await mkdtempDisposable(join(resolve(values.folder), 'ddt-bench-'))).path;
  const all: Figures[] = [];
  for (const blockCount of counts.toSorted((a, b) => a - b)) {
    const folder = join(parent, String(blockCount));
    const places = { folder, source: join(folder, 'source'), target: join(folder, 'target') };
    all.push(await measure({ ...places, blockCount, connections: values.connections, signal }));
  }
  const lines = [await describeMachine(parent, signal), '', ...formatTable(all)];
  process.stdout.write(`${lines.join('\n')}\n`);
}

await runScript('bench', async (signal) => bench(process.argv.slice(2), signal));
