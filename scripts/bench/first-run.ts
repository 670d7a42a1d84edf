/** A transfer that has all its blocks and was never sealed, as an interrupted first run leaves it. */
import { open, stat, type FileHandle } from 'node:fs/promises';
import { DIGESTS, SHA256 } from '../../common/digest/digest.ts';
import { DIGEST_NAMES } from '../../common/digest/digest-names.ts';
import { BLOCK_SIZE_BYTES_DEFAULT } from '../../common/geometry.ts';
import { startReceiver, until } from '../../test/support/processes.ts';
import type { TicketClient } from '../../test/support/ticket-client.ts';
import { Failure } from '../run-script.ts';

const LANES = 8;
const VERIFY_TIMEOUT_MS = 600_000;
/** The one that ddt-send would choose. */
const DIGEST = DIGESTS.at(-1) ?? SHA256;

export interface FirstRun {
  /** Holds the receiver's state; the receiver that resumes the transfer gets the same folder. */
  readonly folder: string;
  readonly source: string;
  readonly target: string;
  readonly signal: AbortSignal;
}

/** @throws Failure unless the request succeeds. */
async function request(client: TicketClient, method: string, path: string, body?: Buffer): Promise<void> {
  const response = await client.request(method, path, body);
  if (response.status >= 300) {
    throw new Failure(`${method} ${path}: status ${response.status}: ${response.body.toString('utf8')}`);
  }
}

/** One lane by hand: `PUT /blocks/:index` until the shared list is empty. */
async function putBlocks(client: TicketClient, source: FileHandle, indexes: number[]): Promise<void> {
  for (let index = indexes.pop(); index !== undefined; index = indexes.pop()) {
    const block = Buffer.alloc(BLOCK_SIZE_BYTES_DEFAULT);
    const { bytesRead } = await source.read(block, 0, block.length, index * block.length);
    const bytes = block.subarray(0, bytesRead);
    const digest = `${DIGEST_NAMES[DIGEST.algorithm]}:${(await DIGEST.of(bytes)).toString('hex')}`;
    await request(client, 'PUT', `/blocks/${index}?flush=n&digest=${digest}`, bytes);
  }
}

/**
 * Claims and puts all blocks by hand, waits until they are durable and (where it follows writing) read back;
 */
export async function leaveUnsealed({ folder, source, target, signal }: FirstRun): Promise<void> {
  await using receiver = await startReceiver({ folder, target });
  const { client } = receiver;
  const { size } = await stat(source);
  const described = { description: 'the first run' };
  const claim = { size, blockSize: BLOCK_SIZE_BYTES_DEFAULT, digest: DIGEST.algorithm, source: described };
  await request(client, 'PUT', '/transfer', Buffer.from(JSON.stringify(claim)));
  const blockCount = Math.ceil(size / BLOCK_SIZE_BYTES_DEFAULT);
  const indexes = Array.from({ length: blockCount }, (_, index) => index);
  await using handle = await open(source);
  await Promise.all(Array.from({ length: LANES }, () => putBlocks(client, handle, indexes)));
  await request(client, 'POST', '/flush');
  const isFile = (await stat(target)).isFile();
  const areVerified = async (): Promise<boolean> => {
    signal.throwIfAborted();
    const { blocks } = await client.status();
    // Of a file they are read back when it is sealed.
    return (isFile ? blocks.durable : 0) + blocks.verified === blockCount;
  };
  await until('all blocks to be read back', areVerified, VERIFY_TIMEOUT_MS);
}
