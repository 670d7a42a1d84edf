/** A transfer that has all blocks and was never sealed: what an interrupted first run leaves. */
import { open, stat, type FileHandle } from 'node:fs/promises';
import { DIGESTS, SHA256 } from '../common/digest/digest.ts';
import { DIGEST_NAMES } from '../common/digest/digest-names.ts';
import { BLOCK_SIZE_BYTES_DEFAULT } from '../common/geometry.ts';
import { Failure, startReceiver, until } from './both-sides.ts';
import { TicketClient } from './ticket-client.ts';

const LANES = 8;
const VERIFY_TIMEOUT_MS = 600_000;
/** What ddt-send would have chosen. */
const DIGEST = DIGESTS.at(-1) ?? SHA256;

export interface FirstRun {
  /** For the receiver's state: the one that goes on is to have it, too. */
  readonly folder: string;
  readonly source: string;
  readonly target: string;
  readonly signal: AbortSignal;
}

/** @throws Failure unless the answer is a success. */
async function ask(client: TicketClient, method: string, path: string, body?: Buffer): Promise<void> {
  const answer = await client.request(method, path, body);
  if (answer.status >= 300) {
    throw new Failure(`${method} ${path} answered ${answer.status}: ${answer.body.toString('utf8')}`);
  }
}

/** One lane by hand: `PUT /blocks/:index` until the common list is empty. */
async function putBlocks(client: TicketClient, source: FileHandle, indexes: number[]): Promise<void> {
  for (let index = indexes.pop(); index !== undefined; index = indexes.pop()) {
    const block = Buffer.alloc(BLOCK_SIZE_BYTES_DEFAULT);
    const { bytesRead } = await source.read(block, 0, block.length, index * block.length);
    const bytes = block.subarray(0, bytesRead);
    const digest = `${DIGEST_NAMES[DIGEST.algorithm]}:${(await DIGEST.of(bytes)).toString('hex')}`;
    await ask(client, 'PUT', `/blocks/${index}?flush=n&digest=${digest}`, bytes);
  }
}

/**
 * Claims and puts all blocks by hand, has them made durable and read back, completes nothing, and kills the
 * receiver. @throws Failure.
 */
export async function leaveUnsealed({ folder, source, target, signal }: FirstRun): Promise<void> {
  await using stack = new AsyncDisposableStack();
  const receiver = await startReceiver({ folder, target, signal }, stack);
  const client = stack.use(new TicketClient(receiver.ticket));
  const { size } = await stat(source);
  const described = { description: 'the first run' };
  const claim = { size, blockSize: BLOCK_SIZE_BYTES_DEFAULT, digest: DIGEST.algorithm, source: described };
  await ask(client, 'PUT', '/transfer', Buffer.from(JSON.stringify(claim)));
  const blockCount = Math.ceil(size / BLOCK_SIZE_BYTES_DEFAULT);
  const indexes = Array.from({ length: blockCount }, (_, index) => index);
  await using handle = await open(source);
  await Promise.all(Array.from({ length: LANES }, () => putBlocks(client, handle, indexes)));
  await ask(client, 'POST', '/flush');
  await until('all blocks to be read back', signal, VERIFY_TIMEOUT_MS, async () => {
    return (await client.status()).blocks.verified === blockCount;
  });
}
