/** How long a resumed transfer takes when all blocks but one are on the target. */
import { hash } from 'node:crypto';
import { type FileHandle, open } from 'node:fs/promises';
import { join } from 'node:path';
import { Failure, OwnProcess, run, SCRIPTS, startReceiver, until } from './both-sides.ts';
import { TicketClient } from './ticket-client.ts';

const LANES = 8;
const CLAIM_TIMEOUT_MS = 20_000;
const FLUSH_TIMEOUT_MS = 60_000;
const VERIFY_TIMEOUT_MS = 120_000;
/** A receiver that reads back has begun by then. */
const VERIFY_START_MS = 2000;

interface ListedRange {
  readonly first: number;
  readonly count: number;
}

interface Done {
  readonly event: string;
  readonly blocksSent: number;
}

/** What is timed: the source, a target that does not exist yet, and a folder for state. */
export interface ResumeOptions {
  readonly folder: string;
  readonly source: string;
  readonly target: string;
  readonly signal: AbortSignal;
}

/** @returns the indexes of all blocks that are not durable. @throws Failure. */
async function listMissing(client: TicketClient): Promise<number[]> {
  const { status, body } = await client.request('GET', '/blocks?state=missing');
  if (status !== 200) throw new Failure(`GET /blocks answered ${status}: ${body.toString('utf8')}`);
  const ranges: ListedRange[] = JSON.parse(body.toString('utf8'));
  return ranges.flatMap(({ first, count }) => Array.from({ length: count }, (_, index) => first + index));
}

/** One lane of the sender by hand: `PUT /blocks/:index` until the common list is empty. */
async function putBlocks(
  client: TicketClient,
  source: FileHandle,
  indexes: number[],
  blockSizeBytes: number,
) {
  for (let index = indexes.pop(); index !== undefined; index = indexes.pop()) {
    const block = Buffer.alloc(blockSizeBytes);
    const { bytesRead } = await source.read(block, 0, blockSizeBytes, index * blockSizeBytes);
    const bytes = block.subarray(0, bytesRead);
    const path = `/blocks/${index}?flush=n&digest=sha256:${hash('sha256', bytes)}`;
    const { status, body } = await client.request('PUT', path, bytes);
    if (status >= 300) throw new Failure(`PUT ${path} answered ${status}: ${body.toString('utf8')}`);
  }
}

/** Lets `ddt-send` itself claim, and kills it at once: a claim by hand would name another source. */
async function claim(
  parameters: readonly string[],
  client: TicketClient,
  signal: AbortSignal,
): Promise<void> {
  await using sender = new OwnProcess(join(SCRIPTS, 'ddt-send'), parameters);
  await until('ddt-send to claim the transfer', signal, CLAIM_TIMEOUT_MS, async () => {
    if (!sender.isRunning) throw new Failure(`ddt-send ended before its time: ${sender.errors.join(' · ')}`);
    return (await client.status()).state === 'open';
  });
}

/** Until that many blocks are durable and, where the receiver reads back along the way, verified. */
async function settle(client: TicketClient, count: number, signal: AbortSignal): Promise<void> {
  await until('all blocks but one to be durable', signal, FLUSH_TIMEOUT_MS, async () => {
    const { blocks } = await client.status();
    return blocks.durable + blocks.verified === count;
  });
  const startedMs = performance.now();
  await until('all blocks but one to be verified', signal, VERIFY_TIMEOUT_MS, async () => {
    const { verified } = (await client.status()).blocks;
    return verified === count || (verified === 0 && performance.now() - startedMs > VERIFY_START_MS);
  });
}

/** @returns seconds from the start of `ddt-send` to its end with status 0. @throws Failure. */
export async function measureResume(options: ResumeOptions): Promise<number> {
  const { source, signal } = options;
  await using stack = new AsyncDisposableStack();
  const receiver = await startReceiver(options, stack);
  const client = stack.use(new TicketClient(receiver.ticket));
  const parameters = ['--ticket-file', receiver.ticketFile, '--progress', 'json', source];
  await claim(parameters, client, signal);

  const { blockSize, blockCount } = await client.status();
  if (blockSize === null || blockCount === null)
    throw new Failure('the transfer is open but has no geometry');
  const [kept, ...indexes] = await listMissing(client);
  if (kept === undefined) throw new Failure('no block is missing');
  await using handle = await open(source);
  await Promise.all(Array.from({ length: LANES }, () => putBlocks(client, handle, indexes, blockSize)));
  await client.request('POST', '/flush');
  await settle(client, blockCount - 1, signal);

  const end = await run(join(SCRIPTS, 'ddt-send'), parameters, signal);
  const done: Done = JSON.parse(end.lines.at(-1) ?? '{}');
  if (done.blocksSent !== 1) throw new Failure(`one block was missing, but ${done.blocksSent} were sent`);
  return end.seconds;
}
